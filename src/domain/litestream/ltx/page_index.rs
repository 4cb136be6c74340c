//! The page index behind the frames of an LTX file (v0.5): which pages it holds and where.
//!
//! Its numbers must chain from the header to the end of the file, so that the header and the tail prove a file's
//! structure without its pages.

use super::header::{HEADER_SIZE, LtxHeader};
use crate::domain::limits::PAGE_INDEX_BYTES_MAX;
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::be64;
use crate::domain::sqlite::lock_page;

/// Bytes of the marker behind the last frame: a frame header of zeros.
pub(super) const END_MARKER_SIZE: u64 = 6;
/// Bytes of the database checksum (always 0) and the file checksum, which end the file.
const TRAILER_SIZE: u64 = 16;
/// Bytes of the index's own size, behind its varints.
const SIZE_SIZE: u64 = 8;
/// The smallest frame: page number, flags, compressed size, and at least one byte.
const FRAME_SIZE_MIN: u64 = 11;
/// Set in every checksum, so that none is 0.
pub(super) const CHECKSUM_FLAG: u64 = 1 << 63;

/// Where one page of an LTX file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageEntry {
    pub page: u32,
    /// Byte offset of its frame.
    pub offset: u64,
    /// Bytes of its frame, header included.
    pub length: u64,
}

/// A page index whose structure was checked, over the bytes that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageIndex<'a> {
    varints: &'a [u8],
    /// Where the varints start in the file.
    start: u64,
    /// Pages that the file holds.
    pub pages: u64,
    /// The file's checksum, as the trailer gives it.
    pub file_checksum: u64,
}

impl<'a> PageIndex<'a> {
    /// How many bytes at the end of the file [`parse`](Self::parse) needs, told by the last 24 (or more) of them.
    pub fn tail_size(tail: &[u8], file_size: u64) -> Result<u64, FormatError> {
        let fixed = SIZE_SIZE + TRAILER_SIZE;
        let at = file_size.saturating_sub(fixed);
        let end = tail.len().checked_sub(fixed as usize);
        let (Some(end), true) = (end, file_size >= HEADER_SIZE as u64 + END_MARKER_SIZE + 1 + fixed) else {
            return Err(FormatError::new(file_size, Problem::Truncated));
        };
        let size = be64(tail, end);
        let room = at - HEADER_SIZE as u64 - END_MARKER_SIZE;
        if size == 0 || size > room {
            return Err(FormatError::new(at, Problem::IndexSize { found: size, expected: room }));
        }
        if size > PAGE_INDEX_BYTES_MAX {
            return Err(FormatError::new(at, Problem::TooLong(PAGE_INDEX_BYTES_MAX)));
        }
        Ok(END_MARKER_SIZE + size + fixed)
    }

    /// Reads the index from the last bytes of a file of `file_size` bytes: at least [`tail_size`](Self::tail_size).
    pub fn parse(tail: &'a [u8], file_size: u64) -> Result<Self, FormatError> {
        let tail_size = Self::tail_size(tail, file_size)?;
        let from = file_size - tail_size;
        let tail = usize::try_from(tail_size)
            .ok()
            .and_then(|size| tail.len().checked_sub(size))
            .and_then(|skip| tail.get(skip..))
            .ok_or_else(|| FormatError::new(from, Problem::Truncated))?;
        let (marker, rest) = tail.split_at(END_MARKER_SIZE as usize);
        if marker.iter().any(|byte| *byte != 0) {
            return Err(FormatError::new(from, Problem::IndexMismatch));
        }
        let (varints, trailer) = rest.split_at(rest.len() - (SIZE_SIZE + TRAILER_SIZE) as usize);
        let file_checksum = check_trailer(&trailer[SIZE_SIZE as usize..], file_size - TRAILER_SIZE)?;
        let start = from + END_MARKER_SIZE;
        let mut cursor = Cursor { varints, at: 0, start };
        let mut chain = IndexChain::new();
        while let Some(entry) = read_entry(&mut || cursor.byte())? {
            chain.check(entry, start + cursor.at as u64)?;
        }
        chain.finish(from)?;
        let (found, expected) = (varints.len() as u64, cursor.at as u64);
        if found != expected {
            return Err(FormatError::new(file_size - TRAILER_SIZE - SIZE_SIZE, Problem::IndexSize { found, expected }));
        }
        Ok(Self { varints, start, pages: chain.pages, file_checksum })
    }

    /// The pages in ascending order.
    pub fn entries(&self) -> impl Iterator<Item = PageEntry> + 'a {
        let mut cursor = Cursor { varints: self.varints, at: 0, start: self.start };
        // Parsing has read them all once.
        std::iter::from_fn(move || read_entry(&mut || cursor.byte()).ok().flatten())
    }

    /// Whether the pages are those that a file with this header may and must hold.
    pub fn check_pages(&self, header: &LtxHeader) -> Result<(), FormatError> {
        let mut order = PageOrder::new(header);
        let mut end = HEADER_SIZE as u64;
        for entry in self.entries() {
            order.check(entry.page).map_err(|problem| FormatError::new(entry.offset, problem))?;
            end = entry.offset + entry.length;
        }
        order.finish().map_err(|problem| FormatError::new(end, problem))
    }
}

