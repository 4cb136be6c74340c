//! The dashboards, asked of the real Prometheus, old and new, that scrapes an agent: whether each query is valid, and has
//! an answer where there is one. Five databases are replicated by the genuine Litestream, and three of them are in trouble.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::lab::agent::Agent;
use super::lab::litestream::{Litestream, printed};
use super::lab::prometheus::{PROMETHEUS, Prometheus};
use super::lab::recorder::Recorder;
use super::lab::s3::S3;
use super::lab::writer::Writer;
use super::lab::{Lab, free_port, http, wait};
use super::told;

/// Queries that rightly have no answer here, by panel and legend, and why.
const EMPTY: &[(&str, &str, &str)] = &[
    ("agent / Restarts", "streamgauge was started", "the agent was started before it was scraped"),
    ("database / Restarts", "streamgauge was started", "the agent was started before it was scraped"),
    ("fleet / Restarts", "streamgauge was started", "the agent was started before it was scraped"),
    ("database / Beacon", "interval", "only an agent that is not beside the database reads beacons"),
    ("database / Beacon", "{{database}} {{replica}} claims to be safe", "as above"),
    ("database / Beacon", "{{database}} {{replica}} read", "as above"),
    ("database / Beacon", "{{database}} {{replica}} written", "as above"),
    ("database / Clock of the writer", "{{database}}", "it is told by beacons"),
    ("database / Disk", "{{database}} full in", "no disk has been filling up for hours"),
    ("fleet / First disk full in", "__auto", "no disk has been filling up for hours"),
    ("database / Posture", "Versioned", "moto tells of versioning in a document that S3 does not know"),
    ("fleet / Posture", "Versioned", "moto tells of versioning in a document that S3 does not know"),
    ("database / Received in an hour", "{{database}} {{replica}}", "it takes an hour"),
    ("database / Received in an hour", "{{database}} {{replica}} at most", "it takes an hour"),
    ("database / Size", "{{database}} in 30 days", "it takes days to see how a database grows"),
    ("fleet / Bill", "all", "requests are projected from those of an hour"),
    ("fleet / Bill", "requests to {{store}}", "requests are projected from those of an hour"),
];

/// What the variables stand for, when all is selected.
const DATABASES: [&str; 5] = ["healthy", "idle", "stalled", "unreachable", "damaged"];

fn file(dashboard: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("dashboards/streamgauge-{dashboard}.json"))
}

#[test]
fn the_command_prints_what_is_checked_in() {
    for dashboard in NAMES {
        let (code, out, err) = told(&["dashboards", dashboard]);
        assert_eq!((code, err.as_str()), (0, ""), "{dashboard}");
        assert!(out == fs::read_to_string(file(dashboard)).unwrap(), "{dashboard} is not what is checked in");
        let import: Value = serde_json::from_str(&told(&["dashboards", dashboard, "--import"]).1).unwrap();
        assert_eq!(import["__inputs"][0]["pluginId"], "prometheus");
    }
    assert_eq!(told(&["dashboards", "nothing"]).0, 2);
}

/// Everything that runs. What is first here ends first.
struct Site {
    agent: Agent,
    _writers: Vec<Writer>,
    _litestreams: Vec<Litestream>,
    _s3: S3,
    _hook: Recorder,
    /// A program that has the metrics that every program has.
    another: Prometheus,
    home: TempDir,
}

impl Site {
    fn start(lab: &Lab) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let (s3, hook) = (lab.moto(home.path()), Recorder::start());
        s3.create_bucket("backups");
        let mut writers: Vec<Writer> = DATABASES.iter().map(|name| writer(lab, &path(&format!("{name}.db")))).collect();

