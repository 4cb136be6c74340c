//! Answers: status, headers and body.

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use crate::delivery::asked::Problem;
use crate::delivery::render::json::line;
use crate::delivery::render::pieces::Pieces;

pub(super) const PLAIN: &str = "text/plain; charset=utf-8";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const JSON: &str = "application/json";
/// RFC 9512.
pub(super) const YAML: &str = "application/yaml";
/// RFC 9457.
const PROBLEM: &str = "application/problem+json";
pub(super) const TEXT_0_0_4: &str = "text/plain; version=0.0.4; charset=utf-8";
pub(super) const OPENMETRICS_1_0: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Pages run and load only what this server sends, send nothing elsewhere, and are shown in no page of somebody else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub(super) type Answer = Response<Pieces>;

/// A line for a person or a script.
pub(super) fn say(status: StatusCode, text: impl Into<Pieces>) -> Answer {
    answer(status, PLAIN, text)
}

pub(super) fn answer(status: StatusCode, content_type: &'static str, body: impl Into<Pieces>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    // Each report replaces the one before it: an old one must not be taken for the state of now.
    put(&mut answer, header::CACHE_CONTROL, "no-store");
    put(&mut answer, header::CONTENT_TYPE, content_type);
    put(&mut answer, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if content_type == HTML {
        put(&mut answer, header::CONTENT_SECURITY_POLICY, POLICY);
        put(&mut answer, header::REFERRER_POLICY, "no-referrer");
    }
    answer
}

/// Sets a header.
pub(super) fn put(answer: &mut Answer, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

/// Why there is no answer, as RFC 9457 has it.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Problem"))]
pub(super) struct ProblemDocument<'a> {
    /// Always `about:blank`: the status says which kind of problem it is.
    r#type: &'static str,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What is wrong, in a sentence.
    detail: &'a str,
    /// What would help; `None` where nothing is known to.
    hint: Option<&'a str>,
}

/// A problem as `application/problem+json`.
pub(super) fn problem(problem: &Problem) -> Answer {
    let document = ProblemDocument {
        r#type: "about:blank",
        title: problem.title(),
        status: problem.status.as_u16(),
        detail: &problem.detail,
        hint: problem.hint.as_deref(),
    };
    // Strings and a number: there is nothing that could fail.
    let mut answer = answer(problem.status, PROBLEM, line(&document).unwrap_or_default());
    if problem.status == StatusCode::SERVICE_UNAVAILABLE {
        put(&mut answer, header::RETRY_AFTER, "1");
    }
    answer
}

/// Whether the client says that it has the answer of that tag (RFC 9110, section 13.1.2).
pub(super) fn has(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let tags = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    tags.flat_map(|value| value.split(',')).any(|known| opaque(known) == opaque(tag))
}

/// Nothing changed since.
pub(super) fn not_modified(tag: &str) -> Answer {
    // Other headers would replace those of the answer that is kept.
    let mut answer = Response::new(Bytes::new().into());
    *answer.status_mut() = StatusCode::NOT_MODIFIED;
    tagged(answer, tag)
}

/// An answer that may be kept as long as it is asked again whether it still holds.
pub(super) fn tagged(mut answer: Answer, tag: &str) -> Answer {
    put(&mut answer, header::CACHE_CONTROL, "no-cache");
    put(&mut answer, header::VARY, "Accept, Accept-Encoding");
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}
