//! All that is watched: which replica is which, when it is looked at next, and whose report has to be built anew.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::replica::WatchedReplica;
use super::resting::Resting;
use super::saved::ToSave;
use super::schedule::{Queue, ReplicaKey, after_commit, busy_interval, interval};
use super::subject::Subject;
use crate::domain::assess::permissions::ModeReport;
use crate::domain::assessment::{DatabaseReport, Tally};
use crate::domain::moment::Moment;
use crate::domain::target::{DatabaseFiles, Objectives, Target, TargetName};
use crate::usecase::ports::{LocalUpdate, Pace};

/// Rates are taken over a quarter of an hour. Where nothing else changes, they are brought up to date so often.
const FADING_INTERVAL: Duration = Duration::from_secs(60);

/// A report of so many databases may be made each second.
const PUBLISHED_PER_SECOND: usize = 2_000;

/// However many they are, a report is made so often.
const PUBLISH_INTERVAL_MAX: SignedDuration = SignedDuration::from_secs(10);

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
    /// Their reports were built anew since that was last asked.
    fresh: BTreeSet<TargetName>,
    /// Their numbers change with each second.
    moving: BTreeSet<TargetName>,
    /// Their rates change with time alone, and when they are built anew for that, by the monotonic clock.
    fading: BTreeMap<TargetName, SignedDuration>,
    /// When reports were last built anew, by the monotonic clock.
    refreshed: Option<SignedDuration>,
    /// Not everything about them was looked at once.
    incomplete: BTreeSet<TargetName>,
    /// They are gone from the configuration.
    gone: BTreeSet<TargetName>,
    /// Of the report that was built last: most have the same.
    modes: Arc<[ModeReport]>,
    /// Of all reports.
    pub(super) tally: Tally,
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
            self.looks.plan(replica.key, Some(now.mono()));
        }
        self.dirty.insert(name.clone());
        self.incomplete.insert(name.clone());
        self.tally.enter(&subject.report);
        self.subjects.insert(name.clone(), Box::new(subject));
    }

    pub(super) fn remove(&mut self, name: &TargetName) {
        let subject = self.subjects.remove(name);
        subject.iter().for_each(|subject| self.tally.leave(&subject.report));
        for replica in subject.into_iter().flat_map(|subject| subject.replicas) {
            self.targets.remove(&replica.key);
            self.places[usize::from(replica.target.location.is_remote())] -= 1;
            self.looks.plan(replica.key, None);
            self.resting.leave(replica.key);
        }
        for set in [&mut self.dirty, &mut self.fresh, &mut self.moving, &mut self.incomplete, &mut self.gone] {
            set.remove(name);
        }
        self.fading.remove(name);
    }

    /// Takes note of who is gone from the configuration.
    pub(super) fn note_gone(&mut self) {
        let gone = self.subjects.iter().filter(|(_, subject)| subject.gone_since.is_some());
        self.gone = gone.map(|(name, _)| name.clone()).collect();
    }

    /// Those that have been gone for so long.
    pub(super) fn gone_for(&self, grace: SignedDuration, now: Moment) -> Vec<TargetName> {
        let since = |name: &TargetName| self.subjects.get(name).and_then(|subject| subject.gone_since);
        self.gone.iter().filter(|name| since(name).is_some_and(|at| now.since(at) >= grace)).cloned().collect()
    }

    /// How many numbers of a database are served from now on: that changes nothing of how it is watched.
    pub(super) fn serve(&mut self, name: &TargetName, wanted: &Arc<Objectives>) {
        let Some(subject) = self.subjects.get_mut(name) else { return };
        let known = &mut subject.target.objectives;
        if known.metrics != wanted.metrics {
            let changed = Objectives { metrics: wanted.metrics, ..Objectives::clone(known) };
            *known = if changed == **wanted { Arc::clone(wanted) } else { Arc::new(changed) };
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
            subject.to_save = ToSave::News;
            self.dirty.insert(name.clone());
        }
    }

    /// A replica was looked at again, and nothing new was seen: that is to be shown, and saved from time to time.
    pub(super) fn touch_at_rest(&mut self, key: ReplicaKey, now: Moment) {
        let Some(name) = self.targets.get(&key) else { return };
        if let Some(subject) = self.subjects.get_mut(name) {
            subject.to_save.looked(now);
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
        let soonest = now.after(after_commit(&replica.target)).mono();
        let paced = replica.last_look.map(|last| last.after(busy_interval(&replica.target, pace)).mono());
        let due = paced.map_or(soonest, |paced| paced.max(soonest));
        if self.looks.due(key).is_some_and(|planned| due < planned) {
            self.looks.plan(key, Some(due));
        }
    }

    /// Databases on this host.
    pub(super) fn databases(&self) -> Vec<(TargetName, Arc<DatabaseFiles>)> {
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

    /// The shortest time between two reports of everything. Each costs something for each database: of many, what changed is
    /// shown together.
    pub(super) fn publish_interval(&self) -> SignedDuration {
        let seconds = self.subjects.len() / PUBLISHED_PER_SECOND;
        let interval = SignedDuration::from_secs(seconds.try_into().unwrap_or(i64::MAX)).min(PUBLISH_INTERVAL_MAX);
        // Who waits for the first look at everything does not wait for more.
        if self.is_complete() { interval } else { SignedDuration::ZERO }
    }

    /// Builds the reports anew that are others now; says whether there are any that nobody asked for.
    pub(super) fn refresh(&mut self, pace: &Pace, now: Moment) -> bool {
        let mut changed = std::mem::take(&mut self.dirty);
        if self.refreshed.replace(now.mono()) != Some(now.mono()) {
            changed.append(&mut self.moving);
            changed.extend(self.fading.iter().filter(|(_, due)| **due <= now.mono()).map(|(name, _)| name.clone()));
        }
        for name in changed {
            let Some(subject) = self.subjects.get_mut(&name) else { continue };
            let before = Arc::clone(&subject.report);
            if subject.refresh(pace, now) {
                subject.share(&mut self.modes);
                self.tally.replace(&before, &subject.report);
                self.fresh.insert(name.clone());
            }
            if subject.complete() {
                self.incomplete.remove(&name);
            }
            if subject.moving(now) {
                self.moving.insert(name.clone());
            }
            match subject.fading(now) {
                true => drop(self.fading.insert(name, now.after(FADING_INTERVAL).mono())),
                false => drop(self.fading.remove(&name)),
            }
        }
        !self.fresh.is_empty()
    }

    /// Those whose reports were built anew since this was last called.
    pub(super) fn take_fresh(&mut self, pace: &Pace, now: Moment) -> BTreeSet<TargetName> {
        self.refresh(pace, now);
        std::mem::take(&mut self.fresh)
    }

    /// Has a report be another value in memory, so that it is judged anew.
    pub(super) fn rebuild(&mut self, name: &TargetName, pace: &Pace, now: Moment) {
        if let Some(subject) = self.subjects.get_mut(name) {
            let before = Arc::clone(&subject.report);
            subject.rebuild(pace, now);
            subject.share(&mut self.modes);
            self.tally.replace(&before, &subject.report);
        }
    }

    pub(super) fn reports(&self) -> Vec<Arc<DatabaseReport>> {
        self.subjects.values().map(|subject| Arc::clone(&subject.report)).collect()
    }
}
