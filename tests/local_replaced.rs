//! What a watch says when the file of a database in use is replaced, overwritten or destroyed, and that it says nothing
//! of what SQLite itself does to it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::replacement::{Contradiction, Replacement, Sign};
use streamgauge::domain::target::TargetName;
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::DatabaseWatch;

#[path = "support/bench.rs"]
mod bench;
#[path = "support/writer.rs"]
mod writer;
use bench::{Bench, files, now};
use writer::Writer;

#[test]
#[ignore = "the other side of Writer"]
fn writer_child() {
    writer::serve();
}

/// What one look says that remembers nothing.
fn one_look(path: &Path) -> Replacement {
    let mut watch = Watch::new();
    watch.set_targets(vec![(TargetName("it".into()), files(path))]);
    (0..10).find_map(|_| watch.sweep(now(), 1).pop()).unwrap().look.unwrap().replacement
}

fn overwritten(sign: Sign) -> Replacement {
    Replacement::Replaced(Contradiction::Content { sign, seen: true })
}

fn polled(bench: &mut Bench) -> Replacement {
    bench.settle().unwrap().replacement
}

fn swept(bench: &mut Bench) -> Replacement {
    bench.watch.sweep(now(), 1).pop().unwrap().look.unwrap().replacement
}

/// A database in use whose WAL has begun anew, so that there is no page to compare.
fn without_pages() -> (Bench, Writer) {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(500);
    writer.sql("pragma wal_checkpoint(restart)");
    writer.write(3);
    assert_eq!(polled(&mut bench), Replacement::Agrees { pages: 0 });
    (bench, writer)
}

/// Another database of the same size, beside it.
fn another(bench: &Bench) -> std::path::PathBuf {
    let other = bench.beside("-other");
    let mut writer = Writer::wal(&other);
    writer.write(500);
    writer.sql("update t set x = 2");
    writer.close();
    other
}

#[test]
fn nothing_that_sqlite_does_is_a_replacement() {
    for (every, mode) in [(100, "passive"), (50, "truncate"), (70, "restart"), (u64::MAX, "passive")] {
        let mut bench = Bench::new();
        let mut writer = Writer::wal(&bench.path());
        bench.settle().unwrap();
        writer.tell(&format!("run 1500 {every} {mode}"));
        let mut looks = 0;
        while writer.answered().is_none() {
            let swept = bench.watch.sweep(now(), 1);
            // A writer that lost its processor in the middle of a commit leaves a wal-index that cannot be read.
            for look in swept.into_iter().chain(bench.watch.poll(now())).filter_map(|update| update.look.ok()) {
                let seen = look.replacement;
                assert_eq!(seen.replaced(), Some(false), "{mode} every {every}: {seen}");
                looks += 1;
            }
        }
        assert!(looks > 50, "{looks} looks");
        writer.sql("vacuum");
        assert_eq!(polled(&mut bench).replaced(), Some(false));
        writer.sql("pragma wal_checkpoint(passive)");
        assert!(matches!(swept(&mut bench), Replacement::Agrees { pages: 1.. }), "all of it was copied");
        writer.close();
        assert_eq!(polled(&mut bench), Replacement::Closed);
    }
}

#[test]
fn pages_are_compared_while_a_reader_keeps_the_wal_from_beginning_anew() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(2000);
    let reader = Writer::open(&bench.path(), "begin; select * from t");
    writer.tell("run 1500 100 passive");
    let mut compared = 0;
    while writer.answered().is_none() {
        for look in bench.watch.sweep(now(), 1).into_iter().filter_map(|update| update.look.ok()) {
            let seen = look.replacement;
            assert_eq!(seen.replaced(), Some(false), "{seen}");
            compared += u32::from(matches!(seen, Replacement::Agrees { pages: 1.. }));
        }
    }
    assert!(compared > 20, "{compared} looks compared pages");
    reader.kill();
    writer.close();
}

#[test]
fn a_file_that_is_opened_and_closed_all_the_time_is_its_own() {
    let mut bench = Bench::new();
    Writer::wal(&bench.path()).close();
    bench.settle().unwrap();
    let mut writer = Writer::open(&bench.path(), "select 1");
    writer.tell("reopen 1500");
    let mut looks = 0;
    while writer.answered().is_none() {
        let swept = bench.watch.sweep(now(), 1);
        // It may be read while it is being closed, when nothing can be said of it.
        for look in swept.into_iter().chain(bench.watch.poll(now())).filter_map(|update| update.look.ok()) {
            assert_ne!(look.replacement.replaced(), Some(true), "{}", look.replacement);
            looks += 1;
        }
    }
    assert!(looks > 50, "{looks} looks");
}

