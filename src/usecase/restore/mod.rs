//! Restoring natively: list a replica, plan as Litestream does, read and prove every planned object, write each page once.

mod v5;

use std::sync::Arc;

use crate::domain::litestream::{Layout, PlanTarget};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestoreBase, RestorePlan, Restored};
use crate::domain::secret::Secret;
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

/// What is to be restored.
#[derive(Clone, Debug)]
pub struct RestoreRequest {
    pub point: PlanTarget,
    /// Apply only what is newer than this (v0.5). Ignored where it does not lead on to what is asked for: the plan's
    /// `base` says whether it is used.
    pub base: Option<RestoreBase>,
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

/// Lists a replica and plans what a restore reads.
///
/// # Errors
///
/// What kept the replica from being listed, or why nothing there leads to what is asked for.
pub async fn plan_restore(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    let layouts = Layout::recognise(&store.folders("").await?);
    match layouts.first() {
        Some(Layout::V5(keys)) => v5::plan_levels(store, *keys, request).await,
        Some(Layout::V3) => Err(Reason::new(ReasonKind::Unsupported, "restore: v0.3 replicas are not restored yet")),
        None => Err(Reason::new(ReasonKind::NotFound, "restore: no replica there")),
    }
}

/// Reads and proves every planned object and writes the database, each page once. With a base, `file` is the database
/// that it describes; else it is empty.
///
/// # Errors
///
/// The first object that cannot be read or is not what it should be, by key and offset. What was written is then void.
pub async fn restore(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<Restored, Reason> {
    match plan.layout {
        Layout::V5(_) => v5::restore_levels(store, plan, file, options, progress).await,
        Layout::V3 => Err(Reason::new(ReasonKind::Unsupported, "restore: v0.3 replicas are not restored yet")),
    }
}
