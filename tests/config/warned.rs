//! Configurations that can be used and hold what is surely not meant. The file is named after it; here is what a person
//! reads about it. That Litestream does so is asked from the genuine ones in `genuine.rs`.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use streamgauge::infrastructure::config::Input;

use super::{Files, load};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/warned");

const REFUSED: &str = "Litestream v0.5 refuses to start with it; accepted";

const RELATIVE: &str = "Litestream resolves it against the directory that it was started in, streamgauge against DIR; \
                        accepted: the whole path";

#[rustfmt::skip]
fn warned() -> Vec<(&'static str, Vec<String>)> {
    let said = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    let refused = |line: u8, key: &str, accepted: &str| format!(":{line}: {key}: {REFUSED}: {accepted}");
    let unread = |line: u8, key: &str, accepted: &str| format!(":{line}: {key}: Litestream refuses to start with it; accepted: {accepted}");
    let foreign = |line: u8, key: &str, kind: &str| format!(":{line}: {key}: ignored: a replica of kind {kind} has no \
                                                             such key");
    let days = "Litestream v0.3 refuses to start with it, and v0.5 does not read this key; accepted: a duration with a unit of ns, us, ms, s, m or h, such as 1s or 24h";
    vec![
        ("dollar-in-a-password.yml", said(&[
            ":7: Litestream takes a `$` here for a variable that is not set, and replaces it with nothing (not shown, \
             because it may be part of a password)",
        ])),
        ("keys-of-another-kind.yml", vec![
            foreign(5, "dbs[0].replica.region", "file"),
            foreign(6, "dbs[0].replica.account-key", "file"),
            foreign(7, "dbs[0].replica.skip-verify", "file"),
            foreign(12, "dbs[1].replica.sas-token", "sftp"),
        ]),
        ("host-key-missing.yml", said(&[
            ":3: dbs[0].replica.host-key: not set: any server is trusted, so an impostor could learn the password and \
             show another replica; accepted: the server's public key, as in known_hosts",
        ])),
        ("merge-behind-a-key.yml", said(&[
            ":7: path: replaced by the `<<` after it, because Litestream reads one after the other; put `<<` first to \
             keep it",
        ])),
        ("nine-levels.yml", said(&[
            ":1: levels: Litestream v0.5 refuses to start with so many; accepted: at most 8",
        ])),
        ("path-twice.yml", said(&[
            ":4: dbs[1]: value `/a.db`: names a database twice, so Litestream 0.5.17 refuses to start",
        ])),
        ("pattern-as-path.yml", said(&[
            ":2: dbs[0].path: value `/data/*.db`: not a pattern: Litestream takes it for the name of one file; \
             accepted: `dir` and `pattern` for several files",
        ])),
        ("refused-by-litestream.yml", vec![
            unread(1, "addr", "host:port, or :port"),
            refused(2, "heartbeat-url", "http://… or https://…, in lower case"),
            refused(3, "heartbeat-interval", "1m or more"),
            refused(4, "l0-retention", "0s or more"),
            refused(5, "l0-retention-check-interval", "above 0s"),
            refused(6, "shutdown-sync-timeout", "0s or more"),
            refused(7, "shutdown-sync-interval", "above 0s"),
            refused(8, "snapshot.interval", "above 0s"),
            refused(8, "snapshot.retention", "above 0s"),
            refused(10, "levels[0].interval", "above 0s"),
            unread(11, "logging.stderr", "true or false"),
            ":11: logging.type: Litestream v0.5 ends with a panic; accepted: text, json or pretty".to_owned(),
            unread(12, "verify-compaction", "true or false"),
            unread(13, "socket.permissions", "a number"),
            refused(16, "dbs[0].meta-dir", "only beside `dir`"),
            refused(17, "dbs[0].min-checkpoint-page-count", "1 or more"),
            unread(18, "dbs[0].truncate-page-n", "a number"),
            unread(19, "dbs[0].replica.concurrency", "a number"),
            unread(19, "dbs[0].replica.part-size", "a size such as 5MB"),
        ]),
        ("relative.yml", vec![
            format!(":2: dbs[0].path: value `data/app.db`: {RELATIVE}"),
            format!(":3: dbs[0].meta-path: value `meta`: {RELATIVE}"),
            format!(":4: dbs[0].replica.path: value `./backup`: {RELATIVE}"),
            format!(":5: dbs[1].path: value `sqlite://b.db`: {RELATIVE}"),
        ]),
        ("retention-in-days.yml", vec![
            format!(":5: dbs[0].replicas[0].retention: {days}"),
            format!(":6: dbs[0].replicas[0].snapshot-interval: {days}"),
        ]),
        ("retention-left-behind.yml", said(&[
            ":6: dbs[0].replicas[0].retention: Litestream v0.5 ignores it here and keeps `snapshot.retention`, 24h unless set at the top",
        ])),
        ("retention-of-v03.yml", said(&[
            "note: :5: dbs[0].replicas[0].retention: Litestream v0.5 will ignore it, and use `snapshot.retention`, 24h unless set at the top",
            "note: :6: dbs[0].replicas[0].snapshot-interval: Litestream v0.5 will ignore it, and use `snapshot.interval`, 24h unless set at the top",
        ])),
        ("shell-default.yml", said(&[
            ": ${REPLICA_PATH…}: Litestream has no defaults: it takes everything between the braces for a name, and \
             replaces it with nothing",
        ])),
        ("slash-in-front.yml", said(&[
            ":6: dbs[0].replicas[0].path: begins with `/`: Litestream v0.3 writes to the path without it but looks for \
             its files below the path with it, and never finds them: snapshots pile up, and it cannot restore; remove \
             the `/`",
        ])),
    ]
}

