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

use async_trait::async_trait;

use crate::domain::alerting::{DeadmanTarget, ReceiverKind, ReceiverTarget};
use crate::domain::reason::Reason;
use crate::usecase::ports::{AlertMessage, AlertReceiver, AlertReceivers, DeadmanSwitch};
use client::{Clients, Endpoint, Request};
use words::one_line;

pub use client::place;

/// Who tells: which of all agents it is.
#[derive(Clone, Debug, Default)]
pub struct Sender {
    /// The name of this agent's host.
    pub host: String,
    /// The address of this agent's page, as those who are told could reach it.
    pub page: Option<String>,
}

impl Sender {
    /// The last line of a message to a person.
    fn line(&self) -> String {
        let page = self.page.as_ref().map(|page| format!(", {page}")).unwrap_or_default();
        one_line(&format!("From streamgauge on {}{page}", self.host))
    }
}

/// Opens receivers, which share connections.
#[derive(Default)]
pub struct Receivers {
    clients: Arc<Clients>,
    sender: Sender,
}

impl Receivers {
    /// Tells in the name of an agent.
    pub fn new(sender: Sender) -> Self {
        Self { clients: Arc::default(), sender }
    }

    fn over_http<F>(&self, endpoint: Endpoint, requests: F) -> Arc<dyn AlertReceiver>
    where
        F: Fn(&AlertMessage, &Sender) -> Vec<Request> + Send + Sync + 'static,
    {
        Arc::new(HttpReceiver { endpoint, sender: self.sender.clone(), requests })
    }
}

/// A receiver over HTTP: an address, and the requests that tell it of a message.
struct HttpReceiver<F> {
    endpoint: Endpoint,
    sender: Sender,
    requests: F,
}

#[async_trait]
impl<F: Fn(&AlertMessage, &Sender) -> Vec<Request> + Send + Sync> AlertReceiver for HttpReceiver<F> {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        for request in (self.requests)(message, &self.sender) {
            self.endpoint.send(request).await?;
        }
        Ok(())
    }
}

impl AlertReceivers for Receivers {
    fn open(&self, target: &ReceiverTarget) -> Vec<Arc<dyn AlertReceiver>> {
        let endpoint = |url, http| Endpoint::new(Arc::clone(&self.clients), url, http);
        match &target.kind {
            ReceiverKind::Alertmanager { urls, http } => {
                urls.iter().map(|url| self.over_http(endpoint(url, http), alertmanager::requests)).collect()
            }
            ReceiverKind::Webhook { url, http } => vec![self.over_http(endpoint(url, http), webhook::requests)],
            ReceiverKind::Slack { url, http } => vec![self.over_http(endpoint(url, http), slack::requests)],
            ReceiverKind::Smtp(smtp) => vec![Arc::new(smtp::Smtp::new((**smtp).clone(), &self.sender))],
            ReceiverKind::PagerDuty { routing_key, url, http } => {
                let (endpoint, key) = (endpoint(url, http).hiding(routing_key), routing_key.clone());
                vec![self.over_http(endpoint, move |message, sender| pagerduty::requests(message, sender, &key))]
            }
            ReceiverKind::Ntfy { url, http } => vec![self.over_http(endpoint(url, http), ntfy::requests)],
        }
    }

    fn open_deadman(&self, target: &DeadmanTarget) -> Arc<dyn DeadmanSwitch> {
        let endpoint = Endpoint::new(Arc::clone(&self.clients), &target.url, &target.http);
        Arc::new(deadman::Switch { endpoint, sender: self.sender.clone() })
    }
}
