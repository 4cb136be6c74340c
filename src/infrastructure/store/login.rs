//! Credentials that a platform hands out, over our own connections: object_store mostly knows whom to ask.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use object_store::client::{
    HttpClient as Service, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, RetryConfig};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::http::{Answer, HttpClient};
use super::kind::StoreOptions;
use crate::domain::limits::TOKEN_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock::timer;
use crate::infrastructure::http::failure::chain;
use crate::infrastructure::scrub::Scrub;

/// A part of a call, which has to be left for the call itself: nobody waits long for an address at which no platform is.
const PART: u32 = 4;

/// How long nobody asks again who just failed to get an answer.
const FAILURE_KEPT: Duration = Duration::from_secs(10);

/// Fields of a request for a token that are secret.
const SECRET_FIELDS: [&str; 5] = ["client_secret", "client_assertion", "refresh_token", "assertion", "subject_token"];

/// The connections to those who hand out credentials.
#[derive(Clone)]
pub(super) struct Login(Arc<HttpClient>);

impl Login {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let timeout = options.timeout / PART;
        Self(Arc::new(HttpClient::new(&StoreOptions { timeout, ..options.clone() })))
    }

    /// Attempts are [`HttpClient`]'s business.
    pub(super) fn once() -> RetryConfig {
        RetryConfig { max_retries: 0, retry_timeout: Duration::ZERO, ..RetryConfig::default() }
    }

    /// An answer that is no refusal.
    pub(super) async fn ask(&self, request: Request<Bytes>) -> Result<Answer, Reason> {
        let scrub = secrets_of(request.body());
        let none: Option<&Path> = None;
        let answer = self.0.send(none, request, TOKEN_BYTES_MAX).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let reason = answer.refused(said(&answer.body).map(|said| scrub.clean(&said)).as_deref());
        match reason.kind {
            // Who is asked for a token and does not like the question, denies it.
            ReasonKind::Failed | ReasonKind::NotFound if answer.status.is_client_error() => {
                Err(Reason { kind: ReasonKind::Denied, ..reason })
            }
            _ => Err(reason),
        }
    }
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login")
    }
}

impl HttpConnector for Login {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<Service> {
        Ok(Service::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Login {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (head, body) = request.into_parts();
        let body = body.as_bytes().cloned().unwrap_or_default();
        let answer = self.ask(Request::from_parts(head, body)).await;
        let answer = answer.map_err(|reason| HttpError::new(HttpErrorKind::Unknown, reason))?;
        let mut response = HttpResponse::new(HttpResponseBody::from(answer.body));
        *response.headers_mut() = answer.headers;
        Ok(response)
    }
}

/// How the last attempt to get credentials failed. Where there is no platform, one replica waits for it, and the others that
/// want the same credentials are told what came of that.
#[derive(Default)]
pub(super) struct LastFailure(Mutex<Option<(Instant, Reason)>>);

impl LastFailure {
    /// What `fetch` brings, one after the other, or how it failed just now.
    pub(super) async fn or<T>(&self, fetch: impl Future<Output = Result<T, Reason>>) -> Result<T, Reason> {
        let mut last = self.0.lock().await;
        if let Some((until, reason)) = &*last
            && timer() < *until
        {
            return Err(reason.clone());
        }
        let fetched = fetch.await;
        *last = fetched.as_ref().err().map(|reason| (timer() + FAILURE_KEPT, reason.clone()));
        fetched
    }
}

/// Why there are no credentials.
pub(super) fn no_credentials(error: &object_store::Error) -> Reason {
    let refused = chain(error as &(dyn Error + 'static)).find_map(|error| error.downcast_ref::<Reason>());
    // Its own text may quote what it could not read.
    refused.cloned().unwrap_or_else(|| Reason::new(ReasonKind::Misconfigured, "they cannot be used"))
}

/// What a refusal of RFC 6749, or one that is like it, says; or one of Google.
fn said(body: &Bytes) -> Option<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: Word,
        error_description: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Word {
        Plain(String),
        Google { message: String },
    }
    let Refusal { error, error_description } = serde_json::from_slice(body).ok()?;
    let (Word::Plain(error) | Word::Google { message: error }) = error;
    Some(error_description.unwrap_or(error))
}

fn secrets_of(body: &Bytes) -> Scrub {
    let mut scrub = Scrub::default();
    for (name, value) in form_urlencoded::parse(body) {
        if SECRET_FIELDS.contains(&&*name) {
            scrub.hide(&value);
        }
    }
    scrub
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_to_all_who_wait_and_then_forgotten() {
        let (last, failed) = (LastFailure::default(), Reason::new(ReasonKind::Timeout, "no answer in time"));
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(3)).await;
            Err::<u32, Reason>(failed.clone())
        };
        let begun = timer();
        let told = tokio::join!(last.or(slow()), last.or(slow()), last.or(async { Ok(1) }));
        assert_eq!(told, (Err(failed.clone()), Err(failed.clone()), Err(failed.clone())));
        assert_eq!(timer() - begun, Duration::from_secs(3));
        tokio::time::sleep(FAILURE_KEPT).await;
        assert_eq!(last.or(async { Ok(2) }).await, Ok(2));
        assert_eq!(last.or(async { Ok(3) }).await, Ok(3));
    }

    #[test]
    fn what_is_secret_in_a_question_is_not_in_the_reason() {
        let scrub = secrets_of(&Bytes::from("grant_type=x&client_secret=ge%2Bheim&client_id=me"));
        let body = r#"{"error":"invalid_client","error_description":"me has no ge+heim"}"#;
        assert_eq!(scrub.clean(&said(&Bytes::from(body)).unwrap()), "me has no [redacted]");
        assert_eq!(said(&Bytes::from(r#"{"error":{"code":403,"message":"no"}}"#)).as_deref(), Some("no"));
        assert_eq!(said(&Bytes::from("<html>")), None);
    }
}
