//! The first 100 bytes of a database file (SQLite file format §1.3).

use super::{FormatError, FormatProblem, page_size};

/// Size of the database header.
pub const DATABASE_HEADER_BYTES: usize = 100;

const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The fields of the database header.
///
/// In WAL mode it is as old as the last checkpoint that wrote page 1: its page count and change counter do not follow
/// commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatabaseHeader {
    /// Bytes in a page (512 to 65536).
    pub page_size: u32,
    /// 1 for a rollback journal, 2 for WAL; more means that this file must not be written.
    pub write_version: u8,
    /// 1 for a rollback journal, 2 for WAL.
    pub read_version: u8,
    /// Counts transactions in rollback mode.
    pub change_counter: u32,
    /// Size of the database in pages; `None` when a legacy writer did not maintain it.
    pub page_count: Option<u32>,
    /// `SQLITE_VERSION_NUMBER` of the last writer.
    pub sqlite_version: u32,
}

impl DatabaseHeader {
    /// Reads the first 100 bytes of a database file.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let error = |offset, problem| FormatError::new("database header", offset, problem);
        let Some(header) = bytes.first_chunk::<DATABASE_HEADER_BYTES>() else {
            let problem = FormatProblem::Short { have: bytes.len() as u64, need: DATABASE_HEADER_BYTES as u64 };
            return Err(error(0, problem));
        };
        if !header.starts_with(MAGIC) {
            return Err(error(0, FormatProblem::Magic));
        }
        let stored = u32::from(u16::from_be_bytes([header[16], header[17]]));
        // 65536 does not fit into two bytes and is written as 1.
        let page_size = page_size(if stored == 1 { 65_536 } else { stored })
            .ok_or_else(|| error(16, FormatProblem::PageSize(stored)))?;
        let (write_version, read_version) = (header[18], header[19]);
        if !matches!(read_version, 1 | 2) {
            return Err(error(19, FormatProblem::Version(read_version.into())));
        }
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (change_counter, page_count, version_valid_for) = (number(24), number(28), number(92));
        let page_count = (page_count != 0 && change_counter == version_valid_for).then_some(page_count);
        let sqlite_version = number(96);
        Ok(Self { page_size, write_version, read_version, change_counter, page_count, sqlite_version })
    }

    /// Whether the database is in WAL mode.
    pub fn is_wal(&self) -> bool {
        self.read_version == 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first bytes of a database that rusqlite wrote after running `sql`, and SQLite's own page count.
    fn written(sql: &str) -> (Vec<u8>, u32) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch(sql).unwrap();
        let pages = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        drop(connection);
        (std::fs::read(path).unwrap(), pages)
    }

    #[test]
    fn reads_what_sqlite_wrote() {
        for page_size in [512, 1024, 4096, 32_768, 65_536] {
            for (mode, wal) in [("delete", false), ("wal", true)] {
                let sql = format!("pragma page_size={page_size}; pragma journal_mode={mode}; create table t(x)");
                let (bytes, pages) = written(&sql);
                let header = DatabaseHeader::parse(&bytes).unwrap();
                assert_eq!((header.page_size, header.is_wal()), (page_size, wal));
                assert_eq!(header.page_count, Some(pages));
                assert!(header.sqlite_version > 3_040_000);
            }
        }
    }

    #[test]
    fn counts_transactions_in_rollback_mode() {
        let counter = |sql| DatabaseHeader::parse(&written(sql).0).unwrap().change_counter;
        assert_eq!(counter("create table t(x); insert into t values (1); insert into t values (2)"), 3);
    }

    #[test]
    fn names_the_offset() {
        let (good, _) = written("create table t(x)");
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            DatabaseHeader::parse(&bytes).unwrap_err().to_string()
        };
        assert_eq!(with(3, b'x'), "database header at offset 0: not the magic number");
        let size = "database header at offset 16: page size 4097 is not a power of two from 512 to 65536";
        assert_eq!(with(17, 1), size);
        assert_eq!(with(19, 3), "database header at offset 19: version 3 is unknown");
        let short = DatabaseHeader::parse(&good[..99]).unwrap_err().to_string();
        assert_eq!(short, "database header at offset 0: 99 bytes instead of 100");
    }
}
