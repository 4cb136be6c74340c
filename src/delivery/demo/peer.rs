//! The process beside the agent in a demo: a writer, a replicator, and a fault when its time has come.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use streamgauge_testkit::orders;
use streamgauge_testkit::replicator::{DATABASE, Replicator};

use super::fault::{self, FAULTS, Fault};
use crate::domain::reason::Reason;
use crate::infrastructure::clock;

/// Between two looks of the replicator: Litestream's default sync interval.
const TICK: Duration = Duration::from_secs(1);
/// Between two transactions of the writer.
const WRITE_INTERVAL: Duration = Duration::from_millis(300);
/// The line that says that the database and its first files are there.
pub(super) const READY: &str = "ready";

/// Writes and replicates a demo database until standard input ends. Started by `streamgauge demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct PeerArgs {
    /// An existing, empty directory.
    #[arg(long)]
    pub directory: PathBuf,
    /// How to break replication.
    #[arg(long, value_parser = fault::possible_values())]
    pub fault: Option<String>,
    /// Milliseconds of health before the fault.
    #[arg(long, default_value_t = 0)]
    pub fault_after_ms: u64,
}

/// Runs until standard input ends, which it does when the parent dies, however it dies.
pub fn peer_main(args: &PeerArgs) -> Result<(), Reason> {
    let parent = parent_gone();
    let mut peer = Peer::open(&args.directory)?;
    let mut fault = FAULTS.iter().find(|fault| args.fault.as_deref() == Some(fault.name));
    let due = clock::monotonic() + Duration::from_millis(args.fault_after_ms);
    peer.replicator.tick(now())?;
    peer.start_writer()?;
    say(READY);
    while parent.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if let Some(due_now) = fault.filter(|_| clock::monotonic() >= due) {
            match peer.suffer(due_now) {
                Ok(None) => {}
                Ok(Some(done)) => {
                    say(&format!("fault: {done}"));
                    fault = None;
                }
                Err(reason) => say(&format!("fault: {reason}")),
            }
        }
        if let Err(error) = peer.replicator.tick(now()) {
            say(&error.to_string());
        }
    }
    peer.stop_writer();
    Ok(peer.replicator.tick(now())?)
}

/// A database, who writes it, and who replicates it.
pub struct Peer {
    pub replicator: Replicator,
    database: PathBuf,
    writer: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Peer {
    /// Creates the database in an empty directory. Nothing is written or replicated yet.
    pub fn open(directory: &Path) -> Result<Self, Reason> {
        Ok(Self { replicator: Replicator::create(directory)?, database: directory.join(DATABASE), writer: None })
    }

    /// Breaks what the fault breaks and says what was done; `None` when there is nothing to break yet.
    pub fn suffer(&mut self, fault: &Fault) -> Result<Option<String>, Reason> {
        (fault.apply)(self)
    }

    fn start_writer(&mut self) -> Result<(), Reason> {
        let connection = orders::open(&self.database)?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            while stopped.recv_timeout(WRITE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                if let Err(error) = orders::write(&connection) {
                    say(&error.to_string());
                }
            }
        });
        self.writer = Some((stop, thread));
        Ok(())
    }

    pub(super) fn stop_writer(&mut self) {
        if let Some((stop, thread)) = self.writer.take() {
            drop(stop);
            // A writer that panicked has stopped as well.
            let _ = thread.join();
        }
    }
}

/// Disconnects when standard input ends.
fn parent_gone() -> Receiver<()> {
    let (alive, gone) = mpsc::channel();
    thread::spawn(move || {
        // An error means that nobody can be at the other end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        drop(alive);
    });
    gone
}

/// One line to the parent.
fn say(line: &str) {
    // The parent may be gone, of which standard input tells.
    let _ = writeln!(io::stdout().lock(), "{line}");
}

/// Milliseconds since 1970.
fn now() -> u64 {
    u64::try_from(clock::wall().as_millisecond()).unwrap_or_default()
}
