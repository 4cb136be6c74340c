//! A model of a SQLite database and of the Litestream v0.5 that replicates it: what it writes, when, and what it
//! deletes, with the commits that each file holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use streamgauge::domain::litestream::{LevelKeys, Txid};
use streamgauge::domain::observation::{Counters, DatabaseLook, Journal, WalSource, WalState};
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge_testkit::log::Log;
use streamgauge_testkit::ltx::{Consumed, Header};
use streamgauge_testkit::replica::{FileId, RAW, Replica, SNAPSHOT};

use crate::world::{PAGE_SIZE, at, header_alone, name, position};

/// Numbers that a seed determines (SplitMix64).
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `below`, which is not included.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// True `percent` times of a hundred.
    pub(crate) fn odds(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// How this Litestream behaves, and what happens to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Level-0 files go as soon as they are compacted, as until 0.5.2.
    pub(crate) hasty: bool,
    /// The store dates objects by their upload, as S3 does, and not by their header.
    pub(crate) upload_dates: bool,
    /// Objects are lost.
    pub(crate) losses: bool,
    /// The daemon stops at times, and the database is closed meanwhile.
    pub(crate) closing: bool,
}

/// The database, the daemon and the bucket.
pub(crate) struct Litestream {
    pub(crate) dice: Dice,
    pub(crate) habits: Habits,
    pub(crate) now: i64,
    pub(crate) files: Arc<MemoryStore>,
    /// When each commit was made, the first one at index 0.
    pub(crate) commits: Vec<i64>,
    /// Bytes of WAL of each commit.
    pub(crate) bytes: Vec<u64>,
    log: Log,
    running: bool,
    /// What the daemon has not seen go by: its next file is a whole image.
    lost_track: bool,
    /// The version of page 1, the only one, is the number of commits that the database holds with the file.
    replica: Replica<usize>,
    /// What was counted since the agent began, and how often that may have missed something.
    counted_from: usize,
    pub(crate) doubts: u64,
    pub(crate) story: Vec<String>,
}

impl Litestream {
    pub(crate) fn new(seed: u64, habits: Habits) -> Self {
        let mut model = Self {
            dice: Dice::new(seed),
            habits,
            now: 0,
            files: Arc::new(MemoryStore::with_page_keys(4)),
            commits: Vec::new(),
            bytes: Vec::new(),
            log: Log::new(100, PAGE_SIZE),
            running: true,
            lost_track: true,
            replica: Replica::default(),
            counted_from: 0,
            doubts: 0,
            story: vec![format!("{habits:?}")],
        };
        model.commit();
        model.sync();
        model.upload();
        model
    }

    pub(crate) fn tell(&mut self, what: impl std::fmt::Display) {
        self.story.push(format!("{:4}: {what}", self.now));
    }

    /// What a look at the database sees.
    pub(crate) fn look(&self) -> DatabaseLook {
        let state = WalState {
            position: position(self.log.position()),
            frames: self.log.frames,
            backfilled_frames: None,
            oldest_reader_frame: None,
            source: WalSource::WalIndex,
        };
        DatabaseLook {
            at: at(self.now),
            size_bytes: 4096,
            wal_size_bytes: None,
            page_size: PAGE_SIZE,
            journal: if self.log.open { Journal::Wal(state) } else { Journal::WalAbsent { change_counter: 0 } },
            last_commit: self.commits.last().map(|second| at(*second).wall()),
            replacement: Default::default(),
            counters: Counters {
                commits: (self.commits.len() - self.counted_from) as u64,
                commits_lower_bound: self.doubts > 0,
                doubts: self.doubts,
                ..Counters::default()
            },
        }
    }

    /// The agent begins anew, and counts from here.
    pub(crate) fn recount(&mut self) {
        self.counted_from = self.commits.len();
        self.doubts = 0;
    }

    /// Commits that restoring the latest state brings back, and whether a hole keeps newer files from it: straight from
    /// the files, without any of the product's code.
    pub(crate) fn restores(&self) -> (usize, bool) {
        let files: Vec<_> = self.replica.files().collect();
        let mut end = files.iter().filter(|file| file.level == SNAPSHOT).map(|file| file.max).max().unwrap_or(0);
        while let Some(next) =
            files.iter().filter(|f| f.level < 9 && f.min <= end + 1 && f.max > end).map(|f| f.max).max()
        {
            end = next;
        }
        let broken = end == 0 || files.iter().any(|file| file.max > end);
        (self.content(end), broken)
    }

    /// Commits that the database held at a TXID.
    fn content(&self, txid: u64) -> usize {
        self.replica.local.get(&txid).map_or(0, |local| local.pages[&1])
    }

    pub(crate) fn commit(&mut self) {
        if !self.log.open {
            self.log = Log::new(self.dice.below(1 << 31) as u32 + 1000, PAGE_SIZE);
        }
        let frames = 1 + self.dice.below(3) as u32;
        self.log.commit(frames, false);
        self.commits.push(self.now);
        self.bytes.push(u64::from(frames) * u64::from(24 + PAGE_SIZE));
        let told = format!("commit {} at {}:{}", self.commits.len(), self.log.salt, self.log.frames);
        self.tell(told);
    }

    /// The newest TXID beside the database; nobody sees it at times.
    pub(crate) fn claimed(&mut self) -> Option<Txid> {
        self.dice.odds(70).then(|| Txid(self.replica.txid()))
    }

    /// The commits that the newest local file brings.
    fn synced(&self) -> usize {
        self.content(self.replica.txid())
    }

