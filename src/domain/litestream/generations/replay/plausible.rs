//! How long the database in a v0.3 snapshot may be, so that a bomb is no full disk.

use super::ReplayError;
use crate::domain::limits::SNAPSHOT_SURPLUS_BYTES_MAX;
use crate::domain::sqlite::DatabaseHeader;

/// The length of a snapshot that its header makes plausible. A few kilobytes can decompress to megabytes.
#[derive(Clone, Copy, Default)]
pub(super) struct Plausible(Option<(u32, u32)>);

impl Plausible {
    pub(super) fn of(header: &DatabaseHeader) -> Self {
        Self(header.page_count.map(|pages| (pages, header.page_size)))
    }

    pub(super) fn expected(self) -> Option<u64> {
        self.0.map(|(pages, page_size)| u64::from(pages) * u64::from(page_size))
    }

    /// A file may be longer than its database: it grows in steps that a program has chosen, and one that has shrunk is
    /// cut by the checkpoint that ends it.
    pub(super) fn check(self, bytes: u64) -> Result<(), ReplayError> {
        let (Some((pages, page_size)), Some(expected)) = (self.0, self.expected()) else { return Ok(()) };
        let most = expected.saturating_add(expected.max(SNAPSHOT_SURPLUS_BYTES_MAX));
        if bytes > most {
            return Err(ReplayError::Surplus { bytes: most, pages, page_size });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::domain::litestream::generations::AgeIdentities;
    use crate::domain::litestream::samples::lz4_frame;
    use crate::domain::litestream::{Batch, Generation, ObjectName, Replay, ReplayFile, SnapshotName, fuzz};
    use crate::domain::reason::{Reason, ReasonKind};

    const PAGE: usize = 512;

    /// Counts what is written, and has room for so many bytes.
    struct Room(RefCell<u64>, u64);

    impl ReplayFile for &Room {
        fn write(&self, _: Vec<(u64, usize)>, batch: Batch) -> Result<(), Reason> {
            *self.0.borrow_mut() += batch.content().len() as u64;
            Ok(())
        }

        fn set_len(&self, _: u64) -> Result<(), Reason> {
            Ok(())
        }

        fn expect(&self, bytes: u64) -> Result<(), Reason> {
            if bytes > self.1 { Err(Reason::new(ReasonKind::Failed, "no room")) } else { Ok(()) }
        }
    }

    #[test]
    fn a_snapshot_that_expands_beyond_its_header_is_ended_early() {
        let snapshot = |pages: u32, megabytes: usize| {
            let mut content = vec![0; PAGE];
            content[..20].copy_from_slice(b"SQLite format 3\0\x02\x00\x02\x02");
            content[28..32].copy_from_slice(&pages.to_be_bytes());
            content.resize(megabytes << 20, 0);
            lz4_frame(&content)
        };
        let run = |snapshot: &[u8], room: u64| {
            let room = Room(RefCell::new(0), room);
            let mut replay = Replay::new(&room, AgeIdentities::default());
            let name = ObjectName::Snapshot(Generation(0), SnapshotName { index: 0 });
            let done = fuzz::apply(&mut replay, name, snapshot).map(drop);
            drop(replay);
            (done, room.0.into_inner())
        };
        let bomb = snapshot(3, 200);
        assert!(bomb.len() < 1 << 20, "{}", bomb.len());
        let (done, written) = run(&bomb, u64::MAX);
        let most = 3 * PAGE as u64 + SNAPSHOT_SURPLUS_BYTES_MAX;
        assert_eq!(done, Err(ReplayError::Surplus { bytes: most, pages: 3, page_size: PAGE as u32 }));
        assert!(written <= most, "{written}");
        // What it says of itself does not fit.
        let (done, written) = run(&snapshot(u32::MAX, 2), 1 << 30);
        assert_eq!((done, written), (Err(ReplayError::Write(Reason::new(ReasonKind::Failed, "no room"))), 0));
        // Longer than its database, as a file may be; and without a page count, as old programs write it.
        assert_eq!(run(&snapshot(3, 60), u64::MAX), (Ok(()), 60 << 20));
        assert_eq!(run(&snapshot(0, 200), 0), (Ok(()), 200 << 20));
    }
}
