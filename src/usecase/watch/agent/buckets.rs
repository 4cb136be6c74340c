//! How the buckets are set up: asked once a day, one bucket at a time, beside everything else.

use std::collections::BTreeMap;

use tokio::task::{JoinError, JoinSet};

use super::{Agent, after};
use crate::domain::assessment::BucketReport;
use crate::domain::limits::{BUCKETS_MAX, POSTURE_INTERVAL, POSTURE_RETRY};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, S3Location};
use crate::usecase::ports::BucketPosture;

/// The buckets that hold replicas, by their label.
#[derive(Default)]
pub(super) struct Buckets {
    known: BTreeMap<String, Bucket>,
    pub(super) tasks: JoinSet<(String, BucketPosture)>,
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

/// The `bucket` label: buckets of two providers may have one name.
fn label(place: &S3Location) -> String {
    let host = |endpoint: &str| {
        let authority = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest);
        // What stands before an @ is a secret.
        let host = authority.split('/').next().unwrap_or_default();
        host.rsplit('@').next().unwrap_or_default().to_owned()
    };
    match &place.endpoint {
        Some(endpoint) => format!("{}/{}", host(endpoint), place.bucket),
        None => place.bucket.clone(),
    }
}

impl Buckets {
    pub(super) fn report(&self) -> Vec<BucketReport> {
        self.known.values().map(|bucket| bucket.report.clone()).collect()
    }
}

impl Agent {
    /// Takes over which buckets there are; what is known of those that stay is kept.
    pub(super) fn plan_buckets(&mut self) {
        let mut before = std::mem::take(&mut self.buckets.known);
        let replicas = self.subjects.values().flat_map(|subject| &subject.target.replicas);
        for location in replicas.map(|replica| &replica.location) {
            let ReplicaLocation::S3(place) = location else { continue };
            let label = label(place);
            if self.buckets.known.len() >= BUCKETS_MAX && !self.buckets.known.contains_key(&label) {
                continue;
            }
            let bucket = self.buckets.known.entry(label.clone()).or_insert_with(|| {
                let old = before.remove(&label);
                let (due, expired, report) =
                    old.map_or_else(Default::default, |old| (old.due, old.expired, old.report));
                let report = BucketReport { bucket: label, ..report };
                Bucket { location: location.clone(), paths: Vec::new(), due, expired, report }
            });
            bucket.paths.push(format!("{}/", place.path));
        }
        self.buckets.known.values_mut().for_each(Bucket::settle);
    }

    /// Begins to look at the next bucket that is due, if no other one is being looked at.
    pub(super) fn look_at_bucket(&mut self) {
        let now = self.clock.now();
        if !self.buckets.tasks.is_empty() {
            return;
        }
        let is_due = |bucket: &Bucket| bucket.due.is_none_or(|due| due.mono <= now.mono);
        let Some((label, bucket)) = self.buckets.known.iter_mut().find(|(_, bucket)| is_due(bucket)) else { return };
        bucket.due = Some(after(now, POSTURE_RETRY));
        let (label, store) = (label.clone(), self.stores.bucket(&bucket.location));
        self.buckets.tasks.spawn(async move {
            let posture = match store {
                Some(store) => store.posture().await,
                None => BucketPosture::default(),
            };
            (label, posture)
        });
    }

    pub(super) fn conclude_bucket(&mut self, done: Result<(String, BucketPosture), JoinError>) {
        let (label, posture) = match done {
            Ok(done) => done,
            Err(error) => return tracing::error!(%error, "a look at a bucket panicked"),
        };
        let now = self.clock.now();
        let Some(bucket) = self.buckets.known.get_mut(&label) else { return };
        if !is_answer(&posture) {
            // What was known a while ago is known better than nothing.
            bucket.report.reason = posture.reason;
            return;
        }
        bucket.due = Some(after(now, POSTURE_INTERVAL));
        bucket.report = BucketReport {
            bucket: label,
            checked_at: Some(now.wall),
            versioning_enabled: posture.versioning_enabled,
            public_access_blocked: posture.public_access_blocked,
            public: posture.public,
            object_lock_enabled: posture.object_lock_enabled,
            noncurrent_expiry_configured: None,
            reason: posture.reason,
        };
        bucket.expired = posture.noncurrent_expiry;
        bucket.settle();
        self.publish();
    }
}

/// The provider answered, if only that it does not know or does not tell.
fn is_answer(posture: &BucketPosture) -> bool {
    let refused = |reason: &Reason| matches!(reason.kind, ReasonKind::Denied | ReasonKind::Unsupported);
    posture.versioning_enabled.is_some() || posture.public.is_some() || posture.reason.as_ref().is_some_and(refused)
}
