//! Names of databases, seen from outside: they stay over siblings that come and go, over a restart, and in commands.

use std::fs;

use rusqlite::Connection;

use super::lab::agent::Agent;
use super::lab::{http, wait_for};
use super::{commit, database, told};

fn names(agent: &Agent) -> Vec<String> {
    let report = agent.report();
    let names = report["databases"].as_array().unwrap().iter().map(|database| database["name"].as_str().unwrap());
    names.map(str::to_owned).collect()
}

fn reload(agent: &Agent) {
    let answer = http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[test]
fn a_name_outlives_its_siblings_and_the_agent() {
    let home = tempfile::tempdir().unwrap();
    let tenants = home.path().join("tenants");
    let tenant = |name: &str| tenants.join(name).join("app.db");
    for name in ["a", "b"] {
        fs::create_dir_all(tenants.join(name)).unwrap();
    }
    let yaml = home.path().join("litestream.yml");
    let text = format!(
        "dbs:\n  - {{dir: {}, pattern: '*.db', recursive: true, watch: true, replica: {{type: file, path: {}}}}}\n",
        tenants.display(),
        home.path().join("replicas").display()
    );
    fs::write(&yaml, text).unwrap();
    let storage = home.path().join("storage");
    let settings =
        format!("[litestream]\nconfig = {yaml:?}\n[watch]\nseries-grace = \"100ms\"\npoll-interval = \"100ms\"\n");
    let toml = format!("{settings}[storage]\npath = {storage:?}\n");
    let a = database(&tenant("a"));
    drop(database(&tenant("b")));

    let agent = Agent::start_keeping(home.path(), &toml, &storage, &[]);
    agent.wait_until_ready();
    assert_eq!(names(&agent), ["a/app", "b/app"]);
    let commits = |agent: &Agent, name| agent.metric("streamgauge_database_commits_total", &[("database", name)]);
    commit(&a);
    wait_for("a commit to be counted", || commits(&agent, "a/app") == Some(1.0));
    fs::remove_file(tenant("b")).unwrap();
    reload(&agent);
    wait_for("the other tenant to go", || names(&agent) == ["a/app"]);
    commit(&a);
    wait_for("the next commit to be counted", || commits(&agent, "a/app") == Some(2.0));
    let log = agent.process.log();
    assert!(!log.contains("already exists") && !log.contains("polled"), "{log}");

    // Not even a crash makes another name of it.
    let saved = || {
        let state = Connection::open(storage.join("state.sqlite")).unwrap();
        let count = "SELECT count(*) FROM entry WHERE kind = 'names' AND state LIKE '%b/app%gone_since%'";
        state.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap() == 1
    };
    wait_for("the names to be saved", saved);
    drop(agent);
    let agent = Agent::start_keeping(home.path(), &toml, &storage, &[]);
    agent.wait_until_ready();
    assert_eq!(names(&agent), ["a/app"]);
    let config = agent.config.display().to_string();
    let (_, table, _) = told(&["check", "--config.file", &config]);
    assert!(table.contains("a/app"), "{table}");

    drop(database(&tenant("b")));
    reload(&agent);
    wait_for("the other tenant to be back", || names(&agent) == ["a/app", "b/app"]);
    // A person may rename it; the file is the same, and so is its history.
    fs::write(&agent.config, format!("{toml}[[database]]\nname = \"billing\"\npath = {:?}\n", tenant("a"))).unwrap();
    reload(&agent);
    wait_for("the new name", || names(&agent) == ["b/app", "billing"]);
    let polled = || agent.report()["databases"][1]["local"]["polled"].as_bool();
    wait_for("a look at it", || polled().is_some());
    assert_eq!(polled(), Some(false), "{}", agent.process.log());
}
