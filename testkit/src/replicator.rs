//! A replicator that keeps a directory replica as Litestream v0.5 does: level-0 files, one level of compaction,
//! snapshots, retention, checkpoints.
//!
//! A peer for tests and the demo, not a way to replicate. The agent opens and closes the files that SQLite has locked
//! here, and in one process that would drop the locks: where there is an agent, this is in another process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rusqlite::Connection;

use crate::ltx::{Consumed, Header, Pages, encode};
use crate::orders;
use crate::replica::{self, COMPACTED, FileId, Replica};
use crate::wal::{Place, Wal, end_of};
use crate::{doing, sqlite};

/// Where things are in a directory of [`Replicator::create`].
pub const DATABASE: &str = "app.db";
pub const METADATA: &str = ".app.db-litestream";
pub const REPLICA: &str = "replica";

/// How often each thing happens, and how long files are kept.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub compaction: Duration,
    pub checkpoint: Duration,
    pub snapshot: Duration,
    /// After this a snapshot goes, unless it is the newest.
    pub snapshot_retention: Duration,
    /// After this a file of level 0 goes, once it is merged.
    pub raw_retention: Duration,
}

impl Pace {
    /// The defaults of Litestream v0.5: its first level of compaction, `checkpoint-interval`, `snapshot` and `l0-retention`.
    pub const LITESTREAM: Self = Self {
        compaction: Duration::from_secs(30),
        checkpoint: Duration::from_secs(60),
        snapshot: Duration::from_secs(24 * 3600),
        snapshot_retention: Duration::from_secs(24 * 3600),
        raw_retention: Duration::from_secs(5 * 60),
    };

    /// The same, shortened so that a demo shows it.
    pub const DEMO: Self = Self {
        compaction: Duration::from_secs(10),
        checkpoint: Duration::from_secs(20),
        snapshot: Duration::from_secs(60),
        snapshot_retention: Duration::from_secs(180),
        raw_retention: Duration::from_secs(20),
    };
}

/// The parts of the replicator that work; faults turn them off.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// Reads the database at all.
    pub follow: bool,
    /// Files reach the replica.
    pub upload: bool,
    pub compact: bool,
    pub snapshot: bool,
    /// Damages each new file on its way to the replica.
    pub damage: Option<fn(&mut Vec<u8>)>,
}

impl Abilities {
    /// Everything works.
    pub const ALL: Self = Self { follow: true, upload: true, compact: true, snapshot: true, damage: None };
}

/// When each thing is due next, milliseconds since 1970.
#[derive(Debug, Default)]
struct Due {
    compaction: u64,
    checkpoint: u64,
    snapshot: u64,
}

/// Follows one database. Times are milliseconds since 1970 and never read from a clock here.
pub struct Replicator {
    /// Holds a read transaction between ticks, as Litestream does: nobody else can reset a WAL that is still needed.
    reader: Connection,
    /// Holds the write lock during a tick, so that a tick sees one state.
    gate: Connection,
    wal: Wal,
    page_size: u32,
    metadata: PathBuf,
    directory: PathBuf,
    /// The end of what the newest file holds.
    position: Option<Place>,
    /// The database file holds all of the WAL up to `position`, so a reset of the WAL loses nothing.
    checkpointed: bool,
    replica: Replica<()>,
    /// The pages written since the last compaction.
    uncompacted: Pages,
    due: Due,
    /// What others took out of the replica, with its bytes.
    lost: Vec<(FileId, replica::File<()>, Vec<u8>)>,
    pub abilities: Abilities,
    pub pace: Pace,
}

impl Replicator {
    /// Creates a database of [`orders`] in an empty directory, to be replicated there. Nothing is replicated yet.
    pub fn create(directory: &Path) -> io::Result<Self> {
        let database = directory.join(DATABASE);
        let _held = orders::create(&database)?;
        Self::open(&database, directory.join(METADATA), directory.join(REPLICA))
    }

    /// Follows `database`, which is in WAL mode, has been written to and is held open until this returns. Whoever closes
    /// a database last deletes its WAL; from here on that is not before the replicator is gone.
    pub fn open(database: &Path, metadata: PathBuf, directory: PathBuf) -> io::Result<Self> {
        let reader = connect(database)?;
        let gate = connect(database)?;
        let page_size =
            gate.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(sqlite("read page size"))?;
        let mut wal = database.as_os_str().to_owned();
        wal.push("-wal");
        let replicator = Self {
            wal: Wal::open(Path::new(&wal), page_size)?,
            reader,
            gate,
            page_size,
            metadata,
            directory,
            position: None,
            checkpointed: false,
            replica: Replica::default(),
            uncompacted: Pages::new(),
            due: Due::default(),
            lost: Vec::new(),
            abilities: Abilities::ALL,
            pace: Pace::DEMO,
        };
        replicator.hold_read()?;
        Ok(replicator)
    }

