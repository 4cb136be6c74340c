//! A database with its writer, its Litestream and its replica, and what the agent says of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::lab::agent::Agent;
use super::lab::litestream::{Litestream, quick_yaml};
use super::lab::s3::S3;
use super::lab::writer::Writer;
use super::lab::{Lab, wait_for};

/// The bucket of every S3 server of these tests.
pub const BUCKET: &str = "bucket";

pub struct Site {
    /// What the agent calls the database, which is the name of its file.
    pub name: String,
    pub version: &'static str,
    pub database: PathBuf,
    /// The folder with the replica's files, on S3 too: rclone keeps objects as files.
    pub replica: PathBuf,
    /// What `litestream restore` takes: the replica's url, or the database with its `litestream.yml` for v0.3.
    pub url: String,
    pub writer: Writer,
    pub litestream: Litestream,
}

impl Site {
    /// Litestream and writer in `home/name`, with a replica in a directory. `options` are lines of the database's entry
    /// in `litestream.yml`.
    pub fn on_directory(lab: &Lab, home: &Path, name: &str, version: &'static str, options: &[&str]) -> Self {
        let replica = home.join(name).join("replica");
        let body = format!("type: file, path: {}", replica.display());
        let url = format!("file://{}", replica.display());
        Self::start(lab, home, name, version, options, (&body, replica, url))
    }

    /// The same with a replica on rclone, whose folder is `objects`.
    pub fn on_s3(lab: &Lab, home: &Path, name: &str, version: &'static str, (server, objects): (&S3, &Path)) -> Self {
        let body = server.replica(BUCKET, name);
        let place = (&*body, objects.join(BUCKET).join(name), server.url(BUCKET, name));
        Self::start(lab, home, name, version, &[], place)
    }

    /// The same with a replica anywhere: the body of its entry, where its files are, and its url.
    pub fn start(
        lab: &Lab,
        home: &Path,
        name: &str,
        version: &'static str,
        options: &[&str],
        (body, replica, url): (&str, PathBuf, String),
    ) -> Self {
        let home = home.join(name);
        std::fs::create_dir_all(&home).unwrap();
        let database = home.join(format!("{name}.db"));
        let mut writer = lab.writer(&database);
        // Each row knows when it was written, to the millisecond.
        writer.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, b, at DEFAULT ((julianday('now') - 2440587.5) * 86400))");
        let options: String = options.iter().map(|line| format!("\n    {line}")).collect();
        let yaml = quick_yaml(version, &database, body);
        let yaml = yaml.replace("monitor-interval: 300ms", &format!("monitor-interval: 300ms{options}"));
        let litestream = lab.replicate(version, &home, &yaml);
        Self { name: name.to_owned(), version, database, replica, url, writer, litestream }
    }

    /// Starts Litestream again with the same configuration.
    pub fn restart_litestream(&mut self, lab: &Lab) {
        let home = self.litestream.config.parent().unwrap().to_owned();
        let yaml = std::fs::read_to_string(&self.litestream.config).unwrap();
        self.litestream = lab.replicate(self.version, &home, &yaml);
    }

    /// What the agent says of it at this moment.
    pub fn seen(&self, agent: &Agent) -> Seen {
        Seen::of(agent, &self.name)
    }

    /// Waits until all that was committed before this call is proven to be in the replica, as far as the agent goes.
    #[track_caller]
    pub fn wait_until_in_sync(&self, agent: &Agent) {
        let asked = now();
        self.wait_until(agent, "to be in sync", |seen| seen.in_sync() && seen.verified_at() > Some(asked));
    }

    #[track_caller]
    pub fn wait_until(&self, agent: &Agent, what: &str, condition: impl Fn(&Seen) -> bool) {
        let mut last = None;
        let held = super::lab::wait(std::time::Duration::from_secs(60), || {
            let seen = last.insert(self.seen(agent));
            condition(seen)
        });
        assert!(held, "{}: waited in vain {what}: {last:?}\n{}", self.name, self.litestream.process.log());
    }

    /// Restores the newest state with the real Litestream, and opens it.
    pub fn restored(&self, lab: &Lab, out: &Path) -> Result<Writer, String> {
        if self.version.starts_with("0.3.") {
            let config = ["-config", self.litestream.config.to_str().unwrap()];
            lab.restore_with(self.version, &config, self.database.to_str().unwrap(), out)?;
        } else {
            lab.restore(self.version, &self.url, out)?;
        }
        Ok(lab.writer(out))
    }
}

