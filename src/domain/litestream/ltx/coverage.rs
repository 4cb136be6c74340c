//! What of a v0.5 replica could be restored, as far as its listing tells.

use jiff::Timestamp;

use super::SNAPSHOT_LEVEL;
use super::inventory::Inventory;
use super::name::LtxFile;
use super::txid::Txid;
use crate::domain::litestream::runs::{Run, Runs};

/// What could be restored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// The TXID to which the chain from the newest snapshot (without one: from TXID 1) reaches.
    pub end: Option<Txid>,
    /// When the replica had come so far.
    pub end_created: Option<Timestamp>,
    /// The largest TXID of any file, reached or not.
    pub newest: Option<Txid>,
    /// Holes behind the newest snapshot that no level bridges. With one, restoring the latest state fails
    /// (Litestream 0.5.10 and later) or silently gives an older one (0.5.8 and 0.5.9).
    pub gaps: Vec<Gap>,
    /// When the oldest snapshot (or file that starts at TXID 1) was made from which the chain reaches `end`.
    pub restorable_since: Option<Timestamp>,
    pub snapshots: u64,
    pub newest_snapshot: Option<LtxFile>,
    /// There is something from which something restores.
    pub restorable: bool,
    /// The chain reaches from TXID 1 to `end`: nothing of it was deleted or lost.
    pub whole: bool,
}

/// A hole in the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The last TXID before it; 0 when the chain has no start.
    pub after: Txid,
    /// The first TXID behind it.
    pub before: Txid,
    /// When the file behind it was made.
    pub before_created: Timestamp,
}

impl Inventory {
    /// What could be restored. Exactly what Litestream's own plan (0.5.8 and later) says: inside a contiguous run the
    /// plan always reaches the run's end.
    pub fn coverage(&self) -> Coverage {
        let chain = self.chain();
        let newest_snapshot = self.snapshots().next_back().copied();
        let start = newest_snapshot.map_or(0, |snapshot| snapshot.max.0);
        let end = chain.reach(start);
        let restorable = end != 0;
        Coverage {
            end: restorable.then_some(Txid(end)),
            end_created: self.reached(&chain, end),
            newest: self.max_txid(),
            gaps: gaps(&chain, end),
            restorable_since: restorable.then(|| self.since(&chain, end)).flatten(),
            snapshots: self
                .levels()
                .filter(|(level, _)| *level == SNAPSHOT_LEVEL)
                .map(|(_, level)| level.objects)
                .sum(),
            newest_snapshot,
            restorable,
            whole: self.is_whole(&chain, end),
        }
    }

    /// The runs of all levels but the snapshots' as one.
    fn chain(&self) -> Runs {
        let mut runs: Vec<Run> = self.levels().flat_map(|(_, level)| level.runs.iter().copied()).collect();
        runs.sort_unstable_by_key(|run| run.min);
        let mut chain = Runs::default();
        runs.into_iter().for_each(|run| chain.insert(run));
        chain
    }

    /// When the oldest file that ends at `end` was made.
    fn reached(&self, chain: &Runs, end: u64) -> Option<Timestamp> {
        let run = chain.find(end).filter(|run| run.max == end).map(|run| run.last_created);
        let snapshot = self.snapshots().filter(|snapshot| snapshot.max.0 == end).map(|snapshot| snapshot.created);
        run.into_iter().chain(snapshot).min()
    }

    /// Whether TXID 1 is there, as a file or as the first snapshot, and reaches `end`.
    fn is_whole(&self, chain: &Runs, end: u64) -> bool {
        let first = |snapshot: &LtxFile| snapshot.max.0 == 1 && chain.reach(1) == end;
        chain.find(1).is_some_and(|run| run.max == end) || self.snapshots().any(first)
    }

    /// When the oldest start of a chain to `end` was made.
    fn since(&self, chain: &Runs, end: u64) -> Option<Timestamp> {
        let from_one = chain.find(1).filter(|run| run.min == 1 && run.max == end).map(|run| run.first_created);
        let snapshots = self.snapshots().filter(|snapshot| chain.reach(snapshot.max.0) == end);
        snapshots.map(|snapshot| snapshot.created).chain(from_one).min()
    }
}

