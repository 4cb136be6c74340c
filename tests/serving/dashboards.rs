//! The dashboards, asked of the real Prometheus, old and new, that scrapes an agent: whether each query is valid, and has
//! an answer where there is one; and drawn with its answers by the components of Grafana in a real browser.

#[path = "dashboards/site.rs"]
mod site;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::site::{DATABASES, LAG, Site};
use super::lab::litestream::printed;
use super::lab::prometheus::{PROMETHEUS, Prometheus};
use super::lab::{Lab, command, http, wait, wait_for};
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
];

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

/// All queries of all dashboards of a profile, annotations as well.
fn queries(profile: &str) -> Vec<Asked> {
    let mut all = Vec::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for dashboard in NAMES {
        let json: Value = serde_json::from_str(&told(&["dashboards", dashboard, "--profile", profile]).1).unwrap();
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
    assert!(all.len() > if profile == "full" { 150 } else { 120 }, "{}", all.len());
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

/// What `$database` stands for when all is selected. Where Grafana offers *All*, that is anything.
fn everything(dashboard: &str) -> String {
    if dashboard == "database" { format!("({})", DATABASES.join("|")) } else { ".+".into() }
}

/// Waits until all queries but those in [`EMPTY`] have an answer.
fn wait_for_answers(site: &Site, server: &Prometheus, all: &[Asked]) {
    let mut expected: BTreeSet<String> = EMPTY.iter().map(|(panel, legend, _)| format!("{panel} / {legend}")).collect();
    expected.retain(|name| all.iter().any(|asked| asked.name() == *name));
    let mut empty = BTreeSet::new();
    let settled = wait(Duration::from_secs(300), || {
        let without = all.iter().filter(|asked| !has_data(&asked.ask(server, &everything(asked.dashboard))));
        empty = without.map(Asked::name).collect();
        empty == expected
    });
    let difference = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect::<Vec<_>>();
    let (missing, superfluous) = (difference(&empty, &expected), difference(&expected, &empty));
    let report = site.agent.report();
    assert!(settled, "without an answer: {missing:#?}\nwith one: {superfluous:#?}\n{report:#}");
}

#[test]
fn every_query_is_valid_and_has_an_answer() {
    let lab = Lab::find();
    let site = Site::start(&lab, "full");
    let servers = PROMETHEUS.map(|version| site.prometheus(&lab, version));
    let all = queries("full");
    servers.iter().for_each(|server| wait_for_answers(&site, server, &all));
    for server in &servers {
        for asked in &all {
            let answer = asked.ask(server, &everything(asked.dashboard));
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
        assert!(
            has_data(&server.query(&format!("{LAG}{{database=\"unreachable\"}}"))),
            "the last known one is exported"
        );
        assert_eq!(number(&find("Agents down", "__auto")), 0.0, "what is down is no agent");
        assert!(number(&find("Lag unknown", "__auto")) >= 1.0);
        nothing_is_said_of_a_database_that_does_not_exist(server, &all);
    }
    nothing_is_said_without_agents(&site.prometheus_without_agents(&lab, PROMETHEUS[1]), &all);
}

/// Series with their values.
type Series = &'static [(&'static str, u32)];

/// Panels that add up what several agents say, series with their values, and what promtool makes of them; unknown is none.
const SUMS: &[(&str, Series, Option<u32>)] = &[
    (
        "agent / Databases not watched",
        &[
            ("streamgauge_databases{instance=\"observer\",state=\"remote\"}", 3),
            ("streamgauge_databases{instance=\"observer\",state=\"missing\"}", 0),
        ],
        Some(0),
    ),
    ("agent / Databases not watched", &[("streamgauge_databases{instance=\"host\",state=\"missing\"}", 2)], Some(2)),
    ("fleet / Could be lost now", AGENTS_AND_OBSERVER, Some(100 + 7 + 5)),
    ("fleet / Could be lost now", OBSERVER, Some(90 + 5)),
    ("fleet / Not restorable", &[REPORTED], Some(0)),
    ("fleet / Not restorable", &[REPORTED, UNKNOWN], None),
    ("fleet / Not restorable", &[REPORTED, UNKNOWN, HOLE, DAMAGED, NEVER], Some(2)),
];

const REPORTED: (&str, u32) = ("streamgauge_report_timestamp_seconds{instance=\"one\"}", 1);
const UNKNOWN: (&str, u32) = (
    "streamgauge_check_status{instance=\"one\",database=\"x\",replica=\"s3\",check=\"NotRestorable\",status=\"unknown\"}",
    1,
);
const HOLE: (&str, u32) = (
    "streamgauge_check_breach{instance=\"one\",database=\"app\",replica=\"s3\",check=\"ReplicaGap\",severity=\"critical\"}",
    1,
);
const DAMAGED: (&str, u32) = (
    "streamgauge_check_breach{instance=\"one\",database=\"app\",replica=\"s3\",check=\"ReplicaCorrupt\",severity=\"critical\"}",
    3,
);
const NEVER: (&str, u32) = (
    "streamgauge_check_breach{instance=\"one\",database=\"new\",replica=\"s3\",check=\"NeverReplicated\",severity=\"critical\"}",
    1,
);

/// Two agents, each beside a database of the same name, and what an observer says of one of them and of another one.
const AGENTS_AND_OBSERVER: Series = &[
    ("streamgauge_database_size_bytes{instance=\"one\",database=\"app\"}", 4096),
    ("streamgauge_replica_info{instance=\"one\",database=\"app\",replica=\"s3\",url=\"s3://one\"}", 1),
    ("streamgauge_replica_unreplicated_bytes{instance=\"one\",database=\"app\",replica=\"s3\"}", 100),
    ("streamgauge_database_size_bytes{instance=\"two\",database=\"app\"}", 4096),
    ("streamgauge_replica_info{instance=\"two\",database=\"app\",replica=\"s3\",url=\"s3://two\"}", 1),
    ("streamgauge_replica_unreplicated_bytes{instance=\"two\",database=\"app\",replica=\"s3\"}", 7),
    OBSERVER[0],
    OBSERVER[1],
    OBSERVER[2],
    OBSERVER[3],
];

/// What it says of the first of them counts where nobody there says it.
const OBSERVER: Series = &[
    ("streamgauge_replica_info{instance=\"eye\",database=\"a/app\",replica=\"s3\",url=\"s3://one\"}", 1),
    ("streamgauge_replica_unreplicated_bytes{instance=\"eye\",database=\"a/app\",replica=\"s3\"}", 90),
    ("streamgauge_replica_info{instance=\"eye\",database=\"a/more\",replica=\"s3\",url=\"s3://more\"}", 1),
    ("streamgauge_replica_unreplicated_bytes{instance=\"eye\",database=\"a/more\",replica=\"s3\"}", 5),
];

#[test]
fn sums_over_several_agents_are_right() {
    let lab = Lab::find();
    let all = queries("standard");
    let mut yaml = "evaluation_interval: 1m\ntests:\n".to_owned();
    for (panel, series, expected) in SUMS {
        let asked = all.iter().find(|asked| format!("{} / {}", asked.dashboard, asked.panel) == *panel).unwrap();
        let series = series.iter().map(|(name, value)| {
            let name = name.replacen('{', "{job=\"streamgauge\",", 1);
            format!("      - {{series: '{name}', values: '{value}x10'}}\n")
        });
        let expected = expected.map(|value| format!("{{labels: '{{}}', value: {value}}}")).unwrap_or_default();
        yaml += &format!(
            "  - input_series:\n{}    promql_expr_test:\n      - {{expr: '{}', eval_time: 5m, exp_samples: [{expected}]}}\n",
            series.collect::<String>(),
            asked.selected(".+"),
        );
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sums.yml");
    fs::write(&file, yaml).unwrap();
    for version in PROMETHEUS {
        printed(lab.promtool(version).args(["test", "rules"]).arg(&file).output().unwrap()).unwrap();
    }
}

/// Whose dashboards are drawn; the first is in the pictures. The others differ by what is not known of them.
const DRAWN: [&str; 3] = ["stalled", "healthy", "unreachable"];

/// Panels that rightly say nothing of the first of them, beside those of [`EMPTY`]: its replica is in a directory, not in a
/// bucket, and it has no probes.
const WITHOUT: [&str; 2] = ["database / Posture", "database / Probes"];

/// With `SCREENSHOTS=FOLDER` the pictures are left there, with lines that are worth looking at.
#[test]
#[allow(clippy::print_stderr, reason = "what was drawn")]
fn grafana_draws_every_panel() {
    let (lab, since) = (Lab::find(), Instant::now());
    let site = Site::start(&lab, "standard");
    let server = site.prometheus(&lab, PROMETHEUS[1]);
    let all = queries("standard");
    wait_for_answers(&site, &server, &all);
    let text = site.agent.metrics();
    let healthy = text.lines().filter(|line| line.contains("{database=\"healthy\""));
    let lasting = healthy.filter(|line| !line.starts_with("streamgauge_check_")).count();
    assert!((20..=30).contains(&lasting), "{lasting} series of a database with a replica that is drilled:\n{text}");
    if std::env::var_os("SCREENSHOTS").is_some() {
        thread::sleep(Duration::from_secs(480).saturating_sub(since.elapsed()));
    }
    let mut silent = BTreeMap::new();
    for asked in &all {
        let empty = EMPTY.iter().any(|(panel, legend, _)| asked.name() == format!("{panel} / {legend}"));
        *silent.entry(format!("{} / {}", asked.dashboard, asked.panel)).or_insert(true) &= empty;
    }
    silent.retain(|panel, silent| *silent || WITHOUT.contains(&panel.as_str()));
    let nothing: Vec<&str> = silent.keys().map(String::as_str).collect();
    let nothing = serde_json::to_string(&nothing).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/serving/dashboards/grafana/draw.js");
    let modules = ["browser", "grafana"].map(|tool| lab.path(tool).join("node_modules"));
    let mut node = command("node");
    node.arg(script).args([&server.address, &since.elapsed().as_secs().to_string(), &nothing]).args(DRAWN);
    node.env("NODE_PATH", std::env::join_paths(modules).unwrap());
    match printed(node.output().unwrap()) {
        Ok(said) => eprintln!("{said}"),
        Err(wrong) => panic!("{wrong}"),
    }
}

/// Where nothing is known no number is green or 0: there is none.
fn nothing_is_said_of_a_database_that_does_not_exist(server: &Prometheus, all: &[Asked]) {
    let about = all.iter().filter(|asked| asked.promql.contains("database=~\"$database\""));
    let about: Vec<&Asked> = about.filter(|asked| asked.dashboard == "database").collect();
    assert!(about.len() > 80, "{}", about.len());
    for asked in about {
        let answer = asked.ask(server, "nothing");
        assert!(answer.is_empty(), "{}: {answer:?}", asked.name());
    }
}

/// As above, and that there is no agent is an alert.
fn nothing_is_said_without_agents(server: &Prometheus, all: &[Asked]) {
    let (alerts, others): (Vec<&Asked>, Vec<&Asked>) =
        all.iter().partition(|asked| asked.promql.contains("alertname=\"AgentAbsent\""));
    for asked in alerts {
        let mut answer = Vec::new();
        wait_for("AgentAbsent", || {
            answer = asked.ask(server, &everything(asked.dashboard));
            !answer.is_empty()
        });
        assert!(answer.iter().all(|series| label(series, "alertname") == "AgentAbsent"), "{answer:?}");
    }
    for asked in others {
        let answer = asked.ask(server, &everything(asked.dashboard));
        assert!(answer.is_empty(), "{}: {answer:?}", asked.name());
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
