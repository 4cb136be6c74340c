//! When a replica is looked at next. Pure: `now` is an argument.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;

use crate::domain::moment::Moment;
use crate::domain::target::{ReplicaTarget, TargetName};
use crate::usecase::ports::Pace;

/// A failing replica is tried again after this, doubled each time…
const FIRST_RETRY: Duration = Duration::from_secs(2);
/// …up to this.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// One replica of one target, by its place in the target's list.
pub(super) type ReplicaId = (TargetName, usize);

/// What decides when a replica is looked at next.
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
    if replica.location.metered() { pace.bucket } else { pace.directory }
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

/// Replicas in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(SignedDuration, ReplicaId)>,
}

impl Queue {
    pub(super) fn insert(&mut self, due: Moment, id: ReplicaId) {
        self.due.insert((due.mono, id));
    }

    pub(super) fn remove(&mut self, due: Moment, id: &ReplicaId) {
        self.due.remove(&(due.mono, id.clone()));
    }

    /// The next one that is due at `now`.
    pub(super) fn pop(&mut self, now: Moment) -> Option<ReplicaId> {
        if self.due.first()?.0 > now.mono {
            return None;
        }
        self.due.pop_first().map(|(_, id)| id)
    }

    /// How long until one is due.
    pub(super) fn wait(&self, now: Moment) -> Option<Duration> {
        let (due, _) = self.due.first()?;
        Some(due.saturating_sub(now.mono).max(SignedDuration::ZERO).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::ReplicaLocation;

    fn pace() -> Pace {
        Pace {
            poll: Duration::from_secs(1),
            sweep: Duration::from_secs(60),
            directory: Duration::from_secs(2),
            bucket: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            levels: Duration::from_secs(300),
            reconcile: Duration::from_secs(3600),
            grace: Duration::from_secs(300),
            discovery: Duration::from_secs(60),
            concurrency: 32,
            verify: crate::domain::verification::VerifyPolicy::OFF,

            beacon: None,
        }
    }

    fn replica() -> ReplicaTarget {
        ReplicaTarget {
            name: "file".into(),
            location: ReplicaLocation::Directory("/replica".into()),
            sync_interval: Duration::from_secs(1),
            encrypted: false,
            age_identities: Vec::new(),
            kept: None,
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
        let at = |seconds| Moment { wall: jiff::Timestamp::UNIX_EPOCH, mono: SignedDuration::from_secs(seconds) };
        let id = |name: &str| (TargetName(name.into()), 0);
        let mut queue = Queue::default();
        queue.insert(at(5), id("b"));
        queue.insert(at(3), id("a"));
        queue.insert(at(9), id("c"));
        queue.remove(at(9), &id("c"));
        assert_eq!(queue.wait(at(1)), Some(Duration::from_secs(2)));
        assert_eq!(queue.pop(at(2)), None);
        assert_eq!(queue.pop(at(6)), Some(id("a")));
        assert_eq!(queue.pop(at(6)), Some(id("b")));
        assert_eq!(queue.wait(at(6)), None);
    }
}
