//! `[alerting]` and `[[silence]]`: how alerts are made of checks, and of which nobody is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use jiff::Timestamp;
use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;

use crate::domain::alerting::{Alerting, Silence};
use crate::domain::check::catalogue;
use crate::domain::drill::schedule::DrillWindow;
use crate::domain::limits::{ALERT_LABELS_MAX, SILENCES_MAX};

use crate::infrastructure::config::own::drill::{WINDOW_ACCEPTED, window};
use crate::infrastructure::config::problem::did_you_mean;
use crate::infrastructure::config::value::section::{Scalar, Section};

const INSTANT_ACCEPTED: &str =
    "an instant such as 2026-12-24T18:00:00+01:00, or 2026-12-24T18:00 in this system's time zone";

const DAYS: [(&str, Weekday); 7] = [
    ("MON", Weekday::Monday),
    ("TUE", Weekday::Tuesday),
    ("WED", Weekday::Wednesday),
    ("THU", Weekday::Thursday),
    ("FRI", Weekday::Friday),
    ("SAT", Weekday::Saturday),
    ("SUN", Weekday::Sunday),
];

const DAYS_ACCEPTED: &str = "MON, TUE, WED, THU, FRI, SAT, SUN";

/// Reads `[alerting]` and `[[silence]]` of the document. Prometheus gives its alerts the labels of the scrape, `job` and
/// `instance`; ours have the values that are usual for an agent that listens there.
pub(crate) fn read(root: &mut Section<'_>, listen: &[SocketAddr]) -> Alerting {
    let default = Alerting::default();
    let mut section = root.section_or_empty("alerting");
    let mut labels =
        BTreeMap::from([("job".to_owned(), "streamgauge".to_owned()), ("instance".to_owned(), instance(listen))]);
    read_labels(section.section_or_empty("labels"), &mut labels);
    let mut url = |key: &'static str| section.parsed(key, "an http:// or https:// URL", http_url);
    let (runbook_url, dashboard_url) = (url("runbook-url"), url("dashboard-url"));
    let evaluation_interval = section.interval("evaluation-interval").unwrap_or(default.evaluation_interval);
    section.finish();
    Alerting {
        evaluation_interval,
        labels,
        runbook_url: runbook_url.unwrap_or(default.runbook_url),
        dashboard_url,
        silences: silences(root),
        receivers: Vec::new(),
        deadman: None,
    }
}

/// The host's name with the port of the first address.
fn instance(listen: &[SocketAddr]) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    listen.first().map_or_else(|| host.clone(), |address| format!("{host}:{}", address.port()))
}

fn http_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.chars().any(|c| c.is_control() || c == ' ') => Ok(text.to_owned()),
        _ => Err("not such a URL".to_owned()),
    }
}

/// An empty value takes a label away, as in Prometheus.
fn read_labels(mut section: Section<'_>, labels: &mut BTreeMap<String, String>) {
    let taken = |name: &str| {
        let of_a_subject = catalogue().any(|check| check.scope().labels().contains(&name));
        of_a_subject || ["alertname", "severity"].contains(&name)
    };
    for (name, Scalar { text, place, .. }) in section.pairs("a string") {
        let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !word || name.starts_with("__") || name.starts_with(|first: char| first.is_ascii_digit()) {
            let accepted = "a name of letters, digits and `_`, such as team";
            section.problem(place.problem("not a label's name").accepted(accepted));
        } else if taken(name) {
            section.problem(place.problem("a label that alerts have already"));
        } else if text.is_empty() {
            labels.remove(name);
        } else {
            labels.insert(name.to_owned(), text.to_owned());
        }
    }
    if labels.len() > ALERT_LABELS_MAX {
        let problem = section.place().problem("too many labels");
        section.problem(problem.accepted(format!("at most {ALERT_LABELS_MAX}")));
    }
}

fn silences(root: &mut Section<'_>) -> Vec<Silence> {
    let sections = root.sections("silence");
    if sections.len() > SILENCES_MAX {
        let problem = root.place_of("silence").problem("too many");
        root.problem(problem.accepted(format!("at most {SILENCES_MAX}")));
    }
    sections.into_iter().map(silence).collect()
}

fn silence(mut section: Section<'_>) -> Silence {
    let days = days(&mut section);
    let whole_day = || DrillWindow { from: Time::midnight(), to: Time::midnight(), zone: TimeZone::system() };
    let silence = Silence {
        checks: checks(&mut section),
        databases: section
            .texts("databases", "names of databases, with * for any characters")
            .unwrap_or_default()
            .into_iter()
            .map(|scalar| scalar.text.to_owned())
            .collect(),
        from: section.parsed("from", INSTANT_ACCEPTED, instant),
        until: section.parsed("until", INSTANT_ACCEPTED, instant),
        window: section
            .parsed("window", WINDOW_ACCEPTED, window)
            // Days are days of some time zone.
            .or_else(|| (!days.is_empty()).then(whole_day)),
        days,
        reason: section.text("reason").unwrap_or_default(),
    };
    if silence.reason.trim().is_empty() {
        let accepted = "why nobody is told, which is shown beside what is silenced";
        section.problem(section.place_of("reason").problem("missing").accepted(accepted));
    }
    if let (Some(from), Some(until)) = (silence.from, silence.until)
        && from >= until
    {
        section.problem(section.place_of("until").problem("not after `from`"));
    }
    section.finish();
    silence
}

/// Names of checks, which have to exist: a silence that silences nothing is noticed too late.
fn checks(section: &mut Section<'_>) -> Vec<String> {
    const ACCEPTED: &str = "names of checks, such as ReplicationLag";
    let mut names = Vec::new();
    for Scalar { text, place, .. } in section.texts("checks", ACCEPTED).unwrap_or_default() {
        if catalogue().any(|check| check.name == text) {
            names.push(text.to_owned());
            continue;
        }
        let lower: Vec<_> = catalogue().map(|check| (check.name.to_lowercase(), check.name)).collect();
        let candidates: Vec<&str> = lower.iter().map(|(lower, _)| lower.as_str()).collect();
        let meant = did_you_mean(text, &candidates);
        let meant = meant.and_then(|meant| lower.iter().find(|(lower, _)| lower == meant));
        let meant = meant.map(|(_, name)| format!(", did you mean `{name}`?")).unwrap_or_default();
        section.problem(place.problem(format!("no such check{meant}")).value(text).accepted(ACCEPTED));
    }
    names
}

fn days(section: &mut Section<'_>) -> Vec<Weekday> {
    let mut days = Vec::new();
    for Scalar { text, place, .. } in section.texts("days", DAYS_ACCEPTED).unwrap_or_default() {
        match DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, day)) => days.push(*day),
            None => section.problem(place.problem("not a day of the week").value(text).accepted(DAYS_ACCEPTED)),
        }
    }
    days
}

fn instant(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let local: Option<DateTime> = text.parse().ok();
    let zoned = local.and_then(|local| local.to_zoned(TimeZone::system()).ok());
    zoned.map(|zoned| zoned.timestamp()).ok_or_else(|| "not an instant".to_owned())
}
