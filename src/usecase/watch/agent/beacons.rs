//! Writing beacons beside everything else, where the configuration asks for them.

use std::collections::HashMap;

use bytes::Bytes;
use tokio::task::{Id, JoinError, JoinSet};

use super::looks::Visit;
use super::{Agent, after};
use crate::domain::limits::BEACONS_IN_FLIGHT_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::TargetName;

/// Beacons that are being written.
#[derive(Default)]
pub(super) struct Beacons {
    pub(super) tasks: JoinSet<Result<(), Reason>>,
    flights: HashMap<Id, (Visit, String)>,
    /// By place, so that one that hangs only delays itself.
    places: HashMap<String, usize>,
}

impl Agent {
    /// Begins to write the beacons that are due, of the replicas of databases that are on this host.
    pub(super) fn write_beacons(&mut self) {
        let Some(policy) = self.configured.pace.beacon.clone() else { return };
        let now = self.clock.now();
        let pace = &self.configured.pace;
        for (name, subject) in self.subjects.iter_mut().filter(|(_, subject)| subject.gone_since.is_none()) {
            // What cannot be read is not said to be there.
            if !subject.is_monitored() {
                continue;
            }
            let staged = subject.staged().cloned();
            for (index, replica) in subject.replicas.iter_mut().enumerate() {
                let due = replica.beaconing.due.is_none_or(|due| due.mono <= now.mono);
                if !due || replica.beaconing.in_flight || !replica.looked_at() {
                    continue;
                }
                let place = replica.target.location.queue();
                let flying = self.beacons.places.entry(place.clone()).or_default();
                if *flying >= BEACONS_IN_FLIGHT_MAX {
                    continue;
                }
                let claim = replica.claim((&name.0, staged.as_ref()), &policy, self.agent.version, pace, now);
                let store = self.stores.beacon(&replica.target.location);
                let write = async move { store?.put(Bytes::from(claim.encode())).await };
                let task = self.beacons.tasks.spawn(write);
                *flying += 1;
                replica.beaconing.in_flight = true;
                replica.beaconing.due = Some(after(now, policy.interval));
                let visit = Visit { id: (name.clone(), index), number: replica.number };
                self.beacons.flights.insert(task.id(), (visit, place));
            }
        }
    }

    pub(super) fn conclude_beacon(&mut self, done: Result<(Id, Result<(), Reason>), JoinError>) {
        let (task, result) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "writing a beacon panicked");
                (error.id(), Err(Reason::new(ReasonKind::Failed, "write beacon: internal error")))
            }
        };
        let Some((Visit { id: (name, index), number }, place)) = self.beacons.flights.remove(&task) else { return };
        if let Some(flying) = self.beacons.places.get_mut(&place) {
            *flying = flying.saturating_sub(1);
            if *flying == 0 {
                self.beacons.places.remove(&place);
            }
        }
        let replica = self.subjects.get_mut(&name).and_then(|subject| subject.replicas.get_mut(index));
        let Some(replica) = replica.filter(|replica| replica.number == number) else { return };
        replica.beaconing.in_flight = false;
        let failed = std::mem::replace(&mut replica.beaconing.failing, result.is_err());
        tell(&name, &replica.target.name, result, failed);
    }
}

/// Says once that beacons are not written, and once that they are again. Failures are counted with the store's.
fn tell(database: &TargetName, replica: &str, result: Result<(), Reason>, failed: bool) {
    match result {
        Err(reason) if !failed => {
            let hint = reason.hint.as_deref();
            tracing::warn!(%database, replica, %reason, hint, "beacon not written: observers will miss this host");
        }
        Ok(()) if failed => tracing::info!(%database, replica, "beacon written again"),
        _ => {}
    }
}