/// The holes behind `end`.
fn gaps(chain: &Runs, end: u64) -> Vec<Gap> {
    let mut after = end;
    let mut gaps = Vec::new();
    for run in chain.iter().filter(|run| run.min > end) {
        gaps.push(Gap { after: Txid(after), before: Txid(run.min), before_created: run.first_created });
        after = run.max;
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `level:min-max@second`, separated by blanks.
    fn coverage(files: &str) -> Coverage {
        let mut inventory = Inventory::default();
        for file in files.split_whitespace() {
            let (range, second) = file.split_once('@').unwrap();
            let (level, range) = range.split_once(':').unwrap();
            let (min, max) = range.split_once('-').unwrap();
            inventory.insert(LtxFile {
                level: level.parse().unwrap(),
                min: Txid(min.parse().unwrap()),
                max: Txid(max.parse().unwrap()),
                size: 200,
                created: Timestamp::from_second(second.parse().unwrap()).unwrap(),
            });
        }
        inventory.coverage()
    }

    fn check(files: &str, expected: &str) {
        let coverage = coverage(files);
        let second = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.as_second().to_string());
        let gaps: Vec<_> = coverage
            .gaps
            .iter()
            .map(|gap| format!(" gap {}-{}@{}", gap.after.0, gap.before.0, gap.before_created.as_second()))
            .collect();
        let shown = format!(
            "end {}@{} of {} since {}{}",
            coverage.end.map_or(0, |txid| txid.0),
            second(coverage.end_created),
            coverage.newest.map_or(0, |txid| txid.0),
            second(coverage.restorable_since),
            gaps.concat(),
        );
        assert_eq!(shown, expected, "{files}");
        assert_eq!(coverage.restorable, coverage.end.is_some());
    }

    #[test]
    fn a_chain_reaches_as_far_as_no_hole_is_in_it() {
        check("", "end 0@- of 0 since -");
        check("0:1-1@10 0:2-2@20", "end 2@20 of 2 since 10");
        check("9:1-5@50 0:6-6@60", "end 6@60 of 6 since 50");
        check("9:1-5@50", "end 5@50 of 5 since 50");
        check("9:1-5@50 0:7-7@70 0:9-9@90", "end 5@50 of 9 since 50 gap 5-7@70 gap 7-9@90");
        check("0:2-2@20 0:3-3@30", "end 0@- of 3 since - gap 0-2@20");
    }

    #[test]
    fn other_levels_bridge_holes() {
        check("9:1-5@50 0:6-6@60 0:8-8@80 1:6-8@85", "end 8@80 of 8 since 50");
        check("9:1-5@50 0:9-9@90 1:4-7@70 2:1-8@80", "end 9@90 of 9 since 50");
    }

    #[test]
    fn holes_before_the_newest_snapshot_only_limit_how_far_back_one_can_go() {
        check("9:1-5@50 9:1-9@90 0:6-6@60 0:8-8@80 0:10-10@100", "end 10@100 of 10 since 90");
        check("9:1-5@50 9:1-9@90 1:6-9@91 0:10-10@100", "end 10@100 of 10 since 50");
        check("9:1-5@50 9:1-9@90 0:1-1@10 3:2-9@92 0:10-10@100", "end 10@100 of 10 since 10");
    }

    #[test]
    fn a_replica_is_whole_while_it_reaches_back_to_its_first_transaction() {
        let check = |files: &str, whole: bool| assert_eq!(coverage(files).whole, whole, "{files}");
        check("", false);
        check("0:1-1@10 0:2-2@20", true);
        check("1:1-8@10 9:1-9@90 0:9-9@90 0:10-10@100", true);
        check("9:1-1@10 9:1-9@90 1:2-9@91", true);
        check("9:1-1@10", true);
        check("9:1-5@50 0:6-6@60", false);
        check("9:1-1@10 9:1-9@90 1:4-9@91", false);
        check("1:1-4@10 9:1-9@90 1:6-9@91", false);
    }

    #[test]
    fn snapshots_count_though_they_extend_no_chain() {
        let coverage = coverage("9:1-5@50 9:1-9@90 0:6-6@60");
        assert_eq!((coverage.snapshots, coverage.newest_snapshot.unwrap().max), (2, Txid(9)));
        assert_eq!(coverage.restorable_since, Timestamp::from_second(90).ok());
    }
}
