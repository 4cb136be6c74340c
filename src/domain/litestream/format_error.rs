//! Errors in bytes that should be a Litestream file, and where they are.

use crate::domain::reason::{Reason, ReasonKind};

/// The hint for content that cannot be decrypted.
const AGE_HINT: &str = "name the file with the secret key in `age-identity-file` of the replica, or `age.identities` \
                        in litestream.yml";

/// A file that is not what its format demands: where, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at byte {offset}")]
pub struct FormatError {
    /// Byte offset in the file.
    pub offset: u64,
    pub problem: Problem,
}

impl FormatError {
    pub(super) fn new(offset: u64, problem: Problem) -> Self {
        Self { offset, problem }
    }
}

impl From<FormatError> for Reason {
    fn from(error: FormatError) -> Self {
        let kind = match error.problem {
            Problem::Read(_) => ReasonKind::Failed,
            Problem::TooLong(_) => ReasonKind::Unsupported,
            Problem::Encrypted | Problem::WrongIdentity => {
                return Self::new(ReasonKind::Misconfigured, error.problem.to_string()).with_hint(AGE_HINT);
            }
            _ => ReasonKind::Corrupt,
        };
        Self::new(kind, error.to_string())
    }
}

/// A requirement of the format that the bytes do not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("unexpected end")]
    Truncated,
    /// The bytes could not be read at all; says nothing about them.
    #[error("{0}")]
    Read(String),
    #[error("more than {0} bytes")]
    TooLong(u64),
    #[error("bytes after the end of the file's content")]
    TrailingBytes,
    #[error("not an LTX file: magic {0:08x}")]
    LtxMagic(u32),
    #[error("unsupported LTX header flags {0:08x}")]
    LtxFlags(u32),
    #[error("page size {0} is not a power of two from 512 to 65536")]
    PageSize(u32),
    #[error("the database has no pages after it")]
    NoPages,
    #[error("TXIDs {0:016x} to {1:016x}: expected a first of at least 1 and a last not below it")]
    TxidRange(u64, u64),
    #[error("TXIDs {found} differ from the file's name {name}")]
    Name { found: String, name: String },
    #[error("timestamp {0} ms is out of range")]
    Timestamp(i64),
    #[error("database checksum {0:016x} where the header's flags allow none")]
    DatabaseChecksum(u64),
    #[error("WAL size or salts without a WAL offset")]
    WalOffsetMissing,
    #[error("WAL offset {0} and size {1} exceed 64 bits")]
    WalRange(u64, u64),
    #[error("page number {found} after {previous}: expected a greater one")]
    PageOrder { previous: u32, found: u32 },
    #[error("page number {found} in a snapshot: expected {expected}")]
    PageMissing { expected: u32, found: u32 },
    #[error("page number {0} exceeds the database's {1} pages")]
    PageBeyondCommit(u32, u32),
    #[error("page number {0} is the lock page, which is never stored")]
    LockPage(u32),
    #[error("snapshot ends with page {found} of {commit}")]
    SnapshotIncomplete { found: u32, commit: u32 },
    #[error("unsupported page flags {0:04x}")]
    PageFlags(u16),
    #[error("end marker with page flags {0:04x}")]
    EndMarker(u16),
    #[error("compressed page of {0} bytes exceeds the largest possible {1}")]
    CompressedSize(u32, u32),
    #[error("decompress page: {0}")]
    Decompress(String),
    #[error("page decompresses to {0} bytes: expected {1}")]
    DecompressedSize(u64, u32),
    #[error("page index is {found} bytes: expected {expected}")]
    IndexSize { found: u64, expected: u64 },
    #[error("page index puts a frame at {found}: expected {expected}")]
    IndexOffset { found: u64, expected: u64 },
    #[error("page index gives page {page} a frame of {length} bytes: too short")]
    IndexLength { page: u32, length: u64 },
    #[error("page index's frames end at {found}: expected {expected}")]
    FramesEnd { found: u64, expected: u64 },
    #[error("page index does not name the frames before it")]
    IndexMismatch,
    #[error("file checksum {found:016x}: expected {expected:016x}")]
    FileChecksum { found: u64, expected: u64 },
    #[error("segment does not begin at a WAL frame")]
    SegmentStart,
    #[error("encrypted with age")]
    Encrypted,
    #[error("encrypted with age for other identities")]
    WrongIdentity,
    #[error("decrypt: {0}")]
    Decrypt(String),
    #[error("LZ4 frame without a content checksum")]
    Lz4Unchecked,
    #[error("not a WAL header: magic {0:08x}")]
    WalMagic(u32),
    #[error("not an LZ4 frame: magic {0:08x}")]
    Lz4Magic(u32),
    #[error("decompress snapshot: {0}")]
    DecompressSnapshot(String),
    #[error("decompress segment: {0}")]
    DecompressSegment(String),
    #[error("snapshot does not hold a SQLite database")]
    NotDatabase,
    #[error("database of {0} bytes is not a whole number of pages of {1}")]
    DatabaseLength(u64, u32),
    #[error("segment of {0} bytes does not end at a WAL frame")]
    SegmentLength(u64),
}
