//! Requests to servers that are asked again and again: what they say of the time is minded, and so is their wish to be
//! left alone.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{self, Client};

use super::clocks::Clocks;
use super::pauses::Pauses;
use super::{Proxied, TlsOptions, client};
use crate::domain::reason::Reason;
use crate::infrastructure::clock;

/// A pool of connections.
pub(in super::super) struct Transport<B> {
    client: Client<HttpsConnector<Proxied>, B>,
    clocks: Arc<Clocks>,
    pauses: Pauses,
    /// So long a request waits for a server that asked to be left alone.
    patience: Duration,
}

/// Why there is no answer.
pub(in super::super) enum Unanswered {
    /// The server asked to be left alone for longer than a request waits: it was not asked.
    Paused(Reason),
    Broken(legacy::Error),
}

impl<B> Transport<B>
where
    B: Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Reads certificates: call it where blocking is allowed.
    pub(in super::super) fn new(
        options: &TlsOptions,
        connect_timeout: Duration,
        clocks: Arc<Clocks>,
    ) -> Result<Self, Reason> {
        let client = client(options, connect_timeout)?;
        Ok(Self { client, clocks, pauses: Pauses::default(), patience: connect_timeout })
    }

    /// The head of an answer, whatever it is; its body has not been read. Redirects are not followed.
    pub(in super::super) async fn send(&self, request: Request<B>) -> Result<Response<Incoming>, Unanswered> {
        let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
        self.pauses.wait(&host, self.patience).await.map_err(Unanswered::Paused)?;
        let sent = clock::wall();
        let mut response = self.client.request(request).await.map_err(Unanswered::Broken)?;
        let answered = clock::wall();
        self.clocks.take(&host, response.headers_mut(), sent, answered);
        self.pauses.take(&host, response.status(), response.headers(), answered);
        Ok(response)
    }
}
