//! Reading objects beside the looks, a few replicas at a time: no look ever waits for it.

use std::collections::{HashMap, VecDeque};

use tokio::task::{Id, JoinError, JoinSet};

use super::Agent;
use super::looks::Visit;
use crate::domain::limits::{VERIFY_REQUESTS_MAX, VERIFY_TIMEOUT, VERIFYING_MAX};
use crate::domain::verification::Verified;
use crate::usecase::verify::verify;

/// Verifications in flight and waiting.
#[derive(Default)]
pub(super) struct Verifying {
    pub(super) tasks: JoinSet<Vec<Verified>>,
    visits: HashMap<Id, Visit>,
    waiting: VecDeque<Visit>,
}

impl Agent {
    /// After a look: reads what is to be read of the replica, at once or when its turn comes.
    pub(super) fn verify(&mut self, visit: Visit) {
        let now = self.clock.now();
        let Some(replica) = self.subjects.get_mut(&visit.id.0).and_then(|subject| subject.replicas.get_mut(visit.id.1))
        else {
            return;
        };
        if replica.verifying || replica.spotting.in_flight || replica.jobs(VERIFY_REQUESTS_MAX, now).is_empty() {
            return;
        }
        replica.verifying = true;
        self.verifying.waiting.push_back(visit);
        self.launch_verifications();
    }

    fn launch_verifications(&mut self) {
        while self.verifying.tasks.len() < VERIFYING_MAX {
            let Some(visit) = self.verifying.waiting.pop_front() else { return };
            let now = self.clock.now();
            let replica = self.subjects.get_mut(&visit.id.0).and_then(|subject| subject.replicas.get_mut(visit.id.1));
            // A replica that was replaced meanwhile has a memory of its own.
            let Some(replica) = replica.filter(|replica| replica.number == visit.number) else { continue };
            let jobs = replica.jobs(VERIFY_REQUESTS_MAX, now);
            let Ok(store) = replica.store.clone() else {
                replica.verifying = false;
                continue;
            };
            let task = self.verifying.tasks.spawn(verify(store, jobs, VERIFY_TIMEOUT));
            self.verifying.visits.insert(task.id(), visit);
        }
    }

    pub(super) fn conclude_verification(&mut self, done: Result<(Id, Vec<Verified>), JoinError>) {
        let (task, results) = match done {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(%error, "a verification of objects panicked");
                (error.id(), Vec::new())
            }
        };
        if let Some(visit) = self.verifying.visits.remove(&task) {
            let now = self.clock.now();
            let subject = self.subjects.get_mut(&visit.id.0);
            let replica = subject.and_then(|subject| {
                subject.unsaved = true;
                subject.replicas.get_mut(visit.id.1).filter(|replica| replica.number == visit.number)
            });
            if let Some(replica) = replica {
                replica.verifying = false;
                replica.take_verified(results, now);
                self.dirty.insert(visit.id.0);
            }
        }
        self.launch_verifications();
    }
}
