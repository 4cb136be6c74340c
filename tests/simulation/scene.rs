//! An agent whose clock is set by hand and whose drills end as they are told.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::assessment::DatabaseReport;
use streamgauge::domain::drill::schedule::DrillLimits;
use streamgauge::domain::drill::{DrillRecord, DrillReport, DrillResult};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::target::{ReplicaLocation, S3Location, Target};
use streamgauge::infrastructure::clock::SystemClock;
use streamgauge::infrastructure::journal::SqliteJournal;
use streamgauge::usecase::ports::{Clock, Configured, DrillJob, DrillRunner};
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::agent::{Reloads, World, parts, target};

/// 2026-03-02 12:00:00 UTC.
pub(crate) const NOON: i64 = 1_772_452_800;

pub(crate) const HOUR: SignedDuration = SignedDuration::from_hours(1);
pub(crate) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A clock that begins at noon, and can be moved.
pub(crate) struct Hand {
    system: SystemClock,
    /// By which both clocks are ahead, and by which the wall clock alone is.
    ahead: Mutex<(SignedDuration, SignedDuration)>,
    begun: Moment,
}

impl Hand {
    pub(crate) fn new() -> Self {
        let system = SystemClock::start();
        let begun = system.now();
        Self { system, ahead: Mutex::default(), begun }
    }

    /// Time goes by.
    pub(crate) fn pass(&self, time: SignedDuration) {
        self.ahead.lock().unwrap().0 += time;
    }

    /// The wall clock is set.
    pub(crate) fn set(&self, by: SignedDuration) {
        self.ahead.lock().unwrap().1 += by;
    }
}

impl Clock for Hand {
    fn now(&self) -> Moment {
        let (both, wall) = *self.ahead.lock().unwrap();
        let mono = self.system.now().since(self.begun) + both;
        Moment::new(Timestamp::from_second(NOON).unwrap() + mono + wall, mono)
    }
}

/// How a drill ends.
#[derive(Clone)]
pub(crate) enum End {
    As(DrillResult),
    /// As passed, as soon as there is a permit.
    When(Arc<Semaphore>),
    Panics,
}

/// Runs drills as told, and remembers them.
pub(crate) struct Runner {
    clock: Arc<Hand>,
    end: Mutex<End>,
    pub(crate) jobs: Mutex<Vec<DrillJob>>,
    pub(crate) running: AtomicUsize,
    pub(crate) most: AtomicUsize,
    /// Drills that were dropped before their end.
    pub(crate) dropped: AtomicUsize,
}

/// A drill in progress.
pub(crate) struct Work<'a>(&'a Runner, bool);

impl Drop for Work<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.fetch_add(usize::from(!self.1), Ordering::SeqCst);
    }
}

#[async_trait]
impl DrillRunner for Runner {
    async fn drill(&self, job: DrillJob) -> DrillRecord {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        let mut work = Work(self, false);
        self.jobs.lock().unwrap().push(job.clone());
        let started_at = self.clock.now().wall();
        let end = self.end.lock().unwrap().clone();
        let result = match end {
            End::As(result) => result,
            End::When(permits) => {
                permits.acquire().await.unwrap().forget();
                DrillResult::Passed
            }
            End::Panics => panic!("told to panic"),
        };
        work.1 = true;
        let reason = (result != DrillResult::Passed).then(|| Reason::new(ReasonKind::Failed, "as told"));
        DrillRecord {
            database: job.database.to_string(),
            replica: job.replica.name,
            url: job.replica.location.url(),
            program: "test".into(),
            started_at,
            finished_at: self.clock.now().wall(),
            result,
            reason,
            incremental: !job.full,
            restored: None,
            checks: Vec::new(),
            probes: Vec::new(),
            downloaded_bytes: 131,
            requests: 1,
            estimated_dollars: 0.0,
            dollars: 0.0,
            restore_seconds: Some(1.0),
            seconds: 2.0,
        }
    }
}

/// An agent with a clock and a runner of its own.
pub(crate) struct Scene {
    pub(crate) world: Arc<World>,
    pub(crate) clock: Arc<Hand>,
    pub(crate) runner: Arc<Runner>,
    pub(crate) limits: DrillLimits,
    pub(crate) targets: Vec<Target>,
}

