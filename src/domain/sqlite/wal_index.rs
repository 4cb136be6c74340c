//! The first 136 bytes of a `-shm` file (SQLite WAL format §2): what is committed, backfilled and read.

use super::wal::{WalChecksum, WordOrder};
use super::{FormatError, FormatProblem, WalPosition, committed_end, page_size, word};

/// Bytes that hold both copies of the header and the checkpoint information.
pub const WAL_INDEX_BYTES: usize = 136;

/// Size of one copy of the header.
const COPY_BYTES: usize = 48;

/// The only version there is (`WALINDEX_MAX_VERSION`).
const VERSION: u32 = 3_007_000;

/// Page numbers of frames in the first block of the wal-index (`HASHTABLE_NPAGE_ONE`), in all others
/// (`HASHTABLE_NPAGE`), and the size of a block.
const FIRST_BLOCK_FRAMES: u32 = 4_062;
const BLOCK_FRAMES: u32 = 4_096;
const BLOCK_BYTES: u64 = 32_768;

/// A read mark that no reader uses (`READMARK_NOT_USED`).
const UNUSED_MARK: u32 = u32::MAX;

/// The header of the wal-index, in this machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WalIndexHeader {
    /// One more with each write transaction (`iChange`); starts again at 0 when the wal-index is rebuilt.
    pub change: u32,
    /// Committed frames (`mxFrame`).
    pub frames: u32,
    /// Pages in the database; 0 when nothing was recovered.
    pub page_count: u32,
    /// Bytes in a page; `None` when nothing was written since the wal-index was built.
    pub page_size: Option<u32>,
    pub salt1: u32,
    pub salt2: u32,
    /// Frames that are already in the database file (`nBackfill`), at most `frames`.
    pub backfilled: u32,
    /// Frames that a checkpoint has begun to copy (`nBackfillAttempted`), at most `frames`: written before the database
    /// file is, where `backfilled` is written after.
    pub attempted: u32,
    /// The lowest used read mark above 0.
    pub oldest_reader: Option<u32>,
}

impl WalIndexHeader {
    /// Reads the first 136 bytes of a `-shm` file: both copies equal, initialised, and the checksum right.
    ///
    /// [`FormatProblem::CopiesDiffer`], [`FormatProblem::Checksum`] and [`FormatProblem::NotInitialised`] are what a
    /// writer in the middle of an update looks like: read again.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let error = |offset, problem| FormatError::new("wal-index header", offset, problem);
        let Some(index) = bytes.first_chunk::<WAL_INDEX_BYTES>() else {
            let problem = FormatProblem::Short { have: bytes.len() as u64, need: WAL_INDEX_BYTES as u64 };
            return Err(error(0, problem));
        };
        let number = |at| word(index, at).map_or(0, u32::from_ne_bytes);
        if index[..COPY_BYTES] != index[COPY_BYTES..2 * COPY_BYTES] {
            return Err(error(COPY_BYTES as u64, FormatProblem::CopiesDiffer));
        }
        if index[12] == 0 {
            return Err(error(12, FormatProblem::NotInitialised));
        }
        let checksum = WalChecksum::default().extend(WordOrder::NATIVE, &index[..40]);
        if checksum != WalChecksum(number(40), number(44)) {
            return Err(error(40, FormatProblem::Checksum));
        }
        if number(0) != VERSION {
            return Err(error(0, FormatProblem::Version(number(0))));
        }
        let stored = u32::from(u16::from_ne_bytes([index[14], index[15]]));
        // 65536 does not fit into two bytes: its bit 16 is kept in bit 0.
        let bytes = (stored & 0xfe00) + ((stored & 1) << 16);
        let page_size = if stored == 0 {
            None
        } else {
            Some(page_size(bytes).ok_or_else(|| error(14, FormatProblem::PageSize(stored)))?)
        };
        let frames = number(16);
        if frames > 0 && page_size.is_none() {
            return Err(error(14, FormatProblem::PageSize(0)));
        }
        // Raw bytes of the WAL header, therefore big-endian.
        let salt = |at| word(index, at).map_or(0, u32::from_be_bytes);
        let marks = (0..5).map(|mark| number(100 + 4 * mark)).filter(|&mark| mark != 0 && mark != UNUSED_MARK);
        Ok(Self {
            change: number(8),
            frames,
            page_count: number(20),
            page_size,
            salt1: salt(32),
            salt2: salt(36),
            // A reset writes the header first and clears this afterwards.
            backfilled: number(96).min(frames),
            attempted: number(128).min(frames),
            oldest_reader: marks.min(),
        })
    }

    /// No checkpoint has begun that has not ended: what it copied is in the file, and nothing else.
    pub fn is_settled(&self) -> bool {
        self.attempted == self.backfilled
    }

    /// How far checkpoints got, and in which WAL: while that stays the same, none has begun to write to the database.
    pub fn copied(&self) -> (u32, u32, u32, u32) {
        (self.salt1, self.salt2, self.attempted, self.backfilled)
    }

    /// Whether both were read from the same WAL.
    pub fn same_wal(&self, other: &Self) -> bool {
        (self.salt1, self.salt2) == (other.salt1, other.salt2)
    }

    /// The committed end; `None` when nothing was written since the wal-index was built.
    pub fn position(&self) -> Option<WalPosition> {
        let end = committed_end(self.frames, self.page_size?);
        Some(WalPosition { salt1: self.salt1, salt2: self.salt2, end })
    }
}