    /// The files beside the database and in the replica.
    pub fn files(&self) -> &Replica<()> {
        &self.replica
    }

    /// The directory replica.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The newest TXID written locally.
    pub fn txid(&self) -> u64 {
        self.replica.txid()
    }

    /// Replicates what was committed, then does what is due. Nothing can be committed meanwhile.
    pub fn tick(&mut self, now: u64) -> io::Result<()> {
        if !self.abilities.follow {
            return Ok(());
        }
        self.gate.execute_batch("BEGIN IMMEDIATE").map_err(sqlite("take write lock"))?;
        let done = self.replicate(now);
        self.gate.execute_batch("ROLLBACK").map_err(sqlite("give write lock back"))?;
        done
    }

    fn replicate(&mut self, now: u64) -> io::Result<()> {
        self.sync(now)?;
        if is_due(&mut self.due.checkpoint, self.pace.checkpoint, now) {
            self.checkpoint()?;
        }
        if !self.abilities.upload {
            return Ok(());
        }
        self.upload(now)?;
        if self.abilities.snapshot && is_due(&mut self.due.snapshot, self.pace.snapshot, now) {
            self.snapshot(now)?;
        }
        if self.abilities.compact && is_due(&mut self.due.compaction, self.pace.compaction, now) {
            self.compact(now)?;
        }
        self.retain(now)
    }

    fn sync(&mut self, now: u64) -> io::Result<()> {
        let Some(start) = self.wal.start()? else { return Ok(()) };
        let from = match self.position {
            Some(last) if last.position.same_wal(&start.position) => last,
            Some(position) if self.checkpointed && start.is_reset_of(&position) => start,
            _ => return self.sync_whole(start, now),
        };
        let Some(commits) = self.wal.commits_since(&from)? else { return Ok(()) };
        self.emit(commits.pages, commits.commit, from.position.end, commits.end, now)
    }

    /// Writes every page: the first file, and the file that keeps TXIDs contiguous when WAL frames were missed.
    fn sync_whole(&mut self, start: Place, now: u64) -> io::Result<()> {
        let end = self.wal.commits_since(&start)?.map_or(start, |commits| commits.end);
        let (pages, commit) = self.image()?;
        self.emit(pages, commit, start.position.end, end, now)
    }

    /// The database as of now, which no one can change during a tick.
    fn image(&mut self) -> io::Result<(Pages, u32)> {
        let bytes = self.gate.serialize("main").map_err(sqlite("read database"))?;
        let pages: Pages = (1..).zip(bytes.chunks_exact(self.page_size as usize).map(<[u8]>::to_vec)).collect();
        let commit = pages.last_key_value().map_or(0, |(&number, _)| number);
        Ok((pages, commit))
    }

    fn emit(&mut self, pages: Pages, commit: u32, from: u64, end: Place, now: u64) -> io::Result<()> {
        let (txid, wal) = (self.txid() + 1, Some(Consumed { from, end: end.position }));
        let header = Header { page_size: self.page_size, commit, min: txid, max: txid, timestamp: now, wal };
        place(&path(&self.metadata, FileId::raw(txid)), &encode(&header, &pages), now)?;
        self.replica.sync(header, BTreeMap::new());
        self.position = Some(end);
        self.checkpointed = false;
        self.uncompacted.extend(pages);
        Ok(())
    }

    /// Brings into the replica what is beside the database only.
    fn upload(&mut self, now: u64) -> io::Result<()> {
        while let Some(id) = self.replica.upload(milliseconds(now)) {
            let local = path(&self.metadata, id);
            self.store(id, fs::read(&local).map_err(doing(format!("read {}", local.display())))?)?;
        }
        Ok(())
    }

    /// Writes a file of the replica, dated as its header is.
    fn store(&self, id: FileId, mut bytes: Vec<u8>) -> io::Result<()> {
        let Some(file) = self.replica.get(id) else { return Ok(()) };
        if let Some(damage) = self.abilities.damage {
            damage(&mut bytes);
        }
        place(&path(&self.directory, id), &bytes, file.header.timestamp)
    }

    /// As [`Replicator::store`], encoded from its pages.
    fn store_pages(&self, id: FileId, pages: &Pages) -> io::Result<()> {
        let header = self.replica.get(id).map(|file| file.header);
        header.map_or(Ok(()), |header| self.store(id, encode(&header, pages)))
    }

    /// Moves the WAL into the database file, so that the next commit starts the WAL from its beginning.
    fn checkpoint(&mut self) -> io::Result<()> {
        self.reader.execute_batch("COMMIT").map_err(sqlite("end read transaction"))?;
        let moved = self.reader.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        self.hold_read()?;
        let (busy, frames, moved) = moved.map_err(sqlite("checkpoint"))?;
        let end = u32::try_from(frames).ok().map(|frames| end_of(frames, self.page_size));
        self.checkpointed = busy == 0 && moved == frames && end == self.position.map(|last| last.position.end);
        Ok(())
    }

