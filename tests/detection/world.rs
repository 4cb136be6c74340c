//! The world of one scenario: the real agent at work on a simulated database, Litestream and bucket, in a time that passes
//! as fast as it is computed.
//!
//! The runtime's clock is paused: whenever everybody waits, it jumps to the next instant at which somebody wakes. A
//! scenario is one thread, and each run of it is the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::assess::costs::Costs;
use streamgauge::domain::assess::requests::RequestWindow;
use streamgauge::domain::assessment::{Billed, StoreOperationReport, StoreReport};
use streamgauge::domain::beacon::BeaconClaim;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::litestream::Txid;
use streamgauge::domain::litestream::expiry::Kept;
use streamgauge::domain::moment::Moment;
use streamgauge::domain::naming::Names;
use streamgauge::domain::profile::Profile;
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::report::Report;
use streamgauge::domain::store_kind::StoreKind;
use streamgauge::domain::target::{
    DatabaseFiles, Objectives, ReplicaLocation, ReplicaTarget, S3Location, Target, TargetName,
};
use streamgauge::usecase::ports::{
    AskedBy, BeaconStore, BucketPosture, BucketStore, Clock, Configuration, Configured, DatabaseWatch, EntryKey,
    FoundBeacon, Journal, LivePages, LiveTarget, LocalUpdate, Pace, PageReader, Publisher, ReplicaStore, Stores,
};
use streamgauge::usecase::watch::{Agent, AgentParts, ReloadRequest};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, advance, sleep, sleep_until};

use crate::faulty_store::{Call, Fate, FaultyStore};
use crate::peer::Peer;

/// 2026-03-02 09:07:00 UTC: no hour and no day begins with a scenario.
pub(crate) const START: i64 = 1_772_442_420;

/// How the bucket answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bucket {
    Answers,
    Fails(ReasonKind),
    /// So many requests of a hundred fail.
    FailsAtTimes(ReasonKind, u64),
    /// Each answer takes so long.
    Slow(Duration),
    /// Connections are taken and nothing comes back; the client gives up.
    HalfOpen,
}

