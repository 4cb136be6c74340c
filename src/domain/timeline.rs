//! The coverage map: to which instants a replica can be restored, how exactly, and what stands in the way of the others.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::limits::TIMELINE_SPANS_MAX;
use super::litestream::Hole;

/// Neighbours whose states are so many times further apart than each other's stay apart in the map.
const COARSER: f64 = 3.0;

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Span {
    /// Where the stretch begins.
    pub from: Timestamp,
    /// Where the stretch ends.
    pub until: Timestamp,
    /// States that can be told apart in it.
    pub points: u64,
    /// The longest time between two states of which those between them are lost, because a compacted file holds only the
    /// last one: a restore to an instant gives a state at most so much older. 0: no state that was replicated is lost.
    pub resolution_seconds: f64,
    /// The median time between two states of which those between them are lost. `None` where nothing is lost.
    pub typical_seconds: Option<f64>,
    /// What stands in the way of a restore; `None`: every instant in the stretch restores.
    pub blocked: Option<Box<Blocked>>,
}

impl Span {
    /// In seconds.
    pub fn duration(&self) -> f64 {
        self.until.duration_since(self.from).max(SignedDuration::ZERO).as_secs_f64()
    }
}

/// The obstacle to a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Blocked {
    #[serde(flatten)]
    pub hole: Hole,
    /// The object that is known to be damaged, if that is why.
    pub key: Option<String>,
    /// What stands in the way, in a sentence.
    pub detail: String,
}

/// A release of Litestream that does not do what is asked, and what it would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Caveat {
    /// The releases of Litestream, such as `0.5.8 to 0.5.9`.
    pub releases: String,
    /// What they would do, in a sentence.
    pub detail: String,
}

/// The coverage map of one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TimelineReport {
    /// Stretches of time, oldest first; what is before the first one cannot be restored.
    pub spans: Vec<Span>,
    /// Stretches that cannot be restored.
    pub gaps: u64,
    /// The longest stretch that cannot be restored; `None` when there is none.
    pub largest_gap_seconds: Option<f64>,
    /// Where releases of Litestream differ.
    pub caveats: Vec<Caveat>,
    /// The first instant that can be restored.
    pub since: Option<Timestamp>,
    /// When everything was listed. What came later is in the map; what retention took since is not known, so that the
    /// oldest and the finest of it may be gone.
    pub listed_at: Option<Timestamp>,
    /// There were more objects than a map is made of: it begins here, though older instants may restore.
    pub cut_off_at: Option<Timestamp>,
}

impl TimelineReport {
    /// The coarsest resolution of what can be restored, in seconds; `None` when nothing can.
    pub fn resolution_seconds(&self) -> Option<f64> {
        let free = self.spans.iter().filter(|span| span.blocked.is_none());
        free.map(|span| span.resolution_seconds).reduce(f64::max)
    }

    /// The latest state restores.
    pub fn restorable_now(&self) -> bool {
        self.spans.last().is_some_and(|span| span.blocked.is_none())
    }

    /// The first instant from which on everything can be restored; `None` where the latest state cannot.
    pub fn unbroken_since(&self) -> Option<Timestamp> {
        self.spans.iter().rev().take_while(|span| span.blocked.is_none()).last().map(|span| span.from)
    }

    /// The span that holds an instant; the last one also holds what is later.
    pub fn span_at(&self, at: Timestamp) -> Option<&Span> {
        let later = self.spans.partition_point(|span| span.from < at);
        self.spans.get(later.checked_sub(1)?)
    }

    /// A map of these spans, which are in order and follow each other.
    pub(super) fn of(spans: Vec<Span>) -> Self {
        let mut this = Self { spans: merged(spans), ..Self::default() };
        this.count();
        this
    }

