//! Alertmanager's API v2, spoken as Prometheus speaks it.
//!
//! `POST /api/v2/alerts` with `startsAt` when it fired, and `endsAt` when it ended or, while it fires, when it is to be
//! taken for ended unless it is told again (openapi.yaml of Alertmanager; `rules.SendAlerts` of Prometheus).

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Sender;
use super::client::Request;
use crate::domain::alert::Alert;
use crate::usecase::ports::AlertMessage;

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

fn postable<'a>(alert: &'a Arc<Alert>, ends_at: Timestamp, page: Option<&'a str>) -> PostableAlert<'a> {
    let starts_at = alert.fired_at.unwrap_or(alert.active_at);
    PostableAlert {
        // An empty label is no label for Prometheus.
        labels: alert.labels.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        annotations: &alert.annotations,
        starts_at,
        // A clock that was set back would make it end before it began, which is refused.
        ends_at: ends_at.max(starts_at),
        generator_url: page,
    }
}

pub(super) fn requests(message: &AlertMessage, sender: &Sender) -> Vec<Request> {
    let page = sender.page.as_deref();
    let firing = message.firing.iter().map(|alert| postable(alert, message.valid_until, page));
    let resolved = message.resolved.iter();
    let resolved = resolved.map(|alert| postable(alert, alert.resolved_at.unwrap_or(message.at), page));
    vec![Request { below: "/api/v2/alerts", ..Request::json(&firing.chain(resolved).collect::<Vec<_>>()) }]
}
