//! The lab's real programs start, answer and do what the other tests rely on.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

use std::path::Path;
use std::time::Duration;

use lab::litestream::{VERSIONS, quick_yaml};
use lab::prometheus::{PROMETHEUS, scrape_yaml};
use lab::{Lab, http, wait_for};

#[test]
fn litestream_restores_what_it_replicated_to_a_directory_and_to_s3() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let moto = lab.moto(home.path());
    let rclone = lab.rclone(&home.path().join("rclone"));
    moto.create_bucket("bucket");
    rclone.create_bucket("bucket");
    for version in VERSIONS {
        let path = home.path().join(format!("file-{version}"));
        let file = format!("type: file, path: {}", path.display());
        let places = [
            ("file", file, format!("file://{}", path.display())),
            ("moto", moto.replica("bucket", version), moto.url("bucket", version)),
            ("rclone", rclone.replica("bucket", version), rclone.url("bucket", version)),
        ];
        for (place, replica, url) in places {
            restores(&lab, version, &home.path().join(format!("{version}-{place}")), &replica, &url);
        }
    }
    assert!(moto.requests("PUT /bucket/") > 0, "moto's log counts requests");
}

fn restores(lab: &Lab, version: &str, directory: &Path, replica: &str, url: &str) {
    std::fs::create_dir_all(directory).unwrap();
    let database = directory.join("app.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    let mut litestream = lab.replicate(version, directory, &quick_yaml(version, &database, replica));
    writer.run(Duration::from_millis(20));
    wait_for("Litestream to have begun", || litestream.process.is_running() && !litestream.process.log().is_empty());
    std::thread::sleep(Duration::from_secs(1));
    let committed = writer.pause();
    assert_eq!(writer.sql("SELECT count(*) FROM t"), serde_json::json!([[committed]]));
    litestream.process.stop();

    let restored = directory.join("restored.db");
    if version.starts_with("0.3.") {
        // Its urls have no parameters, so the endpoint comes from the configuration.
        let config = ["-config", litestream.config.to_str().unwrap()];
        lab.restore_with(version, &config, database.to_str().unwrap(), &restored).unwrap();
    } else {
        lab.restore(version, url, &restored).unwrap();
    }
    let mut reader = lab.writer(&restored);
    assert_eq!(reader.sql("SELECT count(*) FROM t"), serde_json::json!([[committed]]), "{version} {url}");
}

#[test]
fn rclone_denies_revoked_credentials() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let rclone = lab.rclone(&home.path().join("rclone"));
    rclone.create_bucket("bucket");
    let out = home.path().join("restored.db");
    let empty = lab.restore("0.5.17", &rclone.url("bucket", "x"), &out).unwrap_err();
    assert!(empty.contains("no matching backup files"), "{empty}");

    let rclone = lab.rclone_revoked(rclone);
    let denied = lab.restore("0.5.17", &rclone.url("bucket", "x"), &out).unwrap_err();
    assert!(denied.contains("403"), "{denied}");

    let rclone = lab.rclone_restored(rclone);
    assert_eq!(lab.restore("0.5.17", &rclone.url("bucket", "x"), &out).unwrap_err(), empty);
}

#[test]
fn prometheus_scrapes_itself() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    for version in PROMETHEUS {
        let scraped = lab.prometheus(version, home.path(), &scrape_yaml("127.0.0.1:1"));
        wait_for("a failed scrape", || scraped.value("up{job=\"streamgauge\"}") == Some(0.0));
        assert_eq!(http::get("127.0.0.1:1", "/", &[]).map(|answer| answer.status).ok(), None);
        assert!(lab.promtool(version).arg("--version").status().unwrap().success());
    }
}
