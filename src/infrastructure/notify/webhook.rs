//! Our own JSON, for scripts and gateways. docs/ALERTING.md shows one: a field that goes or changes its meaning is a new
//! `version`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::Sender;
use super::client::Request;
use super::words::{alerts, fingerprint};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::verdict::Severity;
use crate::usecase::ports::AlertMessage;

const VERSION: u32 = 1;

#[derive(Serialize)]
struct Payload<'a> {
    version: u32,
    receiver: &'a str,
    sent_at: Timestamp,
    page_url: Option<&'a str>,
    /// Nothing below is new.
    repeated: bool,
    firing_total: usize,
    omitted: usize,
    alerts: Vec<PayloadAlert<'a>>,
}

#[derive(Serialize)]
struct PayloadAlert<'a> {
    status: AlertState,
    severity: Severity,
    fingerprint: String,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    /// Unknown after a restart.
    value: Option<f64>,
    starts_at: Timestamp,
    ends_at: Option<Timestamp>,
}

impl<'a> From<&'a Alert> for PayloadAlert<'a> {
    fn from(alert: &'a Alert) -> Self {
        Self {
            status: alert.state,
            severity: alert.severity,
            fingerprint: fingerprint(alert),
            labels: &alert.labels,
            annotations: &alert.annotations,
            value: alert.value.is_finite().then_some(alert.value),
            starts_at: alert.fired_at.unwrap_or(alert.active_at),
            ends_at: alert.resolved_at,
        }
    }
}

pub(super) fn requests(message: &AlertMessage, sender: &Sender) -> Vec<Request> {
    vec![Request::json(&Payload {
        version: VERSION,
        receiver: &message.receiver,
        sent_at: message.at,
        page_url: sender.page.as_deref(),
        repeated: message.repeated,
        firing_total: message.firing_total,
        omitted: message.omitted,
        alerts: alerts(message).map(|alert| PayloadAlert::from(&**alert)).collect(),
    })]
}
