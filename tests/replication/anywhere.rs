//! A genuine Litestream on any store, and the agent beside it: what is said while it writes, stands still and goes on, and
//! that what was watched is drilled and restored, byte for byte.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::litestream::{Litestream, quick_yaml};
use super::lab::{Lab, Process, command};
use super::site::{self, Site, replica_report, verdict};

/// A replica as `litestream.yml` has it, and the environment of those who read it.
#[derive(Default)]
pub struct Anywhere<'a> {
    pub replica: &'a str,
    pub environment: &'a [(&'a str, &'a str)],
    /// Nobody may read it in what the agent says.
    pub secret: Option<&'a str>,
    /// Lines for `[replica]`.
    pub options: &'a str,
}

impl Anywhere<'_> {
    fn streamgauge(&self) -> Command {
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        command.envs(self.environment.iter().copied());
        command
    }

    fn site(&self, lab: &Lab, home: &Path, name: &str, version: &'static str) -> Site {
        let home = home.join(name);
        fs::create_dir_all(&home).unwrap();
        let database = home.join(format!("{name}.db"));
        let mut writer = lab.writer(&database);
        writer.create_table();
        let config = home.join("litestream.yml");
        fs::write(&config, quick_yaml(version, &database, self.replica)).unwrap();
        let mut command = lab.litestream(version);
        command.arg("replicate").arg("-config").arg(&config).envs(self.environment.iter().copied());
        let process = Process::spawn(&mut command, home.join("litestream.log"));
        let (litestream, replica) = (Litestream { process, config }, home.join("none"));
        Site { name: name.to_owned(), version, database, replica, url: String::new(), writer, litestream }
    }
}

/// Watches a database on a store: written, quiet, stalled, on again, and after what `then` does to it. Drills and restores it.
pub fn watched(
    lab: &Lab,
    home: &Path,
    place: &Anywhere<'_>,
    name: &str,
    version: &'static str,
    then: impl FnOnce(&Agent, &Site),
) {
    let mut site = place.site(lab, home, name, version);
    let home = &home.join(name);
    let toml = site::quick_toml([&site], &format!("idle-interval = \"1s\"\n{}", place.options))
        + &format!(
            "[drill]\nenabled = false\nscratch = {:?}\n[beacon]\nenabled = true\ninterval = \"2s\"\n",
            home.join("scratch")
        );
    let storage = home.join("streamgauge");
    let agent = Agent::start_by(place.streamgauge(), home, &toml, &storage, &[]);
    agent.wait_until_ready();

    // Written, and quiet.
    site.writer.run(Duration::from_millis(20));
    site.wait_until(&agent, "for the first proof", |seen| seen.recovery_point().is_some() && seen.lag().is_some());
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(200));
        let lag = site.seen(&agent).lag();
        assert!(lag.is_some_and(|lag| lag < 10.0), "{name}: {lag:?} {}", agent.process.log());
    }
    site.writer.pause();
    site.wait_until_in_sync(&agent);
    let method = if version.starts_with("0.3.") { "segment" } else { "wal" };
    assert_eq!(replica_report(&agent, name)["method"], method);

    // Stalled, and on again.
    site.litestream.process.freeze();
    site.writer.commit(3);
    site.wait_until(&agent, "for lag to grow", |seen| seen.lag() > Some(3.0));
    site.litestream.process.thaw();
    site.wait_until_in_sync(&agent);
    let log = agent.process.log();
    assert!(!log.contains("beacon not written"), "{log}");
    let coverage = verdict(&agent, "ReplicaGap").unwrap();
    assert_eq!(coverage.0, "pass", "{name}: {coverage:?}");
    then(&agent, &site);
    for told in [agent.process.log(), agent.metrics(), agent.report().to_string()] {
        assert!(!place.secret.is_some_and(|secret| told.contains(secret)), "{told}");
    }

    // Nothing is cleaned up any more while it is restored.
    let config = agent.config.clone();
    drop(agent);
    site.litestream.process.freeze();
    let run = |arguments: &[&str]| {
        let mut command = place.streamgauge();
        let output = command.args(arguments).arg("--config.file").arg(&config).output().unwrap();
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        assert!(output.status.success(), "{name}: {arguments:?}: {told:?}");
    };
    let [ours, theirs] = ["ours.db", "theirs.db"].map(|file| home.join(file));
    run(&["restore", name, "-o", ours.to_str().unwrap()]);
    run(&["drill", name]);
    let mut litestream = lab.litestream(version);
    litestream.arg("restore").arg("-config").arg(&site.litestream.config).envs(place.environment.iter().copied());
    let output = litestream.arg("-o").arg(&theirs).arg(&site.database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(fs::read(&ours).unwrap() == fs::read(&theirs).unwrap(), "{name}: not the bytes that Litestream restores");
    let rows = site.writer.sql("SELECT count(*), sum(id) FROM t");
    assert_eq!(lab.writer(&ours).sql("SELECT count(*), sum(id) FROM t"), rows);
}
