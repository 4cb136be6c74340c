//! PagerDuty's Events API v2: one event for each alert, whose labels make its incident.

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::client::Endpoint;
use super::words::{annotation, fingerprint, summary};
use crate::domain::alert::Alert;
use crate::domain::reason::Reason;
use crate::domain::secret::Secret;
use crate::usecase::ports::{AlertMessage, AlertReceiver};

pub(super) struct PagerDuty {
    endpoint: Endpoint,
    routing_key: Secret,
    page: Option<String>,
}

/// PagerDuty refuses a longer summary.
const SUMMARY_CHARACTERS_MAX: usize = 1024;

impl PagerDuty {
    pub(super) fn new(endpoint: Endpoint, routing_key: Secret, page: Option<String>) -> Self {
        Self { endpoint, routing_key, page }
    }

    fn resolve(&self, alert: &Alert) -> Value {
        json!({
            "routing_key": self.routing_key.expose(),
            "event_action": "resolve",
            "dedup_key": fingerprint(alert),
        })
    }

    fn trigger(&self, alert: &Alert) -> Value {
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
        let source = label("instance").or_else(|| label("database")).unwrap_or_else(|| "streamgauge".to_owned());
        json!({
            "routing_key": self.routing_key.expose(),
            "event_action": "trigger",
            "dedup_key": fingerprint(alert),
            "client": "streamgauge",
            "client_url": self.page,
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
}

#[async_trait]
impl AlertReceiver for PagerDuty {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        let triggers = message.firing.iter().map(|alert| self.trigger(alert));
        let resolves = message.resolved.iter().map(|alert| self.resolve(alert));
        for event in triggers.chain(resolves) {
            self.endpoint.post_json("", &event).await?;
        }
        Ok(())
    }
}
