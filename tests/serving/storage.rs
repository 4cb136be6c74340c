//! The storage path: losing it loses history and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::Connection;

use super::lab::agent::Agent;
use super::lab::{http, wait_for};
use super::{database, watching};

/// A directory with a database, and the configuration that watches it.
struct Home {
    directory: tempfile::TempDir,
    toml: String,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        drop(database(&path));
        let toml = watching("", [&path]);
        Self { directory, toml }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// An agent that keeps its history there and is ready.
    fn agent(&self, name: &str, storage: &Path) -> Agent {
        self.agent_of(name, &self.toml, storage)
    }

    fn agent_of(&self, name: &str, toml: &str, storage: &Path) -> Agent {
        let directory = self.path(name);
        fs::create_dir(&directory).unwrap();
        let agent = Agent::start_keeping(&directory, toml, storage, &[]);
        agent.wait_until_ready();
        assert_eq!(agent.metric("streamgauge_database_up", &[("database", "app")]), Some(1.0));
        agent
    }
}

/// Ends it in order and returns what it logged.
fn ended(mut agent: Agent) -> String {
    let status = agent.process.stop();
    assert!(status.success(), "{status}: {}", agent.process.log());
    agent.process.log()
}

#[test]
fn a_path_that_cannot_be_written_is_warned_of() {
    let home = Home::new();
    // Not even root can make a directory of a file.
    let log = ended(home.agent("agent", &home.path("app.db")));
    assert!(log.contains("nothing will survive a restart"), "{log}");
    assert_eq!(log.matches("cannot save history").count(), 0, "it is said once: {log}");
    assert!(log.contains("name a directory that the agent may write with --storage.path"), "{log}");
}

#[test]
fn a_damaged_file_is_set_aside() {
    let home = Home::new();
    let storage = home.path("storage");
    fs::create_dir(&storage).unwrap();
    fs::write(storage.join("state.sqlite"), [0xa5; 10_000]).unwrap();
    let agent = home.agent("agent", &storage);
    assert_eq!(agent.metric("streamgauge_state_set_aside_total", &[]), Some(1.0));
    let failed = [("check", "StateSetAside"), ("status", "fail")];
    assert_eq!(agent.metric("streamgauge_check_status", &failed), Some(1.0));
    let log = ended(agent);
    assert!(log.contains("set aside as .bad"), "{log}");
    assert_eq!(fs::read(storage.join("state.sqlite.bad")).unwrap(), [0xa5; 10_000]);
    let log = ended(home.agent("again", &storage));
    assert!(!log.contains("level=warn"), "{log}");
}

