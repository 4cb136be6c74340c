//! Which generation of a v0.3 replica is restored from, and which of its files, for the latest state or one at a time.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::name::{Generation, SegmentFile, SegmentName, SnapshotFile};
use crate::domain::human::instant;

/// A snapshot and the segments that are applied to it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationPlan {
    pub snapshot: SnapshotFile,
    /// May be empty: then the snapshot alone is restored.
    pub segments: Vec<SegmentFile>,
}

/// Why a generation's latest state cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerationPlanError {
    #[error("no snapshot")]
    NoSnapshot,
    #[error("no segment of WAL index {0:08x}")]
    IndexMissing(u32),
    /// Litestream: "missing initial wal segment".
    #[error("no first segment of WAL index {0:08x}")]
    FirstSegmentMissing(u32),
}

/// The newest snapshot of a generation and all segments from its index on, for the latest state.
///
/// A listing does not tell whether segments of one index follow each other, or whether the last one of an index is
/// there: their lengths are known only when they are read ([`segment_end`](super::segment::segment_end)).
pub fn plan_generation(
    snapshots: &[SnapshotFile],
    segments: &[SegmentFile],
) -> Result<GenerationPlan, GenerationPlanError> {
    let snapshot = newest_snapshot(snapshots).copied().ok_or(GenerationPlanError::NoSnapshot)?;
    let (segments, cut) = until(&snapshot, segments, Timestamp::MAX);
    let Some(cut) = cut else { return Ok(GenerationPlan { snapshot, segments }) };
    let expected = segments.last().map_or(snapshot.index, |last| last.index.saturating_add(1));
    Err(match cut.index == expected {
        true => GenerationPlanError::FirstSegmentMissing(expected),
        false => GenerationPlanError::IndexMissing(expected),
    })
}

/// The snapshot that v0.3 starts from: the one that was uploaded last.
pub(super) fn newest_snapshot<'a>(snapshots: impl IntoIterator<Item = &'a SnapshotFile>) -> Option<&'a SnapshotFile> {
    snapshots.into_iter().max_by_key(|snapshot| (snapshot.created, Reverse(snapshot.index)))
}

/// The listing of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGeneration {
    pub generation: Generation,
    pub snapshots: Vec<SnapshotFile>,
    /// In any order. Those before the snapshot that [`starting_snapshot`] gives may be left out.
    pub segments: Vec<SegmentFile>,
}

/// The objects that a restore reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationsPlan {
    pub generation: Generation,
    pub plan: GenerationPlan,
    /// The first segment behind a hole that a restore at a time does not get over.
    pub cut: Option<SegmentFile>,
    /// Differences between releases of Litestream, a sentence each.
    pub notes: Vec<String>,
}

/// Why there is nothing to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerationsPlanError {
    #[error("no generation with a snapshot")]
    NoGenerations,
    #[error("the first snapshot is from {first}")]
    BeforeFirst { first: Timestamp },
    #[error("generation {generation} has {cause}")]
    Broken {
        generation: Generation,
        cause: GenerationPlanError,
        /// A time whose state is before the hole.
        before: Option<Timestamp>,
    },
}

/// The snapshot that a restore of a generation starts from; `at` is a time, or `None` for the latest state.
pub fn starting_snapshot(snapshots: &[SnapshotFile], at: Option<Timestamp>) -> Option<&SnapshotFile> {
    newest_snapshot(snapshots.iter().filter(|snapshot| at.is_none_or(|at| snapshot.created <= at)))
}

