//! A replicator that keeps a directory replica as Litestream v0.5 does: level-0 files, one level of compaction,
//! snapshots, retention, checkpoints.
//!
//! A demo and a test peer, not a way to replicate. It lives in a process of its own: the agent opens and closes the
//! files that SQLite has locked here, and in one process that would drop the locks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::Connection;

use super::ltx_writer::{Pages, encode, place};
use super::wal::{Place, Wal};
use crate::domain::litestream::{LtxHeader, Txid};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::{WAL_HEADER_BYTES, WalPosition, committed_end, frame_bytes};

/// Raw files, one a tick.
pub const RAW: u8 = 0;
/// The one level of compaction.
pub const COMPACTED: u8 = 1;
/// Whole databases.
pub const SNAPSHOT: u8 = 9;

/// How often each thing happens: Litestream's defaults, shortened so that a demo shows them.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(10);
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(20);
pub(super) const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
pub(super) const SNAPSHOT_RETENTION: Duration = Duration::from_secs(180);
pub(super) const RAW_RETENTION: Duration = Duration::from_secs(20);

/// A file of the replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    pub level: u8,
    pub min: u64,
    pub max: u64,
}

impl FileId {
    fn path(&self, root: &Path) -> PathBuf {
        root.join(format!("ltx/{}/{:016x}-{:016x}.ltx", self.level, self.min, self.max))
    }
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
    replica: PathBuf,
    /// The newest TXID, and the end of what its file holds.
    txid: u64,
    position: Option<Place>,
    commit: u32,
    timestamp: u64,
    /// The database file holds all of the WAL up to `position`, so a reset of the WAL loses nothing.
    checkpointed: bool,
    /// The files in the replica, with the time of each.
    files: BTreeMap<FileId, u64>,
    /// The newest compacted TXID, and the pages written since.
    compacted: u64,
    uncompacted: Pages,
    due: Due,
    pub abilities: Abilities,
}