/// Varints with a position, for errors.
struct Cursor<'a> {
    varints: &'a [u8],
    at: usize,
    start: u64,
}

impl Cursor<'_> {
    fn byte(&mut self) -> Result<u8, FormatError> {
        let offset = self.start + self.at as u64;
        let byte = self.varints.get(self.at).ok_or_else(|| FormatError::new(offset, Problem::Truncated))?;
        self.at += 1;
        Ok(*byte)
    }
}

/// The next entry of an index, `None` at its terminator. Numbers too large for their place are the largest there is,
/// which no chain holds.
pub(super) fn read_entry(next: &mut impl FnMut() -> Result<u8, FormatError>) -> Result<Option<PageEntry>, FormatError> {
    let page = read_varint(next)?;
    if page == 0 {
        return Ok(None);
    }
    let page = u32::try_from(page).unwrap_or(u32::MAX);
    Ok(Some(PageEntry { page, offset: read_varint(next)?, length: read_varint(next)? }))
}

/// An unsigned LEB128 number.
fn read_varint(next: &mut impl FnMut() -> Result<u8, FormatError>) -> Result<u64, FormatError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = next()?;
        let bits = u64::from(byte & 0x7f);
        // Bits beyond the 64th would be lost, and make one index of two.
        if bits << shift >> shift != bits {
            return Ok(u64::MAX);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Ok(u64::MAX)
}

/// The invariants of an index: each frame starts where the one before it ends, the first behind the header, and the
/// last ends at the end marker.
pub(super) struct IndexChain {
    previous: u32,
    expected: u64,
    pub(super) pages: u64,
}

impl IndexChain {
    pub(super) fn new() -> Self {
        Self { previous: 0, expected: HEADER_SIZE as u64, pages: 0 }
    }

    /// Checks the next entry, which was read up to `at`.
    pub(super) fn check(&mut self, entry: PageEntry, at: u64) -> Result<(), FormatError> {
        let error = |problem| Err(FormatError::new(at, problem));
        let PageEntry { page, offset, length } = entry;
        if page <= self.previous || page == u32::MAX {
            return error(Problem::PageOrder { previous: self.previous, found: page });
        }
        if offset != self.expected {
            return error(Problem::IndexOffset { found: offset, expected: self.expected });
        }
        match offset.checked_add(length).filter(|_| length >= FRAME_SIZE_MIN) {
            Some(end) => self.expected = end,
            None => return error(Problem::IndexLength { page, length }),
        }
        self.previous = page;
        self.pages += 1;
        Ok(())
    }

    /// Checks that the last frame ends where the end marker starts.
    pub(super) fn finish(&self, end_marker: u64) -> Result<(), FormatError> {
        let (found, expected) = (self.expected, end_marker);
        (found == expected)
            .then_some(())
            .ok_or_else(|| FormatError::new(end_marker, Problem::FramesEnd { found, expected }))
    }
}

/// Which pages a file may hold: ascending, none beyond the database's end, never the lock page; in a snapshot all.
pub(super) struct PageOrder {
    commit: u32,
    lock_page: u32,
    snapshot: bool,
    previous: u32,
}

impl PageOrder {
    pub(super) fn new(header: &LtxHeader) -> Self {
        let lock_page = lock_page(header.page_size);
        Self { commit: header.commit, lock_page, snapshot: header.is_snapshot(), previous: 0 }
    }

    pub(super) fn check(&mut self, page: u32) -> Result<(), Problem> {
        let expected = self.after(self.previous);
        if page == self.lock_page {
            return Err(Problem::LockPage(page));
        }
        if page > self.commit {
            return Err(Problem::PageBeyondCommit(page, self.commit));
        }
        if page <= self.previous {
            return Err(Problem::PageOrder { previous: self.previous, found: page });
        }
        if self.snapshot && page != expected {
            return Err(Problem::PageMissing { expected, found: page });
        }
        self.previous = page;
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), Problem> {
        if self.snapshot && self.after(self.previous) <= self.commit {
            return Err(Problem::SnapshotIncomplete { found: self.previous, commit: self.commit });
        }
        Ok(())
    }

    fn after(&self, page: u32) -> u32 {
        let next = page.saturating_add(1);
        if next == self.lock_page { next.saturating_add(1) } else { next }
    }
}

