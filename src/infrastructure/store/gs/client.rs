//! Requests to a bucket of Google Cloud Storage, and what its refusals mean.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, RANGE};
use http::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::credentials::Credentials;
use crate::domain::places::GsLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::document::{is_html, json, web_page};
use crate::infrastructure::store::http::{Answer, HttpClient, escaped, part_bytes_max, range};
use crate::infrastructure::store::kind::StoreOptions;

const SERVER: &str = "https://storage.googleapis.com";

/// What all buckets have in common: connections, and the one login that the environment gives.
pub(super) struct Google {
    pub(super) http: HttpClient,
    credentials: Credentials,
}

impl Google {
    pub(super) fn new(options: &StoreOptions) -> Self {
        Self { http: HttpClient::new(options), credentials: Credentials::new(options) }
    }
}

/// What is asked for, and so what it takes.
#[derive(Clone, Copy)]
pub(super) enum Action {
    List,
    Read,
    Write,
    Posture(&'static str),
}

/// A bucket and how to reach it.
pub(super) struct Bucket {
    pub(super) name: String,
    /// `https://host`
    pub(super) server: String,
    is_emulated: bool,
    ca_file: Option<PathBuf>,
    pub(super) google: Arc<Google>,
}

impl Bucket {
    pub(super) fn new(place: &GsLocation, google: Arc<Google>) -> Self {
        Self {
            name: place.bucket.clone(),
            server: place.emulator.clone().unwrap_or_else(|| SERVER.to_owned()),
            is_emulated: place.emulator.is_some(),
            ca_file: place.ca_file.clone(),
            google,
        }
    }

    /// Where a bucket is at `above`, and `rest` below it.
    pub(super) fn url(&self, above: &str, rest: &str) -> String {
        format!("{}{above}/storage/v1/b/{}{rest}", self.server, escaped(&self.name))
    }

    /// A request that carries the credentials, and an answer that is no refusal.
    pub(super) async fn send(&self, mut request: Request<Bytes>, most: u64, action: Action) -> Result<Answer, Reason> {
        if !self.is_emulated {
            let token = self.google.credentials.token().await?;
            request.headers_mut().insert(AUTHORIZATION, token);
        }
        let answer = self.google.http.send(self.ca_file.as_deref(), request, most).await?;
        match answer.status.as_u16() {
            200..300 | 416 => Ok(answer),
            _ => Err(self.refused(&answer, action)),
        }
    }

    /// The document at `rest`, below the bucket.
    pub(super) async fn json<T: DeserializeOwned>(&self, rest: &str, most: u64, action: Action) -> Result<T, Reason> {
        let request = request(Method::GET, &self.url("", rest), Bytes::new())?;
        let answer = self.send(request, part_bytes_max(most), action).await?;
        json(&answer.body, "Google Cloud Storage")
    }

    /// At most `length` bytes of an object.
    pub(super) async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason> {
        let mut request = request(Method::GET, &self.url("", &format!("/o/{}?alt=media", escaped(key))), Bytes::new())?;
        request.headers_mut().insert(RANGE, range(offset, length)?);
        self.send(request, part_bytes_max(length), Action::Read).await?.part(offset, length)
    }

    fn refused(&self, answer: &Answer, action: Action) -> Reason {
        let status = answer.status.as_u16();
        if is_html(&answer.body) && status < 500 {
            return web_page(status, "Google Cloud Storage");
        }
        let said = Said::of(&answer.body);
        let reason = answer.refused(said.message.as_deref());
        let bucket = &self.name;
        match reason.kind {
            ReasonKind::Denied if said.is_about_rate => Reason { kind: ReasonKind::Throttled, ..reason },
            ReasonKind::Denied if status == 401 => reason.with_hint(
                "check GOOGLE_APPLICATION_CREDENTIALS, or the service account of this machine, and its clock",
            ),
            ReasonKind::Denied => reason.with_hint(match action {
                Action::List => format!("grant storage.objects.list on bucket {bucket}"),
                Action::Read => format!("grant storage.objects.get on the objects of bucket {bucket}"),
                Action::Write => {
                    format!("grant storage.objects.create and storage.objects.delete on the beacon in bucket {bucket}")
                }
                Action::Posture(permission) => format!("grant {permission} on bucket {bucket}"),
            }),
            ReasonKind::NotFound => {
                let object = matches!(action, Action::Read) && !said.is_about_bucket();
                match object {
                    true => Reason::new(ReasonKind::NotFound, "no such object"),
                    false => Reason::new(ReasonKind::NotFound, "no such bucket")
                        .with_hint(format!("check that bucket {bucket} exists")),
                }
            }
            _ => reason,
        }
    }
}

/// What a refusal says.
#[derive(Default)]
struct Said {
    message: Option<String>,
    is_about_rate: bool,
}

impl Said {
    /// An object of JSON, or a sentence where contents were asked for.
    fn of(body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Document {
            error: Refusal,
        }
        #[derive(Deserialize)]
        struct Refusal {
            message: Option<String>,
            #[serde(default)]
            errors: Vec<Detail>,
        }
        #[derive(Deserialize)]
        struct Detail {
            reason: Option<String>,
        }
        match serde_json::from_slice::<Document>(body) {
            Ok(Document { error }) => {
                let rate =
                    |detail: &Detail| detail.reason.as_deref().is_some_and(|why| why.ends_with("ateLimitExceeded"));
                Self { is_about_rate: error.errors.iter().any(rate), message: error.message }
            }
            Err(_) if body.starts_with(b"{") || is_html(body) => Self::default(),
            Err(_) => Self { message: std::str::from_utf8(body).ok().map(str::to_owned), is_about_rate: false },
        }
    }

    fn is_about_bucket(&self) -> bool {
        self.message.as_deref().is_some_and(|message| message.contains("bucket does not exist"))
    }
}

pub(super) fn request(method: Method, url: &str, body: Bytes) -> Result<Request<Bytes>, Reason> {
    let request = Request::builder().method(method).uri(url).body(body);
    request.map_err(|_| Reason::new(ReasonKind::Misconfigured, "the bucket's address is not valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_read_in_all_forms_that_google_gives_them() {
        let document =
            r#"{"error":{"code":403,"message":"me does not have access","errors":[{"reason":"forbidden"}]}}"#;
        let said = Said::of(document.as_bytes());
        assert_eq!((said.message.as_deref(), said.is_about_rate), (Some("me does not have access"), false));
        assert!(Said::of(document.replace("forbidden", "userRateLimitExceeded").as_bytes()).is_about_rate);
        let missing = Said::of(b"The specified bucket does not exist.");
        assert!(missing.is_about_bucket() && !Said::of(b"No such object: bkt/app").is_about_bucket());
        for odd in ["{\"error\":7}", "<html>", "{\"error\":{\"errors\":7}}"] {
            assert_eq!(Said::of(odd.as_bytes()).message, None, "{odd}");
        }
    }
}
