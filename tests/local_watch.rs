//! What the watch says of databases that SQLite writes in other processes.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::observation::{Counters, Journal, WalSource};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::sqlite::committed_end;
use streamgauge::domain::target::TargetName;
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::{DatabaseWatch, LocalUpdate};

#[path = "support/bench.rs"]
mod bench;
#[path = "support/writer.rs"]
mod writer;
use bench::{Bench, files, now, wal};
use writer::Writer;

#[test]
#[ignore = "the other side of Writer"]
fn writer_child() {
    writer::serve();
}

#[test]
fn counts_every_commit_at_full_speed() {
    for (every, mode) in [(1_000, "passive"), (1_000, "truncate"), (700, "restart"), (u64::MAX, "passive")] {
        let mut bench = Bench::new();
        let mut writer = Writer::wal(&bench.path());
        assert_eq!(bench.counters(), Counters::default());
        writer.tell(&format!("run 600 {every} {mode}"));
        let mut polls = 0;
        let written: u64 = loop {
            if let Some(answer) = writer.answered() {
                break answer.parse().unwrap();
            }
            if let Some(look) = bench.poll() {
                look.unwrap();
                polls += 1;
            }
            std::thread::sleep(Duration::from_millis(7));
        };
        writer.write(1);
        let counters = bench.counters();
        assert_eq!(counters.commits, written + 1, "{mode} every {every}");
        assert!(!counters.commits_lower_bound);
        assert!(polls > 5, "{polls} polls while {written} transactions were written");
        assert_eq!(counters.wal_resets > 0, every != u64::MAX, "{counters:?}");
        writer.close();
    }
}

#[test]
fn says_where_sqlite_is() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    bench.settle().unwrap();
    let (first, mut frames) = (writer.frames().0, 0);
    for commits in [1, 10, 5_000] {
        writer.write(commits);
        let look = bench.settle().unwrap();
        frames = writer.frames().0;
        assert_eq!(wal(&look).position.end, committed_end(frames, look.page_size));
        assert_eq!(wal(&look).source, WalSource::WalIndex);
        let header = std::fs::read(bench.beside("-wal")).unwrap();
        assert_eq!(header[16..20], wal(&look).position.salt1.to_be_bytes());
    }
    writer.sql("pragma wal_checkpoint(passive)");
    assert_eq!(wal(&bench.settle().unwrap()).backfilled_frames, Some(writer.frames().1));
    writer.sql("pragma wal_checkpoint(restart)");
    writer.write(3);
    let look = bench.settle().unwrap();
    assert_eq!(wal(&look).position.end, committed_end(writer.frames().0, look.page_size));
    assert!(look.wal_size_bytes.unwrap() > wal(&look).position.end, "the file keeps its high-water mark");
    assert_eq!(look.counters.wal_resets, 1);
    let bytes = committed_end(frames + writer.frames().0 - first, look.page_size) - 32;
    assert_eq!((look.counters.written_bytes, look.counters.written_bytes_lower_bound), (bytes, false));

    // What is not committed is not there.
    writer.sql("pragma cache_size=1; begin; insert into t values (randomblob(500000))");
    assert_eq!(wal(&bench.settle().unwrap()).position, wal(&look).position);
    writer.sql("rollback; pragma wal_checkpoint(truncate)");
    assert!(matches!(bench.settle().unwrap().journal, Journal::WalAbsent { .. }));
    writer.write(2);
    assert_eq!(bench.counters().commits, look.counters.commits + 2);
    writer.close();
}

#[test]
fn an_idle_database_is_not_looked_at() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(5);
    bench.settle().unwrap();
    for _ in 0..5 {
        assert_eq!(bench.poll(), None);
    }
    writer.write(1);
    assert_eq!(bench.counters().commits, 1);
    assert_eq!(bench.poll(), None);
    assert!(bench.watch.sweep(now(), 1).iter().all(|update| !update.polled));
    writer.close();
}

