//! A database and the Litestream 0.5 that replicates it, second by second with Litestream's own defaults: what is written,
//! uploaded, merged, kept and deleted when. Its files are whole and genuine, so that what reads them can be sure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::litestream::{LevelKeys, LtxName, Txid};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::observation::{
    Counters, DatabaseLook, DatabasePosture, FileMode, FileRole, Filesystem, Journal, Sighting, StagedLtx,
    StagedPosition, Staging, WalSource, WalState,
};
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::replacement::{Contradiction, Replacement};
use streamgauge::domain::sqlite::WalPosition;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::{LivePages, LiveTarget};
use streamgauge_testkit::log::Log;
use streamgauge_testkit::ltx::{Consumed, Header, Pages, encode};
use streamgauge_testkit::replica::{File, FileId, RAW, Replica, SNAPSHOT};
use streamgauge_testkit::wal::{Position, end_of, frame_bytes};

const PAGE_SIZE: u32 = 4096;
/// Pages of the database: 256 KiB.
const PAGES: u32 = 64;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;
const DAY: i64 = 86_400;

/// What of Litestream works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Daemon {
    Running,
    /// The process is there, answers, and does nothing.
    Frozen,
    /// Local files are written and none is uploaded.
    UploadsFail,
    Down,
}

/// How Litestream is configured, in seconds.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) levels: [i64; 3],
    pub(crate) snapshot: i64,
    pub(crate) retention: i64,
    pub(crate) level_0_retention: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { levels: [30, 5 * MINUTE, HOUR], snapshot: DAY, retention: DAY, level_0_retention: 5 * MINUTE }
    }
}

pub(crate) struct Peer {
    /// Second 0 by the clock of this host.
    start: Timestamp,
    pub(crate) now: i64,
    /// Seconds by which the clock of this host, which dates what Litestream writes, is ahead of the world's.
    pub(crate) clock_ahead: i64,
    /// A transaction is committed so often.
    pub(crate) writes_every: Option<i64>,
    /// Pages of each of them.
    pub(crate) write_pages: u32,
    pub(crate) settings: Settings,
    pub(crate) daemon: Daemon,
    pub(crate) bucket: Arc<MemoryStore>,
    /// Deleting objects is answered with success and does nothing.
    pub(crate) deletes_are_lies: bool,
    /// A second Litestream writes to the same place.
    pub(crate) intruder: bool,
    /// Another file was moved over the database.
    pub(crate) replaced: bool,
    /// Every sync is the whole database.
    pub(crate) runaway: bool,
    /// What it uploads does not say where in the WAL it ends.
    pub(crate) headers_say_nothing: bool,
    /// Files have nothing but their headers, for those who only list and read these.
    pub(crate) hollow: bool,
    /// Each transaction changes the same pages.
    pub(crate) same_pages: bool,
    /// A reader holds this frame, and checkpoints stop there.
    pub(crate) reader: Option<u32>,
    /// Bytes that are free on the filesystem, and how many are used up each second by others.
    pub(crate) disk_free: u64,
    pub(crate) disk_eaten: u64,

    log: Log,
    /// By page number, what makes its content.
    content: BTreeMap<u32, u64>,
    dirty: BTreeMap<u32, u64>,
    /// Pages in the log.
    logged: BTreeSet<u32>,
    version: u64,
    last_commit: i64,
    counters: Counters,
    /// A look differs from the one before.
    pub(crate) changed: bool,

    pub(crate) replica: Replica<u64>,
    /// Where the newest local file ends in the WAL.
    synced: Position,
    lost_track: bool,
    /// It takes a snapshot as soon as it can: it just started, and there is none of this period.
    snapshot_due: bool,
    checkpointed_at: i64,
    written_since_checkpoint: bool,
}

impl Peer {
    pub(crate) fn new(start: Timestamp) -> Self {
        let mut peer = Self {
            start,
            now: 0,
            clock_ahead: 0,
            writes_every: None,
            write_pages: 2,
            settings: Settings::default(),
            daemon: Daemon::Running,
            bucket: Arc::new(MemoryStore::flat()),
            deletes_are_lies: false,
            intruder: false,
            replaced: false,
            runaway: false,
            headers_say_nothing: false,
            hollow: false,
            same_pages: false,
            reader: None,
            disk_free: 60 << 30,
            disk_eaten: 0,
            log: Log::new(100, PAGE_SIZE),
            content: (1..=PAGES).map(|page| (page, 0)).collect(),
            dirty: BTreeMap::new(),
            logged: BTreeSet::new(),
            version: 0,
            last_commit: 0,
            counters: Counters::default(),
            changed: true,
            replica: Replica::default(),
            synced: Position { salt1: 0, salt2: 0, end: 0 },
            lost_track: true,
            snapshot_due: true,
            checkpointed_at: 0,
            written_since_checkpoint: false,
        };
        peer.commit(2);
        peer
    }

