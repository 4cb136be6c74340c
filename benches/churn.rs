//! What a scrape feels when very many databases come and go: `streamgauge run`, as it is shipped, is scraped every second
//! while it starts beside 10 000 databases of a `dir` entry, while half of them vanish at once and are there again, and
//! while 100 000 files appear that may be databases and are not.
//!
//! `cargo bench --bench churn` takes about five minutes; `STREAMGAUGE_BENCH_DATABASES=100` makes it shorter, and
//! `STREAMGAUGE_BENCH_PROGRAM` measures another build of the program.

#![allow(unreachable_pub, dead_code, reason = "what benches share is in modules of each")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/site.rs"]
mod site;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agent::Agent;
use site::directory;
use streamgauge_testkit::replicator::{DATABASE, REPLICA};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const DATABASES: &str = "STREAMGAUGE_BENCH_DATABASES";
const PROGRAM: &str = "STREAMGAUGE_BENCH_PROGRAM";

const DISCOVERY: &str = "10s";
const SCRAPE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(300);
/// Of the files that are no databases, in one folder.
const FILES_IN_A_FOLDER: usize = 1_000;

fn main() -> Outcome {
    if let Some(directory) = site::is_holder() {
        return site::hold(&directory);
    }
    // `cargo test --benches` only wants to know that it runs.
    let (usual, afterwards) = match std::env::args().any(|argument| argument == "--bench") {
        true => (10_000, Duration::from_secs(30)),
        false => (400, Duration::from_secs(2)),
    };
    let databases = std::env::var(DATABASES).ok().map_or(Ok(usual), |text| text.parse::<usize>())?.max(400);
    let program = std::env::var(PROGRAM).unwrap_or_else(|_| env!("CARGO_BIN_EXE_streamgauge").to_owned());
    let root = tempfile::tempdir()?;
    let root = root.path();
    create(root, databases)?;
    let files = databases * 10;
    let agent = Agent::start(root, &config(root)?, 0, &program)?;
    say(&format!("{databases} databases; each phase until its end shows, and {afterwards:?} more\n"))?;
    say(
        "                          known again  scrapes   slowest    median  MB now/most  checks that fail anew, alerts",
    )?;
    let mut bench = Bench::new(agent, afterwards);
    bench.phase("start", databases, || Ok(()))?;
    let folders =
        fs::read_dir(root.join("databases"))?.map(|entry| Ok(entry?.file_name())).collect::<Outcome<Vec<_>>>()?;
    let half = &folders[..folders.len() / 2];
    let left = databases - half.len() * 100;
    let rename = |from: &str, to: &str| {
        let (from, to) = (root.join(from), root.join(to));
        half.iter().try_for_each(|folder| fs::rename(from.join(folder), to.join(folder))).map_err(Into::into)
    };
    bench.phase("nothing happens", databases, || Ok(()))?;
    bench.phase("half of them vanish", left, || rename("databases", "away"))?;
    bench.phase("they are there again", databases, || rename("away", "databases"))?;
    bench.phase(&format!("{files} other files"), databases, || {
        for folder in 0..files.div_ceil(FILES_IN_A_FOLDER) {
            let folder = root.join("databases").join(format!("files-{folder}"));
            fs::create_dir(&folder)?;
            (0..FILES_IN_A_FOLDER)
                .try_for_each(|file| fs::write(folder.join(format!("{file}.db")), "not a database"))?;
        }
        Ok(())
    })?;
    say(&format!("\n{:.1} s of CPU time in all", bench.agent.cpu()?))
}

/// The databases, as a killed application leaves them, and their replicas, all of which is replicated.
fn create(root: &Path, databases: usize) -> Outcome {
    let below = root.join("databases");
    drop(site::create(&below, databases)?);
    fs::create_dir(root.join("away"))?;
    for number in 0..databases {
        let (database, replica) = (directory(&below, number), directory(&root.join("replicas"), number));
        fs::create_dir_all(&replica)?;
        fs::rename(database.join(REPLICA), replica.join(DATABASE))?;
    }
    Ok(())
}

