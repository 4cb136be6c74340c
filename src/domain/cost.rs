//! What replication costs in a month: requests and bytes by what causes them, estimated from one listing and from the
//! intervals that are configured.

mod settings;
mod stock;
#[cfg(test)]
pub(crate) mod tests;
mod watching;

use serde::Serialize;

pub use self::settings::{KEYS, Key, Settings, Takes};
pub use self::stock::Stock;
use super::limits::LISTED_PER_REQUEST;
use super::litestream::{LEVELS, SNAPSHOT_LEVEL};
use super::price::{MONTH_SECONDS, Prices, Terms};

const DAY: f64 = 86_400.0;

/// Litestream v0.3 looks after its retention so often.
const RETENTION_CHECK: f64 = 3600.0;

words! {
    /// What causes a part of the bill: what is stored, what Litestream asks for, and what streamgauge does.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Part {
        /// What is there.
        Storage = "storage",
        /// Of objects that are deleted before the minimum duration of their storage class.
        EarlyDeletion = "early deletion",
        /// Of what was committed: level 0, or the WAL of v0.3.
        Uploads = "uploads",
        Compaction = "compaction",
        Snapshots = "snapshots",
        /// Litestream's own.
        Listings = "listings",
        Deletions = "deletions",
        /// From here on, streamgauge's.
        Looks = "looks",
        Verification = "verification",
        SpotChecks = "spot checks",
        Drills = "drills",
        Beacon = "beacon",
    }
}

/// Requests and bytes of a month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub lists: f64,
    pub reads: f64,
    pub uploads: f64,
    pub deletions: f64,
    pub received_bytes: f64,
    /// Bytes that are billed as stored all month.
    pub stored_bytes: f64,
}

impl Usage {
    pub fn requests(&self) -> f64 {
        self.lists + self.reads + self.uploads + self.deletions
    }

    pub fn dollars(&self, prices: &Prices) -> f64 {
        (self.lists * prices.lists_per_thousand
            + self.reads * prices.reads_per_thousand
            + self.uploads * prices.others_per_thousand
            + self.deletions * prices.deletes_per_thousand)
            / 1e3
            + (self.received_bytes * prices.received_per_gigabyte + self.stored_bytes * prices.stored_per_gigabyte)
                / 1e9
    }

    /// What a second takes, for a month.
    fn monthly(self) -> Self {
        Self {
            lists: self.lists * MONTH_SECONDS,
            reads: self.reads * MONTH_SECONDS,
            uploads: self.uploads * MONTH_SECONDS,
            deletions: self.deletions * MONTH_SECONDS,
            received_bytes: self.received_bytes * MONTH_SECONDS,
            ..self
        }
    }
}

/// What Litestream deletes before the minimum duration of the storage class has passed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EarlyDeletion {
    pub objects_per_day: f64,
    /// How old most of them get.
    pub lifetime_seconds: f64,
    pub billed_days: f64,
}

/// A month of one replica.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Each part at most once.
    pub lines: Vec<(Part, Usage)>,
    pub early: Option<EarlyDeletion>,
}

impl Estimate {
    /// The usage of a part; nothing where there is none.
    pub fn of(&self, part: Part) -> Usage {
        self.lines.iter().find(|(one, _)| *one == part).map(|(_, usage)| *usage).unwrap_or_default()
    }

    pub fn dollars(&self, prices: &Prices) -> f64 {
        self.lines.iter().map(|(_, usage)| usage.dollars(prices)).sum()
    }
}

/// The objects of a level: how many come, how long they stay, and how many are there.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    per_second: f64,
    /// `None`: for ever.
    lifetime: Option<f64>,
    objects: f64,
    /// Mean bytes of one, and those that are billed.
    bytes: f64,
    billed_bytes: f64,
}

impl Flow {
    /// Requests that list all of it.
    fn pages(&self) -> f64 {
        (self.objects / LISTED_PER_REQUEST as f64).ceil().max(1.0)
    }
}

/// Estimates a month. `was` are the settings under which the replica came to be what its listing shows, `is` those of the
/// month.
pub fn estimate(stock: &Stock, was: &Settings, is: &Settings, terms: &Terms) -> Estimate {
    let flows = flows(stock, was, is, terms.minimum_bytes);
    let [first, .., snapshots] = flows;
    let compacted = &flows[1..usize::from(SNAPSHOT_LEVEL)];
    let compactions: f64 = compacted.iter().map(|flow| flow.per_second).sum();
    let up = |uploads| Usage { uploads, ..Usage::default() };
    let held = flows.iter().map(|flow| flow.objects * flow.billed_bytes).sum::<f64>();
    let (reads, received_bytes) = sources(&flows);
    let mut lines = vec![
        (Part::Storage, Usage { stored_bytes: held + stock.left_bytes(terms.minimum_bytes), ..Usage::default() }),
        (Part::EarlyDeletion, early_bytes(&flows, terms)),
        (Part::Uploads, up(first.per_second)),
        (Part::Compaction, Usage { uploads: compactions, reads, received_bytes, ..Usage::default() }),
        (Part::Snapshots, up(snapshots.per_second)),
        (Part::Listings, Usage { lists: listings(stock.is_v03(), &flows, is), ..Usage::default() }),
        (Part::Deletions, Usage { deletions: deletions(&flows, is), ..Usage::default() }),
    ];
    lines.extend(watching::lines(stock, &flows, is));
    let lines = lines.into_iter().map(|(part, usage)| (part, usage.monthly()));
    let lines = lines.filter(|(_, usage)| *usage != Usage::default()).collect();
    Estimate { lines, early: early(&flows, terms) }
}

