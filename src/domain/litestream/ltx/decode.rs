//! Reading a whole LTX file (v0.5), page by page, and proving its checksum.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufReader, Read};

use crc_fast::{CrcAlgorithm, Digest};

use super::frame::{Extent, PAGE_FLAG_BLOCK, Walk, check_block_size, decode_frame, frame_extent, longest_block};
use super::header::{HEADER_SIZE, LtxHeader};
use super::page_index::{CHECKSUM_FLAG, END_MARKER_SIZE, IndexChain, PageEntry, PageOrder, check_trailer, read_entry};
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::{Input, be32};

/// The contents of a whole file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LtxSummary {
    pub header: LtxHeader,
    pub pages: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// CRC-64 over the decompressed content, as the trailer gives it and as it was computed.
    pub file_checksum: u64,
}

/// Reads a whole LTX file, hands each page to `page` and checks everything that the file says of itself: order and
/// range of its pages, page index, checksum, and that nothing follows.
///
/// A page is handed over before the checksum at the file's end is known: on an error, what was handed over is void.
pub fn decode(reader: impl Read, page: impl FnMut(u32, &[u8])) -> Result<LtxSummary, FormatError> {
    let mut decoder = Decoder { input: Input::new(BufReader::new(reader)), crc: Digest::new(CrcAlgorithm::Crc64GoIso) };
    let header = LtxHeader::parse(&decoder.take::<HEADER_SIZE>()?)?;
    let frames = decoder.frames(&header, page)?;
    let pages = decoder.index(frames)?;
    let file_checksum = decoder.trailer()?;
    decoder.input.finish()?;
    Ok(LtxSummary { header, pages, bytes: decoder.input.offset(), file_checksum })
}

/// Decodes the one page whose whole frame this is. That proves no checksum: only the file as a whole has one.
///
/// # Errors
///
/// When the frame is bad, with the offset in it.
pub fn decode_page(frame: &[u8], page: u32, page_size: u32) -> Result<Vec<u8>, FormatError> {
    let extent = frame_extent(frame, page_size, &mut Walk::default());
    let whole = matches!(extent, Ok(Extent::Frame(length)) if length == frame.len());
    if !whole || be32(frame, 0) != page {
        return Err(FormatError::new(0, Problem::IndexMismatch));
    }
    let mut content = vec![0; page_size as usize];
    decode_frame(frame, &mut content).map_err(|problem| FormatError::new(0, problem))?;
    Ok(content)
}

struct Decoder<R> {
    input: Input<R>,
    crc: Digest,
}

impl<R: Read> Decoder<R> {
    /// Reads `N` bytes that the checksum covers as they are.
    fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let bytes = self.input.array()?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    /// Reads the frames and the end marker. Gives what the index must say of them.
    fn frames(&mut self, header: &LtxHeader, mut page: impl FnMut(u32, &[u8])) -> Result<DefaultHasher, FormatError> {
        let mut order = PageOrder::new(header);
        let mut entries = DefaultHasher::new();
        let mut content = vec![0; header.page_size as usize];
        let mut compressed = Vec::new();
        loop {
            let offset = self.input.offset();
            let [a, b, c, d, e, f] = self.take()?;
            let (number, flags) = (u32::from_be_bytes([a, b, c, d]), u16::from_be_bytes([e, f]));
            let at = |problem| FormatError::new(offset, problem);
            if number == 0 {
                order.finish().map_err(at)?;
                return if flags == 0 { Ok(entries) } else { Err(at(Problem::EndMarker(flags))) };
            }
            order.check(number).map_err(at)?;
            match flags {
                PAGE_FLAG_BLOCK => self.block(&mut compressed, &mut content)?,
                0 => self.frame(&mut content)?,
                _ => return Err(at(Problem::PageFlags(flags))),
            }
            self.crc.update(&content);
            PageEntry { page: number, offset, length: self.input.offset() - offset }.hash(&mut entries);
            page(number, &content);
        }
    }