    /// The true time.
    pub(crate) fn at(&self, second: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(second)
    }

    /// What this host takes it for.
    fn dated(&self) -> u64 {
        self.at(self.now + self.clock_ahead).as_millisecond().cast_unsigned()
    }

    // The database.

    /// A transaction that changes so many pages.
    pub(crate) fn commit(&mut self, pages: u32) {
        if self.log.commit(pages, self.reader.is_some()) {
            self.logged.clear();
            self.counters.wal_resets += 1;
        }
        self.version += 1;
        let seed = if self.same_pages { 0 } else { self.version as u32 };
        for page in (0..pages).map(|n| 1 + (seed.wrapping_mul(7) + n) % PAGES) {
            self.content.insert(page, self.version);
            self.dirty.insert(page, self.version);
            self.logged.insert(page);
        }
        self.last_commit = self.now;
        self.counters.commits += 1;
        self.counters.written_bytes += u64::from(pages) * frame_bytes(PAGE_SIZE);
        self.changed = true;
    }

    /// The last connection closes and takes the log along.
    pub(crate) fn close(&mut self) {
        self.log.close();
        self.changed = true;
    }

    /// Somebody else checkpoints, and the next transaction begins the log anew.
    pub(crate) fn checkpoint_by_another(&mut self) {
        self.log.backfill(self.reader);
        self.changed = true;
    }

    /// All pages are written.
    pub(crate) fn vacuum(&mut self) {
        self.commit(PAGES);
    }

    /// The file is replaced by one of the beginning, and its log stays beside it: Litestream goes on where it was.
    pub(crate) fn restore_file(&mut self) {
        let kept = &self.logged;
        self.content.iter_mut().filter(|(page, _)| !kept.contains(page)).for_each(|(_, version)| *version = 0);
    }

    /// The file is replaced by one of an hour ago: other content, another log, and Litestream's own files beside it.
    pub(crate) fn restore_older(&mut self) {
        self.close();
        self.log.salt += 1000;
        self.version += 1;
        let version = self.version;
        self.content.values_mut().for_each(|page| *page = version);
        self.commit(1);
        self.lost_track = true;
    }

    /// Another file is moved over the database, and nobody notices: the application and Litestream go on with the old one.
    pub(crate) fn replace(&mut self) {
        self.replaced = true;
        self.changed = true;
    }

    /// Single pages, as they are at a position.
    pub(crate) fn pages(&self, numbers: &[u32], at: &LiveTarget) -> Result<LivePages, Reason> {
        if self.log.open && position(self.log.position()) != at.position {
            return Err(Reason::new(ReasonKind::NotFound, "it is at another position"));
        }
        let content = |page: &u32| page_content(*page, self.content[page]).into();
        let pages = numbers.iter().map(content).collect();
        Ok(LivePages { page_size: PAGE_SIZE, pages, positioned: self.log.open })
    }

    pub(crate) fn look(&self, at: Moment) -> DatabaseLook {
        let state = WalState {
            position: position(self.log.position()),
            frames: self.log.frames,
            backfilled_frames: Some(self.log.backfilled),
            oldest_reader_frame: self.reader,
            source: WalSource::WalIndex,
        };
        DatabaseLook {
            at,
            size_bytes: u64::from(PAGES * PAGE_SIZE),
            wal_size_bytes: self.log.open.then_some(end_of(self.log.frames, PAGE_SIZE)),
            page_size: PAGE_SIZE,
            journal: if self.log.open { Journal::Wal(state) } else { Journal::WalAbsent { change_counter: 1 } },
            last_commit: Some(self.at(self.last_commit + self.clock_ahead)),
            counters: self.counters,
            replacement: match (self.replaced, self.log.open) {
                (true, _) => Replacement::Replaced(Contradiction::OtherFile),
                (false, true) => Replacement::Agrees { pages: 1 },
                (false, false) => Replacement::Closed,
            },
        }
    }

