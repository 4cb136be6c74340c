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

use super::failure::not_s3;
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::infrastructure::http::document::{cut, is_cut, is_html, web_page};
use crate::infrastructure::http::failure::{broken, chain, root_cause};

/// What an endpoint is expected to be.
pub(super) const SERVER: &str = "an S3 server";

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
        return Err(Unfit::last(web_page(answer.status().as_u16(), SERVER)));
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
        Err(error) => return Err(Unfit::again(broken(&*error))),
    };
    check(status, &body)?;
    Ok(Response::from_parts(head, SdkBody::from(body)))
}

fn check(status: u16, body: &Bytes) -> Result<(), ConnectorError> {
    if is_html(body) {
        return Err(Unfit::last(web_page(status, SERVER)));
    }
    if is_cut(body) {
        return Err(Unfit::again(cut("it ends before its last element does")));
    }
    Ok(())
}