        let yaml = |name: &str, replica: String| {
            fs::create_dir(path(name)).unwrap();
            let database = path(&format!("{name}.db"));
            format!("dbs:\n  - path: {}\n    replica: {{{replica}, sync-interval: 500ms}}\n", database.display())
        };
        let directory = |name: &str| format!("type: file, path: {}", path(&format!("{name}-replica")).display());
        let litestreams = [
            ("healthy", s3.replica("backups", "healthy")),
            ("idle", directory("idle")),
            ("stalled", directory("stalled")),
        ]
        .map(|(name, replica)| lab.replicate("0.5.17", &path(name), &yaml(name, replica)));
        damage(
            lab,
            &path("damaged"),
            &yaml("damaged", directory("damaged")),
            &mut writers[4],
            &path("damaged-replica"),
        );
        let nowhere = s3.replica("backups", "x").replace(&s3.endpoint(), &format!("http://127.0.0.1:{}", free_port()));
        let unreachable = yaml("unreachable", nowhere);
        fs::write(path("unreachable").join("litestream.yml"), unreachable).unwrap();

        let configs = DATABASES.map(|name| path(name).join("litestream.yml"));
        let agent = Agent::start(home.path(), &settings(&configs, &hook, &path("healthy.db")), &[]);
        agent.wait_until_ready();
        let elsewhere = path("another");
        fs::create_dir(&elsewhere).unwrap();
        let another = lab.prometheus(PROMETHEUS[0], &elsewhere, "");
        writers[0].run(Duration::from_millis(500));
        litestreams[2].process.freeze();
        writers[2].run(Duration::from_millis(500));
        Self { agent, _writers: writers, _litestreams: litestreams.into(), _s3: s3, _hook: hook, another, home }
    }

    /// A Prometheus that scrapes the agent and two jobs that are none of our business, one of which is down; with the
    /// rules, in which nothing takes long.
    fn prometheus(&self, lab: &Lab, version: &str) -> Prometheus {
        let rules = told(&["rules"]).1;
        let shorter = |line: &str| match line.trim_start().split_once(": ") {
            Some((key @ ("for" | "keep_firing_for" | "interval"), _)) => {
                format!("{}{key}: 1s\n", " ".repeat(line.len() - line.trim_start().len()))
            }
            _ => format!("{line}\n").replace("[30d:1h]", "[5m:1s]"),
        };
        let file = self.home.path().join(format!("{version}.rules.yml"));
        fs::write(&file, rules.lines().map(shorter).collect::<String>()).unwrap();
        let job = |name: &str, target: &str| {
            format!("  - job_name: {name}\n    static_configs: [{{targets: [\"{target}\"]}}]\n")
        };
        let yaml = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{file:?}]\nscrape_configs:\n{}{}{}",
            job("streamgauge", &self.agent.address),
            job("other", &format!("127.0.0.1:{}", free_port())),
            job("another", &self.another.address),
        );
        lab.prometheus(version, self.home.path(), &yaml)
    }
}

/// Creates a database with a few transactions.
fn writer(lab: &Lab, database: &Path) -> Writer {
    fs::OpenOptions::new().create(true).append(true).mode(0o600).open(database).unwrap();
    let mut writer = lab.writer(database);
    writer.create_table();
    writer.commit(20);
    writer
}

/// Replicates a database several times, loses one of the files and cuts another.
fn damage(lab: &Lab, home: &Path, yaml: &str, writer: &mut Writer, replica: &Path) {
    let config = home.join("litestream.yml");
    fs::write(&config, yaml).unwrap();
    for _ in 0..4 {
        writer.commit(5);
        printed(lab.litestream("0.5.17").args(["replicate", "-once", "-config"]).arg(&config).output().unwrap())
            .unwrap();
    }
    let mut files: Vec<PathBuf> =
        fs::read_dir(replica.join("ltx/0")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let (newest, before) = (files.pop().unwrap(), files.pop().unwrap());
    fs::remove_file(before).unwrap();
    let content = fs::read(&newest).unwrap();
    fs::write(newest, &content[..content.len() - 20]).unwrap();
}

/// Everything is asked often.
fn settings(configs: &[PathBuf], hook: &Recorder, probed: &Path) -> String {
    let (told, never) = (hook.url("/hook"), format!("http://127.0.0.1:{}/", free_port()));
    format!(
        "[litestream]\nconfig = {configs:?}\n\
         [objectives]\nrpo = \"5s\"\nrto = \"5m\"\nretention = \"1h\"\nbudget = 5.0\n\
         [replica]\ninterval = \"1s\"\nidle-interval = \"5s\"\nlevel-interval = \"5s\"\nreconcile-interval = \"10s\"\n\
         timeout = \"10s\"\n\
         [verify]\nspot-interval = \"10s\"\n\
         [drill]\ninterval = \"5s\"\n\
         [drill.price]\nstored-per-gigabyte = 0.023\n\
         [[receiver]]\nkind = \"webhook\"\nname = \"told\"\nurl = {told:?}\nseverity = \"info\"\ngroup-wait = \"1s\"\n\
         group-interval = \"1s\"\nrepeat-interval = \"5s\"\n\
         [[receiver]]\nkind = \"webhook\"\nname = \"never\"\nurl = {never:?}\nseverity = \"info\"\ngroup-wait = \"1s\"\n\
         [deadman]\nurl = {told:?}\ninterval = \"5s\"\n\
         [[database]]\npath = {probed:?}\n\
         [[database.probe]]\nname = \"rows\"\nquery = \"SELECT count(*) FROM t\"\nmin = 1\n"
    )
}

const NAMES: [&str; 3] = ["fleet", "database", "agent"];

fn parsed(dashboard: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(file(dashboard)).unwrap()).unwrap()
}

