//! The beacon: the one object that the agent writes to a store, and nothing else there can write.
//!
//! Its place follows from the replica's place alone and cannot be chosen by a caller: see [`SUFFIX`].

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::checked::{Calls, Operation};
use super::directory::denied;
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::files::{beside, timestamp};
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The place of a beacon behind the bounds and counts that all calls get.
pub(super) struct CheckedBeacon {
    pub(super) backend: Box<dyn BeaconStore>,
    /// They name the replica's place.
    pub(super) calls: Calls,
}

#[async_trait]
impl BeaconStore for CheckedBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let checked = |found: &Option<FoundBeacon>| match found.as_ref().map_or(0, |found| found.content.len() as u64) {
            received if received > BEACON_BYTES_MAX => {
                Err(Reason::new(ReasonKind::Corrupt, format!("more than the {BEACON_BYTES_MAX} bytes of a beacon")))
            }
            received => Ok(Some(received)),
        };
        self.calls.call(Operation::Read, SUFFIX, self.backend.find(), checked).await
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        self.calls.call(Operation::Write, SUFFIX, self.backend.put(content), |()| Ok(Some(0))).await
    }
}

/// A beacon in a store whose clock is so many seconds ahead of ours, where that is known.
pub(super) fn found(content: Bytes, stored_at: Timestamp, ahead: Option<f64>) -> FoundBeacon {
    let ahead = SignedDuration::try_from_secs_f64(ahead.unwrap_or(0.0)).unwrap_or_default();
    FoundBeacon { content, stored_at, written_at: stored_at.checked_sub(ahead).unwrap_or(stored_at) }
}

/// The beacon beside a replica in a directory.
pub(super) struct DirectoryBeacon {
    file: PathBuf,
}

impl DirectoryBeacon {
    pub(super) fn new(root: &Path) -> Self {
        Self { file: beside(root, SUFFIX) }
    }
}

#[async_trait]
impl BeaconStore for DirectoryBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let file = self.file.clone();
        blocking(move || find(&file)).await
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let file = self.file.clone();
        blocking(move || put(&file, &content)).await
    }
}

fn find(path: &Path) -> Result<Option<FoundBeacon>, Reason> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        file => file.map_err(reason)?,
    };
    let stat = fstat(&file).map_err(reason)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(Reason::new(ReasonKind::Corrupt, "not a file"));
    }
    let written_at = timestamp(stat.st_mtime, stat.st_mtime_nsec)
        .ok_or_else(|| Reason::new(ReasonKind::Corrupt, "a file with an impossible time"))?;
    let mut content = Vec::new();
    let file = std::fs::File::from(file);
    std::io::Read::read_to_end(&mut std::io::Read::take(file, BEACON_BYTES_MAX + 1), &mut content)?;
    // A filesystem does not say what time it takes it to be.
    Ok(Some(FoundBeacon { content: content.into(), stored_at: written_at, written_at }))
}

/// Writes a new file and renames it, so that who reads sees the old one or the new one.
fn put(path: &Path, content: &[u8]) -> Result<(), Reason> {
    let Some(directory) = path.parent() else { return Err(Reason::new(ReasonKind::NotFound, "no directory")) };
    match mkdirat(CWD, directory, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(reason(error)),
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = openat(CWD, directory, flags, Mode::empty()).map_err(reason)?;
    let written = (|| {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let _ = unlinkat(&directory, TEMPORARY, AtFlags::empty());
        let file = openat(&directory, TEMPORARY, flags, Mode::from_raw_mode(0o644)).map_err(reason)?;
        std::io::Write::write_all(&mut std::fs::File::from(file), content)?;
        renameat(&directory, TEMPORARY, &directory, NAME).map_err(reason)
    })();
    if written.is_err() {
        let _ = unlinkat(&directory, TEMPORARY, AtFlags::empty());
    }
    written
}

/// The file of [`SUFFIX`], and what it is called until it is whole.
const NAME: &str = "beacon.json";
const TEMPORARY: &str = "beacon.json.tmp";

fn reason(error: Errno) -> Reason {
    denied(error, "let the agent's user write beside the replica's directory")
}
