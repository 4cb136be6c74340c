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

use super::answer::{self, Unfit};
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::infrastructure::http::TlsOptions;
use crate::infrastructure::http::clocks::Clocks;
use crate::infrastructure::http::transport::{Transport, Unanswered};
use crate::infrastructure::scrub::Scrub;

/// A shared pool of connections. Cloning shares it.
#[derive(Clone)]
pub(super) struct Connector(Arc<Transport<SdkBody>>);

impl Connector {
    /// Reads certificates: call it where blocking is allowed.
    pub(super) fn new(options: &TlsOptions, connect_timeout: Duration, clocks: Arc<Clocks>) -> Result<Self, Reason> {
        Ok(Self(Arc::new(Transport::new(options, connect_timeout, clocks)?)))
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
        let Self(transport) = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            if request.uri().host().is_some_and(is_tigris) {
                request.headers_mut().insert("x-tigris-consistent", HeaderValue::from_static("true"));
            }
            let ranged = request.headers().contains_key(header::RANGE);
            let told = told(request.headers());
            let response = transport.send(request).await.map_err(|unanswered| match unanswered {
                Unanswered::Paused(reason) => Unfit::last(reason),
                Unanswered::Broken(error) => ConnectorError::io(error.into()),
            })?;
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
        scrub.hide_authorization(value);
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
