//! The journal: what survives a restart, in a small SQLite file of the agent's own. Deleting it loses history and
//! nothing else.

mod lock;
mod owned;

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use self::owned::{APPLICATION_ID, ENTRIES, Found, TARGETS, VERSION};
use crate::domain::limits::STATES_SET_ASIDE_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{EntryKey, EntryKind, Journal};

/// The file below the storage path.
const FILE: &str = "state.sqlite";

/// Pages that SQLite keeps of it: it is written in the order of the names, and read once.
const CACHE_KIB: i32 = 512;

type Entries = Vec<(EntryKey, String)>;

/// Kind, name and text of all entries.
const ALL: &str = "SELECT 'target', name, state FROM target UNION ALL SELECT kind, name, state FROM entry";

/// The same of the targets in a state of the first versions, which kept more among them.
const OLD: &str = "SELECT 'target', name, state FROM target WHERE instr(name, char(31)) = 0";

/// SQLite's word for a database in which nothing is wrong.
const INTACT: &str = "ok";

/// The journal in `<storage path>/state.sqlite`. What keeps it from being used is tried again with each saving.
#[derive(Debug)]
pub struct SqliteJournal {
    directory: PathBuf,
    open: Option<Open>,
    set_aside: u64,
    /// Writing showed that it is damaged, whatever reading it says.
    suspect: bool,
}

/// A state that is in use.
#[derive(Debug)]
struct Open {
    connection: Connection,
    /// Device and inode of the file.
    file: (u64, u64),
    _lock: File,
}

/// Why a state cannot be used.
enum Fault {
    /// It is ours and broken.
    Damaged(Reason),
    /// Anything else: it is left as it is.
    Other(Reason),
}

