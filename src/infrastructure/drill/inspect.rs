//! SQLite on a restored copy, which may hold anything: nothing is written, attached, loaded or waited for without end.
//!
//! Questions go to a connection that can only read. SQLite leaves CHECK constraints out when it reads a schema in such a
//! one, so that its own check runs in another, to which the file is one that could be written and every statement that
//! would is refused.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use crate::domain::drill::Integrity;
use crate::domain::drill::probe::{Answer, quoted};
use crate::domain::limits::{DRILL_PROBLEMS_MAX, PROBE_PROGRAM_MAX, PROBE_TIMEOUT, PROBE_VALUE_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::percent::{PATH, encoded};
use crate::usecase::ports::{RestoredCopy, Soundness};

/// Instructions of SQLite's machine between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;

/// How SQLite's checks name a row that violates a CHECK constraint (pragma.c).
const CONSTRAINT_PROBLEM: &str = "CHECK constraint failed in ";

/// Why the constraints of a file are left out whose header says that only other versions may write it.
const ONLY_READ: &str = "this version of SQLite can only read the file, and leaves them out then";

/// Pragmas that only tell something and take no value; SQLite's own full-text search asks for some of them.
const TELLING_PRAGMAS: &[&str] = &[
    "application_id",
    "data_version",
    "encoding",
    "freelist_count",
    "page_count",
    "page_size",
    "schema_version",
    "user_version",
];

/// Pragmas that take a value and tell something of a table or an index.
const DESCRIBING_PRAGMAS: &[&str] =
    &["foreign_key_list", "index_info", "index_list", "index_xinfo", "table_info", "table_list", "table_xinfo"];

/// A restored database.
pub struct SqliteCopy {
    connection: Connection,
    path: PathBuf,
    deadline: Deadline,
    /// All work ends then.
    end: Instant,
}

/// When what SQLite does now is ended, where it asks.
type Deadline = Arc<Mutex<Instant>>;

impl SqliteCopy {
    /// Opens a file that nobody else uses. SQLite allocates at most `memory_max` bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. Whether it is a database shows when it is read.
    pub fn open(path: &Path, memory_max: u64) -> Result<Self, Reason> {
        let end = clock::monotonic() + Duration::from_secs(365 * 86_400);
        let deadline = Arc::new(Mutex::new(end));
        let open = || -> rusqlite::Result<Self> {
            // Immutable: there is no WAL beside a restored file, none is made, and no lock is taken.
            let file = uri(path, "immutable=1&nolock=1");
            let connection = connect(&file, OpenFlags::SQLITE_OPEN_READ_ONLY, &deadline)?;
            set(&connection, &format!("hard_heap_limit = {memory_max}"))?;
            Ok(Self { connection, path: path.to_owned(), deadline: Arc::clone(&deadline), end })
        };
        open().map_err(|error| reason(&error).context("open the restored database"))
    }

    fn until(&self, at: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// Another connection, for which SQLite keeps the CHECK constraints of the schema. A database in WAL mode gets an
    /// empty `-wal` beside it for as long as it is open.
    fn verifying(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
        // Nobody else has the file, so that there is nothing to lock and no index of the WAL to share.
        let connection = connect(&uri(&self.path, "vfs=unix-none"), flags, &self.deadline)?;
        set(&connection, "locking_mode = exclusive")?;
        Ok(connection)
    }

    /// Runs one of SQLite's two checks with the CHECK constraints, and without where they cannot be evaluated, or where
    /// they are all that it came to.
    fn verify(&self, pragma: &str) -> Result<Soundness, Reason> {
        let connection = self.verifying().map_err(|error| reason(&error))?;
        let check = format!("PRAGMA {pragma}({DRILL_PROBLEMS_MAX})");
        let all = rows(&connection, &check).map(|problems| {
            let all = problems.len() >= DRILL_PROBLEMS_MAX as usize;
            let problems = problems.into_iter().filter(|problem| problem != "ok");
            let (constraints, problems): (Vec<_>, Vec<_>) =
                problems.partition(|problem| problem.starts_with(CONSTRAINT_PROBLEM));
            (problems, constraints, all)
        });
        let constraints = match all {
            Ok((problems, constraints, all)) if constraints.is_empty() || !all => {
                let only_read = connection.is_readonly(MAIN_DB).map_err(|error| reason(&error))?;
                let constraints = if only_read { Err(ONLY_READ.to_owned()) } else { Ok(constraints) };
                return Ok(Soundness { problems, constraints });
            }
            Ok((_, constraints, _)) => Ok(constraints),
            // Of a function that only the application has, or one that a schema may not call.
            Err(reason) if reason.kind == ReasonKind::Failed => Err(reason.message),
            Err(reason) => return Err(reason),
        };
        set(&connection, "ignore_check_constraints = 1").map_err(|error| reason(&error))?;
        let mut problems = rows(&connection, &check)?;
        problems.retain(|problem| problem != "ok");
        Ok(Soundness { problems, constraints })
    }

    fn ask(&self, query: &str) -> rusqlite::Result<Result<Answer, &'static str>> {
        let mut statement = self.connection.prepare(query)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Ok(Err("it is not a read-only query"));
        }
        if statement.column_count() != 1 {
            return Ok(Ok(Answer::Several));
        }
        let mut rows = statement.raw_query();
        let Some(row) = rows.next()? else { return Ok(Ok(Answer::NoRow)) };
        let answer = match row.get_ref(0)? {
            ValueRef::Null => Answer::Null,
            ValueRef::Integer(value) => Answer::Integer(value),
            ValueRef::Real(value) => Answer::Real(value),
            ValueRef::Text(text) => Answer::Text(String::from_utf8_lossy(text).into_owned()),
            ValueRef::Blob(blob) => Answer::Blob(blob.len()),
        };
        Ok(Ok(if rows.next()?.is_some() { Answer::Several } else { answer }))
    }

    /// From here on only questions are answered.
    fn restrict(&mut self) -> rusqlite::Result<()> {
        self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, PROBE_VALUE_BYTES_MAX)?;
        self.connection.set_limit(Limit::SQLITE_LIMIT_VDBE_OP, PROBE_PROGRAM_MAX)?;
        self.connection.authorizer(Some(|context: AuthContext<'_>| authorize(&context.action)))
    }
}

impl RestoredCopy for SqliteCopy {
    fn set_deadline(&mut self, remaining: Duration) {
        self.end = clock::monotonic() + remaining;
        self.until(self.end);
    }

    fn schema(&mut self) -> Result<(), Reason> {
        rows(&self.connection, "SELECT count(*) FROM sqlite_schema")
            .map(drop)
            .map_err(|reason| reason.context("read the schema"))
    }

    fn integrity(&mut self, integrity: Integrity) -> Result<Soundness, Reason> {
        let pragma = match integrity {
            Integrity::None => return Ok(Soundness { problems: Vec::new(), constraints: Err("not asked".to_owned()) }),
            Integrity::Quick => "quick_check",
            Integrity::Full => "integrity_check",
        };
        self.until(self.end);
        self.verify(pragma).map_err(|reason| reason.context(pragma))
    }

    fn foreign_keys(&mut self) -> Result<(u64, Option<String>), Reason> {
        self.until(self.end);
        let check = || -> rusqlite::Result<(u64, Option<String>)> {
            let mut statement = self.connection.prepare("PRAGMA foreign_key_check")?;
            let mut rows = statement.query([])?;
            let (mut count, mut first) = (0, None);
            while let Some(row) = rows.next()? {
                count += 1;
                if first.is_none() {
                    let (child, rowid, parent) =
                        (row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, String>(2)?);
                    let row = rowid.map_or_else(|| "a row".to_owned(), |rowid| format!("row {rowid}"));
                    first = Some(format!("{row} of {} refers to {}", quoted(&child), quoted(&parent)));
                }
            }
            Ok((count, first))
        };
        check().map_err(|error| reason(&error).context("foreign_key_check"))
    }

    fn probe(&mut self, query: &str) -> Result<Answer, Reason> {
        self.restrict().map_err(|error| reason(&error))?;
        self.until(self.end.min(clock::monotonic() + PROBE_TIMEOUT));
        let answer = self.ask(query);
        self.until(self.end);
        match answer {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(refused)) => Err(Reason::new(ReasonKind::Misconfigured, refused)),
            Err(rusqlite::Error::MultipleStatement) => {
                Err(Reason::new(ReasonKind::Misconfigured, "it is more than one statement"))
            }
            Err(error) => Err(reason(&error)),
        }
    }
}

