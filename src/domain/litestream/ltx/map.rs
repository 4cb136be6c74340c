//! The coverage map of a v0.5 replica: what Litestream's plan gives for every instant.

mod tail;

use std::collections::BTreeSet;

use jiff::Timestamp;

pub use self::tail::LtxTail;
use super::SNAPSHOT_LEVEL;
use super::name::{LtxFile, LtxName};
use super::plan::{PlanError, PlanTarget, plan};
use super::txid::Txid;
use crate::domain::limits::TIMELINE_FILES_MAX;
use crate::domain::litestream::hole::Hole;
use crate::domain::litestream::layout::LevelKeys;
use crate::domain::litestream::runs::Runs;
use crate::domain::timeline::{Blocked, Step, TimelineReport, spans};

/// Files that are known to be damaged: nothing is restored from them.
#[derive(Clone, Debug)]
pub struct Damaged {
    keys: LevelKeys,
    files: BTreeSet<(u8, LtxName)>,
}

impl Damaged {
    /// Of these keys, those that are keys of files.
    pub fn new(keys: LevelKeys, damaged: &BTreeSet<String>) -> Self {
        Self { keys, files: damaged.iter().filter_map(|key| keys.parse_key(key)).collect() }
    }

    fn holds(&self, file: &LtxFile) -> bool {
        !self.files.is_empty() && self.files.contains(&(file.level, file.name()))
    }
}

/// All files of a replica, or the newest ones and what the older ones come to, on the way to a map.
#[derive(Clone, Debug, Default)]
pub struct LtxTimeline {
    files: Vec<LtxFile>,
    older: Older,
}

/// The sum of the oldest files, when there are too many.
#[derive(Clone, Debug, Default)]
struct Older {
    runs: Runs,
    snapshot: Option<LtxFile>,
    /// When the newest of them was made.
    until: Option<Timestamp>,
}

/// The result of a restore to an instant.
#[derive(Clone, Debug, PartialEq)]
pub struct LtxInstant {
    /// The files that it is restored from; empty when nothing leads anywhere.
    pub files: Vec<LtxFile>,
    /// The TXID whose state it is.
    pub txid: Option<Txid>,
    /// When that state was replicated.
    pub created: Option<Timestamp>,
    /// Something newer than that, and before the instant, is not reached.
    pub blocked: Option<Blocked>,
}

impl LtxTimeline {
    pub fn insert(&mut self, file: LtxFile) {
        self.files.push(file);
        if self.files.len() > TIMELINE_FILES_MAX {
            self.fold();
        }
    }

    /// The files, unless the oldest were put together.
    pub fn files(&self) -> Option<&[LtxFile]> {
        self.older.until.is_none().then_some(&self.files)
    }

    /// Puts the older half together.
    fn fold(&mut self) {
        self.files.sort_unstable_by_key(|file| file.created);
        for file in self.files.drain(..TIMELINE_FILES_MAX / 2) {
            self.older.until = self.older.until.max(Some(file.created));
            if file.level == SNAPSHOT_LEVEL {
                let newest = self.older.snapshot.is_none_or(|snapshot| snapshot.name() <= file.name());
                self.older.snapshot = if newest { Some(file) } else { self.older.snapshot };
            } else {
                self.older.runs.insert(file.run());
            }
        }
    }

    /// The map; the last state of it lasts `until`.
    pub fn map(self, damaged: &Damaged, until: Timestamp) -> TimelineReport {
        let cut_off_at = self.older.until;
        let (steps, holes) = self.steps(damaged);
        let report = TimelineReport::of(spans(&steps, &holes, until));
        TimelineReport { cut_off_at, listed_at: Some(until), ..report }
    }

    fn steps(mut self, damaged: &Damaged) -> (Vec<Step>, Vec<Blocked>) {
        self.files.sort_unstable_by_key(|file| file.created);
        let (bad, good): (Vec<LtxFile>, Vec<LtxFile>) = if damaged.files.is_empty() {
            (Vec::new(), self.files)
        } else {
            self.files.into_iter().partition(|file| damaged.holds(file))
        };
        let mut walk = Walk::new(damaged.keys, &good, &bad, self.older);
        let mut start = 0;
        let mut bad_times = bad.iter().map(|file| file.created).peekable();
        loop {
            let good_at = good.get(start).map(|file| file.created);
            let at = match (good_at, bad_times.peek().copied()) {
                (Some(one), Some(other)) => one.min(other),
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            while bad_times.next_if(|time| *time <= at).is_some() {}
            let batch = good[start..].iter().take_while(|file| file.created == at).count();
            walk.admit(at, &good[start..start + batch]);
            start += batch;
        }
        (walk.steps, walk.holes)
    }
}

/// Why a chain ends too early.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Break {
    hole: Hole<Txid>,
    damaged: Option<LtxFile>,
}