impl SqliteJournal {
    /// A journal that is opened when it is first used.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), open: None, set_aside: 0, suspect: false }
    }

    /// Opens the state if it is not, and reads what can be read of it. One that is damaged is set aside and begun anew.
    fn read(&mut self) -> Result<Entries, Reason> {
        self.open = None;
        std::fs::create_dir_all(&self.directory).map_err(|error| {
            Reason::from(error)
                .context(format!("create {}", self.directory.display()))
                .with_hint("name a directory that the agent may write with --storage.path")
        })?;
        // SQLite is told to follow no link, not even one on the way to the directory.
        let at = |error: std::io::Error| Reason::from(error).context(format!("open {}", self.directory.display()));
        let directory = self.directory.canonicalize().map_err(at)?;
        let path = directory.join(FILE);
        let lock = lock::lock(&directory)?;
        let mut entries = Vec::new();
        let suspect = std::mem::take(&mut self.suspect);
        let opened = match try_open(&path, &mut entries) {
            Ok(_) if suspect => Err(Fault::Damaged(Reason::new(ReasonKind::Corrupt, "it could not be written"))),
            opened => opened,
        };
        let opened = match opened {
            Err(Fault::Damaged(reason)) => {
                let aside = set_aside(&path)?;
                self.set_aside += 1;
                tracing::error!(
                    path = %path.display(), aside = %aside.display(), %reason,
                    "state of earlier runs is damaged; set aside as .bad"
                );
                try_open(&path, &mut Vec::new())
            }
            opened => opened,
        };
        let connection = opened.map_err(|fault| {
            let (Fault::Damaged(reason) | Fault::Other(reason)) = fault;
            reason.context(format!("open {}", path.display()))
        })?;
        self.open = Some(Open { connection, file: identity(&path).map_err(at)?, _lock: lock });
        Ok(entries)
    }

    fn try_save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason> {
        let path = self.directory.join(FILE);
        if self.open.is_none() {
            self.read()?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        // What keeps it from being opened names its path by itself.
        let failed = |reason: Reason| reason.context(format!("write {}", path.display()));
        if identity(&path).ok() != Some(open.file) {
            let gone = Reason::new(ReasonKind::NotFound, "it was removed or replaced while it was in use");
            return Err(failed(gone));
        }
        let written = write(&mut open.connection, entries, gone);
        self.suspect = written.as_ref().is_err_and(damaged);
        written.map_err(|error| failed(reason(&error)))
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Gives a damaged state a name that nothing has.
fn set_aside(path: &Path) -> Result<PathBuf, Reason> {
    let beside = |name: &str| path.with_file_name(format!("{FILE}{name}"));
    let names = (0..STATES_SET_ASIDE_MAX).map(|number| match number {
        0 => ".bad".to_owned(),
        number => format!(".bad.{number}"),
    });
    let free = |name: &String| ["", "-wal"].iter().all(|end| identity(&beside(&format!("{name}{end}"))).is_err());
    let Some(name) = names.into_iter().find(free) else {
        let message = format!("there are already {STATES_SET_ASIDE_MAX} damaged states beside {}", path.display());
        return Err(Reason::new(ReasonKind::Failed, message).with_hint("remove them"));
    };
    let doing = format!("set {} aside", path.display());
    std::fs::rename(path, beside(&name)).map_err(|error| Reason::from(error).context(doing))?;
    // Absent in most cases; the WAL belongs to what was set aside, the wal-index to nothing.
    let _ = std::fs::rename(beside("-wal"), beside(&format!("{name}-wal")));
    let _ = std::fs::remove_file(beside("-shm"));
    Ok(beside(&name))
}

/// Opens what is ours, or makes it, and reads as much as can be read.
fn try_open(path: &Path, entries: &mut Entries) -> Result<Connection, Fault> {
    let refused = |message: &str| Reason::new(ReasonKind::Denied, message);
    let foreign = "it is left as it is; name another directory with --storage.path";
    match owned::found(path).map_err(|error| Fault::Other(error.into()))? {
        Found::Nothing | Found::Ours => {}
        Found::Damaged => return Err(Fault::Damaged(Reason::new(ReasonKind::Corrupt, "not a SQLite database"))),
        Found::Foreign => return Err(Fault::Other(refused("the database of another program").with_hint(foreign))),
        Found::NoFile => return Err(Fault::Other(refused("a link, or not a regular file").with_hint(foreign))),
        Found::Later(version) => {
            let reason = refused(&format!("written by a later version of streamgauge (state version {version})"));
            let hint = "it is left as it is; run that version, or name another directory with --storage.path";
            return Err(Fault::Other(reason.with_hint(hint)));
        }
    }
    match prepare(path, entries) {
        Ok((connection, verdict)) if verdict == INTACT => Ok(connection),
        Ok((_, verdict)) => Err(Fault::Damaged(Reason::new(ReasonKind::Corrupt, verdict))),
        Err(error) if damaged(&error) => Err(Fault::Damaged(reason(&error))),
        Err(error) => Err(Fault::Other(reason(&error))),
    }
}

/// Opens a state that is ours or is not there, with all its tables, and reads it. One that is not intact, by SQLite's own
/// verdict, is read as far as that goes and not changed.
fn prepare(path: &Path, entries: &mut Entries) -> rusqlite::Result<(Connection, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(2))?;
    let tables = tables(&connection)?;
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let select = match tables.as_slice() {
        [] | [ENTRIES, TARGETS] => ALL,
        [TARGETS] => OLD,
        _ => return Err(rusqlite::Error::InvalidQuery),
    };
    if !tables.is_empty() {
        let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if verdict != INTACT || select == ALL {
            read(&connection, select, entries)?;
        }
        if verdict != INTACT {
            return Ok((connection, verdict));
        }
    }
    if select == OLD || tables.is_empty() {
        // Before it is in WAL mode, so that a file that is there at all says whose it is.
        let transaction = connection.transaction()?;
        if tables.is_empty() {
            transaction.execute_batch(TARGETS)?;
        }
        transaction.execute_batch(ENTRIES)?;
        separate(&transaction)?;
        mark(&transaction)?;
        transaction.commit()?;
        read(&connection, ALL, entries)?;
    }
    mark(&connection)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    Ok((connection, INTACT.to_owned()))
}

/// Says in the file whose it is.
fn mark(connection: &Connection) -> rusqlite::Result<()> {
    for (pragma, value) in [("application_id", APPLICATION_ID), ("user_version", VERSION)] {
        if connection.pragma_query_value(None, pragma, |row| row.get::<_, u32>(0))? != value {
            connection.pragma_update(None, pragma, value)?;
        }
    }
    Ok(())
}

/// The statements that made the tables, in alphabetical order.
fn tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY sql")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Moves what the first versions kept among the targets, under names that no target should have had.
fn separate(connection: &Connection) -> rusqlite::Result<()> {
    for kind in EntryKind::ALL {
        let (pattern, name) = match kind {
            // The first versions had no history.
            EntryKind::Target | EntryKind::History | EntryKind::Recorded => continue,
            EntryKind::Objects => ("name LIKE '_%' || char(31) || 'objects'", "substr(name, 1, length(name) - 8)"),
            EntryKind::Alerts | EntryKind::Notified | EntryKind::Names | EntryKind::Sources => {
                ("name = char(31) || ?1", "''")
            }
        };
        let word = kind.as_str();
        let both = [
            format!("INSERT OR IGNORE INTO entry SELECT ?1, {name}, state FROM target WHERE {pattern}"),
            format!("DELETE FROM target WHERE ?1 = ?1 AND {pattern}"),
        ];
        for sql in both {
            connection.execute(&sql, [word])?;
        }
    }
    Ok(())
}

/// Reads all entries; what is no text is left out.
fn read(connection: &Connection, select: &str, entries: &mut Entries) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(select)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let text = |at| row.get_ref(at).ok().and_then(|value| value.as_str().ok()).map(str::to_owned);
        let (Some(kind), Some(name), Some(state)) = (text(0), text(1), text(2)) else { continue };
        if let Some(kind) = EntryKind::ALL.iter().copied().find(|known| known.as_str() == kind) {
            entries.push((EntryKey { kind, name }, state));
        }
    }
    Ok(())
}

