//! A verdict: what one check came to on one thing, and what several of them come to in one word.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::assessment::DatabaseReport;

words! {
    /// How bad the failure of a check is; the least first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum Severity {
        /// A note.
        Info = "info",
        /// A ticket.
        Warning = "warning",
        /// A page.
        Critical = "critical",
    }
}

words! {
    /// Whether what a check expects is so; the best first.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum Status {
        /// It is so.
        Pass = "pass",
        /// It cannot be told.
        Unknown = "unknown",
        /// It is not so.
        Fail = "fail",
    }
}

/// The result of one check on one database or replica, or on the agent itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Verdict {
    /// The check's name, which is the `check` label and the alert's name.
    pub check: &'static str,
    /// What the check expects.
    pub title: &'static str,
    /// How bad a failure is.
    pub severity: Severity,
    /// The database that it is about; `None`: the agent.
    pub database: Option<Arc<str>>,
    /// The replica that it is about; `None`: the database as a whole, or the agent.
    pub replica: Option<Arc<str>>,
    /// Whether what is expected is so.
    pub status: Status,
    /// The numbers that decided, in a sentence.
    pub detail: Arc<str>,
}

impl Verdict {
    /// It does not pass, and that is more than a note.
    pub fn is_trouble(&self) -> bool {
        self.status != Status::Pass && self.severity != Severity::Info
    }
}

/// How an assessment came to be, which decides what a backlog of unknown age means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// An agent that saw commits being made: lag is as old as it says.
    Continuously,
    /// One look and a short wait: a backlog that did not move in the meantime is taken to be as old as it can be.
    Once,
}

/// The verdicts on one database and its replicas.
///
/// None says which database, and those that pass have no detail: most databases that are judged together then share theirs,
/// and [`told`](Self::told) fills that in where they are shown in full.
#[derive(Clone, Debug)]
pub struct Judgement(Arc<Judging>);

#[derive(Debug)]
struct Judging {
    verdicts: Arc<[Verdict]>,
    at: Timestamp,
    watching: Watching,
    /// A rule held of the database or of one of its replicas, whether it has held for long enough or not.
    holds: bool,
}

impl Judgement {
    pub(super) fn new(verdicts: Arc<[Verdict]>, at: Timestamp, watching: Watching, holds: bool) -> Self {
        Self(Arc::new(Judging { verdicts, at, watching, holds }))
    }

    /// The same, with other verdicts.
    pub fn with(&self, verdicts: Vec<Verdict>) -> Self {
        let Judging { at, watching, holds, .. } = *self.0;
        Self::new(verdicts.into(), at, watching, holds)
    }

    /// When it was made, and how what was judged came to be known.
    pub(super) fn made(&self) -> (Timestamp, Watching) {
        (self.0.at, self.0.watching)
    }

    pub(super) fn holds(&self) -> bool {
        self.0.holds
    }
}

impl Deref for Judgement {
    type Target = [Verdict];

    fn deref(&self) -> &[Verdict] {
        &self.0.verdicts
    }
}

#[cfg(test)]
impl From<Vec<Verdict>> for Judgement {
    fn from(verdicts: Vec<Verdict>) -> Self {
        Self::new(verdicts.into(), Timestamp::UNIX_EPOCH, Watching::Continuously, true)
    }
}

/// A rule of a check that holds of a database or replica at this instant, whether it has held for long enough or not.
#[derive(Clone, Debug)]
pub struct Breach {
    pub check: &'static str,
    pub severity: Severity,
    pub database: Arc<DatabaseReport>,
    /// `None`: it is about the database as a whole.
    pub replica: Option<String>,
    /// The number that the rule compares.
    pub value: f64,
}

/// The verdicts of every check on everything that was assessed.
#[derive(Clone, Debug, Default)]
pub struct Verdicts {
    /// On each database and its replicas, in the order of the databases.
    pub databases: Vec<Judgement>,
    /// On the agent itself.
    pub agent: Vec<Verdict>,
    /// The rules that hold of databases and replicas; none of what is unknown.
    pub breaches: Vec<Breach>,
    /// On how many databases or replicas each check fails, and is unknown.
    pub troubles: BTreeMap<&'static str, [usize; 2]>,
}

impl Verdicts {
    /// All of them as they are kept, those on the agent last.
    pub fn iter(&self) -> impl Iterator<Item = &Verdict> + Clone {
        self.databases.iter().flat_map(|verdicts| verdicts.iter()).chain(&self.agent)
    }
}

words! {
    /// What verdicts come to: the exit code of `streamgauge check`, the words of its table and the `status` of its JSON are
    /// made of it, and of nothing else.
    ///
    /// In the order of their weight: what is critical outweighs what is unknown, and that outweighs a warning.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum Word {
        /// Nothing needs anybody.
        Ok = "ok",
        /// A ticket.
        Warning = "warning",
        /// It cannot be told.
        Unknown = "unknown",
        /// A page.
        Critical = "critical",
    }
}

impl Word {
    /// The worst of some verdicts. Where nothing was judged, nothing is known.
    pub fn of<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Self {
        let words = verdicts.map(|verdict| match (verdict.status, verdict.severity) {
            (Status::Fail, Severity::Critical) => Self::Critical,
            // What is no more than a note when it fails is no more when it is unknown.
            (Status::Fail | Status::Unknown, Severity::Info) | (Status::Pass, _) => Self::Ok,
            (Status::Unknown, _) => Self::Unknown,
            (Status::Fail, Severity::Warning) => Self::Warning,
        });
        words.max().unwrap_or(Self::Unknown)
    }

    /// That of Nagios.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }
}
