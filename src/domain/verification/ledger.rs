//! The memory of verification: which objects of one replica were read and what was found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use jiff::Timestamp;

use super::budget::{Budget, REREADING_SHARE, VerifyDepth};
use super::listing::Listing;
use super::record::{Fault, MISSED_TWICE, Suspect};
use super::records::Records;
use super::{FindingKind, retention};
use crate::domain::limits::{FINDINGS_MAX, VERIFIED_OBJECTS_MAX, VERIFY_BACKLOG_MAX};
use crate::domain::litestream::{Folder, LevelKeys, Listed, LtxHeader, ObjectName, Txid};

/// The memory of one replica. Bounded: what is not needed is forgotten oldest first, and not read again.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(super) keys: LevelKeys,
    pub(super) depth: VerifyDepth,
    pub(super) budget: Budget,
    /// The part of it that is for what was read before.
    pub(super) rereading: Budget,
    /// The configured restorer reads LZ4 frames only.
    pub(super) reads_frames_only: bool,
    pub(super) objects: Records,
    /// The last name that was listed of each folder, in the order of the folders: what comes behind it is new.
    pub(super) marks: Vec<ObjectName>,
    /// Everything was listed once.
    pub(super) begun: bool,
    pub(super) plan: Vec<Listed>,
    /// A restore needs older objects, too.
    pub(super) cut: bool,
    /// No more is read: what could be and was not is left.
    pub(super) ended: bool,
    /// The header of the newest file, where it says which position of the WAL the plan leads to.
    pub(super) tip: Option<LtxHeader>,
    pub(super) fresh: BTreeMap<ObjectName, Listed>,
    /// `None`: nothing is odd.
    pub(super) odd: Option<Box<Oddities>>,
    /// Taken over from an earlier run, and nothing was listed since: the newest object may be known.
    pub(super) restored: bool,
    pub(super) structure_verified: u64,
    pub(super) content_verified: u64,
    pub(super) read_bytes: u64,
    pub(super) reread: u64,
    pub(super) reread_bytes: u64,
    pub(super) conflicts: u64,
}

/// What few replicas have.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Oddities {
    pub(super) suspects: BTreeMap<ObjectName, Suspect>,
    /// Were not there when they were to be read.
    pub(super) gone: BTreeSet<ObjectName>,
    pub(super) unreadable: BTreeSet<ObjectName>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Timestamp>,
    pub(super) related: Vec<(ObjectName, Fault)>,
    /// Files of level 0 that begin before the one in front of them ends.
    pub(super) overlaps: BTreeMap<ObjectName, ObjectName>,
}

/// Of all others.
static NONE: LazyLock<Oddities> = LazyLock::new(Oddities::default);

impl Ledger {
    pub(super) fn odd(&self) -> &Oddities {
        self.odd.as_deref().unwrap_or(&NONE)
    }

    pub(super) fn odd_mut(&mut self) -> &mut Oddities {
        self.odd.get_or_insert_default()
    }

    /// Nothing is remembered. `reads_frames_only`: the Litestream that is to restore is older than 0.5.16.
    pub fn new(depth: VerifyDepth, budget: Budget, reads_frames_only: bool) -> Self {
        let rereading = budget.part(REREADING_SHARE);
        Self { depth, budget, rereading, reads_frames_only, ..Self::default() }
    }

    /// Goes on with another depth and budget.
    pub fn set_policy(&mut self, depth: VerifyDepth, budget: Budget) {
        self.depth = depth;
        if budget.capacity() != self.budget.capacity() {
            self.rereading = budget.part(REREADING_SHARE);
            self.budget = budget;
        }
    }

    /// Objects are verified at all.
    pub fn is_on(&self) -> bool {
        self.depth != VerifyDepth::None
    }

    /// Says that no more is going to be read, as a command does that has read what it may.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Takes in what a look listed.
    pub fn take(&mut self, listed: &Listing, now: Timestamp) {
        if listed.iter().next().is_some() {
            self.keys = listed.keys;
        }
        self.restored = false;
        if self.begins_anew(listed) {
            self.start_over();
        }
        for object in listed.iter() {
            self.see(object);
        }
        self.overlap(listed);
        if listed.complete {
            self.miss(listed, now);
            self.fresh.retain(|name, _| !listed.lacks(*name));
            if let Some(odd) = &mut self.odd {
                odd.gone.clear();
            }
            self.begun = true;
        }
        while self.fresh.len() > VERIFY_BACKLOG_MAX {
            // Those of the lowest level go first, which the levels above hold as well.
            self.fresh.pop_first();
        }
        self.replan(&listed.plan);
        if self.fresh.is_empty() {
            // A map keeps its memory when it is emptied item by item.
            self.fresh = BTreeMap::new();
        }
        (self.tip, self.cut) = (listed.tip, listed.cut);
        self.relate(now);
        self.forget();
        self.odd.take_if(|odd| **odd == *NONE);
    }

    /// Whether all that is remembered was gone when everything was listed, and what is there now is none of it: a bucket that
    /// was emptied, or created again, and a new history in it, which has the names of the old one.
    fn begins_anew(&self, listed: &Listing) -> bool {
        let known = |object: &Listed| {
            let record = self.objects.get(&object.name);
            record.is_some_and(|record| (record.size, record.modified) == (object.size, object.at.instant()))
        };
        listed.complete
            && self.objects.len() > 0
            && self.objects.values().all(|record| record.missing >= MISSED_TWICE)
            && listed.iter().next().is_some()
            && !listed.iter().any(known)
    }

