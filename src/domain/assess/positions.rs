//! The positions at which a database was seen, oldest unproven first: what lag is measured on.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::domain::limits::POSITIONS_MAX;
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, Journal};
use crate::domain::sqlite::WalPosition;

/// A position of the source, and for how long it was seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When its newest commit was first seen, or was made if the files date it.
    pub first_seen: Moment,
    /// The last time at which the database was sampled and had committed nothing since.
    pub last_seen: Moment,
    /// The commit counter of the look.
    pub commits: u64,
    /// `None`: the content is in the database file and no WAL position names it, so nothing can prove it.
    pub position: Option<WalPosition>,
    /// Something was committed here that the entry before does not have. `false` where that cannot be known: the first
    /// look at a database without a WAL, or one at which commits may have been missed.
    pub committed: bool,
    /// The look's commit counter was a lower bound.
    inexact: bool,
}

/// The sampled positions of one database, in the order in which they were seen.
///
/// The first entry may be proven (it is kept as the anchor of the recovery point); those after it are not.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    samples: VecDeque<Sample>,
    /// Until when everything is proven. The first entry is then proven, and only extended by the next proof: looks
    /// alone never advance the recovery point.
    proven_until: Option<Moment>,
}

/// What is kept of [`Positions`] over a restart: instants by the wall clock, positions as they were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedPositions {
    pub proven: Option<SavedSample>,
    pub oldest_unproven: Option<SavedSample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSample {
    pub first_seen: jiff::Timestamp,
    pub last_seen: jiff::Timestamp,
    pub position: WalPosition,
}

impl Positions {
    /// Records a look. A look at which nothing was committed since the last one only extends it, whatever happened to
    /// the WAL in between (checkpoint, reset, close): the content is the same, so the old position still names it.
    pub fn record(&mut self, look: &DatabaseLook) {
        let position = match &look.journal {
            Journal::Wal(wal) if wal.frames > 0 => Some(wal.position),
            Journal::Wal(_) | Journal::WalAbsent { .. } | Journal::Rollback { .. } => None,
        };
        let inexact = look.counters.commits_lower_bound;
        let mut committed = position.is_some();
        if let Some(last) = self.samples.back_mut() {
            let unchanged = if position.is_some() && last.position.is_some() {
                position == last.position
            } else {
                // The counter bridges what positions cannot: a WAL that was reset or removed without a commit.
                inexact == last.inexact && look.counters.commits == last.commits
            };
            committed |= look.counters.commits > last.commits;
            if unchanged {
                last.last_seen = look.at;
                last.commits = look.counters.commits;
                return;
            }
        }
        let first_look = self.samples.is_empty();
        let first_seen = match look.last_commit {
            // A backlog found at the first look is as old as its newest commit, at least.
            Some(date) if first_look => look.at.at_wall(date),
            _ => look.at,
        };
        let sample =
            Sample { first_seen, last_seen: look.at, commits: look.counters.commits, position, committed, inexact };
        if self.samples.len() == POSITIONS_MAX {
            self.thin();
        }
        self.samples.push_back(sample);
    }

    /// Drops every second entry between the oldest unproven one and the newest. Nothing is lost but resolution: the
    /// entries that remain are proven a little later than those dropped would have been.
    fn thin(&mut self) {
        let keep_until = 1 + self.proven_count();
        let last = self.samples.len() - 1;
        let mut index = 0;
        self.samples.retain(|_| {
            let keep = index <= keep_until || index == last || index % 2 == 0;
            index += 1;
            keep
        });
    }

    /// Takes `replica`'s position as proof of what it covers, and drops what is proven but the newest.
    ///
    /// Positions are only compared inside one WAL. An entry of an earlier WAL is proven as soon as the replica has
    /// reached any later WAL that was seen here, because Litestream only goes on to the next WAL when it has consumed
    /// the one before, and otherwise writes a full image.
    pub fn prove(&mut self, replica: WalPosition) {
        let same_wal = |sample: &Sample| sample.position.is_some_and(|position| position.same_wal(&replica));
        let Some(first_of_wal) = self.samples.iter().position(same_wal) else { return };
        let covered = |sample: &Sample| {
            sample.position.is_some_and(|position| position.same_wal(&replica) && position.end <= replica.end)
        };
        let newest_proven = match self.samples.iter().rposition(covered) {
            Some(index) => index,
            None if first_of_wal > 0 => first_of_wal - 1,
            None => return,
        };
        self.samples.drain(..newest_proven);
        self.proven_until = self.samples.front().map(|sample| sample.last_seen);
    }

