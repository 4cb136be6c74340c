//! Facts that are slow to read or rarely change: modes, filesystem, Litestream's directory, who holds its lock.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use rustix::fs::FileType;

use super::files::{self, CONNECTED_LOCK, Paths, lock_in_the_way};
use super::processes::Processes;
use super::staging::{Remembered, staging};
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabasePosture, FileMode, FileRole, Filesystem, Sighting};

/// Litestream keeps a read transaction open, which holds one of `READ0` to `READ4`.
const READ_LOCKS: std::ops::Range<u64> = 123..128;

/// Others may enter a directory, and open what they know to be in it.
const OTHERS_ENTER: u32 = 0o001;

/// How old what is known of the directories above may be.
const AGE_MAX: SignedDuration = SignedDuration::from_secs(15);

/// Which directories others can enter, as was seen a moment ago: databases have most of those above them in common.
#[derive(Debug, Default)]
pub(super) struct Reach {
    read_at: Option<Moment>,
    known: HashMap<PathBuf, Option<bool>>,
}

impl Reach {
    /// Whether others, who are neither the owner nor in the group, can enter the directory and all above it.
    fn of(&mut self, directory: &Path, at: Moment) -> Option<bool> {
        if self.read_at.is_none_or(|read| at.since(read) >= AGE_MAX) {
            *self = Self { read_at: Some(at), ..Self::default() };
        }
        let own = files::stat(directory).ok()??;
        let Some(above) =
            directory.parent().filter(|above| above.is_absolute() && own.file_type() != FileType::Symlink)
        else {
            return reachable(directory);
        };
        if own.mode & OTHERS_ENTER == 0 {
            return Some(false);
        }
        if let Some(known) = self.known.get(above) {
            return *known;
        }
        *self.known.entry(above.to_owned()).or_insert_with(|| reachable(above))
    }
}

/// `local`: the filesystem is this kernel's own, so that it knows all locks.
pub(super) fn posture(
    paths: &Paths,
    meta: Option<&Path>,
    local: bool,
    (processes, reach, staged): (&mut Processes, &mut Reach, &mut Remembered),
    at: Moment,
) -> DatabasePosture {
    let files: [(FileRole, &Path); 4] = [
        (FileRole::Database, &paths.database),
        (FileRole::Wal, &paths.wal),
        (FileRole::Shm, &paths.shm),
        (FileRole::Directory, paths.directory()),
    ];
    let modes = files.into_iter().filter_map(|(file, path)| mode(file, path)).collect();
    let locks = locks(&paths.shm);
    let attached = locks.iter().flat_map(|locks| &locks.pids).copied().find(|pid| processes.is_litestream(*pid));
    DatabasePosture {
        at,
        modes,
        reachable: reach.of(paths.directory(), at),
        filesystem: filesystem(paths.directory()),
        staging_filesystem: meta.filter(|meta| elsewhere(meta, paths.directory())).and_then(filesystem),
        staging: meta.and_then(|meta| staging(meta, staged, at)),
        lock_holder_pid: attached.or_else(|| locks.as_ref()?.pids.first().copied()),
        open: locks.filter(|_| local).map(|locks| locks.held),
        litestream: attached.map_or_else(|| processes.litestream(&paths.database), Sighting::Attached),
    }
}

fn mode(file: FileRole, path: &Path) -> Option<FileMode> {
    let stat = files::stat(path).ok().flatten()?;
    Some(FileMode { file, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid })
}

fn reachable(directory: &Path) -> Option<bool> {
    for directory in std::fs::canonicalize(directory).ok()?.ancestors() {
        if files::stat(directory).ok()??.mode & OTHERS_ENTER == 0 {
            return Some(false);
        }
    }
    Some(true)
}

fn filesystem(directory: &Path) -> Option<Filesystem> {
    let space = rustix::fs::statvfs(directory).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Some(Filesystem {
        size_bytes: bytes(space.f_blocks),
        avail_bytes: bytes(space.f_bavail),
        used_bytes: bytes(space.f_blocks.saturating_sub(space.f_bfree)),
    })
}

/// It is on another filesystem than `directory`.
fn elsewhere(meta: &Path, directory: &Path) -> bool {
    let device = |path: &Path| Some(rustix::fs::stat(path).ok()?.st_dev);
    device(meta).is_some_and(|other| device(directory).is_some_and(|own| own != other))
}

/// The locks of those who have the database open.
pub(super) struct Locks {
    pub held: bool,
    /// The processes that hold them, as far as they are in this PID namespace.
    pub pids: Vec<u32>,
}

/// `None` when that cannot be known. Without a wal-index nobody has the database open in WAL mode.
pub(super) fn locks(shm: &Path) -> Option<Locks> {
    let mut locks = Locks { held: false, pids: Vec::new() };
    let Some(file) = files::open(shm).ok()? else { return Some(locks) };
    // One byte after the other: of several holders, the kernel names one a byte.
    for bytes in READ_LOCKS.map(|byte| (byte, 1)).chain([CONNECTED_LOCK]) {
        let Some(lock) = lock_in_the_way(&file, bytes).ok()? else { continue };
        locks.held = true;
        // None or negative: another PID namespace, or a lock that belongs to no process.
        let pid = lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
        locks.pids.extend(pid.filter(|pid| !locks.pids.contains(pid)));
    }
    Some(locks)
}
