//! When a replica is looked at next. Pure: `now` is an argument.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::domain::target::ReplicaTarget;
use crate::usecase::ports::Pace;

/// A failing replica is tried again after this, doubled each time…
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// …up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A replica for as long as it is watched in the same way: what a reload puts in its place has another key, so that what
/// comes late finds nobody. A number: how many have begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ReplicaKey(pub(super) u64);

/// The facts that decide when a replica is looked at next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// Commits are not proven.
    pub(super) pending: bool,
    /// Failures in a row.
    pub(super) failures: u32,
    /// How often the host that writes says that it is there, where that is not this one.
    pub(super) beacon: Option<Duration>,
}

/// The shortest time between two looks at a busy replica.
pub(super) fn busy_interval(replica: &ReplicaTarget, pace: &Pace) -> Duration {
    interval(replica.location.is_remote(), pace)
}

/// The shortest time between two looks at a busy replica that is remote, or is not.
pub(super) fn interval(remote: bool, pace: &Pace) -> Duration {
    if remote { pace.bucket } else { pace.directory }
}

/// The time from the end of one look to the next.
pub(super) fn after_look(standing: Standing, replica: &ReplicaTarget, pace: &Pace) -> Duration {
    let busy = busy_interval(replica, pace);
    if standing.failures > 0 {
        let doubled = FIRST_RETRY.saturating_mul(1 << (standing.failures - 1).min(10));
        doubled.clamp(FIRST_RETRY.max(busy), LAST_RETRY.max(busy))
    } else if standing.pending {
        busy
    } else {
        // Once for each beacon, so that what it says is never much older than it has to be.
        standing.beacon.map_or(pace.idle, |beacon| beacon.min(pace.idle)).max(busy)
    }
}

/// The time from a commit to a look that can expect to find it: one sync interval for Litestream and one to upload.
pub(super) fn after_commit(replica: &ReplicaTarget) -> Duration {
    replica.sync_interval.saturating_mul(2).clamp(Duration::from_millis(500), Duration::from_secs(60))
}

/// Replicas in the order in which they are due, by one clock.
#[derive(Debug, Default)]
pub(super) struct Queue<T> {
    order: BTreeSet<(T, ReplicaKey)>,
    due: HashMap<ReplicaKey, T>,
}

impl<T: Copy + Ord> Queue<T> {
    /// Says when a replica is due, instead of what was said before; `None`: not at all.
    pub(super) fn plan(&mut self, replica: ReplicaKey, due: Option<T>) {
        let before = match due {
            Some(due) => self.due.insert(replica, due),
            None => self.due.remove(&replica),
        };
        if let Some(before) = before {
            self.order.remove(&(before, replica));
        }
        self.order.extend(due.map(|due| (due, replica)));
    }

    /// Forgets the replicas that are not `wanted` any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(ReplicaKey) -> bool) {
        self.order.retain(|(_, replica)| wanted(*replica));
        self.due.retain(|replica, _| wanted(*replica));
    }

    /// When a replica is due.
    pub(super) fn due(&self, replica: ReplicaKey) -> Option<T> {
        self.due.get(&replica).copied()
    }

    /// The first one.
    pub(super) fn head(&self) -> Option<ReplicaKey> {
        self.order.first().map(|(_, replica)| *replica)
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// When the first one is due.
    pub(super) fn first(&self) -> Option<T> {
        self.order.first().map(|(due, _)| *due)
    }

    /// The next one that is due at `now`.
    pub(super) fn pop(&mut self, now: T) -> Option<ReplicaKey> {
        let (due, replica) = self.order.first().copied()?;
        (due <= now).then(|| {
            self.plan(replica, None);
            replica
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::ReplicaLocation;

    fn pace() -> Pace {
        Pace { levels: Duration::from_secs(300), ..Pace::default() }
    }

    fn replica() -> ReplicaTarget {
        ReplicaTarget {
            name: "file".into(),
            location: ReplicaLocation::Directory("/replica".into()),
            sync_interval: Duration::from_secs(1),
            encrypted: false,
            age_identities: Vec::new(),
            kept: None,
            written: Default::default(),
        }
    }

    fn check(pending: bool, failures: u32, seconds: u64) {
        assert_eq!(
            after_look(Standing { pending, failures, beacon: None }, &replica(), &pace()),
            Duration::from_secs(seconds)
        );
    }

    #[test]
    fn idle_is_rare_busy_is_often_and_failing_backs_off() {
        check(false, 0, 300);
        check(true, 0, 2);
        check(true, 1, 2);
        check(false, 3, 8);
        check(true, 30, 60);
        let beacon = |seconds| {
            let standing = Standing { pending: false, failures: 0, beacon: Some(Duration::from_secs(seconds)) };
            after_look(standing, &replica(), &pace()).as_secs()
        };
        assert_eq!([beacon(60), beacon(0), beacon(3600)], [60, 2, 300]);
    }

    #[test]
    fn queue_hands_out_what_is_due_in_order() {
        let key = ReplicaKey;
        let mut queue = Queue::default();
        for (number, due) in [(1, 7), (2, 5), (3, 3), (4, 9), (1, 4)] {
            queue.plan(key(number), Some(due));
        }
        queue.plan(key(4), None);
        assert_eq!((queue.first(), queue.due(key(1)), queue.due(key(4))), (Some(3), Some(4), None));
        assert_eq!(queue.pop(2), None);
        assert_eq!([queue.pop(6), queue.pop(6), queue.pop(6)], [3, 1, 2].map(|number| Some(key(number))));
        assert_eq!((queue.pop(9), queue.first(), queue.due(key(1))), (None, None, None));
    }
}