/// An agent at work.
pub(crate) struct Working {
    pub(crate) reloads: Reloads,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

impl Scene {
    /// Replicas in directories, or in buckets, of which each holds one snapshot of 131 bytes.
    pub(crate) fn new(names: &[&str], buckets: bool) -> Self {
        let world = Arc::new(World::default());
        let clock = Arc::new(Hand::new());
        let runner = Runner {
            clock: Arc::clone(&clock),
            end: Mutex::new(End::As(DrillResult::Passed)),
            jobs: Mutex::default(),
            running: AtomicUsize::default(),
            most: AtomicUsize::default(),
            dropped: AtomicUsize::default(),
        };
        let targets = names.iter().map(|name| {
            world.filled(name, 3);
            let mut target = target(name, false, name);
            if buckets {
                let s3 = S3Location { bucket: (*name).to_owned(), ..S3Location::default() };
                Arc::make_mut(&mut target.replicas[0]).location = ReplicaLocation::S3(Box::new(s3));
            }
            target
        });
        let targets = targets.collect();
        Self { world, clock, runner: Arc::new(runner), limits: DrillLimits::default(), targets }
    }

    pub(crate) fn end(&self, end: End) {
        *self.runner.end.lock().unwrap() = end;
    }

    /// An agent that keeps its history in a directory.
    pub(crate) fn start(&self, directory: &Path) -> Working {
        self.start_as(self.world.configure_with(self.targets.clone(), 32, self.limits.clone()), directory)
    }

    pub(crate) fn start_as(&self, configured: Configured, directory: &Path) -> Working {
        let parts = AgentParts {
            clock: Arc::clone(&self.clock) as Arc<dyn Clock>,
            journal: Some(Box::new(SqliteJournal::new(directory))),
            drills: Some(Arc::clone(&self.runner) as Arc<dyn DrillRunner>),
            ..parts(&self.world)
        };
        let (reloads, requests) = mpsc::channel(8);
        let agent = Agent::start(parts, configured, requests).unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(agent.run(async move { drop(stopped.await) }));
        Working { reloads, stop, ended }
    }

    pub(crate) fn jobs(&self) -> Vec<String> {
        self.runner.jobs.lock().unwrap().iter().map(|job| job.database.to_string()).collect()
    }

    /// The drills of a database as soon as they are as they should be.
    pub(crate) async fn drills(&self, name: &str, what: impl Fn(&DrillReport) -> bool) -> DrillReport {
        let database = self.world.wait_for(name, |database| drill(database).is_some_and(&what)).await;
        drill(&database).unwrap().clone()
    }

    /// The drills of a database as soon as the next one is planned.
    pub(crate) async fn planned(&self, name: &str) -> DrillReport {
        self.drills(name, |drill| drill.history.next_due_at.is_some()).await
    }

    /// From now to the next drill of a database.
    pub(crate) async fn next(&self, name: &str) -> SignedDuration {
        let drill = self.planned(name).await;
        drill.history.next_due_at.unwrap().duration_since(self.clock.now().wall())
    }

    /// Lets the agent look at everything a few times.
    pub(crate) async fn turns(&self) {
        for _ in 0..3 {
            for target in &self.targets {
                self.world.store(&target.name.0).calls();
            }
            for target in &self.targets {
                let store = self.world.store(&target.name.0);
                self.world.wait_for(&target.name.0, |_| store.calls().iter().sum::<usize>() > 0).await;
            }
        }
    }
}

impl Working {
    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap();
    }
}

pub(crate) fn drill(database: &DatabaseReport) -> Option<&DrillReport> {
    database.replicas.first()?.drill.as_deref()
}

/// What becomes of something in time.
pub(crate) async fn until<T>(mut what: impl FnMut() -> Option<T>) -> T {
    // Nothing asserts how long things take; this only ends a test that hangs.
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        if let Some(known) = what() {
            return known;
        }
        assert!(Instant::now() < deadline, "it does not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn between(duration: SignedDuration, least: SignedDuration, most: SignedDuration) {
    assert!(least <= duration && duration <= most, "{duration:?} is not between {least:?} and {most:?}");
}
