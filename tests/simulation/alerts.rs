//! Alerts of the agent: from a bucket that says no to whoever is told, over reloads and over kills.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use rusqlite::Connection;
use streamgauge::domain::alert::{Alert, AlertState};
use streamgauge::domain::alerting::{Alerting, Silence};
use streamgauge::domain::assessment::{ReceiverReport, SourceReport};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::report::Report;
use streamgauge::domain::verdict::Status;
use streamgauge::infrastructure::journal::SqliteJournal;
use streamgauge::usecase::ports::{AlertBoard, AlertOutlet, Clock, Configured};
use streamgauge::usecase::watch::{Agent, AgentParts};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::agent::{Reloads, World, parts, reload, replica, target};
use crate::faulty_store::Fate;
use crate::scene::{Hand, until};
use crate::world::{at, put, wal};

/// Both clocks of a run that began when `origin` had passed.
struct Run {
    hand: Arc<Hand>,
    origin: SignedDuration,
}

impl Clock for Run {
    fn now(&self) -> Moment {
        let now = self.hand.now();
        Moment::new(now.wall(), now.mono() - self.origin)
    }
}

/// Remembers what it is told.
#[derive(Default)]
struct Outlet {
    /// The last board, and each state of the alert that tests are about, as it came.
    board: Mutex<Option<AlertBoard>>,
    states: Mutex<Vec<AlertState>>,
    silences: Mutex<usize>,
    unsaved: Mutex<Option<String>>,
    restored: Mutex<Option<String>>,
}

impl AlertOutlet for Outlet {
    fn configure(&self, alerting: &Alerting) {
        *self.silences.lock().unwrap() = alerting.silences.len();
    }

    fn tell(&self, board: AlertBoard) {
        let mut states = self.states.lock().unwrap();
        if let Some(alert) = find(&board.alerts).filter(|alert| states.last() != Some(&alert.state)) {
            states.push(alert.state);
        }
        *self.board.lock().unwrap() = Some(board);
    }

    fn report(&self) -> Vec<ReceiverReport> {
        vec![ReceiverReport { receiver: "ops".into(), kind: "webhook", ..ReceiverReport::default() }]
    }

    fn unsaved(&self) -> Option<String> {
        self.unsaved.lock().unwrap().take()
    }

    fn restore(&self, saved: &str) {
        *self.restored.lock().unwrap() = Some(saved.to_owned());
    }
}

/// The alert that these tests are about.
const CHECK: &str = "ReplicaUnverifiable";

fn find(alerts: &[Arc<Alert>]) -> Option<&Arc<Alert>> {
    alerts.iter().find(|alert| alert.name() == CHECK && alert.labels["severity"] == "warning")
}

/// An agent, whom it tells, and the time it lives in.
struct Life {
    world: Arc<World>,
    hand: Arc<Hand>,
    outlet: Arc<Outlet>,
    reloads: Reloads,
    task: JoinHandle<()>,
}

impl Life {
    fn start(world: &Arc<World>, hand: &Arc<Hand>, storage: Option<&Path>) -> Self {
        let configured = world.configure_alerting(vec![target("app", false, "/app")], alerting(Vec::new()));
        let outlet = Arc::new(Outlet::default());
        let parts = AgentParts {
            clock: Arc::new(Run { hand: Arc::clone(hand), origin: hand.now().mono() }),
            journal: storage.map(|path| Box::new(SqliteJournal::new(path)) as _),
            alerts: Some(Arc::clone(&outlet) as _),
            ..parts(world)
        };
        *world.report.lock().unwrap() = None;
        let (reloads, requests) = mpsc::channel(8);
        let agent = Agent::start(parts, configured, requests).unwrap();
        let task = tokio::spawn(agent.run(std::future::pending()));
        Self { world: Arc::clone(world), hand: Arc::clone(hand), outlet, reloads, task }
    }

    /// Ends it where it stands; nothing is saved any more.
    async fn kill(self) {
        self.task.abort();
        // It was cancelled.
        let _ = self.task.await;
    }

