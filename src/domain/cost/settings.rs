//! The settings that an estimate depends on, and their names for who asks what another value would cost.

use super::DAY;
use crate::domain::price;
use crate::domain::store_kind::StoreKind;

/// What decides how much is written, kept and asked. Times are in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The kind of store, its server, and the storage class where it is not the usual one.
    pub kind: StoreKind,
    pub authority: Option<String>,
    pub class: Option<String>,
    /// Litestream's `monitor-interval`, which decides how many objects v0.5 writes, and `sync-interval`, which does in v0.3.
    pub monitor: f64,
    pub sync: f64,
    pub snapshot: f64,
    /// `None`: all are kept.
    pub retention: Option<f64>,
    pub level0_retention: Option<f64>,
    pub level0_check: f64,
    /// Ours: between two looks at a busy replica, two listings of new objects, two looks at an idle one, two listings of the
    /// levels, and of everything.
    pub look: f64,
    pub listing: f64,
    pub idle: f64,
    pub levels: f64,
    pub reconcile: f64,
    /// How many replicas take turns in being looked at while they are at rest, itself included.
    pub turns: f64,
    /// Bytes a day that verification may read.
    pub verify_bytes: f64,
    pub spot: Option<f64>,
    pub spot_pages: f64,
    pub drill: Option<f64>,
    pub beacon: Option<f64>,
}

/// Litestream's own defaults, and none of streamgauge's work.
impl Default for Settings {
    fn default() -> Self {
        Self {
            kind: StoreKind::File,
            authority: None,
            class: None,
            monitor: 1.0,
            sync: 1.0,
            snapshot: DAY,
            retention: Some(DAY),
            level0_retention: Some(300.0),
            level0_check: 15.0,
            look: f64::INFINITY,
            listing: f64::INFINITY,
            idle: f64::INFINITY,
            levels: f64::INFINITY,
            reconcile: f64::INFINITY,
            turns: 1.0,
            verify_bytes: 0.0,
            spot: None,
            spot_pages: 0.0,
            drill: None,
            beacon: None,
        }
    }
}

/// A setting that can be tried out.
#[derive(Debug)]
pub struct Key {
    /// As the configuration has it: a bare name is Litestream's.
    pub name: &'static str,
    pub takes: Takes,
}

/// What a key takes, and how it is set.
#[derive(Clone, Copy, Debug)]
pub enum Takes {
    /// Seconds above zero.
    Duration(fn(&mut Settings, f64)),
    /// Seconds, of which none means that all is kept.
    Retention(fn(&mut Settings, Option<f64>)),
    /// Bytes.
    Size(fn(&mut Settings, f64)),
    /// The name of a storage class.
    Class,
    /// A word of the name of a provider.
    Store,
}

const fn duration(name: &'static str, set: fn(&mut Settings, f64)) -> Key {
    Key { name, takes: Takes::Duration(set) }
}

/// All of them.
pub const KEYS: &[Key] = &[
    duration("monitor-interval", |settings, seconds| settings.monitor = seconds),
    duration("sync-interval", |settings, seconds| settings.sync = seconds),
    duration("snapshot-interval", |settings, seconds| settings.snapshot = seconds),
    Key { name: "retention", takes: Takes::Retention(|settings, seconds| settings.retention = seconds) },
    Key { name: "l0-retention", takes: Takes::Retention(|settings, seconds| settings.level0_retention = seconds) },
    duration("l0-retention-check-interval", |settings, seconds| settings.level0_check = seconds),
    Key { name: "storage-class", takes: Takes::Class },
    Key { name: "store", takes: Takes::Store },
    duration("replica.interval", |settings, seconds| settings.look = seconds),
    duration("replica.listing-interval", |settings, seconds| settings.listing = seconds),
    duration("replica.idle-interval", |settings, seconds| settings.idle = seconds),
    duration("replica.level-interval", |settings, seconds| settings.levels = seconds),
    duration("replica.reconcile-interval", |settings, seconds| settings.reconcile = seconds),
    Key { name: "verify.content", takes: Takes::Size(|settings, bytes| settings.verify_bytes = bytes) },
    duration("verify.spot-interval", |settings, seconds| settings.spot = Some(seconds)),
    duration("drill.interval", |settings, seconds| settings.drill = Some(seconds)),
    duration("beacon.interval", |settings, seconds| settings.beacon = Some(seconds)),
];

impl Key {
    /// The key of a name, of which what stands before the point may be left out where only one fits.
    pub fn find(name: &str) -> Option<&'static Self> {
        let short = |key: &&Self| key.name.rsplit('.').next() == Some(name);
        let mut fits = KEYS.iter().filter(short);
        let only = fits.next().filter(|_| fits.next().is_none());
        KEYS.iter().find(|key| key.name == name).or(only)
    }
}

impl Settings {
    /// The place of another provider, by a word of its name: its usual storage class. `false` for a word that names none.
    pub fn move_to(&mut self, word: &str) -> bool {
        let Some(row) = price::provider(word) else { return false };
        (self.kind, self.class) = (row.kind, None);
        self.authority = Some(row.host.to_owned()).filter(|host| !host.is_empty());
        true
    }
}