impl Replicator {
    /// Follows `database`, which is in WAL mode, has been written to and is held open by a writer.
    pub fn open(database: &Path, metadata: PathBuf, replica: PathBuf) -> Result<Self, Reason> {
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
            replica,
            txid: 0,
            position: None,
            commit: 0,
            timestamp: 0,
            checkpointed: false,
            files: BTreeMap::new(),
            compacted: 0,
            uncompacted: Pages::new(),
            due: Due::default(),
            abilities: Abilities { follow: true, upload: true, compact: true, snapshot: true, damage: None },
        };
        replicator.hold_read()?;
        Ok(replicator)
    }

    /// The files in the replica.
    pub fn files(&self) -> impl DoubleEndedIterator<Item = FileId> {
        self.files.keys().copied()
    }

    /// The directory replica.
    pub fn replica(&self) -> &Path {
        &self.replica
    }

    /// The newest TXID written locally.
    pub fn txid(&self) -> u64 {
        self.txid
    }

    /// Replicates what was committed, then does what is due. Nothing can be committed meanwhile.
    pub fn tick(&mut self, now: u64) -> Result<(), Reason> {
        if !self.abilities.follow {
            return Ok(());
        }
        self.gate.execute_batch("BEGIN IMMEDIATE").map_err(sqlite("take write lock"))?;
        let done = self.replicate(now);
        self.gate.execute_batch("ROLLBACK").map_err(sqlite("give write lock back"))?;
        done
    }

    fn replicate(&mut self, now: u64) -> Result<(), Reason> {
        self.sync(now)?;
        if is_due(&mut self.due.checkpoint, CHECKPOINT_INTERVAL, now) {
            self.checkpoint()?;
        }
        if self.abilities.snapshot && is_due(&mut self.due.snapshot, SNAPSHOT_INTERVAL, now) {
            self.snapshot(now)?;
        }
        if self.abilities.compact && is_due(&mut self.due.compaction, COMPACTION_INTERVAL, now) {
            self.compact()?;
        }
        self.retain(now)
    }

    fn sync(&mut self, now: u64) -> Result<(), Reason> {
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
    fn sync_whole(&mut self, start: Place, now: u64) -> Result<(), Reason> {
        let end = self.wal.commits_since(&start)?.map_or(start, |commits| commits.end);
        let (pages, commit) = self.image()?;
        self.emit(pages, commit, start.position.end, end, now)
    }

    /// The database as of now, which no one can change during a tick.
    fn image(&mut self) -> Result<(Pages, u32), Reason> {
        let bytes = self.gate.serialize("main").map_err(sqlite("read database"))?;
        let pages: Pages = (1..).zip(bytes.chunks_exact(self.page_size as usize).map(<[u8]>::to_vec)).collect();
        let commit = pages.last_key_value().map_or(0, |(&number, _)| number);
        Ok((pages, commit))
    }

    fn emit(&mut self, pages: Pages, commit: u32, from: u64, end: Place, now: u64) -> Result<(), Reason> {
        let file = FileId { level: RAW, min: self.txid + 1, max: self.txid + 1 };
        let bytes = self.encode(file, &pages, commit, now, Some((from, end.position)))?;
        place(&file.path(&self.metadata), &bytes, now)?;
        self.txid = file.max;
        self.position = Some(end);
        self.checkpointed = false;
        self.commit = commit;
        self.timestamp = now;
        self.uncompacted.extend(pages);
        self.upload(file, bytes, now)
    }

    /// `consumed` is from where to where the WAL is in the file; `None` for what was not made from a WAL.
    fn encode(
        &self,
        file: FileId,
        pages: &Pages,
        commit: u32,
        timestamp: u64,
        consumed: Option<(u64, WalPosition)>,
    ) -> Result<Vec<u8>, Reason> {
        let (from, end) = consumed.unwrap_or((0, WalPosition { salt1: 0, salt2: 0, end: 0 }));
        let timestamp =
            i64::try_from(timestamp).ok().and_then(|milliseconds| Timestamp::from_millisecond(milliseconds).ok());
        let header = LtxHeader {
            page_size: self.page_size,
            commit,
            min: Txid(file.min),
            max: Txid(file.max),
            timestamp: timestamp.unwrap_or(Timestamp::MAX),
            wal_offset: from,
            wal_size: end.end - from,
            wal_salt1: end.salt1,
            wal_salt2: end.salt2,
        };
        encode(&header, pages)
    }

    fn upload(&mut self, file: FileId, mut bytes: Vec<u8>, timestamp: u64) -> Result<(), Reason> {
        if !self.abilities.upload {
            return Ok(());
        }
        if let Some(damage) = self.abilities.damage {
            damage(&mut bytes);
        }
        place(&file.path(&self.replica), &bytes, timestamp)?;
        self.files.insert(file, timestamp);
        Ok(())
    }

    /// Moves the WAL into the database file, so that the next commit starts the WAL from its beginning.
    fn checkpoint(&mut self) -> Result<(), Reason> {
        self.reader.execute_batch("COMMIT").map_err(sqlite("end read transaction"))?;
        let moved = self.reader.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        self.hold_read()?;
        let (busy, frames, moved) = moved.map_err(sqlite("checkpoint"))?;
        let end = u32::try_from(frames).ok().map(|frames| committed_end(frames, self.page_size));
        self.checkpointed = busy == 0 && moved == frames && end == self.position.map(|last| last.position.end);
        Ok(())
    }

    fn hold_read(&self) -> Result<(), Reason> {
        self.reader.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").map_err(sqlite("begin read transaction"))
    }

    fn snapshot(&mut self, now: u64) -> Result<(), Reason> {
        let file = FileId { level: SNAPSHOT, min: 1, max: self.txid };
        let Some(Place { position, .. }) = self.position else { return Ok(()) };
        if self.files.contains_key(&file) {
            return Ok(());
        }
        let (pages, commit) = self.image()?;
        let last = if position.end > WAL_HEADER_BYTES as u64 { frame_bytes(self.page_size) } else { 0 };
        let bytes = self.encode(file, &pages, commit, now, Some((position.end - last, position)))?;
        self.upload(file, bytes, now)
    }

    fn compact(&mut self) -> Result<(), Reason> {
        let file = FileId { level: COMPACTED, min: self.compacted + 1, max: self.txid };
        if file.min > file.max {
            return Ok(());
        }
        let bytes = self.encode(file, &self.uncompacted, self.commit, self.timestamp, None)?;
        self.upload(file, bytes, self.timestamp)?;
        self.compacted = file.max;
        self.uncompacted.clear();
        Ok(())
    }

    /// Litestream's rules: level 0 once compacted and old enough, snapshots when old enough, level 1 below the youngest
    /// deleted snapshot; never the newest of a level.
    fn retain(&mut self, now: u64) -> Result<(), Reason> {
        if !self.abilities.upload {
            return Ok(());
        }
        let older = |time: u64, than: Duration| time + milliseconds(than) < now;
        let mut raw = self.level(RAW);
        raw.pop();
        raw.retain(|file| file.max <= self.compacted);
        for file in raw {
            if !self.files.get(&file).is_some_and(|&time| older(time, RAW_RETENTION)) {
                break;
            }
            self.delete(file)?;
            remove(&file.path(&self.metadata))?;
        }

        let mut snapshots = self.level(SNAPSHOT);
        snapshots.pop();
        snapshots.retain(|file| self.files.get(file).is_some_and(|&time| older(time, SNAPSHOT_RETENTION)));
        let Some(youngest_deleted) = snapshots.last().map(|file| file.max) else { return Ok(()) };
        let mut compacted = self.level(COMPACTED);
        compacted.pop();
        compacted.retain(|file| file.max < youngest_deleted);
        snapshots.into_iter().chain(compacted).try_for_each(|file| self.delete(file))
    }

    /// The replica's files of one level, ascending.
    pub fn level(&self, level: u8) -> Vec<FileId> {
        self.files().filter(|file| file.level == level).collect()
    }

    /// Removes one file from the replica.
    pub fn delete(&mut self, file: FileId) -> Result<(), Reason> {
        self.files.remove(&file);
        remove(&file.path(&self.replica))
    }
}

