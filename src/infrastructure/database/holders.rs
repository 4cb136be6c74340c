//! Which files those have open who use the wal-index of a database: who goes on with a deleted one does not notice.

use std::fs::{File, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files::{Paths, SHARED_LOCK, lock_in_the_way};
use super::open_index::locks;
use super::processes::open_files;

/// Whether those who use a wal-index have the file open that is beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// All of them do.
    Own,
    /// One of them does not: it goes on with a file that was deleted or moved away.
    Other,
    /// What they have open does not show: they are of other users, or in other containers.
    Unseen,
}

/// Whether those who hold locks on a `-shm`, which have the database and its `-wal` open for as long, have this file open.
pub(super) fn held(shm: &Path, file: &Metadata) -> Held {
    let pids = || locks(shm).map_or_else(Vec::new, |locks| locks.pids);
    let own = (file.dev(), file.ino());
    let found: Vec<(u32, Option<bool>)> = pids()
        .into_iter()
        .map(|pid| (pid, open_files(Path::new("/proc"), pid).map(|files| files.contains(&own))))
        .collect();
    if found.iter().any(|(_, has)| *has == Some(false)) {
        // One that has closed it meanwhile has none of them open.
        let still = pids();
        return match found.iter().any(|(pid, has)| *has == Some(false) && still.contains(pid)) {
            true => Held::Other,
            false => Held::Unseen,
        };
    }
    let all = !found.is_empty() && found.iter().all(|(_, has)| has.is_some());
    if all { Held::Own } else { Held::Unseen }
}

/// Whether those who use the wal-index have the `-wal` open that is at its path.
pub(super) fn held_wal(paths: &Paths) -> Held {
    std::fs::symlink_metadata(&paths.wal).map_or(Held::Unseen, |wal| held(&paths.shm, &wal))
}

/// Whether it shows that those who use the WAL do not have this file open. A program that copies its own database by opening
/// the file besides SQLite loses its locks on it, as POSIX has it, so that their files have to be seen: those of other users
/// and of other containers are not.
pub(super) fn nobody_has(paths: &Paths, database: &File) -> bool {
    if !matches!(lock_in_the_way(database, SHARED_LOCK), Ok(None)) {
        return false;
    }
    let (Some(locks), Ok(file)) = (locks(&paths.shm), database.metadata()) else { return false };
    let has_not = |pid: &u32| {
        open_files(Path::new("/proc"), *pid).is_some_and(|files| !files.contains(&(file.dev(), file.ino())))
    };
    !locks.pids.is_empty() && locks.pids.iter().all(has_not)
}
