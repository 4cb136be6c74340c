//! The beacon of one replica: when it is written next, and how it is read.

use std::sync::Arc;

use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// When the beacon of a replica is written.
#[derive(Debug, Default)]
pub(super) struct Beaconing {
    /// `None`: as soon as there is something to say.
    pub(super) due: Option<Moment>,
    pub(super) in_flight: bool,
    /// It could not be written the last time.
    pub(super) failing: bool,
}

/// Looks for the beacon after a look at the replica, unless the bucket was just seen not to answer. `None` where no
/// beacon is looked for.
pub(super) async fn find<T>(
    store: Option<Result<Arc<dyn BeaconStore>, Reason>>,
    look: &Result<T, Reason>,
) -> Option<Result<Option<FoundBeacon>, Reason>> {
    let answers = look.as_ref().err().is_none_or(|reason| reason.kind == ReasonKind::Corrupt);
    match store.filter(|_| answers)? {
        Ok(store) => Some(store.find().await),
        Err(reason) => Some(Err(reason)),
    }
}
