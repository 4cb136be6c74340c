//! Whether a source that suddenly names fewer databases is believed: an emptied file and a directory that is not mounted
//! look like databases that were removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::subject::Subject;
use super::Agent;
use crate::domain::limits::DATABASES_LOST_MAX;
use crate::domain::report::SourceReport;
use crate::domain::target::{Target, TargetName};

impl Agent {
    /// Whether what the sources no longer name stays watched, because one of them is not believed; that one has failed
    /// then. Whoever `asked` for the reading knows what was removed.
    pub(super) fn doubt(
        &mut self,
        sources: &mut [SourceReport],
        wanted: &BTreeMap<TargetName, Target>,
        asked: bool,
    ) -> bool {
        let lost =
            self.subjects.iter().filter(|(name, subject)| subject.gone_since.is_none() && !wanted.contains_key(*name));
        let lost: Vec<&Subject> = lost.map(|(_, subject)| subject).collect();
        let many = is_unlikely(&lost, wanted);
        let mut doubt = false;
        for source in sources.iter_mut().filter(|_| !asked && !lost.is_empty()) {
            let before = self.believed.get(&source.source).copied().unwrap_or_default();
            if source.databases >= before || !(many || source.databases == 0 || source.error.is_some()) {
                continue;
            }
            doubt = true;
            source.success = false;
            source.error.get_or_insert_with(|| {
                let now = match source.databases {
                    0 => "none".to_owned(),
                    some => some.to_string(),
                };
                format!(
                    "it named {before} {} and now names {now}: they stay watched; reload if they were removed on purpose",
                    if before == 1 { "database" } else { "databases" }
                )
            });
        }
        if doubt && self.agent.sources.iter().all(|source| source.success) {
            tracing::error!("databases are gone from the configuration and stay watched until it is reloaded");
        }
        if !doubt {
            let read = sources.iter().filter(|source| asked || source.error.is_none());
            self.believed.extend(read.map(|source| (source.source.clone(), source.databases)));
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
    let path = |target: &Target| target.database.as_ref().map(|files| files.path.clone());
    let mut folders = lost.iter().filter_map(|subject| Some(path(&subject.target)?.parent()?.to_owned()));
    let Some(first) = folders.next() else { return false };
    let common = folders.fold(first, |one, other| common(&one, &other));
    !wanted.values().filter_map(path).any(|path| path.starts_with(&common))
}

fn common(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
}