    pub(crate) fn posture(&self, at: Moment) -> DatabasePosture {
        let mode = |file, mode| FileMode { file, mode, uid: 1000, gid: 1000 };
        let files = self.replica.local.iter().filter_map(|(txid, local)| {
            let wal = local.header.wal?;
            Some(StagedLtx {
                txid: Txid(*txid),
                end: position(wal.end),
                wal_bytes: wal.end.end - wal.from,
                timestamp: Timestamp::from_millisecond(local.header.timestamp.cast_signed()).unwrap(),
            })
        });
        DatabasePosture {
            at,
            modes: vec![
                mode(FileRole::Database, 0o600),
                mode(FileRole::Wal, 0o600),
                mode(FileRole::Shm, 0o600),
                mode(FileRole::Directory, 0o700),
            ]
            .into(),
            reachable: Some(true),
            filesystem: Some(Filesystem {
                size_bytes: 100 << 30,
                avail_bytes: self.disk_free,
                used_bytes: (100 << 30) - self.disk_free,
            }),
            staging: Some(Arc::new(Staging {
                bytes: self.replica.local.len() as u64 * 8192,
                position: if self.replica.local.is_empty() || self.headers_say_nothing {
                    StagedPosition::Empty
                } else {
                    StagedPosition::Ltx(files.collect())
                },
            })),
            staging_filesystem: None,
            lock_holder_pid: (self.daemon != Daemon::Down).then_some(4711),
            open: Some(self.log.open),
            litestream: if self.daemon == Daemon::Down { Sighting::Gone } else { Sighting::Attached(4711) },
        }
    }

    // Litestream.

    /// One second of life.
    pub(crate) fn step(&mut self) {
        self.now += 1;
        self.disk_free = self.disk_free.saturating_sub(self.disk_eaten);
        if self.writes_every.is_some_and(|every| self.now % every == 0) {
            self.commit(self.write_pages);
        }
        if matches!(self.daemon, Daemon::Down | Daemon::Frozen) {
            return;
        }
        if self.runaway && self.now % 10 == 0 {
            self.lost_track = true;
        }
        self.sync();
        if self.daemon == Daemon::Running {
            self.upload();
            self.maintain();
        }
        if self.now >= self.checkpointed_at + MINUTE && self.written_since_checkpoint {
            self.checkpoint();
        }
    }

    fn sync(&mut self) {
        if !self.log.open {
            // It opens the database, and writes its own table.
            self.commit(1);
            self.lost_track = true;
        }
        let (here, synced) = (self.log.position(), self.synced);
        if here == synced && !self.lost_track {
            return;
        }
        let from = if here.same_wal(&synced) && !self.lost_track { synced.end } else { 32 };
        let pages = if self.lost_track { self.content.clone() } else { std::mem::take(&mut self.dirty) };
        self.dirty.clear();
        self.lost_track = false;
        let (timestamp, wal) = (self.dated(), Some(Consumed { from, end: here }));
        self.replica.sync(Header { page_size: PAGE_SIZE, commit: PAGES, min: 0, max: 0, timestamp, wal }, pages);
        self.synced = here;
        self.written_since_checkpoint = true;
    }

    fn upload(&mut self) {
        while let Some(id) = self.replica.upload(self.now) {
            if self.headers_say_nothing {
                self.rewrite(id, |file| file.header.wal = None);
            }
            self.write(id);
            if self.intruder {
                // The other one has its own idea of the same transaction.
                let (version, at) = (self.version + 1_000_000, self.now + 1);
                self.rewrite(id, |file| {
                    (file.pages, file.at) = (BTreeMap::from([(1, version)]), at);
                    if let Some(wal) = &mut file.header.wal {
                        (wal.end.salt1, wal.end.salt2) = (9, 9);
                    }
                });
                self.write(id);
            }
        }
    }

    fn checkpoint(&mut self) {
        self.log.backfill(self.reader);
        self.changed = true;
        self.checkpointed_at = self.now;
        // Its own mark in the database makes the log begin anew.
        if self.reader.is_none() {
            self.commit(1);
            self.sync();
        }
        self.written_since_checkpoint = false;
    }

    fn maintain(&mut self) {
        for (level, every) in (1..).zip(self.settings.levels) {
            if self.now % every == 0 {
                let merged = self.replica.compact(level, self.now);
                merged.into_iter().for_each(|id| self.write(id));
            }
        }
        if self.now % self.settings.snapshot == 0 || std::mem::take(&mut self.snapshot_due) {
            self.snapshot();
        }
        if self.now % 15 == 0 {
            self.retain_level_0();
        }
    }

    pub(crate) fn snapshot(&mut self) {
        let Some(id) = self.replica.snapshot(self.content.clone(), self.dated(), self.now) else { return };
        self.write(id);
        let old = self.now - self.settings.retention;
        self.replica.expired(|file| file.at < old).into_iter().for_each(|id| self.retire(id));
    }

    fn retain_level_0(&mut self) {
        let old = self.now - self.settings.level_0_retention;
        for id in self.replica.expired_raw(|file| file.at < old) {
            self.replica.local.remove(&id.max);
            self.retire(id);
        }
    }

    fn retire(&mut self, id: FileId) {
        if !self.deletes_are_lies {
            self.delete(id);
        }
    }

    pub(crate) fn stop(&mut self) {
        self.daemon = Daemon::Down;
    }

