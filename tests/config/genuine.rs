//! Our reading of `litestream.yml` held to that of the genuine ones: what `litestream databases` of 0.3.13 and 0.5.17 prints
//! of generated configurations, or that it refuses them, and what they do with the configurations of `warned.rs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use streamgauge::domain::target::Target;
use streamgauge::infrastructure::config::{Input, home};

use super::load;

use super::generated::{Dialect, configuration};
use super::lab::litestream::quick_yaml;
use super::lab::{Lab, command, wait_for};

/// Configurations of each dialect.
const CONFIGURATIONS: u64 = 150;

/// What we read otherwise, and why. The text is found in the configuration; the dialect is that in which we differ.
const DELIBERATE: &[(Dialect, &str, &str)] = &[
    (Dialect::V03, "sqlite3://", "0.3.13 takes the prefix, which it does not know, for a directory; nobody means that"),
    (Dialect::V03, "- path: ''", "0.3.13 takes its working directory for the database where there is no path"),
    (Dialect::V03, "recipients: [nobody]", "only what encrypts has to know whether a recipient is one"),
    (Dialect::V03, "nats://", "a kind that only v0.5 has makes it a file of v0.5"),
    (Dialect::V05, "gcs", "a kind that only v0.3 has makes it a file of v0.3, unless there is a key of v0.5"),
    (Dialect::V05, "s3:bucket", "0.5.17 takes a URL without // for a file; it is refused here, as in 0.3.13"),
    (
        Dialect::V05,
        "file://me:",
        "0.5.17 makes a directory of user and password; it is refused here, so that nothing shows them",
    ),
    (
        Dialect::V05,
        "endpoint: minio,",
        "0.5.17 takes one word for a host; it may as well be a secret, and is refused here",
    ),
];

/// What is said of configurations that Litestream starts with.
const HARMLESS: &[&str] =
    &["unknown key", "no unit: ", "that it was started in", "not set in this process's", "replaced by the `<<`"];

/// A database's path and the names of its replicas, in order; `None` where it is refused.
type Databases = Option<Vec<(String, String)>>;

