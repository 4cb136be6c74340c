//! What the log says of an hour in which every fault of the demo comes and goes: the agent of the demo at work on the
//! demo's database and replica, in a time that passes as fast as it is computed.
//!
//! The runtime's clock is paused, and this thread is the only one that acts: whenever everybody waits, time jumps to the
//! next instant at which somebody wakes. Here alone the replicator is in the agent's process: SQLite knows its own
//! connections, and no other process needs the locks that the agent's reading drops.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use streamgauge::delivery::cli::args::SourceArgs;
use streamgauge::delivery::cli::sources::{Sources, configured, stores};
use streamgauge::delivery::cli::version::{REVISION, VERSION};
use streamgauge::delivery::cli::{logging, run};
use streamgauge::delivery::demo::peer::{Peer, STEP};
use streamgauge::delivery::demo::{FAULTS, Fault, configure};
use streamgauge::domain::alert::AlertState;
use streamgauge::domain::alerting::{DeadmanTarget, ReceiverTarget};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::observation::Sighting;
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::report::Report;
use streamgauge::domain::target::{DatabaseFiles, TargetName};
use streamgauge::infrastructure::database::Watch;
use streamgauge::infrastructure::journal::SqliteJournal;
use streamgauge::usecase::notify::Outlet;
use streamgauge::usecase::ports::{
    AlertMessage, AlertReceiver, AlertReceivers, Clock, DatabaseWatch, DeadmanSwitch, LocalUpdate, PageReader,
};
use streamgauge::usecase::watch::{Agent, AgentParts};
use streamgauge_testkit::replicator::DATABASE;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::agent::{World, parts};

/// 2026-03-02 12:00:00 UTC, when it begins.
const NOON: i64 = 1_772_452_800;

/// Seconds of health before the first fault, of each fault, and at the least after it.
const CALM: i64 = 120;
const BROKEN: i64 = 120;
const WELL: i64 = 90;

/// Alerts are kept firing for five minutes, and what is damaged goes with Litestream's retention.
const ENDED_WITHIN: i64 = 900;

/// The runtime's clock, which is that of the agent, too.
#[derive(Clone, Copy)]
struct Simulated {
    began: Instant,
    wall: Timestamp,
}

impl Simulated {
    fn passed(self) -> SignedDuration {
        SignedDuration::try_from(self.began.elapsed()).unwrap()
    }
}

impl Clock for Simulated {
    fn now(&self) -> Moment {
        Moment::new(self.wall + self.passed(), self.passed())
    }
}

/// The real watch, which sees the database as one that is held open.
struct Held(Watch);

impl DatabaseWatch for Held {
    fn pages(&self) -> Option<Arc<dyn PageReader>> {
        self.0.pages()
    }

    fn set_targets(&mut self, targets: Vec<(TargetName, Arc<DatabaseFiles>)>) {
        self.0.set_targets(targets);
    }

    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate> {
        self.0.poll(now).into_iter().map(held).collect()
    }

    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate> {
        self.0.sweep(now, count).into_iter().map(held).collect()
    }

    fn look(&mut self, target: &TargetName, now: Moment) -> Option<LocalUpdate> {
        self.0.look(target, now).map(held)
    }
}

/// The locks of this process do not show to itself, and it is called neither `litestream` nor as the demo's peer is.
fn held(mut update: LocalUpdate) -> LocalUpdate {
    if let Some(posture) = &mut update.posture {
        (posture.open, posture.litestream) = (Some(true), Sighting::Attached(1));
    }
    update
}

/// Where the log goes, a line at a time.
#[derive(Clone)]
struct Log {
    clock: Simulated,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines.lock().unwrap())
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // `ts=` says when the test ran.
        let (_, rest) = str::from_utf8(line).unwrap().trim_end().split_once(' ').unwrap();
        let text = format!("ts={} {rest}", self.clock.now().wall().strftime("%Y-%m-%dT%H:%M:%SZ"));
        self.lines.lock().unwrap().push(without_size(text));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What is written is random, and with it how much that is.
fn without_size(line: String) -> String {
    let size = line.split_once(" at_risk=\"").and_then(|(_, rest)| rest.split_once('"'));
    let line = size.map(|(size, _)| line.replace(size, "SIZE")).unwrap_or(line);
    let lost = line.split_once(" would be lost").and_then(|(before, _)| before.rsplit_once("; "));
    lost.map(|(_, size)| line.replace(size, "SIZE")).unwrap_or(line)
}

/// A receiver that can be told to fail.
#[derive(Clone, Default)]
struct Hook(Arc<AtomicBool>);

