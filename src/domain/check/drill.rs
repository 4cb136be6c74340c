//! Checks of restore drills. They need an agent that remembers drills: a single look knows of none, and they do not apply.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::{Condition, Term};
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::drill::{DrillRecord, DrillReport, DrillResult};
use crate::domain::human::{instant, spoken};
use crate::domain::number::drill::{FAILING, FIRST_SEEN, INTERVAL, LAST_SUCCESS, RESTORE_SECONDS, RTO, WITHHELD};
use crate::domain::verdict::Severity;

/// The last success may be this much older than two intervals: a drill waits for its turn.
const SLACK_SECONDS: f64 = 3600.0;

static LATE: Condition = Term::Difference(&Term::Now, &Term::Else(&LAST_SUCCESS, &FIRST_SEEN))
    .above(Term::Sum(&Term::Times(&INTERVAL, 2.0), &Term::Constant(SLACK_SECONDS)));

static IS_WITHHELD: Condition = WITHHELD.is(1.0);

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "RestoreDrillFailed",
        title: "The last conclusive restore drill passed",
        summary: "{database}: the restore drill of {replica} failed",
        description: "The last drill of replica {replica} of {database} could not restore, or restored something wrong \
                      or too old.",
        action: "Run `streamgauge drill` to see which step fails; the runbook explains each step. Before you reset \
                 anything, find out which is damaged, the replica or the database itself (`PRAGMA integrity_check` on \
                 both).",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, FAILING.is(1.0), 0)],
        explain: |context, on| failed(context, on.database()?, on.replica()?),
    },
    Check {
        name: "RestoreDrillOverdue",
        title: "Restore drills pass as often as they should",
        summary: "{database}: no restore drill of {replica} has passed in time",
        description: "No drill of replica {replica} of {database} has passed for {value}.",
        action: "Find out why the last drills were inconclusive, on the status page or with `streamgauge drill`.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, Condition::Except(&LATE, &IS_WITHHELD), 60)],
        explain: |context, on| overdue(context, on.database()?, on.replica()?),
    },
    Check {
        name: "RestoreTooSlow",
        title: "Restoring takes no longer than the objective",
        summary: "{database}: restoring {replica} takes too long",
        description: "Restoring replica {replica} of {database} took {value} in the last drill, longer than the objective.",
        action: "Take snapshots more often, restore closer to the bucket, or change the objective.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, RESTORE_SECONDS.above(&RTO), 0)],
        explain: |context, on| too_slow(context, on.database()?, on.replica()?),
    },
];

fn why(record: &DrillRecord) -> String {
    let failed = record.checks.iter().find(|check| check.result != DrillResult::Passed);
    let failed = failed.map(|check| format!("{}: {}", check.name, check.detail));
    let probe = record.probes.iter().find(|probe| probe.result != DrillResult::Passed);
    let probe = || probe.map(|probe| format!("probe {}: {}", probe.name, probe.detail));
    let reason = record.reason.as_ref().map(ToString::to_string);
    reason.or(failed).or_else(probe).unwrap_or_else(|| "no reason given".into())
}

/// The last drill that passed or failed. One that was inconclusive says nothing of the backup.
fn failed(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let history = &replica.drill.as_ref()?.history;
    let last = history.last.as_ref()?;
    let age = context.age(last.finished_at);
    Some(Explanation::Known(match (history.last_conclusive?, last.result) {
        (DrillResult::Failed, DrillResult::Failed) => format!("the drill {age} ago: {}{}", why(last), next(replica)),
        (DrillResult::Failed, _) => {
            let next = next(replica);
            format!("an earlier drill failed, and the one {age} ago was inconclusive: {}{next}", why(last))
        }
        (_, DrillResult::Passed) => format!("passed {age} ago"),
        (..) => format!("an earlier drill passed; the one {age} ago was inconclusive: {}", why(last)),
    }))
}

/// When the agent drills again, which decides.
fn next(replica: &ReplicaReport) -> String {
    let Some(drill) = &replica.drill else { return String::new() };
    match (drill.running_since, drill.history.next_due_at) {
        (Some(_), _) => "; the agent is drilling again".to_owned(),
        // Not how long that is: what does not change is told once.
        (None, Some(due)) => format!("; the agent drills again at {}", instant(due)),
        (None, None) => String::new(),
    }
}

/// The age of the last drill that passed (before the first one: since it was first seen) against twice the interval.
fn overdue(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let drill = replica.drill.as_ref()?;
    let history = &drill.history;
    let bound = 2.0 * drill.interval_seconds? + SLACK_SECONDS;
    let age = context.now.duration_since(history.last_success_at.or(history.first_seen_at)?).as_secs_f64();
    let passed = match history.last_success_at {
        Some(_) => format!("passed {} ago", spoken(age)),
        None => format!("none has passed since it was first seen, {} ago", spoken(age)),
    };
    Some(match (&drill.withheld, history.last_success_at) {
        (_, Some(_)) if age <= bound => Explanation::Known(passed),
        (Some(withheld), _) => Explanation::Unknown(format!("{passed}; none will begin, because {withheld}")),
        (None, None) if age <= bound => return None,
        (None, _) => {
            Explanation::Known(format!("{passed}, at most {} is allowed{}", spoken(bound), last_result(drill)))
        }
    })
}

