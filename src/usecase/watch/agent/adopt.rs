//! Which targets are watched: what begins, what ends, and what is handed over when the configuration is another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Agent;
use crate::domain::limits::NAME_KEPT;
use crate::domain::moment::{Moment, signed};
use crate::domain::naming::Names;
use crate::domain::target::{Target, TargetName};
use crate::usecase::ports::{Configured, EntryKey};
use crate::usecase::watch::objects::means;
use crate::usecase::watch::saved::{identity, path};
use crate::usecase::watch::subject::Subject;

impl Agent {
    /// Takes over a configuration: new targets begin, changed ones begin anew, those that are gone are kept for a while. One
    /// that no `owner` asked for is not believed when too many are gone.
    pub(super) fn adopt(&mut self, mut configured: Configured, owner: bool, now: Moment) {
        self.take_names(&mut configured.names, now);
        let targets = std::mem::take(&mut configured.targets);
        let mut wanted: BTreeMap<_, _> = targets.into_iter().map(|target| (target.name.clone(), target)).collect();
        let mut changes = self.is_other(&configured, &wanted);
        for (name, target) in &wanted {
            self.shared.fleet.serve(name, &target.objectives);
        }
        let moved = self.leave_places(&wanted);
        let handed_over = self.hand_over(&wanted, now);
        let (fleet, before) = (&mut self.shared.fleet, &self.report.sources);
        let kept = self.believed.doubt(fleet, before, &mut configured.sources, &wanted, owner);
        for (name, subject) in &mut fleet.subjects {
            match wanted.remove(name) {
                Some(_) => changes |= subject.gone_since.take().is_some(),
                None if kept && subject.gone_since.is_none() => {}
                None => {
                    changes |= subject.gone_since.is_none();
                    subject.gone_since = subject.gone_since.or(Some(now));
                }
            }
        }
        if changes {
            self.report.config.in_force_since = Some(now.wall());
        }
        fleet.note_gone();
        self.report.sources.clone_from(&configured.sources);
        self.report.shard = configured.shard;
        self.pace.clone_from(&configured.pace);
        if self.shared.configured.costs.prices != configured.costs.prices {
            self.spacing.count_anew();
        }
        self.shared.configured = configured;
        self.alerts.configure(&self.shared.configured.alerting);
        for replica in self.shared.fleet.subjects.values_mut().flat_map(|subject| &mut subject.replicas) {
            let (depth, budget) = means(&replica.target, &self.shared.configured.pace.verify);
            replica.ledger.set_policy(depth, budget);
        }
        for target in wanted.into_values() {
            self.watch(target, now);
        }
        for name in handed_over {
            self.shared.fleet.subjects.get_mut(&name).into_iter().for_each(|subject| subject.not_saved());
        }
        self.pace_out();
        self.adapt(now);
        if moved {
            // What is shown of the places before would be taken for the new ones.
            self.publish(now);
        }
    }

    /// Whether a configuration says anything that the one in force does not; it may also say less.
    fn is_other(&self, configured: &Configured, wanted: &BTreeMap<TargetName, Target>) -> bool {
        let (before, subjects) = (&self.shared.configured, &self.shared.fleet.subjects);
        !configured.has_settings_of(before)
            || self.pace != configured.pace
            || wanted.iter().any(|(name, target)| subjects.get(name).is_none_or(|subject| subject.target != *target))
    }

    /// Has the alerts of replicas that are at another place now end: nobody watches the one that they were about.
    fn leave_places(&mut self, wanted: &BTreeMap<TargetName, Target>) -> bool {
        let mut moved = false;
        for (name, target) in wanted {
            let Some(subject) = self.shared.fleet.subjects.get(name) else { continue };
            let before = subject.target.replicas.iter();
            let left = before.filter(|replica| {
                let after = target.replicas.iter().find(|after| after.name == replica.name);
                after.is_some_and(|after| identity(after) != identity(replica))
            });
            for replica in left {
                self.alerts.book.leave(&name.0, &replica.name);
                moved = true;
            }
        }
        moved
    }

