//! Many idle databases in one bucket: one of them is looked at at a time, and what befalls one is seen in all of them.

use std::time::Duration;

use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::assessment::ReplicaReport;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::report::Report;
use streamgauge::domain::verification::VerifyPolicy;
use streamgauge::usecase::ports::Pace;

use crate::world::{Bucket, Event, Site, live};

const MINUTE: i64 = 60;

/// All of them are at rest by now: Litestream itself commits once when it starts, and nothing was committed for two hours.
const RESTED: i64 = 180 * MINUTE;

/// How many there are beside the first.
const IDLE: usize = 19;

fn replicas(report: &Report) -> impl Iterator<Item = &ReplicaReport> {
    report.assessment.databases.iter().flat_map(|database| &database.replicas)
}

/// Lives for so many minutes; `see` gets each report with the second at which it was current.
fn watch(minutes: i64, events: &[Event], mut see: impl FnMut(i64, &Report)) {
    let pace = Pace { poll: Duration::from_secs(15), verify: VerifyPolicy::OFF, ..Pace::default() };
    let alerting = Alerting { evaluation_interval: Duration::from_secs(60), ..Alerting::default() };
    let mut second = 0;
    live(&Site { pace, alerting, idle: IDLE, ..Site::default() }, minutes * MINUTE, events, |seen| {
        if let Some(report) = &seen.report {
            see(second, report);
        }
        second += 15;
    });
}

#[test]
fn idle_replicas_are_looked_at_in_turn_and_none_counts_as_overdue() {
    let mut oldest = 0.0_f64;
    let (mut resting, mut before) = (0, 0);
    watch(420, &[], |second, report| {
        let overdue = report.alerts.iter().any(|alert| format!("{:?}", alert.labels).contains("ReplicaUnverifiable"));
        assert!(!overdue, "{second}");
        for replica in replicas(report).filter(|_| second > 5 * MINUTE) {
            let age = report.generated_at.duration_since(replica.verified_at.unwrap()).as_secs_f64();
            assert!(age <= replica.verify_interval_seconds + 60.0, "{second}: {age}: {replica:?}");
            assert_eq!((replica.up, replica.lag_seconds), (Some(true), Some(0.0)));
            oldest = oldest.max(age);
            resting = resting.max(replicas(report).filter(|replica| replica.rests_until.is_some()).count());
        }
        let requests: u64 = report.assessment.agent.stores[0].operations.iter().map(|o| o.requests).sum();
        if second <= RESTED {
            before = requests;
        }
        // Two requests for each look, and one listing of each.
        let looks = (second - RESTED).max(0) / (5 * MINUTE) + 1;
        assert!(requests - before <= 2 * looks.unsigned_abs() + IDLE as u64 + 1, "{second}: {before} {requests}");
    });
    assert!((95.0 * 60.0..=101.0 * 60.0).contains(&oldest), "{oldest}");
    assert_eq!(resting, IDLE + 1);
}

#[test]
fn what_one_look_cannot_read_is_looked_for_in_all_of_them() {
    const FAULT: i64 = RESTED + 7;
    let mut told = None;
    let events: &[Event] = &[(FAULT, |w| w.bucket = Bucket::Fails(ReasonKind::Denied))];
    watch(210, events, |second, report| {
        if replicas(report).all(|replica| replica.up == Some(false) && replica.rests_until.is_none()) {
            told.get_or_insert(second - FAULT);
        }
    });
    assert!(told.is_some_and(|took| (0..=6 * MINUTE).contains(&took)), "{told:?}");
}

#[test]
fn a_replica_that_is_deleted_alone_is_missed_when_its_turn_comes() {
    const FAULT: i64 = RESTED + 7;
    let mut told = None;
    watch(300, &[(FAULT, |w| w.idle[0].empty())], |second, report| {
        let lost = replicas(report).filter(|replica| replica.coverage.as_ref().is_some_and(|found| !found.restorable));
        if lost.count() == 1 {
            told.get_or_insert(second - FAULT);
        }
    });
    assert!(told.is_some_and(|took| (0..=(IDLE as i64 + 2) * 5 * MINUTE).contains(&took)), "{told:?}");
}

#[test]
fn a_commit_to_one_of_them_has_only_that_one_looked_at() {
    const COMMIT: i64 = RESTED + 7;
    let (mut before, mut most) = (0, 0);
    watch(190, &[(COMMIT, |w| w.peer.commit(1))], |second, report| {
        let requests: u64 = report.assessment.agent.stores[0].operations.iter().map(|o| o.requests).sum();
        if second <= RESTED {
            before = requests;
        }
        most = requests - before;
        if second > COMMIT + 2 * MINUTE {
            let resting = replicas(report).filter(|replica| replica.rests_until.is_some()).count();
            assert_eq!(resting, IDLE, "{second}");
        }
    });
    assert!((1..20).contains(&most), "{most}");
}
