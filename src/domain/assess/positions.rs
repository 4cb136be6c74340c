//! The positions at which a database was seen, oldest unproven first: what lag is measured on.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::limits::{POSITIONS_MAX, WAL_RESETS_BETWEEN_LOOKS_MAX};
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, Journal};
use crate::domain::sqlite::WalPosition;

/// An idle database has so few samples, and memory for no more.
const FEW: usize = 4;

/// A position of the source, and for how long it was seen there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When the oldest commit that the entry before does not have was first seen, or was made if the files date it.
    pub first_seen: Moment,
    /// When its newest commit was first seen.
    pub reached: Moment,
    /// The last time at which the database was sampled and had committed nothing since.
    pub last_seen: Moment,
    /// The commit counter of the look.
    pub commits: u64,
    /// `None`: the content is in the database file and no WAL position names it, so nothing can prove it.
    pub position: Option<WalPosition>,
    /// Something was committed here that the entry before does not have. `false` where that cannot be known: the first
    /// look at a database without a WAL, or one at which commits may have been missed.
    pub committed: bool,
    /// How often the look's counter may have missed commits.
    doubts: u64,
    /// It was saved before a restart: counters of this run say nothing of it.
    restored: bool,
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

/// The part of [`Positions`] that survives a restart: instants by the wall clock, positions as they were.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedPositions {
    pub proven: Option<SavedSample>,
    /// The oldest one, and all later ones as one.
    pub unproven: Vec<SavedSample>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedSample {
    pub first_seen: Timestamp,
    pub reached: Timestamp,
    pub last_seen: Timestamp,
    pub position: Option<WalPosition>,
    pub committed: bool,
}

impl Positions {
    /// Records a look. A look at which nothing was committed since the last one only extends it, whatever happened to
    /// the WAL in between (checkpoint, reset, close): the content is the same, so the old position still names it.
    pub fn record(&mut self, look: &DatabaseLook) {
        let position = match &look.journal {
            Journal::Wal(wal) if wal.frames > 0 => Some(wal.position),
            Journal::Wal(_) | Journal::WalAbsent { .. } | Journal::Rollback { .. } => None,
        };
        let (commits, doubts) = (look.counters.commits, look.counters.doubts);
        let mut committed = position.is_some();
        // A backlog found at a first look is as old as its newest commit, at least.
        let dated = look.last_commit.map_or(look.at, |date| look.at.at_wall(date));
        let mut first_seen = dated;
        if let Some(last) = self.samples.back_mut() {
            let unchanged = if position.is_some() && last.position.is_some() {
                position == last.position
            } else {
                // The counter bridges what positions cannot: a WAL that was reset or removed without a commit.
                !last.restored && (commits, doubts) == (last.commits, last.doubts)
            };
            if unchanged {
                *last = Sample { last_seen: look.at, commits, doubts, restored: false, ..*last };
                return;
            }
            committed |= !last.restored && commits > last.commits;
            first_seen = match last.restored {
                true if dated.mono() < last.last_seen.mono() => last.last_seen,
                true => dated,
                false => look.at,
            };
        }
        let reached = first_seen;
        let sample =
            Sample { first_seen, reached, last_seen: look.at, commits, position, committed, doubts, restored: false };
        if self.samples.len() == POSITIONS_MAX {
            self.thin();
        }
        if self.samples.len() < FEW {
            self.samples.reserve_exact(1);
        }
        self.samples.push_back(sample);
    }

    /// Joins every second entry between the oldest unproven one and the newest to the one behind it, which then stands
    /// for the commits of both: the entries that remain are proven later than those dropped would have been, and their
    /// lag counts from the older one.
    fn thin(&mut self) {
        let keep_until = 1 + self.proven_count();
        let last = self.samples.len() - 1;
        let mut kept = VecDeque::with_capacity(POSITIONS_MAX);
        let mut dropped: Option<Sample> = None;
        for (index, sample) in self.samples.drain(..).enumerate() {
            let joined = dropped.take().map_or(sample, |older: Sample| older.join(sample));
            if index <= keep_until || index == last || index % 2 == 0 {
                kept.push_back(joined);
            } else {
                dropped = Some(joined);
            }
        }
        self.samples = kept;
    }

