//! The decoded lengths of the segments of one v0.3 generation, from which a missing one is seen.
//!
//! The name of a segment says where it begins, and only its content where it ends. Once that is known for each, what a
//! listing cannot show is exact: a segment that is missing in the middle of an index. One that is missing at the *end*
//! of an index leaves no trace in the others: the next WAL begins anew whatever the length of the one before. It is
//! seen only when something else knows that the index was longer, as the source's WAL, whose committed end was seen
//! while it was that index, or Litestream's own copy of it (`.db-litestream/generations/*/wal/*.wal`).

use std::collections::BTreeMap;

use super::generation::SegmentName;
use crate::domain::limits::SEGMENT_LENGTHS_MAX;

/// What is known of the segments of one generation: memory grows with its WAL indexes and holes, not with segments,
/// and is bounded; the oldest indexes are forgotten first, as retention does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLengths {
    /// By where they begin.
    runs: BTreeMap<SegmentName, Run>,
    /// Where an index was seen to reach, beyond what is known of its segments.
    expected: BTreeMap<u32, u64>,
    /// Everything below was forgotten.
    first: SegmentName,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    /// Segments that follow each other up to this offset.
    Read { end: u64 },
    /// One segment, of which only the name is known.
    Unread,
}

/// A segment that is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentGap {
    /// The name of the missing one, or of the first where several are missing.
    pub missing: SegmentName,
    /// The first one of the same index behind it; `None` at the end of an index.
    pub before: Option<SegmentName>,
}

impl Default for SegmentLengths {
    fn default() -> Self {
        Self { runs: BTreeMap::new(), expected: BTreeMap::new(), first: SegmentName { index: 0, offset: 0 } }
    }
}

impl SegmentLengths {
    /// Takes in a segment that was listed and not read. What it says nothing of is then not called missing.
    pub fn listed(&mut self, name: SegmentName) {
        if name < self.first || self.covers(name) {
            return;
        }
        self.runs.entry(name).or_insert(Run::Unread);
        self.bound();
    }

    /// Takes in the length of a segment that was read.
    pub fn read(&mut self, name: SegmentName, decoded_bytes: u64) {
        if name < self.first || self.covers(name) {
            return;
        }
        let mut end = name.offset.saturating_add(decoded_bytes);
        // Joins the run that begins where it ends, and the one that ends where it begins.
        let next = SegmentName { offset: end, ..name };
        if let Some(Run::Read { end: further }) = self.runs.get(&next).copied().filter(|_| decoded_bytes > 0) {
            self.runs.remove(&next);
            end = further;
        }
        self.runs.remove(&name);
        match self.runs.range_mut(..name).next_back() {
            Some((before, Run::Read { end: joined })) if before.index == name.index && *joined == name.offset => {
                *joined = end;
            }
            _ => {
                self.runs.insert(name, Run::Read { end });
            }
        }
        self.bound();
    }

    /// Takes in that the WAL of an index was seen to be committed up to `end`, its bytes counted from its header.
    pub fn reached(&mut self, index: u32, end: u64) {
        if index >= self.first.index {
            let known = self.expected.entry(index).or_default();
            *known = end.max(*known);
            self.bound();
        }
    }

    /// Forgets all below an index: retention took it.
    pub fn forget_before(&mut self, index: u32) {
        self.first = self.first.max(SegmentName { index, offset: 0 });
        self.runs = self.runs.split_off(&self.first);
        self.expected = self.expected.split_off(&self.first.index);
    }

    /// Whether a segment was read, and need not be again.
    pub fn is_read(&self, name: SegmentName) -> bool {
        name < self.first || self.covers(name)
    }

    /// Segments that were listed and not read.
    pub fn unread(&self) -> usize {
        self.runs.values().filter(|run| **run == Run::Unread).count()
    }

    /// The segments that are known to be missing, in order. Holes that a listing shows are among them, apart from
    /// indexes of which there is nothing at all.
    ///
    /// The newest index may still grow: what was seen of it beyond its segments is not replicated yet, and not missing.
    pub fn check(&self) -> Vec<SegmentGap> {
        let mut gaps = Vec::new();
        // Where the next segment has to begin.
        let mut reached: Option<SegmentName> = None;
        for (name, run) in &self.runs {
            let start = match reached.filter(|reached| reached.index == name.index) {
                Some(reached) => reached.offset,
                None => {
                    gaps.extend(reached.and_then(|reached| self.missing_end(reached)));
                    // What came before may have been forgotten.
                    if self.first.index == name.index && self.first.offset > 0 { name.offset } else { 0 }
                }
            };
            if start < name.offset {
                gaps.push(SegmentGap { missing: SegmentName { offset: start, ..*name }, before: Some(*name) });
            }
            let end = match run {
                Run::Read { end } => *end,
                // It may reach any of those behind it.
                Run::Unread => u64::MAX,
            };
            reached = Some(SegmentName { offset: end, ..*name });
        }
        gaps
    }

    /// The end of an index whose segments are known to reach this far, if it was seen to be longer.
    fn missing_end(&self, reached: SegmentName) -> Option<SegmentGap> {
        let expected = self.expected.get(&reached.index)?;
        (reached.offset < *expected).then_some(SegmentGap { missing: reached, before: None })
    }

    fn covers(&self, name: SegmentName) -> bool {
        self.runs.range(..=name).next_back().is_some_and(|(before, run)| match run {
            Run::Read { end } => before.index == name.index && (name.offset < *end || *before == name),
            Run::Unread => false,
        })
    }