    /// The map with what came after it, `until` an instant at which nothing else was there.
    pub fn extended(&self, more: Vec<Span>, until: Timestamp) -> Self {
        let mut spans = self.spans.clone();
        spans.extend(more);
        let mut this = Self { spans: merged(spans), ..self.clone() };
        if let Some(last) = this.spans.last_mut() {
            last.until = last.until.max(until);
        }
        this.count();
        this
    }

    /// The map as if its last stretch ended then.
    pub fn ending(&self, until: Timestamp) -> Self {
        let mut this = self.clone();
        if let Some(last) = this.spans.last_mut() {
            last.until = until;
        }
        this.count();
        this
    }

    fn count(&mut self) {
        let gaps = || self.spans.iter().filter(|span| span.blocked.is_some());
        (self.gaps, self.largest_gap_seconds) = (gaps().count() as u64, gaps().map(Span::duration).reduce(f64::max));
        self.since = self.spans.iter().find(|span| span.blocked.is_none()).map(|span| span.from);
    }
}

/// From an instant on, and until that of the next step, a restore gives the same state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) at: Timestamp,
    /// The number of the state, growing: the last TXID, or how many segments are applied.
    pub(super) end: u64,
    /// States between the step before and this one were there once.
    pub(super) lost: bool,
    /// How coarse the file is that leads here: steps of one class make one span. `None`: as those around it.
    pub(super) class: Option<u8>,
    /// The obstacle, as an index into all obstacles.
    pub(super) hole: Option<usize>,
    /// Whether the missing part may have been written at any time since the previous step.
    pub(super) since_before: bool,
}

impl Step {
    /// Nothing is restored, and no object that is damaged would change that.
    fn nothing(&self, holes: &[Blocked]) -> bool {
        let keyed = self.hole.and_then(|hole| holes.get(hole)).is_some_and(|blocked| blocked.key.is_some());
        self.end == 0 && !keyed
    }
}

/// The spans of steps, which are in order; the last one lasts `until`. Nothing that comes before the first restorable
/// state is a span, unless it is all there is or an object that is damaged would have led to it.
pub(super) fn spans(steps: &[Step], holes: &[Blocked], until: Timestamp) -> Vec<Span> {
    let first = steps.iter().position(|step| !step.nothing(holes)).unwrap_or(0);
    let steps = &steps[first..];
    let mut drawing = Drawing { holes, spans: Vec::new(), lost: Vec::new(), kind: None };
    let mut class = None;
    for (index, step) in steps.iter().enumerate() {
        let next = steps.get(index + 1);
        // Which states are missing before the next one says how exact this stretch is.
        class = next.and_then(|next| next.class).or(class);
        let end = next.map_or_else(|| until.max(step.at), |next| next.at);
        let undated = next.filter(|next| next.since_before).and_then(|next| next.hole);
        match (step.hole, undated) {
            (Some(hole), _) => drawing.block(hole, step.at, end),
            (None, Some(hole)) => {
                // The state itself can be had; whether any later one is it, nobody knows.
                drawing.restorable(class, step.at, step.at, false);
                drawing.block(hole, step.at, end);
            }
            (None, None) => {
                let lost = next.is_some_and(|next| next.lost && next.hole.is_none());
                drawing.restorable(class, step.at, end, lost);
            }
        }
    }
    drawing.close();
    drawing.spans
}

/// Spans that are being put together.
struct Drawing<'a> {
    holes: &'a [Blocked],
    spans: Vec<Span>,
    /// Seconds between those states of the newest span of which others between them are lost.
    lost: Vec<f64>,
    /// The kind of the newest span: of a class, or blocked by a hole.
    kind: Option<(Option<u8>, Option<usize>)>,
}

