//! What a scrape of 10 000 databases costs: served as it stands here (of each report what changed is rendered, once)
//! against the usual way (a registry of families that every scrape refreshes and encodes). Both in one run, on the same
//! series, so that the ratios mean something on a busy machine. Beside that, what it costs to evaluate every rule, and what
//! pages and parts of the report cost, which are made for each request.
//!
//! `cargo bench --bench scrape`; `STREAMGAUGE_BENCH_DATABASES=100` for a quick look.

#![allow(clippy::print_stdout, reason = "the numbers are its output")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use streamgauge::delivery::http::{ReloadHandle, Server};
use streamgauge::delivery::render::held::Held;
use streamgauge::delivery::render::metrics::{Exposition, Format, openmetrics};
use streamgauge::delivery::render::published::ReportCell;
use streamgauge::domain::alert::book::AlertBook;
use streamgauge::domain::alerting::Alerting;
use streamgauge::domain::assess::proof::Method;
use streamgauge::domain::assess::rates::Rates;
use streamgauge::domain::assessment::*;
use streamgauge::domain::check::{Judge, Watching};
use streamgauge::domain::litestream::{Layout, LevelKeys};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::observation::{Counters, Filesystem};
use streamgauge::domain::replacement::Replacement;
use streamgauge::domain::report::Report;
use streamgauge::domain::verdict::Verdicts;
use streamgauge::usecase::ports::Publisher;

const ROUNDS: usize = 7;
const SCRAPES: usize = 15;

type Labels = Vec<(String, String)>;
type GaugeFamily = Family<Labels, Gauge<f64, AtomicU64>>;

fn main() {
    let databases = std::env::var("STREAMGAUGE_BENCH_DATABASES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
    let mut report = report(databases);
    report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, report.generated_at);
    let exposition = openmetrics(&Arc::new(report.clone()));
    let usual = Arc::new(Usual::of(&exposition));
    let series: usize = usual.families.values().map(|(_, samples)| samples.len()).sum();
    println!("{databases} databases, {series} series, {:.1} MB", exposition.len() as f64 / 1e6);

    let shared = Arc::new(report.clone());
    let render = median(ROUNDS, || drop(openmetrics(&shared)));
    let refresh = median(ROUNDS, || drop(usual.scrape()));
    println!("\nto make one body                   median     against the usual way");
    row("once for each report, as a whole", render, refresh);
    row("families, refresh and encode", refresh, refresh);
    after_each_other(&report, || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(usual.scrape().as_bytes()).expect("compressed");
        encoder.finish().expect("compressed").len()
    });

    let now = Timestamp::from_second(1_767_225_600 + 1_000).expect("in range");
    let moment = Moment::new(now, SignedDuration::ZERO);
    let mut book = AlertBook::default();
    let evaluate = median(ROUNDS, || {
        _ = book.evaluate(&report.assessment, &report.verdicts.databases, &Alerting::default(), moment)
    });
    println!("\nevery rule on everything, {} alerts: {evaluate:.2?}", book.alerts().len());
    // What a clock that was set does to everything at once.
    let late = Moment::new(now + SignedDuration::from_hours(24), moment.mono());
    let evaluate = median(ROUNDS, || {
        _ = book.evaluate(&report.assessment, &report.verdicts.databases, &Alerting::default(), late)
    });
    println!("with {} alerts and {} dropped: {evaluate:.2?}", book.alerts().len(), book.dropped());

    let cached = runtime.block_on(serve_cached(report));
    let rendering = runtime.block_on(serve_usual(usual));
    let slow = median(SCRAPES, || scrape(rendering, ""));
    // The first one renders.
    for encoding in ["", "Accept-Encoding: gzip\r\n"] {
        scrape(cached, encoding);
    }
    let plain = median(SCRAPES, || scrape(cached, ""));
    let packed = median(SCRAPES, || scrape(cached, "Accept-Encoding: gzip\r\n"));
    println!("\none scrape over loopback           p50        against the usual way");
    row("bytes of the report", plain, slow);
    row("bytes of the report, gzip", packed, slow);
    row("families for each request", slow, slow);
    pages(&runtime, databases);
}