    pub(crate) fn start(&mut self) {
        self.daemon = Daemon::Running;
        self.replica.restart();
        let period = self.now - self.now % self.settings.snapshot;
        let newest = self.replica.level(SNAPSHOT).pop().and_then(|id| self.replica.get(id));
        self.snapshot_due = newest.is_none_or(|snapshot| snapshot.at < period);
        let salts = (self.log.salt, self.synced.salt1);
        self.lost_track |= salts.0 > salts.1 + 1;
    }

    /// A transaction each second and a snapshot each day, for so many days until now: none of them is forgotten.
    pub(crate) fn remember(&mut self, days: i64) {
        (self.hollow, self.settings.retention) = (true, days * DAY);
        let last = (days * DAY).unsigned_abs();
        let levels = (1..).zip(self.settings.levels).chain([(SNAPSHOT, self.settings.snapshot), (RAW, 1)]);
        for (level, every) in levels {
            let every = every.unsigned_abs();
            let first = if level == RAW { last } else { every };
            for max in (first..=last).step_by(every as usize) {
                let min = if level == SNAPSHOT { 1 } else { max + 1 - every };
                let at = max.cast_signed() - last.cast_signed();
                let timestamp = self.at(at).as_millisecond().cast_unsigned();
                let header = Header { page_size: PAGE_SIZE, commit: PAGES, min, max, timestamp, wal: None };
                let id = self.replica.put(FileId::new(level, min, max), File { header, pages: BTreeMap::new(), at });
                self.write(id);
            }
        }
        self.replica.restart();
        (self.lost_track, self.snapshot_due) = (true, false);
    }

    // The bucket.

    fn bytes(&self, id: FileId) -> Vec<u8> {
        let file = self.replica.get(id).unwrap();
        if self.hollow {
            return file.header.encode().to_vec();
        }
        let pages = file.pages.iter().map(|(page, version)| (*page, page_content(*page, *version)));
        encode(&file.header, &pages.collect::<Pages>())
    }

    /// Writes a file as it is meant to be.
    fn write(&self, id: FileId) {
        self.bucket.put(key(id), self.bytes(id), self.at(self.replica.get(id).unwrap().at));
    }

    fn rewrite(&mut self, id: FileId, change: impl FnOnce(&mut File<u64>)) {
        let mut file = self.replica.remove(id).unwrap();
        change(&mut file);
        self.replica.put(id, file);
    }

    pub(crate) fn delete(&mut self, id: FileId) {
        self.replica.remove(id);
        self.bucket.remove(&key(id));
    }

    pub(crate) fn empty(&mut self) {
        let all: Vec<_> = self.replica.files().collect();
        all.into_iter().for_each(|id| self.delete(id));
    }

    /// Changes the bytes of a file; as rot does, without a new date, or as somebody who writes it again.
    pub(crate) fn damage(&mut self, id: FileId, rewritten: bool, damage: fn(&mut Vec<u8>)) {
        let mut bytes = self.bytes(id);
        damage(&mut bytes);
        let at = if rewritten { self.now } else { self.replica.get(id).unwrap().at };
        self.bucket.put(key(id), bytes, self.at(at));
    }

    /// Gives pages of a file other content, and the file its right checksum, size and date.
    pub(crate) fn forge(&mut self, id: FileId, pages: impl Fn(u32) -> bool) {
        self.rewrite(id, |file| {
            let forged = file.pages.iter_mut().filter(|(page, _)| pages(**page));
            forged.for_each(|(_, version)| *version += 2_000_000);
        });
        self.write(id);
    }

    /// All files are those of another database, which has the same transactions.
    pub(crate) fn swap_history(&mut self) {
        let all: Vec<_> = self.replica.files().collect();
        all.into_iter().for_each(|id| self.forge(id, |_| true));
    }

    /// Puts a file under a name that is not its own.
    pub(crate) fn rename(&mut self, id: FileId, to: FileId) {
        let file = self.replica.remove(id).unwrap();
        self.bucket.remove(&key(id));
        self.replica.put(to, file);
        self.write(to);
    }
}

fn key(file: FileId) -> String {
    LevelKeys::Hex.key(file.level, LtxName { min: Txid(file.min), max: Txid(file.max) })
}

fn position(Position { salt1, salt2, end }: Position) -> WalPosition {
    WalPosition { salt1, salt2, end }
}

/// Bytes that no two versions of a page share and that do not compress.
fn page_content(page: u32, version: u64) -> Vec<u8> {
    let mut state = u64::from(page) << 40 ^ version.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    let mut content = Vec::with_capacity(PAGE_SIZE as usize);
    for _ in 0..PAGE_SIZE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        content.extend(state.to_be_bytes());
    }
    content
}
