//! Whether what came back is an answer of an S3 server, or what the way to it made of one: the page of a captive portal,
//! a document that breaks off.

use std::error::Error;

use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::retry::ErrorKind;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;

use super::failure::{broken_body, not_s3};
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::failure::{chain, root_cause};

/// A reason that goes through the SDK unchanged.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unfit(Reason);

impl Unfit {
    /// For the SDK: another attempt comes to the same.
    pub(super) fn last(reason: Reason) -> ConnectorError {
        ConnectorError::other(Box::new(Self(reason)), None)
    }

    /// For the SDK: another attempt may bring more.
    fn again(reason: Reason) -> ConnectorError {
        ConnectorError::other(Box::new(Self(reason)), Some(ErrorKind::TransientError))
    }

    /// The reason among an error's causes.
    pub(super) fn among<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Reason> {
        chain(error).find_map(|error| error.downcast_ref()).map(|Self(reason)| reason)
    }
}

/// The contents of an object, whose bytes are counted by whoever reads them.
pub(super) fn content(answer: Response<Incoming>) -> Result<Response<SdkBody>, ConnectorError> {
    // A server that knows ranges says which one it answers with. One that does not has no reason to call this a page.
    if answer.status() == StatusCode::OK && !answer.headers().contains_key(header::CONTENT_RANGE) && is_page(&answer) {
        return Err(Unfit::last(web_page(answer.status().as_u16())));
    }
    Ok(answer.map(SdkBody::from_body_1_x))
}

fn is_page(answer: &Response<Incoming>) -> bool {
    let kind = |headers: &HeaderMap| Some(headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_ascii_lowercase());
    kind(answer.headers()).is_some_and(|kind| kind.starts_with("text/html"))
}

/// Any other answer that says that all is well, read to its end and looked at as a whole.
pub(super) async fn document(answer: Response<Incoming>) -> Result<Response<SdkBody>, ConnectorError> {
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    let body = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Unfit::last(not_s3(status, &root_cause(&*error)))),
        Err(error) => return Err(Unfit::again(broken_body(&*error))),
    };
    check(status, &body)?;
    Ok(Response::from_parts(head, SdkBody::from(body)))
}

fn check(status: u16, body: &Bytes) -> Result<(), ConnectorError> {
    if is_html(body) {
        return Err(Unfit::last(web_page(status)));
    }
    if is_cut(body) {
        return Err(Unfit::again(cut("it ends before its last element does")));
    }
    Ok(())
}

/// The error for an answer that was cut short.
pub(super) fn cut(how: &str) -> Reason {
    Reason::new(ReasonKind::Unreachable, format!("the answer was cut short: {how}"))
}

/// Somebody else answered.
pub(super) fn web_page(status: u16) -> Reason {
    Reason::new(ReasonKind::Unreachable, format!("answered with a web page (status {status})"))
        .with_hint("a captive portal, a login page or a proxy is in the way, or the endpoint is not an S3 server")
}

pub(super) fn is_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    let starts = |text: &str| start.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()));
    starts("<!doctype html") || root(body).is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"html"))
}

/// An XML document without the end of its root. The SDK takes one for a document that says less.
fn is_cut(body: &[u8]) -> bool {
    let Some((name, rest)) = root(body) else { return false };
    let Some(end) = rest.iter().position(|byte| *byte == b'>') else { return true };
    if rest[..end].ends_with(b"/") {
        return false;
    }
    let end = rest[end + 1..].trim_ascii_end().strip_suffix(b">").map(<[u8]>::trim_ascii_end);
    !end.and_then(|end| end.strip_suffix(name)).is_some_and(|end| end.ends_with(b"</"))
}

/// The name of a document's first element, and what follows it; `None` where there is no element.
fn root(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    // Declarations and comments.
    while rest.starts_with(b"<?") || rest.starts_with(b"<!") {
        let end: &[u8] = if rest.starts_with(b"<!--") { b"-->" } else { b">" };
        let at = rest.windows(end.len()).position(|window| window == end)?;
        rest = rest[at + end.len()..].trim_ascii_start();
    }
    let rest = rest.strip_prefix(b"<")?;
    let length = rest.iter().position(|byte| byte.is_ascii_whitespace() || b"/>".contains(byte)).unwrap_or(rest.len());
    (length > 0).then(|| rest.split_at(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_told_by_how_it_begins() {
        for (body, expected) in [
            ("<html><body>Welcome", true),
            ("\n <!DOCTYPE HTML>\n<html>", true),
            ("<?xml version=\"1.0\"?><!DOCTYPE html><HTML xmlns=\"x\">", true),
            ("<!-- log in --><html>", true),
            ("<htmlish/>", false),
            ("<ListBucketResult><html/></ListBucketResult>", false),
            ("", false),
            ("welcome", false),
        ] {
            assert_eq!(is_html(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn a_document_has_the_end_of_its_root() {
        let whole = "<?xml version=\"1.0\"?>\n<!-- a > b -->\n<List xmlns=\"x\"><Key>a</Key></List>";
        let first = whole.find("<List").unwrap() + 1;
        for end in first + 1..whole.len() {
            assert!(is_cut(&whole.as_bytes()[..end]), "{}", &whole[..end]);
        }
        for whole in [whole, "<L/>", "<L a=\"b\" />", "<L></L>\n\n", "<L></L\n>", "", "<", "no document", "<?xml"] {
            assert!(!is_cut(whole.as_bytes()), "{whole}");
        }
        assert!(is_cut(b"<List><Other></OtherList>"));
    }
}
