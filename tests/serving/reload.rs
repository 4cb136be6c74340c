//! Configurations and databases that come, go, and go wrong while the agent runs.

use std::fs;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;

use super::lab::agent::Agent;
use super::lab::litestream::quick_yaml;
use super::lab::{Lab, http, wait_for};
use super::{commit, database, told, watching};

fn reload(agent: &Agent) -> http::Response {
    http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap()
}

fn up(agent: &Agent, database: &str) -> Option<f64> {
    agent.metric("streamgauge_database_up", &[("database", database)])
}

fn reloaded(agent: &Agent) -> Option<f64> {
    agent.metric("streamgauge_config_last_reload_successful", &[])
}

#[test]
fn a_new_file_is_taken_over_and_a_bad_one_is_not() {
    let home = tempfile::tempdir().unwrap();
    let [a, b, c] = ["a.db", "b.db", "c.db"].map(|name| home.path().join(name));
    let _open = [&a, &b, &c].map(|path| database(path));
    // Time alone is not to repair anything here.
    let settings = "[litestream]\ndiscovery-interval = \"1h\"\n[watch]\nseries-grace = \"1s\"\n";
    let agent = Agent::start(home.path(), &watching(settings, [&a]), &[]);
    agent.wait_until_ready();
    assert_eq!((up(&agent, "a"), up(&agent, "b"), reloaded(&agent)), (Some(1.0), None, Some(1.0)));

    fs::write(&agent.config, watching(settings, [&a, &b])).unwrap();
    let answer = reload(&agent);
    assert_eq!((answer.status, answer.text().as_str()), (200, "configuration reloaded\n"));
    wait_for("the second database", || up(&agent, "b") == Some(1.0));

    fs::write(&agent.config, watching(settings, [&a, &c])).unwrap();
    assert_eq!(agent.process.log_lines("leaving="), 0);
    agent.process.signal(Signal::HUP);
    wait_for("the third database", || up(&agent, "c") == Some(1.0));
    wait_for("the second to be told of", || agent.process.log_lines("databases=3 leaving=1 replicas=0") == 1);
    wait_for("the second to go", || up(&agent, "b").is_none());

    let config = agent.config.display();
    let bad = format!("{settings}poll-intervall = \"1s\"\n[replica]\ntimeout = 5\n");
    fs::write(&agent.config, bad).unwrap();
    let answer = reload(&agent);
    let expected = format!(
        "reload configuration: {config}:5: watch.poll-intervall: unknown key, did you mean `poll-interval`?; \
         accepted: poll-interval, series-grace, shard, sweep-interval\n\
         {config}:7: replica.timeout: value `5`: a number without a unit; accepted: a duration such as 500ms, 30s, 5m, \
         1h30m or 7d\n"
    );
    assert_eq!((answer.status, answer.text()), (500, expected));
    assert_eq!((reloaded(&agent), up(&agent, "a"), up(&agent, "c")), (Some(0.0), Some(1.0), Some(1.0)));
    let report = agent.report();
    let error = report["agent"]["config"]["error"].as_str().unwrap();
    assert!(error.contains("poll-intervall") && error.contains(&format!("sweep-interval; {config}:7: ")), "{report}");

    fs::write(&agent.config, watching(settings, [&a])).unwrap();
    agent.process.signal(Signal::HUP);
    wait_for("the repaired file", || reloaded(&agent) == Some(1.0));
    wait_for("the third to go", || up(&agent, "c").is_none());
}

/// Whoever gives a replica a new path and starts Litestream again is not to be told that the old one has another writer.
#[test]
fn a_changed_file_is_noticed_at_once_and_only_a_change_is_dated_anew() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let yaml = home.path().join("litestream.yml");
    let write = |replica: &str| {
        let replica = home.path().join(replica);
        fs::write(&yaml, format!("dbs: [{{path: {path:?}, replica: {{type: file, path: {replica:?}}}}}]\n")).unwrap();
    };
    write("old");
    let toml = |interval: &str| format!("[litestream]\nconfig = {yaml:?}\ndiscovery-interval = \"{interval}\"\n");
    let agent = Agent::start(home.path(), &toml("1h"), &[]);
    agent.wait_until_ready();
    let config = || agent.report()["agent"]["config"].clone();
    let watched = || agent.report()["databases"][0]["replicas"][0]["url"].as_str().unwrap().to_owned();
    let started = config()["in_force_since"].clone();
    assert!(watched().ends_with("/old"));
    write("new");
    wait_for("the new path", || watched().ends_with("/new"));
    let moved = config()["in_force_since"].clone();
    assert_ne!(moved, started);
    assert_eq!(reload(&agent).status, 200);
    assert_eq!(config()["in_force_since"], moved, "nothing changed");
    assert_ne!(config()["last_reload_success_at"], moved);
    // What cannot be read is said as soon, and does not end what is in force.
    fs::write(&yaml, "dbs: 5\n").unwrap();
    wait_for("the mistake", || reloaded(&agent) == Some(0.0));
    assert!(watched().ends_with("/new"));
    fs::write(&agent.config, toml("2h")).unwrap();
    write("new");
    wait_for("the correction", || reloaded(&agent) == Some(1.0));
    wait_for("both to be told of", || agent.process.log_lines("message=\"configuration reloaded\"") == 2);
}

