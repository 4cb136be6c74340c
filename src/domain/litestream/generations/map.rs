//! The coverage map of a v0.3 replica: what `restore -timestamp` of 0.3.13 makes of every instant.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::name::{Generation, SegmentFile, SegmentName, SnapshotFile, SnapshotName, position};
use crate::domain::limits::TIMELINE_FILES_MAX;
use crate::domain::litestream::hole::Hole;
use crate::domain::litestream::runs::{Run, Runs};
use crate::domain::timeline::{Blocked, Step, TimelineReport, spans};

/// All files of a replica, or the newest ones, on the way to a map.
#[derive(Clone, Debug, Default)]
pub struct GenerationTimeline {
    generations: BTreeMap<Generation, Files>,
    segments: usize,
    cut_off_at: Option<Timestamp>,
}

#[derive(Clone, Debug, Default)]
struct Files {
    snapshots: Vec<SnapshotFile>,
    segments: Vec<SegmentFile>,
    /// Left out, because there are too many: snapshots of lower indexes are of no use.
    lowest: u32,
}

/// The result of a restore to an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationInstant {
    pub generation: Generation,
    pub snapshot: Option<SnapshotFile>,
    /// In the order in which they are applied.
    pub segments: Vec<SegmentFile>,
    /// When that state was uploaded.
    pub created: Option<Timestamp>,
    pub blocked: Option<Blocked>,
}

impl GenerationTimeline {
    pub fn insert_snapshot(&mut self, generation: Generation, file: SnapshotFile) {
        let files = self.generations.entry(generation).or_default();
        if file.index >= files.lowest {
            files.snapshots.push(file);
        }
    }

    pub fn insert_segment(&mut self, generation: Generation, file: SegmentFile) {
        let files = self.generations.entry(generation).or_default();
        if file.index < files.lowest {
            return;
        }
        files.segments.push(file);
        self.segments += 1;
        if self.segments > TIMELINE_FILES_MAX {
            self.shed();
        }
    }

    /// Forgets the generations that ended first, and at last the lower half of the newest one.
    fn shed(&mut self) {
        while self.segments > TIMELINE_FILES_MAX / 2 {
            let ends = self.generations.iter().map(|(name, files)| (files.bounds().map(|(_, end)| end), *name));
            let Some((_, oldest)) = ends.min() else { return };
            if self.generations.len() > 1 {
                let Some(files) = self.generations.remove(&oldest) else { return };
                self.segments -= files.segments.len();
                self.cut_off_at = self.cut_off_at.max(files.bounds().map(|(_, end)| end));
                continue;
            }
            let Some(files) = self.generations.get_mut(&oldest) else { return };
            files.segments.sort_unstable_by_key(SegmentFile::name);
            let lowest = files.segments.get(files.segments.len() / 2).map_or(0, |file| file.index);
            let before = files.segments.len();
            let cut = files.segments.iter().filter(|file| file.index < lowest).map(|file| file.created).max();
            files.lowest = lowest;
            files.segments.retain(|file| file.index >= lowest);
            files.snapshots.retain(|file| file.index >= lowest);
            self.cut_off_at = self.cut_off_at.max(cut);
            self.segments -= before - files.segments.len();
            if before == files.segments.len() {
                // One index holds them all: there is nothing to begin behind.
                files.segments.clear();
                self.segments = 0;
            }
        }
    }

    /// The generations from the one that begins first, each with the time from which on 0.3.13 restores from it: of those
    /// that have begun it takes the one that was written last.
    fn reigns(&self) -> Vec<(Timestamp, Generation, &Files)> {
        let bounded = self.generations.iter().filter_map(|(name, files)| Some((files.bounds()?, *name, files)));
        let mut bounded: Vec<_> = bounded.collect();
        bounded.sort_unstable_by_key(|(bounds, name, _)| (*bounds, *name));
        let mut newest = None;
        bounded.retain(|((_, end), _, _)| {
            let later = newest.is_none_or(|newest| *end > newest);
            newest = newest.max(Some(*end));
            later
        });
        bounded.into_iter().map(|((start, _), name, files)| (start, name, files)).collect()
    }

