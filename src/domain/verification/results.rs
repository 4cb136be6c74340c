//! What the ledger learns from objects that were read.

use jiff::{SignedDuration, Timestamp};

use super::FindingKind;
use super::job::{Facts, Job, Outcome, Verified};
use super::ledger::Ledger;
use super::pages::PageSet;
use super::record::{Fault, Record};
use crate::domain::litestream::{Listed, ObjectName, SNAPSHOT_LEVEL};

/// The first and the longest time after which something that could not be read is tried again.
const RETRY_SECONDS: (i64, i64) = (30, 3600);

impl Ledger {
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
                self.odd_mut().unreadable.insert(name);
                if !self.objects.contains_key(&name) && !self.plan.iter().any(|object| object.name == name) {
                    self.fresh.insert(name, job.object);
                }
                continue;
            }
            self.can_be_read(name);
            match outcome {
                Outcome::Gone => {
                    self.odd_mut().gone.insert(name);
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
        if failed {
            let odd = self.odd_mut();
            odd.failures = odd.failures.saturating_add(1);
            let wait = RETRY_SECONDS.0.saturating_mul(1 << (odd.failures - 1).min(10)).min(RETRY_SECONDS.1);
            odd.retry_at = Some(now.checked_add(SignedDuration::from_secs(wait)).unwrap_or(now));
        } else if let Some(odd) = &mut self.odd {
            (odd.failures, odd.retry_at) = (0, None);
        }
        self.relate(now);
        self.forget();
    }

    /// The record of an object that was just read, which is now known as it was listed then.
    fn record(&mut self, job: &Job) -> &mut Record {
        let planned = self.plan.iter().any(|object| object.name == job.object.name);
        let Listed { name, size, at } = job.object;
        let modified = at.instant();
        let record = self.objects.get_or_insert_with(name, || Record::new(size, modified, planned));
        (record.size, record.modified, record.planned) = (size, modified, planned);
        if record.again.as_deref().is_some_and(|again| *again == job.object) {
            record.again = None;
        }
        record
    }

    fn good(&mut self, job: &Job, content: bool, facts: Facts, pages: Option<&PageSet>, now: Timestamp) {
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
                "its content was replaced (checksum {:016x} since): two writers",
                facts.checksum().unwrap_or_default()
            );
            record.fault = Some(Box::new(Fault { kind: FindingKind::Rewritten, detail, seen_at: now, needed: false }));
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
        record.fault = Some(Box::new(Fault { kind, detail, seen_at, needed: false }));
        self.resolve(job.object.name, None);
    }
}
