//! Replicas in buckets and directories, the beacons beside them, and the settings of buckets.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::assessment::StoreReport;
use crate::domain::reason::Reason;
use crate::domain::target::ReplicaLocation;

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
