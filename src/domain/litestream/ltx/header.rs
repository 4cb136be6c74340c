//! The first 100 bytes of an LTX file (v0.5): which transactions it holds and which part of the WAL it consumed.

use jiff::Timestamp;

use super::name::LtxName;
use super::txid::Txid;
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::{be32, be64};
use crate::domain::sqlite::{WalPosition, is_page_size};

/// Bytes of an LTX header.
pub const HEADER_SIZE: usize = 100;

const MAGIC: u32 = u32::from_be_bytes(*b"LTX1");

/// The only header flag that Litestream sets, and always sets: no database checksums.
const FLAG_NO_CHECKSUM: u32 = 2;

/// The header of an LTX file as Litestream v0.5 writes it. All numbers are big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LtxHeader {
    /// Bytes in a page, a power of two from 512 to 65536.
    pub page_size: u32,
    /// Pages in the database after this file, at least one.
    pub commit: u32,
    pub min: Txid,
    pub max: Txid,
    /// When it was written; a compaction carries its last input's. Milliseconds.
    pub timestamp: Timestamp,
    /// Where the consumed part of the WAL starts; in a snapshot, where the last consumed frame does. 0 in a compaction.
    pub wal_offset: u64,
    /// Bytes of WAL consumed; in a snapshot at most one frame.
    pub wal_size: u64,
    pub wal_salt1: u32,
    pub wal_salt2: u32,
}

impl LtxHeader {
    /// Reads a header; bytes behind it are ignored.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let bytes: &[u8; HEADER_SIZE] =
            bytes.first_chunk().ok_or_else(|| FormatError::new(bytes.len() as u64, Problem::Truncated))?;
        let magic = be32(bytes, 0);
        if magic != MAGIC {
            return Err(FormatError::new(0, Problem::LtxMagic(magic)));
        }
        let header = Self {
            page_size: be32(bytes, 8),
            commit: be32(bytes, 12),
            min: Txid(be64(bytes, 16)),
            max: Txid(be64(bytes, 24)),
            timestamp: timestamp(be64(bytes, 32))?,
            wal_offset: be64(bytes, 48),
            wal_size: be64(bytes, 56),
            wal_salt1: be32(bytes, 64),
            wal_salt2: be32(bytes, 68),
        };
        let flags = be32(bytes, 4);
        let checksum = be64(bytes, 40);
        let consumed = header.wal_size != 0 || header.wal_salt1 != 0 || header.wal_salt2 != 0;
        let rules = [
            (flags == FLAG_NO_CHECKSUM, 4, Problem::LtxFlags(flags)),
            (is_page_size(header.page_size), 8, Problem::PageSize(header.page_size)),
            // Litestream restores nothing from it either.
            (header.commit != 0, 12, Problem::NoPages),
            (header.min.0 != 0 && header.min <= header.max, 16, Problem::TxidRange(header.min.0, header.max.0)),
            (checksum == 0, 40, Problem::DatabaseChecksum(checksum)),
            (header.wal_offset != 0 || !consumed, 48, Problem::WalOffsetMissing),
            (
                header.wal_offset.checked_add(header.wal_size).is_some(),
                48,
                Problem::WalRange(header.wal_offset, header.wal_size),
            ),
        ];
        match rules.into_iter().find(|(holds, ..)| !holds) {
            Some((_, offset, problem)) => Err(FormatError::new(offset, problem)),
            None => Ok(header),
        }
    }

    /// The bytes that [`parse`](Self::parse) reads.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut bytes = [0; HEADER_SIZE];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        put(0, &MAGIC.to_be_bytes());
        put(4, &FLAG_NO_CHECKSUM.to_be_bytes());
        put(8, &self.page_size.to_be_bytes());
        put(12, &self.commit.to_be_bytes());
        put(16, &self.min.0.to_be_bytes());
        put(24, &self.max.0.to_be_bytes());
        put(32, &self.timestamp.as_millisecond().to_be_bytes());
        put(48, &self.wal_offset.to_be_bytes());
        put(56, &self.wal_size.to_be_bytes());
        put(64, &self.wal_salt1.to_be_bytes());
        put(68, &self.wal_salt2.to_be_bytes());
        bytes
    }

    /// How far the WAL had been consumed when the file was written: what is committed before it is in the replica.
    ///
    /// `None` for files that were not made from a WAL: compactions, and what Litestream's VFS writes.
    pub fn wal_end(&self) -> Option<WalPosition> {
        (self.wal_offset != 0).then(|| WalPosition {
            salt1: self.wal_salt1,
            salt2: self.wal_salt2,
            end: self.wal_offset.saturating_add(self.wal_size),
        })
    }

    /// It holds the whole database: a snapshot of level 9, or whatever else starts at TXID 1.
    pub fn is_snapshot(&self) -> bool {
        self.min == Txid(1)
    }

    /// Whether the file is what its name says; Litestream does not look.
    pub fn check_name(&self, name: LtxName) -> Result<(), FormatError> {
        let found = LtxName { min: self.min, max: self.max };
        if found == name {
            return Ok(());
        }
        let found = format!("{} to {}", self.min, self.max);
        Err(FormatError::new(16, Problem::Name { found, name: name.to_string() }))
    }
}

