//! Failures of genuine releases of Litestream of which its own log and metrics say nothing: what is lost, and what the
//! agent says. docs/LITESTREAM-PITFALLS.md tells them.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::lab::agent::Agent;
use super::lab::{Lab, Process, command, wait_for};
use super::position;
use super::site::{Site, quick_toml, replica_report};

/// Rows in the database that Litestream restores.
fn restored_rows(lab: &Lab, site: &Site, out: &Path) -> serde_json::Value {
    let rows = site.restored(lab, out).unwrap().sql("SELECT count(*) FROM t");
    fs::remove_file(out).unwrap();
    rows[0][0].clone()
}

/// 0.5.6 to 0.5.8 look at the WAL's size to see whether anything was written. After a checkpoint SQLite writes from the
/// beginning of the same file, whose size then does not change.
pub fn stopped_for_good_after_a_pause(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "shop", "0.5.8", &[]);
    // A snapshot is of the database as it is, and so would bring the rows that are missing.
    let yaml = fs::read_to_string(&site.litestream.config).unwrap();
    fs::write(&site.litestream.config, yaml.replace("snapshot: {interval: 20s", "snapshot: {interval: 24h")).unwrap();
    let _ = site.litestream.process.stop();
    site.restart_litestream(lab);
    let toml = format!("{}\n[objectives]\nrpo = \"5s\"\n", quick_toml([&site], "idle-interval = \"2s\""));
    let agent = Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    let out = home.join("restored.db");

    // 924 orders in one transaction of more than a thousand pages, so that Litestream makes a checkpoint.
    let orders = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 924) \
                  INSERT INTO t(b) SELECT hex(randomblob(2500)) FROM n";
    site.writer.sql(orders);
    site.wait_until_in_sync(&agent);
    assert_eq!(restored_rows(lab, &site, &out), 924);

    // The pause, in which nothing is written; then 99 more, one by one.
    let (logged, settled) = (site.litestream.process.log(), position::of_replica(&site.replica));
    thread::sleep(Duration::from_secs(3));
    site.writer.commit(99);
    site.wait_until(&agent, "for lag above the objective", |seen| seen.lag() > Some(5.0));

    // Litestream still runs, has uploaded none of them, and its log has no word of it.
    assert_eq!(position::of_replica(&site.replica).end, settled.end, "Litestream went on");
    assert_eq!(restored_rows(lab, &site, &out), 924, "99 of 1 023 rows are missing");
    let since = &site.litestream.process.log()[logged.len()..];
    assert!(site.litestream.process.is_running());
    assert!(!since.contains("level=WARN") && !since.contains("level=ERROR"), "{since}");

    // The agent says how much that is, to the byte, and one look agrees.
    let source = position::of_source(&site.database);
    let replica = position::of_replica(&site.replica);
    assert_eq!(source.salts, replica.salts);
    let behind = source.end - replica.end;
    let report = replica_report(&agent, "shop");
    assert_eq!(report["unreplicated_bytes"], behind, "{report}");
    assert_eq!(report["unreplicated_bytes_lower_bound"], false);
    let check = command(env!("CARGO_BIN_EXE_streamgauge"))
        .args(["check", "--config.file"])
        .arg(&agent.config)
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&check.stdout);
    assert_eq!(check.status.code(), Some(2), "{printed}{}", String::from_utf8_lossy(&check.stderr));
    assert!(printed.contains("ReplicationLag"), "{printed}");

    // What would be lost does not become less when the WAL begins again.
    site.litestream.process.signal(Signal::KILL);
    wait_for("its end", || !site.litestream.process.is_running());
    site.writer.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    site.writer.commit(1);
    let waits = || replica_report(&agent, "shop");
    wait_for("the reset", || waits()["unreplicated_bytes_lower_bound"] == true);
    assert!(waits()["unreplicated_bytes"].as_u64() >= Some(behind), "{}", waits());

    // A restart is all that it takes.
    site.restart_litestream(lab);
    site.wait_until_in_sync(&agent);
    assert_eq!(restored_rows(lab, &site, &out), 1024);
}

/// Once a directory in a `dir` was renamed, 0.5.17 looks for databases in its own working directory, and takes up no new one of
/// the `dir` if that is above it, as `/` is.
pub fn takes_up_nothing_new_after_a_rename(lab: &Lab, home: &Path) {
    let (tenants, replicas, config) = (home.join("tenants"), home.join("replicas"), home.join("litestream.yml"));
    let create = |name: &str| {
        let directory = tenants.join(name);
        fs::create_dir_all(&directory).unwrap();
        let mut writer = lab.writer(&directory.join("app.db"));
        writer.create_table();
        writer.commit(1);
        writer
    };
    let _writers = ["one", "two"].map(create);
    let yaml = format!(
        "dbs:\n  - dir: {}\n    pattern: '*.db'\n    recursive: true\n    watch: true\n    \
         replica: {{type: file, path: {}, sync-interval: 100ms}}\n",
        tenants.display(),
        replicas.display()
    );
    fs::write(&config, yaml).unwrap();
    let replicate = || {
        let mut command = lab.litestream("0.5.17");
        command.args(["replicate", "-config"]).arg(&config).current_dir(home);
        Process::spawn(&mut command, home.join("litestream.log"))
    };
    let mut litestream = replicate();
    let is_replicated = |name: &str| replicas.join(name).join("app.db/ltx/0").exists();
    wait_for("both replicas", || is_replicated("one") && is_replicated("two"));
    fs::rename(tenants.join("two"), tenants.join("moved")).unwrap();
    wait_for("its log", || litestream.log().contains("failed to calculate relative path"));

    let _new = create("new");
    let agent = Agent::start(home, &format!("[litestream]\nconfig = [{config:?}]\n"), &[]);
    let is_down = || {
        let labels = [("database", "new/app"), ("check", "LitestreamDown"), ("status", "fail")];
        agent.metric("streamgauge_check_status", &labels) == Some(1.0)
    };
    let restores = || agent.metric("streamgauge_replica_restorable", &[("database", "new/app")]);
    wait_for("a process that does not work on it", is_down);
    wait_for("a replica that is not there", || restores() == Some(0.0));
    assert!(litestream.is_running() && !is_replicated("new"));

    let _ = litestream.stop();
    let _litestream = replicate();
    wait_for("what a restart takes up", || !is_down() && restores() == Some(1.0));
}
