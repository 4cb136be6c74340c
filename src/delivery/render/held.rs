//! How much memory answers take up: what was made of a report is there until the last one who reads it is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// Bytes of all answers that are still there.
#[derive(Clone, Debug, Default)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    /// How many there are.
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts so many bytes, for as long as the share is there.
    pub fn share(&self, bytes: usize) -> Share {
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Share { bytes, held: self.clone() }
    }

    /// Counts these bytes for as long as somebody has them.
    pub fn count(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Counted { _share: self.share(bytes.len()), bytes })
    }
}

/// A part of what is counted.
#[derive(Debug)]
pub struct Share {
    bytes: usize,
    held: Held,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
