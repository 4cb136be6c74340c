//! Files that are being restored: private, removed unless they are wanted in the end, and never in the place of another.
//!
//! Their directory is opened once and used by descriptor, so that what becomes of its name meanwhile changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, fstat, fsync, linkat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::reserve::{Reserve, Space, require};
use crate::usecase::ports::RestoreFile;

/// A file that is removed when this is dropped, unless it was published.
#[derive(Debug)]
pub struct ScratchFile {
    file: File,
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
    reserve: Reserve,
    /// There is nothing left to be removed.
    done: AtomicBool,
}

impl ScratchFile {
    /// Creates a file that only this user can read (0600) and that must not be there yet, not even as a link.
    ///
    /// # Errors
    ///
    /// When it is there, or cannot be created.
    pub fn create(path: &Path) -> Result<Self, Reason> {
        let (directory, name) = place(path)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let created = openat(&directory, name, flags, Mode::RUSR | Mode::WUSR);
        let file = created.map_err(|error| failed("create", path, error.into()))?.into();
        let (name, path, reserve) = (name.to_owned(), path.to_owned(), Reserve::default());
        Ok(Self { file, directory, name, path, reserve, done: AtomicBool::new(false) })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its final name in the same directory, at once and on the disk. A file of that name is never
    /// replaced.
    ///
    /// # Errors
    ///
    /// When there is one, the name cannot be given, or somebody has put another file in the place of this one.
    pub fn publish(&self, to: &Path) -> Result<(), Reason> {
        let name = to.file_name().ok_or_else(|| failed("create", to, std::io::ErrorKind::InvalidInput.into()))?;
        if !self.is_called(&self.name) {
            return Err(self.replaced());
        }
        rename_new(&self.directory, &self.name, name).map_err(|error| failed("create", to, error))?;
        if !self.is_called(name) {
            return Err(self.replaced());
        }
        self.done.store(true, Ordering::Release);
        fsync(&self.directory).map_err(|error| failed("sync", to, error.into()))
    }

    /// Whether this is the file that has a name.
    fn is_called(&self, name: &OsStr) -> bool {
        let there = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| {
            fstat(&self.file).is_ok_and(|own| (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino))
        })
    }

    fn replaced(&self) -> Reason {
        let text = format!("restore to {}: somebody has put another file in its place", self.path.display());
        Reason::new(ReasonKind::Failed, text).with_hint("restore to a directory that only you can write to")
    }

    /// Removes the file unless it was published. Whoever still writes to it writes to a file without a name.
    pub fn discard(&self) {
        if !self.done.swap(true, Ordering::AcqRel) && self.is_called(&self.name) {
            // There is nobody to tell.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        self.discard();
    }
}

/// A file's directory, and its name there.
fn place(path: &Path) -> Result<(OwnedFd, &OsStr), Reason> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let name = path.file_name().ok_or_else(|| failed("create", path, std::io::ErrorKind::InvalidInput.into()))?;
    let directory = openat(CWD, above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    Ok((directory.map_err(|error| failed("open", above, error.into()))?, name))
}

/// Gives a file a name that nothing has yet.
fn rename_new(directory: impl AsFd, from: &OsStr, to: &OsStr) -> std::io::Result<()> {
    let directory = directory.as_fd();
    match renameat_with(directory, from, directory, to, RenameFlags::NOREPLACE) {
        // Some filesystems cannot refuse to replace; a second name they never give in the place of another.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            linkat(directory, from, directory, to, AtFlags::empty())?;
            Ok(unlinkat(directory, from, AtFlags::empty())?)
        }
        renamed => Ok(renamed?),
    }
}

/// The space of the filesystem of a directory.
///
/// # Errors
///
/// When the filesystem does not say.
pub fn space(directory: &Path) -> Result<Space, Reason> {
    let space = File::open(directory).and_then(Space::of);
    space.map_err(|error| failed("look at", directory, error))
}

impl RestoreFile for ScratchFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        let room = self.reserve.spend(&self.file, content.len() as u64);
        room.map_err(|reason| reason.context(format_args!("write {}", self.path.display())))?;
        self.file.write_all_at(content, offset).map_err(|error| failed("write", &self.path, error))
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.file.set_len(bytes).map_err(|error| failed("resize", &self.path, error))
    }

    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        let room = require(&self.file, bytes);
        room.map_err(|reason| reason.context(format_args!("make room for {}", self.path.display())))
    }

    fn sync(&self) -> Result<(), Reason> {
        self.file.sync_all().map_err(|error| failed("sync", &self.path, error))
    }
}

fn failed(doing: &str, path: &Path, error: std::io::Error) -> Reason {
    let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
    let reason = Reason::from(error).context(format!("{doing} {}", path.display()));
    if exists {
        return Reason { kind: ReasonKind::Misconfigured, ..reason }.with_hint("name a file that does not exist yet");
    }
    reason
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_private_until_it_is_published_and_gone_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let (path, to) = (root.path().join(".new"), root.path().join("new"));
        let file = ScratchFile::create(&path).unwrap();
        file.write_at(2, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        file.publish(&to).unwrap();
        drop(file);
        assert_eq!(fs::read(&to).unwrap(), b"\0\0x");
        drop(ScratchFile::create(&path).unwrap());
        let file = ScratchFile::create(&path).unwrap();
        assert_eq!(file.publish(&to).unwrap_err().kind, ReasonKind::Misconfigured, "it is there");
        drop(file);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_somebody_else_puts_in_its_place_is_not_used() {
        let root = tempfile::tempdir().unwrap();
        let (home, elsewhere) = (root.path().join("home"), root.path().join("elsewhere"));
        fs::create_dir(&home).unwrap();
        let (path, to) = (home.join(".new"), home.join("new"));
        symlink(&elsewhere, &path).unwrap();
        assert_eq!(ScratchFile::create(&path).unwrap_err().kind, ReasonKind::Misconfigured);
        fs::remove_file(&path).unwrap();
        // A file of another.
        let file = ScratchFile::create(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "theirs").unwrap();
        assert!(file.publish(&to).unwrap_err().message.contains("another file in its place"));
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert!(!to.exists() && !elsewhere.exists());
        fs::remove_file(&path).unwrap();
        // Another directory of that name.
        let file = ScratchFile::create(&path).unwrap();
        fs::rename(&home, &elsewhere).unwrap();
        fs::create_dir(&home).unwrap();
        file.publish(&to).unwrap();
        assert!(elsewhere.join("new").exists() && !to.exists());
    }
}