fn environment(directory: &Path) -> BTreeMap<String, String> {
    let data = directory.join("data dir").display().to_string().replace(' ', "-");
    // `~` is not this one.
    let home = "/nobody".to_owned();
    [("DATA", data), ("BUCKET", "from-env".to_owned()), ("SECRET", "hidden-secret".to_owned()), ("HOME", home)]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

/// What the genuine one makes of `litestream.yml` in the directory, and its own words.
fn genuine(lab: &Lab, dialect: Dialect, directory: &Path) -> (Databases, String) {
    let mut program = lab.program(format!("litestream/{}/litestream", dialect.release()));
    program.args(["databases", "-config", "litestream.yml"]).current_dir(directory).envs(environment(directory));
    let told = program.env_remove("UNSET").env_remove("NOTHING").output().expect("an answer");
    let out = String::from_utf8_lossy(&told.stdout).into_owned();
    let words = format!("{out}{}", String::from_utf8_lossy(&told.stderr));
    if !told.status.success() || words.contains("panic:") {
        return (None, words);
    }
    let row = |line: &str| {
        let mut columns = line.split_whitespace();
        let path = columns.next()?.to_owned();
        Some((path, columns.next().unwrap_or_default().replace("gcs", "gs")))
    };
    let mut rows: Vec<_> = out.lines().skip(1).filter_map(row).collect();
    rows.sort();
    (Some(rows), words)
}

/// What we make of it, and whether anything was said.
fn ours(directory: &Path) -> (Databases, Vec<String>) {
    let input = Input {
        litestream_config: vec!["litestream.yml".into()],
        environment: environment(directory),
        working_directory: directory.to_owned(),
        home: home(),
        ..Input::default()
    };
    match load(&input) {
        Ok(loaded) => {
            let mut rows: Vec<_> = loaded.targets.iter().map(|target| row(target, directory)).collect();
            rows.sort();
            // Litestream prints one row for a whole `dir`, and this process's directory as its path.
            rows.dedup_by(|a, b| a == b && a.0 == directory.display().to_string());
            (Some(rows), loaded.warnings.iter().map(ToString::to_string).collect())
        }
        Err(refused) => (None, refused.problems.iter().chain(&refused.warnings).map(ToString::to_string).collect()),
    }
}

fn row(target: &Target, directory: &Path) -> (String, String) {
    let path = target.database.as_ref().expect("a path").path.clone();
    let path = if path.starts_with(directory.join("found")) { directory.to_owned() } else { path };
    // A second replica of a name has a number here.
    let name = |name: &str| name.trim_end_matches(|c: char| c == '-' || c.is_ascii_digit()).to_owned();
    let kind = |replica: &streamgauge::domain::target::ReplicaTarget| match replica.name.as_str() {
        "s3" => "s3".to_owned(),
        other if other.starts_with("s3-") => "s3".to_owned(),
        other => name(other),
    };
    (path.display().to_string(), target.replicas.iter().map(|replica| kind(replica)).collect::<Vec<_>>().join(","))
}

fn found(directory: &Path) {
    let made = [directory.join("found"), directory.join("found/a.db"), directory.join("found/b.db")];
    std::fs::create_dir_all(&made[0]).expect("a directory");
    for path in &made[1..] {
        std::fs::write(path, b"SQLite format 3\0").expect("a file");
    }
}

#[test]
fn generated_configurations_are_read_as_litestream_reads_them() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().canonicalize().expect("a path");
    found(&directory);
    let (mut wrong, mut refused, mut met) = (Vec::new(), 0, vec![false; DELIBERATE.len()]);
    for seed in 0..100 * CONFIGURATIONS {
        let dialect = if seed % 2 == 0 { Dialect::V03 } else { Dialect::V05 };
        let text = configuration(seed, dialect, &directory);
        let known = DELIBERATE.iter().position(|(of, part, _)| *of == dialect && text.contains(part));
        // Afterwards only those in which we differ by intention and did not yet.
        if seed >= 2 * CONFIGURATIONS && known.is_none_or(|known| met[known]) {
            continue;
        }
        std::fs::write(directory.join("litestream.yml"), &text).expect("a file");
        let (theirs, words) = genuine(&lab, dialect, &directory);
        let (read, said) = ours(&directory);
        refused += usize::from(theirs.is_none());
        let agreed = match (&theirs, &read) {
            (Some(theirs), Some(read)) => theirs == read,
            // What Litestream does not start with is at least said, and not only what is said of others as well.
            (None, _) => said.iter().any(|line| {
                let of_the_other = dialect == Dialect::V05 && line.contains("v0.3 refuses");
                !of_the_other && !HARMLESS.iter().any(|part| line.contains(part))
            }),
            (Some(_), None) => false,
        };
        match known {
            Some(known) => met[known] |= !agreed,
            None if !agreed => {
                wrong.push(format!(
                    "seed {seed}, {}:\n{text}\ntheirs {theirs:?}\nours   {read:?}\n{said:#?}\n{words}",
                    dialect.release()
                ));
            }
            None => {}
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        2 * CONFIGURATIONS,
        wrong[..wrong.len().min(6)].join("\n\n")
    );
    assert!(refused > 40 && refused < 200, "{refused} are rejected: the generator has lost its balance");
    for (met, (dialect, part, reason)) in met.iter().zip(DELIBERATE) {
        assert!(met, "{dialect:?} {part}: we no longer differ ({reason})");
    }
}

/// What `warned.rs` says of Litestream is so: each of these it refuses, line for line.
#[test]
fn litestream_refuses_what_we_say_it_refuses() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().canonicalize().expect("a path");
    for (key, expected) in [
        ("heartbeat-url: ftp://x", "heartbeat URL must be"),
        ("heartbeat-interval: 10s", "must be at least 1 minute"),
        ("l0-retention: -1s", "must not be negative"),
        ("l0-retention-check-interval: 0s", "must be greater than 0"),
        ("shutdown-sync-timeout: -1s", "must be >= 0"),
        ("shutdown-sync-interval: 0s", "must be greater than 0"),
        ("snapshot: {interval: 0s}", "must be greater than 0"),
        ("snapshot: {retention: -1s}", "must be greater than 0"),
        ("levels: [{interval: 0s}]", "must be greater than 0"),
        (
            "levels: [{interval: 1s}, {interval: 2s}, {interval: 3s}, {interval: 4s}, {interval: 5s}, {interval: 6s}, \
             {interval: 7s}, {interval: 8s}, {interval: 9s}]",
            "cannot exceed 8",
        ),
        ("logging: {type: xml}", "panic: nil Handler"),
        ("addr: localhost", "must specify port"),
        (
            "dbs: [{path: /nowhere/a.db, min-checkpoint-page-count: 0, replica: {path: /r}}]",
            "minimum checkpoint page count",
        ),
        ("dbs: [{path: /nowhere/a.db, meta-dir: /m, replica: {path: /r}}]", "can only be used with a directory"),
        ("dbs: [{path: /a.db, replica: {path: /r}}, {path: /./a.db, replica: {path: /s}}]", "duplicate path"),
    ] {
        let dbs =
            if key.starts_with("dbs") { "" } else { "\ndbs: [{path: /nowhere/a.db, replica: {path: /nowhere/r}}]" };
        std::fs::write(directory.join("litestream.yml"), format!("{key}{dbs}\n")).expect("a file");
        let told = replicate(&lab, &directory).output().expect("an answer");
        let words = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
        assert!(!told.status.success() && words.contains(expected), "{key}: {words}");
        let (_, said) = ours(&directory);
        assert_eq!(said.len(), 1, "{key}: {said:?}");
    }
}