/// What it costs to make the bytes of a report after those of the one before, compressed as Prometheus asks for them.
fn after_each_other(report: &Report, usual: impl Fn() -> usize) {
    let compressed = median(ROUNDS, || _ = usual());
    println!("\nto make one body with gzip         median     against the usual way");
    let mut judge = Judge::new(Watching::Continuously);
    let mut part = |count: usize| {
        let mut report = report.clone();
        let all = report.assessment.databases.len();
        // Spread over all of them, as commits are.
        for number in (0..count).map(|step| (step * 7919 + 13) % all) {
            report.assessment.databases[number] = Arc::new(committed(&report.assessment.databases[number]));
        }
        report.verdicts = judge.judge(&report.assessment, report.generated_at);
        Arc::new(report)
    };
    let make = |before: Option<&Exposition>, report: &Arc<Report>| {
        let made = Arc::new(Exposition::after(before, report, &Held::default()));
        (made.pieces(Format::OpenMetrics, true).map(|piece| piece.len()).sum::<usize>(), made)
    };
    let all = part(0);
    let (length, before) = make(None, &all);
    println!("{:.2} MB instead of {:.2} MB", length as f64 / 1e6, usual() as f64 / 1e6);
    row("everything is new", median(ROUNDS, || _ = make(None, &all)), compressed);
    for (what, parts) in [("nothing changed", usize::MAX), ("1 % of the databases wrote", 100)] {
        let next = part(all.assessment.databases.len() / parts);
        row(what, median(ROUNDS, || _ = make(Some(&before), &next)), compressed);
    }
    row("families, refresh, encode and gzip", compressed, compressed);
}

/// A database after a transaction that was replicated: all that such a thing changes.
fn committed(database: &DatabaseReport) -> DatabaseReport {
    let mut database = database.clone();
    let later = |at: &mut Option<Timestamp>| *at = at.map(|at| at + SignedDuration::from_secs(15));
    if let Some(local) = database.local.as_mut().map(Arc::make_mut) {
        later(&mut local.last_commit_at);
        local.counters.commits += 1;
        local.counters.written_bytes += 8192;
        (local.wal_frames, local.txid_claim) = (local.wal_frames.map(|n| n + 2), local.txid_claim.map(|n| n + 1));
        local.wal_size_bytes = local.wal_size_bytes.map(|size| size + 8240);
        if let Some(rates) = &mut local.rates {
            rates.window_seconds += 15.0;
            rates.write_transactions_per_second *= 1.1;
            rates.written_bytes_per_second *= 1.1;
        }
    }
    for replica in &mut database.replicas {
        let instants = [&mut replica.recovery_point, &mut replica.verified_at, &mut replica.last_segment_at];
        instants.into_iter().for_each(later);
        replica.txid = replica.txid.map(|n| n + 1);
        let Some(coverage) = &mut replica.coverage else { continue };
        let coverage = Arc::make_mut(coverage);
        coverage.changes_since_snapshot = coverage.changes_since_snapshot.map(|n| n + 1);
        coverage.levels[0].objects += 1;
        coverage.levels[0].bytes += 700;
    }
    database
}

/// Pages are made for each request; what is served of a report that is rendered once is what they are measured by.
fn pages(runtime: &tokio::runtime::Runtime, databases: usize) {
    let mut report = report(databases);
    report.generated_at = Timestamp::from_second(1_767_225_600 + 1_000).expect("in range");
    report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, report.generated_at);
    let address = runtime.block_on(serve_cached(report));
    scrape(address, "");
    let cached = median(SCRAPES, || scrape(address, ""));
    println!("\none answer over loopback           p50        against a scrape of the same report");
    row("/metrics", cached, cached);
    for path in
        ["/", "/?q=00007", "/databases/tenant-00007", "/api/v1/databases?limit=100", "/api/v1/checks?status=fail"]
    {
        row(path, median(SCRAPES, || get(address, path, "")), cached);
    }
}

fn row(name: &str, time: Duration, usual: Duration) {
    println!("{name:<34} {time:<10.2?} {:.1}x", usual.as_secs_f64() / time.as_secs_f64());
}

fn median(rounds: usize, mut work: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[rounds / 2]
}

/// The same series in families of prometheus-client.
struct Usual {
    registry: Registry,
    families: BTreeMap<String, (GaugeFamily, Vec<(Labels, f64)>)>,
}

impl Usual {
    fn of(exposition: &str) -> Self {
        let mut families: BTreeMap<String, (GaugeFamily, Vec<(Labels, f64)>)> = BTreeMap::new();
        for line in exposition.lines().filter(|line| !line.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}').split("\",").filter(|label| !label.is_empty());
            let labels = labels.filter_map(|label| label.split_once("=\""));
            let labels = labels.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned())).collect();
            let (_, samples) = families.entry(name.to_owned()).or_default();
            samples.push((labels, value.parse().expect("a number")));
        }
        let mut registry = Registry::default();
        for (name, (family, _)) in &families {
            registry.register(name, "One of many", family.clone());
        }
        Self { registry, families }
    }

    fn scrape(&self) -> String {
        for (family, samples) in self.families.values() {
            for (labels, value) in samples {
                family.get_or_create_owned(labels).set(*value);
            }
        }
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &self.registry).expect("encoded");
        out
    }
}

