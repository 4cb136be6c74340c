//! Replicas in directories and buckets, read only but for the beacon beside them. One file for each backend and one wrapper for all of them.

mod beacon;
mod checked;
mod directory;
mod memory;
mod s3;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub use memory::MemoryStore;

use crate::domain::assessment::StoreReport;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::ReplicaLocation;
use crate::usecase::ports::{self, BeaconStore, BucketStore, ReplicaStore};
pub(super) use checked::printable;
use checked::{Calls, Checked, Gate, Meter};

/// What all stores have in common.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// How long one call may take, retries included; waiting for a permit does not count.
    pub timeout: Duration,
    /// Calls in flight at once, over all stores. At least one.
    pub concurrency: usize,
    /// PEM file with certificate authorities that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Opens replicas and counts what is asked of them. It lives as long as the agent; stores that are dropped take their
/// clients and connections along.
pub struct Stores {
    gate: Arc<Gate>,
    clients: Arc<s3::Clients>,
    meters: Mutex<BTreeMap<String, Arc<Meter>>>,
}

impl Stores {
    pub fn new(options: StoreOptions) -> Self {
        Self {
            gate: Arc::new(Gate::new(options.timeout, options.concurrency)),
            clients: Arc::new(s3::Clients::new(options.timeout, options.ca_file)),
            meters: Mutex::default(),
        }
    }

    fn calls(&self, store: &str, place: String) -> Calls {
        Calls { place, meter: self.meter(store), gate: self.gate.clone() }
    }

    fn meter(&self, store: &str) -> Arc<Meter> {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        meters.entry(store.to_owned()).or_insert_with(|| Arc::new(Meter::new(store))).clone()
    }
}

impl ports::Stores for Stores {
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let backend: Box<dyn ReplicaStore> = match location {
            ReplicaLocation::Directory(root) => Box::new(directory::DirectoryStore::new(root.clone())),
            ReplicaLocation::S3(place) => Box::new(s3::S3Store::new(place.as_ref().clone(), &self.clients)?),
            ReplicaLocation::Unsupported { kind, url } => {
                let cause = format!("open {url}: replicas of type {kind} cannot be read by this version");
                return Err(Reason::new(ReasonKind::Unsupported, cause));
            }
        };
        Ok(Arc::new(Checked::new(backend, self.calls(location.store(), location.url()))))
    }

    fn beacon(&self, location: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason> {
        let backend: Box<dyn BeaconStore> = match location {
            ReplicaLocation::Directory(root) => Box::new(beacon::DirectoryBeacon::new(root)),
            ReplicaLocation::S3(place) => Box::new(s3::beacon::S3Beacon::new(place.as_ref().clone(), &self.clients)?),
            ReplicaLocation::Unsupported { kind, url } => {
                let cause = format!("open {url}: replicas of type {kind} cannot be read by this version");
                return Err(Reason::new(ReasonKind::Unsupported, cause));
            }
        };
        Ok(Arc::new(beacon::CheckedBeacon::new(backend, self.calls(location.store(), location.url()))))
    }

    fn bucket(&self, location: &ReplicaLocation) -> Option<Arc<dyn BucketStore>> {
        let ReplicaLocation::S3(place) = location else { return None };
        let calls = self.calls(location.store(), format!("s3://{}", place.bucket));
        Some(Arc::new(s3::posture::S3Bucket::new(place, &self.clients, calls)))
    }

    fn report(&self) -> Vec<StoreReport> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let report = |(store, meter): (&String, &Arc<Meter>)| StoreReport {
            // A directory has no clock of its own that would say the time.
            clock_offset_seconds: (store == "s3").then(|| self.clients.clocks().offset(|_| true)).flatten(),
            ..meter.report()
        };
        meters.iter().map(report).collect()
    }
}
