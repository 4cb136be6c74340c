//! What one poll of many databases costs, against what an exporter does that opens each of them.
//!
//! `cargo bench --bench local_poll` takes some minutes; `STREAMGAUGE_BENCH_DATABASES=200` makes it a smoke run. CPU time
//! of this thread is what counts: the wall clock of a shared machine says little. Databases are written by other
//! processes, as this one must not use SQLite on what it watches; the exporter has a set of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::target::{DatabaseFiles, TargetName};
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::DatabaseWatch;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const CHILD: &str = "STREAMGAUGE_BENCH_CHILD";
const DATABASES: &str = "STREAMGAUGE_BENCH_DATABASES";

/// A connection takes three descriptors, and a process may have 20 000 here.
const HELD_BY_ONE_PROCESS: usize = 4_000;
const ROUNDS: usize = 5;
const IDLE_POLLS: u32 = 2_000;
const CHANGING_POLLS: u32 = 6;
const GOAL_IDLE: f64 = 10_000.0;
const GOAL_CHANGING: f64 = 350.0;

fn main() -> Outcome {
    if let Ok(directory) = std::env::var(CHILD) {
        return hold(Path::new(&directory));
    }
    // `cargo test --benches` only wants to know that it runs.
    let usual = if std::env::args().any(|argument| argument == "--bench") { 10_000 } else { 200 };
    let databases = std::env::var(DATABASES).ok().map_or(Ok(usual), |text| text.parse::<usize>())?.max(40);
    let root = tempfile::tempdir()?;
    say(&format!("{databases} databases in {}", root.path().display()))?;

    // The naive exporter's databases are held open, or each of its own connections would be the last one to close.
    let naive_set = Set::create(&root.path().join("naive"), databases, 1)?;
    // A tenth of the watched databases has a writer. The others were left by a killed one, -wal and -shm in place.
    let watched = Set::create(&root.path().join("watched"), databases, 10)?;
    let mut watch = Watch::new();
    let files = |path: &PathBuf| Arc::new(DatabaseFiles { path: path.clone(), meta_path: None });
    let name = |path: &PathBuf| TargetName(path.display().to_string().into());
    watch.set_targets(watched.paths.iter().map(|path| (name(path), files(path))).collect());
    let (first, looks) = cpu(|| watch.poll(now()).len());
    say(&format!("first look at {looks} databases: {:.1} us each\n", first * 1e6 / looks as f64))?;
    measure(&mut watch, naive_set, watched, databases)
}

fn measure(watch: &mut Watch, mut naive_set: Set, mut watched: Set, databases: usize) -> Outcome {
    let changing = databases / 40;
    let (mut naive, mut idle, mut dirty) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (seconds, outcome) = cpu(|| naive_set.paths.iter().try_for_each(|path| look_naively(path)));
        outcome?;
        naive.push(seconds / databases as f64);
        watch.poll(now());

        let (seconds, updates) = cpu(|| (0..IDLE_POLLS).map(|_| watch.poll(now()).len()).sum::<usize>());
        assert_eq!(updates, 0, "nothing changed");
        idle.push(seconds / f64::from(IDLE_POLLS) / databases as f64);

        let mut total = 0.0;
        for _ in 0..CHANGING_POLLS {
            watched.write(changing)?;
            let (seconds, updates) = cpu(|| watch.poll(now()).len());
            assert_eq!(updates, changing, "each changed database is looked at once");
            total += seconds;
        }
        dirty.push(total / f64::from(CHANGING_POLLS) / databases as f64);
    }
    naive_set.end()?;
    watched.end()?;
    let (naive, idle, dirty) = (Spread::of(naive), Spread::of(idle), Spread::of(dirty));
    say("CPU time per database and poll, median [min..max], us")?;
    say(&format!("{:<44}{naive}", "naive: open, 4 PRAGMAs, 3 stat, close"))?;
    say(&format!("{:<44}{idle}  {}", "watch, idle", verdict(naive.median / idle.median, GOAL_IDLE)))?;
    let label = format!("watch, {changing} of them changed");
    say(&format!("{label:<44}{dirty}  {}", verdict(naive.median / dirty.median, GOAL_CHANGING)))?;
    say(&format!("{:<44}{:.2}", "  for each changed database", dirty.median * 1e6 * databases as f64 / changing as f64))
}

