//! What is known of a target as it is saved, each replica by where it is.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::replica::{Watched, WatchedReplica};
use super::trends::Trends;
use crate::domain::assess::positions::SavedPositions;
use crate::domain::assess::rates::RateWindow;
use crate::domain::drill::{DrillHistory, DrillRecord};
use crate::domain::moment::Moment;
use crate::domain::naming::Names;
use crate::domain::spot::SpotBook;
use crate::domain::target::{ReplicaTarget, Target};
use crate::usecase::ports::{EntryKey, EntryKind};

/// The state of a subject that survives a restart.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Saved {
    /// The database's file: what was counted and proven of another one says nothing of this one.
    pub(super) database: Option<PathBuf>,
    pub(super) rates: RateWindow,
    #[serde(default)]
    pub(super) trends: Trends,
    /// By [`identity`].
    pub(super) replicas: Vec<(String, SavedPositions)>,
    /// By [`identity`].
    #[serde(default)]
    pub(super) drills: Vec<(String, DrillHistory)>,
    /// By [`identity`].
    #[serde(default)]
    pub(super) watched: Vec<(String, Watched)>,
    /// By [`identity`].
    #[serde(default)]
    pub(super) spots: Vec<(String, SpotBook)>,
}

/// How long it may take until it is saved that looks showed nothing new, which is all that a crash then loses.
const AT_REST_SAVE_INTERVAL: SignedDuration = SignedDuration::from_mins(10);

/// The part of a subject that is not saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ToSave {
    #[default]
    Nothing,
    /// That it was looked at and nothing new was seen, since this instant by the monotonic clock.
    Looks(SignedDuration),
    News,
}

impl ToSave {
    /// A look has shown nothing new.
    pub(super) fn looked(&mut self, now: Moment) {
        if *self == Self::Nothing {
            *self = Self::Looks(now.mono());
        }
    }

    /// Whether it is to be saved now.
    pub(super) fn is_due(self, now: Moment) -> bool {
        match self {
            Self::Nothing => false,
            Self::Looks(since) => now.mono() - since >= AT_REST_SAVE_INTERVAL,
            Self::News => true,
        }
    }
}

/// The names in a journal. One of an earlier version has them with what it saved of the databases.
pub fn remembered_names(entries: &[(EntryKey, String)]) -> Names {
    let path = |text: &str| serde_json::from_str::<Saved>(text).ok()?.database;
    let saved = entries.iter().find(|(entry, _)| entry.kind == EntryKind::Names);
    let mut names: Names = saved.and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default();
    if names.is_empty() {
        let targets = entries.iter().filter(|(entry, _)| entry.kind == EntryKind::Target);
        let paths = targets.filter_map(|(entry, text)| Some((&entry.name, path(text)?)));
        paths.for_each(|(name, path)| names.remember(name, path.display().to_string()));
    }
    names
}

/// The last drill of each of these targets in a journal, by their names; the newest where it has several replicas.
pub fn remembered_drills(entries: &[(EntryKey, String)], targets: &[Target]) -> BTreeMap<String, DrillRecord> {
    let saved = entries.iter().filter(|(entry, _)| entry.kind == EntryKind::Target);
    let saved: HashMap<&str, &str> = saved.map(|(entry, text)| (entry.name.as_str(), text.as_str())).collect();
    let of = |target: &Target| {
        let text = saved.get(target.name.as_str())?;
        let saved: Saved = serde_json::from_str(text).ok()?;
        let drills = target.replicas.iter().filter_map(|replica| find(&saved.drills, &identity(replica))?.last.clone());
        Some((target.name.to_string(), *drills.max_by_key(|drill| drill.finished_at)?))
    };
    targets.iter().filter_map(of).collect()
}

pub(super) fn path(target: &Target) -> Option<PathBuf> {
    target.database.as_ref().map(|files| files.path.clone())
}

/// What was saved of a replica.
pub(super) fn find<'a, T>(saved: &'a [(String, T)], identity: &str) -> Option<&'a T> {
    saved.iter().find(|(of, _)| of == identity).map(|(_, saved)| saved)
}

/// Names a replica by where it is: another place under the same name holds nothing that was proven of this one.
pub(super) fn identity(replica: &ReplicaTarget) -> String {
    format!("{} {}", replica.name, replica.location.identity())
}

/// What is to be saved of replicas.
pub(super) fn identified<'a, T>(
    replicas: impl IntoIterator<Item = &'a WatchedReplica>,
    what: impl Fn(&WatchedReplica) -> T,
) -> Vec<(String, T)> {
    replicas.into_iter().map(|replica| (identity(&replica.target), what(replica))).collect()
}

/// As text, in no more memory than it needs: hundreds are written at once.
pub(super) fn text(saved: &impl Serialize) -> String {
    let mut text = serde_json::to_string(saved).unwrap_or_default();
    text.shrink_to_fit();
    text
}
