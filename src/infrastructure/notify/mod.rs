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

    fn over_http<F>(&self, endpoint: Endpoint, requests: F) -> Arc<dyn AlertReceiver>
    where
        F: Fn(&AlertMessage, Option<&str>) -> Vec<Request> + Send + Sync + 'static,
    {
        Arc::new(HttpReceiver { endpoint, page: self.page.clone(), requests })
    }
}

/// A receiver over HTTP: an address, and the requests that tell it of a message.
struct HttpReceiver<F> {
    endpoint: Endpoint,
    page: Option<String>,
    requests: F,
}

#[async_trait]
impl<F: Fn(&AlertMessage, Option<&str>) -> Vec<Request> + Send + Sync> AlertReceiver for HttpReceiver<F> {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        for request in (self.requests)(message, self.page.as_deref()) {
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
            ReceiverKind::Smtp(smtp) => vec![Arc::new(smtp::Smtp::new((**smtp).clone()))],
            ReceiverKind::PagerDuty { routing_key, url, http } => {
                let (endpoint, key) = (endpoint(url, http).hiding(routing_key), routing_key.clone());
                vec![self.over_http(endpoint, move |message, page| pagerduty::requests(message, page, &key))]
            }
            ReceiverKind::Ntfy { url, http } => vec![self.over_http(endpoint(url, http), ntfy::requests)],
        }
    }

    fn open_deadman(&self, target: &DeadmanTarget) -> Arc<dyn DeadmanSwitch> {
        Arc::new(Endpoint::new(Arc::clone(&self.clients), &target.url, &target.http))
    }
}
