//! Starts the real programs that the tests talk to, from where `tests/lab/install` puts them.
//!
//! Every process listens on a loopback port of its own, writes its output to a file and is killed when dropped.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of the lab")]
#![allow(clippy::unwrap_used, reason = "a lab that does not start is a failed test")]

pub mod agent;
pub mod alertmanager;
#[path = "../support/certificates.rs"]
pub mod certificates;
pub mod clock;
pub mod http;
pub mod litestream;
pub mod node_exporter;
#[path = "../support/port.rs"]
mod port;
pub mod prometheus;
pub mod recorder;
pub mod s3;
pub mod writer;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use port::free_port;
use rustix::process::{Pid, Signal, kill_process};

/// How long [`wait_for`] waits. Nothing asserts how long things take; this only ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with the real programs.
pub struct Lab {
    root: PathBuf,
}

impl Lab {
    /// `STREAMGAUGE_LAB`, else `target/lab`. A test that cannot find it fails: one that is skipped would look as if it
    /// had passed.
    pub fn find() -> Self {
        let named = std::env::var_os("STREAMGAUGE_LAB").map(PathBuf::from);
        let root = named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"));
        let wanted = ["litestream/0.5.17/litestream", "prometheus-3/usr/bin/prometheus", "py/bin/moto_server"];
        if let Some(missing) = wanted.iter().find(|wanted| !root.join(wanted).exists()) {
            panic!(
                "no {missing} in {}: run tests/lab/install, or cargo test --lib, which needs none of it",
                root.display()
            );
        }
        Self { root }
    }

    /// A program by its path in the lab.
    pub fn program(&self, path: impl AsRef<Path>) -> Command {
        command(self.path(path))
    }

    /// Where something of the lab is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }
}

/// A command that does not depend on this machine: on those of its settings that would change what the programs do, and
/// on how full its disk is, which a page would show and somebody be told of.
pub fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    // Litestream's S3 client dies at start with the first of these; the others point at somebody's real account.
    for name in ["AWS_CA_BUNDLE", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        command.env_remove(name);
    }
    command.env("STREAMGAUGE__OBJECTIVES__DISK_USED_PERCENT", "100");
    command
}

/// A running program whose output goes to a file.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub fn spawn(command: &mut Command, log: PathBuf) -> Self {
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        let out = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        Self { child, log }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// The lines that contain `text`.
    pub fn log_lines(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Stops it where it stands, as `kill -STOP`.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.pid() as i32).unwrap(), signal).unwrap();
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        wait_for("the process to end", || self.child.try_wait().unwrap().is_some());
        self.child.wait().unwrap()
    }

    /// Waits until it has ended by itself; `None` when it does not.
    pub fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        wait(patience, || !self.is_running());
        self.child.try_wait().unwrap()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until the address answers a connection; panics with the log when the program ends instead.
    pub fn wait_until_listening(&mut self, address: &str) {
        let start = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            assert!(self.is_running() && start.elapsed() < PATIENCE, "nothing listens on {address}: {}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Polls until `condition` holds; panics when it never does.
#[track_caller]
pub fn wait_for(what: &str, condition: impl FnMut() -> bool) {
    assert!(wait(PATIENCE, condition), "waited in vain for {what}");
}

/// Polls until `condition` holds or the time is over; says whether it held.
pub fn wait(patience: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() >= patience {
            return false;
        }
        thread::sleep(Duration::from_millis(50));
    }
}
