//! Directories that nobody else can enter, opened once and used by descriptor: whatever becomes of their names, and
//! whatever lies in their place, nothing is made or removed anywhere else.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, fsync, mkdirat, openat, renameat,
    statat, unlinkat,
};
use rustix::io::Errno;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::files::{directory, failed};

/// Every way in: no link is followed, and no other program inherits it.
const CAREFULLY: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// A directory of this user, mode 0700.
#[derive(Debug)]
pub(super) struct Private {
    directory: OwnedFd,
    path: PathBuf,
}

impl AsFd for Private {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Private {
    /// Opens a directory, and makes it with whatever is missing above it.
    ///
    /// # Errors
    ///
    /// When it cannot be made, or one that was there is not private.
    pub(super) fn create(path: &Path) -> Result<Self, Reason> {
        let above = directory(path);
        DirBuilder::new().mode(0o700).recursive(true).create(above).map_err(failed("create", path))?;
        let name = path.file_name().ok_or_else(|| refused(path, "it has no name of its own"))?;
        // Links above it are the owner's, who may hide what is there.
        let above = openat(CWD, above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let above = above.map_err(failed("create", path))?;
        match mkdirat(&above, name, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => enter(&above, name, path.to_owned()),
            Err(error) => Err(failed("create", path)(error)),
        }
    }

    /// Opens a directory that is there.
    ///
    /// # Errors
    ///
    /// When it is not, or not private.
    pub(super) fn open(path: &Path) -> Result<Self, Reason> {
        enter(CWD, path.as_os_str(), path.to_owned())
    }

    /// Makes a directory in it; `None` when there is something of that name, or it was swept as it was made.
    pub(super) fn create_new_in(&self, name: &str) -> Result<Option<Self>, Reason> {
        match mkdirat(&self.directory, name, Mode::RWXU) {
            Ok(()) => match self.enter(OsStr::new(name)) {
                Err(reason) if reason.kind == ReasonKind::NotFound => Ok(None),
                entered => entered.map(Some),
            },
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(failed("create", &self.path.join(name))(error)),
        }
    }

    /// Opens a directory in it, and makes it if it is missing.
    pub(super) fn create_in(&self, name: &str) -> Result<Self, Reason> {
        self.create_new_in(name)?.map_or_else(|| self.enter(OsStr::new(name)), Ok)
    }

    /// Opens a directory in it.
    pub(super) fn enter(&self, name: &OsStr) -> Result<Self, Reason> {
        enter(&self.directory, name, self.path.join(name))
    }

    /// Where it was when it was opened.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its path without any link in it, as long as that leads here.
    pub(super) fn real_path(&self) -> Option<PathBuf> {
        let real = self.path.canonicalize().ok()?;
        let (own, there) = (fstat(&self.directory).ok()?, statat(CWD, &real, AtFlags::SYMLINK_NOFOLLOW).ok()?);
        same(&own, &there).then_some(real)
    }

    /// The names in it.
    pub(super) fn names(&self) -> Vec<OsString> {
        let Ok(entries) = Dir::read_from(&self.directory) else { return Vec::new() };
        let names = entries.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        names.filter(|name| name != "." && name != "..").collect()
    }

    /// Opens a file to read it.
    pub(super) fn read(&self, name: &str) -> std::io::Result<File> {
        self.open_file(name, OFlags::RDONLY)
    }

    /// Opens a file to read and write it, which is there.
    pub(super) fn write(&self, name: &str) -> std::io::Result<File> {
        self.open_file(name, OFlags::RDWR)
    }

    fn open_file(&self, name: &str, access: OFlags) -> std::io::Result<File> {
        let file = openat(&self.directory, name, access | OFlags::NONBLOCK | CAREFULLY, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(std::io::Error::other("it is not a file"));
        }
        Ok(file.into())
    }

    /// Makes a file, which is not there.
    pub(super) fn write_new(&self, name: &str) -> std::io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | CAREFULLY;
        Ok(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR)?.into())
    }

    /// The file of that name, if there is one.
    pub(super) fn look(&self, name: &str) -> Option<Stat> {
        statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
    }

    /// Removes a file, if it is there.
    pub(super) fn remove_file(&self, name: &str) -> std::io::Result<()> {
        match unlinkat(&self.directory, name, AtFlags::empty()) {
            Err(Errno::NOENT) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file another name, in the place of what has it.
    pub(super) fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        Ok(renameat(&self.directory, from, &self.directory, to)?)
    }

    /// Brings its names to the disk.
    pub(super) fn sync(&self) -> std::io::Result<()> {
        Ok(fsync(&self.directory)?)
    }

    /// Locks it by a file in it; `None` when somebody else has it, or it is gone.
    pub(super) fn lock(&self, name: &str) -> Option<File> {
        let flags = OFlags::WRONLY | OFlags::CREATE | CAREFULLY;
        let file = File::from(openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR).ok()?);
        flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        // A sweep may have removed it since it was opened.
        let (own, there) = (fstat(&file).ok()?, self.look(name)?);
        same(&own, &there).then_some(file)
    }