async fn serve_cached(report: Report) -> SocketAddr {
    let server = Server::bind(&["127.0.0.1:0".to_owned()]).await.expect("loopback");
    let address = server.local_addrs()[0];
    let cell = ReportCell::default();
    cell.publish(report);
    tokio::spawn(server.serve(cell, ReloadHandle::new().0, std::future::pending()));
    address
}

async fn serve_usual(usual: Arc<Usual>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let usual = Arc::clone(&usual);
            let service = service_fn(move |_| {
                let body = Full::new(Bytes::from(usual.scrape()));
                async move { Ok::<_, Infallible>(Response::new(body)) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn scrape(address: SocketAddr, headers: &str) {
    get(address, "/metrics", &format!("Accept: application/openmetrics-text;version=1.0.0\r\n{headers}"));
}

fn get(address: SocketAddr, path: &str, headers: &str) {
    let mut stream = TcpStream::connect(address).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}\r\n").expect("sent");
    let mut buffer = vec![0; 1 << 16];
    let first = stream.read(&mut buffer).expect("read");
    assert!(buffer[..first].starts_with(b"HTTP/1.1 200 "), "{path}");
    while stream.read(&mut buffer).expect("read") > 0 {}
}

fn report(databases: usize) -> Report {
    let databases = (0..databases).map(|number| Arc::new(database(number))).collect();
    Report {
        generated_at: Timestamp::UNIX_EPOCH,
        assessment: Assessment { complete: true, databases, ..Assessment::default() },
        verdicts: Verdicts::default(),
        alerts: Vec::new(),
        alerts_dropped: 0,
        history: Default::default(),
    }
}

fn database(number: usize) -> DatabaseReport {
    let at = Timestamp::from_millisecond(1_767_225_600_000 + number as i64 * 137).expect("in range");
    let level = |level| LevelReport { level, objects: number as u64, bytes: number as u64 * 4099, newest_at: Some(at) };
    DatabaseReport {
        name: format!("tenant-{number:05}").as_str().into(),
        state: DatabaseState::Monitored,
        local: Some(Arc::new(LocalReport {
            path: format!("/var/lib/app/tenant-{number:05}.db"),
            observed_at: at,
            page_size: 4096,
            size_bytes: number as u64 * 4096,
            wal_size_bytes: Some(number as u64 * 4120 + 32),
            journal_mode_wal: true,
            wal_frames: Some(number as u32),
            wal_backfilled_frames: Some(number as u32 / 2),
            last_commit_at: Some(at),
            counters: Counters { commits: number as u64 * 31, ..Counters::default() },
            rates: Some(Rates {
                window_seconds: 600.0,
                growth_bytes_per_second: number as f64 / 7.0,
                write_transactions_per_second: number as f64 / 11.0,
                written_bytes_per_second: number as f64 * 13.7,
            }),
            wal_since: Some(at),
            filesystem: Some(FilesystemReport {
                space: Filesystem { size_bytes: 1 << 40, avail_bytes: 1 << 39, used_bytes: 1 << 39 },
                filling_bytes_per_second: Some(0.0),
            }),
            used_objective_ratio: 0.8,
            staging_bytes: Some(65_536),
            open: Some(false),
            replacement: Replacement::Closed.into(),
            txid_claim: Some(number as u64),
            ..LocalReport::default()
        })),
        rpo_seconds: 300.0,
        replicas: vec![ReplicaReport {
            name: "s3".to_owned(),
            store: "s3",
            url: format!("s3://backups/tenant-{number:05}"),
            layout: Some(Layout::V5(LevelKeys::Hex)),
            up: Some(true),
            method: Some(Method::Wal),
            recovery_point: Some(at),
            lag_seconds: Some(number as f64 / 1000.0),
            unreplicated_bytes: Some(number as u64),
            watched_since: at,
            verified_at: Some(at),
            verify_interval_seconds: 300.0,
            last_segment_at: Some(at),
            txid: Some(number as u64),
            coverage: Some(Arc::new(CoverageReport {
                restorable: true,
                restorable_since: Some(at),
                gaps: Vec::new(),
                snapshots: 2,
                newest_snapshot_at: Some(at),
                unsnapshotted_since: Some(at),
                changes_since_snapshot: Some(number as u64),
                whole: Some(true),
                expired_objects: Some(0),
                download_bytes: Some(number as u64 * 4099),
                levels: vec![level("0"), level("1"), level("9")],
            })),
            ..ReplicaReport::default()
        }],
        ..DatabaseReport::default()
    }
}
