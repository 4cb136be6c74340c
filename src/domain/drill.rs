//! A restore drill: what is wanted of it, and what it came to.

pub mod history;
pub mod probe;
pub mod schedule;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::litestream::Hole;
use super::price::ConfiguredPrices;
use super::reason::Reason;
use super::restore::RestoredObject;

/// How a database is drilled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillPolicy {
    pub schedule: DrillSchedule,
    /// Drills whose plan has more bytes to download are not begun by the schedule. Default 10 GiB.
    pub size_max: u64,
    /// A drill that takes longer is ended, and inconclusive. Default 6 hours.
    pub timeout: Duration,
    /// How thoroughly SQLite checks the restored database. Default [`Integrity::Quick`].
    pub integrity: Integrity,
    /// Ask for `foreign_key_check` as well. Rows that violate foreign keys fail the drill, unless the restored database is
    /// proven to be what the live one is: then they are a matter of the data and not of the backup. Default true.
    pub foreign_keys: bool,
    /// Compare with the live database where positions allow, which reads it once. Default true.
    pub compare: bool,
    /// Of so many drills, one restores everything; the others apply what is new to the copy of the last one, which is
    /// kept. 1 (the default): every drill restores everything, and nothing is kept.
    pub full_every: u32,
    /// Bytes of memory that the drill's process may use. Default 512 MiB.
    pub memory_max: u64,
    pub probes: Vec<DrillProbe>,
    pub prices: ConfiguredPrices,
    /// Restoring may take so long; above, the check RestoreTooSlow fails.
    pub rto: Option<Duration>,
    /// The restored database must contain every commit that is older than this. Default 5 minutes.
    pub rpo: Duration,
}

impl Default for DrillPolicy {
    fn default() -> Self {
        Self {
            schedule: DrillSchedule::BySize,
            size_max: 10 << 30,
            timeout: Duration::from_secs(6 * 3600),
            integrity: Integrity::Quick,
            foreign_keys: true,
            compare: true,
            full_every: 1,
            memory_max: 512 << 20,
            probes: Vec::new(),
            prices: ConfiguredPrices::default(),
            rto: None,
            rpo: Duration::from_secs(300),
        }
    }
}

/// When the agent drills a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DrillSchedule {
    /// Never; `streamgauge drill` still does.
    Off,
    /// Daily up to a download of 1 GiB, every 30 days above.
    BySize,
    Every(Duration),
    /// A cron expression of five fields with an optional time zone behind it.
    Cron(String),
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    #[serde(rename_all = "snake_case")]
    pub enum Integrity {
        /// `PRAGMA quick_check`: every page is where it belongs.
        Quick = "quick",
        /// `PRAGMA integrity_check`: also that indexes hold what their tables hold; about ten times as long.
        Full = "integrity",
        None = "none",
    }
}

/// A query whose answer tells whether the restored data is what it should be. It has to give one row of one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillProbe {
    /// The `probe` label.
    pub name: String,
    pub query: String,
    pub expect: Expectation,
}

/// All that are given have to hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The answer is an instant (Unix seconds or milliseconds, or a date text as SQLite writes it) and not older than
    /// this when the drill starts.
    pub max_age: Option<Duration>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// The answer as text.
    pub equals: Option<String>,
}

words! {
    /// The result of a drill.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum DrillResult {
        /// It restores, and every check passed.
        Passed = "passed",
        /// The backup does not restore, or what was restored is wrong.
        Failed = "failed",
        /// It could not be found out: no space, no credentials, no answer, no time.
        #[default]
        Inconclusive = "inconclusive",
    }
}

/// One drill, with everything that an auditor asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillRecord {
    /// The name of the database.
    pub database: String,
    /// The name of the replica.
    pub replica: String,
    /// Where the replica is, without credentials.
    pub url: String,
    /// The program that drilled: `streamgauge` and its version.
    pub program: String,
    /// When the drill began.
    pub started_at: Timestamp,
    /// When the drill ended.
    pub finished_at: Timestamp,
    /// What the drill came to.
    pub result: DrillResult,
    /// Why the drill did not pass.
    pub reason: Option<Reason>,
    /// Only what was new since the drill before was restored.
    pub incremental: bool,
    /// What was restored; `None` where nothing was.
    pub restored: Option<DrillRestored>,
    /// Its steps, in the order in which they were made.
    pub checks: Vec<DrillCheck>,
    /// The answers to the queries of the configuration, in their order.
    pub probes: Vec<ProbeRecord>,
    /// Bytes received from the store, listing included.
    pub downloaded_bytes: u64,
    /// Requests made, listing included.
    pub requests: u64,
    /// The price by the configured table, as it was known before the download.
    pub estimated_dollars: f64,
    /// The price as it turned out.
    pub dollars: f64,
    /// From the first request to the restored file being on disk: the measured RTO.
    pub restore_seconds: Option<f64>,
    /// How long all of the drill took.
    pub seconds: f64,
}

