//! Litestream's metadata directory: how much it has staged and how far it claims to be.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use super::files::{open, parse_at, read_at, stat_open};
use crate::domain::limits::{STAGED_FILES_MAX, STAGING_DEPTH_MAX, STAGING_ENTRIES_MAX};
use crate::domain::litestream::ltx::HEADER_SIZE;
use crate::domain::litestream::{LtxHeader, LtxName, Txid};
use crate::domain::observation::{ShadowWal, StagedLtx, StagedPosition, Staging};
use crate::domain::sqlite::{WAL_HEADER_BYTES, WalHeader, WalPosition, frame_bytes};

/// The size of a generation's name, and of the line that holds it.
const GENERATION_LENGTH: usize = 16;

/// Reads the directory; `None` when there is none or it cannot be read.
pub(super) fn staging(path: &Path) -> Option<Staging> {
    let mut budget = STAGING_ENTRIES_MAX;
    let bytes = bytes_in(path, STAGING_DEPTH_MAX, &mut budget)?;
    if budget == 0 {
        tracing::warn!(path = %path.display(), "more than {STAGING_ENTRIES_MAX} files, their size is a lower bound");
    }
    let position = shadow(path).or_else(|| ltx(path)).unwrap_or(StagedPosition::Empty);
    Some(Staging { path: path.to_owned(), bytes, position })
}

/// The size of all files below `directory`; links are not followed.
fn bytes_in(directory: &Path, depth: usize, budget: &mut usize) -> Option<u64> {
    let mut bytes: u64 = 0;
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let Some(left) = budget.checked_sub(1) else { break };
        *budget = left;
        // A file that Litestream deletes meanwhile counts no more.
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth > 0 {
            bytes = bytes.saturating_add(bytes_in(&entry.path(), depth - 1, budget).unwrap_or(0));
        } else if kind.is_file() {
            bytes = bytes.saturating_add(entry.metadata().map_or(0, |file| file.len()));
        }
    }
    Some(bytes)
}

