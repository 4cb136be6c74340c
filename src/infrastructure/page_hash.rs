//! The hash by which pages of a live database are compared with those of a restored one.

use crc_fast::{CrcAlgorithm, checksum};

/// A CRC-64 of one page, never 0: pages that differ by accident have the same one once in 2⁶⁴ times.
pub fn page_hash(page: &[u8]) -> u64 {
    checksum(CrcAlgorithm::Crc64Nvme, page).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts_and_nothing_is_zero() {
        let mut page = vec![0; 4096];
        let zeros = page_hash(&page);
        assert_ne!(zeros, 0);
        page[4095] = 1;
        assert_ne!(page_hash(&page), zeros);
    }
}
