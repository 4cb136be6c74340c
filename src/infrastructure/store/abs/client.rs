//! Requests to a container of Azure Blob Storage, signed by object_store, and what its refusals mean.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue, RANGE};
use http::uri::Scheme;
use http::{Method, Request, Uri};
use object_store::azure::{AzureAuthorizer, AzureCredential};
use object_store::client::HttpRequestBody;
use serde::Deserialize;

use super::credentials::{Chain, configured};
use crate::domain::places::AbsLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::authority;
use crate::infrastructure::http::document::{is_html, web_page};
use crate::infrastructure::http::proxy::is_this_machine;
use crate::infrastructure::store::http::{Answer, HttpClient, escaped, part_bytes_max, query, range};
use crate::infrastructure::store::kind::StoreOptions;

/// The first version of the protocol that knows where a listing starts.
const VERSION: &str = "2026-02-06";

/// What all containers have in common: connections, and the login that the platform gives.
pub(super) struct Azure {
    pub(super) http: HttpClient,
    chain: Chain,
}

impl Azure {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self { http: HttpClient::new(options), chain: Chain::new(options) }
    }
}

/// What is asked for, and so what it takes.
#[derive(Clone, Copy)]
pub(super) enum Action {
    List,
    Read,
    Write,
    Posture,
}

/// A container and how to reach it.
pub(super) struct Container {
    name: String,
    account: String,
    /// `https://host`, perhaps with a path.
    pub(super) endpoint: String,
    /// That of the configuration; `None`: the platform's.
    credential: Option<Arc<AzureCredential>>,
    ca_file: Option<PathBuf>,
    pub(super) azure: Arc<Azure>,
}

impl Container {
    /// # Errors
    ///
    /// No account, a secret that is none, or a login's token that everybody on the way would see.
    pub(super) fn new(place: &AbsLocation, azure: Arc<Azure>) -> Result<Self, Reason> {
        let at = |reason: Reason| reason.context(format_args!("open abs://{}", place.container));
        let endpoint = place.endpoint.clone().ok_or_else(|| {
            let reason = Reason::new(ReasonKind::Misconfigured, "no account is named");
            at(reason).with_hint("set account-name, or name it in the URL: abs://account@container/path")
        })?;
        let credential = configured(place).map_err(at)?.map(Arc::new);
        if credential.is_none() && is_overheard(&endpoint) {
            // A key signs, and a SAS token is good for this container; a login's token is good for all that it may do.
            let reason = Reason::new(ReasonKind::Misconfigured, "a login's token is not sent over plain HTTP");
            return Err(at(reason).with_hint("set an endpoint with https, or account-key or sas-token"));
        }
        Ok(Self {
            name: place.container.clone(),
            account: place.account.clone(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            credential,
            ca_file: place.ca_file.clone(),
            azure,
        })
    }

    /// OneLake answers to a start with an empty page, or as if there were none.
    pub(super) fn knows_where_to_start(&self) -> bool {
        let host = authority(&self.endpoint);
        !host.split(':').next().unwrap_or_default().ends_with(".fabric.microsoft.com")
    }

    /// A request with credentials, and an answer that is no refusal. `key` is empty for the container itself.
    pub(super) async fn send(
        &self,
        (method, key): (Method, &str),
        parameters: &[(&str, &str)],
        headers: Vec<(HeaderName, HeaderValue)>,
        (body, most): (Bytes, u64),
        action: Action,
    ) -> Result<Answer, Reason> {
        let slash = if key.is_empty() { "" } else { "/" };
        let query = query(parameters);
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{}/{}{slash}{}{mark}{query}", self.endpoint, escaped(&self.name), escaped(key));
        let request = Request::builder().method(method).uri(url).body(HttpRequestBody::empty());
        let wrong = || Reason::new(ReasonKind::Misconfigured, "the container's address is not valid");
        let mut request = request.map_err(|_| wrong())?;
        let version = (HeaderName::from_static("x-ms-version"), HeaderValue::from_static(VERSION));
        request.headers_mut().extend(headers.into_iter().chain([version]));
        let credential = match &self.credential {
            Some(credential) => Arc::clone(credential),
            None => self.azure.chain.credential().await?,
        };
        // Its own text may quote what is secret.
        AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request).map_err(|_| wrong())?;
        if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
            authorization.set_sensitive(true);
        }
        let answer = self.azure.http.send(self.ca_file.as_deref(), request.map(|_| body), most).await?;
        match answer.status.as_u16() {
            200..300 | 416 => Ok(answer),
            _ => Err(self.refused(&answer, action)),
        }
    }

    /// Reads something, with at most `most` bytes of an answer.
    pub(super) async fn get(
        &self,
        key: &str,
        parameters: &[(&str, &str)],
        part: Option<HeaderValue>,
        most: u64,
        action: Action,
    ) -> Result<Answer, Reason> {
        let headers = part.map(|part| (RANGE, part)).into_iter().collect();
        self.send((Method::GET, key), parameters, headers, (Bytes::new(), part_bytes_max(most)), action).await
    }

    /// A part of a blob.
    pub(super) async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Answer, Reason> {
        self.get(key, &[], Some(range(offset, length)?), length, Action::Read).await
    }

    fn refused(&self, answer: &Answer, action: Action) -> Reason {
        let status = answer.status.as_u16();
        if is_html(&answer.body) && status < 500 {
            return web_page(status, "Azure Blob Storage");
        }
        let said = Said::of(answer);
        let reason = answer.refused(said.words().as_deref());
        let container = &self.name;
        match (reason.kind, said.code.as_str()) {
            (_, "InvalidHeaderValue") if said.about == "x-ms-version" => {
                let cause = format!("the server does not know version {VERSION} of the protocol");
                Reason::new(ReasonKind::Unsupported, cause).with_hint("update it; Azurite takes --skipApiVersionCheck")
            }
            (ReasonKind::NotFound, "BlobNotFound") => Reason::new(ReasonKind::NotFound, "no such blob"),
            (ReasonKind::NotFound, "") if matches!(action, Action::Read) => reason,
            (ReasonKind::NotFound, _) => Reason::new(ReasonKind::NotFound, "no such container")
                .with_hint(format!("check that container {container} exists")),
            (ReasonKind::Denied, "AuthenticationFailed" | "InvalidAuthenticationInfo") => {
                reason.with_hint("check account-name, account-key and sas-token, and the clock of this machine")
            }
            (ReasonKind::Denied, _) => reason.with_hint(match action {
                Action::List | Action::Read | Action::Posture => {
                    format!("grant Storage Blob Data Reader on container {container}, or a SAS token with sp=rl")
                }
                Action::Write => {
                    format!("let the login write the beacon in container {container}, or a SAS token with sp=rlcw")
                }
            }),
            _ => reason,
        }
    }
}