impl Drawing<'_> {
    /// One more state, which lasts until another one.
    fn restorable(&mut self, class: Option<u8>, from: Timestamp, until: Timestamp, lost: bool) {
        if let Some(span) = self.span((class, None), from, until) {
            span.points += 1;
        }
        if lost {
            self.lost.push(until.duration_since(from).as_secs_f64());
        }
    }

    fn block(&mut self, hole: usize, from: Timestamp, until: Timestamp) {
        self.span((None, Some(hole)), from, until);
    }

    fn span(&mut self, kind: (Option<u8>, Option<usize>), from: Timestamp, until: Timestamp) -> Option<&mut Span> {
        if self.kind != Some(kind) {
            self.close();
            self.kind = Some(kind);
            let blocked = kind.1.and_then(|hole| self.holes.get(hole)).cloned().map(Box::new);
            let (points, resolution_seconds, typical_seconds) = (0, 0.0, None);
            self.spans.push(Span { from, until, points, resolution_seconds, typical_seconds, blocked });
        }
        let span = self.spans.last_mut()?;
        span.until = until;
        Some(span)
    }

    /// Writes down how far apart the states of the newest span are.
    fn close(&mut self) {
        self.lost.sort_unstable_by(f64::total_cmp);
        if let (Some(span), Some(longest)) = (self.spans.last_mut(), self.lost.last()) {
            span.resolution_seconds = *longest;
            span.typical_seconds = self.lost.get(self.lost.len() / 2).copied();
        }
        self.lost.clear();
    }
}

/// Joins neighbours that are much the same, and the oldest ones when there are too many.
fn merged(spans: Vec<Span>) -> Vec<Span> {
    let mut out: Vec<Span> = Vec::new();
    for span in spans {
        match out.last_mut().filter(|last| alike(last, &span)) {
            Some(last) => join(last, span),
            None => out.push(span),
        }
    }
    if out.len() > TIMELINE_SPANS_MAX {
        let rest = out.split_off(out.len() + 1 - TIMELINE_SPANS_MAX);
        let gaps = out.iter().filter(|span| span.blocked.is_some()).count();
        let blocked = out.iter().find_map(|span| span.blocked.clone());
        let mut oldest = out.into_iter();
        if let Some(mut first) = oldest.next() {
            oldest.for_each(|span| join(&mut first, span));
            // Less is claimed than there is, and never more.
            first.blocked = blocked.map(|mut blocked| {
                let first = &blocked.detail;
                blocked.detail =
                    format!("{gaps} gaps so close to each other that they are shown as one; the first: {first}");
                blocked
            });
            return std::iter::once(first).chain(rest).collect();
        }
        return rest;
    }
    out.shrink_to_fit();
    out
}

