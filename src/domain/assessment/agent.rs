//! The agent's own part of a report: its sources, collectors, stores, buckets and receivers, and what it uses.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::limits::{REQUEST_WINDOW_MIN, ROUND_INTERVALS_MAX, ROUND_SLACK_SECONDS};
use crate::domain::profile::Profile;
use crate::domain::reason::Reason;
use crate::domain::shard::Shard;
use crate::domain::store_kind::StoreKind;

/// The agent's own state.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentReport {
    /// The version of the program.
    pub version: &'static str,
    /// The commit that it was built from.
    pub revision: &'static str,
    /// When the agent started.
    pub started_at: Timestamp,
    /// How the last reload of the configuration went.
    pub config: ConfigReport,
    /// Where the databases come from.
    pub sources: Vec<SourceReport>,
    /// How each kind of looking goes.
    pub collectors: Vec<CollectorReport>,
    /// Requests to each kind of store.
    pub stores: Vec<StoreReport>,
    /// How the buckets are set up that hold replicas.
    pub buckets: Vec<BucketReport>,
    /// Where alerts are sent.
    pub receivers: Vec<ReceiverReport>,
    /// The agent's own resources; `None` if the system does not tell.
    pub process: Option<ProcessReport>,
    /// The download budget of scheduled drills from buckets; `None` without drills or without such a bound.
    pub drill_budget: Option<DrillBudgetReport>,
    /// How keeping what survives a restart goes; `None` where nothing is to be kept.
    pub state: Option<StateReport>,
    /// What replicas and the agent cost.
    pub cost: CostReport,
    /// Which of several agents that share a fleet this one is; `None`: the only one.
    pub shard: Option<Shard>,
    /// The series that are served; `None` without a limit.
    #[serde(skip)]
    pub series: Option<SeriesReport>,
}

/// What is served to Prometheus, and what a limit makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesReport {
    /// More are not served.
    pub limit: usize,
    /// Those that would be served with the profiles that are configured.
    pub configured: usize,
    /// Those that are.
    pub served: usize,
    pub reduced: Reduced,
}

/// How far the profiles of databases are reduced to keep to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reduced {
    No,
    /// To this one, where a larger one is configured.
    To(Profile),
    /// No series of any database is served.
    Shed,
}

/// The cost of all replicas together, at the configured prices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CostReport {
    /// Storage of all replicas and the agent's own requests, without those of drills, which have a budget of their own;
    /// `None` until everything was listed and requests were counted for an hour.
    pub dollars_per_month: Option<f64>,
    /// What `dollars_per_month` may be, as configured.
    pub budget_dollars_per_month: Option<f64>,
    /// What the agent's own requests may cost, as configured.
    pub request_budget_dollars_per_month: Option<f64>,
    /// How many times rarer than configured looks at buckets are, so that requests stay within their budget: 1 is as
    /// configured; `None` without such a budget.
    pub look_spacing: Option<f64>,
}

impl CostReport {
    /// How many times rarer than configured looks at buckets are, if they are.
    pub fn rarer(&self) -> Option<f64> {
        self.look_spacing.filter(|times| *times > 1.0)
    }
}

/// How saving what survives a restart goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StateReport {
    /// Whether the last attempt succeeded; `None` before the first.
    pub saved: Option<bool>,
    /// When it was last saved since the start; `None` before the first time.
    pub last_saved_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub reason: Option<Reason>,
    /// How often a damaged state was set aside and begun anew since the start.
    pub set_aside: u64,
}

/// How a bucket is set up. What its provider does not know, and what the agent may not ask, is unknown.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BucketReport {
    /// The `bucket` label: its name, behind the endpoint's host where that is not Amazon's.
    pub bucket: String,
    /// When the bucket was last looked at and anything was found out.
    pub checked_at: Option<Timestamp>,
    /// Old versions of objects are kept.
    pub versioning_enabled: Option<bool>,
    /// Settings of the bucket keep policies and access lists from opening it.
    pub public_access_blocked: Option<bool>,
    /// Its policy or access list lets anybody in.
    pub public: Option<bool>,
    /// Objects can be protected from being deleted or overwritten for a time.
    pub object_lock_enabled: Option<bool>,
    /// A lifecycle rule expires noncurrent versions of all replicas in it.
    pub noncurrent_expiry_configured: Option<bool>,
    /// Why something of it is unknown.
    pub reason: Option<Reason>,
}

/// Scheduled drills of buckets over 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillBudgetReport {
    /// Bytes that may be downloaded in 24 hours.
    pub budget_bytes: u64,
    /// Bytes downloaded in the last 24 hours, with what the drill that runs is expected to download.
    pub downloaded_bytes: u64,
}

/// One place to which alerts are sent, and how that goes. Its address is a secret.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReceiverReport {
    /// The `receiver` label: the name in the configuration.
    pub receiver: String,
    /// The kind of receiver: `alertmanager`, `webhook`, `slack`, `smtp`, `pagerduty`, `ntfy` or `deadman`.
    pub kind: &'static str,
    /// Notifications that were attempted since the start.
    pub notifications: u64,
    /// How many notifications failed since the start, by the kind of the reason.
    pub failures: Vec<(&'static str, u64)>,
    /// When a notification was last accepted; `None` before the first time.
    pub last_success_at: Option<Timestamp>,
    /// Since when notifications fail without a success; `None` while the last attempt succeeded or nothing was to be
    /// sent.
    pub failing_since: Option<Timestamp>,
    /// Why the last attempt failed; without secrets.
    pub reason: Option<Reason>,
    /// Alerts that the receiver was not told of yet.
    pub waiting: usize,
}

