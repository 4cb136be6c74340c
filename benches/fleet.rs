//! What the agent itself uses with 10 000 databases, each with a replica in a directory: `streamgauge run`, as it is shipped,
//! is started beside them and scraped every 15 seconds. Its memory when everything was verified, and its CPU time while
//! nothing is committed and while 250 transactions are committed each second, spread over all of them.
//!
//! `cargo bench --bench fleet` takes about five minutes; `STREAMGAUGE_BENCH_DATABASES=100` makes it shorter, and
//! `STREAMGAUGE_BENCH_PROGRAM` measures another build of the program, or several beside the same databases at the same
//! time: their paths with a colon between them. `STREAMGAUGE_BENCH_SECONDS` is how long each phase is.

#![allow(unreachable_pub, reason = "what benches share is in modules of each")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/site.rs"]
mod site;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::Agent;
use site::{Holder, directory};
use streamgauge_testkit::replicator::{DATABASE, REPLICA};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const DATABASES: &str = "STREAMGAUGE_BENCH_DATABASES";
const PROGRAM: &str = "STREAMGAUGE_BENCH_PROGRAM";
const SECONDS: &str = "STREAMGAUGE_BENCH_SECONDS";

const COMMITS_PER_SECOND: usize = 250;
/// How often each process is told to commit.
const STEP: Duration = Duration::from_millis(100);
const SCRAPE: Duration = Duration::from_secs(15);
/// A machine that is busy with other work is waited for as long as anything goes on.
const PATIENCE: Duration = Duration::from_secs(300);
const PROGRESS: Duration = Duration::from_secs(20);

fn main() -> Outcome {
    if let Some(directory) = site::is_holder() {
        return site::hold(&directory);
    }
    // `cargo test --benches` only wants to know that it runs.
    let (usual, phase) = match std::env::args().any(|argument| argument == "--bench") {
        true => (10_000, Duration::from_secs(60)),
        false => (20, Duration::from_secs(1)),
    };
    let databases = number(DATABASES)?.unwrap_or(usual);
    let phase = number(SECONDS)?.map_or(phase, |seconds| Duration::from_secs(seconds as u64));
    let programs = std::env::var(PROGRAM).unwrap_or_else(|_| env!("CARGO_BIN_EXE_streamgauge").to_owned());
    let root = tempfile::tempdir()?;
    let mut holders = site::create(root.path(), databases)?;
    let config = config(root.path(), databases);
    let start = |(place, program)| Agent::start(root.path(), &config, place, program);
    let mut agents = programs.split(':').enumerate().map(start).collect::<Outcome<Vec<_>>>()?;
    let settled = settle(&agents, databases)?;
    for agent in &agents {
        let (text, packed) = agent.metrics()?;
        let (series, plain) = (text.lines().filter(|line| !line.starts_with('#')).count(), text.len());
        say(&format!("{}, process {}", agent.program, agent.child.id()))?;
        say(&format!("{databases} databases, {series} series, {:.1} MB ({:.2} MB gzip)", mb(plain), mb(packed)))?;
        say(&format!("verified after {:.0} s with {:.1} s of CPU time", settled.as_secs_f64(), agent.cpu()?))?;
    }
    // What comes once after a start has had its time.
    during(&mut agents, phase / 2, || Ok(()))?;
    say("\n                          CPU of a core   memory now / at most, MB")?;
    let tell = |what: &str, agents: &[Agent], parts: Vec<f64>| {
        let mut lines = agents.iter().zip(parts);
        lines.try_for_each(|(agent, part)| say(&format!("{what:<26}{:>8.2} %      {}", part * 100.0, agent.memory()?)))
    };
    let parts = during(&mut agents, phase, || Ok(()))?;
    tell("nothing is committed", &agents, parts)?;
    let (mut due, each) = (0.0, COMMITS_PER_SECOND as f64 * STEP.as_secs_f64() / holders.len() as f64);
    let parts = during(&mut agents, phase, || {
        due += each;
        let now = due as usize;
        due -= now as f64;
        holders.iter_mut().try_for_each(|holder| holder.commit(now))?;
        holders.iter_mut().try_for_each(Holder::wait)
    })?;
    tell(&format!("{COMMITS_PER_SECOND} commits each second"), &agents, parts)
}

fn number(variable: &str) -> Outcome<Option<usize>> {
    Ok(std::env::var(variable).ok().map(|text| text.parse()).transpose()?)
}

/// Waits until all databases have a recovery point and were verified, as long as there is progress; says how long that took.
fn settle(agents: &[Agent], databases: usize) -> Outcome<Duration> {
    let start = Instant::now();
    let (mut reached, mut progress, mut told) = (0, start, start);
    loop {
        let done = agents.iter().map(verified).sum::<usize>();
        if done > reached {
            (reached, progress) = (done, Instant::now());
        }
        if done == 2 * databases * agents.len() {
            return Ok(start.elapsed());
        }
        if progress.elapsed() > PATIENCE {
            return Err("nothing more was verified".into());
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            let part = 100 * done / (2 * databases * agents.len());
            say(&format!("after {:.0} s, {part} % is looked at and verified", start.elapsed().as_secs_f64()))?;
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

/// Does `work` at even intervals, and the agents are scraped; the parts of a core that they used meanwhile.
fn during(agents: &mut [Agent], length: Duration, mut work: impl FnMut() -> Outcome) -> Outcome<Vec<f64>> {
    let used = |agents: &[Agent]| agents.iter().map(Agent::cpu).collect::<Outcome<Vec<_>>>();
    let (start, before, mut scraped) = (Instant::now(), used(agents)?, Duration::ZERO);
    for step in 1.. {
        work()?;
        if start.elapsed() >= scraped {
            scraped += SCRAPE;
            agents.iter().try_for_each(|agent| agent.get("/metrics").map(drop))?;
        }
        if start.elapsed() >= length {
            break;
        }
        std::thread::sleep((STEP * step).saturating_sub(start.elapsed()));
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(used(agents)?.into_iter().zip(before).map(|(after, before)| (after - before) / seconds).collect())
}

fn say(line: &str) -> Outcome {
    Ok(writeln!(std::io::stdout(), "{line}")?)
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// All databases, one by one, with what is usual, and what says that everything was verified.
fn config(root: &Path, databases: usize) -> String {
    // Drills are processes of their own and have a bench of their own.
    let mut config = "[drill]\nenabled = false\n".to_owned();
    for number in 0..databases {
        let directory = directory(root, number);
        let (database, replica) = (directory.join(DATABASE), directory.join(REPLICA));
        config += &format!(
            "[[database]]\nname = \"tenant-{number:05}\"\npath = {:?}\n[[database.replica]]\nurl = \"file://{}\"\n",
            database,
            replica.display()
        );
    }
    config + "[metrics]\ninclude = [\"streamgauge_replica_oldest_read_timestamp_seconds\"]\n"
}

/// How many databases have a recovery point, and how many of those were verified; none while it starts.
fn verified(agent: &Agent) -> usize {
    let Ok((text, _)) = agent.metrics() else { return 0 };
    let of = |name| text.lines().filter(|line| line.starts_with(name)).count();
    of("streamgauge_replica_recovery_point_timestamp_seconds") + of("streamgauge_replica_oldest_read_timestamp_seconds")
}
