//! How much of what the binary knows it serves to Prometheus.

use std::fs;
use std::path::PathBuf;

use super::lab::agent::Agent;
use super::lab::wait_for;
use super::{database, told, watching};

/// How many series there are of a database.
fn series(agent: &Agent, database: &str) -> usize {
    agent.metrics().lines().filter(|line| line.contains(&format!("{{database=\"{database}\""))).count()
}

#[test]
fn each_database_is_served_with_its_profile_and_a_limit_reduces_all() {
    let home = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..40).map(|number| home.path().join(format!("app{number:02}.db"))).collect();
    let _open: Vec<_> = paths.iter().map(|path| database(path)).collect();
    let metrics = "[metrics]\nprofile = \"full\"\ninclude = [\"streamgauge_database_wal_f*\"]\n\
                   exclude = [\"streamgauge_database_polled\"]\n";
    let core = format!("{}metrics = \"core\"\n", watching("", [&paths[0]]));
    let toml = |limit: &str| format!("{metrics}{limit}{core}{}", watching("", &paths[1..]));
    let agent = Agent::start(home.path(), &toml(""), &[]);
    agent.wait_until_ready();
    wait_for("all of them", || agent.metric("streamgauge_database_wal_frames", &[("database", "app39")]).is_some());
    assert!(agent.metrics().contains("streamgauge_database_wal_frames{database=\"app00\"}"), "it is included");
    assert!(!agent.metrics().contains("streamgauge_database_polled"), "it is excluded");
    let (small, large) = (series(&agent, "app00"), series(&agent, "app01"));
    assert!(small <= 10 && large > 25, "{small} and {large}");
    // It has no replica, which is told in every profile.
    let breach = [("database", "app00"), ("check", "NoReplica"), ("severity", "warning")];
    assert_eq!(agent.metric("streamgauge_check_breach", &breach), Some(0.0));
    assert_eq!(agent.metric("streamgauge_checks", &[("check", "NoReplica"), ("status", "fail")]), Some(40.0));
    assert_eq!(agent.metric("streamgauge_series", &[]), None);

    fs::write(&agent.config, toml("series-limit = 1000\n")).unwrap();
    agent.process.signal(rustix::process::Signal::HUP);
    wait_for("the limit", || agent.metric("streamgauge_metrics_reduced", &[]) == Some(1.0));
    assert!(series(&agent, "app01") < large / 2 && series(&agent, "app00") == small);
    let text = agent.metrics();
    let served = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(served <= 1000, "{served}");
    let wanted = agent.metric("streamgauge_series", &[]).unwrap();
    assert!(wanted > 1000.0 && agent.metric("streamgauge_series_limit", &[]) == Some(1000.0), "{wanted}");
    let fails = [("check", "MetricsReduced"), ("status", "fail")];
    assert_eq!(agent.metric("streamgauge_check_status", &fails), Some(1.0));
    assert!(agent.process.log().contains("smaller profiles are served"));
}

#[test]
fn a_pattern_that_names_no_metric_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("streamgauge.toml");
    let metrics = "[metrics]\nexclude = [\"streamgauge_replica_lag\", \"streamgauge_databse_*\"]\nseries-limit = 7\n";
    fs::write(&file, watching(metrics, [&home.path().join("app.db")])).unwrap();
    let (code, _, error) = told(&["config", "check", &format!("--config.file={}", file.display())]);
    assert_eq!(code, 2);
    assert!(error.contains("metrics.exclude[0]") && error.contains("metrics.exclude[1]"), "{error}");
    assert!(error.contains("no such metric, did you mean `streamgauge_replica_"), "{error}");
    assert!(error.contains("metrics.series-limit: "), "{error}");
}
