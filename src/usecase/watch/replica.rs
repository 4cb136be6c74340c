//! What the agent knows of one replica: the positions not yet proven there, and the last look's evidence.

use std::sync::Arc;

use crate::domain::assess::positions::Positions;
use crate::domain::assess::proof::{Chain, Evidence, exposure, settle};
use crate::domain::moment::Moment;
use crate::domain::observation::DatabaseLook;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{CoverageReport, ReplicaReport};
use crate::domain::target::ReplicaTarget;
use crate::usecase::ports::{Pace, ReplicaStore};
use crate::usecase::replica_probe::{Finding, ReplicaProbe};

use super::drilling::Drilling;
use super::schedule::{Standing, busy_interval};

pub(super) struct WatchedReplica {
    pub(super) target: ReplicaTarget,
    /// Tells it from what a reload puts in its place.
    pub(super) number: u64,
    pub(super) store: Result<Arc<dyn ReplicaStore>, Reason>,
    /// `None` while a look is in flight, which owns it.
    pub(super) probe: Option<ReplicaProbe>,
    pub(super) positions: Positions,
    finding: Option<(Finding, Evidence)>,
    failure: Option<Reason>,
    failures: u32,
    /// When it is in the queue for.
    pub(super) due: Option<Moment>,
    pub(super) last_look: Option<Moment>,
    pub(super) drilling: Drilling,
}

impl WatchedReplica {
    pub(super) fn new(target: ReplicaTarget, store: Result<Arc<dyn ReplicaStore>, Reason>, number: u64) -> Self {
        Self {
            probe: Some(ReplicaProbe::of(&target)),
            target,
            number,
            store,
            positions: Positions::default(),
            finding: None,
            failure: None,
            failures: 0,
            due: None,
            last_look: None,
            drilling: Drilling::default(),
        }
    }

    /// Records a look at the database; `true` when it holds something that the one before did not.
    pub(super) fn record(&mut self, look: &DatabaseLook) -> bool {
        let before = self.positions.newest().map(|sample| sample.first_seen);
        self.positions.record(look);
        self.positions.newest().map(|sample| sample.first_seen) != before
    }

    /// Takes in the result of a look at the replica.
    pub(super) fn conclude(&mut self, result: Result<(Finding, Evidence), Reason>, now: Moment) {
        self.last_look = Some(now);
        match result {
            Ok((finding, evidence)) => {
                settle(&mut self.positions, &evidence);
                self.finding = Some((finding, evidence));
                self.failure = None;
                self.failures = 0;
            }
            Err(reason) => {
                self.failure = Some(reason);
                self.failures = self.failures.saturating_add(1);
            }
        }
    }

    pub(super) fn looked_at(&self) -> bool {
        self.finding.is_some() || self.failure.is_some()
    }

    /// What the last look that succeeded listed.
    pub(super) fn coverage(&self) -> Option<&CoverageReport> {
        self.finding.as_ref().map(|(finding, _)| &finding.coverage)
    }

    /// Why it was not read. A damaged object is no silence: what is read of it can be restored.
    pub(super) fn unreadable(&self) -> Option<&Reason> {
        self.failure.as_ref().filter(|reason| reason.kind != ReasonKind::Corrupt)
    }

    pub(super) fn standing(&self) -> Standing {
        Standing { pending: self.pending(), failures: self.failures }
    }

    /// Something was committed that is not proven.
    pub(super) fn pending(&self) -> bool {
        self.positions.unproven().any(|sample| sample.committed)
    }

    /// Its numbers change with time alone.
    pub(super) fn moving(&self) -> bool {
        self.pending() || self.finding.as_ref().is_some_and(|(_, evidence)| evidence.chain != Chain::Complete)
    }

    pub(super) fn report(&self, pace: &Pace, now: Moment) -> ReplicaReport {
        let (finding, evidence) = self.finding.as_ref().map_or((None, None), |(f, e)| (Some(f), Some(e)));
        // A damaged object is no silence: the replica was read, and what waits is seen not to be there.
        let failing = self.unreadable().is_some();
        let exposure = exposure(&self.positions, evidence, failing, now);
        let seconds = |duration: jiff::SignedDuration| duration.as_secs_f64();
        ReplicaReport {
            name: self.target.name.clone(),
            store: self.target.location.store().to_owned(),
            url: self.target.location.url(),
            layout: finding.and_then(|finding| finding.layout),
            up: self.looked_at().then_some(self.failure.is_none()),
            reason: self.failure.clone(),
            method: exposure.method,
            recovery_point: exposure.recovery_point,
            lag_seconds: exposure.lag.map(seconds),
            lag_upper_bound_seconds: exposure.lag_upper_bound.map(seconds),
            unreplicated_since: exposure.unreplicated_since,
            unreplicated_bytes: exposure.unreplicated_bytes,
            unreplicated_bytes_lower_bound: exposure.unreplicated_bytes_lower_bound,
            verified_at: evidence.map(|evidence| evidence.verified_at.wall),
            verify_interval_seconds: pace.idle.max(busy_interval(&self.target, pace)).as_secs_f64(),
            last_segment_at: finding.and_then(|finding| finding.last_segment_at),
            txid: finding.and_then(|finding| finding.txid),
            coverage: finding.map(|finding| finding.coverage.clone()),
            timeline: finding.and_then(|finding| finding.timeline.clone()),
            verification: None,
            drill: self.drilling.report(),
        }
    }
}
