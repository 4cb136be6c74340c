//! About how much restoring the latest state of a replica downloads, from what is remembered of its listing.
//!
//! Files are not remembered one by one, so what a level holds behind the newest snapshot is estimated by its share of
//! the TXIDs (or indexes). All levels are added up although a restore reads each TXID from one: rather too much than
//! too little.

use super::SNAPSHOT_LEVEL;
use super::generations::inventory::Generations;
use super::generations::name::SnapshotFile;
use super::ltx::inventory::Inventory;

/// The share of `bytes`, which lie evenly between `first` and `last`, that is behind `after`.
fn behind(bytes: u64, first: u64, last: u64, after: u64) -> u64 {
    let all = last.saturating_sub(first).saturating_add(1);
    let part = last.saturating_sub(after.max(first.saturating_sub(1))).min(all);
    let share = u128::from(bytes) * u128::from(part) / u128::from(all);
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl Inventory {
    /// Bytes that restoring the latest state downloads, about, if it can be restored.
    pub fn download(&self) -> u64 {
        let snapshot = self.snapshots().next_back();
        let after = snapshot.map_or(0, |snapshot| snapshot.max.0);
        let levels = self.levels().filter(|(level, _)| *level != SNAPSHOT_LEVEL).filter_map(|(_, level)| {
            let (first, last) = (level.runs.iter().next()?, level.runs.iter().next_back()?);
            Some(behind(level.bytes, first.min, last.max, after))
        });
        let start = snapshot.map_or(0, |snapshot| snapshot.size);
        levels.fold(start, u64::saturating_add)
    }
}

impl Generations {
    /// Bytes that restoring the latest state downloads, about, from the newest snapshot of the newest generation.
    pub fn download(&self, snapshot: &SnapshotFile) -> u64 {
        let Some((_, inventory)) = self.newest() else { return snapshot.size };
        let first = inventory.begun.iter().next().map_or(0, |run| run.min);
        let last = inventory.last_index().map_or(0, u64::from);
        // The segments of the snapshot's own index follow it.
        let before = u64::from(snapshot.index).checked_sub(1);
        let segments = match before {
            Some(before) => behind(inventory.segment_bytes, first, last, before),
            None => inventory.segment_bytes,
        };
        snapshot.size.saturating_add(segments)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{Generation, LtxFile, SegmentFile, Txid};

    fn file(level: u8, min: u64, max: u64, size: u64) -> LtxFile {
        LtxFile { level, min: Txid(min), max: Txid(max), size, created: Timestamp::UNIX_EPOCH }
    }

    fn download(files: &[LtxFile]) -> u64 {
        let mut inventory = Inventory::default();
        files.iter().for_each(|file| inventory.insert(*file));
        inventory.download()
    }

    #[test]
    fn of_v5_the_newest_snapshot_and_what_each_level_holds_behind_it() {
        assert_eq!(download(&[file(0, 1, 1, 100), file(0, 2, 2, 100)]), 200);
        let snapshots = [file(9, 1, 10, 5000), file(9, 1, 20, 6000)];
        assert_eq!(download(&snapshots), 6000);
        let mut files = snapshots.to_vec();
        // Ten of twenty behind the snapshot, all of five, and none.
        files.extend([file(1, 11, 20, 1000), file(1, 21, 30, 1000), file(0, 31, 35, 500), file(2, 1, 20, 70)]);
        assert_eq!(download(&files), 6000 + 1000 + 500);
        assert_eq!(download(&[file(9, 1, 1, u64::MAX), file(0, 1, u64::MAX, u64::MAX)]), u64::MAX);
    }

    #[test]
    fn of_v3_the_snapshot_and_the_indexes_from_it_on() {
        let created = Timestamp::UNIX_EPOCH;
        let mut generations = Generations::default();
        for index in 0..10 {
            generations.insert_segment(Generation(1), SegmentFile { index, offset: 0, size: 100, created });
        }
        let download = |index, size| generations.download(&SnapshotFile { index, size, created });
        assert_eq!(download(0, 7000), 8000);
        assert_eq!(download(8, 9000), 9200);
        assert_eq!(download(10, 9000), 9000);
    }
}
