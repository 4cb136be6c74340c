//! PagerDuty's Events API v2: one event for each alert, whose labels make its incident.

use serde_json::{Map, Value, json};

use super::Sender;
use super::client::Request;
use super::words::{annotation, fingerprint, summary};
use crate::domain::alert::Alert;
use crate::domain::secret::Secret;
use crate::usecase::ports::AlertMessage;

/// PagerDuty refuses a longer summary.
const SUMMARY_CHARACTERS_MAX: usize = 1024;

fn resolve(alert: &Alert, routing_key: &Secret) -> Value {
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "resolve",
        "dedup_key": fingerprint(alert),
    })
}

fn trigger(alert: &Alert, routing_key: &Secret, sender: &Sender) -> Value {
    let label = |name: &str| alert.labels.get(name).cloned();
    let mut details: Map<String, Value> =
        alert.labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    for name in ["description", "action"] {
        details.insert(name.to_owned(), annotation(alert, name).into());
    }
    let links: Vec<Value> = ["runbook_url", "dashboard_url"]
        .iter()
        .filter(|name| !annotation(alert, name).is_empty())
        .map(|name| json!({ "href": annotation(alert, name), "text": name.trim_end_matches("_url") }))
        .collect();
    let source = label("instance").unwrap_or_else(|| sender.host.clone());
    json!({
        "routing_key": routing_key.expose(),
        "event_action": "trigger",
        "dedup_key": fingerprint(alert),
        "client": "streamgauge",
        "client_url": sender.page,
        "links": links,
        "payload": {
            "summary": summary(alert).chars().take(SUMMARY_CHARACTERS_MAX).collect::<String>(),
            "source": source,
            // The same three words.
            "severity": alert.severity.as_str(),
            "timestamp": alert.fired_at.unwrap_or(alert.active_at).to_string(),
            "component": label("database"),
            "group": label("replica"),
            "class": alert.name(),
            "custom_details": details,
        },
    })
}

pub(super) fn requests(message: &AlertMessage, sender: &Sender, routing_key: &Secret) -> Vec<Request> {
    let triggers = message.firing.iter().map(|alert| trigger(alert, routing_key, sender));
    let resolves = message.resolved.iter().map(|alert| resolve(alert, routing_key));
    triggers.chain(resolves).map(|event| Request::json(&event)).collect()
}
