//! Live databases, read as plain files with no lock and no connection.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::domain::litestream::Txid;
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabaseLook, DatabasePosture};
use crate::domain::reason::Reason;
use crate::domain::sqlite::WalPosition;
use crate::domain::target::{DatabaseFiles, TargetName};

/// A change that a watcher saw of one database.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalUpdate {
    pub target: TargetName,
    pub look: Result<DatabaseLook, Reason>,
    /// Present when the sweep (or the first look) read it.
    pub posture: Option<DatabasePosture>,
    /// There are no events to be trusted for it (NFS, FUSE, overlay, too many watches): it is read in turn instead.
    pub polled: bool,
}

/// Does the work of the watch, which may wait for a disk, beside all that is asynchronous. One that looks at memory may be a
/// task among others, and shares the agent's clock then.
pub type WatchRunner = fn(BoxFuture<'static, ()>) -> std::io::Result<()>;

/// All databases of one agent, watched by events where the filesystem has them. Blocking: it lives on its own thread.
pub trait DatabaseWatch: Send {
    /// Who reads single pages of these databases; `None` where that cannot be done.
    fn pages(&self) -> Option<Arc<dyn PageReader>> {
        None
    }

    /// Replaces what is watched; the counters of targets that stay are kept.
    fn set_targets(&mut self, targets: Vec<(TargetName, Arc<DatabaseFiles>)>);

    /// Looks at the databases that changed since the last poll (and at new ones). An idle database costs nothing.
    fn poll(&mut self, now: Moment) -> Vec<LocalUpdate>;

    /// Looks at the next `count` databases in turn, events or not, with their posture.
    fn sweep(&mut self, now: Moment, count: usize) -> Vec<LocalUpdate>;

    /// Looks at one database now. `None` when it is not watched, or is being written at this very moment.
    fn look(&mut self, target: &TargetName, now: Moment) -> Option<LocalUpdate>;

    /// The newest TXID of which Litestream v0.5 has written a file beside a database. `None` where none shows.
    fn staged(&self, _: &TargetName) -> Option<Txid> {
        None
    }
}

/// The live database, read as plain files, with no lock and no connection. Blocking.
pub trait LiveDatabase: Send + Sync {
    /// Where it is.
    fn position(&self) -> Result<LivePosition, Reason>;

    /// Its pages as they were at a position of its WAL, or as they are now. The error says why that cannot be known.
    fn image(&self, at: Option<LiveTarget>) -> Result<LiveImage, Reason>;
}

/// Reads single pages of live databases as plain files, with no lock and no connection. Blocking.
pub trait PageReader: Send + Sync {
    /// The pages of these numbers, in this order, as they were at a position of the WAL, or as they are in the file of a
    /// database that has none. The error says why that cannot be known.
    fn pages(&self, files: &DatabaseFiles, numbers: &[u32], at: &LiveTarget) -> Result<LivePages, Reason>;
}

/// Single pages of a live database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePages {
    pub page_size: u32,
    pub pages: Vec<Bytes>,
    /// They are of the position that was asked for; otherwise of the database file, of which no position is known.
    pub positioned: bool,
}

/// Where a live database is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePosition {
    /// The committed end of its WAL; `None` when it has none.
    pub position: Option<WalPosition>,
    pub last_commit: Option<Timestamp>,
}

/// A position and how many pages the database has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveTarget {
    pub position: WalPosition,
    pub pages: u32,
}

/// The pages of a live database, as one hash each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveImage {
    pub page_size: u32,
    pub pages: Vec<u64>,
    /// The position whose image it is; `None` for the database file of which no position is known.
    pub position: Option<WalPosition>,
}
