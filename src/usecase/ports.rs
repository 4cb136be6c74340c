//! The interfaces to the outside world. Infrastructure implements them; nothing inward knows how.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::alert::Alert;
use crate::domain::alerting::{Alerting, DeadmanTarget, ReceiverTarget};
use crate::domain::assessment::{ProcessReport, ReceiverReport, SourceReport, StoreReport};
use crate::domain::beacon::BeaconPolicy;
use crate::domain::drill::probe::Answer;
use crate::domain::drill::schedule::DrillLimits;
use crate::domain::drill::{DrillPolicy, DrillRecord, Integrity};
use crate::domain::moment::Moment;
use crate::domain::naming::Names;
use crate::domain::observation::{DatabaseLook, DatabasePosture};
use crate::domain::price::Costs;
use crate::domain::reason::Reason;
use crate::domain::report::Report;
use crate::domain::restore::RestoreBase;
use crate::domain::sqlite::WalPosition;
use crate::domain::target::{DatabaseFiles, ReplicaLocation, ReplicaTarget, Target, TargetName};
use crate::domain::verification::VerifyPolicy;

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

/// The place of one replica's beacon, which is not below the replica. It is the only thing that is ever written to a
/// store, and only where the configuration asks for it.
#[async_trait]
pub trait BeaconStore: Send + Sync {
    /// The beacon; `None` when there is none.
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason>;

    /// Writes it, in the place of the one before.
    async fn put(&self, content: Bytes) -> Result<(), Reason>;
}

/// A beacon that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBeacon {
    pub content: Bytes,
    /// When it came, by the store's clock.
    pub stored_at: Timestamp,
    /// The same by ours.
    pub written_at: Timestamp,
}

/// A bucket, of which only the settings are read.
#[async_trait]
pub trait BucketStore: Send + Sync {
    /// How it is set up: a few requests.
    async fn posture(&self) -> BucketPosture;
}

/// The settings of a bucket. What its provider does not know, and what may not be read, is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BucketPosture {
    pub versioning_enabled: Option<bool>,
    /// Settings of the bucket keep policies and access lists from opening it.
    pub public_access_blocked: Option<bool>,
    /// Its policy or access list lets anybody in, and nothing blocks that.
    pub public: Option<bool>,
    pub object_lock_enabled: Option<bool>,
    /// The prefixes of the keys whose noncurrent versions expire.
    pub noncurrent_expiry: Option<Vec<String>>,
    /// Why something is not known.
    pub reason: Option<Reason>,
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
    /// Whether its calls may wait for a disk. One that looks at memory needs no thread, and shares the agent's clock.
    fn blocks(&self) -> bool {
        true
    }

    /// Who reads single pages of these databases; `None` where that cannot be done.
    fn pages(&self) -> Option<Arc<dyn PageReader>> {
        None
    }

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

    /// The place of the replica's beacon. Does no IO either.
    fn beacon(&self, location: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason>;

    /// The bucket that holds the replica; `None` where there is no such thing. Does no IO either.
    fn bucket(&self, location: &ReplicaLocation) -> Option<Arc<dyn BucketStore>>;

    fn report(&self) -> Vec<StoreReport>;
}

/// What is to be watched, and how. Blocking.
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
    /// What holds for all scheduled drills together.
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
    /// How objects are verified.
    pub verify: VerifyPolicy,
    /// That beacons are written, and how often; `None`: nothing is ever written to a store.
    pub beacon: Option<BeaconPolicy>,
}

/// Where reports go.
pub trait Publisher: Send + Sync {
    fn publish(&self, report: Report);
}

/// Takes alerts to whoever should know. It never blocks: only the newest board counts, and what was not delivered yet is
/// seen by comparing with it.
pub trait AlertOutlet: Send + Sync {
    /// Takes over where alerts go; what a receiver of the same name was told stays known.
    fn configure(&self, alerting: &Alerting);

    /// Everything that is true now: after each evaluation, whether anything changed or not, because the dead-man's switch
    /// stops when nobody evaluates any more.
    fn tell(&self, board: AlertBoard);

    /// How each receiver does, in the order of the configuration.
    fn report(&self) -> Vec<ReceiverReport>;

    /// Who was told what, if that changed since it was last asked for: to be saved at once.
    fn unsaved(&self) -> Option<String>;

    /// Takes over what an earlier run saved, so that nobody is told twice and nobody waits for the end of an alert.
    fn restore(&self, saved: &str);
}

