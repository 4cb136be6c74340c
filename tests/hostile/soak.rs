//! An hour of faults, one after the other, each lifted again, beside databases that are written, idle, and come and go: every
//! fault raises what it should and nothing else, ends when it is lifted, loses nothing and leaves nothing behind.
//!
//! `tests/soak/run` starts it. To add a fault: its entry in [`FAULTS`] or [`WARMING_UP`].

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use streamgauge::domain::check::{WATCHDOG, catalogue};

use super::bystanders::{garbage, strangers, turn};
use super::lab::agent::Agent;
use super::lab::clock::LabClock;
use super::lab::litestream::Litestream;
use super::lab::s3::S3;
use super::lab::{Lab, command, http, wait_for};
use super::server::Liar;
use super::stores::{HOSTILE, replica, watched};

const WRITTEN: usize = 40;
const IDLE: usize = 20;

/// `concurrency` of `[replica]`, as it is by default: a request has a connection of its own.
const CONNECTIONS_MAX: u64 = 32;

/// Litestream deletes as fast as it writes after a quarter of an hour: what grows after that is the agent.
const STEADY: &str = "snapshot: {interval: 5m, retention: 10m}\nl0-retention: 1m\n";

const TOML: &str = r#"
[litestream]
config = [YAML]
discovery-interval = "5s"
[watch]
series-grace = "30s"
[replica]
timeout = "5s"
idle-interval = "1m"
reconcile-interval = "5m"
[verify]
spot-interval = "5m"
[objectives]
rpo = "1m"
[drill]
interval = "20m"
scratch = "SCRATCH"
"#;

/// Commits a row in one database after the other, each every ten seconds; the idle ones stay open.
const WRITER: &str = r#"
import os, sqlite3, sys, time
os.umask(0o077)
def opened(name):
    db = sqlite3.connect(f"{sys.argv[1]}/{name}.db", isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, b)")
    db.execute("INSERT INTO t(b) VALUES (1)")
    return db
idle = [opened(f"i{number:03}") for number in range(int(sys.argv[3]))]
written = [opened(f"t{number:03}") for number in range(int(sys.argv[2]))]
print("ready", flush=True)
while True:
    for db in written:
        db.execute("INSERT INTO t(b) VALUES (hex(randomblob(50)))")
        time.sleep(10 / len(written))
"#;

/// Makes ten databases, writes to them for a while, deletes them, and begins again.
const TIDES: &str = r#"
import glob, os, shutil, sqlite3, sys, time
os.umask(0o077)
home, round = sys.argv[1], 0
while True:
    names = [f"{home}/c{round % 10}{number:02}.db" for number in range(10)]
    dbs = [sqlite3.connect(name, isolation_level=None) for name in names]
    for db in dbs:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, b)")
    for _ in range(20):
        for db in dbs:
            db.execute("INSERT INTO t(b) VALUES (hex(randomblob(50)))")
        time.sleep(1)
    for db in dbs:
        db.close()
    for name in names:
        for file in glob.glob(name + "*"):
            os.remove(file)
        shutil.rmtree(f"{home}/.{os.path.basename(name)}-litestream", ignore_errors=True)
    round += 1
"#;

/// One fault.
struct Fault {
    name: &'static str,
    /// For how many seconds of a run of an hour; shorter runs have shorter faults.
    lasts: u64,
    /// The checks that have to notice, each at the latest after so many seconds.
    raises: &'static [(&'static str, u64)],
    /// Checks that may fail as well, because what they judge is in fact so.
    may: &'static [&'static str],
    begin: fn(&mut Site),
    /// Called each second, with how many have passed.
    meanwhile: fn(&mut Site, u64),
    end: fn(&mut Site),
}

/// Judges the last quarter of an hour, and so ends long after what it is about.
const LINGERS: &str = "StoreErrors";

/// What is so of the lab: its server keeps no versions. And the alert that always fires.
const ALWAYS: [&str; 2] = ["BucketVersioningOff", WATCHDOG];

