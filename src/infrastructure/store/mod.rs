//! Replicas in directories and buckets, read only but for the beacon beside them. One file for each backend and one wrapper for all of them.

mod beacon;
mod checked;
mod directory;
mod keys;
mod kind;
mod memory;
mod s3;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use memory::MemoryStore;

use crate::domain::assessment::StoreReport;
use crate::domain::reason::Reason;
use crate::domain::target::ReplicaLocation;
use crate::usecase::ports::{self, BeaconStore, BucketStore, ReplicaStore};
use beacon::CheckedBeacon;
pub(super) use checked::printable;
use checked::{Calls, Checked, Gate, Meter};
use keys::Named;
use kind::{Kind, Shared, unsupported};

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

/// All kinds that can be read.
const KINDS: &[Kind] = &[directory::KIND, s3::KIND];

/// Opens replicas and counts what is asked of them. It lives as long as the agent; stores that are dropped take their
/// clients and connections along.
pub struct Stores {
    gate: Arc<Gate>,
    shared: Shared,
    meters: Mutex<BTreeMap<String, Arc<Meter>>>,
}

impl Stores {
    pub fn new(options: StoreOptions) -> Self {
        Self {
            gate: Arc::new(Gate::new(options.timeout, options.concurrency)),
            shared: Shared { s3: Arc::new(s3::client::Clients::new(options.timeout, options.ca_file)) },
            meters: Mutex::default(),
        }
    }

    fn calls(&self, location: &ReplicaLocation) -> Calls {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = location.kind();
        let meter = meters.entry(kind.to_owned()).or_insert_with(|| Arc::new(Meter::new(kind, location.metered())));
        Calls { place: location.url(), meter: Arc::clone(meter), gate: Arc::clone(&self.gate) }
    }
}

fn kind_of(location: &ReplicaLocation) -> Result<&'static Kind, Reason> {
    KINDS.iter().find(|kind| kind.name == location.kind()).ok_or_else(|| unsupported(location))
}

impl ports::Stores for Stores {
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let kind = kind_of(location)?;
        let backend = (kind.open)(location, &self.shared)?;
        Ok(Arc::new(Named::over(Checked { backend, calls: self.calls(location) }, kind.keys)))
    }

    fn beacon(&self, location: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason> {
        let backend = (kind_of(location)?.beacon)(location, &self.shared)?;
        Ok(Arc::new(CheckedBeacon { backend, calls: self.calls(location) }))
    }

    fn bucket(&self, location: &ReplicaLocation) -> Option<Arc<dyn BucketStore>> {
        (kind_of(location).ok()?.bucket)(location, &self.shared, self.calls(location))
    }

    fn report(&self) -> Vec<StoreReport> {
        let meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let report = |(name, meter): (&String, &Arc<Meter>)| {
            let kind = KINDS.iter().find(|kind| kind.name == name);
            let clock_offset_seconds = kind.and_then(|kind| (kind.clock_offset)(&self.shared));
            StoreReport { clock_offset_seconds, ..meter.report() }
        };
        meters.iter().map(report).collect()
    }
}