/// A query of a dashboard.
struct Asked {
    dashboard: &'static str,
    panel: String,
    legend: String,
    promql: String,
    instant: bool,
}

/// All queries of all dashboards, annotations as well.
fn queries() -> Vec<Asked> {
    let mut all = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for dashboard in NAMES {
        let json = parsed(dashboard);
        for panel in json["panels"].as_array().unwrap() {
            let names = &panel["transformations"][1]["options"]["renameByName"];
            for target in panel["targets"].as_array().into_iter().flatten() {
                let column = names[format!("Value #{}", target["refId"].as_str().unwrap())].as_str();
                let legend = column.map_or_else(|| text(&target["legendFormat"]), str::to_owned);
                let (promql, instant) = (text(&target["expr"]), target["instant"] == true);
                all.push(Asked { dashboard, panel: text(&panel["title"]), legend, promql, instant });
            }
        }
        for mark in json["annotations"]["list"].as_array().unwrap() {
            let (panel, legend) = (text(&mark["name"]), text(&mark["titleFormat"]));
            all.push(Asked { dashboard, panel, legend, promql: text(&mark["expr"]), instant: false });
        }
    }
    assert!(all.len() > 150, "{}", all.len());
    all
}

impl Asked {
    /// With the variables replaced as Grafana does it: everything is its `allValue`, several values are a group.
    fn selected(&self, databases: &str) -> String {
        let promql = self.promql.replace("$__rate_interval", "1m").replace("$__range", "1h");
        let promql =
            ["job", "instance", "replica"].iter().fold(promql, |text, name| text.replace(&format!("${name}"), ".+"));
        promql.replace("$database", databases)
    }

    fn ask(&self, server: &Prometheus, databases: &str) -> Vec<Value> {
        let promql = self.selected(databases);
        assert!(!promql.contains('$'), "{promql}");
        if self.instant { server.query(&promql) } else { server.query_range(&promql) }
    }

    /// What it is called in [`EMPTY`].
    fn name(&self) -> String {
        format!("{} / {} / {}", self.dashboard, self.panel, self.legend)
    }
}

/// Whether there is a number in an answer.
fn has_data(series: &[Value]) -> bool {
    let numbers = series.iter().flat_map(|series| {
        let values = series["values"].as_array().cloned().unwrap_or_default();
        values.into_iter().chain([series["value"].clone()])
    });
    numbers.into_iter().any(|point| point[1].as_str().is_some_and(|number| number != "NaN"))
}

