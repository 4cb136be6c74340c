//! Alertmanager's API v2, spoken as Prometheus speaks it.
//!
//! `POST /api/v2/alerts` with `startsAt` when it fired, and `endsAt` when it ended or, while it fires, when it is to be
//! taken for ended unless it is told again (openapi.yaml of Alertmanager; `rules.SendAlerts` of Prometheus).

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;

use super::client::Endpoint;
use crate::domain::alert::Alert;
use crate::domain::reason::Reason;
use crate::usecase::ports::{AlertMessage, AlertReceiver};

pub(super) struct Alertmanager {
    endpoint: Endpoint,
    page: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<&'a str>,
}

impl Alertmanager {
    pub(super) fn new(endpoint: Endpoint, page: Option<String>) -> Self {
        Self { endpoint, page }
    }

    fn alert<'a>(&'a self, alert: &'a Arc<Alert>, ends_at: Timestamp) -> PostableAlert<'a> {
        let starts_at = alert.fired_at.unwrap_or(alert.active_at);
        PostableAlert {
            // An empty label is no label for Prometheus.
            labels: alert.labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            annotations: &alert.annotations,
            starts_at,
            // A clock that was set back would make it end before it began, which is refused.
            ends_at: ends_at.max(starts_at),
            generator_url: self.page.as_deref(),
        }
    }
}

#[async_trait]
impl AlertReceiver for Alertmanager {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        let firing = message.firing.iter().map(|alert| self.alert(alert, message.valid_until));
        let resolved = message.resolved.iter().map(|alert| self.alert(alert, alert.resolved_at.unwrap_or(message.at)));
        let alerts: Vec<_> = firing.chain(resolved).collect();
        self.endpoint.post_json("/api/v2/alerts", &alerts).await
    }
}