fn write(connection: &mut Connection, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let mut target = transaction.prepare("INSERT OR REPLACE INTO target (name, state) VALUES (?1, ?2)")?;
        let mut other = transaction.prepare("INSERT OR REPLACE INTO entry (kind, name, state) VALUES (?1, ?2, ?3)")?;
        for (EntryKey { kind, name }, state) in entries {
            match kind {
                EntryKind::Target => target.execute(params![name, state])?,
                kind => other.execute(params![kind.as_str(), name, state])?,
            };
        }
        let mut target = transaction.prepare("DELETE FROM target WHERE name = ?1")?;
        let mut other = transaction.prepare("DELETE FROM entry WHERE kind = ?1 AND name = ?2")?;
        for EntryKey { kind, name } in gone {
            match kind {
                EntryKind::Target => target.execute([name])?,
                kind => other.execute([kind.as_str(), name])?,
            };
        }
    }
    transaction.commit()
}

/// The names that an agent saved, read beside it; none if they cannot be read.
pub fn peek(directory: &Path) -> Entries {
    let mut entries = Vec::new();
    let Ok(path) = directory.join(FILE).canonicalize() else { return entries };
    if owned::found(&path).ok() != Some(Found::Ours) {
        return entries;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let read = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout(Duration::from_secs(2))?;
        let select = if tables(&connection)? == [TARGETS] { OLD } else { ALL };
        self::read(&connection, select, &mut entries)
    });
    if let Err(error) = read {
        tracing::debug!(%error, "cannot read the names of earlier runs");
    }
    entries
}

/// Whether an agent keeps its state there now.
pub fn is_in_use(directory: &Path) -> bool {
    lock::is_held(directory)
}

fn damaged(error: &rusqlite::Error) -> bool {
    // The last of these is SQLite's plain error, as for a format that it does not know.
    let codes = [ErrorCode::NotADatabase, ErrorCode::DatabaseCorrupt, ErrorCode::Unknown];
    error.sqlite_error_code().is_some_and(|code| codes.contains(&code))
        || matches!(
            error,
            rusqlite::Error::InvalidQuery
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::Utf8Error(..)
                | rusqlite::Error::SqlInputError { .. }
        )
}

fn reason(error: &rusqlite::Error) -> Reason {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => ReasonKind::Denied,
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => ReasonKind::Corrupt,
        _ => ReasonKind::Failed,
    };
    Reason::new(kind, error.to_string())
}

impl Journal for SqliteJournal {
    fn load(&mut self) -> Result<Entries, Reason> {
        self.read().map_err(|reason| reason.context("read state of earlier runs"))
    }

    fn save(&mut self, entries: &[(EntryKey, String)], gone: &[EntryKey]) -> Result<(), Reason> {
        let saved = self.try_save(entries, gone);
        if saved.is_err() {
            // Whatever it was, the next time begins with what lies there then.
            self.open = None;
        }
        saved
    }

    fn set_aside(&self) -> u64 {
        self.set_aside
    }
}

#[cfg(test)]
mod tests;
