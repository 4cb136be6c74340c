//! Drills on a schedule.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::assessment::DatabaseReport;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::drill::{DrillReport, DrillResult, DrillSchedule};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::domain::verdict::Status;
use streamgauge::domain::window::DailyWindow;
use streamgauge::usecase::ports::{Clock, DrillJob};
use tokio::sync::Semaphore;

use crate::agent::{Seen, reload, replica, target};
use crate::faulty_store::Fate;
use crate::scene::{DAY, End, HOUR, Scene, between, drill, until};

#[tokio::test]
async fn one_runs_at_a_time_and_each_replica_has_its_turn() {
    let names = ["a", "b", "c", "d", "e"];
    let mut scene = Scene::new(&names, false);
    let mut second = target("a", false, "a-too").replicas.remove(0);
    scene.world.filled("a-too", 3);
    Arc::make_mut(&mut second).name = "second".into();
    scene.targets[0].replicas.push(second);
    let permits = Arc::new(Semaphore::new(0));
    scene.end(End::When(Arc::clone(&permits)));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    for name in names {
        between(scene.next(name).await, SignedDuration::from_mins(9), HOUR);
    }
    assert_eq!(scene.jobs(), [""; 0]);
    scene.clock.pass(HOUR);
    for count in 1..=6 {
        until(|| (scene.jobs().len() == count).then_some(())).await;
        permits.add_permits(1);
    }
    for name in names {
        let done = |database: &Seen| {
            let passed = |drill: &DrillReport| drill.history.passed == 1 && drill.running_since.is_none();
            database.replicas.iter().all(|replica| replica.drill.as_deref().is_some_and(passed))
        };
        scene.world.wait_for(name, done).await;
    }
    let mut jobs = scene.jobs();
    jobs.sort();
    assert_eq!(jobs, ["a", "a", "b", "c", "d", "e"]);
    assert_eq!(scene.runner.most.load(Ordering::SeqCst), 1);
    assert_eq!(scene.runner.dropped.load(Ordering::SeqCst), 0);
    agent.stop().await;
}

#[tokio::test]
async fn what_was_found_out_and_the_next_time_survive_a_restart() {
    let scene = Scene::new(&["app"], false);
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    scene.planned("app").await;
    scene.clock.pass(HOUR);
    let before = scene.drills("app", |drill| drill.history.passed == 1).await;
    agent.stop().await;
    *scene.world.report.lock().unwrap() = None;
    scene.clock.pass(DAY / 2);
    let agent = scene.start(home.path());
    let after = scene.planned("app").await;
    assert_eq!((&after.history, after.interval_seconds), (&before.history, Some(86_400.0)));
    between(scene.next("app").await, HOUR * 11, HOUR * 12);
    agent.stop().await;
    assert_eq!(scene.jobs(), ["app"]);

    // Without the file nothing is known, and drills begin anew.
    let elsewhere = tempfile::tempdir().unwrap();
    *scene.world.report.lock().unwrap() = None;
    let agent = scene.start(elsewhere.path());
    assert_eq!(scene.planned("app").await.history.passed, 0);
    between(scene.next("app").await, SignedDuration::from_mins(9), HOUR);
    agent.stop().await;
}

#[tokio::test]
async fn a_drill_that_an_agent_did_not_survive_is_due_again_and_paid_for() {
    let mut scene = Scene::new(&["app"], true);
    scene.limits.daily_download = Some(300);
    scene.end(End::When(Arc::new(Semaphore::new(0))));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    scene.planned("app").await;
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.running_since.is_some()).await;
    agent.stop().await;
    assert_eq!(scene.runner.dropped.load(Ordering::SeqCst), 1, "it outlived the agent");
    scene.end(End::As(DrillResult::Passed));
    *scene.world.report.lock().unwrap() = None;
    let agent = scene.start(home.path());
    between(scene.next("app").await, SignedDuration::from_secs(50), HOUR / 2);
    scene.clock.pass(HOUR / 2);
    let drill = scene.drills("app", |drill| drill.history.passed == 1).await;
    assert_eq!(drill.history.downloads.iter().map(|download| download.bytes).collect::<Vec<_>>(), [131, 131]);
    agent.stop().await;
}

