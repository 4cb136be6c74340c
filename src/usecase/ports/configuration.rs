//! The configuration, as the agent reads it.

use std::time::Duration;

use crate::domain::alerting::Alerting;
use crate::domain::assess::costs::Costs;
use crate::domain::assessment::SourceReport;
use crate::domain::beacon::BeaconPolicy;
use crate::domain::drill::schedule::DrillLimits;
use crate::domain::limits::VERIFICATIONS_MAX;
use crate::domain::naming::Names;
use crate::domain::target::Target;
use crate::domain::verification::VerifyPolicy;

/// The source of what to watch, and how. Blocking.
pub trait Configuration: Send + Sync {
    /// Reads everything anew; what has a name keeps it. The error is for a person: all problems, one a line.
    fn load(&self, names: Names) -> Result<Configured, String>;
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Sorted by name.
    pub targets: Vec<Target>,
    /// Targets beyond the number that one agent watches.
    pub over_limit: usize,
    /// The names of all targets, and those that are not used at present.
    pub names: Names,
    pub sources: Vec<SourceReport>,
    pub pace: Pace,
    /// Limits of all scheduled drills together.
    pub drills: DrillLimits,
    pub alerting: Alerting,
    /// Prices and the budget of everything together.
    pub costs: Costs,
}

/// How often things are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Local poll, and the most often that a report is published.
    pub poll: Duration,
    /// One full round of the sweep over all databases.
    pub sweep: Duration,
    /// A busy replica in a directory.
    pub directory: Duration,
    /// A busy replica in a bucket, where each look costs money.
    pub bucket: Duration,
    /// An idle, proven replica.
    pub idle: Duration,
    /// Listing of a replica in a bucket in which something is new. In between, looks ask for the next object by its name,
    /// unless they are rarer.
    pub listing: Duration,
    /// Listing of the compacted levels and snapshots of a replica that changes, where each look lists.
    pub levels: Duration,
    /// The same where looks ask by name.
    pub bucket_levels: Duration,
    /// Listing of everything, which notices deletions.
    pub reconcile: Duration,
    /// How long a target that is gone from the configuration is still watched.
    pub grace: Duration,
    /// Reading the configuration's directories anew.
    pub discovery: Duration,
    /// Looks in flight for one place (one bucket, one directory tree).
    pub concurrency: usize,
    /// How objects are verified.
    pub verify: VerifyPolicy,
    /// That beacons are written, and how often; `None`: nothing is ever written to a store.
    pub beacon: Option<BeaconPolicy>,
}

/// What holds unless something else is configured.
impl Default for Pace {
    fn default() -> Self {
        const MINUTE: Duration = Duration::from_secs(60);
        Self {
            poll: Duration::from_secs(1),
            sweep: MINUTE,
            directory: Duration::from_secs(2),
            // 8640 looks a day; docs/COST.md says what they cost.
            bucket: Duration::from_secs(10),
            idle: 5 * MINUTE,
            listing: MINUTE,
            levels: MINUTE,
            bucket_levels: 5 * MINUTE,
            reconcile: 60 * MINUTE,
            grace: 5 * MINUTE,
            discovery: MINUTE,
            concurrency: VERIFICATIONS_MAX,
            verify: VerifyPolicy::default(),
            beacon: None,
        }
    }
}
