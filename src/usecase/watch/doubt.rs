//! Whether a source that suddenly names fewer databases is believed: an emptied file and a directory that is not mounted
//! look like databases that were removed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::fleet::Fleet;
use super::saved::path;
use super::subject::Subject;
use crate::domain::assessment::SourceReport;
use crate::domain::human::counted;
use crate::domain::limits::DATABASES_LOST_MAX;
use crate::domain::target::{Target, TargetName};
use crate::usecase::ports::{EntryKey, EntryKind};

/// How many databases each source had when that was last believed, by this run or the one before.
#[derive(Debug, Default)]
pub(super) struct Believed {
    counts: BTreeMap<String, usize>,
    /// Sources that named databases before the restart and none since: a mount may have failed when the host started.
    lost: BTreeSet<String>,
    unsaved: bool,
}

impl Believed {
    /// Takes over what an earlier run saved.
    pub(super) fn restore(saved: Option<String>, sources: &[SourceReport]) -> Self {
        let counts: BTreeMap<String, usize> =
            saved.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let read = sources.iter().filter(|source| source.error.is_none());
        let none = read.filter(|source| source.databases == 0 && counts.contains_key(&source.source));
        let lost = none.map(|source| source.source.clone()).collect();
        Self { counts, lost, unsaved: false }
    }

    /// What was saved is lost.
    pub(super) fn not_saved(&mut self) {
        self.unsaved = true;
    }

    /// The journal's entry about them, if they changed, or the `last` time.
    pub(super) fn unsaved(&mut self, last: bool) -> Option<(EntryKey, String)> {
        let changed = std::mem::take(&mut self.unsaved) || last;
        let text = changed.then(|| serde_json::to_string(&self.counts)).and_then(Result::ok)?;
        Some((EntryKey::only(EntryKind::Sources), text))
    }

    fn believe(&mut self, sources: &[SourceReport], owner: bool) {
        let before = self.counts.clone();
        if owner {
            self.counts.clear();
        }
        let read = sources.iter().filter(|source| owner || source.error.is_none());
        self.counts.extend(read.map(|source| (source.source.clone(), source.databases)));
        self.lost.clear();
        self.unsaved |= self.counts != before;
    }

    /// Whether what the sources no longer name stays watched, because one of them is not believed; that one has failed
    /// then. The `owner` who asked for the reading knows what was removed. `before` are the sources as they were last read.
    pub(super) fn doubt(
        &mut self,
        fleet: &Fleet,
        before: &[SourceReport],
        sources: &mut [SourceReport],
        wanted: &BTreeMap<TargetName, Target>,
        owner: bool,
    ) -> bool {
        let lost =
            fleet.subjects.iter().filter(|(name, subject)| subject.gone_since.is_none() && !wanted.contains_key(*name));
        let lost: Vec<&Subject> = lost.map(|(_, subject)| &**subject).collect();
        let many = is_unlikely(&lost, wanted);
        let mut doubt = false;
        for source in sources.iter_mut().filter(|_| !owner) {
            let named = self.counts.get(&source.source).copied().unwrap_or_default();
            let fell = source.databases < named && !lost.is_empty();
            let none = source.databases == 0 && named > 0 && self.lost.contains(&source.source);
            if !none && !(fell && (many || source.databases == 0 || source.error.is_some())) {
                continue;
            }
            doubt = true;
            source.success = false;
            source.error.get_or_insert_with(|| {
                let now = match source.databases {
                    0 => "none".to_owned(),
                    some => some.to_string(),
                };
                let kept = if none { "" } else { "; those it no longer lists stay watched" };
                let named = counted(named, "database");
                format!(
                    "it listed {named} and now lists {now}{kept}; if that is on purpose, reload with SIGHUP or with a \
                     password"
                )
            });
        }
        if doubt && before.iter().all(|source| source.success) {
            tracing::error!(
                "databases have disappeared from the configuration but stay watched: if that is on purpose, reload it"
            );
        }
        if !doubt {
            self.believe(sources, owner);
        }
        doubt
    }
}

/// More are gone than people remove in a minute: their files are there, or nothing is left where all of them were.
fn is_unlikely(lost: &[&Subject], wanted: &BTreeMap<TargetName, Target>) -> bool {
    let there = lost.iter().filter(|subject| subject.is_monitored()).count();
    if there > DATABASES_LOST_MAX || lost.len() <= DATABASES_LOST_MAX {
        return there > DATABASES_LOST_MAX;
    }
    let mut folders = lost.iter().filter_map(|subject| Some(path(&subject.target)?.parent()?.to_owned()));
    let Some(first) = folders.next() else { return false };
    let common = folders.fold(first, |one, other| common(&one, &other));
    !wanted.values().filter_map(path).any(|path| path.starts_with(&common))
}

fn common(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
}
