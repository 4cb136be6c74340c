//! The inventory of a v0.5 replica from its listings, in memory proportional to its holes and snapshots and not to its
//! files.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::name::{LtxFile, LtxName};
use super::txid::Txid;
use super::{LEVELS, SNAPSHOT_LEVEL};
use crate::domain::limits::{RUNS_MAX, SNAPSHOTS_MAX};
use crate::domain::litestream::object::ObjectName;
use crate::domain::litestream::runs::Runs;

/// The files of a v0.5 replica.
///
/// A file is to be inserted once; one that is inserted twice is counted twice, and changes nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// In order; those that are empty are not there.
    levels: Vec<LevelInventory>,
    snapshots: VecDeque<LtxFile>,
}

/// The files of one level, of which there is one at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LevelInventory {
    /// The continuity of the files; empty for snapshots, which do not continue each other.
    pub runs: Runs,
    pub objects: u64,
    pub bytes: u64,
    /// The file with the largest last TXID.
    pub newest: LtxFile,
    /// The name that a listing gives last: where the next incremental one starts.
    pub last_name: LtxName,
}

impl Inventory {
    /// Adds a file. Any order is right; the order of a listing is fastest. Of too many runs or snapshots the lowest are
    /// forgotten.
    pub fn insert(&mut self, file: LtxFile) {
        let at = match self.levels.binary_search_by_key(&file.level, |level| level.newest.level) {
            Ok(at) => at,
            Err(at) if usize::from(file.level) < LEVELS => {
                let (runs, last_name) = (Runs::default(), file.name());
                self.levels.reserve_exact(1);
                self.levels.insert(at, LevelInventory { runs, objects: 0, bytes: 0, newest: file, last_name });
                at
            }
            Err(_) => return,
        };
        let level = &mut self.levels[at];
        level.objects += 1;
        level.bytes = level.bytes.saturating_add(file.size);
        level.last_name = level.last_name.max(file.name());
        if (level.newest.max, level.newest.min) <= (file.max, file.min) {
            level.newest = file;
        }
        if file.level == SNAPSHOT_LEVEL {
            let at = self.snapshots.partition_point(|snapshot| snapshot.name() <= file.name());
            self.snapshots.reserve_exact(usize::from(self.snapshots.is_empty()));
            self.snapshots.insert(at, file);
            if self.snapshots.len() > SNAPSHOTS_MAX {
                self.snapshots.pop_front();
            }
        } else {
            level.runs.insert(file.run());
            level.runs.keep_highest(RUNS_MAX);
        }
    }

    /// The levels that have a file, in order.
    pub fn levels(&self) -> impl Iterator<Item = (u8, &LevelInventory)> {
        self.levels.iter().map(|level| (level.newest.level, level))
    }

    fn level(&self, number: u8) -> Option<&LevelInventory> {
        self.levels().find(|(level, _)| *level == number).map(|(_, level)| level)
    }

    /// The file of a level with the largest last TXID.
    pub fn newest(&self, level: u8) -> Option<&LtxFile> {
        self.level(level).map(|level| &level.newest)
    }

    /// The name that a listing of a level gives last: where the next incremental listing starts.
    pub fn last_name(&self, level: u8) -> Option<LtxName> {
        self.level(level).map(|level| level.last_name)
    }

    /// The largest TXID of any level: how far the replica is, whether or not it can be restored so far.
    pub fn max_txid(&self) -> Option<Txid> {
        self.levels.iter().map(|level| level.newest.max).max()
    }

    /// Whether a file that was listed is not among the names that are `there`. Of level 0 the oldest ones may be gone, as long
    /// as the other levels hold them: so Litestream deletes all the time. What it deletes of the others is rare.
    pub fn misses(&self, there: impl IntoIterator<Item = ObjectName>) -> bool {
        let mut now = Self::default();
        for name in there {
            if let ObjectName::Ltx { level, name } = name
                && Some(name) <= self.last_name(level)
            {
                let (min, max, created) = (name.min, name.max, Timestamp::UNIX_EPOCH);
                now.insert(LtxFile { level, min, max, size: 0, created });
            }
        }
        let above = self.levels().filter(|(number, _)| *number > 0);
        let count = |number| now.level(number).map_or(0, |level| level.objects);
        let mut fewer = above.map(|(number, level)| level.objects != count(number));
        let of_level0 = |inventory: &Self, from: u64| {
            let runs = inventory.level(0).into_iter().flat_map(|level| level.runs.iter());
            let kept = runs.filter(|run| run.max >= from).map(|run| (run.min.max(from), run.max));
            kept.collect::<Vec<_>>()
        };
        let first = now.level(0).and_then(|level| level.runs.iter().next()).map(|run| run.min);
        fewer.any(|fewer| fewer)
            || first.is_some_and(|first| of_level0(self, first) != of_level0(&now, first))
            || now.end() != self.end()
            || now.coverage().breaks() != self.coverage().breaks()
    }

