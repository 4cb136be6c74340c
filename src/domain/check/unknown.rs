//! A check that what is unknown does not stay so without a word.

use std::sync::Arc;

use super::entry::{Check, Context, Explanation, Unit, Watching, rule};
use super::expression::{Condition, Term};
use crate::domain::assess::proof::Method;
use crate::domain::assessment::{DatabaseReport, LocalReport, ReplicaReport};
use crate::domain::number::replica::{LAG_UNKNOWN_SINCE, RPO, UNPROVEN_COMMIT};
use crate::domain::verdict::Severity;

/// A restart, or a database that is being replaced, has its time; and twice that, until somebody is woken.
const PATIENCE_SECONDS: (f64, f64) = (300.0, 600.0);

static FOR: Term = Term::Age(&LAG_UNKNOWN_SINCE);

static LONGER_THAN_OBJECTIVE: Condition = FOR.above(Term::Of(&RPO));

/// The age of a commit that may be lost, because nothing is known of it.
static COMMIT_OLDER_THAN_OBJECTIVE: Condition = Term::Age(&UNPROVEN_COMMIT).above(Term::Of(&RPO));

pub(super) static CHECKS: &[Check] = &[Check {
    name: "LagUnknown",
    title: "The replication lag is known",
    summary: "{database}: the replication lag of {replica} is unknown",
    description: "For {value}, it has been unknown whether the commits of {database} are in replica {replica}. If \
                  nothing is being replicated, no other alert will tell you.",
    action: "Find the reason with `streamgauge why LagUnknown`, and fix it.",
    unit: Unit::Seconds,
    rules: &[
        rule(
            Severity::Critical,
            Condition::All(&[
                FOR.exceeds(PATIENCE_SECONDS.1),
                FOR.above(Term::Times(&RPO, 2.0)),
                COMMIT_OLDER_THAN_OBJECTIVE,
            ]),
            1,
        ),
        rule(Severity::Warning, Condition::All(&[FOR.exceeds(PATIENCE_SECONDS.0), LONGER_THAN_OBJECTIVE]), 1),
    ],
    explain: |context, on| unknown(context, on.database()?, on.replica()?),
}];

/// `None` where it is unknown by design, and in one look, which cannot know for how long.
fn unknown(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    if context.watching == Watching::Once {
        return None;
    }
    let Some(unknown) = &replica.keeping.lag_unknown else {
        return match (replica.lag_seconds, replica.unreplicated_since) {
            (Some(lag), _) if replica.up == Some(false) && lag <= database.rpo_seconds => {
                Some(Explanation::Known("no commit that may be missing is older than the objective".into()))
            }
            (Some(_), _) => Some(Explanation::Known("the lag is known".into())),
            // An unreadable replica has an alert of its own, `ReplicaUnverifiable`.
            (None, Some(at)) if replica.up == Some(false) => {
                let (age, why) = (context.age(at), why(database, replica));
                Some(Explanation::Unknown(format!("a commit from {age} ago may not be in it: {why}")))
            }
            (None, _) => None,
        };
    };
    let commits = unknown.commit_at.map_or_else(
        || "no commit has been seen".to_owned(),
        |at| format!("a commit from {} ago may not be in it", context.age(at)),
    );
    let (age, why) = (context.age(unknown.since), why(database, replica));
    Some(Explanation::Unknown(format!("unknown for {age}, {commits}: {why}")))
}

/// Why it is not known how far a replica is behind.
pub(super) fn why(database: &DatabaseReport, replica: &ReplicaReport) -> String {
    let hinted = |reason: &crate::domain::reason::Reason| match &reason.hint {
        Some(hint) => format!("{reason} ({hint})"),
        None => reason.to_string(),
    };
    if let Some(reason) = database.reason.as_ref().or(replica.reason.as_ref()) {
        return hinted(reason);
    }
    if database.local.is_none() {
        let beacon = replica.beacon.as_ref();
        return match beacon.and_then(|beacon| beacon.reason.as_ref()) {
            Some(reason) => format!("there is no local database to compare with; {reason}"),
            None if beacon.is_some_and(|beacon| beacon.is_fresh()) => {
                "there is no local database, and the beacon says that the agent beside it does not know either".into()
            }
            None if beacon.is_some() => "there is no local database, and no fresh beacon from its host".into(),
            None => "there is no local database to compare with, and no beacon from its host".into(),
        };
    }
    if database.local.as_ref().is_some_and(|local| local.replacement.replaced == Some(true)) {
        return "the database was replaced, see DatabaseReplaced".into();
    }
    let no_wal = |local: &Arc<LocalReport>| local.wal_frames.is_none_or(|frames| frames == 0);
    let Some(coverage) = &replica.coverage else { return "the replica has not been looked at yet".into() };
    let has = |wanted: &str| coverage.levels.iter().any(|level| level.level == wanted && level.objects > 0);
    let leading_slash = replica.url.strip_prefix("s3://").and_then(|rest| rest.split_once('/'));
    if has("snapshot") && !has("wal") {
        let slash = if leading_slash.is_some_and(|(_, path)| path.starts_with('/')) {
            ": its path begins with a slash, so Litestream 0.3 cannot find what it writes; remove the slash"
        } else {
            ""
        };
        return format!("the replica holds snapshots but no WAL, so nothing shows how far it has got{slash}");
    }
    if coverage.is_empty() {
        return "the replica holds nothing to compare with yet".into();
    }
    if replica.method == Some(Method::Observer) && !database.local.as_ref().is_some_and(no_wal) {
        return "the newest object does not say where in the WAL it ends: it is encrypted and no identity is \
                configured, or something other than Litestream's daemon wrote it"
            .into();
    }
    "the database has no WAL to compare, or was not read after the replica".into()
}

