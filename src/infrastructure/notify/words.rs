//! The texts of messages to people.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::alert::{Alert, AlertState};
use crate::domain::human::counted;
use crate::infrastructure::hex::hex;
use crate::usecase::ports::AlertMessage;

/// An annotation; empty where there is none.
pub(super) fn annotation<'a>(alert: &'a Alert, name: &str) -> &'a str {
    alert.annotations.get(name).map_or("", String::as_str)
}

/// The subject of an alert, in a few words.
pub(super) fn summary(alert: &Alert) -> &str {
    match annotation(alert, "summary") {
        "" => alert.name(),
        summary => summary,
    }
}

/// Firing before resolved.
pub(super) fn alerts(message: &AlertMessage) -> impl Iterator<Item = &Arc<Alert>> {
    message.firing.iter().chain(&message.resolved)
}

/// The word for alerts that no longer fire.
fn over(alerts: &[Arc<Alert>]) -> &'static str {
    let mut endings = alerts.iter().map(|alert| alert.ending());
    let first = endings.next().unwrap_or(AlertState::Resolved.as_str());
    if endings.all(|ending| ending == first) { first } else { "over" }
}

/// `CRITICAL: app is behind`, `RESOLVED: app is behind`, `2 firing, 1 resolved: app is behind …`, on one line.
pub(super) fn headline(message: &AlertMessage) -> String {
    let (firing, resolved) = (message.firing.len(), message.resolved.len());
    let over = over(&message.resolved);
    let first = alerts(message).next().map_or("", |alert| summary(alert));
    let text = match (firing, resolved, message.omitted) {
        (1, 0, 0) => format!("{}: {first}", message.firing[0].severity.as_str().to_uppercase()),
        (0, 1, 0) => format!("{}: {first}", over.to_uppercase()),
        (0, _, 0) => format!("{resolved} {over}: {first} …"),
        (_, 0, 0) => format!("{firing} firing: {first} …"),
        (_, _, 0) => format!("{firing} firing, {resolved} {over}: {first} …"),
        (_, _, omitted) => format!("{}: {first} …", counted(firing + resolved + omitted, "alert")),
    };
    one_line(&text)
}

/// Whatever a name holds, it begins no line and no header.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// One alert in a few lines, without markup.
pub(super) fn paragraph(alert: &Alert) -> String {
    let state = match alert.state {
        AlertState::Resolved => alert.ending(),
        _ => alert.severity.as_str(),
    };
    let mut text = format!("[{}] {} ({})\n", state.to_uppercase(), one_line(summary(alert)), alert.name());
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name}{}\n", one_line(value)));
        }
    };
    line("since ", &alert.fired_at.unwrap_or(alert.active_at).to_string());
    if let Some(at) = alert.until() {
        line("until ", &at.to_string());
    }
    line("", annotation(alert, Alert::ENDED));
    if alert.state != AlertState::Resolved {
        line("", annotation(alert, "description"));
        line("To do: ", annotation(alert, "action"));
        line("Runbook: ", annotation(alert, "runbook_url"));
        line("Dashboard: ", annotation(alert, "dashboard_url"));
    }
    text
}

/// The alerts one after the other, as many as fit, and how many there are besides.
pub(super) fn body(message: &AlertMessage, bytes_max: usize, one: impl Fn(&Alert) -> String) -> String {
    // Room for the last line.
    const REST: usize = 80;
    let all = message.firing.len() + message.resolved.len() + message.omitted;
    let mut text = String::new();
    let mut shown = 0;
    for alert in alerts(message) {
        let mut next = one(alert);
        if shown == 0 {
            truncate(&mut next, bytes_max.saturating_sub(REST));
        } else if text.len() + next.len() > bytes_max.saturating_sub(REST) {
            break;
        }
        text.push_str(&next);
        shown += 1;
    }
    if all > shown {
        text.push_str(&format!("and {} more\n", all - shown));
    }
    if message.repeated {
        text.push_str("Sent before; still the case.\n");
    }
    text
}

fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max.saturating_sub(4)));
        text.push_str("…\n");
    }
}

/// The same for the same labels, whatever the agent's version: 64 hexadecimal digits.
pub(super) fn fingerprint(alert: &Alert) -> String {
    let mut text = String::new();
    for (name, value) in &alert.labels {
        text.extend([name, "\u{1f}", value, "\u{1e}"]);
    }
    hex(digest(&SHA256, text.as_bytes()).as_ref())
}
