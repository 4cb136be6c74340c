//! About how much restoring the latest state downloads.

use super::SNAPSHOT_LEVEL;
use super::inventory::Inventory;
use crate::domain::litestream::download::behind;

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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{LtxFile, Txid};

    fn file(level: u8, min: u64, max: u64, size: u64) -> LtxFile {
        LtxFile { level, min: Txid(min), max: Txid(max), size, created: Timestamp::UNIX_EPOCH }
    }

    fn download(files: &[LtxFile]) -> u64 {
        let mut inventory = Inventory::default();
        files.iter().for_each(|file| inventory.insert(*file));
        inventory.download()
    }

    #[test]
    fn the_newest_snapshot_and_what_each_level_holds_behind_it() {
        assert_eq!(download(&[file(0, 1, 1, 100), file(0, 2, 2, 100)]), 200);
        let snapshots = [file(9, 1, 10, 5000), file(9, 1, 20, 6000)];
        assert_eq!(download(&snapshots), 6000);
        let mut files = snapshots.to_vec();
        // Ten of twenty behind the snapshot, all of five, and none.
        files.extend([file(1, 11, 20, 1000), file(1, 21, 30, 1000), file(0, 31, 35, 500), file(2, 1, 20, 70)]);
        assert_eq!(download(&files), 6000 + 1000 + 500);
        assert_eq!(download(&[file(9, 1, 1, u64::MAX), file(0, 1, u64::MAX, u64::MAX)]), u64::MAX);
    }
}
