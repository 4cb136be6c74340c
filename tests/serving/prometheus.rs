//! The real Prometheus, old and new, and its own opinion of the metrics.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use super::lab::agent::Agent;
use super::lab::litestream::printed;
use super::lab::prometheus::{PROMETHEUS, Prometheus, scrape_yaml};
use super::lab::{Lab, http, wait_for};
use super::{commit, database, told, watching};

#[test]
fn prometheus_scrapes_it_until_a_database_is_gone() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let (shop, plain, doomed) = (path("shop.db"), path("plain.db"), path("doomed.db"));
    let kept: Vec<_> = [&shop, &plain, &doomed].map(|path| database(path)).into();
    kept.iter().for_each(commit);
    let yaml = path("litestream.yml");
    let replica = path("replica");
    let text =
        format!("dbs:\n  - path: {}\n    replica: {{type: file, path: {}}}\n", shop.display(), replica.display());
    std::fs::write(&yaml, text).unwrap();
    printed(lab.litestream("0.5.17").args(["replicate", "-once", "-config"]).arg(&yaml).output().unwrap()).unwrap();

    let settings = format!("[litestream]\nconfig = {yaml:?}\n[watch]\nseries-grace = \"5s\"\n");
    let agent = Agent::start(home.path(), &watching(&settings, [&plain, &doomed]), &[]);
    agent.wait_until_ready();

    let servers: Vec<Prometheus> = scrapers(&lab, home.path(), &agent.address);
    for server in &servers {
        wait_for("a scrape", || server.value("up{job=\"streamgauge\"}") == Some(1.0));
        wait_for("lag", || server.value("streamgauge_replica_lag_seconds{database=\"shop\"}") == Some(0.0));
        wait_for("the doomed", || server.value("streamgauge_database_up{database=\"doomed\"}") == Some(1.0));
        assert_eq!(server.value("count(streamgauge_database_up == 1)"), Some(3.0));
        assert_eq!(metadata(server, "streamgauge_replica_lag_seconds"), Some("gauge".to_owned()));
        assert_eq!(metadata(server, "streamgauge_collector_duration_seconds"), Some("histogram".to_owned()));
        // OpenMetrics names a family without the suffix of its samples.
        let counter = ["streamgauge_database_commits", "streamgauge_database_commits_total"];
        let counter = counter.iter().find_map(|name| metadata(server, name));
        assert_eq!(counter, Some("counter".to_owned()));
    }
    promtool_is_content(&lab, &agent.metrics());

    std::fs::write(&agent.config, watching(&settings, [&plain])).unwrap();
    assert_eq!(http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap().status, 200);
    let up = || agent.metric("streamgauge_database_up", &[("database", "doomed")]);
    assert_eq!(up(), Some(1.0), "its series stay for the grace time");
    wait_for("the series to end", || up().is_none());
    assert!(!agent.metrics().contains("\"doomed\""), "a series of the doomed is left");
    for server in &servers {
        // Without a mark that they are stale they would be answered for five more minutes.
        wait_for("staleness", || server.query("{database=\"doomed\"}").is_empty());
        assert_eq!(server.value("count(streamgauge_database_up == 1)"), Some(2.0));
    }
}

/// Both versions as they come, and the new one told to take the old text format.
fn scrapers(lab: &Lab, home: &Path, address: &str) -> Vec<Prometheus> {
    let yaml = scrape_yaml(address);
    let text = yaml.replace("global: {", "global: {scrape_protocols: [PrometheusText0.0.4], ");
    let other = home.join("text");
    std::fs::create_dir(&other).unwrap();
    let mut servers: Vec<_> = PROMETHEUS.iter().map(|version| lab.prometheus(version, home, &yaml)).collect();
    servers.push(lab.prometheus(PROMETHEUS[1], &other, &text));
    servers
}

/// The type of a family as Prometheus understood it.
fn metadata(server: &Prometheus, metric: &str) -> Option<String> {
    let data = server.api(&format!("/api/v1/targets/metadata?metric={metric}"));
    Some(data.as_array()?.first()?["type"].as_str()?.to_owned())
}

fn promtool_is_content(lab: &Lab, metrics: &str) {
    for version in PROMETHEUS {
        let mut command = lab.promtool(version);
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut promtool = command.spawn().unwrap();
        promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
        let output = promtool.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr), "", "{version}");
        assert!(output.status.success(), "{version}: {}", output.status);
    }
}

/// A file for the textfile collector of node_exporter, from the same encoder as the agent's.
#[test]
fn cron_alone_feeds_prometheus() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let paths = ["a.db", "b.db"].map(|name| home.path().join(name));
    let _open = paths.each_ref().map(|path| database(path));
    let toml = home.path().join("streamgauge.toml");
    std::fs::write(&toml, watching("", &paths)).unwrap();
    let (config, file) = (format!("--config.file={}", toml.display()), home.path().join("streamgauge.prom"));
    let output = format!("--output={}", file.display());
    let look = || told(&["check", &config, "--format=prometheus", &output]);
    assert_eq!(look(), (1, String::new(), String::new()), "they have no replica");
    let metrics = std::fs::read_to_string(&file).unwrap();
    promtool_is_content(&lab, &metrics);
    for sample in [
        "# TYPE streamgauge_database_size_bytes gauge\n",
        "streamgauge_database_size_bytes{database=\"b\"} ",
        "streamgauge_check_status{",
    ] {
        assert!(metrics.contains(sample), "{sample} in {metrics}");
    }
    let (_, printed, _) = told(&["check", &config, "--format=prometheus"]);
    let families =
        |text: &str| text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(families(&printed), families(&metrics));

    // What cannot look leaves what there is: its age tells.
    std::fs::write(&toml, "nonsense").unwrap();
    assert_eq!(look().0, 3);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), metrics);
    let left: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}
