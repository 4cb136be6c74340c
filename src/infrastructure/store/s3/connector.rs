//! The SDK's HTTP transport: one pooled hyper client for all S3 clients with the same TLS settings.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, StatusCode, header};
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
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;

use super::clocks::Clocks;
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::infrastructure::http::{self, Proxied};

pub(super) use crate::infrastructure::http::TlsOptions;

/// Idle connections kept open to one host, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// A shared pool of connections. Cloning shares it.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<HttpsConnector<Proxied>, SdkBody>,
    clocks: Arc<Clocks>,
}

impl Connector {
    /// Reads certificates: call it where blocking is allowed.
    pub(super) fn new(options: &TlsOptions, connect_timeout: Duration, clocks: Arc<Clocks>) -> Result<Self, Reason> {
        let https = http::connector(options, connect_timeout)?;
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client, clocks })
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
        let Self { client, clocks } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            if request.uri().host().is_some_and(is_tigris) {
                request.headers_mut().insert("x-tigris-consistent", HeaderValue::from_static("true"));
            }
            let ranged = request.headers().contains_key(header::RANGE);
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let sent = Timestamp::now();
            let response = client.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            clocks.take(&host, response.headers(), sent, Timestamp::now());
            // Contents are bounded by whoever reads them; all else is read to its end by the SDK.
            let content = ranged && matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
            let response = response.map(|body| match content {
                true => SdkBody::from_body_1_x(body),
                false => SdkBody::from_body_1_x(Limited::new(body, ANSWER_BYTES_MAX)),
            });
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
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
