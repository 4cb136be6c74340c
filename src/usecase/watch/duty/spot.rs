//! Rounds of spot checks beside the looks. One begins right after a look, which says where the replica is: what is read
//! of the objects, it reads, and only then verification goes on.

use std::time::Duration;

use super::super::crew::{Crew, Work};
use super::super::schedule::ReplicaKey;
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::limits::{SPOT_TIMEOUT, SPOTTING_MAX};
use crate::domain::moment::Moment;
use crate::usecase::spot::{SpotJob, SpotRound, spot};

#[derive(Default)]
pub(super) struct Spots {
    crew: Crew<ReplicaKey, SpotRound>,
}

/// The round that is due, if one is. What is being read for verification would be read twice.
fn job(shared: &mut Shared, key: ReplicaKey, now: Moment) -> Option<SpotJob> {
    let reader = shared.pages.as_ref()?;
    let (target, replica) = shared.fleet.get_mut(key).filter(|(_, replica)| !replica.verifying)?;
    replica.spot_job(reader, target.database.as_ref()?, &shared.configured.pace.verify.spot, now)
}

impl Duty for Spots {
    /// What finds no room is due after the next look.
    fn begin(&mut self, shared: &mut Shared, Turn { now, .. }: Turn) -> Option<Duration> {
        for (key, _) in std::mem::take(&mut shared.looked) {
            let room = self.crew.has_seat("", SPOTTING_MAX);
            match room.then(|| job(shared, key, now)).flatten() {
                Some(job) => self.crew.begin("spot check", String::new(), key, spot(job, SPOT_TIMEOUT)),
                None => shared.readable.push(key),
            }
        }
        None
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, now: Moment) {
        let policy = shared.configured.pace.verify.spot;
        while let Some((key, round)) = self.crew.take_ended() {
            let Some((_, replica)) = shared.fleet.get_mut(key) else { continue };
            let again = match round {
                Ok(round) => replica.take_round(round, &policy, now),
                Err(_) => {
                    replica.spotting.in_flight = false;
                    false
                }
            };
            let looking = replica.probe.is_none();
            let next = replica.spot_due(&policy, now);
            shared.fleet.touch(key);
            // What differs is believed when everything was looked at anew, and that should not wait for anything.
            match (again, looking) {
                (true, false) => shared.fleet.looks.plan(key, Some(now.mono())),
                (true, true) => {}
                (false, _) => shared.readable.push(key),
            }
            // A replica that rests is looked at when the next round is due.
            if let Some(next) = next {
                shared.fleet.look_by(key, next);
            }
        }
    }
}
