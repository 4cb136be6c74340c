//! What cannot be known is told, with its reason, and does not stay unknown without a word.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::clock::LabClock;
use super::lab::litestream::quick_yaml;
use super::lab::{Lab, command, wait_for};
use super::site::{BUCKET, Seen, Site, quick_toml, verdict};

/// Litestream 0.3 with an S3 path that begins with a slash never finds what it writes.
pub fn path_with_a_slash(lab: &Lab, home: &Path) {
    let server = lab.moto(home);
    server.create_bucket(BUCKET);
    let database = home.join("slash.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.3.13", &database, &server.replica(BUCKET, "/lead/app"));
    let litestream = lab.replicate("0.3.13", home, &yaml);
    writer.run(Duration::from_millis(200));
    wait_for("Litestream not to find its own files", || litestream.process.log().contains("no snapshot available"));

    let mut clock = LabClock::new(home, 0);
    let toml = format!(
        "[litestream]\nconfig = [{:?}]\n[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n[objectives]\nrpo = \"1m\"\n\
         [drill]\nenabled = false\n",
        litestream.config
    );
    let agent = Agent::start_at(Some(&clock), home, &toml, &home.join("state"), &[]);
    let since = |agent: &Agent| Seen::of(agent, "slash").get("replica_lag_unknown_since_timestamp_seconds");
    wait_for("the lag to be unknown", || since(&agent).is_some());
    assert_eq!(Seen::of(&agent, "slash").lag(), None);
    assert_eq!(verdict(&agent, "LagUnknown").unwrap().0, "unknown", "not for long yet");
    let began = since(&agent).unwrap();

    // It is remembered over a restart, as the age of proof is.
    wait_for("a commit to be counted", || {
        Seen::of(&agent, "slash").get("replica_unproven_commit_timestamp_seconds").is_some()
    });
    let mut agent = agent;
    agent.process.stop();
    let agent = Agent::start_at(Some(&clock), home, &toml, &home.join("state"), &[]);
    agent.wait_until_ready();
    assert!((since(&agent).unwrap() - began).abs() < 0.01, "since {began}, after a restart {:?}", since(&agent));

    clock.pass(Duration::from_secs(900));
    wait_for("the unknown to be critical", || verdict(&agent, "LagUnknown").unwrap().0 == "fail");
    let (_, detail) = verdict(&agent, "LagUnknown").unwrap();
    assert!(detail.contains("may not be in it: the replica holds snapshots but no WAL"), "{detail}");
    assert!(detail.contains("its path begins with a slash"), "{detail}");
    let firing = |agent: &Agent| {
        let report = agent.report();
        let alerts = report["alerts"].as_array().unwrap().clone();
        let mut found = alerts.iter().filter(|alert| alert["labels"]["alertname"] == "LagUnknown");
        found.any(|alert| alert["labels"]["severity"] == "critical" && alert["state"] == "firing")
    };
    wait_for("somebody to be woken", || {
        clock.pass(Duration::from_secs(15));
        firing(&agent)
    });
}

/// What one look says: exit code and table.
fn check(program: &mut Command, config: &Path) -> (i32, String) {
    let output = program.arg(format!("--litestream.config={}", config.display())).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), text)
}

/// The database file alone is seen, as in a container into which it is mounted without its directory; commits go where
/// the agent cannot look.
pub fn file_without_its_wal(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "alone", "0.5.17", &[]);
    site.writer.commit(5);
    wait_for("the first file", || site.replica.join("ltx/0").exists());
    let seen = home.join("seen");
    fs::create_dir(&seen).unwrap();
    // The same file under a name beside which there is nothing.
    let path = seen.join("alone.db");
    let config = seen.join("litestream.yml");
    let replica = format!("type: file, path: {}", site.replica.display());
    fs::write(&config, quick_yaml("0.5.17", &path, &replica)).unwrap();
    let told = |(code, text): (i32, String)| {
        assert_eq!(code, 2, "{text}");
        assert!(text.contains("lag               unknown"), "{text}");
        assert!(text.contains("a process has it open, but its -wal and -shm are not beside it"), "{text}");
        assert!(text.contains("mount the directory of the database, not just the file"), "{text}");
    };
    let binary = env!("CARGO_BIN_EXE_streamgauge");
    if command("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success()) {
        fs::write(&path, "").unwrap();
        let script = format!("mount --bind {:?} {path:?} && exec \"$@\"", site.database);
        told(check(command("unshare").args(["-m", "sh", "-c", &script, "sh", binary, "check"]), &config));
        fs::remove_file(&path).unwrap();
    }
    fs::hard_link(&site.database, &path).unwrap();
    told(check(command(binary).arg("check"), &config));

    let toml = format!("[litestream]\nconfig = [{config:?}]\n[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n");
    let agent = Agent::start(&seen, &toml, &[]);
    site.litestream.process.freeze();
    wait_for("the database to be unreadable", || {
        verdict(&agent, "DatabaseUnreadable").is_some_and(|(status, _)| status == "fail")
    });
    wait_for("the lag to be unknown", || {
        Seen::of(&agent, "alone").get("replica_lag_unknown_since_timestamp_seconds").is_some()
    });
    assert_eq!(Seen::of(&agent, "alone").lag(), None);
    let (_, detail) = verdict(&agent, "LagUnknown").unwrap();
    assert!(detail.contains("mount the directory of the database"), "{detail}");
    assert!(agent.process.log().contains("database is bad"), "{}", agent.process.log());

    // Whoever closes it takes its WAL along: what is then seen is all there is.
    site.litestream.process.thaw();
    let Site { writer, mut litestream, .. } = site;
    litestream.process.stop();
    writer.close();
    wait_for("the database to be read", || {
        verdict(&agent, "DatabaseUnreadable").is_some_and(|(status, _)| status == "pass")
    });
    let (_, text) = check(command(binary).arg("check"), &config);
    assert!(!text.contains("a process has it open"), "{text}");
    assert!(agent.process.log().contains("database is well again"), "{}", agent.process.log());
}

/// An idle database whose Litestream commits to its own table for ever, and one whose does not.
pub fn churn(lab: &Lab, home: &Path) {
    let mut sites = ["0.5.5", "0.5.17"].map(|version| {
        let name = format!("churn-{}", version.replace('.', "-"));
        let mut site = Site::on_directory(lab, home, &name, version, &[]);
        site.writer.sql("INSERT INTO t(b) VALUES (0)");
        site
    });
    let toml = quick_toml(&sites, "idle-interval = \"1s\"\n");
    let agent = Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    for site in &mut sites {
        // More than the 1000 pages after which 0.5.5 checkpoints with each sync.
        (0..1200).for_each(|_| drop(site.writer.sql("UPDATE t SET b = b + 1")));
    }
    let repeated = |site: &Site| site.seen(&agent).get("replica_repeated_objects");
    let [noisy, quiet] = &sites;
    wait_for("the quiet one to be in sync", || {
        let seen = quiet.seen(&agent);
        seen.in_sync() && seen.get("database_commits_total") > Some(1200.0)
    });
    let before = repeated(noisy).unwrap_or(0.0);
    let quiet_before = quiet.seen(&agent).get("database_commits_total");
    wait_for("files that change the same pages", || repeated(noisy) > Some(before.max(5.0) + 20.0));
    let report = super::site::replica_report(&agent, &noisy.name);
    assert!(report["keeping"]["churn"]["pages"].as_u64() <= Some(4), "{report}");
    assert!(quiet.seen(&agent).get("database_commits_total") <= quiet_before.map(|count| count + 3.0));
}
