//! The inventory of a v0.3 replica from its listings, in memory proportional to its generations, snapshots and holes.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;

use super::name::{Generation, SegmentFile, SegmentName, SnapshotFile, SnapshotName};
use crate::domain::limits::{GENERATIONS_MAX, RUNS_MAX, SNAPSHOTS_MAX};
use crate::domain::litestream::object::{Folder, ObjectName};
use crate::domain::litestream::runs::{Run, Runs};

/// The files of a v0.3 replica.
///
/// A file is to be inserted once; one that is inserted twice is counted twice, and changes nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Generations {
    generations: BTreeMap<Generation, GenerationInventory>,
}

/// The files of one generation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenerationInventory {
    pub snapshots: u64,
    pub snapshot_bytes: u64,
    pub segments: u64,
    pub segment_bytes: u64,
    /// When its newest file was uploaded.
    pub newest_at: Option<Timestamp>,
    /// The segment with the largest index and offset.
    pub newest_segment: Option<SegmentFile>,
    /// The names that a listing gives last: where the next incremental one starts.
    last_segment: Option<SegmentName>,
    last_snapshot: Option<SnapshotName>,
    /// The files of the snapshots, by index.
    pub(super) snapshot_files: VecDeque<SnapshotFile>,
    /// Indexes whose first segment, the one at offset 0, is there.
    pub(super) begun: Runs,
    /// Indexes of which only later segments are there, with the lowest offset.
    pub(super) headless: BTreeMap<u32, u64>,
}

impl Generations {
    /// Adds a snapshot.
    pub fn insert_snapshot(&mut self, generation: Generation, file: SnapshotFile) {
        if let Some(inventory) = self.admit(generation, file.created) {
            inventory.insert_snapshot(file);
        }
    }

    /// Adds a segment. Any order is right; the order of a listing is fastest.
    pub fn insert_segment(&mut self, generation: Generation, file: SegmentFile) {
        if let Some(inventory) = self.admit(generation, file.created) {
            inventory.insert_segment(file);
        }
    }

    /// The object that a listing of a folder gives last: where the next incremental one starts.
    pub fn last(&self, folder: Folder) -> Option<ObjectName> {
        match folder {
            Folder::Snapshots(of) => Some(ObjectName::Snapshot(of, self.get(of)?.last_snapshot?)),
            Folder::Wal(of) => Some(ObjectName::Segment(of, self.get(of)?.last_segment?)),
            Folder::Level(_) => None,
        }
    }

    pub fn get(&self, generation: Generation) -> Option<&GenerationInventory> {
        self.generations.get(&generation)
    }

    /// All generations in the order of their names, which says nothing of their age.
    pub fn iter(&self) -> impl Iterator<Item = (Generation, &GenerationInventory)> {
        self.generations.iter().map(|(generation, inventory)| (*generation, inventory))
    }

    /// The generation with the newest file: the one that v0.3 restores from and replicates to.
    pub fn newest(&self) -> Option<(Generation, &GenerationInventory)> {
        self.iter().max_by_key(|(_, inventory)| inventory.newest_at)
    }

    /// Files of all generations.
    pub fn objects(&self) -> u64 {
        self.generations.values().map(|inventory| inventory.segments + inventory.snapshots).sum()
    }

    /// The generation to add a file to. When there are too many, the one that ended first makes room; a file older than
    /// all of them is not kept.
    fn admit(&mut self, generation: Generation, created: Timestamp) -> Option<&mut GenerationInventory> {
        if self.generations.len() >= GENERATIONS_MAX && !self.generations.contains_key(&generation) {
            let (oldest, inventory) = self.generations.iter().min_by_key(|(_, inventory)| inventory.newest_at)?;
            if inventory.newest_at > Some(created) {
                return None;
            }
            let oldest = *oldest;
            self.generations.remove(&oldest);
        }
        Some(self.generations.entry(generation).or_default())
    }
}

impl GenerationInventory {
    /// The largest index of which there is a segment.
    pub fn last_index(&self) -> Option<u32> {
        self.newest_segment.map(|segment| segment.index)
    }

    /// Whether a file that was listed is not among the names that are `there`.
    pub fn misses(&self, there: impl IntoIterator<Item = ObjectName>) -> bool {
        let (mut snapshots, mut segments) = (0, 0);
        for name in there {
            match name {
                ObjectName::Snapshot(_, name) => snapshots += u64::from(Some(name) <= self.last_snapshot),
                ObjectName::Segment(_, name) => {
                    segments += u64::from(self.last_segment.is_some_and(|last| !precedes(last, name)));
                }
                ObjectName::Ltx { .. } => {}
            }
        }
        (snapshots, segments) != (self.snapshots, self.segments)
    }

    fn insert_snapshot(&mut self, file: SnapshotFile) {
        self.snapshots += 1;
        self.snapshot_bytes = self.snapshot_bytes.saturating_add(file.size);
        self.newest_at = self.newest_at.max(Some(file.created));
        self.last_snapshot = self.last_snapshot.max(Some(SnapshotName { index: file.index }));
        let at = self.snapshot_files.partition_point(|snapshot| snapshot.index <= file.index);
        self.snapshot_files.insert(at, file);
        if self.snapshot_files.len() > SNAPSHOTS_MAX {
            self.snapshot_files.pop_front();
        }
    }

