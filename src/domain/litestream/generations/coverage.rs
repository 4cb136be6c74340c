//! What of a v0.3 replica could be restored, as far as its listing tells.

use jiff::Timestamp;

use super::chain::newest_snapshot;
use super::inventory::{GenerationInventory, Generations};
use super::name::{Generation, SegmentFile, SnapshotFile};

/// What could be restored from the newest generation, the one that v0.3 restores from.
///
/// A listing does not show a missing segment in the middle or at the end of an index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationsCoverage {
    /// The generation with the newest file.
    pub generation: Option<Generation>,
    /// It has a snapshot.
    pub restorable: bool,
    /// When the oldest of its snapshots was made from which no index is missing.
    pub restorable_since: Option<Timestamp>,
    /// Holes behind the newest snapshot: with one, restoring the latest state fails.
    pub gaps: Vec<IndexGap>,
    pub newest_segment: Option<SegmentFile>,
    /// Of all generations.
    pub snapshots: u64,
    /// Of the newest generation: the one that v0.3 starts from.
    pub newest_snapshot: Option<SnapshotFile>,
    /// The generation reaches from its first index to its newest one. A generation begins anew whenever Litestream lost
    /// track, so that this says nothing of those before it.
    pub whole: bool,
}

/// A hole in the WAL of a generation, its ends as `index/offset`, 8 hexadecimal digits each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexGap {
    /// Where it starts: all before it is there.
    pub after: String,
    /// The first segment behind it.
    pub before: String,
}

impl Generations {
    /// What could be restored.
    pub fn coverage(&self) -> GenerationsCoverage {
        let snapshots = self.iter().map(|(_, inventory)| inventory.snapshots).sum();
        let Some((generation, inventory)) = self.newest() else { return GenerationsCoverage::default() };
        let newest_snapshot = newest_snapshot(&inventory.snapshot_files).copied();
        let whole = inventory.snapshot_files.iter().filter(|snapshot| inventory.reaches_end(snapshot.index));
        GenerationsCoverage {
            generation: Some(generation),
            restorable: newest_snapshot.is_some(),
            restorable_since: whole.map(|snapshot| snapshot.created).min(),
            gaps: newest_snapshot.map(|snapshot| inventory.gaps(snapshot.index)).unwrap_or_default(),
            newest_segment: inventory.newest_segment,
            snapshots,
            newest_snapshot,
            whole: inventory.snapshot_files.front().is_some_and(|first| first.index == 0) && inventory.reaches_end(0),
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
    fn gaps(&self, index: u32) -> Vec<IndexGap> {
        let from = u64::from(index);
        let begun = self.begun.iter().filter(|run| run.max >= from).map(|run| (run.min.max(from), 0, run.max));
        let headless = self.headless.range(index..).map(|(index, offset)| {
            let index = u64::from(*index);
            (index, *offset, index)
        });
        let mut ranges: Vec<(u64, u64, u64)> = begun.chain(headless).collect();
        ranges.sort_unstable();
        let mut expected = from;
        let mut gaps = Vec::new();
        for (first, offset, last) in ranges {
            if (first, offset) != (expected, 0) {
                let before = format!("{first:08x}/{offset:08x}");
                gaps.push(IndexGap { after: format!("{expected:08x}/{:08x}", 0), before });
            }
            expected = last + 1;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::plan_generation;

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

    fn coverage(snapshots: &[(u32, u32)], segments: &[(u32, u64)]) -> GenerationsCoverage {
        let (snapshots, segments) = files(snapshots, segments);
        let mut generations = Generations::default();
        snapshots.into_iter().for_each(|file| generations.insert_snapshot(Generation(1), file));
        segments.into_iter().for_each(|file| generations.insert_segment(Generation(1), file));
        generations.coverage()
    }

    fn check(snapshots: &[(u32, u32)], segments: &[(u32, u64)], expected: &str) {
        let coverage = coverage(snapshots, segments);
        let gaps: String = coverage.gaps.iter().map(|gap| format!(", {} to {}", gap.after, gap.before)).collect();
        let since = coverage.restorable_since.map(|since| since.as_second());
        assert_eq!(format!("{} {since:?}{gaps}", coverage.restorable), expected);
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
            prop_assert_eq!(plan.is_ok(), coverage.restorable && coverage.gaps.is_empty());
            // The same for each snapshot as if it were the newest.
            let whole = snapshots.iter().filter(|snapshot| plan_generation(&[**snapshot], &segments).is_ok());
            prop_assert_eq!(coverage.restorable_since, whole.map(|snapshot| snapshot.created).min());
        }
    }
}
