//! What only the agent does: turns, reloads, panics, a watch that dies.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::assessment::{DatabaseReport, DatabaseState, ReplicaReport, StoreReport};
use streamgauge::domain::beacon::{BeaconClaim, BeaconPolicy};
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::litestream::Txid;
use streamgauge::domain::moment::Moment;
use streamgauge::domain::naming::Names;
use streamgauge::domain::observation::{DatabasePosture, StagedLtx, StagedPosition, Staging};
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::report::Report;
use streamgauge::domain::target::{DatabaseFiles, ReplicaLocation, ReplicaTarget, S3Location, Target, TargetName};
use streamgauge::domain::verdict::Verdict;
use streamgauge::infrastructure::blocking::run_on_thread;
use streamgauge::infrastructure::clock::SystemClock;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::{
    AskedBy, BeaconStore, BucketPosture, BucketStore, Clock, Configuration, Configured, DatabaseWatch, FoundBeacon,
    LocalUpdate, Pace, Publisher, ReplicaStore, Stores,
};
use streamgauge::usecase::watch::{Agent, AgentParts, ReloadRequest};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::faulty_store::{Call, Fate, FaultyStore};
use crate::litestream::{Habits, Litestream};
use crate::world::{pace, put, wal};

type Faulty = FaultyStore<MemoryStore>;

/// The stores of a test by their directory.
#[derive(Default)]
pub(crate) struct World {
    stores: Mutex<BTreeMap<String, Arc<Faulty>>>,
    configured: Mutex<Option<Configured>>,
    /// While true, reading the configuration hangs.
    hanging: Mutex<bool>,
    released: Condvar,
    /// Readings of the configuration that have begun and not ended.
    pub(crate) loading: AtomicUsize,
    /// All that have begun.
    pub(crate) loads: AtomicUsize,
    watch_dies: AtomicBool,
    posture: Mutex<BucketPosture>,
    postures_asked: AtomicUsize,
    /// By the url of their replica.
    beacons: Mutex<BTreeMap<String, Result<FoundBeacon, Reason>>>,
    /// The TXID of Litestream's newest local file, where it has one.
    pub(crate) claim: Mutex<Option<u64>>,
    pub(crate) report: Mutex<Option<Report>>,
}

/// The agent's ends of a [`World`].
pub(crate) struct Ports(Arc<World>);

impl Stores for Ports {
    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let path = match location {
            ReplicaLocation::Directory(path) => path.to_str().unwrap(),
            ReplicaLocation::S3(s3) => &s3.bucket,
            _ => panic!("{location:?}"),
        };
        Ok(self.0.store(path))
    }

    fn beacon(&self, location: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason> {
        Ok(Arc::new(MemoryBeacon(Arc::clone(&self.0), location.url())))
    }

    fn bucket(&self, location: &ReplicaLocation) -> Option<Arc<dyn BucketStore>> {
        let ReplicaLocation::S3(_) = location else { return None };
        Some(Arc::new(MemoryBucket(Arc::clone(&self.0))))
    }

    fn report(&self) -> Vec<StoreReport> {
        Vec::new()
    }
}

/// A bucket that is set up as a [`World`] says.
struct MemoryBucket(Arc<World>);

#[async_trait::async_trait]
impl BucketStore for MemoryBucket {
    async fn posture(&self) -> BucketPosture {
        self.0.postures_asked.fetch_add(1, Ordering::Relaxed);
        self.0.posture.lock().unwrap().clone()
    }
}

/// A beacon in a [`World`].
struct MemoryBeacon(Arc<World>, String);

#[async_trait::async_trait]
impl BeaconStore for MemoryBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        self.0.beacons.lock().unwrap().get(&self.1).cloned().transpose()
    }

    async fn put(&self, content: bytes::Bytes) -> Result<(), Reason> {
        let now = jiff::Timestamp::now();
        let found = FoundBeacon { content, stored_at: now, written_at: now };
        self.0.beacons.lock().unwrap().insert(self.1.clone(), Ok(found));
        Ok(())
    }
}

