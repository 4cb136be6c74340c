//! Receivers of alerts: one file for each kind, and one HTTP client for all of them.
//!
//! Addresses are secrets. An error names the host at most, and what a server answers is shown without them.

mod alertmanager;
mod client;
mod deadman;
mod ntfy;
mod pagerduty;
mod slack;
mod smtp;
mod webhook;
mod words;

use std::sync::Arc;

use crate::domain::alerting::{DeadmanTarget, ReceiverKind, ReceiverTarget};
use crate::usecase::ports::{AlertReceiver, AlertReceivers, DeadmanSwitch};
use client::{Clients, Endpoint};

pub use client::place;

/// Opens receivers, which share connections.
#[derive(Default)]
pub struct Receivers {
    clients: Arc<Clients>,
    /// The address of this agent's page.
    page: Option<String>,
}

impl Receivers {
    /// `page` is the address of this agent's page, as those who are told could reach it.
    pub fn new(page: Option<String>) -> Self {
        Self { clients: Arc::default(), page }
    }
}

impl AlertReceivers for Receivers {
    fn open(&self, target: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>> {
        let page = || self.page.clone();
        let endpoint = |url, http| Endpoint::new(Arc::clone(&self.clients), url, http);
        match &target.kind {
            ReceiverKind::Alertmanager { urls, http } => {
                let one = |url| Arc::new(alertmanager::Alertmanager::new(endpoint(url, http), page()));
                urls.iter().map(|url| one(url) as Arc<dyn AlertReceiver>).collect()
            }
            ReceiverKind::Webhook { url, http } => vec![Arc::new(webhook::Webhook::new(endpoint(url, http), page()))],
            ReceiverKind::Slack { url, http } => vec![Arc::new(slack::Slack::new(endpoint(url, http)))],
            ReceiverKind::Smtp(smtp) => vec![Arc::new(smtp::Smtp::new((**smtp).clone()))],
            ReceiverKind::PagerDuty { routing_key, url, http } => {
                let endpoint = endpoint(url, http).hiding(routing_key);
                vec![Arc::new(pagerduty::PagerDuty::new(endpoint, routing_key.clone(), page()))]
            }
            ReceiverKind::Ntfy { url, http } => vec![Arc::new(ntfy::Ntfy::new(endpoint(url, http), page()))],
        }
    }

    fn open_deadman(&self, target: &DeadmanTarget) -> Arc<dyn DeadmanSwitch> {
        Arc::new(deadman::HttpSwitch::new(Endpoint::new(Arc::clone(&self.clients), &target.url, &target.http)))
    }
}