    /// The newest instant at which all that was committed is proven.
    pub fn proven_until(&self) -> Option<Moment> {
        self.proven_until
    }

    fn proven_count(&self) -> usize {
        usize::from(self.proven_until.is_some())
    }

    /// The oldest entry that is not proven.
    pub fn oldest_unproven(&self) -> Option<&Sample> {
        self.unproven().next()
    }

    /// The entries that are not proven, oldest first.
    pub fn unproven(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().skip(self.proven_count())
    }

    /// The newest entry.
    pub fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    pub fn save(&self) -> SavedPositions {
        let saved = |sample: &Sample| {
            sample.position.map(|position| SavedSample {
                first_seen: sample.first_seen.wall,
                last_seen: sample.last_seen.wall,
                position,
            })
        };
        let proven = self
            .proven_until
            .zip(self.samples.front())
            .and_then(|(until, sample)| saved(sample).map(|saved| SavedSample { last_seen: until.wall, ..saved }));
        SavedPositions { proven, oldest_unproven: self.oldest_unproven().and_then(saved) }
    }

    /// Continues from what was saved before a restart. `now` places the saved instants on this run's clock.
    pub fn restore(saved: &SavedPositions, now: Moment) -> Self {
        let sample = |saved: &SavedSample| Sample {
            first_seen: now.at_wall(saved.first_seen),
            last_seen: now.at_wall(saved.last_seen),
            commits: u64::MAX,
            position: Some(saved.position),
            committed: true,
            inexact: false,
        };
        Self {
            samples: saved.proven.iter().chain(&saved.oldest_unproven).map(sample).collect(),
            proven_until: saved.proven.map(|saved| now.at_wall(saved.last_seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::observation::{Counters, WalSource, WalState};
    use jiff::{SignedDuration, Timestamp};

    fn at(seconds: i64) -> Moment {
        Moment { wall: Timestamp::from_second(1_000_000 + seconds).unwrap(), mono: SignedDuration::from_secs(seconds) }
    }

    fn wal(salt1: u32, frames: u32) -> WalPosition {
        WalPosition { salt1, salt2: salt1 * 7, end: 32 + u64::from(frames) * 4120 }
    }

    fn look(seconds: i64, commits: u64, journal: Journal) -> DatabaseLook {
        DatabaseLook {
            at: at(seconds),
            size_bytes: 4096,
            wal_size_bytes: None,
            page_size: 4096,
            journal,
            last_commit: None,
            counters: Counters { commits, ..Counters::default() },
        }
    }

    fn in_wal(seconds: i64, commits: u64, salt1: u32, frames: u32) -> DatabaseLook {
        let state = WalState {
            position: wal(salt1, frames),
            frames,
            backfilled_frames: Some(0),
            oldest_reader_frame: None,
            source: WalSource::WalIndex,
        };
        look(seconds, commits, Journal::Wal(state))
    }

    /// Plays looks and proofs, and says what is proven and pending, in seconds.
    fn check(steps: &[Step], expected: &str) {
        let mut positions = Positions::default();
        for step in steps {
            match step {
                Step::Look(look) => positions.record(look),
                Step::Proof(replica) => positions.prove(*replica),
                Step::Restart(now) => positions = Positions::restore(&positions.save(), at(*now)),
            }
        }
        let show = |moment: Option<Moment>| {
            moment.map_or_else(|| "none".to_owned(), |moment| moment.mono.as_secs().to_string())
        };
        let actual = format!(
            "proven until {}, pending since {}",
            show(positions.proven_until()),
            show(positions.oldest_unproven().map(|sample| sample.first_seen))
        );
        assert_eq!(actual, expected);
    }

    enum Step {
        Look(DatabaseLook),
        Proof(WalPosition),
        Restart(i64),
    }
    use Step::{Look, Proof, Restart};

    #[test]
    fn idle_database_in_sync_advances_with_each_look() {
        check(
            &[Look(in_wal(1, 0, 5, 3)), Look(in_wal(60, 0, 5, 3)), Proof(wal(5, 3))],
            "proven until 60, pending since none",
        );
    }

    #[test]
    fn looks_alone_do_not_advance_the_recovery_point() {
        check(
            &[Look(in_wal(1, 0, 5, 3)), Proof(wal(5, 3)), Look(in_wal(60, 0, 5, 3))],
            "proven until 1, pending since none",
        );
    }

    #[test]
    fn lag_counts_from_the_first_unproven_commit() {
        check(
            &[
                Look(in_wal(1, 0, 5, 3)),
                Proof(wal(5, 3)),
                Look(in_wal(10, 1, 5, 4)),
                Look(in_wal(11, 2, 5, 5)),
                Look(in_wal(12, 3, 5, 6)),
                Proof(wal(5, 4)),
            ],
            "proven until 10, pending since 11",
        );
    }

    #[test]
    fn replica_between_two_looks_proves_the_older_only() {
        check(
            &[Look(in_wal(1, 0, 5, 3)), Look(in_wal(2, 5, 5, 8)), Proof(wal(5, 6))],
            "proven until 1, pending since 2",
        );
    }

    #[test]
    fn next_wal_reached_proves_the_one_before() {
        check(
            &[Look(in_wal(1, 0, 5, 900)), Look(in_wal(2, 1, 6, 4)), Proof(wal(6, 2))],
            "proven until 1, pending since 2",
        );
    }

    #[test]
    fn reset_without_commit_keeps_what_is_proven() {
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(in_wal(9, 7, 6, 0)), Proof(wal(5, 3))],
            "proven until 9, pending since none",
        );
    }

    #[test]
    fn closed_without_commit_keeps_what_is_proven() {
        let closed = look(9, 7, Journal::WalAbsent { change_counter: 3 });
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(closed), Proof(wal(5, 3))],
            "proven until 9, pending since none",
        );
    }

