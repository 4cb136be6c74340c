//! The interfaces to the outside world. Infrastructure implements them; nothing inward knows how.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, DatabasePosture};
use crate::domain::reason::Reason;
use crate::domain::target::{DatabaseFiles, TargetName};

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

/// One database, read once and without memory. Blocking: call it where blocking is allowed.
pub trait LocalDatabase: Send + Sync {
    /// Reads where the database is. `now` must have been taken before the call; counters are zero.
    fn look(&self, files: &DatabaseFiles, now: Moment) -> Result<DatabaseLook, Reason>;

    /// Reads what is slow to read: modes, filesystem, Litestream's metadata directory, lock holder.
    fn posture(&self, files: &DatabaseFiles, now: Moment) -> DatabasePosture;
}

/// What a watcher saw of one database.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    pub target: TargetName,
    pub look: Result<DatabaseLook, Reason>,
    /// Present when the sweep (or the first look) read it.
    pub posture: Option<DatabasePosture>,
}

/// All databases of one agent, watched by events where the filesystem has them. Blocking: it lives on its own thread.
pub trait DatabaseWatch: Send {
    /// Replaces what is watched; the counters of targets that stay are kept.
    fn set_targets(&mut self, targets: Vec<(TargetName, DatabaseFiles)>);

    /// Looks at the databases that changed since the last poll (and at new ones). An idle database costs nothing.
    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate>;

    /// Looks at the next `count` databases in turn, events or not, with their posture.
    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate>;

    /// The target's files are on a filesystem whose events cannot be trusted (NFS, FUSE, overlay): poll it by sweeping.
    fn untrusted(&self) -> Vec<TargetName>;
}
