//! Everything known at one instant and what follows from it. Every output (metrics, page, JSON, table) is a rendering of a
//! [`Report`].
//!
//! The serialized form is the versioned JSON API (`/api/v1/report`), so renaming a field here or in an
//! [`Assessment`] is a breaking change.

#[cfg(test)]
pub(crate) mod sample;

use std::sync::Arc;

use jiff::Timestamp;
use serde::ser::{Serialize, Serializer};

use super::alert::Alert;
use super::assessment::{AgentReport, Assessment, DatabaseReport, ReplicaReport};
use super::history::History;
use super::verdict::{Judgement, Verdict, Verdicts, Word};

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
    pub fn judged(&self) -> impl Iterator<Item = Judged<'_>> {
        let judgements = self.verdicts.databases.iter().map(Some).chain(std::iter::repeat(None));
        let databases = self.assessment.databases.iter().zip(judgements);
        databases.map(|(database, judgement)| Judged { database, judgement })
    }

    /// The database of this name.
    pub fn database(&self, name: &str) -> Option<Judged<'_>> {
        let at = self.assessment.position(name)?;
        Some(Judged { database: self.assessment.databases.get(at)?, judgement: self.verdicts.databases.get(at) })
    }

    /// The verdicts on the database of this name and its replicas.
    pub fn verdicts_on(&self, name: &str) -> &[Verdict] {
        self.database(name).map_or(&[], Judged::checks)
    }

    /// What the table and the page have a block or a line for.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> {
        self.judged().flat_map(Judged::blocks)
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
        let Assessment { complete, agent, over_limit, .. } = &self.assessment;
        let document = Document {
            schema: SCHEMA,
            generated_at: self.generated_at,
            complete: *complete,
            agent,
            databases: self.judged().collect(),
            over_limit: *over_limit,
            checks: &self.verdicts.agent,
            alerts: &self.alerts,
            alerts_dropped: self.alerts_dropped,
        };
        document.serialize(serializer)
    }
}

/// A report as it is serialized.
#[derive(serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document<'a> {
    /// The version of this form, raised when a field is removed or changes its meaning.
    schema: u32,
    /// The instant of the report.
    generated_at: Timestamp,
    /// Each database and replica was looked at once: what is `None` is unknown, not unread.
    complete: bool,
    /// The agent itself.
    agent: &'a AgentReport,
    /// Databases with what the checks say of them, in the order of their names.
    databases: Vec<Judged<'a>>,
    /// Databases beyond the number that one agent watches.
    over_limit: usize,
    /// What the checks say of the agent and what it uses.
    checks: &'a [Verdict],
    /// The alerts: pending, firing, and those that ended a little while ago.
    alerts: &'a [Arc<Alert>],
    /// How many more alerts there are than the agent remembers.
    alerts_dropped: usize,
}

/// A database with the verdicts on it and its replicas. Serialized, each is told in full.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[serde(into = "Shown<'a>")]
pub struct Judged<'a> {
    pub database: &'a DatabaseReport,
    /// `None` where it was not judged.
    pub judgement: Option<&'a Judgement>,
}

/// A database with the verdicts on it and its replicas beside its own fields.
#[derive(serde::Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Database"))]
struct Shown<'a> {
    #[serde(flatten)]
    database: &'a DatabaseReport,
    /// What the checks say of it and of its replicas.
    checks: Vec<Verdict>,
}

#[cfg(test)]
impl schemars::JsonSchema for Judged<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Shown::schema_name()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Shown::json_schema(generator)
    }
}

impl<'a> From<Judged<'a>> for Shown<'a> {
    fn from(judged: Judged<'a>) -> Self {
        Self { database: judged.database, checks: judged.told(|_| true) }
    }
}

impl<'a> Judged<'a> {
    /// The verdicts as they are kept.
    pub fn checks(self) -> &'a [Verdict] {
        self.judgement.map_or(&[], |judgement| judgement)
    }

    /// Those of the verdicts that are wanted, in full.
    pub fn told(self, wanted: impl Fn(&Verdict) -> bool) -> Vec<Verdict> {
        self.judgement.map(|judgement| judgement.told(self.database, wanted)).unwrap_or_default()
    }

    /// The worst word of its replicas.
    pub fn word(self) -> Word {
        self.blocks().map(|block| Word::of(block.verdicts())).max().unwrap_or(Word::Unknown)
    }

    /// One for each replica; one alone where there is none.
    pub fn blocks(self) -> impl Iterator<Item = Block<'a>> {
        let alone = self.database.replicas.is_empty().then_some(None);
        let replicas = self.database.replicas.iter().map(Some).chain(alone);
        replicas.map(move |replica| Block { database: self.database, replica, verdicts: self.checks() })
    }
}
