//! What only the agent does: turns, reloads, panics, a watch that dies, a configuration that hangs.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::drill::DrillPolicy;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::moment::Moment;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::report::{DatabaseReport, DatabaseState, ReplicaReport, Report, StoreReport};
use streamgauge::domain::target::{DatabaseFiles, Objectives, ReplicaLocation, ReplicaTarget, Target, TargetName};
use streamgauge::infrastructure::clock::SystemClock;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::{
    Configuration, Configured, DatabaseWatch, LocalUpdate, Pace, Publisher, ReplicaStore, Stores,
};
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::litestream::{Habits, Litestream};
use crate::world::{Call, Fate, FaultyStore, Shared, pace, put, wal};

type Faulty = FaultyStore<MemoryStore>;

/// The stores of a test by their directory.
#[derive(Default)]
pub(crate) struct World {
    stores: Mutex<BTreeMap<String, Arc<Faulty>>>,
    configured: Mutex<Option<Configured>>,
    /// While true, reading the configuration hangs.
    hanging: Mutex<bool>,
    released: Condvar,
    watch_dies: AtomicBool,
    pub(crate) report: Mutex<Option<Report>>,
}

/// The agent's ends of a [`World`].
pub(crate) struct Ports(Arc<World>);

impl Stores for Ports {
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let path = match location {
            ReplicaLocation::Directory(path) => path.to_str().unwrap(),
            ReplicaLocation::S3(s3) => &s3.bucket,
            ReplicaLocation::Unsupported { .. } => panic!("{location:?}"),
        };
        Ok(Arc::new(Shared(self.0.store(path))))
    }

    fn report(&self) -> Vec<StoreReport> {
        Vec::new()
    }
}

impl Configuration for Ports {
    fn load(&self) -> Result<Configured, String> {
        let mut hanging = self.0.hanging.lock().unwrap();
        while *hanging {
            hanging = self.0.released.wait(hanging).unwrap();
        }
        Ok(self.0.configured.lock().unwrap().clone().unwrap())
    }
}

impl Publisher for Ports {
    fn publish(&self, report: Report) {
        *self.0.report.lock().unwrap() = Some(report);
    }
}

/// Sees every database at one and the same commit.
impl DatabaseWatch for Ports {
    fn set_targets(&mut self, _: Vec<(TargetName, DatabaseFiles)>) {}

    fn poll(&mut self, _: Moment) -> Vec<LocalUpdate> {
        assert!(!self.0.watch_dies.load(Ordering::Relaxed), "told to die");
        Vec::new()
    }

    fn sweep(&mut self, _: Moment, _: usize) -> Vec<LocalUpdate> {
        Vec::new()
    }

    fn look(&mut self, target: &TargetName, now: Moment) -> Option<LocalUpdate> {
        let habits = Habits { hasty: false, upload_dates: false, losses: false, closing: false };
        let mut look = Litestream::new(7, habits).look();
        look.at = now;
        look.last_commit = None;
        Some(LocalUpdate { target: target.clone(), look: Ok(look), posture: None, polled: false })
    }
}

impl World {
    pub(crate) fn store(&self, path: &str) -> Arc<Faulty> {
        let mut stores = self.stores.lock().unwrap();
        stores.entry(path.to_owned()).or_insert_with(|| Arc::new(FaultyStore::new(MemoryStore::new()))).clone()
    }

    /// A store that holds a whole replica whose newest TXID is `txid`.
    pub(crate) fn filled(&self, path: &str, txid: u64) -> Arc<Faulty> {
        let store = self.store(path);
        put(&store.inner, 9, 1, txid, 1, Some(wal(100, 9)));
        store
    }

    fn configure(&self, targets: Vec<Target>, concurrency: usize) -> Configured {
        self.configure_with(targets, concurrency, DrillLimits::default())
    }

    pub(crate) fn configure_with(&self, targets: Vec<Target>, concurrency: usize, drills: DrillLimits) -> Configured {
        let quick = Duration::from_millis(50);
        let (directory, bucket, idle) = (quick, quick, quick);
        let pace = Pace { poll: quick, directory, bucket, idle, grace: Duration::ZERO, concurrency, ..pace() };
        let configured = Configured {
            targets,
            over_limit: 0,
            sources: Vec::new(),
            pace,
            drills,
            alerting: Alerting::default(),
            costs: Default::default(),
        };
        *self.configured.lock().unwrap() = Some(configured.clone());
        configured
    }

    fn hang(&self, hanging: bool) {
        *self.hanging.lock().unwrap() = hanging;
        self.released.notify_all();
    }

