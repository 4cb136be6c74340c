//! The agent beside a running Litestream: damage shows within a look or two, and so does its repair.

use std::fs;
use std::path::Path;

use crate::bench::{level, objects};
use crate::between::put;
use crate::lab::agent::Agent;
use crate::lab::litestream::quick_yaml;
use crate::lab::{Lab, command, wait, wait_for};

fn status(agent: &Agent, check: &str) -> Option<String> {
    let labels = ["pass", "fail", "unknown"];
    let held =
        |status: &&str| agent.metric("streamgauge_check_status", &[("check", check), ("status", status)]) == Some(1.0);
    labels.into_iter().find(held).map(str::to_owned)
}

fn corrupt(agent: &Agent, finding: &str) -> Option<f64> {
    agent.metric("streamgauge_replica_corrupt_objects", &[("finding", finding)])
}

/// It shows only when the objects are compared, and some are read once more for that.
#[test]
fn what_no_object_holds_is_found_by_the_first_look_and_no_restore_is_promised() {
    let home = tempfile::tempdir().unwrap();
    let (replica, storage) = (home.path().join("replica"), home.path().join("storage"));
    put(&replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
    put(&replica, 0, (2, 2), 4096, 3, &[2]);
    put(&replica, 0, (3, 3), 4096, 7, &[1, 4, 6, 7]);
    let toml = format!(
        "[storage]\npath = {storage:?}\n[replica]\nidle-interval = \"1h\"\n[[database]]\nname = \"app\"\n\
         [[database.replica]]\nurl = \"file://{}\"\n",
        replica.display()
    );
    let agent = Agent::start_keeping(home.path(), &toml, &storage, &[]);
    wait_for("what is missing", || corrupt(&agent, "pages_missing") == Some(1.0));
    let told = || {
        let config = home.path().join("streamgauge.toml");
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        let output = command.args(["restorable", "app", "--config.file"]).arg(config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let damaged = format!("damaged           {}: ", level(0, 3, 3));
    wait_for("it to be saved", || told().1.contains(&damaged));
    let (code, table) = told();
    assert!(code == Some(2) && !table.contains("; no gaps"), "{table}");
}

#[test]
fn damage_in_a_running_replica_is_told_and_so_is_its_repair() {
    let lab = Lab::find();
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
    let page = agent.get("/databases/app").text();
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

#[test]
fn what_is_deleted_from_the_middle_is_told_long_before_everything_is_listed() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    for (version, check) in [("0.5.17", "ReplicaGap"), ("0.3.13", "ReplicaCorrupt")] {
        let home = home.path().join(version);
        fs::create_dir(&home).unwrap();
        let (database, replica) = (home.join("app.db"), home.join("replica"));
        let mut writer = lab.writer(&database);
        writer.create_table();
        let yaml = quick_yaml(version, &database, &format!("type: file, path: {}", replica.display()))
            .replace("snapshot: {interval: 20s, retention: 45s}", "snapshot: {interval: 1h, retention: 24h}")
            .replace("l0-retention: 5s", "l0-retention: 10m")
            .replace("[{interval: 3s}, {interval: 9s}]", "[{interval: 1h}]");
        let litestream = lab.replicate(version, &home, &yaml);
        let toml = format!("[litestream]\nconfig = [{:?}]\n\n[replica]\nlevel-interval = \"2s\"\n", litestream.config);
        let agent = Agent::start(&home, &toml, &[]);
        let folder = if version == "0.3.13" { "/wal/" } else { "ltx/0/" };
        // No temporary files of uploads.
        let increments = || {
            let mut keys = objects(&replica);
            keys.retain(|key| key.contains(folder) && (key.ends_with(".ltx") || key.ends_with(".lz4")));
            keys
        };
        wait_for("the first increments", || !increments().is_empty());
        writer.run(std::time::Duration::from_millis(50));
        wait_for("increments to be read", || {
            let report = agent.report();
            let verification = &report["databases"][0]["replicas"][0]["verification"];
            increments().len() > 12 && verification["needed_verified"].as_u64() >= Some(8)
        });
        assert_eq!(
            (status(&agent, check).as_deref(), status(&agent, "ReplicaGap").as_deref()),
            (Some("pass"), Some("pass"))
        );
        // Not the first one of a WAL index, whose absence its name shows.
        let lost = increments().into_iter().rev().skip(7).find(|key| !key.contains("_00000000.")).unwrap();
        fs::remove_file(replica.join(&lost)).unwrap();
        wait_for(&format!("{check} of {version}"), || status(&agent, check).as_deref() == Some("fail"));
    }
}

#[test]
fn compaction_and_retention_of_every_version_are_no_findings() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut sites = Vec::new();
    for version in ["0.3.13", "0.5.15", "0.5.17"] {
        let home = home.path().join(version);
        fs::create_dir(&home).unwrap();
        let (database, replica) = (home.join(format!("v{}.db", version.replace('.', ""))), home.join("replica"));
        let mut writer = lab.writer(&database);
        writer.create_table();
        let mut yaml = quick_yaml(version, &database, &format!("type: file, path: {}", replica.display()));
        if version == "0.3.13" {
            // Snapshots, WAL indexes and retention within seconds.
            yaml = yaml
                .replace("monitor-interval: 300ms", "monitor-interval: 300ms\n    min-checkpoint-page-count: 50")
                .replace(
                    "sync-interval: 500ms",
                    "sync-interval: 500ms, snapshot-interval: 5s, retention: 8s, retention-check-interval: 2s",
                );
        }
        let litestream = lab.replicate(version, &home, &yaml);
        writer.run(std::time::Duration::from_millis(50));
        sites.push((writer, litestream, replica));
    }
    let configs: Vec<_> = sites.iter().map(|(_, litestream, _)| litestream.config.clone()).collect();
    let toml = format!(
        "[litestream]\nconfig = {configs:?}\n\n[replica]\ninterval = \"500ms\"\nidle-interval = \"1s\"\n\
         level-interval = \"1s\"\nreconcile-interval = \"1s\"\n"
    );
    let agent = Agent::start(home.path(), &toml, &[]);
    let snapshots = |replica: &Path| -> Vec<String> {
        objects(replica).into_iter().filter(|key| key.contains("ltx/9/") || key.contains("/snapshots/")).collect()
    };
    let mut seen: Vec<std::collections::BTreeSet<String>> = vec![Default::default(); sites.len()];
    // Until each has deleted a snapshot, and with it what was before it.
    let retained = wait(std::time::Duration::from_secs(180), || {
        let report = agent.report();
        for database in report["databases"].as_array().unwrap() {
            let findings = &database["replicas"][0]["verification"]["findings"];
            assert_eq!(*findings, serde_json::json!([]), "{}", database["name"]);
        }
        let mut deleted = true;
        for ((_, _, replica), seen) in sites.iter().zip(&mut seen) {
            seen.extend(snapshots(replica).into_iter().filter(|key| !key.ends_with(".tmp")));
            deleted &= seen.iter().any(|key| !replica.join(key).exists());
        }
        deleted
    });
    assert!(retained, "no snapshot was deleted");
    let verified = agent.metrics();
    for database in ["v0313", "v0515", "v0517"] {
        let of = [("database", database), ("depth", "content")];
        let count = agent.metric("streamgauge_replica_verified_objects_total", &of);
        assert!(count > Some(20.0), "{database}: {count:?} in\n{verified}");
        let held = agent.metric(
            "streamgauge_check_status",
            &[("database", database), ("check", "ReplicaCorrupt"), ("status", "pass")],
        );
        assert_eq!(held, Some(1.0), "{database}");
    }
}
