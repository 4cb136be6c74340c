//! The checks of a database and its replicas: one catalogue, in reading order, behind checklist and alerts.
//!
//! A check fails while one of its [`Rule`]s holds: a number compared with another. What is not known is
//! [`Status::Unknown`](super::verdict::Status::Unknown), never a pass. The same rule is evaluated here and written as PromQL ([`expression`]).

mod agent;
pub mod checklist;
mod churn;
mod content;
mod cost;
mod database;
mod drill;
mod entry;
pub mod expression;
mod host;
mod judge;
mod litestream;
mod observer;
pub mod outside;
mod posture;
mod replica;
mod retention;
mod store;
mod unknown;

pub use self::entry::{Check, Context, Explanation, Rule, Unit, Watching};
pub use self::judge::{Judge, unchanged};
pub use self::replica::{PROOF_AGE_INTERVALS, PROOF_AGE_SLACK_SECONDS, UNVERIFIED};

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
        retention::CHECKS,
        churn::CHECKS,
        observer::CHECKS,
        drill::CHECKS,
        posture::CHECKS,
    ];
    let agent = [store::CHECKS, cost::CHECKS, agent::CHECKS, outside::CHECKS];
    database.into_iter().chain(replica).chain(agent).flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::judge::on_database;
    use super::*;
    use crate::domain::assess::proof::Method;
    use crate::domain::assessment::{CoverageReport, DatabaseReport, DatabaseState, LevelReport, ReplicaReport};
    use crate::domain::litestream::{Hole, Layout, LevelKeys};
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::verdict::{Status, Word};
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
            store: "s3",
            url: "s3://backups/app".into(),
            layout: Some(Layout::V5(LevelKeys::Hex)),
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
            coverage: Some(Arc::new(CoverageReport {
                restorable: true,
                snapshots: 1,
                levels: vec![level],
                ..CoverageReport::default()
            })),
            ..ReplicaReport::default()
        }
    }

    pub(super) fn unreadable(mut replica: ReplicaReport) -> ReplicaReport {
        replica.up = Some(false);
        replica.reason = Some(Box::new(Reason::new(ReasonKind::Denied, "list s3://backups/app/: access denied")));
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
    fn lag_above_the_objective_says_what_would_be_lost() {
        let check = |seconds, bytes, at_least, expected: &str| {
            let replica = ReplicaReport {
                lag_seconds: Some(seconds),
                unreplicated_bytes: bytes,
                unreplicated_bytes_lower_bound: at_least,
                ..replica()
            };
            let verdicts = on_database(&database(replica), at(NOW), Watching::Continuously);
            let lag = verdicts.iter().find(|verdict| verdict.check == "ReplicationLag").unwrap();
            assert_eq!(&*lag.detail, expected);
        };
        let late = "commits have been waiting for 6 min 40 s, objective 5 min 0 s";
        check(400.0, Some(20_600), false, &format!("{late}; 20.1 KiB would be lost"));
        check(400.0, Some(20_600), true, &format!("{late}; at least 20.1 KiB would be lost"));
        check(400.0, Some(0), false, late);
        check(400.0, None, false, late);
        check(30.0, Some(20_600), false, "commits have been waiting for 30 s, objective 5 min 0 s");
    }

    #[test]
    fn backlog_of_unknown_age_fails_only_where_nobody_saw_it_begin() {
        let old = ReplicaReport { lag_seconds: Some(2.0), lag_upper_bound_seconds: Some(400.0), ..replica() };
        check(old.clone(), Watching::Continuously, "; exit 0");
        check(old, Watching::Once, "ReplicationLag fail; exit 2");
    }

    fn said(name: &str, replica: ReplicaReport, watching: Watching) -> String {
        let verdicts = on_database(&database(replica), at(NOW), watching);
        verdicts.iter().find(|verdict| verdict.check == name).unwrap().detail.to_string()
    }

    #[test]
    fn files_behind_a_hole_arrive_all_the_same() {
        let mut broken = ReplicaReport { lag_seconds: Some(400.0), lag_upper_bound_seconds: Some(400.0), ..replica() };
        let moves_not = "commits are waiting and the replica does not move; its newest file is 6 min 40 s old, objective \
                         5 min 0 s";
        assert_eq!(said("ReplicationLag", broken.clone(), Watching::Once), moves_not);
        broken.last_segment_at = Some(at(NOW - 1));
        let coverage = Arc::make_mut(broken.coverage.as_mut().unwrap());
        coverage.gaps.push(Hole { after: "1".into(), before: "3".into() });
        let hole = "files arrive, but a hole keeps them from being restored, see ReplicaGap; ";
        let once = format!("{hole}what restores is 6 min 40 s old, objective 5 min 0 s");
        assert_eq!(said("ReplicationLag", broken.clone(), Watching::Once), once);
        let agent = format!("{hole}commits have been waiting for 6 min 40 s, objective 5 min 0 s");
        assert_eq!(said("ReplicationLag", broken, Watching::Continuously), agent);
    }

    #[test]
    fn a_lag_names_the_full_filesystem_of_a_directory() {
        let late = |left| ReplicaReport {
            lag_seconds: Some(400.0),
            lag_upper_bound_seconds: Some(400.0),
            space_left_bytes: left,
            ..replica()
        };
        let full = "; the filesystem of the replica is full: 0 B free";
        for watching in [Watching::Once, Watching::Continuously] {
            for (left, named) in [(Some(0), true), (Some(1 << 30), false), (None, false)] {
                let said = said("ReplicationLag", late(left), watching);
                assert_eq!(said.ends_with(full), named, "{said}");
            }
        }
        let synced = ReplicaReport { space_left_bytes: Some(0), ..replica() };
        assert_eq!(said("ReplicationLag", synced, Watching::Continuously), "nothing is waiting");
    }

    #[test]
    fn a_lag_that_stands_still_while_the_replica_cannot_be_read_says_of_when_it_is() {
        let late = ReplicaReport { lag_seconds: Some(400.0), ..replica() };
        let expected = "commits had been waiting for 6 min 40 s at 1970-01-01 02:46:30Z, when the replica was last read, \
                        objective 5 min 0 s; list s3://backups/app/: access denied";
        assert_eq!(said("ReplicationLag", unreadable(late), Watching::Continuously), expected);
        let verified = said("ReplicaUnverifiable", unreadable(replica()), Watching::Continuously);
        assert_eq!(verified, "verified 10 s ago; the last look failed: list s3://backups/app/: access denied");
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
            Arc::make_mut(coverage).gaps.push(Hole { after: "1".into(), before: "3".into() });
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
        damaged.reason = Some(Box::new(Reason::new(ReasonKind::Corrupt, "read 0000/…: unexpected end")));
        let expected = "NeverReplicated unknown, NotRestorable unknown, ReplicaGap unknown, ReplicaCorrupt fail, \
                        LineageConflict unknown, ReplicationLag unknown, SnapshotStale unknown; exit 2";
        check(damaged, Watching::Continuously, expected);
        let unread = ReplicaReport { verification: Some(Arc::default()), ..replica() };
        check(unread, Watching::Continuously, "ReplicaCorrupt unknown, LineageConflict unknown; exit 3");
        let empty = ReplicaReport { coverage: Some(Arc::default()), ..verified(&[]) };
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
        // It was not to read more than it did.
        let mut left = unread(9999);
        if let Some(verification) = left.verification.as_mut().map(Arc::make_mut) {
            verification.needed_left = 1;
        }
        check(left, Watching::Once, "; exit 0");
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