#[cfg(test)]
mod tests {
    use super::super::judge::on_database;
    use super::super::tests::{NOW, at, database, replica};
    use super::*;
    use crate::domain::assess::proof::LagUnknownReport;
    use crate::domain::assessment::{CoverageReport, KeepingReport, LevelReport};
    use crate::domain::litestream::Layout;
    use crate::domain::reason::{Reason, ReasonKind};
    use crate::domain::verdict::Status;

    /// The verdict with an objective of 5 minutes, so many seconds after the lag became unknown.
    fn told(database: &DatabaseReport, watching: Watching) -> String {
        let verdicts = on_database(database, at(NOW), watching);
        let found = verdicts.into_iter().find(|verdict| verdict.check == "LagUnknown");
        found.map_or_else(String::new, |verdict| {
            let severity = if verdict.status == Status::Fail { verdict.severity.as_str() } else { "" };
            format!("{} {severity}: {}", verdict.status.as_str(), verdict.detail)
        })
    }

    fn unknown_for(seconds: i64, commit: Option<i64>) -> ReplicaReport {
        let lag_unknown = LagUnknownReport { since: at(NOW - seconds), commit_at: commit.map(|age| at(NOW - age)) };
        ReplicaReport {
            lag_seconds: None,
            method: Some(Method::Observer),
            keeping: KeepingReport { lag_unknown: Some(Box::new(lag_unknown)), ..KeepingReport::default() },
            ..replica()
        }
    }

    fn check(replica: ReplicaReport, expected: &str) {
        let told = told(&database(replica), Watching::Continuously);
        assert!(told.starts_with(expected), "{told}");
    }

    #[test]
    fn what_stays_unknown_is_a_ticket_and_with_commits_a_page() {
        check(replica(), "pass : the lag is known");
        check(
            unknown_for(300, Some(299)),
            "unknown : unknown for 5 min 0 s, a commit from 4 min 59 s ago may not be in it",
        );
        check(unknown_for(301, None), "fail warning: unknown for 5 min 1 s, no commit has been seen: ");
        check(unknown_for(600, Some(599)), "fail warning");
        check(unknown_for(601, Some(301)), "fail critical");
        check(unknown_for(601, Some(300)), "fail warning");
        check(unknown_for(100_000, None), "fail warning");
        let slow = DatabaseReport { rpo_seconds: 3600.0, ..database(unknown_for(3600, Some(3600))) };
        assert!(told(&slow, Watching::Continuously).starts_with("unknown"), "the objective gives it an hour");
    }

    #[test]
    fn by_design_and_in_one_look_nothing_is_said() {
        check(ReplicaReport { lag_seconds: None, ..replica() }, "");
        assert_eq!(told(&database(unknown_for(9000, Some(9000))), Watching::Once), "");
    }

    #[test]
    fn an_unreadable_replica_is_unknown_once_a_commit_is_older_than_the_objective() {
        let reason = Some(Box::new(Reason::new(ReasonKind::Denied, "list s3://b: access denied")));
        let unread = ReplicaReport { up: Some(false), reason, unreplicated_since: Some(at(NOW - 300)), ..replica() };
        check(unread.clone(), "pass : no commit that may be missing is older than the objective");
        let older = ReplicaReport { lag_seconds: None, unreplicated_since: Some(at(NOW - 301)), ..unread.clone() };
        check(older, "unknown : a commit from 5 min 1 s ago may not be in it: list s3://b: access denied");
        check(ReplicaReport { lag_seconds: Some(400.0), ..unread }, "pass : the lag is known");
    }

    #[test]
    fn the_reason_is_the_text() {
        let why = |replica: &ReplicaReport| super::why(&database(replica.clone()), replica);
        let level = |level, objects| LevelReport { level, objects, bytes: 1, newest_at: None };
        let v3 = |url: &str, levels| {
            let coverage = Some(CoverageReport { levels, ..CoverageReport::default() }.into());
            ReplicaReport { url: url.to_owned(), coverage, layout: Some(Layout::V3), ..unknown_for(9000, None) }
        };
        let local = |replica: ReplicaReport| {
            let mut with = crate::domain::report::sample::healthy("app");
            with.reason = None;
            super::why(&with, &replica)
        };
        let lost = local(v3("s3://bkt//lead/app", vec![level("snapshot", 1)]));
        assert!(
            lost.ends_with(
                "no WAL, so nothing shows how far it has got: its path begins with a slash, so Litestream 0.3 cannot \
                 find what it writes; remove the slash"
            ),
            "{lost}"
        );
        let new = local(v3("s3://bkt/app", vec![level("snapshot", 1)]));
        assert!(new.ends_with("nothing shows how far it has got"), "{new}");
        let encrypted = local(v3("s3://bkt/app", vec![level("snapshot", 1), level("wal", 5)]));
        assert!(encrypted.contains("encrypted"), "{encrypted}");
        let mut rollback = crate::domain::report::sample::healthy("app");
        rollback.reason = None;
        rollback.local_mut().unwrap().wal_frames = None;
        let told = super::why(&rollback, &v3("s3://bkt/app", vec![level("snapshot", 1), level("wal", 5)]));
        assert!(told.starts_with("the database has no WAL"), "{told}");
        assert_eq!(local(v3("s3://bkt/app", Vec::new())), "the replica holds nothing to compare with yet");
        assert!(why(&unknown_for(1, None)).contains("no beacon from its host"));
        let mounted = Reason::new(ReasonKind::Misconfigured, "read /app.db: no WAL").with_hint("mount the directory");
        let database = DatabaseReport { reason: Some(Box::new(mounted)), ..database(unknown_for(1, None)) };
        assert_eq!(super::why(&database, &database.replicas[0]), "read /app.db: no WAL (mount the directory)");
    }
}
