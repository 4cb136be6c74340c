//! The interfaces to the outside world. Infrastructure implements them; nothing inward knows how.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::drill::{DrillPolicy, DrillRecord};
use crate::domain::drill_schedule::DrillLimits;
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, DatabasePosture};
use crate::domain::reason::Reason;
use crate::domain::report::{ProcessReport, Report, SourceReport, StoreReport};
use crate::domain::target::{DatabaseFiles, ReplicaLocation, ReplicaTarget, Target, TargetName};

/// One object of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The key below the replica's root, such as `ltx/0/0000000000000001-0000000000000001.ltx`.
    pub key: String,
    pub size: u64,
    /// When the store says that the object was last modified.
    pub modified: Timestamp,
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In ascending byte order of their keys.
    pub objects: Vec<ObjectInfo>,
    /// There may be keys after the last one of this page.
    pub more: bool,
}

/// A read-only view of one replica in a bucket or directory. There is deliberately no way to write.
///
/// Keys are relative to the replica's root and use `/`; how the root and a key make a place in the bucket is the
/// backend's own business. All backends pass the same conformance suite (`tests/conformance`).
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// One page of the objects whose key starts with `prefix`, in ascending byte order, strictly after the key `after`.
    ///
    /// One call is one request. `prefix` is empty or ends in `/`. A prefix that holds nothing is an empty page, not an
    /// error; a bucket or root directory that does not exist is [`ReasonKind::NotFound`].
    ///
    /// [`ReasonKind::NotFound`]: crate::domain::reason::ReasonKind::NotFound
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ListPage, Reason>;

    /// The names directly below `prefix` that have keys below them (`0000`, `ltx`, a generation), ascending, without `/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason>;

    /// At most `length` bytes of an object from `offset` on; fewer where the object ends earlier.
    /// `offset` at or behind the end is an empty result.
    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason>;
}

/// What a watcher saw of one database.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    pub target: TargetName,
    pub look: Result<DatabaseLook, Reason>,
    /// Present when the sweep (or the first look) read it.
    pub posture: Option<DatabasePosture>,
    /// There are no events to be trusted for it (NFS, FUSE, overlay, too many watches): it is read in turn instead.
    pub polled: bool,
}

/// All databases of one agent, watched by events where the filesystem has them. Blocking: it lives on its own thread.
pub trait DatabaseWatch: Send {
    /// Replaces what is watched; the counters of targets that stay are kept.
    fn set_targets(&mut self, targets: Vec<(TargetName, DatabaseFiles)>);

    /// Looks at the databases that changed since the last poll (and at new ones). An idle database costs nothing.
    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate>;

    /// Looks at the next `count` databases in turn, events or not, with their posture.
    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate>;

    /// Looks at one database now. `None` when it is not watched, or is being written at this very moment.
    fn look(&mut self, target: &TargetName, now: Moment) -> Option<LocalUpdate>;
}

/// The one place that reads clocks.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// Opens replicas and accounts for what reading them took.
pub trait Stores: Send + Sync {
    /// Does no IO: what is wrong with a place is found by the first call.
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason>;

    fn report(&self) -> Vec<StoreReport>;
}

/// What is to be watched, and how. Blocking.
pub trait Configuration: Send + Sync {
    /// Reads everything anew. The error is for a person: all problems, one a line.
    fn load(&self) -> Result<Configured, String>;
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Configured {
    /// Sorted by name.
    pub targets: Vec<Target>,
    /// Targets beyond the number that one agent watches.
    pub over_limit: usize,
    pub sources: Vec<SourceReport>,
    pub pace: Pace,
    /// What holds for all scheduled drills together.
    pub drills: DrillLimits,
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
    /// Listing of the compacted levels and snapshots of a replica that changes.
    pub levels: Duration,
    /// Listing of everything, which notices deletions.
    pub reconcile: Duration,
    /// How long a target that is gone from the configuration is still watched.
    pub grace: Duration,
    /// Reading the configuration's directories anew.
    pub discovery: Duration,
    /// Looks in flight for one place (one bucket, one directory tree).
    pub concurrency: usize,
}

/// Where reports go.
pub trait Publisher: Send + Sync {
    fn publish(&self, report: Report);
}

/// What survives a restart: one opaque text a target. Blocking. Losing it loses comfort, not correctness.
pub trait Journal: Send {
    fn load(&mut self) -> Result<Vec<(String, String)>, Reason>;

    /// Adds or replaces entries, and forgets those named in `gone`.
    fn save(&mut self, entries: &[(String, String)], gone: &[String]) -> Result<(), Reason>;
}

/// The file that a restore writes. Blocking; several threads write it at once, each page once.
pub trait RestoreFile: Send + Sync {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason>;

    /// Makes it exactly `bytes` long; what was never written is zeros.
    fn set_len(&self, bytes: u64) -> Result<(), Reason>;

    /// Returns when everything written is on the disk.
    fn sync(&self) -> Result<(), Reason>;
}

/// Who is told how far a long work is.
pub trait Progress: Send + Sync {
    /// So many more bytes were received.
    fn received(&self, bytes: u64);
}

/// What is to be drilled.
#[derive(Clone, Debug, PartialEq)]
pub struct DrillJob {
    pub database: TargetName,
    /// To compare with; `None` when only the replica can be seen.
    pub files: Option<DatabaseFiles>,
    pub replica: ReplicaTarget,
    pub policy: DrillPolicy,
    /// Restore everything, whatever was kept of the drill before.
    pub full: bool,
}

/// Runs restore drills, each in a process of its own.
#[async_trait]
pub trait DrillRunner: Send + Sync {
    /// Runs one drill to its end, which comes no later than the policy's timeout. Whatever goes wrong is in the record.
    /// Dropping the future ends the process, and what it left is removed.
    async fn drill(&self, job: DrillJob) -> DrillRecord;
}

/// The agent's own use of the machine.
pub type ProcessProbe = fn() -> Option<ProcessReport>;
