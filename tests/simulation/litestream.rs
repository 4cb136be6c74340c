//! A model of a SQLite database and of the Litestream v0.5 that replicates it: what it writes, when, and what it
//! deletes, with the commits that each file holds.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use streamgauge::domain::litestream::{LevelKeys, LtxName};
use streamgauge::domain::observation::{Counters, DatabaseLook, Journal, WalSource, WalState};
use streamgauge::domain::sqlite::WalPosition;
use streamgauge::infrastructure::store::MemoryStore;

use crate::world::{PAGE_SIZE, at, ltx, name, wal};

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

#[derive(Clone, Copy)]
struct Local {
    txid: u64,
    /// Commits that the database holds with it.
    commits: usize,
    end: WalPosition,
    written: i64,
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
    salt: u32,
    frames: u64,
    /// `None` while the database is closed and has no WAL.
    open: bool,
    /// All of the WAL is in the database file: the next commit starts it anew.
    checkpointed: bool,
    running: bool,
    /// What the daemon has not seen go by: its next file is a whole image.
    lost_track: bool,
    local: Vec<Local>,
    /// The TXID that the daemon takes for the bucket's newest.
    uploaded: u64,
    /// The files in the bucket: `(level, min, max)` and when they were written.
    pub(crate) bucket: BTreeMap<(u8, u64, u64), i64>,
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
            salt: 100,
            frames: 0,
            open: true,
            checkpointed: false,
            running: true,
            lost_track: true,
            local: Vec::new(),
            uploaded: 0,
            bucket: BTreeMap::new(),
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

    fn position(&self) -> WalPosition {
        wal(self.salt, self.frames)
    }

