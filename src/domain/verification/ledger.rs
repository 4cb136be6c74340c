//! The memory of verification: which objects of one replica were read and what was found, what is to be read next.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::budget::{Budget, VerifyDepth};
use super::finding::FindingKind;
use super::listing::Listing;
use super::record::{Facts, Fault, Job, Outcome, PageRuns, Record, Verified};
use super::relations::Suspect;
use super::{rereading, retention};
use crate::domain::limits::{FINDINGS_MAX, VERIFIED_OBJECTS_MAX, VERIFY_BACKLOG_MAX};
use crate::domain::litestream::{Folder, LevelKeys, Listed, LtxHeader, ObjectName, SNAPSHOT_LEVEL, Txid};

/// The first and the longest time after which something that could not be read is tried again.
const RETRY_SECONDS: (i64, i64) = (30, 3600);

/// The memory of one replica. Bounded: what is not needed is forgotten oldest first, and not read again.
#[derive(Clone, Debug)]
pub struct Ledger {
    pub(super) keys: LevelKeys,
    pub(super) depth: VerifyDepth,
    pub(super) budget: Budget,
    /// The part of it that is for what was read before.
    pub(super) rereading: Budget,
    /// The configured restorer reads LZ4 frames only.
    pub(super) reads_frames_only: bool,
    pub(super) objects: BTreeMap<ObjectName, Record>,
    /// The last name that was listed of each folder: what comes behind it is new.
    pub(super) marks: BTreeMap<Folder, ObjectName>,
    /// Everything was listed once.
    pub(super) begun: bool,
    pub(super) plan: Vec<Listed>,
    /// The header of the newest file, where it says which position of the WAL the plan leads to.
    pub(super) tip: Option<LtxHeader>,
    pub(super) fresh: BTreeMap<ObjectName, Listed>,
    pub(super) suspects: BTreeMap<ObjectName, Suspect>,
    /// Were not there when they were to be read.
    pub(super) gone: BTreeSet<ObjectName>,
    pub(super) unreadable: BTreeSet<ObjectName>,
    /// Taken over from an earlier run, and nothing was listed since: the newest object may be known.
    pub(super) restored: bool,
    pub(super) failures: u32,
    pub(super) retry_at: Option<Timestamp>,
    pub(super) related: Vec<(ObjectName, Fault)>,
    /// Files of level 0 that begin before the one in front of them ends.
    pub(super) overlaps: BTreeMap<ObjectName, ObjectName>,
    pub(super) structure_verified: u64,
    pub(super) content_verified: u64,
    pub(super) read_bytes: u64,
    pub(super) reread: u64,
    pub(super) reread_bytes: u64,
    pub(super) conflicts: u64,
}

impl Ledger {
    /// Nothing is remembered. `reads_frames_only`: the Litestream that is to restore is older than 0.5.16.
    pub fn new(depth: VerifyDepth, budget: Budget, reads_frames_only: bool) -> Self {
        Self {
            keys: LevelKeys::Plain,
            depth,
            rereading: budget.part(rereading::SHARE),
            budget,
            reads_frames_only,
            objects: BTreeMap::new(),
            marks: BTreeMap::new(),
            begun: false,
            plan: Vec::new(),
            tip: None,
            fresh: BTreeMap::new(),
            suspects: BTreeMap::new(),
            gone: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            restored: false,
            failures: 0,
            retry_at: None,
            related: Vec::new(),
            overlaps: BTreeMap::new(),
            structure_verified: 0,
            content_verified: 0,
            read_bytes: 0,
            reread: 0,
            reread_bytes: 0,
            conflicts: 0,
        }
    }

    /// Goes on with another depth and budget.
    pub fn set_policy(&mut self, depth: VerifyDepth, budget: Budget) {
        self.depth = depth;
        if budget.capacity() != self.budget.capacity() {
            self.rereading = budget.part(rereading::SHARE);
            self.budget = budget;
        }
    }

    /// Objects are verified at all.
    pub fn is_on(&self) -> bool {
        self.depth != VerifyDepth::None
    }

