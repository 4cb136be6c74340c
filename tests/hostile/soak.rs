//! Everything at once, for as long as one likes, beside two hundred databases that are well: stores that lie, databases that
//! are none, replicas of garbage, a configuration that comes and goes, and clients that only want to be in the way.
//!
//! `STREAMGAUGE_SOAK_MINUTES=60 cargo test --release --test hostile -- --ignored --nocapture an_hour`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::lab::agent::Agent;
use super::lab::{Lab, command, http, wait_for};
use super::server::Liar;
use super::stores::{HOSTILE, replica, watched};

const HEALTHY: usize = 200;

/// Litestream deletes as fast as it writes after a quarter of an hour, and the agent learns of it every five minutes:
/// what grows after that is the agent.
const STEADY: &str = "snapshot: {interval: 5m, retention: 10m}\nl0-retention: 1m\n";

/// Commits a row in one database after the other, each every ten seconds.
const WRITER: &str = r#"
import os, sqlite3, sys, time
os.umask(0o077)
count = int(sys.argv[2])
all = []
for number in range(count):
    db = sqlite3.connect(f"{sys.argv[1]}/t{number:03}.db", isolation_level=None, timeout=30)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, b)")
    all.append(db)
print("ready", flush=True)
while True:
    for db in all:
        db.execute("INSERT INTO t(b) VALUES (hex(randomblob(50)))")
        time.sleep(10 / count)
"#;

/// Files that are called databases, and replicas that hold what no Litestream wrote.
fn garbage(home: &Path) -> String {
    let mut toml = String::new();
    let mut entry = |name: &str, make: &dyn Fn(&Path)| {
        let path = home.join(name);
        make(&path);
        let replica = home.join(format!("{name}-replica/ltx/0"));
        fs::create_dir_all(&replica).unwrap();
        for name in [
            "0000000000000001-0000000000000001.ltx",
            "0000000000000002-ffffffffffffffff.ltx",
            "ffffffffffffffff-0000000000000001.ltx",
            "\u{1b}[2J.ltx",
        ] {
            fs::write(replica.join(name), name.repeat(9)).unwrap();
        }
        let url = format!("file://{}", home.join(format!("{name}-replica")).display());
        writeln!(toml, "[[database]]\nname = \"bad-{name}\"\npath = {path:?}\n[[database.replica]]\nurl = {url:?}")
            .unwrap();
    };
    entry("empty", &|path| fs::write(path, "").unwrap());
    entry("noise", &|path| fs::write(path, [0xa5; 9000]).unwrap());
    entry("folder", &|path| fs::create_dir(path).unwrap());
    entry("link", &|path| std::os::unix::fs::symlink("/etc/passwd", path).unwrap());
    entry("pipe", &|path| assert!(command("mkfifo").arg(path).status().unwrap().success()));
    entry("gone", &|_| {});
    entry("sparse", &|path| {
        let file = fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    });
    toml
}

/// Whoever wants to be in the way, until it is over.
fn strangers(address: &str, over: &Arc<AtomicBool>) -> Vec<thread::JoinHandle<()>> {
    let one = |work: fn(&str)| {
        let (address, over) = (address.to_owned(), Arc::clone(over));
        thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                work(&address);
            }
        })
    };
    let silent = |address: &str| {
        let held: Vec<_> = (0..500).filter_map(|_| TcpStream::connect(address).ok()).collect();
        thread::sleep(Duration::from_secs(5));
        drop(held);
    };
    let chatty = |address: &str| {
        let mut held: Vec<_> = (0..64).filter_map(|_| TcpStream::connect(address).ok()).collect();
        for stream in &mut held {
            let _ = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = stream.read(&mut [0; 256]);
        }
        thread::sleep(Duration::from_secs(2));
    };
    let reloading = |address: &str| {
        let _ = TcpStream::connect(address).and_then(|mut stream| {
            stream.write_all(
                b"POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            )
        });
        thread::sleep(Duration::from_millis(20));
    };
    vec![one(silent), one(chatty), one(reloading)]
}

/// Bytes of memory that only the process itself uses: what of its own file is read in does not count.
fn anonymous_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// The second `litestream.yml` is a pipe, empty, broken or well, in turn.
fn turn(path: &Path, good: &str, number: u64) {
    let _ = fs::remove_file(path);
    match number % 4 {
        0 => fs::write(path, good).unwrap(),
        1 => fs::write(path, "").unwrap(),
        2 => assert!(command("mkfifo").arg(path).status().unwrap().success()),
        _ => fs::write(path, "dbs: [{path: '${").unwrap(),
    }
}