    /// One page as an LZ4 block.
    fn block(&mut self, compressed: &mut Vec<u8>, content: &mut [u8]) -> Result<(), FormatError> {
        let offset = self.input.offset();
        let size = u32::from_be_bytes(self.take()?);
        let page_size = content.len() as u32;
        let longest = longest_block(page_size);
        if size > longest {
            return Err(FormatError::new(offset, Problem::CompressedSize(size, longest)));
        }
        compressed.resize(size as usize, 0);
        self.input.fill(compressed)?;
        match lz4_flex::block::decompress_into(compressed, content) {
            Ok(length) if length == content.len() => Ok(()),
            Ok(length) => Err(FormatError::new(offset, Problem::DecompressedSize(length as u64, page_size))),
            Err(error) => Err(FormatError::new(offset, Problem::Decompress(error.to_string()))),
        }
    }

    /// One page as an LZ4 frame.
    fn frame(&mut self, content: &mut [u8]) -> Result<(), FormatError> {
        let offset = self.input.offset();
        let mut frame = self.input.lz4_frame()?;
        check_block_size(frame.block_descriptor()).map_err(|problem| FormatError::new(offset, problem))?;
        // Reading behind the page makes the decoder read the frame's end and compare its checksum.
        let length = frame.read(content, Problem::Decompress)? + frame.read(&mut [0], Problem::Decompress)?;
        if length != content.len() {
            let problem = Problem::DecompressedSize(length as u64, content.len() as u32);
            return Err(FormatError::new(offset, problem));
        }
        Ok(())
    }

    /// Reads the page index and compares it with the frames that were read.
    fn index(&mut self, frames: DefaultHasher) -> Result<u64, FormatError> {
        let start = self.input.offset();
        let mut chain = IndexChain::new();
        let mut entries = DefaultHasher::new();
        while let Some(entry) = read_entry(&mut || self.take().map(|[byte]| byte))? {
            chain.check(entry, self.input.offset())?;
            entry.hash(&mut entries);
        }
        chain.finish(start - END_MARKER_SIZE)?;
        if entries.finish() != frames.finish() {
            return Err(FormatError::new(start, Problem::IndexMismatch));
        }
        let end = self.input.offset();
        let (found, expected) = (u64::from_be_bytes(self.take()?), end - start);
        if found != expected {
            return Err(FormatError::new(end, Problem::IndexSize { found, expected }));
        }
        Ok(chain.pages)
    }

