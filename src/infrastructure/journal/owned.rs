//! Whose a file is that lies where the state should be. It is read as plain bytes: what is not ours is not opened by
//! SQLite, which would change it.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::domain::limits::STATE_WAL_BYTES_MAX;
use crate::infrastructure::files::beside;

/// SQLite's `application_id` of a state: "SGst".
pub(super) const APPLICATION_ID: u32 = 0x5347_7374;

/// The version of the schema, kept in `user_version`. Tables may be added to it.
pub(super) const VERSION: u32 = 1;

/// The largest plausible schema version; above it, the number is damaged.
const VERSION_LIKELY_MAX: u32 = 1_000;

/// Targets, by their names. The first versions kept everything there and had no `application_id`.
pub(super) const TARGETS: &str =
    "CREATE TABLE target (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID";

/// Everything else, by what it is.
pub(super) const ENTRIES: &str = "CREATE TABLE entry (kind TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL, \
                                  PRIMARY KEY (kind, name)) STRICT, WITHOUT ROWID";

const MAGIC: &[u8] = b"SQLite format 3\0";
const HEADER_BYTES: usize = 100;
const LARGEST_PAGE: usize = 65_536;

/// What is found at the path of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing, or an empty file.
    Nothing,
    Ours,
    /// A state of a version of the schema that is not known here.
    Later(u32),
    /// No database at all.
    Damaged,
    /// A database of somebody else.
    Foreign,
    /// A link, a directory, a pipe: nothing that we made.
    NoFile,
}

/// Says what lies at `path`, with the WAL beside it.
pub(super) fn found(path: &Path) -> std::io::Result<Found> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.is_file() => return Ok(Found::NoFile),
        Ok(metadata) if metadata.len() == 0 => return Ok(Found::Nothing),
        Ok(_) => {}
    }
    // SQLite would follow a link that stands where it writes.
    let strange = |end| std::fs::symlink_metadata(beside(path, end)).is_ok_and(|metadata| !metadata.is_file());
    if ["-wal", "-shm", "-journal"].into_iter().any(strange) {
        return Ok(Found::NoFile);
    }
    let mut page = Vec::new();
    open(path)?.take(LARGEST_PAGE as u64).read_to_end(&mut page)?;
    if !page.starts_with(MAGIC) || page.len() < HEADER_BYTES {
        return Ok(Found::Damaged);
    }
    let number = |page: &[u8], at: usize| {
        page.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes)
    };
    // The first page may still stand in the WAL alone.
    let newer = in_wal(&beside(path, "-wal"), &page).filter(|page| page.starts_with(MAGIC));
    let ours = |page: &&Vec<u8>| number(page, 68) == APPLICATION_ID || has_schema(page);
    let Some(last) = newer.as_ref().filter(ours).or_else(|| Some(&page).filter(ours)) else {
        return Ok(Found::Foreign);
    };
    // SQLite would only read what it is not to write, and say nothing.
    if page[18..20].iter().any(|version| !(1..=2).contains(version)) {
        return Ok(Found::Damaged);
    }
    Ok(match number(last, 60) {
        version if version > VERSION_LIKELY_MAX => Found::Damaged,
        version if version > VERSION => Found::Later(version),
        _ => Found::Ours,
    })
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()).open(path)
}

/// The schema of a state, old or new, and nothing besides.
fn has_schema(page: &[u8]) -> bool {
    let contains = |text: &str| page.windows(text.len()).any(|window| window == text.as_bytes());
    // The table of the schema is one leaf: its type, and how many rows it has (SQLite file format, section 1.6).
    let rows = match page.get(HEADER_BYTES..HEADER_BYTES + 5) {
        Some([13, _, _, high, low]) => u16::from_be_bytes([*high, *low]),
        _ => return false,
    };
    contains(TARGETS) && (rows == 1 || rows == 2 && contains(ENTRIES))
}

/// The newest version of the first page in a WAL.
fn in_wal(wal: &Path, page: &[u8]) -> Option<Vec<u8>> {
    const WAL_HEADER: u64 = 32;
    const FRAME_HEADER: u64 = 24;
    let size = match u16::from_be_bytes([page[16], page[17]]) {
        1 => LARGEST_PAGE as u64,
        size => u64::from(size),
    };
    let file = open(wal).ok()?;
    let mut header = [0; WAL_HEADER as usize];
    file.read_exact_at(&mut header, 0).ok()?;
    let end = file.metadata().ok()?.len().min(STATE_WAL_BYTES_MAX);
    let (mut at, mut found) = (WAL_HEADER, None);
    while at + FRAME_HEADER + size <= end {
        let mut frame = [0; FRAME_HEADER as usize];
        file.read_exact_at(&mut frame, at).ok()?;
        // A frame of an earlier round has other salts.
        if frame[8..16] != header[16..24] {
            break;
        }
        if frame[..4] == [0, 0, 0, 1] {
            found = Some(at + FRAME_HEADER);
        }
        at += FRAME_HEADER + size;
    }
    let mut page = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut page, found?).ok()?;
    Some(page)
}