impl Configuration for Ports {
    fn load(&self, _: Names, _: AskedBy) -> Result<Configured, String> {
        self.0.loads.fetch_add(1, Ordering::SeqCst);
        self.0.loading.fetch_add(1, Ordering::SeqCst);
        let mut hanging = self.0.hanging.lock().unwrap();
        while *hanging {
            hanging = self.0.released.wait(hanging).unwrap();
        }
        self.0.loading.fetch_sub(1, Ordering::SeqCst);
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
    fn set_targets(&mut self, _: Vec<(TargetName, Arc<DatabaseFiles>)>) {}

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
        let posture = self.0.claim.lock().unwrap().map(|claim| posture(claim, now));
        Some(LocalUpdate { target: target.clone(), look: Ok(look), posture, polled: false })
    }
}

fn posture(claim: u64, now: Moment) -> DatabasePosture {
    let file = StagedLtx { txid: Txid(claim), end: wal(100, 9), wal_bytes: 4120, timestamp: now.wall() };
    let position = StagedPosition::Ltx(vec![file]);
    DatabasePosture {
        at: now,
        modes: Arc::default(),
        reachable: None,
        filesystem: None,
        staging_filesystem: None,
        open: None,
        litestream: Default::default(),
        staging: Some(Arc::new(Staging { bytes: 131, position })),
        lock_holder_pid: None,
    }
}

impl World {
    pub(crate) fn store(&self, path: &str) -> Arc<Faulty> {
        let mut stores = self.stores.lock().unwrap();
        stores.entry(path.to_owned()).or_insert_with(|| Arc::new(FaultyStore::new(Arc::default()))).clone()
    }

    /// A store that holds a whole replica whose newest TXID is `txid`.
    pub(crate) fn filled(&self, path: &str, txid: u64) -> Arc<Faulty> {
        let store = self.store(path);
        put(&store.inner, 9, 1, txid, 1, Some(wal(100, 9)));
        store
    }

    pub(crate) fn configure(&self, targets: Vec<Target>, concurrency: usize) -> Configured {
        self.configure_with(targets, concurrency, DrillLimits::default())
    }

    pub(crate) fn configure_with(&self, targets: Vec<Target>, concurrency: usize, drills: DrillLimits) -> Configured {
        let quick = Duration::from_millis(50);
        let (directory, bucket, idle) = (quick, quick, quick);
        let pace = Pace { poll: quick, directory, bucket, idle, grace: Duration::ZERO, concurrency, ..pace() };
        let configured = Configured {
            targets,
            over_limit: 0,
            names: Names::default(),
            sources: Vec::new(),
            pace,
            drills,
            alerting: Alerting::default(),
            costs: Default::default(),
            shard: None,
            metrics: Default::default(),
            same: Default::default(),
        };
        *self.configured.lock().unwrap() = Some(configured.clone());
        configured
    }

    pub(crate) fn configure_alerting(&self, targets: Vec<Target>, alerting: Alerting) -> Configured {
        let configured = Configured { alerting, ..self.configure(targets, 8) };
        *self.configured.lock().unwrap() = Some(configured.clone());
        configured
    }

    /// What is read when the configuration is read again.
    pub(crate) fn reconfigure(&self, configured: Configured) {
        *self.configured.lock().unwrap() = Some(configured);
    }

    pub(crate) fn hang(&self, hanging: bool) {
        *self.hanging.lock().unwrap() = hanging;
        self.released.notify_all();
    }