/// Plans as Litestream 0.3.13 does.
///
/// The latest state is that of the generation with the newest file; a hole in it is an error, because the newest
/// commits are behind it. The state at a time is that of the generation that was written at that time, else of the one
/// that ended last before it; there a hole cuts it short.
///
/// # Errors
///
/// Why nothing leads to what is asked for.
pub fn plan_generations(
    listed: &[ListedGeneration],
    at: Option<Timestamp>,
) -> Result<GenerationsPlan, GenerationsPlanError> {
    let Some(at) = at else { return latest(listed) };
    let mut candidates = listed
        .iter()
        .filter_map(|generation| Some((generation, starting_snapshot(&generation.snapshots, Some(at))?)))
        .collect::<Vec<_>>();
    // The one that goes on longest wins where generations overlap, else the one that ended last.
    candidates.sort_by_key(|(generation, _)| Reverse(generation.newest_at()));
    let Some((chosen, snapshot)) = candidates.first().copied() else {
        let first = listed.iter().flat_map(|generation| &generation.snapshots).map(|snapshot| snapshot.created).min();
        return Err(
            first.map_or(GenerationsPlanError::NoGenerations, |first| GenerationsPlanError::BeforeFirst { first })
        );
    };
    let mut notes = Vec::new();
    if chosen.newest_at() < Some(at) {
        notes.push(format!(
            "nothing was written to generation {} after {}: Litestream 0.3.13 refuses a later time",
            chosen.generation,
            instant(chosen.newest_at().unwrap_or_default())
        ));
    }
    notes.extend(newer_snapshot_elsewhere(listed, chosen.generation, snapshot, Some(at)));
    let (segments, cut) = until(snapshot, &chosen.segments, at);
    let plan = GenerationPlan { snapshot: *snapshot, segments };
    Ok(GenerationsPlan { generation: chosen.generation, plan, cut, notes })
}

fn latest(listed: &[ListedGeneration]) -> Result<GenerationsPlan, GenerationsPlanError> {
    // The first of several that are equally new, as Litestream lists them.
    let newest = listed.iter().min_by_key(|generation| Reverse(generation.newest_at()));
    let Some(chosen) = newest.filter(|generation| generation.newest_at().is_some()) else {
        return Err(GenerationsPlanError::NoGenerations);
    };
    let plan = plan_generation(&chosen.snapshots, &chosen.segments).map_err(|cause| {
        let other = |generation: &&ListedGeneration| !generation.snapshots.is_empty();
        let before = match (cause, starting_snapshot(&chosen.snapshots, None)) {
            (GenerationPlanError::NoSnapshot, _) | (_, None) => {
                listed.iter().filter(other).filter_map(ListedGeneration::newest_at).max()
            }
            (_, Some(snapshot)) => {
                let (reached, _) = until(snapshot, &chosen.segments, Timestamp::MAX);
                reached.iter().map(|segment| segment.created).chain([snapshot.created]).max()
            }
        };
        GenerationsPlanError::Broken { generation: chosen.generation, cause, before }
    })?;
    let notes = newer_snapshot_elsewhere(listed, chosen.generation, &plan.snapshot, None).into_iter().collect();
    Ok(GenerationsPlan { generation: chosen.generation, plan, cut: None, notes })
}

impl ListedGeneration {
    /// When its newest file was uploaded.
    fn newest_at(&self) -> Option<Timestamp> {
        let snapshots = self.snapshots.iter().map(|snapshot| snapshot.created);
        snapshots.chain(self.segments.iter().map(|segment| segment.created)).max()
    }
}

/// The segments behind a snapshot up to the first one that was uploaded after `at`, or up to a hole; and the first one
/// behind that hole.
fn until(snapshot: &SnapshotFile, segments: &[SegmentFile], at: Timestamp) -> (Vec<SegmentFile>, Option<SegmentFile>) {
    let mut sorted: Vec<SegmentFile> =
        segments.iter().filter(|segment| segment.index >= snapshot.index).copied().collect();
    sorted.sort_unstable_by_key(SegmentFile::name);
    let admitted = sorted.iter().position(|segment| segment.created > at).unwrap_or(sorted.len());
    sorted.truncate(admitted);
    let mut last: Option<SegmentName> = None;
    let hole = sorted.iter().position(|segment| {
        let follows = match last {
            None => segment.offset == 0 && segment.index == snapshot.index,
            Some(last) if last.index == segment.index => true,
            Some(last) => segment.offset == 0 && last.index.checked_add(1) == Some(segment.index),
        };
        last = Some(segment.name());
        !follows
    });
    let cut = hole.and_then(|hole| sorted.get(hole)).copied();
    sorted.truncate(hole.unwrap_or(sorted.len()));
    (sorted, cut)
}

