//! One consistent look at the files of a database: wal-index first, then what has to agree with it.

use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::FileType;

use super::files::{
    self, Failure, FileId, FileStat, Paths, SHARED_LOCK, Version, lock_in_the_way, open, parse_at, stat,
};
use super::holders::{Held, held_wal};
use super::open_index::OpenIndex;
use super::wal_log;
use crate::domain::moment::Moment;
use crate::domain::observation::{Counters, DatabaseLook, Journal, WalSource, WalState};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::replacement::Replacement;
use crate::domain::sqlite::{
    DATABASE_HEADER_BYTES, DatabaseHeader, FormatProblem, WAL_HEADER_BYTES, WalIndexHeader, WalPosition, WalScanner,
};

/// Looks at files that change under the reader, before what they say counts as wrong.
const ATTEMPTS: usize = 3;

/// Long enough for a writer that lost its processor in the middle of an update to get it back, mostly.
const PAUSE: Duration = Duration::from_micros(500);

/// The state that one look leaves for the next one.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub scanner: Option<Box<WalScanner>>,
    pub page_size: Option<u32>,
    /// The database file as it was when its header was last found to be one.
    pub headed: Option<Version>,
    /// The WAL that programs use was deleted or moved away, so that the one at its path, if any, is not theirs.
    pub wal_deleted: bool,
}

/// A consistent reading of the files.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub database: FileStat,
    pub wal: Option<FileStat>,
    pub page_size: u32,
    /// The wal-index, which goes on counting when the log was truncated.
    pub index: Option<IndexSample>,
    pub log: Log,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct IndexSample {
    pub id: FileId,
    pub size: u64,
    pub header: WalIndexHeader,
}

/// Where the committed content is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Log {
    Indexed(WalIndexHeader),
    Scanned { position: WalPosition, frames: u32, commits: u64 },
    Absent { change_counter: u32 },
    Rollback { change_counter: u32 },
}

/// What a look need not ask for again.
#[derive(Clone, Copy, Default)]
pub(super) struct Known<'a> {
    /// An open `-shm` that is the one at its path, and in use.
    pub index: Option<&'a OpenIndex>,
    /// A sample since which nothing told of a write to the database file.
    pub unwritten: Option<&'a Sample>,
}

impl Known<'_> {
    /// The database file as it was, where the wal-index says as well that no checkpoint wrote to it since, nor began to, and
    /// the `-wal` beside it is the same file.
    fn database(&self, index: Option<&IndexSample>, wal: Option<&FileStat>) -> Option<FileStat> {
        let last = self.unwritten?;
        let (before, now) = (last.index?, index?);
        let same_index = before.id == now.id && before.header.copied() == now.header.copied();
        (same_index && last.wal?.id == wal?.id).then_some(last.database)
    }
}

/// Looks at the files. The result has a newly opened `-shm` when none was known, or it did not fit.
pub(super) fn sample(
    paths: &Paths,
    known: Known<'_>,
    memory: &mut Memory,
) -> Result<(Sample, Option<OpenIndex>), Failure> {
    let mut outcome = attempt(paths, known, memory, 0);
    for pass in 1..ATTEMPTS {
        match &outcome {
            Err(Failure { transient: true, .. }) => std::thread::sleep(PAUSE),
            _ => break,
        }
        outcome = attempt(paths, Known::default(), memory, pass);
    }
    outcome
}

