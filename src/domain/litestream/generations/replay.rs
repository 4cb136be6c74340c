//! Makes a database of a v0.3 snapshot and the WAL segments behind it, as SQLite's own recovery and checkpoint would.

mod plausible;
mod wal;

use std::hash::Hasher;
use std::io::Read;

use twox_hash::XxHash32;

use super::encryption::AgeIdentities;
use super::name::SegmentName;
use crate::domain::limits::{OPEN_TRANSACTION_BYTES_MAX, REPLAY_BATCH_BYTES};
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::Input;
use crate::domain::litestream::lz4::{Batch, Lz4Blocks};
use crate::domain::litestream::object::ObjectName;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{self, DatabaseHeader, WalHeader, WalPosition, frame_bytes};

use plausible::Plausible;
pub use wal::BadFrame;
use wal::{Waiting, Wal};

/// The file that a replay writes.
pub trait ReplayFile {
    /// Takes what is to be written. Each part is an offset in the file, and how many of the bytes go there.
    ///
    /// # Errors
    ///
    /// Why it could not be written; the replay then ends.
    fn write(&self, parts: Vec<(u64, usize)>, content: Batch) -> Result<(), Reason>;

    /// Memory for what is written next, best that of what was written before.
    fn memory(&self) -> Batch {
        Batch::default()
    }

    /// Makes it exactly `bytes` long.
    ///
    /// # Errors
    ///
    /// As for [`write`](Self::write).
    fn set_len(&self, bytes: u64) -> Result<(), Reason>;

    /// It is going to be about `bytes` long.
    ///
    /// # Errors
    ///
    /// That there is no room for that.
    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        let _ = bytes;
        Ok(())
    }
}

/// An object that was read to its end and is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Bytes that it decompresses to.
    pub decoded_bytes: u64,
    /// The xxHash32 of its content, which it carries.
    pub checksum: u32,
}

/// The database that a replay made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub bytes: u64,
    pub page_size: u32,
    pub pages: u32,
    /// Where the source's WAL was committed then; `None` where there is nothing but the snapshot.
    pub position: Option<WalPosition>,
    /// Bytes behind the last whole frame of the last segment, which say nothing.
    pub trailing_bytes: u64,
}

/// Why a replay ended. What was written by then is void.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    #[error(transparent)]
    Object(#[from] FormatError),
    /// In what the object decompresses to.
    #[error("decompressed {0}")]
    Content(#[from] sqlite::FormatError),
    /// Not the first one of its index, and it does not begin where the one before it ends.
    #[error("a segment is missing before it: the one before it ends at {:08x}", .0.offset)]
    Missing(SegmentName),
    #[error("it begins before the end of the segment before it, {end:08x}")]
    Overlap { end: u64 },
    #[error("its WAL has pages of {found} bytes: the database has pages of {expected}")]
    PageSize { found: u32, expected: u32 },
    /// It goes on where the database has ended for long.
    #[error(
        "it decompresses to more than {bytes} bytes: the database in it says that it has {pages} pages of {page_size}"
    )]
    Surplus { bytes: u64, pages: u32, page_size: u32 },
    #[error("a database of {bytes} bytes is not a whole number of pages of {page_size}")]
    Length { bytes: u64, page_size: u32 },
    #[error("{0}")]
    Frame(BadFrame),
    /// A snapshot behind segments, or a segment without one.
    #[error("a segment without a snapshot before it")]
    NoSnapshot,
    /// The last WAL ends inside a transaction that was too large to be held back.
    #[error("the last transaction is incomplete, and larger than {OPEN_TRANSACTION_BYTES_MAX} bytes")]
    OpenTransaction,
    #[error(transparent)]
    Write(Reason),
}

impl From<ReplayError> for Reason {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Object(error) => error.into(),
            ReplayError::Write(reason) => reason,
            error => Self::new(ReasonKind::Corrupt, error.to_string()),
        }
    }
}

/// A database in the making. Feed it the snapshot, then the segments from the snapshot's index on in the order of
/// their names, then [`finish`](Self::finish).
pub struct Replay<F> {
    file: F,
    identities: AgeIdentities,
    /// A block before it is decoded.
    compressed: Vec<u8>,
    /// What was decoded and not written.
    batch: Batch,
    /// The index of the snapshot, whose WAL comes first.
    first_index: u32,
    page_size: u32,
    bytes: u64,
    wal: Option<Wal>,
    waiting: Waiting,
}

