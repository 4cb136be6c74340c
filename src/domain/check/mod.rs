//! What is expected of a database and its replicas: one catalogue, in reading order, behind checklist and alerts.
//!
//! A check fails while one of its [`Rule`]s holds: a number of the report compared with another. What is not known is
//! [`Status::Unknown`], never a pass. The same rule is evaluated here and written as PromQL ([`expression`]).

mod agent;
pub mod checklist;
mod churn;
mod content;
mod cost;
mod database;
mod drill;
pub mod expression;
mod host;
mod judge;
mod keeping;
mod litestream;
mod observer;
pub mod outside;
mod posture;
mod replica;
mod store;
mod unknown;

use std::time::Duration;

use jiff::Timestamp;

use self::expression::{Condition, Scope, Subject};
pub use self::judge::Judge;
use super::assessment::{
    Assessment, BucketReport, CollectorReport, DatabaseReport, ReceiverReport, ReplicaReport, SourceReport, StoreReport,
};
use super::verdict::{Severity, Status, Verdict};

/// How an assessment came to be, which decides what a backlog of unknown age means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watching {
    /// An agent that saw commits being made: lag is as old as it says.
    Continuously,
    /// One look and a short wait: a backlog that did not move in the meantime is taken to be as old as it can be.
    Once,
}

/// One entry of the catalogue.
#[derive(Debug)]
pub struct Check {
    /// The alert's name, the label value and the heading in docs/RUNBOOK.md.
    pub name: &'static str,
    /// What is expected, as a statement that is true while it passes.
    pub title: &'static str,
    /// What is wrong when it fails. `{database}` and the other labels of its scope are replaced.
    pub summary: &'static str,
    /// The same with the number, `{value}`, and what it means.
    pub description: &'static str,
    /// The first thing to do.
    pub action: &'static str,
    /// How `{value}` is written.
    pub unit: Unit,
    /// It fails while one of them holds; the worst first.
    pub rules: &'static [Rule],
    pub tell: Tell,
}

/// When a check fails, and when that becomes an alert.
#[derive(Debug)]
pub struct Rule {
    pub severity: Severity,
    pub when: &'static Condition,
    /// It has to hold for so long before anyone is told.
    pub hold: Duration,
    /// An alert stays for so long after it last held, so that what comes and goes is one alert.
    pub keep_firing: Duration,
}

/// A rule that holds for some minutes before anyone is told, and whose alert stays for five.
const fn rule(severity: Severity, when: &'static Condition, hold_minutes: u64) -> Rule {
    Rule { severity, when, hold: Duration::from_secs(60 * hold_minutes), keep_firing: Duration::from_secs(300) }
}

/// How the number of an alert is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    Bytes,
    /// 0.8 is 80 %.
    Ratio,
    Count,
    Dollars,
}

/// What a check says of one thing, in a sentence with the numbers; `None` where it does not apply.
#[derive(Clone, Copy, Debug)]
pub enum Tell {
    Agent(fn(&Context, &Assessment) -> Option<Told>),
    Source(fn(&Context, &SourceReport) -> Option<Told>),
    Collector(fn(&Context, &CollectorReport) -> Option<Told>),
    Store(fn(&Context, &StoreReport) -> Option<Told>),
    Bucket(fn(&Context, &BucketReport) -> Option<Told>),
    Receiver(fn(&Context, &ReceiverReport) -> Option<Told>),
    Database(fn(&Context, &DatabaseReport) -> Option<Told>),
    Replica(fn(&Context, &DatabaseReport, &ReplicaReport) -> Option<Told>),
    /// Only Prometheus can see it.
    Outside,
}

/// What a check is told besides its subject.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    pub now: Timestamp,
    pub watching: Watching,
    /// The worst of its rules that holds.
    pub failing: Option<Severity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It passes unless a rule holds.
    Known(String),
    /// It is unknown unless a rule holds.
    Unknown(String),
    /// It fails without a rule: only where [`Watching::Once`] cannot know what an agent would.
    Failing(Severity, String),
}

/// The alerts of the minimal profile: those that say that data would be lost, and that nobody would be told. Only where
/// they are critical, and the [`WATCHDOG`].
pub static MINIMAL: &[&str] = &[
    "ReplicationLag",
    "ReplicaUnverifiable",
    "NeverReplicated",
    "NotRestorable",
    "ReplicaCorrupt",
    "LagUnknown",
    "RestoreDrillFailed",
    "DatabaseReplaced",
    "AgentDown",
];

/// The alert that always fires.
pub const WATCHDOG: &str = "Watchdog";

