//! Counts commits between two looks, from SQLite's own counters.
//!
//! The wal-index counts write transactions from the moment it was built. One such stretch is an epoch; it ends when the
//! wal-index is rebuilt, and the count starts again at 0. Within an epoch the difference is exact at any speed; across
//! its end this file puts together what the old wal-index last said, what the frames in the log say, and what events
//! rule out. Where that leaves a hole, the counters say that they are a lower bound.

use std::path::Path;

use super::sample::{IndexSample, Log, Sample};
use super::wal_log::{self, Frames};
use crate::domain::observation::Counters;
use crate::domain::sqlite::{WalIndexHeader, frame_bytes};

/// A larger step of salt-1 is a log that was begun anew with random salts, and not that many resets.
const RESETS_MAX: u32 = 1 << 16;

/// The events since the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Evidence {
    /// `-wal` was written, or may have been: each commit does.
    pub wal_written: bool,
    /// The database file was written, or may have been: by a checkpoint, or in rollback mode.
    pub database_written: bool,
    /// `-shm` was written through its descriptor: it grew, or it was rebuilt.
    pub index_written: bool,
    /// Files appeared or went: what is at the path may be another file.
    pub replaced: bool,
    /// How often a `-shm` was created.
    pub indexes_created: u8,
    /// There were no events, or not all of them arrived.
    pub blind: bool,
}

/// Two looks and what is known of the time between them.
pub(super) struct Step<'a> {
    pub last: &'a Sample,
    pub now: &'a Sample,
    pub evidence: Evidence,
    /// Events about the making of the wal-index that `last` saw may have arrived only now.
    pub settling: bool,
    /// The wal-index that `last` saw, read after it was removed from its path.
    pub finale: Option<WalIndexHeader>,
    pub wal: &'a Path,
}

/// The finding of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub commits: u64,
    pub written_bytes: u64,
    pub resets: u64,
    pub commits_inexact: bool,
    pub bytes_inexact: bool,
    /// The wal-index of the last look was rebuilt in place.
    pub restarted: bool,
    /// The wal-index of the last look went on.
    pub continued: bool,
}

impl Tally {
    pub(super) fn add_to(self, counters: &mut Counters) {
        counters.commits += self.commits;
        counters.commits_lower_bound |= self.commits_inexact;
        counters.doubts += u64::from(self.commits_inexact);
        counters.wal_resets += self.resets;
        counters.written_bytes += self.written_bytes;
        counters.written_bytes_lower_bound |= self.bytes_inexact;
    }

    fn inexact(&mut self) {
        self.commits_inexact = true;
        self.bytes_inexact = true;
    }
}

