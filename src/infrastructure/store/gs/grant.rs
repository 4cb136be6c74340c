//! Tokens of Google, and the requests that they are given for.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use serde::Deserialize;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::document::json;
use crate::infrastructure::http::proxy::is_this_machine;
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::login::Login;

pub(super) const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Google gives no token for longer.
const LIFETIME_MAX: Duration = Duration::from_secs(12 * 3600);

/// A token, as the value of `Authorization`.
pub(super) struct Token {
    pub(super) bearer: HeaderValue,
    /// How long it is used.
    pub(super) kept: Duration,
}

impl Token {
    pub(super) fn new(token: &str, lifetime: Duration) -> Result<Self, Reason> {
        let bearer = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| !token.is_empty());
        let mut bearer = bearer.ok_or_else(|| corrupt("not a token".to_owned()))?;
        bearer.set_sensitive(true);
        // What is sent just before its end arrives behind it.
        Ok(Self { bearer, kept: lifetime.min(LIFETIME_MAX) * 9 / 10 })
    }
}

pub(super) fn misconfigured(cause: &str) -> Reason {
    Reason::new(ReasonKind::Misconfigured, cause)
}

/// An address to which tokens may be sent. A link-local one is that of a metadata server, which no router forwards to.
pub(super) fn address(key: &str, url: &str) -> Result<Uri, Reason> {
    let is_private = |uri: &Uri| match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => uri.host().is_some(),
        Some(scheme) if *scheme == Scheme::HTTP => uri.host().is_some_and(|host| {
            is_this_machine(host) || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_link_local())
        }),
        _ => false,
    };
    let address = url.parse().ok().filter(is_private);
    address.ok_or_else(|| misconfigured(&format!("{key} is not an https address")))
}

pub(super) fn post(address: &Uri, content_type: &'static str, body: String) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    (*request.method_mut(), *request.uri_mut()) = (Method::POST, address.clone());
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    request
}

/// The answer; `hint` is what helps where it is refused.
pub(super) async fn asked(login: &Login, request: Request<Bytes>, hint: &str) -> Result<Bytes, Reason> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    login.ask(request).await.map(|answer| answer.body).map_err(|reason| {
        let reason = reason.context(format_args!("ask {host}"));
        if reason.kind == ReasonKind::Denied { reason.with_hint(hint) } else { reason }
    })
}

/// A token that an authorization server gives (RFC 6749, 5.1).
pub(super) async fn granted(login: &Login, address: &Uri, fields: &[(&str, &str)]) -> Result<Token, Reason> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
        expires_in: u64,
    }
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let request = post(address, "application/x-www-form-urlencoded", body);
    let hint = "log in again, or check the pool that audience names and that the token for it is not too old";
    let Granted { access_token, expires_in } = json(&asked(login, request, hint).await?, "Google")?;
    Token::new(&access_token, Duration::from_secs(expires_in))
}
