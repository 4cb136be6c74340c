//! One number over time: slots that begin when it changes, so that what stands still costs nothing.

use std::sync::Arc;

/// How long a slot takes in what follows, in seconds: the number may change as often as it likes.
const STEP: u32 = 60;

/// Older slots of one hour of the clock become one, in seconds.
const HOUR: u32 = 3_600;

/// A change, and what followed it within [`STEP`] or the same [`HOUR`]. NaN is unknown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Seconds since 1970.
    pub(super) at: u32,
    pub(super) low: f32,
    pub(super) high: f32,
    pub(super) last: f32,
}

impl Slot {
    fn new(at: u32, value: f32) -> Self {
        Self { at, low: value, high: value, last: value }
    }

    /// Takes in what came later. The least and the most of NaN and a number is the number.
    fn take(&mut self, later: Self) {
        let (low, high) = (self.low.min(later.low), self.high.max(later.high));
        *self = Self { at: self.at, low, high, last: later.last };
    }

    /// Its numbers are what [`take`](Self::take) leaves.
    pub(super) fn is_sound(&self) -> bool {
        let known = self.low.is_finite() && self.high.is_finite() && self.low <= self.high;
        let last = self.last.is_nan() || (self.low <= self.last && self.last <= self.high);
        last && (known || (self.low.is_nan() && self.high.is_nan()))
    }
}

/// Slots that are compared are those of one series read twice: an unknown value is the same as another one.
impl PartialEq for Slot {
    fn eq(&self, other: &Self) -> bool {
        let bits = |slot: &Self| [slot.low, slot.high, slot.last].map(f32::to_bits);
        self.at == other.at && bits(self) == bits(other)
    }
}

/// How far back slots are kept as they are, and how far back as hours, in seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spans {
    pub(super) fine: u32,
    pub(super) hours: u32,
}

/// A number of a database or of one of its replicas.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) replica: Option<Arc<str>>,
    /// Where it stands in [`RECORDED`](super::RECORDED).
    pub(super) number: u8,
    /// Oldest first; all are older than `open`. Shared by all reports that have it.
    past: Arc<[Slot]>,
    open: Slot,
}

impl Series {
    pub(super) fn new(replica: Option<Arc<str>>, number: u8, at: u32, value: f32) -> Self {
        Self { replica, number, past: Arc::default(), open: Slot::new(at, value) }
    }

    /// A series of slots, oldest first; `None` where there is none.
    pub(super) fn of(replica: Option<&str>, number: u8, mut slots: Vec<Slot>) -> Option<Self> {
        let open = slots.pop()?;
        Some(Self { replica: replica.map(Arc::from), number, past: slots.into(), open })
    }

    pub(super) fn is_of(&self, replica: Option<&str>, number: u8) -> bool {
        self.number == number && self.replica.as_deref() == replica
    }

    /// The name of the replica, to be shared with other series of it, if it is of this one.
    pub(super) fn name_of(&self, replica: Option<&str>) -> Option<Arc<str>> {
        self.replica.clone().filter(|name| Some(&**name) == replica)
    }

    /// Oldest first.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.past.iter().chain([&self.open]).copied()
    }

    pub(super) fn first(&self) -> Slot {
        self.past.first().copied().unwrap_or(self.open)
    }

    /// The memory that its past needs.
    pub(super) fn past_bytes(&self) -> usize {
        if self.past.is_empty() { 0 } else { 2 * size_of::<usize>() + size_of_val(&*self.past) }
    }

    /// The memory that it needs beyond itself.
    pub(super) fn bytes(&self) -> usize {
        let counts = 2 * size_of::<usize>();
        self.past_bytes() + self.replica.as_ref().map_or(0, |name| counts + name.len())
    }

    /// The value at `at` is what it was before.
    pub(super) fn is_at(&self, at: u32, value: f32) -> bool {
        let same = self.open.last == value || (self.open.last.is_nan() && value.is_nan());
        same && self.open.at <= at
    }

    /// Takes in the value at an instant. When the clock was put back, what it says lies in the future is forgotten.
    pub(super) fn record(&mut self, at: u32, value: f32, spans: Spans) {
        if self.is_at(at, value) {
            return;
        }
        let new = Slot::new(at, value);
        if at < self.open.at {
            let kept = self.past.partition_point(|slot| slot.at < at);
            self.past = self.past[..kept].into();
            self.open = new;
        } else if at - self.open.at < STEP {
            self.open.take(new);
        } else {
            let closed = std::mem::replace(&mut self.open, new);
            // Before it was first known there is nothing to tell.
            let closed = Some(closed).filter(|slot| !self.past.is_empty() || !slot.low.is_nan());
            let slots: Vec<Slot> = self.past.iter().copied().chain(closed).collect();
            self.past = compacted(slots, self.open.at, at, spans).into();
        }
    }

    /// Nothing was recorded from an instant to `now`: that is a gap, unless it was too short to show.
    pub(super) fn interrupt(&mut self, from: u32, now: u32, spans: Spans) {
        let from = from.max(self.open.at);
        if now.saturating_sub(from) >= STEP {
            self.record(from, f32::NAN, spans);
        }
    }

    /// Something in it is too old at `at`, or old enough to be summed up in hours.
    pub(super) fn is_to_compact(&self, at: u32, spans: Spans) -> bool {
        let (fine, begin) = edges(at, spans);
        let second = self.past.get(1).map_or(self.open.at, |slot| slot.at);
        let old = !self.past.is_empty() && second <= begin;
        old || self.past.windows(2).any(|pair| pair[1].at < fine && pair[0].at / HOUR == pair[1].at / HOUR)
    }

    /// Forgets what is too old at `at`, and keeps hours of what is old.
    pub(super) fn compact(&mut self, at: u32, spans: Spans) {
        if self.is_to_compact(at, spans) {
            self.past = compacted(self.past.to_vec(), self.open.at, at, spans).into();
        }
    }
}

/// From when on slots are kept as they are at `now`, and from when on as hours.
fn edges(now: u32, spans: Spans) -> (u32, u32) {
    (now.saturating_sub(spans.fine), now.saturating_sub(spans.hours))
}

/// What is kept at `now` of slots, oldest first, of which the last ends at `end`.
fn compacted(mut slots: Vec<Slot>, end: u32, now: u32, spans: Spans) -> Vec<Slot> {
    let (fine, begin) = edges(now, spans);
    slots.dedup_by(|slot, before| {
        let merge = slot.at < fine && slot.at / HOUR == before.at / HOUR;
        if merge {
            before.take(*slot);
        }
        merge
    });
    // The value with which the span begins is told by the slot before it.
    let ended = slots.iter().skip(1).map(|slot| slot.at).chain([end]).take_while(|end| *end <= begin).count();
    slots.drain(..ended.min(slots.len()));
    slots
}