/// One pass of those that there may be, counted from 0. The wal-index is read first: what it calls committed is already in the `-wal` file, so a `-wal` that is too
/// short for it was changed in between.
fn attempt(
    paths: &Paths,
    known: Known<'_>,
    memory: &mut Memory,
    pass: usize,
) -> Result<(Sample, Option<OpenIndex>), Failure> {
    let opened = if known.index.is_none() { OpenIndex::open(paths)?.filter(OpenIndex::is_connected) } else { None };
    let index = match known.index.or(opened.as_ref()) {
        Some(open) => open.read(paths)?.map(|header| IndexSample { id: open.stat.id, size: open.stat.size, header }),
        None => None,
    };
    let wal = stat(&paths.wal)?;
    let database = match known.database(index.as_ref(), wal.as_ref()) {
        Some(database) => database,
        None => database_file(paths)?,
    };
    let (log, page_size) = match index.map(|index| index.header) {
        // Whoever is in a hurry to close the database is done by the last pass.
        Some(header)
            if pass + 1 == ATTEMPTS && header.frames > 0 && is_elsewhere(paths, &header, wal.as_ref(), memory) =>
        {
            let page_size = header.page_size.or(memory.page_size);
            (Log::Indexed(header), page_size.map_or_else(|| database_header(paths).map(|found| found.page_size), Ok)?)
        }
        Some(header) => indexed(paths, &header, (database.version(), wal.as_ref()), memory)?,
        None => unindexed(paths, wal.as_ref(), memory)?,
    };
    memory.page_size = Some(page_size);
    let sample = Sample { database, wal, page_size, index, log };
    Ok((sample, opened))
}

/// Whether the WAL that a wal-index describes is not at its path: nothing is, or a shorter one is, and those who use the
/// wal-index have another one open.
fn is_elsewhere(paths: &Paths, header: &WalIndexHeader, wal: Option<&FileStat>, memory: &Memory) -> bool {
    let is_short = |wal: &FileStat| header.position().is_some_and(|position| wal.size < position.end);
    wal.is_none_or(|wal| is_short(wal) && (memory.wal_deleted || held_wal(paths) == Held::Other))
}

fn database_file(paths: &Paths) -> Result<FileStat, Failure> {
    let database = stat(&paths.database)?.ok_or_else(|| files::not_found(&paths.database))?;
    match database.file_type() {
        FileType::RegularFile => Ok(database),
        FileType::Symlink => Err(files::symbolic_link(&paths.database).into()),
        _ => {
            let message = format!("open {}: not a regular file", paths.database.display());
            Err(Reason::new(ReasonKind::Misconfigured, message).into())
        }
    }
}

/// Whether the `-wal` file is long enough to hold anything.
fn has_content(wal: Option<&FileStat>) -> bool {
    wal.is_some_and(|wal| wal.size >= WAL_HEADER_BYTES as u64)
}

fn indexed(
    paths: &Paths,
    header: &WalIndexHeader,
    (database, wal): (Version, Option<&FileStat>),
    memory: &mut Memory,
) -> Result<(Log, u32), Failure> {
    memory.scanner = None;
    let wal_size = wal.map_or(0, |wal| wal.size);
    if header.frames > 0
        && let Some(position) = header.position()
        && wal_size < position.end
    {
        let message = format!(
            "read {}: {wal_size} bytes, but according to {}, {} are committed; it may be a new WAL beside a deleted one that \
             programs still hold: DatabaseReplaced says how to save that",
            paths.wal.display(),
            paths.shm.display(),
            position.end
        );
        return Err(Failure::transient(Reason::new(ReasonKind::Corrupt, message)));
    }
    // Salts are 0 when there was no valid log to build the index from.
    let has_log = has_content(wal) && (header.salt1, header.salt2) != (0, 0);
    match header.page_size.or(memory.page_size) {
        Some(page_size) if has_log => {
            // The wal-index goes on whatever was put in the place of the file, or made of it.
            if memory.headed != Some(database) {
                database_header(paths)?;
                memory.headed = Some(database);
            }
            Ok((Log::Indexed(*header), page_size))
        }
        _ => {
            let database = database_header(paths)?;
            let log = if has_log { Log::Indexed(*header) } else { without_log(&database) };
            Ok((log, database.page_size))
        }
    }
}

fn unindexed(paths: &Paths, wal: Option<&FileStat>, memory: &mut Memory) -> Result<(Log, u32), Failure> {
    let database = database_header(paths)?;
    if !has_content(wal) || !database.is_wal() {
        memory.scanner = None;
        if database.is_wal() && wal.is_none() && is_open_elsewhere(paths)? {
            let path = paths.database.display();
            let message = format!("read {path}: a process has it open, but its -wal and -shm are not beside it");
            let reason = Reason::new(ReasonKind::Misconfigured, message).with_hint(
                "mount the directory of the database, not just the file; if -wal and -shm were deleted, programs still \
                 hold them: see DatabaseReplaced in the runbook before you stop one",
            );
            // While it is being opened or closed, this is so for a moment.
            return Err(Failure::transient(reason));
        }
        return Ok((without_log(&database), database.page_size));
    }
    wal_log::scan(&paths.wal, &mut memory.scanner)?;
    let Some(scanner) = &memory.scanner else { return Ok((without_log(&database), database.page_size)) };
    let (frames, commits) = (scanner.committed_frames(), scanner.commits());
    Ok((Log::Scanned { position: scanner.position(), frames, commits }, scanner.header().page_size))
}