    /// The published report as soon as its alert is as it should be.
    async fn wait_for(&self, what: impl Fn(Option<&Arc<Alert>>) -> bool) -> Report {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let report = self.world.report.lock().unwrap().clone();
            let alert = report.as_ref().and_then(|report| find(&report.alerts));
            match &report {
                Some(report) if what(alert) => return report.clone(),
                _ => assert!(Instant::now() < deadline, "the alert is {alert:?}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn wait_for_state(&self, state: Option<AlertState>) -> Report {
        self.wait_for(|alert| alert.map(|alert| alert.state) == state).await
    }

    fn pass(&self, seconds: i64) {
        self.hand.pass(SignedDuration::from_secs(seconds));
    }

    /// The bucket answers again; its turn to be asked comes.
    async fn heal(&self) {
        self.world.store("/app").heal();
        self.pass(60);
        self.world.wait_for("app", |app| replica(app).up == Some(true)).await;
    }

    /// Everything was evaluated once more.
    async fn evaluated(&self) {
        let now = self.hand.now().wall();
        let later = || self.outlet.board.lock().unwrap().as_ref().is_some_and(|board| board.at > now);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !later() {
            assert!(Instant::now() < deadline, "no evaluation");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn told(&self) -> Vec<AlertState> {
        self.outlet.states.lock().unwrap().clone()
    }
}

fn alerting(silences: Vec<Silence>) -> Alerting {
    let labels = BTreeMap::from([("job".to_owned(), "streamgauge".to_owned())]);
    Alerting { evaluation_interval: Duration::from_millis(50), labels, silences, ..Alerting::default() }
}

/// A replica that was verified, and then denied for so long that it is noticed.
async fn denied(life: &Life) {
    life.world.wait_for("app", |app| replica(app).up == Some(true)).await;
    life.world.store("/app").script(|_| Fate::Fails(ReasonKind::Denied));
    life.pass(700);
}

fn fresh() -> (Arc<World>, Arc<Hand>) {
    let (world, hand) = (Arc::new(World::default()), Arc::new(Hand::new()));
    // A snapshot that was just taken.
    let taken = hand.now().wall().duration_since(at(100).wall()).as_secs();
    put(&world.store("/app").inner, 9, 1, 3, taken, Some(wal(100, 9)));
    (world, hand)
}

#[tokio::test]
async fn alert_is_shown_told_silenced_and_over() {
    let (world, hand) = fresh();
    let life = Life::start(&world, &hand, None);
    denied(&life).await;
    let report = life.wait_for_state(Some(AlertState::Pending)).await;
    let verdict = report.verdicts.databases[0].iter().find(|verdict| verdict.check == CHECK).unwrap();
    assert_eq!(verdict.status, Status::Fail, "time alone turned the verdict, and it is shown as the alert is");
    assert_eq!(report.assessment.agent.receivers[0].receiver, "ops");
    life.pass(310);
    let report = life.wait_for_state(Some(AlertState::Firing)).await;
    let alert = find(&report.alerts).unwrap();
    assert_eq!((alert.labels["job"].as_str(), alert.labels["replica"].as_str()), ("streamgauge", "file"));
    assert!(alert.annotations["description"].contains("scripted"), "{alert:?}");
    assert_eq!(life.told(), [AlertState::Firing], "what is pending is not told");

    let silence = Silence { reason: "moving".into(), checks: vec![CHECK.into()], ..Silence::default() };
    world.configure_alerting(vec![target("app", false, "/app")], alerting(vec![silence]));
    reload(&life.reloads).await.await.unwrap().unwrap();
    let suppressed = |alert: Option<&Arc<Alert>>| alert.and_then(|alert| alert.suppressed.clone());
    life.wait_for(|alert| suppressed(alert).as_deref() == Some("silenced: moving")).await;
    assert_eq!(*life.outlet.silences.lock().unwrap(), 1);
    world.configure_alerting(vec![target("app", false, "/app")], alerting(Vec::new()));
    reload(&life.reloads).await.await.unwrap().unwrap();
    life.wait_for(|alert| suppressed(alert).is_none()).await;

    life.heal().await;
    life.evaluated().await;
    life.pass(310);
    life.wait_for_state(Some(AlertState::Resolved)).await;
    life.pass(910);
    life.wait_for_state(None).await;
    assert_eq!(life.told(), [AlertState::Firing, AlertState::Resolved]);
    life.kill().await;
}

#[tokio::test]
async fn an_alert_of_what_is_no_longer_watched_is_not_resolved() {
    let (world, hand) = fresh();
    let life = Life::start(&world, &hand, None);
    let source = |databases| {
        let (source, warnings) = ("litestream.yml".to_owned(), Vec::new());
        vec![SourceReport { source, success: true, databases, warnings, error: None }]
    };
    let all = world.configure_alerting(vec![target("app", false, "/app")], alerting(Vec::new()));
    world.reconfigure(Configured { sources: source(1), ..all.clone() });
    reload(&life.reloads).await.await.unwrap().unwrap();
    denied(&life).await;
    life.wait_for_state(Some(AlertState::Pending)).await;
    life.pass(310);
    life.wait_for_state(Some(AlertState::Firing)).await;

    // The file is emptied, and nobody said so.
    let none = Configured { targets: Vec::new(), sources: source(0), ..all };
    world.reconfigure(none);
    for _ in 0..3 {
        life.pass(61);
        life.evaluated().await;
    }
    let doubted = |report: &Report| !report.assessment.agent.sources[0].success;
    let report = until(|| world.report.lock().unwrap().clone().filter(doubted)).await;
    assert_eq!(report.assessment.databases.len(), 1, "it stays watched");
    assert_eq!(find(&report.alerts).unwrap().state, AlertState::Firing);
    let verdict = report.verdicts.agent.iter().find(|verdict| verdict.check == "DiscoveryFailed").unwrap();
    assert_eq!(verdict.status, Status::Fail);
    assert_eq!(
        &*verdict.detail,
        "litestream.yml: it listed 1 database and now lists none; those it no longer lists stay watched; if that is on \
         purpose, reload with SIGHUP or with a password"
    );

    reload(&life.reloads).await.await.unwrap().unwrap();
    // Else the alert may be evaluated before the database is forgotten, and not again at this time.
    let forgotten = |report: &Report| report.assessment.databases.is_empty();
    until(|| world.report.lock().unwrap().clone().filter(forgotten)).await;
    life.evaluated().await;
    life.pass(310);
    let report = life.wait_for_state(Some(AlertState::Resolved)).await;
    let alert = find(&report.alerts).unwrap();
    assert_eq!(alert.ending(), "no longer watched", "{alert:?}");
    assert_eq!(
        (report.assessment.databases.len(), life.outlet.board.lock().unwrap().as_ref().unwrap().databases),
        (0, 0)
    );
    life.kill().await;
}

/// Waits until the journal says of alerts what it should, and of the target when it was verified.
async fn saved(storage: &Path, what: &str) {
    let file = Connection::open(storage.join("state.sqlite")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let entry = |select: &str| file.query_row(select, [], |row| row.get::<_, String>(0)).unwrap_or_default();
        let alerts = entry("SELECT state FROM entry WHERE kind = 'alerts'");
        let target = entry("SELECT state FROM target WHERE name = 'app'");
        if alerts.contains(CHECK) && alerts.contains(what) && target.contains("\"verified_at\":\"") {
            return;
        }
        assert!(Instant::now() < deadline, "{what} is not in {alerts} {target}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn kill_loses_neither_a_hold_nor_an_end_and_repeats_nothing() {
    let (world, hand) = fresh();
    let storage = tempfile::tempdir().unwrap();
    let life = Life::start(&world, &hand, Some(storage.path()));
    denied(&life).await;
    let report = life.wait_for_state(Some(AlertState::Pending)).await;
    let began = find(&report.alerts).unwrap().active_at;
    saved(storage.path(), "\"fired\":null").await;
    life.kill().await;

    // The hold went on while it was down.
    hand.pass(SignedDuration::from_secs(310));
    let life = Life::start(&world, &hand, Some(storage.path()));
    let report = life.wait_for_state(Some(AlertState::Firing)).await;
    let fired = find(&report.alerts).unwrap().clone();
    assert_eq!(fired.active_at, began);
    *life.outlet.unsaved.lock().unwrap() = Some("who was told what".into());
    saved(storage.path(), "\"fired\":[").await;
    let file = Connection::open(storage.path().join("state.sqlite")).unwrap();
    let notified = || {
        let select = "SELECT state FROM entry WHERE kind = 'notify'";
        file.query_row(select, [], |row| row.get::<_, String>(0)).ok()
    };
    while notified().as_deref() != Some("who was told what") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    life.kill().await;

    // It was repaired while it was down, and nobody knows yet.
    world.store("/app").script(|_| Fate::Hangs);
    hand.pass(SignedDuration::from_secs(1000));
    let life = Life::start(&world, &hand, Some(storage.path()));
    assert_eq!(life.outlet.restored.lock().unwrap().as_deref(), Some("who was told what"));
    let report = life.wait_for_state(Some(AlertState::Firing)).await;
    let alert = find(&report.alerts).unwrap();
    assert_eq!((alert.active_at, alert.fired_at), (began, fired.fired_at), "it is the same alert");
    life.kill().await;

    world.store("/app").heal();
    let life = Life::start(&world, &hand, Some(storage.path()));
    life.world.wait_for("app", |app| replica(app).up == Some(true)).await;
    life.evaluated().await;
    life.pass(310);
    life.wait_for_state(Some(AlertState::Resolved)).await;
    assert_eq!(life.told(), [AlertState::Firing, AlertState::Resolved]);
    life.kill().await;
}

#[tokio::test]
async fn an_idle_hour_raises_nothing() {
    let (world, hand) = fresh();
    let life = Life::start(&world, &hand, None);
    world.wait_for("app", |app| replica(app).up == Some(true)).await;
    for _ in 0..60 {
        life.pass(60);
        let before = world.report.lock().unwrap().as_ref().map(|report| report.generated_at);
        let verified = |at: Option<jiff::Timestamp>| at.is_some_and(|at| Some(at) > before);
        world.wait_for("app", |app| verified(replica(app).verified_at)).await;
        let report = world.report.lock().unwrap().clone().unwrap();
        assert!(report.alerts.is_empty(), "{:?}", report.alerts);
    }
    assert!(life.outlet.board.lock().unwrap().as_ref().unwrap().complete);
    life.kill().await;
}
