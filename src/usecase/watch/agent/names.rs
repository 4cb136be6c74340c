//! Names of databases over reloads and restarts, and what is known of a database whose name changed.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::SignedDuration;

use super::super::subject::saved_path;
use super::Agent;
use crate::domain::limits::NAME_KEPT;
use crate::domain::moment::Moment;
use crate::domain::naming::Names;
use crate::domain::target::{Target, TargetName};
use crate::usecase::ports::{EntryKey, EntryKind};

/// The names in a journal. One of an earlier version has them with what it saved of the databases.
pub fn remembered_names(entries: &[(EntryKey, String)]) -> Names {
    let saved = entries.iter().find(|(entry, _)| entry.kind == EntryKind::Names);
    let mut names: Names = saved.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default();
    if names.is_empty() {
        let targets = entries.iter().filter(|(entry, _)| entry.kind == EntryKind::Target);
        let paths = targets.filter_map(|(entry, text)| Some((&entry.name, saved_path(text)?)));
        paths.for_each(|(name, path)| names.remember(name, path.display().to_string()));
    }
    names
}

impl Agent {
    /// Takes over the names of a configuration, and forgets those that are long gone.
    pub(super) fn take_names(&mut self, names: &mut Names, now: Moment) {
        let kept = NAME_KEPT.saturating_add(self.configured.pace.grace);
        names.settle(now.wall, SignedDuration::try_from(kept).unwrap_or(SignedDuration::MAX));
        self.names_unsaved |= *names != self.configured.names;
    }

    /// The journal's entry about names, if they changed.
    pub(super) fn unsaved_names(&mut self) -> Option<(EntryKey, String)> {
        let changed = std::mem::take(&mut self.names_unsaved);
        let text = changed.then(|| serde_json::to_string(&self.configured.names)).and_then(Result::ok)?;
        Some((EntryKey::only(EntryKind::Names), text))
    }

    /// Ends targets that are to be watched otherwise or under another name, and keeps what is known of them for what
    /// follows them.
    pub(super) fn hand_over(&mut self, wanted: &BTreeMap<TargetName, Target>) {
        let path = |target: &Target| target.database.as_ref().map(|files| files.path.clone());
        let names: BTreeMap<PathBuf, &TargetName> =
            wanted.iter().filter_map(|(name, target)| Some((path(target)?, name))).collect();
        let mut ended = Vec::new();
        for (name, subject) in &self.subjects {
            let own = wanted.get(name);
            if own == Some(&subject.target) {
                continue;
            }
            let by_path = path(&subject.target).and_then(|path| names.get(&path).copied());
            // What nobody names any more is watched for a while.
            let Some(next) = by_path.or_else(|| own.map(|_| name)) else { continue };
            ended.push((name.clone(), next.clone(), subject.save(), subject.save_objects()));
        }
        for (name, next, saved, objects) in ended {
            if next != name {
                tracing::warn!(from = %name, to = %next, "a database has another name");
                self.forgotten.extend([EntryKey::objects(&name), EntryKey::target(&name)]);
            }
            self.remove(&name);
            self.saved.insert(EntryKey::objects(&next), objects);
            self.saved.insert(EntryKey::target(&next), saved);
        }
    }
}