/// All alerts at one instant.
#[derive(Clone, Debug)]
pub struct AlertBoard {
    pub at: Timestamp,
    /// Every target was looked at, so that what is not on the board is well.
    pub complete: bool,
    /// How many databases and replicas without one are watched.
    pub databases: usize,
    /// Those that fire, and those that were resolved not long ago.
    pub alerts: Vec<Arc<Alert>>,
}

/// What a receiver is told at once.
#[derive(Clone, Debug)]
pub struct AlertMessage {
    /// The receiver's name.
    pub receiver: String,
    pub at: Timestamp,
    /// Those that fire, the worst first.
    pub firing: Vec<Arc<Alert>>,
    /// Those that did, and do no longer.
    pub resolved: Vec<Arc<Alert>>,
    /// Alerts that belong to this message and are only counted.
    pub omitted: usize,
    /// Alerts of which the receiver knows, or learns now, that they fire.
    pub firing_total: usize,
    /// Nothing is new: what still fires is told again.
    pub repeated: bool,
    /// What fires is taken to be over then unless it is told again.
    pub valid_until: Timestamp,
}

/// One place to which alerts go.
#[async_trait]
pub trait AlertReceiver: Send + Sync {
    /// Delivers one message. The error is without secrets: it names the host at most.
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason>;
}

/// A dead-man's switch.
#[async_trait]
pub trait DeadmanSwitch: Send + Sync {
    /// Says that all is well, or what is not.
    async fn ping(&self, failing: Option<&str>) -> Result<(), Reason>;
}

/// Opens what the configuration names. Does no IO: what is wrong with a place is found by the first message.
pub trait AlertReceivers: Send + Sync {
    /// The places that are told, each by itself: one, or each Alertmanager.
    fn open(&self, target: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>>;

    fn open_deadman(&self, target: &DeadmanTarget) -> Arc<dyn DeadmanSwitch>;
}

/// What an entry of the journal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// What is known of a target.
    Target,
    /// What is known of the objects of its replicas.
    Objects,
    Alerts,
    /// Who was told of them.
    Notified,
    /// The names of all databases.
    Names,
    /// How many databases each source had.
    Sources,
}

impl EntryKind {
    pub const ALL: [Self; 6] = [Self::Target, Self::Objects, Self::Alerts, Self::Notified, Self::Names, Self::Sources];

    /// Its word in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Objects => "objects",
            Self::Alerts => "alerts",
            Self::Notified => "notify",
            Self::Names => "names",
            Self::Sources => "sources",
        }
    }
}

/// Names an entry of the journal. Whatever a target is called, it is not an entry of another kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    pub kind: EntryKind,
    /// The target's; empty for what the agent has one of.
    pub name: String,
}

impl EntryKey {
    pub fn target(name: &TargetName) -> Self {
        Self { kind: EntryKind::Target, name: name.0.clone() }
    }

    pub fn objects(name: &TargetName) -> Self {
        Self { kind: EntryKind::Objects, name: name.0.clone() }
    }

    /// Of what the agent has one.
    pub fn only(kind: EntryKind) -> Self {
        Self { kind, name: String::new() }
    }
}

/// What survives a restart: opaque texts, one or two a target. Blocking. Losing it loses comfort, not correctness.
pub trait Journal: Send {
    /// All entries; of a journal that is damaged, those that could be read.
    fn load(&mut self) -> Result<Vec<(EntryKey, String)>, Reason>;

    /// Adds or replaces entries, and forgets those named in `gone`. After an error nothing is known to be saved any more.
    fn save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason>;

    /// How often a damaged journal was set aside and begun anew.
    fn set_aside(&self) -> u64 {
        0
    }
}

/// The file that a restore writes. Blocking; several threads write it at once, each page once.
pub trait RestoreFile: Send + Sync {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason>;

    /// Makes it exactly `bytes` long; what was never written is zeros.
    fn set_len(&self, bytes: u64) -> Result<(), Reason>;

    /// It is going to be about `bytes` long: an error if there is no room for that.
    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        let _ = bytes;
        Ok(())
    }

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

/// Who is told how a drill goes on.
pub trait DrillNews: Progress {
    /// What will be downloaded; nothing was yet.
    fn planned(&self, estimate: &DrillEstimate);

    /// What is being done now, in a word or two.
    fn step(&self, name: &str);
}

/// What a drill is going to cost, known before the download.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillEstimate {
    /// `TXID …` or `generation …`.
    pub position: String,
    pub objects: u64,
    /// Bytes to download.
    pub bytes: u64,
    pub requests: u64,
    pub dollars: f64,
    /// Bytes of the restored database, where the newest object says it.
    pub database_bytes: Option<u64>,
    /// Only what is new since the drill before is downloaded.
    pub incremental: bool,
}

