//! Byte for byte what the real Litestream restores.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::lab::litestream::quick_yaml;
use super::lab::{Lab, wait_for};
use super::source::{Source, rows};

/// Just before, at and just after each of these.
fn around(instants: impl Iterator<Item = Timestamp>) -> Vec<Timestamp> {
    instants.flat_map(|at| [-1, 0, 1].map(|ms| at + SignedDuration::from_millis(ms))).collect()
}

/// A life in steps: growth, shrinking, WAL resets, and a stop of the replication with a clean close.
fn live(source: &mut Source<'_>, versions: [&str; 2]) {
    let [before, after] = versions;
    let sync = |source: &mut Source<'_>, statements: &str, version: &str, snapshot: bool| {
        source.sql(statements);
        source.sync(version, snapshot);
    };
    sync(source, &rows(300), before, false);
    sync(source, &rows(500), before, true);
    sync(source, "DELETE FROM t WHERE id % 3 = 0; VACUUM", before, false);
    sync(source, "PRAGMA wal_checkpoint(TRUNCATE)", before, false);
    sync(source, &rows(40), before, false);
    source.close();
    source.sql(&rows(200));
    sync(source, "UPDATE t SET b = randomblob(70) WHERE id % 5 = 0", after, true);
    sync(source, "DELETE FROM t WHERE id > 100; VACUUM", after, false);
    sync(source, &rows(700), after, false);
    source.close();
    sync(source, "UPDATE t SET b = zeroblob(70) WHERE id % 5 = 0", after, false);
}

#[test]
fn every_state_of_every_page_size_and_encoding() {
    let lab = Lab::find();
    let lives = [
        (512, ["0.5.15", "0.5.17"]),
        (4096, ["0.5.15", "0.5.15"]),
        (4096, ["0.5.17", "0.5.17"]),
        (65536, ["0.5.15", "0.5.17"]),
    ];
    for (page_size, versions) in lives {
        let home = tempfile::tempdir().unwrap();
        let mut source = Source::new(&lab, home.path(), page_size);
        live(&mut source, versions);
        let files = source.files(0);
        let newest = files.last().unwrap().1.max.0;
        assert!(newest >= 8, "{newest} syncs");
        let made = around(files.iter().map(|(_, _, header)| header.timestamp));
        let same = source.assert_same(versions[1], newest + 1, &made);
        assert!(same as u64 > newest * 2, "{same} of {newest} TXIDs and as many instants");
    }
}

#[test]
fn every_state_from_an_s3_server() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let server = lab.moto(home.path());
    server.create_bucket("bucket");
    let mut source = Source::to(&lab, home.path(), 4096, server.url("bucket", "a/b"));
    live(&mut source, ["0.5.15", "0.5.17"]);
    let now = Timestamp::now();
    let same = source.assert_same("0.5.17", 10, &[now - SignedDuration::from_millis(700), now]);
    assert!(same >= 9, "{same}");
}

#[test]
fn every_state_that_compaction_and_retention_left() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let source = Source::new(&lab, home.path(), 4096);
    let mut writer = lab.writer(&source.database);
    let yaml = quick_yaml("0.5.17", &source.database, &format!("url: {}", source.url));
    let yaml = yaml.replace("interval: 3s", "interval: 1s").replace("interval: 9s", "interval: 3s");
    let yaml = yaml.replace("interval: 20s, retention: 45s", "interval: 4s, retention: 9s");
    let mut litestream = lab.replicate("0.5.17", home.path(), &yaml.replace("l0-retention: 5s", "l0-retention: 2s"));
    writer.run(Duration::from_millis(40));
    wait_for("snapshots, compactions to level 2, and deletions", || {
        let first = |level: u8| source.files(level).first().map(|(_, name, _)| name.min.0);
        source.files(9).len() >= 2 && source.files(2).len() >= 2 && first(0) > Some(1) && first(1) > Some(1)
    });
    litestream.process.stop();
    drop(writer);
    let newest = source.files(0).last().unwrap().1.max.0;
    let levels: Vec<_> = [9, 2, 1].into_iter().flat_map(|level| source.files(level)).collect();
    let made = around(levels.iter().map(|(_, _, header)| header.timestamp).step_by(3));
    let same = source.assert_same("0.5.17", newest, &made);
    assert!(same > made.len() / 2, "{same} of {newest} TXIDs and {} instants", made.len());
}