/// The database that a drill restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillRestored {
    /// The release of Litestream that wrote the replica: `v0.3` or `v0.5`.
    pub layout: String,
    /// What was restored: `TXID …` or `generation …`.
    pub position: String,
    /// Nothing that was committed later is in the restored database.
    pub recovery_point: Timestamp,
    /// Size of the restored database.
    pub bytes: u64,
    /// Bytes in a page.
    pub page_size: u32,
    /// SHA-256 of the restored file, in hexadecimal; `None` when it was restored incrementally.
    pub sha256: Option<String>,
    /// The objects that were read and proven, in the order in which they were applied.
    pub objects: Vec<RestoredObject>,
    /// There are newer files that nothing leads to: the hole in front of them.
    pub shortfall: Option<Hole>,
}

/// The step that compares what was restored with the live database.
pub const COMPARE: &str = "compare";

/// The step that says how old what was restored is beside the live database.
pub const RECENCY: &str = "recency";

/// One step of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillCheck {
    /// What was checked: `restore`, `quick_check`, `foreign_key_check`, `compare`, …
    pub name: String,
    /// What the step came to.
    pub result: DrillResult,
    /// What was found, in a sentence with the numbers.
    pub detail: String,
    /// How long the step took.
    pub seconds: f64,
}

/// The record of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProbeRecord {
    /// The `probe` label: the name in the configuration.
    pub name: String,
    /// Whether the answer is as expected.
    pub result: DrillResult,
    /// The answer as a number, where it is one: an age in seconds for `max_age`.
    pub value: Option<f64>,
    /// What was answered and expected, in a sentence.
    pub detail: String,
}

/// The history of one replica's drills; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct DrillHistory {
    /// When the agent first saw that the replica can be drilled.
    pub first_seen_at: Option<Timestamp>,
    /// The last drill, however it ended.
    pub last: Option<Box<DrillRecord>>,
    /// When the last drill ended that passed.
    pub last_success_at: Option<Timestamp>,
    /// What the last drill came to that passed or failed.
    pub last_conclusive: Option<DrillResult>,
    /// Drills that passed, ever.
    pub passed: u64,
    /// Drills that failed, ever.
    pub failed: u64,
    /// Drills that found nothing out, ever.
    pub inconclusive: u64,
    /// When the next drill is due; `None` where none is.
    pub next_due_at: Option<Timestamp>,
    /// Drills that failed since the last one that passed.
    pub failed_in_a_row: u32,
    /// Drills that were inconclusive since the last one that passed or failed.
    pub inconclusive_in_a_row: u32,
    /// Incremental drills since the last one that restored everything.
    pub incremental_in_a_row: u32,
    /// How long the last drill that restored everything took for restoring: the measured RTO.
    pub restore_seconds: Option<f64>,
    /// Downloads from buckets in the last 24 hours.
    pub downloads: Vec<DrillDownload>,
}

/// The download of one drill from a bucket: while it runs, the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillDownload {
    /// When the drill began.
    pub at: Timestamp,
    /// Bytes downloaded, or expected to be.
    pub bytes: u64,
}

/// The drills of one replica, as the report shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DrillReport {
    /// The time between two drills; `None` when they are off.
    pub interval_seconds: Option<f64>,
    /// Why no drill is due although drills are on: the size, for one.
    pub withheld: Option<String>,
    /// When the drill began that is running now; `None` when none is.
    pub running_since: Option<Timestamp>,
    /// About how much a drill downloads that restores everything.
    pub download_bytes: Option<u64>,
    /// The recovery time objective: how long a restore may take; `None` where there is none.
    pub rto_seconds: Option<f64>,
    // Shared with the agent's own state of the replica.
    #[serde(flatten)]
    pub history: Arc<DrillHistory>,
}