    /// Takes in what a look listed.
    pub fn take(&mut self, listed: &Listing, now: Timestamp) {
        if listed.iter().next().is_some() {
            self.keys = listed.keys;
        }
        self.restored = false;
        for object in listed.iter() {
            self.see(object);
        }
        self.overlap(listed);
        if listed.complete {
            self.miss(listed, now);
            self.fresh.retain(|name, _| !listed.lacks(*name));
            self.gone.clear();
            self.begun = true;
        }
        while self.fresh.len() > VERIFY_BACKLOG_MAX {
            // Those of the lowest level go first, which the levels above hold as well.
            self.fresh.pop_first();
        }
        self.replan(&listed.plan);
        self.tip = listed.tip;
        self.relate(now);
        self.forget();
    }

    fn see(&mut self, object: &Listed) {
        let name = object.name;
        let mark = self.marks.get(&name.folder()).copied();
        if let Some(record) = self.objects.get_mut(&name) {
            record.missing = 0;
            if record.fault.as_ref().is_some_and(|fault| fault.kind == FindingKind::Vanished) {
                record.fault = None;
            }
            if (record.size, record.modified) != (object.size, object.at.instant()) {
                record.again = Some(*object);
            } else if record.again.is_some_and(|again| again != *object) {
                // It is as it was before it was listed otherwise.
                record.again = None;
            }
        } else if self.begun && mark < Some(name) {
            self.fresh.insert(name, *object);
        }
        if mark < Some(name) {
            self.marks.insert(name.folder(), name);
        }
    }

    /// A file of level 0 holds what was synced since the one before: one that overlaps another has another writer.
    fn overlap(&mut self, listed: &Listing) {
        if listed.complete {
            self.overlaps.retain(|name, _| !listed.lacks(*name));
        }
        let mut furthest: Option<(Txid, ObjectName)> = None;
        for object in listed.folder(Folder::Level(0)) {
            let ObjectName::Ltx { name, .. } = object.name else { continue };
            if let Some((_, other)) = furthest.filter(|(max, _)| name.min <= *max)
                && self.overlaps.len() < FINDINGS_MAX
            {
                self.conflicts += u64::from(self.overlaps.insert(object.name, other).is_none());
            }
            furthest = furthest.max(Some((name.max, object.name)));
        }
    }

