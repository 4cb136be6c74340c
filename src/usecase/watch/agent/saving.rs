//! Writing what survives a restart, beside everything else.

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::super::saved::ToSave;
use super::Agent;
use crate::domain::assessment::StateReport;
use crate::domain::history::Unsaved;
use crate::domain::moment::{Moment, signed};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::TargetName;
use crate::usecase::ports::{EntryKey, EntryKind, Journal};

/// How often what survives a restart is written.
const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// So many targets are written at once; the others follow with the next ticks. The texts of all of them would take much
/// memory for a moment, of which the allocator keeps a good part.
const TARGETS_AT_ONCE: usize = 500;

/// So many show whether a journal that failed can be written again.
const TARGETS_TRIED: usize = 50;

/// How often the history for charts is, of databases of which it changed.
const HISTORY_SAVE_INTERVAL: Duration = Duration::from_secs(600);

/// An idle journal is looked at so often, so that it is noticed when it is gone.
const STATE_PROBE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// The journal, and what is to be written to it.
pub(super) struct Memory {
    /// `None` without one, and while it is being written.
    journal: Option<Box<dyn Journal>>,
    saving: Option<JoinHandle<Saved>>,
    /// Nothing is known to be saved.
    all: bool,
    /// The last write failed.
    failing: bool,
    next: Moment,
    /// The last target that was looked at, while others are still to be written.
    reached: Option<TargetName>,
    next_history: Moment,
    /// History is to be written the next time.
    history: bool,
    /// Until when an earlier run recorded history.
    pub(super) recorded: Option<Timestamp>,
    /// What was saved of targets that have not begun.
    pub(super) saved: HashMap<EntryKey, String>,
    /// Entries that are to be removed, unless there is such a target again.
    pub(super) forgotten: Vec<EntryKey>,
    /// Names were given or forgotten that are not saved.
    pub(super) names: bool,
    /// How saving goes; `None` where nothing is to be kept.
    pub(super) state: Option<StateReport>,
}

/// A journal that was written, what was to be removed from it, and how that ended.
pub(super) struct Saved {
    journal: Box<dyn Journal>,
    gone: Vec<EntryKey>,
    result: Result<(), Reason>,
}

impl Memory {
    /// Reads what earlier runs saved.
    pub(super) fn load(mut journal: Option<Box<dyn Journal>>, now: Moment) -> Self {
        let loaded = journal.as_mut().map(|journal| (journal.load(), journal.set_aside()));
        let (mut saved, state): (HashMap<_, String>, _) = match loaded {
            None => Default::default(),
            Some((Ok(entries), set_aside)) => {
                (entries.into_iter().collect(), Some(StateReport { set_aside, ..StateReport::default() }))
            }
            Some((Err(reason), _)) => {
                let hint = reason.hint.as_deref();
                tracing::error!(%reason, hint, "nothing will survive a restart; retrying");
                let failed = StateReport { saved: Some(false), reason: Some(reason), ..StateReport::default() };
                (HashMap::new(), Some(failed))
            }
        };
        let all = state.as_ref().is_some_and(|state| state.saved == Some(false) || state.set_aside > 0);
        let recorded = saved.remove(&EntryKey::only(EntryKind::Recorded)).and_then(|text| text.parse().ok());
        Self {
            journal,
            saving: None,
            all,
            failing: false,
            next: now.after(SAVE_INTERVAL),
            reached: None,
            next_history: now.after(HISTORY_SAVE_INTERVAL),
            history: false,
            recorded,
            saved,
            forgotten: Vec::new(),
            names: true,
            state,
        }
    }

    /// Takes what was saved of what the agent has one of.
    pub(super) fn take(&mut self, kind: EntryKind) -> Option<String> {
        self.saved.remove(&EntryKey::only(kind))
    }

    /// The end of the writing that has begun; pending for ever when there is none.
    pub(super) async fn written(&mut self) -> Result<Saved, JoinError> {
        match &mut self.saving {
            Some(saving) => saving.await,
            None => std::future::pending().await,
        }
    }

    /// Begins to write entries; no entries only if the journal has not been `idle` for a short time alone.
    fn write(
        &mut self,
        mut journal: Box<dyn Journal>,
        mut entries: Vec<(EntryKey, String)>,
        history: Vec<Unsaved>,
        gone: Vec<EntryKey>,
        idle: bool,
    ) {
        if entries.is_empty() && history.is_empty() && gone.is_empty() && idle {
            self.journal = Some(journal);
            return;
        }
        self.saving = Some(spawn_blocking(move || {
            let text = |history: &Unsaved| (EntryKey::history(&TargetName(Arc::clone(&history.name))), history.text());
            entries.extend(history.iter().map(text));
            let result = journal.save(&entries, &gone);
            Saved { journal, gone, result }
        }));
    }

    /// Nothing is known to fail.
    fn saves(&self) -> bool {
        self.state.as_ref().and_then(|state| state.saved) != Some(false)
    }

    /// Shows how saving went, and logs it when that changes.
    fn note(&mut self, result: Result<(), Reason>, set_aside: u64, now: Moment) {
        let state = self.state.get_or_insert_default();
        let before = state.saved;
        state.set_aside = state.set_aside.max(set_aside);
        state.saved = Some(result.is_ok());
        match result {
            Ok(()) => {
                if before == Some(false) {
                    tracing::info!("history is saved again");
                }
                (state.last_saved_at, state.reason) = (Some(now.wall()), None);
            }
            Err(reason) => {
                if before != Some(false) {
                    let hint = reason.hint.as_deref();
                    tracing::warn!(%reason, hint, "cannot save history: a restart would lose it");
                }
                state.reason = Some(reason);
            }
        }
    }
}

