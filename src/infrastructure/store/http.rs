//! Stores that speak HTTP and have no SDK: one request, its answer within bounds, and the meaning of a refusal.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::http::header::{AUTHORIZATION, CONTENT_RANGE, HeaderValue, USER_AGENT};
use ::http::{HeaderMap, Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};

use super::checked::corrupt;
use super::kind::{StoreOptions, connect_timeout};
use super::part::Part;
use crate::domain::limits::REFUSAL_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::clocks::Clocks;
use crate::infrastructure::http::document::{is_html, web_page};
use crate::infrastructure::http::failure::{broken, by_status, unreachable};
use crate::infrastructure::http::transport::{Transport, Unanswered};
use crate::infrastructure::http::{PerTls, TlsOptions};
#[cfg(any(feature = "azure", feature = "gcs"))]
use crate::infrastructure::percent;
use crate::infrastructure::scrub::Scrub;

/// How often one request is tried, and how long is waited before it is tried a second time; then twice as long.
const ATTEMPTS_MAX: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The connections of one kind of store, and the clocks of its servers.
pub(super) struct HttpClient {
    timeout: Duration,
    ca_file: Option<PathBuf>,
    transports: PerTls<Arc<Transport<Full<Bytes>>>>,
    clocks: Arc<Clocks>,
}

/// A whole answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    scrub: Scrub,
}

impl HttpClient {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let (timeout, ca_file) = (options.timeout, options.ca_file.clone());
        Self { timeout, ca_file, transports: PerTls::default(), clocks: Arc::default() }
    }

    /// How far the clocks of the servers that `is` names, by host and port, are ahead of ours, in seconds.
    pub(super) fn clock_offset(&self, is: impl Fn(&str) -> bool) -> Option<f64> {
        self.clocks.offset(is)
    }

    /// Sends a request that does no harm when it arrives twice, again where that may help, and reads the answer, at most
    /// `most` bytes of it. `ca_file` is trusted beside the system's authorities and those of the options. A secret in a
    /// header has to be [sensitive](HeaderValue::set_sensitive).
    ///
    /// # Errors
    ///
    /// No connection, a broken one, more than `most` bytes, a web page where a store is expected. A refusal is an answer:
    /// see [`Answer::refused`].
    pub(super) async fn send(
        &self,
        ca_file: Option<&Path>,
        mut request: Request<Bytes>,
        most: u64,
    ) -> Result<Answer, Reason> {
        let ca_files = self.ca_file.iter().map(PathBuf::as_path).chain(ca_file).map(Path::to_owned).collect();
        let tls = TlsOptions { skip_verify: false, ca_files };
        let (connect_timeout, clocks) = (connect_timeout(self.timeout), Arc::clone(&self.clocks));
        let make = move |tls: &TlsOptions| Transport::new(tls, connect_timeout, clocks).map(Arc::new);
        let transport = self.transports.get(&tls, make).await?;
        let agent = HeaderValue::from_static(concat!("streamgauge/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().entry(USER_AGENT).or_insert(agent);
        let scrub = secrets_of(&request);
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.attempt(&transport, &request, most, &scrub).await {
                Ok(answer) if !is_transient(answer.status) => return Ok(answer),
                Err(reason) if !matches!(reason.kind, ReasonKind::Unreachable | ReasonKind::Timeout) => {
                    return Err(reason);
                }
                _ => tokio::time::sleep(pause).await,
            }
            pause *= 2;
        }
        self.attempt(&transport, &request, most, &scrub).await
    }

    /// Two attempts that hang fit in one call, which the wrapper around all stores ends.
    async fn attempt(
        &self,
        transport: &Transport<Full<Bytes>>,
        request: &Request<Bytes>,
        most: u64,
        scrub: &Scrub,
    ) -> Result<Answer, Reason> {
        let late = || Err(Reason::new(ReasonKind::Timeout, "no answer in time"));
        let answer = tokio::time::timeout(self.timeout / 2, exchange(transport, request.clone().map(Full::new), most));
        let (status, headers, body) = answer.await.unwrap_or_else(|_| late()).map_err(|reason| {
            let message = scrub.clean(&reason.message);
            Reason { message, ..reason }
        })?;
        Ok(Answer { status, headers, body, scrub: scrub.clone() })
    }
}

impl Answer {
    /// What a refusal means; `said` is the store's own text, where there is one in the body.
    pub(super) fn refused(&self, said: Option<&str>) -> Reason {
        let reason = by_status(self.status.as_u16());
        match said.map(|said| self.scrub.clean(said)).filter(|said| !said.is_empty()) {
            Some(said) => Reason { message: format!("{}; the store says: {said}", reason.message), ..reason },
            None => reason,
        }
    }

    /// When the object came, by the store's clock.
    #[cfg(any(feature = "azure", feature = "webdav"))]
    pub(super) fn last_modified(&self) -> Option<jiff::Timestamp> {
        let date = self.headers.get(::http::header::LAST_MODIFIED)?.to_str().ok()?;
        jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()
    }

