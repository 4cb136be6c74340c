//! One request to a receiver over HTTP.

use std::sync::Arc;
use std::time::Duration;

use aws_smithy_types::base64;
use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, USER_AGENT};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;

use crate::domain::alerting::{HttpOptions, ReceiverKind};
use crate::domain::limits::{RECEIVER_ANSWER_BYTES_MAX, RECEIVER_TIMEOUT};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::infrastructure::clock;
use crate::infrastructure::http::failure::unreachable;
use crate::infrastructure::http::pauses::retry_after;
use crate::infrastructure::http::{PerTls, Proxied, TlsOptions, client};
use crate::infrastructure::scrub::Scrub;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the body of an answer may take after its head.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The clients in use.
pub(super) type Clients = PerTls<Client<HttpsConnector<Proxied>, Full<Bytes>>>;

/// An address that is told something. What it is made of is not shown, but for host and port.
pub(super) struct Endpoint {
    clients: Arc<Clients>,
    uri: Option<Uri>,
    authorization: Option<HeaderValue>,
    tls: TlsOptions,
    scrub: Scrub,
}

/// What an address is told.
#[derive(Default)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Behind the address's path.
    pub(super) below: &'static str,
    pub(super) body: String,
    pub(super) headers: Vec<(HeaderName, String)>,
}

impl Request {
    pub(super) fn json(value: &impl serde::Serialize) -> Self {
        // Strings and numbers only: there is nothing that could fail.
        Self::post("application/json", serde_json::to_string(value).unwrap_or_default())
    }

    pub(super) fn text(body: String) -> Self {
        Self::post("text/plain; charset=utf-8", body)
    }

    fn post(content_type: &str, body: String) -> Self {
        Self { method: Method::POST, below: "", body, headers: vec![(CONTENT_TYPE, content_type.to_owned())] }
    }
}

impl Endpoint {
    pub(super) fn new(clients: Arc<Clients>, url: &Secret, http: &HttpOptions) -> Self {
        let uri: Option<Uri> = url.expose().parse().ok();
        let mut scrub = Scrub::default();
        scrub.hide(url.expose());
        if let Some(path) = uri.as_ref().and_then(Uri::path_and_query) {
            scrub.hide_parts(path.as_str());
        }
        let authorization = match (&http.bearer, &http.basic) {
            (Some(token), _) => {
                scrub.hide(token.expose());
                Some(format!("Bearer {}", token.expose()))
            }
            (None, Some((user, password))) => {
                let pair = format!("{user}:{}", password.expose());
                scrub.hide(password.expose());
                scrub.hide(&pair);
                Some(format!("Basic {}", base64::encode(pair)))
            }
            (None, None) => None,
        };
        let authorization = authorization.and_then(|text| HeaderValue::try_from(text).ok()).map(|mut value| {
            value.set_sensitive(true);
            value
        });
        let tls = TlsOptions { skip_verify: http.skip_verify, ca_files: http.ca_file.iter().cloned().collect() };
        Self { clients, uri, authorization, tls, scrub }
    }

    /// Hides another secret.
    pub(super) fn hiding(mut self, secret: &Secret) -> Self {
        self.scrub.hide(secret.expose());
        self
    }

    /// One request. Redirects are not followed: they would take along what is meant for this server alone.
    pub(super) async fn send(&self, request: Request) -> Result<(), Reason> {
        let host = self.uri.as_ref().and_then(Uri::authority).map_or("?", |authority| authority.as_str());
        let sent = tokio::time::timeout(RECEIVER_TIMEOUT, self.attempt(request)).await;
        let late = || Err(Reason::new(ReasonKind::Timeout, "no answer in time"));
        let answered = match sent.unwrap_or_else(|_| late()) {
            Ok(answer) => self.understood(answer).await,
            Err(reason) => Err(reason),
        };
        answered.map_err(|reason| reason.context(format_args!("send to {host}")))
    }

    /// The meaning of an answer. Its first line says whether the message was taken: one whose rest breaks off or never
    /// comes is not sent a second time.
    async fn understood(&self, answer: Response<Incoming>) -> Result<(), Reason> {
        let status = answer.status();
        let retry_after = retry_after(status, answer.headers(), clock::wall());
        let body = tokio::time::timeout(ANSWER_TIMEOUT, body(answer)).await;
        if status.is_success() {
            return Ok(());
        }
        let body = body.ok().and_then(Result::ok).unwrap_or_default();
        Err(Reason { retry_after, ..refused(status, &self.scrub.clean(&body)) })
    }

