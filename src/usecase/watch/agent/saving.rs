//! Writing what survives a restart, beside everything else.

use std::time::Duration;

use jiff::SignedDuration;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::{Agent, after};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::TargetName;
use crate::usecase::ports::{EntryKey, Journal};

/// How often what survives a restart is written.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// An idle journal is looked at so often, so that it is noticed when it is gone.
const STATE_PROBE_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// A journal that was written, with what was to be written and how that ended.
pub(super) struct Saved {
    journal: Box<dyn Journal>,
    entries: Vec<(EntryKey, String)>,
    gone: Vec<EntryKey>,
    result: Result<(), Reason>,
}

/// The end of the writing that has begun; pending for ever when there is none.
pub(super) async fn saved(saving: &mut Option<JoinHandle<Saved>>) -> Result<Saved, JoinError> {
    match saving {
        Some(saving) => saving.await,
        None => std::future::pending().await,
    }
}

impl Agent {
    /// Begins to write what changed, for which nothing else waits: its disk may hang. The `last` time, nothing is put off.
    pub(super) fn save(&mut self, last: bool) {
        let now = self.clock.now();
        self.next_save = after(now, SAVE_INTERVAL);
        let Some(journal) = self.journal.take() else { return };
        let all = std::mem::take(&mut self.save_all);
        let last = last || all;
        let mut entries = Vec::new();
        for (name, subject) in self.subjects.iter_mut().filter(|(_, subject)| subject.unsaved || last) {
            subject.unsaved = false;
            if all {
                subject.objects_not_saved();
            }
            entries.push((EntryKey::target(name), subject.save()));
            entries.extend(subject.unsaved_objects(now, last).map(|objects| (EntryKey::objects(name), objects)));
        }
        self.names_unsaved |= last;
        entries.extend(self.unsaved_names());
        entries.extend(self.believed.unsaved(last));
        entries.extend(self.alerts.unsaved(last, now));
        let mut gone = std::mem::take(&mut self.forgotten);
        gone.retain(|entry| !self.subjects.contains_key(&TargetName(entry.name.clone())));
        // An idle journal shows from time to time that it is still there.
        let saved = self.agent.state.as_ref().and_then(|state| state.last_saved_at);
        let idle = saved.is_some_and(|at| now.wall.duration_since(at).abs() < STATE_PROBE_INTERVAL);
        self.write(journal, entries, gone, idle);
    }

    /// Begins to write what changed of alerts. It does not wait for its turn: whoever is told of an alert before a crash
    /// should not be told again.
    pub(super) fn save_alerts(&mut self) {
        if self.save_all {
            // They come with everything else.
            return;
        }
        let Some(journal) = self.journal.take() else { return };
        let entries = self.alerts.unsaved(false, self.clock.now());
        self.write(journal, entries, Vec::new(), true);
    }

    /// Begins to write entries; no entries only if the journal has not been `idle` for a short time alone.
    fn write(
        &mut self,
        mut journal: Box<dyn Journal>,
        entries: Vec<(EntryKey, String)>,
        gone: Vec<EntryKey>,
        idle: bool,
    ) {
        if entries.is_empty() && gone.is_empty() && idle {
            self.journal = Some(journal);
            return;
        }
        self.saving = Some(spawn_blocking(move || {
            let result = journal.save(&entries, &gone);
            Saved { journal, entries, gone, result }
        }));
    }

    /// Waits for the writing that has begun.
    pub(super) async fn finish_saving(&mut self) {
        while self.saving.is_some() {
            let saved = saved(&mut self.saving).await;
            self.conclude_save(saved);
        }
    }

    /// Takes the journal back. What could not be written is tried again the next time, with everything else: it is not
    /// known what the journal holds.
    pub(super) fn conclude_save(&mut self, saved: Result<Saved, JoinError>) {
        self.saving = None;
        let Saved { journal, entries, gone, result } = match saved {
            Ok(saved) => saved,
            Err(error) => {
                tracing::error!(%error, "history is no longer saved");
                return self.note_save(Err(Reason::new(ReasonKind::Failed, "save state: internal error")), 0);
            }
        };
        let set_aside = journal.set_aside();
        self.journal = Some(journal);
        let saved = result.is_ok();
        self.note_save(result, set_aside);
        if saved {
            return self.save_alerts();
        }
        self.save_all = true;
        self.forgotten.extend(gone);
        for (entry, text) in entries {
            self.alerts.not_saved(entry.kind, text);
            if let Some(subject) = self.subjects.get_mut(&TargetName(entry.name)) {
                subject.unsaved = true;
                subject.objects_not_saved();
            }
        }
    }

    /// Shows how saving went, and logs it when that changes.
    fn note_save(&mut self, result: Result<(), Reason>, set_aside: u64) {
        let now = self.clock.now().wall;
        let state = self.agent.state.get_or_insert_default();
        let before = state.saved;
        state.set_aside = state.set_aside.max(set_aside);
        state.saved = Some(result.is_ok());
        match result {
            Ok(()) => {
                if before == Some(false) {
                    tracing::info!("history is saved again");
                }
                (state.last_saved_at, state.reason) = (Some(now), None);
            }
            Err(reason) => {
                if before != Some(false) {
                    let hint = reason.hint.as_deref();
                    tracing::warn!(%reason, hint, "history not saved: a restart would lose it");
                }
                state.reason = Some(reason);
            }
        }
    }
}
