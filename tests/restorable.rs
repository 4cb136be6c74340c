//! The coverage map against genuine replicas: what `streamgauge restorable` prints of them, whole and broken, and what the
//! genuine program restores to the same instants.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use lab::agent::Agent;
use lab::litestream::{ACCESS_KEY, SECRET_KEY, printed, quick_yaml};
use lab::{Lab, wait_for};

/// A replica of genuine 0.5.17, one file of level 0 for each step and two snapshots, in a directory that a test may break.
struct Replica {
    lab: Lab,
    home: tempfile::TempDir,
    root: PathBuf,
}

impl Replica {
    fn make(steps: u64) -> Self {
        let lab = Lab::find();
        let home = tempfile::tempdir().unwrap();
        let (database, root) = (home.path().join("app.db"), home.path().join("replica"));
        let mut writer = lab.writer(&database);
        writer.sql("PRAGMA wal_autocheckpoint = 0");
        writer.create_table();
        for step in 0..steps {
            writer.commit(1);
            let mut command = lab.litestream("0.5.17");
            command.args(["replicate", "-once"]);
            if step == 0 || step == steps - 2 {
                command.arg("-force-snapshot");
            }
            printed(command.arg(&database).arg(format!("file://{}", root.display())).output().unwrap()).unwrap();
        }
        Self { lab, home, root }
    }

    fn url(&self) -> String {
        format!("file://{}", self.root.display())
    }

    /// The files of a level with the times of their headers, in the order of their names.
    fn files(&self, level: u8) -> Vec<(PathBuf, Timestamp)> {
        let folder = self.root.join(format!("ltx/{level}"));
        let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let time = |path: &Path| Timestamp::try_from(fs::metadata(path).unwrap().modified().unwrap()).unwrap();
        files.into_iter().map(|path| (path.clone(), time(&path))).collect()
    }

    /// The last file and the last TXID of what the genuine program restores to an instant, or what it says instead.
    fn genuine(&self, at: Timestamp) -> Result<Value, String> {
        let mut command = self.lab.litestream("0.5.17");
        command.args(["restore", "-dry-run", "-json", "-o"]).arg(self.home.path().join("restored.db"));
        let plan = printed(command.args(["-timestamp", &at.to_string(), &self.url()]).output().unwrap())?;
        Ok(serde_json::from_str(&plan).unwrap())
    }

    /// For each instant, the genuine plan and ours name the same files in the same order.
    fn compare(&self, instants: impl IntoIterator<Item = Timestamp>) {
        for at in instants {
            let (_, found) = json(&[&self.url(), "--at", &at.to_string()]);
            let ours: Vec<String> = found[0]["answer"]["objects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|object| object["key"].as_str().unwrap().strip_prefix("ltx/").unwrap().to_owned())
                .collect();
            let genuine: Vec<String> = match self.genuine(at) {
                Ok(plan) => {
                    let files = plan["files"].as_array().unwrap().iter();
                    files.map(|file| format!("{}/{}", file["level"], file["name"].as_str().unwrap())).collect()
                }
                Err(error) => {
                    assert!(
                        error.contains("no matching backup") || error.contains("timestamp does not exist"),
                        "{error}"
                    );
                    Vec::new()
                }
            };
            assert_eq!(ours, genuine, "at {at}: {found}");
        }
    }
}

/// `streamgauge restorable`.
fn streamgauge() -> Command {
    let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
    command.env_remove("LITESTREAM_CONFIG").arg("restorable");
    command
}

/// Exit code and both outputs. The program is told of no configuration but that in the arguments.
fn told(arguments: &[&str]) -> (i32, String, String) {
    let output = streamgauge().args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, out, error) = told(&[arguments, &["--format=json"]].concat());
    assert_eq!(error, "");
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}")))
}

fn milliseconds(count: i64) -> SignedDuration {
    SignedDuration::from_millis(count)
}

/// Around each file's time, where one restore becomes another.
fn around(files: &[(PathBuf, Timestamp)]) -> Vec<Timestamp> {
    let newest = files.iter().map(|(_, at)| *at).max().unwrap();
    let around = files.iter().flat_map(|(_, at)| [*at, *at + milliseconds(1)]);
    // The genuine program refuses what is behind the newest file before it plans.
    around.filter(|at| *at <= newest).collect()
}

