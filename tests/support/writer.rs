//! A SQLite writer in a process of its own: the process that watches must never use SQLite on the same files.
//!
//! The test executable starts itself again with `--exact writer_child --ignored` and talks to it in lines.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Marks the lines that are answers among what the test harness prints.
const MARK: &str = "@@";

pub(crate) struct Writer {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<String>,
}

impl Writer {
    /// Starts a writer that has opened `path` after running `setup`.
    pub(crate) fn open(path: &Path, setup: &str) -> Self {
        let mut writer = Self::start();
        writer.ask(&format!("open {}", path.display()));
        writer.sql(setup);
        writer
    }

    /// A writer with a table in WAL mode that checkpoints only when told.
    pub(crate) fn wal(path: &Path) -> Self {
        let setup = "pragma journal_mode=wal; pragma synchronous=off; pragma wal_autocheckpoint=0;
                     create table if not exists t(x)";
        Self::open(path, &setup.replace('\n', " "))
    }

    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer_child", "--exact", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (commands, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (send, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some((_, answer)) = line.split_once(MARK)
                    && send.send(answer.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        Self { child, commands, answers }
    }

    pub(crate) fn tell(&mut self, command: &str) {
        writeln!(self.commands, "{command}").unwrap();
    }

    pub(crate) fn answer(&self) -> String {
        self.answers.recv().expect("the writer answers")
    }

    pub(crate) fn answered(&self) -> Option<String> {
        self.answers.try_recv().ok()
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        let answer = self.answer();
        assert!(!answer.starts_with("error"), "{command}: {answer}");
        answer
    }

    pub(crate) fn sql(&mut self, sql: &str) {
        self.ask(&format!("sql {sql}"));
    }

    /// Commits `count` transactions.
    pub(crate) fn write(&mut self, count: u64) {
        self.ask(&format!("write {count}"));
    }

    /// What SQLite says: frames in the log, and how many of them are checkpointed.
    pub(crate) fn frames(&mut self) -> (u32, u32) {
        let answer = self.ask("frames");
        let (frames, backfilled) = answer.split_once(' ').unwrap();
        (frames.parse().unwrap(), backfilled.parse().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Closes the connection in good order and ends.
    pub(crate) fn close(mut self) {
        self.ask("close");
        drop(self.commands);
        self.child.wait().unwrap();
    }

    /// Ends without closing anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The writer's side.
pub(crate) fn serve() {
    let mut connection = None;
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let answer = match obey(&mut connection, verb, rest) {
            Ok(answer) => answer,
            Err(error) => format!("error {error}"),
        };
        println!("{MARK}{answer}");
        std::io::stdout().flush().unwrap();
    }
}

fn obey(connection: &mut Option<rusqlite::Connection>, verb: &str, rest: &str) -> rusqlite::Result<String> {
    if verb == "open" {
        *connection = Some(rusqlite::Connection::open(rest)?);
        return Ok("opened".to_owned());
    }
    if verb == "close" {
        *connection = None;
        return Ok("closed".to_owned());
    }
    // `reopen MILLISECONDS`: closes and opens it again and again, which makes and deletes its WAL.
    if verb == "reopen" {
        let path = connection.take().expect("opened before").path().expect("in a file").to_owned();
        let end = std::time::Instant::now() + std::time::Duration::from_millis(rest.parse().unwrap());
        while std::time::Instant::now() < end {
            rusqlite::Connection::open(&path)?.execute_batch("insert into t values (1)")?;
        }
        return Ok("reopened".to_owned());
    }
    let database = connection.as_ref().expect("opened before");
    match verb {
        "sql" => database.execute_batch(rest)?,
        // Opens and closes a file besides SQLite.
        "read" => drop(std::fs::read(rest).unwrap()),
        "write" => {
            let mut insert = database.prepare("insert into t values (1)")?;
            for _ in 0..rest.parse::<u64>().unwrap() {
                insert.execute([])?;
            }
        }
        // `run MILLISECONDS EVERY MODE`: writes at full speed, with a checkpoint every so many commits.
        "run" => {
            let words: Vec<&str> = rest.split(' ').collect();
            let end = std::time::Instant::now() + std::time::Duration::from_millis(words[0].parse().unwrap());
            let every: u64 = words[1].parse().unwrap();
            let checkpoint = format!("pragma wal_checkpoint({})", words[2]);
            let mut insert = database.prepare("insert into t values (1)")?;
            let mut commits = 0_u64;
            while std::time::Instant::now() < end {
                insert.execute([])?;
                commits += 1;
                if commits.is_multiple_of(every) {
                    database.query_row(&checkpoint, [], |_| Ok(()))?;
                }
            }
            return Ok(commits.to_string());
        }
        "frames" => {
            return database.query_row("pragma wal_checkpoint(noop)", [], |row| {
                Ok(format!("{} {}", row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            });
        }
        other => panic!("unknown command {other}"),
    }
    Ok("done".to_owned())
}
