//! Writing what survives a restart, beside everything else.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::{Agent, after};
use crate::domain::reason::Reason;
use crate::domain::target::TargetName;
use crate::usecase::ports::{EntryKey, EntryKind, Journal};

/// How often what survives a restart is written.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

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
        let mut entries = Vec::new();
        for (name, subject) in self.subjects.iter_mut().filter(|(_, subject)| subject.unsaved || last) {
            subject.unsaved = false;
            entries.push((EntryKey::target(name), subject.save()));
            entries.extend(subject.unsaved_objects(now, last).map(|objects| (EntryKey::objects(name), objects)));
        }
        entries.extend(self.unsaved_names());
        entries.extend(self.alerts.unsaved(last, now));
        let mut gone = std::mem::take(&mut self.forgotten);
        gone.retain(|entry| !self.subjects.contains_key(&TargetName(entry.name.clone())));
        self.write(journal, entries, gone);
    }

    /// Begins to write what changed of alerts. It does not wait for its turn: whoever is told of an alert before a crash
    /// should not be told again.
    pub(super) fn save_alerts(&mut self) {
        let Some(journal) = self.journal.take() else { return };
        let entries = self.alerts.urgent(self.clock.now());
        self.write(journal, entries, Vec::new());
    }

    fn write(&mut self, mut journal: Box<dyn Journal>, entries: Vec<(EntryKey, String)>, gone: Vec<EntryKey>) {
        if entries.is_empty() && gone.is_empty() {
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

    /// Takes the journal back. What could not be written is tried again the next time.
    pub(super) fn conclude_save(&mut self, saved: Result<Saved, JoinError>) {
        self.saving = None;
        let Saved { journal, entries, gone, result } = match saved {
            Ok(saved) => saved,
            Err(error) => return tracing::error!(%error, "history is no longer saved"),
        };
        self.journal = Some(journal);
        let Err(reason) = result else { return self.save_alerts() };
        tracing::warn!(%reason, "history not saved: a restart would lose it");
        self.forgotten.extend(gone);
        for (entry, text) in entries {
            self.names_unsaved |= entry.kind == EntryKind::Names;
            self.alerts.not_saved(entry.kind, text);
            if let Some(subject) = self.subjects.get_mut(&TargetName(entry.name)) {
                subject.unsaved = true;
                subject.objects_not_saved();
            }
        }
    }
}
