//! Which files Litestream's own retention should have deleted long ago.

use jiff::Timestamp;

use super::inventory::Generations;
use crate::domain::litestream::expiry::Kept;

impl Generations {
    /// How many snapshots of a v0.3 replica should be gone: by their age, the newest of the newest generation never.
    /// Segments go with the snapshot in front of them.
    pub fn expired(&self, kept: &Kept, now: Timestamp) -> u64 {
        let Some(before) = kept.snapshots_before(now) else { return 0 };
        let newest = self.newest().map(|(generation, _)| generation);
        let old = self.iter().map(|(generation, inventory)| {
            let rightly = usize::from(Some(generation) == newest);
            let snapshots = inventory.snapshot_files.iter().rev().skip(rightly);
            snapshots.filter(|snapshot| snapshot.created < before).count() as u64
        });
        old.sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::litestream::{Generation, SnapshotFile};

    #[test]
    fn snapshots_of_generations() {
        let (day, hour) = (Duration::from_secs(24 * 3600), Duration::from_secs(3600));
        let kept = Kept { snapshots: Some(day), every: hour, level0: None };
        let at = |hours_ago: i64| Timestamp::from_second((1_000 - hours_ago) * 3600).unwrap();
        let mut generations = Generations::default();
        let snapshot = |index, age| SnapshotFile { index, size: 100, created: at(age) };
        generations.insert_snapshot(Generation(1), snapshot(0, 40));
        assert_eq!(generations.expired(&kept, at(0)), 0, "the only one is rightly kept");
        generations.insert_snapshot(Generation(2), snapshot(0, 31));
        assert_eq!(generations.expired(&kept, at(0)), 1, "an old generation goes whole");
        generations.insert_snapshot(Generation(2), snapshot(4, 20));
        assert_eq!(generations.expired(&kept, at(0)), 1, "retention may be hours late");
        assert_eq!(generations.expired(&kept, at(-1)), 2);
    }
}
