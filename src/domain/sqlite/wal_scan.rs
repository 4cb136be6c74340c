//! Finds the committed end of a WAL by its salts and checksums, as SQLite's recovery does.

use super::{FRAME_HEADER_BYTES, FrameHeader, WalChecksum, WalHeader, WalPosition, committed_end, frame_bytes};

/// Walks the frames of one WAL and remembers the last commit, from which it can go on when the file has grown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalScanner {
    header: WalHeader,
    /// After the last frame that was taken.
    checksum: WalChecksum,
    frames: u32,
    /// After the last commit frame.
    committed_checksum: WalChecksum,
    committed_frames: u32,
    commits: u64,
}

impl WalScanner {
    /// Starts in front of the first frame.
    pub fn new(header: WalHeader) -> Self {
        let checksum = header.checksum;
        Self { header, checksum, frames: 0, committed_checksum: checksum, committed_frames: 0, commits: 0 }
    }

    /// The header with which it started. When the file has another one, the scan is void.
    pub fn header(&self) -> &WalHeader {
        &self.header
    }

    /// Where in the file the next bytes for [`feed`](Self::feed) are.
    pub fn offset(&self) -> u64 {
        committed_end(self.frames, self.header.page_size)
    }

    /// Bytes that one frame takes in the file.
    pub fn frame_bytes(&self) -> usize {
        // At most 65 560.
        frame_bytes(self.header.page_size) as usize
    }

    /// Takes the whole frames in `bytes`, which start at [`offset`](Self::offset); a partial last frame is left for the
    /// next call. Returns false when a frame does not belong to this WAL, which is where its valid prefix ends.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        bytes.chunks_exact(self.frame_bytes()).all(|frame| self.take(frame))
    }

    /// Goes back behind the last commit: frames after it may be overwritten by the next transaction.
    pub fn rewind(&mut self) {
        self.frames = self.committed_frames;
        self.checksum = self.committed_checksum;
    }

    /// Frames up to and including the last commit.
    pub fn committed_frames(&self) -> u32 {
        self.committed_frames
    }

    /// Transactions committed in this WAL so far.
    pub fn commits(&self) -> u64 {
        self.commits
    }

    /// The committed end.
    pub fn position(&self) -> WalPosition {
        let WalHeader { salt1, salt2, page_size, .. } = self.header;
        WalPosition { salt1, salt2, end: committed_end(self.committed_frames, page_size) }
    }

    fn take(&mut self, frame: &[u8]) -> bool {
        let Some((head, page)) = frame.split_at_checked(FRAME_HEADER_BYTES) else { return false };
        let Ok(frame) = FrameHeader::parse(head, self.offset()) else { return false };
        if frame.page_number == 0 || (frame.salt1, frame.salt2) != (self.header.salt1, self.header.salt2) {
            return false;
        }
        let order = self.header.order;
        let checksum = self.checksum.extend(order, &head[..8]).extend(order, page);
        if checksum != frame.checksum {
            return false;
        }
        let Some(frames) = self.frames.checked_add(1) else { return false };
        (self.frames, self.checksum) = (frames, checksum);
        if frame.commit_pages != 0 {
            (self.committed_frames, self.committed_checksum) = (frames, checksum);
            self.commits += 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::sqlite::{WAL_HEADER_BYTES, WalIndexHeader};

    /// `-wal` and `-shm` of a database into which rusqlite wrote `transactions` transactions of some pages each, the
    /// last one left uncommitted in the log.
    fn written(page_size: u32, transactions: u32) -> (Vec<u8>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection
            .execute_batch(&format!(
                "pragma page_size={page_size}; pragma journal_mode=wal; pragma wal_autocheckpoint=0;
                 pragma cache_size=1; create table t(x)"
            ))
            .unwrap();
        for transaction in 1..transactions {
            connection.execute("insert into t values (randomblob(?1))", [transaction * 3000]).unwrap();
        }
        connection.execute_batch("begin; insert into t values (randomblob(300000))").unwrap();
        let beside = |suffix| std::fs::read(directory.path().join(suffix)).unwrap();
        (beside("db-wal"), beside("db-shm"))
    }

    fn scan(wal: &[u8]) -> WalScanner {
        let mut scanner = WalScanner::new(WalHeader::parse(wal).unwrap());
        scanner.feed(&wal[WAL_HEADER_BYTES..]);
        scanner
    }

    #[test]
    fn agrees_with_the_wal_index() {
        for page_size in [512, 4096, 65_536] {
            let (wal, shm) = written(page_size, 9);
            let (scanner, index) = (scan(&wal), WalIndexHeader::parse(&shm).unwrap());
            assert_eq!(scanner.commits(), 9);
            assert_eq!(scanner.commits(), u64::from(index.change));
            assert_eq!(scanner.committed_frames(), index.frames);
            assert_eq!(Some(scanner.header().page_size), index.page_size);
            assert_eq!((scanner.header().salt1, scanner.header().salt2), (index.salt1, index.salt2));
            assert!(scanner.position().end < wal.len() as u64, "the open transaction is in the file");
        }
    }

    #[test]
    fn goes_on_where_it_stopped() {
        let (wal, _) = written(4096, 6);
        let whole = scan(&wal);
        let mut steps = WalScanner::new(*whole.header());
        while steps.offset() < whole.position().end {
            let from = steps.offset() as usize;
            assert!(steps.feed(&wal[from..from + steps.frame_bytes() + 7]));
        }
        steps.rewind();
        let mut whole = whole;
        whole.rewind();
        assert_eq!(steps, whole);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn damage_only_shortens_the_committed_prefix(at in 0usize..200_000, flip in 1u8.., cut in 0usize..200_000) {
            static WRITTEN: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| written(512, 12).0);
            let whole = scan(&WRITTEN);
            let mut damaged = WRITTEN.clone();
            let at = at % damaged.len();
            damaged[at] ^= flip;
            damaged.truncate(damaged.len() - cut % damaged.len());
            if let Ok(header) = WalHeader::parse(&damaged) {
                let mut scanner = WalScanner::new(header);
                scanner.feed(&damaged[WAL_HEADER_BYTES..]);
                prop_assert!(scanner.committed_frames() <= whole.committed_frames());
                prop_assert!(scanner.position().end <= damaged.len() as u64);
                if (at as u64) < whole.position().end && at >= WAL_HEADER_BYTES {
                    prop_assert!(scanner.position().end <= at as u64);
                }
            }
            crate::domain::sqlite::fuzz::wal(&damaged);
        }
    }
}