fn connect(database: &Path) -> Result<Connection, Reason> {
    let connection = Connection::open(database).map_err(sqlite("open database"))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(sqlite("turn automatic checkpoints off"))?;
    Ok(connection)
}

fn remove(path: &Path) -> Result<(), Reason> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Reason::from(error).context(format!("delete {}", path.display())))
        }
        _ => Ok(()),
    }
}

fn is_due(at: &mut u64, every: Duration, now: u64) -> bool {
    let due = now >= *at;
    if due {
        *at = now + milliseconds(every);
    }
    due
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Puts what was being done in front of SQLite's message.
pub(super) fn sqlite(doing: &'static str) -> impl Fn(rusqlite::Error) -> Reason {
    move |error| Reason::new(ReasonKind::Failed, format!("{doing}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::super::peer::{Peer, open_database, write};
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
        let mut peer = Peer::open(directory.path()).unwrap();
        let writer = open_database(&directory.path().join("app.db")).unwrap();
        let replicator = &mut peer.replicator;
        let written = |txid| {
            let file = FileId { level: RAW, min: txid, max: txid };
            page_numbers(&fs::read(file.path(&directory.path().join("replica"))).unwrap())
        };
        replicator.tick(1000).unwrap();
        assert_eq!(written(1), [1, 2, 3], "the first file holds everything");

        // The first tick checkpointed, so this commit starts the WAL again, without harm.
        write(&writer).unwrap();
        replicator.tick(2000).unwrap();
        assert_eq!(written(2), [2, 3], "a table and its index");

        // Without its read transaction the replicator cannot keep others from moving the WAL away.
        replicator.reader.execute_batch("COMMIT").unwrap();
        write(&writer).unwrap();
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(())).unwrap();
        write(&writer).unwrap();
        replicator.hold_read().unwrap();
        replicator.tick(3000).unwrap();
        assert_eq!(written(3), [1, 2, 3], "commits were missed");

        replicator.tick(4000).unwrap();
        assert_eq!(replicator.txid(), 3, "nothing was committed, nothing is written");
    }
}