/// After this a client gives up, as `[replica] timeout`.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct World {
    pub(crate) peer: Peer,
    /// The first of the idle databases beside it, and one that stands for each of the others.
    pub(crate) idle: [Peer; 2],
    /// How the bucket answers the agent.
    pub(crate) bucket: Bucket,
    /// There is no file where the database should be.
    pub(crate) database_missing: bool,
    /// Seconds by which the agent's wall clock is ahead.
    pub(crate) agent_ahead: i64,
    /// Whether there should be an agent.
    pub(crate) agent: bool,
    /// Another agent beside the database writes a beacon each minute.
    pub(crate) beacons: bool,
    /// It says that commits wait since this second.
    pub(crate) beacon_waits: Option<i64>,
    /// Seconds by which the bucket dates beacons into the future.
    pub(crate) store_ahead: i64,
    /// When it wrote the last one.
    beacon: Option<i64>,
    /// How the bucket is set up; by default nobody may ask.
    pub(crate) posture: BucketPosture,
    requests: u64,
    window: RequestWindow,
    operations: [(u64, BTreeMap<&'static str, u64>); 3],
    journal: BTreeMap<EntryKey, String>,
    report: Option<Arc<Report>>,
}

impl World {
    /// The database of a name.
    fn peer(&self, name: &str) -> &Peer {
        match name {
            "app" => &self.peer,
            IDLE => &self.idle[0],
            _ => &self.idle[1],
        }
    }
}

/// The first of the idle databases.
const IDLE: &str = "idle-0001";

type Shared = Arc<Mutex<World>>;

/// What an agent is given of a world.
#[derive(Clone)]
struct Ports {
    world: Shared,
    configured: Arc<Configured>,
    began: Instant,
    /// When this agent began.
    origin: Instant,
}

impl Clock for Ports {
    fn now(&self) -> Moment {
        let now = Instant::now();
        let passed = |since: Instant| SignedDuration::try_from(now.duration_since(since)).unwrap();
        let ahead = SignedDuration::from_secs(self.world.lock().unwrap().agent_ahead);
        let start = Timestamp::from_second(START).unwrap();
        Moment::new(start + passed(self.began) + ahead, passed(self.origin))
    }
}

/// What there is to judge.
pub(crate) struct Seen {
    /// The newest report; `None` while there is no agent.
    pub(crate) report: Option<Arc<Report>>,
    /// Now, by the agent's clocks.
    pub(crate) now: Moment,
    /// Tells one agent from the next.
    pub(crate) run: usize,
    /// Files of each level of the first replica; counted once an hour.
    pub(crate) stored: Option<[usize; 10]>,
}

struct Watch {
    world: Shared,
    targets: Vec<(TargetName, Arc<DatabaseFiles>)>,
    /// Seconds of a round of the sweep.
    round: i64,
    /// Nothing was looked at yet.
    new: bool,
}

impl Watch {
    fn update(&self, now: Moment, posture: bool, wanted: impl Fn(&TargetName) -> bool) -> Vec<LocalUpdate> {
        let world = self.world.lock().unwrap();
        let look = |name: &TargetName| match world.database_missing {
            true => Err(Reason::new(ReasonKind::NotFound, "open /app.db: no such file")),
            false => Ok(world.peer(&name.0).look(now)),
        };
        let update = |(target, _): &(TargetName, Arc<DatabaseFiles>)| LocalUpdate {
            target: target.clone(),
            look: look(target),
            posture: posture.then(|| world.peer(&target.0).posture(now)),
            polled: false,
        };
        self.targets.iter().filter(|(target, _)| wanted(target)).map(update).collect()
    }
}

/// Single pages of the database.
struct Live(Shared);

impl PageReader for Live {
    fn pages(&self, _: &DatabaseFiles, numbers: &[u32], at: &LiveTarget) -> Result<LivePages, Reason> {
        let world = self.0.lock().unwrap();
        match world.database_missing {
            true => Err(Reason::new(ReasonKind::NotFound, "open /app.db: no such file")),
            false => world.peer.pages(numbers, at),
        }
    }
}

impl DatabaseWatch for Watch {
    fn pages(&self) -> Option<Arc<dyn PageReader>> {
        Some(Arc::new(Live(Arc::clone(&self.world))))
    }

    fn set_targets(&mut self, targets: Vec<(TargetName, Arc<DatabaseFiles>)>) {
        (self.targets, self.new) = (targets, true);
    }

    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate> {
        let changed = std::mem::take(&mut self.world.lock().unwrap().peer.changed);
        match std::mem::take(&mut self.new) || changed {
            true => self.update(now, false, |_| true),
            false => Vec::new(),
        }
    }

    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate> {
        // The databases are looked at together, once a round.
        let due = count > 0 && now.mono().as_secs() % self.round == 0;
        if due { self.update(now, true, |_| true) } else { Vec::new() }
    }

    fn look(&mut self, name: &TargetName, now: Moment) -> Option<LocalUpdate> {
        self.update(now, false, |target| target == name).pop()
    }

    fn staged(&self, name: &TargetName) -> Option<Txid> {
        Some(Txid(self.world.lock().unwrap().peer(&name.0).replica.txid()))
    }
}

/// An answer takes so long. While a thread decodes what was read and waits for more, time does not jump by itself.
async fn wait(operation: usize, time: Duration) {
    if operation != READ {
        return sleep(time).await;
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        advance(Duration::from_millis(50)).await;
    }
}

/// The place of reads among the operations.
const READ: usize = 2;

/// What becomes of a request to the bucket.
async fn answer(world: Shared, operation: usize) -> Result<(), Reason> {
    let (bucket, number) = {
        let mut world = world.lock().unwrap();
        world.requests += 1;
        world.operations[operation].0 += 1;
        (world.bucket, world.requests)
    };
    let failure = match bucket {
        Bucket::Answers => None,
        Bucket::Fails(kind) => Some(kind),
        // The same ones in each run, and in no rhythm that a client could fall into (Knuth's multiplicative hash).
        Bucket::FailsAtTimes(kind, percent) => {
            let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            (hash % 100 < percent).then_some(kind)
        }
        Bucket::Slow(time) => {
            wait(operation, time.min(PATIENCE)).await;
            (time >= PATIENCE).then_some(ReasonKind::Timeout)
        }
        Bucket::HalfOpen => {
            wait(operation, PATIENCE).await;
            Some(ReasonKind::Timeout)
        }
    };
    let mut world = world.lock().unwrap();
    let at = Duration::from_secs(world.peer.now.unsigned_abs());
    world.window.count(at, failure.is_some());
    let Some(kind) = failure else { return Ok(()) };
    *world.operations[operation].1.entry(kind.as_str()).or_default() += 1;
    Err(Reason::new(kind, "ask s3://app: as told"))
}

/// The beacon of the host that writes the database.
struct Beacon(Ports);

#[async_trait]
impl BeaconStore for Beacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let mut world = self.0.world.lock().unwrap();
        if world.beacons {
            world.beacon = Some(world.peer.now - world.peer.now.rem_euclid(60));
        }
        let Some(second) = world.beacon else { return Ok(None) };
        let waiting = world.beacon_waits.filter(|since| *since <= second);
        let written_at = Timestamp::from_second(START + second + world.store_ahead).unwrap();
        let claim = BeaconClaim {
            schema: streamgauge::domain::beacon::SCHEMA,
            written_at,
            interval_seconds: 60.0,
            host: "db1".into(),
            database: "app".into(),
            version: "0".into(),
            recovery_point: Some(written_at),
            lag_seconds: Some(waiting.map_or(0.0, |since| (second - since) as f64)),
            unreplicated_since: waiting.map(|since| Timestamp::from_second(START + since).unwrap()),
            unreplicated_bytes: None,
            pending_commits: None,
            position: None,
            txid: None,
        };
        Ok(Some(FoundBeacon { content: claim.encode().into(), stored_at: written_at, written_at }))
    }

    async fn put(&self, _: Bytes) -> Result<(), Reason> {
        Err(Reason::new(ReasonKind::Denied, "an observer writes nothing"))
    }
}

