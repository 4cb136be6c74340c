//! Checks of what Litestream keeps: snapshots as often as they should be, history as far back as is wanted, and no more.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::{Condition, Term};
use super::replica::as_far_as_read;
use crate::domain::assessment::{CoverageReport, DatabaseReport, ReplicaReport};
use crate::domain::human::{counted, spoken};
use crate::domain::litestream::Layout;
use crate::domain::number::replica::{
    EXPECTED, EXPIRED, KEPT, RECEIVED, RESTORABLE_SINCE, RETENTION, SNAPSHOT_INTERVAL, UNSNAPSHOTTED_SINCE, WHOLE,
};
use crate::domain::verdict::Severity;

/// A snapshot takes its time, and so does a retention run: an hour of patience.
const SLACK_SECONDS: f64 = 3600.0;

/// So much of the wanted history is enough: objects are deleted a snapshot at a time.
const WINDOW_RATIO: f64 = 0.95;

static WINDOW: Term = Term::Age(&RESTORABLE_SINCE);

static WINDOW_BELOW_OBJECTIVE: Condition = WINDOW.below(Term::Times(&RETENTION, WINDOW_RATIO));

/// Litestream deletes when it takes a snapshot: what it keeps falls to the retention less one interval each time.
static WINDOW_BELOW_WHAT_IS_KEPT: Condition = WINDOW.below(Term::Difference(
    &Term::Difference(&Term::Of(&RETENTION), &Term::Of(&SNAPSHOT_INTERVAL)),
    &Term::Constant(SLACK_SECONDS),
));

static HISTORY_WAS_DELETED: Condition = WHOLE.is(0.0);

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "SnapshotStale",
        title: "Snapshots are taken as often as they should be",
        summary: "{database}: {replica} has no recent snapshot",
        description: "Changes in replica {replica} of {database} have been waiting for a snapshot for {value}: \
                      restoring takes longer and longer.",
        action: "Read in Litestream's log why it takes no snapshot; `snapshot-interval` sets how often one is \
                 expected.",
        unit: Unit::Seconds,
        rules: &[rule(
            Severity::Warning,
            Term::Age(&UNSNAPSHOTTED_SINCE)
                .above(Term::Sum(&Term::Times(&SNAPSHOT_INTERVAL, 2.0), &Term::Constant(SLACK_SECONDS))),
            30,
        )],
        explain: |context, on| snapshot(context, on.database()?, on.replica()?),
    },
    Check {
        name: "RecoveryWindowShort",
        title: "Restores reach as far back as they should",
        summary: "{database}: {replica} does not reach back far enough",
        description: "Replica {replica} of {database} restores only {value} back, less than the retention objective: \
                      older history is gone.",
        action: "Check how much Litestream is told to keep: in v0.5, `snapshot.retention`, 24h unless set. A lifecycle \
                 rule of the bucket may delete objects, too.",
        unit: Unit::Seconds,
        rules: &[rule(
            Severity::Warning,
            Condition::All(&[WINDOW_BELOW_OBJECTIVE, WINDOW_BELOW_WHAT_IS_KEPT, HISTORY_WAS_DELETED]),
            60,
        )],
        explain: |context, on| window(context, on.database()?, on.replica()?),
    },
    Check {
        name: "RetentionTooShort",
        title: "Litestream is told to keep enough history",
        summary: "{database}: Litestream is told to keep too little history in {replica}",
        description: "Litestream deletes the history in replica {replica} of {database} after {value}, sooner than \
                      the retention objective allows.",
        action: "Set `snapshot.retention` at the top of litestream.yml: v0.5 silently ignores v0.3's `retention` of a \
                 replica, and keeps 24h.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, Term::Of(&KEPT).below(Term::Times(&RETENTION, WINDOW_RATIO)), 60)],
        explain: |context, on| told_to_keep(context, on.database()?, on.replica()?),
    },
    Check {
        name: "RetentionNotEnforced",
        title: "Litestream deletes objects when they expire",
        summary: "{database}: {replica} is not cleaned up",
        description: "Objects of replica {replica} of {database} that should have been deleted hours ago: {value}.",
        action: "Check that Litestream is running and that its credentials may delete objects.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, EXPIRED.any(), 60)],
        explain: |context, on| retention(context, on.database()?, on.replica()?),
    },
    Check {
        name: "ReplicaRunaway",
        title: "The replica grows no faster than the database is written",
        summary: "{database}: {replica} grows much faster than the database is written",
        description: "Litestream uploaded {value} to level 0 of replica {replica} of {database} within an hour, much \
                      more than was written: it is copying the whole database over and over.",
        action: "Read in Litestream's log why it starts over (`wal truncated`, `wal overwritten`): another process \
                 runs checkpoints, or a connection deletes the WAL when it closes.",
        unit: Unit::Bytes,
        rules: &[rule(Severity::Warning, RECEIVED.above(&EXPECTED), 60)],
        explain: |context, on| runaway(context, on.database()?, on.replica()?),
    },
];

/// The last listing, unless there is nothing to restore, which other checks report.
fn restorable(replica: &ReplicaReport) -> Option<&CoverageReport> {
    replica.coverage.as_deref().filter(|coverage| coverage.restorable)
}