#[test]
#[ignore = "takes as long as STREAMGAUGE_SOAK_MINUTES says"]
#[allow(clippy::print_stderr, reason = "it says how far it is and what it measured")]
fn an_hour_of_everything_at_once_harms_no_database_that_is_well() {
    let lab = Lab::find();
    let minutes = std::env::var("STREAMGAUGE_SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    fs::create_dir(home.join("tenants")).unwrap();
    let mut writer = lab.program("py/bin/python");
    writer.args(["-c", WRITER]).arg(home.join("tenants")).arg(HEALTHY.to_string()).stdout(Stdio::piped());
    let mut writer = writer.spawn().unwrap();
    writer.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    let yaml = format!(
        "{STEADY}dbs:\n  - {{dir: {0}/tenants, pattern: '*.db', replica: {{type: file, path: {0}/replicas}}}}\n",
        home.display()
    );
    let _litestream = lab.replicate("0.5.17", home, &yaml);

    let folder = home.join("bucket");
    fs::create_dir(home.join("model")).unwrap();
    replica(&home.join("model"), &folder);
    let servers: Vec<_> = HOSTILE.iter().map(|hostile| Liar::start(folder.clone(), hostile.lie)).collect();
    let second = home.join("second.yml");
    let good = format!("dbs: [{{path: {0}/second.db, replica: {{type: file, path: {0}/second}}}}]\n", home.display());
    turn(&second, &good, 0);
    let mut toml = format!(
        "[litestream]\nconfig = [{:?}, {second:?}]\ndiscovery-interval = \"5s\"\n[replica]\ntimeout = \"3s\"\nreconcile-interval = \"5m\"\n[drill]\nenabled = false\n",
        home.join("litestream.yml")
    );
    for (hostile, server) in HOSTILE.iter().zip(&servers) {
        toml.push_str(&watched(hostile.name, server.server.port()));
    }
    toml.push_str(&garbage(home));
    let agent = Agent::start(home, &toml, &[]);
    wait_for("the healthy ones", || {
        let text = agent.get("/metrics").text();
        let known =
            |number: &usize| text.contains(&format!("streamgauge_replica_lag_seconds{{database=\"t{number:03}\""));
        (0..HEALTHY).all(|number| known(&number))
    });

    let over = Arc::new(AtomicBool::new(false));
    let strangers = strangers(&agent.address, &over);
    let (began, end) = (Instant::now(), Duration::from_secs(60 * minutes));
    let (mut scrapes, mut slow, mut wrong) = (Vec::new(), 0, BTreeMap::<String, u64>::new());
    let mut use_of = Vec::new();
    while began.elapsed() < end {
        turn(&second, &good, began.elapsed().as_secs() / 20);
        let asked = Instant::now();
        let answer = http::get(&agent.address, "/metrics", &[]).unwrap_or_else(|error| panic!("a scrape: {error}"));
        let took = asked.elapsed();
        scrapes.push(took);
        slow += u64::from(took > Duration::from_millis(250));
        let text = answer.text();
        for number in 0..HEALTHY {
            let label = format!("streamgauge_replica_lag_seconds{{database=\"t{number:03}\"");
            let lag = text
                .lines()
                .find(|line| line.starts_with(&label))
                .and_then(|line| line.rsplit(' ').next()?.parse().ok());
            if lag.is_none_or(|lag: f64| lag > 60.0) {
                *wrong.entry(format!("t{number:03} {lag:?}")).or_default() += 1;
            }
        }
        let report = agent.report();
        for alert in report["alerts"].as_array().unwrap() {
            let database = alert["labels"]["database"].as_str().unwrap_or_default();
            if alert["state"] == "firing" && database.starts_with('t') && database.len() == 4 {
                *wrong.entry(format!("{} fires for {database}", alert["labels"]["alertname"])).or_default() += 1;
            }
        }
        let process = &report["agent"]["process"];
        let number = |name: &str| process[name].as_u64().unwrap();
        use_of.push((anonymous_memory(agent.process.pid()), number("open_fds")));
        if use_of.len() % 30 == 0 {
            eprintln!("{} s: {:?}, {slow} of {} scrapes slow", began.elapsed().as_secs(), use_of.last(), scrapes.len());
        }
        thread::sleep(Duration::from_secs(2));
    }
    over.store(true, Ordering::Relaxed);
    strangers.into_iter().for_each(|stranger| stranger.join().unwrap());
    let _ = writer.kill();
    let _ = writer.wait();
    scrapes.sort();
    let third = use_of.len() / 3;
    let most = |part: &[(u64, u64)]| part.iter().fold((0, 0), |most, one| (most.0.max(one.0), most.1.max(one.1)));
    let (early, late) = (most(&use_of[third..2 * third]), most(&use_of[2 * third..]));
    eprintln!(
        "{} scrapes: median {:?}, slowest {:?}, {slow} above 250 ms; memory and descriptors at most {early:?} in the second third, \
         {late:?} in the last",
        scrapes.len(),
        scrapes[scrapes.len() / 2],
        scrapes.last()
    );
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(agent.process.log_lines("panicked"), 0);
    assert!(late.1 <= early.1 + 32, "descriptors grow: {early:?} {late:?}");
    // In a few minutes what is kept for an hour still comes together.
    let growth = if minutes >= 60 { early.0 / 10 } else { early.0 / 2 };
    assert!(late.0 <= early.0 + growth, "memory grows: {early:?} {late:?}");
    if minutes >= 60 {
        assert_eq!(slow, 0, "scrapes above 250 ms");
    }
}
