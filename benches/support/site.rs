//! Many databases with a replica each, written by other processes: SQLite must not be in one process with who reads its
//! files.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::SystemTime;

use streamgauge_testkit::orders;
use streamgauge_testkit::replicator::{DATABASE, Pace, Replicator};

use super::{Outcome, say};

const CHILD: &str = "STREAMGAUGE_BENCH_CHILD";
const RANGE: &str = "STREAMGAUGE_BENCH_RANGE";

/// A database takes eight descriptors in the process that writes it, and a process may have 20 000 here.
const HELD_BY_ONE_PROCESS: usize = 2_000;

/// A process that writes databases and replicates them.
pub struct Holder {
    child: Child,
    answers: BufReader<ChildStdout>,
}

/// Creates so many databases below `root`, and the processes that hold them.
pub fn create(root: &Path, databases: usize) -> Outcome<Vec<Holder>> {
    let starts = (0..databases).step_by(HELD_BY_ONE_PROCESS);
    let start = |first: usize| {
        let mut child = Command::new(std::env::current_exe()?)
            .env(CHILD, root)
            .env(RANGE, format!("{first} {}", databases.min(first + HELD_BY_ONE_PROCESS)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = BufReader::new(child.stdout.take().ok_or("the child has no output")?);
        Ok(Holder { child, answers })
    };
    let mut holders = starts.map(start).collect::<Outcome<Vec<_>>>()?;
    holders.iter_mut().try_for_each(Holder::wait)?;
    Ok(holders)
}

impl Holder {
    /// Waits until what it was told is done.
    pub fn wait(&mut self) -> Outcome {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line == "done\n" { Ok(()) } else { Err("a child failed".into()) }
    }

    /// Tells it to commit so often, in one database after the other.
    pub fn commit(&mut self, count: usize) -> Outcome {
        let input = self.child.stdin.as_mut().ok_or("the child has no input")?;
        Ok(writeln!(input, "{count}")?)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where a database is, as `DATABASE`, with its replica, as `REPLICA`.
pub fn directory(root: &Path, number: usize) -> PathBuf {
    root.join((number / 100).to_string()).join(number.to_string())
}

/// Where this process is to hold databases, if it is one of those.
pub fn is_holder() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Creates the databases, then commits in one after the other as often as it is told to.
pub fn hold(root: &Path) -> Outcome {
    let range = std::env::var(RANGE)?;
    let (from, until) = range.split_once(' ').ok_or("two numbers")?;
    let open = |number: usize| -> Outcome<_> {
        let directory = directory(root, number);
        std::fs::create_dir_all(&directory)?;
        let mut replicator = Replicator::create(&directory)?;
        replicator.pace = Pace::LITESTREAM;
        replicator.tick(now()?)?;
        Ok((orders::open(&directory.join(DATABASE))?, replicator))
    };
    let mut databases = (from.parse()?..until.parse()?).map(open).collect::<Outcome<Vec<_>>>()?;
    say("done")?;
    let mut next = 0;
    for line in std::io::stdin().lines() {
        for _ in 0..line?.parse()? {
            let (connection, replicator) = &mut databases[next];
            orders::write(connection)?;
            replicator.tick(now()?)?;
            next = (next + 1) % databases.len();
        }
        say("done")?;
    }
    Ok(())
}

fn now() -> Outcome<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis().try_into()?)
}
