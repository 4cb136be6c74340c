//! Which files Litestream (0.5.8 and later) restores a v0.5 replica from.

use std::cmp::Reverse;

use jiff::Timestamp;

use super::SNAPSHOT_LEVEL;
use super::name::LtxFile;
use super::txid::Txid;

/// The request for a restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanTarget {
    /// Everything there is.
    Latest,
    /// The state at a TXID.
    Txid(Txid),
    /// The state before an instant, as coarse as the files that are left of that time.
    Time(Timestamp),
}

impl PlanTarget {
    fn admits(self, file: &LtxFile) -> bool {
        match self {
            Self::Latest => true,
            Self::Txid(txid) => file.max <= txid,
            Self::Time(time) => file.created < time,
        }
    }

    fn is_reached(self, end: Txid) -> bool {
        matches!(self, Self::Txid(txid) if end >= txid)
    }
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("no snapshot and no file that starts at TXID 1")]
    NoFiles,
    #[error("TXID {wanted} is not available: the chain ends at {end}")]
    TxidMissing { wanted: Txid, end: Txid },
    /// Only for the latest state, and only since Litestream 0.5.10: older ones restore what is before the hole.
    #[error("no file follows TXID {end}, although there are later files")]
    NotContiguous { end: Txid },
}

/// The files that Litestream restores from, in the order in which it applies them: the newest snapshot, then from all
/// levels the file that leads furthest. Without a snapshot the chain starts at TXID 1.
///
/// Litestream refuses a time behind the newest file before it plans; this does not.
pub fn plan(files: &[LtxFile], target: PlanTarget) -> Result<Vec<LtxFile>, PlanError> {
    let admitted = || files.iter().filter(|file| target.admits(file));
    let snapshot = admitted().filter(|file| file.level == SNAPSHOT_LEVEL).max_by_key(|file| file.name());
    let mut planned: Vec<LtxFile> = snapshot.into_iter().copied().collect();
    let mut end = snapshot.map_or(Txid(0), |file| file.max);
    let mut increments: Vec<&LtxFile> = admitted().filter(|file| file.level < SNAPSHOT_LEVEL).collect();
    increments.sort_unstable_by_key(|file| file.min);
    let mut increments = increments.into_iter().peekable();
    // Of all files that start where the chain ends or before: what leads furthest, and among those the plainest.
    let mut best: Option<&LtxFile> = None;
    while !target.is_reached(end) {
        // Behind the last TXID that there could be nothing follows any more: Litestream counts on from 0 as well.
        while let Some(file) = increments.next_if(|file| file.min.0 <= end.0.wrapping_add(1)) {
            best = best.into_iter().chain([file]).max_by_key(|file| rank(file));
        }
        let Some(file) = best.filter(|file| file.max > end) else { break };
        planned.push(*file);
        end = file.max;
    }
    match target {
        PlanTarget::Txid(wanted) if !target.is_reached(end) => Err(PlanError::TxidMissing { wanted, end }),
        _ if planned.is_empty() => Err(PlanError::NoFiles),
        PlanTarget::Latest if increments.peek().is_some() => Err(PlanError::NotContiguous { end }),
        _ => Ok(planned),
    }
}

