//! Paths and plain files, as everything that reads or writes them handles them.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::domain::reason::Reason;

/// The directory that holds a file.
pub fn directory(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// A path with something behind its name, such as `-wal`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut beside = OsString::with_capacity(path.as_os_str().len() + suffix.len());
    beside.push(path);
    beside.push(suffix);
    beside.into()
}

/// Says what was being done to which file when the operating system refused it.
pub fn failed<E: Into<io::Error>>(doing: &str, path: &Path) -> impl Fn(E) -> Reason {
    move |error| Reason::from(error.into()).context(format_args!("{doing} {}", path.display()))
}

/// Fills `buffer` from `offset` on, as far as the file goes, and says how far that was.
///
/// # Errors
///
/// When it cannot be read.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// A version of a file, as far as one can tell without reading it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    path: PathBuf,
    /// Device, inode, size, and when content and attributes changed; `None` where there is none.
    version: Option<(u64, u64, u64, i64, i64, i64, i64)>,
}

impl Stamp {
    /// The version that is there now, of what a link there leads to.
    pub fn of(path: &Path) -> Self {
        let version = path.metadata().ok().map(|file| {
            let (changed, attributes) = ((file.mtime(), file.mtime_nsec()), (file.ctime(), file.ctime_nsec()));
            (file.dev(), file.ino(), file.size(), changed.0, changed.1, attributes.0, attributes.1)
        });
        Self { path: path.to_owned(), version }
    }

    /// The version that is there now of the same file.
    pub fn again(&self) -> Self {
        Self::of(&self.path)
    }

    /// Whether it is still there.
    pub fn holds(&self) -> bool {
        self.again() == *self
    }
}

/// The time of a file, which a filesystem may have set to anything.
pub fn timestamp(seconds: i64, nanoseconds: impl TryInto<i32>) -> Option<Timestamp> {
    Timestamp::new(seconds, nanoseconds.try_into().ok()?).ok()
}
