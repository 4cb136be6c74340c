//! The SDK's HTTP transport: one pooled hyper client for all S3 clients with the same TLS settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http_body_util::Limited;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;

use super::answer::{self, Unfit};
use super::clocks::Clocks;
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::infrastructure::clock;
use crate::infrastructure::http::pauses::Pauses;
use crate::infrastructure::http::{self, Proxied, TlsOptions};
use crate::infrastructure::scrub::Scrub;

/// A shared pool of connections. Cloning shares it.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<HttpsConnector<Proxied>, SdkBody>,
    clocks: Arc<Clocks>,
    pauses: Arc<Pauses>,
    /// So long a request waits for a server that asked to be left alone.
    patience: Duration,
}

impl Connector {
    /// Reads certificates: call it where blocking is allowed.
    pub(super) fn new(options: &TlsOptions, connect_timeout: Duration, clocks: Arc<Clocks>) -> Result<Self, Reason> {
        let client = http::client(options, connect_timeout)?;
        Ok(Self { client, clocks, pauses: Arc::default(), patience: connect_timeout })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, clocks, pauses, patience } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            if request.uri().host().is_some_and(is_tigris) {
                request.headers_mut().insert("x-tigris-consistent", HeaderValue::from_static("true"));
            }
            let ranged = request.headers().contains_key(header::RANGE);
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            pauses.wait(&host, patience).await.map_err(Unfit::last)?;
            let told = told(request.headers());
            let sent = clock::wall();
            let mut response = client.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            let answered = clock::wall();
            clocks.take(&host, response.headers_mut(), sent, answered);
            pauses.take(&host, response.status(), response.headers(), answered);
            let status = response.status();
            let response = if ranged && matches!(status, StatusCode::OK | StatusCode::PARTIAL_CONTENT) {
                answer::content(response)?
            } else if status.is_success() {
                answer::document(response).await?
            } else {
                let mut refused = response.map(|body| SdkBody::from_body_1_x(Limited::new(body, ANSWER_BYTES_MAX)));
                // For whoever repeats what it says.
                refused.extensions_mut().insert(scrub(&told));
                refused
            };
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// The secrets of a request.
fn told(headers: &HeaderMap) -> Vec<HeaderValue> {
    const SECRET: [&str; 4] = [
        "authorization",
        "x-amz-security-token",
        "x-amz-server-side-encryption-customer-key",
        "x-amz-server-side-encryption-customer-key-md5",
    ];
    SECRET.iter().filter_map(|name| headers.get(*name).cloned()).collect()
}

/// Hides them, should they come back.
fn scrub(told: &[HeaderValue]) -> Scrub {
    let mut scrub = Scrub::default();
    for value in told.iter().filter_map(|value| value.to_str().ok()) {
        scrub.hide(value);
        // `AWS4-HMAC-SHA256 Credential=ID/date/region/…, SignedHeaders=…, Signature=…`
        for secret in ["Credential=", "Signature="] {
            let rest = value.split_once(secret).map_or("", |(_, rest)| rest);
            scrub.hide(rest.split(['/', ',', ' ']).next().unwrap_or_default());
        }
    }
    scrub
}

/// Tigris answers from the nearest region unless asked for the newest state, as Litestream asks.
fn is_tigris(host: &str) -> bool {
    ["fly.storage.tigris.dev", "t3.storage.dev"]
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_is_not_repeated() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20261128/eu-west-1/s3/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=0123456789abcdef";
        let headers = HeaderMap::from_iter([
            (header::AUTHORIZATION, HeaderValue::from_static(authorization)),
            ("x-amz-security-token".parse().unwrap(), HeaderValue::from_static("geheim")),
        ]);
        let said = scrub(&told(&headers)).clean(&format!("no {authorization} for geheim; AKIAEXAMPLE is of eu-west-1"));
        assert_eq!(said, "no [redacted] for [redacted]; [redacted] is of eu-west-1");
    }

    #[test]
    fn tigris_is_recognised_by_its_hosts() {
        for (host, expected) in [
            ("fly.storage.tigris.dev", true),
            ("bucket.t3.storage.dev", true),
            ("nott3.storage.dev", false),
            ("s3.amazonaws.com", false),
        ] {
            assert_eq!(is_tigris(host), expected, "{host}");
        }
    }
}
