//! A database and the Litestream 0.5 that replicates it, second by second with Litestream's own defaults: what is written,
//! uploaded, merged, kept and deleted when. Its files are whole and genuine, so that what reads them can be sure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::litestream::{LevelKeys, LtxHeader, LtxName, Txid};
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
use streamgauge_testkit::ltx::{Pages, Writer};

const PAGE_SIZE: u32 = 4096;
/// Pages of the database: 256 KiB.
const PAGES: u32 = 64;
const FRAME: u64 = 24 + PAGE_SIZE as u64;

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

/// Level, first and last TXID.
pub(crate) type FileId = (u8, u64, u64);

/// A file in the bucket, as it was meant to be.
#[derive(Clone)]
struct Stored {
    header: LtxHeader,
    /// By page number, what makes its content.
    pages: BTreeMap<u32, u64>,
    at: i64,
}

/// A level-0 file in the metadata directory.
#[derive(Clone)]
struct Local {
    header: LtxHeader,
    pages: BTreeMap<u32, u64>,
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
    /// Each transaction changes the same pages.
    pub(crate) same_pages: bool,
    /// A reader holds this frame, and checkpoints stop there.
    pub(crate) reader: Option<u32>,
    /// Bytes that are free on the filesystem, and how many are used up each second by others.
    pub(crate) disk_free: u64,
    pub(crate) disk_eaten: u64,

    salt: u32,
    frames: u32,
    backfilled: u32,
    open: bool,
    content: BTreeMap<u32, u64>,
    dirty: BTreeMap<u32, u64>,
    /// Pages in the log.
    logged: BTreeSet<u32>,
    version: u64,
    last_commit: i64,
    counters: Counters,
    /// A look differs from the one before.
    pub(crate) changed: bool,

