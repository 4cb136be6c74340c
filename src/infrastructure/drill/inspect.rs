//! SQLite on a restored copy, which may hold anything: nothing is written, attached, loaded or waited for without end.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::domain::drill::Integrity;
use crate::domain::drill::probe::{Answer, quoted};
use crate::domain::limits::{DRILL_PROBLEMS_MAX, PROBE_PROGRAM_MAX, PROBE_TIMEOUT, PROBE_VALUE_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::RestoredCopy;

/// Instructions of SQLite's machine between two looks at the clock.
const INSTRUCTIONS_PER_LOOK: i32 = 10_000;

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
    deadline: Arc<Mutex<Instant>>,
    /// All work ends then.
    end: Instant,
}

impl SqliteCopy {
    /// Opens a file that nobody else uses. SQLite allocates at most `memory_max` bytes.
    ///
    /// # Errors
    ///
    /// When it cannot be opened. Whether it is a database shows when it is read.
    pub fn open(path: &Path, memory_max: u64) -> Result<Self, Reason> {
        let open = || -> rusqlite::Result<Self> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_NOFOLLOW;
            // Immutable: there is no WAL beside a restored file, none is made, and no lock is taken.
            let mut connection = Connection::open_with_flags(uri(path), flags)?;
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
            // One statement at a time, of which some answer with a row.
            for pragma in [
                "cell_size_check = 1".to_owned(),
                "query_only = 1".to_owned(),
                "temp_store = memory".to_owned(),
                "mmap_size = 0x7fff0000".to_owned(),
                format!("hard_heap_limit = {memory_max}"),
            ] {
                let mut statement = connection.prepare(&format!("PRAGMA {pragma}"))?;
                let mut rows = statement.query([])?;
                while rows.next()?.is_some() {}
            }
            let end = Instant::now() + Duration::from_secs(365 * 86_400);
            let deadline = Arc::new(Mutex::new(end));
            let seen = Arc::clone(&deadline);
            let late = move || Instant::now() >= *seen.lock().unwrap_or_else(PoisonError::into_inner);
            connection.progress_handler(INSTRUCTIONS_PER_LOOK, Some(late))?;
            Ok(Self { connection, deadline, end })
        };
        open().map_err(|error| reason(&error).context("open the restored database"))
    }

    fn until(&self, at: Instant) {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The rows of a statement of ours, each as text. What ended it early is the last one, if it is not the first.
    fn rows(&self, sql: &str) -> Result<Vec<String>, Reason> {
        let mut texts = Vec::new();
        let mut rows = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(sql)?;
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

    fn ask(&self, query: &str) -> rusqlite::Result<Result<Answer, &'static str>> {
        let mut statement = self.connection.prepare(query)?;
        if !statement.readonly() || statement.column_count() == 0 {
            return Ok(Err("it is not a query that only reads"));
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
        self.end = Instant::now() + remaining;
        self.until(self.end);
    }

    fn schema(&mut self) -> Result<(), Reason> {
        self.rows("SELECT count(*) FROM sqlite_schema").map(drop).map_err(|reason| reason.context("read the schema"))
    }

    fn integrity(&mut self, integrity: Integrity) -> Result<Vec<String>, Reason> {
        let pragma = match integrity {
            Integrity::None => return Ok(Vec::new()),
            Integrity::Quick => "quick_check",
            Integrity::Full => "integrity_check",
        };
        self.until(self.end);
        let problems = self.rows(&format!("PRAGMA {pragma}({DRILL_PROBLEMS_MAX})"));
        let mut problems = problems.map_err(|reason| reason.context(pragma))?;
        problems.retain(|problem| problem != "ok");
        Ok(problems)
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
        self.until(self.end.min(Instant::now() + PROBE_TIMEOUT));
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

/// What a probe may do: read. Writes to tables are refused as statements that do not only read, and by the connection;
/// they are not refused here because SQLite's own R-tree prepares some when a table is first read.
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
fn uri(path: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            // Writing to a string does not fail.
            other => drop(write!(uri, "%{other:02x}")),
        }
    }
    uri.push_str("?immutable=1&nolock=1");
    uri
}

/// What a failure says of the database: damaged, or only that it could not be found out.
fn reason(error: &rusqlite::Error) -> Reason {
    let kind = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ReasonKind::Corrupt,
        Some(ErrorCode::OperationInterrupted) => ReasonKind::Timeout,
        Some(ErrorCode::AuthorizationForStatementDenied) => ReasonKind::Misconfigured,
        _ if missing(error) => ReasonKind::NotFound,
        _ => ReasonKind::Failed,
    };
    if kind == ReasonKind::Timeout {
        return Reason::new(kind, "it took too long and was ended");
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