#[test]
fn every_query_is_valid_and_has_an_answer() {
    let lab = Lab::find();
    let site = Site::start(&lab);
    let servers = PROMETHEUS.map(|version| site.prometheus(&lab, version));
    let all = queries();
    let everything =
        |asked: &Asked| if asked.dashboard == "database" { format!("({})", DATABASES.join("|")) } else { ".+".into() };
    let expected: BTreeSet<String> = EMPTY.iter().map(|(panel, legend, _)| format!("{panel} / {legend}")).collect();
    for server in &servers {
        let mut empty = BTreeSet::new();
        let settled = wait(Duration::from_secs(150), || {
            let without = all.iter().filter(|asked| !has_data(&asked.ask(server, &everything(asked))));
            empty = without.map(Asked::name).collect();
            empty == expected
        });
        let difference = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect::<Vec<_>>();
        let (missing, superfluous) = (difference(&empty, &expected), difference(&expected, &empty));
        let report = site.agent.report();
        assert!(settled, "without an answer: {missing:#?}\nwith one: {superfluous:#?}\n{report:#}");
    }
    for server in &servers {
        for asked in &all {
            let answer = asked.ask(server, &everything(asked));
            about_agents_only(asked, &answer);
            legends_are_whole(asked, &answer);
            for one in DATABASES {
                asked.ask(server, one);
            }
        }
        NAMES.iter().for_each(|name| variables_have_values(name, server));
        let find = |panel: &str, column: &str| {
            let found =
                all.iter().find(|asked| asked.dashboard == "fleet" && asked.panel == panel && asked.legend == column);
            found.unwrap_or_else(|| panic!("no {column} in {panel}")).ask(server, ".+")
        };
        // A listing may be slow for once, and what is well look late.
        let mut trouble = BTreeMap::new();
        let told_apart = wait(Duration::from_secs(60), || {
            trouble = worst(&find("Worst first", "Trouble"));
            let in_trouble = |name: &str| trouble.get(name).map(|value| *value >= 1.0);
            ["healthy", "idle"].iter().all(|name| in_trouble(name) == Some(false))
                && ["stalled", "damaged", "unreachable"].iter().all(|name| in_trouble(name) == Some(true))
        });
        assert!(told_apart, "{trouble:?}");
        let lag: BTreeSet<String> = find("Worst first", "Lag").iter().map(|row| label(row, "database")).collect();
        assert!(lag.contains("healthy") && !lag.contains("unreachable"), "what is unknown has no lag: {lag:?}");
        assert_eq!(number(&find("Agents down", "__auto")), 0.0, "what is down is no agent");
        assert!(number(&find("Lag unknown", "__auto")) >= 1.0);
    }
}

fn label(series: &Value, name: &str) -> String {
    series["metric"][name].as_str().unwrap_or_default().to_owned()
}

fn number(answer: &[Value]) -> f64 {
    assert_eq!(answer.len(), 1, "{answer:?}");
    answer[0]["value"][1].as_str().unwrap().parse().unwrap()
}

/// Each can be chosen from what there is.
fn variables_have_values(dashboard: &str, server: &Prometheus) {
    for variable in parsed(dashboard)["templating"]["list"].as_array().unwrap().iter().skip(1) {
        let query = variable["query"].as_str().unwrap();
        let (selector, name) =
            query.trim_start_matches("label_values(").trim_end_matches(')').rsplit_once(", ").unwrap();
        let selector = ["job", "instance", "database"]
            .iter()
            .fold(selector.to_owned(), |all, name| all.replace(&format!("${name}"), ".+"));
        let series = server.api(&format!("/api/v1/series?match[]={}", http::encode(&selector)));
        let there = series.as_array().unwrap().iter().any(|series| series[name].is_string());
        assert!(there, "{dashboard}: {query} has nothing to choose from");
    }
}

/// Other jobs are scraped as well.
fn about_agents_only(asked: &Asked, answer: &[Value]) {
    for series in answer {
        let job = label(series, "job");
        assert!(job.is_empty() || job == "streamgauge", "{}: {series}", asked.name());
    }
}

/// A label that no series has would be a hole in the legend.
fn legends_are_whole(asked: &Asked, answer: &[Value]) {
    for name in asked.legend.split("{{").skip(1).filter_map(|rest| rest.split("}}").next()) {
        let there = answer.is_empty() || answer.iter().any(|series| !label(series, name).is_empty());
        assert!(there, "{}: no series has {name}", asked.name());
    }
}

/// The largest trouble of each database.
fn worst(rows: &[Value]) -> BTreeMap<String, f64> {
    let mut trouble = BTreeMap::new();
    for row in rows {
        let value: f64 = row["value"][1].as_str().unwrap().parse().unwrap();
        let worst = trouble.entry(label(row, "database")).or_insert(0.0);
        *worst = value.max(*worst);
    }
    trouble
}