    /// Removes a directory in it with its files.
    ///
    /// # Errors
    ///
    /// When something is left of it.
    pub(super) fn remove(&self, name: &OsStr) -> Result<(), Reason> {
        let directory = self.enter(name)?;
        for file in directory.names() {
            // What cannot be removed keeps the directory, which says so.
            let _ = unlinkat(&directory, file.as_os_str(), AtFlags::empty());
        }
        unlinkat(&self.directory, name, AtFlags::REMOVEDIR).map_err(failed("remove", &directory.path))
    }
}

fn enter(above: impl AsFd, name: &OsStr, path: PathBuf) -> Result<Private, Reason> {
    let linked = |stat: Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    if statat(&above, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(linked) {
        return Err(refused(&path, "it is a symbolic link"));
    }
    let directory =
        openat(above, name, OFlags::DIRECTORY | CAREFULLY, Mode::empty()).map_err(failed("enter", &path))?;
    let stat = fstat(&directory).map_err(failed("enter", &path))?;
    let (own, mode) = (rustix::process::geteuid().as_raw(), stat.st_mode & 0o7777);
    if stat.st_uid != own {
        return Err(refused(&path, &format!("it belongs to another user, {}", stat.st_uid)));
    }
    if mode & 0o077 != 0 {
        return Err(refused(&path, &format!("others can enter it (mode {mode:04o})")));
    }
    Ok(Private { directory, path })
}

/// Two looks at one file.
fn same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn refused(path: &Path, why: &str) -> Reason {
    let text = format!("use {}: {why}, but what is restored there must stay private", path.display());
    let hint = format!("name a directory that does not exist yet, such as {}", path.join("drill").display());
    Reason::new(ReasonKind::Misconfigured, text).with_hint(hint)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_directory_is_made_private_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        for _ in 0..2 {
            let made = Private::create(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
            assert_eq!(made.real_path(), path.canonicalize().ok());
        }
        assert!(Private::open(&path).is_ok() && Private::open(&root.path().join("missing")).is_err());
    }

    #[test]
    fn what_somebody_else_could_have_put_there_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("streamgauge-drill");
        let refused = |path: &Path, why: &str| {
            for refused in [Private::create(path).unwrap_err(), Private::open(path).unwrap_err()] {
                assert_eq!(refused.kind, ReasonKind::Misconfigured, "{refused}");
                assert!(refused.message.contains(why) && refused.hint.is_some(), "{refused}");
            }
            assert_eq!(fs::read_dir(path).unwrap().count(), 0);
        };
        fs::create_dir(&path).unwrap();
        for mode in [0o777, 0o1777, 0o755, 0o710] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            refused(&path, &format!("(mode {mode:04o})"));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        refused(&link, "symbolic link");
        // Only root can give something away.
        if rustix::process::geteuid().is_root() {
            chown(&path, Some(12_345), None).unwrap();
            refused(&path, "another user, 12345");
        }
    }

    #[test]
    fn links_and_other_things_in_it_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("outside");
        fs::write(&outside, "untouched").unwrap();
        let private = Private::create(&root.path().join("private")).unwrap();
        symlink(&outside, private.path().join("link")).unwrap();
        symlink(root.path(), private.path().join("folder")).unwrap();
        fs::create_dir(private.path().join("directory")).unwrap();
        assert!(private.read("link").is_err() && private.write("link").is_err() && private.write_new("link").is_err());
        assert!(private.lock("link").is_none());
        assert!(private.read("directory").is_err() && private.write("directory").is_err());
        assert!(private.create_in("folder").is_err() && private.remove(OsStr::new("folder")).is_err());
        private.remove_file("link").unwrap();
        assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched");
    }

    #[test]
    fn another_directory_of_its_name_is_not_taken_for_it() {
        let root = tempfile::tempdir().unwrap();
        let (path, moved) = (root.path().join("private"), root.path().join("moved"));
        let private = Private::create(&path).unwrap();
        fs::rename(&path, &moved).unwrap();
        fs::create_dir(&path).unwrap();
        assert_eq!(private.real_path(), None);
        private.write_new("file").unwrap();
        assert!(moved.join("file").exists() && fs::read_dir(&path).unwrap().count() == 0);
    }
}
