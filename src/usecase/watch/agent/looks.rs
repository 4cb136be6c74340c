//! Looks at replicas: when they begin, how many at once, and what becomes of what they bring back.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::task::{Id, JoinError};

use super::super::beaconing;
use super::super::replica::Harvest;
use super::super::schedule::{ReplicaId, after_commit, after_look, busy_interval};
use super::{Agent, after};
use crate::domain::assess::proof::Evidence;
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::FoundBeacon;
use crate::usecase::replica_probe::{Finding, ReplicaProbe};

/// The longest that one look at a replica may take; a first listing of millions of keys needs its time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(900);

/// What a look at a replica brings back.
pub(super) struct Look {
    probe: ReplicaProbe,
    result: Result<(Finding, Evidence), Reason>,
    harvest: Harvest,
    beacon: Option<Result<Option<FoundBeacon>, Reason>>,
}

/// A replica as it is now: one that a reload put in its place has another number.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) id: ReplicaId,
    pub(super) number: u64,
}

/// A look at a replica that has begun.
pub(super) struct Flight {
    visit: Visit,
    place: String,
    started: Moment,
}

/// Looks in flight and waiting for one place, so that a place that hangs only delays itself.
#[derive(Default)]
pub(super) struct Place {
    in_flight: usize,
    waiting: VecDeque<Visit>,
}

impl Agent {
    /// A commit was seen: a look soon after it can find it in the replica.
    pub(super) fn hurry(&mut self, id: &ReplicaId, now: Moment) {
        let Some(replica) = self.subjects.get(&id.0).and_then(|subject| subject.replicas.get(id.1)) else { return };
        if replica.probe.is_none() || replica.standing().failures > 0 {
            // In flight, or backing off: the look that follows is soon enough.
            return;
        }
        let soonest = after(now, after_commit(&replica.target));
        let paced = replica.last_look.map(|last| after(last, busy_interval(&replica.target, &self.configured.pace)));
        let due = match paced {
            Some(paced) if paced.mono > soonest.mono => paced,
            _ => soonest,
        };
        if replica.due.is_some_and(|planned| due.mono < planned.mono) {
            self.schedule(id, due);
        }
    }

    pub(super) fn schedule(&mut self, id: &ReplicaId, due: Moment) {
        let Some(replica) = self.subjects.get_mut(&id.0).and_then(|subject| subject.replicas.get_mut(id.1)) else {
            return;
        };
        if let Some(planned) = replica.due.replace(due) {
            self.queue.remove(planned, id);
        }
        self.queue.insert(due, id.clone());
    }

    pub(super) fn launch_due(&mut self, now: Moment) {
        while let Some(id) = self.queue.pop(now) {
            let Some(replica) = self.subjects.get_mut(&id.0).and_then(|subject| subject.replicas.get_mut(id.1)) else {
                continue;
            };
            replica.due = None;
            let visit = Visit { id, number: replica.number };
            let place = replica.target.location.queue();
            self.places.entry(place.clone()).or_default().waiting.push_back(visit);
            self.launch_waiting(place);
        }
    }

    /// Begins the looks that wait for a place, as many as may be in flight.
    pub(super) fn launch_waiting(&mut self, name: String) {
        let concurrency = self.configured.pace.concurrency.max(1);
        while let Some(place) = self.places.get_mut(&name).filter(|place| place.in_flight < concurrency) {
            let Some(visit) = place.waiting.pop_front() else { break };
            let launched = self.launch(visit, &name);
            if let Some(place) = self.places.get_mut(&name) {
                place.in_flight += usize::from(launched);
            }
        }
        if self.places.get(&name).is_some_and(|place| place.in_flight == 0 && place.waiting.is_empty()) {
            self.places.remove(&name);
        }
    }

    /// Forgets what waits for looks at replicas that are gone.
    pub(super) fn forget_waiting(&mut self) {
        let subjects = &self.subjects;
        let number = |id: &ReplicaId| Some(subjects.get(&id.0)?.replicas.get(id.1)?.number);
        for place in self.places.values_mut() {
            place.waiting.retain(|visit| number(&visit.id) == Some(visit.number));
        }
    }

