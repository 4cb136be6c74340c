//! What is slow to read or rarely changes: modes, filesystem, Litestream's directory, who holds its lock.

use std::path::Path;

use super::files::{self, CONNECTED_LOCK, Paths, lock_in_the_way};
use super::staging::staging;
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabasePosture, FileMode, FileRole, Filesystem};

/// Litestream keeps a read transaction open, which holds one of `READ0` to `READ4`.
const READ_LOCKS: (u64, u64) = (123, 5);

pub(super) fn posture(paths: &Paths, meta: Option<&Path>, at: Moment) -> DatabasePosture {
    let files: [(FileRole, &Path); 4] = [
        (FileRole::Database, &paths.database),
        (FileRole::Wal, &paths.wal),
        (FileRole::Shm, &paths.shm),
        (FileRole::Directory, paths.directory()),
    ];
    let modes = files.into_iter().filter_map(|(file, path)| mode(file, path)).collect();
    DatabasePosture {
        at,
        modes,
        filesystem: filesystem(paths.directory()),
        staging: meta.and_then(staging),
        lock_holder_pid: lock_holder(&paths.shm),
    }
}

fn mode(file: FileRole, path: &Path) -> Option<FileMode> {
    let stat = files::stat(path).ok().flatten()?;
    Some(FileMode { file, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid })
}

fn filesystem(directory: &Path) -> Option<Filesystem> {
    let space = rustix::fs::statvfs(directory).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    Some(Filesystem { size_bytes: bytes(space.f_blocks), avail_bytes: bytes(space.f_bavail) })
}

fn lock_holder(shm: &Path) -> Option<u32> {
    let file = files::open(shm).ok()??;
    [READ_LOCKS, CONNECTED_LOCK].into_iter().find_map(|bytes| {
        // None or negative: another PID namespace, or a lock that belongs to no process.
        let pid = lock_in_the_way(&file, bytes).ok()??.pid?;
        u32::try_from(pid.as_raw_nonzero().get()).ok()
    })
}
