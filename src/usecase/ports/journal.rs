//! The port for state that survives a restart.

use crate::domain::reason::Reason;
use crate::domain::target::TargetName;
use crate::domain::words::words;

words! {
    /// The kinds of entries in the journal.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum EntryKind {
        /// The state of a target.
        Target = "target",
        /// The state of the objects of its replicas.
        Objects = "objects",
        Alerts = "alerts",
        /// Who was told of them.
        Notified = "notify",
        /// The names of all databases.
        Names = "names",
        /// How many databases each source had.
        Sources = "sources",
        /// How numbers of a target went, for charts.
        History = "history",
        /// Until when that was recorded.
        Recorded = "recorded",
    }
}

/// Names an entry of the journal. Whatever a target is called, it is not an entry of another kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryKey {
    pub kind: EntryKind,
    /// The target's; empty for what the agent has one of.
    pub name: String,
}

impl EntryKey {
    pub fn target(name: &TargetName) -> Self {
        Self { kind: EntryKind::Target, name: name.to_string() }
    }

    pub fn objects(name: &TargetName) -> Self {
        Self { kind: EntryKind::Objects, name: name.to_string() }
    }

    pub fn history(name: &TargetName) -> Self {
        Self { kind: EntryKind::History, name: name.to_string() }
    }

    /// All that there may be of a target.
    pub fn of(name: &TargetName) -> [Self; 3] {
        [Self::target(name), Self::objects(name), Self::history(name)]
    }

    /// Of what the agent has one.
    pub fn only(kind: EntryKind) -> Self {
        Self { kind, name: String::new() }
    }
}

/// The store for state that survives a restart: opaque texts, up to three for each target. Blocking. Losing it loses
/// comfort, not correctness.
pub trait Journal: Send {
    /// All entries; of a journal that is damaged, those that could be read.
    fn load(&mut self) -> Result<Vec<(EntryKey, String)>, Reason>;

    /// Adds or replaces entries, and forgets those named in `gone`. After an error nothing is known to be saved any more.
    fn save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason>;

    /// How often a damaged journal was set aside and begun anew.
    fn set_aside(&self) -> u64 {
        0
    }
}
