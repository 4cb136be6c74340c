//! Looks at replicas: when they begin, how many at once, and what becomes of what they bring back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::super::crew::{Crew, Work};
use super::super::local::Looked;
use super::super::objects::{Look, SeenObjects};
use super::super::schedule::ReplicaKey;
use super::super::turn::{Duty, Shared, Turn};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{BeaconStore, FoundBeacon};
use crate::usecase::replica_probe::ReplicaProbe;

/// The longest that one look at a replica may take; a first listing of millions of keys needs its time.
const LOOK_TIMEOUT: Duration = Duration::from_secs(900);

/// So many are in flight that began so short a time ago, at directories and at buckets: one that takes longer keeps no other
/// waiting. Each takes some memory while it lasts. At a directory it takes a thread as well now and then; threads are dear to
/// begin, and many of them wait for each other more than they read.
const YOUNG_MAX: [(usize, Duration); 2] = [(8, Duration::from_millis(10)), (256, Duration::from_secs(1))];

#[derive(Default)]
pub(super) struct Looks {
    crew: Crew<Begun, Look>,
    /// Those that are in flight and began a moment ago, at directories and at buckets, and until when that is so, by the
    /// monotonic clock.
    young: [VecDeque<(ReplicaKey, SignedDuration)>; 2],
}

impl Looks {
    /// Until when there are too many that are young.
    fn crowded(&mut self, now: Moment) -> Option<SignedDuration> {
        let mut crowded = None;
        for (young, (most, _)) in self.young.iter_mut().zip(YOUNG_MAX) {
            while young.pop_front_if(|(_, until)| *until <= now.mono()).is_some() {}
            crowded = crowded.max(young.front().filter(|_| young.len() >= most).map(|(_, until)| *until));
        }
        crowded
    }
}

/// A look that has begun.
struct Begun {
    replica: ReplicaKey,
    at: Moment,
}

/// A look that begins now, unless the replica is gone.
fn look(shared: &mut Shared, key: ReplicaKey, now: Moment) -> Option<impl Future<Output = Look> + Send + use<>> {
    let (subject, _) = shared.fleet.get(key)?;
    let (name, staged) = (subject.target.name.clone(), subject.staged().cloned());
    let settled = shared.fleet.is_settled(key, now);
    let (target, replica) = shared.fleet.get_mut(key)?;
    let (watched, by_name) = (target.database.is_some(), replica.target.location.kind().is_atomic());
    let mut probe = replica.take_probe(now)?;
    let verify = replica.ledger.is_on();
    let store = replica.store.clone();
    let beacon = (!watched).then(|| shared.stores.beacon(&replica.target.location));
    // When the source cannot be sampled, the look proves what was seen of it before, and nothing later.
    let seen = replica.positions.newest().map_or(now, |newest| newest.last_seen);
    probe.aim(replica.positions.newest().filter(|_| watched).and_then(|newest| newest.position));
    let local = shared.local.clone();
    let mut pace = shared.configured.pace.clone();
    if settled {
        pace.reconcile = pace.reconcile_at_rest();
    }
    Some(async move {
        let look = async {
            let store = store.map_err(|reason| *reason)?;
            // The source first: whatever the bucket holds afterwards, it can only prove what was there before.
            let looked = if watched { local.look(name, by_name).await } else { Looked { at: Some(now), staged: None } };
            let sampled = looked.at.unwrap_or(seen);
            probe.claim(looked.staged);
            probe.look(store.as_ref(), staged.as_ref(), sampled, &pace).await
        };
        // A look that takes too long leaves its probe: what that has listed is not listed again.
        let result = tokio::time::timeout(LOOK_TIMEOUT, look).await.unwrap_or_else(|_| {
            let message = format!("look at replica: not finished within {} s", LOOK_TIMEOUT.as_secs());
            Err(Reason::new(ReasonKind::Timeout, message))
        });
        let objects = SeenObjects::of(&mut probe, verify);
        let beacon = find(beacon, &result).await;
        Look { probe, result, objects, beacon }
    })
}

/// Looks for the beacon after a look at the replica, unless the bucket was just seen not to answer. `None` where no
/// beacon is looked for.
async fn find<T>(
    store: Option<Result<Arc<dyn BeaconStore>, Reason>>,
    look: &Result<T, Reason>,
) -> Option<Result<Option<FoundBeacon>, Reason>> {
    let answers = look.as_ref().err().is_none_or(|reason| reason.kind == ReasonKind::Corrupt);
    match store.filter(|_| answers)? {
        Ok(store) => Some(store.find().await),
        Err(reason) => Some(Err(reason)),
    }
}

impl Duty for Looks {
    fn begin(&mut self, shared: &mut Shared, Turn { now, .. }: Turn) -> Option<Duration> {
        shared.fleet.take_turns(&shared.configured.pace, now);
        while let Some(key) = shared.fleet.looks.pop(now.mono()) {
            if let Some((_, replica)) = shared.fleet.get(key) {
                self.crew.wait(replica.target.location.queue(), key);
            }
        }
        let most = shared.configured.pace.concurrency.max(1);
        loop {
            if let Some(until) = self.crowded(now) {
                return Some(now.until(until));
            }
            let Some((place, replica)) = self.crew.next(most) else {
                return shared.fleet.looks.first().map(|due| now.until(due));
            };
            let remote = shared.fleet.get(replica).is_some_and(|(_, replica)| replica.target.location.is_remote());
            if let Some(look) = look(shared, replica, now) {
                self.crew.begin("look at replica", place, Begun { replica, at: now }, look);
                let (_, while_young) = YOUNG_MAX[usize::from(remote)];
                self.young[usize::from(remote)].push_back((replica, now.after(while_young).mono()));
            }
        }
    }

    fn crew(&mut self) -> &mut dyn Work {
        &mut self.crew
    }

    fn conclude(&mut self, shared: &mut Shared, now: Moment) {
        while let Some((begun, look)) = self.crew.take_ended() {
            let key = begun.replica;
            self.young.iter_mut().for_each(|young| young.retain(|(young, _)| *young != key));
            let Some((target, replica)) = shared.fleet.get_mut(key) else { continue };
            // After a panic the replica starts again with a new probe.
            let look = look.unwrap_or_else(|reason| Look {
                probe: ReplicaProbe::of(&replica.target),
                result: Err(reason),
                objects: SeenObjects::default(),
                beacon: None,
            });
            if let Err(reason) = &look.result {
                tracing::debug!(database = %target.name, replica = replica.target.name, %reason, "replica not verified");
            }
            let (success, before) = (look.result.is_ok(), replica.proven());
            replica.conclude(look, now);
            let at_rest = before.is_some() && replica.proven() == before;
            shared.fleet.plan_look(key, &shared.configured.pace, now);
            if at_rest {
                shared.fleet.touch_at_rest(key, now)
            } else {
                shared.fleet.touch(key)
            }
            shared.collectors.replica.ended(success, now.since(begun.at).unsigned_abs(), now);
            shared.looked.push((key, success));
        }
    }

    fn adapt(&mut self, shared: &mut Shared, _: Moment) {
        self.crew.forget(|replica| shared.fleet.contains(replica));
    }
}
