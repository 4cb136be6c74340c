//! What is expected of a database and its replicas: one catalogue, in reading order.
//!
//! A check compares a quantity of the report with a bound. What is not known is [`Status::Unknown`], never a pass.

mod database;
mod drill;
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
        name: "ReplicaCorrupt",
        title: "The objects that a restore needs are good, as far as they were read",
        scope: Scope::Replica(replica::corrupt),
    },
    Check {
        name: "LineageConflict",
        title: "One writer only writes to the replica",
        scope: Scope::Replica(replica::lineage),
    },
    Check {
        name: "ReplicationLag",
        title: "All commits older than the objective are in the bucket",
        scope: Scope::Replica(replica::lag),
    },
    Check {
        name: "RestoreDrillFailed",
        title: "The last restore drill that came to a result passed",
        scope: Scope::Replica(drill::failed),
    },
    Check {
        name: "RestoreDrillOverdue",
        title: "Restore drills pass as often as they should",
        scope: Scope::Replica(drill::overdue),
    },
    Check {
        name: "RestoreTooSlow",
        title: "Restoring takes no longer than the objective",
        scope: Scope::Replica(drill::too_slow),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::report::{CoverageReport, DatabaseState, GapReport, LevelReport, Method};
    use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// In sync and verified 10 seconds before [`now`], with an objective of 5 minutes.
    fn replica() -> ReplicaReport {
        let level = LevelReport { level: "0", objects: 3, bytes: 600, newest_at: Some(at(9000)) };
        ReplicaReport {
            name: "s3".into(),
            store: "s3".into(),
            url: "s3://backups/app".into(),
            layout: Some("v0.5"),
            up: Some(true),
            reason: None,
            method: Some(Method::Wal),
            recovery_point: Some(at(9990)),
            lag_seconds: Some(0.0),
            lag_upper_bound_seconds: None,
            unreplicated_since: None,
            unreplicated_bytes: Some(0),
            unreplicated_bytes_lower_bound: false,
            verified_at: Some(at(9990)),
            verify_interval_seconds: 300.0,
            last_segment_at: Some(at(9000)),
            txid: Some(3),
            coverage: Some(CoverageReport {
                restorable: true,
                snapshots: 1,
                levels: vec![level],
                ..CoverageReport::default()
            }),
            timeline: None,
            verification: None,
            drill: None,
        }
    }

    fn unreadable(mut replica: ReplicaReport) -> ReplicaReport {
        replica.up = Some(false);
        replica.reason = Some(Reason::new(ReasonKind::Denied, "list s3://backups/app/: access denied"));
        replica
    }

    /// The checks that did not pass, and the exit code.
    fn check(replica: ReplicaReport, watching: Watching, expected: &str) {
        let database = DatabaseReport {
            name: "app".into(),
            state: DatabaseState::Monitored,
            reason: None,
            local: None,
            rpo_seconds: 300.0,
            replicas: vec![replica],
            checks: Vec::new(),
        };
        let verdicts = judge(&database, at(10_000), watching);
        let told = verdicts.iter().filter(|verdict| verdict.status != Status::Pass);
        let told: Vec<_> = told.map(|verdict| format!("{} {}", verdict.check, verdict.status.as_str())).collect();
        assert_eq!(format!("{}; exit {}", told.join(", "), exit_code(verdicts.iter())), expected);
    }

    #[test]
    fn all_is_well() {
        check(replica(), Watching::Continuously, "; exit 0");
    }

    #[test]
    fn lag_at_the_objective_passes_and_above_it_fails() {
        let lag = |seconds| ReplicaReport { lag_seconds: Some(seconds), ..replica() };
        check(lag(300.0), Watching::Continuously, "; exit 0");
        check(lag(300.5), Watching::Continuously, "ReplicationLag fail; exit 2");
    }

    #[test]
    fn backlog_of_unknown_age_fails_only_where_nobody_saw_it_begin() {
        let old = ReplicaReport { lag_seconds: Some(2.0), lag_upper_bound_seconds: Some(400.0), ..replica() };
        check(old.clone(), Watching::Continuously, "; exit 0");
        check(old, Watching::Once, "ReplicationLag fail; exit 2");
    }

    #[test]
    fn what_cannot_be_read_does_not_pass() {
        let expected =
            "NeverReplicated unknown, NotRestorable unknown, ReplicaGap unknown, ReplicationLag unknown; exit 3";
        check(unreadable(replica()), Watching::Continuously, expected);
    }

    #[test]
    fn what_failed_stays_failed_while_it_cannot_be_read() {
        let mut broken = replica();
        if let Some(coverage) = &mut broken.coverage {
            coverage.gaps.push(GapReport { after: "1".into(), before: "3".into() });
        }
        check(broken.clone(), Watching::Continuously, "ReplicaGap fail; exit 2");
        let expected =
            "NeverReplicated unknown, NotRestorable unknown, ReplicaGap fail, ReplicationLag unknown; exit 2";
        check(unreadable(broken), Watching::Continuously, expected);
    }

    #[test]
    fn old_proof_is_a_warning_and_critical_when_commits_wait() {
        let old = ReplicaReport { verified_at: Some(at(8000)), ..replica() };
        check(old.clone(), Watching::Continuously, "ReplicaUnverifiable fail; exit 1");
        let waiting = ReplicaReport { unreplicated_since: Some(at(8100)), ..old };
        check(waiting, Watching::Continuously, "ReplicaUnverifiable fail; exit 2");
    }

    fn verified(findings: &[(FindingKind, bool)]) -> ReplicaReport {
        let finding = |(kind, needed): &(FindingKind, bool)| ObjectFinding {
            kind: *kind,
            key: "0000/0000000000000002-0000000000000002.ltx".into(),
            detail: "unexpected end at byte 77".into(),
            seen_at: at(9000),
            needed: *needed,
        };
        let verification = VerificationReport {
            structure_verified: 3,
            needed: 3,
            needed_verified: 3,
            findings: findings.iter().map(finding).collect(),
            ..VerificationReport::default()
        };
        ReplicaReport { verification: Some(Arc::new(verification)), ..replica() }
    }

    #[test]
    fn damage_is_critical_only_in_what_a_restore_needs() {
        use FindingKind::*;
        check(verified(&[]), Watching::Continuously, "; exit 0");
        for kind in [Corrupt, Truncated, Misnamed, PagesMissing, PageSizeMismatch, SegmentMissing, Vanished] {
            check(verified(&[(kind, true)]), Watching::Continuously, "ReplicaCorrupt fail; exit 2");
            check(verified(&[(kind, false)]), Watching::Continuously, "ReplicaCorrupt fail; exit 1");
        }
        check(verified(&[(NewerEncoding, true)]), Watching::Continuously, "ReplicaCorrupt fail; exit 1");
        check(verified(&[(Rewritten, false)]), Watching::Continuously, "LineageConflict fail; exit 2");
    }

    #[test]
    fn damage_that_is_known_stays_known_and_what_was_not_read_is_unknown() {
        let mut damaged = verified(&[(FindingKind::Corrupt, true)]);
        (damaged.up, damaged.lag_seconds) = (Some(false), None);
        damaged.reason = Some(Reason::new(ReasonKind::Corrupt, "read 0000/…: unexpected end"));
        let expected = "NeverReplicated unknown, NotRestorable unknown, ReplicaGap unknown, ReplicaCorrupt fail, \
                        LineageConflict unknown, ReplicationLag unknown; exit 2";
        check(damaged, Watching::Continuously, expected);
        let unread = ReplicaReport { verification: Some(Arc::default()), ..replica() };
        check(unread, Watching::Continuously, "ReplicaCorrupt unknown, LineageConflict unknown; exit 3");
        let empty = ReplicaReport { coverage: Some(CoverageReport::default()), ..verified(&[]) };
        let empty = ReplicaReport { verification: Some(Arc::default()), ..empty };
        check(empty, Watching::Continuously, "NeverReplicated fail; exit 2");
    }

    #[test]
    fn never_looked_at_is_unknown() {
        let new = ReplicaReport { up: None, lag_seconds: None, verified_at: None, coverage: None, ..replica() };
        let expected = "ReplicaUnverifiable unknown, NeverReplicated unknown, ReplicationLag unknown; exit 3";
        check(new, Watching::Continuously, expected);
    }
}
