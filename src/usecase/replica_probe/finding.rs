//! What one look finds, and how it reads an object.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::assess::proof::Chain;
use crate::domain::assessment::CoverageReport;
use crate::domain::litestream::{Coverage, Layout, Listed, ObjectName};
use crate::domain::moment::{Moment, signed};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::Listing;
use crate::usecase::ports::ReplicaStore;

/// How often one look lists everything anew to see whether a hole is still there.
pub(super) const RELISTINGS_MAX: usize = 3;

/// The findings of a look, apart from what it proves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub layout: Option<Layout>,
    pub coverage: Arc<CoverageReport>,
    /// The newest TXID of v0.5.
    pub txid: Option<u64>,
    /// The newest object's time.
    pub last_segment_at: Option<Timestamp>,
    /// To which instants it can be restored; `None` until everything was listed.
    pub timeline: Option<Arc<TimelineReport>>,
    /// Bytes of level-0 files that appeared since the first look; `None` for v0.3, and where nothing was listed.
    pub received_bytes: Option<u64>,
    /// How many there were.
    pub received_objects: Option<u64>,
    /// The problem of the newest object, if an older one had to tell how far the replica is.
    pub damaged: Option<Box<Reason>>,
    /// The bytes that are left on the filesystem of a directory in which nothing has arrived for a while, though something waits.
    pub space_left: Option<u64>,
}

/// Single objects that a look listed, whether or not it succeeded in the end.
#[derive(Clone, Debug)]
pub struct Seen {
    pub listed: Listing,
    /// The newest object if it was read whole, and how many of its bytes were read for verification alone.
    pub newest: Option<(Listed, Bytes, u64)>,
}

/// Whether `interval` has gone by since `last`.
pub(super) fn due(last: Option<Moment>, interval: Duration, now: Moment) -> bool {
    last.is_none_or(|last| now.since(last) >= signed(interval))
}

/// Reads the beginning of an object, which is called `key`, and understands it, or says what is wrong with it. What is
/// corrupt is read a second time: only what comes twice is what is stored, and not what the way to it made of it.
///
/// # Errors
///
/// Why it could not be read, or that two reads differ.
pub(super) async fn read_understood<T: Send>(
    store: &dyn ReplicaStore,
    (name, key): (ObjectName, &str),
    length: u64,
    understand: impl Fn(&Bytes) -> Result<T, Reason> + Send + Sync,
) -> Result<(Bytes, Result<T, Reason>), Reason> {
    let first = store.read(name, 0, length).await?.required()?;
    let understood = understand(&first);
    if !understood.as_ref().is_err_and(|reason| reason.kind == ReasonKind::Corrupt) {
        return Ok((first, understood));
    }
    let second = store.read(name, 0, length).await?.required()?;
    if second == first {
        return Ok((first, understood));
    }
    let differ = |_| Reason::new(ReasonKind::Failed, "two reads of it differ").of_object(key);
    let understood = understand(&second).map_err(differ)?;
    Ok((second, Ok(understood)))
}

pub(super) fn corrupt(key: &str, error: impl std::fmt::Display) -> Reason {
    Reason::new(ReasonKind::Corrupt, error.to_string()).of_object(key)
}

/// How the chain of a replica that was just listed stands.
pub(super) fn chain<S>(coverage: &Coverage<S>, sampled: Moment) -> Chain {
    if !coverage.restorable {
        return Chain::NoStart;
    }
    match coverage.lost_since.filter(|_| !coverage.holes.is_empty()) {
        None => Chain::Complete,
        Some(lost) => Chain::Broken { end: coverage.reached_at, lost_since: lost.min(sampled.wall()) },
    }
}
