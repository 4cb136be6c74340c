//! Observations of a target, with the moment of each.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::litestream::Txid;
use super::moment::Moment;
use super::replacement::Replacement;
use super::sqlite::WalPosition;

/// The readings of a database's files that are cheap enough to be taken after each commit.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabaseLook {
    /// When the position was sampled; everything committed before it is inside the position.
    pub at: Moment,
    /// Size of the database file.
    pub size_bytes: u64,
    /// Size of the `-wal` file, which is its high-water mark and not what is committed in it; `None` when there is none.
    pub wal_size_bytes: Option<u64>,
    /// Bytes in a page (512 to 65536).
    pub page_size: u32,
    pub journal: Journal,
    /// When the last commit was made, if one was seen or the files can date one: `-wal`'s mtime, good to about 10 ms.
    pub last_commit: Option<Timestamp>,
    pub counters: Counters,
    /// Whether its file is the one that the WAL belongs to.
    pub replacement: Replacement,
}

/// How the database keeps its journal, and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Journal {
    /// Write-ahead log with content that can be positioned.
    Wal(WalState),
    /// WAL mode, and no `-wal` with content: nobody has the database open, or it was just checkpointed and truncated.
    /// `change_counter` is the header's; it does not count commits in WAL mode.
    WalAbsent { change_counter: u32 },
    /// A rollback journal: Litestream cannot replicate this. The header's change counter counts commits exactly.
    Rollback { change_counter: u32 },
}

/// The write-ahead log as the wal-index (or, without one, a scan of the log) describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalState {
    /// The committed end.
    pub position: WalPosition,
    /// Committed frames (`mxFrame`).
    pub frames: u32,
    /// Frames already copied into the database file (`nBackfill`); `None` when found by a scan.
    pub backfilled_frames: Option<u32>,
    /// The lowest frame that a reader still needs (smallest used read mark above 0), which is where checkpoints stop.
    pub oldest_reader_frame: Option<u32>,
    pub source: WalSource,
}

/// Where the state of a WAL was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WalSource {
    /// The first 136 bytes of `-shm`, both copies equal and the checksum right.
    WalIndex,
    /// A scan of the `-wal` file, because there is no `-shm` (exclusive locking mode).
    Scan,
}

/// Counters that only grow while the agent runs, accumulated from SQLite's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Counters {
    /// Write transactions committed since the agent first saw the database. Litestream's own writes are in it.
    pub commits: u64,
    /// Some commits between two looks may be missing from `commits`.
    pub commits_lower_bound: bool,
    /// How often commits may have been missed: two looks with equal `commits` and `doubts` saw the same content.
    #[serde(skip)]
    pub doubts: u64,
    /// How often the WAL began anew, with a new salt.
    pub wal_resets: u64,
    /// Bytes of WAL frames committed.
    pub written_bytes: u64,
    /// Some frames between two looks may be missing from `written_bytes`.
    pub written_bytes_lower_bound: bool,
}

/// Facts that are slow to read or rarely change: read by the sweep, not after each commit.
#[derive(Clone, Debug, PartialEq)]
pub struct DatabasePosture {
    pub at: Moment,
    /// Permission bits and owner of the database, `-wal`, `-shm` and the directory that holds them.
    // Most databases have the same ones, and share them.
    pub modes: Arc<[FileMode]>,
    /// Whether others can enter every directory above the database; `None` where that does not show.
    pub reachable: Option<bool>,
    /// The filesystem that holds the database.
    pub filesystem: Option<Filesystem>,
    /// The one that holds Litestream's metadata directory, where that is another one.
    pub staging_filesystem: Option<Box<Filesystem>>,
    /// Litestream's metadata directory, when there is one.
    pub staging: Option<Arc<Staging>>,
    /// The process that holds Litestream's read lock, seen with F_GETLK and without taking a lock. Any process that has
    /// the database open holds one, so this names a candidate and proves nothing.
    pub lock_holder_pid: Option<u32>,
    /// Whether any process, this one's namespace or not, has the database open in WAL mode; `None` where locks do not
    /// show, as on network filesystems.
    pub open: Option<bool>,
    /// A Litestream among the processes of this host.
    pub litestream: Sighting,
}

/// Whether a process `litestream replicate` shows in the process table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sighting {
    /// It has the database open.
    Attached(u32),
    /// It runs; on what it works does not show.
    Running(u32),
    /// It runs, and does not have the database open.
    Elsewhere(u32),
    /// The one that has it open, or may have, was stopped (SIGSTOP) and does nothing.
    Stopped(u32),
    /// There is none, and there would be if it ran on this host: all its processes show, or one did show before.
    Gone,
    /// Not all processes show here.
    #[default]
    Unknown,
}

/// Permissions and owner of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileMode {
    /// Which file it is.
    pub file: FileRole,
    /// The permission bits as a number: 384 is `0600`.
    pub mode: u32,
    /// The user that owns it, as a number.
    pub uid: u32,
    /// The group that it belongs to, as a number.
    pub gid: u32,
}

words! {
    /// What a file is to a database: the closed set of the `file` label.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum FileRole {
        /// The database file.
        Database = "database",
        /// Its `-wal`.
        Wal = "wal",
        /// Its `-shm`.
        Shm = "shm",
        /// The directory that holds them.
        Directory = "directory",
    }
}

/// The space of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Filesystem {
    /// Size of the filesystem.
    pub size_bytes: u64,
    /// Space that is free to unprivileged processes.
    pub avail_bytes: u64,
    /// The space that files take; with the available space it is less than the size if some is reserved.
    pub used_bytes: u64,
}

/// Litestream's metadata directory: what it has staged and how far it claims to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Staging {
    /// All files in it.
    pub bytes: u64,
    pub position: StagedPosition,
}

/// How far Litestream's local state says it is. A claim, not proof.
#[derive(Clone, Debug, PartialEq)]
pub enum StagedPosition {
    /// v0.5: level-0 files, oldest first, at most the newest few hundred.
    Ltx(Vec<StagedLtx>),
    /// v0.3: the current generation and the indexes of its shadow WAL.
    Shadow { generation: String, segments: Vec<ShadowWal> },
    /// The directory is there and holds neither.
    Empty,
}

impl StagedPosition {
    /// The newest TXID that Litestream wrote here (v0.5).
    pub fn txid(&self) -> Option<Txid> {
        match self {
            Self::Ltx(files) => files.last().map(|file| file.txid),
            Self::Shadow { .. } | Self::Empty => None,
        }
    }
}

/// One local level-0 file of v0.5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagedLtx {
    pub txid: Txid,
    /// Where it ends in the WAL.
    pub end: WalPosition,
    /// Bytes of WAL it consumed.
    pub wal_bytes: u64,
    pub timestamp: Timestamp,
}

/// One shadow WAL file of v0.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShadowWal {
    pub index: u32,
    /// Its salts and its size as an end.
    pub end: WalPosition,
}
