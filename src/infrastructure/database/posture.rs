//! Facts that are slow to read or rarely change: modes, filesystem, Litestream's directory, who holds its lock.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use rustix::fs::FileType;

use super::files::{self, FileStat, Paths};
use super::open_index::{OpenIndex, locks};
use super::processes::Processes;
use super::sample::Sample;
use super::staging::{Remembered, staging};
use crate::domain::moment::Moment;
use crate::domain::observation::{DatabasePosture, FileMode, FileRole, Filesystem};

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
    /// Whether others, who are neither the owner nor in the group, can enter the directory, which is `own`, and all above it.
    fn of(&mut self, directory: &Path, own: &FileStat, at: Moment) -> Option<bool> {
        if self.read_at.is_none_or(|read| at.since(read) >= AGE_MAX) {
            *self = Self { read_at: Some(at), ..Self::default() };
        }
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

/// `seen`: what a look has just found at the paths, and the open `-shm`. `local`: the filesystem is this kernel's own, so that
/// it knows all locks.
pub(super) fn posture(
    paths: &Paths,
    seen: Option<(&Sample, Option<&OpenIndex>)>,
    (meta, local): (Option<&Path>, bool),
    (processes, reach, staged): (&mut Processes, &mut Reach, &mut Remembered),
    at: Moment,
) -> DatabasePosture {
    let stat = |path| files::stat(path).ok().flatten();
    let (sample, index) = seen.map_or((None, None), |(sample, index)| (Some(sample), index));
    let directory = stat(paths.directory());
    let files = [
        (FileRole::Database, sample.map_or_else(|| stat(&paths.database), |sample| Some(sample.database))),
        (FileRole::Wal, sample.map_or_else(|| stat(&paths.wal), |sample| sample.wal)),
        (FileRole::Shm, index.map_or_else(|| stat(&paths.shm), |index| Some(index.stat))),
        (FileRole::Directory, directory),
    ];
    let mode = |file, stat: FileStat| FileMode { file, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
    let modes = files.into_iter().filter_map(|(file, stat)| Some(mode(file, stat?))).collect();
    let locks = index.map_or_else(|| locks(&paths.shm), OpenIndex::locks);
    let attached = locks.iter().flat_map(|locks| &locks.pids).copied().find(|pid| processes.is_litestream(*pid));
    DatabasePosture {
        at,
        modes,
        reachable: directory.and_then(|own| reach.of(paths.directory(), &own, at)),
        filesystem: filesystem(paths.directory()),
        staging_filesystem: meta
            .filter(|meta| elsewhere(meta, paths.directory(), directory.as_ref()))
            .and_then(filesystem)
            .map(Box::new),
        staging: meta.and_then(|meta| staging(meta, staged, at)),
        lock_holder_pid: attached.or_else(|| locks.as_ref()?.pids.first().copied()),
        open: locks.filter(|_| local).map(|locks| locks.held),
        litestream: attached.map_or_else(|| processes.litestream(paths, local), |pid| processes.attached(pid)),
    }
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

/// It is on another filesystem than `directory`, which is `own`.
fn elsewhere(meta: &Path, directory: &Path, own: Option<&FileStat>) -> bool {
    let device = |path: &Path| Some(rustix::fs::stat(path).ok()?.st_dev);
    let is_there = |device| match own.filter(|own| own.file_type() != FileType::Symlink) {
        Some(own) => own.is_on(device),
        None => rustix::fs::stat(directory).map_or(true, |own| own.st_dev == device),
    };
    device(meta).is_some_and(|device| !is_there(device))
}