/// Ends by itself where the configuration is refused.
fn replicate(lab: &Lab, directory: &Path) -> Command {
    let mut bounded = command("timeout");
    let program = lab.program("litestream/0.5.17/litestream");
    bounded
        .arg("20")
        .arg(program.get_program())
        .args(["replicate", "-config", "litestream.yml"])
        .current_dir(directory);
    bounded
}

/// `<<` behind a key: both write to the merged path, and that is where we look.
#[test]
fn litestream_writes_where_the_merge_says() {
    let lab = Lab::find();
    for release in ["0.3.13", "0.5.17"] {
        let directory = tempfile::tempdir().expect("a directory");
        let directory = directory.path().canonicalize().expect("a path");
        let database = directory.join("app.db");
        let mut writer = lab.writer(&database);
        writer.create_table();
        let [merged, own] = ["merged", "own"].map(|name| directory.join(name));
        let yaml = format!(
            "common: &common {{path: {}}}\ndbs:\n  - path: {}\n    replicas:\n      - path: {}\n        <<: *common\n",
            merged.display(),
            database.display(),
            own.display()
        );
        let _running = lab.replicate(release, &directory, &yaml);
        writer.commit(3);
        wait_for("a replica", || merged.exists() || own.exists());
        assert!(merged.exists() && !own.exists(), "{release}");
        let input = Input {
            litestream_config: vec!["litestream.yml".into()],
            working_directory: directory,
            ..Input::default()
        };
        let loaded = load(&input).expect("valid");
        assert_eq!(loaded.targets[0].replicas[0].location.url(), format!("file://{}", merged.display()), "{release}");
    }
}

/// A path with a slash in front: 0.3.13 writes below it without, looks for it with, and cannot restore what it wrote.
#[test]
fn v03_does_not_find_what_it_writes_behind_a_slash() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path().canonicalize().expect("a path");
    let server = lab.moto(&directory);
    server.create_bucket("bkt");
    let database = directory.join("app.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    let yaml = quick_yaml("0.3.13", &database, &server.replica("bkt", "/app"));
    let _running = lab.replicate("0.3.13", &directory, &yaml);
    writer.commit(3);
    wait_for("a snapshot without the slash", || server.requests("PUT /bkt/app/generations/") > 0);
    wait_for("a listing with it", || {
        server.requests("prefix=/app/generations/") + server.requests("prefix=%2Fapp%2F") > 0
    });
    let mut restore = lab.litestream("0.3.13");
    restore.args(["restore", "-config", "litestream.yml", "-o", "out.db"]).arg(&database).current_dir(&directory);
    let told = restore.output().expect("an answer");
    let words = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(!told.status.success() && words.contains("no matching backups found"), "{words}");
    let (_, said) = ours(&directory);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("dbs[0].replicas[0].path: begins with `/`"), "{said:?}");
}