    /// Takes `replica`'s position as proof of what it covers, and drops what is proven but the newest. `written` is when
    /// the object with that position was written.
    ///
    /// Positions are only compared inside one WAL. An entry of an earlier WAL is proven as soon as the replica has
    /// reached any later WAL, because Litestream only goes on to the next WAL when it has consumed the one before, and
    /// otherwise writes a full image. A WAL is later when it was seen here later, or, where resets come faster than
    /// looks, when its salt follows by a few resets and the object was written after the entry was reached.
    ///
    /// A replica that ends before what it once proved has lost it: that is then no longer proven.
    pub fn prove(&mut self, replica: WalPosition, written: Option<Timestamp>) {
        let same_wal = |sample: &Sample| sample.position.is_some_and(|position| position.same_wal(&replica));
        let covered = |sample: &Sample| {
            sample.position.is_some_and(|position| position.same_wal(&replica) && position.end <= replica.end)
        };
        let Some(first_of_wal) = self.samples.iter().position(same_wal) else {
            let precedes = |sample: &Sample| {
                let follows = |position: WalPosition| replica.follows(&position, WAL_RESETS_BETWEEN_LOOKS_MAX);
                sample.position.is_some_and(follows) && written.is_some_and(|at| at >= sample.reached.wall())
            };
            if let Some(newest_proven) = self.samples.iter().rposition(precedes) {
                return self.anchor(newest_proven);
            }
            // A later WAL than any that was seen, unless the object is older than what it would have to follow.
            let older = self.proven().zip(written).is_some_and(|(proven, at)| at < proven.reached.wall());
            if older {
                self.take_back();
            }
            return;
        };
        match self.samples.iter().rposition(covered).or_else(|| first_of_wal.checked_sub(1)) {
            Some(newest_proven) => self.anchor(newest_proven),
            None => self.take_back(),
        }
    }

    /// Everything up to the entry at `index` is proven.
    fn anchor(&mut self, index: usize) {
        self.samples.drain(..index);
        if self.samples.capacity() > FEW && self.samples.len() < FEW {
            self.samples.shrink_to_fit();
        }
        self.proven_until = self.samples.front().map(|sample| sample.last_seen);
    }

    /// Takes back what was proven, because it is no longer there.
    fn take_back(&mut self) {
        if self.proven_until.take().is_some()
            && let Some(lost) = self.samples.front_mut()
        {
            lost.committed = true;
        }
    }

