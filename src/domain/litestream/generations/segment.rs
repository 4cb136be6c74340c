//! Where a v0.3 WAL segment ends, which only its content tells.

use std::io::{BufReader, Read};

use super::encryption::AgeIdentities;
use super::name::SegmentName;
use crate::domain::limits::SEGMENT_DECODED_BYTES_MAX;
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::{Input, be32};
use crate::domain::sqlite::{WAL_HEADER_BYTES, WAL_MAGIC, WalPosition, frame_bytes, is_page_size};

/// Where the frames of a WAL start.
const WAL_START: u64 = WAL_HEADER_BYTES as u64;

/// The end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentEnd {
    /// Where it ends in the WAL: what is committed before it is in the replica.
    pub end: WalPosition,
    /// Bytes that it decompresses to.
    pub decoded_bytes: u64,
    /// It does not end with a whole frame: Litestream restores what is before that if nothing follows.
    pub is_cut: bool,
}

/// Decompresses a segment to see where it ends.
///
/// The first segment of an index starts with the WAL's header, others with a frame. An offset in an error about what
/// was decompressed is one in the decompressed bytes.
pub fn segment_end(name: &SegmentName, compressed: impl Read) -> Result<SegmentEnd, FormatError> {
    let mut head = [0; WAL_HEADER_BYTES];
    let decoded_bytes = decompress(compressed, &mut head, Problem::DecompressSegment, SEGMENT_DECODED_BYTES_MAX)?;
    let (is_cut, salt1, salt2) = if name.offset == 0 {
        (!check_first(&head, decoded_bytes)?, be32(&head, 16), be32(&head, 20))
    } else {
        (!check_later(name.offset, decoded_bytes)?, be32(&head, 8), be32(&head, 12))
    };
    let end = name.offset.saturating_add(decoded_bytes);
    Ok(SegmentEnd { end: WalPosition { salt1, salt2, end }, decoded_bytes, is_cut })
}

/// As [`segment_end`], of an object that may be encrypted.
pub fn segment_end_of(
    name: &SegmentName,
    object: impl Read,
    identities: &AgeIdentities,
) -> Result<SegmentEnd, FormatError> {
    let mut content = identities.open(object)?;
    segment_end(name, &mut content).map_err(|error| content.blame(error))
}

/// Decompresses a v0.3 snapshot and gives the size of the database in it: whole pages of the size that its header says.
pub fn snapshot_bytes(compressed: impl Read) -> Result<u64, FormatError> {
    let mut head = [0; 100];
    let decoded = decompress(compressed, &mut head, Problem::DecompressSnapshot, u64::MAX)?;
    let page_size = match u32::from(head[16]) << 8 | u32::from(head[17]) {
        1 => 65536,
        size => size,
    };
    if decoded < head.len() as u64 || !head.starts_with(b"SQLite format 3\0") || !is_page_size(page_size) {
        return Err(FormatError::new(0, Problem::NotDatabase));
    }
    if !decoded.is_multiple_of(u64::from(page_size)) {
        return Err(FormatError::new(decoded, Problem::DatabaseLength(decoded, page_size)));
    }
    Ok(decoded)
}

/// Decompresses a frame to its end and gives the number of bytes, at most `most`; the first of them go to `head`.
fn decompress(
    compressed: impl Read,
    head: &mut [u8],
    problem: fn(String) -> Problem,
    most: u64,
) -> Result<u64, FormatError> {
    let mut input = Input::new(BufReader::new(compressed));
    let mut frame = input.lz4_frame()?;
    let mut decoded = frame.read(head, problem)? as u64;
    let mut buffer = vec![0; 64 << 10];
    while decoded >= head.len() as u64 {
        let count = frame.read(&mut buffer, problem)?;
        decoded += count as u64;
        if decoded > most {
            return Err(FormatError::new(decoded, Problem::TooLong(most)));
        }
        if count < buffer.len() {
            break;
        }
    }
    drop(frame);
    input.finish()?;
    Ok(decoded)
}

/// The first segment of an index: the WAL's header and frames of its page size; whether all of them are whole.
fn check_first(head: &[u8], length: u64) -> Result<bool, FormatError> {
    let Some(frames) = length.checked_sub(WAL_START) else {
        return Err(FormatError::new(length, Problem::SegmentLength(length)));
    };
    let (magic, page_size) = (be32(head, 0), be32(head, 8));
    if magic & !1 != WAL_MAGIC {
        return Err(FormatError::new(0, Problem::WalMagic(magic)));
    }
    if !is_page_size(page_size) {
        return Err(FormatError::new(8, Problem::PageSize(page_size)));
    }
    Ok(frames.is_multiple_of(frame_bytes(page_size)))
}