const CLIENTS: Fault = Fault {
    name: "clients in the way",
    lasts: 120,
    raises: &[],
    may: &[],
    begin: |site| {
        let over = Arc::new(AtomicBool::new(false));
        site.strangers = Some((strangers(&site.agent().address, &over), over));
    },
    meanwhile: |_, _| {},
    end: |site| {
        let (strangers, over) = site.strangers.take().unwrap();
        over.store(true, std::sync::atomic::Ordering::Relaxed);
        strangers.into_iter().for_each(|stranger| stranger.join().unwrap());
    },
};

const LIARS: Fault = Fault {
    name: "lying stores, garbage for databases",
    lasts: 150,
    raises: &[("DiscoveryFailed", 60)],
    may: &["StoreErrors", "ConfigReloadFailed", "ClockSkew"],
    begin: Site::watch_liars,
    meanwhile: |site, second| {
        let good = format!("dbs: [{{path: {0}/second.db, replica: {{type: file, path: {0}/second}}}}]\n", site.home());
        turn(&site.path("second.yml"), &good, second / 10);
    },
    end: |site| {
        let toml = site.toml.clone();
        site.reload(&toml);
        site.liars.clear();
    },
};

const CHURN: Fault = Fault {
    name: "databases come and go",
    lasts: 180,
    raises: &[],
    may: &[],
    begin: |site| {
        let mut churn = site.lab.program("py/bin/python");
        site.churn = Some(churn.args(["-c", TIDES]).arg(site.path("tenants")).spawn().unwrap());
    },
    meanwhile: |_, _| {},
    end: |site| {
        stop(site.churn.take());
        for file in fs::read_dir(site.path("tenants")).unwrap() {
            let file = file.unwrap().path();
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            // Litestream may be writing there until it has noticed.
            if name.starts_with('c') {
                drop(fs::remove_file(file));
            } else if name.starts_with(".c") {
                drop(fs::remove_dir_all(file));
            }
        }
    },
};

/// The first faults, in the order of the run: what lingers comes first. Memory is compared from their end on, in a process
/// that has seen its first flood: the second one has to find room in what the first one took.
const WARMING_UP: &[Fault] = &[
    Fault {
        name: "store stopped",
        lasts: 480,
        // Nobody can say whether anything is replicated meanwhile: after 15 minutes that is ReplicaUnverifiable.
        raises: &[("StoreErrors", 60)],
        may: &["ReplicationLag"],
        begin: |site| site.s3.as_mut().unwrap().stop(),
        meanwhile: |_, _| {},
        end: Site::restore_store,
    },
    Fault {
        name: "Litestream stopped, agent killed",
        lasts: 340,
        raises: &[("LitestreamDown", 45), ("ReplicationLag", 85)],
        may: &[],
        begin: |site| {
            site.litestream.take().unwrap().process.stop();
        },
        meanwhile: |site, second| {
            if second == site.length(340) * 9 / 10 {
                site.kill_agent();
            }
        },
        end: Site::replicate,
    },
    CLIENTS,
    LIARS,
    CHURN,
];

