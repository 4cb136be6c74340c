//! The proof from the bucket: recovery point, lag and unreplicated bytes.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::positions::Positions;
use crate::domain::moment::Moment;
use crate::domain::sqlite::{WAL_HEADER_BYTES, WalPosition};

words! {
    /// How the recovery point was proven, strongest first. Exported so that nobody trusts a weaker one too much.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum Method {
        /// An LTX header in the bucket against the wal-index.
        Wal = "wal",
        /// The newest v0.3 segment in the bucket against the wal-index.
        Segment = "segment",
        /// Litestream's local TXID against the bucket's.
        Txid = "txid",
        /// The bucket only: there is no local database to compare with.
        Observer = "observer",
        /// Nothing is proven: the agent beside the database claims it in its beacon.
        Beacon = "beacon",
    }
}

/// The findings of the last successful look at a replica.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// When the source was sampled for it, which is before the listing began.
    pub verified_at: Moment,
    /// The WAL position up to which the newest object consumed; `None` where it does not say (compacted files, VFS
    /// writers).
    pub position: Option<WalPosition>,
    /// The source of `position`.
    pub method: Method,
    /// The time that the newest object carries: nothing in the replica is younger.
    pub newest_at: Option<Timestamp>,
    pub chain: Chain,
}

/// Whether the newest object can be reached from a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub enum Chain {
    /// From a snapshot (or the first file) to the newest object without a hole.
    Complete,
    /// Complete up to an object that was written at `end`. The newest object is further on and was seen; those in between
    /// were not, until the next listing.
    Skipped { end: Timestamp },
    /// A hole: what restores ends at `end`, and what is lost begins not later than `lost_since`.
    Broken { end: Option<Timestamp>, lost_since: Timestamp },
    /// Nothing to start from.
    NoStart,
}

impl Chain {
    /// Nothing is known to keep the newest object from being restored.
    pub fn arrives(&self) -> bool {
        matches!(self, Self::Complete | Self::Skipped { .. })
    }
}

/// The recovery point, lag and unreplicated bytes of one replica of one database.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposure {
    pub method: Option<Method>,
    pub recovery_point: Option<Timestamp>,
    pub lag: Option<SignedDuration>,
    /// `lag` is at most this: since what is known to be proven. Present while something is pending.
    pub lag_upper_bound: Option<SignedDuration>,
    pub unreplicated_since: Option<Timestamp>,
    pub unreplicated_bytes: Option<u64>,
    pub unreplicated_bytes_lower_bound: bool,
}

/// Since when the lag of a replica is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LagUnknownReport {
    /// When the lag became unknown.
    pub since: Timestamp,
    /// When the oldest commit was made of which it is not known whether it is in the replica; `None` when none was seen.
    pub commit_at: Option<Timestamp>,
}

/// Takes in what a successful look at a replica found.
///
/// Objects behind a hole, or without a start, restore nothing, and so prove nothing; those behind others that were not
/// seen prove nothing until these are.
pub fn settle(positions: &mut Positions, evidence: &Evidence) {
    if let (Chain::Complete, Some(position)) = (&evidence.chain, evidence.position) {
        positions.prove(position, evidence.newest_at);
    }
}

/// The positions of a database with what the newest object shows to have arrived, which may be more than is proven: its
/// commits are there and make no lag, and that they restore is proven when what leads to them was seen.
pub fn arrived<'a>(positions: &'a Positions, evidence: &Evidence) -> Cow<'a, Positions> {
    match (&evidence.chain, evidence.position) {
        (Chain::Skipped { .. }, Some(position)) => {
            let mut arrived = positions.clone();
            arrived.prove(position, evidence.newest_at);
            Cow::Owned(arrived)
        }
        _ => Cow::Borrowed(positions),
    }
}

/// What could not be read the last time, of a database and a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// It may have committed since it last could: what was seen of it is the least that waits, and that nothing waits is not
    /// known.
    pub database: bool,
    /// Commits made since are neither seen in the bucket nor seen missing; their bytes are counted, and proof age tells the
    /// rest.
    pub replica: bool,
}