/// The object that is being taken.
enum Current {
    Snapshot(Image),
    Segment(SegmentName),
}

/// The database in a snapshot.
struct Image {
    index: u32,
    bytes: u64,
    page_size: u32,
    plausible: Plausible,
}

impl Image {
    /// Writes what comes next, and gives memory for what follows.
    fn take(&mut self, content: Batch, file: &impl ReplayFile) -> Result<Batch, ReplayError> {
        let count = content.content().len();
        if self.bytes == 0 {
            let header = DatabaseHeader::parse(content.content())?;
            self.page_size = header.page_size;
            self.plausible = Plausible::of(&header);
            self.plausible.expected().map_or(Ok(()), |bytes| file.expect(bytes)).map_err(ReplayError::Write)?;
        }
        self.plausible.check(self.bytes + count as u64)?;
        file.write(vec![(self.bytes, count)], content).map_err(ReplayError::Write)?;
        self.bytes += count as u64;
        let mut memory = file.memory();
        memory.clear();
        Ok(memory)
    }
}

impl<F: ReplayFile> Replay<F> {
    /// What is encrypted is read with `identities`.
    pub fn new(file: F, identities: AgeIdentities) -> Self {
        Self {
            file,
            identities,
            compressed: Vec::new(),
            batch: Batch::default(),
            first_index: 0,
            page_size: 0,
            bytes: 0,
            wal: None,
            waiting: Waiting::default(),
        }
    }

    /// Takes an object to its end: the snapshot of an index, which is a copy of the database file, or the next segment, bytes
    /// of the WAL of its index.
    ///
    /// # Errors
    ///
    /// When the object is bad, another one should have come before it, or the file cannot be written.
    pub fn object(&mut self, name: ObjectName, object: impl Read) -> Result<Applied, ReplayError> {
        let mut current = self.begin(name)?;
        let mut content = self.identities.open(object)?;
        let applied = self.take(&mut current, &mut content).map_err(|error| match error {
            ReplayError::Object(error) => content.blame(error).into(),
            error => error,
        })?;
        if let Current::Snapshot(Image { index, bytes, page_size, .. }) = current {
            if !bytes.is_multiple_of(u64::from(page_size)) {
                return Err(ReplayError::Length { bytes, page_size });
            }
            (self.first_index, self.page_size, self.bytes) = (index, page_size, bytes);
        }
        Ok(applied)
    }

    fn begin(&mut self, name: ObjectName) -> Result<Current, ReplayError> {
        match name {
            ObjectName::Snapshot(_, snapshot) if self.page_size == 0 => Ok(Current::Snapshot(Image {
                index: snapshot.index,
                bytes: 0,
                page_size: 0,
                plausible: Plausible::default(),
            })),
            ObjectName::Segment(_, segment) if self.page_size != 0 => {
                self.check_start(segment)?;
                Ok(Current::Segment(segment))
            }
            _ => Err(ReplayError::NoSnapshot),
        }
    }

    /// Decodes one LZ4 frame, behind which there has to be nothing.
    fn take(&mut self, current: &mut Current, content: &mut impl Read) -> Result<Applied, ReplayError> {
        let problem = match current {
            Current::Snapshot(_) => Problem::DecompressSnapshot,
            Current::Segment(_) => Problem::DecompressSegment,
        };
        // After an error, nothing is decoded any more.
        let (mut compressed, mut batch) = (std::mem::take(&mut self.compressed), std::mem::take(&mut self.batch));
        let (mut hash, mut decoded) = (XxHash32::default(), 0);
        let mut input = Input::new(content);
        let mut blocks = Lz4Blocks::begin(&mut input, &mut compressed)?;
        let (mut more, mut checksum) = (true, None);
        while more {
            // Segments are decoded to where their frames wait.
            let memory = match current {
                Current::Snapshot(_) => &mut batch,
                Current::Segment(_) => self.waiting.room(),
            };
            let before = memory.content().len();
            more = blocks.fill(memory, before + REPLAY_BATCH_BYTES, problem)?;
            let fresh = &memory.content()[before..];
            let count = fresh.len();
            hash.write(fresh);
            decoded += count as u64;
            if !more {
                checksum = blocks.content_checksum(hash.finish() as u32, problem)?;
            }
            match current {
                Current::Snapshot(image) => batch = image.take(batch, &self.file)?,
                Current::Segment(name) => self.frames(*name, count, decoded, !more)?,
            }
        }
        drop(blocks);
        input.finish()?;
        (self.compressed, self.batch) = (compressed, batch);
        let checksum = checksum.ok_or_else(|| FormatError::new(0, Problem::Lz4Unchecked))?;
        Ok(Applied { decoded_bytes: decoded, checksum })
    }