fn snapshot(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let coverage = restorable(replica)?;
    let newest = match coverage.newest_snapshot_at {
        Some(at) => format!("the newest snapshot is {} old", context.age(at)),
        None => "there is no snapshot".into(),
    };
    let moved = match (coverage.unsnapshotted_since, coverage.changes_since_snapshot) {
        (Some(since), Some(moved)) if moved > 0 => {
            let followed = counted(moved, if replica.layout == Some(Layout::V3) { "segment" } else { "sync" });
            format!("{followed} followed, the first {} ago", context.age(since))
        }
        _ => "nothing followed".into(),
    };
    let interval = spoken(database.objectives.snapshot_interval());
    let whose = match database.objectives.snapshot_interval_seconds {
        Some(_) => "",
        None => ", Litestream's default",
    };
    as_far_as_read(context, replica, format!("{newest}, {moved}; the interval is {interval}{whose}"))
}

fn window(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let coverage = restorable(replica)?;
    let objective = spoken(database.objectives.retention_seconds?);
    let Some(since) = coverage.restorable_since else {
        // A hole in front of the newest object, of which ReplicaGap tells.
        return Some(Explanation::Unknown("no chain leads to the newest object".into()));
    };
    let reaches = context.age(since);
    match coverage.whole {
        Some(true) => {
            let detail = format!("it reaches back {reaches}, to its beginning; objective {objective}");
            as_far_as_read(context, replica, detail)
        }
        Some(false) => as_far_as_read(context, replica, format!("it reaches back {reaches}, objective {objective}")),
        None => {
            let detail = format!(
                "it reaches back {reaches}, objective {objective}; whether older history was deleted is not known"
            );
            Some(Explanation::Unknown(detail))
        }
    }
}

fn told_to_keep(_: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let (kept, objective) = (replica.keeping.kept_seconds?, database.objectives.retention_seconds?);
    Some(Explanation::Known(format!("Litestream is told to keep {}, objective {}", spoken(kept), spoken(objective))))
}

fn retention(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let expired = replica.coverage.as_ref()?.expired_objects?;
    let detail = match expired {
        0 => "nothing is kept too long".to_owned(),
        count => format!("{} should have been deleted hours ago", counted(count, "object")),
    };
    as_far_as_read(context, replica, detail)
}

fn runaway(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let growth = replica.keeping.growth?;
    let (received, written) = (growth.received_bytes, growth.written_bytes);
    let over = spoken(growth.seconds);
    as_far_as_read(context, replica, format!("{received} bytes appeared in {over}, {written} bytes were written"))
}

#[cfg(test)]
mod tests {
    use super::super::Watching;
    use super::super::judge::on_database;
    use super::super::tests::{NOW, at, database, replica, unreadable};
    use super::*;
    use crate::domain::assess::growth::GrowthReport;
    use crate::domain::assessment::KeepingReport;
    use crate::domain::verdict::Status;

    const HOUR: i64 = 3600;

    /// A replica of which this was listed.
    fn listed(coverage: CoverageReport) -> ReplicaReport {
        let listed = replica();
        let levels = listed.coverage.map(|coverage| coverage.levels.clone()).unwrap_or_default();
        ReplicaReport { coverage: Some(CoverageReport { restorable: true, levels, ..coverage }.into()), ..replica() }
    }

    fn kept(keeping: KeepingReport) -> ReplicaReport {
        ReplicaReport { keeping, ..replica() }
    }

    /// The verdict of one check, with a retention objective of 30 days and optionally a snapshot interval in hours.
    fn told(name: &str, replica: ReplicaReport, interval: Option<i64>) -> Option<String> {
        let mut database = database(replica);
        database.objectives.retention_seconds = Some(30.0 * 86_400.0);
        database.objectives.snapshot_interval_seconds = interval.map(|hours| (hours * HOUR) as f64);
        let verdicts = on_database(&database, at(NOW), Watching::Continuously);
        let verdict = verdicts.into_iter().find(|verdict| verdict.check == name)?;
        let severity = if verdict.status == Status::Fail { verdict.severity.as_str() } else { "" };
        Some(format!("{} {severity}: {}", verdict.status.as_str(), verdict.detail))
    }

    fn check(name: &str, replica: ReplicaReport, expected: &str) {
        let told = told(name, replica, None).unwrap_or_default();
        assert!(told.starts_with(expected), "{told}");
    }

    fn ago(hours: i64, seconds: i64) -> Option<jiff::Timestamp> {
        Some(at(NOW - hours * HOUR - seconds))
    }

