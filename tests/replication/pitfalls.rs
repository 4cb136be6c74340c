//! Failures of genuine releases of Litestream of which its own log and metrics say nothing: what is lost, and what the
//! agent says. docs/LITESTREAM-PITFALLS.md tells them.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::{Lab, command};
use super::position;
use super::site::{Site, quick_toml, replica_report};

/// Rows in the database that Litestream restores.
fn restored_rows(lab: &Lab, site: &Site, out: &Path) -> serde_json::Value {
    let rows = site.restored(lab, out).unwrap().sql("SELECT count(*) FROM t");
    std::fs::remove_file(out).unwrap();
    rows[0][0].clone()
}

/// 0.5.6 to 0.5.8 look at the WAL's size to see whether anything was written. After a checkpoint SQLite writes from the
/// beginning of the same file, whose size then does not change.
pub fn stopped_for_good_after_a_pause(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "shop", "0.5.8", &[]);
    // A snapshot is of the database as it is, and so would bring the rows that are missing.
    let yaml = std::fs::read_to_string(&site.litestream.config).unwrap();
    std::fs::write(&site.litestream.config, yaml.replace("snapshot: {interval: 20s", "snapshot: {interval: 24h"))
        .unwrap();
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

    // A restart is all that it takes.
    let _ = site.litestream.process.stop();
    site.restart_litestream(lab);
    site.wait_until_in_sync(&agent);
    assert_eq!(restored_rows(lab, &site, &out), 1023);
}
