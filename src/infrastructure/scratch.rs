//! Files that are being restored: private, removed unless they are wanted in the end, and never in the place of another.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::RestoreFile;

/// A file that is removed when this is dropped, unless it was published.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    path: PathBuf,
    keep: bool,
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
        Ok(Self { file, path: path.to_owned(), keep: false })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name, at once and on the disk. A file of that name is never replaced.
    ///
    /// # Errors
    ///
    /// When there is one, or the name cannot be given.
    pub fn publish(mut self, to: &Path) -> Result<(), Reason> {
        renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE)
            .map_err(|error| failed("create", to, error.into()))?;
        self.keep = true;
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| failed("sync", directory, error))
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if !self.keep {
            // It may have been removed already, and there is nobody to tell.
            let _ = std::fs::remove_file(&self.path);
        }
    }
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
