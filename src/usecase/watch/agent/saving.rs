//! Writing what survives a restart, beside everything else.

use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::{Agent, after};
use crate::domain::reason::Reason;
use crate::domain::target::TargetName;
use crate::usecase::ports::Journal;

/// How often what survives a restart is written.
pub(super) const SAVE_INTERVAL: Duration = Duration::from_secs(10);

/// A journal that was written, with what was to be written and how that ended.
pub(super) struct Saved {
    journal: Box<dyn Journal>,
    entries: Vec<(String, String)>,
    gone: Vec<String>,
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
    /// Begins to write what changed, for which nothing else waits: its disk may hang.
    pub(super) fn save(&mut self) {
        self.next_save = after(self.clock.now(), SAVE_INTERVAL);
        let Some(mut journal) = self.journal.take() else { return };
        let unsaved = self.subjects.iter_mut().filter(|(_, subject)| subject.unsaved);
        let entries: Vec<_> = unsaved
            .map(|(name, subject)| {
                subject.unsaved = false;
                (name.0.clone(), subject.save())
            })
            .collect();
        let mut gone = std::mem::take(&mut self.forgotten);
        gone.retain(|name| !self.subjects.contains_key(&TargetName(name.clone())));
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
        if self.saving.is_some() {
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
        let Err(reason) = result else { return };
        tracing::warn!(%reason, "history not saved: a restart would lose it");
        self.forgotten.extend(gone);
        for (name, _) in entries {
            if let Some(subject) = self.subjects.get_mut(&TargetName(name)) {
                subject.unsaved = true;
            }
        }
    }
}
