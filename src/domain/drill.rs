//! A restore drill: what is wanted of it, and what it came to.

pub mod history;
pub mod probe;
pub mod schedule;

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
pub struct DrillRecord {
    pub database: String,
    pub replica: String,
    /// Without credentials.
    pub url: String,
    /// `streamgauge` and its version.
    pub program: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub result: DrillResult,
    /// Why it did not pass.
    pub reason: Option<Reason>,
    /// Only what was new since the drill before was restored.
    pub incremental: bool,
    pub restored: Option<DrillRestored>,
    /// In the order in which they were made.
    pub checks: Vec<DrillCheck>,
    pub probes: Vec<ProbeRecord>,
    /// Bytes received from the store and requests made, listing included.
    pub downloaded_bytes: u64,
    pub requests: u64,
    /// By the configured price table; known before the download (`estimated`) and as it turned out.
    pub estimated_dollars: f64,
    pub dollars: f64,
    /// From the first request to the restored file being on disk: the measured RTO.
    pub restore_seconds: Option<f64>,
    /// Everything.
    pub seconds: f64,
}

/// The database that a drill restored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillRestored {
    /// `v0.3` or `v0.5`.
    pub layout: String,
    /// `TXID …` or `generation …`.
    pub position: String,
    /// Nothing committed later is in it.
    pub recovery_point: Timestamp,
    pub bytes: u64,
    pub page_size: u32,
    /// SHA-256 of the restored file, in hexadecimal; absent when it was restored incrementally.
    pub sha256: Option<String>,
    pub objects: Vec<RestoredObject>,
    pub shortfall: Option<Hole>,
}

/// One step of a drill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillCheck {
    /// `restore`, `quick_check`, `foreign_key_check`, `compare`, …
    pub name: String,
    pub result: DrillResult,
    /// In a sentence, with the numbers.
    pub detail: String,
    pub seconds: f64,
}

/// The record of a probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeRecord {
    pub name: String,
    pub result: DrillResult,
    /// The answer as a number, where it is one: an age in seconds for `max_age`.
    pub value: Option<f64>,
    pub detail: String,
}

/// The history of one replica's drills; survives a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DrillHistory {
    /// When the agent first saw that it can be drilled.
    pub first_seen_at: Option<Timestamp>,
    /// The last one, however it ended.
    pub last: Option<DrillRecord>,
    pub last_success_at: Option<Timestamp>,
    /// The last one that passed or failed.
    pub last_conclusive: Option<DrillResult>,
    pub passed: u64,
    pub failed: u64,
    pub inconclusive: u64,
    pub next_due_at: Option<Timestamp>,
    /// Failures since the last one that passed.
    pub failed_in_a_row: u32,
    /// Inconclusive ones since the last that passed or failed.
    pub inconclusive_in_a_row: u32,
    /// Incremental ones since the last that restored everything.
    pub incremental_in_a_row: u32,
    /// How long the last one that restored everything took for it: the measured RTO.
    pub restore_seconds: Option<f64>,
    /// Downloads from buckets in the last 24 hours.
    pub downloads: Vec<DrillDownload>,
}

/// The download of one drill from a bucket: while it runs, the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrillDownload {
    /// When it began.
    pub at: Timestamp,
    pub bytes: u64,
}

/// The drills of one replica, as the report shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DrillReport {
    /// The time between two drills; `None` when they are off.
    pub interval_seconds: Option<f64>,
    /// Why none is due although they are on: the size, for one.
    pub withheld: Option<String>,
    /// One is running since then.
    pub running_since: Option<Timestamp>,
    /// About how much one that restores everything downloads.
    pub download_bytes: Option<u64>,
    /// The recovery time objective, where there is one.
    pub rto_seconds: Option<f64>,
    #[serde(flatten)]
    pub history: DrillHistory,
}