    /// Forgets the objects, and neither what may be read nor what was counted.
    fn start_over(&mut self) {
        (self.objects, self.marks, self.fresh) = Default::default();
        (self.odd, self.begun) = (None, false);
    }

    /// Nothing keeps an object from being read, or it is not to be read any more.
    pub(super) fn can_be_read(&mut self, name: ObjectName) {
        if let Some(odd) = &mut self.odd {
            odd.unreadable.remove(&name);
        }
    }

    fn see(&mut self, object: &Listed) {
        let name = object.name;
        let mark = self.mark(name.folder()).ok().map(|at| self.marks[at]);
        if let Some(record) = self.objects.get_mut(&name) {
            record.missing = 0;
            if record.fault.as_ref().is_some_and(|fault| fault.kind == FindingKind::Vanished) {
                record.fault = None;
            }
            if (record.size, record.modified) != (object.size, object.at.instant()) {
                record.again = Some(Box::new(*object));
            } else if record.again.as_deref().is_some_and(|again| again != object) {
                // It is as it was before it was listed otherwise.
                record.again = None;
            }
        } else if self.begun && mark < Some(name) {
            self.fresh.insert(name, *object);
        }
        if mark < Some(name) {
            self.set_mark(name);
        }
    }

    fn mark(&self, folder: Folder) -> Result<usize, usize> {
        self.marks.binary_search_by_key(&folder, |mark| mark.folder())
    }

    /// Says which name was listed last of its folder.
    pub(super) fn set_mark(&mut self, name: ObjectName) {
        match self.mark(name.folder()) {
            Ok(at) => self.marks[at] = name,
            Err(at) => {
                self.marks.reserve_exact(1);
                self.marks.insert(at, name);
            }
        }
    }

    /// A file of level 0 holds what was synced since the one before: one that overlaps another has another writer.
    fn overlap(&mut self, listed: &Listing) {
        if let Some(odd) = self.odd.as_mut().filter(|_| listed.complete) {
            odd.overlaps.retain(|name, _| !listed.lacks(*name));
        }
        let mut furthest: Option<(Txid, ObjectName)> = None;
        for object in listed.folder(Folder::Level(0)) {
            let Some(name) = object.name.ltx() else { continue };
            if let Some((_, other)) = furthest.filter(|(max, _)| name.min <= *max)
                && self.odd().overlaps.len() < FINDINGS_MAX
            {
                self.conflicts += u64::from(self.odd_mut().overlaps.insert(object.name, other).is_none());
            }
            furthest = furthest.max(Some((name.max, object.name)));
        }
    }

    /// Finds what a complete listing lacks: what two in a row lack and retention does not explain has vanished.
    fn miss(&mut self, listed: &Listing, now: Timestamp) {
        let mut explained = Vec::new();
        for (name, record) in self.objects.iter_mut() {
            if !listed.lacks(*name) {
                // What was found bad is read again once a complete listing; what was replaced stays replaced.
                let bad = record.fault.as_ref().is_some_and(|fault| fault.kind != FindingKind::Rewritten);
                if bad && record.again.is_none() {
                    record.again = listed.get(*name).copied().map(Box::new);
                }
                continue;
            }
            if retention::explains(listed, *name) {
                explained.push(*name);
                continue;
            }
            record.missing = record.missing.saturating_add(1);
            record.again = None;
            let vanished = record.fault.as_ref().is_some_and(|fault| fault.kind == FindingKind::Vanished);
            if record.missing >= MISSED_TWICE && !vanished {
                // A plan that ends behind it holds what was in it.
                let ends = listed.plan.last().and_then(|last| last.name.ltx()).zip(name.ltx());
                let reached = listed.unbroken && ends.is_some_and(|(last, name)| last.max >= name.max);
                let detail =
                    "it was there, but listings no longer show it, and retention does not explain that".to_owned();
                let needed = record.planned && !reached;
                record.fault = Some(Box::new(Fault { kind: FindingKind::Vanished, detail, seen_at: now, needed }));
            }
        }
        for name in explained {
            self.objects.remove(&name);
            self.can_be_read(name);
        }
    }

    /// Something that was verified was not in the last listing: a second one decides, and should come soon.
    pub fn is_suspicious(&self) -> bool {
        self.objects.values().any(|record| record.missing == 1)
    }

    fn replan(&mut self, plan: &[Listed]) {
        self.plan = plan.to_vec();
        for record in self.objects.values_mut().filter(|record| record.missing == 0) {
            record.planned = false;
        }
        for object in plan {
            self.fresh.remove(&object.name);
            if let Some(record) = self.objects.get_mut(&object.name) {
                record.planned = true;
            }
        }
        self.objects.values_mut().filter(|record| !record.planned).for_each(|record| record.frames = None);
    }

    /// Forgets the oldest of what is not needed, good ones first.
    pub(super) fn forget(&mut self) {
        let Some(excess) = self.objects.len().checked_sub(VERIFIED_OBJECTS_MAX).filter(|excess| *excess > 0) else {
            return;
        };
        // What is planned stays, or it would be read again; a plan is shorter than what may be remembered.
        let idle = self.objects.iter().filter(|(_, record)| !record.planned);
        let mut oldest: Vec<_> = idle.map(|(name, record)| (record.fault.is_some(), record.modified, *name)).collect();
        oldest.sort_unstable();
        oldest.into_iter().take(excess).for_each(|(_, _, name)| self.objects.remove(&name));
    }
}
