//! Models of what streamgauge watches, once each: `streamgauge demo` runs them, and tests break them.
//!
//! They know nothing of streamgauge and take and give plain values, paths and bytes: what is read with one and written
//! with the other was not written by the one that reads it. A time is an argument; only the S3 server, which has to
//! date its answers, lets everything be of one day.

pub mod http;
pub mod log;
pub mod ltx;
pub mod orders;
pub mod replica;
pub mod replicator;
pub mod s3;
pub mod wal;

use std::fmt::Display;
use std::io;

/// Puts what was being done in front of the system's message.
fn doing(what: impl Display) -> impl FnOnce(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// As [`doing`], for SQLite's message.
fn sqlite(what: &'static str) -> impl Fn(rusqlite::Error) -> io::Error {
    move |error| io::Error::other(format!("{what}: {error}"))
}
