//! Clients that only want to be in the way of others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::lab::agent::Agent;
use super::lab::{command, http, wait_for};

fn database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    connection
}

fn watching(settings: &str, databases: &[PathBuf]) -> String {
    let entries = databases.iter().map(|path| format!("[[database]]\npath = {path:?}\n"));
    format!("{settings}\n{}", entries.collect::<String>())
}

/// Each of several scrapes is answered, however long that takes.
fn scrapes(agent: &Agent, count: usize) {
    for number in 0..count {
        let answer = http::get(&agent.address, "/metrics", &[]);
        let answer = answer.unwrap_or_else(|error| panic!("scrape {number}: {error}"));
        assert!(answer.text().contains("\nstreamgauge_database_up{"), "scrape {number}: {}", answer.text());
    }
}

#[test]
fn connections_that_say_nothing_or_little_keep_no_scrape_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let agent = Agent::start(home.path(), &watching("", &[path]), &[]);
    agent.wait_until_ready();
    let connect = |address: &str| TcpStream::connect(address).unwrap();
    let silent: Vec<_> = (0..4_000).map(|_| connect(&agent.address)).collect();
    scrapes(&agent, 5);

    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let chatty = thread::spawn({
        let (address, over, asked) = (agent.address.clone(), Arc::clone(&over), Arc::clone(&asked));
        move || {
            let mut streams: Vec<_> = (0..256).map(|_| connect(&address)).collect();
            while !over.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    let mut answer = [0; 512];
                    let sent = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
                    if sent.is_err() || !stream.read(&mut answer).is_ok_and(|count| count > 0) {
                        *stream = connect(&address);
                    }
                }
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    wait_for("the chatty ones", || asked.load(Ordering::Relaxed) > 1);
    scrapes(&agent, 30);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.process.pid())).unwrap().count();
    assert!(descriptors < 400, "{descriptors} descriptors");
    over.store(true, Ordering::Relaxed);
    chatty.join().unwrap();
    drop(silent);
}

/// With few descriptors it is the connections that have to do with fewer, and no database is called unreadable for it.
#[test]
fn connections_take_no_descriptor_that_a_database_needs() {
    let home = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..20).map(|number| home.path().join(format!("db{number}.db"))).collect();
    let open: Vec<_> = paths.iter().map(|path| database(path)).collect();
    let mut limited = command("sh");
    limited.args(["-c", "ulimit -n 96 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_streamgauge")]);
    let settings = "[watch]\npoll-interval = \"200ms\"\nsweep-interval = \"1s\"\n";
    let agent = Agent::start_by(limited, home.path(), &watching(settings, &paths), &home.path().join("storage"), &[]);
    agent.wait_until_ready();
    let streams: Vec<_> = (0..300).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    for round in 0..30 {
        open.iter().for_each(|connection| connection.execute_batch("INSERT INTO t VALUES (2)").unwrap());
        let metrics = agent.metrics();
        let up = metrics.lines().filter(|line| line.starts_with("streamgauge_database_up{"));
        let up: Vec<_> = up.filter(|line| line.ends_with(" 1.0") || line.ends_with(" 1")).collect();
        assert_eq!(up.len(), paths.len(), "round {round}: {metrics}\n{}", agent.process.log());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(agent.process.log_lines("Too many open files"), 0, "{}", agent.process.log());
    drop(streams);
}

#[test]
fn reloads_without_end_are_few_and_keep_no_scrape_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let agent = Agent::start(home.path(), &watching("", &[path]), &[]);
    agent.wait_until_ready();
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reloading: Vec<_> = (0..64)
        .map(|_| {
            let (address, over, done) = (agent.address.clone(), Arc::clone(&over), Arc::clone(&done));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok(answer) = http::request("POST", &address, "/-/reload", &[], b"") else { continue };
                    assert!(matches!(answer.status, 200 | 429), "{}: {}", answer.status, answer.text());
                    done.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    wait_for("many answers", || {
        scrapes(&agent, 1);
        done.load(Ordering::Relaxed) > 500
    });
    over.store(true, Ordering::Relaxed);
    reloading.into_iter().for_each(|thread| thread.join().unwrap());
    let (answers, reads) = (done.load(Ordering::Relaxed), agent.process.log_lines("configuration reloaded"));
    assert!(reads * 4 < answers, "{answers} answers by {reads} readings");
}
