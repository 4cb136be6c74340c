//! The production checklist: what each row asks, and which checks answer it.
//!
//! Settings of the application's connections show in no file: such a row is not observable, and says which line the
//! application needs. It is never passed.

use std::collections::HashMap;

use serde::Serialize;

use crate::domain::verdict::{Status, Verdicts};

/// One row.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub area: &'static str,
    pub item: &'static str,
    /// The requirement, in words.
    pub asked: &'static str,
    pub importance: Importance,
    pub answer: Answer,
}

/// How much depends on a row of the checklist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Importance {
    Medium,
    High,
    Critical,
}

/// How it is known whether a row is fulfilled.
#[derive(Clone, Copy, Debug)]
pub enum Answer {
    /// By these checks; the worst of them counts.
    Checks(&'static [&'static str]),
    /// Not from outside: the application has to run this on each connection.
    NotObservable(&'static str),
}

/// All rows, in reading order.
pub static CHECKLIST: &[Item] = &[
    Item {
        area: "SQLite",
        item: "WAL mode",
        asked: "journal_mode=WAL",
        importance: Importance::Critical,
        answer: Answer::Checks(&["JournalModeNotWal"]),
    },
    Item {
        area: "SQLite",
        item: "busy timeout",
        asked: "busy_timeout=5000",
        importance: Importance::Critical,
        answer: Answer::NotObservable("PRAGMA busy_timeout = 5000;"),
    },
    Item {
        area: "SQLite",
        item: "foreign keys",
        asked: "foreign_keys=ON",
        importance: Importance::High,
        answer: Answer::NotObservable("PRAGMA foreign_keys = ON;"),
    },
    Item {
        area: "SQLite",
        item: "synchronous",
        asked: "synchronous=NORMAL",
        importance: Importance::High,
        answer: Answer::NotObservable("PRAGMA synchronous = NORMAL;"),
    },
    Item {
        area: "Litestream",
        item: "replication running",
        asked: "the service is active, and what it replicates is in the bucket",
        importance: Importance::Critical,
        answer: Answer::Checks(&["NoReplica", "LitestreamDown", "ReplicaUnverifiable", "NeverReplicated"]),
    },
    Item {
        area: "Litestream",
        item: "retention",
        asked: "restores reach back 30 days, or as far as configured",
        importance: Importance::High,
        answer: Answer::Checks(&["RecoveryWindowShort"]),
    },
    Item {
        area: "Litestream",
        item: "restore tested",
        asked: "one restore a month",
        importance: Importance::Critical,
        answer: Answer::Checks(&["RestoreDrillFailed", "RestoreDrillOverdue"]),
    },
    Item {
        area: "Monitoring",
        item: "replication lag alert",
        asked: "commits are in the bucket within 5 minutes, or the configured objective",
        importance: Importance::High,
        answer: Answer::Checks(&["ReplicationLag"]),
    },
    Item {
        area: "Monitoring",
        item: "database size",
        asked: "database, WAL and staging leave 20 % of the disk free",
        importance: Importance::Medium,
        answer: Answer::Checks(&["DiskFilling", "DiskFullSoon", "SizingTierExceeded"]),
    },
    Item {
        area: "Backup",
        item: "bucket versioning",
        asked: "enabled, and noncurrent versions expire",
        importance: Importance::High,
        answer: Answer::Checks(&["BucketVersioningOff", "NoncurrentNotExpired"]),
    },
    Item {
        area: "Security",
        item: "file permissions",
        asked: "0600, owned by the application",
        importance: Importance::High,
        answer: Answer::Checks(&["PermissionDrift"]),
    },
    Item {
        area: "Performance",
        item: "pooling",
        asked: "one writer, many readers, none of which holds checkpoints back",
        importance: Importance::High,
        answer: Answer::Checks(&["CheckpointStarved"]),
    },
];

/// One row of the checklist, as a report has it.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ItemReport {
    /// What the row is about.
    pub area: &'static str,
    /// The name of the row.
    pub item: &'static str,
    /// The requirement, in words.
    pub asked: &'static str,
    /// How much depends on the row.
    pub importance: Importance,
    /// The checks that answer the row; empty where it is not observable.
    pub checks: &'static [&'static str],
    /// Whether the row is fulfilled.
    pub status: ItemStatus,
    /// Where it is not observable: what the application has to run.
    pub line: Option<&'static str>,
}

/// Whether a row of the checklist is fulfilled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// It is fulfilled.
    Pass,
    /// It is not fulfilled.
    Fail,
    /// No check answered it, or one that did not fail could not know.
    Unknown,
    /// It shows in no file: the application has to run `line` on each connection.
    NotObservable,
}

