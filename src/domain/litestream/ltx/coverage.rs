//! Coverage of a v0.5 replica, as far as its listing tells.

use jiff::Timestamp;

use super::SNAPSHOT_LEVEL;
use super::inventory::Inventory;
use super::name::LtxFile;
use super::txid::Txid;
use crate::domain::litestream::coverage::Coverage;
use crate::domain::litestream::hole::Hole;
use crate::domain::litestream::runs::{Run, Runs};

impl Inventory {
    /// The coverage, exactly by Litestream's own plan (0.5.8 and later): inside a contiguous run the plan always
    /// reaches the run's end.
    pub fn coverage(&self) -> Coverage<LtxFile> {
        let chain = self.chain();
        let newest_snapshot = self.snapshots().next_back().copied();
        let end = self.reach(&chain);
        let restorable = end != 0;
        let (holes, lost_since) = holes(&chain, end);
        Coverage {
            restorable,
            restorable_since: restorable.then(|| self.since(&chain, end)).flatten(),
            holes,
            reached_at: self.reached(&chain, end),
            lost_since,
            snapshots: self.levels().find(|(level, _)| *level == SNAPSHOT_LEVEL).map_or(0, |(_, level)| level.objects),
            newest_snapshot,
            whole: self.is_whole(&chain, end),
        }
    }

    /// The TXID to which the chain from the newest snapshot (without one: from TXID 1) reaches.
    pub fn end(&self) -> Option<Txid> {
        Some(Txid(self.reach(&self.chain()))).filter(|end| end.0 != 0)
    }

    fn reach(&self, chain: &Runs) -> u64 {
        chain.reach(self.snapshots().next_back().map_or(0, |snapshot| snapshot.max.0))
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

/// The holes behind `end`, and when the file behind the first one was made.
fn holes(chain: &Runs, end: u64) -> (Vec<Hole>, Option<Timestamp>) {
    let mut after = end;
    let mut holes = Vec::new();
    for run in chain.iter().filter(|run| run.min > end) {
        holes.push(Hole { after: Txid(after), before: Txid(run.min) }.spoken());
        after = run.max;
    }
    (holes, chain.next_behind(end).map(|run| run.first_created))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `level:min-max@second`, separated by blanks.
    fn inventory(files: &str) -> Inventory {
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
        inventory
    }

    fn coverage(files: &str) -> Coverage<LtxFile> {
        inventory(files).coverage()
    }

    fn check(files: &str, expected: &str) {
        let (inventory, coverage) = (inventory(files), coverage(files));
        let second = |time: Option<Timestamp>| time.map_or_else(|| "-".to_owned(), |time| time.as_second().to_string());
        let txid = |text: &str| text.parse::<Txid>().unwrap().0;
        let holes = coverage.holes.iter().map(|hole| format!(" hole {}-{}", txid(&hole.after), txid(&hole.before)));
        let holes: String = holes.collect();
        let lost = coverage.lost_since.map_or_else(String::new, |lost| format!(" lost {}", lost.as_second()));
        let shown = format!(
            "end {}@{} of {} since {}{holes}{lost}",
            inventory.end().map_or(0, |txid| txid.0),
            second(coverage.reached_at),
            inventory.max_txid().map_or(0, |txid| txid.0),
            second(coverage.restorable_since),
        );
        assert_eq!(shown, expected, "{files}");
        assert_eq!(coverage.restorable, inventory.end().is_some());
    }

    #[test]
    fn a_chain_reaches_as_far_as_no_hole_is_in_it() {
        check("", "end 0@- of 0 since -");
        check("0:1-1@10 0:2-2@20", "end 2@20 of 2 since 10");
        check("9:1-5@50 0:6-6@60", "end 6@60 of 6 since 50");
        check("9:1-5@50", "end 5@50 of 5 since 50");
        check("9:1-5@50 0:7-7@70 0:9-9@90", "end 5@50 of 9 since 50 hole 5-7 hole 7-9 lost 70");
        check("0:2-2@20 0:3-3@30", "end 0@- of 3 since - hole 0-2 lost 20");
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