impl Break {
    /// When the first state was made that is missing is not known: its own file is not there.
    fn is_undated(self) -> bool {
        self.damaged.is_none_or(|file| file.max.0 != self.hole.after.0.saturating_add(1))
    }

    fn blocked(self, keys: LevelKeys) -> Blocked {
        let Hole { after, before } = self.hole;
        let (first, last) = (Txid(after.0.saturating_add(1)), Txid(before.0.saturating_sub(1)));
        let key = self.damaged.map(|file| keys.key(file.level, file.name()));
        let detail = match &key {
            Some(key) => format!("{key} is damaged"),
            None if after.0 == 0 => "there is no snapshot before it, and no file that starts at TXID 1".to_owned(),
            None if first == last => format!("TXID {first} is in no file"),
            None => format!("TXIDs {first} to {last} are in no file"),
        };
        Blocked { hole: self.hole.spoken(), key, detail }
    }
}

/// All files, which tell a hole from what only compaction thinned: TXIDs whose own files are gone and whose compacted
/// file was made a little later are not missing.
struct Ground<'a> {
    all: Runs,
    bad: &'a [LtxFile],
}

impl<'a> Ground<'a> {
    fn new(files: &[LtxFile], bad: &'a [LtxFile], older: &Runs) -> Self {
        let mut increments: Vec<&LtxFile> = files.iter().filter(|file| file.level < SNAPSHOT_LEVEL).collect();
        increments.sort_unstable_by_key(|file| file.min);
        let mut all = older.clone();
        increments.into_iter().for_each(|file| all.insert(file.run()));
        Self { all, bad }
    }

    /// The break of the chain after `end`, where the admitted files are in `admitted` and those made before `at`, or
    /// then, count.
    fn break_behind(&self, admitted: &Runs, end: u64, at: impl Fn(Timestamp) -> bool) -> Option<Break> {
        let reach = self.all.reach(end);
        let next = admitted.next_behind(reach).map(|run| run.min);
        let newer_bad = self.bad.iter().filter(|file| file.max.0 > reach && at(file.created));
        let first_bad = newer_bad.min_by_key(|file| (file.min, file.level, file.max)).copied();
        let before = match (next, first_bad) {
            (Some(next), _) => next,
            (None, Some(bad)) => bad.max.0.saturating_add(1),
            (None, None) => return None,
        };
        let damaged = first_bad.filter(|file| file.min.0 < before);
        Some(Break { hole: Hole { after: Txid(reach), before: Txid(before) }, damaged })
    }
}

/// The files in the order in which they were made, and what each changes.
struct Walk<'a> {
    keys: LevelKeys,
    ground: Ground<'a>,
    runs: Runs,
    snapshot: Option<LtxFile>,
    steps: Vec<Step>,
    holes: Vec<Blocked>,
    /// The break of the chain of the newest step.
    open: Option<Break>,
}

impl<'a> Walk<'a> {
    fn new(keys: LevelKeys, good: &[LtxFile], bad: &'a [LtxFile], older: Older) -> Self {
        let ground = Ground::new(good, bad, &older.runs);
        let mut walk = Self {
            keys,
            ground,
            runs: older.runs,
            snapshot: older.snapshot,
            steps: Vec::new(),
            holes: Vec::new(),
            open: None,
        };
        if let Some(until) = older.until {
            walk.step(until, None);
        }
        walk
    }

    fn admit(&mut self, at: Timestamp, batch: &[LtxFile]) {
        for file in batch {
            if file.level < SNAPSHOT_LEVEL {
                self.runs.insert(file.run());
            } else if self.snapshot.is_none_or(|snapshot| snapshot.name() <= file.name()) {
                self.snapshot = Some(*file);
            }
        }
        let end = self.end();
        let levels = || {
            let ending = batch.iter().filter(|file| file.max.0 == end && file.level < SNAPSHOT_LEVEL);
            ending.map(|file| file.level)
        };
        // What leads over lost states is a compacted file, though one of level 0 may be left of it.
        let class = if self.loses(end) { levels().max() } else { levels().min() };
        self.step(at, class);
    }