    /// The map; the last state of it lasts `until`. `damaged` holds keys.
    pub fn map(mut self, damaged: &BTreeSet<String>, until: Timestamp) -> TimelineReport {
        self.generations.values_mut().for_each(Files::sort);
        let (steps, holes) = self.steps(damaged);
        let report = TimelineReport::of(spans(&steps, &holes, until));
        TimelineReport { cut_off_at: self.cut_off_at, listed_at: Some(until), ..report }
    }

    fn steps(&self, damaged: &BTreeSet<String>) -> (Vec<Step>, Vec<Blocked>) {
        let reigns = self.reigns();
        let (mut steps, mut holes): (Vec<Step>, Vec<Blocked>) = (Vec::new(), Vec::new());
        // States of different generations are different states, whatever they are called.
        let mut offset = 0;
        for (index, (start, generation, files)) in reigns.iter().enumerate() {
            let end = reigns.get(index + 1).map(|(start, ..)| *start);
            let chain = Chain::new(*generation, files, damaged);
            let mut highest = 0;
            for at in chain.times().filter(|at| *at >= *start && end.is_none_or(|end| *at < end)) {
                let state = chain.at(at);
                highest = highest.max(state.count);
                let count = if state.count == 0 { 0 } else { offset + state.count };
                let blocked = state.blocked;
                let same = steps.last().is_some_and(|last: &Step| {
                    last.end == count && last.hole.and_then(|hole| holes.get(hole)) == blocked.as_ref()
                });
                if same {
                    continue;
                }
                // A segment that is damaged is there, and tells when it was uploaded.
                let since_before = blocked.as_ref().is_some_and(|blocked| blocked.key.is_none());
                let hole = blocked.map(|blocked| match holes.iter().rposition(|hole| *hole == blocked) {
                    Some(known) if known + 1 == holes.len() => known,
                    _ => {
                        holes.push(blocked);
                        holes.len() - 1
                    }
                });
                steps.push(Step { at, end: count, lost: false, class: Some(0), hole, since_before });
            }
            offset += highest;
        }
        steps.dedup_by_key(|step| step.at);
        (steps, holes)
    }

    /// The result of a restore to an instant; `None` before the first file. `damaged` holds keys.
    pub fn instant(mut self, damaged: &BTreeSet<String>, at: Timestamp) -> Option<GenerationInstant> {
        self.generations.values_mut().for_each(Files::sort);
        let reigns = self.reigns();
        let reigning = reigns.partition_point(|(start, ..)| *start <= at).checked_sub(1)?;
        let (_, generation, files) = reigns.get(reigning)?;
        let chain = Chain::new(*generation, files, damaged);
        let State { snapshot, admitted, blocked, .. } = chain.at(at);
        let first = snapshot.map_or(0, |snapshot| snapshot.index);
        let segments = files.segments[..admitted].iter().filter(|file| file.index >= first).copied();
        let segments: Vec<_> = segments.collect();
        let created = segments.iter().map(|file| file.created).chain(snapshot.map(|file| file.created)).max();
        Some(GenerationInstant { generation: *generation, snapshot, segments, created, blocked })
    }

    /// Instants between two generations, which 0.3.13 refuses though the older one holds their state.
    pub fn has_pauses(&self) -> bool {
        let mut bounds: Vec<_> = self.generations.values().filter_map(Files::bounds).collect();
        bounds.sort_unstable();
        let mut end = None;
        bounds.into_iter().any(|(first, last)| {
            let pause = end.is_some_and(|end| end < first);
            end = end.max(Some(last));
            pause
        })
    }
}

impl Files {
    /// When its first and its last file were uploaded.
    fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let times = || {
            let segments = self.segments.iter().map(|file| file.created);
            segments.chain(self.snapshots.iter().map(|file| file.created))
        };
        times().min().zip(times().max())
    }

    fn sort(&mut self) {
        self.segments.sort_unstable_by_key(SegmentFile::name);
        self.snapshots.sort_unstable_by_key(|file| (file.created, Reverse(file.index)));
    }
}

