//! All that is watched: which replica is which, when it is looked at next, and whose report has to be built anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::replica::WatchedReplica;
use super::resting::Resting;
use super::schedule::{Queue, ReplicaKey, after_commit, busy_interval, interval};
use super::subject::Subject;
use crate::domain::assessment::DatabaseReport;
use crate::domain::moment::Moment;
use crate::domain::profile::Profile;
use crate::domain::target::{DatabaseFiles, Target, TargetName};
use crate::usecase::ports::{LocalUpdate, Pace};

/// Rates are taken over a quarter of an hour. Where nothing else changes, they are brought up to date so often.
const FADING_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Fleet {
    /// Boxed, as they are large and places in a map are often empty.
    pub(super) subjects: BTreeMap<TargetName, Box<Subject>>,
    targets: HashMap<ReplicaKey, TargetName>,
    /// How many replicas are in directories, and how many are remote.
    places: [usize; 2],
    /// Replicas that ever began.
    begun: u64,
    /// When replicas are looked at next, by the monotonic clock.
    pub(super) looks: Queue<SignedDuration>,
    pub(super) resting: Resting,
    /// Something was seen of them since their reports were built.
    dirty: BTreeSet<TargetName>,
    /// Their numbers change with each second.
    moving: BTreeSet<TargetName>,
    /// Their rates change with time alone, and when they are built anew for that, by the monotonic clock.
    fading: BTreeMap<TargetName, SignedDuration>,
    /// Not everything about them was looked at once.
    incomplete: BTreeSet<TargetName>,
}

impl Fleet {
    /// A key for a replica that begins.
    pub(super) fn key(&mut self) -> ReplicaKey {
        self.begun += 1;
        ReplicaKey(self.begun)
    }

    /// Begins to watch a target; its replicas are looked at as soon as there are seats.
    pub(super) fn insert(&mut self, subject: Subject, now: Moment) {
        let name = &subject.target.name;
        for replica in &subject.replicas {
            self.targets.insert(replica.key, name.clone());
            self.places[usize::from(replica.target.location.is_remote())] += 1;
            self.looks.plan(replica.key, Some(now.mono));
        }
        self.dirty.insert(name.clone());
        self.incomplete.insert(name.clone());
        self.subjects.insert(name.clone(), Box::new(subject));
    }

    pub(super) fn remove(&mut self, name: &TargetName) {
        for replica in self.subjects.remove(name).into_iter().flat_map(|subject| subject.replicas) {
            self.targets.remove(&replica.key);
            self.places[usize::from(replica.target.location.is_remote())] -= 1;
            self.looks.plan(replica.key, None);
            self.resting.leave(replica.key);
        }
        for set in [&mut self.dirty, &mut self.moving, &mut self.incomplete] {
            set.remove(name);
        }
        self.fading.remove(name);
    }