#[async_trait]
impl BucketStore for Ports {
    async fn posture(&self) -> BucketPosture {
        self.world.lock().unwrap().posture.clone()
    }
}

impl Stores for Ports {
    fn beacon(&self, _: &ReplicaLocation) -> Result<Arc<dyn BeaconStore>, Reason> {
        Ok(Arc::new(Beacon(self.clone())))
    }

    fn bucket(&self, _: &ReplicaLocation) -> Option<Arc<dyn BucketStore>> {
        Some(Arc::new(self.clone()))
    }

    fn open(&self, location: &ReplicaLocation) -> Result<Arc<dyn ReplicaStore>, Reason> {
        let name = location.s3().map_or("", |place| &place.path);
        let files = Arc::clone(&self.world.lock().unwrap().peer(name).bucket);
        let world = Arc::clone(&self.world);
        Ok(Arc::new(FaultyStore::scripted(files, move |call| {
            let operation = match call {
                Call::List(_) => 0,
                Call::Folders(_) => 1,
                Call::Read(_) => READ,
            };
            Fate::Decided(Box::pin(answer(Arc::clone(&world), operation)))
        })))
    }

    fn report(&self) -> Vec<StoreReport> {
        let world = self.world.lock().unwrap();
        let operations = ["list", "folders", "read"].into_iter().zip(&world.operations);
        let operations = operations.map(|(operation, (requests, failures))| StoreOperationReport {
            operation,
            requests: *requests,
            failures: failures.iter().map(|(kind, count)| (*kind, *count)).collect(),
            ..StoreOperationReport::default()
        });
        let [lists, folders, reads] = world.operations.each_ref().map(|(requests, _)| *requests);
        let billed = vec![Billed { lists: lists + folders, reads, ..Billed::default() }];
        let (recent_requests, recent_failures) = world.window.sum(Duration::from_secs(world.peer.now.unsigned_abs()));
        vec![StoreReport {
            store: StoreKind::S3,
            operations: operations.collect(),
            recent_requests,
            recent_failures,
            billed,
            // The bucket's clock is right.
            clock_offset_seconds: Some(-world.agent_ahead as f64),
            ..StoreReport::default()
        }]
    }
}

impl Configuration for Ports {
    fn load(&self, _: Names, _: AskedBy) -> Result<Configured, String> {
        Ok(Configured::clone(&self.configured))
    }
}

impl Publisher for Ports {
    fn publish(&self, report: Report) {
        self.world.lock().unwrap().report = Some(Arc::new(report));
    }
}

impl Journal for Ports {
    fn load(&mut self) -> Result<Vec<(EntryKey, String)>, Reason> {
        let entries = &self.world.lock().unwrap().journal;
        Ok(entries.iter().map(|(name, text)| (name.clone(), text.clone())).collect())
    }

    fn save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason> {
        let journal = &mut self.world.lock().unwrap().journal;
        journal.extend(entries.iter().cloned());
        gone.iter().for_each(|name| drop(journal.remove(name)));
        Ok(())
    }
}

/// What the agent is told of what is expected.
#[derive(Clone, Default)]
pub(crate) struct Site {
    pub(crate) objectives: Objectives,
    pub(crate) pace: Pace,
    pub(crate) alerting: Alerting,
    pub(crate) costs: Costs,
    /// How many idle databases are replicated to the same bucket.
    pub(crate) idle: usize,
    /// The agent sees the bucket only.
    pub(crate) observer: bool,
}

pub(crate) fn replica(path: String) -> ReplicaTarget {
    let s3 = S3Location { bucket: "backups".into(), path, ..S3Location::default() };
    ReplicaTarget {
        name: "s3".into(),
        location: ReplicaLocation::S3(Box::new(s3)),
        sync_interval: Duration::from_secs(1),
        encrypted: false,
        age_identities: Vec::new(),
        // What Litestream does by default.
        kept: Some(Kept {
            snapshots: Some(Duration::from_secs(86_400)),
            every: Duration::from_secs(86_400),
            level0: Some(Duration::from_secs(300)),
        }),
        written: Default::default(),
    }
}

