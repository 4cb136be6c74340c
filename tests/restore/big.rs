//! Databases that reach behind the lock page at 1 GiB, and behind 4 GiB. They take minutes and gigabytes.

use super::lab::Lab;
use super::source::Source;

fn restores_the_same(gibibytes: u64) {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    // Zeros, which take no space in the replica, and a row at each end.
    source.sql("INSERT INTO t(b) VALUES ('first')");
    source.sync("0.5.17", false);
    for _ in 0..gibibytes * 2 {
        source.sql("INSERT INTO t(b) VALUES (zeroblob(536000000))");
        source.sql("PRAGMA wal_checkpoint(TRUNCATE)");
    }
    source.sql("INSERT INTO t(b) VALUES (zeroblob(90000000)); INSERT INTO t(b) VALUES ('last')");
    source.sync("0.5.17", true);
    source.sql("UPDATE t SET b = 'later' WHERE b = 'last'");
    source.sync("0.5.17", false);
    let (theirs, ours) = (home.path().join("theirs.db"), home.path().join("ours.db"));
    lab.restore("0.5.17", &source.url, &theirs).unwrap();
    let done = source.run(&ours, &[]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(std::fs::metadata(&ours).unwrap().len() > gibibytes << 30);
    let same = std::process::Command::new("cmp").arg(&theirs).arg(&ours).output().unwrap();
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
}

#[test]
#[ignore = "takes minutes and gigabytes: cargo test --test restore big:: -- --ignored"]
fn a_database_with_a_lock_page() {
    restores_the_same(1);
}

#[test]
#[ignore = "takes minutes and gigabytes: cargo test --test restore big:: -- --ignored"]
fn a_database_of_more_than_four_gibibytes() {
    restores_the_same(4);
}