    fn insert_segment(&mut self, file: SegmentFile) {
        self.segments += 1;
        self.segment_bytes = self.segment_bytes.saturating_add(file.size);
        self.newest_at = self.newest_at.max(Some(file.created));
        if self.newest_segment.is_none_or(|newest| newest.name() <= file.name()) {
            self.newest_segment = Some(file);
        }
        if self.last_segment.is_none_or(|last| precedes(last, file.name())) {
            self.last_segment = Some(file.name());
        }
        let index = u64::from(file.index);
        if file.offset == 0 {
            self.headless.remove(&file.index);
            self.begun.insert(Run::new(index, index, file.created));
            self.begun.keep_highest(RUNS_MAX);
        } else if self.begun.find(index).is_none() {
            let lowest = self.headless.entry(file.index).or_insert(file.offset);
            *lowest = file.offset.min(*lowest);
            if self.headless.len() > RUNS_MAX {
                self.headless.pop_first();
            }
        }
    }
}

/// Whether a listing gives `a` before `b`. That is the order of the names, which for offsets of more than eight digits
/// is not that of the numbers.
fn precedes(a: SegmentName, b: SegmentName) -> bool {
    let short = u64::from(u32::MAX);
    if a.offset <= short && b.offset <= short { a < b } else { a.to_string() < b.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn segment(index: u32, offset: u64, second: i64) -> SegmentFile {
        SegmentFile { index, offset, size: 100, created: at(second) }
    }

    #[test]
    fn keeps_holes_and_not_files() {
        let mut generations = Generations::default();
        let generation = Generation(7);
        generations.insert_snapshot(generation, SnapshotFile { index: 0, size: 5000, created: at(1) });
        for index in 0..10_000 {
            for offset in [0, 568, 1104] {
                generations.insert_segment(generation, segment(index, offset, i64::from(index)));
            }
        }
        let inventory = generations.get(generation).unwrap();
        assert_eq!((inventory.begun.iter().count(), inventory.headless.len()), (1, 0));
        let bytes = (inventory.snapshot_bytes, inventory.segment_bytes);
        assert_eq!((generations.objects(), bytes), (30_001, (5000, 3_000_000)));
        assert_eq!(inventory.newest_segment, Some(segment(9999, 1104, 9999)));
        assert_eq!(inventory.last_segment, Some(SegmentName { index: 9999, offset: 1104 }));
        assert_eq!(inventory.newest_at, Some(at(9999)));
    }

    #[test]
    fn what_is_gone_is_missed_and_what_is_new_is_not() {
        let (of, mut generations) = (Generation(1), Generations::default());
        generations.insert_snapshot(of, SnapshotFile { index: 0, size: 5000, created: at(1) });
        for (index, offset) in [(0, 0), (0, 568), (1, 0)] {
            generations.insert_segment(of, segment(index, offset, 2));
        }
        let inventory = generations.get(of).unwrap();
        let misses = |snapshots: &[u32], segments: &[(u32, u64)]| {
            let snapshots = snapshots.iter().map(|index| ObjectName::Snapshot(of, SnapshotName { index: *index }));
            let segments = segments.iter().map(|name| SegmentName { index: name.0, offset: name.1 });
            inventory.misses(snapshots.chain(segments.map(|name| ObjectName::Segment(of, name))))
        };
        assert!(!misses(&[0], &[(1, 0), (0, 0), (0, 568)]));
        assert!(!misses(&[0, 1], &[(0, 0), (0, 568), (1, 0), (1, 568)]));
        assert!(misses(&[0], &[(0, 0), (1, 0), (1, 568)]));
        assert!(misses(&[], &[(0, 0), (0, 568), (1, 0)]));
    }

    #[test]
    fn the_newest_generation_is_the_one_written_last() {
        let mut generations = Generations::default();
        generations.insert_segment(Generation(9), segment(0, 0, 10));
        generations.insert_segment(Generation(1), segment(0, 0, 20));
        assert_eq!(generations.newest().unwrap().0, Generation(1));
        generations.insert_segment(Generation(9), segment(0, 568, 30));
        assert_eq!(generations.newest().unwrap().0, Generation(9));
    }

    #[test]
    fn the_last_name_is_not_always_the_newest_segment() {
        let mut generations = Generations::default();
        generations.insert_segment(Generation(1), segment(0, 1 << 32, 10));
        generations.insert_segment(Generation(1), segment(0, 0xffff_f000, 9));
        let inventory = generations.get(Generation(1)).unwrap();
        assert_eq!(inventory.newest_segment.unwrap().offset, 1 << 32);
        assert_eq!(inventory.last_segment.unwrap().offset, 0xffff_f000);
    }

    #[test]
    fn the_generations_that_ended_first_make_room() {
        let mut generations = Generations::default();
        let count = GENERATIONS_MAX as u64;
        (1..=count).for_each(|n| generations.insert_segment(Generation(n), segment(0, 0, n.cast_signed())));
        generations.insert_segment(Generation(0), segment(0, 0, 0));
        assert_eq!(generations.objects(), count, "what is older than all of them is not kept");
        generations.insert_segment(Generation(count + 1), segment(0, 0, 5000));
        assert_eq!(generations.iter().count(), GENERATIONS_MAX);
        assert!(generations.get(Generation(1)).is_none() && generations.get(Generation(2)).is_some());
    }
}