#[async_trait]
impl AlertReceiver for Hook {
    async fn send(&self, _: &AlertMessage) -> Result<(), Reason> {
        match self.0.load(Ordering::Relaxed) {
            true => Err(Reason::new(ReasonKind::Unreachable, "send to hook.example: connection refused")),
            false => Ok(()),
        }
    }
}

impl AlertReceivers for Hook {
    fn open(&self, _: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>> {
        vec![Arc::new(self.clone())]
    }

    fn open_deadman(&self, _: &DeadmanTarget) -> Arc<dyn DeadmanSwitch> {
        unreachable!("there is none")
    }
}

/// The demo, its agent, and what that logs.
struct Hour {
    peer: Peer,
    clock: Simulated,
    home: PathBuf,
    due: Instant,
    world: Arc<World>,
    log: Log,
}

impl Hour {
    async fn step(&mut self) {
        self.due += STEP;
        sleep_until(self.due).await;
        let now = self.clock.now().wall();
        self.peer.step(milliseconds(self.clock)).unwrap();
        // The system dates what SQLite writes by its own clock.
        for suffix in ["", "-wal"] {
            let file = self.home.join(format!("{DATABASE}{suffix}"));
            File::options().write(true).open(file).unwrap().set_modified(now.into()).unwrap();
        }
    }

    /// Lives on, and says what was logged.
    async fn pass(&mut self, seconds: i64) -> Vec<String> {
        let end = self.clock.passed().as_secs() + seconds;
        while self.clock.passed().as_secs() < end {
            self.step().await;
        }
        self.log.take()
    }

    /// Lives on until no alert fires.
    async fn calm_down(&mut self) -> Vec<String> {
        let firing = |report: &Report| report.alerts.iter().any(|alert| alert.state == AlertState::Firing);
        let mut lines = self.pass(WELL).await;
        let end = self.clock.passed().as_secs() + ENDED_WITHIN;
        while self.world.report.lock().unwrap().as_ref().is_some_and(firing) {
            assert!(self.clock.passed().as_secs() < end, "an alert does not end: {lines:#?}");
            lines.extend(self.pass(15).await);
        }
        lines
    }

