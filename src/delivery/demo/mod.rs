//! `streamgauge demo`: a database that is written and replicated in a temporary directory, for the agent to watch.
//!
//! Writer and replicator, which are those of the tests, are a child process, `streamgauge demo-peer`: the agent opens and closes `-shm` with plain
//! descriptors, and closing one drops the locks that SQLite holds on that file in the same process.

pub mod fault;
pub mod peer;

use std::fs::{self, DirBuilder};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use streamgauge_testkit::replicator::{DATABASE, Pace, REPLICA};

pub use self::fault::{FAULTS, Fault};
pub use self::peer::{PeerArgs, peer_main};
use crate::domain::reason::{Reason, ReasonKind};

/// The hidden subcommand that the child is started with.
pub const PEER_COMMAND: &str = "demo-peer";

/// The child has to have the database and its first files ready within this.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A fault and its time.
#[derive(Clone, Copy, Debug)]
pub struct Planned<'a> {
    /// A name of [`FAULTS`].
    pub fault: &'a str,
    /// How long all is well before it.
    pub after: Duration,
    /// How long it lasts; `None`: to the end of the demo.
    pub lasts: Option<Duration>,
}

/// A running demo. Dropping it ends the child and removes the directory if it was made for it.
pub struct Demo {
    directory: PathBuf,
    temporary: bool,
    peer: Child,
}

impl Demo {
    /// Starts writer and replicator in a temporary directory and waits for their first files.
    pub fn start(fault: Option<Planned<'_>>) -> Result<Self, Reason> {
        let program = std::env::current_exe().map_err(|error| Reason::from(error).context("find own program"))?;
        let directory = std::env::temp_dir().join(format!("streamgauge-demo-{}", std::process::id()));
        // What is there already belongs to somebody else.
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| Reason::from(error).context(format!("create {}", directory.display())))?;
        Self::start_in(&program, directory, true, fault)
    }

    /// As [`Demo::start`], with the `streamgauge` program and an empty directory, which is kept unless it is temporary.
    pub fn start_in(
        program: &Path,
        directory: PathBuf,
        temporary: bool,
        fault: Option<Planned<'_>>,
    ) -> Result<Self, Reason> {
        let mut command = Command::new(program);
        command.arg(PEER_COMMAND).arg("--directory").arg(&directory);
        if let Some(Planned { fault, after, lasts }) = fault {
            command.args(["--fault", fault, "--fault-after-ms", &after.as_millis().to_string()]);
            command.args(lasts.map(|lasts| format!("--fault-for-ms={}", lasts.as_millis())));
        }
        // Ctrl-C goes to the whole group of a terminal. The child is to end in order, when its input does.
        let mut peer = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Reason::from(error).context("start demo peer"))?;
        let stdout = peer.stdout.take();
        // From here on, dropping ends the child.
        let demo = Self { directory, temporary, peer };
        configure(&demo.directory)?;
        wait_until_ready(stdout)?;
        Ok(demo)
    }

    /// The agent's configuration.
    pub fn config_file(&self) -> PathBuf {
        self.directory.join(CONFIG_FILE)
    }

    /// The database that is written and replicated.
    pub fn database(&self) -> PathBuf {
        self.directory.join(DATABASE)
    }

    /// The directory replica.
    pub fn replica(&self) -> PathBuf {
        self.directory.join(REPLICA)
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
        if self.temporary {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// The agent's configuration in the directory of a demo.
const CONFIG_FILE: &str = "streamgauge.toml";

/// Writes the agent's configuration, which it returns, and the `litestream.yml` that it names, which says what the
/// replicator does.
pub fn configure(directory: &Path) -> Result<PathBuf, Reason> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        let written = fs::write(&path, text);
        written.map_err(|error| Reason::from(error).context(format!("write {}", path.display()))).map(|()| path)
    };
    let litestream = write("litestream.yml", litestream_yml(directory))?;
    write(CONFIG_FILE, streamgauge_toml(&litestream, &directory.join("streamgauge")))
}

fn litestream_yml(directory: &Path) -> String {
    format!(
        "# What the demo's replicator does, in Litestream's words.\n\
         snapshot: {{interval: {}s, retention: {}s}}\n\
         l0-retention: {}s\n\
         dbs:\n  - path: {:?}\n    replica: {{type: file, path: {:?}, sync-interval: 1s}}\n",
        Pace::DEMO.snapshot.as_secs(),
        Pace::DEMO.snapshot_retention.as_secs(),
        Pace::DEMO.raw_retention.as_secs(),
        directory.join(DATABASE),
        directory.join(REPLICA),
    )
}

fn streamgauge_toml(litestream: &Path, storage: &Path) -> String {
    format!(
        "# Short intervals, so that one need not wait to see a fault noticed.\n\
         [litestream]\nconfig = {litestream:?}\n\n\
         [storage]\npath = {storage:?}\n\n\
         # The demo is about replication, and not about the disk that it is started on.\n\
         [objectives]\nrpo = \"15s\"\ndisk-used-percent = 100\n\n\
         # Everything, to look at.\n\
         [metrics]\nprofile = \"full\"\n\n\
         [replica]\ninterval = \"1s\"\nidle-interval = \"10s\"\nlevel-interval = \"5s\"\n\
         reconcile-interval = \"10s\"\n",
    )
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
