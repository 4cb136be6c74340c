//! Databases with their writers, few Litestreams and one agent.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use jiff::Timestamp;
use serde_json::Value;

use super::lab::agent::Agent;
use super::lab::litestream::{Litestream, printed};
use super::lab::writer::Writer;
use super::lab::{Lab, Process, command, wait, wait_for};
use super::{Case, Expected};

pub struct Site {
    pub case: &'static Case,
    pub database: PathBuf,
    writer: Option<Writer>,
    /// Its own, where it is stopped and started.
    pub litestream: Option<Process>,
    config: PathBuf,
    lab_root: Lab,
}

pub struct World<'a> {
    pub lab: &'a Lab,
    pub sites: Vec<Site>,
    agent: Agent,
    config: PathBuf,
    _shared: Vec<Litestream>,
}

/// Runs a program that has to succeed.
pub fn shell(command: &mut Command) {
    printed(command.output().unwrap()).unwrap();
}

/// Has SQLite's shell execute commands.
pub fn sqlite(database: &Path, commands: &[&str]) {
    shell(command("sqlite3").arg(database).args(commands));
}

impl Site {
    fn new(home: &Path, case: &'static Case) -> Self {
        let home = home.join(case.name);
        fs::create_dir(&home).unwrap();
        let database = home.join(format!("{}.db", case.name));
        let config = home.join("litestream.yml");
        let mut site = Self { case, database, writer: None, litestream: None, config, lab_root: Lab::find() };
        site.open();
        site.writer().create_table();
        site.writer().commit(200);
        site
    }

    /// The application starts.
    pub fn open(&mut self) {
        self.writer = Some(self.lab_root.writer(&self.database));
    }

    /// The application ends.
    pub fn close(&mut self) {
        self.writer.take().unwrap().close();
    }

    /// The application is killed.
    pub fn kill(&mut self) {
        self.writer = None;
    }

    pub fn writer(&mut self) -> &mut Writer {
        self.writer.as_mut().unwrap()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.database.with_file_name(name)
    }

    pub fn beside_database(&self, suffix: &str) -> PathBuf {
        self.beside(&format!("{}.db{suffix}", self.case.name))
    }

    /// A new database, as a deployment brings it: in WAL mode, with other content.
    pub fn foreign(&self) -> PathBuf {
        let path = self.beside("new");
        let content = "CREATE TABLE t(id INTEGER PRIMARY KEY, b); \
                       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) \
                       INSERT INTO t SELECT i, hex(randomblob(50)) FROM n; PRAGMA journal_mode = WAL";
        sqlite(&path, &[content]);
        path
    }

    /// A copy in which rows were changed.
    pub fn edited(&self) -> PathBuf {
        let path = self.beside("edited");
        sqlite(&self.database, &[&format!(".backup '{}'", path.display())]);
        sqlite(&path, &["UPDATE t SET b = 'edited' WHERE id % 3 = 0"]);
        path
    }

    /// An entry of `litestream.yml`.
    fn entry(&self) -> String {
        let (database, replica) = (self.database.display(), self.beside("replica"));
        let replica = format!("{{type: file, path: {}, sync-interval: 500ms}}", replica.display());
        let key = if self.case.litestream.starts_with("0.3.") { "replicas" } else { "replica" };
        let replica = if key == "replicas" { format!("[{replica}]") } else { replica };
        format!("  - path: {database}\n    monitor-interval: 300ms\n    {key}: {replica}\n")
    }

    /// It has a Litestream of its own.
    fn is_alone(&self) -> bool {
        self.case.name.ends_with("-restarted") || self.case.name.ends_with("-repaired")
    }

    pub fn start_litestream(&mut self) {
        let home = self.config.parent().unwrap().to_owned();
        let yaml = format!("dbs:\n{}", self.entry());
        self.litestream = Some(self.lab_root.replicate(self.case.litestream, &home, &yaml).process);
    }

    /// Count and sum of what Litestream restores.
    pub fn restored(&self, lab: &Lab, out: &Path) -> Value {
        let url = format!("file://{}", self.beside("replica").display());
        lab.restore(self.case.litestream, &url, out).unwrap();
        lab.writer(out).sql("SELECT count(*), sum(id) FROM t")
    }
}

