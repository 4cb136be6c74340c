//! What a look at a replica brings back, and how deep a replica's objects are read.

use crate::domain::assess::proof::Evidence;
use crate::domain::reason::Reason;
use crate::domain::target::{LitestreamVersion, ReplicaTarget};
use crate::domain::verification::{Budget, Ledger, Listing, Verified, VerifyDepth, VerifyPolicy};
use crate::usecase::ports::FoundBeacon;
use crate::usecase::replica_probe::{Finding, ReplicaProbe, Seen};
use crate::usecase::verify::judge;

/// The outcome of a look at a replica.
pub(super) struct Look {
    pub(super) probe: ReplicaProbe,
    pub(super) result: Result<(Finding, Evidence), Reason>,
    pub(super) objects: SeenObjects,
    /// What was read of the beacon of the host that writes the database; `None` where it was not looked for.
    pub(super) beacon: Option<Result<Option<FoundBeacon>, Reason>>,
}

/// Single objects that a look saw, the newest one judged if it was read.
#[derive(Debug, Default)]
pub(super) struct SeenObjects {
    pub(super) listed: Option<Listing>,
    pub(super) judged: Option<Verified>,
}

impl SeenObjects {
    /// Takes from a probe what its last look saw. Decodes the newest object if that was read whole.
    pub(super) fn of(probe: &mut ReplicaProbe, verify: bool) -> Self {
        let Some(Seen { listed, newest }) = probe.take_seen().filter(|_| verify) else { return Self::default() };
        let judged =
            newest.and_then(|(object, content, bytes)| judge(object, object.name.key(listed.keys), &content, bytes));
        Self { listed: Some(listed), judged }
    }
}

/// An empty memory of verification for a replica.
pub(super) fn ledger(target: &ReplicaTarget, policy: &VerifyPolicy, restorer: Option<LitestreamVersion>) -> Ledger {
    let (depth, budget) = means(target, policy);
    Ledger::new(depth, budget, restorer.is_some_and(|restorer| !restorer.reads_blocks()))
}

/// How deep a replica's objects are verified, and for how many bytes a day. What is encrypted cannot be read.
pub(super) fn means(target: &ReplicaTarget, policy: &VerifyPolicy) -> (VerifyDepth, Budget) {
    let per_day = if target.location.is_remote() { policy.bucket } else { policy.directory };
    (if target.encrypted { VerifyDepth::None } else { policy.depth }, Budget::new(per_day))
}
