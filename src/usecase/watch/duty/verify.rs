//! Reading objects beside the looks, a few replicas at a time: no look ever waits for it.

use std::time::Duration;

use super::super::crew::{Crew, Work};
use super::super::schedule::ReplicaKey;
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::limits::{VERIFY_REQUESTS_MAX, VERIFY_TIMEOUT, VERIFYING_MAX};
use crate::domain::moment::Moment;
use crate::domain::verification::Verified;
use crate::usecase::verify::verify;

#[derive(Default)]
pub(super) struct Verifications {
    crew: Crew<ReplicaKey, Vec<Verified>>,
}

impl Duty for Verifications {
    /// Reads what is to be read of the replicas that may be read, at once or when their turn comes.
    fn begin(&mut self, shared: &mut Shared, Turn { now, .. }: Turn) -> Option<Duration> {
        for key in std::mem::take(&mut shared.readable) {
            let Some((_, replica)) = shared.fleet.get_mut(key) else { continue };
            let busy = replica.verifying || replica.spotting.in_flight;
            if !busy && !replica.ledger.jobs(VERIFY_REQUESTS_MAX, now.wall()).is_empty() {
                replica.verifying = true;
                self.crew.wait(String::new(), key);
            }
        }
        while let Some((place, key)) = self.crew.next(VERIFYING_MAX) {
            let Some((_, replica)) = shared.fleet.get_mut(key) else { continue };
            match replica.store.clone() {
                Ok(store) => {
                    let jobs = replica.ledger.jobs(VERIFY_REQUESTS_MAX, now.wall());
                    self.crew.begin("verify objects", place, key, verify(store, jobs, VERIFY_TIMEOUT));
                }
                Err(_) => replica.verifying = false,
            }
        }
        None
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, now: Moment) {
        while let Some((key, results)) = self.crew.take_ended() {
            let Some((_, replica)) = shared.fleet.get_mut(key) else { continue };
            replica.verifying = false;
            let doubts = replica.ledger.doubts();
            replica.take_verified(results.unwrap_or_default(), now);
            if replica.ledger.doubts() > doubts {
                // What was read raised a question, which need not wait for the next look.
                shared.readable.push(key);
            }
            shared.fleet.touch(key);
        }
    }
}