/// Somebody has a database in WAL mode open, whose `-shm`, which is then there, is not at this place.
fn is_open_elsewhere(paths: &Paths) -> Result<bool, Reason> {
    if stat(&paths.shm)?.is_some() {
        return Ok(false);
    }
    let Some(file) = open(&paths.database)? else { return Ok(false) };
    Ok(matches!(lock_in_the_way(&file, SHARED_LOCK), Ok(Some(_))))
}

fn without_log(database: &DatabaseHeader) -> Log {
    let change_counter = database.change_counter;
    if database.is_wal() { Log::Absent { change_counter } } else { Log::Rollback { change_counter } }
}

fn database_header(paths: &Paths) -> Result<DatabaseHeader, Failure> {
    let path = &paths.database;
    let file = files::open_found(path)?;
    let parse = |bytes: &[u8]| (!bytes.is_empty()).then(|| DatabaseHeader::parse(bytes));
    let Some(header) = parse_at::<DATABASE_HEADER_BYTES, _>(&file, path, 0, parse)? else {
        let reason = Reason::new(ReasonKind::Unsupported, format!("read {}: the file is empty", path.display()))
            .with_hint("SQLite writes the header with the first table");
        return Err(reason.into());
    };
    header.map_err(|error| {
        let kind = match error.problem {
            FormatProblem::Version(_) => ReasonKind::Unsupported,
            _ => ReasonKind::Corrupt,
        };
        let reason = Reason::new(kind, format!("read {}: {error}", path.display()));
        // A rollback-mode commit may be writing page 1.
        Failure::transient(match error.problem {
            FormatProblem::Magic => reason.with_hint("not a SQLite database, or an encrypted one"),
            _ => reason,
        })
    })
}

impl Sample {
    /// The last commit as the files date it, when nobody saw it.
    pub(super) fn dated(&self) -> Option<Timestamp> {
        match self.log {
            Log::Indexed(header) if header.frames > 0 => self.wal?.modified(),
            Log::Scanned { frames, .. } if frames > 0 => self.wal?.modified(),
            Log::Rollback { .. } => self.database.modified(),
            // A checkpoint writes both files, too.
            _ => None,
        }
    }

    /// The sample in the domain's words.
    pub(super) fn look(
        &self,
        at: Moment,
        counters: Counters,
        last_commit: Option<Timestamp>,
        replacement: Replacement,
    ) -> DatabaseLook {
        DatabaseLook {
            at,
            size_bytes: self.database.size,
            wal_size_bytes: self.wal.map(|wal| wal.size),
            page_size: self.page_size,
            journal: self.journal(),
            last_commit,
            counters,
            replacement,
        }
    }

    fn journal(&self) -> Journal {
        match self.log {
            Log::Indexed(header) => {
                let empty = WalPosition { salt1: header.salt1, salt2: header.salt2, end: WAL_HEADER_BYTES as u64 };
                Journal::Wal(WalState {
                    position: header.position().unwrap_or(empty),
                    frames: header.frames,
                    backfilled_frames: Some(header.backfilled),
                    oldest_reader_frame: header.oldest_reader,
                    source: WalSource::WalIndex,
                })
            }
            Log::Scanned { position, frames, .. } => Journal::Wal(WalState {
                position,
                frames,
                backfilled_frames: None,
                oldest_reader_frame: None,
                source: WalSource::Scan,
            }),
            Log::Rollback { change_counter } => Journal::Rollback { change_counter },
            Log::Absent { change_counter } => Journal::WalAbsent { change_counter },
        }
    }
}
