//! What a restore of 1 GB costs, beside `litestream restore` of the same replica and `dd` of as many bytes in the same run:
//! of v0.5 from a directory and from an S3 server on this machine, and of v0.3.
//!
//! `cargo bench --bench restore` prints the table; a number of megabytes as argument makes another database, and a path
//! is another build of streamgauge, such as packaging/binary makes. It needs the lab (tests/lab/install). All programs write
//! to the same folder, in turn.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people, run by hand")]

#[path = "../tests/lab/mod.rs"]
mod lab;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lab::Lab;
use lab::litestream::{ACCESS_KEY, SECRET_KEY, printed, quick_yaml};
use rusqlite::Connection;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

const ROUNDS: usize = 3;

/// The programs that are compared with.
const VERSION: &str = "0.5.17";
const VERSION_3: &str = "0.3.13";

/// How often the kernel counts CPU time, which Linux fixes for programs.
const TICKS_PER_SECOND: f64 = 100.0;

fn main() {
    // `cargo test --benches` runs this too, unoptimised and without `--bench`.
    let default = if std::env::args().any(|argument| argument == "--bench") { 1000 } else { 2 };
    let megabytes: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(default);
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    // While it is open the WAL stays, and Litestream writes what changed instead of everything.
    let connection = replicate(&lab, home.path(), megabytes);
    let directory = format!("file://{}", home.path().join("replica").display());
    // The same files under the keys that they have on S3.
    for level in fs::read_dir(home.path().join("replica/ltx")).unwrap() {
        let level = level.unwrap();
        let name = format!("{:0>4}", level.file_name().to_str().unwrap());
        fs::create_dir_all(home.path().join("objects/app")).unwrap();
        std::os::unix::fs::symlink(level.path(), home.path().join("objects/app").join(name)).unwrap();
    }
    let server = streamgauge_testkit::s3::serve(home.path().join("objects")).unwrap();
    let port = server.port();
    let bucket = format!("s3://bucket/app?endpoint=http://127.0.0.1:{port}&region=us-east-1&forcePathStyle=true");
    let older = format!("file://{}", replicate_v3(&lab, home.path(), &connection, megabytes).display());
    println!("from            round  program             wall      CPU   peak memory");
    let newer = [Program::Litestream(VERSION), Program::Dd, Program::Streamgauge];
    let both = [Program::Litestream(VERSION_3), Program::Litestream(VERSION), Program::Streamgauge];
    let plain = compare(&lab, home.path(), "directory", &directory, &newer);
    let plain = plain.least(compare(&lab, home.path(), "S3", &bucket, &newer));
    compare(&lab, home.path(), "v0.3 directory", &older, &both);
    drills(&lab, home.path(), &connection, &directory, plain);
}

/// The program that is measured.
fn streamgauge() -> PathBuf {
    let named = std::env::args().skip(1).map(PathBuf::from).find(|argument| argument.is_file());
    named.unwrap_or_else(|| env!("CARGO_BIN_EXE_streamgauge").into())
}

/// Each program in turn, and what the others need in multiples of what we do, which is last.
fn compare(lab: &Lab, home: &Path, place: &str, url: &str, programs: &[Program; 3]) -> Cost {
    let mut best = [Cost::WORST; 3];
    for round in 1..=ROUNDS {
        for (best, program) in best.iter_mut().zip(programs) {
            let cost = restore(lab, *program, url, home);
            println!("{place:<15} {round:>5}  {program:<17} {cost}");
            *best = best.least(cost);
        }
    }
    let [others @ .., ours] = best;
    for (theirs, program) in others.iter().zip(programs) {
        println!(
            "{place:<15} best: against {program} {:.1} × faster, {:.1} × less CPU, {:.1} × less memory",
            theirs.wall.as_secs_f64() / ours.wall.as_secs_f64(),
            theirs.cpu / ours.cpu,
            theirs.memory as f64 / ours.memory as f64,
        );
    }
    fs::remove_file(home.join("kept.db")).unwrap();
    ours
}