/// The databases of which something is remembered.
fn remembered(storage: &Path) -> Vec<String> {
    let file = Connection::open(storage.join("state.sqlite")).unwrap();
    let names = "SELECT name FROM target UNION SELECT name FROM entry WHERE name != '' ORDER BY 1";
    let mut statement = file.prepare(names).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn what_is_gone_is_forgotten_and_what_came_back_is_not() {
    let home = Home::new();
    let storage = home.path("storage");
    let [gone, back] = ["gone.db", "back.db"].map(|name| home.path(name));
    let _open = [&gone, &back].map(|path| database(path));
    let settings = format!("{}[watch]\nseries-grace = \"100ms\"\n", home.toml);
    let all = watching(&settings, [&gone, &back]);
    ended(home.agent_of("agent", &all, &storage));
    assert_eq!(remembered(&storage), ["app", "back", "gone"]);

    let agent = home.agent_of("again", &all, &storage);
    let reload = |toml: &str| {
        fs::write(&agent.config, toml).unwrap();
        agent.process.signal(rustix::process::Signal::HUP);
    };
    let up = |name| agent.metric("streamgauge_database_up", &[("database", name)]);
    reload(&settings);
    wait_for("both to go", || up("gone").is_none() && up("back").is_none());
    reload(&watching(&settings, [&back]));
    wait_for("one to be back", || up("back") == Some(1.0));
    ended(agent);
    assert_eq!(remembered(&storage), ["app", "back"]);
}

#[test]
fn a_second_agent_keeps_off_and_says_whose_it_is() {
    let home = Home::new();
    let storage = home.path("storage");
    let one = home.agent("one", &storage);
    let two = home.agent("two", &storage);
    let log = ended(two);
    let pid = fs::read_to_string(storage.join("state.lock")).unwrap();
    let expected = format!("another agent, process {}, keeps its state there", pid.trim());
    assert!(log.contains(&expected), "{log}");
    assert!(log.contains("give each agent a directory of its own with --storage.path"), "{log}");
    ended(one);
    let log = ended(home.agent("three", &storage));
    assert!(!log.contains("level=warn"), "{log}");
}

/// Whatever lies there and is not ours is another program's, perhaps one that is being replicated.
#[test]
fn what_is_not_ours_is_left_as_it_is() {
    let home = Home::new();
    let foreign = |sql: &str| {
        let directory = tempfile::tempdir_in(home.directory.path()).unwrap();
        let connection = Connection::open(directory.path().join("state.sqlite")).unwrap();
        connection.execute_batch(sql).unwrap();
        directory
    };
    let databases = [
        foreign("CREATE TABLE t(x); INSERT INTO t VALUES (1)"),
        foreign("PRAGMA application_id = 7; CREATE TABLE target(name TEXT PRIMARY KEY, state TEXT NOT NULL)"),
        foreign(
            "CREATE TABLE target (name TEXT PRIMARY KEY, state TEXT NOT NULL) STRICT, WITHOUT ROWID; \
             CREATE TABLE t(x)",
        ),
    ];
    let link = tempfile::tempdir_in(home.directory.path()).unwrap();
    std::os::unix::fs::symlink(home.path("app.db"), link.path().join("state.sqlite")).unwrap();
    for (number, directory) in databases.iter().chain([&link]).enumerate() {
        let file = directory.path().join("state.sqlite");
        let before = fs::read(&file).unwrap();
        let log = ended(home.agent(&format!("agent-{number}"), directory.path()));
        let why = if number == 3 { "a link, or not a regular file" } else { "the database of another program" };
        assert!(log.contains(why) && log.contains("it is left as it is"), "{log}");
        assert!(fs::read(&file).unwrap() == before, "{why}: it was changed");
        let mut names: Vec<_> =
            fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["state.lock", "state.sqlite"]);
    }
}