    /// Files of all levels.
    pub fn objects(&self) -> u64 {
        self.levels().map(|(_, level)| level.objects).sum()
    }

    /// Snapshots in the order of their names, the newest last.
    pub fn snapshots(&self) -> impl DoubleEndedIterator<Item = &LtxFile> {
        self.snapshots.iter()
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::litestream::Listed;

    use super::*;

    fn file(level: u8, min: u64, max: u64) -> LtxFile {
        let created = Timestamp::from_second(max.min(1 << 30).cast_signed()).unwrap();
        LtxFile { level, min: Txid(min), max: Txid(max), size: 200, created }
    }

    #[test]
    fn keeps_holes_and_not_files() {
        let mut inventory = Inventory::default();
        (1..=100_000).filter(|txid| *txid != 77).for_each(|txid| inventory.insert(file(0, txid, txid)));
        let (_, level) = inventory.levels().next().unwrap();
        assert_eq!(level.runs.iter().map(|run| (run.min, run.max)).collect::<Vec<_>>(), [(1, 76), (78, 100_000)]);
        assert_eq!((inventory.objects(), level.bytes), (99_999, 19_999_800));
        assert_eq!(inventory.newest(0), Some(&file(0, 100_000, 100_000)));
        assert_eq!(inventory.last_name(0), Some(file(0, 100_000, 100_000).name()));
    }

    #[test]
    fn the_last_name_is_not_always_the_newest_file() {
        let mut inventory = Inventory::default();
        inventory.insert(file(1, 1, 30));
        inventory.insert(file(1, 5, 20));
        assert_eq!(inventory.newest(1), Some(&file(1, 1, 30)));
        assert_eq!(inventory.last_name(1), Some(file(1, 5, 20).name()));
        assert_eq!(inventory.last_name(0), None);
        assert_eq!(inventory.max_txid(), Some(Txid(30)));
    }

    #[test]
    fn what_is_gone_is_missed_unless_compaction_holds_it() {
        let mut inventory = Inventory::default();
        let files = [(9, 1, 1), (1, 1, 4), (1, 5, 8), (0, 3, 3), (0, 4, 4), (0, 5, 5), (0, 6, 6), (0, 7, 7), (0, 9, 9)];
        let files = files.map(|(level, min, max)| file(level, min, max));
        files.into_iter().for_each(|file| inventory.insert(file));
        let misses = |gone: &[(u8, u64)], more: &[LtxFile]| {
            let kept = files.iter().filter(|file| !gone.contains(&(file.level, file.max.0)));
            inventory.misses(kept.chain(more).map(|file| Listed::from(*file).name))
        };
        assert!(!misses(&[], &[]));
        // What came since it was listed, and what Litestream deletes all the time.
        assert!(!misses(&[], &[file(0, 10, 10), file(1, 9, 9)]));
        assert!(!misses(&[(0, 3), (0, 4), (0, 5)], &[]));
        assert!(!misses(&[(0, 3), (0, 4), (0, 5), (0, 6), (0, 7)], &[]));
        // From the middle, though level 1 holds it; then what nothing else holds.
        assert!(misses(&[(0, 6)], &[]));
        assert!(misses(&[(0, 9)], &[]));
        assert!(misses(&[(0, 3), (0, 4), (0, 5), (0, 6), (0, 7), (0, 9)], &[]));
        for gone in [(9, 1), (1, 4), (1, 8)] {
            assert!(misses(&[gone], &[]), "{gone:?}");
        }
    }

    #[test]
    fn of_too_many_the_lowest_are_forgotten() {
        let mut inventory = Inventory::default();
        (1..=RUNS_MAX as u64 + 3).for_each(|n| inventory.insert(file(0, 2 * n, 2 * n)));
        (1..=SNAPSHOTS_MAX as u64 + 4).for_each(|n| inventory.insert(file(9, 1, n)));
        inventory.insert(file(10, 1, 1));
        assert_eq!(inventory.levels().next().unwrap().1.runs.iter().next().unwrap().min, 8);
        assert_eq!(inventory.snapshots().next(), Some(&file(9, 1, 5)));
    }
}