impl Agent {
    /// Begins to write what changed if it is time to.
    pub(super) fn save_in_time(&mut self, now: Moment) {
        if now.mono() >= self.memory.next.mono() {
            self.save(false, now);
        }
    }

    /// Begins to write what changed, for which nothing else waits: its disk may hang. When `stopping`, nothing is put off.
    pub(super) fn save(&mut self, stopping: bool, now: Moment) {
        if now.mono() >= self.memory.next_history.mono() {
            self.memory.next_history = now.after(HISTORY_SAVE_INTERVAL);
            self.memory.history = true;
            // With or without a journal.
            self.recorder.tidy(now.wall());
            if now.mono() >= signed(self.shared.configured.pace.grace) {
                // Charts of what nobody watches any more would add up.
                let left = self.memory.saved.extract_if(|entry, _| entry.kind == EntryKind::History);
                self.memory.forgotten.extend(left.map(|(entry, _)| entry));
            }
        }
        let Some(journal) = self.memory.journal.take() else { return };
        self.memory.next = now.after(SAVE_INTERVAL);
        if std::mem::take(&mut self.memory.all) {
            self.forget_what_is_saved();
        }
        let subjects = &mut self.shared.fleet.subjects;
        let mut entries = Vec::new();
        let most = match self.memory.failing {
            _ if stopping => usize::MAX,
            true => TARGETS_TRIED,
            false => TARGETS_AT_ONCE,
        };
        let from = self.memory.reached.take().filter(|_| !stopping).map_or(Bound::Unbounded, Bound::Excluded);
        let mut due =
            subjects.range_mut((from, Bound::Unbounded)).filter(|(_, subject)| subject.to_save.is_due(now) || stopping);
        let mut reached = None;
        for (name, subject) in due.by_ref().take(most) {
            reached = Some(name);
            subject.to_save = ToSave::Nothing;
            entries.push((EntryKey::target(name), subject.save()));
            entries.extend(subject.unsaved_objects(now, stopping).map(|objects| (EntryKey::objects(name), objects)));
        }
        if due.next().is_some() {
            (self.memory.reached, self.memory.next) = (reached.cloned(), now);
        }
        let wanted = std::mem::take(&mut self.memory.history) || stopping;
        let history = if wanted { self.recorder.unsaved() } else { Vec::new() };
        if !history.is_empty() || stopping {
            // Until then and no longer what is saved of history is all that was.
            entries.push((EntryKey::only(EntryKind::Recorded), now.wall().to_string()));
        }
        let mut gone = Vec::new();
        // What has a new name is deleted under the old one when it is written under the new one.
        if self.memory.reached.is_none() {
            let subjects = &self.shared.fleet.subjects;
            gone.append(&mut self.memory.forgotten);
            gone.retain(|entry| !subjects.contains_key(entry.name.as_str()));
            if std::mem::take(&mut self.memory.names) || stopping {
                let names = serde_json::to_string(&self.shared.configured.names);
                entries.extend(names.ok().map(|names| (EntryKey::only(EntryKind::Names), names)));
            }
        }
        entries.extend(self.believed.unsaved(stopping));
        entries.extend(self.alerts.unsaved(stopping, now));
        // An idle journal shows from time to time that it is still there.
        let saved = self.memory.state.as_ref().and_then(|state| state.last_saved_at);
        let idle = saved.is_some_and(|at| now.wall().duration_since(at).abs() < STATE_PROBE_INTERVAL);
        self.memory.write(journal, entries, history, gone, idle);
    }

    /// It is not known what the journal holds: everything is to be written.
    fn forget_what_is_saved(&mut self) {
        self.shared.fleet.subjects.values_mut().for_each(|subject| subject.not_saved());
        self.recorder.not_saved();
        self.believed.not_saved();
        self.alerts.not_saved();
        self.memory.names = true;
        self.memory.reached = None;
    }

    /// Begins to write what changed of alerts. It does not wait for its turn: whoever is told of an alert before a crash
    /// should not be told again.
    pub(super) fn save_alerts(&mut self, now: Moment) {
        if self.memory.all {
            // They come with everything else.
            return;
        }
        let Some(journal) = self.memory.journal.take() else { return };
        let entries = self.alerts.unsaved(false, now);
        self.memory.write(journal, entries, Vec::new(), Vec::new(), true);
    }

    /// Writes everything a last time.
    pub(super) async fn finish_saving(&mut self) {
        self.await_saving().await;
        self.save(true, self.clock.now());
        self.await_saving().await;
    }

    async fn await_saving(&mut self) {
        while self.memory.saving.is_some() {
            let saved = self.memory.written().await;
            self.conclude_save(saved, self.clock.now());
        }
    }

    /// Takes the journal back. What could not be written is tried again the next time, a little of everything at first.
    pub(super) fn conclude_save(&mut self, saved: Result<Saved, JoinError>, now: Moment) {
        self.memory.saving = None;
        let Saved { journal, gone, result } = match saved {
            Ok(saved) => saved,
            Err(error) => {
                tracing::error!(%error, "history is no longer saved");
                return self.memory.note(Err(Reason::new(ReasonKind::Failed, "save state: internal error")), 0, now);
            }
        };
        let set_aside = journal.set_aside();
        self.memory.journal = Some(journal);
        self.memory.failing = result.is_err();
        if result.is_ok() {
            // All of it has to be saved before that is said.
            if self.memory.reached.is_none() || self.memory.saves() {
                self.memory.note(result, set_aside, now);
            }
            return self.save_alerts(now);
        }
        self.memory.note(result, set_aside, now);
        self.memory.all = true;
        self.memory.forgotten.extend(gone);
    }
}
