//! What follows from all that was observed until one instant: facts, of which nobody has said yet whether they are good.
//!
//! `None` means unknown, and is rendered as absent: never as zero. Serialized it is most of the versioned JSON API
//! ([`Report`](super::report::Report)), so renaming a field here is a breaking change.

mod agent;
mod coverage;
mod litestream;
mod safety;
mod tally;
mod totals;

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

pub use self::agent::{
    AgentReport, Billed, BucketReport, CollectorReport, ConfigReport, CostReport, DURATION_BOUNDS, DrillBudgetReport,
    DurationHistogram, ProcessReport, ReceiverReport, Reduced, SeriesReport, SourceReport, StateReport,
    StoreOperationReport, StoreReport,
};
pub use self::coverage::{CoverageReport, LevelReport};
pub use self::litestream::{LitestreamEvidence, LitestreamReport};
pub use self::tally::{States, Tally};
pub use self::totals::Totals;
use super::assess::churn::ChurnReport;
use super::assess::growth::GrowthReport;
use super::assess::permissions::ModeReport;
use super::assess::proof::{LagUnknownReport, Method};
use super::assess::rates::Rates;
use super::assess::sizing::Sizing;
use super::beacon::BeaconReport;
use super::drill::DrillReport;
use super::litestream::Layout;
use super::observation::{Counters, Filesystem, WalSource};
use super::profile::{Profile, Selection};
use super::reason::Reason;
use super::replacement::ReplacementReport;
use super::spot::SpotReport;
use super::target::TargetName;
use super::timeline::TimelineReport;
use super::verification::VerificationReport;

/// What is known of the agent and of everything it watches.
#[derive(Clone, Debug, Default)]
pub struct Assessment {
    /// Each target was looked at once: what is missing below is unknown, not unread.
    pub complete: bool,
    pub agent: AgentReport,
    /// In the order of their names.
    pub databases: Vec<Arc<DatabaseReport>>,
    /// How many of these are in each state, in the order of [`DatabaseState::ALL`].
    pub states: States,
    /// Databases beyond the number that one agent watches.
    pub over_limit: usize,
    /// Which numbers are served.
    pub selection: Arc<Selection>,
}

impl Assessment {
    /// How many databases are in a state, also of those that are not in the list.
    pub fn count(&self, state: DatabaseState) -> usize {
        let beyond = if state == DatabaseState::OverLimit { self.over_limit } else { 0 };
        beyond + self.states[state as usize]
    }

    /// The place of the database of a name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.databases.binary_search_by(|database| database.name.as_str().cmp(name)).ok()
    }
}

words! {
    /// Whether a database can be watched.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum DatabaseState {
        /// Its files are read.
        Monitored = "monitored",
        /// Not looked at yet.
        #[default]
        Pending = "pending",
        /// There is no file.
        Missing = "missing",
        /// There is one and it cannot be read, or it is not a database.
        Unreadable = "unreadable",
        /// Only its replica is known: there is no local database to look at.
        Remote = "remote",
        /// Beyond the number of databases that one agent watches.
        OverLimit = "over_limit",
    }
}

/// A database, as it was at the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DatabaseReport {
    /// How the agent calls the database; unique, and the `database` label of its metrics.
    #[cfg_attr(test, schemars(with = "String"))]
    pub name: TargetName,
    /// Whether the database can be watched.
    pub state: DatabaseState,
    /// Why it is not monitored, or why the last look failed.
    pub reason: Option<Box<Reason>>,
    /// Its files; `None` where they are not on this host or were not read yet.
    // Shared by the reports between which only a replica changed.
    pub local: Option<Arc<LocalReport>>,
    /// The recovery point objective in force for this database.
    pub rpo_seconds: f64,
    /// Objectives for its replicas.
    pub objectives: ObjectivesReport,
    /// In the order of the configuration.
    pub replicas: Vec<ReplicaReport>,
    /// How many of its numbers are served.
    #[serde(skip)]
    pub metrics: Profile,
}

/// Litestream takes a snapshot so often unless it is told otherwise: `snapshot.interval` of v0.5 is 24 hours, and v0.3 takes
/// one when the last one is as old as its `retention`, 24 hours.
const DEFAULT_SNAPSHOT_INTERVAL_SECONDS: f64 = 86_400.0;

/// The objectives for the replicas of a database, if they are configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ObjectivesReport {
    /// How far back a restore has to reach.
    pub retention_seconds: Option<f64>,
    /// How often a snapshot has to appear.
    pub snapshot_interval_seconds: Option<f64>,
}

impl ObjectivesReport {
    /// How often a snapshot has to appear, in seconds: Litestream's own default where nothing is configured.
    pub fn snapshot_interval(&self) -> f64 {
        self.snapshot_interval_seconds.unwrap_or(DEFAULT_SNAPSHOT_INTERVAL_SECONDS)
    }
}