/// Compares a database with what is known of its replica, whose lag should be within `objective`.
pub fn exposure(
    positions: &Positions,
    evidence: Option<&Evidence>,
    unread: Unread,
    objective: SignedDuration,
    now: Moment,
) -> Exposure {
    let proven_until = positions.proven_until().map(|moment| moment.wall());
    let Some(evidence) = evidence else {
        return Exposure { recovery_point: proven_until, ..Exposure::default() };
    };
    // What the bucket holds is as old as it says, and whether more was written is unknown.
    let observed = |recovery_point| Exposure { method: Some(Method::Observer), recovery_point, ..Exposure::default() };
    match (&evidence.chain, evidence.position.filter(|_| positions.newest().is_some())) {
        (Chain::Complete, None) => observed(evidence.newest_at),
        (Chain::Skipped { end }, None) => observed(Some(*end)),
        (Chain::Complete | Chain::Skipped { .. }, Some(_)) => Exposure {
            recovery_point: proven_until,
            ..pending(&arrived(positions, evidence), evidence, unread, objective, now)
        },
        (Chain::Broken { end, lost_since }, _) => broken(evidence, *end, now.at_wall(*lost_since), positions, now),
        (Chain::NoStart, _) => match positions.oldest() {
            Some(sample) => broken(evidence, None, sample.first_seen, positions, now),
            None => observed(None),
        },
    }
}

/// What the replica says was compared with something only where the database was seen at a position of a WAL.
fn method(positions: &Positions, evidence: &Evidence) -> Method {
    match positions.have_position() {
        true => evidence.method,
        false => Method::Observer,
    }
}

fn broken(
    evidence: &Evidence,
    recovery_point: Option<Timestamp>,
    since: Moment,
    positions: &Positions,
    now: Moment,
) -> Exposure {
    let beyond = positions.newest().and_then(|newest| newest.position).and_then(|source| bytes(source, evidence));
    Exposure {
        method: Some(method(positions, evidence)),
        recovery_point,
        lag: Some(now.since(since)),
        lag_upper_bound: recovery_point.map(|end| now.since(now.at_wall(end))),
        unreplicated_since: Some(since.wall()),
        // What lies behind the hole is in the bucket and useless; how much that is, a listing does not say.
        unreplicated_bytes: beyond.map(|(count, _)| count),
        unreplicated_bytes_lower_bound: true,
    }
}

fn pending(
    positions: &Positions,
    evidence: &Evidence,
    unread: Unread,
    objective: SignedDuration,
    now: Moment,
) -> Exposure {
    let until = if unread.replica { evidence.verified_at } else { now };
    let recovery_point = positions.proven_until().map(|moment| moment.wall());
    let method = Some(method(positions, evidence));
    let mut exposure = Exposure { method, recovery_point, ..Exposure::default() };
    let Some(oldest) = positions.oldest_unproven() else {
        let seen = positions.newest().is_some_and(|newest| newest.last_seen.mono() >= evidence.verified_at.mono());
        if seen && !unread.database {
            exposure.lag = Some(SignedDuration::ZERO);
            exposure.unreplicated_bytes = Some(0);
        }
        return exposure;
    };
    let Some(first_commit) = positions.unproven().find(|sample| sample.committed) else {
        // Only looks at which it is not known whether something was committed.
        return exposure;
    };
    let known = first_commit.first_seen.mono() <= until.mono();
    let all_before = positions.proven_until().is_some_and(|proven| proven.mono() >= evidence.verified_at.mono());
    exposure.lag = match known {
        true => Some(until.since(first_commit.first_seen)),
        false => all_before.then_some(SignedDuration::ZERO),
    };
    // That the objective is met is known for as long as the oldest commit that may be missing is not older. A lag that was
    // seen beyond it stays what was seen, so that one failed look ends no alarm.
    if unread.replica && now.since(first_commit.first_seen) > objective {
        exposure.lag = exposure.lag.filter(|seen| *seen > objective);
    }
    let proven = positions.proven_until().or_else(|| evidence.newest_at.map(|newest| until.at_wall(newest)));
    exposure.lag_upper_bound = proven.filter(|_| known).map(|proven| until.since(proven));
    exposure.unreplicated_since = Some(oldest.first_seen.wall());
    let source = positions.newest().and_then(|newest| newest.position);
    if let Some((count, lower_bound)) = source.and_then(|source| bytes(source, evidence)) {
        exposure.unreplicated_bytes = Some(count);
        exposure.unreplicated_bytes_lower_bound = lower_bound || unread.database;
    }
    exposure
}

