//! Planning around objects: those that are to be left out, and what restores without one that turned out to be damaged.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use super::plan_restore;
use super::request::RestoreRequest;
use crate::domain::litestream::{Folder, Hole, Layout, LevelKeys, Listed, ObjectName, PlanTarget, SegmentName, Txid};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::RestorePlan;
use crate::usecase::ports::{Content, Cursor, Page, ReplicaStore};

/// A replica that lists everything but these objects.
pub(super) struct Around<'a> {
    store: &'a dyn ReplicaStore,
    without: &'a BTreeSet<ObjectName>,
    left_out: Mutex<BTreeSet<ObjectName>>,
}

impl<'a> Around<'a> {
    pub(super) fn new(store: &'a dyn ReplicaStore, without: &'a BTreeSet<ObjectName>) -> Self {
        Self { store, without, left_out: Mutex::default() }
    }

    fn leave_out(&self, mut page: Page) -> Page {
        page.objects.retain(|object| {
            let kept = !self.without.contains(&object.name);
            if !kept {
                self.left_out.lock().unwrap_or_else(PoisonError::into_inner).insert(object.name);
            }
            kept
        });
        page
    }

    /// Ends a plan where it needs an object that was left out, and notes what is lost with others.
    pub(super) fn noted(self, mut plan: RestorePlan) -> RestorePlan {
        let left_out = self.left_out.into_inner().unwrap_or_else(PoisonError::into_inner);
        left_out.iter().for_each(|name| end_before(*name, &mut plan));
        let keys = plan.layout.keys();
        let lost = left_out.into_iter().filter(|name| leads_further(*name, &plan)).map(|name| name.key(keys));
        let notes: Vec<_> =
            lost.map(|key| format!("{key} is left out; anything that only it holds is not restored")).collect();
        plan.is_older |= !notes.is_empty();
        plan.notes.extend(notes);
        plan
    }
}

/// Of v0.3 a listing does not tell that the end of an index is missing: a plan goes on behind it, to a malformed database.
fn end_before(left_out: ObjectName, plan: &mut RestorePlan) {
    let ObjectName::Segment(generation, segment) = left_out else { return };
    let start = plan.objects.iter().find_map(Listed::snapshot).map(|file| file.index);
    if plan.generation != Some(generation) || start.is_none_or(|start| segment.index < start) {
        return;
    }
    let behind = |object: &Listed| object.segment().is_some_and(|file| file.name() > segment);
    let Some(next) = plan.objects.iter().position(behind) else { return };
    let before = plan.objects[next].segment().map(|file| file.name().position()).unwrap_or_default();
    plan.objects.truncate(next);
    let reached = plan.objects.last().and_then(Listed::segment).map(|file| file.name());
    let reached = reached.unwrap_or_else(|| SegmentName { index: start.unwrap_or_default(), offset: 0 });
    plan.through = plan.objects.iter().map(|object| object.at.instant()).max().unwrap_or_default();
    plan.shortfall = Some(Hole { after: reached.position(), before });
}

/// Whether a plan ends before an object does that would have continued it.
fn leads_further(name: ObjectName, plan: &RestorePlan) -> bool {
    match name {
        ObjectName::Ltx { name, .. } => plan.txid.is_some_and(|txid| name.max > txid),
        ObjectName::Snapshot(..) => false,
        ObjectName::Segment(generation, segment) => {
            let end = plan.objects.iter().filter_map(Listed::segment).map(|file| file.name()).max();
            plan.generation == Some(generation) && end.is_none_or(|end| segment > end)
        }
    }
}

#[async_trait]
impl ReplicaStore for Around<'_> {
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        self.store.layouts().await
    }

    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
        self.store.folders(layout).await
    }

    async fn all(&self, layout: Layout) -> Result<Option<Page>, Reason> {
        Ok(self.store.all(layout).await?.map(|page| self.leave_out(page)))
    }

    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        Ok(self.leave_out(self.store.list(folder, from, cursor).await?))
    }

    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
        self.store.read(name, offset, length).await
    }
}