/// Opens a file with what every connection is denied.
fn connect(file: &str, flags: OpenFlags, deadline: &Deadline) -> rusqlite::Result<Connection> {
    let flags = flags | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut connection = Connection::open_with_flags(file, flags)?;
    for (option, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
    ] {
        connection.set_db_config(option, value)?;
    }
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    for pragma in ["cell_size_check = 1", "query_only = 1", "temp_store = memory", "mmap_size = 0x7fff0000"] {
        set(&connection, pragma)?;
    }
    let seen = Arc::clone(deadline);
    let late = move || clock::monotonic() >= *seen.lock().unwrap_or_else(PoisonError::into_inner);
    connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(late))?;
    Ok(connection)
}

/// Runs a pragma of ours, of which some answer with a row.
fn set(connection: &Connection, pragma: &str) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

/// The rows of a statement of ours, each as text. What ended it early is the last one, if it is not the first.
fn rows(connection: &Connection, sql: &str) -> Result<Vec<String>, Reason> {
    let mut texts = Vec::new();
    let mut rows = || -> rusqlite::Result<()> {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()?
            && texts.len() < DRILL_PROBLEMS_MAX as usize
        {
            texts.push(match row.get_ref(0)? {
                ValueRef::Text(text) => quoted(&String::from_utf8_lossy(text)),
                other => format!("{:?}", other.data_type()),
            });
        }
        Ok(())
    };
    match rows().map_err(|error| reason(&error)) {
        Err(reason) if texts.is_empty() || reason.kind != ReasonKind::Corrupt => Err(reason),
        Err(reason) => {
            texts.push(reason.message);
            Ok(texts)
        }
        Ok(()) => Ok(texts),
    }
}