/// A drill of everything with `quick_check`, beside the plain restore, and one of what is new after a hundredth of the
/// pages have changed.
fn drills(lab: &Lab, home: &Path, connection: &Connection, url: &str, plain: Cost) {
    let config = home.join("streamgauge.toml");
    let scratch = home.join("scratch");
    let toml = format!(
        "[drill]\nfull-every = 1000\nscratch = {scratch:?}\n[[database]]\nname = \"app\"\n[[database.replica]]\nurl = \"{url}\"\n"
    );
    fs::write(&config, toml).unwrap();
    let drill = |full: &[&str]| {
        let report = home.join("report.json");
        let mut command = lab::command(streamgauge());
        command.args(["drill", "app", "--config.file"]).arg(&config).args(full).arg("--report").arg(&report);
        let cost = measure(command.stdout(Stdio::null()).stderr(Stdio::null()));
        let records: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert_eq!(records[0]["incremental"], full.is_empty(), "{records}");
        (cost, records[0]["downloaded_bytes"].as_f64().unwrap(), records[0]["requests"].as_f64().unwrap())
    };
    let mut best = [(Cost::WORST, 0.0, 0.0); 2];
    for round in 1..=ROUNDS {
        let (full, bytes, requests) = drill(&["--full"]);
        println!("directory  {round:>5}  full drill  {full}");
        best[0] = (best[0].0.least(full), bytes, requests);
        churn(lab, home, connection);
        let (incremental, bytes, requests) = drill(&[]);
        println!("directory  {round:>5}  1 % drill   {incremental}");
        best[1] = (best[1].0.least(incremental), bytes, requests);
    }
    let [(full, bytes, requests), (new, new_bytes, new_requests)] = best;
    println!(
        "directory  best: a full drill takes {:.1} × the time of the restore; one at 1 % churn costs {:.1} × less time, \
         {:.1} × less CPU, {:.1} × fewer bytes, {:.1} × fewer requests",
        full.wall.as_secs_f64() / plain.wall.as_secs_f64(),
        full.wall.as_secs_f64() / new.wall.as_secs_f64(),
        full.cpu / new.cpu,
        bytes / new_bytes,
        requests / new_requests,
    );
}

/// Changes a hundredth of the pages, all in one stretch, and replicates that.
fn churn(lab: &Lab, home: &Path, connection: &Connection) {
    let rows: i64 = connection.query_row("SELECT max(id) FROM t", [], |row| row.get(0)).unwrap();
    connection.execute("UPDATE t SET c = c || 'y' WHERE id BETWEEN ?1 / 3 AND ?1 / 3 + ?1 / 100", [rows]).unwrap();
    let mut command = lab.litestream(VERSION);
    command.args(["replicate", "-once"]).arg(home.join("app.db"));
    printed(command.arg(format!("file://{}", home.join("replica").display())).output().unwrap()).unwrap();
}

/// A database of about so many megabytes, half of which compresses, as a snapshot and a few increments.
fn replicate(lab: &Lab, home: &Path, megabytes: u64) -> Connection {
    let database = home.join("app.db");
    let connection = Connection::open(&database).unwrap();
    let batch = "INSERT INTO t(a, b, c) WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x WHERE n < 3000) \
                 SELECT 'order ' || n || ' of a customer, status pending, created 2026-11-22', randomblob(120), \
                 'the quick brown fox jumps over the lazy dog' || n FROM x";
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t(id INTEGER PRIMARY KEY, a, b, c)",
        )
        .unwrap();
    while fs::metadata(&database).unwrap().len() < megabytes * 1_000_000 {
        (0..10).for_each(|_| connection.execute_batch(batch).unwrap());
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    }
    let sync = |snapshot: Option<&str>| {
        let mut command = lab.litestream(VERSION);
        command.args(["replicate", "-once"]).args(snapshot).arg(&database);
        let url = format!("file://{}", home.join("replica").display());
        printed(command.arg(url).output().unwrap()).unwrap();
    };
    sync(Some("-force-snapshot"));
    for step in 0..6 {
        let update = format!("UPDATE t SET a = a || 'x' WHERE id BETWEEN {} AND {}", step * 1000, step * 1000 + 3000);
        connection.execute_batch(&update).unwrap();
        sync(None);
    }
    connection
}

