//! `streamgauge demo`: a database that is written and replicated in a temporary directory, for the agent to watch.
//!
//! Writer and replicator are a child process, `streamgauge demo-peer`: the agent opens and closes `-shm` with plain
//! descriptors, and closing one drops the locks that SQLite holds on that file in the same process.

pub mod fault;
pub mod ltx_writer;
pub mod peer;
pub mod replicator;
pub mod wal;

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

pub use self::fault::{FAULTS, Fault};
pub use self::peer::{PeerArgs, peer_main};
use self::replicator::{RAW_RETENTION, SNAPSHOT_INTERVAL, SNAPSHOT_RETENTION};
use crate::domain::reason::{Reason, ReasonKind};

/// The hidden subcommand that the child is started with.
pub const PEER_COMMAND: &str = "demo-peer";

const DATABASE: &str = "app.db";
const METADATA: &str = ".app.db-litestream";
const REPLICA: &str = "replica";

/// The child has to have the database and its first files ready within this.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running demo. Dropping it ends the child and removes the directory if it was new.
pub struct Demo {
    directory: PathBuf,
    created: bool,
    peer: Child,
}

impl Demo {
    /// Starts writer and replicator in `directory`, which is created, and waits for the first files.
    /// `fault` is a name of [`FAULTS`] and after how many seconds.
    pub fn start(directory: PathBuf, fault: Option<(&str, u64)>) -> Result<Self, Reason> {
        let program = std::env::current_exe().map_err(|error| Reason::from(error).context("find own program"))?;
        Self::start_program(&program, directory, fault)
    }

    /// As [`Demo::start`], with the `streamgauge` program named.
    pub fn start_program(program: &Path, directory: PathBuf, fault: Option<(&str, u64)>) -> Result<Self, Reason> {
        let created = !directory.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Reason::from(error).context(format!("create {}", directory.display())))?;
        if directory.join(DATABASE).exists() {
            let message = format!("create {}: it exists already", directory.join(DATABASE).display());
            return Err(Reason::new(ReasonKind::Misconfigured, message).with_hint("name an empty directory"));
        }
        let mut command = Command::new(program);
        command.arg(PEER_COMMAND).arg("--directory").arg(&directory);
        if let Some((name, after)) = fault {
            command.args(["--fault", name, "--fault-after", &after.to_string()]);
        }
        let mut peer = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Reason::from(error).context("start demo peer"))?;
        let stdout = peer.stdout.take();
        // From here on, dropping ends the child.
        let demo = Self { directory, created, peer };
        wait_until_ready(stdout)?;
        Ok(demo)
    }

    /// The database that is written and replicated.
    pub fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// The directory replica.
    pub fn replica(&self) -> PathBuf {
        self.directory.join(REPLICA)
    }

    /// A place for the agent's own state.
    pub fn storage(&self) -> PathBuf {
        self.directory.join("streamgauge")
    }

    /// The process that writes and replicates.
    pub fn peer_id(&self) -> u32 {
        self.peer.id()
    }

    /// A `litestream.yml` that says what the replicator does.
    pub fn litestream_yml(&self) -> String {
        let (database, replica) = (self.database(), self.replica());
        format!(
            "# What the demo's replicator does, in Litestream's words.\n\
             snapshot: {{interval: {}s, retention: {}s}}\n\
             l0-retention: {}s\n\
             dbs:\n  - path: {}\n    replica: {{type: file, path: {}, sync-interval: 1s}}\n",
            SNAPSHOT_INTERVAL.as_secs(),
            SNAPSHOT_RETENTION.as_secs(),
            RAW_RETENTION.as_secs(),
            database.display(),
            replica.display(),
        )
    }

    /// Ends the child after a last round of replication, and waits for it.
    pub fn stop(&mut self) -> Result<(), Reason> {
        drop(self.peer.stdin.take());
        let status = self.peer.wait().map_err(|error| Reason::from(error).context("stop demo peer"))?;
        if status.success() {
            return Ok(());
        }
        Err(Reason::new(ReasonKind::Failed, format!("stop demo peer: {status}")))
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Best effort: the child also ends by itself, and the system clears its temporary directory.
        let _ = self.peer.kill();
        let _ = self.peer.wait();
        if self.created {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// Waits for the child's first line, then passes the others on to the log.
fn wait_until_ready(stdout: Option<ChildStdout>) -> Result<(), Reason> {
    let (first, ready) = mpsc::channel();
    thread::spawn(move || {
        let mut lines = stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines()).map_while(Result::ok);
        if let Some(line) = lines.next() {
            // Nobody waits any more after the timeout.
            let _ = first.send(line);
        }
        lines.for_each(|line| tracing::info!("demo peer: {line}"));
    });
    match ready.recv_timeout(START_TIMEOUT) {
        Ok(line) if line == peer::READY => Ok(()),
        Ok(line) => Err(Reason::new(ReasonKind::Failed, format!("start demo peer: {line}"))),
        Err(error) => Err(Reason::new(ReasonKind::Failed, format!("start demo peer: {error}"))),
    }
}
