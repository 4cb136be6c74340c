//! Rounds of spot checks beside the looks. One begins right after a look, which says where the replica is: what is read
//! of the objects, it reads, and only then verification goes on.

use std::collections::HashMap;

use tokio::task::{Id, JoinError, JoinSet};

use super::Agent;
use super::looks::Visit;
use crate::domain::limits::{SPOT_TIMEOUT, SPOTTING_MAX};
use crate::usecase::spot::{SpotRound, spot};

/// Rounds in flight.
#[derive(Default)]
pub(super) struct Spots {
    pub(super) tasks: JoinSet<SpotRound>,
    visits: HashMap<Id, Visit>,
}

impl Agent {
    /// After a look: begins a round if one is due. What finds no room is due after the next look.
    pub(super) fn spot(&mut self, visit: Visit) -> bool {
        if self.spots.tasks.len() >= SPOTTING_MAX {
            return false;
        }
        let now = self.clock.now();
        let (Some(reader), Some(subject)) = (&self.pages, self.subjects.get_mut(&visit.id.0)) else { return false };
        let (Some(files), Some(replica)) = (&subject.target.database, subject.replicas.get_mut(visit.id.1)) else {
            return false;
        };
        // What is being read for verification would be read twice.
        if replica.verifying {
            return false;
        }
        let Some(job) = replica.spot_job(reader, files, &self.configured.pace.verify.spot, now) else { return false };
        let task = self.spots.tasks.spawn(spot(job, SPOT_TIMEOUT));
        self.spots.visits.insert(task.id(), visit);
        true
    }

    pub(super) fn conclude_spot(&mut self, done: Result<(Id, SpotRound), JoinError>) {
        let (task, round) = match done {
            Ok((task, round)) => (task, Some(round)),
            Err(error) => {
                tracing::error!(%error, "a round of spot checks panicked");
                (error.id(), None)
            }
        };
        let Some(visit) = self.spots.visits.remove(&task) else { return };
        let now = self.clock.now();
        let policy = self.configured.pace.verify.spot;
        let Some(subject) = self.subjects.get_mut(&visit.id.0) else { return };
        subject.unsaved = true;
        let replica = subject.replicas.get_mut(visit.id.1);
        let Some(replica) = replica.filter(|replica| replica.number == visit.number) else { return };
        let again = match round {
            Some(round) => replica.take_round(round, &policy, now),
            None => {
                replica.lose_round();
                false
            }
        };
        let looking = replica.probe.is_none();
        self.dirty.insert(visit.id.0.clone());
        // What differs is believed when everything was looked at anew, and that should not wait for anything.
        match (again, looking) {
            (true, false) => self.schedule(&visit.id, now),
            (true, true) => {}
            (false, _) => self.verify(visit),
        }
    }
}