fn config(root: &Path) -> Outcome<String> {
    let litestream = root.join("litestream.yml");
    let (databases, replicas) = (root.join("databases"), root.join("replicas"));
    fs::write(
        &litestream,
        format!(
            "dbs:\n  - dir: {}\n    pattern: '*.db'\n    recursive: true\n    watch: true\n    replica: {{type: file, path: {}}}\n",
            databases.display(),
            replicas.display()
        ),
    )?;
    Ok(format!(
        "[litestream]\nconfig = [{litestream:?}]\ndiscovery-interval = \"{DISCOVERY}\"\n[watch]\nseries-grace = \"5s\"\n[drill]\nenabled = false\n"
    ))
}

/// An agent that is scraped every second by somebody else.
struct Bench {
    agent: Agent,
    scrapes: Arc<Mutex<Vec<Duration>>>,
    /// How long a phase goes on after its end has shown, for what comes late.
    afterwards: Duration,
}

impl Bench {
    fn new(agent: Agent, afterwards: Duration) -> Self {
        let scrapes = Arc::<Mutex<Vec<Duration>>>::default();
        let (address, kept) = (agent.address.clone(), Arc::clone(&scrapes));
        // Ends with the process.
        std::thread::spawn(move || {
            loop {
                let start = Instant::now();
                let answered = agent::get(&address, "/metrics").is_ok();
                if let (true, Ok(mut kept)) = (answered, kept.lock()) {
                    kept.push(start.elapsed());
                }
                std::thread::sleep(SCRAPE.saturating_sub(start.elapsed()));
            }
        });
        Self { agent, scrapes, afterwards }
    }

    /// Does something, and waits until so many databases have a recovery point; says what scrapes took meanwhile and what
    /// was wrong that had not been.
    fn phase(&mut self, name: &str, known: usize, work: impl FnOnce() -> Outcome) -> Outcome {
        let (mut before, mut wrong) = (self.look().map(|(_, wrong)| wrong).unwrap_or_default(), BTreeSet::new());
        self.scrapes.lock().map_err(|_| "the scraper failed")?.clear();
        let start = Instant::now();
        work()?;
        let mut reached = None;
        while reached.is_none_or(|reached: Duration| start.elapsed() < reached + self.afterwards) {
            if start.elapsed() > PATIENCE {
                return Err(format!("{name}: not within {PATIENCE:?}").into());
            }
            std::thread::sleep(Duration::from_secs(2));
            let Ok((now, mut found)) = self.look() else { continue };
            wrong.append(&mut found);
            if now == known {
                reached.get_or_insert_with(|| start.elapsed());
            }
        }
        let mut times = std::mem::take(&mut *self.scrapes.lock().map_err(|_| "the scraper failed")?);
        times.sort_unstable();
        let millis = |time: Option<&Duration>| time.map_or(0.0, |time| time.as_secs_f64() * 1e3);
        wrong.retain(|line| !before.remove(line));
        let wrong = if wrong.is_empty() { "none".to_owned() } else { wrong.into_iter().collect::<Vec<_>>().join(", ") };
        say(&format!(
            "{name:<27}{:>8.0} s{:>9}{:>7.1} ms{:>7.1} ms{:>13}  {wrong}",
            reached.unwrap_or_default().as_secs_f64(),
            times.len(),
            millis(times.last()),
            millis(times.get(times.len() / 2)),
            self.agent.memory()?,
        ))
    }

    /// How many databases have a recovery point; which checks fail of any, and which alerts there are.
    fn look(&self) -> Outcome<(usize, BTreeSet<String>)> {
        let (text, _) = self.agent.metrics()?;
        let known =
            text.lines().filter(|line| line.starts_with("streamgauge_replica_recovery_point_timestamp_seconds"));
        let of = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name) && !line.ends_with(" 0"));
            lines.filter_map(|line| line.split_once(' ')).map(|(series, _)| series.to_owned()).collect::<Vec<_>>()
        };
        let mut wrong: BTreeSet<String> = of("streamgauge_alerts{").into_iter().collect();
        wrong.extend(of("streamgauge_checks{").into_iter().filter(|series| series.contains("fail")));
        Ok((known.count(), wrong))
    }
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}
