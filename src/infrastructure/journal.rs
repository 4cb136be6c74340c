//! What survives a restart, in a small SQLite file of the agent's own. Deleting it loses history and nothing else.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, params};

use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::Journal;

/// The file below the storage path.
const FILE: &str = "state.sqlite";

/// The version of the schema, kept in `user_version`. A file of another version is set aside, not migrated.
const VERSION: i64 = 1;

/// The journal in `<storage path>/state.sqlite`.
#[derive(Debug)]
pub struct SqliteJournal {
    connection: Connection,
}

impl SqliteJournal {
    /// Opens or creates the journal, with the directory if it is missing. A file that is damaged or of another version
    /// is renamed to `state.sqlite.bad` and begun anew.
    ///
    /// # Errors
    ///
    /// When the directory cannot be written, or another agent uses it.
    pub fn open(directory: &Path) -> Result<Self, Reason> {
        let doing = || format!("open {}", directory.join(FILE).display());
        std::fs::create_dir_all(directory).map_err(|error| {
            Reason::from(error)
                .context(format!("create {}", directory.display()))
                .with_hint("name a directory that the agent may write with --storage.path")
        })?;
        let path = directory.join(FILE);
        match Self::try_open(&path) {
            Ok(journal) => Ok(journal),
            Err(error) if damaged(&error) => {
                let aside = directory.join(format!("{FILE}.bad"));
                tracing::warn!(path = %path.display(), %error, "state of earlier runs is damaged; set aside as .bad");
                std::fs::rename(&path, aside).map_err(|error| Reason::from(error).context(doing()))?;
                for suffix in ["-wal", "-shm"] {
                    // Absent in most cases.
                    let _ = std::fs::remove_file(directory.join(format!("{FILE}{suffix}")));
                }
                Self::try_open(&path).map_err(|error| reason(&error).context(doing()))
            }
            Err(error) => Err(reason(&error).context(doing())),
        }
    }

    fn try_open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::from_secs(2))?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
        match version {
            0 => {
                connection.execute_batch(
                    "CREATE TABLE IF NOT EXISTS target (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID",
                )?;
                connection.pragma_update(None, "user_version", VERSION)?;
            }
            VERSION => {}
            _ => return Err(rusqlite::Error::InvalidQuery),
        }
        Ok(Self { connection })
    }
}

/// What an agent saved, read beside it; nothing where that cannot be read.
pub fn peek(directory: &Path) -> Vec<(String, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let Ok(connection) = Connection::open_with_flags(directory.join(FILE), flags) else { return Vec::new() };
    let entries = connection.busy_timeout(std::time::Duration::from_secs(2)).and_then(|()| entries(&connection));
    entries.unwrap_or_default()
}

fn entries(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare("SELECT name, state FROM target")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn damaged(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt))
        || matches!(error, rusqlite::Error::InvalidQuery)
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
    fn load(&mut self) -> Result<Vec<(String, String)>, Reason> {
        entries(&self.connection).map_err(|error| reason(&error).context("read state of earlier runs"))
    }

    fn save(&mut self, entries: &[(String, String)], gone: &[String]) -> Result<(), Reason> {
        let mut save = || {
            let transaction = self.connection.transaction()?;
            {
                let mut insert = transaction.prepare("INSERT OR REPLACE INTO target (name, state) VALUES (?1, ?2)")?;
                for (name, state) in entries {
                    insert.execute(params![name, state])?;
                }
                let mut delete = transaction.prepare("DELETE FROM target WHERE name = ?1")?;
                for name in gone {
                    delete.execute(params![name])?;
                }
            }
            transaction.commit()
        };
        save().map_err(|error| reason(&error).context("write state"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, state: &str) -> (String, String) {
        (name.into(), state.into())
    }

    #[test]
    fn keeps_what_was_saved_and_forgets_what_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = SqliteJournal::open(directory.path()).unwrap();
        journal.save(&[entry("a", "1"), entry("b", "2")], &[]).unwrap();
        journal.save(&[entry("a", "3")], &["b".into()]).unwrap();
        drop(journal);
        assert_eq!(SqliteJournal::open(directory.path()).unwrap().load().unwrap(), [entry("a", "3")]);
    }

    #[test]
    fn damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), [7; 8192]).unwrap();
        let mut journal = SqliteJournal::open(directory.path()).unwrap();
        assert_eq!(journal.load().unwrap(), []);
        assert!(directory.path().join("state.sqlite.bad").exists());
    }

    #[test]
    fn directory_that_cannot_be_made_is_a_reason_with_a_hint() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let reason = SqliteJournal::open(&file.join("state")).unwrap_err();
        assert_eq!(reason.hint.as_deref(), Some("name a directory that the agent may write with --storage.path"));
    }
}
