//! Replicas wherever they are, read only but for the beacon beside them. A file or a folder for each backend, and one wrapper
//! for all of them.

#[cfg(feature = "azure")]
mod abs;
mod beacon;
mod checked;
mod directory;
#[cfg(any(feature = "azure", feature = "webdav"))]
pub mod fuzz;
#[cfg(feature = "gcs")]
mod gs;
#[cfg(any(feature = "azure", feature = "gcs", feature = "webdav"))]
mod http;
mod keys;
mod kind;
#[cfg(any(feature = "azure", feature = "gcs"))]
mod login;
mod memory;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "oss")]
mod oss;
mod part;
mod reused;
mod s3;
#[cfg(feature = "sftp")]
mod sftp;
#[cfg(feature = "webdav")]
mod webdav;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

pub use kind::StoreOptions;
pub use memory::MemoryStore;

use crate::domain::assessment::StoreReport;
use crate::domain::reason::Reason;
use crate::domain::target::{ReplicaLocation, StoreKind, authority};
use crate::usecase::ports::{self, BeaconStore, BucketStore, ReplicaStore, Shelf};
use beacon::CheckedBeacon;
pub(super) use checked::printable;
use checked::{Calls, Checked, Gate, Meter};
use keys::Named;
use kind::{Kind, Shared, unsupported};

/// All kinds that can be read.
const KINDS: &[Kind] = &[
    #[cfg(feature = "azure")]
    abs::KIND,
    directory::KIND,
    #[cfg(feature = "gcs")]
    gs::KIND,
    #[cfg(feature = "nats")]
    nats::KIND,
    #[cfg(feature = "oss")]
    oss::KIND,
    s3::KIND,
    #[cfg(feature = "sftp")]
    sftp::KIND,
    #[cfg(feature = "webdav")]
    webdav::KIND,
];

/// Their names.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.of.as_str())
}

/// Whether this version can read replicas of that kind.
pub fn is_supported(location: &ReplicaLocation) -> bool {
    kind_of(location).is_ok()
}

/// Opens replicas and counts what is asked of them. It lives as long as the agent; stores that are dropped take their
/// clients and connections along.
pub struct Stores {
    gate: Arc<Gate>,
    shared: Shared,
    meters: Mutex<BTreeMap<StoreKind, Arc<Meter>>>,
}

impl Stores {
    /// Opens nothing yet.
    pub fn new(options: StoreOptions) -> Self {
        Self {
            gate: Arc::new(Gate::new(options.timeout, options.concurrency)),
            shared: Shared::new(options),
            meters: Mutex::default(),
        }
    }

    fn calls(&self, location: &ReplicaLocation) -> Calls {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let kind = location.kind();
        let meter = meters.entry(kind).or_insert_with(|| Arc::new(Meter::new(kind)));
        let host = location.endpoint().map(|endpoint| authority(endpoint).to_owned());
        Calls { place: location.url(), host, meter: Arc::clone(meter), gate: Arc::clone(&self.gate) }
    }
}

fn kind_of(location: &ReplicaLocation) -> Result<&'static Kind, Reason> {
    KINDS.iter().find(|kind| kind.of == location.kind()).ok_or_else(|| unsupported(location))
}

impl ports::Stores for Stores {
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let kind = kind_of(location)?;
        let backend = (kind.open)(location, &self.shared)?;
        Ok(Arc::new(Named::over(Checked { backend, calls: self.calls(location) }, kind)))
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
        let report = |(of, meter): (&StoreKind, &Arc<Meter>)| {
            let kind = KINDS.iter().find(|kind| kind.of == *of);
            let clock_offset_seconds = kind.and_then(|kind| (kind.clock_offset)(&self.shared));
            StoreReport { clock_offset_seconds, ..meter.report() }
        };
        meters.iter().map(report).collect()
    }
}

impl ports::Shelves for Stores {
    fn shelf(&self, location: &ReplicaLocation) -> Result<Arc<dyn Shelf>, Reason> {
        let backend = (kind_of(location)?.shelf)(location, &self.shared)?;
        Ok(Arc::new(Checked { backend, calls: self.calls(location) }))
    }
}