fn flows(stock: &Stock, was: &Settings, is: &Settings, minimum_bytes: u64) -> [Flow; LEVELS] {
    let v03 = stock.is_v03();
    let measured = stock.received_per_second();
    let cadence = |settings: &Settings| if v03 { settings.sync } else { settings.monitor };
    let received = rescaled(measured, cadence(was), cadence(is));
    let rate = |level: usize, received: f64, settings: &Settings| match level {
        0 => received,
        level if level < usize::from(SNAPSHOT_LEVEL) => stock.compacted_per_second(level).min(received),
        // None is taken while nothing was written.
        _ => (1.0 / settings.snapshot).min(received),
    };
    std::array::from_fn(|level| {
        let (before, per_second) = (rate(level, measured, was), rate(level, received, is));
        let shelf = stock.shelf(level);
        let (lived, lifetime) = (lifetime(level, v03, was), lifetime(level, v03, is));
        let ratio = |one: f64, other: f64| if other > 0.0 { one / other } else { 1.0 };
        let objects = match (lived, lifetime) {
            (Some(lived), Some(lives)) => shelf.objects as f64 * ratio(lives, lived),
            (None, Some(lives)) if per_second > 0.0 => (shelf.objects as f64).min(per_second * lives),
            _ => shelf.objects as f64,
        };
        Flow {
            per_second,
            lifetime,
            objects: objects * ratio(per_second, before),
            bytes: shelf.mean_bytes(0),
            billed_bytes: shelf.mean_bytes(minimum_bytes),
        }
    })
}

/// What would come each second if what is committed were collected for another time: as if commits came at random.
fn rescaled(per_second: f64, was: f64, is: f64) -> f64 {
    if was == is || per_second <= 0.0 {
        return per_second;
    }
    let commits = -(1.0 - (per_second * was).min(0.999)).ln() / was;
    (1.0 - (-commits * is).exp()) / is
}

/// How old the objects of a level get; `None`: all are kept. What a snapshot covers goes with the snapshot before it, when the
/// next one is taken.
fn lifetime(level: usize, v03: bool, settings: &Settings) -> Option<f64> {
    match level {
        0 if !v03 => settings.level0_retention,
        level if level == usize::from(SNAPSHOT_LEVEL) => settings.retention.map(|age| age + settings.snapshot),
        _ => settings.retention.map(|age| age + settings.snapshot / 2.0),
    }
}

/// The flows whose objects are billed for longer than they live, and for how much longer.
fn billed_longer<'a>(flows: &'a [Flow], terms: &Terms) -> impl Iterator<Item = (&'a Flow, f64, f64)> {
    let minimum = terms.minimum_days * DAY;
    let lives = flows.iter().filter(|flow| flow.per_second > 0.0).filter_map(|flow| Some((flow, flow.lifetime?)));
    lives.filter(move |(_, lifetime)| *lifetime < minimum).map(move |(flow, lives)| (flow, lives, minimum - lives))
}

fn early_bytes(flows: &[Flow], terms: &Terms) -> Usage {
    let stored = billed_longer(flows, terms).map(|(flow, _, longer)| flow.per_second * longer * flow.billed_bytes);
    Usage { stored_bytes: stored.sum(), ..Usage::default() }
}

fn early(flows: &[Flow], terms: &Terms) -> Option<EarlyDeletion> {
    let all = || billed_longer(flows, terms);
    let (_, lifetime_seconds, _) = all().max_by(|one, other| one.0.per_second.total_cmp(&other.0.per_second))?;
    let objects_per_day = all().map(|(flow, ..)| flow.per_second * DAY).sum();
    Some(EarlyDeletion { objects_per_day, lifetime_seconds, billed_days: terms.minimum_days })
}

/// What compaction reads each second: level 1 is made of local files, each other level of the objects of the one below it.
fn sources(flows: &[Flow; LEVELS]) -> (f64, f64) {
    let below = flows[1..usize::from(SNAPSHOT_LEVEL)].windows(2).filter(|pair| pair[1].per_second > 0.0);
    below.fold((0.0, 0.0), |(reads, bytes), pair| {
        (reads + pair[0].per_second, bytes + pair[0].per_second * pair[0].bytes)
    })
}

/// Litestream's own listings each second, as 0.5.17 and 0.3.13 were seen to make them. v0.5 lists levels 0 and 1 whole for
/// each check of the retention of level 0, and both again for each compaction; snapshots look at every level.
fn listings(v03: bool, flows: &[Flow; LEVELS], is: &Settings) -> f64 {
    let all: f64 = flows.iter().map(Flow::pages).sum();
    if v03 {
        return (1.0 + flows[0].pages() + flows[usize::from(SNAPSHOT_LEVEL)].pages()) / RETENTION_CHECK;
    }
    let pair = flows[0].pages() + flows[1].pages();
    let checks = if is.level0_retention.is_some() { pair / is.level0_check } else { 0.0 };
    let first = flows[1].per_second * (pair + flows[0].pages());
    let higher = flows[1..usize::from(SNAPSHOT_LEVEL)].windows(2).map(|pair| pair[1].per_second * pair[0].pages());
    checks + first + higher.sum::<f64>() + flows[usize::from(SNAPSHOT_LEVEL)].per_second * all
}

/// Requests that delete, each of which takes many objects: with each check and compaction of level 0, and for each level with
/// a snapshot.
fn deletions(flows: &[Flow; LEVELS], is: &Settings) -> f64 {
    let checks = 1.0 / is.level0_check + flows[1].per_second;
    let first = if flows[0].lifetime.is_some() { flows[0].per_second.min(checks) } else { 0.0 };
    let used = flows[1..].iter().filter(|flow| flow.lifetime.is_some() && flow.per_second > 0.0).count();
    first + flows[usize::from(SNAPSHOT_LEVEL)].per_second * used as f64
}