/// Where one drill restores to: private, and gone afterwards. Blocking.
pub trait DrillSpace: Send + Sync {
    /// Bytes that may be written there, as far as the system tells: what is free, less what is always left free.
    fn free(&self) -> Option<u64>;

    /// No file there may grow larger than this from now on.
    fn bound(&self, bytes: u64) -> Result<(), Reason>;

    /// What is kept of the drill before.
    fn kept(&self) -> Option<KeptCopy>;

    /// The file to restore to: the kept copy as it is, or a new and empty one in its place. From this call on nothing
    /// counts as kept until [`keep`](Self::keep).
    fn file(&self, kept: bool) -> Result<Arc<dyn RestoreFile>, Reason>;

    /// Reads all that was restored, once.
    fn digest(&self, page_size: u32) -> Result<CopyDigest, Reason>;

    /// Opens what was restored with SQLite, which can change nothing.
    fn open(&self) -> Result<Box<dyn RestoredCopy>, Reason>;

    /// Keeps the restored copy for the next drill.
    fn keep(&self, copy: &KeptCopy) -> Result<(), Reason>;
}

/// The restored copy of an earlier drill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptCopy {
    pub base: RestoreBase,
    /// Incremental drills since everything was restored.
    pub incremental_drills: u32,
}

/// What reading a restored database showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyDigest {
    pub sha256: String,
    /// One for each page, in the order of their numbers; as in [`LiveImage`].
    pub pages: Vec<u64>,
}

/// A restored database, as SQLite sees it. Blocking.
pub trait RestoredCopy: Send {
    /// Work after this instant of the monotonic clock is ended, with [`ReasonKind::Timeout`].
    ///
    /// [`ReasonKind::Timeout`]: crate::domain::reason::ReasonKind::Timeout
    fn set_deadline(&mut self, remaining: Duration);

    /// Reads the schema.
    fn schema(&mut self) -> Result<(), Reason>;

    /// Reads all of it and looks for what is wrong.
    fn integrity(&mut self, integrity: Integrity) -> Result<Soundness, Reason>;

    /// Rows that refer to rows that are not there: how many, and one of them.
    fn foreign_keys(&mut self) -> Result<(u64, Option<String>), Reason>;

    /// Asks a query for its one value.
    fn probe(&mut self, query: &str) -> Result<Answer, Reason>;
}

/// What SQLite's own check found, in its words; at most as many of each as the limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soundness {
    /// Of pages, rows and indexes.
    pub problems: Vec<String>,
    /// Rows that violate CHECK constraints; the error says why that could not be found out.
    pub constraints: Result<Vec<String>, String>,
}

/// The live database, read as plain files, with no lock and no connection. Blocking.
pub trait LiveDatabase: Send + Sync {
    /// Where it is.
    fn position(&self) -> Result<LivePosition, Reason>;

    /// Its pages as they were at a position of its WAL, or as they are now. The error says why that cannot be known.
    fn image(&self, at: Option<LiveTarget>) -> Result<LiveImage, Reason>;
}

/// Reads single pages of live databases as plain files, with no lock and no connection. Blocking.
pub trait PageReader: Send + Sync {
    /// The pages of these numbers, in this order, as they were at a position of the WAL, or as they are in the file of a
    /// database that has none. The error says why that cannot be known.
    fn pages(&self, files: &DatabaseFiles, numbers: &[u32], at: &LiveTarget) -> Result<LivePages, Reason>;
}

/// Single pages of a live database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePages {
    pub page_size: u32,
    pub pages: Vec<Bytes>,
    /// They are of the position that was asked for; otherwise of the database file, of which no position is known.
    pub positioned: bool,
}

/// Where a live database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePosition {
    /// The committed end of its WAL; `None` when it has none.
    pub position: Option<WalPosition>,
    pub last_commit: Option<Timestamp>,
}

/// A position and how many pages the database has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveTarget {
    pub position: WalPosition,
    pub pages: u32,
}

/// The pages of a live database, as one hash each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveImage {
    pub page_size: u32,
    pub pages: Vec<u64>,
    /// The position whose image it is; `None` for the database file of which no position is known.
    pub position: Option<WalPosition>,
}

/// The agent's own use of the machine.
pub type ProcessProbe = fn() -> Option<ProcessReport>;
