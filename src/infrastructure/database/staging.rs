//! Litestream's metadata directory: how much it has staged and how far it claims to be.

use std::ffi::OsStr;
use std::fs::DirEntry;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::files::{SETTLED, open, parse_at, read_at, stat, stat_open};
use crate::domain::limits::{STAGED_FILES_MAX, STAGING_DEPTH_MAX, STAGING_ENTRIES_MAX};
use crate::domain::litestream::ltx::HEADER_SIZE;
use crate::domain::litestream::{LtxHeader, LtxName, Txid};
use crate::domain::moment::Moment;
use crate::domain::observation::{ShadowWal, StagedLtx, StagedPosition, Staging};
use crate::domain::sqlite::{WAL_HEADER_BYTES, WalHeader, WalPosition, frame_bytes};

/// The size of a generation's name, and of the line that holds it.
const GENERATION_LENGTH: usize = 16;

/// What was read of a metadata directory of v0.5, and the directories in it as they were. Litestream writes each file there
/// under another name first, so that nothing changes without a change of a directory.
#[derive(Debug, Default)]
pub(super) struct Remembered(Option<(Directories, Arc<Staging>)>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Directories {
    /// Bit by bit, the levels that are there.
    levels: u16,
    /// Which they are, and when they changed.
    state: u64,
    newest: Timestamp,
}

impl Directories {
    fn read(path: &Path, levels: u16) -> Option<Self> {
        let ltx = path.join("ltx");
        let each = (0..u16::BITS).filter(|level| levels >> level & 1 == 1).map(|level| ltx.join(level.to_string()));
        let mut hasher = DefaultHasher::new();
        let mut newest = Timestamp::MIN;
        for directory in [path.to_owned(), ltx.clone()].into_iter().chain(each) {
            let found = stat(&directory).ok()??;
            let modified = found.modified()?;
            (found.id, modified).hash(&mut hasher);
            newest = newest.max(modified);
        }
        Some(Self { levels, state: hasher.finish(), newest })
    }
}

/// Reads the directory unless it is as it was; `None` when there is none or it cannot be read.
pub(super) fn staging(path: &Path, Remembered(known): &mut Remembered, at: Moment) -> Option<Arc<Staging>> {
    if let Some((directories, staging)) = known
        && Directories::read(path, directories.levels) == Some(*directories)
    {
        return Some(Arc::clone(staging));
    }
    *known = None;
    let mut files = Files { budget: STAGING_ENTRIES_MAX, levels: Some(0), bytes: 0 };
    files.read(path, path, STAGING_DEPTH_MAX)?;
    if files.budget == 0 {
        tracing::warn!(path = %path.display(), "more than {STAGING_ENTRIES_MAX} files, their size is a lower bound");
    }
    let position = shadow(path).or_else(|| ltx(path)).unwrap_or(StagedPosition::Empty);
    let staging = Arc::new(Staging { bytes: files.bytes, position });
    let directories = files.levels.and_then(|levels| Directories::read(path, levels));
    let settled = directories.filter(|directories| at.wall().duration_since(directories.newest) > SETTLED);
    *known = settled.map(|directories| (directories, Arc::clone(&staging)));
    Some(staging)
}

/// The files of a metadata directory.
struct Files {
    budget: usize,
    /// The levels of v0.5, if there is nothing else.
    levels: Option<u16>,
    bytes: u64,
}

impl Files {
    /// Takes in all files in a directory below `root`; links are not followed.
    fn read(&mut self, root: &Path, directory: &Path, depth: usize) -> Option<()> {
        for entry in std::fs::read_dir(directory).ok()?.flatten() {
            let Some(left) = self.budget.checked_sub(1) else { break };
            self.budget = left;
            // A file that Litestream deletes meanwhile counts no more.
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() && depth > 0 {
                self.enter(root, &entry.path());
                self.read(root, &entry.path(), depth - 1);
            } else if kind.is_file() {
                self.bytes = self.bytes.saturating_add(entry.metadata().map_or(0, |file| file.len()));
                // One that is being written has another name.
                self.levels = self.levels.filter(|_| is_ltx(&entry));
            }
        }
        Some(())
    }

    fn enter(&mut self, root: &Path, directory: &Path) {
        let below = directory.strip_prefix(root).ok().and_then(Path::to_str).unwrap_or_default();
        let level = below.strip_prefix("ltx/").and_then(|level| level.parse::<u32>().ok());
        self.levels = match level {
            None => self.levels.filter(|_| below == "ltx"),
            Some(level) => self.levels.filter(|_| level < u16::BITS).map(|levels| levels | 1 << level),
        };
    }
}

fn is_ltx(entry: &DirEntry) -> bool {
    entry.file_name().to_str().is_some_and(|name| name.parse::<LtxName>().is_ok())
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
    let mut files: Vec<StagedLtx> = read.collect();
    files.shrink_to_fit();
    Some(StagedPosition::Ltx(files))
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
    use jiff::SignedDuration;
    use streamgauge_testkit::ltx::{Consumed, Header};
    use streamgauge_testkit::wal::Position;

    use super::*;

    fn ltx_header(txid: u64, from: u64, size: u64) -> Vec<u8> {
        let wal = Some(Consumed { from, end: Position { salt1: 7, salt2: 9, end: from + size } });
        let timestamp = 1_700_000_000_123;
        Header { page_size: 4096, commit: 1, min: txid, max: txid, timestamp, wal }.encode().to_vec()
    }

    fn at(wall: Timestamp) -> Moment {
        Moment::new(wall, SignedDuration::ZERO)
    }

    fn read(path: &Path) -> Option<Arc<Staging>> {
        staging(path, &mut Remembered::default(), at(Timestamp::MIN))
    }

    #[test]
    fn what_did_not_change_is_not_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let level = directory.path().join("ltx/0");
        std::fs::create_dir_all(&level).unwrap();
        let write = |txid: u64| {
            std::fs::write(level.join(format!("{txid:016x}-{txid:016x}.ltx")), ltx_header(txid, 32, 4120)).unwrap();
        };
        write(1);
        let mut known = Remembered::default();
        let mut again = |later| staging(directory.path(), &mut known, at(later)).unwrap();
        // What has just changed may change again without another date.
        let now = Timestamp::try_from(std::fs::metadata(&level).unwrap().modified().unwrap()).unwrap();
        let first = again(now);
        assert!(!Arc::ptr_eq(&first, &again(now + SETTLED)));
        let settled = again(now + SETTLED * 2);
        assert!(Arc::ptr_eq(&settled, &again(now + SETTLED * 2)));
        write(2);
        let next = again(now + SETTLED * 9);
        assert_eq!((next.bytes, settled.bytes), (200, 100));
        std::fs::create_dir(directory.path().join("ltx/1")).unwrap();
        std::fs::write(directory.path().join("ltx/1/0000000000000001-0000000000000002.ltx.tmp"), b"begun").unwrap();
        assert_eq!(again(now + SETTLED * 9).bytes, 205);
        // It grows without a change of its directory.
        std::fs::write(directory.path().join("ltx/1/0000000000000001-0000000000000002.ltx.tmp"), b"begun, goes on")
            .unwrap();
        assert_eq!(again(now + SETTLED * 9).bytes, 214);
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
        let staging = read(directory.path()).unwrap();
        assert_eq!(staging.bytes, 70 * 100 + 8 + 7);
        let StagedPosition::Ltx(files) = &staging.position else { panic!("{:?}", staging.position) };
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
        let staging = read(&meta).unwrap();
        let StagedPosition::Shadow { generation, segments } = &staging.position else { panic!() };
        assert_eq!(generation, "0123456789abcdef");
        assert_eq!(segments.iter().map(|file| (file.index, file.end.end)).collect::<Vec<_>>(), [(3, end)]);
    }

    #[test]
    fn an_empty_or_odd_directory_claims_nothing() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("generation"), "../../../etc/cron\n").unwrap();
        assert_eq!(read(directory.path()).unwrap().position, StagedPosition::Empty);
        assert_eq!(read(&directory.path().join("absent")), None);
        assert_eq!(newest_staged(directory.path()), None);
    }
}
