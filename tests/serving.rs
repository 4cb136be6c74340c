//! The binary as users run it: scraped by the real Prometheus, reloaded, stopped, starved of disk and of answers, and
//! asked on the command line.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

#[path = "serving/alerts.rs"]
mod alerts;
#[path = "serving/api.rs"]
mod api;
#[path = "serving/cases.rs"]
mod cases;
#[path = "serving/check.rs"]
mod check;
#[path = "serving/dashboards.rs"]
mod dashboards;
#[path = "serving/demo.rs"]
mod demo;
#[path = "serving/many.rs"]
mod many;
#[path = "serving/names.rs"]
mod names;
#[path = "serving/process.rs"]
mod process;
#[path = "serving/profiles.rs"]
mod profiles;
#[path = "serving/prometheus.rs"]
mod prometheus;
#[path = "serving/reload.rs"]
mod reload;
#[path = "serving/rules.rs"]
mod rules;
#[path = "serving/storage.rs"]
mod storage;
#[path = "serving/web_config.rs"]
mod web_config;
#[path = "serving/why.rs"]
mod why;

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use rusqlite::Connection;

/// A database in WAL mode with one row. While the connection lives, so does the WAL.
fn database(path: &Path) -> Connection {
    // For its owner only, as `check` wants it; SQLite gives -wal and -shm the same mode.
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).unwrap();
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    connection
}

fn commit(connection: &Connection) {
    connection.execute_batch("INSERT INTO t VALUES (2)").unwrap();
}

/// A `streamgauge.toml` with these databases, none of which has a replica.
fn watching<'a>(settings: &str, databases: impl IntoIterator<Item = &'a PathBuf>) -> String {
    let entries = databases.into_iter().map(|path| format!("[[database]]\npath = {path:?}\n"));
    format!("{settings}\n{}", entries.collect::<String>())
}

/// What a command of the binary printed. It is told of no configuration but that in the arguments.
fn streamgauge(arguments: &[&str]) -> Output {
    let mut command = lab::command(env!("CARGO_BIN_EXE_streamgauge"));
    command.env_remove("LITESTREAM_CONFIG").args(arguments).output().unwrap()
}

/// Exit code and both outputs.
fn told(arguments: &[&str]) -> (i32, String, String) {
    let output = streamgauge(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Descriptors that a process has open.
fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}