#[test]
fn another_file_is_told_until_everybody_has_closed_it() {
    let (mut bench, mut writer) = without_pages();
    let (old, new) = (bench.beside("-old"), another(&bench));
    fs::hard_link(bench.path(), &old).unwrap();
    fs::rename(&new, bench.path()).unwrap();
    let told = Replacement::Replaced(Contradiction::OtherFile);
    assert_eq!(polled(&mut bench), told);
    assert_eq!(one_look(&bench.path()), Replacement::Replaced(Contradiction::NotOpen));
    writer.write(3);
    writer.sql("pragma wal_checkpoint(restart)");
    writer.write(3);
    assert_eq!((polled(&mut bench), swept(&mut bench)), (told, told), "the evidence is gone, and it is not in order");

    // A second program has the new file open by now, and goes by the WAL of the old one.
    let second = Writer::open(&bench.path(), "select * from sqlite_schema");
    assert_eq!(swept(&mut bench), told);
    second.kill();

    // The old file is back.
    fs::rename(&old, bench.path()).unwrap();
    assert_eq!(polled(&mut bench).replaced(), Some(false));
    assert_eq!(one_look(&bench.path()).replaced(), Some(false));

    // Replaced once more, and closed for good: whatever is there now is all there is.
    fs::rename(another(&bench), bench.path()).unwrap();
    assert_eq!(polled(&mut bench), told);
    // SQLite sees that its file was moved, and leaves the WAL to whoever comes next.
    writer.close();
    assert!(bench.beside("-wal").exists());
    assert_eq!(swept(&mut bench), told);
    fs::remove_file(bench.beside("-wal")).unwrap();
    fs::remove_file(bench.beside("-shm")).unwrap();
    assert_eq!(polled(&mut bench), Replacement::Closed);
    let mut writer = Writer::wal(&bench.path());
    writer.write(1);
    assert_eq!(polled(&mut bench).replaced(), Some(false));
    writer.close();
}

#[test]
fn a_wal_that_is_deleted_under_its_users_is_told_until_they_are_gone() {
    let (mut bench, mut writer) = without_pages();
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(bench.beside(suffix)).unwrap();
    }
    fs::rename(another(&bench), bench.path()).unwrap();
    let told = Replacement::Replaced(Contradiction::WalDeleted);
    assert_eq!(polled(&mut bench), told);
    writer.write(3);
    let mut second = Writer::wal(&bench.path());
    second.write(3);
    assert_eq!((polled(&mut bench), swept(&mut bench)), (told, told), "the first one writes to deleted files");
    writer.kill();
    assert_eq!(swept(&mut bench).replaced(), Some(false));
    second.close();
}

#[test]
fn a_wal_that_is_deleted_or_moved_away_alone_is_told_until_it_is_back() {
    let (mut bench, mut writer) = without_pages();
    writer.write(3);
    let told = Replacement::Replaced(Contradiction::WalDeleted);
    let away = bench.beside("-away");
    fs::rename(bench.beside("-wal"), &away).unwrap();
    assert_eq!((polled(&mut bench), swept(&mut bench), one_look(&bench.path())), (told, told, told));
    writer.write(3);
    assert_eq!(swept(&mut bench), told, "what is committed goes into the file that was moved");
    fs::rename(&away, bench.beside("-wal")).unwrap();
    assert_eq!(swept(&mut bench).replaced(), Some(false));
    fs::remove_file(bench.beside("-wal")).unwrap();
    assert_eq!(swept(&mut bench), told);
    writer.kill();
    assert_eq!(swept(&mut bench).replaced(), Some(false), "nobody uses it any more");
}

#[test]
fn a_file_in_rollback_mode_that_was_moved_over_it_is_not_taken_for_overwritten() {
    let (mut bench, mut writer) = without_pages();
    let mut second = Writer::open(&bench.path(), "select * from t limit 1");
    writer.sql(&format!("vacuum into '{}'", bench.beside("-new").display()));
    fs::rename(bench.beside("-new"), bench.path()).unwrap();
    writer.write(3);
    second.write(1);
    let told = Replacement::Replaced(Contradiction::OtherFile);
    assert_eq!((one_look(&bench.path()), polled(&mut bench)), (told, told));
    for writer in [writer, second] {
        writer.kill();
    }
}

#[test]
fn a_deleted_wal_is_told_also_beside_a_new_one() {
    let (mut bench, mut writer) = without_pages();
    writer.write(3);
    let told = Replacement::Replaced(Contradiction::WalDeleted);
    fs::remove_file(bench.beside("-wal")).unwrap();
    assert_eq!(polled(&mut bench), told);
    let second = Writer::open(&bench.path(), "select * from sqlite_schema");
    assert_eq!(fs::metadata(bench.beside("-wal")).unwrap().len(), 0, "SQLite makes a new one");
    assert_eq!((polled(&mut bench), swept(&mut bench), one_look(&bench.path())), (told, told, told));
    writer.write(3);
    assert_eq!((swept(&mut bench), one_look(&bench.path())), (told, told));
    // Whoever appends where the wal-index says makes the new one long enough, with nothing in it.
    fs::File::options().write(true).open(bench.beside("-wal")).unwrap().set_len(1 << 20).unwrap();
    assert_eq!(polled(&mut bench), told);
    writer.write(1);
    assert_eq!((swept(&mut bench), one_look(&bench.path())), (told, told));
    writer.kill();
    let seen = bench.watch.sweep(now(), 1).pop().unwrap().look;
    assert!(seen.is_err() || seen.is_ok_and(|look| look.replacement != told), "nobody holds it any more");
    second.kill();
}

