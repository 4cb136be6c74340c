//! Replicas in buckets and directories, the beacons beside them, and the settings of buckets.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::assessment::StoreReport;
use crate::domain::litestream::{Folder, Layout, Listed, ObjectName};
use crate::domain::reason::Reason;
use crate::domain::target::ReplicaLocation;

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order of their keys.
    pub objects: Vec<Listed>,
    /// The keys of what is there and has no name that Litestream gives.
    pub odd: Vec<String>,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<Cursor>,
}

/// Where a listing goes on: known to the store that made it, and to nobody else.
#[derive(Clone, Debug)]
pub struct Cursor(Arc<dyn Any + Send + Sync>);

impl Cursor {
    pub fn new(place: impl Any + Send + Sync) -> Self {
        Self(Arc::new(place))
    }

    /// What it was made of; `None` when that is something else.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.0.downcast_ref()
    }
}

/// What a read brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    There(Bytes),
    /// There is no such object, in a sentence.
    Missing(Reason),
}

impl Content {
    /// The bytes of an object that has to be there.
    ///
    /// # Errors
    ///
    /// That it is not, as [`ReasonKind::NotFound`](crate::domain::reason::ReasonKind::NotFound).
    pub fn required(self) -> Result<Bytes, Reason> {
        match self {
            Self::There(bytes) => Ok(bytes),
            Self::Missing(reason) => Err(reason),
        }
    }
}

/// A read-only view of one replica in a bucket or directory. There is deliberately no way to write.
///
/// Objects have the names that Litestream gives them; which key that is, and how the replica's root and a key make a place
/// in the bucket, is the backend's own business. All backends pass the same conformance suite (`tests/conformance`).
#[async_trait]
pub trait ReplicaStore: Send + Sync {
    /// The layouts that are there, newest first: one request. A replica that holds nothing has none; a bucket or root
    /// directory that does not exist is [`ReasonKind::NotFound`].
    ///
    /// [`ReasonKind::NotFound`]: crate::domain::reason::ReasonKind::NotFound
    async fn layouts(&self) -> Result<Vec<Layout>, Reason>;

    /// The folders of a layout that hold anything, or may, in the order in which they are to be listed: one request.
    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason>;

    /// The first page of everything that a layout holds: one request. `None`, without one, where a listing shows one folder
    /// only. The pages that follow are not to be had in this way: more than one page is listed folder by folder.
    async fn all(&self, _: Layout) -> Result<Option<Page>, Reason> {
        Ok(None)
    }

    /// One page of a folder: the first one, or the first one from `from` on (`from` itself included), or the one at the
    /// `cursor` of the page before it. One call is one request. A folder that is not there is an empty page.
    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason>;

    /// The names of everything in some folders, in any order, where those of each cost no more than a listing of what is new:
    /// counted as one request. `None`, without one, where they are dear, and where a folder has more than a page.
    async fn names(&self, _: &[Folder]) -> Result<Option<Vec<ObjectName>>, Reason> {
        Ok(None)
    }

    /// At most `length` bytes of an object from `offset` on; fewer where the object ends earlier. `offset` at or behind
    /// the end is an empty result.
    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason>;

    /// The bytes that are left on the filesystem of a directory, which is no request; `None` where that is not known, and of
    /// all other places.
    async fn space_left(&self) -> Option<u64> {
        None
    }
}

/// A place below which there are replicas.
#[async_trait]
pub trait Shelf: Send + Sync {
    /// The names of the folders directly below `prefix` that hold anything, ascending: one request for each thousand.
    /// `prefix` is empty or ends in `/`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason>;
}

/// Opens places below which replicas are, and accounts for what that took as for all reading.
pub trait Shelves: Send + Sync {
    /// The place at which a replica itself would be. Does no IO.
    fn shelf(&self, location: &ReplicaLocation) -> Result<Arc<dyn Shelf>, Reason>;
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
    /// When it came, by our clock.
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
