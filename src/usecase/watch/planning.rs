//! Plans the looks at replicas: which of them rest, whose turn it is, and when all are looked at because one failed.

use std::time::Duration;

use super::fleet::Fleet;
use super::replica::WatchedReplica;
use super::resting::Rest;
use super::schedule::{ReplicaKey, after_look, busy_interval};
use crate::domain::limits::{REST_AFTER, VERIFY_REQUESTS_MAX};
use crate::domain::moment::{Moment, signed};
use crate::usecase::ports::Pace;

fn earlier(one: Moment, other: Moment) -> Moment {
    if one.mono() <= other.mono() { one } else { other }
}

impl WatchedReplica {
    /// The longest time between two looks when all is well.
    pub(super) fn verify_interval(&self, pace: &Pace) -> Duration {
        let rest = self.rest.as_ref().map_or(Duration::ZERO, |rest| rest.interval());
        rest.max(pace.idle).max(busy_interval(&self.target, pace))
    }

    /// When something is to be done that begins with a look, although nothing is committed.
    fn rests_until(&mut self, pace: &Pace, now: Moment) -> Option<Moment> {
        let verified = !self.ledger.is_suspicious() && self.ledger.jobs(VERIFY_REQUESTS_MAX, now.wall()).is_empty();
        let listing = self.probe.as_ref().filter(|_| verified)?.reconciled()?.after(pace.reconcile_at_rest());
        Some(self.spot_due(&pace.verify.spot, now).into_iter().fold(listing, earlier))
    }
}

impl Fleet {
    /// Whether all that its database committed is proven, everything is in order, and what Litestream made of the last
    /// commits since was seen.
    pub(super) fn is_settled(&self, key: ReplicaKey, now: Moment) -> bool {
        self.get(key).is_some_and(|(subject, replica)| {
            let compacted = subject.last_commit().is_none_or(|at| now.wall().duration_since(at) >= signed(REST_AFTER));
            compacted && subject.is_monitored() && replica.target.location.is_remote() && replica.is_proven()
        })
    }

    /// Plans the look that follows the one that has just ended.
    pub(super) fn plan_look(&mut self, key: ReplicaKey, pace: &Pace, now: Moment) {
        let (rested, settled) = (self.resting.leave(key), self.is_settled(key, now));
        let Some((_, replica)) = self.get_mut(key) else { return };
        let (store, standing) = (replica.target.location.store(), replica.standing());
        let usual = now.after(after_look(standing, &replica.target, pace));
        let lost = !standing.pending && !replica.is_proven();
        let until = settled.then(|| replica.rests_until(pace, now)).flatten();
        let until = until.filter(|until| until.mono() > usual.mono());
        self.looks.plan(key, Some(until.unwrap_or(usual).mono()));
        let turn = until.map(|until| {
            let others = self.resting.enter(store.clone(), key, now.mono());
            earlier(until, now.after(pace.idle.saturating_mul(u32::try_from(others).unwrap_or(u32::MAX))))
        });
        let rest = turn.filter(|turn| turn.mono() > usual.mono()).map(|until| Box::new(Rest::new(now, until)));
        if let Some((_, replica)) = self.get_mut(key) {
            match &mut replica.rest {
                Some(rest) if standing.failures > 0 => rest.doubt(now),
                before => *before = rest,
            }
        }
        if rested && lost {
            // What befell it may have befallen all.
            for other in self.resting.leave_all(&store) {
                self.wake(other, now, now);
            }
        }
    }

    /// Has the replicas that have waited longest take their turns, one in each store.
    pub(super) fn take_turns(&mut self, pace: &Pace, now: Moment) {
        let turn = now.after(pace.idle).mono();
        for replica in self.resting.turns() {
            if self.looks.due(replica).is_some_and(|due| due > turn) {
                self.looks.plan(replica, Some(turn));
            }
        }
    }

    /// Has a replica looked at by `due` at the latest.
    pub(super) fn look_by(&mut self, key: ReplicaKey, due: Moment) {
        if self.looks.due(key).is_some_and(|planned| planned > due.mono()) {
            self.looks.plan(key, Some(due.mono()));
        }
    }

    /// Has a replica that rested looked at by `due`.
    pub(super) fn wake(&mut self, key: ReplicaKey, due: Moment, now: Moment) {
        if let Some(rest) = self.get_mut(key).and_then(|(_, replica)| replica.rest.as_mut()) {
            rest.doubt(now);
        }
        self.look_by(key, due);
        self.touch(key);
    }
}