    /// How many numbers of a database are served from now on: that changes nothing of how it is watched.
    pub(super) fn serve(&mut self, name: &TargetName, metrics: Profile) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        if std::mem::replace(&mut subject.target.objectives.metrics, metrics) != metrics {
            self.dirty.insert(name.clone());
        }
    }

    /// A replica and its subject, if that is still watched.
    pub(super) fn get(&self, key: ReplicaKey) -> Option<(&Subject, &WatchedReplica)> {
        let subject: &Subject = self.subjects.get(self.targets.get(&key)?)?;
        Some((subject, subject.replicas.iter().find(|replica| replica.key == key)?))
    }

    /// A replica, to be changed, and its target.
    pub(super) fn get_mut(&mut self, key: ReplicaKey) -> Option<(&Target, &mut WatchedReplica)> {
        let Subject { target, replicas, .. } = &mut **self.subjects.get_mut(self.targets.get(&key)?)?;
        Some((target, replicas.iter_mut().find(|replica| replica.key == key)?))
    }

    pub(super) fn contains(&self, key: ReplicaKey) -> bool {
        self.targets.contains_key(&key)
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = &WatchedReplica> {
        self.subjects.values().flat_map(|subject| &subject.replicas)
    }

    /// The shortest time between two looks at any busy replica; `None` where there is none.
    pub(super) fn busy_interval(&self, pace: &Pace) -> Option<Duration> {
        let places = [false, true].into_iter().zip(self.places).filter(|(_, replicas)| *replicas > 0);
        places.map(|(remote, _)| interval(remote, pace)).min()
    }

    /// Something is known of a replica that is to be shown and saved.
    pub(super) fn touch(&mut self, key: ReplicaKey) {
        let Some(name) = self.targets.get(&key) else { return };
        if let Some(subject) = self.subjects.get_mut(name) {
            subject.unsaved = true;
            self.dirty.insert(name.clone());
        }
    }

    /// Takes in a look at a database.
    pub(super) fn observe(&mut self, update: LocalUpdate, pace: &Pace, now: Moment) {
        let name = update.target.clone();
        let Some(subject) = self.subjects.get_mut(&name) else { return };
        let behind = subject.observe(update);
        // What cannot be read may have committed something.
        let unknown = if subject.is_monitored() { &[] } else { subject.replicas.as_slice() };
        let unknown: Vec<ReplicaKey> = unknown.iter().map(|replica| replica.key).collect();
        self.dirty.insert(name);
        behind.into_iter().for_each(|replica| self.hurry(replica, pace, now));
        for replica in unknown {
            if self.resting.leave(replica) {
                self.wake(replica, now.after(pace.idle), now);
            }
        }
    }

    /// A commit was seen: a look soon after it can find it in the replica.
    fn hurry(&mut self, key: ReplicaKey, pace: &Pace, now: Moment) {
        let Some((_, replica)) = self.get(key) else { return };
        if replica.probe.is_none() || replica.standing().failures > 0 {
            // In flight, or backing off: the look that follows is soon enough.
            return;
        }
        let soonest = now.after(after_commit(&replica.target)).mono;
        let paced = replica.last_look.map(|last| last.after(busy_interval(&replica.target, pace)).mono);
        let due = paced.map_or(soonest, |paced| paced.max(soonest));
        if self.looks.due(key).is_some_and(|planned| due < planned) {
            self.looks.plan(key, Some(due));
        }
    }

    /// Databases on this host.
    pub(super) fn databases(&self) -> Vec<(TargetName, DatabaseFiles)> {
        let targets = self.subjects.values().map(|subject| &subject.target);
        targets.filter_map(|target| Some((target.name.clone(), target.database.clone()?))).collect()
    }

    /// Everything was looked at once.
    pub(super) fn is_complete(&self) -> bool {
        self.incomplete.is_empty()
    }

    /// Whoever waits for everything to have been looked at does not wait for a place that never comes to an end.
    pub(super) fn give_up_waiting(&mut self, now: Moment) {
        for name in &self.incomplete {
            if self.subjects.get_mut(name).is_some_and(|subject| subject.give_up_waiting(now)) {
                self.dirty.insert(name.clone());
            }
        }
    }

    /// There are reports that would be others if they were built now.
    pub(super) fn has_changed(&self, now: Moment) -> bool {
        let faded = || self.fading.values().any(|due| *due <= now.mono);
        !self.dirty.is_empty() || !self.moving.is_empty() || faded()
    }

    /// Builds the reports anew that have changed, and says which.
    pub(super) fn rebuild(&mut self, pace: &Pace, now: Moment) -> BTreeSet<TargetName> {
        let mut changed = std::mem::take(&mut self.dirty);
        changed.append(&mut self.moving);
        changed.extend(self.fading.iter().filter(|(_, due)| **due <= now.mono).map(|(name, _)| name.clone()));
        for name in &changed {
            let Some(subject) = self.subjects.get_mut(name) else { continue };
            subject.rebuild(pace, now);
            if subject.complete() {
                self.incomplete.remove(name);
            }
            if subject.moving(now) {
                self.moving.insert(name.clone());
            }
            match subject.fading(now) {
                true => drop(self.fading.insert(name.clone(), now.after(FADING_INTERVAL).mono)),
                false => drop(self.fading.remove(name)),
            }
        }
        changed
    }

    pub(super) fn reports(&self) -> Vec<Arc<DatabaseReport>> {
        self.subjects.values().map(|subject| Arc::clone(&subject.report)).collect()
    }
}
