//! The agent beside a running Litestream: damage shows within a look or two, and so does its repair.

use std::fs;
use std::path::Path;

use crate::bench::objects;
use crate::lab::agent::Agent;
use crate::lab::litestream::quick_yaml;
use crate::lab::{Lab, wait_for};

fn status(agent: &Agent, check: &str) -> Option<String> {
    let labels = ["pass", "fail", "unknown"];
    let held =
        |status: &&str| agent.metric("streamgauge_check_status", &[("check", check), ("status", status)]) == Some(1.0);
    labels.into_iter().find(held).map(str::to_owned)
}

fn corrupt(agent: &Agent, finding: &str) -> Option<f64> {
    agent.metric("streamgauge_replica_corrupt_objects", &[("finding", finding)])
}

#[test]
fn damage_in_a_running_replica_is_told_and_so_is_its_repair() {
    let Some(lab) = Lab::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let (database, replica) = (home.path().join("app.db"), home.path().join("replica"));
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.5.17", &database, &format!("type: file, path: {}", replica.display()))
        // Nothing is deleted while the test looks at it.
        .replace("snapshot: {interval: 20s, retention: 45s}", "snapshot: {interval: 1h, retention: 24h}")
        .replace("l0-retention: 5s", "l0-retention: 10m")
        .replace("[{interval: 3s}, {interval: 9s}]", "[{interval: 1h}]");
    let litestream = lab.replicate("0.5.17", home.path(), &yaml);
    let toml = format!(
        "[litestream]\nconfig = [{:?}]\n\n[replica]\ninterval = \"500ms\"\nidle-interval = \"1s\"\n\
         reconcile-interval = \"1s\"\n",
        litestream.config
    );
    let agent = Agent::start(home.path(), &toml, &[]);
    // No other is taken for an hour.
    wait_for("the first snapshot", || {
        objects(&replica).iter().any(|key| key.starts_with("ltx/9/") && key.ends_with(".ltx"))
    });
    for _ in 0..3 {
        let before = level_0(&replica).len();
        writer.commit(1);
        wait_for("a level-0 file", || level_0(&replica).len() > before);
    }
    wait_for("what was read to be good", || {
        status(&agent, "ReplicaCorrupt").as_deref() == Some("pass") && corrupt(&agent, "corrupt") == Some(0.0)
    });
    // The last but one, which no snapshot and no compaction holds.
    let key = level_0(&replica).into_iter().nth_back(1).unwrap();
    wait_for("all to be read", || {
        let report = agent.report();
        let replica = &report["databases"][0]["replicas"][0];
        let verification = &replica["verification"];
        verification["needed"].as_u64() >= Some(3)
            && verification["needed"] == verification["needed_verified"]
            && verification["pending"] == 0
    });
    let pristine = fs::read(replica.join(&key)).unwrap();
    let mut damaged = pristine.clone();
    // The file's checksum: a flip among compressed bytes can leave the pages what they were.
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(replica.join(&key), &damaged).unwrap();
    wait_for("the damage to be told", || {
        status(&agent, "ReplicaCorrupt").as_deref() == Some("fail") && corrupt(&agent, "corrupt") == Some(1.0)
    });
    let page = agent.get("/").text();
    assert!(page.contains(&format!("<code>{key}</code>")), "{page}");
    let report = agent.report();
    let finding = &report["databases"][0]["replicas"][0]["verification"]["findings"][0];
    assert_eq!(finding["key"], key, "{finding}");

    fs::write(replica.join(&key), &pristine).unwrap();
    wait_for("the repair to be told", || {
        status(&agent, "ReplicaCorrupt").as_deref() == Some("pass") && corrupt(&agent, "corrupt") == Some(0.0)
    });
    assert_eq!(status(&agent, "LineageConflict").as_deref(), Some("pass"));
}

fn level_0(replica: &Path) -> Vec<String> {
    objects(replica).into_iter().filter(|key| key.starts_with("ltx/0/") && key.ends_with(".ltx")).collect()
}