    /// Reads the trailer and compares the checksum with what was read.
    fn trailer(&mut self) -> Result<u64, FormatError> {
        let start = self.input.offset();
        let trailer: [u8; 16] = self.input.array()?;
        let found = check_trailer(&trailer, start)?;
        self.crc.update(&trailer[..8]);
        let expected = CHECKSUM_FLAG | self.crc.finalize();
        if found != expected {
            return Err(FormatError::new(start + 8, Problem::FileChecksum { found, expected }));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    fn pages(file: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, FormatError> {
        let mut pages = Vec::new();
        decode(file, |number, content| pages.push((number, content.to_vec())))?;
        Ok(pages)
    }

    #[test]
    fn the_checksum_is_the_one_of_the_go_library() {
        assert_eq!(crc_fast::checksum(CrcAlgorithm::Crc64GoIso, b"123456789"), 0xb909_56c7_75a4_1001);
    }

    #[test]
    fn reads_a_genuine_file() {
        let file = samples::genuine();
        let summary = decode(file.as_slice(), |number, content| {
            assert_eq!((number, content.len(), content[0]), (2, 4096, 13));
        });
        let header = LtxHeader::parse(&file).unwrap();
        assert_eq!(summary, Ok(LtxSummary { header, pages: 1, bytes: 191, file_checksum: 0x899d_bd2c_70d6_19e9 }));
    }

    #[test]
    fn reads_both_encodings_of_genuine_files() {
        for files in samples::LTX_FILES.chunks(4) {
            let mut image = std::collections::BTreeMap::new();
            for (file, name, end) in files {
                let summary = decode(*file, |_, _| ()).unwrap();
                assert_eq!(summary.bytes, file.len() as u64);
                assert_eq!(summary.header.check_name(name.parse().unwrap()), Ok(()));
                assert_eq!(summary.header.wal_end().unwrap().end, *end);
                image.extend(pages(file).unwrap());
            }
            // The last file is the snapshot that the others lead to.
            let (snapshot, ..) = files[3];
            assert_eq!(pages(snapshot).unwrap(), image.into_iter().collect::<Vec<_>>());
            assert!(pages(snapshot).unwrap()[0].1.starts_with(b"SQLite format 3\0"));
        }
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        let error = |offset: usize, bytes: &[u8]| {
            let mut file = samples::genuine();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            decode(file.as_slice(), |_, _| ()).unwrap_err().to_string()
        };
        assert_eq!(error(15, &[1]), "page number 2 exceeds the database's 1 pages at byte 100");
        assert_eq!(error(23, &[1]), "page number 2 in a snapshot: expected 1 at byte 100");
        assert_eq!(error(105, &[2]), "unsupported page flags 0002 at byte 100");
        assert_eq!(error(105, &[0]), "not an LZ4 frame: magic 0000002f at byte 106");
        assert_eq!(error(106, &[1]), "compressed page of 16777263 bytes exceeds the largest possible 4128 at byte 106");
        assert!(error(109, &[0x2e]).starts_with("decompress page: "));
        assert!(error(110, &[0xff]).starts_with("decompress page: "));
        assert_eq!(error(162, &[1]), "end marker with page flags 0001 at byte 157");
        assert_eq!(error(163, &[3]), "page index does not name the frames before it at byte 163");
        assert_eq!(error(165, &[58]), "page index's frames end at 158: expected 157 at byte 157");
        assert_eq!(error(174, &[5]), "page index is 5 bytes: expected 4 at byte 167");
        assert_eq!(error(39, &[0]), "file checksum 899dbd2c70d619e9: expected 9326170fbf0f18a4 at byte 183");
        assert_eq!(error(183, &[0]), "file checksum 009dbd2c70d619e9: expected 809dbd2c70d619e9 at byte 183");
        let mut longer = samples::genuine();
        longer.push(0);
        assert_eq!(
            decode(longer.as_slice(), |_, _| ()).unwrap_err().to_string(),
            "bytes after the end of the file's content at byte 191"
        );
    }

    #[test]
    fn pages_have_the_size_that_the_header_gives() {
        let header = LtxHeader { page_size: 1024, ..LtxHeader::parse(&samples::genuine()).unwrap() };
        for block in [true, false] {
            for size in [0, 1023, 1025] {
                let file = samples::encode(&header, &[(2, (vec![7; size], block))]);
                let error = decode(file.as_slice(), |_, _| ()).unwrap_err();
                assert!(matches!(error.problem, Problem::DecompressedSize(..) | Problem::Decompress(_)), "{error}");
            }
        }
    }

    #[test]
    fn a_snapshot_must_be_whole() {
        let (file, ..) = samples::LTX_FILES[3];
        let mut file = file.to_vec();
        file[15] += 1;
        let error = decode(file.as_slice(), |_, _| ()).unwrap_err();
        assert_eq!(error.problem, Problem::SnapshotIncomplete { found: 8, commit: 9 });
    }

    #[test]
    fn truncated_files_are_errors_wherever_they_end() {
        for (file, name, _) in samples::LTX_FILES {
            for length in 0..file.len() {
                let error = decode(&file[..length], |_, _| ()).unwrap_err();
                assert_eq!(error, FormatError::new(length as u64, Problem::Truncated), "{name}");
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_called_corrupt() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
                Err(std::io::Error::other("connection reset"))
            }
        }
        for (file, name, _) in samples::LTX_FILES {
            for length in [0, 50, 104, 120, file.len() - 20, file.len()] {
                let error = decode((&file[..length]).chain(Broken), |_, _| ()).unwrap_err();
                assert_eq!(error.to_string(), format!("connection reset at byte {length}"), "{name}");
                assert_eq!(crate::domain::reason::Reason::from(error).kind.as_str(), "failed");
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_was_written(file in samples::ltx_file()) {
            let summary = decode(file.bytes.as_slice(), |_, _| ());
            prop_assert_eq!(summary.map(|summary| summary.header), Ok(file.header));
            prop_assert_eq!(pages(&file.bytes), Ok(file.pages));
        }

        #[test]
        fn damage_is_an_error_or_changes_no_page(file in samples::ltx_file(), damage in samples::damage()) {
            if let Ok(damaged) = pages(&damage.apply(&file.bytes)) {
                prop_assert_eq!(damaged, file.pages);
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, header in samples::header()) {
            let _ = pages(&bytes);
            let _ = pages(&[header, bytes].concat());
        }
    }
}