    /// Cuts the database to its size. A transaction at the end of the last WAL whose commit is not there is left out,
    /// as SQLite does: Litestream may upload a segment while it still copies what follows.
    ///
    /// # Errors
    ///
    /// Why the file cannot be written, or that the last transaction cannot be taken back.
    pub fn finish(mut self) -> Result<Replayed, ReplayError> {
        if self.page_size == 0 {
            return Err(ReplayError::NoSnapshot);
        }
        let (mut position, mut trailing_bytes) = (None, 0);
        if let Some(mut wal) = self.wal.take() {
            self.checkpoint(&mut wal)?;
            if wal.spilt {
                return Err(ReplayError::OpenTransaction);
            }
            let WalHeader { salt1, salt2, .. } = wal.header;
            position = Some(WalPosition { salt1, salt2, end: wal.committed });
            trailing_bytes = wal.trailing as u64;
        }
        let page_size = self.page_size;
        let pages = u32::try_from(self.bytes / u64::from(page_size))
            .map_err(|_| ReplayError::Length { bytes: self.bytes, page_size })?;
        self.file.set_len(self.bytes).map_err(ReplayError::Write)?;
        Ok(Replayed { bytes: self.bytes, page_size, pages, position, trailing_bytes })
    }

    /// Whether the segment goes on where the one before it ended, and begins a new WAL only behind a whole one.
    fn check_start(&mut self, name: SegmentName) -> Result<(), ReplayError> {
        match self.wal.take() {
            // SQLite ends there, and what Litestream makes of the rest depends on its release.
            Some(wal) if wal.trailing > 0 => {
                return Err(ReplayError::Missing(SegmentName { index: wal.index, offset: wal.end }));
            }
            Some(wal) if wal.index == name.index && wal.end == name.offset => self.wal = Some(wal),
            Some(wal) if wal.index == name.index && wal.end > name.offset => {
                return Err(ReplayError::Overlap { end: wal.end });
            }
            // What has no commit goes on in a segment that is not there.
            Some(wal) if wal.index == name.index || wal.end > wal.committed => {
                return Err(ReplayError::Missing(SegmentName { index: wal.index, offset: wal.end }));
            }
            Some(mut wal) if name.offset == 0 && wal.index.checked_add(1) == Some(name.index) => {
                self.checkpoint(&mut wal)?;
            }
            Some(wal) => {
                return Err(ReplayError::Missing(SegmentName { index: wal.index.saturating_add(1), offset: 0 }));
            }
            None if name.offset == 0 && name.index == self.first_index => {}
            None => return Err(ReplayError::Missing(SegmentName { index: self.first_index, offset: 0 })),
        }
        Ok(())
    }

    /// Writes what is committed; the database is then as long as the last commit says.
    fn checkpoint(&mut self, wal: &mut Wal) -> Result<(), ReplayError> {
        wal.write(&mut self.waiting, frame_bytes(self.page_size) as usize, &self.file)?;
        self.waiting.clear();
        if wal.pages != 0 {
            self.bytes = u64::from(wal.pages) * u64::from(self.page_size);
            self.file.set_len(self.bytes).map_err(ReplayError::Write)?;
        }
        Ok(())
    }