impl<'a> World<'a> {
    pub fn start(lab: &'a Lab, home: &Path, cases: Vec<&'static Case>) -> Self {
        let mut sites: Vec<Site> = cases.into_iter().map(|case| Site::new(home, case)).collect();
        let mut configs = Vec::new();
        let mut shared = Vec::new();
        for version in ["0.5.17", "0.3.13"] {
            let together = sites.iter().filter(|site| site.case.litestream == version && !site.is_alone());
            let entries: String = together.map(Site::entry).collect();
            let directory = home.join(version);
            fs::create_dir(&directory).unwrap();
            let litestream = lab.replicate(version, &directory, &format!("dbs:\n{entries}"));
            configs.push(litestream.config.clone());
            shared.push(litestream);
        }
        for site in sites.iter_mut().filter(|site| site.is_alone()) {
            site.start_litestream();
            configs.push(site.config.clone());
        }
        let toml = format!(
            "[watch]\npoll-interval = \"250ms\"\nsweep-interval = \"2s\"\n\
             [litestream]\nconfig = {configs:?}\n[replica]\ninterval = \"1s\"\nidle-interval = \"2s\"\n"
        );
        let agent = Agent::start(home, &toml, &[]);
        agent.wait_until_ready();
        Self { lab, config: agent.config.clone(), agent, sites, _shared: shared }
    }

    /// Waits until every database is replicated and known to be in order, with a WAL that a checkpoint has copied: one
    /// look knows nothing but what it can compare.
    pub fn wait_until_known(&mut self) {
        let mut sites = std::mem::take(&mut self.sites);
        thread::scope(|scope| {
            for site in &mut sites {
                let world = &*self;
                scope.spawn(move || {
                    world.wait_until_in_sync(site);
                    wait_for("pages to compare", || {
                        site.writer().sql("PRAGMA wal_checkpoint(PASSIVE)");
                        let (_, database) = world.one_look(site);
                        let seen = &database["local"]["replacement"];
                        assert_eq!(seen["replaced"], false, "{}: {database:#}", site.case.name);
                        seen["evidence"].as_str().unwrap().contains("pages that both hold")
                    });
                });
            }
        });
        self.sites = sites;
    }

    fn database(&self, site: &Site) -> Value {
        let report = self.agent.report();
        let databases = report["databases"].as_array().unwrap();
        let found = databases.iter().find(|database| database["name"] == site.case.name);
        found.unwrap_or_else(|| panic!("no {} in {report:#}", site.case.name)).clone()
    }

    #[track_caller]
    fn wait_until(&self, site: &Site, what: &str, condition: impl Fn(&Value) -> bool) {
        let held = wait(std::time::Duration::from_secs(60), || condition(&self.database(site)));
        assert!(held, "{}: waited in vain {what}: {:#}", site.case.name, self.database(site));
    }

    /// Waits until all that is there now was looked at and is in the replica, and a sweep found nothing wrong.
    #[track_caller]
    pub fn wait_until_in_sync(&self, site: &Site) {
        let asked = Timestamp::now();
        let after = |at: &Value| at.as_str().is_some_and(|at| at.parse::<Timestamp>().unwrap() > asked);
        self.wait_until(site, "to be in sync", |database| {
            let (local, replica) = (&database["local"], &database["replicas"][0]);
            after(&local["observed_at"])
                && after(&replica["verified_at"])
                && replica["lag_seconds"] == 0.0
                && local["replacement"]["replaced"] == false
        });
    }

    #[track_caller]
    pub fn wait_until_told(&self, site: &Site) {
        self.wait_until(site, "to be told", |_| self.told(site) == site.case.expected);
    }

    /// What the agent's metrics say.
    pub fn told(&self, site: &Site) -> Expected {
        let of = |metric| self.agent.metric(metric, &[("database", site.case.name)]);
        match (of("streamgauge_database_up"), of("streamgauge_database_replaced")) {
            (Some(0.0), None) => Expected::Unreadable,
            (_, Some(1.0)) => Expected::Replaced,
            _ => Expected::Silent,
        }
    }

    /// The agent knows of no lag, and the recovery point stands still while programs go on writing.
    pub fn assert_nothing_is_proven(&self, site: &mut Site) {
        let before = self.database(site);
        if site.case.name.ends_with("mv") {
            site.writer().commit(5);
        }
        let verified = before["replicas"][0]["verified_at"].clone();
        self.wait_until(site, "to be looked at again", |now| now["replicas"][0]["verified_at"] != verified);
        let after = self.database(site);
        let (before, after) = (&before["replicas"][0], &after["replicas"][0]);
        assert_eq!(before["recovery_point"], after["recovery_point"], "{}", site.case.name);
        for unknown in ["lag_seconds", "unreplicated_bytes", "method"] {
            assert!(after[unknown].is_null(), "{}: {unknown} in {after:#}", site.case.name);
        }
    }

    /// Exit code and report of `streamgauge check`.
    pub fn one_look(&self, site: &Site) -> (i32, Value) {
        let mut check = command(env!("CARGO_BIN_EXE_streamgauge"));
        check.arg("check").arg(format!("--config.file={}", self.config.display()));
        let output = check.args(["--format=json", "--wait=5s"]).arg(&site.database).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), report["databases"][0].clone())
    }
}
