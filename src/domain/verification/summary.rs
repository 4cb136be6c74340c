//! The summary of verification's memory for a replica.

use super::ledger::Ledger;
use super::record::{Fault, Record};
use super::{ObjectFinding, VerificationReport, VerifyDepth};
use crate::domain::limits::FINDINGS_MAX;
use crate::domain::litestream::{Listed, ObjectName};

impl Ledger {
    /// The report of it all; `None` when verification is turned off.
    pub fn report(&self) -> Option<VerificationReport> {
        if self.depth == VerifyDepth::None {
            return None;
        }
        let needed = |name: &ObjectName, fault: &Fault| {
            fault.needed || self.objects.get(name).is_some_and(|record| record.planned && record.missing == 0)
        };
        let own = self.objects.iter().filter_map(|(name, record)| Some((name, record.fault.as_deref()?)));
        let related = self.odd().related.iter().map(|(name, fault)| (name, fault));
        let mut findings: Vec<ObjectFinding> = own
            .chain(related)
            .map(|(name, fault)| ObjectFinding {
                kind: fault.kind,
                key: name.key(self.keys),
                detail: fault.detail.clone(),
                seen_at: fault.seen_at,
                needed: needed(name, fault),
            })
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse((finding.seen_at, finding.needed)));
        findings.truncate(FINDINGS_MAX);
        let told = |record: &Record| record.again.is_none() && (record.facts.is_some() || record.fault.is_some());
        let read = |object: &&Listed| self.objects.get(&object.name).is_some_and(&told);
        let verified = self.plan.iter().filter(read).count() as u64;
        let unread_since = self.plan.iter().filter(|object| !read(object)).map(|object| object.at.instant()).min();
        let could = |name: &ObjectName| !self.odd().gone.contains(name) && !self.odd().unreadable.contains(name);
        let left = self.plan.iter().filter(|object| self.ended && !read(object) && could(&object.name)).count() as u64;
        let content = self.plan.iter().filter(|object| self.lacks_content(object)).count() as u64;
        let needed = self.plan.len() as u64;
        Some(VerificationReport {
            structure_verified: self.structure_verified,
            content_verified: self.content_verified,
            read_bytes: self.read_bytes,
            reread: self.reread,
            reread_bytes: self.reread_bytes,
            oldest_read_at: self.oldest_read_at(),
            pending: needed - verified + content + self.fresh.len() as u64,
            needed,
            needed_verified: verified,
            needed_left: left,
            needed_older: self.cut,
            unread_since,
            unreadable: self.odd().unreadable.len() as u64,
            lineage_conflicts: self.conflicts,
            overlaps: self.odd().overlaps.len() as u64,
            findings,
        })
    }
}
