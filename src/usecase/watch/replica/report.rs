//! The lag of a replica, and all that is said of it.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Waiting, WatchedReplica};
use crate::domain::assess::proof::{Exposure, LagUnknownReport, Method, exposure};
use crate::domain::assessment::{DatabaseState, KeepingReport, ReplicaReport};
use crate::domain::moment::Moment;
use crate::domain::price::ConfiguredPrices;
use crate::usecase::ports::Pace;

impl WatchedReplica {
    fn keeping(&self, prices: &ConfiguredPrices) -> KeepingReport {
        let prices = self.target.location.prices(prices);
        let coverage = self.coverage();
        let bytes = coverage.map(|coverage| coverage.levels.iter().map(|level| level.bytes).sum());
        KeepingReport {
            growth: self.growth.report(),
            foreign_history: self.lineage.is_foreign(),
            storage_dollars_per_month: bytes.map(|bytes| prices.storage_dollars(bytes)),
            kept_seconds: self.target.kept.and_then(|kept| kept.snapshots).map(|age| age.as_secs_f64()),
            churn: self.churn.report(prices.upload_dollars()),
            lag_unknown: self
                .watched
                .unknown_since
                .map(|since| Box::new(LagUnknownReport { since, commit_at: self.unproven_at() })),
        }
    }

    /// When the oldest commit was made that is not proven.
    fn unproven_at(&self) -> Option<Timestamp> {
        let seen = self.positions.unproven().find(|sample| sample.committed);
        let claimed = || self.beacon.as_ref()?.unreplicated_since();
        seen.map(|sample| sample.first_seen.wall()).or_else(claimed)
    }

    /// The lag that the host that writes the database claims, if nothing better is known. A replica that cannot be read
    /// may not hold what the host saw in it.
    fn claimed_lag(&self) -> Option<f64> {
        let (_, evidence) = self.finding.as_ref().filter(|(_, evidence)| evidence.chain.arrives())?;
        self.beacon.as_ref().filter(|_| self.unreadable().is_none())?.lag_seconds(evidence.position)
    }

    /// Notes since when the lag is unknown although it should be known; `true` when that changed. It is unknown by design
    /// where the database is elsewhere and no beacon tells of it, and of no interest while there is no database.
    pub(in super::super) fn note_lag(&mut self, exposure: &Exposure, database: DatabaseState, now: Moment) -> bool {
        let claim = self.beacon.as_ref().and_then(|beacon| beacon.claim.as_ref());
        let expected = match database {
            DatabaseState::Remote => claim.is_some(),
            DatabaseState::Missing | DatabaseState::OverLimit => false,
            DatabaseState::Monitored | DatabaseState::Pending | DatabaseState::Unreadable => true,
        };
        self.note_waiting(exposure);
        let before = self.watched.unknown_since;
        self.watched.unknown_since = match () {
            () if !expected || exposure.lag.is_some() || self.claimed_lag().is_some() => None,
            // What was unknown before the replica could not be read still is, and nothing new is known.
            () if self.finding.is_none() || self.unreadable().is_some() || database == DatabaseState::Pending => before,
            () => before.or_else(|| Some(now.wall())),
        };
        self.watched.unknown_since != before
    }

    /// Notes how much waits, which does not become less before something arrives.
    fn note_waiting(&mut self, exposure: &Exposure) {
        let before = self.waiting.take().filter(|waiting| Some(waiting.since) == exposure.unreplicated_since);
        let bytes = before.map(|waiting| waiting.bytes).max(exposure.unreplicated_bytes);
        self.waiting = exposure.unreplicated_since.zip(bytes).map(|(since, bytes)| Box::new(Waiting { since, bytes }));
    }

    /// What could be lost, where the lag should be within `objective`.
    pub(in super::super) fn exposure(&self, objective: Duration, now: Moment) -> Exposure {
        let objective = SignedDuration::try_from(objective).unwrap_or(SignedDuration::MAX);
        let evidence = self.finding.as_ref().map(|(_, evidence)| evidence);
        // Where the WAL belongs to another database, what was proven before stays, and nothing is known since.
        exposure(&self.positions, evidence.filter(|_| !self.replaced), self.unread(), objective, now)
    }

    pub(in super::super) fn report(
        &self,
        exposure: &Exposure,
        pace: &Pace,
        prices: &ConfiguredPrices,
    ) -> ReplicaReport {
        let finding = self.finding.as_ref().map(|(finding, _)| finding);
        let waiting = self.waiting.as_ref().filter(|waiting| Some(waiting.since) == exposure.unreplicated_since);
        let (least, seen) = (waiting.map(|waiting| waiting.bytes), exposure.unreplicated_bytes);
        let seconds = |duration: jiff::SignedDuration| duration.as_secs_f64();
        let claimed = self.claimed_lag().filter(|_| exposure.lag.is_none());
        let claim = self.beacon.as_ref().filter(|_| claimed.is_some());
        let claimed_bytes = claim.and_then(|beacon| beacon.fresh_claim()?.unreplicated_bytes);
        let damaged = || finding.and_then(|finding| finding.damaged.clone());
        ReplicaReport {
            name: self.target.name.clone(),
            store: self.target.location.kind().as_str(),
            // Of a replica that lags, for it changes with all that is written there.
            space_left_bytes: finding
                .filter(|_| exposure.lag.is_some_and(|lag| !lag.is_zero()))
                .and_then(|finding| finding.space_left),
            url: self.target.location.url(),
            bucket: self.target.location.bucket().map(|bucket| bucket.label),
            layout: finding.and_then(|finding| finding.layout),
            up: self.looked_at().then_some(self.failure.is_none()),
            reason: self.failure.clone().or_else(damaged),
            method: if claimed.is_some() { Some(Method::Beacon) } else { exposure.method },
            recovery_point: exposure.recovery_point,
            lag_seconds: exposure.lag.map(seconds).or(claimed),
            lag_upper_bound_seconds: exposure.lag_upper_bound.map(seconds),
            unreplicated_since: exposure.unreplicated_since.or_else(|| claim?.unreplicated_since()),
            unreplicated_bytes: least.max(seen).or(claimed_bytes),
            // What was committed since the claim is not in it.
            unreplicated_bytes_lower_bound: exposure.unreplicated_bytes_lower_bound
                || least > seen
                || claimed_bytes.is_some(),
            watched_since: self.watched.since,
            verified_at: self.watched.verified_at,
            verify_interval_seconds: self.verify_interval(pace).as_secs_f64(),
            rests_until: self.rest.as_ref().and_then(|rest| rest.planned()),
            last_segment_at: finding.and_then(|finding| finding.last_segment_at),
            txid: finding.and_then(|finding| finding.txid),
            coverage: finding.map(|finding| Arc::clone(&finding.coverage)),
            timeline: finding.and_then(|finding| finding.timeline.clone()),
            verification: self.verification.clone(),
            drill: self.drilling.report.clone(),
            beacon: self.beacon.clone(),
            keeping: self.keeping(prices),
            spot: self.spot_report(&pace.verify.spot),
        }
    }
}
