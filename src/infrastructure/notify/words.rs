//! The texts of messages to people.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::domain::alert::{Alert, AlertState};
use crate::domain::human::{counted, instant};
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

/// Of what an alert is no longer watched: `s3 of app`, where only a replica may have gone, `app`, or what its summary says.
fn unwatched(alert: &Alert) -> String {
    match ["database", "replica"].map(|label| alert.labels.get(label).filter(|value| !value.is_empty())) {
        [Some(database), Some(replica)] => format!("{replica} of {database}"),
        [Some(database), None] => database.clone(),
        _ => summary(alert).to_owned(),
    }
}

/// `resolved`, `no longer known`, or `no longer watched: s3 of app`.
pub(super) fn ended(alert: &Alert) -> String {
    let word = alert.ending();
    if alert.is_unwatched() { format!("{word}: {}", unwatched(alert)) } else { word.to_owned() }
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
    let about = |alert: &Alert| match firing {
        0 if over == Alert::UNWATCHED => unwatched(alert),
        _ => summary(alert).to_owned(),
    };
    let first = alerts(message).next().map_or_else(String::new, |alert| about(alert));
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
        AlertState::Resolved if alert.is_unwatched() => {
            format!("{}: {}", Alert::UNWATCHED.to_uppercase(), one_line(&unwatched(alert)))
        }
        AlertState::Resolved => alert.ending().to_uppercase(),
        _ => alert.severity.as_str().to_uppercase(),
    };
    let mut text = format!("[{state}] {} ({})\n", one_line(summary(alert)), alert.name());
    let mut line = |name: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("  {name}{}\n", one_line(value)));
        }
    };
    let since = instant(alert.fired_at.unwrap_or(alert.active_at));
    line("since ", &since);
    // A test begins and ends at once.
    let until = alert.until().map(instant).filter(|until| *until != since);
    line("until ", &until.unwrap_or_default());
    if alert.state == AlertState::Resolved {
        line("", Some(annotation(alert, Alert::ENDED)).filter(|_| !alert.is_unwatched()).unwrap_or_default());
    } else {
        line("", annotation(alert, "description"));
        line("To do: ", annotation(alert, "action"));
        line("Runbook: ", annotation(alert, "runbook_url"));
        line("Dashboard: ", annotation(alert, "dashboard_url"));
    }
    text
}

/// The alerts one after the other, as many as fit, how many there are besides, and `from`, the last line.
pub(super) fn body(message: &AlertMessage, from: &str, bytes_max: usize, one: impl Fn(&Alert) -> String) -> String {
    // Room for the lines below them.
    let rest = 80 + from.len();
    let all = message.firing.len() + message.resolved.len() + message.omitted;
    let mut text = String::new();
    let mut shown = 0;
    for alert in alerts(message) {
        let mut next = one(alert);
        if shown == 0 {
            truncate(&mut next, bytes_max.saturating_sub(rest));
        } else if text.len() + next.len() > bytes_max.saturating_sub(rest) {
            break;
        }
        text.push_str(&next);
        shown += 1;
    }
    if all > shown {
        text.push_str(&format!("and {} more\n", all - shown));
    }
    if message.repeated {
        text.push_str("Sent before; still firing.\n");
    }
    text.extend([from, "\n"]);
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::verdict::Severity;

    /// An alert of these labels, about which the agent says no more.
    fn ended_unwatched(labels: &[(&str, &str)]) -> Arc<Alert> {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect();
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        Arc::new(Alert {
            labels: map(labels),
            annotations: map(&[("summary", "app: damaged objects in s3"), (Alert::ENDED, Alert::UNWATCHED)]),
            severity: Severity::Critical,
            state: AlertState::Resolved,
            active_at: at("2026-11-22T07:30:15.25Z"),
            fired_at: Some(at("2026-11-22T07:30:15.257757712Z")),
            ended_at: None,
            resolved_at: Some(at("2026-11-22T07:31:00.5Z")),
            value: 1.0,
            suppressed: None,
        })
    }

    fn message(resolved: Vec<Arc<Alert>>) -> AlertMessage {
        AlertMessage {
            receiver: "mail".into(),
            at: Timestamp::UNIX_EPOCH,
            firing: Vec::new(),
            resolved,
            omitted: 0,
            firing_total: 0,
            repeated: false,
            valid_until: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_no_longer_watched_is_named() {
        let check = |labels: &[(&str, &str)], expected: &str| {
            let alert = ended_unwatched(labels);
            assert_eq!(headline(&message(vec![Arc::clone(&alert)])), format!("NO LONGER WATCHED: {expected}"));
            assert_eq!(headline(&message(vec![alert; 4])), format!("4 no longer watched: {expected} …"));
        };
        check(&[("database", "app"), ("replica", "s3")], "s3 of app");
        check(&[("database", "app")], "app");
        check(&[("bucket", "b")], "app: damaged objects in s3");
    }

    #[test]
    fn what_is_no_longer_known_is_not_resolved_and_says_why() {
        let mut alert = Alert::clone(&ended_unwatched(&[("database", "app"), ("alertname", "ReplicaCorrupt")]));
        alert.annotations.insert(Alert::ENDED.into(), "no longer known: list s3://b/app: access denied".into());
        let expected = "[NO LONGER KNOWN] app: damaged objects in s3 (ReplicaCorrupt)\n  since 2026-11-22 07:30:15Z\n  \
                        no longer known: list s3://b/app: access denied\n";
        assert_eq!(paragraph(&alert), expected);
        assert_eq!(headline(&message(vec![Arc::new(alert)])), "NO LONGER KNOWN: app: damaged objects in s3");
    }

    #[test]
    fn instants_are_whole_seconds_and_one_where_nothing_lasted() {
        let alert = ended_unwatched(&[("database", "app"), ("replica", "s3"), ("alertname", "ReplicaCorrupt")]);
        let head = "[NO LONGER WATCHED: s3 of app] app: damaged objects in s3 (ReplicaCorrupt)\n  since 2026-11-22 07:30:15Z\n";
        assert_eq!(paragraph(&alert), format!("{head}  until 2026-11-22 07:31:00Z\n"));
        let at_once = Alert { resolved_at: alert.fired_at, ..Alert::clone(&alert) };
        assert_eq!(paragraph(&at_once), head);
    }
}
