//! The requests that callers make of a restore.

use std::collections::BTreeSet;

use crate::domain::litestream::{ObjectName, PlanTarget};
use crate::domain::restore::RestoreBase;
use crate::domain::secret::Secret;

/// The request for a restore.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    pub point: PlanTarget,
    /// Apply only what is newer than this (v0.5). Ignored where it does not lead on to what is asked for: the plan's
    /// `base` says whether it is used.
    pub base: Option<RestoreBase>,
    /// Objects that are planned around, as if they were not there.
    pub without: BTreeSet<ObjectName>,
}

impl RestoreRequest {
    /// A restore of all that is needed for it.
    pub fn of(point: PlanTarget) -> Self {
        Self { point, base: None, without: BTreeSet::new() }
    }
}

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// Objects, or parts of one, that are read at the same time.
    pub downloads: usize,
    /// Threads that decode.
    pub threads: usize,
    /// `age` identities for encrypted replicas (v0.3).
    pub identities: Vec<Secret>,
}
