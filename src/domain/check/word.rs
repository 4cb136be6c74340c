//! What verdicts come to, in one word: the exit code of `streamgauge check`, the words of its table and the `status` of its
//! JSON are made of it, and of nothing else.

use serde::Serialize;

use super::{Severity, Status, Verdict};
use crate::domain::assessment::{DatabaseReport, ReplicaReport, Report};

/// In the order of their weight: what is critical outweighs what is unknown, and that outweighs a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    Ok,
    Warning,
    Unknown,
    Critical,
}

impl Word {
    /// The heaviest first.
    pub const ALL: &'static [Self] = &[Self::Critical, Self::Unknown, Self::Warning, Self::Ok];

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

    /// The word of everything in a report. A report that watches nothing knows of nothing.
    pub fn of_report(report: &Report) -> Self {
        let databases = report.databases.iter();
        let blocks = databases.flat_map(|database| {
            blocks(database).map(|replica| Self::of(verdicts_on(database, replica))).collect::<Vec<_>>()
        });
        let agent = (!report.checks.is_empty()).then(|| Self::of(report.checks.iter()));
        let nothing = report.databases.is_empty().then_some(Self::Unknown);
        blocks.chain(agent).chain(nothing).max().unwrap_or(Self::Unknown)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Critical => "critical",
        }
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

/// What a database is told of by: each of its replicas, or the database alone where it has none.
pub fn blocks(database: &DatabaseReport) -> impl Iterator<Item = Option<&ReplicaReport>> {
    let alone = database.replicas.is_empty().then_some(None);
    database.replicas.iter().map(Some).chain(alone)
}

/// The verdicts of one block: those on a database itself belong to each of its replicas.
pub fn verdicts_on<'a>(
    database: &'a DatabaseReport,
    replica: Option<&'a ReplicaReport>,
) -> impl Iterator<Item = &'a Verdict> + Clone {
    database.checks.iter().filter(move |verdict| {
        let on = verdict.replica.as_deref();
        on.is_none() || on == replica.map(|replica| replica.name.as_str())
    })
}
