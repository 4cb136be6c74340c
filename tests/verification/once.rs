//! `streamgauge check`, which sees damage from cron as well.

use std::fs;
use std::path::Path;

use streamgauge_testkit::ltx::{Consumed, Header, Pages, encode};
use streamgauge_testkit::wal::Position;

use crate::bench::{level, v5};
use crate::lab::{Lab, command};

fn check(replica: &Path, options: &[&str]) -> (i32, String) {
    let config = replica.with_file_name("check.toml");
    let url = replica.display();
    let text = format!(
        "[litestream]\nconfig = []\n[[database]]\nname = \"app\"\n[[database.replica]]\nurl = \"file://{url}\"\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
    command.env_remove("LITESTREAM_CONFIG").arg("check").arg(format!("--config.file={}", config.display()));
    let output = command.args(options).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn damage_is_critical_as_deep_as_was_asked() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let (_, table) = check(&replica, &[]);
    assert!(!table.contains("ReplicaCorrupt"), "{table}");

    let key = level(0, 4, 4);
    let pristine = fs::read(replica.join(&key)).unwrap();
    fs::write(replica.join(&key), &pristine[..150]).unwrap();
    let (code, table) = check(&replica, &[]);
    assert_eq!(code, 2, "{table}");
    assert!(
        table.contains(&format!("ReplicaCorrupt: {key} is wrong at its end: unexpected end at byte 150")),
        "{table}"
    );
    let (_, table) = check(&replica, &["--verify=none"]);
    assert!(!table.contains("ReplicaCorrupt"), "{table}");
    fs::write(replica.join(&key), &pristine).unwrap();

    // Inside a file that is too large to be read by the way.
    let key = level(0, 5, 5);
    let mut large = fs::read(replica.join(&key)).unwrap();
    fs::write(replica.join(&key), [&large[..], &[0; 4096]].concat()).unwrap();
    let (_, table) = check(&replica, &[]);
    let longer = "is wrong at its end: it does not end like an LTX file: cut off, added to or damaged: ";
    assert!(table.contains(&format!("ReplicaCorrupt: {key} {longer}")), "{table}");
    large[100_000] ^= 1;
    fs::write(replica.join(&key), &large).unwrap();
    let (_, table) = check(&replica, &[]);
    assert!(!table.contains("ReplicaCorrupt"), "{table}");
    let (code, table) = check(&replica, &["--verify=content"]);
    assert_eq!(code, 2, "{table}");
    assert!(table.contains(&format!("ReplicaCorrupt: {key} is corrupt")), "{table}");
    let (_, json) = check(&replica, &["--verify=content", "--format=json"]);
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let finding = &report["databases"][0]["replicas"][0]["verification"]["findings"][0];
    assert_eq!((finding["kind"].as_str(), finding["key"].as_str()), (Some("corrupt"), Some(&*key)), "{finding}");
}

/// A replica of so many level-0 files, all of which a restore needs.
fn chain(replica: &Path, files: u64) {
    for txid in 1..=files {
        let wal = Some(Consumed { from: 32, end: Position { salt1: 1, salt2: 2, end: 568 } });
        let timestamp = 1_767_225_600_000;
        let header = Header { page_size: 512, commit: 1, min: txid, max: txid, timestamp, wal };
        let path = replica.join(level(0, txid, txid));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, encode(&header, &Pages::from([(1, vec![txid as u8; 512])]))).unwrap();
    }
}

/// Status and detail of a check.
fn verdict(replica: &Path, name: &str, options: &[&str]) -> (String, String) {
    let (_, json) = check(replica, &[options, &["--format=json"]].concat());
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    let checks = report["databases"][0]["checks"].as_array().unwrap();
    let found = checks.iter().find(|verdict| verdict["check"] == name).unwrap();
    (found["status"].as_str().unwrap().to_owned(), found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn what_is_left_unread_is_said_and_no_fault() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path().join("replica");
    chain(&replica, 100);
    let told = |options: &[&str]| verdict(&replica, "ReplicaCorrupt", options);
    let read = |count: u64, of: u64| format!("{count} of the {of} objects that a restore needs have been read");
    assert_eq!(told(&[]), ("pass".to_owned(), read(100, 100)), "an ordinary plan is read in full");
    chain(&replica, 600);
    let (status, detail) = told(&[]);
    let left =
        " of the 600 objects that a restore needs have been read, all good; `check --verify content` reads all of them";
    assert!(status == "pass" && detail.ends_with(left), "{status} {detail}");
    assert_eq!(told(&["--verify=content"]), ("pass".to_owned(), read(600, 600)));
}