/// All checks, in reading order.
pub fn catalogue() -> impl Iterator<Item = &'static Check> + Clone {
    let database = [database::CHECKS, host::CHECKS, litestream::CHECKS];
    let replica = [
        replica::CHECKS,
        unknown::CHECKS,
        content::CHECKS,
        keeping::CHECKS,
        churn::CHECKS,
        observer::CHECKS,
        drill::CHECKS,
        posture::CHECKS,
    ];
    let agent = [store::CHECKS, cost::CHECKS, agent::CHECKS, outside::CHECKS];
    database.into_iter().chain(replica).chain(agent).flatten()
}

impl Check {
    pub fn scope(&self) -> Scope {
        match self.tell {
            Tell::Agent(_) => Scope::Agent,
            Tell::Source(_) => Scope::Source,
            Tell::Collector(_) => Scope::Collector,
            Tell::Store(_) => Scope::Store,
            Tell::Bucket(_) => Scope::Bucket,
            Tell::Receiver(_) => Scope::Receiver,
            Tell::Database(_) => Scope::Database,
            Tell::Replica(_) => Scope::Replica,
            Tell::Outside => Scope::Outside,
        }
    }

    /// What it says of one subject; `None` where it does not apply.
    pub fn verdict(&self, subject: Subject<'_>, now: Timestamp, watching: Watching) -> Option<Verdict> {
        let failing = self.rules.iter().filter(|rule| rule.when.value(subject, now).is_some());
        // The one of which people would be told first, and of those the worst: how long it holds is not known here.
        let failing = failing.min_by_key(|rule| rule.hold).map(|rule| rule.severity);
        let context = Context { now, watching, failing };
        let told = match (self.tell, subject) {
            (Tell::Agent(tell), Subject::Agent(assessment)) => tell(&context, assessment),
            (Tell::Source(tell), Subject::Source(source)) => tell(&context, source),
            (Tell::Collector(tell), Subject::Collector(collector)) => tell(&context, collector),
            (Tell::Store(tell), Subject::Store(store)) => tell(&context, store),
            (Tell::Bucket(tell), Subject::Bucket(bucket)) => tell(&context, bucket),
            (Tell::Receiver(tell), Subject::Receiver(receiver)) => tell(&context, receiver),
            (Tell::Database(tell), Subject::Database(database)) => tell(&context, database),
            (Tell::Replica(tell), Subject::Replica(database, replica)) => tell(&context, database, replica),
            _ => None,
        }?;
        let worst = self.rules.first().map_or(Severity::Info, |rule| rule.severity);
        let (severity, status, detail) = match (failing, told) {
            (_, Told::Failing(severity, detail)) => (severity, Status::Fail, detail),
            (Some(severity), Told::Known(detail) | Told::Unknown(detail)) => (severity, Status::Fail, detail),
            (None, Told::Known(detail)) => (worst, Status::Pass, detail),
            (None, Told::Unknown(detail)) => (worst, Status::Unknown, detail),
        };
        let (database, replica) = match subject {
            Subject::Database(database) => (Some(database.name.clone()), None),
            Subject::Replica(database, replica) => (Some(database.name.clone()), Some(replica.name.clone())),
            _ => (None, None),
        };
        Some(Verdict { check: self.name, title: self.title, severity, database, replica, status, detail })
    }
}

