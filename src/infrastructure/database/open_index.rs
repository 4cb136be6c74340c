//! The wal-index of a database: its `-shm`, held open from one look to the next.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use super::files::{
    self, CONNECTED_LOCK, Failure, FileStat, Paths, lock_in_the_way, open, parse_at, read_at, stat, stat_open,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{FormatError, FormatProblem, WAL_INDEX_BYTES, WalIndexHeader, page_number_at};

/// Reads of a wal-index that is being written, before the look is tried again as a whole.
const INDEX_READS: usize = 4;

/// The byte of `-shm` that a checkpoint holds from its beginning to its end (`WAL_CKPT_LOCK`).
const CHECKPOINT_LOCK: (u64, u64) = (121, 1);

/// The bytes of `-shm` of read transactions, `READ0` to `READ4`: Litestream keeps one open.
const READ_LOCKS: Range<u64> = 123..128;

/// An open `-shm`.
#[derive(Debug)]
pub(super) struct OpenIndex {
    file: File,
    /// The file when it was last described: it only grows until the wal-index is rebuilt.
    pub stat: FileStat,
}

impl OpenIndex {
    pub(super) fn open(paths: &Paths) -> Result<Option<Self>, Reason> {
        let Some(file) = open(&paths.shm)? else { return Ok(None) };
        let stat = stat_open(&file, &paths.shm)?;
        Ok(Some(Self { file, stat }))
    }

    /// Whether it is still the file at its path and in use; describes it again.
    pub(super) fn is_still_there(&mut self, paths: &Paths) -> bool {
        match stat(&paths.shm) {
            Ok(Some(found)) if found.id == self.stat.id => {
                self.stat = found;
                self.is_connected()
            }
            _ => false,
        }
    }

    /// Describes the file again.
    pub(super) fn measure(&mut self, paths: &Paths) -> Result<(), Reason> {
        self.stat = stat_open(&self.file, &paths.shm)?;
        Ok(())
    }

    /// Whether a connection maintains it. When there is none, SQLite itself does not believe what it says: the next
    /// connection rebuilds it from the log, which after a crash of the machine may hold more or less.
    pub(super) fn is_connected(&self) -> bool {
        !matches!(lock_in_the_way(&self.file, CONNECTED_LOCK), Ok(None))
    }

    /// The locks of those who have the database open.
    pub(super) fn locks(&self) -> Option<Locks> {
        locks_on(&self.file)
    }

    /// Whether pages may be on their way into the database file now.
    pub(super) fn is_checkpointing(&self) -> bool {
        !matches!(lock_in_the_way(&self.file, CHECKPOINT_LOCK), Ok(None))
    }

    /// The numbers of the pages in the last frames of `frames`, at most `most` of them.
    pub(super) fn page_numbers(&self, paths: &Paths, frames: u32, most: u32) -> Result<Vec<u32>, Reason> {
        let mut numbers = Vec::with_capacity(frames.min(most) as usize);
        let mut frame = frames.saturating_sub(most) + 1;
        while frame <= frames {
            let (at, together) = page_number_at(frame);
            let count = together.min(frames - frame + 1);
            let mut bytes = vec![0; 4 * count as usize];
            read_at(&self.file, &paths.shm, &mut bytes, at)?;
            numbers.extend(bytes.as_chunks().0.iter().map(|number| u32::from_ne_bytes(*number)));
            frame += count;
        }
        Ok(numbers)
    }

    /// What the header says; one that is being written is read again, at most so many times.
    pub(super) fn header(&self, paths: &Paths, reads: usize) -> Result<Result<WalIndexHeader, FormatError>, Reason> {
        let mut left = reads;
        loop {
            left = left.saturating_sub(1);
            match parse_at::<WAL_INDEX_BYTES, _>(&self.file, &paths.shm, 0, WalIndexHeader::parse)? {
                Err(_) if left > 0 => std::thread::yield_now(),
                header => return Ok(header),
            }
        }
    }

    /// The header; `None` when the first connection has not built it (yet).
    pub(super) fn read(&self, paths: &Paths) -> Result<Option<WalIndexHeader>, Failure> {
        let error = match self.header(paths, INDEX_READS)? {
            Ok(header) => return Ok(Some(header)),
            Err(error) => error,
        };
        let message = format!("read {}: {error}", paths.shm.display());
        match error.problem {
            FormatProblem::Short { .. } | FormatProblem::NotInitialised => Ok(None),
            FormatProblem::Version(_) => Err(Reason::new(ReasonKind::Unsupported, message).into()),
            _ => Err(Failure::transient(Reason::new(ReasonKind::Corrupt, message))),
        }
    }
}

/// The locks of those who have the database open.
#[derive(Default)]
pub(super) struct Locks {
    pub held: bool,
    /// The processes that hold them, as far as they are in this PID namespace.
    pub pids: Vec<u32>,
}

/// `None` when that cannot be known. Without a wal-index nobody has the database open in WAL mode.
pub(super) fn locks(shm: &Path) -> Option<Locks> {
    match files::open(shm).ok()? {
        Some(file) => locks_on(&file),
        None => Some(Locks::default()),
    }
}

/// `None` when that cannot be known.
pub(super) fn locks_on(shm: &File) -> Option<Locks> {
    let mut locks = Locks::default();
    // Who reads comes before who only has it open.
    locks.find(shm, READ_LOCKS).ok()?;
    locks.find(shm, CONNECTED_LOCK.0..CONNECTED_LOCK.0 + CONNECTED_LOCK.1).ok()?;
    Some(locks)
}

impl Locks {
    /// Finds those who hold locks on these bytes. Of several who hold one byte, the kernel names one.
    fn find(&mut self, file: &File, Range { start, end }: Range<u64>) -> rustix::io::Result<()> {
        if start == end {
            return Ok(());
        }
        let Some(lock) = lock_in_the_way(file, (start, end - start))? else { return Ok(()) };
        self.held = true;
        // None or negative: another PID namespace, or a lock that belongs to no process.
        let pid = lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        self.pids.extend(pid.filter(|pid| !self.pids.contains(pid)));
        // It may begin before these bytes, and others may hold those behind its first one as well.
        let at = lock.start.clamp(start, end - 1);
        self.find(file, start..at)?;
        self.find(file, at + 1..end)
    }
}
