//! What an agent makes of several looks at a replica: whose history it is, how fast it grows, what it costs.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;
use streamgauge::domain::assess::costs::Costs;
use streamgauge::domain::assessment::{ConfigReport, DatabaseReport, ReplicaReport, SourceReport};
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::litestream::LevelKeys;
use streamgauge::domain::price::ConfiguredPrices;
use streamgauge::domain::report::Report;
use streamgauge::domain::target::{ReplicaLocation, S3Location, Target};
use streamgauge::domain::verdict::{Status, Verdict};
use streamgauge::usecase::ports::Clock;
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::mpsc;

use crate::agent::{Seen, World, parts, reload, replica, target};
use crate::scene::{Hand, until};
use crate::world::{ltx, name, put, wal};

/// An agent with a clock that is set by hand; it ends with the test.
fn start(world: &Arc<World>, target: Target, costs: Costs) -> Arc<Hand> {
    let clock = Arc::new(Hand::new());
    let mut configured = world.configure_with(vec![target], 32, DrillLimits::default());
    configured.costs = costs;
    world.reconfigure(configured.clone());
    let parts = AgentParts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..parts(world) };
    // Nobody asks for a reload.
    let (_, requests) = mpsc::channel(1);
    let agent = Agent::start(parts, configured, requests).unwrap();
    tokio::spawn(agent.run(std::future::pending()));
    clock
}

/// What the agent says of its configuration, as soon as that is as it should be.
async fn config(world: &World, what: impl Fn(&ConfigReport) -> bool) -> Report {
    until(|| world.report.lock().unwrap().clone().filter(|report| what(&report.assessment.agent.config))).await
}

#[tokio::test]
async fn a_configuration_that_hangs_is_told_and_read_anew() {
    let (world, clock) = (Arc::new(World::default()), Arc::new(Hand::new()));
    world.filled("app", 9);
    let mut configured = world.configure_with(vec![target("app", false, "app")], 32, DrillLimits::default());
    let source = "litestream.yml".to_owned();
    configured.sources = vec![SourceReport { source, success: true, databases: 1, warnings: Vec::new(), error: None }];
    world.reconfigure(configured.clone());
    let parts = AgentParts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..parts(&world) };
    let (reloads, requests) = mpsc::channel(1);
    let agent = Agent::start(parts, configured, requests).unwrap();
    tokio::spawn(agent.run(std::future::pending()));
    world.wait_for("app", |app| replica(app).up == Some(true)).await;

    world.hang(true);
    let hanging = reload(&reloads).await;
    looked(&world).await;
    clock.pass(SignedDuration::from_secs(301));
    let why = hanging.await.unwrap().unwrap_err();
    assert!(
        why.starts_with("read configuration: not finished after 5 minutes; look for a hanging filesystem"),
        "{why}"
    );
    let report = config(&world, |config| !config.last_reload_successful).await;
    assert_eq!(report.assessment.agent.config.error.as_deref(), Some(why.as_str()));
    assert_eq!(status(&report.verdicts.agent, "ConfigReloadFailed"), Some(Status::Fail));
    assert_eq!(status(&report.verdicts.agent, "DiscoveryFailed"), Some(Status::Fail));
    assert_eq!(report.assessment.databases.len(), 1, "what was watched still is");

    // Readings that hang pile up to a bound, and no further.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(reload(&reloads).await);
        looked(&world).await;
        clock.pass(SignedDuration::from_secs(11));
    }
    let mut answers = Vec::new();
    for answer in waiting {
        answers.push(answer.await.unwrap().unwrap_err());
    }
    assert!(answers.iter().any(|why| why.contains("4 earlier reads still hang")), "{answers:?}");
    assert!(world.loading.load(Ordering::SeqCst) <= 5, "{}", world.loading.load(Ordering::SeqCst));

    // The mount answers again: what hung is over and changes nothing, and what comes next counts.
    world.hang(false);
    until(|| (world.loading.load(Ordering::SeqCst) == 0).then_some(())).await;
    reload(&reloads).await.await.unwrap().unwrap();
    let report = config(&world, |config| config.last_reload_successful).await;
    assert_eq!(status(&report.verdicts.agent, "DiscoveryFailed"), Some(Status::Pass));
}

fn status(verdicts: &[Verdict], check: &str) -> Option<Status> {
    verdicts.iter().find(|verdict| verdict.check == check).map(|verdict| verdict.status)
}

/// The agent looked at the replica twice from here on, and at the database in between.
async fn looked(world: &World) {
    for _ in 0..3 {
        world.store("app").calls();
        world.wait_for("app", |_| world.store("app").calls()[0] > 0).await;
    }
}

fn foreign(database: &DatabaseReport) -> Option<bool> {
    replica(database).keeping.foreign_history
}