    fn bound(&mut self) {
        while self.runs.len() > SEGMENT_LENGTHS_MAX {
            self.runs.pop_first();
            self.first = self.runs.first_key_value().map_or(self.first, |(name, _)| *name);
        }
        while self.expected.len() > SEGMENT_LENGTHS_MAX {
            self.expected.pop_first();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(index: u32, offset: u64) -> SegmentName {
        SegmentName { index, offset }
    }

    /// Lengths of the segments of two indexes, read in this order.
    fn lengths(segments: &[(u32, u64, u64)]) -> SegmentLengths {
        let mut lengths = SegmentLengths::default();
        segments.iter().for_each(|(index, offset, length)| lengths.read(name(*index, *offset), *length));
        lengths
    }

    fn gap(missing: (u32, u64), before: Option<(u32, u64)>) -> SegmentGap {
        let before = before.map(|(index, offset)| name(index, offset));
        SegmentGap { missing: name(missing.0, missing.1), before }
    }

    #[test]
    fn a_missing_segment_in_the_middle_is_exact() {
        let whole = [(0, 0, 100), (0, 100, 50), (0, 150, 50), (1, 0, 100), (1, 100, 10)];
        assert_eq!(lengths(&whole).check(), []);
        for without in 0..whole.len() {
            let mut rest = whole.to_vec();
            let (index, offset, _) = rest.remove(without);
            let behind =
                rest.get(without).filter(|(next, ..)| *next == index).map(|(index, offset, _)| (*index, *offset));
            let expected = behind.map(|behind| gap((index, offset), Some(behind)));
            assert_eq!(lengths(&rest).check(), expected.into_iter().collect::<Vec<_>>());
        }
        assert_eq!(lengths(&whole).runs.len(), 2, "memory is for indexes and holes");
    }

    #[test]
    fn a_missing_end_is_seen_only_by_who_saw_it() {
        let mut lengths = lengths(&[(0, 0, 100), (1, 0, 100)]);
        lengths.reached(0, 100);
        lengths.reached(1, 300);
        assert_eq!(lengths.check(), [], "what the newest index lacks is not replicated yet");
        lengths.reached(0, 150);
        lengths.reached(0, 120);
        assert_eq!(lengths.check(), [gap((0, 100), None)]);
        lengths.read(name(2, 0), 32);
        assert_eq!(lengths.check(), [gap((0, 100), None), gap((1, 100), None)]);
        lengths.forget_before(1);
        assert_eq!(lengths.check(), [gap((1, 100), None)]);
        lengths.read(name(1, 100), 200);
        assert_eq!(lengths.check(), []);
    }

    #[test]
    fn what_was_not_read_is_not_called_missing() {
        let mut lengths = lengths(&[(0, 0, 100), (0, 300, 50)]);
        lengths.listed(name(0, 100));
        lengths.reached(0, 1000);
        lengths.listed(name(1, 0));
        assert_eq!((lengths.check(), lengths.unread()), (vec![gap((0, 350), None)], 2));
        lengths.read(name(0, 100), 100);
        assert_eq!(lengths.check()[0], gap((0, 200), Some((0, 300))));
        assert!(lengths.is_read(name(0, 100)) && !lengths.is_read(name(0, 200)) && !lengths.is_read(name(1, 0)));
        lengths.listed(name(0, 100));
        assert_eq!(lengths.unread(), 1);
    }

    #[test]
    fn the_oldest_are_forgotten_first() {
        let mut lengths = SegmentLengths::default();
        let count = SEGMENT_LENGTHS_MAX as u64 + 5;
        // Every second one is missing.
        (0..count).for_each(|n| lengths.read(name(0, n * 200), 100));
        assert_eq!(lengths.runs.len(), SEGMENT_LENGTHS_MAX);
        let gaps = lengths.check();
        assert_eq!((gaps.len(), gaps[0]), (SEGMENT_LENGTHS_MAX - 1, gap((0, 1100), Some((0, 1200)))));
        assert!(lengths.is_read(name(0, 0)), "what is forgotten is not read again");
    }

    proptest! {
        #[test]
        fn any_order_finds_what_is_missing(
            indexes in prop::collection::vec(prop::collection::vec((1..500u64, 0..4u8), 1..12), 1..5),
            order in any::<u64>(),
            ends: bool,
        ) {
            let mut present = Vec::new();
            let mut expected = Vec::new();
            let mut lengths = SegmentLengths::default();
            for (index, segments) in indexes.iter().enumerate() {
                let (mut offset, mut hole) = (0, None);
                for (length, kind) in segments {
                    let name = name(index as u32, offset);
                    offset += length;
                    // One in four is lost.
                    if *kind == 0 {
                        hole = hole.or(Some(name));
                        continue;
                    }
                    expected.extend(hole.take().map(|missing| SegmentGap { missing, before: Some(name) }));
                    present.push((name, *length));
                }
                let any = present.iter().any(|(name, _)| name.index == index as u32);
                if ends {
                    lengths.reached(index as u32, offset);
                    let seen = any && indexes[index + 1..].iter().flatten().any(|(_, kind)| *kind != 0);
                    expected.extend(hole.filter(|_| seen).map(|missing| SegmentGap { missing, before: None }));
                }
            }
            let mut shuffled = present.clone();
            shuffled.sort_by_key(|(name, length)| (name.offset ^ length ^ u64::from(name.index)).wrapping_mul(order | 1));
            for (name, _) in &shuffled {
                lengths.listed(*name);
            }
            for (name, length) in &shuffled {
                prop_assert!(!lengths.is_read(*name));
                lengths.read(*name, *length);
                prop_assert!(lengths.is_read(*name));
            }
            prop_assert_eq!(lengths.unread(), 0);
            prop_assert_eq!(lengths.check(), expected);
        }
    }
}