impl DatabaseReport {
    /// Whether the last look succeeded; `None` where there was none.
    pub fn up(&self) -> Option<bool> {
        match self.state {
            DatabaseState::Monitored => Some(self.reason.is_none()),
            DatabaseState::Missing | DatabaseState::Unreadable => Some(false),
            DatabaseState::Pending | DatabaseState::Remote | DatabaseState::OverLimit => None,
        }
    }

    /// The clock of the host that writes the database against the store's, positive when it is ahead: from a beacon,
    /// whose content that host dated and which the store dated when it came. The largest of several replicas.
    pub fn writer_offset_seconds(&self) -> Option<f64> {
        let offsets = self.replicas.iter().filter_map(|replica| replica.beacon.as_ref()?.writer_offset_seconds());
        offsets.max_by(|one, other| one.abs().total_cmp(&other.abs()))
    }

    /// How long a first snapshot may take to be there: 15 minutes, and a second for each 5 MB.
    pub fn first_snapshot_seconds(&self) -> f64 {
        let bytes = self.local.as_ref().map_or(0, |local| local.size_bytes);
        900.0 + (bytes / 5_000_000) as f64
    }
}

/// The local files when they were last read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LocalReport {
    /// The path of the database file.
    pub path: String,
    /// When the files were last read; where nothing was new, up to five minutes before that.
    pub observed_at: Timestamp,
    /// The filesystem does not tell of changes, so that the files are read in turn: a change is seen later.
    pub polled: bool,
    /// Bytes in a page.
    pub page_size: u32,
    /// Size of the database file.
    pub size_bytes: u64,
    /// Size of the `-wal` file; `None`: there is none.
    pub wal_size_bytes: Option<u64>,
    /// The database is in WAL mode.
    pub journal_mode_wal: bool,
    /// Committed frames (pages) in the WAL; `None` where there is no WAL.
    pub wal_frames: Option<u32>,
    /// Frames that a checkpoint has copied into the database; `None` where that does not show.
    pub wal_backfilled_frames: Option<u32>,
    /// The lowest frame that a reader still needs, which is where checkpoints stop; `None` without such a reader.
    pub wal_oldest_reader_frame: Option<u32>,
    /// Where the state of the WAL was read; `None` where there is no WAL.
    pub wal_source: Option<WalSource>,
    /// Since when the WAL is known not to have begun anew: when it did, or when the agent first saw it as it is.
    pub wal_since: Option<Timestamp>,
    /// When the last commit was made, as far as files tell.
    pub last_commit_at: Option<Timestamp>,
    /// Totals since the agent first saw the database.
    pub counters: Counters,
    /// How fast the database grows and is written; `None` until there are two samples far enough apart.
    pub rates: Option<Rates>,
    /// Growth and writes over weeks, for the sizing guide.
    pub sizing: Sizing,
    /// Permissions and owners of its files and their directory.
    // Most databases have the same ones, and share them.
    pub modes: Arc<[ModeReport]>,
    /// The filesystem that holds the database and its WAL.
    pub filesystem: Option<FilesystemReport>,
    /// The filesystem that holds Litestream's metadata directory, where it is another one.
    // Rare, and boxed.
    pub staging_filesystem: Option<Box<FilesystemReport>>,
    /// How full a filesystem may be: 0.8 is 80 %.
    pub used_objective_ratio: f64,
    /// Size of Litestream's metadata directory.
    pub staging_bytes: Option<u64>,
    /// A process that holds a read lock on the database, as Litestream does; `None` where there is none or it does
    /// not show.
    pub lock_holder_pid: Option<u32>,
    /// Whether any process has the database open in WAL mode; `None` where locks do not show.
    pub open: Option<bool>,
    /// Whether another file was put in the place of the database while it was in use.
    pub replacement: ReplacementReport,
    /// Whether Litestream runs; `None` where none is configured for the database.
    pub litestream: Option<LitestreamReport>,
    /// The newest local TXID, which is how far Litestream claims to be (v0.5).
    pub txid_claim: Option<u64>,
}

impl LocalReport {
    /// Committed pages of the WAL that no checkpoint has copied into the database yet, in bytes.
    pub fn unbackfilled_bytes(&self) -> Option<u64> {
        let frames = self.wal_frames?.saturating_sub(self.wal_backfilled_frames?);
        Some(u64::from(frames) * u64::from(self.page_size))
    }

    fn filesystems(&self) -> impl Iterator<Item = &FilesystemReport> {
        self.filesystem.iter().chain(self.staging_filesystem.as_deref())
    }

    /// How full the fullest of its filesystems is: 0.8 is 80 %.
    pub fn used_ratio(&self) -> Option<f64> {
        self.filesystems().filter_map(FilesystemReport::used_ratio).reduce(f64::max)
    }

    /// When the first of its filesystems is full if it goes on filling as it does, in seconds; `None` when none does or
    /// that is not known.
    pub fn filesystem_full_seconds(&self) -> Option<f64> {
        self.filesystems().filter_map(FilesystemReport::full_seconds).reduce(f64::min)
    }
}

/// A filesystem and how it fills.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FilesystemReport {
    #[serde(flatten)]
    pub space: Filesystem,
    /// Steady growth of the space used, a second; what happens once does not count. 0 when it does not fill, `None`
    /// while it was not watched for long enough.
    pub filling_bytes_per_second: Option<f64>,
}

