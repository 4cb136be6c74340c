//! Which objects are read next, and how much of them.

use crate::domain::litestream::{Listed, ObjectName};
use std::collections::BTreeSet;

use jiff::Timestamp;

use super::budget::{VerifyDepth, cost};
use super::job::{Job, Want, expense, shallow};
use super::ledger::Ledger;
use super::record::Record;
use crate::domain::limits::{VERIFY_CHUNK_BYTES, VERIFY_WHOLE_BYTES_MAX};

impl Ledger {
    /// Bytes that the next look's probe may read of a new object beyond its header, in a request that is made anyway.
    pub fn allowance(&mut self, now: Timestamp) -> u64 {
        if self.depth == VerifyDepth::None || self.restored || self.odd().retry_at.is_some_and(|at| now < at) {
            return 0;
        }
        self.budget.available(now).min(VERIFY_WHOLE_BYTES_MAX)
    }

    /// The objects to read now, most needed first, with at most `requests` requests and as far as the budget goes.
    pub fn jobs(&mut self, requests: u64, now: Timestamp) -> Vec<Job> {
        if self.depth == VerifyDepth::None || self.odd().retry_at.is_some_and(|at| now < at) {
            return Vec::new();
        }
        let (mut tokens, mut requests) = (self.budget.available(now), requests);
        let mut jobs = Vec::new();
        for (object, want) in self.wanted() {
            let (cost_requests, bytes) = expense(&object, want);
            let cost = cost(cost_requests, bytes);
            // The content of one object may take more requests than there are: it then has the turn for itself.
            if cost > tokens || (cost_requests > requests && !(jobs.is_empty() && want == Want::Content)) {
                break;
            }
            tokens -= cost;
            requests = requests.saturating_sub(cost_requests);
            jobs.push(Job { object, key: object.name.key(self.keys), want });
        }
        if jobs.is_empty() && self.depth == VerifyDepth::Content {
            jobs.extend(self.stale(tokens, now));
        }
        jobs
    }

    /// All that is to be read, most needed first: the newest snapshot and what follows it, then what may hold the pages
    /// that another object lacks, then the content of what a restore needs, then what is new, the newest first.
    fn wanted(&self) -> Vec<(Listed, Want)> {
        let structure = self.plan.iter().filter_map(|object| self.structure_of(object));
        let mut wanted: Vec<_> = structure.collect();
        let named = |name: &ObjectName| {
            let record = self.objects.get(name)?;
            Some(record.listed(*name))
        };
        let waiting = self.odd().suspects.values().flat_map(|suspect| &suspect.waiting);
        let missing = waiting.filter_map(named).map(|object| (object, shallow(&object)));
        let mut asked: BTreeSet<_> = wanted.iter().map(|(object, _)| object.name).collect();
        wanted.extend(missing.filter(|(object, _)| asked.insert(object.name)));
        wanted.extend(self.plan.iter().filter(|object| self.lacks_content(object)).map(|o| (*o, Want::Content)));
        // What was bad and is no longer planned is looked at again, too.
        let again = self
            .objects
            .iter()
            .rev()
            .filter(|(_, record)| !record.planned)
            .filter_map(|(_, r)| r.again.as_deref().copied());
        wanted.extend(again.map(|object| (object, shallow(&object))));
        let mut fresh: Vec<_> = self.fresh.values().filter(|object| !self.odd().gone.contains(&object.name)).collect();
        fresh.sort_unstable_by_key(|object| std::cmp::Reverse((object.at.instant(), object.name)));
        wanted.extend(fresh.into_iter().map(|object| (*object, shallow(object))));
        wanted
    }

    /// How the structure of a planned object is to be read, if it is not known.
    fn structure_of(&self, object: &Listed) -> Option<(Listed, Want)> {
        if self.odd().gone.contains(&object.name) {
            return None;
        }
        let unread = match self.objects.get(&object.name) {
            None => *object,
            Some(record) => *record.again.as_deref()?,
        };
        Some((unread, shallow(&unread)))
    }

    pub(super) fn lacks_content(&self, object: &Listed) -> bool {
        let wanted = |record: &Record| !record.content && record.fault.is_none() && record.again.is_none();
        let affordable = cost(object.size / VERIFY_CHUNK_BYTES + 1, object.size) <= self.budget.capacity();
        (self.depth == VerifyDepth::Content && affordable)
            && !self.odd().gone.contains(&object.name)
            && self.objects.get(&object.name).is_some_and(wanted)
    }
}
