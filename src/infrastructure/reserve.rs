//! Files that databases are restored to, and the part of every filesystem that is left free whatever is restored to it.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::domain::limits::{DISK_ALIGNMENT, SPACE_LOOK_BYTES, space_reserve};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::files::failed;
use crate::usecase::ports::RestoreFile;

/// The least that is written past the cache.
const DIRECT_BYTES_MIN: usize = 64 << 10;

/// The space of a filesystem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user could still write.
    pub free: u64,
    /// So many of them are left.
    pub reserve: u64,
}

impl Space {
    /// Of the filesystem of an open file or directory.
    ///
    /// # Errors
    ///
    /// When the filesystem does not say.
    pub fn of(file: impl AsFd) -> std::io::Result<Self> {
        let answer = rustix::fs::fstatvfs(file)?;
        let bytes = |blocks: u64| blocks.saturating_mul(answer.f_frsize);
        Ok(Self { free: bytes(answer.f_bavail), reserve: space_reserve(bytes(answer.f_blocks)) })
    }

    /// The bytes that may be written.
    pub fn usable(&self) -> u64 {
        self.free.saturating_sub(self.reserve)
    }
}

/// A file that a database is restored to.
#[derive(Debug)]
pub struct RestoredFile {
    file: File,
    path: PathBuf,
    /// Writes past the cache of the kernel, which would cost more than all decoding and be of no use to anybody soon.
    direct: Option<File>,
    /// It is gone with this process: nothing of it has to be on the disk.
    is_temporary: bool,
    /// Bytes written since the space was last looked at.
    unseen: AtomicU64,
}

impl RestoredFile {
    /// `path` is how it is called in errors.
    pub fn new(file: File, path: &Path) -> Self {
        // The first write is looked at.
        let unseen = AtomicU64::new(SPACE_LOOK_BYTES);
        Self { file, path: path.to_owned(), direct: None, is_temporary: false, unseen }
    }

    /// The same, with a descriptor of the same file for which the kernel keeps nothing (`O_DIRECT`).
    pub fn past_the_cache(self, direct: Option<File>) -> Self {
        Self { direct, ..self }
    }

    /// Whether anything can go past the cache.
    #[cfg(test)]
    pub(super) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    /// A file without a name in `directory`, which is gone when this is.
    ///
    /// # Errors
    ///
    /// When the filesystem does not let this user make one.
    pub fn temporary(directory: &Path) -> Result<Self, Reason> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        let made = openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR);
        let file = made.map_err(failed("make a temporary file in", directory))?;
        Ok(Self { is_temporary: true, ..Self::new(file.into(), &directory.join("(temporary)")) })
    }

    /// Writes all of it to `out`. Blocking.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or `out` takes no more.
    pub fn copy_to(&self, out: &mut impl Write) -> std::io::Result<()> {
        let mut file = &self.file;
        file.rewind()?;
        std::io::copy(&mut file, out)?;
        out.flush()
    }

    /// So many bytes are about to be written: an error when only what is left free would be there for them.
    fn spend(&self, bytes: u64) -> Result<(), Reason> {
        if self.unseen.fetch_add(bytes, Ordering::Relaxed) < SPACE_LOOK_BYTES {
            return Ok(());
        }
        self.unseen.store(0, Ordering::Relaxed);
        require(&self.file, bytes)
    }
}

impl RestoreFile for RestoredFile {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        let room = self.spend(content.len() as u64);
        room.map_err(|reason| reason.context(format_args!("write {}", self.path.display())))?;
        let direct = self.direct.as_ref().filter(|_| is_aligned(offset, content));
        match direct.map(|direct| direct.write_all_at(content, offset)) {
            Some(Ok(())) => Ok(()),
            // Some disks and filesystems are content with less than this, others not with it.
            Some(Err(error)) if error.kind() != std::io::ErrorKind::InvalidInput => Err(error),
            _ => self.file.write_all_at(content, offset),
        }
        .map_err(failed("write", &self.path))
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.file.set_len(bytes).map_err(failed("resize", &self.path))
    }

    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        let room = require(&self.file, bytes);
        room.map_err(|reason| reason.context(format_args!("make room for {}", self.path.display())))
    }

    fn sync(&self) -> Result<(), Reason> {
        if self.is_temporary {
            return Ok(());
        }
        self.file.sync_all().map_err(failed("sync", &self.path))
    }
}

/// Whether a write can go past the cache, and is worth the wait for the disk.
fn is_aligned(offset: u64, content: &[u8]) -> bool {
    let fits = offset.is_multiple_of(DISK_ALIGNMENT as u64) && content.len().is_multiple_of(DISK_ALIGNMENT);
    fits && content.len() >= DIRECT_BYTES_MIN && content.as_ptr().align_offset(DISK_ALIGNMENT) == 0
}

/// An error when so many bytes cannot be written. A filesystem that does not say how much is free will say when it is
/// full.
fn require(file: &File, bytes: u64) -> Result<(), Reason> {
    let Ok(space) = Space::of(file) else { return Ok(()) };
    if bytes <= space.usable() {
        return Ok(());
    }
    let Space { free, reserve } = space;
    let text = format!("no space: {bytes} bytes are needed; {free} are free, of which {reserve} must stay free");
    Err(Reason::new(ReasonKind::Failed, text).with_hint("make room, or use another filesystem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_every_filesystem_is_left_free() {
        assert_eq!(space_reserve(0), 0);
        assert_eq!(space_reserve(8 << 20), 2 << 20);
        assert_eq!(space_reserve(1 << 30), 64 << 20);
        assert_eq!(space_reserve(10 << 30), 512 << 20);
        assert_eq!(space_reserve(u64::MAX), 1 << 30);
        assert_eq!(Space { free: 7, reserve: 9 }.usable(), 0);
    }

    #[test]
    fn only_what_every_disk_is_content_with_goes_past_the_cache() {
        let memory = vec![0; (1 << 20) + DISK_ALIGNMENT];
        let start = memory.as_ptr().align_offset(DISK_ALIGNMENT);
        let at = |offset, shift, length| is_aligned(offset, &memory[start + shift..start + shift + length]);
        assert!(at(8192, 0, DIRECT_BYTES_MIN) && at(0, DISK_ALIGNMENT, 1 << 19));
        assert!(!at(512, 0, 1 << 19), "in the file");
        assert!(!at(8192, 512, 1 << 19), "in memory");
        assert!(!at(8192, 0, DIRECT_BYTES_MIN + 512) && !at(8192, 0, DISK_ALIGNMENT), "too odd, too short");
    }

    #[test]
    fn what_does_not_fit_is_refused_before_it_is_written() {
        let file = RestoredFile::new(tempfile::tempfile().unwrap(), Path::new("file"));
        file.spend(1).unwrap();
        // It was looked at just now.
        file.spend(SPACE_LOOK_BYTES - 1).unwrap();
        file.spend(1).unwrap();
        let refused = file.spend(u64::MAX / 2).unwrap_err();
        assert!(refused.message.starts_with("no space: "), "{refused}");
        assert_eq!(file.expect(0), Ok(()));
    }
}
