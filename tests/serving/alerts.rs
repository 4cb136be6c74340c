//! Alerts of the binary, over kills and reloads.

use std::fs;

use rustix::process::Signal;

use super::lab::agent::Agent;
use super::lab::{http, wait_for};
use super::{database, told, watching};

/// The alert of a database that is not there, which is pending for five minutes.
fn alert(agent: &Agent) -> Option<serde_json::Value> {
    let report = agent.report();
    let alerts = report["alerts"].as_array()?;
    alerts.iter().find(|alert| alert["labels"]["alertname"] == "DatabaseUnreadable").cloned()
}

#[test]
fn killed_agent_goes_on_where_it_was() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let settings = "[alerting]\nevaluation-interval = \"1s\"\n[alerting.labels]\ninstance = \"db1:1\"\n";
    let toml = watching(settings, [&path]);
    let start = |name: &str| {
        let directory = home.path().join(name);
        fs::create_dir(&directory).unwrap();
        let agent = Agent::start_keeping(&directory, &toml, &home.path().join("storage"), &[]);
        wait_for("the alert", || agent.get("/metrics").status == 200 && alert(&agent).is_some());
        agent
    };
    let mut agent = start("one");
    let before = alert(&agent).unwrap();
    assert_eq!(before["state"], "pending");
    let labels = serde_json::json!({
        "alertname": "DatabaseUnreadable", "database": "app", "instance": "db1:1", "job": "streamgauge", "severity": "critical",
    });
    assert_eq!(before["labels"], labels);
    let counted = |agent: &Agent, state: &str| {
        agent.metric("streamgauge_alerts", &[("severity", "critical"), ("state", state)]).unwrap()
    };
    assert!(counted(&agent, "pending") >= 1.0);
    assert!(agent.get("/").text().contains(">Alerts</h2>"));
    // It was saved when it came; that takes no longer than a look at the file.
    let saved = || {
        let file = rusqlite::Connection::open(home.path().join("storage/state.sqlite")).unwrap();
        let select = "SELECT state FROM entry WHERE kind = 'alerts'";
        file.query_row(select, [], |row| row.get::<_, String>(0))
            .is_ok_and(|state| state.contains("DatabaseUnreadable"))
    };
    wait_for("the journal", saved);
    agent.process.signal(Signal::KILL);
    agent.process.ended(std::time::Duration::from_secs(30)).unwrap();

    let agent = start("two");
    let after = alert(&agent).unwrap();
    assert_eq!((&after["state"], &after["active_at"]), (&before["state"], &before["active_at"]));

    let silence = "[[silence]]\nreason = \"it moves\"\ndatabases = [\"a*\"]\n";
    fs::write(&agent.config, format!("{toml}{silence}")).unwrap();
    assert_eq!(http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap().status, 200);
    wait_for("the silence", || alert(&agent).unwrap()["suppressed"] == "silenced: it moves");
    wait_for("the page", || agent.get("/").text().contains("nobody is notified: silenced: it moves"));
    wait_for("the metric", || counted(&agent, "suppressed") >= 1.0);

    drop(database(&path));
    wait_for("the alert to go", || alert(&agent).is_none());
}

#[test]
fn silence_of_a_check_that_is_none_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("streamgauge.toml");
    let silence = "[[silence]]\nreason = \"x\"\nchecks = [\"ReplicationLog\"]\n";
    fs::write(&file, watching(silence, [&home.path().join("app.db")])).unwrap();
    let (code, _, error) = told(&["config", "check", &format!("--config.file={}", file.display())]);
    assert_eq!(code, 2);
    assert!(error.contains("no such check, did you mean `ReplicationLag`?"), "{error}");
}