    /// What a look at the database sees.
    pub(crate) fn look(&self) -> DatabaseLook {
        let state = WalState {
            position: self.position(),
            frames: self.frames as u32,
            backfilled_frames: None,
            oldest_reader_frame: None,
            source: WalSource::WalIndex,
        };
        DatabaseLook {
            at: at(self.now),
            size_bytes: 4096,
            wal_size_bytes: None,
            page_size: PAGE_SIZE,
            journal: if self.open { Journal::Wal(state) } else { Journal::WalAbsent { change_counter: 0 } },
            last_commit: self.commits.last().map(|second| at(*second).wall),
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
        let files: Vec<_> = self.bucket.keys().copied().collect();
        let mut end = files.iter().filter(|file| file.0 == 9).map(|file| file.2).max().unwrap_or(0);
        while let Some(next) = files.iter().filter(|f| f.0 < 9 && f.1 <= end + 1 && f.2 > end).map(|f| f.2).max() {
            end = next;
        }
        let broken = end == 0 || files.iter().any(|file| file.2 > end);
        (self.content(end), broken)
    }

    /// Commits that the database held at a TXID.
    fn content(&self, txid: u64) -> usize {
        txid.checked_sub(1).map_or(0, |index| self.local[index as usize].commits)
    }

    pub(crate) fn commit(&mut self) {
        if !self.open {
            self.open = true;
            (self.salt, self.frames) = (self.dice.below(1 << 31) as u32 + 1000, 0);
        } else if self.checkpointed && self.frames > 0 {
            (self.salt, self.frames) = (self.salt + 1, 0);
        }
        self.checkpointed = false;
        let frames = 1 + self.dice.below(3);
        self.frames += frames;
        self.commits.push(self.now);
        self.bytes.push(frames * u64::from(24 + PAGE_SIZE));
        let told = format!("commit {} at {}:{}", self.commits.len(), self.salt, self.frames);
        self.tell(told);
    }

    /// The database's WAL becomes a local level-0 file.
    fn sync(&mut self) {
        let synced = self.local.last().map_or(0, |local| local.commits);
        if !self.running || !self.open || (synced == self.commits.len() && !self.lost_track) {
            return;
        }
        let txid = self.local.len() as u64 + 1;
        self.lost_track = false;
        let (commits, end, written) = (self.commits.len(), self.position(), self.now);
        self.local.push(Local { txid, commits, end, written });
        let told = format!("sync txid {txid} to commit {commits}");
        self.tell(told);
    }

    fn put(&mut self, level: u8, min: u64, max: u64, written: i64, end: Option<WalPosition>) {
        let file: LtxName = name(min, max);
        let dated = if self.habits.upload_dates { self.now } else { written };
        self.files.put(LevelKeys::Plain.key(level, file), ltx(file, at(written).wall, end), at(dated).wall);
        self.bucket.insert((level, min, max), written);
        let told = format!("put {level}/{min}-{max}");
        self.tell(told);
    }

    fn delete(&mut self, (level, min, max): (u8, u64, u64), why: &str) {
        self.files.remove(&LevelKeys::Plain.key(level, name(min, max)));
        self.bucket.remove(&(level, min, max));
        let told = format!("{why} {level}/{min}-{max}");
        self.tell(told);
    }

    fn upload(&mut self) {
        let next = self.local.get(self.uploaded as usize).copied().filter(|_| self.running);
        if let Some(file) = next {
            self.uploaded = file.txid;
            self.put(0, file.txid, file.txid, file.written, Some(file.end));
        }
    }

    fn newest(&self, level: u8) -> u64 {
        self.bucket.keys().filter(|file| file.0 == level).map(|file| file.2).max().unwrap_or(0)
    }

    /// Merges what a level has beyond the next one.
    fn compact(&mut self, to: u8) {
        let from = self.newest(to) + 1;
        let level = self.bucket.iter().filter(|(file, _)| file.0 == to - 1 && file.1 >= from);
        let files: Vec<_> = level.map(|(file, written)| (*file, *written)).collect();
        // Litestream refuses to merge across a hole.
        let whole = files.first().is_some_and(|first| first.0.1 == from)
            && files.windows(2).all(|pair| pair[1].0.1 == pair[0].0.2 + 1);
        let (true, true, Some(((_, _, max), written))) = (self.running, whole, files.last().copied()) else { return };
        self.put(to, from, max, written, None);
        if self.habits.hasty && to == 1 {
            let compacted: Vec<_> = self.bucket.keys().filter(|file| file.0 == 0 && file.2 <= max).copied().collect();
            compacted.into_iter().for_each(|file| self.delete(file, "compacted"));
        }
    }

    /// An image of the database at the last sync, which in life is never more than a second ago.
    fn snapshot(&mut self) {
        let newest = self.local.last().copied().filter(|local| self.running && local.txid == self.uploaded);
        let Some(local) = newest.filter(|local| local.commits == self.commits.len()) else { return };
        if self.newest(9) < local.txid {
            self.put(9, 1, local.txid, self.now, Some(local.end));
        }
    }

    fn retain(&mut self) {
        if !self.running {
            return;
        }
        let (compacted, newest) = (self.newest(1), self.newest(0));
        let young = self.now - 5;
        let level0 = self.bucket.iter().filter(|(file, _)| file.0 == 0);
        let old = level0.take_while(|(file, at)| file.2 <= compacted && file.2 < newest && **at < young);
        let old: Vec<_> = old.map(|(file, _)| *file).collect();
        old.into_iter().for_each(|file| self.delete(file, "expired"));
        let snapshots: Vec<_> = self.bucket.keys().filter(|file| file.0 == 9).copied().collect();
        if snapshots.len() < 3 {
            return;
        }
        for snapshot in &snapshots[..snapshots.len() - 2] {
            self.delete(*snapshot, "expired");
            for level in 1..9 {
                let last = self.newest(level);
                let covered = |file: &&(u8, u64, u64)| file.0 == level && file.2 < snapshot.2 && file.2 != last;
                let covered: Vec<_> = self.bucket.keys().filter(covered).copied().collect();
                covered.into_iter().for_each(|file| self.delete(file, "expired"));
            }
        }
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
        let synced = self.local.last().map_or(0, |local| local.commits) == self.commits.len();
        if self.open && (synced || !self.running) {
            self.checkpointed = true;
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
        if !self.open {
            self.lost_track = true;
            // It opens the database and writes its own table.
            self.commit();
        }
        // It asks the bucket how far it is, by its level-0 files alone.
        self.uploaded = self.newest(0);
    }

    /// The last connection closes while the daemon is down: the WAL goes.
    fn close(&mut self) {
        if self.open && !self.running {
            self.open = false;
            self.lost_track = true;
            self.doubts += u64::from(self.dice.odds(30));
            let told = format!("closed, doubts {}", self.doubts);
            self.tell(told);
        }
    }

    /// Something that is nobody's plan; whether it took objects away.
    fn mishap(&mut self) -> bool {
        let files: Vec<_> = self.bucket.keys().copied().collect();
        let Some(newest) = files.iter().map(|file| file.2).max() else { return false };
        match self.dice.below(4) {
            0 => files.into_iter().for_each(|file| self.delete(file, "emptied")),
            1 | 2 => {
                let end = newest - self.dice.below(4).min(newest - 1);
                files.into_iter().filter(|file| file.2 >= end).for_each(|file| self.delete(file, "end lost"));
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
        commit.checked_sub(1).and_then(|index| self.commits.get(index)).map(|second| at(*second).wall)
    }
}