fn target(site: &Site, name: String) -> Target {
    let (path, meta) = (format!("/{name}.db"), format!("/.{name}.db-litestream"));
    let files = DatabaseFiles { path: path.into(), meta_path: Some(meta.into()) };
    Target {
        name: TargetName::from(name.as_str()),
        database: (!site.observer).then(|| Arc::new(files)),
        replicas: vec![Arc::new(replica(name))],
        objectives: Arc::new(Objectives { metrics: Profile::Full, ..site.objectives.clone() }),
        drill: Arc::default(),
        litestream: true,
    }
}

fn configured(site: &Site) -> Configured {
    let idle = (1..=site.idle).map(|number| format!("idle-{number:04}"));
    Configured {
        targets: std::iter::once("app".to_owned()).chain(idle).map(|name| target(site, name)).collect(),
        over_limit: 0,
        names: Names::default(),
        sources: Vec::new(),
        pace: site.pace.clone(),
        drills: DrillLimits::default(),
        alerting: site.alerting.clone(),
        costs: site.costs,
        shard: None,
        metrics: Default::default(),
        same: Default::default(),
    }
}

/// An agent at work, until it is dropped.
struct Working {
    task: JoinHandle<()>,
    /// Keeps its end of the channel open.
    _reloads: mpsc::Sender<ReloadRequest>,
    clock: Ports,
}

impl Drop for Working {
    /// Like `kill -9`: it saves nothing.
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start(world: &Shared, site: &Site, began: Instant) -> Working {
    let ports =
        Ports { world: Arc::clone(world), configured: Arc::new(configured(site)), began, origin: Instant::now() };
    let round = site.pace.sweep.as_secs().cast_signed();
    let watch = Watch { world: Arc::clone(world), targets: Vec::new(), round, new: true };
    let parts = AgentParts {
        clock: Arc::new(ports.clone()),
        watch: Box::new(watch),
        run_watch: |watch| {
            tokio::spawn(watch);
            Ok(())
        },
        stores: Arc::new(ports.clone()),
        configuration: Arc::new(ports.clone()),
        journal: Some(Box::new(ports.clone())),
        publisher: Arc::new(ports.clone()),
        process: || None,
        drills: None,
        alerts: None,
        version: "test",
        revision: "test",
    };
    let (reloads, requests) = mpsc::channel(1);
    let agent = Agent::start(parts, Configured::clone(&ports.configured), requests).unwrap();
    Working { task: tokio::spawn(agent.run(std::future::pending())), _reloads: reloads, clock: ports }
}

/// What is done in a world at a second of its time.
pub(crate) type Event = (i64, fn(&mut World));

/// Lives through so many seconds. Every 15 of them the newest report is handed over.
pub(crate) fn live(site: &Site, seconds: i64, events: &[Event], mut see: impl FnMut(&Seen)) {
    let peer = || Peer::new(Timestamp::from_second(START).unwrap());
    let world = World {
        peer: peer(),
        idle: [peer(), peer()],
        bucket: Bucket::Answers,
        database_missing: false,
        agent_ahead: 0,
        agent: true,
        beacons: false,
        beacon_waits: None,
        store_ahead: 0,
        beacon: None,
        posture: BucketPosture::default(),
        requests: 0,
        window: RequestWindow::default(),
        operations: Default::default(),
        journal: BTreeMap::new(),
        report: None,
    };
    let world = Arc::new(Mutex::new(world));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let began = Instant::now();
        let mut working = None;
        let mut run = 0;
        let mut events = events.iter().peekable();
        for second in 0..=seconds {
            sleep_until(began + Duration::from_millis(second as u64 * 1000 + 500)).await;
            let wanted = {
                let mut world = world.lock().unwrap();
                while let Some((_, event)) = events.next_if(|(at, _)| *at <= second) {
                    event(&mut world);
                }
                world.peer.step();
                if site.idle > 0 {
                    world.idle.iter_mut().for_each(Peer::step);
                }
                world.agent
            };
            if wanted && working.is_none() {
                run += 1;
                working = Some(start(&world, site, began));
            } else if !wanted && working.take().is_some() {
                world.lock().unwrap().report = None;
            }
            if second % 15 == 0 {
                sleep_until(began + Duration::from_millis(second as u64 * 1000 + 750)).await;
                let (report, stored) = {
                    let world = world.lock().unwrap();
                    let stored = || std::array::from_fn(|level| world.peer.replica.level(level as u8).len());
                    (world.report.clone(), (second % 3600 == 0).then(stored))
                };
                let before = || Moment::new(Timestamp::UNIX_EPOCH, SignedDuration::ZERO);
                let now = working.as_ref().map_or_else(before, |working: &Working| working.clock.now());
                see(&Seen { report, now, run, stored });
            }
        }
        drop(working);
    });
}