#[test]
fn a_replica_is_mapped_whole_and_broken_as_litestream_restores_it() {
    let replica = Replica::make(7);
    let (url, files) = (replica.url(), replica.files(0));
    let snapshots = replica.files(9);
    assert_eq!((files.len(), snapshots.len()), (7, 2), "{files:?} {snapshots:?}");

    let (code, found) = json(&[&url]);
    let map = &found[0]["timeline"];
    assert_eq!((code, &map["gaps"], &map["caveats"]), (0, &0.into(), &Value::Array(Vec::new())), "{found}");
    assert_eq!(
        (&map["spans"][0]["points"], &map["spans"][0]["resolution_seconds"]),
        (&7.into(), &0.0.into()),
        "{found}"
    );
    assert_eq!((&found[0]["layout"], &found[0]["times"]), (&"v0.5".into(), &"listing".into()));
    let (code, table, _) = told(&[&url]);
    assert_eq!(code, 0, "{table}");
    let band = table.lines().nth(1).unwrap();
    assert_eq!((band.trim(), band.contains('\x1b')), ("█".repeat(76).as_str(), false), "{table}");
    assert!(table.contains("; no gaps\n") && table.contains(": every state, 7 states\n"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    replica.compare(around(&files));
    // Before the first file, and after the last.
    assert_eq!(told(&[&url, "--at", &(files[0].1 - milliseconds(1)).to_string()]).0, 2);
    let (code, table, _) = told(&[&url, "--at", "0s"]);
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("  restorable        0000000000000007 of ") && table.contains("ltx/0/"), "{table}");

    // An object is damaged, which the second snapshot makes good.
    let key = format!("ltx/0/{}", files[3].0.file_name().unwrap().to_str().unwrap());
    let (code, found) = json(&[&url, "--without", &key]);
    let blocked = &found[0]["timeline"]["spans"][1]["blocked"];
    assert_eq!((code, &blocked["key"], &found[0]["timeline"]["gaps"]), (2, &key.as_str().into(), &1.into()), "{found}");
    let snapshot = format!("ltx/9/{}", snapshots[1].0.file_name().unwrap().to_str().unwrap());
    assert_eq!(told(&[&url, "--without", &snapshot]).0, 0, "level 0 leads past it");

    // A hole, which the second snapshot closes.
    let lost = files[2].0.clone();
    fs::remove_file(&lost).unwrap();
    let (code, found) = json(&[&url]);
    let (map, missing) = (&found[0]["timeline"], "TXID 0000000000000003 is in no file");
    assert_eq!((code, &map["gaps"], &map["spans"][1]["blocked"]["detail"]), (2, &1.into(), &missing.into()), "{found}");
    assert_eq!(map["caveats"][0]["releases"], "0.5.8 and later", "{found}");
    let (_, table, _) = told(&[&url]);
    assert!(table.lines().nth(1).unwrap().contains('×') && table.contains("; 1 gap of "), "{table}");
    replica.compare(around(&files));
    // The genuine program restores into the gap, an older state, without a word.
    let inside = (files[4].1).to_string();
    let silent = replica.genuine(files[4].1).unwrap();
    assert_eq!(silent["max_txid"], "0000000000000002", "{silent}");
    let (code, table, _) = told(&[&url, "--at", &inside]);
    assert_eq!(code, 2, "{table}");
    assert!(table.contains(&format!("between 0000000000000002 and 0000000000000004: {missing}\n")), "{table}");
    assert!(table.contains("  instead           an older state is available: 0000000000000002 of "), "{table}");

    // The snapshots are gone: what is left begins behind the hole or at TXID 1.
    snapshots.iter().for_each(|(path, _)| fs::remove_file(path).unwrap());
    replica.compare(around(&files));
    assert_eq!(told(&[&url]).0, 2);
    let open = &json(&[&url]).1[0]["timeline"];
    let spans = open["spans"].as_array().unwrap();
    assert_eq!((spans.len(), &spans[1]["blocked"]["detail"]), (2, &missing.into()), "{open}");
    // 0.5.8 to 0.5.9, 0.5.8 and later, up to 0.5.7.
    assert_eq!(open["caveats"].as_array().unwrap().len(), 3, "{open}");
    fs::remove_file(&files[0].0).unwrap();
    let (code, table, _) = told(&[&url]);
    assert_eq!(code, 2, "{table}");
    let why = "no point in time restores: there is no snapshot before it, and no file that starts at TXID 1";
    assert!(table.contains(&format!("  restorable        {why}\n")), "{table}");
    replica.compare(around(&files[1..]).into_iter().take(3));
}

/// No name tells it, and a restore would only find it when it is needed.
#[test]
fn what_the_agent_of_this_host_found_to_be_damaged_is_not_promised() {
    let replica = Replica::make(3);
    let path = replica.files(0).last().unwrap().0.clone();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let key = format!("ltx/0/{}", path.file_name().unwrap().to_str().unwrap());
    let (code, table, _) = told(&[&replica.url()]);
    assert!(code == 0 && table.contains("  not read          contents: damage is found by check "), "{table}");

    let (home, database) = (replica.home.path().join("agent"), replica.home.path().join("app.db"));
    let storage = home.join("storage");
    let toml = format!(
        "[storage]\npath = {storage:?}\n[[database]]\npath = {database:?}\n[[database.replica]]\nurl = {:?}\n",
        replica.url()
    );
    fs::create_dir(&home).unwrap();
    let mut agent = Agent::start_keeping(&home, &toml, &storage, &[]);
    let labels = [("database", "app"), ("finding", "corrupt")];
    wait_for("the damage", || agent.metric("streamgauge_replica_corrupt_objects", &labels) == Some(1.0));
    let config = home.join("streamgauge.toml").display().to_string();
    // This look reads no contents: what the agent says of them counts while it runs, and not what it said.
    let corrupt = || {
        let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        command.env_remove("LITESTREAM_CONFIG").args([
            "check",
            "--verify=none",
            "--format=json",
            "--config.file",
            &config,
        ]);
        let output = command.output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let fires = report["alerts"].as_array().unwrap().iter().any(|alert| alert["labels"]["alertname"] == CORRUPT);
        let checks = report["databases"][0]["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["check"] == CORRUPT).cloned().unwrap_or_default();
        (fires, check["status"].clone(), check["detail"].to_string())
    };
    const CORRUPT: &str = "ReplicaCorrupt";
    wait_for("the alert", || corrupt().0);
    let (_, status, detail) = corrupt();
    assert!(status == "fail" && detail.ends_with(" (the agent of this host)\""), "{detail}");
    assert!(agent.process.stop().success());
    let (fires, status, detail) = corrupt();
    assert!(!fires && status != "fail", "{detail}");
    for named in ["app", &replica.url()] {
        let told = |more: &[&str]| told(&[&[named, "--config.file", &config], more].concat());
        let (code, table, _) = told(&[]);
        assert!(code == 2 && table.contains(&format!("  damaged           {key}: ")), "{table}");
        assert!(!table.contains("; no gaps"), "{table}");
        let (code, found, _) = told(&["--at", "0s", "--format=json"]);
        let found: Value = serde_json::from_str(&found).unwrap();
        let (damaged, answer) = (&found[0]["damaged"], &found[0]["answer"]);
        assert_eq!((code, &damaged[0]["key"], damaged[1].is_null()), (2, &key.as_str().into(), true), "{found}");
        assert_eq!(answer["blocked"]["key"], key.as_str(), "{found}");
    }
}

#[test]
fn of_a_copy_with_the_times_of_the_copy_the_headers_decide_as_they_do_in_a_restore() {
    let replica = Replica::make(7);
    let files = replica.files(0);
    let copied = Timestamp::now() + SignedDuration::from_mins(1);
    for (path, _) in files.iter().chain(&replica.files(9)) {
        fs::File::options().append(true).open(path).unwrap().set_modified(copied.into()).unwrap();
    }
    let at = files[3].1 + milliseconds(1);
    let restored = |at: Timestamp| {
        let out = replica.home.path().join(format!("at-{}.db", at.as_millisecond()));
        let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        command.args(["restore", &replica.url(), "--format=json", "--at", &at.to_string(), "-o"]).arg(&out);
        let done: Value = serde_json::from_str(&printed(command.output().unwrap()).unwrap()).unwrap();
        fs::remove_file(out).unwrap();
        Value::from(format!("{:016x}", done["txid"].as_u64().unwrap()))
    };
    let asked = |at: Timestamp| {
        let (code, found) = json(&[&replica.url(), "--at", &at.to_string()]);
        assert_eq!((code, &found[0]["times"]), (0, &"header".into()), "{found}");
        found[0]["answer"]["position"].clone()
    };
    assert_eq!((asked(at), restored(at)), ("0000000000000004".into(), "0000000000000004".into()));
    let (code, found) = json(&[&replica.url()]);
    assert_eq!((code, &found[0]["timeline"]["spans"][0]["points"]), (0, &7.into()), "{found}");
    let caveats = found[0]["timeline"]["caveats"].to_string();
    assert!(caveats.contains("goes by the times of the files"), "{caveats}");
    // It does.
    assert!(replica.genuine(at).is_err());
    // With a hole, what is before it is there for both.
    fs::remove_file(&files[5].0).unwrap();
    for (path, _) in replica.files(9).iter().skip(1) {
        fs::remove_file(path).unwrap();
    }
    assert_eq!((asked(at), restored(at)), ("0000000000000004".into(), "0000000000000004".into()));
    let (_, table, _) = told(&[&replica.url(), "--at", &at.to_string()]);
    assert!(table.contains("those of the headers; Litestream goes by those of the files"), "{table}");
}

#[test]
fn compacted_levels_thin_the_map() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (database, root) = (home.path().join("app.db"), home.path().join("replica"));
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.5.17", &database, &format!("type: file, path: {}", root.display()));
    let mut litestream = lab.replicate("0.5.17", home.path(), &yaml);
    writer.run(Duration::from_millis(100));
    let names = |level: u8| -> Vec<String> {
        let files = fs::read_dir(root.join(format!("ltx/{level}"))).into_iter().flatten().flatten();
        let mut names: Vec<_> = files.map(|file| file.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    // Some seconds of which only compacted files are left.
    let first = |level| names(level).first().and_then(|name| u64::from_str_radix(name.get(..16)?, 16).ok());
    wait_for("compaction to level 2", || names(2).len() >= 2);
    wait_for("the first files of level 0 to go", || first(0) >= Some(10));
    writer.pause();
    litestream.process.stop();
    let replica = Replica { lab, home, root };
    let (_, found) = json(&[&replica.url()]);
    let map = &found[0]["timeline"];
    assert_eq!((&map["gaps"], found[0]["reason"].is_null()), (&0.into(), true), "{found}");
    let spans = map["spans"].as_array().unwrap();
    assert!(spans.len() >= 2, "{found}");
    let resolution = |span: &Value| span["resolution_seconds"].as_f64().unwrap();
    assert_eq!(resolution(spans.last().unwrap()), 0.0, "{found}");
    assert!(spans[..spans.len() - 1].iter().any(|span| resolution(span) > 1.0), "{found}");
    // Between any two states, too.
    let all: Vec<_> = (0..3).flat_map(|level| replica.files(level)).collect();
    replica.compare(around(&all).into_iter().step_by(5));
}

#[test]
fn a_replica_of_v0_3_is_mapped_by_its_segments() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (database, root) = (home.path().join("app.db"), home.path().join("replica"));
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.3.13", &database, &format!("type: file, path: {}", root.display()));
    let yaml =
        yaml.replace("    replicas:", "    min-checkpoint-page-count: 20\n    checkpoint-interval: 1s\n    replicas:");
    let mut litestream = lab.replicate("0.3.13", home.path(), &yaml);
    writer.run(Duration::from_millis(50));
    let wal = || {
        let generation = fs::read_dir(root.join("generations")).ok()?.next()?.ok()?.path();
        let mut files: Vec<PathBuf> =
            fs::read_dir(generation.join("wal")).ok()?.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        Some(files)
    };
    let index = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap()[..8].to_owned();
    let indexes = || wal().unwrap_or_default().iter().map(&index).collect::<std::collections::BTreeSet<_>>().len();
    wait_for("several WAL indexes", || indexes() >= 4);
    writer.pause();
    litestream.process.stop();
    let url = format!("file://{}", root.display());
    let (code, found) = json(&[&url]);
    assert_eq!((code, &found[0]["layout"], &found[0]["timeline"]["gaps"]), (0, &"v0.3".into(), &0.into()), "{found}");
    // Only who reads segments knows whether they follow each other.
    let (_, table, _) = told(&[&url]);
    let claims = ["; no gaps as far as names show\n", ": every state that names show, ", "  not read"];
    assert!(claims.iter().all(|claim| table.contains(claim)) && found[0]["named"] == true, "{table}");
    let files = wal().unwrap();
    let time = |path: &PathBuf| Timestamp::try_from(fs::metadata(path).unwrap().modified().unwrap()).unwrap();
    let genuine = |at: Timestamp, out: &str| {
        lab.restore_with("0.3.13", &["-timestamp", &at.to_string()], &url, &home.path().join(out))
    };
    let middle = files.len() / 2;
    genuine(time(&files[middle]), "whole.db").unwrap();
    let (code, found) = json(&[&url, "--at", &time(&files[middle]).to_string()]);
    let position = found[0]["answer"]["position"].as_str().unwrap();
    let name = files[middle].file_name().unwrap().to_str().unwrap().trim_end_matches(".wal.lz4").replace('_', "/");
    assert!(code == 0 && position.ends_with(&name), "{found}");

    // One index is gone: later instants fail, earlier ones do not.
    let last = index(files.last().unwrap());
    let lost = index(&files[middle]);
    assert_ne!(lost, last, "{files:?}");
    files.iter().filter(|path| index(path) == lost).for_each(|path| fs::remove_file(path).unwrap());
    let (code, found) = json(&[&url]);
    let blocked = &found[0]["timeline"]["spans"].as_array().unwrap().last().unwrap()["blocked"];
    assert_eq!((code, &blocked["detail"]), (2, &format!("WAL index {lost} is missing").into()), "{found}");
    let after = time(files.last().unwrap());
    assert!(genuine(after, "after.db").is_err(), "0.3.13 restores over a missing index");
    assert_eq!(told(&[&url, "--at", &after.to_string()]).0, 2);
    let before = time(files.iter().rfind(|path| index(path) < lost).unwrap());
    genuine(before, "before.db").unwrap();
    assert_eq!(told(&[&url, "--at", &before.to_string()]).0, 0);
}

/// The genuine program asks S3 for each object's own time; the listing has that of the upload, in whole seconds.
#[test]
fn on_s3_the_headers_decide() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let server = lab.moto(home.path());
    server.create_bucket("bucket");
    let (database, url) = (home.path().join("app.db"), server.url("bucket", "app"));
    let mut writer = lab.writer(&database);
    writer.sql("PRAGMA wal_autocheckpoint = 0");
    writer.create_table();
    let mut seen = Vec::new();
    for step in 0..5 {
        // The genuine program refuses what is outside the times of the listing, which are whole seconds.
        let second = Timestamp::now().as_second();
        wait_for("the next second", || Timestamp::now().as_second() > second);
        writer.commit(1);
        let mut command = lab.litestream("0.5.17");
        command.args(["replicate", "-once"]);
        if step == 2 {
            command.arg("-force-snapshot");
        }
        printed(command.arg(&database).arg(&url).output().unwrap()).unwrap();
        seen.push(Timestamp::now());
    }
    let mut compared = 0;
    for at in &seen {
        let mut command = lab.litestream("0.5.17");
        command.args([
            "restore",
            "-dry-run",
            "-json",
            "-o",
            "/nonexistent/restored.db",
            "-timestamp",
            &at.to_string(),
            &url,
        ]);
        let Ok(plan) = printed(command.output().unwrap()) else { continue };
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let mut command = streamgauge();
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let output = command.args([&url, "--at", &at.to_string(), "--format=json"]).output().unwrap();
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let (answer, times) = (&found[0]["answer"], &found[0]["times"]);
        assert_eq!((&answer["position"], times), (&plan["max_txid"], &"header".into()), "at {at}: {found}");
        assert!(answer["older_seconds"].as_f64().unwrap() < 5.0, "{found}");
        compared += 1;
    }
    assert!(compared >= 3, "{compared} of {seen:?}");
}

#[test]
fn the_agent_has_the_map_on_every_face() {
    let replica = Replica::make(7);
    fs::remove_file(&replica.files(0)[2].0).unwrap();
    let (database, home) = (replica.home.path().join("app.db"), replica.home.path());
    let toml = format!("[[database]]\npath = {database:?}\n[[database.replica]]\nurl = \"{}\"\n", replica.url());
    let agent = lab::agent::Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    let map = agent.report()["databases"][0]["replicas"][0]["timeline"].clone();
    let printed = &json(&[&replica.url()]).1[0]["timeline"];
    for field in ["gaps", "caveats", "since", "largest_gap_seconds"] {
        assert_eq!(map[field], printed[field], "{field}: {map}");
    }
    let metric = |name: &str| agent.metric(&format!("streamgauge_replica_{name}"), &[("database", "app")]);
    assert_eq!(
        (metric("restorable_gaps"), metric("largest_gap_seconds")),
        (Some(1.0), map["largest_gap_seconds"].as_f64())
    );
    assert_eq!(metric("restorable_resolution_seconds"), Some(0.0));
    let page = agent.get("/").text();
    assert!(page.contains("<svg class=\"band\"") && page.contains("<rect class=\"b\""), "{page}");
    assert!(page.contains("; 1 gap of "), "{page}");
}

#[test]
fn what_cannot_be_listed_is_unknown_and_many_are_a_line_each() {
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("nowhere", home.path().join("link")).unwrap();
    let (code, table, error) = told(&[&format!("file://{}/link", home.path().display())]);
    assert_eq!((code, error.as_str()), (3, ""), "{table}");
    assert!(table.contains("  unknown           list "), "{table}");
    let (code, _, error) = told(&["--at", "yesterday", "file:///nowhere"]);
    assert_eq!(code, 3);
    assert!(error.starts_with("error: --at \"yesterday\": expected a time such as 2026-11-22T08:30:00Z"), "{error}");
    assert_eq!(told(&["--colour"]).0, 3);

    // A replica with a name for each of many databases: files without content, as only names are read.
    let mut config = String::new();
    for number in 0..7 {
        let root = home.path().join(format!("replica{number}"));
        for (folder, name) in
            [("ltx/9", "0000000000000001-0000000000000001"), ("ltx/0", "0000000000000003-0000000000000003")]
        {
            if folder == "ltx/9" || number == 3 {
                fs::create_dir_all(root.join(folder)).unwrap();
                let path = root.join(folder).join(format!("{name}.ltx"));
                fs::write(&path, [0; 131]).unwrap();
                let seconds = if folder == "ltx/9" { 20 } else { 10 };
                let modified = Timestamp::now() - SignedDuration::from_secs(seconds);
                fs::File::options().write(true).open(&path).unwrap().set_modified(modified.into()).unwrap();
            }
        }
        let path = home.path().join(format!("{number}.db"));
        config +=
            &format!("[[database]]\npath = {path:?}\n[[database.replica]]\nurl = \"file://{}\"\n", root.display());
    }
    let file = home.path().join("streamgauge.toml");
    fs::write(&file, config).unwrap();
    let (code, table, error) = told(&["--config.file", file.to_str().unwrap()]);
    let (lines, note) = table.split_once("\n\n").unwrap();
    assert_eq!((code, error.as_str(), lines.lines().count()), (2, "", 7), "{table}");
    assert!(note.starts_with("not read: contents") && note.lines().count() == 1, "{table}");
    let broken: Vec<_> = table.lines().filter(|line| line.ends_with("; the latest state cannot be restored")).collect();
    assert!(broken.len() == 1 && broken[0].contains("replica3"), "{table}");
}