#[test]
fn counts_across_close_and_reopen() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    assert_eq!(bench.counters().commits, 0);
    let mut expected = 0;
    for _ in 0..3 {
        writer.write(11);
        writer.close();
        writer = Writer::wal(&bench.path());
        writer.write(4);
        expected += 15;
        let counters = bench.counters();
        assert_eq!((counters.commits, counters.commits_lower_bound), (expected, false));
    }
    writer.write(2);
    writer.close();
    let look = bench.settle().unwrap();
    assert!(matches!(look.journal, Journal::WalAbsent { .. }));
    assert_eq!((look.counters.commits, look.counters.commits_lower_bound), (expected + 2, false));
    let date = look.last_commit.unwrap();
    assert!(date.duration_until(Timestamp::now()) < SignedDuration::from_secs(60), "{date}");

    // Opened, written and closed between two looks: nothing is left that could tell.
    for _ in 0..2 {
        let mut writer = Writer::wal(&bench.path());
        writer.write(3);
        writer.close();
    }
    let counters = bench.counters();
    assert!(counters.commits_lower_bound);
    assert!(counters.commits > expected + 2 && counters.commits <= expected + 8);
}

#[test]
fn counts_what_a_killed_writer_committed() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(10);
    assert_eq!(bench.counters().commits, 0);
    writer.write(7);
    writer.kill();
    // The next one recovers the log and starts counting at 0, past what was seen before.
    let mut writer = Writer::wal(&bench.path());
    writer.write(30);
    let counters = bench.counters();
    assert_eq!((counters.commits, counters.commits_lower_bound), (37, false));
    writer.write(1);
    assert_eq!(bench.counters().commits, 38);
    writer.close();
}

#[test]
fn a_growing_wal_index_is_not_a_rebuilt_one() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    bench.settle().unwrap();
    writer.write(1);
    assert_eq!(bench.counters().commits, 1);
    // -shm grows by 32 KiB with about each 4096 frames; a log that is reset in between has other salts.
    for round in 1..4 {
        writer.write(6_000);
        writer.sql("pragma wal_checkpoint(restart)");
        writer.write(1);
        let counters = bench.counters();
        assert_eq!((counters.commits, counters.commits_lower_bound), (1 + round * 6_001, false));
    }
    writer.close();
}

#[test]
fn a_wal_index_that_was_left_behind_is_not_believed() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(3);
    bench.settle().unwrap();
    writer.kill();
    // In exclusive mode the wal-index is in the writer's memory; the file of the killed one stays as it was.
    let setup = "pragma locking_mode=exclusive; pragma synchronous=off; pragma wal_autocheckpoint=0";
    let mut writer = Writer::open(&bench.path(), setup);
    writer.write(5);
    assert!(bench.beside("-shm").exists());
    let look = bench.settle().unwrap();
    assert_eq!((wal(&look).source, look.counters.commits), (WalSource::Scan, 5));
    assert_eq!(wal(&look).position.end, committed_end(writer.frames().0, look.page_size));
    writer.close();
}

#[test]
fn scans_the_log_in_exclusive_mode() {
    let mut bench = Bench::new();
    Writer::wal(&bench.path()).close();
    let setup =
        "pragma locking_mode=exclusive; pragma synchronous=off; pragma wal_autocheckpoint=0; insert into t values (0)";
    let mut writer = Writer::open(&bench.path(), setup);
    assert!(!bench.beside("-shm").exists());
    let look = bench.settle().unwrap();
    assert_eq!(wal(&look).source, WalSource::Scan);
    writer.write(3_000);
    let look = bench.settle().unwrap();
    assert_eq!(look.counters.commits, 3_000);
    assert_eq!(wal(&look).position.end, committed_end(writer.frames().0, look.page_size));
    writer.sql("pragma cache_size=1; begin; insert into t values (randomblob(500000))");
    assert_eq!(wal(&bench.settle().unwrap()).position, wal(&look).position);
    writer.sql("commit");
    assert_eq!(bench.counters().commits, 3_001);
    writer.close();
    assert!(matches!(bench.settle().unwrap().journal, Journal::WalAbsent { .. }));
}

