//! Memory that begins where a disk can read it without a copy in between.

use crate::domain::limits::DISK_ALIGNMENT as ALIGNMENT;

/// Bytes that are worth keeping: fresh memory costs more than filling it.
#[derive(Debug, Default)]
pub(super) struct Aligned {
    memory: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// Makes it at least so long; the first `kept` bytes stay.
    pub(super) fn grow(&mut self, bytes: usize, kept: usize) {
        let length = self.bytes().len();
        if length >= bytes {
            return;
        }
        let memory = vec![0; bytes.max(length * 2) + ALIGNMENT];
        // Where it cannot be told, it is not aligned, which costs time only.
        let start = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        let old = std::mem::replace(self, Self { memory, start });
        self.bytes_mut()[..kept].copy_from_slice(&old.bytes()[..kept]);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_aligned_and_keeps_what_it_holds() {
        let mut memory = Aligned::default();
        assert!(memory.bytes().is_empty());
        let mut kept = 0;
        for bytes in [1, 5000, 300_000, 2 << 20] {
            memory.grow(bytes, kept);
            assert!(memory.bytes().len() >= bytes && memory.bytes().as_ptr().align_offset(ALIGNMENT) == 0);
            assert!(memory.bytes()[..kept].iter().all(|byte| *byte == 7));
            memory.bytes_mut()[..bytes].fill(7);
            kept = bytes;
        }
    }
}