    local: BTreeMap<u64, Local>,
    /// Where the newest local file ends in the WAL.
    synced: WalPosition,
    lost_track: bool,
    /// It takes a snapshot as soon as it can: it just started, and there is none of this period.
    snapshot_due: bool,
    checkpointed_at: i64,
    written_since_checkpoint: bool,
    /// The TXID that Litestream takes for the bucket's newest.
    uploaded: u64,
    stored: BTreeMap<FileId, Stored>,
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
            bucket: Arc::new(MemoryStore::new()),
            deletes_are_lies: false,
            intruder: false,
            replaced: false,
            runaway: false,
            headers_say_nothing: false,
            same_pages: false,
            reader: None,
            disk_free: 60 << 30,
            disk_eaten: 0,
            salt: 100,
            frames: 0,
            backfilled: 0,
            open: true,
            content: (1..=PAGES).map(|page| (page, 0)).collect(),
            dirty: BTreeMap::new(),
            logged: BTreeSet::new(),
            version: 0,
            last_commit: 0,
            counters: Counters::default(),
            changed: true,
            local: BTreeMap::new(),
            synced: WalPosition { salt1: 0, salt2: 0, end: 0 },
            lost_track: true,
            snapshot_due: true,
            checkpointed_at: 0,
            written_since_checkpoint: false,
            uploaded: 0,
            stored: BTreeMap::new(),
        };
        peer.commit(2);
        peer
    }

    /// The true time.
    pub(crate) fn at(&self, second: i64) -> Timestamp {
        self.start + SignedDuration::from_secs(second)
    }

    /// What this host takes it for.
    fn dated(&self) -> Timestamp {
        self.at(self.now + self.clock_ahead)
    }

    fn position(&self) -> WalPosition {
        WalPosition { salt1: self.salt, salt2: self.salt.wrapping_mul(7), end: 32 + u64::from(self.frames) * FRAME }
    }

    // The database.

    /// A transaction that changes so many pages.
    pub(crate) fn commit(&mut self, pages: u32) {
        if !self.open || (self.backfilled == self.frames && self.frames > 0 && self.reader.is_none()) {
            self.reset();
        }
        self.open = true;
        self.version += 1;
        let seed = if self.same_pages { 0 } else { self.version as u32 };
        for page in (0..pages).map(|n| 1 + (seed.wrapping_mul(7) + n) % PAGES) {
            self.content.insert(page, self.version);
            self.dirty.insert(page, self.version);
            self.logged.insert(page);
        }
        self.frames += pages;
        self.last_commit = self.now;
        self.counters.commits += 1;
        self.counters.written_bytes += u64::from(pages) * FRAME;
        self.changed = true;
    }

    /// The log begins anew.
    fn reset(&mut self) {
        (self.salt, self.frames, self.backfilled) = (self.salt + 1, 0, 0);
        self.logged.clear();
        self.counters.wal_resets += 1;
    }

    /// Copies the log into the database, as far as readers let it.
    fn backfill(&mut self) {
        self.backfilled = self.reader.unwrap_or(self.frames).min(self.frames).max(self.backfilled);
        self.changed = true;
    }

    /// The last connection closes and takes the log along.
    pub(crate) fn close(&mut self) {
        self.backfill();
        self.open = false;
        self.frames = 0;
        self.backfilled = 0;
        self.changed = true;
    }

    /// Somebody else checkpoints, and the next transaction begins the log anew.
    pub(crate) fn checkpoint_by_another(&mut self) {
        self.backfill();
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
        self.salt += 1000;
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
        if self.open && self.position() != at.position {
            return Err(Reason::new(ReasonKind::NotFound, "it is at another position"));
        }
        let content = |page: &u32| page_content(*page, self.content[page]).into();
        let pages = numbers.iter().map(content).collect();
        Ok(LivePages { page_size: PAGE_SIZE, pages, positioned: self.open })
    }

    pub(crate) fn look(&self, at: Moment) -> DatabaseLook {
        let state = WalState {
            position: self.position(),
            frames: self.frames,
            backfilled_frames: Some(self.backfilled),
            oldest_reader_frame: self.reader,
            source: WalSource::WalIndex,
        };
        DatabaseLook {
            at,
            size_bytes: u64::from(PAGES * PAGE_SIZE),
            wal_size_bytes: self.open.then_some(32 + u64::from(self.frames) * FRAME),
            page_size: PAGE_SIZE,
            journal: if self.open { Journal::Wal(state) } else { Journal::WalAbsent { change_counter: 1 } },
            last_commit: Some(self.at(self.last_commit + self.clock_ahead)),
            counters: self.counters,
            replacement: match (self.replaced, self.open) {
                (true, _) => Replacement::Replaced(Contradiction::OtherFile),
                (false, true) => Replacement::Agrees { pages: 1 },
                (false, false) => Replacement::Closed,
            },
        }
    }

    pub(crate) fn posture(&self, at: Moment) -> DatabasePosture {
        let mode = |file, mode| FileMode { file, mode, uid: 1000, gid: 1000 };
        let files = self.local.iter().map(|(txid, local)| StagedLtx {
            txid: Txid(*txid),
            end: end(&local.header),
            wal_bytes: local.header.wal_size,
            timestamp: local.header.timestamp,
        });
        DatabasePosture {
            at,
            modes: vec![
                mode(FileRole::Database, 0o600),
                mode(FileRole::Wal, 0o600),
                mode(FileRole::Shm, 0o600),
                mode(FileRole::Directory, 0o700),
            ],
            reachable: Some(true),
            filesystem: Some(Filesystem {
                size_bytes: 100 << 30,
                avail_bytes: self.disk_free,
                used_bytes: (100 << 30) - self.disk_free,
            }),
            staging: Some(Staging {
                path: PathBuf::from("/app.db-litestream"),
                bytes: self.local.len() as u64 * 8192,
                position: if self.local.is_empty() || self.headers_say_nothing {
                    StagedPosition::Empty
                } else {
                    StagedPosition::Ltx(files.collect())
                },
            }),
            staging_filesystem: None,
            lock_holder_pid: (self.daemon != Daemon::Down).then_some(4711),
            open: Some(self.open),
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
        if !self.open {
            // It opens the database, and writes its own table.
            self.commit(1);
            self.lost_track = true;
        }
        let (here, synced) = (self.position(), self.synced);
        if here == synced && !self.lost_track {
            return;
        }
        let continues = here.salt1 == synced.salt1 && here.salt2 == synced.salt2 && !self.lost_track;
        let from = if continues { synced.end } else { 32 };
        let pages = if self.lost_track { self.content.clone() } else { std::mem::take(&mut self.dirty) };
        self.dirty.clear();
        self.lost_track = false;
        let txid = self.local.keys().next_back().copied().unwrap_or(0) + 1;
        let header = LtxHeader {
            page_size: PAGE_SIZE,
            commit: PAGES,
            min: Txid(txid),
            max: Txid(txid),
            timestamp: self.dated(),
            wal_offset: from,
            wal_size: here.end - from,
            wal_salt1: here.salt1,
            wal_salt2: here.salt2,
        };
        self.local.insert(txid, Local { header, pages });
        self.synced = here;
        self.written_since_checkpoint = true;
    }

    fn upload(&mut self) {
        while let Some(local) = self.local.get(&(self.uploaded + 1)).cloned() {
            self.uploaded += 1;
            let mute = LtxHeader { wal_offset: 0, wal_size: 0, wal_salt1: 0, wal_salt2: 0, ..local.header };
            let header = if self.headers_say_nothing { mute } else { local.header };
            self.store((0, self.uploaded, self.uploaded), header, local.pages);
            if self.intruder {
                // The other one has its own idea of the same transaction.
                let version = self.version + 1_000_000;
                let pages = BTreeMap::from([(1, version)]);
                let header =
                    LtxHeader { wal_salt1: 9, wal_salt2: 9, ..self.stored[&(0, self.uploaded, self.uploaded)].header };
                self.now += 1;
                self.store((0, self.uploaded, self.uploaded), header, pages);
                self.now -= 1;
            }
        }
    }

    fn checkpoint(&mut self) {
        self.backfill();
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
                self.compact(level);
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
        let Some((txid, local)) = self.local.iter().next_back().filter(|(txid, _)| **txid == self.uploaded) else {
            return;
        };
        if self.newest(9) >= *txid {
            return;
        }
        let header = LtxHeader { min: Txid(1), timestamp: self.dated(), ..local.header };
        let id = (9, 1, *txid);
        self.store(id, header, self.content.clone());
        self.retain();
    }

    fn compact(&mut self, level: u8) {
        let from = self.newest(level) + 1;
        let below = self.stored.range((level - 1, from, 0)..(level, 0, 0));
        let below: Vec<_> = below.map(|(id, stored)| (*id, stored.clone())).collect();
        // It refuses to merge across a hole.
        let whole = below.first().is_some_and(|first| first.0.1 == from)
            && below.windows(2).all(|pair| pair[1].0.1 == pair[0].0.2 + 1);
        let (true, Some((last, newest))) = (whole, below.last()) else { return };
        let header =
            LtxHeader { min: Txid(from), wal_offset: 0, wal_size: 0, wal_salt1: 0, wal_salt2: 0, ..newest.header };
        let pages =
            below.iter().flat_map(|(_, stored)| &stored.pages).map(|(page, version)| (*page, *version)).collect();
        self.store((level, from, last.2), header, pages);
    }

    fn retain_level_0(&mut self) {
        let (compacted, newest) = (self.newest(1), self.newest(0));
        let old = self.now - self.settings.level_0_retention;
        let expired = self.stored.range((0, 0, 0)..(1, 0, 0));
        let expired = expired.take_while(|((_, _, max), stored)| *max <= compacted && *max < newest && stored.at < old);
        let expired: Vec<_> = expired.map(|(id, _)| *id).collect();
        for id in expired {
            self.local.remove(&id.2);
            self.retire(id);
        }
    }

    fn retain(&mut self) {
        let old = self.now - self.settings.retention;
        let snapshots: Vec<_> = self.stored.range((9, 0, 0)..).map(|(id, stored)| (*id, stored.at)).collect();
        let Some((_, kept)) = snapshots.split_last() else { return };
        let expired: Vec<_> = kept.iter().filter(|(_, at)| *at < old).map(|(id, _)| *id).collect();
        let Some(youngest) = expired.last().map(|id| id.2) else { return };
        expired.into_iter().for_each(|id| self.retire(id));
        for level in 1..=3 {
            let last = self.newest(level);
            let covered = self.stored.range((level, 0, 0)..(level + 1, 0, 0)).map(|(id, _)| *id);
            let covered: Vec<_> = covered.filter(|id| id.2 < youngest && id.2 != last).collect();
            covered.into_iter().for_each(|id| self.retire(id));
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
        // It asks the bucket how far it is, by its level-0 files alone.
        self.uploaded = self.newest(0);
        if self.local.keys().next_back().is_some_and(|newest| *newest < self.uploaded) {
            let (_, stored) =
                self.stored.range(..(1, 0, 0)).next_back().map(|(id, stored)| (*id, stored.clone())).unwrap();
            self.local.insert(self.uploaded, Local { header: stored.header, pages: stored.pages });
        }
        let period = self.now - self.now % self.settings.snapshot;
        let newest = self.stored.range((9, 0, 0)..).next_back();
        self.snapshot_due = newest.is_none_or(|(_, stored)| stored.at < period);
        let salts = (self.position().salt1, self.synced.salt1);
        self.lost_track |= salts.0 > salts.1 + 1;
    }

    // The bucket.

    fn store(&mut self, id: FileId, header: LtxHeader, pages: BTreeMap<u32, u64>) {
        let content: Pages = pages.iter().map(|(page, version)| (*page, page_content(*page, *version))).collect();
        self.bucket.put(key(id), encode(&header, &content), self.at(self.now));
        self.stored.insert(id, Stored { header, pages, at: self.now });
    }

    pub(crate) fn newest(&self, level: u8) -> u64 {
        self.stored.range((level, 0, 0)..(level + 1, 0, 0)).next_back().map_or(0, |(id, _)| id.2)
    }

    /// What is there of a level, oldest first.
    pub(crate) fn files(&self, level: u8) -> Vec<FileId> {
        self.stored.range((level, 0, 0)..(level + 1, 0, 0)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn delete(&mut self, id: FileId) {
        self.stored.remove(&id);
        self.bucket.remove(&key(id));
    }

    pub(crate) fn empty(&mut self) {
        let all: Vec<_> = self.stored.keys().copied().collect();
        all.into_iter().for_each(|id| self.delete(id));
    }

    /// Changes the bytes of a file; as rot does, without a new date, or as somebody who writes it again.
    pub(crate) fn damage(&mut self, id: FileId, rewritten: bool, damage: fn(&mut Vec<u8>)) {
        let stored = &self.stored[&id];
        let content: Pages =
            stored.pages.iter().map(|(page, version)| (*page, page_content(*page, *version))).collect();
        let mut bytes = encode(&stored.header, &content);
        damage(&mut bytes);
        let at = if rewritten { self.now } else { stored.at };
        self.bucket.put(key(id), bytes, self.at(at));
    }

    /// Gives pages of a file other content, and the file its right checksum, size and date.
    pub(crate) fn forge(&mut self, id: FileId, pages: impl Fn(u32) -> bool) {
        let stored = &self.stored[&id];
        let other = |page, version| if pages(page) { version + 2_000_000 } else { version };
        let content = stored.pages.iter().map(|(page, version)| (*page, page_content(*page, other(*page, *version))));
        let content: Pages = content.collect();
        self.bucket.put(key(id), encode(&stored.header, &content), self.at(stored.at));
    }

    /// All files are those of another database, which has the same transactions.
    pub(crate) fn swap_history(&mut self) {
        let all: Vec<_> = self.stored.keys().copied().collect();
        for id in all {
            self.forge(id, |_| true);
            if let Some(stored) = self.stored.get_mut(&id) {
                stored.pages.values_mut().for_each(|version| *version += 2_000_000);
            }
        }
    }

    /// Puts a file under a name that is not its own.
    pub(crate) fn rename(&mut self, id: FileId, to: FileId) {
        let stored = self.stored.remove(&id).unwrap();
        let content: Pages =
            stored.pages.iter().map(|(page, version)| (*page, page_content(*page, *version))).collect();
        self.bucket.remove(&key(id));
        self.bucket.put(key(to), encode(&stored.header, &content), self.at(stored.at));
        self.stored.insert(to, stored);
    }
}

fn key((level, min, max): FileId) -> String {
    LevelKeys::Hex.key(level, LtxName { min: Txid(min), max: Txid(max) })
}

fn encode(header: &LtxHeader, pages: &Pages) -> Vec<u8> {
    let mut writer = Writer::new(&header.encode());
    pages.iter().for_each(|(number, page)| writer.block(*number, page));
    writer.finish()
}

fn end(header: &LtxHeader) -> WalPosition {
    WalPosition { salt1: header.wal_salt1, salt2: header.wal_salt2, end: header.wal_offset + header.wal_size }
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