/// Checks the 16 bytes that end a file and gives the file checksum. `at` is where they start.
pub(super) fn check_trailer(trailer: &[u8], at: u64) -> Result<u64, FormatError> {
    let database = be64(trailer, 0);
    if database != 0 {
        return Err(FormatError::new(at, Problem::DatabaseChecksum(database)));
    }
    let file = be64(trailer, 8);
    if file & CHECKSUM_FLAG == 0 {
        return Err(FormatError::new(at + 8, Problem::FileChecksum { found: file, expected: file | CHECKSUM_FLAG }));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    fn parse(file: &[u8]) -> Result<PageIndex<'_>, FormatError> {
        PageIndex::parse(file, file.len() as u64)
    }

    #[test]
    fn reads_a_genuine_index_from_the_tail() {
        let file = samples::genuine();
        let size = file.len() as u64;
        assert_eq!(PageIndex::tail_size(&file[file.len() - 24..], size), Ok(34));
        let index = PageIndex::parse(&file[file.len() - 34..], size).unwrap();
        assert_eq!(index.file_checksum, 0x899d_bd2c_70d6_19e9);
        assert_eq!(index.entries().collect::<Vec<_>>(), [PageEntry { page: 2, offset: 100, length: 57 }]);
        assert_eq!(index.pages, 1);
        assert_eq!(index.check_pages(&LtxHeader::parse(&file).unwrap()), Ok(()));
        let error = PageIndex::parse(&file[file.len() - 33..], size).unwrap_err();
        assert_eq!(error.to_string(), "unexpected end at byte 157");
    }

    #[test]
    fn a_truncated_file_has_no_index() {
        let file = samples::genuine();
        for length in 0..file.len() {
            assert!(parse(&file[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        let error = |offset: usize, bytes: &[u8]| {
            let mut file = samples::genuine();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            parse(&file).unwrap_err().to_string()
        };
        assert_eq!(error(162, &[1]), "page index does not name the frames before it at byte 157");
        assert_eq!(error(164, &[101]), "page index puts a frame at 101: expected 100 at byte 166");
        assert_eq!(error(165, &[58]), "page index's frames end at 158: expected 157 at byte 157");
        assert_eq!(error(165, &[10]), "page index gives page 2 a frame of 10 bytes: too short at byte 166");
        assert_eq!(error(166, &[1]), "unexpected end at byte 167");
        assert_eq!(error(174, &[5]), "page index does not name the frames before it at byte 156");
        assert_eq!(error(174, &[0]), "page index is 0 bytes: expected 61 at byte 167");
        assert_eq!(error(174, &[62]), "page index is 62 bytes: expected 61 at byte 167");
        assert_eq!(
            error(182, &[1]),
            "database checksum 0000000000000001 where the header's flags allow none at byte 175"
        );
    }

    #[test]
    fn pages_must_fit_the_header() {
        let file = samples::genuine();
        let index = parse(&file).unwrap();
        let header = LtxHeader::parse(&file).unwrap();
        let error = |header: LtxHeader| index.check_pages(&header).unwrap_err().to_string();
        assert_eq!(
            error(LtxHeader { commit: 1, ..header }),
            "page number 2 exceeds the database's 1 pages at byte 100"
        );
        let min = crate::domain::litestream::Txid(1);
        assert_eq!(error(LtxHeader { min, ..header }), "page number 2 in a snapshot: expected 1 at byte 100");
    }

    #[test]
    fn snapshots_skip_the_lock_page_and_nothing_else() {
        let header = LtxHeader { page_size: 65536, commit: 16387, ..LtxHeader::parse(&samples::genuine()).unwrap() };
        let header = LtxHeader { min: crate::domain::litestream::Txid(1), ..header };
        let mut order = PageOrder::new(&header);
        for page in (1..=16384).chain(16386..=16387) {
            if page == 16387 {
                assert_eq!(order.finish(), Err(Problem::SnapshotIncomplete { found: 16386, commit: 16387 }));
            }
            assert_eq!(order.check(page), Ok(()));
        }
        assert_eq!(order.finish(), Ok(()));
        assert_eq!(PageOrder::new(&header).check(16385), Err(Problem::LockPage(16385)));
    }

    #[test]
    fn numbers_wider_than_64_bits_fit_nowhere() {
        let read = |bytes: &[u8]| {
            let mut bytes = bytes.iter();
            read_varint(&mut || bytes.next().copied().ok_or_else(|| FormatError::new(0, Problem::Truncated))).unwrap()
        };
        assert_eq!(read(&[0xe5, 0x8e, 0x26]), 624_485);
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]), u64::MAX >> 1);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]), u64::MAX);
        assert_eq!(read(&[0x80; 11]), u64::MAX);
    }

    proptest! {
        #[test]
        fn never_panics(file: Vec<u8>, size: u64) {
            let _ = PageIndex::parse(&file, size);
            let _ = parse(&file);
        }

        #[test]
        fn names_every_frame(file in samples::ltx_file()) {
            let index = parse(&file.bytes).unwrap();
            let pages: Vec<u32> = index.entries().map(|entry| entry.page).collect();
            prop_assert_eq!(pages, file.pages.iter().map(|(page, _)| *page).collect::<Vec<_>>());
            prop_assert_eq!(index.check_pages(&LtxHeader::parse(&file.bytes).unwrap()), Ok(()));
        }

        #[test]
        fn never_panics_on_damaged_files(file in samples::ltx_file(), damage in samples::damage()) {
            let bytes = damage.apply(&file.bytes);
            if let (Ok(index), Ok(header)) = (parse(&bytes), LtxHeader::parse(&bytes)) {
                let _ = index.check_pages(&header);
            }
        }
    }
}
