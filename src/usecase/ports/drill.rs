//! Drills, and the private space in which one runs.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Progress, RestoreFile};
use crate::domain::drill::probe::Answer;
use crate::domain::drill::{DrillPolicy, DrillRecord, Integrity};
use crate::domain::reason::Reason;
use crate::domain::restore::RestoreBase;
use crate::domain::target::{DatabaseFiles, ReplicaTarget, TargetName};

/// One drill of one replica, with the settings that it runs under.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DrillJob {
    pub database: TargetName,
    /// To compare with; `None` when only the replica can be seen.
    pub files: Option<Arc<DatabaseFiles>>,
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
    /// Called with the estimate before anything is downloaded.
    fn planned(&self, estimate: &DrillEstimate);

    /// Called when a step begins, with its name in a word or two.
    fn step(&self, name: &str);
}

/// The cost of a drill, estimated before the download.
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

    /// The copy that was kept from the previous drill.
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

/// The digest of a restored database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyDigest {
    pub sha256: String,
    /// One for each page, in the order of their numbers; as in [`LiveImage`](super::LiveImage).
    pub pages: Vec<u64>,
}

/// A restored database, as SQLite sees it. Blocking.
pub trait RestoredCopy: Send {
    /// Work that takes longer than this from now on is ended, with [`ReasonKind::Timeout`].
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

/// The findings of SQLite's own check, in its words; at most as many of each as the limits say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soundness {
    /// Of pages, rows and indexes.
    pub problems: Vec<String>,
    /// Rows that violate CHECK constraints; the error says why that could not be found out.
    pub constraints: Result<Vec<String>, String>,
}