    /// Takes the last `count` bytes that were decoded of the WAL, up to the last ones of a segment, of which so many were
    /// `decoded` with these.
    fn frames(&mut self, name: SegmentName, count: usize, decoded: u64, last: bool) -> Result<(), ReplayError> {
        if name.offset == 0 && decoded == count as u64 {
            let header = WalHeader::parse(self.waiting.header())?;
            let (found, expected) = (header.page_size, self.page_size);
            if found != expected {
                return Err(ReplayError::PageSize { found, expected });
            }
            self.wal = Some(Wal::new(name.index, header));
        }
        let Some(wal) = &mut self.wal else { return Err(FormatError::new(0, Problem::SegmentStart).into()) };
        // At most 65 560.
        let frame = frame_bytes(self.page_size) as usize;
        if decoded == 0 {
            return Err(FormatError::new(decoded, Problem::SegmentLength(decoded)).into());
        }
        wal.take(&mut self.waiting, frame)?;
        if last {
            wal.trailing = self.waiting.bytes() % frame;
        }
        if self.waiting.bytes() < REPLAY_BATCH_BYTES {
            return Ok(());
        }
        wal.write(&mut self.waiting, frame, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples::{self, lz4_frame};
    use crate::domain::litestream::{Generation, SnapshotName, fuzz};
    use crate::domain::sqlite::{FRAME_HEADER_BYTES, WAL_HEADER_BYTES, WAL_MAGIC, WalChecksum, WordOrder};

    const PAGE: usize = 512;

    /// A file in memory.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Memory(RefCell<Vec<u8>>);

    impl ReplayFile for &Memory {
        fn write(&self, parts: Vec<(u64, usize)>, batch: Batch) -> Result<(), Reason> {
            let (mut bytes, mut content) = (self.0.borrow_mut(), batch.content());
            for (offset, length) in parts {
                let (start, end) = (offset as usize, offset as usize + length);
                let (part, rest) = content.split_at(length);
                let longer = bytes.len().max(end);
                bytes.resize(longer, 0);
                bytes[start..end].copy_from_slice(part);
                content = rest;
            }
            assert!(content.is_empty());
            Ok(())
        }

        fn set_len(&self, length: u64) -> Result<(), Reason> {
            self.0.borrow_mut().resize(length as usize, 0);
            Ok(())
        }
    }

    /// One transaction: the pages that it writes, and how many pages the database has then.
    type Transaction = (Vec<(u32, u8)>, u32);

    fn image(pages: usize) -> Vec<u8> {
        let mut image: Vec<u8> = (1..=pages).flat_map(|page| [page as u8; PAGE]).collect();
        image[..20].copy_from_slice(b"SQLite format 3\0\x02\x00\x02\x02");
        image
    }

    /// A WAL as SQLite writes it, and where its frames end that commit.
    fn wal(order: WordOrder, salt: u32, transactions: &[Transaction], open: &[(u32, u8)]) -> (Vec<u8>, Vec<usize>) {
        let magic = WAL_MAGIC | u32::from(order == WordOrder::Big);
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
        let mut bytes = words(&[magic, 3_007_000, PAGE as u32, 0, salt, !salt]);
        let mut checksum = WalChecksum::default().extend(order, &bytes);
        bytes.extend(words(&[checksum.0, checksum.1]));
        let mut commits = Vec::new();
        let whole = transactions.iter().map(|(pages, size)| (pages.as_slice(), *size));
        for (pages, size) in whole.chain([(open, 0)]) {
            for (number, (page, fill)) in pages.iter().enumerate() {
                let commit = if number + 1 == pages.len() { size } else { 0 };
                let (head, content) = (words(&[*page, commit]), [*fill; PAGE]);
                checksum = checksum.extend(order, &head).extend(order, &content);
                bytes.extend(head);
                bytes.extend(words(&[salt, !salt, checksum.0, checksum.1]));
                bytes.extend(content);
            }
            commits.push(bytes.len());
        }
        (bytes, commits)
    }

    /// SQLite's checkpoint of a whole WAL: the newest content of each page up to the size of the last commit.
    fn checkpoint(database: &mut Vec<u8>, transactions: &[Transaction]) {
        let Some((_, pages)) = transactions.last() else { return };
        for (page, fill) in transactions.iter().flat_map(|(pages, _)| pages).filter(|(page, _)| page <= pages) {
            let end = *page as usize * PAGE;
            database.resize(database.len().max(end), 0);
            database[end - PAGE..end].fill(*fill);
        }
        database.resize(*pages as usize * PAGE, 0);
    }

    fn transactions() -> impl Strategy<Value = Vec<Transaction>> {
        let pages = prop::collection::vec((1..12u32, any::<u8>()), 1..5);
        prop::collection::vec((pages, 1..12u32), 0..5)
    }

    /// Cuts a WAL at frames that the numbers choose.
    fn cut(index: u32, wal: &[u8], at: &[prop::sample::Index]) -> Vec<(SegmentName, Vec<u8>)> {
        let frame = PAGE + FRAME_HEADER_BYTES;
        let frames = (wal.len() - WAL_HEADER_BYTES) / frame;
        let place = |index: &prop::sample::Index| WAL_HEADER_BYTES + (index.index(frames.max(1))) * frame;
        let mut cuts: Vec<usize> = at.iter().map(place).filter(|at| *at < wal.len()).collect();
        cuts.extend([0, wal.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let part = |ends: &[usize]| (SegmentName { index, offset: ends[0] as u64 }, lz4_frame(&wal[ends[0]..ends[1]]));
        cuts.windows(2).map(part).collect()
    }

    const SNAPSHOT: ObjectName = ObjectName::Snapshot(Generation(7), SnapshotName { index: 0 });

    fn segment(name: SegmentName) -> ObjectName {
        ObjectName::Segment(Generation(7), name)
    }

    fn replay(image: &[u8], segments: &[(SegmentName, Vec<u8>)]) -> Result<(Memory, Replayed), ReplayError> {
        let file = Memory::default();
        let mut replay = Replay::new(&file, AgeIdentities::default());
        fuzz::apply(&mut replay, SNAPSHOT, &lz4_frame(image))?;
        for (name, content) in segments {
            fuzz::apply(&mut replay, segment(*name), content)?;
        }
        let replayed = replay.finish()?;
        Ok((file, replayed))
    }

    proptest! {
        #[test]
        fn a_replay_is_what_checkpoints_make(
            pages in 1..10usize,
            indexes in prop::collection::vec(transactions(), 0..4),
            open in prop::collection::vec((1..12u32, any::<u8>()), 0..3),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
            big: bool,
        ) {
            let order = if big { WordOrder::Big } else { WordOrder::Little };
            let mut expected = image(pages);
            let mut segments = Vec::new();
            let mut end = None;
            let last = indexes.len().saturating_sub(1);
            for (index, transactions) in indexes.iter().enumerate() {
                let open = if index == last { open.as_slice() } else { &[] };
                let (wal, commits) = wal(order, 7 + index as u32, transactions, open);
                checkpoint(&mut expected, transactions);
                segments.extend(cut(index as u32, &wal, &cuts));
                let committed = transactions.len().checked_sub(1).map_or(WAL_HEADER_BYTES, |last| commits[last]);
                end = Some((7 + index as u32, committed as u64));
            }
            let (file, replayed) = replay(&image(pages), &segments).unwrap();
            prop_assert_eq!(file.0.into_inner(), expected.clone());
            prop_assert_eq!(replayed.bytes, expected.len() as u64);
            prop_assert_eq!(replayed.position.map(|position| (position.salt1, position.end)), end);
        }

        #[test]
        fn a_segment_that_is_missing_is_named(
            indexes in prop::collection::vec(transactions(), 1..4),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
            lost in any::<prop::sample::Index>(),
        ) {
            let wals = indexes.iter().enumerate().map(|(index, transactions)| {
                (index as u32, wal(WordOrder::Little, 7 + index as u32, transactions, &[]))
            });
            let wals: Vec<_> = wals.collect();
            let mut segments: Vec<_> = wals.iter().flat_map(|(index, (wal, _))| cut(*index, wal, &cuts)).collect();
            let whole = segments.clone();
            let (name, _) = segments.remove(lost.index(segments.len()));
            let (_, commits) = &wals[name.index as usize].1;
            let behind = segments.iter().any(|(other, _)| other.index == name.index && *other > name);
            let later = segments.iter().any(|(other, _)| other.index > name.index);
            // The end of a WAL leaves no trace where it was committed.
            let whole_before = name.offset == WAL_HEADER_BYTES as u64 || commits.contains(&(name.offset as usize));
            let expected = if behind || later && !whole_before { Err(ReplayError::Missing(name)) } else { Ok(()) };
            prop_assert_eq!(replay(&image(3), &segments).map(drop), expected);
            prop_assert!(replay(&image(3), &whole).is_ok());
        }

        #[test]
        fn damage_is_found_or_changes_nothing(
            transactions in transactions(),
            which: bool,
            damage in samples::damage(),
        ) {
            let (wal, _) = wal(WordOrder::Little, 7, &transactions, &[]);
            let (image, first) = (lz4_frame(&image(3)), lz4_frame(&wal));
            let (damaged_image, damaged_segment) =
                if which { (damage.apply(&image), first.clone()) } else { (image.clone(), damage.apply(&first)) };
            let run = |image: &[u8], content: &[u8]| {
                let file = Memory::default();
                let mut replay = Replay::new(&file, AgeIdentities::default());
                let applied = fuzz::apply(&mut replay, SNAPSHOT, image)?;
                fuzz::apply(&mut replay, segment(SegmentName { index: 0, offset: 0 }), content)?;
                let replayed = replay.finish()?;
                Ok::<_, ReplayError>((applied.decoded_bytes, replayed, file))
            };
            let (whole, damaged) = (run(&image, &first).unwrap(), run(&damaged_image, &damaged_segment));
            prop_assert!(damaged.is_err() || damaged == Ok(whole));
        }
    }

    /// The parts that are written.
    #[derive(Default)]
    struct Parts(RefCell<Vec<(u64, usize)>>);

    impl ReplayFile for &Parts {
        fn write(&self, parts: Vec<(u64, usize)>, _: Batch) -> Result<(), Reason> {
            self.0.borrow_mut().extend(parts);
            Ok(())
        }

        fn set_len(&self, _: u64) -> Result<(), Reason> {
            Ok(())
        }
    }

    #[test]
    fn a_page_that_changes_in_several_segments_is_written_once() {
        let transactions = [(vec![(1, 1), (5, 1)], 5), (vec![(1, 2), (2, 2)], 5), (vec![(3, 3), (1, 3)], 5)];
        let (wal, commits) = wal(WordOrder::NATIVE, 7, &transactions, &[(4, 4)]);
        let written = Parts::default();
        let mut replay = Replay::new(&written, AgeIdentities::default());
        fuzz::apply(&mut replay, SNAPSHOT, &lz4_frame(&image(5))).unwrap();
        for ends in [0, commits[0], commits[1], commits[2], wal.len()].windows(2) {
            let name = segment(SegmentName { index: 0, offset: ends[0] as u64 });
            fuzz::apply(&mut replay, name, &lz4_frame(&wal[ends[0]..ends[1]])).unwrap();
        }
        assert_eq!(replay.finish().unwrap().bytes, 5 * PAGE as u64);
        assert_eq!(written.0.into_inner(), [(0, 5 * PAGE), (0, 3 * PAGE), (4 * PAGE as u64, PAGE)]);
    }

    #[test]
    fn what_is_committed_is_written_while_a_transaction_is_open() {
        // Each is three quarters of what is written at once, and shares half of its pages with the next.
        let pages = (REPLAY_BATCH_BYTES / PAGE / 4 * 3) as u32;
        let transaction = |number: u32| -> Transaction {
            let first = 1 + number * pages / 2;
            ((first..first + pages).map(|page| (page, (page + number) as u8)).collect(), first + pages - 1)
        };
        let transactions: Vec<_> = (0..4).map(transaction).collect();
        let (wal, _) = wal(WordOrder::NATIVE, 7, &transactions, &[(1, 9), (2, 9)]);
        let mut expected = image(1);
        checkpoint(&mut expected, &transactions);
        let segments = cut(0, &wal, &[]);
        assert_eq!(segments.len(), 1);
        let (file, replayed) = replay(&image(1), &segments).unwrap();
        assert!(file.0.into_inner() == expected, "another database");
        assert_eq!(replayed.bytes, expected.len() as u64);
    }

    #[test]
    fn an_open_transaction_that_was_written_is_an_error() {
        let pages: Vec<(u32, u8)> = (1..).zip([1; OPEN_TRANSACTION_BYTES_MAX / PAGE + 1]).collect();
        let name = SegmentName { index: 0, offset: 0 };
        let (open, _) = wal(WordOrder::NATIVE, 7, &[], &pages);
        let error = replay(&image(1), &[(name, lz4_frame(&open))]).unwrap_err();
        assert_eq!(error, ReplayError::OpenTransaction);
        // Behind its commit it is a transaction like any other.
        let (whole, _) = wal(WordOrder::NATIVE, 7, &[(pages.clone(), pages.len() as u32)], &[]);
        let (file, _) = replay(&image(1), &[(name, lz4_frame(&whole))]).unwrap();
        assert_eq!(file.0.into_inner(), vec![1; pages.len() * PAGE]);
    }

    #[test]
    fn what_is_behind_the_last_whole_frame_is_left_out_and_nothing_follows_it() {
        let name = |offset| SegmentName { index: 0, offset };
        let (whole, commits) = wal(WordOrder::Little, 7, &[(vec![(1, 1)], 2), (vec![(2, 2)], 2)], &[]);
        let database = |content: &[u8]| {
            let (file, replayed) = replay(&image(2), &[(name(0), lz4_frame(content))]).unwrap();
            (file.0.into_inner(), replayed.trailing_bytes)
        };
        let (first, both) = (database(&whole[..commits[0]]).0, database(&whole).0);
        assert_eq!(database(&[&whole, [7; 100].as_slice()].concat()), (both, 100));
        assert_eq!(database(&whole[..commits[1] - 1]), (first, 535));
        for (index, offset) in [(0, commits[0]), (0, commits[0] + 100), (1, 0)] {
            let cut = lz4_frame(&[&whole[..commits[0]], [7; 100].as_slice()].concat());
            let next = SegmentName { index, offset: offset as u64 };
            let error = replay(&image(2), &[(name(0), cut), (next, lz4_frame(&whole))]).unwrap_err();
            assert_eq!(error, ReplayError::Missing(name(commits[0] as u64)));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let (index, offset) = (0, 0);
        let name = SegmentName { index, offset };
        let one = |content: &[u8]| replay(&image(2), &[(name, lz4_frame(content))]).unwrap_err().to_string();
        let (good, _) = wal(WordOrder::Little, 7, &[(vec![(1, 1), (2, 2)], 2)], &[]);
        let mut bad = good.clone();
        bad[40] ^= 1;
        assert_eq!(one(&bad), "WAL frame at 00000020: salts of another WAL");
        bad = good.clone();
        *bad.last_mut().unwrap() ^= 1;
        assert_eq!(one(&bad), "WAL frame at 00000238: checksum does not match");
        assert_eq!(one(&good[..31]), "decompressed wal header at offset 0: 31 bytes instead of 32");
        assert_eq!(one(&[]), "decompressed wal header at offset 0: 0 bytes instead of 32");
        let twice = [(name, lz4_frame(&good)), (SegmentName { index, offset: 568 }, lz4_frame(&good[568..]))];
        assert_eq!(
            replay(&image(2), &twice).unwrap_err().to_string(),
            "it begins before the end of the segment before it, 00000450"
        );
        let mut other = image(2);
        other[16..18].copy_from_slice(&[4, 0]);
        let error = replay(&other, &[(name, lz4_frame(&good))]).unwrap_err();
        assert_eq!(error.to_string(), "its WAL has pages of 512 bytes: the database has pages of 1024");
        let error = replay(&[], &[]).unwrap_err();
        assert_eq!(error.to_string(), "decompressed database header at offset 0: 0 bytes instead of 100");
        let error = replay(&[7; PAGE], &[]).unwrap_err();
        assert_eq!(error.to_string(), "decompressed database header at offset 0: not the magic number");
        let error = replay(&image(2)[..1000], &[]).unwrap_err();
        assert_eq!(error.to_string(), "a database of 1000 bytes is not a whole number of pages of 512");
        let unchecked = {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            std::io::Write::write_all(&mut encoder, &good).unwrap();
            encoder.finish().unwrap()
        };
        let error = replay(&image(2), &[(name, unchecked)]).unwrap_err();
        assert_eq!(error.to_string(), "LZ4 frame without a content checksum at byte 0");
        assert_eq!(Replay::new(&Memory::default(), AgeIdentities::default()).finish(), Err(ReplayError::NoSnapshot));
    }
}
