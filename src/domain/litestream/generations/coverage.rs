//! Coverage of a v0.3 replica, as far as its listing tells.

use super::inventory::{GenerationInventory, Generations};
use super::name::{SnapshotFile, position};
use super::plan::newest_snapshot;
use crate::domain::litestream::coverage::Coverage;
use crate::domain::litestream::hole::Hole;

impl Generations {
    /// What could be restored from the newest generation.
    ///
    /// A listing does not show a missing segment in the middle or at the end of an index. When the segments before a hole
    /// were uploaded is not remembered; the snapshot is proven to be before it.
    pub fn coverage(&self) -> Coverage<SnapshotFile> {
        let newest = self.newest().map(|(_, inventory)| inventory);
        let newest_snapshot = newest.and_then(|inventory| newest_snapshot(&inventory.snapshot_files)).copied();
        let proven = newest_snapshot.map(|snapshot| snapshot.created);
        let holes = newest.zip(newest_snapshot).map(|(inventory, snapshot)| inventory.holes(snapshot.index));
        let whole = newest.into_iter().flat_map(|inventory| {
            inventory.snapshot_files.iter().filter(|snapshot| inventory.reaches_end(snapshot.index))
        });
        Coverage {
            restorable: newest_snapshot.is_some(),
            restorable_since: whole.map(|snapshot| snapshot.created).min(),
            holes: holes.unwrap_or_default(),
            reached_at: proven,
            lost_since: proven,
            snapshots: self.iter().map(|(_, inventory)| inventory.snapshots).sum(),
            newest_snapshot,
            whole: newest.is_some_and(|inventory| {
                inventory.snapshot_files.front().is_some_and(|first| first.index == 0) && inventory.reaches_end(0)
            }),
        }
    }
}

impl GenerationInventory {
    /// Whether all indexes from `index` on are there.
    fn reaches_end(&self, index: u32) -> bool {
        let run = self.begun.find(u64::from(index));
        self.last_index().is_none_or(|last| last < index || run.is_some_and(|run| run.max == u64::from(last)))
    }

    /// The holes from `index` on.
    fn holes(&self, index: u32) -> Vec<Hole> {
        let from = u64::from(index);
        let begun = self.begun.iter().filter(|run| run.max >= from).map(|run| (run.min.max(from), 0, run.max));
        let headless = self.headless.range(index..).map(|(index, offset)| {
            let index = u64::from(*index);
            (index, *offset, index)
        });
        let mut ranges: Vec<(u64, u64, u64)> = begun.chain(headless).collect();
        ranges.sort_unstable();
        let mut expected = from;
        let mut holes = Vec::new();
        for (first, offset, last) in ranges {
            if (first, offset) != (expected, 0) {
                holes.push(Hole { after: position(expected, 0), before: position(first, offset) });
            }
            expected = last + 1;
        }
        holes
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::{Generation, SegmentFile, plan_generation};

    fn at(second: u32) -> Timestamp {
        Timestamp::from_second(i64::from(second)).unwrap()
    }

    /// Snapshots as `(index, second)`, segments as `(index, offset)`.
    fn files(snapshots: &[(u32, u32)], segments: &[(u32, u64)]) -> (Vec<SnapshotFile>, Vec<SegmentFile>) {
        let snapshot = |(index, second): &(u32, u32)| SnapshotFile { index: *index, size: 1, created: at(*second) };
        let segment = |(index, offset): &(u32, u64)| SegmentFile {
            index: *index,
            offset: *offset,
            size: 1,
            created: at(index * 10),
        };
        (snapshots.iter().map(snapshot).collect(), segments.iter().map(segment).collect())
    }

    fn coverage(snapshots: &[(u32, u32)], segments: &[(u32, u64)]) -> Coverage<SnapshotFile> {
        let (snapshots, segments) = files(snapshots, segments);
        let mut generations = Generations::default();
        snapshots.into_iter().for_each(|file| generations.insert_snapshot(Generation(1), file));
        segments.into_iter().for_each(|file| generations.insert_segment(Generation(1), file));
        generations.coverage()
    }

    fn check(snapshots: &[(u32, u32)], segments: &[(u32, u64)], expected: &str) {
        let coverage = coverage(snapshots, segments);
        let holes: String = coverage.holes.iter().map(|hole| format!(", {} to {}", hole.after, hole.before)).collect();
        let since = coverage.restorable_since.map(|since| since.as_second());
        assert_eq!(format!("{} {since:?}{holes}", coverage.restorable), expected);
    }

    #[test]
    fn indexes_follow_each_other() {
        check(&[], &[], "false None");
        check(&[], &[(0, 0)], "false None");
        check(&[(0, 5)], &[], "true Some(5)");
        check(&[(0, 5)], &[(0, 0), (0, 568), (1, 0)], "true Some(5)");
        check(&[(2, 25)], &[(1, 0)], "true Some(25)");
        check(&[(0, 5)], &[(0, 0), (3, 0), (4, 0)], "true None, 00000001/00000000 to 00000003/00000000");
        check(&[(0, 5)], &[(1, 0)], "true None, 00000000/00000000 to 00000001/00000000");
        check(&[(0, 5)], &[(0, 0), (1, 568), (2, 0)], "true None, 00000001/00000000 to 00000001/00000238");
        check(&[(0, 5)], &[(0, 0), (2, 568)], "true None, 00000001/00000000 to 00000002/00000238");
        check(&[(0, 5), (3, 35)], &[(0, 0), (3, 0), (4, 0)], "true Some(35)");
        check(&[(0, 5), (1, 15)], &[(0, 0), (1, 0), (2, 0)], "true Some(5)");
    }

    proptest! {
        #[test]
        fn a_gap_is_what_the_plan_fails_at(
            snapshots in prop::collection::vec((0..8u32, 0..100u32), 0..3),
            segments in prop::collection::btree_set((0..10u32, prop_oneof![Just(0u64), Just(568), Just(1104)]), 0..20),
            reverse: bool,
        ) {
            let mut segments: Vec<_> = segments.into_iter().collect();
            if reverse {
                segments.reverse();
            }
            let coverage = coverage(&snapshots, &segments);
            let (snapshots, segments) = files(&snapshots, &segments);
            let plan = plan_generation(&snapshots, &segments);
            prop_assert_eq!(coverage.restorable, !snapshots.is_empty());
            prop_assert_eq!(plan.is_ok(), coverage.restorable && coverage.holes.is_empty());
            // The same for each snapshot as if it were the newest.
            let whole = snapshots.iter().filter(|snapshot| plan_generation(&[**snapshot], &segments).is_ok());
            prop_assert_eq!(coverage.restorable_since, whole.map(|snapshot| snapshot.created).min());
        }
    }
}