/// The same database as Litestream v0.3 replicates it: a snapshot, and the segments of as much WAL as half of it.
fn replicate_v3(lab: &Lab, home: &Path, source: &Connection, megabytes: u64) -> PathBuf {
    let (database, replica) = (home.join("v3.db"), home.join("replica-v3"));
    source.execute("VACUUM INTO ?1", [database.to_str().unwrap()]).unwrap();
    let connection = Connection::open(&database).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0")
        .unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    let yaml = quick_yaml(VERSION_3, &database, &format!("type: file, path: {}", replica.display()));
    let mut litestream = lab.replicate(VERSION_3, home, &yaml);
    let count = |kind: &str| {
        let generations = fs::read_dir(replica.join("generations")).into_iter().flatten();
        let folders = generations.filter_map(|generation| fs::read_dir(generation.unwrap().path().join(kind)).ok());
        folders
            .flatten()
            .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|end| end == "lz4"))
            .count()
    };
    lab::wait_for("a snapshot", || count("snapshots") > 0);
    let rows: i64 = connection.query_row("SELECT max(id) FROM t", [], |row| row.get(0)).unwrap();
    // Two hundred rows are about fourteen pages.
    for step in 0..(megabytes * 500_000 / (16 * 4096)).cast_signed() {
        let first = step * 7919 * 200 % rows;
        connection.execute("UPDATE t SET a = a || 'x' WHERE id BETWEEN ?1 AND ?1 + 200", [first]).unwrap();
    }
    let before = count("wal");
    lab::wait_for("the last segments", || {
        let known = count("wal");
        std::thread::sleep(Duration::from_secs(2));
        count("wal") == known && known > before.min(1)
    });
    litestream.process.stop();
    replica
}

/// What restores, or at least writes.
#[derive(Clone, Copy)]
enum Program {
    Litestream(&'static str),
    Streamgauge,
    /// A copy of the restored database with `fsync`.
    Dd,
}

impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&match self {
            Self::Litestream(version) => format!("litestream {version}"),
            Self::Streamgauge => "streamgauge".to_owned(),
            Self::Dd => "dd".to_owned(),
        })
    }
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    /// Seconds.
    cpu: f64,
    /// Bytes.
    memory: u64,
}

impl Cost {
    const WORST: Self = Self { wall: Duration::MAX, cpu: f64::MAX, memory: u64::MAX };

    /// What a busy machine adds is not the program's.
    fn least(self, other: Self) -> Self {
        Self { wall: self.wall.min(other.wall), cpu: self.cpu.min(other.cpu), memory: self.memory.min(other.memory) }
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, mebibytes) = (self.wall.as_secs_f64(), self.memory as f64 / f64::from(1 << 20));
        write!(f, "{wall:>7.2} s {:>6.2} s {mebibytes:>9.1} MiB", self.cpu)
    }
}

/// One restore by a program, to a file that is removed.
fn restore(lab: &Lab, program: Program, url: &str, home: &Path) -> Cost {
    let (out, kept) = (home.join("restored.db"), home.join("kept.db"));
    let mut command = match program {
        Program::Litestream(version) => lab.litestream(version),
        Program::Streamgauge => lab::command(streamgauge()),
        Program::Dd => Command::new("dd"),
    };
    match program {
        Program::Dd => {
            command.args(["bs=1M", "conv=fsync"]).arg(format!("if={}", kept.display()));
            command.arg(format!("of={}", out.display()))
        }
        _ => command.args(["restore", "-o"]).arg(&out).arg(url),
    };
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    // What was written before is not this program's work.
    assert!(Command::new("sync").status().unwrap().success());
    let cost = measure(&mut command);
    // All leave the same bytes; the tests compare them in more ways.
    if kept.exists() {
        assert!(Command::new("cmp").arg(&out).arg(&kept).status().unwrap().success());
        fs::remove_file(&out).unwrap();
    } else {
        fs::rename(&out, &kept).unwrap();
    }
    cost
}

fn measure(command: &mut Command) -> Cost {
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(child.id() as i32).unwrap();
    let mut memory = 0;
    // Looking does not make it a zombie less: its CPU time can still be read when it has ended.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while waitid(WaitId::Pid(pid), look).unwrap().is_none() {
        memory = memory.max(peak_bytes(child.id()).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let wall = started.elapsed();
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // utime and stime are fields 14 and 15; the name, field 2, ends with the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    // The two behind them are those of children that have ended, such as a drill's.
    let ticks: f64 = fields[11..15].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    assert!(child.wait().unwrap().success());
    Cost { wall, cpu: ticks / TICKS_PER_SECOND, memory }
}

/// The high-water mark of a running process.
fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}