/// A later one: frames of a page size that also divides what is before it; whether all of them are whole.
fn check_later(offset: u64, length: u64) -> Result<bool, FormatError> {
    let before = offset.checked_sub(WAL_START);
    let divides = |frame: &u64| before.is_some_and(|before| before.is_multiple_of(*frame));
    let mut frames = (9..=16).map(|bits| frame_bytes(1 << bits)).filter(divides).peekable();
    if length == 0 || frames.peek().is_none() {
        return Err(FormatError::new(length, Problem::SegmentLength(length)));
    }
    Ok(frames.any(|frame| length.is_multiple_of(frame)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    #[test]
    fn a_snapshot_holds_a_database_in_whole_pages() {
        let mut database = vec![7; 2048];
        database[..16].copy_from_slice(b"SQLite format 3\0");
        database[16..18].copy_from_slice(&[2, 0]);
        let told = |content: &[u8]| snapshot_bytes(samples::lz4_frame(content).as_slice()).map_err(|e| e.to_string());
        assert_eq!(told(&database), Ok(2048));
        assert_eq!(
            told(&database[..2000]),
            Err("database of 2000 bytes is not a whole number of pages of 512 at byte 2000".into())
        );
        assert_eq!(told(&database[1..]), Err("snapshot does not hold a SQLite database at byte 0".into()));
        assert_eq!(told(&[]), Err("snapshot does not hold a SQLite database at byte 0".into()));
        let frame = samples::lz4_frame(&database);
        for length in 0..frame.len() {
            assert_eq!(snapshot_bytes(&frame[..length]).unwrap_err().problem, Problem::Truncated, "{length}");
        }
    }

    #[test]
    fn genuine_segments_follow_each_other() {
        let mut expected = SegmentName { index: 0, offset: 0 };
        let mut salts = None;
        for (name, bytes) in samples::segments() {
            if name.index != expected.index {
                expected = SegmentName { index: expected.index + 1, offset: 0 };
                salts = None;
            }
            assert_eq!(name, expected);
            let SegmentEnd { end, decoded_bytes, is_cut: false } = segment_end(&name, bytes).unwrap() else {
                panic!("{name} is cut")
            };
            assert_eq!(end.end, name.offset + decoded_bytes);
            assert_eq!(*salts.get_or_insert((end.salt1, end.salt2)), (end.salt1, end.salt2));
            expected.offset = end.end;
        }
        assert_eq!(expected, SegmentName { index: 1, offset: 4856 });
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        let end = |offset: u64, content: &[u8]| {
            segment_end(&SegmentName { index: 0, offset }, samples::lz4_frame(content).as_slice())
                .map_err(|error| error.to_string())
        };
        let mut wal = samples::wal(2);
        assert_eq!(end(0, &wal).unwrap().end, WalPosition { salt1: 7, salt2: 8, end: 32 + 2 * 536 });
        assert_eq!(end(0, &wal[..32]).unwrap().end.end, 32);
        assert_eq!(end(568, &wal[32..]).unwrap().end, WalPosition { salt1: 7, salt2: 8, end: 568 + 2 * 536 });
        let is_cut = |offset, content: &[u8]| end(offset, content).unwrap().is_cut;
        assert_eq!([567, 568, 1104].map(|length| is_cut(0, &wal[..length])), [true, false, false]);
        assert_eq!([1, 535, 536].map(|length| is_cut(568, &wal[32..][..length])), [true, true, false]);
        assert_eq!(end(0, &wal[..31]).unwrap_err(), "segment of 31 bytes does not end at a WAL frame at byte 31");
        assert_eq!(end(568, &[]).unwrap_err(), "segment of 0 bytes does not end at a WAL frame at byte 0");
        assert_eq!(end(569, &wal[32..]).unwrap_err(), "segment of 1072 bytes does not end at a WAL frame at byte 1072");
        wal[10] = 1;
        assert_eq!(end(0, &wal).unwrap_err(), "page size 256 is not a power of two from 512 to 65536 at byte 8");
        wal[0] = 0;
        assert_eq!(end(0, &wal).unwrap_err(), "not a WAL header: magic 007f0682 at byte 0");
        let name = SegmentName { index: 0, offset: 0 };
        let error = segment_end(&name, b"age-encryption.org/v1".as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "not an LZ4 frame: magic 6167652d at byte 0");
    }

    #[test]
    fn truncated_and_lengthened_segments_are_errors() {
        for (name, bytes) in samples::segments() {
            for length in 0..bytes.len() {
                assert!(segment_end(&name, &bytes[..length]).is_err(), "{name} {length}");
            }
            let error = segment_end(&name, bytes.chain([0].as_slice())).unwrap_err();
            assert_eq!(error, FormatError::new(bytes.len() as u64, Problem::TrailingBytes));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, index: u32, offset: u64, which in 0..6usize, damage in samples::damage()) {
            let name = SegmentName { index, offset };
            let _ = segment_end(&name, bytes.as_slice());
            let (name, segment) = samples::segments()[which];
            let damaged = damage.apply(segment);
            let end = segment_end(&name, damaged.as_slice());
            if damaged != segment {
                prop_assert!(end.is_err() || end == segment_end(&name, segment));
            }
        }
    }
}
