//! The kernel's own record of a watch: no lock, no write, and nothing at all for an idle database.
//!
//! Takes some seconds; `STREAMGAUGE_STRACE_SECONDS=60` watches for a minute.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::target::{DatabaseFiles, TargetName};
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::{DatabaseWatch, LocalUpdate};

#[path = "support/writer.rs"]
mod writer;
use writer::Writer;

const DIRECTORY: &str = "STREAMGAUGE_STRACE_DIRECTORY";
const SECONDS: &str = "STREAMGAUGE_STRACE_SECONDS";

/// Files that do not exist; asking for them puts a mark into the trace.
const FIRST_LOOK_DONE: &str = "/mark-first-look-done";
const WRITER_STOPPED: &str = "/mark-writer-stopped";
const SWEEP_BEGINS: &str = "/mark-sweep-begins";
const SWEEP_AGAIN: &str = "/mark-sweep-again";

/// System calls of a sweep for a database in use that has not changed since the sweep before: where its files are and which,
/// its wal-index, who has it open, and how much space there is.
const CALLS_AT_REST: usize = 13;

#[test]
#[ignore = "the other side of Writer"]
fn writer_child() {
    writer::serve();
}

/// What runs under strace.
#[test]
#[ignore = "the other side of the test below"]
fn watcher_child() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).unwrap());
    let length = Duration::from_secs(std::env::var(SECONDS).unwrap().parse().unwrap());
    let mut watch = Watch::new();
    watch.set_targets(
        ["hot", "idle", "closed"]
            .map(|name| {
                let files = Arc::new(DatabaseFiles { path: directory.join(name), meta_path: None });
                (TargetName(name.into()), files)
            })
            .to_vec(),
    );
    let mut poll = || {
        let now = Moment::new(Timestamp::now(), SignedDuration::ZERO);
        watch.poll(now)
    };
    let commits = |updates: &[LocalUpdate]| {
        let look = updates.last()?.look.as_ref().unwrap();
        Some(look.counters.commits)
    };
    assert_eq!(poll().len(), 3);
    assert_eq!(poll(), []);
    mark(FIRST_LOOK_DONE);
    std::fs::write(directory.join("../started"), "").unwrap();
    let start = Instant::now();
    let mut seen = 0;
    while start.elapsed() < length {
        seen = commits(&poll()).unwrap_or(seen);
        std::thread::sleep(Duration::from_millis(250));
    }
    std::fs::write(directory.join("../stop"), "").unwrap();
    while !directory.join("../stopped").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..3 {
        seen = commits(&poll()).unwrap_or(seen);
    }
    mark(WRITER_STOPPED);
    for _ in 0..5 {
        assert_eq!(poll(), []);
    }
    mark(SWEEP_BEGINS);
    let now = Moment::new(Timestamp::now(), SignedDuration::ZERO);
    assert_eq!(watch.sweep(now, 3).len(), 3);
    mark(SWEEP_AGAIN);
    assert_eq!(watch.sweep(now, 3).len(), 3);
    std::fs::write(directory.join("../seen"), seen.to_string()).unwrap();
}

fn mark(path: &str) {
    assert!(!Path::new(path).exists());
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(120), "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_watch_locks_nothing_writes_nothing_and_leaves_idle_databases_alone() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is needed in CI");
        println!("skipped: there is no strace");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("watched");
    std::fs::create_dir(&directory).unwrap();
    let mut hot = Writer::wal(&directory.join("hot"));
    let idle = Writer::wal(&directory.join("idle"));
    Writer::wal(&directory.join("closed")).close();
    hot.write(5);

    let trace = root.path().join("trace");
    let mut strace = Command::new("strace")
        .args(["-f", "-y", "-s", "256", "-o"])
        .arg(&trace)
        .arg(std::env::current_exe().unwrap())
        .args(["watcher_child", "--exact", "--ignored"])
        .env(DIRECTORY, &directory)
        .env(SECONDS, std::env::var(SECONDS).unwrap_or_else(|_| "3".into()))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&root.path().join("started"));
    let mut written = 0;
    for round in 0.. {
        if root.path().join("stop").exists() {
            break;
        }
        // A second without a checkpoint, then many.
        let every = if round < 10 { u32::MAX } else { 500 };
        written += hot.ask(&format!("run 100 {every} passive")).parse::<u64>().unwrap();
    }
    std::fs::write(root.path().join("stopped"), "").unwrap();
    assert!(strace.wait().unwrap().success());
    let seen: u64 = std::fs::read_to_string(root.path().join("seen")).unwrap().parse().unwrap();
    assert_eq!(seen, written);
    hot.close();
    idle.close();
    judge(&std::fs::read_to_string(trace).unwrap(), &directory);
}

fn judge(trace: &str, directory: &Path) {
    let watched = directory.to_str().unwrap();
    let about_watched = trace.lines().filter(|line| line.contains(watched) && !line.contains("execve("));
    let mut looks = 0;
    for line in about_watched {
        if line.contains("/../") {
            continue;
        }
        looks += 1;
        for call in ["O_RDWR", "O_WRONLY", "O_CREAT", "O_TRUNC", "F_SETLK", "F_OFD_SETLK", "F_SETLEASE"] {
            assert!(!line.contains(call), "{line}");
        }
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        let name = call.split_once('(').map_or(call, |(name, _)| name);
        let harmless =
            ["open", "openat", "statx", "pread64", "inotify_add_watch", "close", "fcntl", "statfs", "readlink"];
        assert!(harmless.contains(&name), "{line}");
        // Rust's library asks F_GETFD before closing, in builds with debug assertions.
        assert!(name != "fcntl" || call.contains("F_GETLK") || call.contains("F_GETFD"), "{line}");
    }
    assert!(looks > 20, "the trace has the looks");
    assert!(!trace.contains("flock("), "no lock is taken on anything");

    let (_, after) = trace.split_once(FIRST_LOOK_DONE).unwrap();
    let (polling, sweeps) = after.split_once(SWEEP_BEGINS).unwrap();
    let (sweep, again) = sweeps.split_once(SWEEP_AGAIN).unwrap();
    let (busy, quiet) = polling.split_once(WRITER_STOPPED).unwrap();
    let described = |file: &str| busy.matches(&format!("watched/{file}\", AT_STATX")).count();
    let (database, wal) = (described("hot"), described("hot-wal"));
    assert!(database < wal, "{database} of the database, {wal} of -wal: only a checkpoint writes to the database");
    for name in ["watched/idle", "watched/closed"] {
        assert!(!polling.contains(name), "an idle database costs nothing between sweeps");
        assert!(sweep.contains(name), "the sweep looks at it");
    }
    // Rust's library asks F_GETFD before closing, in builds with debug assertions.
    let at_rest: Vec<&str> =
        again.lines().filter(|line| line.contains("watched/idle") && !line.contains("F_GETFD")).collect();
    assert!(at_rest.len() <= CALLS_AT_REST, "{at_rest:#?}");
    assert!(!at_rest.iter().any(|line| line.contains("idle-wal") && line.contains("open")), "{at_rest:#?}");
    // Five polls of three databases: one read of the event queue each, and nothing else in this thread.
    let calls: Vec<&str> = quiet.lines().filter(|line| line.contains('(')).collect();
    let reads = calls.iter().filter(|line| line.contains("inotify>")).count();
    assert_eq!(reads, 5, "{calls:#?}");
    assert!(calls.len() <= reads + 2, "{calls:#?}");
}
