//! The pieces of a `-wal` file (SQLite file format §4): header, frame header, checksum.

use super::{FormatError, FormatProblem, page_size, word};

/// Size of the WAL header.
pub const WAL_HEADER_BYTES: usize = 32;

/// Size of the header in front of each page.
pub const FRAME_HEADER_BYTES: usize = 24;

/// The only version there is (file format §4.1).
const VERSION: u32 = 3_007_000;

/// How a `-wal` file begins; the lowest bit says that checksums are computed with big-endian words.
pub const WAL_MAGIC: u32 = 0x377f_0682;

/// Bytes that one frame takes: its header and a page.
pub fn frame_bytes(page_size: u32) -> u64 {
    FRAME_HEADER_BYTES as u64 + u64::from(page_size)
}

/// Where `frames` frames end in the `-wal` file; 32, the header's size, for none.
pub fn committed_end(frames: u32, page_size: u32) -> u64 {
    WAL_HEADER_BYTES as u64 + u64::from(frames) * frame_bytes(page_size)
}

/// The order in which the checksum reads its words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordOrder {
    Little,
    Big,
}

impl WordOrder {
    /// The order of this machine, in which the wal-index is written.
    pub const NATIVE: Self = if cfg!(target_endian = "big") { Self::Big } else { Self::Little };
}

/// SQLite's running checksum over pairs of words (file format §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WalChecksum(pub u32, pub u32);

impl WalChecksum {
    /// Continues over `bytes`, whose length is a multiple of 8; a remainder is left out.
    #[must_use]
    pub fn extend(self, order: WordOrder, bytes: &[u8]) -> Self {
        let (pairs, _) = bytes.as_chunks::<8>();
        // One loop for each order, so that neither asks for it in each round.
        match order {
            WordOrder::Little => self.fold(pairs, u32::from_le_bytes),
            WordOrder::Big => self.fold(pairs, u32::from_be_bytes),
        }
    }

    fn fold(self, pairs: &[[u8; 8]], read: impl Fn([u8; 4]) -> u32) -> Self {
        let Self(mut first, mut second) = self;
        for &[a, b, c, d, e, f, g, h] in pairs {
            first = first.wrapping_add(read([a, b, c, d])).wrapping_add(second);
            second = second.wrapping_add(read([e, f, g, h])).wrapping_add(first);
        }
        Self(first, second)
    }
}

/// The first 32 bytes of a `-wal` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalHeader {
    pub order: WordOrder,
    /// Bytes in a page (512 to 65536).
    pub page_size: u32,
    /// Counts checkpoints, for the connection that wrote it.
    pub checkpoint_sequence: u32,
    /// One more after each reset.
    pub salt1: u32,
    /// Random after each reset.
    pub salt2: u32,
    /// From which the first frame's checksum continues.
    pub checksum: WalChecksum,
}

impl WalHeader {
    /// Reads the first 32 bytes of a `-wal` file and verifies their checksum.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let error = |offset, problem| FormatError::new("wal header", offset, problem);
        let Some(header) = bytes.first_chunk::<WAL_HEADER_BYTES>() else {
            let problem = FormatProblem::Short { have: bytes.len() as u64, need: WAL_HEADER_BYTES as u64 };
            return Err(error(0, problem));
        };
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if number(0) & !1 != WAL_MAGIC {
            return Err(error(0, FormatProblem::Magic));
        }
        let order = if number(0) & 1 == 1 { WordOrder::Big } else { WordOrder::Little };
        let checksum = WalChecksum::default().extend(order, &header[..24]);
        if checksum != WalChecksum(number(24), number(28)) {
            return Err(error(24, FormatProblem::Checksum));
        }
        if number(4) != VERSION {
            return Err(error(4, FormatProblem::Version(number(4))));
        }
        let page_size = page_size(number(8)).ok_or_else(|| error(8, FormatProblem::PageSize(number(8))))?;
        let (checkpoint_sequence, salt1, salt2) = (number(12), number(16), number(20));
        Ok(Self { order, page_size, checkpoint_sequence, salt1, salt2, checksum })
    }
}

/// The 24 bytes in front of each page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    pub page_number: u32,
    /// Pages in the database after this transaction, on its last frame; 0 on the others.
    pub commit_pages: u32,
    pub salt1: u32,
    pub salt2: u32,
    /// Over everything up to and including this frame's page.
    pub checksum: WalChecksum,
}

impl FrameHeader {
    /// Reads a frame header; `offset` is where the frame starts in the file and only words the error.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, FormatError> {
        let number = |at| word(bytes, at).map(u32::from_be_bytes);
        let fields = (number(0), number(4), number(8), number(12), number(16), number(20));
        let (Some(page_number), Some(commit_pages), Some(salt1), Some(salt2), Some(sum1), Some(sum2)) = fields else {
            let problem = FormatProblem::Short { have: bytes.len() as u64, need: FRAME_HEADER_BYTES as u64 };
            return Err(FormatError::new("wal frame", offset, problem));
        };
        Ok(Self { page_number, commit_pages, salt1, salt2, checksum: WalChecksum(sum1, sum2) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A WAL header as SQLite would write it on a machine of that byte order.
    fn header(order: WordOrder) -> [u8; WAL_HEADER_BYTES] {
        let mut bytes = [0; WAL_HEADER_BYTES];
        let magic = if order == WordOrder::Big { WAL_MAGIC | 1 } else { WAL_MAGIC };
        for (at, value) in [(0, magic), (4, VERSION), (8, 4096), (12, 7), (16, 0xa1), (20, 0xb2)] {
            bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        let WalChecksum(first, second) = WalChecksum::default().extend(order, &bytes[..24]);
        bytes[24..28].copy_from_slice(&first.to_be_bytes());
        bytes[28..].copy_from_slice(&second.to_be_bytes());
        bytes
    }

    #[test]
    fn reads_both_byte_orders() {
        for order in [WordOrder::Little, WordOrder::Big] {
            let parsed = WalHeader::parse(&header(order)).unwrap();
            assert_eq!((parsed.order, parsed.page_size, parsed.checkpoint_sequence), (order, 4096, 7));
            assert_eq!((parsed.salt1, parsed.salt2), (0xa1, 0xb2));
        }
    }

    #[test]
    fn names_the_offset() {
        let mut bytes = header(WordOrder::Little);
        let short = WalHeader::parse(&bytes[..31]).unwrap_err().to_string();
        assert_eq!(short, "wal header at offset 0: 31 bytes instead of 32");
        bytes[17] ^= 1;
        let damaged = WalHeader::parse(&bytes).unwrap_err().to_string();
        assert_eq!(damaged, "wal header at offset 24: checksum does not match");
        bytes[0] = 0;
        assert_eq!(WalHeader::parse(&bytes).unwrap_err().to_string(), "wal header at offset 0: not the magic number");
        let frame = FrameHeader::parse(&[0; 23], 4152).unwrap_err().to_string();
        assert_eq!(frame, "wal frame at offset 4152: 23 bytes instead of 24");
    }

    #[test]
    fn frames_end_where_sqlite_puts_them() {
        assert_eq!(committed_end(0, 4096), 32);
        assert_eq!(committed_end(2, 4096), 32 + 2 * 4120);
        assert_eq!(committed_end(u32::MAX, 65_536), 32 + u64::from(u32::MAX) * 65_560);
    }
}
