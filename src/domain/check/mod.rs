//! What is expected of a database and its replicas: one catalogue, in reading order.
//!
//! A check compares a quantity of the report with a bound. What is not known is [`Status::Unknown`], never a pass.

mod database;
mod replica;

use jiff::Timestamp;
use serde::Serialize;

use super::report::{DatabaseReport, ReplicaReport, Report};

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Info,
    /// A ticket.
    Warning,
    /// A page.
    Critical,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Pass,
    Fail,
    Unknown,
}

impl Status {
    /// The word used as a label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// The result of one check on one database or replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The check's name, which is the label value and the alert's name.
    pub check: &'static str,
    pub title: &'static str,
    pub severity: Severity,
    pub database: String,
    pub replica: Option<String>,
    pub status: Status,
    /// The numbers that decided, in a sentence.
    pub detail: String,
}

/// How the report came to be, which decides what a backlog of unknown age means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// An agent that saw commits being made: lag is as old as it says.
    Continuously,
    /// One look and a short wait: a backlog that did not move in the meantime is taken to be as old as it can be.
    Once,
}

/// What a check is told.
struct Subject<'a> {
    now: Timestamp,
    watching: Watching,
    database: &'a DatabaseReport,
}

/// What a check answers; `None` where it does not apply.
type Answer = Option<(Severity, Status, String)>;

/// What a check looks at.
enum Scope {
    Database(fn(&Subject<'_>) -> Answer),
    Replica(fn(&Subject<'_>, &ReplicaReport) -> Answer),
}

/// One entry of the catalogue.
struct Check {
    name: &'static str,
    title: &'static str,
    scope: Scope,
}

static CHECKS: &[Check] = &[
    Check {
        name: "DatabaseUnreadable",
        title: "The database can be read",
        scope: Scope::Database(database::unreadable),
    },
    Check {
        name: "JournalModeNotWal",
        title: "The database is in WAL mode",
        scope: Scope::Database(database::journal_mode),
    },
    Check {
        name: "ReplicaUnverifiable",
        title: "The replica is verified regularly",
        scope: Scope::Replica(replica::unverifiable),
    },
    Check { name: "NeverReplicated", title: "The replica holds something", scope: Scope::Replica(replica::never) },
    Check {
        name: "NotRestorable",
        title: "There is a snapshot to restore from",
        scope: Scope::Replica(replica::not_restorable),
    },
    Check {
        name: "ReplicaGap",
        title: "The chain from the snapshot to the newest file has no hole",
        scope: Scope::Replica(replica::gap),
    },
    Check {
        name: "ReplicationLag",
        title: "All commits older than the objective are in the bucket",
        scope: Scope::Replica(replica::lag),
    },
];

/// What the checks said of all databases of a report.
pub fn verdicts(report: &Report) -> impl Iterator<Item = &Verdict> + Clone {
    report.databases.iter().flat_map(|database| &database.checks)
}

/// Judges one database and its replicas.
pub fn judge(database: &DatabaseReport, now: Timestamp, watching: Watching) -> Vec<Verdict> {
    let subject = Subject { now, watching, database };
    let mut verdicts = Vec::new();
    for check in CHECKS {
        let mut push = |replica: Option<&ReplicaReport>, answer: Answer| {
            let Some((severity, status, detail)) = answer else { return };
            verdicts.push(Verdict {
                check: check.name,
                title: check.title,
                severity,
                database: database.name.clone(),
                replica: replica.map(|replica| replica.name.clone()),
                status,
                detail,
            });
        };
        match check.scope {
            Scope::Database(answer) => push(None, answer(&subject)),
            Scope::Replica(answer) => {
                database.replicas.iter().for_each(|replica| push(Some(replica), answer(&subject, replica)));
            }
        }
    }
    verdicts
}

/// The exit code of `streamgauge check`, which is Nagios's: 0 ok, 1 warning, 2 critical, 3 unknown. What is critical
/// outweighs what is unknown, and that outweighs a warning.
pub fn exit_code<'a>(verdicts: impl Iterator<Item = &'a Verdict> + Clone) -> u8 {
    let mut all = verdicts.clone();
    let failed = |severity| verdicts.clone().any(|v| v.status == Status::Fail && v.severity == severity);
    if failed(Severity::Critical) {
        2
    } else if verdicts.clone().next().is_none() || all.any(|verdict| verdict.status == Status::Unknown) {
        3
    } else if failed(Severity::Warning) {
        1
    } else {
        0
    }
}

/// Seconds as a person says them: `4 s`, `5 min 20 s`, `3 h 5 min`, `2 d 4 h`.
fn spoken(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3600),
    }
}
