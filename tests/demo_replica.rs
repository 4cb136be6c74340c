//! What the demo's replicator writes is a replica that the real Litestream restores.

mod lab;

use std::fs;
use std::path::Path;
use std::process::Command;

use lab::Lab;
use streamgauge::delivery::demo::Demo;
use streamgauge::delivery::demo::peer::{Peer, open_database, write};
use streamgauge::delivery::demo::replicator::{COMPACTED, FileId, RAW, SNAPSHOT};

/// 2026-01-01, in milliseconds: the clock of these tests is an argument.
const START: u64 = 1_767_225_600_000;

#[test]
fn a_replica_restores_byte_for_byte_across_resets_compactions_and_retention() {
    let Some(lab) = Lab::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let database = directory.path().join("app.db");
    let mut peer = Peer::open(directory.path()).unwrap();
    let writer = open_database(&database).unwrap();
    let mut wal_resets = 0;
    let mut wal_salts = None;
    let mut snapshots = Vec::new();
    for second in 0..400 {
        for _ in 0..3 {
            write(&writer).unwrap();
        }
        peer.replicator.tick(START + second * 1000).unwrap();
        let salts = fs::read(directory.path().join("app.db-wal")).unwrap()[16..24].to_vec();
        wal_resets += usize::from(wal_salts.as_ref().is_some_and(|before| *before != salts));
        wal_salts = Some(salts);
        snapshots.extend(peer.replicator.level(SNAPSHOT).last().filter(|newest| !snapshots.contains(*newest)).copied());
    }

    assert_eq!(peer.replicator.txid(), 400, "a file a second, none missed");
    assert!(wal_resets >= 10, "{wal_resets} WAL resets");
    assert!(snapshots.len() > peer.replicator.level(SNAPSHOT).len(), "no snapshot was ever deleted");
    assert!(peer.replicator.level(COMPACTED).first().is_some_and(|first| first.min > 1), "level 1 was never pruned");
    assert!(peer.replicator.level(RAW).first().is_some_and(|first| first.min > 1), "level 0 was never pruned");
    assert_eq!(listing(&directory.path().join("replica")), listing_of(peer.replicator.files()));

    drop(writer);
    drop(peer);
    // The last connection has moved the WAL into the database file and deleted it.
    assert!(!directory.path().join("app.db-wal").exists());
    let restored = directory.path().join("restored.db");
    let url = format!("file://{}", directory.path().join("replica").display());
    let plan = lab.restore_plan("0.5.17", &url).unwrap();
    assert!(plan.to_string().contains("0000000000000190"), "{plan}");
    lab.restore("0.5.17", &url, &restored).unwrap();
    assert_eq!(integrity(&restored), "ok");
    assert!(fs::read(&restored).unwrap() == fs::read(&database).unwrap(), "restored bytes differ from the database");
}

#[test]
fn the_demo_process_leaves_a_replica_that_restores_and_ends_with_its_parent() {
    let Some(lab) = Lab::find() else { return };
    let directory = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_streamgauge"));
    let mut demo = Demo::start_program(program, directory.path().to_owned(), None).unwrap();
    lab::wait_for("ten level-0 files", || fs::read_dir(demo.replica().join("ltx/0")).unwrap().count() >= 10);
    demo.stop().unwrap();

    let restored = directory.path().join("restored.db");
    lab.restore("0.5.17", &format!("file://{}", demo.replica().display()), &restored).unwrap();
    assert_eq!(integrity(&restored), "ok");
    assert!(fs::read(&restored).unwrap() == fs::read(demo.database()).unwrap(), "restored bytes differ");
}

fn integrity(database: &Path) -> String {
    let out = Command::new("sqlite3").arg(database).arg("PRAGMA integrity_check").output().unwrap();
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
    files.map(|file| format!("{}/{:016x}-{:016x}.ltx", file.level, file.min, file.max)).collect()
}
