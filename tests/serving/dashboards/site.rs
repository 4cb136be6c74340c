//! What the dashboards are asked of: an agent that Prometheus scrapes, beside five databases that the genuine Litestream
//! replicates, of which three are in trouble.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::agent::Agent;
use crate::lab::litestream::{Litestream, printed};
use crate::lab::prometheus::{PROMETHEUS, Prometheus};
use crate::lab::recorder::Recorder;
use crate::lab::s3::S3;
use crate::lab::writer::Writer;
use crate::lab::{Lab, free_port, wait_for};
use crate::told;

/// The number that stays what it was last known to be.
pub(super) const LAG: &str = "streamgauge_replica_lag_seconds";

/// Bytes that are not replicated.
const WAITING: &str = "streamgauge_replica_unreplicated_bytes";

/// Says that there is something to restore from.
const RESTORABLE: &str = "streamgauge_replica_restorable_since_timestamp_seconds";

/// What the variable stands for, when all is selected.
pub(super) const DATABASES: [&str; 5] = ["healthy", "idle", "stalled", "unreachable", "damaged"];

/// Everything that runs. What is first here ends first.
pub(super) struct Site {
    pub(super) agent: Agent,
    _writers: Vec<Writer>,
    _litestreams: Vec<Litestream>,
    _s3: S3,
    _hook: Recorder,
    /// A program that has the metrics that every program has.
    another: Prometheus,
    home: TempDir,
}

impl Site {
    /// The agent serves this profile.
    pub(super) fn start(lab: &Lab, profile: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let (s3, hook) = (lab.moto(home.path()), Recorder::start());
        s3.create_bucket("backups");
        let mut writers: Vec<Writer> = DATABASES.iter().map(|name| writer(lab, &path(&format!("{name}.db")))).collect();

        let yaml = |name: &str, replica: String| {
            fs::create_dir(path(name)).unwrap();
            let database = path(&format!("{name}.db"));
            format!("dbs:\n  - path: {}\n    replica: {{{replica}, sync-interval: 500ms}}\n", database.display())
        };
        let directory = |name: &str| format!("type: file, path: {}", path(&format!("{name}-replica")).display());
        let litestreams = [
            ("healthy", s3.replica("backups", "healthy")),
            ("idle", directory("idle")),
            ("stalled", directory("stalled")),
        ]
        .map(|(name, replica)| lab.replicate("0.5.17", &path(name), &yaml(name, replica)));
        damage(
            lab,
            &path("damaged"),
            &yaml("damaged", directory("damaged")),
            &mut writers[4],
            &path("damaged-replica"),
        );
        let mut away = lab.moto(&path("away"));
        away.create_bucket("backups");
        replicate_once(lab, &path("unreachable"), &yaml("unreachable", away.replica("backups", "unreachable")));

        let configs = DATABASES.map(|name| path(name).join("litestream.yml"));
        let agent = Agent::start(home.path(), &settings(profile, &configs, &hook, &path("healthy.db")), &[]);
        agent.wait_until_ready();
        wait_for("a lag that will be unknown", || agent.metric(LAG, &[("database", "unreachable")]).is_some());
        // Litestream may be slow to begin, and is to have replicated what there is.
        let waits = |name: &str| agent.metric(WAITING, &[("database", name)]);
        let restorable = |name: &str| agent.metric(RESTORABLE, &[("database", name)]).is_some();
        wait_for("replicas", || {
            ["healthy", "idle", "stalled"].iter().all(|name| restorable(name) && waits(name) == Some(0.0))
        });
        away.stop();
        let elsewhere = path("another");
        fs::create_dir(&elsewhere).unwrap();
        let another = lab.prometheus(PROMETHEUS[0], &elsewhere, "");
        writers[0].run(Duration::from_millis(500));
        litestreams[2].process.freeze();
        writers[2].run(Duration::from_millis(500));
        Self { agent, _writers: writers, _litestreams: litestreams.into(), _s3: s3, _hook: hook, another, home }
    }

    /// A Prometheus that scrapes the agent and two jobs that are none of our business, one of which is down; with the
    /// rules, in which nothing takes long.
    pub(super) fn prometheus(&self, lab: &Lab, version: &str) -> Prometheus {
        self.scraping(lab, version, self.home.path(), &[("streamgauge", &self.agent.address)])
    }

