//! The configuration, as the agent reads it.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::alerting::Alerting;
use crate::domain::assess::costs::Costs;
use crate::domain::assessment::SourceReport;
use crate::domain::beacon::BeaconPolicy;
use crate::domain::drill::schedule::DrillLimits;
use crate::domain::limits::{SPACED_INTERVAL_MAX, VERIFICATIONS_MAX};
use crate::domain::naming::Names;
use crate::domain::profile::Selection;
use crate::domain::shard::Shard;
use crate::domain::target::Target;
use crate::domain::verification::VerifyPolicy;

/// The source of what to watch, and how. Blocking.
pub trait Configuration: Send + Sync {
    /// Reads everything anew; what has a name keeps it. The error is for a person: all problems, one a line.
    fn load(&self, names: Names, asked: AskedBy) -> Result<Configured, String>;

    /// A command of this program, such as `why ReplicationLag`, as it is typed to find the same configuration.
    fn command(&self, words: &str) -> String {
        format!("streamgauge {words}")
    }
}

/// Who asked for the configuration to be read, the least trusted first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AskedBy {
    /// It is time to.
    #[default]
    Nobody,
    /// Whoever reaches the endpoint.
    Stranger,
    /// Somebody who knows what was removed: by a signal, by the agent's own socket, or with a password.
    Owner,
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
    /// Which of several agents this one is.
    pub shard: Option<Shard>,
    pub metrics: Metrics,
    pub same: Same,
}

impl Configured {
    /// What is not about single databases is as in another one, apart from the pace.
    pub fn has_settings_of(&self, other: &Self) -> bool {
        let Self { drills, alerting, costs, shard, metrics, .. } = other;
        (&self.drills, &self.alerting, &self.costs, &self.shard, &self.metrics)
            == (drills, alerting, costs, shard, metrics)
    }
}

/// What a configuration was read from.
pub trait Origin: Send + Sync {
    /// Whether reading it again would come to the same; `false` where that is not known. Blocking.
    fn is_same(&self) -> bool;

    /// The version of its files that is there now, if it is another one than was read. Blocking.
    fn other_version(&self) -> Option<u64>;
}

/// Says whether reading a configuration again would come to the same, without reading it.
#[derive(Clone, Default)]
pub struct Same(Option<Arc<dyn Origin>>);

impl Same {
    pub fn new(origin: impl Origin + 'static) -> Self {
        Self(Some(Arc::new(origin)))
    }

    /// `false` where that is not known.
    pub fn is_sure(&self) -> bool {
        self.0.as_ref().is_some_and(|origin| origin.is_same())
    }

    pub fn origin(&self) -> Option<Arc<dyn Origin>> {
        self.0.clone()
    }
}

impl Debug for Same {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Same").finish_non_exhaustive()
    }
}

/// What is served to Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    pub selection: Arc<Selection>,
    /// More series than this are not served. `None`: any number.
    pub series_limit: Option<usize>,
}

/// How often things are looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    /// Local poll, and the most often that a report is published; of thousands of databases, it is published less often.
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
    /// The same for a replica whose database has committed nothing since it was proven, unless `reconcile` is longer.
    pub idle_reconcile: Duration,
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

impl Pace {
    /// How often everything is listed of a replica at rest.
    pub fn reconcile_at_rest(&self) -> Duration {
        self.idle_reconcile.max(self.reconcile)
    }

    /// The same with looks at buckets and listings there so many times rarer, but looks at most `longest` and both at most
    /// [`SPACED_INTERVAL_MAX`] apart; what is configured to be rarer stays so.
    pub fn spaced(&self, ratio: f64, longest: Duration) -> Self {
        let rarer = |interval: Duration, most: Duration| interval.mul_f64(ratio).min(most.max(interval));
        Self {
            bucket: rarer(self.bucket, longest.min(SPACED_INTERVAL_MAX)),
            listing: rarer(self.listing, SPACED_INTERVAL_MAX),
            bucket_levels: rarer(self.bucket_levels, SPACED_INTERVAL_MAX),
            ..self.clone()
        }
    }

    /// How many times rarer looks or listings can become so.
    pub fn spacing_max(&self, longest: Duration) -> f64 {
        let looks = longest.min(SPACED_INTERVAL_MAX).div_duration_f64(self.bucket);
        looks.max(SPACED_INTERVAL_MAX.div_duration_f64(self.listing)).max(1.0)
    }
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
            idle_reconcile: 360 * MINUTE,
            // With a discovery each minute less than any rule about a file that is gone waits.
            grace: 2 * MINUTE,
            discovery: MINUTE,
            concurrency: VERIFICATIONS_MAX,
            verify: VerifyPolicy::default(),
            beacon: None,
        }
    }
}
