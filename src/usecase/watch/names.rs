//! Names of databases over restarts.

use super::saved::saved_path;
use crate::domain::naming::Names;
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
