//! An application's database: orders, one small transaction after the other.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::Connection;

use crate::{doing, sqlite};

/// Rows that are kept, so that who writes for long does not fill the disk.
const ROWS_MAX: u64 = 50_000;

/// Creates a database without orders.
pub fn create(path: &Path) -> io::Result<Connection> {
    // For its owner only, as a production database is; SQLite gives -wal and -shm the same mode.
    let created = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.map_err(doing(format!("create {}", path.display())))?;
    let connection = open(path)?;
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE orders(id INTEGER PRIMARY KEY, at TEXT NOT NULL, item TEXT NOT NULL, cents INTEGER NOT NULL);
             CREATE INDEX orders_by_item ON orders(item);",
        )
        .map_err(sqlite("create database"))?;
    Ok(connection)
}

/// A connection of the application's, which leaves checkpoints to who replicates.
pub fn open(path: &Path) -> io::Result<Connection> {
    let connection = Connection::open(path).map_err(sqlite("open database"))?;
    connection
        .execute_batch("PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL;")
        .map_err(sqlite("set up connection"))?;
    Ok(connection)
}

/// One small transaction: a new order, and the oldest goes when there are very many.
pub fn write(connection: &Connection) -> io::Result<()> {
    connection
        .execute_batch(&format!(
            "BEGIN IMMEDIATE;
             INSERT INTO orders(at, item, cents)
                 VALUES (strftime('%Y-%m-%dT%H:%M:%fZ'), 'item ' || hex(randomblob(40)), abs(random()) % 100000);
             DELETE FROM orders WHERE id <= last_insert_rowid() - {ROWS_MAX};
             COMMIT;"
        ))
        .inspect_err(|_| {
            // What failed may have been any statement; without a transaction this does nothing.
            let _ = connection.execute_batch("ROLLBACK");
        })
        .map_err(sqlite("write order"))
}