/// Where the wal-index keeps the page number of a frame, counted from 1, and how many frames from it on have theirs
/// right behind each other.
pub fn page_number_at(frame: u32) -> (u64, u32) {
    let index = frame.saturating_sub(1);
    match index.checked_sub(FIRST_BLOCK_FRAMES) {
        None => (WAL_INDEX_BYTES as u64 + 4 * u64::from(index), FIRST_BLOCK_FRAMES - index),
        Some(beyond) => {
            let (block, slot) = (1 + beyond / BLOCK_FRAMES, beyond % BLOCK_FRAMES);
            (u64::from(block) * BLOCK_BYTES + 4 * u64::from(slot), BLOCK_FRAMES - slot)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `-shm` after two commits with page size 4096.
    fn written() -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        connection.execute_batch("pragma journal_mode=wal; create table t(x); insert into t values (1)").unwrap();
        std::fs::read(directory.path().join("db-shm")).unwrap()
    }

    fn error(bytes: &[u8]) -> String {
        WalIndexHeader::parse(bytes).unwrap_err().to_string()
    }

    #[test]
    fn reads_what_sqlite_wrote() {
        let header = WalIndexHeader::parse(&written()).unwrap();
        assert_eq!((header.change, header.frames, header.page_count), (2, 3, 2));
        assert_eq!((header.page_size, header.backfilled, header.oldest_reader), (Some(4096), 0, Some(2)));
        assert_eq!(header.position().unwrap().end, 32 + 3 * 4120);
        assert!(header.is_settled());
    }

    #[test]
    fn says_where_the_page_number_of_each_frame_is() {
        let directory = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        let setup =
            "pragma page_size=512; pragma journal_mode=wal; pragma synchronous=off; pragma wal_autocheckpoint=0;
                     create table t(x); insert into t values (zeroblob(4500000))";
        connection.execute_batch(setup).unwrap();
        let read = |suffix: &str| std::fs::read(directory.path().join(format!("db{suffix}"))).unwrap();
        let (index, wal) = (read("-shm"), read("-wal"));
        let frames = WalIndexHeader::parse(&index).unwrap().frames;
        assert!(frames > 4062 + 4096, "{frames} frames are in more than two blocks");
        let mut together = 0;
        for frame in 1..=frames {
            let (at, more) = page_number_at(frame);
            assert!(together == 0 || more == together, "frame {frame}");
            together = more - 1;
            let said = u32::from_ne_bytes(*index[at as usize..].first_chunk().unwrap());
            let written = *wal[committed_end(frame - 1, 512) as usize..].first_chunk().unwrap();
            assert_eq!(said, u32::from_be_bytes(written), "frame {frame}");
        }
    }

    #[test]
    fn names_the_offset() {
        let good = written();
        let with = |changes: &[usize]| {
            let mut bytes = good.clone();
            changes.iter().for_each(|&at| bytes[at] ^= 1);
            error(&bytes)
        };
        assert_eq!(error(&good[..3]), "wal-index header at offset 0: 3 bytes instead of 136");
        assert_eq!(error(&[0; 136]), "wal-index header at offset 12: not initialised");
        assert_eq!(with(&[16]), "wal-index header at offset 48: the two copies differ");
        assert_eq!(with(&[16, 64]), "wal-index header at offset 40: checksum does not match");
    }

    proptest! {
        #[test]
        fn never_accepts_a_changed_copy(at in 0usize..96, flip in 1u8..) {
            static WRITTEN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(written);
            let mut bytes = WRITTEN.clone();
            bytes[at] ^= flip;
            prop_assert!(WalIndexHeader::parse(&bytes).is_err());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            crate::domain::sqlite::fuzz::wal_index(&bytes);
            crate::domain::sqlite::fuzz::database_header(&bytes);
            crate::domain::sqlite::fuzz::wal(&bytes);
        }
    }
}