/// What a refusal says.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    code: String,
    message: String,
    #[serde(rename = "AuthenticationErrorDetail")]
    detail: String,
    #[serde(rename = "HeaderName")]
    about: String,
}

impl Said {
    fn of(answer: &Answer) -> Self {
        let text = std::str::from_utf8(answer.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&answer.body));
        let mut said: Self = text.ok().and_then(|text| quick_xml::de::from_str(text).ok()).unwrap_or_default();
        if let Some(code) = answer.headers.get("x-ms-error-code").and_then(|code| code.to_str().ok()) {
            code.clone_into(&mut said.code);
        }
        said
    }

    /// Without the lines that name the request. What a signature should have been is not repeated.
    fn words(&self) -> Option<String> {
        let detail = Some(self.detail.as_str()).filter(|detail| detail.starts_with("Signature not valid in"));
        let message = detail.unwrap_or(&self.message).lines().next().unwrap_or_default();
        let words = if message.is_empty() { &self.code } else { message };
        (!words.is_empty()).then(|| words.to_owned())
    }
}

/// Plain HTTP to another machine.
fn is_overheard(endpoint: &str) -> bool {
    let is_plain = |uri: &Uri| uri.scheme() != Some(&Scheme::HTTPS);
    endpoint.parse().is_ok_and(|uri: Uri| is_plain(&uri) && !uri.host().is_some_and(is_this_machine))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::secret::Secret;

    #[test]
    fn the_token_of_a_login_needs_tls_and_a_key_does_not() {
        let options = StoreOptions { timeout: Duration::from_secs(4), concurrency: 1, ca_file: None };
        let azure = Arc::new(Azure::new(&options));
        let open = |endpoint: &str, key: Option<&str>| {
            let (account, endpoint, account_key) = ("me".into(), Some(endpoint.into()), key.map(Secret::new));
            Container::new(&AbsLocation { account, endpoint, account_key, ..Default::default() }, Arc::clone(&azure))
        };
        for endpoint in ["http://blob.example.org", "http://10.0.0.1:10000/me", "http://127.0.0.1.example.org"] {
            let reason = open(endpoint, None).err().unwrap();
            assert_eq!(reason.kind, ReasonKind::Misconfigured, "{endpoint}");
            assert!(reason.message.ends_with(": a login's token is not sent over plain HTTP"), "{reason}");
            assert!(open(endpoint, Some("Z2VoZWlt")).is_ok());
        }
        for endpoint in ["https://blob.example.org", "http://127.0.0.1:1/me", "http://localhost:1", "http://[::1]:1"] {
            assert!(open(endpoint, None).is_ok(), "{endpoint}");
        }
    }
}
