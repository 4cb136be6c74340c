//! Every damage that a replica can suffer, and who notices: Litestream's own restore, `streamgauge check`,
//! `streamgauge restore` and `streamgauge drill`. The table is docs/DAMAGE.md; `UPDATE=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]
#![allow(dead_code, unreachable_pub, reason = "the site is shared with the drill's tests")]

#[path = "lab/mod.rs"]
mod lab;
#[path = "drill/site.rs"]
mod site;

use std::fs;
use std::path::{Path, PathBuf};

use lab::{Lab, command};
use serde_json::Value;
use site::{Site, VERSION};

/// The documentation that this test keeps true.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/DAMAGE.md");

const HEAD: &str = "\
# What can damage a replica, and what notices it

tests/damage.rs damages a replica of Litestream 0.5.17 on purpose (a snapshot of TXID 4, and level-0 files 1 to 8), and
writes this table.

- *Other bytes* means that a restore exits with code 0 but gives an older or wrong database.
- `-timestamp` asks for the time of the newest file, which gives the state before that file.
- `check` is `streamgauge check --verify content` beside the live database. When it names checks, its exit code is 2.

| damage | `litestream restore` | `-timestamp` | `check` | `streamgauge restore` | `streamgauge drill` |
|---|---|---|---|---|---|
";

type Damage = fn(&Replica);

/// A damage, the checks that must fail of it, what the drill must make of it, and how it is done. Written by hand, from
/// what each damage means: a hole or an end that is gone leaves commits unprotected, damaged content is corrupt to whoever
/// reads it, and what has a right checksum only a restored database tells.
const DAMAGES: &[(&str, &[&str], &str, Damage)] = &[
    ("none", &[], "passed", |_| ()),
    ("hole in the chain", &["ReplicaGap", "ReplicationLag"], "failed at `restore`", |replica| replica.remove(0, 6)),
    ("snapshot gone, chain from TXID 1 complete", &[], "passed", |replica| replica.remove(9, 4)),
    ("snapshot gone, chain pruned", &["ReplicaGap", "ReplicationLag"], "failed at `restore`", |replica| {
        replica.remove(9, 4);
        (1..=4).for_each(|txid| replica.remove(0, txid));
    }),
    ("newest object gone", &["ReplicationLag"], "failed at `recency`", |replica| replica.remove(0, 8)),
    ("everything gone", &["NeverReplicated"], "failed at `restore`", |replica| {
        fs::remove_dir_all(replica.root.join("ltx")).unwrap()
    }),
    ("the replica's directory gone", &["NeverReplicated"], "failed at `restore`", |replica| {
        fs::remove_dir_all(&replica.root).unwrap()
    }),
    ("object truncated", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        replica.change(0, 6, |content| content.truncate(content.len() / 2))
    }),
    ("object empty", &["ReplicaCorrupt"], "failed at `restore`", |replica| replica.change(0, 6, Vec::clear)),
    ("snapshot truncated", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        replica.change(9, 4, |content| content.truncate(content.len() - 1))
    }),
    ("bit flipped in the header", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        replica.change(0, 6, |content| content[10] ^= 1)
    }),
    ("bit flipped in a page", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        replica.change(9, 4, |content| content[150] ^= 1)
    }),
    ("bit flipped in the checksum", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        replica.change(0, 6, |content| *content.last_mut().unwrap() ^= 1);
    }),
    ("object under another's name", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        let content = fs::read(replica.path(0, 5)).unwrap();
        fs::write(replica.path(0, 6), content).unwrap();
    }),
    ("page missing from an increment that grows the database", &["ReplicaCorrupt"], "failed at `restore`", |replica| {
        let grown = |header: &streamgauge::domain::litestream::LtxHeader| header.commit;
        Site::forge(&replica.path(0, 7), |header, pages| {
            // Not the last one, which the next file changes again.
            pages.remove(&(grown(header) - 3)).unwrap();
        });
    }),
    ("wrong letter under a correct checksum", &["ContentMismatch"], "failed at `compare`", |replica| {
        Site::forge(&replica.path(0, 8), |_, pages| {
            let letter = pages.values_mut().next_back().unwrap().iter_mut().rev().find(|byte| **byte == b'A');
            *letter.unwrap() = b'B';
        });
    }),
    ("page of garbage under a correct checksum", &["ContentMismatch"], "failed at `quick_check`", |replica| {
        Site::forge(&replica.path(0, 8), |_, pages| pages.values_mut().next_back().unwrap().fill(0xa5));
    }),
];

struct Replica {
    root: PathBuf,
}

impl Replica {
    fn path(&self, level: u8, txid: u64) -> PathBuf {
        let min = if level == 0 { txid } else { 1 };
        self.root.join(format!("ltx/{level}/{min:016x}-{txid:016x}.ltx"))
    }

    fn remove(&self, level: u8, txid: u64) {
        fs::remove_file(self.path(level, txid)).unwrap();
    }

    fn change(&self, level: u8, txid: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path(level, txid);
        let mut content = fs::read(&path).unwrap();
        change(&mut content);
        fs::write(path, content).unwrap();
    }
}

