//! All that is watched: which replica is which, when it is looked at next, and whose report has to be built anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::SignedDuration;

use super::replica::WatchedReplica;
use super::schedule::{Queue, ReplicaKey, after_commit, busy_interval};
use super::subject::Subject;
use crate::domain::assessment::DatabaseReport;
use crate::domain::moment::Moment;
use crate::domain::target::{DatabaseFiles, Target, TargetName};
use crate::usecase::ports::{LocalUpdate, Pace};

#[derive(Default)]
pub(super) struct Fleet {
    pub(super) subjects: BTreeMap<TargetName, Subject>,
    targets: HashMap<ReplicaKey, TargetName>,
    /// Replicas that ever began.
    begun: u64,
    /// When replicas are looked at next, by the monotonic clock.
    pub(super) looks: Queue<SignedDuration>,
    /// Something was seen of them since their reports were built.
    dirty: BTreeSet<TargetName>,
    /// Their numbers change with time alone.
    moving: BTreeSet<TargetName>,
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
            self.looks.plan(replica.key, Some(now.mono));
        }
        self.dirty.insert(name.clone());
        self.incomplete.insert(name.clone());
        self.subjects.insert(name.clone(), subject);
    }

    pub(super) fn remove(&mut self, name: &TargetName) {
        for replica in self.subjects.remove(name).into_iter().flat_map(|subject| subject.replicas) {
            self.targets.remove(&replica.key);
            self.looks.plan(replica.key, None);
        }
        for set in [&mut self.dirty, &mut self.moving, &mut self.incomplete] {
            set.remove(name);
        }
    }

    /// A replica and its subject, if that is still watched.
    pub(super) fn get(&self, key: ReplicaKey) -> Option<(&Subject, &WatchedReplica)> {
        let subject = self.subjects.get(self.targets.get(&key)?)?;
        Some((subject, subject.replicas.iter().find(|replica| replica.key == key)?))
    }

    /// A replica, to be changed, and its target.
    pub(super) fn get_mut(&mut self, key: ReplicaKey) -> Option<(&Target, &mut WatchedReplica)> {
        let Subject { target, replicas, .. } = self.subjects.get_mut(self.targets.get(&key)?)?;
        Some((target, replicas.iter_mut().find(|replica| replica.key == key)?))
    }

    pub(super) fn contains(&self, key: ReplicaKey) -> bool {
        self.targets.contains_key(&key)
    }

    pub(super) fn replicas(&self) -> impl Iterator<Item = &WatchedReplica> {
        self.subjects.values().flat_map(|subject| &subject.replicas)
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
        self.dirty.insert(name);
        behind.into_iter().for_each(|replica| self.hurry(replica, pace, now));
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
    pub(super) fn has_changed(&self) -> bool {
        !self.dirty.is_empty() || !self.moving.is_empty()
    }

    /// Builds the reports anew that have changed, and says which.
    pub(super) fn rebuild(&mut self, pace: &Pace, now: Moment) -> BTreeSet<TargetName> {
        let mut changed = std::mem::take(&mut self.dirty);
        changed.append(&mut self.moving);
        for name in &changed {
            let Some(subject) = self.subjects.get_mut(name) else { continue };
            subject.rebuild(pace, now);
            if subject.complete() {
                self.incomplete.remove(name);
            }
            if subject.moving(now) {
                self.moving.insert(name.clone());
            }
        }
        changed
    }

    pub(super) fn reports(&self) -> Vec<Arc<DatabaseReport>> {
        self.subjects.values().map(|subject| Arc::clone(&subject.report)).collect()
    }
}
