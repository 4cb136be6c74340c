//! Writing beacons beside everything else, where the configuration asks for them.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;

use super::super::crew::{Crew, Work};
use super::super::replica::WatchedReplica;
use super::super::schedule::ReplicaKey;
use super::super::subject::Subject;
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::beacon::{BeaconClaim, BeaconPolicy, SCHEMA};
use crate::domain::limits::BEACONS_IN_FLIGHT_MAX;
use crate::domain::litestream::Txid;
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::price::ConfiguredPrices;
use crate::domain::reason::Reason;
use crate::domain::target::{Target, TargetName};
use crate::usecase::ports::Pace;

#[derive(Default)]
pub(super) struct Beacons {
    crew: Crew<ReplicaKey, Result<(), Reason>>,
    /// Of the replicas whose beacon was ever written.
    written: HashMap<ReplicaKey, Written>,
}

/// How writing the beacon of one replica goes.
#[derive(Default)]
struct Written {
    /// `None`: as soon as there is something to say.
    due: Option<Moment>,
    in_flight: bool,
    /// It could not be written the last time.
    failing: bool,
}

/// What the beacon of this host is to say of a replica.
fn claim(
    replica: &WatchedReplica,
    (target, txid): (&Target, Option<Txid>),
    (policy, pace): (&BeaconPolicy, &Pace),
    version: &str,
    now: Moment,
) -> BeaconClaim {
    let exposure = replica.exposure(target.objectives.rpo, now);
    let report = replica.report(&exposure, pace, &ConfiguredPrices::default());
    // What is behind the last look that succeeded is not claimed.
    let known = report.up == Some(true);
    BeaconClaim {
        schema: SCHEMA,
        written_at: now.wall(),
        interval_seconds: policy.interval.as_secs_f64(),
        host: policy.host.clone(),
        database: target.name.to_string(),
        version: version.to_owned(),
        recovery_point: report.recovery_point,
        lag_seconds: report.lag_seconds.filter(|_| known),
        unreplicated_since: report.unreplicated_since,
        unreplicated_bytes: report.unreplicated_bytes,
        pending_commits: replica.pending_commits(),
        position: replica.positions.newest().and_then(|newest| newest.position),
        txid: txid.map(|txid| txid.0),
    }
}

impl Duty for Beacons {
    /// Writes the beacons that are due, of the replicas of databases that are on this host.
    fn begin(&mut self, shared: &mut Shared, Turn { now, tick }: Turn) -> Option<Duration> {
        let pace = &shared.configured.pace;
        let policy = pace.beacon.as_ref().filter(|_| tick)?;
        // What cannot be read is not said to be there.
        let there = |subject: &Subject| subject.gone_since.is_none() && subject.is_monitored();
        for subject in shared.fleet.subjects.values().filter(|subject| there(subject)) {
            let txid = subject.staged().and_then(StagedPosition::txid);
            for replica in &subject.replicas {
                let is_due =
                    |written: &Written| !written.in_flight && written.due.is_none_or(|due| due.mono() <= now.mono());
                if !self.written.get(&replica.key).is_none_or(is_due) || !replica.looked_at() {
                    continue;
                }
                let place = replica.target.location.queue();
                if !self.crew.has_seat(&place, BEACONS_IN_FLIGHT_MAX) {
                    continue;
                }
                let written = self.written.entry(replica.key).or_default();
                let claim = claim(replica, (&subject.target, txid), (policy, pace), shared.version, now);
                let store = shared.stores.beacon(&replica.target.location);
                (written.in_flight, written.due) = (true, Some(now.after(policy.interval)));
                let write = async move { store?.put(Bytes::from(claim.encode())).await };
                self.crew.begin("write beacon", place, replica.key, write);
            }
        }
        None
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, _: Moment) {
        while let Some((key, result)) = self.crew.take_ended() {
            let result = result.flatten();
            let Some(written) = self.written.get_mut(&key) else { continue };
            let Some((subject, replica)) = shared.fleet.get(key) else { continue };
            written.in_flight = false;
            let failed = std::mem::replace(&mut written.failing, result.is_err());
            tell(&subject.target.name, &replica.target.name, result, failed);
        }
    }

    fn adapt(&mut self, shared: &mut Shared, _: Moment) {
        self.written.retain(|replica, _| shared.fleet.contains(*replica));
    }
}

/// Says once that beacons are not written, and once that they are again. Failures are counted with the store's.
fn tell(database: &TargetName, replica: &str, result: Result<(), Reason>, failed: bool) {
    match result {
        Err(reason) if !failed => {
            let hint = reason.hint.as_deref();
            tracing::warn!(
                %database, replica, %reason, hint,
                "cannot write the beacon: observers will think that this host is gone"
            );
        }
        Ok(()) if failed => tracing::info!(%database, replica, "beacon written again"),
        _ => {}
    }
}
