//! The files of a v0.5 replica that a restore of the latest state may read, in memory proportional to its plan: a file
//! whose TXIDs another one holds as well is never in it.

use jiff::Timestamp;

use super::SNAPSHOT_LEVEL;
use super::name::LtxFile;
use super::plan::{PlanTarget, plan};
use crate::domain::limits::PLAN_CANDIDATES_MAX;

/// The newest snapshot and the increments behind it that no other increment holds.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    snapshot: Option<LtxFile>,
    /// By their first TXID; their last ones ascend as well.
    increments: Vec<LtxFile>,
    /// There were more: the oldest are not here.
    dropped: bool,
}

impl Candidates {
    /// Adds a file, in any order.
    pub fn insert(&mut self, file: LtxFile) {
        if file.level >= SNAPSHOT_LEVEL {
            if self.snapshot.is_none_or(|known| known.name() <= file.name()) {
                self.snapshot = Some(file);
                self.increments.retain(|known| known.max > file.max);
                self.dropped &= self.increments.len() >= PLAN_CANDIDATES_MAX;
            }
            return;
        }
        if self.snapshot.is_some_and(|snapshot| file.max <= snapshot.max) {
            return;
        }
        let before = self.increments.partition_point(|known| known.min <= file.min).checked_sub(1);
        if let Some(known) = before.and_then(|at| self.increments.get(at)) {
            // Of two levels with the same file a restore takes the higher; in one level it is the same file, listed anew.
            let better = (known.min, known.max) == (file.min, file.max) && file.level >= known.level;
            if known.max >= file.max && !better {
                return;
            }
        }
        let at = self.increments.partition_point(|known| known.min < file.min);
        let held = self.increments[at..].iter().take_while(|known| known.max <= file.max).count();
        // Most have few.
        self.increments.reserve_exact(usize::from(self.increments.len() < 4));
        self.increments.splice(at..at + held, [file]);
        if self.increments.len() > PLAN_CANDIDATES_MAX {
            self.increments.remove(0);
            self.dropped = true;
        }
    }

    /// When the oldest file was made that reaches behind the newest snapshot: about when that had a successor.
    pub fn unsnapshotted_since(&self) -> Option<Timestamp> {
        let oldest = self.increments.iter().map(|file| file.created).min();
        // Of so many, the oldest are not here: the snapshot is older than all of them.
        let snapshot = self.snapshot.filter(|_| self.dropped).map(|snapshot| snapshot.created);
        oldest.map(|oldest| snapshot.map_or(oldest, |snapshot| snapshot.min(oldest)))
    }

    /// There were more than are here: the oldest are not.
    pub fn is_cut(&self) -> bool {
        self.dropped
    }

    /// The files that a restore of the latest state reads, as far as the chain goes, and whether it reaches the newest
    /// file.
    pub fn plan(&self) -> (Vec<LtxFile>, bool) {
        let files: Vec<LtxFile> = self.snapshot.into_iter().chain(self.increments.iter().copied()).collect();
        // A time behind all files plans without asking whether there is something behind a hole.
        let planned = plan(&files, PlanTarget::Time(Timestamp::MAX)).unwrap_or_default();
        let newest = files.iter().map(|file| file.max).max();
        let unbroken = planned.last().is_some_and(|last| Some(last.max) == newest);
        if planned.is_empty() || self.dropped {
            // Nothing restores, or the plan is not known; what is there is worth a look all the same.
            return (files, false);
        }
        (planned, unbroken)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::Txid;

    fn file(level: u8, min: u64, max: u64) -> LtxFile {
        let created = Timestamp::from_second(1000).unwrap();
        LtxFile { level, min: Txid(min), max: Txid(max), size: 200, created }
    }

    #[test]
    fn a_compacted_file_takes_the_place_of_its_inputs() {
        let mut candidates = Candidates::default();
        candidates.insert(file(9, 1, 3));
        (1..=9).for_each(|txid| candidates.insert(file(0, txid, txid)));
        assert_eq!(
            candidates.plan(),
            (
                (4..=9).map(|txid| file(0, txid, txid)).fold(vec![file(9, 1, 3)], |mut all, f| {
                    all.push(f);
                    all
                }),
                true
            )
        );
        candidates.insert(file(1, 2, 8));
        assert_eq!(candidates.plan(), (vec![file(9, 1, 3), file(1, 2, 8), file(0, 9, 9)], true));
        candidates.insert(file(0, 11, 11));
        assert_eq!(candidates.plan(), (vec![file(9, 1, 3), file(1, 2, 8), file(0, 9, 9)], false));
    }

    proptest! {
        #[test]
        fn plan_is_that_of_all_files(
            files in prop::collection::vec((0..10u8, 1..20u64, 0..6u64), 0..40),
        ) {
            let files: Vec<_> = files
                .into_iter()
                .map(|(level, min, more)| if level == 9 { file(9, 1, min) } else { file(level, min, min + more) })
                .collect();
            let mut candidates = Candidates::default();
            files.iter().for_each(|file| candidates.insert(*file));
            let expected = plan(&files, PlanTarget::Time(Timestamp::MAX)).unwrap_or_default();
            let (planned, unbroken) = candidates.plan();
            if expected.is_empty() {
                prop_assert!(!unbroken);
            } else {
                prop_assert_eq!(&planned, &expected);
                prop_assert_eq!(unbroken, plan(&files, PlanTarget::Latest).is_ok());
            }
        }
    }
}
