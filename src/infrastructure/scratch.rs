//! Files that are being restored: private, removed unless they are wanted in the end, and never in the place of another.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::RestoreFile;

/// A file that is removed when this is dropped, unless it was published.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    path: PathBuf,
    /// There is nothing left to be removed.
    done: AtomicBool,
}

impl ScratchFile {
    /// Creates a file that only this user can read (0600) and that must not be there yet.
    ///
    /// # Errors
    ///
    /// When it is there, or cannot be created.
    pub fn create(path: &Path) -> Result<Self, Reason> {
        let created = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path);
        let file = created.map_err(|error| failed("create", path, error))?;
        Ok(Self { file, path: path.to_owned(), done: AtomicBool::new(false) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name, at once and on the disk. A file of that name is never replaced.
    ///
    /// # Errors
    ///
    /// When there is one, or the name cannot be given.
    pub fn publish(&self, to: &Path) -> Result<(), Reason> {
        rename_new(&self.path, to).map_err(|error| failed("create", to, error))?;
        self.done.store(true, Ordering::Release);
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed("sync", directory, error))
    }

    /// Removes the file unless it was published. Whoever still writes to it writes to a file without a name.
    pub fn discard(&self) {
        if !self.done.swap(true, Ordering::AcqRel) {
            // It may have been removed already, and there is nobody to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.discard();
    }
}

/// Gives a file a name that nothing has yet.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some filesystems cannot refuse to replace; a second name they never give in the place of another.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        renamed => Ok(renamed?),
    }
}

/// Bytes that this user may still write to the filesystem of a directory.
///
/// # Errors
///
/// When the filesystem does not say.
pub fn free_bytes(directory: &Path) -> Result<u64, Reason> {
    let answer = rustix::fs::statvfs(directory).map_err(|error| failed("look at", directory, error.into()))?;
    Ok(answer.f_bavail.saturating_mul(answer.f_frsize))
}

impl RestoreFile for ScratchFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        self.file.write_all_at(content, offset).map_err(|error| failed("write", &self.path, error))
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.file.set_len(bytes).map_err(|error| failed("resize", &self.path, error))
    }

    fn sync(&self) -> Result<(), Reason> {
        self.file.sync_all().map_err(|error| failed("sync", &self.path, error))
    }
}

fn failed(doing: &str, path: &Path, error: std::io::Error) -> Reason {
    let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
    let reason = Reason::from(error).context(format!("{doing} {}", path.display()));
    if exists {
        return Reason { kind: ReasonKind::Misconfigured, ..reason }.with_hint("name a file that is not there yet");
    }
    reason
}
