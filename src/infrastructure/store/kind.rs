//! What a backend has to offer, and what its replicas share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::checked::Calls;
use super::keys::KeyStore;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{BeaconStore, BucketStore};

/// Options that all stores have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreOptions {
    /// How long one call may take, retries included; waiting for a permit does not count.
    pub timeout: Duration,
    /// Calls in flight at once, over all stores. At least one.
    pub concurrency: usize,
    /// PEM file with certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// No healthy store takes longer to accept a connection.
const CONNECT_TIMEOUT_MAX: Duration = Duration::from_secs(5);

/// How long a connection may take to be made, of a call that may take `timeout`.
pub(super) fn connect_timeout(timeout: Duration) -> Duration {
    (timeout / 4).min(CONNECT_TIMEOUT_MAX)
}

/// Opens a place of one kind.
type Open<T> = fn(&ReplicaLocation, &Shared) -> Result<Box<T>, Reason>;

/// One kind of store: what its backend has to offer. Nothing here does IO. What it costs stands in the table of prices
/// (`domain::price`).
pub(super) struct Kind {
    /// Which one.
    pub(super) of: StoreKind,
    /// A listing of a prefix shows what is in the folders below it, too.
    pub(super) flat: bool,
    /// [`KeyStore::all`] tells of the folders directly below a prefix.
    pub(super) nested: bool,
    /// A listing of what is new in a folder reads the whole folder, as a directory has to be: all names cost no more.
    pub(super) whole: bool,
    pub(super) open: Open<dyn KeyStore>,
    /// The folders of the place itself, where replicas may be below it.
    pub(super) shelf: Open<dyn KeyStore>,
    pub(super) beacon: Open<dyn BeaconStore>,
    /// The bucket, where there is such a thing.
    pub(super) bucket: fn(&ReplicaLocation, &Shared, Calls) -> Option<Arc<dyn BucketStore>>,
    /// How far the clock of its servers is ahead of ours, in seconds, where they say the time.
    pub(super) clock_offset: fn(&Shared) -> Option<f64>,
}

impl Kind {
    /// A kind without a bucket, a clock and a place for beacons, whose levels are called as in a directory and listed one by
    /// one: what a row of the table does not say.
    pub(super) const fn plain(of: StoreKind) -> Self {
        Self {
            of,
            flat: false,
            nested: false,
            whole: false,
            open: |location, _| Err(unsupported(location)),
            shelf: |location, _| {
                let cause = format!("look for replicas below {}: not possible in this kind of store", location.url());
                Err(Reason::new(ReasonKind::Unsupported, cause).with_hint("name each replica in a [[database]]"))
            },
            beacon: |location, _| {
                let cause = format!("write a beacon beside {}: not possible in this kind of store", location.url());
                Err(Reason::new(ReasonKind::Unsupported, cause))
            },
            bucket: |_, _, _| None,
            clock_offset: |_| None,
        }
    }
}

/// What the replicas of each kind have in common, known by its type to its backend alone.
pub(super) struct Shared {
    options: StoreOptions,
    kept: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    pub(super) fn new(options: StoreOptions) -> Self {
        Self { options, kept: Mutex::default() }
    }

    /// The one of a type, made when it is first asked for, without IO.
    pub(super) fn of<T: Any + Send + Sync>(&self, make: impl FnOnce(&StoreOptions) -> T) -> Arc<T> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = kept.get(&TypeId::of::<T>()).and_then(|one| Arc::clone(one).downcast().ok()) {
            return found;
        }
        let made = Arc::new(make(&self.options));
        kept.insert(TypeId::of::<T>(), made.clone());
        made
    }
}

/// Why a place cannot be opened.
pub(super) fn unsupported(location: &ReplicaLocation) -> Reason {
    let (url, kind) = (location.url(), location.kind().as_str());
    let cause = format!("open {url}: replicas of type {kind} cannot be read by this version");
    Reason::new(ReasonKind::Unsupported, cause)
}