/// What verdicts say of each row, over all databases.
pub fn checklist(verdicts: &Verdicts) -> Vec<ItemReport> {
    let mut worst: HashMap<&str, Status> = HashMap::new();
    for verdict in verdicts.iter() {
        let entry = worst.entry(verdict.check).or_insert(verdict.status);
        *entry = verdict.status.max(*entry);
    }
    let item = |item: &'static Item| {
        let (checks, status, line) = match item.answer {
            Answer::NotObservable(line) => (&[][..], ItemStatus::NotObservable, Some(line)),
            Answer::Checks(checks) => {
                let answers = checks.iter().filter_map(|check| worst.get(check).copied());
                let status = match answers.max() {
                    Some(Status::Pass) => ItemStatus::Pass,
                    Some(Status::Fail) => ItemStatus::Fail,
                    Some(Status::Unknown) | None => ItemStatus::Unknown,
                };
                (checks, status, None)
            }
        };
        let Item { area, item, asked, importance, .. } = *item;
        ItemReport { area, item, asked, importance, checks, status, line }
    };
    CHECKLIST.iter().map(item).collect()
}

/// The rows that are not observable, with the line for the application.
pub fn not_observable() -> impl Iterator<Item = (&'static Item, &'static str)> {
    CHECKLIST.iter().filter_map(|item| match item.answer {
        Answer::NotObservable(line) => Some((item, line)),
        Answer::Checks(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::catalogue;
    use super::*;
    use crate::domain::verdict::{Severity, Verdict};

    /// The checklist as it was asked for: area, item, importance, observable.
    const ASKED: &str = "\
SQLite | WAL mode | critical | yes
SQLite | busy timeout | critical | no
SQLite | foreign keys | high | no
SQLite | synchronous | high | no
Litestream | replication running | critical | yes
Litestream | retention | high | yes
Litestream | restore tested | critical | yes
Monitoring | replication lag alert | high | yes
Monitoring | database size | medium | yes
Backup | bucket versioning | high | yes
Security | file permissions | high | yes
Performance | pooling | high | yes
";

    #[test]
    fn every_row_that_was_asked_for_is_there() {
        let row = |item: &Item| {
            let importance = format!("{:?}", item.importance).to_lowercase();
            let observable = if matches!(item.answer, Answer::Checks(_)) { "yes" } else { "no" };
            format!("{} | {} | {importance} | {observable}\n", item.area, item.item)
        };
        assert_eq!(CHECKLIST.iter().map(row).collect::<String>(), ASKED);
    }

    #[test]
    fn every_row_is_answered_by_a_check_or_has_a_line() {
        for item in CHECKLIST {
            match item.answer {
                Answer::NotObservable(line) => assert!(line.starts_with("PRAGMA ") && line.ends_with(';'), "{line}"),
                Answer::Checks(names) => {
                    assert!(!names.is_empty(), "{}", item.item);
                    for name in names {
                        let known = catalogue().any(|check| check.name == *name);
                        assert!(known, "{}: there is no check {name}", item.item);
                    }
                }
            }
        }
    }

    /// The status of one row, when its checks came to this.
    fn check(item: &str, verdicts: &[(&'static str, Status)], expected: ItemStatus) {
        let verdict = |(check, status): &(&'static str, Status)| Verdict {
            check,
            title: "",
            severity: Severity::Warning,
            database: None,
            replica: None,
            status: *status,
            detail: "".into(),
        };
        let verdicts = vec![verdicts.iter().map(verdict).collect::<Vec<_>>().into()];
        let verdicts = Verdicts { databases: verdicts, ..Verdicts::default() };
        let rows = checklist(&verdicts);
        let row = rows.iter().find(|row| row.item == item).expect("a row");
        assert_eq!(row.status, expected, "{item} after {:?}", verdicts.databases);
    }

    #[test]
    fn the_worst_answer_counts_and_no_answer_is_unknown() {
        use Status::{Fail, Pass, Unknown};
        check("restore tested", &[], ItemStatus::Unknown);
        check("restore tested", &[("RestoreDrillFailed", Pass)], ItemStatus::Pass);
        check("restore tested", &[("RestoreDrillFailed", Pass), ("RestoreDrillOverdue", Unknown)], ItemStatus::Unknown);
        check("restore tested", &[("RestoreDrillFailed", Unknown), ("RestoreDrillOverdue", Fail)], ItemStatus::Fail);
        check("WAL mode", &[("JournalModeNotWal", Fail), ("JournalModeNotWal", Pass)], ItemStatus::Fail);
    }

    #[test]
    fn what_is_not_observable_never_passes() {
        let all: Vec<_> = catalogue().map(|check| (check.name, Status::Pass)).collect();
        for item in ["busy timeout", "foreign keys", "synchronous"] {
            check(item, &all, ItemStatus::NotObservable);
        }
    }
}
