//! Thousands of databases that go and come at once.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamgauge::domain::assessment::DatabaseReport;
use streamgauge::domain::check::WATCHDOG;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::report::Report;
use streamgauge::domain::target::{ReplicaLocation, S3Location};
use streamgauge::usecase::watch::Agent;
use tokio::sync::mpsc;

use crate::agent::{World, parts, reload, replica, start, target};
use crate::faulty_store::Fate;
use crate::scene::until;

const ALL: usize = 10_000;

/// The report in which so many databases are known, with a replica that is well.
async fn known(world: &World, count: usize) -> Arc<Report> {
    let well = |database: &Arc<DatabaseReport>| replica(database).up == Some(true) && replica(database).txid == Some(9);
    until(|| {
        let report = world.report.lock().unwrap().clone()?;
        let databases = &report.assessment.databases;
        (databases.len() == count && databases.iter().all(well)).then(|| Arc::new(report.clone()))
    })
    .await
}

#[tokio::test]
async fn half_of_ten_thousand_databases_go_and_come_back_and_nothing_is_alarmed() {
    let world = Arc::new(World::default());
    world.filled("shared", 9);
    let configured = |count| {
        let targets = (0..count).map(|number| target(&format!("tenant-{number:05}"), false, "shared")).collect();
        let mut configured = world.configure_with(targets, 64, DrillLimits::default());
        (configured.pace.idle, configured.pace.directory) = (Duration::from_secs(3600), Duration::from_secs(3600));
        configured
    };
    let (reloads, requests) = mpsc::channel(1);
    let all = configured(ALL);
    let agent = Agent::start(parts(&world), all.clone(), requests).unwrap();
    tokio::spawn(agent.run(std::future::pending()));
    known(&world, ALL).await;
    for (count, next) in [(ALL / 2, configured(ALL / 2)), (0, configured(0)), (ALL, all)] {
        world.reconfigure(next);
        reload(&reloads).await.await.unwrap().unwrap();
        let report = known(&world, count).await;
        let alarmed = report.alerts.iter().map(|alert| &alert.labels["alertname"]).filter(|name| *name != WATCHDOG);
        assert_eq!(alarmed.collect::<Vec<_>>(), [""; 0], "with {count}");
        assert_eq!(report.verdicts.databases.len(), count, "nothing is said of what is gone");
    }
}

/// Each look takes memory while it lasts, and one that waits for a dead server lasts: the next ones are begun all the same.
#[tokio::test]
async fn looks_at_buckets_that_hang_let_256_more_begin_each_second() {
    const MANY: usize = 600;
    let world = Arc::new(World::default());
    let begun = Arc::<Mutex<Vec<Instant>>>::default();
    let targets = (0..MANY).map(|number| {
        let (bucket, begun) = (format!("bucket-{number}"), Arc::clone(&begun));
        world.store(&bucket).script(move |_| {
            begun.lock().unwrap().push(Instant::now());
            Fate::Hangs
        });
        let mut target = target(&format!("tenant-{number}"), false, "/unused");
        let location = ReplicaLocation::S3(Box::new(S3Location { bucket, ..S3Location::default() }));
        Arc::make_mut(&mut target.replicas[0]).location = location;
        target
    });
    let _agent = start(&world, targets.collect(), 64);
    let begun = until(|| Some(begun.lock().unwrap().clone()).filter(|begun| begun.len() == MANY)).await;
    for more in [256, 512] {
        let waited = begun[more] - begun[more - 256];
        // What begins may reach its store a moment later.
        assert!(waited > Duration::from_millis(600), "{more} after {waited:?}");
    }
}