/// The resources that the agent's own process uses.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProcessReport {
    /// Processor time since the start, user and system together.
    pub cpu_seconds: f64,
    /// Memory that the process holds in RAM.
    pub resident_memory_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many file descriptors may be open, by the soft limit; `None` when there is none.
    pub max_fds: Option<u64>,
    /// Internal errors (panics) since the start, each of which ended one piece of work.
    pub panics: u64,
}

/// How the last reload of the configuration went.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ConfigReport {
    /// The last reload succeeded; the start is one.
    pub last_reload_successful: bool,
    /// When the configuration was last read, or found to be as before.
    pub last_reload_success_at: Option<Timestamp>,
    /// When something of it last changed: the agent started, or took over another one.
    pub in_force_since: Option<Timestamp>,
    /// Why the last reload was refused; the configuration before it stays in force.
    pub error: Option<String>,
}

impl ConfigReport {
    /// A configuration that was read, and is in force from then on.
    pub fn read_at(at: Timestamp) -> Self {
        Self { last_reload_successful: true, last_reload_success_at: Some(at), in_force_since: Some(at), error: None }
    }
}

/// A place from which databases were discovered (`litestream.yml`, `streamgauge.toml`).
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SourceReport {
    /// The path of the file, or the URL of the place.
    pub source: String,
    /// It was last read without an error.
    pub success: bool,
    /// Databases that it names.
    pub databases: usize,
    /// What a person should look at, a sentence each.
    pub warnings: Vec<String>,
    /// Why it could not be read.
    pub error: Option<String>,
}

/// One kind of looking.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CollectorReport {
    /// The `collector` label: `local`, `sweep` or `replica`.
    pub collector: &'static str,
    /// The last round went well.
    pub success: bool,
    /// When a round last went well; `None` before the first time.
    pub last_success_at: Option<Timestamp>,
    /// When a round last ended, well or not; the agent's start before the first one.
    pub last_round_at: Timestamp,
    /// The longest time between two rounds when all is well; `None` while there is nothing to look at.
    pub interval_seconds: Option<f64>,
    /// How long rounds took.
    pub duration: DurationHistogram,
}

impl CollectorReport {
    /// Whether no round has ended for so long that a busy machine does not explain it.
    pub fn is_stuck(&self, since_round: Duration) -> bool {
        let late = |interval| since_round.as_secs_f64() > ROUND_INTERVALS_MAX * interval + ROUND_SLACK_SECONDS;
        self.interval_seconds.is_some_and(late)
    }
}

/// Requests to one kind of store.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StoreReport {
    /// The kind of store, such as `file` or `s3`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub store: StoreKind,
    /// Bytes received since the start.
    pub received_bytes: u64,
    /// Requests by what they ask for.
    pub operations: Vec<StoreOperationReport>,
    /// Requests in the last 15 minutes.
    pub recent_requests: u64,
    /// How many of the recent requests failed; that something is not there is an answer.
    pub recent_failures: u64,
    /// The clock of its servers against ours, positive when it is ahead, by the Date of their answers; the largest of several.
    /// At least so much: a Date has whole seconds.
    pub clock_offset_seconds: Option<f64>,
    /// The cost of requests and received bytes, projected from those since the start; `None` in the first hour.
    pub request_dollars_per_month: Option<f64>,
    /// One for each server.
    #[serde(skip)]
    pub billed: Vec<Billed>,
}

/// What a server was asked that it may send a bill for, without what it refused where that is not billed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Billed {
    /// Host and port, where the kind of store has more than one.
    pub host: Option<String>,
    pub reads: u64,
    pub lists: u64,
    /// Uploads, and questions about settings.
    pub others: u64,
    /// Bytes received.
    pub bytes: u64,
}

impl StoreReport {
    /// The part of the recent requests that failed; `None` while they are too few to tell.
    pub fn failure_ratio(&self) -> Option<f64> {
        let enough = self.recent_requests >= REQUEST_WINDOW_MIN;
        enough.then(|| self.recent_failures as f64 / self.recent_requests as f64)
    }
}

/// Requests to one kind of store that ask for the same thing.
#[derive(Clone, Debug, Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StoreOperationReport {
    /// What they ask for: `list`, `folders`, `read`, `write` (a beacon) or `posture` (settings of a bucket).
    pub operation: &'static str,
    /// Requests since the start.
    pub requests: u64,
    /// How many requests failed since the start, by the kind of the reason.
    pub failures: Vec<(&'static str, u64)>,
    /// How long requests took.
    pub duration: DurationHistogram,
}

/// How many durations lie between bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DurationHistogram {
    /// Durations at most as long as the bound of the same index in `DURATION_BOUNDS`, and longer than the one before;
    /// one more count for the rest.
    pub counts: [u64; DURATION_BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum_seconds: f64,
}

/// Upper bounds of the buckets, in seconds.
pub const DURATION_BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0];

impl DurationHistogram {
    pub fn observe(&mut self, duration: std::time::Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = DURATION_BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(DURATION_BOUNDS.len());
        self.counts[bucket] += 1;
        self.sum_seconds += seconds;
    }
}