/// Committed bytes of the source's WAL behind the replica, and whether that is a lower bound: with another WAL in the
/// bucket, all of the current one is missing and perhaps the end of the one before.
fn bytes(source: WalPosition, evidence: &Evidence) -> Option<(u64, bool)> {
    match evidence.position {
        Some(replica) if replica.same_wal(&source) => Some((source.end.saturating_sub(replica.end), false)),
        Some(_) => Some((source.end.saturating_sub(WAL_HEADER_BYTES as u64), true)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::observation::{Counters, DatabaseLook, Journal, WalSource, WalState};

    const OBJECTIVE: SignedDuration = SignedDuration::from_mins(5);

    fn at(seconds: i64) -> Moment {
        Moment::new(Timestamp::from_second(1_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
    }

    fn wal(salt1: u32, end: u64) -> WalPosition {
        WalPosition { salt1, salt2: 0, end }
    }

    /// A database that stood at `end` of WAL `salt1` at each of `looks`.
    fn source(looks: &[(i64, u32, u64)]) -> Positions {
        let mut positions = Positions::default();
        for (commits, (seconds, salt1, end)) in looks.iter().enumerate() {
            positions.record(&look_at(*seconds, *salt1, *end, commits as u64));
        }
        positions
    }

    fn look_at(seconds: i64, salt1: u32, end: u64, commits: u64) -> DatabaseLook {
        DatabaseLook {
            at: at(seconds),
            size_bytes: 0,
            wal_size_bytes: None,
            page_size: 4096,
            journal: Journal::Wal(WalState {
                position: wal(salt1, end),
                frames: 1,
                backfilled_frames: None,
                oldest_reader_frame: None,
                source: WalSource::WalIndex,
            }),
            last_commit: None,
            counters: Counters { commits, ..Counters::default() },
            replacement: Default::default(),
        }
    }

    fn evidence(position: Option<WalPosition>, chain: Chain) -> Evidence {
        Evidence { verified_at: at(50), position, method: Method::Wal, newest_at: Some(at(45).wall()), chain }
    }

    fn check(positions: Positions, evidence: Option<Evidence>, failing: bool, now: i64, expected: &str) {
        let unread = Unread { replica: failing, ..Unread::default() };
        check_unread(positions, evidence, unread, now, expected);
    }

    fn check_unread(positions: Positions, evidence: Option<Evidence>, unread: Unread, now: i64, expected: &str) {
        let mut positions = positions;
        if let Some(evidence) = &evidence {
            settle(&mut positions, evidence);
        }
        let result = exposure(&positions, evidence.as_ref(), unread, OBJECTIVE, at(now));
        let seconds =
            |value: Option<SignedDuration>| value.map_or_else(|| "unknown".into(), |v| v.as_secs().to_string());
        let instant = |value: Option<Timestamp>| {
            value.map_or_else(|| "unknown".into(), |v| v.duration_since(at(0).wall()).as_secs().to_string())
        };
        let bytes = result.unreplicated_bytes.map_or_else(
            || "unknown".into(),
            |count| format!("{}{count}", if result.unreplicated_bytes_lower_bound { ">=" } else { "" }),
        );
        let actual =
            format!("recovery point {}, lag {}, bytes {bytes}", instant(result.recovery_point), seconds(result.lag));
        assert_eq!(actual, expected);
    }

    #[test]
    fn never_verified_is_unknown() {
        check(source(&[(1, 5, 100)]), None, false, 60, "recovery point unknown, lag unknown, bytes unknown");
    }

    #[test]
    fn what_is_behind_unseen_objects_arrived_and_is_not_proven_to_restore() {
        let skipped = || Some(evidence(Some(wal(5, 150)), Chain::Skipped { end: at(20).wall() }));
        let mut looks = source(&[(10, 5, 100), (30, 5, 150), (50, 5, 150)]);
        settle(&mut looks, &evidence(Some(wal(5, 100)), Chain::Complete));
        check(looks.clone(), skipped(), false, 60, "recovery point 10, lag 0, bytes 0");
        looks.record(&look_at(55, 5, 170, 9));
        assert_eq!(arrived(&looks, &skipped().unwrap()).pending_commits(), Some(7), "those of the last look");
        check(looks, skipped(), false, 60, "recovery point 10, lag 5, bytes 20");
        check(Positions::default(), skipped(), false, 60, "recovery point 20, lag unknown, bytes unknown");
    }

    #[test]
    fn a_database_without_a_position_is_compared_with_nothing() {
        let method = |positions: &Positions, chain| {
            exposure(positions, Some(&evidence(Some(wal(5, 100)), chain)), Unread::default(), OBJECTIVE, at(60)).method
        };
        let broken = || Chain::Broken { end: Some(at(20).wall()), lost_since: at(21).wall() };
        let mut rollback = Positions::default();
        let journal = Journal::Rollback { change_counter: 1 };
        rollback.record(&DatabaseLook { journal, ..look_at(50, 0, 0, 0) });
        for positions in [Positions::default(), rollback] {
            for chain in [Chain::Complete, broken(), Chain::Skipped { end: at(20).wall() }, Chain::NoStart] {
                assert_eq!(method(&positions, chain), Some(Method::Observer));
            }
        }
        for chain in [Chain::Complete, broken(), Chain::NoStart] {
            assert_eq!(method(&source(&[(50, 5, 100)]), chain), Some(Method::Wal));
        }
    }

    #[test]
    fn in_sync() {
        let found = evidence(Some(wal(5, 100)), Chain::Complete);
        check(source(&[(50, 5, 100)]), Some(found), false, 60, "recovery point 50, lag 0, bytes 0");
    }

    #[test]
    fn stalled() {
        let found = evidence(Some(wal(5, 100)), Chain::Complete);
        let looks = source(&[(1, 5, 100), (10, 5, 150), (20, 5, 170)]);
        check(looks, Some(found), false, 60, "recovery point 1, lag 50, bytes 70");
    }

    #[test]
    fn stalled_with_another_wal_is_a_lower_bound() {
        let found = evidence(Some(wal(4, 5000)), Chain::Complete);
        check(source(&[(10, 5, 150)]), Some(found), false, 60, "recovery point unknown, lag 50, bytes >=118");
    }

    #[test]
    fn unreadable_bucket_meets_the_objective_until_a_commit_that_may_be_missing_is_older() {
        let found = || Some(evidence(Some(wal(5, 100)), Chain::Complete));
        let idle = source(&[(50, 5, 100)]);
        check(idle, found(), true, 100_000, "recovery point 50, lag 0, bytes 0");
        let looks = || source(&[(50, 5, 100), (55, 5, 150)]);
        check(looks(), found(), true, 355, "recovery point 50, lag 0, bytes 50");
        check(looks(), found(), true, 356, "recovery point 50, lag unknown, bytes 50");
        let waiting = || source(&[(1, 5, 100), (10, 5, 150)]);
        check(waiting(), found(), true, 310, "recovery point 1, lag 40, bytes 50");
        check(waiting(), found(), true, 311, "recovery point 1, lag unknown, bytes 50");
    }

    #[test]
    fn unreadable_bucket_while_stalled_keeps_the_lag_that_was_seen_beyond_the_objective() {
        let found = evidence(Some(wal(5, 100)), Chain::Complete);
        let looks = source(&[(-310, 5, 100), (-300, 5, 150)]);
        check(looks, Some(found), true, 600, "recovery point -310, lag 350, bytes 50");
    }

    #[test]
    fn a_database_that_cannot_be_read_may_have_committed_since() {
        let found = || Some(evidence(Some(wal(5, 100)), Chain::Complete));
        let unread = Unread { database: true, ..Unread::default() };
        let proven = source(&[(50, 5, 100)]);
        check_unread(proven, found(), unread, 60, "recovery point 50, lag unknown, bytes unknown");
        let waiting = source(&[(1, 5, 100), (10, 5, 150)]);
        check_unread(waiting, found(), unread, 60, "recovery point 1, lag 50, bytes >=50");
    }

    #[test]
    fn hole_takes_back_what_was_proven() {
        let chain = Chain::Broken { end: Some(at(20).wall()), lost_since: at(21).wall() };
        let found = evidence(Some(wal(5, 100)), chain);
        check(source(&[(50, 5, 100)]), Some(found), false, 60, "recovery point 20, lag 39, bytes >=0");
    }

    #[test]
    fn emptied_bucket_has_no_recovery_point() {
        let found = evidence(None, Chain::NoStart);
        check(source(&[(10, 5, 100)]), Some(found), false, 60, "recovery point unknown, lag 50, bytes unknown");
    }

    #[test]
    fn what_lies_behind_a_hole_proves_nothing() {
        let chain = Chain::Broken { end: Some(at(20).wall()), lost_since: at(21).wall() };
        let mut positions = source(&[(30, 5, 100)]);
        settle(&mut positions, &evidence(Some(wal(5, 100)), chain));
        settle(&mut positions, &evidence(Some(wal(5, 100)), Chain::NoStart));
        assert_eq!(positions.proven_until(), None);
        let filled = evidence(Some(wal(5, 100)), Chain::Complete);
        check(positions, Some(filled), false, 60, "recovery point 30, lag unknown, bytes unknown");
    }

    #[test]
    fn emptied_bucket_of_a_busy_database_counts_from_the_oldest_that_is_known() {
        let found = evidence(Some(wal(5, 170)), Chain::NoStart);
        let looks = source(&[(10, 5, 100), (20, 5, 150), (59, 5, 170)]);
        check(looks, Some(found), false, 60, "recovery point unknown, lag 50, bytes >=0");
    }

    #[test]
    fn source_that_was_not_seen_at_the_verification_has_no_known_lag() {
        let found = evidence(Some(wal(5, 100)), Chain::Complete);
        check(source(&[(49, 5, 100)]), Some(found), false, 60, "recovery point 49, lag unknown, bytes unknown");
    }

    #[test]
    fn bucket_only_knows_no_lag() {
        let found = evidence(None, Chain::Complete);
        check(Positions::default(), Some(found), false, 60, "recovery point 45, lag unknown, bytes unknown");
    }
}