/// Litestream 0.5 restores v0.3 from the newest snapshot of all generations, which may be another one.
fn newer_snapshot_elsewhere(
    listed: &[ListedGeneration],
    chosen: Generation,
    snapshot: &SnapshotFile,
    at: Option<Timestamp>,
) -> Option<String> {
    let others = listed.iter().filter(|generation| generation.generation != chosen);
    let (other, newest) = others
        .filter_map(|generation| Some((generation.generation, starting_snapshot(&generation.snapshots, at)?)))
        .max_by_key(|(_, snapshot)| snapshot.created)?;
    (newest.created > snapshot.created).then(|| {
        format!(
            "generation {other} has a newer snapshot, from {}: Litestream 0.5 restores from there, 0.3.13 from \
             {chosen}",
            newest.created
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Snapshots as `(index, second)`, segments as `(index, offset, second)`.
    fn listed(generation: u64, snapshots: &[(u32, i64)], segments: &[(u32, u64, i64)]) -> ListedGeneration {
        let snapshot = |(index, second): &(u32, i64)| SnapshotFile { index: *index, size: 1, created: at(*second) };
        let segment = |(index, offset, second): &(u32, u64, i64)| SegmentFile {
            index: *index,
            offset: *offset,
            size: 1,
            created: at(*second),
        };
        ListedGeneration {
            generation: Generation(generation),
            snapshots: snapshots.iter().map(snapshot).collect(),
            segments: segments.iter().map(segment).collect(),
        }
    }

    /// `generation snapshot: segments | first one behind the hole`, and how many notes there are.
    fn check(listed: &[ListedGeneration], second: Option<i64>, expected: &str, notes: usize) {
        let (shown, noted) = match plan_generations(listed, second.map(at)) {
            Ok(GenerationsPlan { generation, plan, cut, notes }) => {
                let segments: String = plan.segments.iter().map(|s| format!(" {}/{}", s.index, s.offset)).collect();
                let cut = cut.map(|s| format!(" | {}/{}", s.index, s.offset)).unwrap_or_default();
                (format!("{:x} {}:{segments}{cut}", generation.0, plan.snapshot.index), notes.len())
            }
            Err(error) => (error.to_string(), 0),
        };
        assert_eq!((shown.as_str(), noted), (expected, notes));
    }

    #[test]
    fn the_latest_state_is_of_the_generation_with_the_newest_file() {
        let older = listed(9, &[(0, 10)], &[(0, 0, 11), (1, 0, 12)]);
        let newer = listed(1, &[(0, 20), (1, 22)], &[(0, 0, 21), (1, 0, 23), (1, 568, 24)]);
        check(&[older.clone(), newer.clone()], None, "1 1: 1/0 1/568", 0);
        check(&[newer, older.clone()], None, "1 1: 1/0 1/568", 0);
        // The snapshot of the other generation is newer, and its last file is not.
        let begun = listed(3, &[(0, 11)], &[]);
        check(&[older, begun], None, "9 0: 0/0 1/0", 1);
        check(&[], None, "no generation with a snapshot", 0);
        check(&[listed(1, &[], &[])], None, "no generation with a snapshot", 0);
    }

    #[test]
    fn a_hole_in_the_latest_state_is_an_error_that_says_what_is_before_it() {
        let broken = listed(1, &[(0, 20)], &[(0, 0, 21), (2, 0, 23)]);
        check(
            std::slice::from_ref(&broken),
            None,
            "generation 0000000000000001 has no segment of WAL index 00000001",
            0,
        );
        let before = |listed: &[ListedGeneration]| match plan_generations(listed, None) {
            Err(GenerationsPlanError::Broken { before, .. }) => before,
            other => panic!("{other:?}"),
        };
        assert_eq!(before(&[broken]), Some(at(21)));
        let bare = listed(2, &[], &[(0, 0, 30)]);
        assert_eq!(before(std::slice::from_ref(&bare)), None);
        assert_eq!(before(&[bare, listed(1, &[(0, 10)], &[(0, 0, 12)])]), Some(at(12)));
    }

    #[test]
    fn a_time_is_looked_for_in_the_generation_that_was_written_then() {
        let first = listed(9, &[(0, 10), (1, 12)], &[(0, 0, 11), (1, 0, 13), (1, 568, 15)]);
        let second = listed(1, &[(0, 20)], &[(0, 0, 21)]);
        let both = [first, second];
        check(&both, Some(9), "the first snapshot is from 1970-01-01T00:00:10Z", 0);
        check(&both, Some(10), "9 0:", 0);
        check(&both, Some(11), "9 0: 0/0", 0);
        check(&both, Some(12), "9 1:", 0);
        check(&both, Some(14), "9 1: 1/0", 0);
        check(&both, Some(15), "9 1: 1/0 1/568", 0);
        // Between two generations 0.3.13 finds nothing.
        check(&both, Some(17), "9 1: 1/0 1/568", 1);
        check(&both, Some(20), "1 0:", 0);
        check(&both, Some(99), "1 0: 0/0", 1);
        check(&[], Some(1), "no generation with a snapshot", 0);
    }

    #[test]
    fn a_hole_cuts_the_state_at_a_time_short() {
        let missing_index = [listed(1, &[(0, 10)], &[(0, 0, 11), (0, 568, 12), (2, 0, 13), (3, 0, 14)])];
        check(&missing_index, Some(12), "1 0: 0/0 0/568", 0);
        check(&missing_index, Some(14), "1 0: 0/0 0/568 | 2/0", 0);
        check(&[listed(1, &[(0, 10)], &[(0, 568, 12)])], Some(13), "1 0: | 0/568", 1);
        check(&[listed(1, &[(0, 10)], &[(0, 0, 11), (1, 568, 12)])], Some(12), "1 0: 0/0 | 1/568", 0);
        // 0.3.13 stops at the first one that is too new, whatever follows.
        check(&[listed(1, &[(0, 10)], &[(0, 0, 11), (0, 568, 15), (0, 1104, 12)])], Some(13), "1 0: 0/0", 0);
    }

    fn check_one(snapshots: &[(u32, i64)], segments: &[(u32, u64)], expected: &str) {
        let snapshots: Vec<_> = snapshots
            .iter()
            .map(|(index, second)| SnapshotFile { index: *index, size: 1, created: at(*second) })
            .collect();
        let segments: Vec<_> = segments
            .iter()
            .map(|(index, offset)| SegmentFile { index: *index, offset: *offset, size: 1, created: at(0) })
            .collect();
        let shown = match plan_generation(&snapshots, &segments) {
            Ok(plan) => {
                let segments: String = plan.segments.iter().map(|s| format!(" {}/{}", s.index, s.offset)).collect();
                format!("{}{segments}", plan.snapshot.index)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn takes_of_a_generation_the_newest_snapshot_and_what_follows() {
        check_one(&[(0, 10), (2, 20)], &[(1, 0), (2, 0), (2, 568), (3, 0)], "2 2/0 2/568 3/0");
        check_one(&[(2, 20)], &[(3, 0), (2, 568), (2, 0)], "2 2/0 2/568 3/0");
        check_one(&[(2, 20)], &[(1, 0)], "2");
        check_one(&[(2, 20)], &[], "2");
    }

    #[test]
    fn says_why_a_generation_has_no_plan() {
        check_one(&[], &[(0, 0)], "no snapshot");
        check_one(&[(1, 10)], &[(1, 0), (3, 0)], "no segment of WAL index 00000002");
        check_one(&[(1, 10)], &[(2, 0)], "no segment of WAL index 00000001");
        check_one(&[(1, 10)], &[(1, 568), (2, 0)], "no first segment of WAL index 00000001");
    }
}
