//! What the demo's replicator writes is a replica that the real Litestream restores.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::Lab;
use streamgauge::delivery::demo::peer::Peer;
use streamgauge::delivery::demo::{Demo, FAULTS};
use streamgauge_testkit::orders;
use streamgauge_testkit::replica::{COMPACTED, FileId, RAW, SNAPSHOT};
use streamgauge_testkit::replicator::Replicator;

/// 2026-01-01, in milliseconds: the clock of these tests is an argument.
const START: u64 = 1_767_225_600_000;

#[test]
fn a_replica_restores_byte_for_byte_across_resets_compactions_and_retention() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("app.db");
    let mut replicator = Replicator::create(directory.path()).unwrap();
    let writer = orders::open(&database).unwrap();
    let mut wal_resets = 0;
    let mut wal_salts = None;
    let mut snapshots = Vec::new();
    for second in 0..400 {
        for _ in 0..3 {
            orders::write(&writer).unwrap();
        }
        replicator.tick(START + second * 1000).unwrap();
        let salts = fs::read(directory.path().join("app.db-wal")).unwrap()[16..24].to_vec();
        wal_resets += usize::from(wal_salts.as_ref().is_some_and(|before| *before != salts));
        wal_salts = Some(salts);
        snapshots
            .extend(replicator.files().level(SNAPSHOT).last().filter(|newest| !snapshots.contains(*newest)).copied());
    }

    assert_eq!(replicator.txid(), 400, "a file a second, none missed");
    assert!(wal_resets >= 10, "{wal_resets} WAL resets");
    assert!(snapshots.len() > replicator.files().level(SNAPSHOT).len(), "no snapshot was ever deleted");
    assert!(replicator.files().level(COMPACTED).first().is_some_and(|first| first.min > 1), "level 1 was never pruned");
    assert!(replicator.files().level(RAW).first().is_some_and(|first| first.min > 1), "level 0 was never pruned");
    assert_eq!(listing(&directory.path().join("replica")), listing_of(replicator.files().files()));

    drop(writer);
    drop(replicator);
    // The last connection has moved the WAL into the database file and deleted it.
    assert!(!directory.path().join("app.db-wal").exists());
    let restored = directory.path().join("restored.db");
    let url = format!("file://{}", directory.path().join("replica").display());
    let plan = lab.restore_plan("0.5.17", &url).unwrap();
    assert!(plan.to_string().contains("0000000000000190"), "{plan}");
    lab.restore("0.5.17", &url, &restored).unwrap();
    assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
    assert!(fs::read(&restored).unwrap() == fs::read(&database).unwrap(), "restored bytes differ from the database");
}

/// What the real Litestream says of a replica after a fault.
#[derive(Debug)]
enum Restore {
    /// It restores the newest commit.
    Newest,
    /// It restores silently, without the commits after the fault.
    Older,
    /// It fails with this text.
    Fails(&'static str),
}

#[test]
fn each_fault_breaks_what_it_says() {
    let lab = Lab::find();
    for fault in FAULTS {
        let expected = match fault.name {
            "stall" | "upload" => Restore::Older,
            "gap" => Restore::Fails("non-contiguous"),
            "corrupt" => Restore::Fails("invalid flags"),
            "truncate" => Restore::Fails("size 64"),
            "delete-snapshot" | "empty" => Restore::Fails("no matching backup files"),
            "unreadable" => Restore::Fails("not a directory"),
            "idle" => Restore::Newest,
            name => panic!("what does the real Litestream say after {name}?"),
        };
        let directory = tempfile::tempdir().unwrap();
        let mut peer = Peer::open(directory.path()).unwrap();
        let writer = orders::open(&directory.path().join("app.db")).unwrap();
        let mut due = Some(fault);
        for second in 0..30 {
            orders::write(&writer).unwrap();
            if second >= 12 && due.is_some_and(|fault| peer.suffer(fault).unwrap().is_some()) {
                due = None;
            }
            peer.replicator.tick(START + second * 1000).unwrap();
        }
        assert!(due.is_none(), "{} was never applied", fault.name);

        let restored = directory.path().join("restored.db");
        let url = format!("file://{}", directory.path().join("replica").display());
        let outcome = lab.restore("0.5.17", &url, &restored).map(|()| sqlite(&restored, "SELECT max(id) FROM orders"));
        let as_expected = match &expected {
            Restore::Newest => outcome.as_deref() == Ok("30"),
            Restore::Older => outcome.as_deref() == Ok("12"),
            Restore::Fails(text) => outcome.as_ref().is_err_and(|error| error.contains(text)),
        };
        assert!(as_expected, "{}: expected {expected:?}, got {outcome:?}", fault.name);
    }
}

#[test]
fn the_demo_process_leaves_a_replica_that_restores_when_its_input_ends() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_streamgauge"));
    let mut demo = Demo::start_in(program, directory.path().to_owned(), false, None).unwrap();
    lab::wait_for("ten level-0 files", || fs::read_dir(demo.replica().join("ltx/0")).unwrap().count() >= 10);
    demo.stop().unwrap();

    let restored = directory.path().join("restored.db");
    lab.restore("0.5.17", &format!("file://{}", demo.replica().display()), &restored).unwrap();
    assert_eq!(sqlite(&restored, "PRAGMA integrity_check"), "ok");
    assert!(fs::read(&restored).unwrap() == fs::read(demo.database()).unwrap(), "restored bytes differ");
}

fn sqlite(database: &Path, query: &str) -> String {
    let out = Command::new("sqlite3").arg(database).arg(query).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// `level/name` of each file, sorted.
fn listing(replica: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for level in fs::read_dir(replica.join("ltx")).unwrap() {
        let level = level.unwrap();
        for file in fs::read_dir(level.path()).unwrap() {
            names.push(format!("{}/{}", level.file_name().display(), file.unwrap().file_name().display()));
        }
    }
    names.sort();
    names
}

fn listing_of(files: impl Iterator<Item = FileId>) -> Vec<String> {
    files.map(|file| format!("{}/{}", file.level, file.name())).collect()
}