    /// The report of a database as soon as it is as it should be.
    pub(crate) async fn wait_for(&self, name: &str, what: impl Fn(&DatabaseReport) -> bool) -> Arc<DatabaseReport> {
        // Nothing asserts how long things take; this only ends a test that hangs.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let databases = self.report.lock().unwrap().as_ref().map(|report| report.databases.clone());
            let database = databases.into_iter().flatten().find(|database| database.name == name);
            match database {
                Some(database) if what(&database) => return database,
                database => assert!(Instant::now() < deadline, "{name} is {database:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub(crate) fn target(name: &str, database: bool, path: &str) -> Target {
    let replica = ReplicaTarget {
        name: "file".into(),
        location: ReplicaLocation::Directory(PathBuf::from(path)),
        sync_interval: Duration::from_millis(10),
        encrypted: false,
        age_identities: Vec::new(),
        kept: None,
    };
    let files = DatabaseFiles { path: PathBuf::from(format!("/{name}.db")), meta_path: None };
    Target {
        name: TargetName(name.into()),
        database: database.then_some(files),
        replicas: vec![replica],
        objectives: Objectives::default(),
        drill: DrillPolicy::default(),
    }
}

pub(crate) type Reloads = mpsc::Sender<oneshot::Sender<Result<(), String>>>;

/// An agent at work on `targets`; it ends with the test.
fn start(world: &Arc<World>, targets: Vec<Target>, concurrency: usize) -> Reloads {
    let configured = world.configure(targets, concurrency);
    let (reloads, requests) = mpsc::channel(8);
    let agent = Agent::start(parts(world), configured, requests).unwrap();
    tokio::spawn(agent.run(std::future::pending()));
    reloads
}

/// What an agent works with in a world, with neither a journal nor drills.
pub(crate) fn parts(world: &Arc<World>) -> AgentParts {
    let ports = || Ports(Arc::clone(world));
    AgentParts {
        clock: Arc::new(SystemClock::start()),
        watch: Box::new(ports()),
        stores: Arc::new(ports()),
        configuration: Arc::new(ports()),
        journal: None,
        publisher: Arc::new(ports()),
        process: || None,
        drills: None,
        alerts: None,
        version: "test",
        revision: "test",
    }
}

pub(crate) async fn reload(reloads: &Reloads) -> oneshot::Receiver<Result<(), String>> {
    let (answer, answered) = oneshot::channel();
    reloads.send(answer).await.unwrap();
    answered
}

pub(crate) fn replica(database: &DatabaseReport) -> &ReplicaReport {
    &database.replicas[0]
}

fn verified(database: &DatabaseReport) -> bool {
    replica(database).up == Some(true)
}

#[tokio::test]
async fn look_that_began_before_a_reload_says_nothing_of_what_came_after() {
    let world = Arc::new(World::default());
    let permits = Arc::new(Semaphore::new(0));
    let (waits, read) = (Arc::clone(&permits), Arc::new(AtomicBool::new(false)));
    let old = world.filled("/old", 7);
    old.script({
        let read = Arc::clone(&read);
        move |call| {
            read.fetch_or(matches!(call, Call::Read(_)), Ordering::Relaxed);
            Fate::Waits(Arc::clone(&waits))
        }
    });
    let reloads = start(&world, vec![target("app", false, "/old")], 8);
    world.wait_for("app", |_| old.calls()[1] > 0).await;
    world.filled("/new", 9);
    world.configure(vec![target("app", false, "/new")], 8);
    reload(&reloads).await.await.unwrap().unwrap();
    world.wait_for("app", |app| replica(app).txid == Some(9)).await;
    permits.add_permits(1000);
    world.wait_for("app", |_| read.load(Ordering::Relaxed)).await;
    // Looks go on at the new place, and the old one's end changes nothing.
    for _ in 0..3 {
        world.store("/new").calls();
        let app = world.wait_for("app", |_| world.store("/new").calls()[0] > 0).await;
        assert_eq!(replica(&app).txid, Some(9));
    }
}

#[tokio::test]
async fn panic_in_a_look_is_that_looks_failure() {
    let world = Arc::new(World::default());
    world.filled("/bad", 3).script(|_| panic!("told to panic"));
    world.filled("/good", 4);
    // One at a time, so that one waits for the other.
    start(&world, vec![target("bad", false, "/bad"), target("good", false, "/good")], 1);
    let bad = world.wait_for("bad", |bad| replica(bad).reason.is_some()).await;
    assert_eq!(replica(&bad).reason.as_ref().unwrap().message, "look at replica: internal error");
    let good = world.wait_for("good", verified).await;
    assert_eq!(replica(&good).reason, None);
    world.store("/bad").heal();
    world.wait_for("bad", verified).await;
}

#[tokio::test]
async fn replicas_wait_for_their_turn_and_none_is_lost() {
    let world = Arc::new(World::default());
    let permits = Arc::new(Semaphore::new(0));
    let waits = Arc::clone(&permits);
    let slow = world.filled("/a", 1);
    slow.script(move |_| Fate::Waits(Arc::clone(&waits)));
    for path in ["/b", "/c", "/d", "/elsewhere"] {
        world.filled(path, 2);
    }
    let before = ["a", "b", "c", "d"].map(|name| target(name, false, &format!("/{name}")));
    let reloads = start(&world, before.to_vec(), 1);
    world.wait_for("a", |_| slow.calls()[1] > 0).await;
    // Those that wait are moved, and removed, while they do.
    world.configure(vec![target("a", false, "/a"), target("b", false, "/elsewhere"), target("d", false, "/d")], 1);
    reload(&reloads).await.await.unwrap().unwrap();
    permits.add_permits(10_000);
    for name in ["a", "b", "d"] {
        world.wait_for(name, verified).await;
    }
}

#[tokio::test]
async fn watch_that_dies_leaves_nothing_claimed_and_replicas_watched() {
    let world = Arc::new(World::default());
    world.filled("/app", 3);
    start(&world, vec![target("app", true, "/app")], 8);
    world.wait_for("app", |app| app.state == DatabaseState::Monitored && replica(app).lag_seconds.is_some()).await;
    world.watch_dies.store(true, Ordering::Relaxed);
    let app = world.wait_for("app", |app| app.state == DatabaseState::Unreadable).await;
    assert_eq!(app.reason.as_ref().unwrap().message, "watch databases: internal error");
    put(&world.store("/app").inner, 0, 4, 4, 2, Some(wal(100, 20)));
    world.wait_for("app", |app| replica(app).txid == Some(4) && verified(app)).await;
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
