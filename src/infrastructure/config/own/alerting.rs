//! `[alerting]` and `[[silence]]`: how alerts are made of checks, and of which nobody is told.

use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::domain::alerting::{Alerting, Silence};
use crate::domain::check::catalogue;
use crate::domain::limits::{ALERT_LABELS_MAX, SILENCES_MAX};
use crate::domain::window::DailyWindow;
use crate::infrastructure::config::own::web::ListenAddress;
use crate::infrastructure::config::problem::did_you_mean;
use crate::infrastructure::config::source::node::Scalar;
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::config::value::times::{
    DAYS_ACCEPTED, INSTANT_ACCEPTED, WINDOW_ACCEPTED, day, instant, window,
};
use crate::infrastructure::process::host_name;

/// Reads `[alerting]` and `[[silence]]` of the document. Prometheus gives its alerts the labels of the scrape, `job` and
/// `instance`; ours have the values that are usual for an agent that listens there.
pub(crate) fn read(root: &mut Section<'_>, listen: &[ListenAddress]) -> Alerting {
    let default = Alerting::default();
    let mut section = root.section_or_empty("alerting");
    let mut labels =
        BTreeMap::from([("job".to_owned(), "streamgauge".to_owned()), ("instance".to_owned(), instance(listen))]);
    read_labels(section.section_or_empty("labels"), &mut labels);
    let mut url = |key: &'static str| section.parsed(key, "an http:// or https:// URL", http_url);
    let (runbook_url, dashboard_url) = (url("runbook-url"), url("dashboard-url"));
    Alerting {
        evaluation_interval: section.interval("evaluation-interval").unwrap_or(default.evaluation_interval),
        labels,
        runbook_url: runbook_url.unwrap_or(default.runbook_url),
        dashboard_url,
        silences: silences(root),
        ..default
    }
}

/// The host's name with the port of the first address that has one.
fn instance(listen: &[ListenAddress]) -> String {
    let host = host_name();
    match listen.iter().find_map(ListenAddress::port) {
        Some(port) => format!("{host}:{port}"),
        None => host,
    }
}

fn http_url(text: &str) -> Result<String, &'static str> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(rest) if !rest.is_empty() && !text.chars().any(|c| c.is_control() || c == ' ') => Ok(text.to_owned()),
        _ => Err("not such a URL"),
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
            section.problem(place.problem("not a label name").accepted(accepted));
        } else if taken(name) {
            section.problem(place.problem("a label that alerts already have"));
        } else if text.is_empty() {
            labels.remove(name);
        } else {
            labels.insert(name.to_owned(), text.to_owned());
        }
    }
    if labels.len() > ALERT_LABELS_MAX {
        section.fault("too many labels", &format!("at most {ALERT_LABELS_MAX}"));
    }
}

fn silences(root: &mut Section<'_>) -> Vec<Silence> {
    let sections = root.sections_up_to("silence", SILENCES_MAX, &format!("at most {SILENCES_MAX}"));
    sections.into_iter().map(silence).collect()
}

fn silence(mut section: Section<'_>) -> Silence {
    let names = |name: &str| Ok::<_, String>(name.to_owned());
    let databases = section.list("databases", "names of databases, with * for any characters", names);
    let days = section.list("days", DAYS_ACCEPTED, day).unwrap_or_default();
    let whole_day = || DailyWindow { from: Time::midnight(), to: Time::midnight(), zone: TimeZone::system() };
    let window = section.parsed("window", WINDOW_ACCEPTED, window);
    let silence = Silence {
        checks: section.list("checks", "names of checks, such as ReplicationLag", check).unwrap_or_default(),
        databases: databases.unwrap_or_default(),
        from: section.parsed("from", INSTANT_ACCEPTED, instant),
        until: section.parsed("until", INSTANT_ACCEPTED, instant),
        // Days are days of some time zone.
        window: window.or_else(|| (!days.is_empty()).then(whole_day)),
        days,
        reason: section.text("reason").unwrap_or_default(),
    };
    if silence.reason.trim().is_empty() {
        section.wrong("reason", "missing", "why nobody is notified, which is shown with silenced alerts");
    }
    if let (Some(from), Some(until)) = (silence.from, silence.until)
        && from >= until
    {
        section.wrong("until", "not after `from`", "");
    }
    silence
}

/// The name of a check, which has to exist: a silence that silences nothing is noticed too late.
fn check(text: &str) -> Result<String, String> {
    if catalogue().any(|check| check.name == text) {
        return Ok(text.to_owned());
    }
    let names: Vec<&str> = catalogue().map(|check| check.name).collect();
    let meant = did_you_mean(text, &names).map(|name| format!(", did you mean `{name}`?")).unwrap_or_default();
    Err(format!("no such check{meant}"))
}