fn verdict(ratio: f64, goal: f64) -> String {
    let word = if ratio >= goal { "reached" } else { "missed" };
    format!("{ratio:.0}x less, goal {goal:.0}x {word}")
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn now() -> Moment {
    Moment::new(Timestamp::now(), SignedDuration::ZERO)
}

/// What `work` cost this thread, in seconds.
fn cpu<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let clock = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    };
    let before = clock();
    let result = work();
    (clock() - before, result)
}

/// What exporters do.
fn look_naively(path: &Path) -> rusqlite::Result<()> {
    let connection = rusqlite::Connection::open(path)?;
    for pragma in ["page_count", "page_size", "journal_mode", "freelist_count"] {
        connection.pragma_query_value(None, pragma, |_| Ok(()))?;
    }
    for suffix in ["", "-wal", "-shm"] {
        std::hint::black_box(std::fs::metadata(format!("{}{suffix}", path.display())).ok());
    }
    Ok(())
}

struct Spread {
    min: f64,
    median: f64,
    max: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self { min: values[0], median: values[values.len() / 2], max: values[values.len() - 1] }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { min, median, max } = self;
        write!(f, "{:>10.5} [{:.5}..{:.5}]", median * 1e6, min * 1e6, max * 1e6)
    }
}

/// Databases and the processes that have some of them open.
struct Set {
    paths: Vec<PathBuf>,
    holders: Vec<Holder>,
    next: usize,
}

struct Holder {
    child: Child,
    answers: BufReader<ChildStdout>,
    databases: usize,
}

impl Set {
    /// Writes databases; one of `open_every` directories of them stays open.
    fn create(root: &Path, databases: usize, open_every: usize) -> Outcome<Self> {
        let size = (databases / open_every).clamp(1, HELD_BY_ONE_PROCESS);
        let (mut paths, mut holders) = (Vec::new(), Vec::new());
        while paths.len() < databases {
            let count = size.min(databases - paths.len());
            let directory = root.join(holders.len().to_string()).join(paths.len().to_string());
            std::fs::create_dir_all(&directory)?;
            paths.extend((0..count).map(|number| directory.join(format!("{number}.db"))));
            let mut child = Command::new(std::env::current_exe()?)
                .env(CHILD, &directory)
                .env(DATABASES, count.to_string())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()?;
            let output = child.stdout.take().ok_or("the child has no output")?;
            let mut holder = Holder { child, answers: BufReader::new(output), databases: count };
            holder.wait()?;
            if open_every == 1 || holders.is_empty() {
                holders.push(holder);
            } else {
                holder.child.kill()?;
                holder.child.wait()?;
            }
        }
        Ok(Self { paths, holders, next: 0 })
    }

    /// Commits once in each of the next `count` databases that are open.
    fn write(&mut self, count: usize) -> Outcome {
        let Some(holder) = self.holders.first_mut() else { return Ok(()) };
        let input = holder.child.stdin.as_mut().ok_or("the child has no input")?;
        writeln!(input, "{} {count}", self.next)?;
        self.next = (self.next + count) % holder.databases;
        holder.wait()
    }

    fn end(&mut self) -> Outcome {
        for holder in &mut self.holders {
            holder.child.kill()?;
            holder.child.wait()?;
        }
        Ok(())
    }
}

impl Holder {
    fn wait(&mut self) -> Outcome {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line == "done\n" { Ok(()) } else { Err("a child failed".into()) }
    }
}

/// The child: writes its databases, keeps them open and commits where it is told to.
fn hold(directory: &Path) -> Outcome {
    let count: usize = std::env::var(DATABASES)?.parse()?;
    let open = |number: usize| -> rusqlite::Result<rusqlite::Connection> {
        let connection = rusqlite::Connection::open(directory.join(format!("{number}.db")))?;
        connection.execute_batch(
            "pragma journal_mode=wal; pragma synchronous=off; pragma wal_autocheckpoint=0; create table t(x)",
        )?;
        Ok(connection)
    };
    let connections: Vec<_> = (0..count).map(open).collect::<Result<_, _>>()?;
    say("done")?;
    for line in std::io::stdin().lines() {
        let line = line?;
        let (from, number) = line.split_once(' ').ok_or("two numbers")?;
        let (from, number): (usize, usize) = (from.parse()?, number.parse()?);
        for step in 0..number {
            connections[(from + step) % count].execute_batch("insert into t values (1)")?;
        }
        say("done")?;
    }
    Ok(())
}
