//! The file that a restore writes, and who follows its progress.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::domain::reason::Reason;

/// The file that a restore writes. Blocking; several threads write it at once, each page once.
pub trait RestoreFile: Send + Sync {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason>;

    /// Makes it exactly `bytes` long; what was never written is zeros.
    fn set_len(&self, bytes: u64) -> Result<(), Reason>;

    /// It is going to be about `bytes` long: an error if there is no room for that.
    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        let _ = bytes;
        Ok(())
    }

    /// Returns when everything written is on the disk.
    fn sync(&self) -> Result<(), Reason>;
}

/// Who is told how far a long work is.
pub trait Progress: Send + Sync {
    /// So many more bytes were received.
    fn received(&self, bytes: u64);
}

/// Counts.
impl Progress for AtomicU64 {
    fn received(&self, bytes: u64) {
        self.fetch_add(bytes, Ordering::Relaxed);
    }
}