/// How the last drill ended, if it did not pass.
fn last_result(drill: &DrillReport) -> String {
    let last = drill.history.last.as_ref().filter(|last| last.result != DrillResult::Passed);
    last.map_or_else(String::new, |last| format!("; the last was {}: {}", last.result.as_str(), why(last)))
}

/// The measured recovery time against the objective.
fn too_slow(_: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let drill = replica.drill.as_ref()?;
    let (took, objective) = (drill.history.restore_seconds?, drill.rto_seconds?);
    Some(Explanation::Known(format!("restoring took {}, objective {}", spoken(took), spoken(objective))))
}

#[cfg(test)]
mod tests {
    use crate::domain::verdict::Word;
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::super::Watching;
    use super::super::judge::on_database;
    use super::*;
    use crate::domain::assessment::{CoverageReport, DatabaseReport, DatabaseState, LevelReport};
    use crate::domain::drill::history::tests::record;
    use crate::domain::drill::{DrillCheck, DrillHistory, ProbeRecord};
    use crate::domain::reason::{Reason, ReasonKind};

    const DAY: i64 = 86_400;
    /// When the checks are made.
    const NOW: i64 = 100 * DAY;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Drilled daily, first seen long ago, with drills so many seconds ago.
    fn drilled(results: &[(i64, DrillResult)]) -> DrillReport {
        let mut history = DrillHistory { first_seen_at: Some(at(0)), ..DrillHistory::default() };
        for (ago, result) in results {
            history.conclude(record(NOW - ago, *result), at(NOW - ago));
        }
        DrillReport {
            interval_seconds: Some(DAY as f64),
            rto_seconds: Some(60.0),
            history: Arc::new(history),
            ..DrillReport::default()
        }
    }

    /// The verdicts of the checks of drills, and the exit code of everything.
    fn verdicts(drill: Option<DrillReport>) -> String {
        let level = LevelReport { level: "0", objects: 3, bytes: 600, newest_at: None };
        let coverage = CoverageReport { restorable: true, levels: vec![level], ..CoverageReport::default() };
        let replica = ReplicaReport {
            name: "s3".into(),
            up: Some(true),
            lag_seconds: Some(0.0),
            verified_at: Some(at(NOW)),
            verify_interval_seconds: 300.0,
            coverage: Some(coverage.into()),
            drill: drill.map(Arc::new),
            ..ReplicaReport::default()
        };
        let database = DatabaseReport {
            state: DatabaseState::Remote,
            rpo_seconds: 300.0,
            replicas: vec![replica],
            ..DatabaseReport::default()
        };
        let verdicts = on_database(&database, at(NOW), Watching::Continuously);
        let drills = verdicts.iter().filter(|verdict| verdict.check.starts_with("Restore"));
        let told: Vec<_> = drills.map(|v| format!("{} {}: {}", v.check, v.status.as_str(), v.detail)).collect();
        format!("{}; exit {}", told.join("; "), Word::of(verdicts.iter()).exit_code())
    }

    fn check(drill: DrillReport, expected: &str) {
        assert_eq!(verdicts(Some(drill)), expected);
    }

    #[test]
    fn nothing_applies_where_nothing_is_drilled() {
        assert_eq!(verdicts(None), "; exit 0");
        let off = DrillReport { interval_seconds: None, ..drilled(&[]) };
        check(off, "; exit 0");
    }

    #[test]
    fn drills_that_pass_in_time_pass() {
        check(
            drilled(&[(DAY, DrillResult::Passed)]),
            "RestoreDrillFailed pass: passed 23 h 59 min ago; RestoreDrillOverdue pass: passed 23 h 59 min ago; \
             RestoreTooSlow pass: restoring took 4 s, objective 1 min 0 s; exit 0",
        );
    }

    #[test]
    fn a_drill_that_failed_stays_failed_until_one_passes() {
        let mut failing = drilled(&[(DAY, DrillResult::Passed), (3600, DrillResult::Failed)]);
        let told = verdicts(Some(failing.clone()));
        assert!(told.starts_with("RestoreDrillFailed fail: the drill 59 min 50 s ago: no reason given; "), "{told}");
        assert!(told.ends_with("; exit 2"), "{told}");
        Arc::make_mut(&mut failing.history).conclude(record(NOW - 60, DrillResult::Inconclusive), at(NOW - 60));
        let told = verdicts(Some(failing.clone()));
        let expected = "RestoreDrillFailed fail: an earlier drill failed, and the one 50 s ago was inconclusive: ";
        assert!(told.starts_with(expected), "{told}");
        Arc::make_mut(&mut failing.history).conclude(record(NOW - 20, DrillResult::Passed), at(NOW - 20));
        let told = verdicts(Some(failing));
        assert!(told.starts_with("RestoreDrillFailed pass: passed 10 s ago; "), "{told}");
    }