fn alike(one: &Span, other: &Span) -> bool {
    match (&one.blocked, &other.blocked) {
        (None, None) => match (one.typical_seconds, other.typical_seconds) {
            (None, None) => true,
            (Some(one), Some(other)) => one.max(other) < COARSER * one.min(other).max(f64::MIN_POSITIVE),
            _ => false,
        },
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

fn join(span: &mut Span, next: Span) {
    let longer = if span.duration() >= next.duration() { span.typical_seconds } else { next.typical_seconds };
    span.typical_seconds = longer.or(span.typical_seconds).or(next.typical_seconds);
    span.until = span.until.max(next.until);
    span.points += next.points;
    span.resolution_seconds = span.resolution_seconds.max(next.resolution_seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Steps as `(second, end, class)`; a class of 100 and more is a hole.
    fn map(steps: &[(i64, u64, u8)], until: i64) -> String {
        let hole = Blocked {
            hole: Hole { after: "5".into(), before: "8".into() },
            key: None,
            detail: "6 to 7 are missing".into(),
        };
        let mut before = 0;
        let steps: Vec<Step> = steps
            .iter()
            .map(|(at, end, class)| {
                let lost = *end > std::mem::replace(&mut before, *end) + 1;
                let hole = (*class >= 100).then_some(0);
                Step {
                    at: second(*at),
                    end: *end,
                    lost,
                    class: (*class < 9).then_some(*class),
                    hole,
                    since_before: false,
                }
            })
            .collect();
        let report = TimelineReport::of(spans(&steps, &[hole], second(until)));
        let span = |span: &Span| {
            let (from, until) = (span.from.as_second(), span.until.as_second());
            match &span.blocked {
                Some(_) => format!("{from}..{until} blocked"),
                None => format!("{from}..{until} {}@{}", span.points, span.resolution_seconds),
            }
        };
        let gap = report.largest_gap_seconds.map_or_else(String::new, |gap| format!(" [{} {gap}]", report.gaps));
        report.spans.iter().map(span).collect::<Vec<_>>().join(", ") + &gap
    }

    #[test]
    fn idle_time_is_no_loss() {
        assert_eq!(map(&[(10, 1, 0), (20, 2, 0), (5000, 3, 0)], 9000), "10..9000 3@0");
        assert_eq!(map(&[(10, 1, 0)], 9000), "10..9000 1@0");
        assert_eq!(map(&[], 9000), "");
    }

    #[test]
    fn resolution_thins_with_age() {
        let steps = [(0, 1, 0), (3600, 100, 3), (7200, 200, 3), (7230, 210, 1), (7260, 220, 1), (7261, 221, 0)];
        assert_eq!(map(&steps, 7300), "0..7200 2@3600, 7200..7260 2@30, 7260..7300 2@0");
        // Levels whose files are about as far apart are one span.
        assert_eq!(map(&[(0, 1, 0), (60, 9, 2), (100, 19, 1), (140, 29, 1)], 150), "0..150 4@60");
    }

    #[test]
    fn what_is_blocked_is_a_span_and_what_never_began_is_none() {
        assert_eq!(map(&[(10, 1, 0), (20, 1, 100), (90, 9, 9)], 95), "10..20 1@0, 20..90 blocked, 90..95 1@0 [1 70]");
        assert_eq!(map(&[(1, 0, 100), (10, 1, 0)], 20), "10..20 1@0");
        assert_eq!(map(&[(1, 0, 100)], 20), "1..20 blocked [1 19]");
    }

    #[test]
    fn a_map_has_an_end() {
        let span = |n: i64| Span {
            from: second(n * 10),
            until: second(n * 10 + 10),
            points: 1,
            resolution_seconds: 0.0,
            typical_seconds: None,
            blocked: (n % 2 == 1).then(|| {
                let hole = Hole { after: n, before: n + 2 }.spoken();
                Box::new(Blocked { hole, key: None, detail: "missing".into() })
            }),
        };
        let map = TimelineReport::of((0..500).map(span).collect());
        assert_eq!(map.spans.len(), TIMELINE_SPANS_MAX);
        let unbroken = |count| TimelineReport::of((0..count).map(span).collect()).unbroken_since();
        assert_eq!([0, 1, 2, 3].map(unbroken), [None, Some(second(0)), None, Some(second(20))]);
        assert_eq!((map.spans[0].from, map.spans.last().unwrap().until), (second(0), second(5000)));
        assert!(map.spans[0].blocked.as_ref().unwrap().detail.starts_with("218 gaps"), "{:?}", map.spans[0]);
        assert!(!map.restorable_now());
    }

    #[test]
    fn what_comes_later_is_added() {
        let map = TimelineReport::of(spans(
            &[Step { at: second(10), end: 1, lost: false, class: Some(0), hole: None, since_before: false }],
            &[],
            second(20),
        ));
        let more = [(20, 1), (25, 2), (26, 3)].map(|(at, end)| Step {
            at: second(at),
            end,
            lost: false,
            class: Some(0),
            hole: None,
            since_before: false,
        });
        let map = map.extended(spans(&more, &[], second(30)), second(60));
        assert_eq!((map.spans.len(), map.spans[0].points, map.spans[0].until), (1, 4, second(60)));
        assert!(map.span_at(second(10)).is_none() && map.span_at(second(99)).is_some());
    }
}