fn timestamp(milliseconds: u64) -> Result<Timestamp, FormatError> {
    let milliseconds = milliseconds.cast_signed();
    Timestamp::from_millisecond(milliseconds).map_err(|_| FormatError::new(32, Problem::Timestamp(milliseconds)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    fn header() -> LtxHeader {
        LtxHeader::parse(&samples::genuine()).unwrap()
    }

    #[test]
    fn reads_a_genuine_header() {
        let header = header();
        assert_eq!(
            header,
            LtxHeader {
                page_size: 4096,
                commit: 4,
                min: Txid(2),
                max: Txid(2),
                timestamp: Timestamp::from_millisecond(1_795_338_790_367).unwrap(),
                wal_offset: 28872,
                wal_size: 4120,
                wal_salt1: 0x6fd8_a9b2,
                wal_salt2: 0xecaa_e4cb,
            }
        );
        assert_eq!(header.wal_end(), Some(WalPosition { salt1: 0x6fd8_a9b2, salt2: 0xecaa_e4cb, end: 32992 }));
        assert_eq!(header.encode(), samples::genuine()[..HEADER_SIZE]);
        assert!(!header.is_snapshot());
    }

    #[test]
    fn names_what_is_wrong_and_where() {
        let error = |offset: usize, bytes: &[u8]| {
            let mut file = samples::genuine();
            file[offset..offset + bytes.len()].copy_from_slice(bytes);
            LtxHeader::parse(&file).unwrap_err().to_string()
        };
        assert_eq!(error(3, b"0"), "not an LTX file: magic 4c545830 at byte 0");
        assert_eq!(error(7, &[3]), "unsupported LTX header flags 00000003 at byte 4");
        assert_eq!(error(10, &[0x11]), "page size 4352 is not a power of two from 512 to 65536 at byte 8");
        assert_eq!(error(15, &[0]), "the database has no pages after it at byte 12");
        assert_eq!(
            error(23, &[0]),
            "TXIDs 0000000000000000 to 0000000000000002: expected a first of at least 1 and a last not below it \
             at byte 16"
        );
        assert_eq!(error(32, &[0x7f]), "timestamp 9151316238155638239 ms is out of range at byte 32");
        assert_eq!(
            error(47, &[1]),
            "database checksum 0000000000000001 where the header's flags allow none at byte 40"
        );
        assert_eq!(error(48, &[0; 8]), "WAL size or salts without a WAL offset at byte 48");
        assert_eq!(error(48, &[255; 8]), "WAL offset 18446744073709551615 and size 4120 exceed 64 bits at byte 48");
        assert_eq!(LtxHeader::parse(&samples::genuine()[..99]).unwrap_err().to_string(), "unexpected end at byte 99");
    }

    #[test]
    fn a_file_under_another_name_is_noticed() {
        let name = |text: &str| text.parse().unwrap();
        assert_eq!(header().check_name(name("0000000000000002-0000000000000002.ltx")), Ok(()));
        assert_eq!(
            header().check_name(name("0000000000000002-0000000000000003.ltx")).unwrap_err().to_string(),
            "TXIDs 0000000000000002 to 0000000000000002 differ from the file's name \
             0000000000000002-0000000000000003.ltx at byte 16"
        );
    }

    #[test]
    fn only_files_made_from_a_wal_have_an_end_in_it() {
        let compaction = LtxHeader { wal_offset: 0, wal_size: 0, wal_salt1: 0, wal_salt2: 0, ..header() };
        assert_eq!(LtxHeader::parse(&compaction.encode()).unwrap().wal_end(), None);
        let snapshot_of_an_empty_wal = LtxHeader { wal_offset: 32, wal_size: 0, ..header() };
        assert_eq!(snapshot_of_an_empty_wal.wal_end().unwrap().end, 32);
    }

    proptest! {
        #[test]
        fn encodes_what_it_reads(bytes in samples::header()) {
            if let Ok(header) = LtxHeader::parse(&bytes) {
                prop_assert_eq!(LtxHeader::parse(&header.encode()), Ok(header));
            }
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = LtxHeader::parse(&bytes);
        }
    }
}
