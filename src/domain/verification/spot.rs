//! The input of a round of spot checks from the objects: the newest state, what a restore of it reads, and where in
//! those objects which page is, as far as that was read before.

use std::sync::Arc;

use super::FindingKind;
use super::budget::cost;
use super::job::{Job, shallow};
use super::ledger::Ledger;
use crate::domain::limits::FRAME_INDEXES_BYTES_MAX;
use crate::domain::litestream::{FrameIndex, Listed, LtxHeader, ObjectName};

use jiff::Timestamp;

/// The newest state of a replica, and the objects that a restore of it reads.
#[derive(Clone, Debug, PartialEq)]
pub struct SpotPlan {
    /// The header of the newest level-0 file, which says where in the WAL that state is.
    pub tip: LtxHeader,
    /// The newest first: a page is what the first one says that holds it.
    pub files: Vec<SpotFile>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct SpotFile {
    /// How its index is read.
    pub job: Job,
    /// `None`: it was not read, or not kept.
    pub frames: Option<Arc<FrameIndex>>,
}

impl Ledger {
    /// The plan of what to compare. The error says in a few words why nothing can be.
    pub fn spot_plan(&self) -> Result<SpotPlan, &'static str> {
        let v3 = |object: &Listed| object.name.ltx().is_none();
        if self.plan.first().is_some_and(v3) {
            return Err("v0.3 does not say where in its objects a page is");
        }
        let tip = self.tip.ok_or("the newest object does not say where in the WAL it ends, or nothing leads to it")?;
        let mut files = Vec::with_capacity(self.plan.len());
        for object in self.plan.iter().rev() {
            let record = self.objects.get(&object.name);
            if record.is_some_and(|record| record.fault.as_ref().is_some_and(|fault| spoils(fault.kind))) {
                return Err("an object that a restore needs is damaged");
            }
            let frames = record.filter(|record| record.known().is_some()).and_then(|record| record.frames.clone());
            let job = Job { object: *object, key: object.name.key(self.keys), want: shallow(object) };
            files.push(SpotFile { job, frames });
        }
        Ok(SpotPlan { tip, files })
    }

    /// Whether so many requests and bytes may be spent now.
    pub fn affords(&mut self, requests: u64, bytes: u64, now: Timestamp) -> bool {
        self.budget.available(now) >= cost(requests, bytes)
    }

    /// Counts what single pages took.
    pub fn spend(&mut self, requests: u64, bytes: u64) {
        self.budget.spend(requests, bytes);
        self.read_bytes = self.read_bytes.saturating_add(bytes);
    }

    /// A page of an object is not what it should be: whether its checksum is right is to be seen again.
    pub fn doubt(&mut self, name: ObjectName) {
        if let Some(record) = self.objects.get_mut(&name) {
            record.content = false;
        }
    }

    /// Keeps where the pages of an object are, while a restore needs it.
    pub(super) fn keep_frames(&mut self, name: ObjectName, frames: Option<Arc<FrameIndex>>) {
        let Some(frames) = frames else { return };
        let kept = self.objects.values().filter_map(|record| record.frames.as_ref());
        let size: usize = kept.map(|frames| frames.size()).sum();
        let record = self.objects.get_mut(&name).filter(|record| record.planned);
        if let Some(record) = record.filter(|_| size + frames.size() <= FRAME_INDEXES_BYTES_MAX) {
            record.frames = Some(frames);
        }
    }
}

/// Nothing can be read from an object with it.
fn spoils(kind: FindingKind) -> bool {
    matches!(kind, FindingKind::Corrupt | FindingKind::Truncated | FindingKind::Misnamed | FindingKind::Vanished)
}