/// The first versions had one table for everything, and nothing that says whose the file is.
#[test]
fn a_state_of_the_first_versions_is_taken_over() {
    let home = Home::new();
    let storage = home.path("storage");
    ended(home.agent("agent", &storage));
    let names = home.path("app.db").display().to_string();
    {
        let file = Connection::open(storage.join("state.sqlite")).unwrap();
        file.execute_batch(
            // They kept no history.
            "DELETE FROM entry WHERE kind IN ('history', 'recorded'); PRAGMA application_id = 0; INSERT INTO target SELECT name || char(31) || kind, state FROM entry; \
             UPDATE target SET name = 'old' WHERE name = 'app'; DROP TABLE entry",
        )
        .unwrap();
    }
    let agent = home.path("again");
    fs::create_dir(&agent).unwrap();
    let agent = Agent::start_keeping(&agent, &home.toml, &storage, &[]);
    agent.wait_until_ready();
    assert_eq!(agent.report()["databases"][0]["name"], "old", "{names} was called so");
    let log = ended(agent);
    assert!(!log.contains("level=warn") && !log.contains("level=error"), "{log}");
    assert_eq!(remembered(&storage), ["old"]);
    let file = Connection::open(storage.join("state.sqlite")).unwrap();
    let mixed = "SELECT count(*) FROM target WHERE instr(name, char(31)) > 0";
    assert_eq!(file.query_row(mixed, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
}

/// After a host has started without one of its mounts.
#[test]
fn a_source_that_lost_everything_over_a_restart_is_told() {
    let home = Home::new();
    let (storage, tenants) = (home.path("storage"), home.path("tenants"));
    fs::create_dir(&tenants).unwrap();
    drop(database(&tenants.join("one.db")));
    let yaml = home.path("litestream.yml");
    let (data, replicas) = (tenants.display(), home.path("replicas"));
    let text = format!(
        "dbs:\n  - {{dir: {data}, pattern: '*.db', watch: true, replica: {{type: file, path: {}}}}}\n",
        replicas.display()
    );
    fs::write(&yaml, text).unwrap();
    let toml = format!("[litestream]\nconfig = {yaml:?}\ndiscovery-interval = \"1s\"\n{}", home.toml);
    ended(home.agent_of("agent", &toml, &storage));
    fs::rename(&tenants, home.path("unmounted")).unwrap();
    fs::create_dir(&tenants).unwrap();
    let agent = home.agent_of("again", &toml, &storage);
    let source = yaml.display().to_string();
    let discovered = || agent.metric("streamgauge_discovery_success", &[("source", &source)]);
    let read = || agent.metric("streamgauge_config_last_reload_success_timestamp_seconds", &[]);
    let first = read();
    assert_eq!(discovered(), Some(0.0));
    wait_for("it to be read again", || read() > first);
    assert_eq!(discovered(), Some(0.0), "nobody said that it is on purpose");
    assert_eq!(http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap().status, 200);
    assert_eq!(discovered(), Some(0.0), "a stranger confirms nothing");
    agent.process.signal(rustix::process::Signal::HUP);
    wait_for("it to be confirmed", || discovered() == Some(1.0));
    ended(agent);
    let log = ended(home.agent_of("at last", &toml, &storage));
    assert!(!log.contains("is not believed"), "{log}");
}

#[test]
fn a_directory_that_vanishes_is_told_and_begun_anew() {
    let home = Home::new();
    let storage = home.path("storage");
    let agent = home.agent("agent", &storage);
    wait_for("the first saving", || agent.metric("streamgauge_state_last_save_successful", &[]) == Some(1.0));
    fs::rename(&storage, home.path("elsewhere")).unwrap();
    wait_for("it to be told", || agent.process.log().contains("it was removed or replaced while it was in use"));
    wait_for("it to be begun anew", || agent.process.log().contains("history is saved again"));
    assert_eq!(remembered(&storage), ["app"], "everything is saved, not only what changed since");
    ended(agent);
}

/// A file system of its own, unmounted when dropped. `None` for those who may not mount one.
struct Mount(PathBuf);

impl Mount {
    fn tiny(path: PathBuf) -> Option<Self> {
        fs::create_dir(&path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(&path).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Whatever is left goes with the machine.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
#[allow(clippy::print_stderr, reason = "a skipped test says why")]
fn a_full_disk_is_warned_of() {
    let home = Home::new();
    let Some(storage) = Mount::tiny(home.path("storage")) else {
        eprintln!("skipped: mounting a small file system is for root");
        return;
    };
    let agent = home.agent("agent", &storage.0);
    // What `write` could not place of the last megabyte is what makes it full.
    fs::write(storage.0.join("ballast"), vec![1; 1 << 20]).unwrap_err();
    let saved = || agent.metric("streamgauge_state_last_save_successful", &[]);
    wait_for("saving to fail", || saved() == Some(0.0));
    let failed = [("check", "StateNotSaved"), ("status", "fail")];
    assert_eq!(agent.metric("streamgauge_check_status", &failed), Some(1.0));
    fs::remove_file(storage.0.join("ballast")).unwrap();
    wait_for("saving to go on", || saved() == Some(1.0));
    let log = ended(agent);
    assert!(log.contains("cannot save history: a restart would lose it"), "{log}");
    assert!(log.contains("history is saved again"), "{log}");
    let log = ended(home.agent("again", &storage.0));
    assert!(!log.contains("level=warn"), "{log}");
}
