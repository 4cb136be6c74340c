//! The process beside the agent in a demo: a writer, a replicator, and a fault when its time has come.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use streamgauge_testkit::orders;
use streamgauge_testkit::replicator::{DATABASE, Replicator};

use super::fault::{self, FAULTS, Fault};
use crate::domain::reason::Reason;
use crate::infrastructure::clock;

/// Between two transactions of the writer.
pub const STEP: Duration = Duration::from_millis(250);
/// The replicator looks once in so many steps: Litestream's default sync interval.
const STEPS_PER_SYNC: u32 = 4;
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
    /// Milliseconds after which the fault ends.
    #[arg(long)]
    pub fault_for_ms: Option<u64>,
}

/// Runs until standard input ends, which it does when the parent dies, however it dies.
pub fn peer_main(args: &PeerArgs) -> Result<(), Reason> {
    let parent = parent_gone();
    let mut peer = Peer::open(&args.directory)?;
    let mut fault = FAULTS.iter().find(|fault| args.fault.as_deref() == Some(fault.name));
    let due = clock::monotonic() + Duration::from_millis(args.fault_after_ms);
    let mut end = None;
    peer.replicator.tick(now())?;
    say(READY);
    while parent.recv_timeout(STEP) == Err(RecvTimeoutError::Timeout) {
        if let Some(due_now) = fault.filter(|_| clock::monotonic() >= due) {
            match peer.suffer(due_now) {
                Ok(None) => {}
                Ok(Some(done)) => {
                    say(&format!("fault: {done}"));
                    fault = None;
                    end = args.fault_for_ms.map(|lasts| clock::monotonic() + Duration::from_millis(lasts));
                }
                Err(reason) => say(&format!("fault: {reason}")),
            }
        }
        if end.take_if(|end| clock::monotonic() >= *end).is_some() {
            let ended = peer.recover().map_or_else(|reason| reason.to_string(), |()| "it has ended".to_owned());
            say(&format!("fault: {ended}"));
        }
        if let Err(reason) = peer.step(now()) {
            say(&reason.to_string());
        }
    }
    Ok(peer.replicator.tick(now())?)
}

/// A database, who writes it, and who replicates it.
pub struct Peer {
    pub replicator: Replicator,
    writer: Connection,
    /// The writer is at work.
    pub(super) writes: bool,
    steps: u32,
}

impl Peer {
    /// Creates the database in an empty directory. Nothing is written or replicated yet.
    pub fn open(directory: &Path) -> Result<Self, Reason> {
        let replicator = Replicator::create(directory)?;
        Ok(Self { replicator, writer: orders::open(&directory.join(DATABASE))?, writes: true, steps: 0 })
    }

    /// Breaks what the fault breaks and says what was done; `None` when there is nothing to break yet.
    pub fn suffer(&mut self, fault: &Fault) -> Result<Option<String>, Reason> {
        (fault.apply)(self)
    }

    /// Ends every fault, as whoever repairs it: what is gone comes back, and all works again.
    pub fn recover(&mut self) -> Result<(), Reason> {
        fault::end(self)
    }

    /// What happens in a [`STEP`]: a transaction, and in one of a few a round of replication. `now`: milliseconds since 1970.
    pub fn step(&mut self, now: u64) -> Result<(), Reason> {
        let written = if self.writes { orders::write(&self.writer) } else { Ok(()) };
        self.steps = self.steps.wrapping_add(1);
        if self.steps.is_multiple_of(STEPS_PER_SYNC) {
            self.replicator.tick(now)?;
        }
        Ok(written?)
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