    /// Finds what a complete listing lacks: what two in a row lack and retention does not explain has vanished.
    fn miss(&mut self, listed: &Listing, now: Timestamp) {
        let mut explained = Vec::new();
        for (name, record) in &mut self.objects {
            if !listed.lacks(*name) {
                // What was found bad is read again once a complete listing; what was replaced stays replaced.
                let bad = record.fault.as_ref().is_some_and(|fault| fault.kind != FindingKind::Rewritten);
                if bad && record.again.is_none() {
                    record.again = listed.get(*name).copied();
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
            if record.missing >= 2 && !vanished {
                let reached = listed.unbroken && listed.plan.last().is_some_and(|last| reaches(last.name, *name));
                let detail = "it was there, it is in no listing any more, and retention does not explain it".to_owned();
                let needed = record.planned && !reached;
                record.fault = Some(Fault { kind: FindingKind::Vanished, detail, seen_at: now, needed });
            }
        }
        for name in explained {
            self.objects.remove(&name);
            self.unreadable.remove(&name);
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
    fn forget(&mut self) {
        let Some(excess) = self.objects.len().checked_sub(VERIFIED_OBJECTS_MAX).filter(|excess| *excess > 0) else {
            return;
        };
        // What is planned stays, or it would be read again; a plan is shorter than what may be remembered.
        let idle = self.objects.iter().filter(|(_, record)| !record.planned);
        let mut oldest: Vec<_> = idle.map(|(name, record)| (record.fault.is_some(), record.modified, *name)).collect();
        oldest.sort_unstable();
        oldest.into_iter().take(excess).for_each(|(_, _, name)| drop(self.objects.remove(&name)));
    }

    /// Takes in what reading objects came to.
    pub fn conclude(&mut self, results: Vec<Verified>, now: Timestamp) {
        let mut failed = false;
        for Verified { job, outcome, requests, bytes } in results {
            self.budget.spend(requests, bytes);
            self.read_bytes = self.read_bytes.saturating_add(bytes);
            let name = job.object.name;
            self.fresh.remove(&name);
            if outcome == Outcome::Failed {
                failed = true;
                self.unreadable.insert(name);
                if !self.objects.contains_key(&name) && !self.plan.iter().any(|object| object.name == name) {
                    self.fresh.insert(name, job.object);
                }
                continue;
            }
            self.unreadable.remove(&name);
            match outcome {
                Outcome::Gone => {
                    self.gone.insert(name);
                    self.resolve(name, None);
                }
                // Its content tells, if the budget allows; until then nothing is known of it.
                Outcome::TooLong => {
                    self.record(&job);
                }
                Outcome::Good { content, facts, pages, frames } => {
                    // What a look read by the way is not counted.
                    let again = content && requests > 0;
                    if again && self.objects.get(&name).is_some_and(|record| record.content) {
                        self.reread += 1;
                        self.reread_bytes = self.reread_bytes.saturating_add(bytes);
                        self.rereading.spend(requests, bytes);
                    }
                    self.good(&job, content, facts, pages.as_ref(), now);
                    self.keep_frames(name, frames);
                }
                Outcome::Bad { kind, detail } => self.bad(&job, kind, detail, now),
                Outcome::Failed => {}
            }
        }
        self.failures = if failed { self.failures.saturating_add(1) } else { 0 };
        let wait = RETRY_SECONDS.0.saturating_mul(1 << self.failures.saturating_sub(1).min(10)).min(RETRY_SECONDS.1);
        self.retry_at = failed.then(|| now.checked_add(SignedDuration::from_secs(wait)).unwrap_or(now));
        self.relate(now);
        self.forget();
    }

    /// The record of an object that was just read, which is now known as it was listed then.
    fn record(&mut self, job: &Job) -> &mut Record {
        let planned = self.plan.iter().any(|object| object.name == job.object.name);
        let Listed { name, size, at } = job.object;
        let modified = at.instant();
        let record = self.objects.entry(name).or_insert_with(|| Record::new(size, modified, planned));
        (record.size, record.modified, record.planned) = (size, modified, planned);
        if record.again.is_some_and(|again| again == job.object) {
            record.again = None;
        }
        record
    }

    fn good(&mut self, job: &Job, content: bool, facts: Facts, pages: Option<&PageRuns>, now: Timestamp) {
        let name = job.object.name;
        let first = self.objects.get(&name).is_none_or(|record| record.facts.is_none());
        let record = self.record(job);
        let changed = record.facts.is_some_and(|known| known.checksum() != facts.checksum());
        if changed {
            (record.content, record.frames) = (false, None);
        }
        let decoded = content && !record.content;
        record.content |= content;
        record.read_at = if content { Some(now) } else { record.read_at };
        record.facts = Some(facts);
        // A snapshot that is taken again at the same TXID differs in its time.
        let snapshot = matches!(name, ObjectName::Snapshot(..) | ObjectName::Ltx { level: SNAPSHOT_LEVEL, .. });
        let rewritten = changed && !snapshot;
        record.fault = record.fault.take().filter(|fault| fault.kind == FindingKind::Rewritten);
        if rewritten {
            let detail = format!(
                "its content was replaced by another (checksum {:016x} since): two writers",
                facts.checksum().unwrap_or_default()
            );
            record.fault = Some(Fault { kind: FindingKind::Rewritten, detail, seen_at: now, needed: false });
        }
        self.conflicts += u64::from(rewritten);
        self.structure_verified += u64::from(first);
        self.content_verified += u64::from(decoded);
        self.resolve(name, Some(pages));
    }

    fn bad(&mut self, job: &Job, kind: FindingKind, detail: String, now: Timestamp) {
        let known = self.objects.get(&job.object.name);
        let shrunk = known.is_some_and(|record| record.facts.is_some() && job.object.size < record.size);
        let seen_at = known.and_then(|record| record.fault.as_ref()).map_or(now, |fault| fault.seen_at);
        let kind = if shrunk && kind == FindingKind::Corrupt { FindingKind::Truncated } else { kind };
        let record = self.record(job);
        record.content = false;
        (record.facts, record.frames) = (None, None);
        record.fault = Some(Fault { kind, detail, seen_at, needed: false });
        self.resolve(job.object.name, None);
    }
}

/// Whether a plan that ends with `last` holds what was in `name`.
fn reaches(last: ObjectName, name: ObjectName) -> bool {
    match (last, name) {
        (ObjectName::Ltx { name: last, .. }, ObjectName::Ltx { name, .. }) => last.max >= name.max,
        _ => false,
    }
}
