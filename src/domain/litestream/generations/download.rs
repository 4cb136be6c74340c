//! About how much restoring the latest state downloads.

use super::inventory::Generations;
use super::name::SnapshotFile;
use crate::domain::litestream::download::behind;

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
    use crate::domain::litestream::{Generation, SegmentFile};

    #[test]
    fn the_snapshot_and_the_indexes_from_it_on() {
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
