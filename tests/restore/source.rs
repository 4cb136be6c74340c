//! A database, the real Litestream that replicates it step by step, and both restores of its replica.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rusqlite::Connection;
use streamgauge::domain::litestream::{LtxHeader, LtxName};

use super::lab::litestream::{ACCESS_KEY, SECRET_KEY, printed};
use super::lab::{Lab, command};

/// Rows that compress by half, `{count}` of them.
pub(crate) const ROWS: &str = "INSERT INTO t(b) WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x \
                               WHERE n < {count}) SELECT randomblob(100) || zeroblob(100) FROM x";

pub(crate) fn rows(count: u32) -> String {
    ROWS.replace("{count}", &count.to_string())
}

/// A database and where it is replicated to.
pub(crate) struct Source<'a> {
    lab: &'a Lab,
    pub(crate) home: PathBuf,
    pub(crate) database: PathBuf,
    pub(crate) url: String,
    connection: Option<Connection>,
    restores: std::cell::Cell<u32>,
}

impl<'a> Source<'a> {
    /// A new database with pages of this size, replicated to a directory.
    pub(crate) fn new(lab: &'a Lab, home: &Path, page_size: u32) -> Self {
        let url = format!("file://{}", home.join("replica").display());
        Self::to(lab, home, page_size, url)
    }

    /// The same, replicated to any place.
    pub(crate) fn to(lab: &'a Lab, home: &Path, page_size: u32, url: String) -> Self {
        let database = home.join("app.db");
        let mut this =
            Self { lab, home: home.to_owned(), database, url, connection: None, restores: std::cell::Cell::new(0) };
        this.sql(&format!("PRAGMA page_size = {page_size}; PRAGMA journal_mode = WAL"));
        this.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
        this
    }

    /// Executes statements on a connection that stays open.
    pub(crate) fn sql(&mut self, statements: &str) {
        let connection = self.connection.get_or_insert_with(|| {
            let connection = Connection::open(&self.database).unwrap();
            connection.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
            connection
        });
        connection.execute_batch(statements).unwrap();
    }

    /// Closes the database; its WAL is gone then.
    pub(crate) fn close(&mut self) {
        self.connection = None;
    }

    /// One sync by the real Litestream, and a snapshot if wanted.
    pub(crate) fn sync(&self, version: &str, snapshot: bool) {
        let mut command = self.lab.litestream(version);
        command.args(["replicate", "-once"]).args(snapshot.then_some("-force-snapshot"));
        printed(command.arg(&self.database).arg(&self.url).output().unwrap()).unwrap();
    }

    /// The database as the real Litestream restores it.
    pub(crate) fn theirs(&self, version: &str, options: &[&str]) -> Result<Vec<u8>, String> {
        let out = self.next_path();
        self.lab.restore_with(version, options, &self.url, &out)?;
        Ok(take(&out))
    }

    /// The database as we restore it, to a file as well as to standard output.
    pub(crate) fn ours(&self, options: &[&str]) -> Result<Vec<u8>, String> {
        let out = self.next_path();
        let (streamed, done) = (self.run(Path::new("-"), options), self.run(&out, options));
        assert_eq!(streamed.status.code(), done.status.code(), "{}", String::from_utf8_lossy(&streamed.stderr));
        printed(done)?;
        let database = take(&out);
        assert!(streamed.stdout == database, "{options:?}: standard output differs");
        Ok(database)
    }

    /// The command, whatever comes of it.
    pub(crate) fn run(&self, out: &Path, options: &[&str]) -> Output {
        restore(&self.url, out).args(options).output().unwrap()
    }

    fn next_path(&self) -> PathBuf {
        self.restores.set(self.restores.get() + 1);
        self.home.join(format!("restored-{}.db", self.restores.get()))
    }

    /// Files of a level of a replica in a directory, in order, with what their headers say.
    pub(crate) fn files(&self, level: u8) -> Vec<(PathBuf, LtxName, LtxHeader)> {
        let folder = self.home.join(format!("replica/ltx/{level}"));
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<_> = entries
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                // Not what is being written; and a file may be deleted by Litestream at any time.
                let name = path.file_name()?.to_str()?.parse().ok()?;
                let header = LtxHeader::parse(&fs::read(&path).ok()?).unwrap();
                Some((path, name, header))
            })
            .collect();
        files.sort_by_key(|(_, name, _)| *name);
        files
    }

    /// Both restore the same bytes, or neither restores: the newest state, each TXID, and just before and after each
    /// file was made. Gives how many states were the same.
    #[track_caller]
    pub(crate) fn assert_same(&self, version: &str, txids: u64, instants: &[jiff::Timestamp]) -> usize {
        let mut same = 0;
        let mut compare = |theirs: &[&str], ours: &[&str]| {
            let (left, right) = (self.theirs(version, theirs), self.ours(ours));
            match (&left, &right) {
                (Ok(left), Ok(right)) => {
                    assert!(left == right, "{theirs:?}: {} and {} bytes differ", left.len(), right.len());
                    same += 1;
                }
                (Err(_), Err(_)) => {}
                // Litestream refuses instants behind the newest file, which we take for the newest state.
                (Err(left), Ok(_)) if left.contains("timestamp does not exist") => {}
                (left, right) => panic!("{theirs:?}: {:?} and {:?}", left.as_ref().err(), right.as_ref().err()),
            }
        };
        compare(&[], &[]);
        for txid in 1..=txids {
            let txid = format!("{txid:016x}");
            compare(&["-txid", &txid], &["--txid", &txid]);
        }
        for instant in instants {
            let instant = instant.to_string();
            compare(&["-timestamp", &instant], &["--at", &instant]);
        }
        same
    }
}

/// `streamgauge restore` with the lab's credentials.
pub(crate) fn restore(url: &str, out: &Path) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    command.args(["restore", "--quiet", url, "-o"]).arg(out);
    command
}

/// Reads a file and removes it: databases of many tests are many bytes.
fn take(path: &Path) -> Vec<u8> {
    let content = fs::read(path).unwrap();
    fs::remove_file(path).unwrap();
    content
}