#[test]
fn what_is_written_over_it_is_told_where_a_date_alone_is_not() {
    let (mut bench, writer) = without_pages();
    let times = fs::FileTimes::new().set_accessed(SystemTime::now()).set_modified(SystemTime::now());
    fs::File::options().write(true).open(bench.path()).unwrap().set_times(times).unwrap();
    fs::set_permissions(bench.path(), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    assert_eq!(swept(&mut bench).replaced(), Some(false));
    // One byte in the middle of a page that no frame is of.
    let file = fs::File::options().write(true).open(bench.path()).unwrap();
    file.write_all_at(b"x", 6_000).unwrap();
    let told = Replacement::Replaced(Contradiction::Written);
    assert_eq!((polled(&mut bench), swept(&mut bench)), (told, told));
    let nothing_to_compare = Replacement::Agrees { pages: 0 };
    assert_eq!(one_look(&bench.path()), nothing_to_compare, "only who saw it before can know");
    writer.kill();
    assert_eq!(swept(&mut bench), told, "the next one replays the WAL into it");
    let writer = Writer::open(&bench.path(), "select * from sqlite_schema");
    assert_eq!(swept(&mut bench), told);
    writer.close();
    assert_eq!(polled(&mut bench), Replacement::Closed);
}

#[test]
fn a_database_at_rest_is_compared_again_once_it_changed() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(500);
    writer.sql("pragma wal_checkpoint(passive)");
    bench.settle().unwrap();
    std::thread::sleep(Duration::from_millis(1_100));
    for _ in 0..25 {
        assert!(matches!(swept(&mut bench), Replacement::Agrees { pages: 2.. }));
    }
    // What wrote this gives the file back the date that it had.
    let file = fs::File::options().write(true).open(bench.path()).unwrap();
    let date = file.metadata().unwrap().modified().unwrap();
    file.write_all_at(b"another", 4_096 + 500).unwrap();
    file.set_modified(date).unwrap();
    assert_eq!(swept(&mut bench), overwritten(Sign::Page(2)));
    writer.kill();
}

#[test]
fn one_look_compares_pages_and_headers() {
    let bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(500);
    writer.sql("pragma wal_checkpoint(passive)");
    assert!(matches!(one_look(&bench.path()), Replacement::Agrees { pages: 2.. }));
    let good = fs::read(bench.path()).unwrap();
    fs::copy(another(&bench), bench.path()).unwrap();
    let seen = one_look(&bench.path());
    assert!(
        matches!(seen, Replacement::Replaced(Contradiction::Content { sign: Sign::Page(_), seen: true })),
        "{seen}"
    );

    let other = |name: &str, setup: &str| {
        let path = bench.beside(name);
        Writer::open(&path, setup).close();
        fs::copy(path, bench.path()).unwrap();
        one_look(&bench.path())
    };
    let rollback = other("-rollback", "create table t(x)");
    assert_eq!(rollback, overwritten(Sign::RollbackJournal));
    let small = other("-small", "pragma page_size=512; pragma journal_mode=wal; create table t(x)");
    assert_eq!(small, overwritten(Sign::PageSize { file: 512, wal: 4096 }));
    fs::write(bench.path(), good).unwrap();
    assert_eq!(one_look(&bench.path()).replaced(), Some(false));
    writer.kill();
}

#[test]
fn a_program_that_reads_its_own_file_loses_its_locks_and_no_more() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(3);
    writer.ask(&format!("read {}", bench.path().display()));
    assert_eq!(one_look(&bench.path()).replaced(), Some(false));
    assert_eq!(polled(&mut bench).replaced(), Some(false));
    writer.close();
}

#[test]
fn a_destroyed_file_is_unreadable_although_its_wal_is_in_use() {
    for content in [Vec::new(), vec![0x5a; 8192]] {
        let (mut bench, writer) = without_pages();
        fs::write(bench.path(), &content).unwrap();
        let kind = if content.is_empty() { ReasonKind::Unsupported } else { ReasonKind::Corrupt };
        let told = |bench: &mut Bench| {
            let looks = (0..10).filter_map(|_| bench.poll());
            looks.last().map(|look| look.unwrap_err().kind)
        };
        assert_eq!(told(&mut bench), Some(kind), "by the next polls");
        let swept = bench.watch.sweep(now(), 1).pop().unwrap();
        assert_eq!(swept.look.unwrap_err().kind, kind, "and by each sweep");
        writer.kill();
    }
}
