//! When the agent reads its configuration, and what goes on while that hangs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use streamgauge::domain::limits::{CONFIG_GLANCE_INTERVAL, CONFIG_UNREAD_MAX};
use streamgauge::infrastructure::clock::SystemClock;
use streamgauge::usecase::ports::{Clock, Configured, Origin, Pace, Same};
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::mpsc;

use crate::agent::{Hurried, World, parts, reload, replica, start, target, verified};
use crate::scene::until;
use crate::world::{put, wal};

#[tokio::test]
async fn reports_follow_the_poll_interval_that_was_reloaded() {
    let world = Arc::new(World::default());
    world.filled("/app", 1);
    let hour = Duration::from_secs(3600);
    let mut quick = world.configure(vec![target("app", false, "/app")], 8);
    // Alerts, whose evaluation publishes as well, stay out of it.
    quick.alerting.evaluation_interval = hour;
    let slow = Configured { pace: Pace { poll: hour, ..quick.pace.clone() }, ..quick.clone() };
    let (reloads, requests) = mpsc::channel(8);
    tokio::spawn(Agent::start(parts(&world), slow, requests).unwrap().run(std::future::pending()));
    world.wait_for("app", |_| true).await;
    world.reconfigure(quick);
    reload(&reloads).await.await.unwrap().unwrap();
    for txid in [2, 3] {
        put(&world.store("/app").inner, 0, txid, txid, 2, Some(wal(100, 10 * txid)));
        world.wait_for("app", |app| replica(app).txid == Some(txid)).await;
    }
}

/// Files of a configuration of which a test says whether they are as they were. They count how often that is asked.
#[derive(Clone, Default)]
struct Files {
    other: Arc<AtomicBool>,
    asked: Arc<AtomicUsize>,
    version: Arc<AtomicU64>,
}

impl Origin for Files {
    fn is_same(&self) -> bool {
        self.asked.fetch_add(1, Ordering::SeqCst);
        !self.other.load(Ordering::SeqCst) && self.other_version().is_none()
    }

    fn other_version(&self) -> Option<u64> {
        Some(self.version.load(Ordering::SeqCst)).filter(|version| *version > 0)
    }
}

/// It is not waited for the next reading, of which this configuration has none for an hour.
#[tokio::test]
async fn files_that_change_are_read_at_once_and_those_that_stay_refused_once() {
    let world = Arc::new(World::default());
    world.filled("/app", 1);
    let files = Files::default();
    let mut configured = world.configure(vec![target("app", false, "/app")], 8);
    configured.pace.discovery = Duration::from_secs(3600);
    configured.same = Same::new(files.clone());
    world.reconfigure(configured.clone());
    let (_reloads, requests) = mpsc::channel(8);
    tokio::spawn(Agent::start(parts(&world), configured, requests).unwrap().run(std::future::pending()));
    world.wait_for("app", verified).await;
    assert_eq!(world.loads.load(Ordering::SeqCst), 0);
    files.version.store(7, Ordering::SeqCst);
    until(|| (world.loads.load(Ordering::SeqCst) == 1).then_some(())).await;
    // What was read is still another version than the one in force, as after a mistake.
    tokio::time::sleep(3 * CONFIG_GLANCE_INTERVAL).await;
    assert_eq!(world.loads.load(Ordering::SeqCst), 1);
    files.version.store(8, Ordering::SeqCst);
    until(|| (world.loads.load(Ordering::SeqCst) == 2).then_some(())).await;
}

#[tokio::test]
async fn a_configuration_is_read_again_where_it_may_be_another_one() {
    let world = Arc::new(World::default());
    world.filled("/app", 1);
    let files = Files::default();
    let asked = Arc::clone(&files.asked);
    let mut configured = world.configure(vec![target("app", false, "/app")], 8);
    configured.pace.discovery = Duration::from_millis(50);
    configured.same = Same::new(files.clone());
    world.reconfigure(configured.clone());
    let (reloads, requests) = mpsc::channel(8);
    let clock = Arc::new(Hurried(SystemClock::start(), AtomicUsize::new(0)));
    let parts = AgentParts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..parts(&world) };
    tokio::spawn(Agent::start(parts, configured, requests).unwrap().run(std::future::pending()));
    until(|| (asked.load(Ordering::SeqCst) >= 3).then_some(())).await;
    assert_eq!(world.loads.load(Ordering::SeqCst), 0);
    // Whoever asks has it read in any case.
    reload(&reloads).await.await.unwrap().unwrap();
    assert_eq!(world.loads.load(Ordering::SeqCst), 1);
    // In case it depends on more than is known, it is read from time to time.
    clock.1.store(CONFIG_UNREAD_MAX.as_secs() as usize + 1, Ordering::SeqCst);
    until(|| (world.loads.load(Ordering::SeqCst) == 2).then_some(())).await;
    let before = asked.load(Ordering::SeqCst);
    until(|| (asked.load(Ordering::SeqCst) >= before + 3).then_some(())).await;
    assert_eq!(world.loads.load(Ordering::SeqCst), 2);
    files.other.store(true, Ordering::SeqCst);
    until(|| (world.loads.load(Ordering::SeqCst) >= 3).then_some(())).await;
}

#[tokio::test]
async fn configuration_that_hangs_stops_nothing_else() {
    let world = Arc::new(World::default());
    world.filled("/app", 3);
    let reloads = start(&world, vec![target("app", false, "/app")], 8);
    world.hang(true);
    let first = reload(&reloads).await;
    let second = reload(&reloads).await;
    world.wait_for("app", verified).await;
    put(&world.store("/app").inner, 0, 4, 4, 2, Some(wal(100, 20)));
    world.wait_for("app", |app| replica(app).txid == Some(4)).await;
    world.configure(vec![target("other", false, "/app")], 8);
    world.hang(false);
    first.await.unwrap().unwrap();
    second.await.unwrap().unwrap();
    world.wait_for("other", verified).await;
}