    #[test]
    fn an_inconclusive_drill_is_no_failed_backup() {
        let mut drill = drilled(&[(3600, DrillResult::Inconclusive)]);
        Arc::make_mut(&mut drill.history).first_seen_at = Some(at(NOW - DAY));
        check(drill, "RestoreTooSlow pass: restoring took 4 s, objective 1 min 0 s; exit 0");
        let passed = drilled(&[(DAY, DrillResult::Passed), (3600, DrillResult::Inconclusive)]);
        let told = verdicts(Some(passed));
        assert!(
            told.starts_with("RestoreDrillFailed pass: an earlier drill passed; the one 59 min 50 s ago"),
            "{told}"
        );
        assert!(told.ends_with("; exit 0"), "{told}");
    }

    #[test]
    fn why_it_failed_is_said() {
        let failing = |change: fn(&mut DrillRecord)| {
            let mut drill = drilled(&[(10, DrillResult::Failed)]);
            Arc::make_mut(&mut drill.history).last.as_deref_mut().into_iter().for_each(change);
            verdicts(Some(drill))
        };
        let told = failing(|last| {
            last.checks.push(DrillCheck {
                name: "quick_check".into(),
                result: DrillResult::Failed,
                detail: "page 7 is never used".into(),
                seconds: 1.0,
            });
        });
        assert!(told.contains("the drill 0 s ago: quick_check: page 7 is never used;"), "{told}");
        let told = failing(|last| {
            last.probes.push(ProbeRecord {
                name: "fresh".into(),
                result: DrillResult::Failed,
                value: Some(7200.0),
                detail: "2 h old, at most 1 h".into(),
            });
        });
        assert!(told.contains("the drill 0 s ago: probe fresh: 2 h old, at most 1 h;"), "{told}");
        let told = failing(|last| last.reason = Some(Reason::new(ReasonKind::Corrupt, "decode x: bad checksum")));
        assert!(told.contains("the drill 0 s ago: decode x: bad checksum;"), "{told}");
    }

    #[test]
    fn overdue_is_two_intervals_and_an_hour_and_never_the_first_ones() {
        let told = |drill: DrillReport| verdicts(Some(drill));
        let passed = |ago| drilled(&[(ago + 10, DrillResult::Passed)]);
        assert!(told(passed(2 * DAY + 3600)).contains("RestoreDrillOverdue pass: passed 2 d 1 h ago"));
        let late = told(passed(2 * DAY + 3700));
        assert!(late.contains("RestoreDrillOverdue fail: passed 2 d 1 h ago, at most 2 d 1 h is allowed;"));
        assert!(late.ends_with("exit 1"), "{late}");
        let new = |ago| {
            let mut drill = drilled(&[]);
            Arc::make_mut(&mut drill.history).first_seen_at = Some(at(NOW - ago));
            drill
        };
        check(new(2 * DAY), "; exit 0");
        check(
            new(3 * DAY),
            "RestoreDrillOverdue fail: none has passed since it was first seen, 3 d 0 h ago, at most 2 d 1 h is \
             allowed; exit 1",
        );
        let mut inconclusive = drilled(&[(20, DrillResult::Inconclusive)]);
        Arc::make_mut(&mut inconclusive.history).restore_seconds = None;
        let told = told(inconclusive);
        assert!(told.contains("allowed; the last was inconclusive: no reason given; exit 1"), "{told}");
    }

    #[test]
    fn a_drill_that_is_withheld_is_not_known_to_pass() {
        let withheld = |drill| DrillReport { withheld: Some("it is large".into()), ..drill };
        check(
            withheld(drilled(&[])),
            "RestoreDrillOverdue unknown: none has passed since it was first seen, 100 d 0 h ago; none will begin, \
             because it is large; exit 3",
        );
        let told = verdicts(Some(withheld(drilled(&[(DAY, DrillResult::Passed)]))));
        assert!(told.contains("RestoreDrillOverdue pass"), "{told}");
    }

    #[test]
    fn a_slow_restore_fails_above_the_objective_and_nowhere_without_one() {
        let slow = |seconds, rto_seconds| {
            let mut drill = drilled(&[(10, DrillResult::Passed)]);
            Arc::make_mut(&mut drill.history).restore_seconds = Some(seconds);
            verdicts(Some(DrillReport { rto_seconds, ..drill }))
        };
        assert!(slow(60.0, Some(60.0)).contains("RestoreTooSlow pass"));
        let told = slow(61.0, Some(60.0));
        assert!(told.contains("RestoreTooSlow fail: restoring took 1 min 1 s, objective 1 min 0 s; exit 1"), "{told}");
        assert!(!slow(61.0, None).contains("RestoreTooSlow"));
    }
}