    #[test]
    fn changes_that_wait_for_a_snapshot_for_too_long_are_a_warning() {
        let changed = |since| {
            listed(CoverageReport {
                newest_snapshot_at: ago(900, 0),
                unsnapshotted_since: since,
                changes_since_snapshot: Some(u64::from(since.is_some()) * 7),
                ..CoverageReport::default()
            })
        };
        check(
            "SnapshotStale",
            changed(ago(49, 1)),
            "fail warning: the newest snapshot is 37 d 12 h old, 7 syncs followed",
        );
        check("SnapshotStale", changed(ago(49, 0)), "pass");
        // Nothing was written for a month, until an hour ago: the next snapshot comes by itself.
        check("SnapshotStale", changed(ago(1, 0)), "pass");
        // Litestream takes none of an idle database.
        check(
            "SnapshotStale",
            changed(None),
            "pass : the newest snapshot is 37 d 12 h old, nothing followed; the interval is 1 d 0 h, Litestream's default",
        );
        let configured = |hours| told("SnapshotStale", changed(ago(10, 0)), Some(hours)).unwrap();
        assert!(configured(4).starts_with("fail warning"), "{}", configured(4));
        assert!(configured(5).ends_with("the interval is 5 h 0 min"), "{}", configured(5));
        assert!(configured(5).starts_with("pass"));
        let denied = unreadable(changed(ago(48, 0)));
        check("SnapshotStale", denied, "unknown : last known: the newest snapshot is");
        check("SnapshotStale", unreadable(changed(ago(50, 0))), "fail");
    }

    #[test]
    fn being_told_to_keep_less_than_wanted_is_a_warning_before_anything_is_gone() {
        let told = |kept_seconds| kept(KeepingReport { kept_seconds, ..KeepingReport::default() });
        let day = 86_400.0;
        check(
            "RetentionTooShort",
            told(Some(day)),
            "fail warning: Litestream is told to keep 1 d 0 h, objective 30 d 0 h",
        );
        check("RetentionTooShort", told(Some(30.0 * day)), "pass");
        check("RetentionTooShort", told(None), "");
    }

    #[test]
    fn a_window_shorter_than_wanted_is_a_warning_once_history_was_deleted() {
        let window = |hours, whole| {
            let restorable_since = ago(hours, 0);
            listed(CoverageReport { restorable_since, whole, ..CoverageReport::default() })
        };
        // Litestream keeps a day where a month is wanted.
        check(
            "RecoveryWindowShort",
            window(25, Some(false)),
            "fail warning: it reaches back 1 d 1 h, objective 30 d 0 h",
        );
        check("RecoveryWindowShort", window(683, Some(false)), "fail");
        check("RecoveryWindowShort", window(684, Some(false)), "pass");
        // A young replica reaches back to its beginning.
        check("RecoveryWindowShort", window(25, Some(true)), "pass : it reaches back 1 d 1 h, to its beginning");
        check("RecoveryWindowShort", window(25, None), "unknown");
        check("RecoveryWindowShort", unreadable(window(700, Some(false))), "unknown");
        let broken = listed(CoverageReport { whole: Some(false), ..CoverageReport::default() });
        check("RecoveryWindowShort", broken, "unknown : no chain leads to");
        // With one snapshot in two weeks, what a month of retention keeps falls to two weeks each time.
        let rare = |hours| told("RecoveryWindowShort", window(hours, Some(false)), Some(360)).unwrap();
        assert!(rare(358).starts_with("fail") && rare(359).starts_with("pass"), "{}", rare(359));
        let mut unwanted = database(window(25, Some(false)));
        unwanted.objectives.retention_seconds = None;
        let verdicts = on_database(&unwanted, at(NOW), Watching::Continuously);
        assert!(verdicts.iter().all(|verdict| verdict.check != "RecoveryWindowShort"), "no objective, nothing to say");
    }

    #[test]
    fn what_should_be_gone_is_a_warning() {
        let expired = |expired_objects| listed(CoverageReport { expired_objects, ..CoverageReport::default() });
        check("RetentionNotEnforced", expired(Some(3)), "fail warning: 3 objects");
        check("RetentionNotEnforced", expired(Some(0)), "pass");
        assert_eq!(told("RetentionNotEnforced", expired(None), None), None, "nobody knows what Litestream was told");
    }

    #[test]
    fn growth_beyond_what_was_written_is_a_warning() {
        let growth = |received_bytes| {
            let growth = GrowthReport { seconds: 3600.0, received_bytes, written_bytes: 10, expected_bytes: 500 };
            kept(KeepingReport { growth: Some(growth), ..KeepingReport::default() })
        };
        check("ReplicaRunaway", growth(501), "fail warning: 501 bytes appeared in 1 h 0 min, 10 bytes were written");
        check("ReplicaRunaway", growth(500), "pass");
        assert_eq!(told("ReplicaRunaway", replica(), None), None, "not watched for long enough");
    }

    #[test]
    fn another_history_is_critical() {
        let foreign = |foreign_history| kept(KeepingReport { foreign_history, ..KeepingReport::default() });
        check(
            "LineageConflict",
            foreign(Some(true)),
            "fail critical: it is at TXID 3, but Litestream here is writing at",
        );
        assert_eq!(told("LineageConflict", foreign(Some(false)), None), None, "objects are not verified");
        let check = super::super::catalogue().find(|check| check.name == "LineageConflict").unwrap();
        let promql = "(sum without (finding) (streamgauge_replica_corrupt_objects{finding=\"rewritten\"}) > 0) or \
                      (streamgauge_replica_foreign_history == 1)";
        assert_eq!(check.rules[0].when.to_string(), promql);
    }
}