#[test]
fn counts_transactions_in_rollback_mode() {
    let mut bench = Bench::new();
    let mut writer = Writer::open(&bench.path(), "pragma synchronous=off; create table t(x)");
    assert_eq!(bench.settle().unwrap().journal, Journal::Rollback { change_counter: 1 });
    writer.write(50);
    let look = bench.settle().unwrap();
    assert_eq!(look.journal, Journal::Rollback { change_counter: 51 });
    assert_eq!((look.counters.commits, look.counters.commits_lower_bound), (50, false));
    writer.close();
}

#[test]
fn notices_a_deleted_a_recreated_and_a_replaced_database() {
    let mut bench = Bench::new();
    assert_eq!(bench.settle().unwrap_err().kind, ReasonKind::NotFound);
    let mut writer = Writer::wal(&bench.path());
    writer.write(2);
    assert_eq!(bench.counters().commits, 0, "the first look is where counting begins");
    writer.close();
    bench.settle().unwrap();
    std::fs::remove_file(bench.path()).unwrap();
    let missing = bench.settle().unwrap_err();
    assert_eq!(missing.message, format!("open {}: no such file or directory", bench.path().display()));
    let mut writer = Writer::wal(&bench.path());
    writer.write(4);
    assert!(bench.settle().unwrap().counters.commits >= 4);
    writer.close();
    bench.settle().unwrap();

    let other = bench.beside("-new");
    let setup = "pragma page_size=512; create table t(x); insert into t values (zeroblob(100000))";
    Writer::open(&other, setup).close();
    std::fs::rename(&other, bench.path()).unwrap();
    let look = bench.settle().unwrap();
    assert_eq!((look.page_size, matches!(look.journal, Journal::Rollback { .. })), (512, true));
}

#[test]
fn a_missing_directory_is_polled_until_it_is_there() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("later/db");
    let mut watch = Watch::new();
    watch.set_targets(vec![(TargetName("db".into()), files(&path))]);
    let kind =
        |updates: Vec<LocalUpdate>| updates.into_iter().next().map(|update| update.look.map_err(|error| error.kind));
    let first = watch.poll(now());
    assert!(first.iter().all(|update| update.polled));
    assert_eq!(kind(first), Some(Err(ReasonKind::NotFound)));
    std::fs::create_dir(root.path().join("later")).unwrap();
    Writer::wal(&path).close();
    assert!(matches!(kind(watch.poll(now())), Some(Ok(_))));
    watch.sweep(now(), 1);
    assert!(watch.sweep(now(), 1).iter().all(|update| !update.polled));
    // Renaming a directory further up raises no event: the sweep finds out.
    std::fs::rename(root.path().join("later"), root.path().join("gone")).unwrap();
    assert_eq!(kind(watch.sweep(now(), 1)), Some(Err(ReasonKind::NotFound)));
}

#[test]
fn targets_that_stay_keep_their_counters() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    bench.settle().unwrap();
    writer.write(3);
    assert_eq!(bench.counters().commits, 3);
    let (path, name) = (bench.path(), |name: &str| TargetName(name.into()));
    let other = bench.beside("2");
    Writer::wal(&other).close();
    bench.watch.set_targets(vec![(name("other"), files(&other)), (name("db"), files(&path))]);
    writer.write(1);
    let looks: Vec<LocalUpdate> = bench.watch.poll(now());
    let commits = |of: &str| {
        let update = looks.iter().find(|update| update.target.as_str() == of).unwrap();
        update.look.as_ref().unwrap().counters.commits
    };
    assert_eq!((commits("db"), commits("other")), (4, 0));
    bench.watch.set_targets(vec![(name("other"), files(&other))]);
    writer.write(1);
    assert_eq!(bench.poll(), None, "it is watched no more");
    writer.close();
}