    /// Lives through a fault, and says what was logged while it lasted and after its end.
    async fn suffer(&mut self, fault: &Fault) -> [Vec<String>; 2] {
        while self.peer.suffer(fault).unwrap().is_none() {
            self.step().await;
        }
        let broken = self.pass(BROKEN).await;
        self.peer.recover().unwrap();
        let well = self.calm_down().await;
        assert_eq!(self.pass(60).await, [""; 0], "a minute after {}", fault.name);
        [broken, well]
    }
}

#[test]
fn log_of_an_hour_with_every_fault_is_as_checked_in() {
    let home = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let log = runtime.block_on(live(home.path()));
    let log = log.replace(home.path().to_str().unwrap(), "/demo").replace(VERSION, "VERSION");
    let log = log.replace(&format!("revision={REVISION}"), "revision=REVISION");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/golden/hour.log");
    if std::env::var_os("UPDATE").is_some() {
        fs::create_dir_all(golden.parent().unwrap()).unwrap();
        fs::write(&golden, &log).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(log == expected, "not as in {}; UPDATE=1 writes it anew:\n{log}", golden.display());
}

/// Lives through all faults, one after the other, and says what is logged.
async fn live(home: &Path) -> String {
    let clock = Simulated { began: Instant::now(), wall: Timestamp::from_second(NOON).unwrap() };
    let mut peer = Peer::open(home).unwrap();
    peer.replicator.tick(milliseconds(clock)).unwrap();
    let config = configure(home).unwrap();
    let hook = "[[receiver]]\nname = \"hook\"\nkind = \"webhook\"\nurl = \"http://hook.example\"\n";
    File::options().append(true).open(&config).unwrap().write_all(hook.as_bytes()).unwrap();
    let sources = Sources::new(&SourceArgs { config_file: Some(config), ..SourceArgs::default() });
    let loaded = sources.read().unwrap();
    let (log, hook) = (Log { clock, lines: Arc::default() }, Hook::default());
    let out = log.clone();
    let _subscribed = tracing::subscriber::set_default(logging::subscriber(&loaded.settings.log, move || out.clone()));
    run::say_started(&loaded, &["127.0.0.1:10099".to_owned()]);
    let world = Arc::new(World::default());
    let agent = AgentParts {
        clock: Arc::new(clock),
        watch: Box::new(Held(Watch::new())),
        run_watch: |watch| {
            tokio::spawn(watch);
            Ok(())
        },
        stores: stores(&loaded.settings),
        configuration: Arc::new(sources),
        journal: loaded.settings.storage.as_deref().map(|path| Box::new(SqliteJournal::new(path)) as Box<_>),
        alerts: Some(Arc::new(Outlet::new(Arc::new(clock), Arc::new(hook.clone())))),
        ..parts(&world)
    };
    let (_reloads, requests) = mpsc::channel(1);
    let agent = Agent::start(agent, configured(loaded), requests).unwrap();
    let agent = tokio::spawn(agent.run(std::future::pending()));
    // Never at the instants at which the agent wakes.
    let due = Instant::now() + STEP / 2;
    let mut hour = Hour { peer, clock, home: home.to_owned(), due, world, log };
    let started = hour.pass(CALM).await;
    assert_eq!(started.len(), 1, "{started:#?}");
    let mut text = started.concat() + "\n";
    for fault in FAULTS {
        text += &format!("\n# {}: {}\n", fault.name, fault.does);
        let [broken, well] = hour.suffer(fault).await;
        judge(fault, &broken, &well);
        broken.iter().for_each(|line| text += &format!("{line}\n"));
        text += &format!("# {} is over\n", fault.name);
        well.iter().for_each(|line| text += &format!("{line}\n"));
    }
    // When it is tried again is left to chance.
    hook.0.store(true, Ordering::Relaxed);
    assert!(hour.peer.suffer(&FAULTS[0]).unwrap().is_some());
    let broken = hour.pass(BROKEN).await;
    hook.0.store(false, Ordering::Relaxed);
    hour.peer.recover().unwrap();
    let well = hour.calm_down().await;
    let about =
        |lines: &[String]| lines.iter().filter(|line| line.contains("receiver=hook")).cloned().collect::<Vec<_>>();
    let ([failing], [again]) = (&about(&broken)[..], &about(&well)[..]) else { panic!("{broken:#?} {well:#?}") };
    assert!(
        failing.contains("level=warn") && failing.contains("kind=unreachable reason=\"send to hook.example:"),
        "{failing}"
    );
    assert!(again.contains("level=info") && again.contains(" after="), "{again}");
    agent.abort();
    text
}

/// One line when it begins and one when it ends, with what is about it by name; alerts come and go in pairs.
fn judge(fault: &Fault, broken: &[String], well: &[String]) {
    let name = fault.name;
    let of = |lines: &[String], words: &str| -> Vec<String> {
        lines.iter().filter(|line| line.contains(words)).cloned().collect()
    };
    let all = [broken, well].concat();
    if fault.noticed.starts_with("nothing:") {
        assert_eq!(all, [""; 0], "{name}");
        return;
    }
    let (bad, good) = (of(broken, " is bad\""), of(well, " is well again\""));
    assert_eq!((bad.len(), good.len()), (1, 1), "{name}: {all:#?}");
    let cause = match name {
        "stall" | "upload" => "check=ReplicationLag",
        "gap" => "check=ReplicaGap",
        "corrupt" | "truncate" => "kind=corrupt",
        "delete-snapshot" => "check=NotRestorable",
        "empty" => "check=NeverReplicated",
        "unreadable" => "kind=not_found",
        _ => panic!("what does {name} show?"),
    };
    assert!(bad[0].contains(&format!(" {cause} ")), "{name}: {bad:?}");
    let critical = of(broken, "\"alert firing\"").iter().any(|line| line.contains(" severity=critical "));
    assert_eq!(critical, name != "unreadable", "{name}: {broken:#?}");
    let other = of(&all, "for another reason");
    assert!(other.len() <= 1, "{name}: {all:#?}");
    for line in [&bad, &good].into_iter().flatten() {
        assert!(line.contains(" database=app replica=file "), "{name}: {line}");
        assert!(line.contains(" check=") || line.contains(" kind="), "{name}: {line}");
        assert!(line.contains(" safe_until="), "{name}: {line}");
    }
    let alerts = |words: &str| -> BTreeSet<String> {
        let lines = of(&all, words);
        let alerts = lines.iter().map(|line| {
            let (_, rest) = line.split_once(" alert=").unwrap();
            rest.split(' ').take(4).collect::<Vec<_>>().join(" ")
        });
        let alerts: BTreeSet<String> = alerts.collect();
        assert_eq!(alerts.len(), lines.len(), "{name}: {all:#?}");
        alerts
    };
    let (fired, resolved) = (alerts("\"alert firing\""), alerts("\"alert resolved\""));
    assert_eq!(fired, resolved, "{name}: {all:#?}");
    assert_eq!(all.len(), 2 + other.len() + 2 * fired.len(), "{name}: {all:#?}");
}

fn milliseconds(clock: Simulated) -> u64 {
    clock.now().wall().as_millisecond().cast_unsigned()
}
