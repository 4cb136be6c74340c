//! Replicas of the genuine Litestream, and what verifies them step by step with a clock in the test's hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::domain::verification::{Budget, Ledger, VerificationReport, VerifyDepth};
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::{Pace, ReplicaStore, Stores as _};
use streamgauge::usecase::replica_probe::ReplicaProbe;
use streamgauge::usecase::verify::{judge, verify};

use crate::faulty_store::{Call, Fate, FaultyStore};
use crate::lab::litestream::{printed, quick_yaml};
use crate::lab::{Lab, wait_for};

/// Looks at a replica in a directory and verifies what it lists, as the agent does.
pub struct Bench {
    stores: Stores,
    store: Arc<dyn ReplicaStore>,
    probe: ReplicaProbe,
    pub ledger: Ledger,
    pub pace: Pace,
    /// Objects cannot be read, while the replica can be listed.
    pub denied: bool,
    seconds: i64,
}

impl Bench {
    pub fn new(replica: &Path, depth: VerifyDepth, budget: Budget) -> Self {
        Self::with(replica, Ledger::new(depth, budget, false))
    }

    pub fn with(replica: &Path, ledger: Ledger) -> Self {
        let options = StoreOptions { timeout: Duration::from_secs(10), concurrency: 8, ca_file: None };
        let stores = Stores::new(options);
        let store = stores.open(&ReplicaLocation::Directory(replica.to_owned())).unwrap();
        Self { stores, store, probe: ReplicaProbe::new(false), ledger, pace: pace(), denied: false, seconds: 0 }
    }

    pub fn now(&self) -> Moment {
        let wall = Timestamp::from_second(2_000_000_000 + self.seconds).unwrap();
        Moment::new(wall, SignedDuration::from_secs(self.seconds))
    }

    pub fn wait(&mut self, seconds: i64) {
        self.seconds += seconds;
    }

    /// One look, and the reads that follow it at once; whether the look succeeded.
    pub async fn look(&mut self) -> bool {
        self.wait(1);
        let now = self.now();
        self.probe.read_whole(self.ledger.allowance(now.wall()));
        if self.ledger.is_suspicious() {
            self.probe.relist();
        }
        let looked = self.probe.look(self.store.as_ref(), None, now, &self.pace).await;
        if let Some(seen) = self.probe.take_seen() {
            self.ledger.take(&seen.listed, now.wall());
            let newest = seen
                .newest
                .and_then(|(object, content, bytes)| judge(object, object.name.key(seen.listed.keys), &content, bytes));
            self.ledger.conclude(newest.into_iter().collect(), now.wall());
        }
        let jobs = self.ledger.jobs(32, now.wall());
        let denied = self.denied;
        let store = FaultyStore::scripted(Arc::clone(&self.store), move |call| match call {
            Call::Read(_) if denied => Fate::Fails(ReasonKind::Denied),
            Call::Read(_) => Fate::Answered,
            _ => unreachable!("verification lists nothing"),
        });
        let results = verify(Arc::new(store), jobs, Duration::from_secs(60)).await;
        self.ledger.conclude(results, now.wall());
        looked.is_ok()
    }

    /// Looks until nothing is left to read.
    pub async fn settle(&mut self) -> VerificationReport {
        for _ in 0..20 {
            self.look().await;
            if self.ledger.jobs(32, self.now().wall()).is_empty() {
                break;
            }
        }
        self.report()
    }

    /// Lists everything anew, as often as it takes to believe what is missing.
    pub async fn reconcile(&mut self) -> VerificationReport {
        for _ in 0..2 {
            self.probe.relist();
            self.settle().await;
        }
        self.report()
    }

    pub fn report(&self) -> VerificationReport {
        self.ledger.report().unwrap()
    }

    /// Kind and key of each finding, sorted.
    pub fn findings(&self) -> Vec<(&'static str, String)> {
        let mut found: Vec<_> = self.report().findings.into_iter().map(|f| (f.kind.as_str(), f.key)).collect();
        found.sort();
        found
    }

    /// Read requests and received bytes so far.
    pub fn reads(&self) -> (u64, u64) {
        let report = self.stores.report();
        let read = report.iter().flat_map(|store| &store.operations).filter(|operation| operation.operation == "read");
        (read.map(|operation| operation.requests).sum(), report.iter().map(|store| store.received_bytes).sum())
    }
}

fn pace() -> Pace {
    let hour = Duration::from_secs(3600);
    Pace {
        poll: hour,
        sweep: hour,
        directory: hour,
        bucket: hour,
        idle: hour,
        levels: Duration::from_secs(1),
        grace: hour,
        discovery: hour,
        ..Pace::default()
    }
}

/// Content, and nothing that limits it.
pub fn thorough(replica: &Path) -> Bench {
    Bench::new(replica, VerifyDepth::Content, Budget::new(10 << 30))
}

/// A v0.5 replica in `home/replica`: a snapshot of TXID 3 and level-0 files up to TXID 6. The fifth makes the database
/// larger than one request reads.
pub fn v5(lab: &Lab, version: &str, home: &Path) -> PathBuf {
    let (database, replica) = (home.join("app.db"), home.join("replica"));
    let mut writer = lab.writer(&database);
    writer.create_table();
    let mut step = |statement: &str, options: &[&str]| {
        writer.sql(statement);
        let mut command = lab.litestream(version);
        command.args(["replicate", "-once"]).args(options).arg(&database);
        printed(command.arg(format!("file://{}", replica.display())).output().unwrap()).unwrap();
    };
    step("INSERT INTO t(b) VALUES ('one')", &[]);
    step("INSERT INTO t(b) VALUES ('two')", &[]);
    step("INSERT INTO t(b) VALUES ('three')", &["-force-snapshot"]);
    step("INSERT INTO t(b) VALUES ('four')", &[]);
    step(
        "INSERT INTO t(b) SELECT randomblob(1000) FROM (SELECT value FROM json_each('[1' || replace(hex(zeroblob(250)), '00', ',1') || ']'))",
        &[],
    );
    step("INSERT INTO t(b) VALUES ('six')", &[]);
    replica
}

/// A v0.3 replica: one snapshot and segments of several indexes.
pub fn v3(lab: &Lab, home: &Path) -> PathBuf {
    let (database, replica) = (home.join("app.db"), home.join("replica"));
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.3.13", &database, &format!("type: file, path: {}", replica.display()))
        .replace("monitor-interval: 300ms", "monitor-interval: 100ms")
        .replace("sync-interval: 500ms", "sync-interval: 100ms");
    let mut litestream = lab.replicate("0.3.13", home, &yaml);
    for count in 1..=5 {
        writer.commit(5);
        wait_for("a segment", || objects(&replica).iter().filter(|key| key.contains("/wal/")).count() >= count);
    }
    litestream.process.stop();
    replica
}

/// The keys of all objects, sorted.
pub fn objects(replica: &Path) -> Vec<String> {
    let mut keys = Vec::new();
    let mut folders = vec![replica.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                keys.push(path.strip_prefix(replica).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    keys.sort();
    keys
}

/// A copy to damage, with the times of the files.
pub fn copy(replica: &Path, to: &Path) -> PathBuf {
    for key in objects(replica) {
        let (from, to) = (replica.join(&key), to.join(&key));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(&from, &to).unwrap();
        let modified = fs::metadata(&from).unwrap().modified().unwrap();
        fs::File::options().write(true).open(&to).unwrap().set_modified(modified).unwrap();
    }
    to.to_owned()
}

pub fn level(level: u8, min: u64, max: u64) -> String {
    format!("ltx/{level}/{min:016x}-{max:016x}.ltx")
}