#[test]
fn a_database_that_is_deleted_is_missing_until_it_is_back() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(database(&path));
    let toml = watching("[watch]\npoll-interval = \"200ms\"\nsweep-interval = \"1s\"\n", [&path]);
    let agent = Agent::start(home.path(), &toml, &[]);
    agent.wait_until_ready();
    let state = || agent.report()["databases"][0]["state"].clone();
    let size = || agent.metric("streamgauge_database_size_bytes", &[("database", "app")]);
    let config = agent.config.display().to_string();
    let check = || told(&["check", "--config.file", &config]);
    assert_eq!((state(), up(&agent, "app")), ("monitored".into(), Some(1.0)));
    assert_eq!(check().0, 1, "it has no replica");

    fs::remove_file(&path).unwrap();
    wait_for("the loss", || state() == "missing");
    assert_eq!((up(&agent, "app"), size()), (Some(0.0), None), "what is gone has no size");
    let failed = [("database", "app"), ("check", "DatabaseUnreadable"), ("status", "fail")];
    assert_eq!(agent.metric("streamgauge_check_status", &failed), Some(1.0));
    let (code, table, _) = check();
    assert_eq!(code, 2, "{table}");
    assert!(table.contains("app.db: no such file or directory"), "{table}");

    drop(database(&path));
    wait_for("its return", || state() == "monitored" && size().is_some());
    assert_eq!((up(&agent, "app"), check().0), (Some(1.0), 1));
}

#[test]
fn directories_are_searched_again_from_time_to_time() {
    let home = tempfile::tempdir().unwrap();
    let tenants = home.path().join("tenants");
    fs::create_dir(&tenants).unwrap();
    let tenant = |name: &str| tenants.join(name);
    let yaml = home.path().join("litestream.yml");
    let text = format!(
        "dbs:\n  - dir: {}\n    pattern: \"*.db\"\n    watch: true\n    replica: {{type: file, path: {}}}\n",
        tenants.display(),
        home.path().join("replicas").display()
    );
    fs::write(&yaml, text).unwrap();
    drop(database(&tenant("one.db")));
    drop(database(&tenant("not-this.sqlite")));
    let toml =
        format!("[litestream]\nconfig = {yaml:?}\ndiscovery-interval = \"1s\"\n[watch]\nseries-grace = \"1s\"\n");
    let agent = Agent::start(home.path(), &toml, &[]);
    agent.wait_until_ready();
    let databases = || {
        let report = agent.report();
        let names = report["databases"].as_array().unwrap().iter().map(|database| database["name"].as_str().unwrap());
        names.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(databases(), ["one"]);
    drop(database(&tenant("two.db")));
    fs::write(tenant("three.db"), "no database").unwrap();
    wait_for("a new tenant", || databases() == ["one", "two"]);
    fs::remove_file(tenant("one.db")).unwrap();
    wait_for("a tenant to leave", || databases() == ["two"]);
    let place = agent.report()["databases"][0]["replicas"][0]["url"].as_str().unwrap().to_owned();
    assert!(place.ends_with("/replicas/two.db"), "{place}");
}

/// The day of the upgrade from v0.3: its `retention` is no longer read, and the agent says so before anything is deleted.
#[test]
fn an_upgrade_that_forgets_the_retention_is_told_at_once() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let mut writer = lab.writer(&path);
    writer.create_table();
    let replica = format!("type: file, path: {}, retention: 720h", home.path().join("replica").display());
    let yaml = quick_yaml("0.3.13", &path, &replica);
    let mut old = lab.replicate("0.3.13", home.path(), &yaml);
    let toml = format!(
        "[litestream]\nconfig = [{:?}]\ndiscovery-interval = \"1s\"\n[replica]\ninterval = \"500ms\"\n",
        old.config
    );
    let agent = Agent::start(home.path(), &toml, &[]);
    agent.wait_until_ready();
    let state = |status: &str| {
        let labels = [("database", "app"), ("check", "RetentionTooShort"), ("status", status)];
        agent.metric("streamgauge_check_status", &labels) == Some(1.0)
    };
    writer.commit(1);
    wait_for("the old one to be well", || state("pass"));
    old.process.stop();
    let _new = lab.replicate("0.5.17", home.path(), &yaml);
    writer.commit(1);
    wait_for("the warning", || state("fail"));
    let kept = [("database", "app"), ("replica", "file")];
    assert_eq!(agent.metric("streamgauge_replica_kept_seconds", &kept), Some(86_400.0));
    assert_eq!(agent.metric("streamgauge_replica_retention_objective_seconds", &kept), Some(2_592_000.0));
    let warnings = agent.report()["agent"]["sources"][0]["warnings"].to_string();
    assert!(warnings.contains("Litestream v0.5 has taken over") && warnings.contains("ignores it here"), "{warnings}");
}

