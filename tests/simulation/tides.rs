//! Thousands of databases that go and come at once.

use std::sync::Arc;
use std::time::Duration;

use streamgauge::domain::assessment::DatabaseReport;
use streamgauge::domain::check::WATCHDOG;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::report::Report;
use streamgauge::usecase::watch::Agent;
use tokio::sync::mpsc;

use crate::agent::{World, parts, reload, replica, target};
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