/// The files in `directory` whose name `parse` understands, ascending.
fn named<T: Ord>(directory: &Path, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<(T, PathBuf)>> {
    let entries = std::fs::read_dir(directory).ok()?.flatten().take(STAGING_ENTRIES_MAX);
    let understand = |entry: DirEntry| Some((entry.file_name().to_str().and_then(&parse)?, entry.path()));
    let mut files: Vec<_> = entries.filter_map(understand).collect();
    files.sort_by(|one, other| one.0.cmp(&other.0));
    Some(files)
}

/// The newest TXID of the files of `ltx/0` (v0.5) by their names.
pub(super) fn newest_staged(path: &Path) -> Option<Txid> {
    raw(path)?.last().map(|(txid, _)| *txid)
}

/// v0.5: the files of `ltx/0`, ascending.
fn raw(path: &Path) -> Option<Vec<(Txid, PathBuf)>> {
    named(&path.join("ltx/0"), |name| name.parse().ok().map(|LtxName { max, .. }| max))
}

/// v0.5: the newest files of `ltx/0`.
fn ltx(path: &Path) -> Option<StagedPosition> {
    let files = raw(path)?;
    let newest = files.get(files.len().saturating_sub(STAGED_FILES_MAX)..)?;
    let read = newest.iter().filter_map(|(txid, file)| {
        let staged = parse_at::<HEADER_SIZE, _>(&open(file).ok()??, file, 0, staged_ltx).ok()?;
        staged.filter(|staged| staged.txid == *txid)
    });
    Some(StagedPosition::Ltx(read.collect()))
}

/// Where a local file ends in the WAL; Litestream makes all of them from one.
fn staged_ltx(header: &[u8]) -> Option<StagedLtx> {
    let header = LtxHeader::parse(header).ok()?;
    Some(StagedLtx {
        txid: header.max,
        end: header.wal_end()?,
        wal_bytes: header.wal_size,
        timestamp: header.timestamp,
    })
}

/// v0.3: the current generation and its shadow WAL.
fn shadow(path: &Path) -> Option<StagedPosition> {
    let file = path.join("generation");
    let mut line = [0; GENERATION_LENGTH + 1];
    let count = read_at(&open(&file).ok()??, &file, &mut line, 0).ok()?;
    let generation = std::str::from_utf8(line.get(..count)?).ok()?.trim_end();
    // It becomes part of a path.
    if generation.len() != GENERATION_LENGTH || !generation.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let directory = path.join("generations").join(generation).join(OsStr::new("wal"));
    let files = named(&directory, |name| {
        let digits = name.strip_suffix(".wal")?;
        (digits.len() == 8).then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    })
    .unwrap_or_default();
    let newest = files.get(files.len().saturating_sub(STAGED_FILES_MAX)..)?;
    let segments = newest.iter().filter_map(|(index, file)| shadow_wal(*index, file)).collect();
    Some(StagedPosition::Shadow { generation: generation.to_owned(), segments })
}

fn shadow_wal(index: u32, path: &Path) -> Option<ShadowWal> {
    let file = open(path).ok()??;
    let size = stat_open(&file, path).ok()?.size;
    let header = parse_at::<WAL_HEADER_BYTES, _>(&file, path, 0, WalHeader::parse).ok()?.ok()?;
    let (start, frame) = (WAL_HEADER_BYTES as u64, frame_bytes(header.page_size));
    let end = start + size.saturating_sub(start) / frame * frame;
    Some(ShadowWal { index, end: WalPosition { salt1: header.salt1, salt2: header.salt2, end } })
}

#[cfg(test)]
mod tests {
    use streamgauge_testkit::ltx::{Consumed, Header};
    use streamgauge_testkit::wal::Position;

    use super::*;

    fn ltx_header(txid: u64, from: u64, size: u64) -> Vec<u8> {
        let wal = Some(Consumed { from, end: Position { salt1: 7, salt2: 9, end: from + size } });
        let timestamp = 1_700_000_000_123;
        Header { page_size: 4096, commit: 1, min: txid, max: txid, timestamp, wal }.encode().to_vec()
    }

    #[test]
    fn reads_the_newest_ltx_files_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let level = directory.path().join("ltx/0");
        std::fs::create_dir_all(&level).unwrap();
        for txid in 1..=70_u64 {
            std::fs::write(level.join(format!("{txid:016x}-{txid:016x}.ltx")), ltx_header(txid, 32, 4120 * txid))
                .unwrap();
        }
        std::fs::write(level.join(format!("{0:016x}-{0:016x}.ltx", 71)), b"LTX1 cut").unwrap();
        std::fs::write(level.join("0000000000000048.ltx.tmp"), b"staging").unwrap();
        assert_eq!(newest_staged(directory.path()), Some(Txid(71)), "by its name");
        let staging = staging(directory.path()).unwrap();
        assert_eq!(staging.bytes, 70 * 100 + 8 + 7);
        let StagedPosition::Ltx(files) = staging.position else { panic!("{:?}", staging.position) };
        assert_eq!(files.iter().map(|file| file.txid.0).collect::<Vec<_>>(), (8..=70).collect::<Vec<_>>());
        let newest = files.last().unwrap();
        assert_eq!(newest.end, WalPosition { salt1: 7, salt2: 9, end: 32 + 4120 * 70 });
        assert_eq!(newest.timestamp.as_millisecond(), 1_700_000_000_123);
    }

    #[test]
    fn reads_the_shadow_wal_of_the_current_generation() {
        let directory = tempfile::tempdir().unwrap();
        let connection = rusqlite::Connection::open(directory.path().join("db")).unwrap();
        connection.execute_batch("pragma journal_mode=wal; create table t(x); insert into t values (1)").unwrap();
        let mut wal = std::fs::read(directory.path().join("db-wal")).unwrap();
        let end = wal.len() as u64;
        wal.extend_from_slice(&[0; 100]);
        let meta = directory.path().join("meta");
        let shadow = meta.join("generations/0123456789abcdef/wal");
        std::fs::create_dir_all(&shadow).unwrap();
        std::fs::write(meta.join("generation"), "0123456789abcdef\n").unwrap();
        std::fs::write(shadow.join("00000003.wal"), &wal).unwrap();
        let StagedPosition::Shadow { generation, segments } = staging(&meta).unwrap().position else { panic!() };
        assert_eq!(generation, "0123456789abcdef");
        assert_eq!(segments.iter().map(|file| (file.index, file.end.end)).collect::<Vec<_>>(), [(3, end)]);
    }

    #[test]
    fn an_empty_or_odd_directory_claims_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("generation"), "../../../etc/cron\n").unwrap();
        assert_eq!(staging(directory.path()).unwrap().position, StagedPosition::Empty);
        assert_eq!(staging(&directory.path().join("absent")), None);
        assert_eq!(newest_staged(directory.path()), None);
    }
}