    async fn attempt(&self, request: Request) -> Result<Response<Incoming>, Reason> {
        let Request { method, below, body, headers } = request;
        let misconfigured = || Reason::new(ReasonKind::Misconfigured, "not an HTTP address").with_hint("check url");
        let uri = self.uri.as_ref().and_then(|uri| behind(uri, below)).ok_or_else(misconfigured)?;
        let mut request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header(USER_AGENT, concat!("streamgauge/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|_| misconfigured())?;
        let client = self.clients.get(&self.tls, |tls| client(tls, CONNECT_TIMEOUT)).await?;
        client.request(request).await.map_err(|error| {
            let reason = unreachable(&error);
            Reason { message: self.scrub.clean(&reason.message), ..reason }
        })
    }
}

/// The beginning of an answer; the rest is not read.
async fn body(answer: Response<Incoming>) -> Result<String, hyper::Error> {
    let mut body = answer.into_body();
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            let room = RECEIVER_ANSWER_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&data[..data.len().min(room)]);
            if bytes.len() >= RECEIVER_ANSWER_BYTES_MAX {
                break;
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The address with something behind its path and before its query.
fn behind(uri: &Uri, below: &str) -> Option<Uri> {
    uri.scheme().zip(uri.host())?;
    if below.is_empty() {
        return Some(uri.clone());
    }
    let mut path = format!("{}{below}", uri.path().trim_end_matches('/'));
    if let Some(query) = uri.query() {
        path.extend(["?", query]);
    }
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The meaning of an answer that is not a success.
fn refused(status: StatusCode, body: &str) -> Reason {
    let (kind, hint) = match status.as_u16() {
        300..=399 => (ReasonKind::Misconfigured, "it redirects: use the address that it redirects to"),
        401 | 403 => (ReasonKind::Denied, "check url, username, password and bearer-token"),
        404 | 405 | 410 => (ReasonKind::NotFound, "check url"),
        408 | 504 => (ReasonKind::Timeout, ""),
        429 => (ReasonKind::Throttled, ""),
        _ => (ReasonKind::Failed, ""),
    };
    let message = match body {
        "" => format!("status {}", status.as_u16()),
        body => format!("status {}: {body}", status.as_u16()),
    };
    let reason = Reason::new(kind, message);
    if hint.is_empty() { reason } else { reason.with_hint(hint) }
}

/// Host and port of an address: what may be shown of it.
fn host(url: &Secret) -> String {
    let uri: Option<Uri> = url.expose().parse().ok();
    let authority = uri.as_ref().and_then(Uri::authority).map(|authority| authority.as_str());
    // Credentials in an address are refused when the configuration is read.
    authority.map_or_else(String::new, |text| text.rsplit('@').next().unwrap_or_default().to_owned())
}

/// Where a receiver is, as far as that may be shown.
pub fn place(kind: &ReceiverKind) -> String {
    match kind {
        ReceiverKind::Alertmanager { urls, .. } => urls.iter().map(host).collect::<Vec<_>>().join(", "),
        ReceiverKind::Webhook { url, .. }
        | ReceiverKind::Slack { url, .. }
        | ReceiverKind::PagerDuty { url, .. }
        | ReceiverKind::Ntfy { url, .. } => host(url),
        ReceiverKind::Smtp(smtp) => format!("{}:{}", smtp.host, smtp.port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_behind_an_address_goes_before_its_query() {
        for (url, below, expected) in [
            ("http://am:9093", "/api/v2/alerts", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/prefix/", "/api/v2/alerts", "http://am:9093/prefix/api/v2/alerts"),
            ("https://hc/uuid?create=1", "/fail", "https://hc/uuid/fail?create=1"),
            ("https://hc/uuid/", "", "https://hc/uuid/"),
        ] {
            assert_eq!(behind(&url.parse().unwrap(), below).unwrap().to_string(), expected);
        }
        assert_eq!(behind(&"/path".parse().unwrap(), ""), None);
    }

    #[test]
    fn refusals_become_kinds_and_hints() {
        for (status, body, expected) in [
            (401, "", "denied: status 401 | check url, username, password and bearer-token"),
            (404, "no_team", "not_found: status 404: no_team | check url"),
            (429, "", "throttled: status 429 | "),
            (500, "oops", "failed: status 500: oops | "),
            (302, "", "misconfigured: status 302 | it redirects: use the address that it redirects to"),
        ] {
            let reason = refused(StatusCode::from_u16(status).unwrap(), body);
            let hint = reason.hint.clone().unwrap_or_default();
            assert_eq!(format!("{}: {reason} | {hint}", reason.kind.as_str()), expected);
        }
    }
}
