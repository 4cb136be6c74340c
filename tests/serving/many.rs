//! Very many databases.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::database;
use super::lab::agent::Agent;

const DATABASES: usize = 2_000;

/// A number of `/proc/PID/status`, in the unit that it is in there.
fn status(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let value = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    value.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
#[allow(clippy::print_stderr, reason = "a number to look at, which the machine decides")]
fn two_thousand_databases_of_one_directory_are_watched() {
    let home = tempfile::tempdir().unwrap();
    let tenants = home.path().join("tenants");
    fs::create_dir(&tenants).unwrap();
    let first = tenants.join("tenant-0000.db");
    drop(database(&first));
    let copy = |number| fs::copy(&first, tenants.join(format!("tenant-{number:04}.db"))).unwrap();
    for number in 1..DATABASES {
        copy(number);
    }
    let yaml = home.path().join("litestream.yml");
    fs::write(&yaml, format!("dbs:\n  - {{dir: {}, pattern: \"*.db\", watch: true}}\n", tenants.display())).unwrap();

    let agent = Agent::start(home.path(), &format!("[litestream]\nconfig = {yaml:?}\n"), &[]);
    agent.wait_until_ready();
    assert_eq!(samples(&agent, "streamgauge_database_up"), DATABASES);
    assert_eq!(samples(&agent, "streamgauge_database_size_bytes"), DATABASES);
    assert_eq!(agent.metric("streamgauge_databases", &[("state", "monitored")]), Some(DATABASES as f64));

    let pid = agent.process.pid();
    assert!(status(pid, "VmHWM:") < 150 << 10, "{} KiB at most", status(pid, "VmHWM:"));
    let (before, started) = (processor_seconds(pid), Instant::now());
    thread::sleep(Duration::from_secs(3));
    let share = (processor_seconds(pid) - before) / started.elapsed().as_secs_f64();
    eprintln!("{DATABASES} idle databases keep {:.1} % of a processor busy", share * 100.0);
    assert!(share < 0.5, "something spins: {share}");
}

/// User and system time together, in ticks of 10 ms since Linux 2.6.
fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    [11, 12].iter().map(|field| fields[*field].parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

fn samples(agent: &Agent, family: &str) -> usize {
    let metrics = agent.metrics();
    metrics.lines().filter(|line| line.starts_with(family) && line[family.len()..].starts_with('{')).count()
}