    /// As [`Self::prometheus`], but nobody told it of an agent.
    pub(super) fn prometheus_without_agents(&self, lab: &Lab, version: &str) -> Prometheus {
        let directory = self.home.path().join("without-agents");
        fs::create_dir(&directory).unwrap();
        self.scraping(lab, version, &directory, &[])
    }

    fn scraping(&self, lab: &Lab, version: &str, directory: &Path, agents: &[(&str, &str)]) -> Prometheus {
        let rules = told(&["rules"]).1;
        let shorter = |line: &str| match line.trim_start().split_once(": ") {
            Some((key @ ("for" | "keep_firing_for" | "interval"), _)) => {
                format!("{}{key}: 1s\n", " ".repeat(line.len() - line.trim_start().len()))
            }
            _ => format!("{line}\n").replace("[30d:1h]", "[5m:1s]"),
        };
        let file = directory.join(format!("{version}.rules.yml"));
        fs::write(&file, rules.lines().map(shorter).collect::<String>()).unwrap();
        let down = format!("127.0.0.1:{}", free_port());
        let others = [("other", &*down), ("another", &*self.another.address)];
        let jobs = agents
            .iter()
            .chain(&others)
            .map(|(name, target)| format!("  - job_name: {name}\n    static_configs: [{{targets: [\"{target}\"]}}]\n"));
        let yaml = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{file:?}]\nscrape_configs:\n{}",
            jobs.collect::<String>(),
        );
        lab.prometheus(version, directory, &yaml)
    }
}

/// Creates a database with a few transactions.
fn writer(lab: &Lab, database: &Path) -> Writer {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(database).unwrap();
    let mut writer = lab.writer(database);
    writer.create_table();
    writer.commit(20);
    writer
}

/// Replicates a database, and leaves it alone.
fn replicate_once(lab: &Lab, home: &Path, yaml: &str) {
    let config = home.join("litestream.yml");
    fs::write(&config, yaml).unwrap();
    printed(lab.litestream("0.5.17").args(["replicate", "-once", "-config"]).arg(&config).output().unwrap()).unwrap();
}

/// Replicates a database several times, loses one of the files and cuts another.
fn damage(lab: &Lab, home: &Path, yaml: &str, writer: &mut Writer, replica: &Path) {
    for _ in 0..4 {
        writer.commit(5);
        replicate_once(lab, home, yaml);
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(replica.join("ltx/0")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let (newest, before) = (files.pop().unwrap(), files.pop().unwrap());
    fs::remove_file(before).unwrap();
    let content = fs::read(&newest).unwrap();
    fs::write(newest, &content[..content.len() - 20]).unwrap();
}

/// Everything is asked often.
fn settings(profile: &str, configs: &[PathBuf], hook: &Recorder, probed: &Path) -> String {
    let (told, never) = (hook.url("/hook"), format!("http://127.0.0.1:{}/", free_port()));
    format!(
        "[litestream]\nconfig = {configs:?}\n\
         [metrics]\nprofile = {profile:?}\nseries-limit = 100_000\n\
         [objectives]\nrpo = \"5s\"\nrto = \"5m\"\nretention = \"1h\"\nbudget = 5.0\n\
         [replica]\nrequest-budget = 100.0\ninterval = \"1s\"\nidle-interval = \"5s\"\nlevel-interval = \"5s\"\nreconcile-interval = \"10s\"\n\
         timeout = \"10s\"\n\
         [verify]\nspot-interval = \"10s\"\n\
         [drill]\ninterval = \"5s\"\n\
         [drill.price]\nstored-per-gigabyte = 0.023\n\
         [[receiver]]\nkind = \"webhook\"\nname = \"told\"\nurl = {told:?}\nseverity = \"info\"\ngroup-wait = \"1s\"\n\
         group-interval = \"1s\"\nrepeat-interval = \"5s\"\n\
         [[receiver]]\nkind = \"webhook\"\nname = \"never\"\nurl = {never:?}\nseverity = \"info\"\ngroup-wait = \"1s\"\n\
         [deadman]\nurl = {told:?}\ninterval = \"5s\"\n\
         [[database]]\npath = {probed:?}\n\
         [[database.probe]]\nname = \"rows\"\nquery = \"SELECT count(*) FROM t\"\nmin = 1\n"
    )
}