/// The other ones.
const FAULTS: &[Fault] = &[
    Fault {
        name: "store denies access",
        lasts: 90,
        // StoreErrors comes after five minutes of it (tests/detection). For so long Litestream waits between its attempts that
        // there is a lag of minutes afterwards, which drills rightly fail for.
        raises: &[],
        may: &["StoreErrors", "ReplicationLag"],
        begin: |site| site.s3 = site.s3.take().map(|s3| site.lab.rclone_revoked(s3)),
        meanwhile: |_, _| {},
        end: Site::restore_store,
    },
    Fault {
        name: "clock set ahead ten minutes",
        lasts: 120,
        raises: &[("ClockSkew", 30)],
        may: &[],
        begin: |site| site.clock.step(600),
        meanwhile: |_, _| {},
        end: |site| site.clock.step(-600),
    },
    Fault {
        name: "state directory gone, read-only in its place",
        lasts: 100,
        raises: &[("StateNotSaved", 75)],
        may: &[],
        begin: |site| site.mount(&["mount", "-t", "tmpfs", "-o", "ro", "tmpfs"]),
        meanwhile: |_, _| {},
        end: |site| site.mount(&["umount"]),
    },
    Fault {
        // The log of state.sqlite has its blocks already, so that saving goes on until it needs more.
        name: "state disk full",
        lasts: 180,
        raises: &[],
        may: &["StateNotSaved"],
        begin: |site| drop(fs::write(site.path("state/ballast"), vec![1; 64 << 20])),
        meanwhile: |_, _| {},
        end: |site| fs::remove_file(site.path("state/ballast")).unwrap(),
    },
    CLIENTS,
    LIARS,
    CHURN,
];

/// Everything that runs.
struct Site {
    home: tempfile::TempDir,
    lab: Lab,
    minutes: u64,
    clock: LabClock,
    toml: String,
    s3: Option<S3>,
    litestream: Option<Litestream>,
    agent: Option<Agent>,
    writer: Option<Child>,
    churn: Option<Child>,
    liars: Vec<Liar>,
    strangers: Option<(Vec<thread::JoinHandle<()>>, Arc<AtomicBool>)>,
    seen: Seen,
}

/// What was measured.
#[derive(Default)]
struct Seen {
    scrapes: Vec<Duration>,
    /// While there is no fault, since the process last began or was warm.
    rest: Vec<Rest>,
    missed: BTreeMap<String, u64>,
    panics: usize,
    wrong: BTreeSet<String>,
}

/// What the process uses.
struct Rest {
    /// Seconds of the run.
    at: f64,
    bytes: u64,
    /// Without connections to the store, which are kept for 90 seconds after a request, and of which there are as many as
    /// there were requests at once.
    descriptors: u64,
    connections: u64,
    threads: u64,
}

impl Rest {
    fn now(began: Instant, process: u32, store: u16) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap();
        let status = read("status");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
        };
        let port = format!(":{store:04X}");
        let sockets: HashSet<String> =
            (read("net/tcp").lines().map(|line| line.split_whitespace().collect::<Vec<_>>()))
                .filter(|fields| fields[2].ends_with(&port))
                .map(|fields| format!("socket:[{}]", fields[9]))
                .collect();
        let opened = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
        let names = opened.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let (connections, others): (Vec<_>, Vec<_>) = names.partition(|name| sockets.contains(name.to_str().unwrap()));
        Self {
            at: began.elapsed().as_secs_f64(),
            bytes: field("VmRSS") << 10,
            descriptors: others.len() as u64,
            connections: connections.len() as u64,
            threads: field("Threads"),
        }
    }
}

/// An alert that is pending or fires: its check, what it is about, since when, and whether it fires.
type Up = (String, String, String, bool);

impl Drop for Site {
    fn drop(&mut self) {
        stop(self.churn.take());
        stop(self.writer.take());
        drop(self.agent.take());
        // Whatever is left goes with the machine.
        let _ = command("umount").arg("-lR").arg(self.path("state")).status();
    }
}

