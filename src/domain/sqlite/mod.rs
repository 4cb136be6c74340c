//! SQLite's file formats, read as plain bytes: database header, WAL, wal-index.

pub mod fuzz;
mod header;
mod wal;
mod wal_index;
mod wal_scan;

use serde::{Deserialize, Serialize};

pub use header::{DATABASE_HEADER_BYTES, DatabaseHeader};
pub use wal::{
    FRAME_HEADER_BYTES, FrameHeader, WAL_HEADER_BYTES, WAL_MAGIC, WalChecksum, WalHeader, WordOrder, committed_end,
    frame_bytes,
};
pub use wal_index::{WAL_INDEX_BYTES, WalIndexHeader, page_number_at};
pub use wal_scan::WalScanner;

/// A point in a write-ahead log: every committed byte before `end` of the WAL whose header carries these salts.
///
/// The wal-index says how far the source is, an LTX header or a v0.3 segment how far a replica is: this is the word in
/// which both are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WalPosition {
    /// The first salt of the WAL's header.
    pub salt1: u32,
    /// The second salt of the WAL's header.
    pub salt2: u32,
    /// Byte offset in the `-wal` file, 32 (the WAL header's size) when no frame is committed.
    pub end: u64,
}

impl WalPosition {
    /// Whether both positions are in the same WAL, so that their `end`s can be compared.
    pub fn same_wal(&self, other: &Self) -> bool {
        self.salt1 == other.salt1 && self.salt2 == other.salt2
    }

    /// Whether this WAL is one of the `within` that come after the other one by resets: each adds 1 to the first salt
    /// (SQLite file format, section 4.1). `false` where that does not show, as after a WAL that began with random salts.
    pub fn follows(&self, other: &Self, within: u32) -> bool {
        (1..=within).contains(&self.salt1.wrapping_sub(other.salt1))
    }
}

/// Bytes that are not what SQLite writes in that place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} at offset {offset}: {problem}")]
pub struct FormatError {
    /// The part that was being read, in words.
    pub part: &'static str,
    /// Byte offset in the file.
    pub offset: u64,
    pub problem: FormatProblem,
}

impl FormatError {
    fn new(part: &'static str, offset: u64, problem: FormatProblem) -> Self {
        Self { part, offset, problem }
    }
}

/// The problem with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatProblem {
    #[error("{have} bytes instead of {need}")]
    Short { have: u64, need: u64 },
    #[error("not the magic number")]
    Magic,
    #[error("version {0} is unknown")]
    Version(u32),
    #[error("page size {0} is not a power of two from 512 to 65536")]
    PageSize(u32),
    #[error("checksum does not match")]
    Checksum,
    /// A writer is in the middle of an update, or died there.
    #[error("the two copies differ")]
    CopiesDiffer,
    /// The first connection has not built the wal-index yet.
    #[error("not initialised")]
    NotInitialised,
}

/// A page size that SQLite allows: a power of two from 512 to 65536 (file format §1.3.2).
pub fn is_page_size(bytes: u32) -> bool {
    bytes.is_power_of_two() && (512..=65_536).contains(&bytes)
}

fn page_size(bytes: u32) -> Option<u32> {
    is_page_size(bytes).then_some(bytes)
}

/// The page that SQLite keeps for its locks (the one at 1 GiB) and that no LTX file holds.
pub fn lock_page(page_size: u32) -> u32 {
    0x4000_0000 / page_size.max(1) + 1
}

/// Four bytes at `at`; `None` when the slice ends before.
fn word(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_page_lies_at_one_gibibyte() {
        assert_eq!((lock_page(4096), lock_page(512), lock_page(65536)), (262_145, 2_097_153, 16385));
    }
}