#[tokio::test]
async fn a_replica_ahead_of_a_litestream_that_goes_on_writing_has_another_history() {
    let world = Arc::new(World::default());
    let store = world.filled("app", 9);
    *world.claim.lock().unwrap() = Some(9);
    start(&world, target("app", true, "app"), Costs::default());
    world.wait_for("app", |app| foreign(app) == Some(false)).await;
    // Litestream is ahead of the replica, stops, and is started again: that is no conflict.
    *world.claim.lock().unwrap() = Some(11);
    looked(&world).await;
    (10..=11).for_each(|txid| put(&store.inner, 0, txid, txid, 2, Some(wal(100, txid))));
    let app = world.wait_for("app", |app| replica(app).txid == Some(11)).await;
    assert_eq!(foreign(&app), Some(false));
    // Somebody else writes there, while the local Litestream does not.
    (12..=20).for_each(|txid| put(&store.inner, 0, txid, txid, 3, Some(wal(200, txid))));
    world.wait_for("app", |app| replica(app).txid == Some(20)).await;
    looked(&world).await;
    let app = world.wait_for("app", |app| replica(app).txid == Some(20)).await;
    assert_eq!(foreign(&app), Some(false), "this host only stands by");
    // It goes on where it was.
    *world.claim.lock().unwrap() = Some(12);
    let app = world.wait_for("app", |app| foreign(app) == Some(true)).await;
    assert_eq!(status(&app.checks, "LineageConflict"), Some(Status::Fail));
    // It was told to continue the replica.
    *world.claim.lock().unwrap() = Some(21);
    world.wait_for("app", |app| foreign(app) == Some(false)).await;
}

#[tokio::test]
async fn full_copies_of_an_idle_database_are_a_runaway() {
    let world = Arc::new(World::default());
    let store = world.filled("app", 9);
    let clock = start(&world, target("app", true, "app"), Costs::default());
    world.wait_for("app", |app| replica(app).up == Some(true)).await;
    let grows = |app: &DatabaseReport| replica(app).keeping.growth;
    let full = |txid: u64| {
        let name = name(txid, txid);
        let mut file = ltx(name, clock.now().wall(), Some(wal(100, 9)));
        file.resize(4 << 20, 0);
        store.inner.put(LevelKeys::Plain.key(0, name), file, clock.now().wall());
    };
    for txid in 10..=12 {
        clock.pass(SignedDuration::from_mins(5));
        full(txid);
        let app = world.wait_for("app", |app| replica(app).txid == Some(txid)).await;
        assert_ne!(status(&app.checks, "ReplicaRunaway"), Some(Status::Fail), "12 MiB may have a reason");
    }
    for txid in 13..=18 {
        clock.pass(SignedDuration::from_mins(5));
        full(txid);
        world.wait_for("app", |app| replica(app).txid == Some(txid)).await;
    }
    let fails = |app: &Seen| status(&app.checks, "ReplicaRunaway") == Some(Status::Fail);
    let app = world.wait_for("app", fails).await;
    assert!(grows(&app).is_some_and(|growth| growth.received_bytes >= 36 << 20), "{:?}", grows(&app));
    // It stopped: within an hour it is forgotten. A snapshot is none of it.
    put(&store.inner, 9, 1, 18, 4000, None);
    clock.pass(SignedDuration::from_mins(70));
    let app = world.wait_for("app", |app| grows(app).is_some_and(|growth| growth.received_bytes == 0)).await;
    assert_eq!(status(&app.checks, "ReplicaRunaway"), Some(Status::Pass));
}

#[tokio::test]
async fn what_a_bucket_costs_is_known_after_an_hour_and_has_a_budget() {
    let world = Arc::new(World::default());
    world.filled("app", 9);
    let mut app = target("app", false, "app");
    let s3 = S3Location { bucket: "app".to_owned(), ..S3Location::default() };
    Arc::make_mut(&mut app.replicas[0]).location = ReplicaLocation::S3(Box::new(s3));
    // 131 bytes at 2.3 cents a gigabyte.
    let clock =
        start(&world, app, Costs { prices: ConfiguredPrices::default(), budget: Some(1e-9), request_budget: None });
    let dollars = |replica: &ReplicaReport| replica.keeping.storage_dollars_per_month;
    let app = world.wait_for("app", |app| dollars(replica(app)).is_some()).await;
    assert!((dollars(replica(&app)).unwrap() - 131e-9 * 0.023).abs() < 1e-15);
    let report = world.report.lock().unwrap().clone().unwrap();
    assert_eq!(report.assessment.agent.cost.dollars_per_month, None, "requests were not counted for an hour");
    assert_eq!(status(&report.verdicts.agent, "CostAboveBudget"), Some(Status::Unknown));
    clock.pass(SignedDuration::from_mins(61));
    let fails = || {
        let report = world.report.lock().unwrap().clone();
        report.is_some_and(|report| status(&report.verdicts.agent, "CostAboveBudget") == Some(Status::Fail))
    };
    world.wait_for("app", |_| fails()).await;
}
