//! What Litestream was told of how it writes and what it keeps, and from when on it is late with deleting.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// A retention run may be late by so much before its files count as expired.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// The retention that Litestream was given for a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Age of the snapshots to delete (`snapshot.retention` of v0.5, `retention` of a replica of v0.3); `None`: all are
    /// kept (`retention.enabled: false`).
    pub snapshots: Option<Duration>,
    /// How often that is looked after: with each snapshot in v0.5, `retention-check-interval` in v0.3.
    pub every: Duration,
    /// Age of the level-0 files to delete once level 1 holds them (`l0-retention`); `None`: all are kept.
    pub level0: Option<Duration>,
}

/// What decides how many objects Litestream writes, and how they are billed; `None`: it was not told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// `monitor-interval`: how often v0.5 makes an object of what was committed.
    pub every: Option<Duration>,
    /// `l0-retention-check-interval`: how often v0.5 lists levels 0 and 1 for what is to be deleted.
    pub level0_check: Option<Duration>,
    /// `storage-class`.
    pub class: Option<String>,
}

impl Kept {
    /// Snapshots from before this instant should be gone.
    pub(super) fn snapshots_before(&self, now: Timestamp) -> Option<Timestamp> {
        ago(self.snapshots?.saturating_add(self.every), now)
    }
}

/// The instant at which what is to be deleted by now had that age, with patience.
pub(super) fn ago(age: Duration, now: Timestamp) -> Option<Timestamp> {
    now.checked_sub(SignedDuration::try_from(age.saturating_add(PATIENCE)).ok()?).ok()
}
