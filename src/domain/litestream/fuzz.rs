//! One entry for each parser, called with any bytes by the fuzz targets and the property tests: what it accepts must
//! mean what it says, and nothing may panic.

use bytes::Bytes;

use super::{
    AgeIdentities, Applied, Batch, Generation, LevelKeys, LtxCutter, LtxHeader, LtxName, LtxSummary, ObjectName,
    PageBuffer, PageIndex, Replay, ReplayError, ReplayFile, SegmentName, SnapshotName, Sum, Txid, decode, segment_end,
};
use crate::domain::reason::Reason;

/// An LTX header survives being written again.
pub fn ltx_header(bytes: &[u8]) {
    if let Ok(header) = LtxHeader::parse(bytes) {
        assert_eq!(LtxHeader::parse(&header.encode()), Ok(header));
        assert_eq!(header.wal_end().is_some(), header.wal_offset != 0);
        assert!(header.check_name(LtxName { min: header.min, max: header.max }).is_ok());
    }
}

/// A whole file that decodes has an index that names its pages, and can be cut into chunks that say the same.
pub fn ltx_file(bytes: &[u8]) {
    let mut pages = Vec::new();
    let decoded = decode(bytes, |page, content| pages.push((page, content.len() as u32)));
    assert_eq!(cut(bytes).ok(), decoded.clone().ok());
    if let Ok(summary) = decoded {
        assert_eq!((summary.bytes, summary.pages), (bytes.len() as u64, pages.len() as u64));
        assert!(pages.iter().all(|(_, size)| *size == summary.header.page_size));
        let index = PageIndex::parse(bytes, bytes.len() as u64).expect("what decodes has an index");
        assert_eq!(index.file_checksum, summary.file_checksum);
        assert_eq!(index.check_pages(&summary.header), Ok(()));
        let indexed = index.entries().map(|entry| entry.page);
        assert!(indexed.eq(pages.into_iter().map(|(page, _)| page)));
    }
}

/// As [`decode`], in chunks.
fn cut(bytes: &[u8]) -> Result<LtxSummary, Reason> {
    const PIECE: usize = 300;
    let mut cutter = LtxCutter::default();
    let mut sum = Sum::default();
    for piece in bytes.chunks(PIECE) {
        let chunk = cutter.push(Bytes::copy_from_slice(piece))?;
        if !chunk.is_empty() {
            sum = sum.then(chunk.decode(&mut PageBuffer::default(), |_, _| Ok(()))?);
        }
    }
    Ok(cutter.finish()?.prove(sum)?)
}

/// The tail of a file, whose first 8 bytes stand for the file's size.
pub fn page_index(bytes: &[u8]) {
    let Some((size, tail)) = bytes.split_first_chunk() else { return };
    for size in [u64::from_be_bytes(*size), tail.len() as u64] {
        if let Ok(index) = PageIndex::parse(tail, size) {
            assert_eq!(index.entries().count() as u64, index.pages);
        }
    }
}

/// A v0.3 segment, at an offset that the first 8 bytes give.
pub fn v3_segment(bytes: &[u8]) {
    let Some((offset, segment)) = bytes.split_first_chunk() else { return };
    for offset in [0, u64::from_be_bytes(*offset)] {
        if let Ok(end) = segment_end(&SegmentName { index: 0, offset }, segment) {
            assert_eq!(end.end.end, offset.saturating_add(end.decoded_bytes));
        }
    }
}

/// A replay that succeeds is as long as it says; snapshot and segments are cut at lengths that the bytes give.
pub fn v3_replay(bytes: &[u8]) {
    let Some((lengths, objects)) = bytes.split_first_chunk::<4>() else { return };
    let (snapshot, segments) =
        objects.split_at(objects.len().min(usize::from(u16::from_be_bytes([lengths[0], lengths[1]]))));
    let (first, second) =
        segments.split_at(segments.len().min(usize::from(u16::from_be_bytes([lengths[2], lengths[3]]))));
    let length = std::cell::Cell::new(0);
    let mut replay = Replay::new(Length(&length), AgeIdentities::default());
    let segment = |offset| ObjectName::Segment(Generation(0), SegmentName { index: 0, offset });
    let whole = apply(&mut replay, ObjectName::Snapshot(Generation(0), SnapshotName { index: 0 }), snapshot).is_ok();
    if let Ok(Applied { decoded_bytes, .. }) = apply(&mut replay, segment(0), first) {
        let _ = apply(&mut replay, segment(decoded_bytes), second);
    }
    if let Ok(replayed) = replay.finish() {
        assert!(whole && replayed.bytes == u64::from(replayed.pages) * u64::from(replayed.page_size));
        assert_eq!(length.get(), replayed.bytes);
    }
}

/// Decodes and applies a whole v0.3 object.
pub(super) fn apply(
    replay: &mut Replay<impl ReplayFile>,
    name: ObjectName,
    object: &[u8],
) -> Result<Applied, ReplayError> {
    replay.object(name, object)
}

/// A file of which only the length is kept.
struct Length<'a>(&'a std::cell::Cell<u64>);

impl ReplayFile for Length<'_> {
    fn write(&self, parts: Vec<(u64, usize)>, _: Batch) -> Result<(), Reason> {
        for (offset, length) in parts {
            self.0.set(self.0.get().max(offset.saturating_add(length as u64)));
        }
        Ok(())
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.0.set(bytes);
        Ok(())
    }
}

/// Names and keys that are accepted are written as they were read.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let written = |name: Option<String>| assert!(name.is_none_or(|name| name == text), "{text:?}");
    written(text.parse::<Txid>().ok().map(|txid| txid.to_string()));
    written(text.parse::<LtxName>().ok().map(|name| name.to_string()));
    written(text.parse::<Generation>().ok().map(|generation| generation.to_string()));
    for keys in [LevelKeys::Plain, LevelKeys::Hex] {
        written(ObjectName::of_key(text, keys).map(|name| name.key(keys)));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(bytes: Vec<u8>) {
            for target in [ltx_header, ltx_file, page_index, v3_segment, v3_replay, names] {
                target(&bytes);
            }
        }

        #[test]
        fn no_damage_breaks_a_parser(file in samples::ltx_file(), damage in samples::damage()) {
            for bytes in [damage.apply(&file.bytes), file.bytes] {
                ltx_header(&bytes);
                ltx_file(&bytes);
                page_index(&[[0; 8].as_slice(), &bytes].concat());
            }
        }

        #[test]
        fn no_name_breaks_a_parser(text in "(generations/)?[0-9a-f]{0,17}[/_-]?(wal/|ltx/|snapshots/)?[0-9a-f]{0,17}[_-]?\
            [0-9a-f]{0,17}(\\.ltx|\\.wal\\.lz4|\\.snapshot\\.lz4)?") {
            names(text.as_bytes());
        }
    }
}