    /// The database's WAL becomes a local level-0 file.
    fn sync(&mut self) {
        let commits = self.commits.len();
        if !self.running || !self.log.open || (self.synced() == commits && !self.lost_track) {
            return;
        }
        self.lost_track = false;
        let (timestamp, wal) = (written(self.now), Some(Consumed { from: 32, end: self.log.position() }));
        let header = Header { page_size: PAGE_SIZE, commit: 4, min: 0, max: 0, timestamp, wal };
        let file = self.replica.sync(header, BTreeMap::from([(1, commits)]));
        self.tell(format!("sync txid {} to commit {commits}", file.max));
    }

    /// Puts what the model put into its replica.
    fn put(&mut self, id: FileId) {
        let header = self.replica.get(id).unwrap().header;
        let dated = if self.habits.upload_dates { written(self.now) } else { header.timestamp };
        let dated = Timestamp::from_millisecond(dated.cast_signed()).unwrap();
        self.files.put(key(id), header_alone(&header), dated);
        self.tell(format!("put {}", key(id)));
    }

    fn delete(&mut self, id: FileId, why: &str) {
        self.files.remove(&key(id));
        self.replica.remove(id);
        self.tell(format!("{why} {}", key(id)));
    }

    fn upload(&mut self) {
        if self.running
            && let Some(file) = self.replica.upload(self.now)
        {
            self.put(file);
        }
    }

    /// Merges what a level has beyond the next one.
    fn compact(&mut self, to: u8) {
        if !self.running {
            return;
        }
        let Some(merged) = self.replica.compact(to, self.now) else { return };
        self.put(merged);
        if self.habits.hasty && to == 1 {
            let mut compacted = self.replica.level(RAW);
            compacted.retain(|file| file.max <= merged.max);
            compacted.into_iter().for_each(|file| self.delete(file, "compacted"));
        }
    }

    /// An image of the database at the last sync, which in life is never more than a second ago.
    fn snapshot(&mut self) {
        let commits = self.commits.len();
        if self.running
            && self.synced() == commits
            && let Some(file) = self.replica.snapshot(BTreeMap::from([(1, commits)]), written(self.now), self.now)
        {
            self.put(file);
        }
    }

    fn retain(&mut self) {
        if !self.running {
            return;
        }
        let young = written(self.now - 5);
        let raw = self.replica.expired_raw(|file| file.header.timestamp < young);
        raw.into_iter().for_each(|file| self.delete(file, "expired"));
        // Two snapshots stay.
        let Some(youngest) = self.replica.level(SNAPSHOT).into_iter().rev().nth(2) else { return };
        let expired = self.replica.expired(|file| file.header.max <= youngest.max);
        expired.into_iter().for_each(|file| self.delete(file, "expired"));
    }

    /// What the daemon does by itself, one thing at a time.
    pub(crate) fn work(&mut self) {
        match self.dice.below(10) {
            0..=2 => self.sync(),
            3..=5 => self.upload(),
            6 => self.compact(1),
            7 => self.compact(2),
            8 => self.snapshot(),
            _ => self.retain(),
        }
    }

    /// A checkpoint by the daemon, or by anyone while it is down: the WAL can start anew.
    fn checkpoint(&mut self) {
        let synced = self.synced() == self.commits.len();
        if self.log.open && (synced || !self.running) {
            self.log.backfill(None);
            self.lost_track |= !synced;
            self.tell("checkpoint");
        }
    }

    fn stop(&mut self) {
        if std::mem::take(&mut self.running) {
            self.tell("daemon stops");
        }
    }

    fn start(&mut self) {
        if self.running {
            return;
        }
        self.running = true;
        self.tell("daemon starts");
        if !self.log.open {
            self.lost_track = true;
            // It opens the database and writes its own table.
            self.commit();
        }
        self.replica.restart();
    }

    /// The last connection closes while the daemon is down: the WAL goes.
    fn close(&mut self) {
        if self.log.open && !self.running {
            self.log.close();
            self.lost_track = true;
            self.doubts += u64::from(self.dice.odds(30));
            let told = format!("closed, doubts {}", self.doubts);
            self.tell(told);
        }
    }

    /// Something that is nobody's plan; whether it took objects away.
    fn mishap(&mut self) -> bool {
        let files: Vec<_> = self.replica.files().collect();
        let Some(newest) = files.iter().map(|file| file.max).max() else { return false };
        match self.dice.below(4) {
            0 => files.into_iter().for_each(|file| self.delete(file, "emptied")),
            1 | 2 => {
                let end = newest - self.dice.below(4).min(newest - 1);
                files.into_iter().filter(|file| file.max >= end).for_each(|file| self.delete(file, "end lost"));
            }
            _ => {
                let one = files[self.dice.below(files.len() as u64) as usize];
                self.delete(one, "lost");
            }
        }
        true
    }

    /// One step of time; whether objects were lost in it.
    pub(crate) fn step(&mut self) -> bool {
        self.now += 1 + self.dice.below(4) as i64;
        match self.dice.below(100) {
            0..=29 => self.commit(),
            30..=84 => self.work(),
            85..=90 => self.checkpoint(),
            91..=92 => self.stop(),
            93..=94 if self.habits.closing => self.close(),
            95..=97 => self.start(),
            98..=99 if self.habits.losses => return self.mishap(),
            _ => {}
        }
        false
    }

    /// When a commit was made, by its number.
    pub(crate) fn made(&self, commit: usize) -> Option<Timestamp> {
        commit.checked_sub(1).and_then(|index| self.commits.get(index)).map(|second| at(*second).wall())
    }
}

fn key(file: FileId) -> String {
    LevelKeys::Plain.key(file.level, name(file.min, file.max))
}

/// A second as files say it.
fn written(second: i64) -> u64 {
    at(second).wall().as_millisecond().cast_unsigned()
}