/// The actions that a probe is allowed: reads. Writes to tables are refused as statements that do not only read, and by
/// the connection; they are not refused here because SQLite's own R-tree prepares some when a table is first read.
fn authorize(action: &AuthAction<'_>) -> Authorization {
    let allowed = match action {
        AuthAction::Select | AuthAction::Read { .. } | AuthAction::Recursive => true,
        AuthAction::Function { function_name } => !function_name.eq_ignore_ascii_case("load_extension"),
        AuthAction::Insert { table_name }
        | AuthAction::Delete { table_name }
        | AuthAction::Update { table_name, .. } => !table_name.to_ascii_lowercase().starts_with("sqlite_"),
        AuthAction::Pragma { pragma_name, pragma_value } => {
            let is = |known: &&str| pragma_name.eq_ignore_ascii_case(known);
            (pragma_value.is_none() && TELLING_PRAGMAS.iter().any(is)) || DESCRIBING_PRAGMAS.iter().any(is)
        }
        _ => false,
    };
    if allowed { Authorization::Allow } else { Authorization::Deny }
}

/// A `file:` URI (sqlite.org/uri.html), in which a few characters have to be escaped.
fn uri(path: &Path, parameters: &str) -> String {
    format!("file:{}?{parameters}", encoded(path.as_os_str().as_bytes(), PATH))
}

/// The reason for a failure: the database is damaged, or its state could not be found out.
fn reason(error: &rusqlite::Error) -> Reason {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ReasonKind::Corrupt,
        Some(ErrorCode::OperationInterrupted) => ReasonKind::Timeout,
        Some(ErrorCode::AuthorizationForStatementDenied) => ReasonKind::Misconfigured,
        _ if missing(error) => ReasonKind::NotFound,
        _ => ReasonKind::Failed,
    };
    if kind == ReasonKind::Timeout {
        return Reason::new(kind, "it took too long and was stopped");
    }
    Reason::new(kind, quoted(&error.to_string()))
}

/// The restored database lacks what a query reads.
fn missing(error: &rusqlite::Error) -> bool {
    let text = error.to_string();
    text.contains("no such table") || text.contains("no such column")
}

#[cfg(test)]
mod tests;
