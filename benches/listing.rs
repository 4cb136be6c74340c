//! What listing a replica on S3 costs: all of it, and only what came after the last known key.
//!
//! An in-process server makes up the pages, so the numbers hold without a network: on S3 each page adds tens of
//! milliseconds of waiting. CPU is that of the thread that runs the store; the server has its own. `cargo bench --bench
//! listing` prints the table; a number as argument limits the largest listing.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program for people, run by hand")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use streamgauge::domain::litestream::{Folder, LtxName, ObjectName, Txid};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, S3Location, StaticCredentials};
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::ReplicaStore;
use streamgauge::usecase::ports::Stores as _;
use streamgauge_testkit::s3;

/// One v0.3 segment a second for a day: what a poll without `start-after` would list each time.
const DAY_OF_SEGMENTS: u64 = 86_400;

/// How much less CPU a poll is to take than a listing of a day.
const GOAL: f64 = 3000.0;

/// Polls that are averaged in one round.
const POLLS: u32 = 200;

/// Of so many rounds the cheapest counts: what a busy machine adds is not the store's.
const POLL_ROUNDS: usize = 20;
const FULL_ROUNDS: usize = 5;

fn main() {
    // `cargo test --benches` runs this too, unoptimised and without `--bench`.
    let default = if std::env::args().any(|argument| argument == "--bench") { 1_000_000 } else { 1_000 };
    let most = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(default);
    println!("      keys  pages   full: wall     CPU   poll: wall     CPU    CPU ratio   RSS growth");
    for keys in [1_000, 10_000, DAY_OF_SEGMENTS, 1_000_000] {
        if keys > most {
            continue;
        }
        let server = s3::serve_made_up(keys).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let measured = runtime.block_on(measure(&*open(server.port()), keys));
        println!("{measured}{}", if keys == DAY_OF_SEGMENTS { measured.verdict() } else { "" });
    }
}

fn open(port: u16) -> Arc<dyn ReplicaStore> {
    let timeout = Duration::from_secs(60);
    let stores = Stores::new(StoreOptions { timeout, concurrency: 1, ca_file: None });
    let secret_access_key = Secret::new("bench");
    let place = S3Location {
        bucket: "bkt".to_owned(),
        path: "app".to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        force_path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: "bench".to_owned(),
            secret_access_key,
            session_token: None,
        }),
        ..S3Location::default()
    };
    stores.open(&ReplicaLocation::S3(Box::new(place))).unwrap()
}

struct Measured {
    keys: u64,
    pages: u64,
    full: Cost,
    poll: Cost,
    grown_bytes: u64,
}

#[derive(Clone, Copy)]
struct Cost {
    wall: Duration,
    cpu: Duration,
}

async fn measure(store: &dyn ReplicaStore, keys: u64) -> Measured {
    // Connects, and fills whatever is filled once.
    store.list(LEVEL, None, None).await.unwrap();
    let resident = resident_bytes();
    let (mut full, mut poll, mut grown_bytes) = (Vec::new(), Vec::new(), 0);
    let rounds = if keys > DAY_OF_SEGMENTS { 1 } else { FULL_ROUNDS };
    for _ in 0..rounds {
        let start = now();
        let peak = list_all(store, keys).await;
        full.push(since(start));
        grown_bytes = grown_bytes.max(peak.saturating_sub(resident));
    }
    let behind = name(keys + 1);
    for _ in 0..POLL_ROUNDS {
        let start = now();
        for _ in 0..POLLS {
            assert!(store.list(LEVEL, Some(behind), None).await.unwrap().objects.is_empty());
        }
        let polls = since(start);
        poll.push(Cost { wall: polls.wall / POLLS, cpu: polls.cpu / POLLS });
    }
    Measured { keys, pages: keys.div_ceil(1000), full: cheapest(full), poll: cheapest(poll), grown_bytes }
}

const LEVEL: Folder = Folder::Level(0);

fn name(txid: u64) -> ObjectName {
    ObjectName::Ltx { level: 0, name: LtxName { min: Txid(txid), max: Txid(txid) } }
}

/// Follows the pages, dropping each as the next is asked for, and returns the most that was resident.
async fn list_all(store: &dyn ReplicaStore, keys: u64) -> u64 {
    let (mut listed, mut peak, mut last, mut cursor) = (0, 0, None, None);
    loop {
        let mut page = store.list(LEVEL, None, cursor.as_ref()).await.unwrap();
        listed += page.objects.len() as u64;
        peak = peak.max(resident_bytes());
        last = page.objects.pop().map(|object| object.name).or(last);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!((listed, last), (keys, Some(name(keys))));
    peak
}

fn cheapest(rounds: Vec<Cost>) -> Cost {
    rounds.into_iter().min_by_key(|cost| cost.cpu).unwrap()
}

impl Measured {
    fn ratio(&self) -> f64 {
        self.full.cpu.as_secs_f64() / self.poll.cpu.as_secs_f64()
    }

    fn verdict(&self) -> &'static str {
        if self.ratio() >= GOAL { "  goal of 3000 met" } else { "  goal of 3000 missed" }
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let milliseconds = |duration: Duration| duration.as_secs_f64() * 1e3;
        write!(
            f,
            "{:>10} {:>6} {:>8.1} ms {:>8.1} ms {:>7.3} ms {:>7.3} ms {:>10.0} × {:>8.1} MiB",
            self.keys,
            self.pages,
            milliseconds(self.full.wall),
            milliseconds(self.full.cpu),
            milliseconds(self.poll.wall),
            milliseconds(self.poll.cpu),
            self.ratio(),
            self.grown_bytes as f64 / (1 << 20) as f64,
        )
    }
}

fn now() -> (Instant, Duration) {
    let cpu = clock_gettime(ClockId::ThreadCPUTime);
    (Instant::now(), Duration::new(cpu.tv_sec.unsigned_abs(), u32::try_from(cpu.tv_nsec).unwrap()))
}

fn since((wall, cpu): (Instant, Duration)) -> Cost {
    let (wall_now, cpu_now) = now();
    Cost { wall: wall_now - wall, cpu: cpu_now - cpu }
}

/// Of the whole process: the server's pages are in it, and are dropped as well.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
}
