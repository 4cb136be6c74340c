//! What came after a coverage map was made.

use std::time::Duration;

use jiff::Timestamp;

use crate::domain::limits::TIMELINE_TAIL_MAX;
use crate::domain::litestream::ltx::SNAPSHOT_LEVEL;
use crate::domain::litestream::ltx::name::LtxFile;
use crate::domain::litestream::ltx::txid::Txid;
use crate::domain::timeline::{Span, Step, TimelineReport, spans};

/// The states that came after a map was made. Of level 0, what another level holds is claimed until retention may have
/// taken the first of it: less than there is, and never more.
#[derive(Clone, Debug, Default)]
pub struct LtxTail {
    /// Where the map ended.
    start: Option<(Timestamp, u64)>,
    /// When the oldest file was made that leads to there and is of level 0 alone.
    oldest: Option<Timestamp>,
    /// How long files of level 0 are left.
    left: Duration,
    /// In ascending order of TXIDs.
    pub(super) points: Vec<Point>,
}

/// One state, or all those of level 0 that a file of another level holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// When the first and the last of them were replicated.
    from: Timestamp,
    until: Timestamp,
    /// The first TXID of the first file, and the last one of the last.
    min: u64,
    end: u64,
    level: u8,
    count: u32,
    /// When the files of the states may be gone; `None`: not before something else shows.
    left_until: Option<Timestamp>,
}

impl Point {
    fn of(file: LtxFile) -> Self {
        let LtxFile { min, max, level, created, .. } = file;
        Self { from: created, until: created, min: min.0, end: max.0, level, count: 1, left_until: None }
    }
}

impl LtxTail {
    /// Goes on from a map that was made of `files` at `at` and ends at `end`. Of level 0, files are left for `level0` (`None`:
    /// for ever) where that is known, and else as long as some of these were.
    pub fn new(at: Timestamp, end: Option<Txid>, files: &[LtxFile], level0: Option<Option<Duration>>) -> Self {
        let above = files.iter().filter(|file| (1..SNAPSHOT_LEVEL).contains(&file.level)).map(|file| file.max).max();
        let (mut left, mut oldest) = (Duration::ZERO, None);
        for file in files.iter().filter(|file| file.level == 0) {
            if Some(file.max) <= above {
                left = left.max(at.duration_since(file.created).try_into().unwrap_or_default());
            } else {
                oldest = Some(oldest.map_or(file.created, |oldest: Timestamp| oldest.min(file.created)));
            }
        }
        let left = level0.map_or(left, |level0| level0.unwrap_or(Duration::MAX));
        Self { start: end.map(|end| (at, end.0)), oldest, left, points: Vec::new() }
    }

    /// Adds a file, in the order of its level's listing.
    pub fn insert(&mut self, file: LtxFile) {
        let Some((_, start)) = self.start.filter(|(_, start)| file.max.0 > *start && file.level < SNAPSHOT_LEVEL)
        else {
            return;
        };
        debug_assert!(self.points.first().is_none_or(|point| point.end > start));
        if file.level > 0 {
            self.hold(&file, start);
        }
        let at = self.points.partition_point(|point| point.end < file.max.0);
        match self.points.get_mut(at).filter(|point| point.end == file.max.0) {
            Some(point) => (point.min, point.level) = (point.min.min(file.min.0), point.level.max(file.level)),
            None => self.points.insert(at, Point::of(file)),
        }
        if self.points.len() > TIMELINE_TAIL_MAX {
            let mut odd = false;
            self.points.retain(|_| {
                odd = !odd;
                !odd
            });
        }
    }

    /// Puts those states of level 0 together that a file of another level holds: they are left together, because nothing leads
    /// to one whose predecessor is gone.
    fn hold(&mut self, file: &LtxFile, start: u64) {
        self.points.retain(|point| point.left_until.is_none_or(|left| file.created < left));
        let inside = |point: &Point| file.min.0 <= point.min && point.end < file.max.0;
        let is_held = |point: &Point| point.level == 0 && point.left_until.is_none() && inside(point);
        let first = self.points.iter().position(is_held);
        let mut held = self.points.extract_if(.., |point| is_held(point));
        let Some(mut run) = held.next() else { return };
        let mut end = Some(run.end);
        for point in held {
            if end.and_then(|end| end.checked_add(1)) == Some(point.min) {
                (run.until, run.end, run.count) = (point.until, point.end, run.count.saturating_add(point.count));
                end = Some(point.end);
            } else {
                end = None;
            }
        }
        // What the map ends with leads to the first one.
        let before = (file.min.0 <= start).then_some(self.oldest).flatten();
        let led = run.min == file.min.0 || (file.min.0 <= start && run.min == start.saturating_add(1));
        let oldest = before.map_or(run.from, |before| before.min(run.from));
        // The last instant there is, if that is too far away.
        let left_until = oldest.checked_add(self.left).unwrap_or(Timestamp::MAX);
        if let Some(at) = first.filter(|_| led && file.created < left_until) {
            self.points.insert(at, Point { left_until: Some(left_until), ..run });
        }
    }

    /// The map with what came later.
    pub fn extend(&self, map: &TimelineReport, until: Timestamp) -> TimelineReport {
        let Some((start, end)) = self.start.filter(|_| map.restorable_now()) else {
            return map.extended(Vec::new(), until);
        };
        let mut last = Step { at: start, end, lost: false, class: None, hole: None, since_before: false };
        let mut steps = vec![last];
        for point in self.points.iter().filter(|point| point.left_until.is_none_or(|left| until < left)) {
            for index in 1..=point.count {
                let next = point.min.max(last.end.saturating_add(1));
                let (at, end) = if index == point.count { (point.until, point.end) } else { (point.from, next) };
                let lost = end > last.end.saturating_add(1);
                let at = last.at.max(at);
                last = Step { at, end, lost, class: Some(point.level), hole: None, since_before: false };
                steps.push(last);
            }
        }
        let mut more: Vec<Span> = spans(&steps, &[], until);
        if let Some(first) = more.first_mut() {
            // The state at the end of the map is counted there.
            first.points = first.points.saturating_sub(1);
        }
        map.extended(more, until)
    }
}