    /// Begins a look, unless the replica is gone.
    pub(super) fn launch(&mut self, visit: Visit, place: &str) -> bool {
        let started = self.clock.now();
        let Some(subject) = self.subjects.get_mut(&visit.id.0) else { return false };
        let staged = subject.staged().cloned();
        let watched = subject.target.database.is_some();
        let Some(replica) = subject.replicas.get_mut(visit.id.1).filter(|replica| replica.number == visit.number)
        else {
            return false;
        };
        let Some(mut probe) = replica.take_probe(started) else { return false };
        let verify = replica.ledger.is_on();
        let store = replica.store.clone();
        let beacon = (!watched).then(|| self.stores.beacon(&replica.target.location));
        // When the source cannot be sampled, the look proves what was seen of it before, and nothing later.
        let seen = replica.positions.newest().map_or(started, |newest| newest.last_seen);
        let local = self.local.clone();
        let pace = self.configured.pace.clone();
        let target = visit.id.0.clone();
        let look = async move {
            let look = async {
                let store = store?;
                // The source first: whatever the bucket holds afterwards, it can only prove what was there before.
                let sampled = if watched { local.look(target).await.unwrap_or(seen) } else { started };
                probe.look(store.as_ref(), staged.as_ref(), sampled, &pace).await
            };
            let result = tokio::time::timeout(LOOK_TIMEOUT, look).await.unwrap_or_else(|_| {
                Err(Reason::new(
                    ReasonKind::Timeout,
                    format!("look at replica: not done in {} s", LOOK_TIMEOUT.as_secs()),
                ))
            });
            let harvest = Harvest::of(&mut probe, verify);
            let beacon = beaconing::find(beacon, &result).await;
            Look { probe, result, harvest, beacon }
        };
        let task = self.looks.spawn(look);
        self.flights.insert(task.id(), Flight { visit, place: place.to_owned(), started });
        true
    }

    pub(super) fn conclude(&mut self, look: Result<(Id, Look), JoinError>) {
        let (task, look) = match look {
            Ok((task, look)) => (task, Ok(look)),
            Err(error) => (error.id(), Err(error)),
        };
        let Some(Flight { visit: Visit { id, number }, place, started }) = self.flights.remove(&task) else { return };
        if let Some(place) = self.places.get_mut(&place) {
            place.in_flight = place.in_flight.saturating_sub(1);
        }
        self.launch_waiting(place);
        // Looks at the database that were made before this one ended are taken in before it.
        while let Ok(round) = self.rounds.try_recv() {
            self.take_round(round);
        }
        let now = self.clock.now();
        let Some(subject) = self.subjects.get_mut(&id.0) else { return };
        // A replica that was replaced meanwhile has a probe of its own.
        let Some(replica) = subject.replicas.get_mut(id.1).filter(|replica| replica.number == number) else { return };
        // A look that panicked is that look's failure: its replica starts again with a new probe.
        let Look { probe, result, harvest, beacon } = look.unwrap_or_else(|error| {
            tracing::error!(%error, database = %id.0, "a look at a replica panicked");
            let reason = Reason::new(ReasonKind::Failed, "look at replica: internal error");
            let probe = ReplicaProbe::of(&replica.target);
            Look { probe, result: Err(reason), harvest: Harvest::default(), beacon: None }
        });
        if let Err(reason) = &result {
            tracing::debug!(database = %id.0, replica = replica.target.name, %reason, "replica not verified");
        }
        let success = result.is_ok();
        replica.probe = Some(probe);
        replica.conclude(result, now);
        replica.take_harvest(harvest, now);
        replica.take_beacon(beacon, now);
        let due = after(now, after_look(replica.standing(), &replica.target, &self.configured.pace));
        subject.unsaved = true;
        self.schedule(&id, due);
        if success {
            self.plan_drill(&id, now);
        }
        self.collector("replica", success, now.since(started).unsigned_abs());
        self.dirty.insert(id.0.clone());
        let visit = Visit { id, number };
        if !self.spot(visit.clone()) {
            self.verify(visit);
        }
    }
}
