//! How the buckets are set up: asked once a day, one bucket at a time, beside everything else.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::crew::{Crew, Work};
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::assessment::{AgentReport, BucketReport};
use crate::domain::limits::{BUCKETS_MAX, POSTURE_INTERVAL, POSTURE_RETRY, POSTURE_TIMEOUT};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{BucketPlace, ReplicaLocation};
use crate::usecase::ports::BucketPosture;

#[derive(Default)]
pub(super) struct Buckets {
    /// The buckets that hold replicas, by their label.
    known: BTreeMap<String, Bucket>,
    crew: Crew<String, BucketPosture>,
}

struct Bucket {
    /// One of the replicas in it, with whose credentials it is asked.
    location: ReplicaLocation,
    /// Where replicas are in it.
    paths: Vec<String>,
    /// `None`: at once.
    due: Option<Moment>,
    /// The prefixes of the keys whose noncurrent versions expire, where that is known.
    expired: Option<Vec<String>>,
    report: BucketReport,
}

impl Bucket {
    /// Whether noncurrent versions of all replicas in it expire.
    fn settle(&mut self) {
        let covers = |prefixes: &Vec<String>| {
            self.paths.iter().all(|path| prefixes.iter().any(|prefix| path.starts_with(prefix.as_str())))
        };
        self.report.noncurrent_expiry_configured = self.expired.as_ref().map(covers);
    }
}

impl Duty for Buckets {
    /// Looks at the next bucket that is due, if no other one is being looked at.
    fn begin(&mut self, shared: &mut Shared, Turn { now, tick }: Turn) -> Option<Duration> {
        if !tick || !self.crew.has_seat("", 1) {
            return None;
        }
        let is_due = |bucket: &Bucket| bucket.due.is_none_or(|due| due.mono() <= now.mono());
        let (label, bucket) = self.known.iter_mut().find(|(_, bucket)| is_due(bucket))?;
        bucket.due = Some(now.after(POSTURE_RETRY));
        let store = shared.stores.bucket(&bucket.location);
        self.crew.begin("look at bucket", String::new(), label.clone(), async move {
            let Some(store) = store else { return BucketPosture::default() };
            let late = |_| Reason::new(ReasonKind::Timeout, "look at bucket: no answer in time");
            let posture = tokio::time::timeout(POSTURE_TIMEOUT, store.posture()).await.map_err(late);
            posture.unwrap_or_else(|reason| BucketPosture { reason: Some(reason), ..BucketPosture::default() })
        });
        None
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, now: Moment) {
        while let Some((label, posture)) = self.crew.take_ended() {
            let (Some(bucket), Ok(posture)) = (self.known.get_mut(&label), posture) else { continue };
            if !is_answer(&posture) {
                // What was known a while ago is known better than nothing.
                bucket.report.reason = posture.reason;
                continue;
            }
            bucket.due = Some(now.after(POSTURE_INTERVAL));
            bucket.report = BucketReport {
                bucket: label,
                checked_at: Some(now.wall()),
                versioning_enabled: posture.versioning_enabled,
                public_access_blocked: posture.public_access_blocked,
                public: posture.public,
                object_lock_enabled: posture.object_lock_enabled,
                noncurrent_expiry_configured: None,
                reason: posture.reason,
            };
            bucket.expired = posture.noncurrent_expiry;
            bucket.settle();
            shared.publish = true;
        }
    }

    /// Takes over which buckets there are; what is known of those that stay is kept.
    fn adapt(&mut self, shared: &mut Shared, _: Moment) {
        let mut before = std::mem::take(&mut self.known);
        let replicas = shared.fleet.subjects.values().flat_map(|subject| &subject.target.replicas);
        for location in replicas.map(|replica| &replica.location) {
            let readable = |_: &BucketPlace| shared.stores.bucket(location).is_some();
            let Some(BucketPlace { label, prefix }) = location.bucket().filter(readable) else { continue };
            if self.known.len() >= BUCKETS_MAX && !self.known.contains_key(&label) {
                continue;
            }
            let bucket = self.known.entry(label.clone()).or_insert_with(|| {
                let old = before.remove(&label);
                let (due, expired, report) =
                    old.map_or_else(Default::default, |old| (old.due, old.expired, old.report));
                let report = BucketReport { bucket: label, ..report };
                Bucket { location: location.clone(), paths: Vec::new(), due, expired, report }
            });
            bucket.paths.push(prefix);
        }
        self.known.values_mut().for_each(Bucket::settle);
    }

    fn report(&self, _: &Shared, _: Moment, agent: &mut AgentReport) {
        agent.buckets = self.known.values().map(|bucket| bucket.report.clone()).collect();
    }
}

/// The provider answered, if only that it does not know or does not tell.
fn is_answer(posture: &BucketPosture) -> bool {
    let refused = |reason: &Reason| matches!(reason.kind, ReasonKind::Denied | ReasonKind::Unsupported);
    posture.versioning_enabled.is_some() || posture.public.is_some() || posture.reason.as_ref().is_some_and(refused)
}