/// A `streamgauge.toml` for databases that Litestream replicates, with everything quick. `replica` are further lines
/// of that section.
pub fn quick_toml<'a>(sites: impl IntoIterator<Item = &'a Site>, replica: &str) -> String {
    let configs: Vec<_> = sites.into_iter().map(|site| site.litestream.config.display().to_string()).collect();
    format!("[litestream]\nconfig = {configs:?}\n\n[replica]\ninterval = \"1s\"\n{replica}\n")
}

/// An agent with that configuration, after its first report.
pub fn agent<'a>(home: &Path, sites: impl IntoIterator<Item = &'a Site>, replica: &str) -> Agent {
    let agent = Agent::start(home, &quick_toml(sites, replica), &[]);
    agent.wait_until_ready();
    agent
}

/// The samples of one database in one scrape, by the names of the metrics without `streamgauge_`.
#[derive(Debug, Default)]
pub struct Seen(HashMap<String, f64>);

impl Seen {
    pub fn of(agent: &Agent, database: &str) -> Self {
        Self::in_scrape(&agent.metrics(), database)
    }

    /// The same of a scrape that was made.
    pub fn in_scrape(text: &str, database: &str) -> Self {
        let label = format!("database=\"{database}\"");
        let samples = text.lines().filter(|line| line.contains(&label)).filter_map(|line| {
            let (name, rest) = line.strip_prefix("streamgauge_")?.split_once('{')?;
            Some((name.to_owned(), rest.rsplit_once("} ")?.1.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// A metric of the database or of its one replica; `None` where there is no sample.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    pub fn lag(&self) -> Option<f64> {
        self.get("replica_lag_seconds")
    }

    pub fn unreplicated_bytes(&self) -> Option<f64> {
        self.get("replica_unreplicated_bytes")
    }

    pub fn recovery_point(&self) -> Option<f64> {
        self.get("replica_recovery_point_timestamp_seconds")
    }

    pub fn verified_at(&self) -> Option<f64> {
        self.get("replica_verified_timestamp_seconds")
    }

    /// What a person would take for "nothing can be lost".
    pub fn in_sync(&self) -> bool {
        let restorable = self.get("replica_restorable") == Some(1.0) && self.get("replica_gaps") == Some(0.0);
        restorable && self.lag() == Some(0.0) && self.unreplicated_bytes() == Some(0.0)
    }
}

/// The report of the one replica of a database.
pub fn replica_report(agent: &Agent, database: &str) -> serde_json::Value {
    let report = agent.report();
    let databases = report["databases"].as_array().unwrap();
    let found = databases.iter().find(|entry| entry["name"] == database).unwrap();
    found["replicas"][0].clone()
}

/// One check on the first database or its replica: status and detail.
pub fn verdict(agent: &Agent, check: &str) -> Option<(String, String)> {
    let report = agent.report();
    let checks = report["databases"][0]["checks"].as_array()?.clone();
    let found = checks.into_iter().find(|verdict| verdict["check"] == check)?;
    Some((found["status"].as_str()?.to_owned(), found["detail"].as_str()?.to_owned()))
}

/// Seconds since 1970.
pub fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Waits until the agent has verified the replica of this database once more, beginning after this call.
#[track_caller]
pub fn verify_again(agent: &Agent, database: &str) {
    let asked = now();
    wait_for("another verification", || Seen::of(agent, database).verified_at() > Some(asked));
}