/// Seconds as a person says them: `4 s`, `5 min 20 s`, `3 h 5 min`, `2 d 4 h`.
pub fn spoken(seconds: f64) -> String {
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
    use crate::domain::verdict::Word;
    use std::sync::Arc;

    use super::judge::on_database;
    use super::*;
    use crate::domain::assess::proof::Method;
    use crate::domain::assessment::{CoverageReport, DatabaseState, GapReport, LevelReport};
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

    /// When the checks are made.
    pub(super) const NOW: i64 = 10_000;

    pub(super) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// In sync and verified 10 seconds before [`NOW`], with an objective of 5 minutes.
    pub(super) fn replica() -> ReplicaReport {
        let level = LevelReport { level: "0", objects: 3, bytes: 600, newest_at: Some(at(9000)) };
        ReplicaReport {
            name: "s3".into(),
            store: "s3".into(),
            url: "s3://backups/app".into(),
            layout: Some("v0.5"),
            up: Some(true),
            method: Some(Method::Wal),
            recovery_point: Some(at(9990)),
            lag_seconds: Some(0.0),
            unreplicated_bytes: Some(0),
            watched_since: at(0),
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
            ..ReplicaReport::default()
        }
    }

    pub(super) fn unreadable(mut replica: ReplicaReport) -> ReplicaReport {
        replica.up = Some(false);
        replica.reason = Some(Reason::new(ReasonKind::Denied, "list s3://backups/app/: access denied"));
        replica
    }

    pub(super) fn database(replica: ReplicaReport) -> DatabaseReport {
        DatabaseReport {
            name: "app".into(),
            state: DatabaseState::Monitored,
            rpo_seconds: 300.0,
            replicas: vec![replica],
            ..DatabaseReport::default()
        }
    }

    /// The checks that did not pass, and the exit code.
    fn check(replica: ReplicaReport, watching: Watching, expected: &str) {
        let database = database(replica);
        let verdicts = on_database(&database, at(NOW), watching);
        let told = verdicts.iter().filter(|verdict| verdict.status != Status::Pass);
        let told: Vec<_> = told.map(|verdict| format!("{} {}", verdict.check, verdict.status.as_str())).collect();
        assert_eq!(format!("{}; exit {}", told.join(", "), Word::of(verdicts.iter()).exit_code()), expected);
    }

    /// An alert is told apart by check, severity and subject: two rules of one severity would be one alert that comes and
    /// goes.
    #[test]
    fn each_rule_of_a_check_has_a_severity_of_its_own() {
        for check in catalogue() {
            let worst_first = check.rules.windows(2).all(|pair| pair[0].severity > pair[1].severity);
            assert!(worst_first, "{}: severities, the worst first, each once", check.name);
        }
    }

    /// What is evaluated goes through [`Scope::OF_AGENT`], the databases and their replicas.
    #[test]
    fn nothing_that_a_check_is_about_is_left_out_of_the_evaluation() {
        let evaluated = [Scope::Database, Scope::Replica, Scope::Outside].iter().chain(Scope::OF_AGENT);
        for check in catalogue() {
            assert!(evaluated.clone().any(|scope| *scope == check.scope()), "{}", check.name);
        }
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
        let expected = "NeverReplicated unknown, NotRestorable unknown, ReplicaGap unknown, ReplicationLag unknown, \
                        SnapshotStale unknown; exit 3";
        check(unreadable(replica()), Watching::Continuously, expected);
    }

    #[test]
    fn what_failed_stays_failed_while_it_cannot_be_read() {
        let mut broken = replica();
        if let Some(coverage) = &mut broken.coverage {
            coverage.gaps.push(GapReport { after: "1".into(), before: "3".into() });
        }
        check(broken.clone(), Watching::Continuously, "ReplicaGap fail; exit 2");
        let expected = "NeverReplicated unknown, NotRestorable unknown, ReplicaGap fail, ReplicationLag unknown, \
                        SnapshotStale unknown; exit 2";
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
                        LineageConflict unknown, ReplicationLag unknown, SnapshotStale unknown; exit 2";
        check(damaged, Watching::Continuously, expected);
        let unread = ReplicaReport { verification: Some(Arc::default()), ..replica() };
        check(unread, Watching::Continuously, "ReplicaCorrupt unknown, LineageConflict unknown; exit 3");
        let empty = ReplicaReport { coverage: Some(CoverageReport::default()), ..verified(&[]) };
        let empty = ReplicaReport { verification: Some(Arc::default()), ..empty };
        check(empty, Watching::Continuously, "NeverReplicated fail; exit 2");
    }

    #[test]
    fn what_a_restore_needs_and_was_not_read_does_not_pass() {
        let unread = |written| {
            let verification = VerificationReport {
                unread_since: Some(at(written)),
                needed: 4,
                ..(*verified(&[]).verification.unwrap()).clone()
            };
            ReplicaReport { verification: Some(Arc::new(verification)), ..replica() }
        };
        check(unread(9400), Watching::Continuously, "; exit 0");
        check(unread(9399), Watching::Continuously, "ReplicaCorrupt unknown; exit 3");
        check(unread(9999), Watching::Once, "ReplicaCorrupt unknown; exit 3");
        let mut damaged = unread(9999);
        if let Some(verification) = damaged.verification.as_mut().map(Arc::make_mut) {
            verification.findings = verified(&[(FindingKind::Corrupt, true)]).verification.unwrap().findings.clone();
        }
        check(damaged, Watching::Once, "ReplicaCorrupt fail; exit 2");
    }

    #[test]
    fn never_looked_at_is_unknown() {
        let new = ReplicaReport {
            watched_since: at(9990),
            up: None,
            lag_seconds: None,
            verified_at: None,
            coverage: None,
            ..replica()
        };
        let expected = "ReplicaUnverifiable unknown, NeverReplicated unknown, ReplicationLag unknown; exit 3";
        check(new.clone(), Watching::Continuously, expected);
        let expected = "ReplicaUnverifiable fail, NeverReplicated unknown, ReplicationLag unknown; exit 3";
        check(ReplicaReport { watched_since: at(0), ..new }, Watching::Continuously, expected);
    }
}
