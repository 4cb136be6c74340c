//! Restoring natively: list a replica, plan as Litestream does, read and prove every planned object, write each page once.

mod around;
mod layouts;
mod pages;
mod reading;
mod request;
mod v3;
mod v3_plan;
mod v5;
mod v5_merge;
mod v5_plan;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use self::around::Around;
pub use self::around::{name_of, way_out};
use self::reading::Patient;
pub use self::request::{RestoreOptions, RestoreRequest};
pub(super) use self::v5_plan::{border, header};

use crate::domain::limits::RESTORE_PLANS_MAX;
use crate::domain::litestream::{Layout, PlanTarget};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestorePlan, Restored};
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

/// The time between two syncs of what is being restored.
const SYNC_INTERVAL: Duration = Duration::from_millis(200);

/// Lists a replica and plans what a restore reads.
///
/// # Errors
///
/// When the replica cannot be listed, or nothing there leads to what is asked for.
pub async fn plan_restore(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    let mut missing = None;
    for _ in 1..RESTORE_PLANS_MAX {
        match plan_once(store, request).await {
            // What was listed and is not there when it is read was deleted in between, unless the same is said again.
            Err(reason) if reason.kind == ReasonKind::NotFound && missing.as_ref() != Some(&reason) => {
                missing = Some(reason);
            }
            planned => return planned,
        }
    }
    plan_once(store, request).await
}

async fn plan_once(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    let patient = Patient(store);
    let around = Around::new(&patient, &request.without);
    let plan = layouts::plan(&around, request).await?;
    Ok(around.noted(plan))
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

/// As [`restore`], in the order of the pages: what is written begins where what was written before ends, or behind it.
/// `None` where the plan does not allow that with bounded memory.
pub async fn restore_in_order(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Option<Result<Restored, Reason>> {
    if !v5_merge::is_mergeable(&plan) {
        return None;
    }
    Some(v5_merge::restore_in_order(store, plan, file, options, progress).await)
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
        let work = restore(Arc::clone(&store), Arc::clone(&plan), Arc::clone(&file), options, progress);
        let gone = match synced(work, &file).await {
            Err(reason) if reason.kind == ReasonKind::NotFound && plans < RESTORE_PLANS_MAX => reason,
            done => return Ok((plan, done?)),
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

/// Waits for a restore to `file` and has what it writes written on to the disk meanwhile, so that little is left to wait
/// for in the end.
async fn synced(
    work: impl Future<Output = Result<Restored, Reason>>,
    file: &Arc<dyn RestoreFile>,
) -> Result<Restored, Reason> {
    let (ended, mut end) = oneshot::channel::<()>();
    let work = async move {
        let restored = work.await?;
        // Only what is whole is worth waiting for. Whoever syncs may have failed.
        let _ = ended.send(());
        Ok::<_, Reason>(restored)
    };
    let syncing = async {
        loop {
            let end = timeout(SYNC_INTERVAL, &mut end).await;
            let file = Arc::clone(file);
            match end {
                Ok(Err(_)) => return Ok(()),
                _ => spawn_blocking(move || file.sync()).await.map_err(reading::stopped)??,
            }
            if end.is_ok() {
                return Ok(());
            }
        }
    };
    let (restored, synced): (_, Result<(), Reason>) = tokio::join!(work, syncing);
    let restored = restored?;
    synced.map(|()| restored)
}
