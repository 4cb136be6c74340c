//! Planning the restore of a v0.3 replica: list its generations, and choose as Litestream 0.3.13 does.

use jiff::Timestamp;

use super::request::RestoreRequest;
use crate::domain::limits::REPLAY_OBJECTS_MAX;
use crate::domain::litestream::{
    Folder, Generation, GenerationPlanError, GenerationsPlan, GenerationsPlanError, Hole, Layout, Listed,
    ListedGeneration, ObjectName, PlanTarget, SegmentFile, SegmentName, plan_generations, starting_snapshot,
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
            let message = format!("plan restore: no TXID {txid}: a v0.3 replica has none");
            return Err(Reason::new(ReasonKind::Misconfigured, message).with_hint("name a time instead"));
        }
    };
    let Found { generations, stranded } = list(store, at).await?;
    let planned = plan_generations(&generations, at).map_err(|error| not_planned(&error))?;
    let mut plan = restore_plan(planned, &stranded);
    plan.is_older |= at.is_some() && generations.iter().filter_map(newest).max() > Some(plan.through);
    Ok(plan)
}

/// What is there of the generations for one point.
#[derive(Default)]
struct Found {
    generations: Vec<ListedGeneration>,
    /// Segments from before the time that was asked for, of generations with no snapshot from before it.
    stranded: Vec<(Generation, SegmentFile)>,
}

fn restore_plan(planned: GenerationsPlan, stranded: &[(Generation, SegmentFile)]) -> RestorePlan {
    let GenerationsPlan { generation, plan, cut, notes } = planned;
    let snapshot = plan.snapshot;
    let start = SegmentName { index: snapshot.index, offset: 0 };
    let reached = plan.segments.last().map_or(start, SegmentFile::name);
    let segments = plan.segments.iter().map(|segment| Listed::from((generation, *segment)));
    let objects: Vec<Listed> = std::iter::once(Listed::from((generation, snapshot))).chain(segments).collect();
    let through = objects.iter().map(|object| object.at.instant()).max().unwrap_or_default();
    let newer = stranded.iter().filter(|(_, segment)| segment.created > through);
    let first = newer.min_by_key(|(_, segment)| segment.created);
    let cut = cut.map(|cut| cut.name().position());
    let cut = cut.or_else(|| first.map(|(of, segment)| format!("{of}/{}", segment.name().position())));
    RestorePlan {
        layout: Layout::V3,
        txid: None,
        generation: Some(generation),
        through,
        is_older: cut.is_some(),
        shortfall: cut.map(|before| Hole { after: reached.position(), before }),
        objects,
        base: None,
        database_bytes: None,
        notes,
    }
}

/// When the newest object of a generation was made.
fn newest(listed: &ListedGeneration) -> Option<Timestamp> {
    let snapshots = listed.snapshots.iter().map(|snapshot| snapshot.created);
    snapshots.chain(listed.segments.iter().map(|segment| segment.created)).max()
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
async fn list(store: &dyn ReplicaStore, at: Option<Timestamp>) -> Result<Found, Reason> {
    let mut found = Found::default();
    for generation in walk::generations(store).await? {
        let mut snapshots = Vec::new();
        walk::each(store, Folder::Snapshots(generation), None, |object| snapshots.extend(object.snapshot())).await?;
        let start = starting_snapshot(&snapshots, at).map(|snapshot| snapshot.index);
        let mut segments = Vec::new();
        if let (None, Some(at)) = (start, at) {
            // The first of them say whether it was written by then. Litestream makes a snapshot anew under the same name.
            let page = store.list(Folder::Wal(generation), None, None).await?;
            let early = page.objects.iter().filter_map(Listed::segment).filter(|segment| segment.created <= at);
            found.stranded.extend(early.map(|segment| (generation, segment)));
        } else {
            // A generation without a start may still be the one that was written last.
            let from = start.map(|index| ObjectName::Segment(generation, SegmentName { index, offset: 0 }));
            walk::each(store, Folder::Wal(generation), from, |object| segments.extend(object.segment())).await?;
        }
        if segments.len() > REPLAY_OBJECTS_MAX {
            let message = format!("list {}: more than {REPLAY_OBJECTS_MAX} segments", generation.wal_prefix());
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        found.generations.push(ListedGeneration { generation, snapshots, segments });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::litestream::SnapshotName;
    use crate::infrastructure::store::MemoryStore;

    /// Litestream 0.3.13 writes the snapshot of an idle database anew, under the same name.
    #[tokio::test]
    async fn a_newer_generation_whose_snapshot_is_later_is_a_shortfall() {
        let second = |second: i64| Timestamp::from_second(1_795_338_790 + second).unwrap();
        let [old, new] = ["1111111111111111", "2222222222222222"].map(|name| name.parse::<Generation>().unwrap());
        let store = MemoryStore::new();
        let segment = SegmentName { index: 0, offset: 0 };
        for (generation, snapshot, wal) in [(old, 1, 2), (new, 9, 5)] {
            store.put(generation.snapshot_key(SnapshotName { index: 0 }), "s", second(snapshot));
            store.put(generation.segment_key(segment), "w", second(wal));
        }
        let planned = async |at| {
            let point = PlanTarget::Time(second(at));
            let plan = plan(&store, &RestoreRequest::of(point)).await.unwrap();
            (plan.generation, plan.shortfall.map(|hole| hole.before))
        };
        assert_eq!(planned(4).await, (Some(old), None));
        assert_eq!(planned(6).await, (Some(old), Some("2222222222222222/00000000/00000000".to_owned())));
        assert_eq!(planned(9).await, (Some(new), None));
    }

    #[tokio::test]
    async fn a_state_is_older_where_something_was_written_later() {
        let second = |second| Timestamp::from_second(second).unwrap();
        let (store, generation) = (MemoryStore::new(), Generation(7));
        store.put(generation.snapshot_key(SnapshotName { index: 0 }), "s", second(10));
        for (offset, at) in [(0, 20), (100, 30)] {
            store.put(generation.segment_key(SegmentName { index: 0, offset }), "w", second(at));
        }
        let older = async |point| plan(&store, &RestoreRequest::of(point)).await.unwrap().is_older;
        assert!(!older(PlanTarget::Latest).await);
        assert!(!older(PlanTarget::Time(second(31))).await);
        assert!(older(PlanTarget::Time(second(25))).await);
        assert!(older(PlanTarget::Time(second(15))).await);
    }
}