impl FilesystemReport {
    fn used_ratio(&self) -> Option<f64> {
        // As `df` has it: what is reserved is neither used nor to be had.
        let Filesystem { used_bytes, avail_bytes, .. } = self.space;
        let all = used_bytes.saturating_add(avail_bytes);
        (all > 0).then(|| used_bytes as f64 / all as f64)
    }

    fn full_seconds(&self) -> Option<f64> {
        let filling = self.filling_bytes_per_second.filter(|filling| *filling > 0.0)?;
        Some(self.space.avail_bytes as f64 / filling)
    }
}

/// A replica, as it was at the last look.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ReplicaReport {
    /// How the agent calls the replica; unique among those of the database, and the `replica` label of its metrics.
    pub name: String,
    /// The kind of store, such as `file` or `s3`.
    pub store: &'static str,
    /// The bytes that were left on the filesystem of a replica in a directory when it was last read, if nothing has arrived
    /// there for two minutes although commits are waiting; `None` otherwise.
    pub space_left_bytes: Option<u64>,
    /// Where it is, without credentials.
    pub url: String,
    /// The bucket that holds it, by its label among the buckets of the agent; `None` where there is no such thing.
    pub bucket: Option<String>,
    /// The release of Litestream that writes it; `None` until something was listed.
    #[cfg_attr(test, schemars(with = "Option<String>"))]
    pub layout: Option<Layout>,
    /// The last look succeeded: the listing was read and so was the newest object. `None` before the first look.
    pub up: Option<bool>,
    /// Why the last look failed.
    pub reason: Option<Box<Reason>>,
    /// How the recovery point was proven; `None` where none is.
    pub method: Option<Method>,
    /// The newest instant of which it is proven that all that was committed before it is in the bucket and chains to
    /// a snapshot.
    pub recovery_point: Option<Timestamp>,
    /// The age of the oldest unproven commit; 0 when there is none.
    pub lag_seconds: Option<f64>,
    /// The oldest commit may be older than `lag_seconds` says, at most by this: it was not seen being made, only that
    /// it came after the replica's newest file.
    pub lag_upper_bound_seconds: Option<f64>,
    /// When the oldest unproven commit was made; `None` when there is none, or that is not known.
    pub unreplicated_since: Option<Timestamp>,
    /// Committed WAL bytes that are not proven to be in the bucket.
    pub unreplicated_bytes: Option<u64>,
    /// `unreplicated_bytes` is a lower bound: the WAL was reset since the replica's newest file.
    pub unreplicated_bytes_lower_bound: bool,
    /// When the agent began to watch the replica.
    pub watched_since: Timestamp,
    /// When the last look was made that succeeded.
    pub verified_at: Option<Timestamp>,
    /// The longest time that may pass between two looks when all is well.
    pub verify_interval_seconds: f64,
    /// When it is looked at next at the latest, where that is rare because nothing was committed since it was proven.
    pub rests_until: Option<Timestamp>,
    /// When the newest object was made, by the replica's own dating.
    pub last_segment_at: Option<Timestamp>,
    /// The newest TXID in the bucket (v0.5).
    pub txid: Option<u64>,
    /// What could be restored; `None` until something was listed.
    pub coverage: Option<Arc<CoverageReport>>,
    /// To which instants it can be restored; `None` until everything was listed.
    pub timeline: Option<Arc<TimelineReport>>,
    /// The verification of its objects; `None` where none are read: by choice, or because they are encrypted.
    pub verification: Option<Arc<VerificationReport>>,
    /// Drills of the replica; `None` when it cannot be drilled: nothing was listed yet, or there is no drill.
    pub drill: Option<Arc<DrillReport>>,
    /// The beacon of the agent beside the database; `None` where that is this agent, and where there is none.
    pub beacon: Option<Arc<BeaconReport>>,
    /// Conclusions from several looks at the replica.
    pub keeping: KeepingReport,
    /// Pages that were compared with the live database; `None` where none are to be, or there is none.
    pub spot: Option<SpotReport>,
}

/// Conclusions from several looks at a replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeepingReport {
    /// How fast the replica grew; `None` until it was watched for long enough, and without a local database.
    pub growth: Option<GrowthReport>,
    /// The replica is ahead of what Litestream wrote here, and Litestream goes on writing behind it: the replica belongs to
    /// another history, or has another writer. `None` where that cannot be compared.
    pub foreign_history: Option<bool>,
    /// The cost of storing the replica, at the configured prices; `None` until it has been listed.
    pub storage_dollars_per_month: Option<f64>,
    /// For how long Litestream was told to keep history; `None` where that is not known, or all is kept.
    pub kept_seconds: Option<f64>,
    /// Whether file after file changes the same pages; `None` until two were read that tell.
    pub churn: Option<ChurnReport>,
    /// Since when the lag is unknown, and not by design; `None` when it is known.
    pub lag_unknown: Option<Box<LagUnknownReport>>,
}