impl Step<'_> {
    pub(super) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        match (&self.last.index, &self.now.index) {
            (Some(last), Some(now)) if self.continues(last, now) => {
                tally.continued = true;
                self.within_epoch(&mut tally, &last.header, &now.header, true);
            }
            (Some(last), Some(now)) => {
                tally.restarted = last.id == now.id;
                if !self.along_log(&mut tally, &last.header, &now.header) {
                    let end = self.close_epoch(&mut tally, &last.header);
                    self.open_epoch(&mut tally, Some(&end), &now.header);
                }
            }
            (Some(last), None) => {
                let end = self.close_epoch(&mut tally, &last.header);
                self.without_index(&mut tally, &end);
            }
            (None, Some(now)) => self.first_index(&mut tally, &now.header),
            (None, None) => self.never_indexed(&mut tally),
        }
        tally
    }

    /// Whether the wal-index went on counting. A rebuild writes `-shm` through its descriptor; growth does so too, but
    /// leaves the file larger. (A crash in the middle of a header update is repaired without writing through the
    /// descriptor; then the count falls.)
    fn continues(&self, last: &IndexSample, now: &IndexSample) -> bool {
        let rebuilt = self.evidence.index_written && !self.settling && now.size <= last.size;
        last.id == now.id && now.header.change >= last.header.change && !rebuilt
    }

    fn page_size(&self) -> u32 {
        self.now.page_size
    }

    fn bytes(&self, frames: u32) -> u64 {
        u64::from(frames) * frame_bytes(self.page_size())
    }

    /// Two headers of one epoch. `in_file` says that the log of the second one is the file at the path.
    fn within_epoch(&self, tally: &mut Tally, from: &WalIndexHeader, to: &WalIndexHeader, in_file: bool) {
        let commits = to.change.saturating_sub(from.change);
        tally.commits += u64::from(commits);
        if from.same_wal(to) {
            tally.written_bytes += self.bytes(to.frames.saturating_sub(from.frames));
            return;
        }
        let resets = resets(from, to);
        tally.resets += resets;
        tally.written_bytes += self.bytes(to.frames);
        if commits == 0 {
            return;
        }
        let frames = Frames { page_size: self.page_size(), salt1: from.salt1, salt2: from.salt2 };
        let end = (in_file && resets == 1)
            .then(|| wal_log::end_before_reset(self.wal, frames, from.frames, to.frames))
            .flatten();
        match end {
            Some(end) => tally.written_bytes += self.bytes(end.saturating_sub(from.frames)),
            None => tally.bytes_inexact = true,
        }
    }

    /// A rebuilt wal-index over the same log: the log has every commit.
    fn along_log(&self, tally: &mut Tally, last: &WalIndexHeader, now: &WalIndexHeader) -> bool {
        last.same_wal(now) && self.count_frames(tally, (now.salt1, now.salt2), last.frames, now.frames)
    }

    fn count_frames(&self, tally: &mut Tally, (salt1, salt2): (u32, u32), from: u32, to: u32) -> bool {
        let frames = Frames { page_size: self.page_size(), salt1, salt2 };
        let Some(commits) = wal_log::count_commits(self.wal, frames, from, to) else { return false };
        tally.commits += commits;
        tally.written_bytes += self.bytes(to - from);
        true
    }

    /// Counts to the end of the epoch that the last look saw, and says where that was.
    fn close_epoch(&self, tally: &mut Tally, last: &WalIndexHeader) -> WalIndexHeader {
        match self.finale {
            Some(end) if end.change >= last.change => {
                self.within_epoch(tally, last, &end, false);
                return end;
            }
            // Nothing is committed without writing the log.
            _ if !self.evidence.wal_written && !self.evidence.blind => {}
            _ => tally.inexact(),
        }
        *last
    }

    /// Counts a wal-index from its making.
    fn open_epoch(&self, tally: &mut Tally, end: Option<&WalIndexHeader>, now: &WalIndexHeader) {
        tally.commits += u64::from(now.change);
        let known = end.filter(|end| end.same_wal(now)).map_or(0, |end| end.frames);
        tally.written_bytes += self.bytes(now.frames.saturating_sub(known));
        if let Some(end) = end {
            tally.resets += resets(end, now);
        }
        // A checkpoint may have let the log be reset within the epoch; what it held before is not known.
        if now.change > 0 && known == 0 && self.evidence.database_written {
            tally.bytes_inexact = true;
        }
        let missed = self.evidence.indexes_created > 1 && self.evidence.database_written;
        if missed || self.evidence.blind {
            tally.inexact();
        }
    }

    /// The wal-index went: the database was closed, or is in exclusive locking or rollback mode by now.
    fn without_index(&self, tally: &mut Tally, end: &WalIndexHeader) {
        match self.now.log {
            Log::Scanned { position, frames, commits } => {
                let same = (position.salt1, position.salt2) == (end.salt1, end.salt2);
                if !(same && self.count_frames(tally, (end.salt1, end.salt2), end.frames.min(frames), frames)) {
                    tally.commits += commits;
                    tally.written_bytes += self.bytes(frames);
                    tally.inexact();
                }
            }
            Log::Rollback { .. } => tally.inexact(),
            Log::Absent { .. } | Log::Indexed(_) => {
                // Opened and closed between two looks; closing writes what was committed into the database.
                if self.evidence.blind || (self.evidence.indexes_created > 0 && self.evidence.database_written) {
                    tally.inexact();
                }
            }
        }
    }

    /// A wal-index appeared where the last look saw none.
    fn first_index(&self, tally: &mut Tally, now: &WalIndexHeader) {
        if let Log::Scanned { position, frames, .. } = self.last.log {
            let same = (position.salt1, position.salt2) == (now.salt1, now.salt2);
            if same && frames <= now.frames && self.count_frames(tally, (now.salt1, now.salt2), frames, now.frames) {
                return;
            }
            if self.evidence.wal_written || self.evidence.blind {
                tally.inexact();
            }
        }
        if matches!(self.last.log, Log::Rollback { .. }) {
            tally.inexact();
        }
        self.open_epoch(tally, None, now);
    }

    fn never_indexed(&self, tally: &mut Tally) {
        match (self.last.log, self.now.log) {
            (Log::Rollback { change_counter: last }, Log::Rollback { change_counter: now }) => {
                if self.last.database.id == self.now.database.id && now >= last {
                    tally.commits += u64::from(now - last);
                } else {
                    tally.commits_inexact = true;
                }
            }
            (
                Log::Scanned { position: last, frames: from, commits: before },
                Log::Scanned { position: now, frames: to, commits },
            ) => {
                if last.same_wal(&now) && commits >= before {
                    tally.commits += commits - before;
                    tally.written_bytes += self.bytes(to.saturating_sub(from));
                } else {
                    tally.commits += commits;
                    tally.written_bytes += self.bytes(to);
                    tally.resets += 1;
                    tally.inexact();
                }
            }
            (Log::Absent { .. }, Log::Scanned { frames, commits, .. }) => {
                tally.commits += commits;
                tally.written_bytes += self.bytes(frames);
                // A checkpoint in between would have written the database.
                if self.evidence.database_written || self.evidence.blind {
                    tally.inexact();
                }
            }
            (Log::Absent { .. }, Log::Absent { .. }) => {
                if self.last.database.stamp() != self.now.database.stamp() {
                    tally.commits += 1;
                    tally.inexact();
                }
            }
            (Log::Scanned { .. }, _) if !self.evidence.wal_written && !self.evidence.blind => {}
            _ => tally.inexact(),
        }
    }
}

/// Each reset adds 1 to salt-1. Salts are 0 before the first log.
fn resets(from: &WalIndexHeader, to: &WalIndexHeader) -> u64 {
    if (from.salt1, from.salt2) == (0, 0) {
        return 0;
    }
    match to.salt1.wrapping_sub(from.salt1) {
        0 => u64::from(from.salt2 != to.salt2),
        step @ 1..=RESETS_MAX => step.into(),
        _ => 1,
    }
}
