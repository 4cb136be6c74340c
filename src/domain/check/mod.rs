//! What is expected of a database and its replicas.

use serde::Serialize;

use super::report::Report;

/// How bad it is when a check fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Someone is woken up.
    Critical,
    /// A ticket.
    Warning,
    /// Worth knowing.
    Info,
}

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    Fail,
    /// What it needs was not observed; never counted as a pass.
    Unknown,
}

impl Status {
    /// The closed set of the `status` label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// One check applied to one database or one of its replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The check's name, as in `ReplicationLag`.
    pub check: &'static str,
    /// What is demanded, in words.
    pub title: &'static str,
    pub severity: Severity,
    pub database: String,
    /// `None`: the check is about the database itself.
    pub replica: Option<String>,
    pub status: Status,
    /// What was found, for a person.
    pub detail: String,
}

/// Applies every check to everything in the report.
pub fn evaluate(_report: &Report) -> Vec<Verdict> {
    Vec::new()
}

/// 0 all is well, 1 warning, 2 critical, 3 unknown: the codes that Nagios and its kin expect.
pub fn exit_code(verdicts: &[Verdict]) -> u8 {
    let failed =
        |severity| verdicts.iter().any(|verdict| verdict.status == Status::Fail && verdict.severity == severity);
    if failed(Severity::Critical) {
        2
    } else if verdicts.iter().any(|verdict| verdict.status == Status::Unknown) {
        3
    } else {
        u8::from(failed(Severity::Warning))
    }
}
