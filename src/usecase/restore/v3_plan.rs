//! Planning the restore of a v0.3 replica: list its generations, and choose as Litestream 0.3.13 does.

use jiff::Timestamp;

use super::request::RestoreRequest;
use crate::domain::limits::REPLAY_OBJECTS_MAX;
use crate::domain::litestream::{
    Folder, GenerationPlanError, GenerationsPlan, GenerationsPlanError, Hole, Layout, Listed, ListedGeneration,
    ObjectName, PlanTarget, SegmentFile, SegmentName, plan_generations, starting_snapshot,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::RestorePlan;
use crate::usecase::ports::ReplicaStore;
use crate::usecase::walk;

/// Plans what a restore reads.
///
/// # Errors
///
/// When the replica cannot be listed, or nothing there leads to what is asked for.
pub(super) async fn plan(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    let at = match request.point {
        PlanTarget::Latest => None,
        PlanTarget::Time(at) => Some(at),
        PlanTarget::Txid(txid) => {
            let message = format!("plan restore: TXID {txid} of a v0.3 replica, which has none");
            return Err(Reason::new(ReasonKind::Misconfigured, message).with_hint("name a time instead"));
        }
    };
    let listed = list(store, at).await?;
    let planned = plan_generations(&listed, at).map_err(|error| not_planned(&error))?;
    Ok(restore_plan(planned))
}

fn restore_plan(planned: GenerationsPlan) -> RestorePlan {
    let GenerationsPlan { generation, plan, cut, notes } = planned;
    let snapshot = plan.snapshot;
    let start = SegmentName { index: snapshot.index, offset: 0 };
    let reached = plan.segments.last().map_or(start, SegmentFile::name);
    let segments = plan.segments.iter().map(|segment| Listed::from((generation, *segment)));
    let objects: Vec<Listed> = std::iter::once(Listed::from((generation, snapshot))).chain(segments).collect();
    RestorePlan {
        layout: Layout::V3,
        txid: None,
        generation: Some(generation),
        through: objects.iter().map(|object| object.at.instant()).max().unwrap_or_default(),
        shortfall: cut.map(|cut| Hole { after: reached.position(), before: cut.name().position() }),
        objects,
        base: None,
        database_bytes: None,
        notes,
    }
}

fn not_planned(error: &GenerationsPlanError) -> Reason {
    let reason = Reason::new(ReasonKind::NotFound, format!("plan restore: {error}"));
    match error {
        GenerationsPlanError::NoGenerations => reason,
        GenerationsPlanError::BeforeFirst { first } => reason.with_hint(format!("the earliest time is {first}")),
        GenerationsPlanError::Broken { generation, cause, before } => {
            let mut reason = reason;
            if let GenerationPlanError::IndexMissing(index) | GenerationPlanError::FirstSegmentMissing(index) = cause {
                let missing = generation.segment_key(SegmentName { index: *index, offset: 0 });
                reason.message = format!("{}: {missing} is missing", reason.message);
            }
            match before {
                Some(before) => reason.with_hint(format!("the state at {before} precedes it: restore to that time")),
                None => reason,
            }
        }
    }
}

/// Lists the generations: of each, the snapshots and all segments from the one on that a restore starts from.
async fn list(store: &dyn ReplicaStore, at: Option<Timestamp>) -> Result<Vec<ListedGeneration>, Reason> {
    let mut listed = Vec::new();
    for generation in walk::generations(store).await? {
        let mut snapshots = Vec::new();
        walk::each(store, Folder::Snapshots(generation), None, |object| snapshots.extend(object.snapshot())).await?;
        let start = starting_snapshot(&snapshots, at).map(|snapshot| snapshot.index);
        let mut segments = Vec::new();
        // A generation without a start may still be the one that was written last, which a time does not ask for.
        if start.is_some() || at.is_none() {
            let from = start.map(|index| ObjectName::Segment(generation, SegmentName { index, offset: 0 }));
            walk::each(store, Folder::Wal(generation), from, |object| segments.extend(object.segment())).await?;
        }
        if segments.len() > REPLAY_OBJECTS_MAX {
            let message = format!("list {}: more than {REPLAY_OBJECTS_MAX} segments", generation.wal_prefix());
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        listed.push(ListedGeneration { generation, snapshots, segments });
    }
    Ok(listed)
}
