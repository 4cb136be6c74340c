//! Everything known at one instant and what follows from it. Every output (metrics, page, JSON, table) is a rendering of a
//! [`Report`].
//!
//! The serialized form is the versioned JSON API (`/api/v1/report`), so renaming a field here or in an
//! [`Assessment`] is a breaking change.

#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeStruct, Serializer};

use super::alert::Alert;
use super::assessment::{Assessment, DatabaseReport, ReplicaReport};
use super::history::History;
use super::verdict::{Verdict, Verdicts, Word};

/// The version of the serialized form; raised when a field is removed or changes its meaning.
pub const SCHEMA: u32 = 1;

/// An assessment, what the checks say of it, and the alerts that this makes.
#[derive(Clone, Debug)]
pub struct Report {
    pub generated_at: Timestamp,
    pub assessment: Assessment,
    pub verdicts: Verdicts,
    /// The alerts: pending, firing, and those that ended a little while ago.
    pub alerts: Vec<Arc<Alert>>,
    /// More of them than the agent remembers.
    pub alerts_dropped: usize,
    /// How a few numbers went until then. Not part of the serialized form.
    pub history: History,
}

/// What is told of by itself: a replica, or a database that has none.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    pub database: &'a DatabaseReport,
    pub replica: Option<&'a ReplicaReport>,
    verdicts: &'a [Verdict],
}

impl<'a> Block<'a> {
    /// The verdicts on it: those on a database itself belong to each of its replicas.
    pub fn verdicts(&self) -> impl Iterator<Item = &'a Verdict> + Clone + use<'a> {
        let name = self.replica.map(|replica| replica.name.as_str());
        self.verdicts.iter().filter(move |verdict| verdict.replica.is_none() || verdict.replica.as_deref() == name)
    }
}

impl Report {
    /// Each database with the verdicts on it and its replicas; none where it was not judged.
    pub fn databases(&self) -> impl Iterator<Item = (&DatabaseReport, &[Verdict])> {
        let verdicts = self.verdicts.databases.iter().map(|verdicts| &**verdicts).chain(std::iter::repeat(&[][..]));
        self.assessment.databases.iter().map(|database| &**database).zip(verdicts)
    }

    /// The same, each as one value.
    pub fn judged(&self) -> impl Iterator<Item = Judged<'_>> {
        self.databases().map(|(database, checks)| Judged { database, checks })
    }

    /// The database of this name.
    pub fn database(&self, name: &str) -> Option<Judged<'_>> {
        let at = self.assessment.position(name)?;
        let checks = self.verdicts.databases.get(at).map_or(&[][..], |verdicts| verdicts);
        Some(Judged { database: self.assessment.databases.get(at)?, checks })
    }

    /// The verdicts on the database of this name and its replicas.
    pub fn verdicts_on(&self, name: &str) -> &[Verdict] {
        self.database(name).map_or(&[], |judged| judged.checks)
    }

    /// What the table and the page have a block or a line for.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.databases().flat_map(|(database, checks)| Judged { database, checks }.blocks())
    }

    /// The word of everything. A report that watches nothing knows of nothing.
    pub fn word(&self) -> Word {
        let agent = (!self.verdicts.agent.is_empty()).then(|| Word::of(self.verdicts.agent.iter()));
        let nothing = self.assessment.databases.is_empty().then_some(Word::Unknown);
        self.judged().map(Judged::word).chain(agent).chain(nothing).max().unwrap_or(Word::Unknown)
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Assessment { complete, agent, databases: _, over_limit } = &self.assessment;
        let mut out = serializer.serialize_struct("Report", 9)?;
        out.serialize_field("schema", &SCHEMA)?;
        out.serialize_field("generated_at", &self.generated_at)?;
        out.serialize_field("complete", complete)?;
        out.serialize_field("agent", agent)?;
        out.serialize_field("databases", &Databases(self))?;
        out.serialize_field("over_limit", over_limit)?;
        out.serialize_field("checks", &self.verdicts.agent)?;
        out.serialize_field("alerts", &self.alerts)?;
        out.serialize_field("alerts_dropped", &self.alerts_dropped)?;
        out.end()
    }
}

struct Databases<'a>(&'a Report);

impl Serialize for Databases<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.judged())
    }
}

/// A database with the verdicts on it and its replicas beside its own fields.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Judged<'a> {
    #[serde(flatten)]
    pub database: &'a DatabaseReport,
    pub checks: &'a [Verdict],
}

impl<'a> Judged<'a> {
    /// The worst word of its replicas.
    pub fn word(self) -> Word {
        self.blocks().map(|block| Word::of(block.verdicts())).max().unwrap_or(Word::Unknown)
    }

    /// One for each replica; one alone where there is none.
    pub fn blocks(self) -> impl Iterator<Item = Block<'a>> {
        let alone = self.database.replicas.is_empty().then_some(None);
        let replicas = self.database.replicas.iter().map(Some).chain(alone);
        replicas.map(move |replica| Block { database: self.database, replica, verdicts: self.checks })
    }
}