/// `: > litestream.yml`, or a directory that is no longer mounted, is not what a person does who removes databases.
#[test]
fn a_source_that_suddenly_names_nothing_is_not_believed_until_it_is_reloaded() {
    let home = tempfile::tempdir().unwrap();
    let tenants = home.path().join("tenants");
    fs::create_dir(&tenants).unwrap();
    let _open: Vec<_> = (0..5).map(|number| database(&tenants.join(format!("{number}.db")))).collect();
    let yaml = home.path().join("litestream.yml");
    let replicas = home.path().join("replicas");
    let text = format!(
        "dbs:\n  - {{dir: {}, pattern: '*.db', watch: true, replica: {{type: file, path: {}}}}}\n",
        tenants.display(),
        replicas.display()
    );
    fs::write(&yaml, &text).unwrap();
    let toml =
        format!("[litestream]\nconfig = {yaml:?}\ndiscovery-interval = \"1s\"\n[watch]\nseries-grace = \"100ms\"\n");
    let agent = Agent::start(home.path(), &toml, &[]);
    agent.wait_until_ready();
    let databases = || agent.report()["databases"].as_array().unwrap().len();
    let source = yaml.display().to_string();
    let discovered = || agent.metric("streamgauge_discovery_success", &[("source", &source)]);
    let reason = || agent.report()["agent"]["sources"][0]["error"].as_str().unwrap_or_default().to_owned();
    assert_eq!((databases(), discovered()), (5, Some(1.0)));

    fs::write(&yaml, "").unwrap();
    wait_for("the empty file to be doubted", || discovered() == Some(0.0));
    assert_eq!(databases(), 5);
    assert!(reason().starts_with("it listed 5 databases and now lists none"), "{}", reason());
    fs::write(&yaml, &text).unwrap();
    wait_for("the file to be believed again", || discovered() == Some(1.0));

    let away = home.path().join("away");
    fs::rename(&tenants, &away).unwrap();
    fs::create_dir(&tenants).unwrap();
    wait_for("the empty directory to be doubted", || discovered() == Some(0.0));
    assert_eq!(databases(), 5);
    fs::remove_dir(&tenants).unwrap();
    fs::rename(&away, &tenants).unwrap();
    wait_for("the directory to be believed again", || discovered() == Some(1.0));

    // One that leaves, or a few, is what happens every day.
    fs::remove_file(tenants.join("4.db")).unwrap();
    wait_for("a tenant to leave", || databases() == 4 && discovered() == Some(1.0));

    fs::write(&yaml, "dbs: []\n").unwrap();
    wait_for("the empty list to be doubted", || discovered() == Some(0.0));
    assert_eq!(databases(), 4);
    assert_eq!(reload(&agent).status, 200);
    assert_eq!(
        (databases(), discovered()),
        (4, Some(0.0)),
        "whoever reaches the endpoint may not know what was removed"
    );
    agent.process.signal(Signal::HUP);
    wait_for("all to go", || databases() == 0);
    assert_eq!(discovered(), Some(1.0), "the owner knows");
}

/// A pipe that nobody writes to would keep whoever opens it for ever.
#[test]
fn a_configuration_that_is_no_regular_file_is_refused_at_once() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let connection = database(&path);
    let yaml: PathBuf = home.path().join("litestream.yml");
    fs::write(&yaml, "dbs: []\n").unwrap();
    let settings = format!("[litestream]\nconfig = {yaml:?}\n");
    let mut agent = Agent::start(home.path(), &watching(&settings, [&path]), &[]);
    agent.wait_until_ready();
    fs::remove_file(&yaml).unwrap();
    mknodat(CWD, &yaml, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let refused = format!(
        "reload configuration: {}: a pipe or device, not a regular file\n",
        yaml.canonicalize().unwrap().display()
    );
    for _ in 0..2 {
        let answer = reload(&agent);
        assert_eq!((answer.status, answer.text()), (500, refused.clone()));
        assert_eq!(reloaded(&agent), Some(0.0));
    }

    let commits = || agent.metric("streamgauge_database_commits_total", &[("database", "app")]);
    let before = commits();
    commit(&connection);
    wait_for("a commit to be counted", || commits() > before);
    fs::remove_file(&yaml).unwrap();
    fs::write(&yaml, "dbs: []\n").unwrap();
    assert_eq!((reload(&agent).status, reloaded(&agent)), (200, Some(1.0)));
    assert!(agent.process.stop().success(), "{}", agent.process.log());
}