/// The segments of one generation as 0.3.13 reads them: in the order of their names, up to the first one that is later
/// than the instant.
struct Chain<'a> {
    generation: Generation,
    files: &'a Files,
    /// When each segment is admitted: no segment before it is later than the instant either.
    admitted_at: Vec<Timestamp>,
    /// Indexes that have their first segment.
    begun: Runs,
    /// Segments and snapshots that are damaged.
    damaged: Vec<(u32, u64)>,
    damaged_snapshots: BTreeSet<u32>,
}

struct State {
    snapshot: Option<SnapshotFile>,
    /// Segments of the generation that are made before the instant.
    admitted: usize,
    /// Growing with each state; 0 when nothing is restored.
    count: u64,
    blocked: Option<Blocked>,
}

impl<'a> Chain<'a> {
    fn new(generation: Generation, files: &'a Files, damaged: &BTreeSet<String>) -> Self {
        let mut latest = Timestamp::MIN;
        let admitted_at = files.segments.iter().map(|file| {
            latest = latest.max(file.created);
            latest
        });
        let admitted_at = admitted_at.collect();
        let mut begun = Runs::default();
        for file in files.segments.iter().filter(|file| file.offset == 0) {
            let index = u64::from(file.index);
            begun.insert(Run::new(index, index, file.created));
        }
        let bad = |key: String| damaged.contains(&key);
        let segments =
            files.segments.iter().filter(|file| !damaged.is_empty() && bad(generation.segment_key(file.name())));
        let damaged = segments.map(|file| (file.index, file.offset)).collect();
        let snapshots = files.snapshots.iter().map(|file| file.index);
        let damaged_snapshots = snapshots.filter(|index| bad(generation.snapshot_key(SnapshotName { index: *index })));
        let damaged_snapshots = damaged_snapshots.collect();
        Self { generation, files, admitted_at, begun, damaged, damaged_snapshots }
    }

    /// When anything changes, in order.
    fn times(&self) -> impl Iterator<Item = Timestamp> {
        let snapshots = self.files.snapshots.iter().map(|file| file.created);
        let mut times: Vec<Timestamp> = self.admitted_at.iter().copied().chain(snapshots).collect();
        times.sort_unstable();
        times.dedup();
        times.into_iter()
    }

    fn at(&self, at: Timestamp) -> State {
        let admitted = self.admitted_at.partition_point(|admitted| *admitted <= at);
        let taken = self.files.snapshots.partition_point(|file| file.created <= at);
        let taken = &self.files.snapshots[..taken];
        // The one that was uploaded last; of a damaged one, the one before it takes the place.
        let mut whole = taken.iter().rev().filter(|file| !self.damaged_snapshots.contains(&file.index));
        let Some(snapshot) = whole.next().copied() else {
            let blocked = self.without_snapshot(taken.first());
            return State { snapshot: None, admitted, count: 0, blocked: Some(blocked) };
        };
        let last = self.files.segments[..admitted].last().filter(|file| file.index >= snapshot.index);
        let blocked = last.and_then(|last| self.blocked(&snapshot, last));
        // A snapshot is the state that the segments of the index before it lead to, so that it is no state of its own
        // unless there is no segment.
        let count = admitted as u64 + 1;
        State { snapshot: Some(snapshot), admitted, count, blocked }
    }

    fn blocked(&self, snapshot: &SnapshotFile, last: &SegmentFile) -> Option<Blocked> {
        let from = u64::from(snapshot.index);
        let reach = self.begun.find(from).map_or(from, |run| run.max + 1);
        let damaged =
            self.damaged.iter().find(|name| **name >= (snapshot.index, 0) && **name <= (last.index, last.offset));
        if let Some((index, offset)) = damaged.filter(|(index, _)| u64::from(*index) < reach) {
            let next = self.files.segments.iter().find(|file| (file.index, file.offset) > (*index, *offset));
            let before = next.map_or_else(|| position(u64::from(*index) + 1, 0), |file| file.name().position());
            let key = self.generation.segment_key(SegmentName { index: *index, offset: *offset });
            let detail = format!("{key} is damaged");
            let hole = Hole { after: position(*index, *offset), before };
            return Some(Blocked { hole, key: Some(key), detail });
        }
        if u64::from(last.index) < reach {
            return None;
        }
        let behind = self.files.segments.partition_point(|file| u64::from(file.index) < reach);
        let next = self.files.segments.get(behind).unwrap_or(last);
        let detail = if u64::from(next.index) == reach {
            format!("the first segment of WAL index {reach:08x} is missing")
        } else if u64::from(next.index) == reach + 1 {
            format!("WAL index {reach:08x} is missing")
        } else {
            format!("WAL indexes {reach:08x} to {:08x} are missing", next.index - 1)
        };
        let hole = Hole { after: position(reach, 0), before: next.name().position() };
        Some(Blocked { hole, key: None, detail })
    }