#[test]
fn every_damage_is_noticed() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    for txid in 2..=8 {
        site.writer.commit(if txid == 7 { 400 } else { 3 });
        site.sync(&lab, if txid == 4 { &["-force-snapshot"] } else { &[] });
    }
    let sound = restored(&lab, &site, &["-o"], "sound.db").expect("a sound replica restores");
    let newest = newest(&site.replica);
    let sound_at = restored(&lab, &site, &["-timestamp", &newest, "-o"], "sound.db").expect("a sound replica restores");
    site.configure("1ms");
    let kept = site.home.path().join("kept");
    copy(&site.replica, &kept);
    let mut table = HEAD.to_owned();
    for (name, expected_checks, expected_drill, damage) in DAMAGES {
        // A damage may have removed it.
        let _ = fs::remove_dir_all(&site.replica);
        copy(&kept, &site.replica);
        damage(&Replica { root: site.replica.clone() });
        keep_times(&kept, &site.replica);
        let latest = outcome(&sound, restored(&lab, &site, &["-o"], "latest.db"));
        let at = outcome(&sound_at, restored(&lab, &site, &["-timestamp", &newest, "-o"], "at.db"));
        let (own, warned) = native(&site);
        let own = outcome(&sound, own);
        let drilled = site.drill(&[]);
        let drill = match drilled.result() {
            "passed" => "passed".to_owned(),
            result => format!("{result} at `{}`", stopped_at(drilled.record())),
        };
        let failed = check(&site);
        assert_eq!(failed, *expected_checks, "{name}: the checks that fail");
        assert_eq!(drill, *expected_drill, "{name}: the drill");
        let check = if failed.is_empty() { "passes".to_owned() } else { failed.join(", ") };
        assert!(own == "error" || latest != "error", "{name}: a native restore takes what Litestream refuses");
        let warned = if warned { ", with a warning" } else { "" };
        table += &format!("| {name} | {latest} | {at} | {check} | {own}{warned} | {drill} |\n");
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(DOCUMENT).unwrap_or_default(), table, "run with UPDATE=1 and read what changed");
}

/// The first check of a drill that did not pass.
fn stopped_at(record: &Value) -> String {
    let failed = record["checks"].as_array().unwrap().iter().find(|check| check["result"] == record["result"]);
    failed.map_or_else(|| "plan".to_owned(), |check| check["name"].as_str().unwrap().to_owned())
}

/// The names of the critical checks that failed: where and beside what the test runs is of no interest.
fn check(site: &Site) -> Vec<String> {
    let mut check = command(env!("CARGO_BIN_EXE_streamgauge"));
    check.args(["check", "--verify", "content", "--wait", "0s", "--format", "json", "--config.file"]);
    let output = check.arg(site.home.path().join("streamgauge.toml")).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdicts = report["databases"][0]["checks"].as_array().unwrap();
    let failed: Vec<String> = verdicts
        .iter()
        .filter(|v| v["status"] == "fail" && v["severity"] == "critical")
        .map(|v| v["check"].as_str().unwrap().to_owned())
        .collect();
    let code = output.status.code().unwrap();
    // What only warns is about where the test runs, or says 3 where something is unknown.
    assert!(if failed.is_empty() { code != 2 } else { code == 2 }, "{code}: {report}");
    failed
}

fn outcome(sound: &[u8], restored: Option<Vec<u8>>) -> &'static str {
    match restored {
        None => "error",
        Some(bytes) if bytes == sound => "sound",
        Some(_) => "**other bytes, exit 0**",
    }
}

/// What Litestream restores; `None` is an error.
fn restored(lab: &Lab, site: &Site, options: &[&str], name: &str) -> Option<Vec<u8>> {
    let (out, url) = (site.home.path().join(name), format!("file://{}", site.replica.display()));
    let mut restore = lab.litestream(VERSION);
    let done = restore.arg("restore").args(options).arg(&out).arg(url).output().unwrap().status.success();
    let bytes = done.then(|| fs::read(&out).unwrap());
    let _ = fs::remove_file(out);
    bytes
}

/// What `streamgauge restore` restores, and whether it warns.
fn native(site: &Site) -> (Option<Vec<u8>>, bool) {
    let out = site.home.path().join("native.db");
    let mut restore = command(env!("CARGO_BIN_EXE_streamgauge"));
    let config = site.home.path().join("streamgauge.toml");
    let output = restore.args(["restore", "app", "-o"]).arg(&out).arg("--config.file").arg(config).output().unwrap();
    let bytes = output.status.success().then(|| fs::read(&out).unwrap());
    let _ = fs::remove_file(out);
    (bytes, String::from_utf8_lossy(&output.stderr).contains("WARNING"))
}

/// When the newest object was made, as `-timestamp` takes it.
fn newest(replica: &Path) -> String {
    let files = fs::read_dir(replica.join("ltx/0")).unwrap();
    let newest = files.map(|file| file.unwrap().metadata().unwrap().modified().unwrap()).max().unwrap();
    jiff::Timestamp::try_from(newest).unwrap().to_string()
}

/// Gives the files of a level the times that they had: what rots keeps its date.
fn keep_times(kept: &Path, replica: &Path) {
    for level in ["ltx/0", "ltx/9"] {
        for file in fs::read_dir(kept.join(level)).unwrap().map(Result::unwrap) {
            if let Ok(damaged) = fs::File::options().write(true).open(replica.join(level).join(file.file_name())) {
                damaged.set_modified(file.metadata().unwrap().modified().unwrap()).unwrap();
            }
        }
    }
}

/// Copies a directory with the times of its files, which is how a replica dates them.
fn copy(from: &Path, to: &Path) {
    assert!(command("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}
