//! What SQLite writes, read as plain bytes: database header, WAL, wal-index.

use serde::Serialize;

/// A point in a write-ahead log: every committed byte before `end` of the WAL whose header carries these salts.
///
/// The wal-index says how far the source is, an LTX header or a v0.3 segment how far a replica is: this is the word in
/// which both are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WalPosition {
    pub salt1: u32,
    pub salt2: u32,
    /// Byte offset in the `-wal` file, 32 (the WAL header's size) when no frame is committed.
    pub end: u64,
}

impl WalPosition {
    /// Whether both positions are in the same WAL, so that their `end`s can be compared.
    pub fn same_wal(&self, other: &Self) -> bool {
        self.salt1 == other.salt1 && self.salt2 == other.salt2
    }
}
