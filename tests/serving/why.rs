//! `streamgauge why`: the runbook at three in the morning, with what is known right now.

use std::fs;

use super::lab::agent::Agent;
use super::lab::free_port;
use super::{commit, database, told};

#[test]
fn names_are_listed_forgiven_and_suggested() {
    let (code, list, _) = told(&["why"]);
    assert_eq!(code, 0);
    let line = list.lines().find(|line| line.starts_with("ReplicationLag ")).unwrap_or_else(|| panic!("{list}"));
    assert!(line.ends_with("  All commits older than the objective are in the bucket"), "{line}");
    let (code, out, error) = told(&["why", "ReplicationLga"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(error.contains("'ReplicationLag'"), "{error}");
    let (_, script, _) = told(&["completions", "bash"]);
    assert!(script.contains("ReplicaUnverifiable"), "names are not completed");
}

#[test]
fn the_runbook_needs_neither_agent_nor_configuration() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let (code, out, error) = told(&["why", "replicationlag", "--url", &nobody]);
    assert_eq!((code, error.as_str()), (0, ""));
    let refused = format!("Right now: no evidence. get {nobody}/api/v1/report: connection refused\n\nMeaning. ");
    assert!(out.starts_with("ReplicationLag (critical): ") && out.contains(&refused), "{out}");
    assert!(out.contains("\n    systemctl status litestream\n"), "commands are not indented:\n{out}");
    let (_, out, _) = told(&["why", "AgentDown", "--url", &nobody]);
    assert!(out.contains("Prometheus knows: ALERTS{alertname=\"AgentDown\"}. No agent answers here"), "{out}");
    let (_, out, _) = told(&["why", "AgentDown", "--url", "ftp://127.0.0.1"]);
    assert!(out.contains("ftp://127.0.0.1/api/v1/report: not an http:// address"), "{out}");
}

#[test]
fn an_agent_that_answers_is_the_evidence_and_else_one_look_is() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let connection = database(&path);
    commit(&connection);
    let other = home.path().join("other.db");
    let toml = format!("[[database]]\npath = {path:?}\n[[database]]\npath = {other:?}\n");
    let agent = Agent::start(home.path(), &toml, &[]);
    agent.wait_until_ready();
    let url = format!("http://{}", agent.address);
    let config = format!("--config.file={}", agent.config.display());

    let (code, out, error) = told(&["why", "DatabaseUnreadable", "--url", &url]);
    assert_eq!((code, error.as_str()), (0, ""));
    let evidence = out.split("\n\nMeaning. ").next().unwrap();
    assert!(evidence.contains(&format!("Right now (the agent at {url}, ")), "{out}");
    let bad = evidence.find("  CRITICAL other: ").unwrap_or_else(|| panic!("{out}"));
    assert!(evidence.find("  OK app: ").is_some_and(|good| bad < good), "the worst is not first:\n{out}");

    let (_, out, _) = told(&["why", "DatabaseUnreadable", "app", "--url", &url]);
    assert!(out.contains("  OK app: ") && !out.contains(" other: "), "{out}");
    let (code, out, error) = told(&["why", "DatabaseUnreadable", "nobody", "--url", &url]);
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("nobody: no such database") && error.contains("known databases: other, app"), "{error}");
    drop(agent);

    // Without --url, the configuration says where an agent would be.
    let toml = format!("[web]\nlisten-address = [\"127.0.0.1:{}\"]\n{toml}", free_port());
    fs::write(home.path().join("streamgauge.toml"), toml).unwrap();
    let (code, out, error) = told(&["why", "DatabaseUnreadable", "other", &config]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("Right now (one look; no agent answers, "), "{out}");
    assert!(out.contains("  CRITICAL other: ") && !out.contains("  OK app: "), "{out}");
    let (code, out, error) = told(&["why", "DatabaseUnreadable", "nobody", &config]);
    assert_eq!((code, out.as_str()), (2, ""), "{error}");
    assert!(error.contains("nobody: no such database"), "{error}");

    // Where it cannot be read, nobody knows which agent is meant.
    fs::write(home.path().join("streamgauge.toml"), "[web]\nlisten-adress = []\n").unwrap();
    let (code, out, error) = told(&["why", "DatabaseUnreadable", &config]);
    assert_eq!((code, error.as_str()), (0, ""));
    let mistake = "streamgauge.toml:2: web.listen-adress: unknown key";
    let evidence = out.split("\n\nMeaning. ").next().unwrap();
    assert!(evidence.contains("Right now: no evidence. ") && evidence.contains(mistake), "{out}");
    assert!(!evidence.contains("http://"), "{out}");
}
