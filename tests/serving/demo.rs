//! The demo: what it promises about each fault, and that nothing of it is left behind.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use streamgauge::delivery::demo::FAULTS;

use super::lab::agent::Agent;
use super::lab::{Process, command, wait_for};
use super::told;

const APP: &[(&str, &str)] = &[("database", "app")];

/// A demo whose temporary directory is below `home`.
fn demo(home: &Path, fault: Option<&str>) -> Agent {
    demo_with(home, fault, &[])
}

/// As [`demo`], with more arguments.
fn demo_with(home: &Path, fault: Option<&str>, arguments: &[&str]) -> Agent {
    let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
    // As a shell starts it: Ctrl-C is for all processes of the group.
    command.env("TMPDIR", home).process_group(0).args(["demo", "--web.listen-address=127.0.0.1:0"]).args(arguments);
    if let Some(fault) = fault {
        command.args(["--fault", fault, "--fault-after", "3s"]);
    }
    let name = fault.unwrap_or("none");
    let mut process = Process::spawn(&mut command, home.join(format!("{name}.log")));
    wait_for("the greeting", || {
        assert!(process.is_running(), "the demo ended: {}", process.log());
        process.log().contains("stop with Ctrl-C")
    });
    let log = process.log();
    let after = |text: &str| log.split_once(text).unwrap().1.split_whitespace().next().unwrap().to_owned();
    let address = after("metrics   http://").strip_suffix("/metrics").unwrap().to_owned();
    Agent { process, address, config: PathBuf::from(after("check --config.file ")) }
}

/// The processes that this one started.
fn children(pid: u32) -> Vec<u32> {
    let stat = |pid: u32| fs::read_to_string(format!("/proc/{pid}/stat")).ok();
    let parent = |stat: String| stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    all.filter(|child| stat(*child).and_then(parent) == Some(pid)).collect()
}

/// It is gone, or dead and not yet collected by whoever inherited it.
fn ended(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
        || !Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn nothing_is_left_of_a_demo() {
    let home = tempfile::tempdir().unwrap();
    let mut agent = demo(home.path(), None);
    let directory = agent.config.parent().unwrap().to_owned();
    agent.wait_until_ready();
    wait_for("lag near zero", || agent.metric("streamgauge_replica_lag_seconds", APP).is_some_and(|lag| lag < 5.0));
    let [peer] = children(agent.process.pid())[..] else { panic!("one child") };
    assert!(directory.exists() && !ended(peer));
    let group = Pid::from_raw(agent.process.pid() as i32).unwrap();
    kill_process_group(group, Signal::INT).unwrap();
    let status = agent.process.ended(Duration::from_secs(30)).unwrap();
    assert!(status.success(), "{status}: {}", agent.process.log());
    assert!(!directory.exists() && ended(peer), "{}", agent.process.log());

    let agent = demo(home.path(), None);
    let [peer] = children(agent.process.pid())[..] else { panic!("one child") };
    agent.process.signal(Signal::KILL);
    wait_for("the child of a killed demo to end", || ended(peer));
}

/// All at once, because most of the time each only waits for its fault.
#[test]
fn each_fault_is_noticed_as_promised() {
    let home = tempfile::tempdir().unwrap();
    let demos: Vec<_> = FAULTS.iter().map(|fault| (fault.name, demo(home.path(), Some(fault.name)))).collect();
    for (fault, mut agent) in demos {
        noticed(fault, &agent);
        assert!(agent.process.stop().success(), "{fault}: {}", agent.process.log());
    }
}

#[test]
fn a_fault_may_end_and_the_log_tells_both() {
    let home = tempfile::tempdir().unwrap();
    let mut agent = demo_with(home.path(), Some("upload"), &["--fault-for=25s"]);
    let told = |words: &str| agent.process.log_lines(words);
    wait_for("the fault", || told("\"replica is bad\" database=app replica=file check=ReplicationLag") == 1);
    wait_for("its end", || told("\"replica is well again\" database=app replica=file check=ReplicationLag") == 1);
    assert_eq!((told("level=info message=started"), told("level=warn")), (1, 1), "{}", agent.process.log());
    assert!(agent.process.stop().success());
}

fn noticed(fault: &str, agent: &Agent) {
    let replica = |name: &str| agent.metric(&format!("streamgauge_replica_{name}"), APP);
    let lag_grows = || {
        let lag = replica("lag_seconds");
        wait_for("lag to grow", || replica("lag_seconds") > lag && replica("lag_seconds") > Some(5.0));
    };
    let check = |expected: i32| {
        let config = agent.config.display().to_string();
        let ask = || told(&["check", "--config.file", &config, "--wait", "2s"]);
        wait_for(&format!("{fault}: exit code {expected} of a check"), || ask().0 == expected);
    };
    let damaged = || {
        wait_for("the damage", || replica("up") == Some(0.0));
        let reason = agent.report()["databases"][0]["replicas"][0]["reason"].clone();
        assert_eq!(reason["kind"], "corrupt", "{reason}");
        assert!(reason["message"].as_str().unwrap().starts_with("read ltx/"), "{reason}");
        let found = ["corrupt", "truncated"].map(|kind| [APP, &[("finding", kind)]].concat());
        let found = || found.iter().filter_map(|labels| agent.metric("streamgauge_replica_corrupt_objects", labels));
        wait_for("the damage to be told by its object", || found().sum::<f64>() >= 1.0);
        lag_grows();
        check(2);
    };
    match fault {
        "stall" => {
            lag_grows();
            assert!(replica("unreplicated_bytes") > Some(0.0));
            assert_eq!(replica("up"), Some(1.0));
            check(2);
        }
        "upload" => {
            lag_grows();
            assert!(agent.metric("streamgauge_litestream_txid_claim", APP) > replica("txid"));
            check(2);
        }
        "gap" => {
            wait_for("the gap", || replica("gaps") == Some(1.0));
            lag_grows();
            check(2);
        }
        "corrupt" | "truncate" => damaged(),
        "delete-snapshot" | "empty" => {
            wait_for("nothing to be restorable", || replica("restorable") == Some(0.0));
            let new = replica("txid");
            wait_for("new files", || replica("txid") > new);
            check(2);
        }
        "unreadable" => {
            wait_for("the loss", || replica("up") == Some(0.0));
            let (lag, verified) = (replica("lag_seconds"), replica("verified_timestamp_seconds"));
            let report = agent.metric("streamgauge_report_timestamp_seconds", &[]);
            wait_for("a newer report", || agent.metric("streamgauge_report_timestamp_seconds", &[]) > report);
            assert_eq!((replica("lag_seconds"), replica("verified_timestamp_seconds")), (lag, verified));
            check(3);
        }
        "idle" => {
            let commits = || agent.metric("streamgauge_database_commits_total", APP);
            wait_for("the writer to have stopped", || {
                let before = commits();
                std::thread::sleep(Duration::from_secs(2));
                commits() == before
            });
            wait_for("lag to end", || replica("lag_seconds") == Some(0.0));
            check(0);
        }
        other => panic!("no test says how {other} is noticed"),
    }
}