    /// The bytes of an object in the answer to a request for at most `length` of them from `offset` on, which is none of
    /// them where the object ends before.
    pub(super) fn part(self, offset: u64, length: u64) -> Result<Bytes, Reason> {
        if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Bytes::new());
        }
        let range = self.headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
        let part = Part::of(range, self.status != StatusCode::PARTIAL_CONTENT);
        part.begins_at(offset)?;
        part.holds(self.body.len(), offset, length)?;
        Ok(self.body)
    }
}

/// A part of a path or of a query.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) fn escaped(text: &str) -> String {
    percent::encoded(text.as_bytes(), percent::NAME)
}

/// What stands behind the `?` of a URL.
#[cfg(any(feature = "azure", feature = "gcs"))]
pub(super) fn query(parameters: &[(&str, &str)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// The value of `Range` for at most `length` bytes from `offset` on; `length` is not 0.
pub(super) fn range(offset: u64, length: u64) -> Result<HeaderValue, Reason> {
    let range = format!("bytes={offset}-{}", offset.saturating_add(length.saturating_sub(1)));
    HeaderValue::try_from(range).map_err(|error| corrupt(error.to_string()))
}

/// How many bytes an answer to that may have, which may also be a refusal in words.
pub(super) fn part_bytes_max(length: u64) -> u64 {
    length.max(REFUSAL_BYTES_MAX)
}

async fn exchange(
    transport: &Transport<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    most: u64,
) -> Result<(StatusCode, HeaderMap, Bytes), Reason> {
    let answer = transport.send(request).await.map_err(|unanswered| match unanswered {
        Unanswered::Paused(reason) => reason,
        Unanswered::Broken(error) => unreachable(&error),
    })?;
    let (head, body) = answer.into_parts();
    let most_here = usize::try_from(most).unwrap_or(usize::MAX);
    let body = match Limited::new(body, most_here).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Err(corrupt(format!("an answer of more than {most} bytes")));
        }
        Err(error) => return Err(broken(&*error)),
    };
    if head.status.is_success() && !head.headers.contains_key(CONTENT_RANGE) && is_html(&body) {
        return Err(web_page(head.status.as_u16(), "that of the store"));
    }
    Ok((head.status, head.headers, body))
}

/// Another attempt may bring more.
fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504)
}

/// What must not come back in a message.
fn secrets_of(request: &Request<Bytes>) -> Scrub {
    let mut scrub = Scrub::default();
    for (name, value) in request.headers() {
        if (name == AUTHORIZATION || value.is_sensitive())
            && let Ok(value) = value.to_str()
        {
            scrub.hide_authorization(value);
        }
    }
    // The signature of a shared access.
    for parameter in request.uri().query().unwrap_or_default().split('&') {
        scrub.hide(parameter.strip_prefix("sig=").unwrap_or_default());
    }
    scrub
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use streamgauge_testkit::http::{Answer as Told, Server};

    use super::*;

    fn client() -> HttpClient {
        HttpClient::new(&StoreOptions { timeout: Duration::from_secs(20), concurrency: 1, ca_file: None })
    }

    async fn asked(client: &HttpClient, server: &Server) -> Result<Answer, Reason> {
        let request = Request::builder().uri(format!("http://{}/x?sig=geheim", server.address));
        let request = request.header(AUTHORIZATION, "Bearer vertraulich").body(Bytes::new()).unwrap();
        client.send(None, request, 100).await
    }

    #[tokio::test]
    async fn a_server_that_fails_once_is_asked_again_and_tells_the_time() {
        let count = AtomicUsize::new(0);
        let server = Server::start(move |_| match count.fetch_add(1, Ordering::SeqCst) {
            0 => Told::xml(500, ""),
            _ => Told::xml(200, "<a/>").with("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        });
        let (client, server) = (client(), server.unwrap());
        let answer = asked(&client, &server).await.unwrap();
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"<a/>"[..]));
        let own = server.address.to_string();
        assert!(client.clock_offset(|host| host == own).is_some_and(|seconds| seconds < -9e8));
        assert_eq!(client.clock_offset(|host| host == "other:80"), None);
    }

    #[tokio::test]
    async fn refusals_have_a_meaning_and_no_secrets() {
        let body = "no geheim, no vertraulich";
        for (status, expected) in [
            (401, "denied: access denied; the store says: no [redacted], no"),
            (404, "not_found: not found; the store says"),
            (429, "throttled: the store asks to slow down; the store says"),
            (418, "failed: status 418; the store says"),
        ] {
            let server = Server::start(move |_| Told::xml(status, body)).unwrap();
            let answer = asked(&client(), &server).await.unwrap();
            let reason = answer.refused(std::str::from_utf8(&answer.body).ok());
            let told = format!("{}: {}", reason.kind.as_str(), reason.message);
            assert!(told.starts_with(expected) && !told.contains("geheim"), "{told}");
        }
    }

    #[tokio::test]
    async fn what_is_no_answer_of_a_store_is_none() {
        let long = "x".repeat(101);
        for (body, expected) in [(long.as_str(), "corrupt"), ("<html>log in</html>", "unreachable")] {
            let body = body.to_owned();
            let server = Server::start(move |_| Told::xml(200, &body)).unwrap();
            assert_eq!(asked(&client(), &server).await.unwrap_err().kind.as_str(), expected);
        }
    }
}