    fn hold_read(&self) -> io::Result<()> {
        self.reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(sqlite("begin read transaction"))
    }

    fn snapshot(&mut self, now: u64) -> io::Result<()> {
        let Some(file) = self.replica.snapshot(BTreeMap::new(), now, milliseconds(now)) else { return Ok(()) };
        let (pages, _) = self.image()?;
        self.store_pages(file, &pages)
    }

    fn compact(&mut self, now: u64) -> io::Result<()> {
        let Some(file) = self.replica.compact(COMPACTED, milliseconds(now)) else { return Ok(()) };
        let pages = std::mem::take(&mut self.uncompacted);
        self.store_pages(file, &pages)
    }

    fn retain(&mut self, now: u64) -> io::Result<()> {
        let before = |retention: Duration| milliseconds(now) - milliseconds(whole_milliseconds(retention));
        let (raw, snapshots) = (before(self.pace.raw_retention), before(self.pace.snapshot_retention));
        for file in self.replica.expired_raw(|file| file.at < raw) {
            self.replica.local.remove(&file.max);
            remove(&path(&self.metadata, file))?;
            self.delete(file)?;
        }
        let expired = self.replica.expired(|file| file.at < snapshots);
        expired.into_iter().try_for_each(|file| self.delete(file))
    }

    fn delete(&mut self, file: FileId) -> io::Result<()> {
        self.replica.remove(file);
        remove(&path(&self.directory, file))
    }

    /// Somebody else deletes a file of the replica.
    pub fn lose(&mut self, id: FileId) -> io::Result<()> {
        let Some(file) = self.replica.get(id).cloned() else { return Ok(()) };
        self.lost.push((id, file, fs::read(path(&self.directory, id))?));
        self.delete(id)
    }

    /// Everything works again, and what was lost is brought back, as from a bucket that keeps old versions.
    pub fn recover(&mut self) -> io::Result<()> {
        self.abilities = Abilities::ALL;
        for (id, file, bytes) in std::mem::take(&mut self.lost) {
            place(&path(&self.directory, id), &bytes, file.header.timestamp)?;
            self.replica.put(id, file);
        }
        Ok(())
    }
}

fn path(root: &Path, file: FileId) -> PathBuf {
    root.join(format!("ltx/{}/{}", file.level, file.name()))
}

fn connect(database: &Path) -> io::Result<Connection> {
    let connection = Connection::open(database).map_err(sqlite("open database"))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(sqlite("turn automatic checkpoints off"))?;
    Ok(connection)
}

/// Puts `bytes` at `path` whole or not at all, dated `timestamp` (milliseconds since 1970) as Litestream does.
fn place(path: &Path, bytes: &[u8], timestamp: u64) -> io::Result<()> {
    let temporary = path.with_extension("ltx.tmp");
    let write = || {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(timestamp))?;
        fs::rename(&temporary, path)
    };
    write().map_err(doing(format!("write {}", path.display())))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(doing(format!("delete {}", path.display()))(error))
        }
        _ => Ok(()),
    }
}

fn is_due(at: &mut u64, every: Duration, now: u64) -> bool {
    let due = now >= *at;
    if due {
        *at = now + whole_milliseconds(every);
    }
    due
}

fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn milliseconds(since: u64) -> i64 {
    i64::try_from(since).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page_numbers(ltx: &[u8]) -> Vec<u32> {
        let word = |at: usize| u32::from_be_bytes(ltx[at..at + 4].try_into().unwrap());
        let mut at = 100;
        let mut numbers = Vec::new();
        while word(at) != 0 {
            numbers.push(word(at));
            at += 10 + word(at + 6) as usize;
        }
        numbers
    }

    #[test]
    fn a_file_holds_what_was_committed_or_everything_when_commits_were_missed() {
        let directory = tempfile::tempdir().unwrap();
        let mut replicator = Replicator::create(directory.path()).unwrap();
        let writer = orders::open(&directory.path().join(DATABASE)).unwrap();
        let written = |txid| page_numbers(&fs::read(path(&directory.path().join(REPLICA), FileId::raw(txid))).unwrap());
        replicator.tick(1000).unwrap();
        assert_eq!(written(1), [1, 2, 3], "the first file holds everything");

        // The first tick checkpointed, so this commit starts the WAL again, without harm.
        orders::write(&writer).unwrap();
        replicator.tick(2000).unwrap();
        assert_eq!(written(2), [2, 3], "a table and its index");

        // Without its read transaction the replicator cannot keep others from moving the WAL away.
        replicator.reader.execute_batch("COMMIT").unwrap();
        orders::write(&writer).unwrap();
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
        orders::write(&writer).unwrap();
        replicator.hold_read().unwrap();
        replicator.tick(3000).unwrap();
        assert_eq!(written(3), [1, 2, 3], "commits were missed");

        replicator.tick(4000).unwrap();
        assert_eq!(replicator.txid(), 3, "nothing was committed, nothing is written");
    }
}