fn rank(file: &LtxFile) -> impl Ord + use<> {
    (file.max, Reverse(file.min), file.level, Reverse(file.created))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::{Hole, Inventory, LtxName};

    fn file((level, min, max, second): (u8, u64, u64, i64)) -> LtxFile {
        let created = Timestamp::from_second(second).unwrap();
        LtxFile { level, min: Txid(min), max: Txid(max), size: 200, created }
    }

    fn check(files: &[(u8, u64, u64, i64)], target: PlanTarget, expected: &str) {
        let files: Vec<LtxFile> = files.iter().copied().map(file).collect();
        let shown = match plan(&files, target) {
            Ok(files) => files.iter().map(|f| format!("{}:{}-{} ", f.level, f.min.0, f.max.0)).collect(),
            Err(error) => error.to_string(),
        };
        assert_eq!(shown.trim(), expected);
    }

    const LEVELS: &[(u8, u64, u64, i64)] = &[
        (0, 5, 5, 50),
        (0, 6, 6, 60),
        (0, 7, 7, 70),
        (1, 1, 3, 30),
        (1, 4, 6, 60),
        (2, 1, 6, 60),
        (9, 1, 1, 15),
        (9, 1, 4, 45),
    ];

    #[test]
    fn takes_the_newest_snapshot_and_then_what_leads_furthest() {
        let time = |second| PlanTarget::Time(Timestamp::from_second(second).unwrap());
        check(LEVELS, PlanTarget::Latest, "9:1-4 2:1-6 0:7-7");
        check(LEVELS, PlanTarget::Txid(Txid(7)), "9:1-4 2:1-6 0:7-7");
        check(LEVELS, PlanTarget::Txid(Txid(5)), "9:1-4 0:5-5");
        check(LEVELS, PlanTarget::Txid(Txid(4)), "9:1-4");
        check(LEVELS, PlanTarget::Txid(Txid(3)), "9:1-1 1:1-3");
        check(LEVELS, time(45), "9:1-1 1:1-3");
        check(LEVELS, time(46), "9:1-4");
        check(LEVELS, time(100), "9:1-4 2:1-6 0:7-7");
    }

    #[test]
    fn says_why_there_is_no_plan() {
        let time = |second| PlanTarget::Time(Timestamp::from_second(second).unwrap());
        let missing = "TXID 0000000000000008 is not available: the chain ends at 0000000000000007";
        check(LEVELS, PlanTarget::Txid(Txid(8)), missing);
        check(LEVELS, time(15), "no snapshot and no file that starts at TXID 1");
        check(&[], PlanTarget::Latest, "no snapshot and no file that starts at TXID 1");
        check(&[(0, 2, 2, 2)], PlanTarget::Latest, "no snapshot and no file that starts at TXID 1");
        let hole = &[(9, 1, 4, 4), (0, 5, 5, 5), (0, 7, 7, 7)];
        check(hole, PlanTarget::Latest, "no file follows TXID 0000000000000005, although there are later files");
        check(hole, time(100), "9:1-4 0:5-5");
    }

    /// Replicas as Litestream leaves them, and worse.
    fn files() -> impl Strategy<Value = Vec<LtxFile>> {
        let increment = (0..4u8, 1..30u64, 0..6u64, 0..100i64);
        let snapshot = (Just(9u8), Just(1u64), 0..20u64, 0..100i64);
        let any = prop_oneof![8 => increment, 1 => snapshot];
        // A listing has each key once.
        let unique = |files: Vec<(u8, u64, u64, i64)>| -> BTreeMap<(u8, LtxName), LtxFile> {
            let files = files.into_iter().map(|(level, min, more, second)| file((level, min, min + more, second)));
            files.map(|file| ((file.level, file.name()), file)).collect()
        };
        prop::collection::vec(any, 0..40).prop_map(move |files| unique(files).into_values().collect()).prop_shuffle()
    }

    /// How far the chain comes from `start`, the slow way.
    fn reach(files: &[LtxFile], start: u64) -> u64 {
        let mut end = start;
        while let Some(file) = files.iter().find(|f| f.level < SNAPSHOT_LEVEL && f.min.0 <= end + 1 && f.max.0 > end) {
            end = file.max.0;
        }
        end
    }

    proptest! {
        #[test]
        fn coverage_says_what_the_plan_says(files in files()) {
            let mut inventory = Inventory::default();
            files.iter().for_each(|file| inventory.insert(*file));
            let coverage = inventory.coverage();
            match plan(&files, PlanTarget::Latest) {
                Ok(plan) => {
                    prop_assert_eq!(inventory.end(), plan.last().map(|file| file.max));
                    prop_assert_eq!((coverage.holes, coverage.lost_since), (Vec::new(), None));
                    prop_assert_eq!(inventory.end(), inventory.max_txid());
                }
                Err(PlanError::NotContiguous { end }) => {
                    prop_assert_eq!(inventory.end(), Some(end));
                    prop_assert_eq!(&coverage.holes[0].after, &end.to_string());
                }
                Err(_) => prop_assert!(!coverage.restorable && inventory.end().is_none()),
            }
        }

        #[test]
        fn coverage_is_what_trying_everything_finds(files in files()) {
            let mut inventory = Inventory::default();
            files.iter().for_each(|file| inventory.insert(*file));
            let coverage = inventory.coverage();
            let snapshots = || files.iter().filter(|file| file.level == SNAPSHOT_LEVEL);
            let end = reach(&files, snapshots().map(|file| file.max.0).max().unwrap_or(0));
            prop_assert_eq!(inventory.end(), (end > 0).then_some(Txid(end)));

            let (mut holes, mut lost_since) = (Vec::new(), None);
            let mut after = end;
            while let Some(next) =
                files.iter().filter(|f| f.level < SNAPSHOT_LEVEL && f.min.0 > after).min_by_key(|f| (f.min, f.created))
            {
                holes.push(Hole { after: Txid(after), before: next.min }.spoken());
                lost_since = lost_since.or(Some(next.created));
                after = reach(&files, next.min.0 - 1);
            }
            prop_assert_eq!((coverage.holes, coverage.lost_since), (holes, lost_since));

            let starts = files.iter().filter(|file| {
                let start = file.level == SNAPSHOT_LEVEL || file.min.0 == 1;
                start && reach(&files, file.max.0) == end
            });
            prop_assert_eq!(coverage.restorable_since, starts.map(|file| file.created).min());
        }

        #[test]
        fn the_order_of_files_changes_nothing(files in files()) {
            let mut sorted = files.clone();
            sorted.sort_unstable_by_key(|file| (file.level, file.name()));
            let inventory = |files: &[LtxFile]| {
                let mut inventory = Inventory::default();
                files.iter().for_each(|file| inventory.insert(*file));
                inventory
            };
            prop_assert_eq!(inventory(&files), inventory(&sorted));
            prop_assert_eq!(plan(&files, PlanTarget::Latest), plan(&sorted, PlanTarget::Latest));
        }
    }
}
