//! Replicas that rest: nothing was committed since they were proven, so that only what becomes of them in their store is to
//! be seen. In each store, they are looked at in turn, one each idle interval; each is listed from time to time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::schedule::{Queue, ReplicaKey};
use crate::domain::moment::Moment;
use crate::domain::target::ReplicaLocation;

/// The replicas that rest, by store and login, in the order of their last looks.
#[derive(Debug, Default)]
pub(super) struct Resting(Vec<(ReplicaLocation, Queue<SignedDuration>)>);

impl Resting {
    /// One begins to rest after its look; returns how many there are in that store.
    pub(super) fn enter(&mut self, store: ReplicaLocation, replica: ReplicaKey, looked: SignedDuration) -> usize {
        let index = self.0.iter().position(|(known, _)| *known == store).unwrap_or_else(|| {
            self.0.push((store, Queue::default()));
            self.0.len() - 1
        });
        let queue = &mut self.0[index].1;
        queue.plan(replica, Some(looked));
        queue.len()
    }

    /// Ends the rest of one; `true` if it rested.
    pub(super) fn leave(&mut self, replica: ReplicaKey) -> bool {
        let rested = self.0.iter_mut().map(|(_, queue)| queue).find(|queue| queue.due(replica).is_some());
        let rested = rested.map(|queue| queue.plan(replica, None)).is_some();
        self.0.retain(|(_, queue)| queue.len() > 0);
        rested
    }

    /// The one in each store that was looked at longest ago.
    pub(super) fn turns(&self) -> impl Iterator<Item = ReplicaKey> {
        self.0.iter().filter_map(|(_, queue)| queue.head())
    }

    /// Ends the rest of all in a store.
    pub(super) fn leave_all(&mut self, store: &ReplicaLocation) -> Vec<ReplicaKey> {
        let Some(index) = self.0.iter().position(|(known, _)| known == store) else { return Vec::new() };
        let (_, mut queue) = self.0.swap_remove(index);
        std::iter::from_fn(|| queue.pop(SignedDuration::MAX)).collect()
    }
}

/// The rest of a replica since its last look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    since: Moment,
    /// When it is looked at next at the latest.
    until: Moment,
    /// Something speaks against it: it is to be looked at without delay.
    doubted: bool,
}

impl Rest {
    pub(super) fn new(since: Moment, until: Moment) -> Self {
        Self { since, until, doubted: false }
    }

    pub(super) fn interval(&self) -> Duration {
        self.since.until(self.until.mono())
    }

    /// When the next look is planned, if all is well.
    pub(super) fn planned(&self) -> Option<Timestamp> {
        (!self.doubted).then_some(self.until.wall())
    }

    /// From now on, its proof may not become older than it is, but for what a failed look may take to be repeated.
    pub(super) fn doubt(&mut self, now: Moment) {
        if !self.doubted {
            let half = Duration::try_from(now.since(self.since)).unwrap_or_default() / 2;
            *self = Self { until: self.since.after(half), doubted: true, ..*self };
        }
    }
}
