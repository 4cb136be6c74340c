//! Files that are being restored: private, removed unless they are wanted in the end, and never in the place of another.
//!
//! Their directory is opened once and used by descriptor, so that what becomes of its name meanwhile changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, RenameFlags, fstat, fsync, linkat, openat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::files::{self, directory};
use crate::infrastructure::reserve::{RestoredFile, Space};

/// A file that is removed when this is dropped, unless it was published.
#[derive(Debug)]
pub struct ScratchFile {
    file: Arc<RestoredFile>,
    /// Device and inode.
    id: (u64, u64),
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
    is_published: bool,
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
        let file = created.map_err(|error| failed("create", path, error.into()))?;
        let stat = fstat(&file).map_err(files::failed("look at", path))?;
        let (name, id) = (name.to_owned(), (stat.st_dev, stat.st_ino));
        let flags = OFlags::WRONLY | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // Not on every filesystem, and not what somebody has put in its place meanwhile.
        let direct = openat(&directory, &name, flags, Mode::empty()).ok();
        let direct = direct.filter(|file| fstat(file).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == id));
        let file = Arc::new(RestoredFile::new(file.into(), path).past_the_cache(direct.map(File::from)));
        Ok(Self { file, id, directory, name, path: path.to_owned(), is_published: false })
    }

    /// What is restored to. Whoever still writes to it when it is removed writes to a file without a name.
    pub fn file(&self) -> Arc<RestoredFile> {
        Arc::clone(&self.file)
    }

    /// Gives the file its final name in the same directory, at once and on the disk. A file of that name is never
    /// replaced.
    ///
    /// # Errors
    ///
    /// When there is one, the name cannot be given, or somebody has put another file in the place of this one.
    pub fn publish(mut self, to: &Path) -> Result<(), Reason> {
        let name = to.file_name().ok_or_else(|| failed("create", to, std::io::ErrorKind::InvalidInput.into()))?;
        if !self.is_called(&self.name) {
            return Err(self.replaced());
        }
        rename_new(&self.directory, &self.name, name).map_err(|error| failed("create", to, error))?;
        if !self.is_called(name) {
            return Err(self.replaced());
        }
        self.is_published = true;
        fsync(&self.directory).map_err(files::failed("sync", to))
    }

    /// Whether this is the file that has a name.
    fn is_called(&self, name: &OsStr) -> bool {
        let there = statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW);
        there.is_ok_and(|there| (there.st_dev, there.st_ino) == self.id)
    }

    fn replaced(&self) -> Reason {
        let text = format!("restore to {}: somebody has put another file in its place", self.path.display());
        Reason::new(ReasonKind::Failed, text).with_hint("restore to a directory that only you can write to")
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        if !self.is_published && self.is_called(&self.name) {
            // There is nobody to tell.
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// A file's directory, and its name there.
fn place(path: &Path) -> Result<(OwnedFd, &OsStr), Reason> {
    let above = directory(path);
    let name = path.file_name().ok_or_else(|| failed("create", path, std::io::ErrorKind::InvalidInput.into()))?;
    let directory = openat(CWD, above, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    Ok((directory.map_err(files::failed("open", above))?, name))
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
    File::open(directory).and_then(Space::of).map_err(files::failed("look at", directory))
}

fn failed(doing: &str, path: &Path, error: std::io::Error) -> Reason {
    let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
    let reason = files::failed(doing, path)(error);
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
    use crate::usecase::ports::RestoreFile;

    #[test]
    fn a_file_is_private_until_it_is_published_and_gone_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let (path, to) = (root.path().join(".new"), root.path().join("new"));
        let file = ScratchFile::create(&path).unwrap();
        file.file().write_at(2, b"x").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        file.publish(&to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"\0\0x");
        drop(ScratchFile::create(&path).unwrap());
        let file = ScratchFile::create(&path).unwrap();
        assert_eq!(file.publish(&to).unwrap_err().kind, ReasonKind::Misconfigured, "it is there");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_written_with_and_without_the_cache_is_one_file() {
        let root = tempfile::tempdir().unwrap();
        let file = ScratchFile::create(&root.path().join(".new")).unwrap();
        // Where the filesystem can do that, it does.
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::DIRECT;
        let able = openat(CWD, root.path().join("able"), flags, Mode::RUSR | Mode::WUSR).is_ok();
        assert_eq!(file.file().is_direct(), able);
        let memory: Vec<u8> = (0..1_000_000).map(|number: u32| (number % 251) as u8).collect();
        let start = memory.as_ptr().align_offset(4096);
        let mut expected = vec![0; 1 << 20];
        // Aligned, not in the file, not in memory, short, and aligned again over all of them.
        let writes = [(0, 0, 400_000), (100, 0, 65_536), (4096, 1, 131_072), (8192, 0, 4096), (65_536, 0, 131_072)];
        for (offset, shift, length) in writes {
            let length = length / 4096 * 4096;
            let content = &memory[start + shift..start + shift + length];
            file.file().write_at(offset as u64, content).unwrap();
            expected[offset..offset + length].copy_from_slice(content);
        }
        file.file().set_len(expected.len() as u64).unwrap();
        let to = root.path().join("new");
        file.publish(&to).unwrap();
        assert!(fs::read(&to).unwrap() == expected);
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
