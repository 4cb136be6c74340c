//! Sound replicas, beside live databases.

use std::fs;
use std::thread;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};

use crate::lab::Lab;
use crate::lab::litestream::quick_yaml;
use crate::site::{Site, VERSION, run};

#[test]
fn a_sound_replica_passes_is_what_litestream_restores_and_equals_the_live_database() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let (html, json) = (site.home.path().join("report.html"), site.home.path().join("report.json"));
    let drilled = site.drill(&["--report", html.to_str().unwrap(), "--report", json.to_str().unwrap()]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    for check in ["restore", "quick_check", "check_constraints", "foreign_key_check", "compare", "recency"] {
        assert_eq!(drilled.check(check).0, "passed", "{}", drilled.record());
    }
    assert!(drilled.check("compare").1.contains("pages match the live database"));
    assert!(drilled.stderr.contains("to download"), "said before: {}", drilled.stderr);

    let restored = site.home.path().join("restored.db");
    lab.restore(VERSION, &format!("file://{}", site.replica.display()), &restored).unwrap();
    let bytes = fs::read(&restored).unwrap();
    let sha256: String = digest(&SHA256, &bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let record = drilled.record();
    assert_eq!(record["restored"]["sha256"], sha256.as_str());
    assert_eq!(record["restored"]["bytes"], bytes.len());
    assert_eq!((record["estimated_dollars"].as_f64(), record["dollars"].as_f64()), (Some(0.0), Some(0.0)));
    let objects = record["restored"]["objects"].as_array().unwrap();
    let listed: u64 = objects.iter().map(|object| object["bytes"].as_u64().unwrap()).sum();
    assert!(record["downloaded_bytes"].as_u64().unwrap() >= listed && listed > 0, "{record}");

    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains(&sha256) && page.contains(objects[0]["key"].as_str().unwrap()));
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    assert_eq!(report[0], *record);
}

#[test]
fn commits_that_are_not_replicated_yet_do_not_spoil_the_comparison() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.commit(50);
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    assert_eq!(drilled.check("compare").0, "passed", "{}", drilled.record());
    let (result, detail) = drilled.check("recency");
    assert!(result == "passed" && detail.contains("bytes of committed WAL are not in it"), "{detail}");

    // The same with an objective that the last commit is older than.
    site.configure("1ms");
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    assert!(drilled.reason().starts_with("recency: "), "{}", drilled.reason());

    // What the replica has not reached is moved into the database file: nothing can be compared any more.
    site.configure("1h");
    site.writer.sql("PRAGMA wal_checkpoint(PASSIVE)");
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    let (result, detail) = drilled.check("compare");
    assert_eq!((result, detail.contains("checkpoint")), ("inconclusive", true), "{detail}");
}

#[test]
fn a_closed_database_is_compared_by_its_file() {
    let lab = Lab::find();
    let Site { home, database, replica, scratch, writer } = Site::new(&lab);
    writer.close();
    let site = Site { writer: lab.writer(&home.path().join("other.db")), home, database, replica, scratch };
    // The writer's closing moved its WAL into the file.
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    assert_eq!(drilled.check("compare").0, "passed", "{}", drilled.record());
    let mut later = lab.writer(&site.database);
    later.commit(1);
    later.close();
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "a file that went on is no damage: {}", drilled.record());
    let (result, detail) = drilled.check("compare");
    assert!(result == "inconclusive" && detail.starts_with("not comparable: "), "{detail}");
}

#[test]
fn a_database_that_is_written_and_checkpointed_all_the_time_is_never_said_to_differ() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    let replica = site.home.path().join("live");
    let yaml = quick_yaml(VERSION, &site.database, &format!("type: file, path: {}", replica.display()));
    let mut daemon = lab.replicate(
        VERSION,
        site.home.path(),
        &yaml.replace("monitor", "min-checkpoint-page-count: 20\n    monitor"),
    );
    site.writer.run(Duration::from_millis(5));
    crate::lab::wait_for("the replica's first files", || replica.join("ltx/0").exists());
    let mut compared = 0;
    for _ in 0..12 {
        let drilled = run(&mut site.command());
        assert_eq!(drilled.result(), "passed", "{}", drilled.record());
        compared += usize::from(drilled.check("compare").0 == "passed");
        thread::yield_now();
    }
    site.writer.pause();
    daemon.process.stop();
    assert!(compared > 0, "it was compared at least once");
}

#[test]
fn rows_that_break_check_constraints_are_found() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("CREATE TABLE stock(count INTEGER CHECK (count >= 0))");
    site.sync(&lab, &[]);
    assert_eq!(site.drill(&[]).check("check_constraints"), ("passed", "ok"));
    site.writer.sql("PRAGMA ignore_check_constraints = 1");
    site.writer.sql("INSERT INTO stock VALUES (-1)");
    site.sync(&lab, &[]);
    let url = format!("file://{}", site.replica.display());
    for integrity in ["quick", "full"] {
        let drilled = site.drill(&[&url, "--integrity", integrity]);
        assert_eq!(drilled.result(), "failed", "{}", drilled.record());
        let name = if integrity == "quick" { "quick_check" } else { "integrity_check" };
        let (result, detail) = drilled.check(name);
        assert!(result == "passed" && detail.contains("NOT NULL"), "it says what was checked: {detail}");
        assert_eq!(drilled.reason(), "check_constraints: CHECK constraint failed in stock");
    }
    // The live database breaks it as well: the backup is what it should be.
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    assert_eq!(drilled.check("check_constraints").0, "failed");
}

#[test]
fn violations_that_the_live_database_has_too_are_not_the_backups_fault() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("CREATE TABLE parent(id INTEGER PRIMARY KEY)");
    site.writer.sql("CREATE TABLE child(p REFERENCES parent)");
    site.writer.sql("INSERT INTO child VALUES (7)");
    site.sync(&lab, &[]);
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    assert_eq!(drilled.check("foreign_key_check"), ("failed", "1 violation: row 1 of child refers to parent"));

    let url = format!("file://{}", site.replica.display());
    let drilled = site.drill(&[&url]);
    assert_eq!(drilled.result(), "failed", "nothing to compare with: {}", drilled.record());
    assert!(drilled.reason().starts_with("foreign_key_check: 1 violation"), "{}", drilled.reason());
}
