//! How many of the numbers of a database are served: profiles, and what a configuration adds to them and takes away.

use std::collections::BTreeSet;

words! {
    /// How many numbers of a database are served; each profile has those of the one before it.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Profile {
        /// What every rule needs: at most ten series of a database with one replica while all is well.
        Core = "core",
        /// What people look at first besides: at most thirty of them.
        #[default]
        Standard = "standard",
        /// Everything.
        Full = "full",
    }
}

/// Which numbers are served. The profile of a database stands in its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Names of numbers that every profile has.
    pub include: BTreeSet<&'static str>,
    /// Names of numbers that are never served.
    pub exclude: BTreeSet<&'static str>,
    /// No database has a larger profile than this; `None`: no number of any database is served.
    pub most: Option<Profile>,
}

impl Default for Selection {
    fn default() -> Self {
        Self { include: BTreeSet::new(), exclude: BTreeSet::new(), most: Some(Profile::Full) }
    }
}

impl Selection {
    /// Whether what `least` and every larger profile has is served of a database with this profile.
    pub fn reaches(&self, name: &str, least: Profile, of: Profile) -> bool {
        self.most.is_some_and(|most| least <= most.min(of) || self.include.contains(name))
    }
}
