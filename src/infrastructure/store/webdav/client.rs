//! Requests to a WebDAV server: the address of a key, the login, and what is below a collection.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use ::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, WWW_AUTHENTICATE};
use ::http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use bytes::Bytes;

use super::auth::Challenge;
use super::multistatus::{Member, members};
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::places::WebDavLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::document::{cut, is_cut};
use crate::infrastructure::percent;
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::http::{Answer, HttpClient};
use crate::infrastructure::store::kind::StoreOptions;

/// What is asked of each member: nothing that a server would have to compute, and as little as possible to transfer.
const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\"><prop><resourcetype/>\
                          <getcontentlength/><getlastmodified/></prop></propfind>";

/// How often one request is made until the server takes the login: without one, with one, and with a new nonce.
const ATTEMPTS_MAX: u32 = 3;

/// Connections, and how the servers want to be told who asks: by endpoint and user.
pub(super) struct Clients {
    http: HttpClient,
    challenges: Mutex<HashMap<(String, String), Arc<Challenge>>>,
}

impl Clients {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self { http: HttpClient::new(options), challenges: Mutex::default() }
    }

    /// As [`HttpClient::clock_offset`].
    pub(super) fn clock_offset(&self, is: impl Fn(&str) -> bool) -> Option<f64> {
        self.http.clock_offset(is)
    }
}

/// The server of one replica; keys are relative to the replica's collection.
#[derive(Clone)]
pub(super) struct Server {
    place: WebDavLocation,
    pub(super) clients: Arc<Clients>,
}

impl Server {
    pub(super) fn new(place: &WebDavLocation, clients: Arc<Clients>) -> Self {
        Self { place: place.clone(), clients }
    }

    /// The same server, with keys that are relative to another collection.
    pub(super) fn at(self, path: String) -> Self {
        Self { place: WebDavLocation { path, ..self.place }, ..self }
    }

    /// Below the endpoint, without escapes.
    fn path(&self, key: &str) -> String {
        let slash = if self.place.path.is_empty() { "" } else { "/" };
        format!("{}{slash}{key}", self.place.path)
    }

    pub(super) fn uri(&self, key: &str) -> Result<Uri, Reason> {
        let path = percent::encoded(self.path(key).as_bytes(), percent::PATH);
        let uri = format!("{}/{path}", self.place.endpoint).parse();
        uri.map_err(|_| Reason::new(ReasonKind::Misconfigured, "webdav-url is not an address"))
    }

    /// As [`HttpClient::send`]. The login is shown where and how the server asks for it, never before: a server that
    /// can do with a digest is not told the password.
    pub(super) async fn send(
        &self,
        method: Method,
        key: &str,
        headers: HeaderMap,
        body: Bytes,
        most: u64,
    ) -> Result<Answer, Reason> {
        let uri = self.uri(key)?;
        let mut shown = self.challenge();
        for _ in 1..ATTEMPTS_MAX {
            let answer = self.attempt(&method, &uri, &headers, &body, shown.as_deref(), most).await?;
            if answer.status != StatusCode::UNAUTHORIZED {
                return Ok(answer);
            }
            match self.challenged(&answer) {
                Some(challenge) if shown.is_none() || challenge.is_stale() => shown = Some(challenge),
                _ => return Ok(answer),
            }
        }
        self.attempt(&method, &uri, &headers, &body, shown.as_deref(), most).await
    }

    async fn attempt(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Bytes,
        shown: Option<&Challenge>,
        most: u64,
    ) -> Result<Answer, Reason> {
        let mut request = Request::new(body.clone());
        *request.uri_mut() = uri.clone();
        *request.method_mut() = method.clone();
        *request.headers_mut() = headers.clone();
        if let Some(challenge) = shown {
            request.headers_mut().insert(AUTHORIZATION, self.authorization(challenge, method, uri)?);
        }
        self.clients.http.send(self.place.ca_file.as_deref(), request, most).await
    }