fn said(directory: &Path, file: &str) -> Vec<String> {
    let input = Input {
        litestream_config: vec![file.into()],
        working_directory: directory.to_owned(),
        home: Some("/home/me".into()),
        ..Input::default()
    };
    let loaded = load(&input).unwrap_or_else(|refused| panic!("{file}: {refused:#?}"));
    let notes = loaded.notes.iter().map(|note| format!("note: {note}"));
    let all: Vec<String> = loaded.warnings.iter().map(ToString::to_string).chain(notes).collect();
    let place = directory.join(file).display().to_string();
    let directory = directory.display().to_string();
    all.iter().map(|line| line.replace(&place, "").replace(&directory, "DIR")).collect()
}

#[test]
fn what_is_not_meant_has_its_message() {
    for (file, mut expected) in warned() {
        let mut said = said(Path::new(FIXTURES), file);
        // Those of one line have no order.
        said.sort();
        expected.sort();
        assert_eq!(said, expected, "{file}");
    }
}

#[test]
fn each_file_is_in_the_table() {
    let table = warned();
    for entry in fs::read_dir(FIXTURES).expect("fixtures") {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        assert!(table.iter().any(|(file, _)| *file == name), "{name} has no expected message in warned.rs");
    }
}

/// The day of the upgrade: v0.5 writes its own files beside the database, and the file still has the key of v0.3.
#[test]
fn an_upgrade_that_forgets_the_retention_is_a_warning_at_once() {
    let files = Files::new();
    let app = files.path().join("app.db").display().to_string();
    let text = format!("dbs:\n  - path: {app}\n    replicas: [{{url: 's3://bkt/a', retention: 720h}}]\n");
    files.write("litestream.yml", text);
    assert_eq!(files.warnings(), [""; 0]);
    assert!(files.targets()[0].ends_with("{300s 720h 720h}"), "{:?}", files.targets());
    files.write(".app.db-litestream/ltx/0/x", "");
    assert_eq!(
        files.warnings(),
        [
            "DIR/litestream.yml:2: dbs[0]: Litestream v0.5 has taken over, because DIR/.app.db-litestream/ltx exists: \
             the file is read as v0.5 reads it",
            "DIR/litestream.yml:3: dbs[0].replicas[0].retention: Litestream v0.5 ignores it here and keeps \
             `snapshot.retention`, 24h unless set at the top",
        ]
    );
    // What is wanted stays what it was, so that the shorter window is a finding.
    assert!(files.targets()[0].ends_with("{300s 720h 24h}"), "{:?}", files.targets());
    let sources = files.load().sources;
    assert_eq!(sources[0].warnings.len(), 2, "{sources:?}");
    // Who goes back begins a new generation.
    files.write(".app.db-litestream/generation", "0123456789abcdef\n");
    // A filesystem dates what happens within a few milliseconds alike.
    let generation = fs::File::open(files.path().join(".app.db-litestream/generation")).expect("it is there");
    generation.set_modified(SystemTime::now() + Duration::from_secs(1)).expect("dated");
    assert_eq!(files.warnings(), [""; 0]);
}
