//! Drills that are killed: nothing stays but scratch that the next start removes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::litestream::{ACCESS_KEY, SECRET_KEY};
use crate::lab::{Lab, wait_for};
use crate::site::{Site, left};

/// A drill that waits for a server that never answers.
struct Waiting {
    parent: Child,
    worker: u32,
    _listener: TcpListener,
}

impl Waiting {
    fn start(site: &Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!(
            "s3://bucket/app?endpoint=http://{}&region=us-east-1&forcePathStyle=true",
            listener.local_addr().unwrap()
        );
        let mut command = site.command();
        command.arg(url).env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        let parent = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut worker = None;
        wait_for("the drill's process to wait for the server", || {
            worker = children(parent.id()).first().copied();
            // It has lowered its priority, so it has read its limits, too, before it connects.
            worker.is_some() && listener.set_nonblocking(true).is_ok() && listener.accept().is_ok()
        });
        Self { parent, worker: worker.unwrap(), _listener: listener }
    }

    fn worker_is_gone(&self) -> bool {
        !Path::new(&format!("/proc/{}/cmdline", self.worker)).exists() || state(self.worker) == Some('Z')
    }
}

fn children(parent: u32) -> Vec<u32> {
    let text = |entry: &fs::DirEntry| fs::read_to_string(entry.path().join("children")).unwrap_or_default();
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return Vec::new() };
    let all: String = tasks.flatten().map(|task| text(&task) + " ").collect();
    all.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

fn stat(process: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    Some(stat.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}

fn state(process: u32) -> Option<char> {
    stat(process)?[0].chars().next()
}

fn kill(process: u32) {
    let _ = kill_process(Pid::from_raw(process.cast_signed()).unwrap(), Signal::KILL);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn a_drills_process_is_small_quiet_and_private() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let mut waiting = Waiting::start(&site);
    let worker = waiting.worker;
    // proc(5): the nice value is field 19, of which the first here is field 3.
    assert_eq!(stat(worker).unwrap()[16], "19");
    let limits = fs::read_to_string(format!("/proc/{worker}/limits")).unwrap();
    let limit = |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(limit("Max core file size").contains(" 0 "), "{limits}");
    assert!(!limit("Max data size").contains("unlimited"), "{limits}");
    let command = fs::read(format!("/proc/{worker}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&command).contains("bucket"), "what is drilled is nobody's business");
    let directory = left(&site.scratch).pop().unwrap();
    assert_eq!((mode(&site.scratch), mode(&directory)), (0o700, 0o700));
    for file in left(&directory) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
    kill(waiting.parent.id());
    waiting.parent.wait().unwrap();
}

#[test]
fn a_killed_worker_is_an_inconclusive_drill() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let waiting = Waiting::start(&site);
    kill(waiting.worker);
    let output = waiting.parent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let records: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(records[0]["reason"]["message"], "the drill's process was killed", "{records}");
    assert_eq!(left(&site.scratch), Vec::<PathBuf>::new());
}

#[test]
fn a_killed_parent_takes_its_worker_along_and_the_next_start_cleans_up() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let mut waiting = Waiting::start(&site);
    kill(waiting.parent.id());
    waiting.parent.wait().unwrap();
    wait_for("the worker to end", || waiting.worker_is_gone());
    assert_eq!(left(&site.scratch).len(), 1, "nobody was left to remove it");
    assert_eq!(site.drill(&[]).result(), "passed");
}

#[test]
fn a_terminated_drill_cleans_up_itself() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    for signal in [Signal::TERM, Signal::INT] {
        let mut waiting = Waiting::start(&site);
        kill_process(Pid::from_raw(waiting.parent.id().cast_signed()).unwrap(), signal).unwrap();
        assert_eq!(waiting.parent.wait().unwrap().code(), Some(3));
        wait_for("the worker to end", || waiting.worker_is_gone());
        assert_eq!(left(&site.scratch), Vec::<PathBuf>::new());
    }
}

#[test]
fn kills_at_any_moment_leave_nothing_after_the_next_start() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("INSERT INTO t(b) VALUES (randomblob(20000000))");
    site.sync(&lab, &[]);
    for moment in 0..12 {
        let mut command = site.command();
        let mut parent = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The moments are the point here; nothing is waited for.
        thread::sleep(Duration::from_millis(40 * moment));
        let workers = children(parent.id());
        if moment % 2 == 0 {
            kill(parent.id());
        } else {
            workers.iter().for_each(|worker| kill(*worker));
        }
        parent.wait().unwrap();
        wait_for("the worker to end", || workers.iter().all(|worker| matches!(state(*worker), None | Some('Z'))));
    }
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
}
