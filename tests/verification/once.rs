//! `streamgauge check`, which sees damage from cron as well.

use std::fs;
use std::path::Path;

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
    let Some(lab) = Lab::find() else { return };
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let (_, table) = check(&replica, &[]);
    assert!(!table.contains("ReplicaCorrupt"), "{table}");

    let key = level(0, 4, 4);
    let pristine = fs::read(replica.join(&key)).unwrap();
    fs::write(replica.join(&key), &pristine[..150]).unwrap();
    let (code, table) = check(&replica, &[]);
    assert_eq!(code, 2, "{table}");
    assert!(table.contains(&format!("ReplicaCorrupt: {key} is cut off: unexpected end at byte 150")), "{table}");
    let (_, table) = check(&replica, &["--verify=none"]);
    assert!(!table.contains("ReplicaCorrupt"), "{table}");
    fs::write(replica.join(&key), &pristine).unwrap();

    // Inside a file that is too large to be read by the way.
    let key = level(0, 5, 5);
    let mut large = fs::read(replica.join(&key)).unwrap();
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
