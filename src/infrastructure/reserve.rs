//! A part of every filesystem that is left free, whatever is restored to it.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::limits::{SPACE_LOOK_BYTES, space_reserve};
use crate::domain::reason::{Reason, ReasonKind};

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

/// Looks after the space of one file that grows.
#[derive(Debug)]
pub struct Reserve {
    /// Bytes written since the last look.
    unseen: AtomicU64,
}

impl Default for Reserve {
    fn default() -> Self {
        // The first write is looked at.
        Self { unseen: AtomicU64::new(SPACE_LOOK_BYTES) }
    }
}

impl Reserve {
    /// So many bytes are about to be written.
    ///
    /// # Errors
    ///
    /// When only what is left free would be there for them.
    pub fn spend(&self, file: &File, bytes: u64) -> Result<(), Reason> {
        if self.unseen.fetch_add(bytes, Ordering::Relaxed) < SPACE_LOOK_BYTES {
            return Ok(());
        }
        self.unseen.store(0, Ordering::Relaxed);
        require(file, bytes)
    }
}

/// Whether so many bytes can be written. A filesystem that does not say how much is free will say when it is full.
///
/// # Errors
///
/// When they cannot.
pub fn require(file: &File, bytes: u64) -> Result<(), Reason> {
    let Ok(space) = Space::of(file) else { return Ok(()) };
    if bytes <= space.usable() {
        return Ok(());
    }
    let Space { free, reserve } = space;
    let text = format!("no space: {bytes} bytes are needed, and of the {free} that are free, {reserve} must stay free");
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
    fn what_does_not_fit_is_refused_before_it_is_written() {
        let file = tempfile::tempfile().unwrap();
        let reserve = Reserve::default();
        reserve.spend(&file, 1).unwrap();
        // It was looked at just now.
        reserve.spend(&file, SPACE_LOOK_BYTES - 1).unwrap();
        reserve.spend(&file, 1).unwrap();
        let refused = reserve.spend(&file, u64::MAX / 2).unwrap_err();
        assert!(refused.message.starts_with("no space: "), "{refused}");
        assert_eq!(require(&file, 0), Ok(()));
    }
}