    fn without_snapshot(&self, damaged: Option<&SnapshotFile>) -> Blocked {
        let first = self.files.segments.first();
        let before = first.map(|file| file.name().position()).unwrap_or_default();
        let key = damaged.map(|file| self.generation.snapshot_key(SnapshotName { index: file.index }));
        let detail = match &key {
            Some(key) => format!("{key} is damaged"),
            None => format!("generation {} has no snapshot before it", self.generation),
        };
        Blocked { hole: Hole { after: position(0u32, 0), before }, key, detail }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::plan_generation;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    type Listed<'a> = (u64, &'a [(u32, i64)], &'a [(u32, u64, i64)]);

    fn timeline(generations: &[Listed<'_>]) -> GenerationTimeline {
        let mut timeline = GenerationTimeline::default();
        for (generation, snapshots, segments) in generations {
            for (index, created) in *snapshots {
                timeline.insert_snapshot(
                    Generation(*generation),
                    SnapshotFile { index: *index, size: 1, created: at(*created) },
                );
            }
            for (index, offset, created) in *segments {
                let file = SegmentFile { index: *index, offset: *offset, size: 1, created: at(*created) };
                timeline.insert_segment(Generation(*generation), file);
            }
        }
        timeline
    }

    fn check(generations: &[Listed<'_>], damaged: &[&str], expected: &str) {
        let damaged = damaged.iter().map(|key| format!("generations/0000000000000001/{key}")).collect();
        let map = timeline(generations).map(&damaged, at(100));
        let spans = map.spans.iter().map(|span| {
            let (from, until) = (span.from.as_second(), span.until.as_second());
            match &span.blocked {
                Some(blocked) => {
                    format!("{from}..{until} {}", blocked.detail.replace("generations/0000000000000001/", ""))
                }
                None => format!("{from}..{until} {}", span.points),
            }
        });
        assert_eq!(spans.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn each_segment_is_a_state() {
        check(&[], &[], "");
        check(&[(1, &[(0, 10)], &[(0, 0, 11), (0, 568, 20), (1, 0, 30)])], &[], "10..100 4");
        check(&[(1, &[(0, 10), (1, 25)], &[(0, 0, 11), (0, 568, 20), (1, 0, 30)])], &[], "10..100 4");
        check(&[(1, &[(2, 10)], &[(1, 0, 5)])], &[], "10..100 1");
    }

    #[test]
    fn a_missing_index_blocks_until_a_snapshot_behind_it() {
        let segments: &[(u32, u64, i64)] = &[(0, 0, 11), (0, 568, 20), (2, 0, 30), (3, 0, 40)];
        check(&[(1, &[(0, 10)], segments)], &[], "10..20 3, 20..100 WAL index 00000001 is missing");
        check(&[(1, &[(0, 10), (3, 35)], segments)], &[], "10..20 3, 20..35 WAL index 00000001 is missing, 35..100 2");
        let headless: &[(u32, u64, i64)] = &[(0, 0, 11), (1, 568, 20)];
        check(
            &[(1, &[(0, 10)], headless)],
            &[],
            "10..11 2, 11..100 the first segment of WAL index 00000001 is missing",
        );
        check(&[(1, &[], segments)], &[], "11..100 generation 0000000000000001 has no snapshot before it");
    }

    #[test]
    fn what_is_damaged_has_a_name() {
        let segments: &[(u32, u64, i64)] = &[(0, 0, 11), (0, 568, 20), (1, 0, 30)];
        let bad = ["wal/00000000_00000238.wal.lz4"];
        check(&[(1, &[(0, 10)], segments)], &bad, "10..20 2, 20..100 wal/00000000_00000238.wal.lz4 is damaged");
        let bad = ["snapshots/00000000.snapshot.lz4"];
        check(&[(1, &[(0, 10)], segments)], &bad, "10..100 snapshots/00000000.snapshot.lz4 is damaged");
    }

    #[test]
    fn the_generation_that_was_written_last_is_restored() {
        let first: Listed<'_> = (9, &[(0, 10)], &[(0, 0, 11), (0, 568, 20)]);
        let second: Listed<'_> = (1, &[(0, 50)], &[(0, 0, 51), (0, 568, 60)]);
        check(&[first, second], &[], "10..100 6");
        assert!(timeline(&[first, second]).has_pauses() && !timeline(&[first]).has_pauses());
        let asked = |second_at: i64| timeline(&[first, second]).instant(&BTreeSet::new(), at(second_at));
        assert!(asked(9).is_none());
        assert_eq!(asked(30).unwrap().generation, Generation(9));
        assert_eq!(asked(30).unwrap().created, Some(at(20)));
        assert_eq!((asked(51).unwrap().generation, asked(51).unwrap().segments.len()), (Generation(1), 1));
        // One that begins earlier and ends later reigns alone.
        check(&[(2, &[(0, 5)], &[(0, 0, 70)]), first], &[], "5..100 2");
    }

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let mut timeline = timeline(&[(1, &[(0, 1), (7, 20)], &[(0, 0, 2)])]);
        let count = TIMELINE_FILES_MAX as u32 + 5;
        for index in 1..count {
            let file = SegmentFile { index, offset: 0, size: 1, created: at(index.into()) };
            timeline.insert_segment(Generation(2), file);
        }
        assert_eq!(timeline.generations.len(), 1);
        assert!(timeline.segments <= TIMELINE_FILES_MAX && timeline.cut_off_at > Some(at(1000)));
        let one = timeline.generations.values().next().unwrap();
        assert!(one.segments.iter().all(|file| file.index >= one.lowest));
    }

    proptest! {
        /// The plan of 0.3.13, written as it does it: the newest snapshot, then segments up to the first later one.
        #[test]
        fn an_instant_is_what_is_planned_of_the_files_before_it(
            snapshots in prop::collection::btree_map(0..6u32, 0..50i64, 0..3),
            segments in prop::collection::btree_map((0..8u32, prop_oneof![Just(0u64), Just(568)]), 0..5i64, 0..16),
        ) {
            // Uploaded one after the other, mostly.
            let segments: Vec<_> = segments.iter().zip(0..).map(|(((index, offset), jitter), n)| (*index, *offset, n * 4 + jitter)).collect();
            let snapshots: Vec<_> = snapshots.into_iter().collect();
            let listed = [(1, snapshots.as_slice(), segments.as_slice())];
            let map = timeline(&listed).map(&BTreeSet::new(), at(100));
            for second in 0..70 {
                let before: Vec<_> = segments.iter().take_while(|segment| segment.2 <= second).map(|(index, offset, created)|
                    SegmentFile { index: *index, offset: *offset, size: 1, created: at(*created) }).collect();
                let taken: Vec<_> = snapshots.iter().filter(|snapshot| snapshot.1 <= second).map(|(index, created)|
                    SnapshotFile { index: *index, size: 1, created: at(*created) }).collect();
                let plan = plan_generation(&taken, &before);
                let asked = timeline(&listed).instant(&BTreeSet::new(), at(second));
                let whole = asked.as_ref().is_some_and(|asked| asked.blocked.is_none());
                prop_assert_eq!(whole, plan.is_ok(), "at {}: {:?} {:?}", second, asked, plan);
                if let (Ok(plan), Some(asked)) = (&plan, &asked) {
                    prop_assert_eq!((Some(plan.snapshot), &plan.segments), (asked.snapshot, &asked.segments));
                }
                if let Some(span) = map.span_at(at(second)).filter(|span| span.blocked.is_none()) {
                    prop_assert!(plan.is_ok() || span.from == at(second), "at {}: {:?}", second, span);
                }
            }
        }
    }
}