/// Says what can be restored although an object is damaged, after planning that.
pub async fn way_out(store: &dyn ReplicaStore, request: &RestoreRequest, reason: Reason) -> Reason {
    if reason.kind != ReasonKind::Corrupt || reason.hint.is_some() {
        return reason;
    }
    let Some((key, name)) = reason.object.as_deref().and_then(|key| Some((key, name_of(key)?))) else { return reason };
    let mut around = RestoreRequest { base: None, ..request.clone() };
    if !around.without.insert(name) {
        return reason;
    }
    let hint = match plan_restore(store, &around).await {
        Ok(plan) if plan.shortfall.is_none() && !leads_further(name, &plan) => {
            format!("the same state restores without this object: use --without {key}")
        }
        Ok(plan) => {
            let state = plan.txid.map_or_else(String::new, |txid| format!(", TXID {txid},"));
            format!("an older state{state} restores without this object: use --without {key}")
        }
        Err(refused) => match (before(store, request, name).await, refused.hint) {
            (Some(txid), _) => format!("--txid {txid} restores what comes before it"),
            (None, Some(hint)) => format!("with --without {key}: {hint}"),
            (None, None) => "nothing restores without this object; another replica may".to_owned(),
        },
    };
    reason.with_hint(hint)
}

/// The object that a person calls so, whichever store the key is of.
pub fn name_of(key: &str) -> Option<ObjectName> {
    [LevelKeys::Plain, LevelKeys::Hex].into_iter().find_map(|keys| ObjectName::of_key(key, keys))
}

/// The TXID before an object, if its state restores.
async fn before(store: &dyn ReplicaStore, request: &RestoreRequest, damaged: ObjectName) -> Option<Txid> {
    let txid = Txid(damaged.ltx()?.min.0.checked_sub(1).filter(|txid| *txid > 0)?);
    let request = RestoreRequest { point: PlanTarget::Txid(txid), base: None, ..request.clone() };
    plan_restore(store, &request).await.is_ok().then_some(txid)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{Generation, SegmentFile, SnapshotFile};

    /// A plan of v0.3, of a snapshot of index 1 and segments that were uploaded one second after the other.
    fn planned(segments: &[(u32, u64)]) -> RestorePlan {
        let at = |second: usize| Timestamp::from_second(second as i64).unwrap();
        let snapshot = Listed::from((Generation(7), SnapshotFile { index: 1, size: 1, created: at(0) }));
        let segments = (1..).zip(segments).map(|(second, (index, offset))| {
            Listed::from((Generation(7), SegmentFile { index: *index, offset: *offset, size: 1, created: at(second) }))
        });
        RestorePlan {
            layout: Layout::V3,
            objects: std::iter::once(snapshot).chain(segments).collect(),
            txid: None,
            generation: Some(Generation(7)),
            through: at(9),
            shortfall: None,
            is_older: false,
            base: None,
            database_bytes: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_plan_of_v0_3_never_goes_on_behind_a_segment_that_is_left_out() {
        let without = |index, offset, segments: &[(u32, u64)]| {
            let mut plan = planned(segments);
            let left_out = ObjectName::Segment(Generation(7), SegmentName { index, offset });
            end_before(left_out, &mut plan);
            (plan.objects.len(), plan.through.as_second(), plan.shortfall.is_some(), leads_further(left_out, &plan))
        };
        // The end of an index, which no listing misses, and a part in its middle.
        assert_eq!(without(1, 8, &[(1, 0), (1, 4), (2, 0)]), (3, 2, true, true));
        assert_eq!(without(1, 4, &[(1, 0), (1, 8), (2, 0)]), (2, 1, true, true));
        assert_eq!(without(1, 0, &[(1, 4)]), (1, 0, true, true));
        // The newest, and one before the snapshot.
        assert_eq!(without(2, 4, &[(1, 0), (2, 0)]), (3, 9, false, true));
        assert_eq!(without(0, 4, &[(1, 0), (2, 0)]), (3, 9, false, false));
    }
}
