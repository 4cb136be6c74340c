//! What a backend has to offer, and what all of its replicas share.

use std::sync::Arc;

use super::checked::Calls;
use super::keys::KeyStore;
use super::s3::client::Clients;
use crate::domain::litestream::LevelKeys;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::ReplicaLocation;
use crate::usecase::ports::{BeaconStore, BucketStore};

/// Opens a place of one kind.
type Open<T> = fn(&ReplicaLocation, &Shared) -> Result<Box<T>, Reason>;

/// One kind of store: what its backend has to offer. Nothing here does IO.
pub(super) struct Kind {
    /// As [`ReplicaLocation::kind`] calls it.
    pub(super) name: &'static str,
    /// How Litestream names levels there.
    pub(super) keys: LevelKeys,
    pub(super) open: Open<dyn KeyStore>,
    pub(super) beacon: Open<dyn BeaconStore>,
    /// The bucket, where there is such a thing.
    pub(super) bucket: fn(&ReplicaLocation, &Shared, Calls) -> Option<Arc<dyn BucketStore>>,
    /// How far the clock of its servers is ahead of ours, in seconds, where they say the time.
    pub(super) clock_offset: fn(&Shared) -> Option<f64>,
}

/// What the replicas of one kind have in common.
pub(super) struct Shared {
    pub(super) s3: Arc<Clients>,
}

/// Why a place cannot be opened.
pub(super) fn unsupported(location: &ReplicaLocation) -> Reason {
    let (url, kind) = (location.url(), location.kind());
    let cause = format!("open {url}: replicas of type {kind} cannot be read by this version");
    Reason::new(ReasonKind::Unsupported, cause)
}