    fn end(&self) -> u64 {
        self.runs.reach(self.snapshot.map_or(0, |snapshot| snapshot.max.0))
    }

    fn loses(&self, end: u64) -> bool {
        self.steps.last().is_some_and(|last| end > last.end.saturating_add(1))
    }

    fn step(&mut self, at: Timestamp, class: Option<u8>) {
        let end = self.end();
        let broken = self.ground.break_behind(&self.runs, end, |created| created <= at);
        // Without a start there is nothing to restore, whether or not there is a hole.
        let nothing = Break { hole: Hole { after: Txid(0), before: Txid(1) }, damaged: None };
        let broken = broken.or_else(|| (end == 0).then_some(nothing));
        let last = self.steps.last();
        if last.is_some_and(|last| last.end == end) && broken == self.open {
            return;
        }
        let lost = self.loses(end);
        let since_before = broken.is_some_and(Break::is_undated);
        if let Some(new) = broken.filter(|_| broken != self.open || self.holes.is_empty()) {
            self.holes.push(new.blocked(self.keys));
        }
        self.open = broken;
        let hole = broken.is_some().then(|| self.holes.len().saturating_sub(1));
        self.steps.push(Step { at, end, lost, class, hole, since_before });
    }
}

/// The result of a restore to the state before an instant, by Litestream's own plan, and what it does not reach.
pub fn instant(files: &[LtxFile], damaged: &Damaged, target: PlanTarget) -> Result<LtxInstant, PlanError> {
    let (bad, good): (Vec<LtxFile>, Vec<LtxFile>) = files.iter().partition(|file| damaged.holds(file));
    let before = |created: Timestamp| match target {
        PlanTarget::Time(time) => created < time,
        PlanTarget::Latest | PlanTarget::Txid(_) => true,
    };
    let planned = match plan(&good, target) {
        Ok(files) => files,
        // Older releases restore what is before the hole; what that is, is what is asked here.
        Err(PlanError::NotContiguous { .. }) => plan(&good, PlanTarget::Time(Timestamp::MAX))?,
        Err(PlanError::NoFiles) => Vec::new(),
        Err(error @ PlanError::TxidMissing { .. }) => return Err(error),
    };
    let txid = planned.last().map(|file| file.max);
    let end = txid.unwrap_or(Txid(0));
    let mut admitted = Runs::default();
    let increments = good.iter().filter(|file| file.level < SNAPSHOT_LEVEL && before(file.created));
    let mut increments: Vec<&LtxFile> = increments.collect();
    increments.sort_unstable_by_key(|file| file.min);
    increments.into_iter().for_each(|file| admitted.insert(file.run()));
    let broken = match target {
        PlanTarget::Txid(_) => None,
        _ => Ground::new(&good, &bad, &Runs::default()).break_behind(&admitted, end.0, before),
    };
    let created = good.iter().filter(|file| file.max == end).map(|file| file.created).min();
    Ok(LtxInstant { files: planned, txid, created, blocked: broken.map(|broken| broken.blocked(damaged.keys)) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use std::time::Duration;

    use super::*;
    use crate::domain::limits::TIMELINE_TAIL_MAX;
    use crate::domain::timeline::Span;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn file((level, min, max, at): (u8, u64, u64, i64)) -> LtxFile {
        LtxFile { level, min: Txid(min), max: Txid(max), size: 200, created: second(at) }
    }

    fn files(files: &[(u8, u64, u64, i64)]) -> Vec<LtxFile> {
        files.iter().copied().map(file).collect()
    }

    fn timeline(files: &[LtxFile]) -> LtxTimeline {
        let mut timeline = LtxTimeline::default();
        files.iter().for_each(|file| timeline.insert(*file));
        timeline
    }

    fn damaged(names: &[(u8, u64, u64)]) -> Damaged {
        let names = names.iter().map(|(level, min, max)| (*level, LtxName { min: Txid(*min), max: Txid(*max) }));
        Damaged { keys: LevelKeys::Plain, files: names.collect() }
    }

    fn shown(map: &TimelineReport) -> String {
        let span = |span: &Span| {
            let (from, until) = (span.from.as_second(), span.until.as_second());
            match &span.blocked {
                Some(blocked) => format!("{from}..{until} {}", blocked.detail),
                None => format!("{from}..{until} {}@{}", span.points, span.resolution_seconds),
            }
        };
        map.spans.iter().map(span).collect::<Vec<_>>().join(", ")
    }

    fn check(list: &[(u8, u64, u64, i64)], bad: &[(u8, u64, u64)], expected: &str) {
        let map = timeline(&files(list)).map(&damaged(bad), second(100));
        assert_eq!(shown(&map).replace("00000000000000", "…"), expected);
    }

    const WHOLE: &[(u8, u64, u64, i64)] = &[(9, 1, 1, 10), (0, 2, 2, 20), (0, 3, 3, 30), (0, 4, 4, 40), (0, 5, 5, 50)];

    #[test]
    fn a_whole_chain_is_one_span() {
        check(WHOLE, &[], "10..100 5@0");
        check(&[], &[], "");
        check(&WHOLE[1..], &[], "20..100 there is no snapshot before it, and no file that starts at TXID 1");
    }

    #[test]
    fn a_hole_blocks_until_a_snapshot_leads_on() {
        let mut hole = WHOLE.to_vec();
        hole.remove(2);
        check(&hole, &[], "10..20 2@0, 20..100 TXID …03 is in no file");
        hole.remove(2);
        hole.push((9, 1, 6, 60));
        check(&hole, &[], "10..20 2@0, 20..60 TXIDs …03 to …04 are in no file, 60..100 1@0");
    }

    #[test]
    fn a_damaged_file_is_a_hole_with_a_name() {
        check(WHOLE, &[(0, 3, 3)], "10..30 2@0, 30..100 ltx/0/…03-…03.ltx is damaged");
        // The newest one is missed as well, though there is nothing behind it.
        check(WHOLE, &[(0, 5, 5)], "10..50 4@0, 50..100 ltx/0/…05-…05.ltx is damaged");
        check(WHOLE, &[(9, 1, 1)], "10..100 ltx/9/…01-…01.ltx is damaged");
        // Another level bridges it.
        let mut bridged = WHOLE.to_vec();
        bridged.push((1, 2, 4, 40));
        check(&bridged, &[(0, 3, 3)], "10..20 1@0, 20..40 1@20, 40..100 2@0");
    }

    /// Level 0 is deleted file by file, and what is left begins inside a compacted file.
    #[test]
    fn what_compaction_thinned_is_no_hole() {
        let thinned = &[
            (9, 1, 1, 10),
            (1, 2, 11, 40),
            (1, 12, 21, 70),
            (0, 18, 18, 65),
            (0, 19, 19, 66),
            (0, 20, 20, 67),
            (0, 21, 21, 70),
            (0, 22, 22, 71),
        ];
        check(thinned, &[], "10..70 2@30, 70..100 2@0");
    }

    #[test]
    fn too_many_files_are_put_together() {
        let mut timeline = LtxTimeline::default();
        timeline.insert(file((9, 1, 1, 1)));
        let count = TIMELINE_FILES_MAX as u64 + 10;
        (2..count).for_each(|txid| timeline.insert(file((0, txid, txid, txid.cast_signed()))));
        assert!(timeline.files().is_none());
        let map = timeline.map(&damaged(&[]), second(2 * count.cast_signed()));
        assert_eq!(map.cut_off_at, Some(second(TIMELINE_FILES_MAX as i64 / 2)));
        assert_eq!((map.gaps, map.spans.len(), map.since), (0, 1, map.cut_off_at));
    }

    #[test]
    fn a_tail_claims_what_will_be_left() {
        let map = timeline(&files(WHOLE)).map(&damaged(&[]), second(100));
        let mut tail = LtxTail::new(second(100), Some(Txid(5)), &files(WHOLE), Some(Some(Duration::from_secs(130))));
        (6..=40).for_each(|txid| tail.insert(file((0, txid, txid, 100 + txid.cast_signed()))));
        assert_eq!(shown(&tail.extend(&map, second(150))), "10..150 40@0");
        tail.insert(file((1, 4, 15, 115)));
        tail.insert(file((1, 16, 25, 125)));
        assert_eq!(tail.points.len(), 2 + 2 + 15);
        assert_eq!(shown(&tail.extend(&map, second(149))), "10..149 40@0");
        // The first file that level 1 holds is of before the map: with it go the states behind it.
        assert_eq!(shown(&tail.extend(&map, second(150))), "10..100 5@0, 100..115 0@15, 115..150 26@0");
        // Level 1 is left when level 2 holds it, and so is level 0 until its own time has come.
        tail.insert(file((2, 4, 25, 125)));
        assert_eq!(shown(&tail.extend(&map, second(245))), "10..100 5@0, 100..115 0@15, 115..245 26@0");
        assert_eq!(shown(&tail.extend(&map, second(246))), "10..100 5@0, 100..125 1@15, 125..246 16@0");
        (41..4000).for_each(|txid| tail.insert(file((0, txid, txid, 100 + txid.cast_signed()))));
        assert!(tail.points.len() <= TIMELINE_TAIL_MAX);
    }

    /// Replicas as Litestream leaves them, and worse.
    fn any_files() -> impl Strategy<Value = Vec<LtxFile>> {
        let increment = (0..4u8, 1..30u64, 0..6u64, 0..60i64);
        let snapshot = (Just(9u8), Just(1u64), 0..20u64, 0..60i64);
        let any = prop_oneof![8 => increment, 1 => snapshot];
        let unique = |files: Vec<(u8, u64, u64, i64)>| -> BTreeMap<(u8, LtxName), LtxFile> {
            let files = files.into_iter().map(|(level, min, more, at)| file((level, min, min + more, at)));
            files.map(|file| ((file.level, file.name()), file)).collect()
        };
        prop::collection::vec(any, 0..40).prop_map(move |files| unique(files).into_values().collect()).prop_shuffle()
    }

    /// A chain that is mostly whole: level 0, compactions of it, snapshots, and some of it lost.
    fn chain() -> impl Strategy<Value = Vec<LtxFile>> {
        let lost = prop::collection::vec(any::<prop::sample::Index>(), 0..6);
        (2..30u64, 1..5u64, 0..25u64, prop::collection::btree_set(1..30u64, 0..3), lost).prop_map(
            |(newest, width, expired, snapshots, lost)| {
                let at = |txid: u64| (txid * 2).cast_signed();
                let mut files: Vec<_> = (expired + 1..=newest).map(|txid| file((0, txid, txid, at(txid)))).collect();
                for min in (1..=newest).step_by(width as usize) {
                    let max = (min + width - 1).min(newest);
                    files.push(file((1, min, max, at(max))));
                }
                files.extend(snapshots.iter().filter(|max| **max <= newest).map(|max| file((9, 1, *max, at(*max)))));
                for index in lost.iter().take(files.len().saturating_sub(1)) {
                    files.remove(index.index(files.len()));
                }
                files
            },
        )
    }

    /// The slow way: which TXIDs between what is reached and what is there are in no file at all.
    fn holey(files: &[LtxFile], bad: &Damaged, end: u64, at: Timestamp) -> bool {
        let good = |file: &&LtxFile| !bad.holds(file);
        let held = |txid: u64| {
            files.iter().filter(good).any(|f| f.level < SNAPSHOT_LEVEL && (f.min.0..=f.max.0).contains(&txid))
        };
        let reach = (end..).find(|txid| !held(txid + 1)).unwrap();
        files.iter().filter(|file| file.created < at).any(|file| {
            let snapshot = file.level == SNAPSHOT_LEVEL;
            let bad = bad.holds(file);
            if bad { file.max.0 > reach } else { !snapshot && file.max.0 > reach }
        })
    }

    proptest! {
        #[test]
        fn every_instant_is_what_the_plan_says(
            files in prop_oneof![any_files(), chain()],
            bad in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        ) {
            let bad: Vec<_> = match files.len() {
                0 => Vec::new(),
                count => bad.iter().map(|index| &files[index.index(count)]).map(|f| (f.level, f.min.0, f.max.0)).collect(),
            };
            let bad = damaged(&bad);
            let good: Vec<LtxFile> = files.iter().filter(|f| !bad.holds(f)).copied().collect();
            let (steps, holes) = timeline(&files).steps(&bad);
            let map = timeline(&files).map(&bad, second(70));
            prop_assert!(steps.windows(2).all(|pair| pair[0].at < pair[1].at));
            for at in 0..70 {
                let at = second(at);
                let end = plan(&good, PlanTarget::Time(at)).map_or(0, |files| files.last().unwrap().max.0);
                let step = steps[..steps.partition_point(|step| step.at < at)].last();
                prop_assert_eq!(step.map_or(0, |step| step.end), end, "at {}", at);
                // Blocked: something is there that is not reached, and no file at all leads to it.
                let blocked = holey(&files, &bad, end, at);
                let found = step.is_some_and(|step| step.hole.is_some());
                let nothing = end == 0 && files.iter().any(|file| file.created < at);
                prop_assert_eq!(found, blocked || nothing, "at {} {:?}", at, step);
                let asked = instant(&files, &bad, PlanTarget::Time(at)).unwrap();
                prop_assert_eq!(asked.txid.map_or(0, |txid| txid.0), end);
                prop_assert_eq!(asked.blocked.is_some(), blocked, "at {} {:?}", at, asked);
                if let (Some(hole), Some(blocked)) = (step.and_then(|step| step.hole), &asked.blocked) {
                    prop_assert_eq!(&holes[hole], blocked);
                }
                // And so does the map, where it says anything.
                if let Some(span) = map.span_at(at) {
                    // The gap of what is missing begins where the state before it was made.
                    prop_assert!(span.blocked.is_some() || !found, "at {} {:?}", at, span);
                } else {
                    prop_assert!(end == 0, "at {}: {:?}", at, map);
                }
            }
            prop_assert!(map.spans.windows(2).all(|pair| pair[0].until == pair[1].from));
        }

        #[test]
        fn a_tail_claims_nothing_that_retention_took(
            listed in 1..40u64, more in 0..60u64, width in 1..8u64, left in 0..100u64, told in any::<bool>(),
        ) {
            let time = |txid: u64| (txid * 2).cast_signed();
            let compacted = |level: u8, txid: u64| {
                let width = width * if level == 1 { 1 } else { 3 };
                txid.is_multiple_of(width).then(|| file((level, txid - width + 1, txid, time(txid))))
            };
            let at = |newest: u64| -> Vec<LtxFile> {
                let raw = (1..=newest).map(|txid| file((0, txid, txid, time(txid))));
                let held = newest - newest % width;
                let raw = raw.filter(|file| file.max.0 > held || time(newest) < file.created.as_second() + left.cast_signed());
                let above = [1, 2].into_iter().flat_map(|level| (1..=newest).filter_map(move |txid| compacted(level, txid)));
                raw.chain(above).collect()
            };
            let newest = listed + more;
            let (before, after) = (at(listed), at(newest));
            let map = timeline(&before).map(&damaged(&[]), second(time(listed)));
            let known = told.then_some(Some(Duration::from_secs(left)));
            let mut tail = LtxTail::new(second(time(listed)), Some(Txid(listed)), &before, known);
            for txid in listed + 1..=newest {
                tail.insert(file((0, txid, txid, time(txid))));
                [1, 2].into_iter().filter_map(|level| compacted(level, txid)).for_each(|file| tail.insert(file));
            }
            let map = tail.extend(&map, second(time(newest)));
            // The map says of what was before it when it was made.
            let from = listed.next_multiple_of(width).min(newest);
            for at in time(from) + 1..=time(newest) {
                let asked = instant(&after, &damaged(&[]), PlanTarget::Time(second(at))).unwrap();
                let lost = ((at - 1) / 2).cast_unsigned() - asked.txid.unwrap().0;
                let span = map.span_at(second(at)).unwrap();
                prop_assert!((lost * 2) as f64 <= span.resolution_seconds, "{} lost at {}: {:?}", lost, at, map.spans);
            }
            // And all that is left, where that is known.
            if told && (left > 2 * newest || width == 1) {
                prop_assert_eq!(map.resolution_seconds(), Some(0.0), "{:?}", map.spans);
                prop_assert_eq!(map.spans.iter().map(|span| span.points).sum::<u64>(), newest);
            }
        }

        #[test]
        fn a_restore_gives_a_state_no_older_than_the_resolution(files in chain()) {
            let map = timeline(&files).map(&damaged(&[]), second(70));
            for at in 0..70 {
                let at = second(at);
                let Some(span) = map.span_at(at).filter(|span| span.blocked.is_none()) else { continue };
                let asked = instant(&files, &damaged(&[]), PlanTarget::Time(at)).unwrap();
                // The states of this replica are two seconds apart: the newest before the instant is known.
                let (txid, newest) = (asked.txid.unwrap().0, files.iter().map(|file| file.max.0).max().unwrap());
                let ideal = ((at.as_second() - 1) / 2).cast_unsigned().min(newest);
                let lost = ideal.saturating_sub(txid) * 2;
                prop_assert!(lost as f64 <= span.resolution_seconds, "{} lost at {}: {:?}", lost, at, span);
            }
        }
    }
}
