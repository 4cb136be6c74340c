//! What the agent itself uses with 10 000 databases, each with a replica in a directory: `streamgauge run`, as it is shipped,
//! is started beside them and scraped every 15 seconds. Its memory when everything was verified, and its CPU time while
//! nothing is committed and while 250 transactions are committed each second, spread over all of them.
//!
//! `cargo bench --bench fleet` takes six minutes; `STREAMGAUGE_BENCH_DATABASES=100` makes it shorter, and
//! `STREAMGAUGE_BENCH_PROGRAM` measures another build of the program, or several beside the same databases at the same
//! time: their paths with a colon between them. `STREAMGAUGE_BENCH_SECONDS` is how long each phase is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use flate2::read::GzDecoder;
use streamgauge_testkit::orders;
use streamgauge_testkit::replicator::{DATABASE, REPLICA, Replicator};

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

const CHILD: &str = "STREAMGAUGE_BENCH_CHILD";
const DATABASES: &str = "STREAMGAUGE_BENCH_DATABASES";
const PROGRAM: &str = "STREAMGAUGE_BENCH_PROGRAM";
const SECONDS: &str = "STREAMGAUGE_BENCH_SECONDS";

/// A database takes eight descriptors in the process that writes it, and a process may have 20 000 here.
const HELD_BY_ONE_PROCESS: usize = 2_000;
const COMMITS_PER_SECOND: usize = 250;
/// How often each process is told to commit.
const STEP: Duration = Duration::from_millis(100);
const SCRAPE: Duration = Duration::from_secs(15);
const CLOCK_TICKS_PER_SECOND: f64 = 100.0;
/// A machine that is busy with other work is waited for as long as anything goes on.
const PATIENCE: Duration = Duration::from_secs(300);
const PROGRESS: Duration = Duration::from_secs(20);

fn main() -> Outcome {
    if let Ok(directory) = std::env::var(CHILD) {
        return hold(Path::new(&directory));
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
    let mut holders = create(root.path(), databases)?;
    let start = |(place, program)| Agent::start(root.path(), databases, place, program);
    let mut agents = programs.split(':').enumerate().map(start).collect::<Outcome<Vec<_>>>()?;
    let settled = settle(&agents, databases)?;
    for agent in &agents {
        let (series, plain, packed) = agent.scrape()?;
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
        let done = agents.iter().map(Agent::verified).sum::<usize>();
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

/// The program, at work.
struct Agent {
    program: String,
    child: Child,
    address: String,
}

impl Agent {
    /// Starts the one at this place.
    fn start(root: &Path, databases: usize, place: usize, program: &str) -> Outcome<Self> {
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
        // What is usual, and what says that everything was verified.
        config += "[metrics]\ninclude = [\"streamgauge_replica_oldest_read_timestamp_seconds\"]\n";
        let file = root.join("streamgauge.toml");
        std::fs::write(&file, config)?;
        // Taken and given back: nobody else here asks for one.
        let address = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let child = Command::new(program)
            // As the service and the image have it.
            .env("MALLOC_ARENA_MAX", "1")
            .env("MALLOC_MMAP_THRESHOLD_", "131072")
            .args(["run", "--log.level", "error", "--web.listen-address", &address, "--config.file"])
            .arg(&file)
            .arg("--storage.path")
            .arg(root.join(format!("storage-{place}")))
            .stdin(Stdio::null())
            .spawn()?;
        Ok(Self { program: program.to_owned(), child, address })
    }

    /// How many databases have a recovery point, and how many of those were verified; none while it starts.
    fn verified(&self) -> usize {
        let Ok((text, _)) = self.metrics() else { return 0 };
        let of = |name| text.lines().filter(|line| line.starts_with(name)).count();
        of("streamgauge_replica_recovery_point_timestamp_seconds")
            + of("streamgauge_replica_oldest_read_timestamp_seconds")
    }

    /// Seconds of CPU time that it has used.
    fn cpu(&self) -> Outcome<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / CLOCK_TICKS_PER_SECOND)
    }

    fn memory(&self) -> Outcome<String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let read = |name: &str| -> Outcome<f64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
            Ok(line.trim_end_matches("kB").trim().parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok(format!("{:.0} / {:.0}", read("VmRSS:")?, read("VmHWM:")?))
    }

    /// Asks as Prometheus does, without looking into the answer.
    fn get(&self, path: &str) -> Outcome<Vec<u8>> {
        let mut stream = TcpStream::connect(&self.address)?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\
             Accept: application/openmetrics-text;version=1.0.0\r\n\r\n"
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no answer")? + 4;
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err("the agent has no answer".into());
        }
        Ok(answer.split_off(head))
    }

    fn metrics(&self) -> Outcome<(String, usize)> {
        let packed = self.get("/metrics")?;
        let mut text = String::new();
        GzDecoder::new(packed.as_slice()).read_to_string(&mut text)?;
        Ok((text, packed.len()))
    }

    /// Series, bytes, and bytes that were sent.
    fn scrape(&self) -> Outcome<(usize, usize, usize)> {
        let (text, packed) = self.metrics()?;
        Ok((text.lines().filter(|line| !line.starts_with('#')).count(), text.len(), packed))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that writes databases and replicates them: SQLite must not be in one process with who reads its files.
struct Holder {
    child: Child,
    answers: BufReader<ChildStdout>,
}

fn create(root: &Path, databases: usize) -> Outcome<Vec<Holder>> {
    let starts = (0..databases).step_by(HELD_BY_ONE_PROCESS);
    let start = |first: usize| {
        let mut child = Command::new(std::env::current_exe()?)
            .env(CHILD, root)
            .env(DATABASES, format!("{first} {}", databases.min(first + HELD_BY_ONE_PROCESS)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
        Ok(Holder { child, answers })
    };
    let mut holders = starts.map(start).collect::<Outcome<Vec<_>>>()?;
    holders.iter_mut().try_for_each(Holder::wait)?;
    Ok(holders)
}

impl Holder {
    fn wait(&mut self) -> Outcome {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line == "done\n" { Ok(()) } else { Err("a child failed".into()) }
    }

    fn commit(&mut self, count: usize) -> Outcome {
        let input = self.child.stdin.as_mut().ok_or("the child has no input")?;
        Ok(writeln!(input, "{count}")?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn directory(root: &Path, number: usize) -> std::path::PathBuf {
    root.join((number / 100).to_string()).join(number.to_string())
}

/// The child: creates its databases, then commits in one after the other as often as it is told to.
fn hold(root: &Path) -> Outcome {
    let range = std::env::var(DATABASES)?;
    let (from, until) = range.split_once(' ').ok_or("two numbers")?;
    let open = |number: usize| -> Outcome<_> {
        let directory = directory(root, number);
        std::fs::create_dir_all(&directory)?;
        let mut replicator = Replicator::create(&directory)?;
        replicator.tick(now()?)?;
        // Once a minute a snapshot of each of 10 000 would be another bench.
        (replicator.abilities.snapshot, replicator.abilities.compact) = (false, false);
        Ok((orders::open(&directory.join(DATABASE))?, replicator))
    };
    let mut databases = (from.parse()?..until.parse()?).map(open).collect::<Outcome<Vec<_>>>()?;
    say("done")?;
    let mut next = 0;
    for line in std::io::stdin().lines() {
        for _ in 0..line?.parse()? {
            let (connection, replicator) = &mut databases[next];
            orders::write(connection)?;
            replicator.tick(now()?)?;
            next = (next + 1) % databases.len();
        }
        say("done")?;
    }
    Ok(())
}

fn now() -> Outcome<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().try_into()?)
}