#[tokio::test]
async fn drills_begin_inside_the_window_only() {
    let mut scene = Scene::new(&["app", "other"], false);
    let (from, to) = (Time::constant(1, 0, 0, 0), Time::constant(5, 0, 0, 0));
    scene.limits.window = Some(DailyWindow { from, to, zone: TimeZone::UTC });
    let permits = Arc::new(Semaphore::new(0));
    scene.end(End::When(Arc::clone(&permits)));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    for name in ["app", "other"] {
        between(scene.next(name).await, HOUR * 12, HOUR * 13);
    }
    scene.clock.pass(HOUR * 12);
    scene.turns().await;
    assert_eq!(scene.jobs(), [""; 0]);
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.running_since.is_some()).await;
    // The first one ends when the window has closed: the other waits for the next night.
    scene.clock.pass(HOUR * 4);
    permits.add_permits(2);
    scene.drills("app", |drill| drill.history.passed == 1).await;
    scene.turns().await;
    between(scene.next("other").await, HOUR * 19, HOUR * 20);
    assert_eq!(scene.jobs(), ["app"]);
    agent.stop().await;
}

#[tokio::test]
async fn what_buckets_deliver_in_a_day_has_a_budget() {
    let mut scene = Scene::new(&["a", "b", "c"], true);
    scene.limits.daily_download = Some(300);
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    for name in ["a", "b", "c"] {
        scene.planned(name).await;
    }
    scene.clock.pass(HOUR);
    let waiting = until(|| {
        let report = scene.world.report.lock().unwrap().clone()?;
        let waits = |database: &DatabaseReport| drill(database).is_some_and(|drill| drill.withheld.is_some());
        report.assessment.databases.iter().find(|database| waits(database)).map(|database| database.name.clone())
    })
    .await;
    let drill = scene.drills(&waiting, |_| true).await;
    let expected = "waiting: drills downloaded 262 bytes in 24 hours, this one would download about 131 bytes, and \
                    daily-download is 300 bytes";
    assert_eq!(drill.withheld.as_deref(), Some(expected));
    assert_eq!(scene.jobs().len(), 2);
    let price = |job: &DrillJob| job.replica.location.prices(&job.policy.prices).received_per_gigabyte;
    let prices: Vec<f64> = scene.runner.jobs.lock().unwrap().iter().map(price).collect();
    assert_eq!(prices, [0.09, 0.09]);
    let budget = scene.world.report.lock().unwrap().as_ref().unwrap().assessment.agent.drill_budget.unwrap();
    assert_eq!((budget.budget_bytes, budget.downloaded_bytes), (300, 262));
    scene.clock.pass(DAY);
    scene.drills(&waiting, |drill| drill.history.passed == 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_is_too_large_or_not_there_is_withheld_and_said() {
    let mut scene = Scene::new(&["large", "bill", "empty", "off"], true);
    scene.limits.daily_download = Some(100);
    Arc::make_mut(&mut scene.targets[0].drill).size_max = 10;
    Arc::make_mut(&mut scene.targets[3].drill).schedule = DrillSchedule::Off;
    Arc::make_mut(&mut scene.targets[2].replicas[0]).location = ReplicaLocation::Directory("nothing".into());
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    let withheld = BTreeMap::from([
        (
            "large",
            "a drill would download about 131 bytes, and max-size is 10 bytes: raise it, or run \
                   `streamgauge drill`",
        ),
        (
            "bill",
            "a drill would download about 131 bytes, and daily-download is 100 bytes: raise it, or run \
             `streamgauge drill`",
        ),
        ("empty", "nothing in it can be restored"),
    ]);
    for (name, expected) in &withheld {
        let drill = scene.drills(name, |drill| drill.withheld.is_some()).await;
        assert_eq!((drill.withheld.as_deref(), drill.history.next_due_at), (Some(*expected), None));
    }
    let off = scene.world.wait_for("off", |off| replica(off).up == Some(true)).await;
    assert_eq!(drill(&off), None);
    scene.clock.pass(DAY * 100);
    for name in ["large", "bill"] {
        let unknown = |database: &Seen| {
            let overdue = database.checks.iter().find(|verdict| verdict.check == "RestoreDrillOverdue");
            overdue.is_some_and(|verdict| verdict.status == Status::Unknown && verdict.detail.contains("raise it"))
        };
        scene.world.wait_for(name, unknown).await;
    }
    assert_eq!(scene.jobs(), [""; 0]);
    agent.stop().await;
}

#[tokio::test]
async fn a_panic_is_that_drills_and_the_next_one_runs() {
    let scene = Scene::new(&["app", "other"], false);
    scene.end(End::Panics);
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    for name in ["app", "other"] {
        scene.planned(name).await;
    }
    scene.clock.pass(HOUR);
    for name in ["app", "other"] {
        let drill = scene.drills(name, |drill| drill.history.inconclusive == 1).await;
        let last = drill.history.last.as_ref().unwrap();
        assert_eq!(last.result, DrillResult::Inconclusive);
        assert_eq!(last.reason.as_ref().unwrap().message, "drill: internal error");
        between(scene.next(name).await, SignedDuration::from_mins(59), HOUR);
    }
    scene.end(End::As(DrillResult::Passed));
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.history.passed == 1).await;
    agent.stop().await;
}

/// Tokio's own clock runs ahead while nothing is to be done, so that a minute is no minute.
#[tokio::test(start_paused = true)]
async fn a_drill_that_does_not_end_is_given_up_and_the_next_one_runs() {
    let mut scene = Scene::new(&["app"], false);
    Arc::make_mut(&mut scene.targets[0].drill).timeout = Duration::from_secs(1);
    scene.end(End::When(Arc::new(Semaphore::new(0))));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    scene.planned("app").await;
    scene.clock.pass(HOUR);
    let drill = scene.drills("app", |drill| drill.history.inconclusive == 1).await;
    let reason = drill.history.last.as_ref().unwrap().reason.as_ref().unwrap();
    assert_eq!((reason.kind, reason.message.as_str()), (ReasonKind::Timeout, "drill: not finished after 61 s"));
    assert_eq!(scene.runner.dropped.load(Ordering::SeqCst), 1);
    scene.end(End::As(DrillResult::Passed));
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.history.passed == 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_drill_that_failed_is_critical_until_one_passes_and_is_repeated_once_soon() {
    let scene = Scene::new(&["app"], false);
    scene.end(End::As(DrillResult::Failed));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    scene.planned("app").await;
    let status = |wanted: Status| {
        move |database: &Seen| {
            let failed = database.checks.iter().find(|verdict| verdict.check == "RestoreDrillFailed");
            failed.is_some_and(|verdict| verdict.status == wanted)
        }
    };
    scene.clock.pass(HOUR);
    scene.world.wait_for("app", status(Status::Fail)).await;
    between(scene.next("app").await, SignedDuration::from_mins(59), HOUR);
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.history.failed == 2).await;
    between(scene.next("app").await, HOUR * 23, DAY);
    scene.end(End::As(DrillResult::Inconclusive));
    scene.clock.pass(DAY);
    scene.drills("app", |drill| drill.history.inconclusive == 1).await;
    scene.world.wait_for("app", status(Status::Fail)).await;
    scene.end(End::As(DrillResult::Passed));
    scene.clock.pass(HOUR);
    scene.world.wait_for("app", status(Status::Pass)).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_reload_ends_the_drill_of_what_changed_or_is_gone_and_no_other() {
    let scene = Scene::new(&["app"], false);
    let permits = Arc::new(Semaphore::new(0));
    scene.end(End::When(Arc::clone(&permits)));
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    let dropped = || scene.runner.dropped.load(Ordering::SeqCst);
    let running = |drill: &DrillReport| drill.running_since.is_some();
    scene.planned("app").await;
    scene.clock.pass(HOUR);
    scene.drills("app", running).await;
    // Another database is none of its business.
    scene.world.filled("new", 3);
    let both = vec![scene.targets[0].clone(), target("new", false, "new")];
    scene.world.configure_with(both, 32, DrillLimits::default());
    reload(&agent.reloads).await.await.unwrap().unwrap();
    scene.planned("new").await;
    assert_eq!((dropped(), scene.runner.running.load(Ordering::SeqCst)), (0, 1));

    let mut changed = scene.targets[0].clone();
    Arc::make_mut(&mut changed.drill).compare = false;
    scene.world.configure_with(vec![changed.clone()], 32, DrillLimits::default());
    reload(&agent.reloads).await.await.unwrap().unwrap();
    between(scene.next("app").await, SignedDuration::from_secs(50), HOUR / 2);
    scene.clock.pass(HOUR / 2);
    scene.drills("app", running).await;
    assert_eq!((dropped(), scene.runner.most.load(Ordering::SeqCst)), (1, 1));
    assert!(!scene.runner.jobs.lock().unwrap().last().unwrap().policy.compare);

    scene.world.configure_with(vec![target("new", false, "new")], 32, DrillLimits::default());
    reload(&agent.reloads).await.await.unwrap().unwrap();
    scene.end(End::As(DrillResult::Passed));
    scene.clock.pass(DAY);
    scene.drills("new", |drill| drill.history.passed == 1).await;
    assert_eq!((dropped(), scene.jobs()), (2, vec!["app".into(), "app".into(), "new".into()]));
    agent.stop().await;
}

#[tokio::test]
async fn a_replica_that_cannot_be_read_is_drilled_when_it_can() {
    let scene = Scene::new(&["app"], false);
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    scene.planned("app").await;
    scene.world.store("app").script(|_| Fate::Fails(ReasonKind::Denied));
    scene.world.wait_for("app", |app| replica(app).up == Some(false)).await;
    scene.clock.pass(HOUR);
    let drill = scene.drills("app", |drill| drill.withheld.is_some()).await;
    assert!(drill.withheld.unwrap().starts_with("the replica cannot be read: "));
    assert_eq!(scene.jobs(), [""; 0]);
    scene.world.store("app").heal();
    scene.clock.pass(HOUR);
    between(scene.next("app").await, SignedDuration::from_secs(50), HOUR / 2);
    scene.clock.pass(HOUR);
    scene.drills("app", |drill| drill.history.passed == 1 && drill.withheld.is_none()).await;
    agent.stop().await;
}

#[tokio::test]
async fn a_clock_that_is_set_starts_nothing_at_once_and_stops_nothing_for_long() {
    let names = ["a", "b", "c", "d"];
    let scene = Scene::new(&names, false);
    let home = tempfile::tempdir().unwrap();
    let agent = scene.start(home.path());
    for name in names {
        scene.planned(name).await;
    }
    scene.clock.pass(HOUR);
    for name in names {
        scene.drills(name, |drill| drill.history.passed == 1).await;
    }
    for years in [1, -2] {
        scene.clock.set(DAY * 365 * years);
        let now = scene.clock.now().wall();
        for name in names {
            let due = |drill: &DrillReport| {
                let due = drill.history.next_due_at.map(|due| due.duration_since(now));
                due.is_some_and(|due| SignedDuration::from_secs(30) < due && due < DAY + HOUR)
            };
            scene.drills(name, due).await;
        }
        scene.turns().await;
        assert_eq!(scene.jobs().len(), 4, "after {years} years");
    }
    agent.stop().await;
}

#[tokio::test]
async fn ten_thousand_databases_are_spread_over_the_first_hour() {
    let mut scene = Scene::new(&["shared"], false);
    scene.targets = (0..10_000).map(|number| target(&format!("tenant-{number:05}"), false, "shared")).collect();
    let home = tempfile::tempdir().unwrap();
    let mut configured = scene.world.configure_with(scene.targets.clone(), 32, DrillLimits::default());
    configured.pace.idle = Duration::from_secs(3600);
    configured.pace.directory = configured.pace.idle;
    let agent = scene.start_as(configured, home.path());
    let now = scene.clock.now().wall();
    let all = until(|| {
        let report = scene.world.report.lock().unwrap().clone()?;
        let due = |database: &Arc<DatabaseReport>| drill(database)?.history.next_due_at;
        report.assessment.databases.iter().map(due).collect::<Option<Vec<Timestamp>>>()
    })
    .await;
    let mut tenths = [0; 10];
    for due in all {
        // Ten minutes of peace, and then evenly over fifty, from when each was first seen.
        let tenth = due.duration_since(now).as_secs() / 60 - 10;
        assert!((0..=52).contains(&tenth), "{tenth}");
        tenths[(tenth / 5).clamp(0, 9) as usize] += 1;
    }
    assert!(tenths.iter().all(|count| (800..1200).contains(count)), "{tenths:?}");
    assert_eq!(scene.jobs(), [""; 0]);
    agent.stop().await;
}
