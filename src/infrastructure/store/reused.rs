//! Memory for long reads that is used again: fresh memory costs more than reading into it, and allocators keep it for
//! each thread.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Shorter reads get memory of their own.
const REUSED_BYTES_MIN: usize = 256 << 10;

#[derive(Clone, Default)]
pub(super) struct Buffers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    /// Memory that nobody uses at the moment.
    spare: Vec<Vec<u8>>,
    /// How many are read into, or from.
    lent: usize,
}

impl Buffers {
    /// At least so many bytes, whatever is in them.
    pub(super) fn take(&self, bytes: usize) -> Lent {
        let spare = self.with(|kept| {
            kept.lent += 1;
            if bytes < REUSED_BYTES_MIN { None } else { kept.spare.pop() }
        });
        let content = spare.filter(|spare| spare.len() >= bytes).unwrap_or_else(|| vec![0; bytes]);
        Lent { content, home: self.clone() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Kept) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Memory that comes back when the last reader is done with it.
pub(super) struct Lent {
    content: Vec<u8>,
    home: Buffers,
}

impl Lent {
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.content
    }

    /// Makes it at least so long.
    pub(super) fn grow(&mut self, bytes: usize) {
        if self.content.len() < bytes {
            self.content.resize(bytes, 0);
        }
    }

    /// The first `filled` bytes, to be read.
    pub(super) fn filled(mut self, filled: usize) -> Bytes {
        if self.content.len() >= REUSED_BYTES_MIN {
            return Bytes::from_owner(self).slice(..filled);
        }
        self.content.truncate(filled);
        std::mem::take(&mut self.content).into()
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let content = std::mem::take(&mut self.content);
        self.home.with(|kept| {
            kept.lent -= 1;
            match kept.lent {
                // It may be long until somebody reads again.
                0 => kept.spare = Vec::new(),
                _ if content.len() < REUSED_BYTES_MIN => {}
                _ => kept.spare.push(content),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_while_others_read_and_freed_behind_the_last() {
        let buffers = Buffers::default();
        let read = |length: usize, byte: u8| {
            let mut content = buffers.take(length);
            content.bytes_mut().fill(byte);
            content.filled(length - 1)
        };
        let spare = || buffers.with(|kept| kept.spare.len());
        let (first, second) = (read(REUSED_BYTES_MIN, 1), read(REUSED_BYTES_MIN, 2));
        assert!(first.len() == REUSED_BYTES_MIN - 1 && first.iter().all(|byte| *byte == 1));
        let place = first.as_ptr();
        drop(first);
        assert_eq!(spare(), 1);
        let third = read(REUSED_BYTES_MIN, 3);
        assert_eq!((third.as_ptr(), spare()), (place, 0));
        // Who else has the store does not count.
        let elsewhere = buffers.clone();
        drop(second);
        drop(third);
        assert_eq!(spare(), 0, "all is freed");
        let reading = buffers.take(REUSED_BYTES_MIN);
        drop(read(REUSED_BYTES_MIN, 4));
        assert_eq!(spare(), 1, "somebody is about to read");
        drop(reading);
        assert_eq!(spare(), 0, "what failed counts no more");
        drop(elsewhere);
        assert_eq!((read(10, 1).len(), spare()), (9, 0));
    }
}
