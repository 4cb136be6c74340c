//! What a replica holds and how much came lately, by its own listing, in memory that does not grow with it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::limits::REST_AFTER;
use crate::domain::litestream::{LEVELS, Layout, Listed, ObjectName, SNAPSHOT_LEVEL};

/// Over at most the last day.
const WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// Litestream's own intervals of compaction, by level, for one that made a single object so far.
const COMPACTED_EVERY: [f64; 4] = [1.0, 30.0, 300.0, 3600.0];

/// The objects of one replica. Those of v0.3 are counted as levels too: its WAL as level 0, its snapshots as those of v0.5.
#[derive(Clone, Debug)]
pub struct Stock {
    now: Timestamp,
    layout: Layout,
    shelves: [Shelf; LEVELS],
    /// What the other layout left behind.
    left: Shelf,
    oldest: Option<Timestamp>,
    /// The oldest object, and the newest that is older than the window, by time and last TXID.
    first: Option<(Timestamp, u64)>,
    before: Option<(Timestamp, u64)>,
    newest: u64,
}

/// Objects of one level.
#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    pub(super) objects: u64,
    /// Objects and their bytes, by the number of binary digits of a size.
    sizes: BTreeMap<u32, (u64, u64)>,
    /// Of those that came within the window: how many, and the first and the last time.
    recent: u64,
    times: Option<(Timestamp, Timestamp)>,
    last: Option<(Timestamp, u64)>,
}

impl Shelf {
    fn insert(&mut self, size: u64, at: Timestamp, recent: bool) {
        self.objects += 1;
        let (count, bytes) = self.sizes.entry(u64::BITS - size.leading_zeros()).or_default();
        (*count, *bytes) = (*count + 1, bytes.saturating_add(size));
        self.last = self.last.max(Some((at, size)));
        if recent {
            self.recent += 1;
            let (first, last) = self.times.unwrap_or((at, at));
            self.times = Some((first.min(at), last.max(at)));
        }
    }

    /// Bytes of all, where a smaller object counts as one of `minimum` bytes: exact for powers of two.
    fn bytes(&self, minimum: u64) -> f64 {
        self.sizes.values().map(|(count, bytes)| (*bytes as f64).max(*count as f64 * minimum as f64)).sum()
    }

    pub(super) fn mean_bytes(&self, minimum: u64) -> f64 {
        if self.objects == 0 { 0.0 } else { self.bytes(minimum) / self.objects as f64 }
    }

    /// Bytes of the newest.
    pub(super) fn last_bytes(&self) -> f64 {
        self.last.map_or(0.0, |(_, size)| size as f64)
    }
}

impl Stock {
    /// An empty replica of a layout.
    pub fn new(layout: Layout, now: Timestamp) -> Self {
        Self {
            now,
            layout,
            shelves: Default::default(),
            left: Shelf::default(),
            oldest: None,
            first: None,
            before: None,
            newest: 0,
        }
    }

    /// Adds an object of a listing.
    pub fn insert(&mut self, object: &Listed) {
        let at = object.at.instant().min(self.now);
        let recent = self.now.duration_since(at) < WINDOW;
        let (v03, level) = match object.name {
            ObjectName::Ltx { level, .. } => (false, level),
            ObjectName::Snapshot(..) => (true, SNAPSHOT_LEVEL),
            ObjectName::Segment(..) => (true, 0),
        };
        let shelf = self.shelves.get_mut(usize::from(level)).filter(|_| v03 == (self.layout == Layout::V3));
        let Some(shelf) = shelf else { return self.left.insert(object.size, at, recent) };
        shelf.insert(object.size, at, recent);
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        let Some(name) = object.name.ltx() else { return };
        let mark = (at, name.max.0);
        self.newest = self.newest.max(mark.1);
        self.first = Some(self.first.map_or(mark, |first| first.min(mark)));
        if !recent {
            self.before = self.before.max(Some(mark));
        }
    }

    pub fn is_v03(&self) -> bool {
        self.layout == Layout::V3
    }

    pub(super) fn shelf(&self, level: usize) -> &Shelf {
        &self.shelves[level]
    }

    /// Bytes that the other layout left behind.
    pub(super) fn left_bytes(&self, minimum: u64) -> f64 {
        self.left.bytes(minimum)
    }

    /// Objects of all levels.
    pub fn objects(&self) -> u64 {
        self.shelves.iter().map(|shelf| shelf.objects).sum::<u64>() + self.left.objects
    }

    /// About the bytes that a drill downloads, at most.
    pub fn drill_bytes(&self) -> f64 {
        let [levels @ .., snapshots] = &self.shelves;
        let above = levels.iter().rev().find(|shelf| shelf.objects > 0);
        let bytes = above.map_or(0.0, |shelf| shelf.mean_bytes(0) * shelf.objects as f64);
        snapshots.last_bytes() + bytes
    }

    /// Whether nothing was committed for so long that it is at rest if its database is on the same host.
    pub fn is_at_rest(&self) -> bool {
        self.received_per_second() == 0.0 && self.measured_seconds() >= REST_AFTER.as_secs_f64()
    }

    /// Seconds over which was measured what comes: a day at most, and no more than the replica is old.
    pub fn measured_seconds(&self) -> f64 {
        self.oldest.map_or(0.0, |oldest| self.seconds_since(oldest).min(WINDOW.as_secs_f64()))
    }

    fn seconds_since(&self, at: Timestamp) -> f64 {
        self.now.duration_since(at).as_secs_f64().max(1.0)
    }

    /// Objects of level 0 a second. Each has a TXID, which those of higher levels still tell when it is gone.
    pub fn received_per_second(&self) -> f64 {
        if self.is_v03() {
            return self.shelves[0].recent as f64 / self.measured_seconds().max(1.0);
        }
        let since = self.before.or(self.first);
        since.map_or(0.0, |(at, txid)| self.newest.saturating_sub(txid) as f64 / self.seconds_since(at))
    }

    /// Objects of a level between level 0 and the snapshots a second.
    pub(super) fn compacted_per_second(&self, level: usize) -> f64 {
        let shelf = &self.shelves[level];
        let counted = shelf.recent as f64 / self.measured_seconds().max(1.0);
        let apart = match shelf.times {
            Some((first, last)) if last > first => (shelf.recent - 1) as f64 / last.duration_since(first).as_secs_f64(),
            // One alone says nothing of the next.
            _ => 1.0 / COMPACTED_EVERY.get(level).unwrap_or(&3600.0),
        };
        counted.min(apart)
    }
}