    /// The report of a database as soon as it is as it should be.
    pub(crate) async fn wait_for(&self, name: &str, what: impl Fn(&Seen) -> bool) -> Seen {
        // Nothing asserts how long things take; this only ends a test that hangs.
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.report.lock().unwrap().clone();
            let database = report.and_then(|report| {
                let database = report.assessment.databases.iter().find(|database| *database.name == *name)?;
                Some(Seen { database: Arc::clone(database), checks: report.verdicts_on(name).to_vec() })
            });
            match database {
                Some(database) if what(&database) => return database,
                database => assert!(Instant::now() < deadline, "{name} is {database:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A database of a report, and what its checks say.
#[derive(Debug)]
pub(crate) struct Seen {
    database: Arc<DatabaseReport>,
    pub(crate) checks: Vec<Verdict>,
}

impl std::ops::Deref for Seen {
    type Target = DatabaseReport;

    fn deref(&self) -> &DatabaseReport {
        &self.database
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
        written: Default::default(),
    };
    let files = DatabaseFiles { path: PathBuf::from(format!("/{name}.db")), meta_path: None };
    Target {
        litestream: false,
        name: TargetName(name.into()),
        database: database.then(|| Arc::new(files)),
        replicas: vec![Arc::new(replica)],
        objectives: Arc::default(),
        drill: Arc::default(),
    }
}

pub(crate) type Reloads = mpsc::Sender<ReloadRequest>;

/// An agent at work on `targets`; it ends with the test.
pub(crate) fn start(world: &Arc<World>, targets: Vec<Target>, concurrency: usize) -> Reloads {
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
        run_watch: run_on_thread,
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
    reloads.send((AskedBy::Owner, answer)).await.unwrap();
    answered
}

pub(crate) fn replica(database: &DatabaseReport) -> &ReplicaReport {
    &database.replicas[0]
}

pub(crate) fn verified(database: &Seen) -> bool {
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

/// A clock that somebody moves on.
pub(crate) struct Hurried(pub(crate) SystemClock, pub(crate) AtomicUsize);

impl Clock for Hurried {
    fn now(&self) -> Moment {
        let ahead = jiff::SignedDuration::from_secs(self.1.load(Ordering::Relaxed) as i64);
        let now = self.0.now();
        Moment::new(now.wall() + ahead, now.mono() + ahead)
    }
}

/// A store that hangs, or lists without end, and the replica that waits behind it.
#[tokio::test]
async fn a_first_look_without_end_is_told_and_holds_up_nobody() {
    let world = Arc::new(World::default());
    world.filled("/endless", 3).script(|_| Fate::Hangs);
    world.filled("/waiting", 4);
    world.filled("/elsewhere/good", 5);
    let targets = [("endless", "/endless"), ("waiting", "/waiting"), ("good", "/elsewhere/good")];
    let configured = world.configure(targets.map(|(name, path)| target(name, false, path)).to_vec(), 1);
    let clock = Arc::new(Hurried(SystemClock::start(), AtomicUsize::new(0)));
    let (_reloads, requests) = mpsc::channel(8);
    let parts = AgentParts { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..parts(&world) };
    tokio::spawn(Agent::start(parts, configured, requests).unwrap().run(std::future::pending()));

    world.wait_for("good", verified).await;
    let complete = || world.report.lock().unwrap().as_ref().unwrap().assessment.complete;
    assert!(!complete());
    clock.1.store(121, Ordering::Relaxed);
    let told = |database: &DatabaseReport| replica(database).reason.as_ref().map(|reason| reason.message.clone());
    let endless = world.wait_for("endless", |endless| replica(endless).reason.is_some()).await;
    let expected = "look at replica: the first look has not finished within 120 s, it ";
    assert_eq!(told(&endless), Some(format!("{expected}is still running")));
    assert_eq!(replica(&endless).reason.as_ref().unwrap().kind, ReasonKind::Timeout);
    let waiting = world.wait_for("waiting", |waiting| replica(waiting).reason.is_some()).await;
    assert_eq!(told(&waiting), Some(format!("{expected}waits for others at the same place")));
    assert!(complete());
    let good = world.wait_for("good", verified).await;
    assert_eq!(replica(&good).reason, None);
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
    // Whatever is committed now is not seen.
    assert_eq!((replica(&app).lag_seconds, replica(&app).unreplicated_bytes), (None, None));
    put(&world.store("/app").inner, 0, 4, 4, 2, Some(wal(100, 20)));
    world.wait_for("app", |app| replica(app).txid == Some(4) && verified(app)).await;
}

/// A beacon of one a minute that was written so many seconds ago, as the store dated it; its host's clock is off.
fn beacon(written_ago: i64, host_clock_ahead: i64) -> FoundBeacon {
    let stored_at = jiff::Timestamp::now() - jiff::SignedDuration::from_secs(written_ago);
    let written_at = stored_at + jiff::SignedDuration::from_secs(host_clock_ahead);
    let claim = BeaconClaim {
        schema: streamgauge::domain::beacon::SCHEMA,
        written_at,
        interval_seconds: 60.0,
        host: "db1".into(),
        database: "app".into(),
        version: "1.2.3".into(),
        recovery_point: Some(written_at - jiff::SignedDuration::from_secs(2)),
        lag_seconds: Some(3.0),
        unreplicated_since: None,
        unreplicated_bytes: None,
        pending_commits: None,
        position: None,
        txid: None,
    };
    FoundBeacon { content: claim.encode().into(), stored_at, written_at: stored_at }
}

/// The status and detail of a check.
fn checked(database: &Seen, check: &str) -> Option<(&'static str, String)> {
    let found = database.checks.iter().find(|verdict| verdict.check == check)?;
    Some((found.status.as_str(), found.detail.to_string()))
}

#[tokio::test]
async fn observer_believes_beacons_as_far_as_they_are_fresh_and_no_clock_but_its_own() {
    let world = Arc::new(World::default());
    world.filled("/app", 3);
    let put = |found| world.beacons.lock().unwrap().insert("file:///app".into(), found);
    let _reloads = start(&world, vec![target("app", false, "/app")], 8);
    let app = world.wait_for("app", verified).await;
    assert_eq!(checked(&app, "HostGone"), None);
    assert_eq!(checked(&app, "ReplicationLag").unwrap().0, "unknown");
    for skew in [-7200, 0, 7200] {
        put(Ok(beacon(30, skew)));
        let is_new = |app: &Seen| {
            let offset = app.writer_offset_seconds();
            offset.is_some_and(|offset| (offset - skew as f64).abs() < 5.0)
        };
        let app = world.wait_for("app", is_new).await;
        let lag = replica(&app).lag_seconds.unwrap();
        assert!((33.0..90.0).contains(&lag), "the claim and its age: {lag}");
        assert_eq!(checked(&app, "HostGone").unwrap().0, "pass");
        assert_eq!(checked(&app, "ReplicationLag").unwrap().0, "pass");
        assert_eq!(checked(&app, "WriterClockSkew").unwrap().0, if skew == 0 { "pass" } else { "fail" });
    }
    put(Ok(beacon(241, 0)));
    let gone = |app: &Seen| checked(app, "HostGone").is_some_and(|(status, _)| status == "fail");
    let app = world.wait_for("app", gone).await;
    let detail = checked(&app, "HostGone").unwrap().1;
    assert!(
        detail.contains("no beacon from db1 for 4 min") && detail.contains("although it writes one every 1 min"),
        "{detail}"
    );
    assert!(detail.contains("last known recovery point: 4 min"), "{detail}");
    assert_eq!(checked(&app, "ReplicationLag").unwrap().0, "unknown");
    // A host that is back is there at once.
    put(Ok(beacon(1, 0)));
    world.wait_for("app", |app| checked(app, "HostGone").unwrap().0 == "pass").await;
    // What cannot be read says nothing of the host.
    put(Err(Reason::new(ReasonKind::Denied, "read the beacon: access denied")));
    let app = world.wait_for("app", |app| checked(app, "HostGone").unwrap().0 == "unknown").await;
    assert!(checked(&app, "HostGone").unwrap().1.ends_with("; read the beacon: access denied"));
    assert_eq!(replica(&app).lag_seconds, None);
    put(Ok(FoundBeacon { content: "{}".into(), ..beacon(1, 0) }));
    world
        .wait_for("app", |app| {
            checked(app, "HostGone").unwrap().1.ends_with("read the beacon of the host: not a beacon")
        })
        .await;
    // Whoever removes the beacon says that the host is not expected any more.
    world.beacons.lock().unwrap().clear();
    world.wait_for("app", |app| checked(app, "HostGone").is_none()).await;
}

#[tokio::test]
async fn beacons_are_written_for_databases_of_this_host_alone_and_only_when_asked_for() {
    let world = Arc::new(World::default());
    world.filled("/app", 3);
    world.filled("/remote", 3);
    let targets = vec![target("app", true, "/app"), target("remote", false, "/remote")];
    let reloads = start(&world, targets.clone(), 8);
    world.wait_for("app", |app| app.state == DatabaseState::Monitored && verified(app)).await;
    world.wait_for("remote", verified).await;
    assert!(world.beacons.lock().unwrap().is_empty());
    let mut configured = world.configure(targets, 8);
    configured.pace.beacon = Some(BeaconPolicy { interval: Duration::from_millis(100), host: "db1".into() });
    *world.configured.lock().unwrap() = Some(configured);
    reload(&reloads).await.await.unwrap().unwrap();
    let claim = |url: &str| {
        let beacons = world.beacons.lock().unwrap();
        Some(BeaconClaim::parse(&beacons.get(url)?.as_ref().unwrap().content).unwrap())
    };
    world.wait_for("app", |_| claim("file:///app").is_some()).await;
    let first = claim("file:///app").unwrap();
    assert_eq!((first.host.as_str(), first.database.as_str(), first.version.as_str()), ("db1", "app", "test"));
    world.wait_for("app", |_| claim("file:///app").is_some_and(|claim| claim.written_at > first.written_at)).await;
    // What is read at the place is claimed; what is not, is not.
    world.wait_for("app", |_| claim("file:///app").is_some_and(|claim| claim.lag_seconds.is_some())).await;
    world.store("/app").script(|_| Fate::Fails(ReasonKind::Unreachable));
    world.wait_for("app", |_| claim("file:///app").is_some_and(|claim| claim.lag_seconds.is_none())).await;
    assert_eq!(claim("file:///remote"), None);
}

#[tokio::test]
async fn buckets_are_asked_once_whatever_the_number_of_replicas_in_them() {
    let world = Arc::new(World::default());
    world.filled("backups", 3);
    *world.posture.lock().unwrap() = BucketPosture {
        versioning_enabled: Some(true),
        public: Some(true),
        noncurrent_expiry: Some(vec!["a/".into()]),
        reason: Some(Reason::new(ReasonKind::Denied, "read settings of s3://backups?object-lock: access denied")),
        ..BucketPosture::default()
    };
    let in_bucket = |name: &str, path: &str| {
        let mut target = target(name, false, "/unused");
        let place = S3Location { bucket: "backups".into(), path: path.into(), ..S3Location::default() };
        Arc::make_mut(&mut target.replicas[0]).location = ReplicaLocation::S3(Box::new(place));
        target
    };
    let reloads = start(&world, vec![in_bucket("one", "a/one"), in_bucket("two", "a/two")], 8);
    let checks = || {
        let report = world.report.lock().unwrap();
        let Some(report) = report.as_ref() else { return Vec::new() };
        let checks =
            report.verdicts.agent.iter().map(|verdict| format!("{} {}", verdict.check, verdict.status.as_str()));
        checks.collect::<Vec<_>>()
    };
    world.wait_for("one", |_| checks().contains(&"BucketPublic fail".to_owned())).await;
    assert!(checks().contains(&"BucketVersioningOff pass".to_owned()), "{:?}", checks());
    assert!(checks().contains(&"NoncurrentNotExpired pass".to_owned()), "{:?}", checks());
    let bucket = world.report.lock().unwrap().as_ref().unwrap().assessment.agent.buckets[0].clone();
    assert_eq!((bucket.bucket.as_str(), bucket.object_lock_enabled), ("backups", None));
    assert!(bucket.checked_at.is_some() && bucket.reason.is_some());
    // Another replica is another path for the rule to cover, and no reason to ask again.
    world.configure(vec![in_bucket("one", "a/one"), in_bucket("two", "a/two"), in_bucket("three", "b/three")], 8);
    reload(&reloads).await.await.unwrap().unwrap();
    world.wait_for("three", verified).await;
    assert!(checks().contains(&"NoncurrentNotExpired fail".to_owned()), "{:?}", checks());
    assert_eq!(world.postures_asked.load(Ordering::Relaxed), 1);
}
