//! `[alerting]` and `[[silence]]`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use streamgauge::domain::alerting::{Alerting, RUNBOOK_URL};

use super::{Files, load};

const DATABASE: &str = "\n[[database]]\npath = '/a.db'\n";

fn alerting(text: &str) -> Alerting {
    let files = Files::new();
    files.write("streamgauge.toml", format!("{text}{DATABASE}"));
    files.load().settings.alerting
}

fn problems(text: &str) -> Vec<String> {
    let files = Files::new();
    files.write("streamgauge.toml", format!("{text}{DATABASE}"));
    let problems = load(&files.input()).expect_err("mistakes").problems;
    problems.iter().map(|problem| files.short(&problem.to_string())).collect()
}

#[test]
fn labels_are_those_of_a_scrape_unless_said_otherwise() {
    let default = alerting("");
    assert_eq!(default.evaluation_interval, Duration::from_secs(15));
    assert_eq!(default.runbook_url, RUNBOOK_URL);
    assert_eq!(default.dashboard_url, None);
    assert!(default.silences.is_empty());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host name");
    let labels = |alerting: &Alerting| {
        alerting.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(labels(&default), format!("instance={}:10099 job=streamgauge", host.trim()));
    let other = alerting("[web]\nlisten-address = [':9', ':10']");
    assert!(labels(&other).contains(":9 job"), "{}", labels(&other));
    let said = alerting(
        "[alerting]\nevaluation-interval = '1m'\nrunbook-url = 'https://wiki/x'\ndashboard-url = 'http://grafana/d'\n\
         [alerting.labels]\ninstance = 'db1:1'\njob = ''\nteam = 'storage'",
    );
    assert_eq!(labels(&said), "instance=db1:1 team=storage");
    assert_eq!(
        (said.runbook_url.as_str(), said.dashboard_url.as_deref()),
        ("https://wiki/x", Some("http://grafana/d"))
    );
    assert_eq!(said.evaluation_interval, Duration::from_secs(60));
}

#[test]
fn silences_are_read() {
    let silences = alerting(
        "[[silence]]\nreason = 'moving'\nchecks = ['ReplicationLag']\ndatabases = ['shop', 'test-*']\n\
         from = '2026-12-24T18:00:00+01:00'\nuntil = '2026-12-27T06:00:00Z'\n\
         [[silence]]\nreason = 'weekend'\ndays = ['sat', 'SUN']\n\
         [[silence]]\nreason = 'night'\nwindow = '22:00-04:00'\nfrom = '2026-12-24T18:00'",
    )
    .silences;
    let [moving, weekend, night] = silences.as_slice() else { panic!("{silences:?}") };
    let at = |text: &str| Some(text.parse::<Timestamp>().expect("an instant"));
    assert_eq!((moving.from, moving.until), (at("2026-12-24T17:00:00Z"), at("2026-12-27T06:00:00Z")));
    assert_eq!((moving.checks.join(" "), moving.databases.join(" ")), ("ReplicationLag".into(), "shop test-*".into()));
    assert_eq!((moving.reason.as_str(), &moving.window), ("moving", &None));
    assert_eq!(weekend.days, [Weekday::Saturday, Weekday::Sunday]);
    assert!(weekend.window.as_ref().is_some_and(|window| window.is_open(Timestamp::UNIX_EPOCH)));
    let window = night.window.as_ref().expect("a window");
    assert_eq!((window.from, window.to), (Time::constant(22, 0, 0, 0), Time::constant(4, 0, 0, 0)));
    assert!(night.from.is_some() && night.days.is_empty());
}

#[test]
fn mistakes_are_named() {
    let shown = problems(
        "[alerting]\nrunbook-url = 'wiki'\nlabel = 1\n[alerting.labels]\n'a-b' = 'x'\nalertname = 'x'\nreplica = 'x'\nteam = 1\n\
         [[silence]]\nchecks = ['ReplicatonLag', 'Nothing']\ndays = ['Caturday']\nuntil = 'soon'\nwindow = '1-2'\n\
         [[silence]]\nreason = 'x'\nfrom = '2026-01-02T00:00:00Z'\nuntil = '2026-01-01T00:00:00Z'",
    );
    for expected in [
        "alerting.runbook-url: value `wiki`: not such a URL; accepted: an http:// or https:// URL",
        "alerting.label: unknown key, did you mean `labels`?; accepted: dashboard-url, evaluation-interval, labels, runbook-url",
        "alerting.labels.a-b: not a label name; accepted: a name of letters, digits and `_`, such as team",
        "alerting.labels.alertname: a label that alerts already have",
        "alerting.labels.replica: a label that alerts already have",
        "alerting.labels.team: not a string; accepted: a string",
        "silence[0].checks[0]: value `ReplicatonLag`: no such check, did you mean `ReplicationLag`?; accepted: names of checks, \
         such as ReplicationLag",
        "silence[0].checks[1]: value `Nothing`: no such check; accepted: names of checks, such as ReplicationLag",
        "silence[0].days[0]: value `Caturday`: not a day of the week; accepted: MON, TUE, WED, THU, FRI, SAT, SUN",
        "silence[0].until: value `soon`: not a time; accepted: ",
        "silence[0].window: value `1-2`: not two times; accepted: ",
        "silence[0].reason: missing; accepted: why nobody is notified, which is shown with silenced alerts",
        "silence[1].until: not after `from`",
    ] {
        let found = shown.iter().any(|line| line.split_once(": ").is_some_and(|(_, line)| line.starts_with(expected)));
        assert!(found, "{expected}\nis not in\n{}", shown.join("\n"));
    }
    assert_eq!(shown.len(), 13, "{}", shown.join("\n"));
}