    fn proven(&self) -> Option<&Sample> {
        self.samples.front().filter(|_| self.proven_until.is_some())
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

    /// The database was seen at a position of a WAL, which a replica's can be compared with.
    pub fn have_position(&self) -> bool {
        self.samples.iter().any(|sample| sample.position.is_some())
    }

    /// How many commits are not proven, at least; `None` where counters of two runs would have to be compared.
    pub fn pending_commits(&self) -> Option<u64> {
        let newest = self.newest().filter(|newest| !newest.restored)?;
        let proven = self.proven().map_or(Some(0), |proven| (!proven.restored).then_some(proven.commits));
        Some(newest.commits.saturating_sub(proven?))
    }

    /// The oldest entry, proven or not.
    pub fn oldest(&self) -> Option<&Sample> {
        self.samples.front()
    }

    /// The newest entry.
    pub fn newest(&self) -> Option<&Sample> {
        self.samples.back()
    }

    pub fn save(&self) -> SavedPositions {
        let saved = |sample: Sample| SavedSample {
            first_seen: sample.first_seen.wall(),
            reached: sample.reached.wall(),
            last_seen: sample.last_seen.wall(),
            position: sample.position,
            committed: sample.committed,
        };
        let proven = self.proven_until.zip(self.samples.front());
        let later = self.unproven().skip(1).copied().reduce(Sample::join);
        SavedPositions {
            proven: proven.map(|(until, sample)| saved(Sample { last_seen: until, ..*sample })),
            unproven: self.oldest_unproven().copied().into_iter().chain(later).map(saved).collect(),
        }
    }

    /// Continues from what was saved before a restart. `now` places the saved instants on this run's clock.
    pub fn restore(saved: &SavedPositions, now: Moment) -> Self {
        let sample = |saved: &SavedSample| Sample {
            first_seen: now.at_wall(saved.first_seen),
            reached: now.at_wall(saved.reached),
            last_seen: now.at_wall(saved.last_seen),
            commits: 0,
            position: saved.position,
            committed: saved.committed,
            doubts: 0,
            restored: true,
        };
        Self {
            samples: saved.proven.iter().chain(saved.unproven.iter().take(2)).map(sample).collect(),
            proven_until: saved.proven.map(|saved| now.at_wall(saved.last_seen)),
        }
    }
}

impl Sample {
    /// This entry and the `later` one as one.
    fn join(self, later: Self) -> Self {
        let committed = self.committed || later.committed;
        let first_seen = if self.committed || !later.committed { self.first_seen } else { later.first_seen };
        Self { first_seen, committed, ..later }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::observation::{Counters, WalSource, WalState};
    use jiff::SignedDuration;

    fn at(seconds: i64) -> Moment {
        Moment::new(Timestamp::from_second(1_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
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
            replacement: Default::default(),
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
                Step::Proof(replica) => positions.prove(*replica, None),
                Step::ProofOf(replica, written) => positions.prove(*replica, Some(at(*written).wall())),
                Step::Restart(now) => positions = Positions::restore(&positions.save(), at(*now)),
            }
        }
        let show = |moment: Option<Moment>| {
            moment.map_or_else(|| "none".to_owned(), |moment| moment.mono().as_secs().to_string())
        };
        let actual = format!(
            "proven until {}, pending since {}",
            show(positions.proven_until()),
            show(positions.oldest_unproven().map(|sample| sample.first_seen))
        );
        assert_eq!(actual, expected);
    }

    #[derive(Clone)]
    enum Step {
        Look(DatabaseLook),
        Proof(WalPosition),
        /// A proof, and when its object was written.
        ProofOf(WalPosition, i64),
        Restart(i64),
    }
    use Step::{Look, Proof, ProofOf, Restart};

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
        closed.counters.doubts = 1;
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(closed), Proof(wal(5, 3))],
            "proven until 1, pending since 9",
        );
    }

    #[test]
    fn wal_that_follows_by_a_few_resets_proves_what_was_reached_before_its_object_was_written() {
        let looks = [Look(in_wal(1, 0, 5, 3)), Look(in_wal(10, 9, 8, 3))];
        let then = |step| [&looks[..], &[step]].concat();
        check(&then(ProofOf(wal(7, 900), 9)), "proven until 1, pending since 10");
        check(&then(ProofOf(wal(11, 1), 12)), "proven until 10, pending since none");
        check(&then(ProofOf(wal(11, 1), 5)), "proven until 1, pending since 10");
        check(&then(Proof(wal(11, 1))), "proven until none, pending since 1");
        check(&then(ProofOf(wal(4, 900), 12)), "proven until none, pending since 1");
        check(&then(ProofOf(wal(5_000_000, 1), 12)), "proven until none, pending since 1");
    }

    #[test]
    fn foreign_wal_proves_nothing() {
        check(&[Look(in_wal(1, 0, 5, 3)), Proof(wal(99, 1000))], "proven until none, pending since 1");
    }

    #[test]
    fn backlog_at_the_first_look_is_as_old_as_its_last_commit() {
        let mut first = in_wal(100, 0, 5, 3);
        first.last_commit = Some(at(40).wall());
        check(&[Look(first)], "proven until none, pending since 40");
    }

    #[test]
    fn commit_date_in_the_future_is_now() {
        let mut first = in_wal(100, 0, 5, 3);
        first.last_commit = Some(at(4000).wall());
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
    fn second_doubt_is_pending_as_well() {
        let doubtful = |seconds, journal, doubts| {
            let mut look = look(seconds, 7, journal);
            look.counters.doubts = doubts;
            look
        };
        let closed = Journal::WalAbsent { change_counter: 3 };
        let mut open = in_wal(1, 7, 5, 3);
        open.counters.doubts = 1;
        check(
            &[Look(open), Proof(wal(5, 3)), Look(doubtful(9, closed.clone(), 1)), Look(doubtful(20, closed, 2))],
            "proven until 1, pending since 20",
        );
    }

    #[test]
    fn replica_that_lost_its_end_takes_back_what_it_proved() {
        check(
            &[Look(in_wal(10, 0, 5, 8)), Proof(wal(5, 8)), Look(in_wal(60, 0, 5, 8)), Proof(wal(5, 6))],
            "proven until none, pending since 10",
        );
    }

    #[test]
    fn replica_that_fell_back_to_an_earlier_wal_takes_back_what_it_proved() {
        let looks = [Look(in_wal(1, 0, 5, 3)), Proof(wal(5, 3)), Look(in_wal(10, 1, 6, 1)), Proof(wal(6, 1))];
        let then = |step| [&looks[..], &[Look(in_wal(60, 1, 6, 1)), step]].concat();
        check(&then(ProofOf(wal(5, 3), 2)), "proven until none, pending since 10");
        // A WAL that begins between the look at the source and the one at the replica.
        check(&then(ProofOf(wal(7, 1), 61)), "proven until 60, pending since none");
    }

    #[test]
    fn joined_entries_are_taken_back_by_when_their_newest_commit_was_seen() {
        let looks = [Look(in_wal(1, 0, 5, 3)), Look(in_wal(10, 1, 5, 4)), Look(in_wal(50, 2, 6, 1)), Restart(60)];
        let then = [&looks[..], &[Proof(wal(6, 1)), ProofOf(wal(4, 9), 20)]].concat();
        check(&then, "proven until none, pending since 10");
    }

    #[test]
    fn restart_keeps_when_the_second_unproven_commit_was_seen() {
        check(
            &[
                Look(in_wal(1, 0, 5, 3)),
                Look(in_wal(10, 1, 5, 4)),
                Look(in_wal(20, 2, 5, 5)),
                Look(in_wal(30, 3, 5, 6)),
                Restart(90),
                Look(in_wal(91, 0, 5, 7)),
                Proof(wal(5, 3)),
            ],
            "proven until 1, pending since 10",
        );
    }

    #[test]
    fn commits_made_while_nobody_looked_are_as_old_as_their_date() {
        let mut first = in_wal(91, 0, 5, 7);
        first.last_commit = Some(at(40).wall());
        let steps = [Look(in_wal(1, 0, 5, 3)), Proof(wal(5, 3)), Restart(90), Look(first.clone())];
        check(&steps, "proven until 1, pending since 40");
        first.last_commit = Some(at(-40).wall());
        let steps = [Look(in_wal(1, 0, 5, 3)), Proof(wal(5, 3)), Restart(90), Look(first)];
        check(&steps, "proven until 1, pending since 1");
    }

    #[test]
    fn closed_and_pending_is_pending_after_a_restart() {
        let closed = look(9, 8, Journal::WalAbsent { change_counter: 3 });
        check(
            &[Look(in_wal(1, 7, 5, 3)), Proof(wal(5, 3)), Look(closed), Restart(60)],
            "proven until 1, pending since 9",
        );
    }

    #[test]
    fn thinned_entries_never_make_a_commit_younger() {
        let mut positions = Positions::default();
        for second in 0..4000 {
            positions.record(&in_wal(second, second as u64, 5, 1 + second as u32));
        }
        for proven in 0..3999_i64 {
            positions.prove(wal(5, 1 + proven as u32), None);
            let until = positions.proven_until().map_or(-1, |until| until.mono().as_secs());
            assert!(until <= proven, "{until} claimed, {proven} true");
            let pending = positions.oldest_unproven().unwrap().first_seen.mono().as_secs();
            assert!(pending <= proven + 1, "pending since {pending}, true is {}", proven + 1);
        }
    }

    #[test]
    fn full_ring_keeps_the_oldest_unproven_and_the_newest() {
        let mut positions = Positions::default();
        positions.record(&in_wal(0, 0, 5, 1));
        positions.prove(wal(5, 1), None);
        for second in 1..5000 {
            positions.record(&in_wal(second, second as u64, 5, 1 + second as u32));
        }
        assert!(positions.samples.len() <= POSITIONS_MAX);
        assert_eq!(positions.oldest_unproven().unwrap().first_seen, at(1));
        assert_eq!(positions.newest().unwrap().first_seen, at(4999));
    }
}
