//! Restoring natively: list a replica, plan as Litestream does, read and prove every planned object, write each page once.

mod layouts;
mod pages;
mod reading;
mod request;
mod v3;
mod v3_plan;
mod v5;
mod v5_plan;

use std::sync::Arc;

use tokio::task::spawn_blocking;

use self::reading::Patient;
pub use self::request::{RestoreOptions, RestoreRequest};
pub(super) use self::v5_plan::border;

use crate::domain::limits::RESTORE_PLANS_MAX;
use crate::domain::litestream::{Layout, PlanTarget};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestorePlan, Restored};
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

/// Lists a replica and plans what a restore reads.
///
/// # Errors
///
/// When the replica cannot be listed, or nothing there leads to what is asked for.
pub async fn plan_restore(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    layouts::plan(&Patient(store), request).await
}

/// Reads and proves every planned object and writes the database, each page once. With a base, `file` is the database
/// that it describes; else it is empty. What was written may not be on the disk yet when this returns.
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
        Layout::V3 => v3::restore(store, plan, file, options, progress).await,
    }
}

/// As [`restore`]; when an object that was planned is gone by the time it is read, as Litestream's retention deletes what
/// it has compacted, plans anew. Gives the plan that was followed in the end, with everything written on the disk.
///
/// # Errors
///
/// As [`restore`], and when what was planned first cannot be reached any more.
pub async fn restore_requested(
    store: Arc<dyn ReplicaStore>,
    request: &RestoreRequest,
    plan: RestorePlan,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<(Arc<RestorePlan>, Restored), Reason> {
    let mut plan = Arc::new(plan);
    let mut plans = 1;
    loop {
        let (options, progress) = (options.clone(), Arc::clone(&progress));
        let done = restore(Arc::clone(&store), Arc::clone(&plan), Arc::clone(&file), options, progress).await;
        let gone = match done {
            Err(reason) if reason.kind == ReasonKind::NotFound && plans < RESTORE_PLANS_MAX => reason,
            done => {
                let restored = done?;
                spawn_blocking(move || file.sync()).await.map_err(v5::stopped)??;
                return Ok((plan, restored));
            }
        };
        plans += 1;
        let anew = plan_restore(store.as_ref(), request).await?;
        let newer_is_right = request.point == PlanTarget::Latest && anew.txid >= plan.txid;
        if anew == *plan || !(newer_is_right || anew.txid == plan.txid) {
            return Err(gone);
        }
        plan = Arc::new(anew);
    }
}