fn stop(child: Option<Child>) {
    if let Some(mut child) = child {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Site {
    fn new(minutes: u64) -> Self {
        let (lab, home) = (Lab::find(), tempfile::tempdir().unwrap());
        let path = |name: &str| home.path().join(name);
        ["tenants", "state", "s3", "scratch"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
        fs::set_permissions(path("scratch"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let mounted = command("mount").args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(path("state")).status();
        assert!(mounted.unwrap().success(), "mounting a small file system is for root");
        let mut writer = lab.program("py/bin/python");
        writer.args(["-c", WRITER]).arg(path("tenants")).args([WRITTEN.to_string(), IDLE.to_string()]);
        let mut writer = writer.stdout(Stdio::piped()).spawn().unwrap();
        std::io::Read::read_exact(writer.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        let s3 = lab.rclone(&path("s3"));
        s3.create_bucket("bucket");
        let toml = TOML.replace("YAML", &format!("{:?}", path("litestream.yml")));
        let toml = toml.replace("SCRATCH", &path("scratch").display().to_string());
        let mut site = Self {
            clock: LabClock::new(home.path(), 0),
            home,
            lab,
            minutes,
            toml,
            s3: Some(s3),
            litestream: None,
            agent: None,
            writer: Some(writer),
            churn: None,
            liars: Vec::new(),
            strangers: None,
            seen: Seen::default(),
        };
        site.replicate();
        site.start_agent();
        site
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.home.path().join(name)
    }

    fn home(&self) -> std::path::Display<'_> {
        self.home.path().display()
    }

    fn agent(&self) -> &Agent {
        self.agent.as_ref().unwrap()
    }

    /// How many seconds something lasts that lasts so many in a run of an hour. A longer one rests longer in the end.
    fn length(&self, seconds: u64) -> u64 {
        (seconds * self.minutes.min(60) / 60).max(seconds.min(20))
    }

    fn replicate(&mut self) {
        let replica = self.s3.as_ref().unwrap().replica("bucket", "tenants");
        let yaml = format!(
            "{STEADY}dbs:\n  - {{dir: {}/tenants, pattern: '*.db', watch: true, replica: {{{replica}}}}}\n",
            self.home()
        );
        self.litestream = Some(self.lab.replicate("0.5.17", self.home.path(), &yaml));
    }

    fn restore_store(&mut self) {
        self.s3 = self.s3.take().map(|s3| self.lab.rclone_restored(s3));
    }

    fn start_agent(&mut self) {
        let state = self.path("state");
        // As it is shipped, while the tests are not built for speed; and as the service and the image start it.
        let binary = std::env::var_os("SOAK_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_streamgauge").into());
        let mut command = command(std::path::Path::new(&binary));
        command.env("MALLOC_ARENA_MAX", "1").env("MALLOC_MMAP_THRESHOLD_", "131072");
        self.clock.give(&mut command);
        self.agent = Some(Agent::start_by(command, self.home.path(), &self.toml, &state, &[]));
        self.agent().wait_until_ready();
        self.seen.rest.clear();
    }

    /// `kill -9` and a new start: names, alerts and histories are as they were.
    fn kill_agent(&mut self) {
        let names = |site: &Self| -> BTreeSet<String> {
            let report = site.agent().report();
            report["databases"].as_array().unwrap().iter().map(|database| database["name"].to_string()).collect()
        };
        // What is older than the interval in which histories are saved.
        let until = self.agent().report()["generated_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap()
            - jiff::SignedDuration::from_secs(660);
        let history = |site: &Self| {
            let asked = "/api/v1/history?database=t000&metric=streamgauge_database_size_bytes";
            let answer = site.agent().get(&format!("{asked}&until={until}")).json();
            (answer["since"].clone(), answer["points"].clone())
        };
        let fires = |site: &Self| site.up().into_iter().filter(|up| up.3).collect::<BTreeSet<_>>();
        let before = (names(self), history(self), fires(self));
        self.seen.panics += self.agent().process.log_lines("panicked");
        self.agent().process.signal(Signal::KILL);
        self.start_agent();
        let after = (names(self), history(self), fires(self));
        let (points, fire) = (before.1.1.as_array().map_or(0, Vec::len), before.2.len());
        say(&format!("  killed: {} names, {points} points of a history, {fire} alerts that fire", before.0.len()));
        // In a short run nothing is old enough to have been saved.
        let history = points == 0 && self.minutes < 60 || before.1 == after.1 && points > 0;
        for (what, same) in [("names", before.0 == after.0), ("history", history), ("alerts", before.2 == after.2)] {
            if !same {
                self.seen.wrong.insert(format!("{what} changed with kill -9: {before:?} {after:?}"));
            }
        }
    }

    /// Does something to what is mounted at the state directory.
    fn mount(&self, how: &[&str]) {
        let done = command(how[0]).args(&how[1..]).arg(self.path("state")).status();
        assert!(done.unwrap().success(), "mounting is for root");
    }

    fn reload(&self, toml: &str) {
        fs::write(&self.agent().config, toml).unwrap();
        self.agent().process.signal(Signal::HUP);
    }

    fn watch_liars(&mut self) {
        // Another one each time.
        let home = (1..).map(|number| self.path(&format!("lies{number}"))).find(|path| !path.exists()).unwrap();
        let folder = home.join("bucket");
        fs::create_dir_all(home.join("model")).unwrap();
        replica(&home.join("model"), &folder);
        self.liars = HOSTILE.iter().map(|hostile| Liar::start(folder.clone(), hostile.lie)).collect();
        let yaml = format!("{:?}", self.path("litestream.yml"));
        let mut toml = self.toml.replace(&yaml, &format!("{yaml}, {:?}", self.path("second.yml")));
        // What it was turned into before may be nothing that can be written to.
        let _ = fs::remove_file(self.path("second.yml"));
        fs::write(self.path("second.yml"), "dbs: []\n").unwrap();
        for (hostile, server) in HOSTILE.iter().zip(&self.liars) {
            toml.push_str(&watched(hostile.name, server.server.port()));
        }
        toml.push_str(&garbage(&home));
        self.reload(&toml);
    }

    /// The alerts about what is well, and about the agent.
    fn up(&self) -> BTreeSet<Up> {
        let alerts = self.agent().get("/api/v1/alerts").json();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let ours = |database: &str| database.is_empty() || database.len() == 4 && database.starts_with(['t', 'i', 'c']);
        let up = alerts["alerts"].as_array().unwrap().iter().filter_map(|alert| {
            let (labels, name) = (&alert["labels"], text(&alert["labels"]["alertname"]));
            let counts = alert["state"] != "resolved" && !ALWAYS.contains(&&*name) && ours(&text(&labels["database"]));
            counts.then(|| (name, labels.to_string(), text(&alert["active_at"]), alert["state"] == "firing"))
        });
        up.collect()
    }

    /// Goes on for a second: scrapes, and every ten seconds notes what the process uses.
    fn second(&mut self, began: Instant, number: u64, at_rest: bool, clock_is_right: bool) {
        let next = Instant::now() + Duration::from_secs(1);
        let asked = Instant::now();
        let answer =
            http::get(&self.agent().address, "/metrics", &[]).unwrap_or_else(|error| panic!("a scrape: {error}"));
        self.seen.scrapes.push(asked.elapsed());
        let text = answer.text();
        if answer.status != 200 || !text.contains("\nstreamgauge_collector_last_round_timestamp_seconds{") {
            self.seen.wrong.insert(format!(
                "a scrape was answered with status {}, {} bytes",
                answer.status,
                text.len()
            ));
        }
        let now = jiff::Timestamp::now().as_second() as f64;
        for line in text.lines().filter(|_| clock_is_right) {
            let Some(rest) = line.strip_prefix("streamgauge_collector_last_round_timestamp_seconds") else { continue };
            let (labels, last) = rest.rsplit_once(' ').unwrap();
            let interval = format!("streamgauge_collector_interval_seconds{labels} ");
            let interval = text.lines().find_map(|line| line.strip_prefix(&interval)?.parse::<f64>().ok());
            // A second is what the text may be old, and another one what both clocks are rounded by.
            if interval.is_some_and(|interval| now - last.parse::<f64>().unwrap() > 2.0 * interval + 2.0) {
                *self.seen.missed.entry(labels.to_owned()).or_default() += 1;
            }
        }
        if number.is_multiple_of(10) && at_rest {
            let store = self.s3.as_ref().unwrap().port();
            self.seen.rest.push(Rest::now(began, self.agent().process.pid(), store));
        }
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

#[allow(clippy::print_stderr, reason = "it says how far it is and what it measured")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// Bytes an hour, by least squares, as a part of the mean.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let above: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let below: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
    above / below * 3600.0 / y
}

/// Makes one fault, lifts it, and waits until what it raised is over. `lingering`: StoreErrors may be there from before.
fn go_through(site: &mut Site, fault: &Fault, began: Instant, lingering: &mut bool) {
    let clock_is_right = !fault.name.starts_with("clock");
    let allowed = |name: &str| fault.may.contains(&name) || fault.raises.iter().any(|raised| raised.0 == name);
    let (lasts, mut first, mut fired) = (site.length(fault.lasts), BTreeMap::new(), BTreeSet::new());
    let mut others = BTreeSet::new();
    let mut note = |site: &mut Site, second: u64, lingering: bool| {
        for (name, labels, _, fires) in site.up() {
            if fires {
                fired.insert(name.clone());
            }
            if allowed(&name) || lingering && name == LINGERS {
                first.entry(name).or_insert(second);
            } else if fires {
                site.seen.wrong.insert(format!("{}: {name} fires: {labels}", fault.name));
            } else {
                others.insert(name);
            }
        }
    };
    (fault.begin)(site);
    let since = Instant::now();
    let mut second = 0;
    while since.elapsed().as_secs() < lasts {
        (fault.meanwhile)(site, second);
        site.second(began, second, false, clock_is_right);
        second += 1;
        if second % 5 == 0 {
            note(site, since.elapsed().as_secs(), *lingering);
        }
    }
    (fault.end)(site);
    let lifted = Instant::now();
    *lingering |= allowed(LINGERS);
    // What was not replicated meanwhile shows with the next look at the store, which is a minute away at most.
    let settles = if fault.may.contains(&"ReplicationLag") { 90 } else { 15 };
    while site.up().iter().any(|up| up.0 != LINGERS) || lifted.elapsed().as_secs() < settles {
        site.second(began, 1, false, clock_is_right);
        note(site, since.elapsed().as_secs(), *lingering);
        if lifted.elapsed().as_secs() > 600 {
            site.seen.wrong.insert(format!("{} does not end: {:?}", fault.name, site.up()));
            break;
        }
    }
    let over = lifted.elapsed().as_secs();
    for (name, at_latest) in fault.raises {
        if first.get(*name).is_none_or(|seen| seen > at_latest) && *at_latest < lasts {
            site.seen.wrong.insert(format!(
                "{}: {name} at {:?}, not within {at_latest} s",
                fault.name,
                first.get(*name)
            ));
        }
    }
    say(&format!(
        "{:>5} s | {} | {lasts} s | raised after seconds {first:?} | fired {fired:?} | only pending {others:?} | over after {over} s",
        began.elapsed().as_secs(),
        fault.name
    ));
}

#[test]
#[ignore = "takes as long as SOAK_MINUTES says, an hour if it does not"]
fn an_hour_of_faults_raises_what_it_should_and_leaves_nothing_behind() {
    let known: BTreeSet<&str> = catalogue().map(|check| check.name).collect();
    let faults = WARMING_UP.iter().chain(FAULTS);
    let named = faults.flat_map(|fault| fault.may.iter().chain(fault.raises.iter().map(|raised| &raised.0)));
    named.for_each(|name| assert!(known.contains(name), "there is no check {name}"));
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60);
    let site = &mut Site::new(minutes);
    wait_for("all to be replicated", || {
        let text = site.agent().metrics();
        let known = |name: String| text.contains(&format!("streamgauge_replica_lag_seconds{{database=\"{name}\""));
        (0..WRITTEN).all(|number| known(format!("t{number:03}")))
            && (0..IDLE).all(|number| known(format!("i{number:03}")))
    });
    let (began, mut lingering, mut number) = (Instant::now(), false, 0);
    let mut rest = |site: &mut Site, seconds: u64| {
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            number += 1;
            site.second(began, number, true, true);
        }
    };
    rest(site, site.length(120));
    for (number, fault) in WARMING_UP.iter().chain(FAULTS).enumerate() {
        if number == WARMING_UP.len() {
            site.seen.rest.clear();
        }
        go_through(site, fault, began, &mut lingering);
        rest(site, site.length(30));
    }
    let left = (60 * minutes).saturating_sub(began.elapsed().as_secs());
    rest(site, left.max(site.length(60)));
    judge(site, began.elapsed(), minutes);
}

/// Says what was measured, and panics where it is not what is promised.
fn judge(site: &mut Site, took: Duration, minutes: u64) {
    let up = site.up();
    let seen = &mut site.seen;
    seen.panics += site.agent.as_ref().unwrap().process.log_lines("panicked");
    seen.scrapes.sort();
    let (p99, slowest) = (seen.scrapes[seen.scrapes.len() * 99 / 100], *seen.scrapes.last().unwrap());
    let steady = std::mem::take(&mut seen.rest);
    let slope = 100.0 * slope(&steady.iter().map(|rest| (rest.at, rest.bytes as f64)).collect::<Vec<_>>());
    let third = steady.len() / 3;
    let least = |part: &[Rest], of: fn(&Rest) -> u64| part.iter().map(of).min().unwrap();
    let (early, late) = (&steady[..third.max(1)], &steady[2 * third..]);
    let descriptors = (least(early, |rest| rest.descriptors), least(late, |rest| rest.descriptors));
    let threads = (least(early, |rest| rest.threads), least(late, |rest| rest.threads));
    let connections = steady.iter().map(|rest| rest.connections).max().unwrap();
    let memory = (early[0].bytes >> 10, late.last().unwrap().bytes >> 10);
    say(&format!(
        "{} s; {} scrapes: p99 {p99:?}, slowest {slowest:?}; rounds missed {:?}\n\
         {} samples at rest: memory {memory:?} KiB, {slope:+.2} % an hour; descriptors {descriptors:?} and at most {connections} connections, threads {threads:?}; panics {}",
        took.as_secs(),
        seen.scrapes.len(),
        seen.missed,
        steady.len(),
        seen.panics,
    ));
    for Rest { at, bytes, descriptors, connections, threads } in &steady {
        let kib = bytes >> 10;
        say(&format!(
            "  at rest: {at:.0} s {kib} KiB {descriptors} descriptors {connections} connections {threads} threads"
        ));
    }
    let mut wrong = std::mem::take(&mut seen.wrong);
    let mut hold = |holds: bool, what: String| {
        if !holds {
            wrong.insert(what);
        }
    };
    hold(seen.panics == 0, format!("{} panics", seen.panics));
    hold(seen.missed.is_empty(), format!("rounds missed: {:?}", seen.missed));
    hold(descriptors.1 <= descriptors.0, format!("descriptors grow: {descriptors:?}"));
    hold(connections <= CONNECTIONS_MAX, format!("{connections} connections to the store"));
    hold(threads.1 <= threads.0, format!("threads grow: {threads:?}"));
    hold(p99 < Duration::from_millis(250), format!("one scrape of a hundred took {p99:?}"));
    hold(slowest < Duration::from_secs(1), format!("a scrape took {slowest:?}"));
    hold(2 * memory.1 <= 3 * memory.0, format!("memory grew from {} to {} KiB", memory.0, memory.1));
    // In a few minutes what is kept for an hour still comes together.
    hold(minutes < 60 || slope <= 1.0, format!("memory grows by {slope:.2} % an hour"));
    hold(minutes < 60 || up.is_empty(), format!("not over in the end: {up:?}"));
    assert!(wrong.is_empty(), "what does not hold:\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}
