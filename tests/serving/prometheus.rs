//! The real Prometheus, old and new, and its own opinion of the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use super::lab::agent::Agent;
use super::lab::litestream::printed;
use super::lab::node_exporter::{NODE_EXPORTER, NodeExporter};
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

/// Name and labels of each sample, in whatever order, and its value. An empty label is none, and a bound is a number.
fn samples(text: &str) -> BTreeMap<(String, BTreeSet<String>), f64> {
    let samples = text.lines().filter(|line| line.starts_with("streamgauge_")).map(|line| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        let labels = labels.split_inclusive("\",").map(|label| label.trim_end_matches(','));
        let labels = labels.filter(|label| !label.ends_with("=\"\"")).map(|label| match label.strip_prefix("le=\"") {
            Some(bound) => format!("le={:?}", bound.trim_end_matches('"').parse::<f64>()),
            None => label.to_owned(),
        });
        ((name.to_owned(), labels.collect()), value.parse().unwrap())
    });
    samples.collect()
}

/// What is said about the families of streamgauge.
fn families(text: &str) -> BTreeSet<&str> {
    text.lines().filter(|line| line.starts_with("# ") && line.contains(" streamgauge_")).collect()
}

/// The rules of docs/ALERTING.md for cron and those that are shipped, none of which waits.
fn cron_rules(home: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_to_string(root.join("docs/ALERTING.md")).unwrap();
    let blocks = docs.split("```yaml\n").filter_map(|block| block.split_once("\n```"));
    let rules: Vec<_> = blocks.map(|(yaml, _)| yaml).filter(|yaml| yaml.contains("streamgauge-cron")).collect();
    let [cron] = rules[..] else { panic!("one block of rules") };
    let shipped = std::fs::read_to_string(root.join("alerts/streamgauge.rules.yml")).unwrap();
    let files = [("cron.rules.yml", cron), ("shipped.rules.yml", &shipped)].map(|(name, rules)| {
        let lines = rules.lines().filter(|line| !line.trim().starts_with("for: ") && !line.contains("keep_firing_for"));
        let file = home.join(name);
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        format!("{:?}", file.display().to_string())
    });
    files.join(", ")
}

/// What cron writes, as the real node_exporter serves it, and the alerts that Prometheus makes of that.
#[test]
fn node_exporter_serves_what_cron_writes() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    let (shop, plain) = (path("shop.db"), path("plain.db"));
    let open = [&shop, &plain].map(|path| database(path));
    let yaml = path("litestream.yml");
    let text = format!(
        "dbs:\n  - path: {}\n    replica: {{type: file, path: {}}}\n",
        shop.display(),
        path("replica").display()
    );
    std::fs::write(&yaml, text).unwrap();
    printed(lab.litestream("0.5.17").args(["replicate", "-once", "-config"]).arg(&yaml).output().unwrap()).unwrap();
    let toml = path("streamgauge.toml");
    let settings = format!("[litestream]\nconfig = {yaml:?}\n[objectives]\nrpo = \"5s\"\n");
    std::fs::write(&toml, watching(&settings, [&plain])).unwrap();
    let directory = path("textfiles");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("streamgauge.prom");
    let (config, output) = (format!("--config.file={}", toml.display()), format!("--output={}", file.display()));
    let look = || told(&["check", &config, "--wait=100ms", "--format=prometheus", &output]);
    assert_eq!(look().0, 1, "one has no replica");

    let written = std::fs::read_to_string(&file).unwrap();
    let exporters =
        NODE_EXPORTER.map(|version| lab.node_exporter(version, &directory, &path(&format!("{version}.exporter"))));
    for exporter in &exporters {
        let served = exporter.metrics();
        let (ours, theirs) = (samples(&written), samples(&served));
        let lost: Vec<_> = ours.iter().filter(|(series, value)| theirs.get(series) != Some(value)).collect();
        assert!(lost.is_empty() && ours.len() == theirs.len(), "{lost:?} of\n{served}");
        assert_eq!(families(&served), families(&written));
        assert!(served.contains("node_textfile_scrape_error 0\n"), "{served}");
    }
    replaced_while_it_is_scraped(&exporters, || look().0);

    // Commits go on that nobody uploads, and have for longer than the objective.
    open.iter().for_each(commit);
    thread::sleep(std::time::Duration::from_secs(6));
    let look_behind = || {
        open.iter().for_each(commit);
        look().0
    };
    assert_eq!(look_behind(), 2);
    let rules = cron_rules(home.path());
    for (version, exporter) in PROMETHEUS.iter().zip(&exporters) {
        let scrape = scrape_yaml(&exporter.address).replace("job_name: streamgauge", "job_name: node");
        let server = lab.prometheus(version, home.path(), &format!("{scrape}rule_files: [{rules}]\n"));
        let fires = |labels: &str| !server.query(&format!("ALERTS{{alertstate=\"firing\",{labels}}}")).is_empty();
        wait_for("the alert of the docs", || {
            fires("alertname=\"StreamgaugeCheckFails\",check=\"NoReplica\",database=\"plain\"")
        });
        wait_for("the lag", || fires("alertname=\"StreamgaugeCheckFails\",check=\"ReplicationLag\",database=\"shop\""));
        wait_for("the shipped rule", || fires("alertname=\"NoReplica\",database=\"plain\""));
        // One look has not seen for how long, and there is no agent.
        assert!(!fires("alertname=\"ReplicationLag\""));
        wait_for("the absence of an agent", || fires("alertname=\"AgentAbsent\""));
        assert!(!fires("alertname=\"StreamgaugeCheckStale\""));
        assert!(!fires("alertname=\"NoReplica\",database=\"shop\""));
        // As it is when cron has stopped.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(700);
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
        wait_for("the age of the file", || fires("alertname=\"StreamgaugeCheckStale\""));
        assert_eq!(look_behind(), 2);
        wait_for("a new file", || !fires("alertname=\"StreamgaugeCheckStale\""));
    }
}

/// Runs of `check` beside scrapes: each of these sees all of one file.
fn replaced_while_it_is_scraped(exporters: &[NodeExporter], look: impl Fn() -> i32 + Sync) {
    let series = |text: &str| samples(text).into_keys().collect::<BTreeSet<_>>();
    let first = series(&exporters[0].metrics());
    thread::scope(|scope| {
        let looks = scope.spawn(|| [(); 15].map(|()| look()));
        let mut written = BTreeSet::new();
        while !looks.is_finished() {
            for exporter in exporters {
                let served = exporter.metrics();
                assert!(served.contains("node_textfile_scrape_error 0\n"), "{served}");
                assert_eq!(series(&served), first);
                let at = served.lines().find(|line| line.starts_with("streamgauge_report_timestamp_seconds "));
                written.insert(at.unwrap().to_owned());
            }
        }
        assert_eq!(looks.join().unwrap(), [1; 15]);
        assert!(written.len() > 5, "{written:?}");
    });
    for exporter in exporters {
        assert!(!exporter.process.log().contains("level=ERROR"), "{}", exporter.process.log());
    }
}