    fn challenge(&self) -> Option<Arc<Challenge>> {
        let challenges = self.clients.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        challenges.get(&(self.place.endpoint.clone(), self.place.username.clone())).cloned()
    }

    /// What a refusal asks for, if there is a login to answer with. It is remembered.
    fn challenged(&self, answer: &Answer) -> Option<Arc<Challenge>> {
        if self.place.username.is_empty() && self.place.password.is_none() {
            return None;
        }
        let asked = answer.headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|asked| asked.to_str().ok());
        let challenge = Arc::new(Challenge::of(asked)?);
        let of = (self.place.endpoint.clone(), self.place.username.clone());
        let mut challenges = self.clients.challenges.lock().unwrap_or_else(PoisonError::into_inner);
        challenges.insert(of, Arc::clone(&challenge));
        Some(challenge)
    }

    fn authorization(&self, challenge: &Challenge, method: &Method, uri: &Uri) -> Result<HeaderValue, Reason> {
        let password = self.place.password.as_ref().map_or("", |password| password.expose());
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let told = challenge.answer(&self.place.username, password, method.as_str(), target);
        let mut value = HeaderValue::try_from(told).map_err(|_| {
            Reason::new(ReasonKind::Misconfigured, "webdav-username has characters that a login cannot have")
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// What is directly below a collection, by name; `None`: there is no such collection. `prefix` is empty or ends in `/`.
    pub(super) async fn members(&self, prefix: &str) -> Result<Option<BTreeMap<String, Member>>, Reason> {
        let Some(document) = self.propfind(prefix, "1").await? else { return Ok(None) };
        members(&document, self.path(prefix).trim_matches('/')).map(Some)
    }

    /// Something is there, whatever it is.
    pub(super) async fn is_there(&self, prefix: &str) -> Result<bool, Reason> {
        Ok(self.propfind(prefix, "0").await?.is_some())
    }

    async fn propfind(&self, prefix: &str, depth: &'static str) -> Result<Option<String>, Reason> {
        let method = Method::from_bytes(b"PROPFIND").map_err(|error| corrupt(error.to_string()))?;
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("depth"), HeaderValue::from_static(depth)),
            (CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8")),
        ]);
        let body = Bytes::from_static(PROPERTIES.as_bytes());
        let answer = self.send(method, prefix, headers, body, ANSWER_BYTES_MAX as u64).await;
        let answer = answer.map_err(|reason| match reason.kind {
            ReasonKind::Corrupt => {
                let cause = format!("too many files in one collection: {}", reason.message);
                Reason::new(ReasonKind::Unsupported, cause).with_hint(
                    "WebDAV lists a collection in one answer: let Litestream keep fewer files in a level (l0-retention)",
                )
            }
            _ => reason,
        })?;
        match answer.status {
            StatusCode::MULTI_STATUS if is_cut(&answer.body) => Err(cut("it ends before its last element does")),
            StatusCode::MULTI_STATUS => match String::from_utf8(answer.body.into()) {
                Ok(document) => Ok(Some(document)),
                Err(_) => Err(corrupt("a listing that is not UTF-8".to_owned())),
            },
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status if status.is_success() => {
                let cause = format!("status {} where a listing has status 207", status.as_u16());
                Err(corrupt(cause).with_hint("check that webdav-url leads to a WebDAV server"))
            }
            _ => Err(refused(&answer)),
        }
    }
}

/// What a refusal means, and what can be done about it.
pub(super) fn refused(answer: &Answer) -> Reason {
    let reason = answer.refused(None);
    match answer.status.as_u16() {
        401 => reason.with_hint("check webdav-username and webdav-password"),
        403 => reason.with_hint("let the user list and read the replica's collection"),
        405 | 501 => reason.with_hint("check that webdav-url leads to a WebDAV server"),
        _ => reason,
    }
}
