//! A program that writes to a database: another process than the one that reads its files, because closing a plain
//! descriptor drops all locks that its process holds on the file.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use super::Lab;

/// Executes one command a line and answers each with one line. `commit N` commits N transactions, `run MS` commits one
/// every MS milliseconds until the next command; both answer with the number committed so far.
const PROGRAM: &str = r#"
import json, os, select, sqlite3, sys
os.umask(0o077)
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute("PRAGMA journal_mode = WAL")
db.execute("PRAGMA synchronous = NORMAL")
committed, every, pending = 0, None, b""
def commit():
    global committed
    db.execute("INSERT INTO t(b) VALUES (hex(randomblob(50)))")
    committed += 1
while True:
    while b"\n" not in pending:
        if every is not None and not select.select([0], [], [], every)[0]:
            commit()
            continue
        read = os.read(0, 65536)
        if not read:
            sys.exit()
        pending += read
    line, pending = pending.split(b"\n", 1)
    word, _, rest = line.decode().partition(" ")
    every = None
    if word == "commit":
        for _ in range(int(rest)):
            commit()
        print(committed, flush=True)
    elif word == "run":
        every = int(rest) / 1000
        print(committed, flush=True)
    else:
        print(json.dumps(db.execute(rest).fetchall()), flush=True)
"#;

pub struct Writer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Lab {
    /// Opens the database in WAL mode. SQLite's own automatic checkpoints stay on.
    pub fn writer(&self, database: &Path) -> Writer {
        let mut command = self.program("py/bin/python");
        command.args(["-c", PROGRAM]).arg(database).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Writer { child, input, output: BufReader::new(output) }
    }
}

impl Writer {
    /// Creates the table that the transactions go to; itself one transaction, which is not counted.
    pub fn create_table(&mut self) {
        self.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
    }

    /// Commits `count` transactions and returns how many there were in all.
    pub fn commit(&mut self, count: u64) -> u64 {
        self.ask(&format!("commit {count}")).parse().unwrap()
    }

    /// Commits by itself from now on, until any other command.
    pub fn run(&mut self, every: Duration) {
        self.ask(&format!("run {}", every.as_millis()));
    }

    /// Stops committing and returns how many transactions there were in all.
    pub fn pause(&mut self) -> u64 {
        self.commit(0)
    }

    /// Executes one statement and returns its rows as a JSON array of arrays.
    pub fn sql(&mut self, statement: &str) -> serde_json::Value {
        serde_json::from_str(&self.ask(&format!("sql {statement}"))).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes the database; the last one to do so deletes its WAL.
    pub fn close(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }

    fn ask(&mut self, line: &str) -> String {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        assert!(answer.ends_with('\n'), "the writer died of: {line}");
        answer.trim_end().to_owned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