    #[test]
    fn closed_after_an_unseen_commit_is_pending() {
        let closed = look(9, 8, Journal::WalAbsent { change_counter: 3 });
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(closed), Proof(wal(5, 3))],
            "proven until 1, pending since 9",
        );
    }

    #[test]
    fn closed_with_inexact_counting_is_pending() {
        let mut closed = look(9, 7, Journal::WalAbsent { change_counter: 3 });
        closed.counters.commits_lower_bound = true;
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(closed), Proof(wal(5, 3))],
            "proven until 1, pending since 9",
        );
    }

    #[test]
    fn foreign_wal_proves_nothing() {
        check(&[Look(in_wal(1, 0, 5, 3)), Proof(wal(99, 1000))], "proven until none, pending since 1");
    }

    #[test]
    fn backlog_at_the_first_look_is_as_old_as_its_last_commit() {
        let mut first = in_wal(100, 0, 5, 3);
        first.last_commit = Some(at(40).wall);
        check(&[Look(first)], "proven until none, pending since 40");
    }

    #[test]
    fn commit_date_in_the_future_is_now() {
        let mut first = in_wal(100, 0, 5, 3);
        first.last_commit = Some(at(4000).wall);
        check(&[Look(first)], "proven until none, pending since 100");
    }

    #[test]
    fn restart_keeps_recovery_point_and_pending_since() {
        check(
            &[
                Look(in_wal(1, 0, 5, 3)),
                Proof(wal(5, 3)),
                Look(in_wal(10, 1, 5, 4)),
                Look(in_wal(20, 2, 5, 5)),
                Restart(30),
                Look(in_wal(31, 0, 5, 5)),
                Proof(wal(5, 3)),
            ],
            "proven until 1, pending since 10",
        );
    }

    #[test]
    fn full_ring_keeps_the_oldest_unproven_and_the_newest() {
        let mut positions = Positions::default();
        positions.record(&in_wal(0, 0, 5, 1));
        positions.prove(wal(5, 1));
        for second in 1..5000 {
            positions.record(&in_wal(second, second as u64, 5, 1 + second as u32));
        }
        assert!(positions.samples.len() <= POSITIONS_MAX);
        assert_eq!(positions.oldest_unproven().unwrap().first_seen, at(1));
        assert_eq!(positions.newest().unwrap().first_seen, at(4999));
    }
}