    /// Takes over the names of a configuration, and forgets those that are long gone.
    fn take_names(&mut self, names: &mut Names, now: Moment) {
        let before = &self.shared.configured;
        names.settle(now.wall(), signed(NAME_KEPT.saturating_add(before.pace.grace)));
        self.memory.names |= *names != before.names;
    }

    /// Ends targets that are to be watched otherwise or under another name, and keeps what is known of them for what
    /// follows them, which it names: nothing of them is saved under that name.
    fn hand_over(&mut self, wanted: &BTreeMap<TargetName, Target>, now: Moment) -> Vec<TargetName> {
        let names: BTreeMap<PathBuf, &TargetName> =
            wanted.iter().filter_map(|(name, target)| Some((path(target)?, name))).collect();
        let mut ended = Vec::new();
        for (name, subject) in &self.shared.fleet.subjects {
            let own = wanted.get(name);
            if own == Some(&subject.target) {
                continue;
            }
            let by_path = path(&subject.target).and_then(|path| names.get(&path).copied());
            // What nobody names any more is watched for a while.
            let Some(next) = by_path.or_else(|| own.map(|_| name)) else { continue };
            ended.push((name.clone(), next.clone(), subject.save(), subject.save_objects()));
        }
        // Under a name that goes on with another file, what is known of that file comes last and stays.
        ended.sort_by_key(|(name, next, ..)| name != next);
        let renamed = ended.iter().filter(|(name, next, ..)| name != next);
        self.recorder.rename(renamed.map(|(name, next, ..)| (name, next)), now.wall());
        let followers = ended.iter().map(|(_, next, ..)| next.clone()).collect();
        for (name, next, saved, objects) in ended {
            if next != name {
                tracing::warn!(from = %name, to = %next, "a database has a new name");
                self.memory.forgotten.extend(EntryKey::of(&name));
            }
            self.shared.fleet.remove(&name);
            self.memory.saved.insert(EntryKey::objects(&next), objects);
            self.memory.saved.insert(EntryKey::target(&next), saved);
        }
        followers
    }

    fn watch(&mut self, target: Target, now: Moment) {
        let (target_key, objects_key) = (EntryKey::target(&target.name), EntryKey::objects(&target.name));
        let saved = self.memory.saved.remove(&target_key);
        if let Some(text) = self.memory.saved.remove(&EntryKey::history(&target.name))
            && let Err(cause) = self.recorder.restore(&target.name, &text, self.memory.recorded, now.wall())
        {
            tracing::warn!(database = %target.name, cause, "cannot read the history for charts; it starts afresh");
        }
        let shared = &mut self.shared;
        let able = shared.pages.is_some() && target.database.is_some();
        let key = || shared.fleet.key();
        let pace = &shared.configured.pace;
        let mut subject = Subject::new(target, shared.stores.as_ref(), key, saved.as_deref(), pace, now);
        if let Some(objects) = self.memory.saved.remove(&objects_key) {
            subject.restore_objects(&objects, now);
        }
        subject.replicas.iter_mut().for_each(|replica| replica.spotting.able = able);
        shared.fleet.insert(subject, now);
    }

    /// Ends what is gone from the configuration for long enough, and with it its series.
    pub(super) fn forget_gone(&mut self, now: Moment) {
        let gone = self.shared.fleet.gone_for(signed(self.shared.configured.pace.grace), now);
        if gone.is_empty() {
            return;
        }
        for name in gone {
            tracing::info!(database = %name, "no longer watched");
            self.telling.forget(&name);
            self.recorder.forget(&name.0);
            self.shared.fleet.remove(&name);
            self.memory.forgotten.extend(EntryKey::of(&name));
        }
        self.adapt(now);
        self.publish(now);
    }

    /// Has everybody know that targets or settings are others now.
    fn adapt(&mut self, now: Moment) {
        self.duties.iter_mut().for_each(|duty| duty.adapt(&mut self.shared, now));
        let (shared, pace) = (&self.shared, &self.shared.configured.pace);
        shared.local.set_targets(shared.fleet.databases(), pace.poll, pace.sweep);
    }
}
