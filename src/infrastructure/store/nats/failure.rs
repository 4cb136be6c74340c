//! The meaning of a failure of NATS: the closed set of kinds, a cause in plain words, and what a person can do about it.

use std::error::Error;

use async_nats::{ConnectError, ConnectErrorKind, Message, ServerError};
use serde::Deserialize;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::http::failure::{chain, root_cause, unreachable};
use crate::infrastructure::scrub::Scrub;

/// An error in an answer of JetStream.
#[derive(Deserialize)]
pub(super) struct ApiError {
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// JetStream's own codes.
const STREAM_NOT_FOUND: u32 = 10059;
const NOT_ENABLED: [u32; 2] = [10039, 10076];

/// Why there is no connection.
pub(super) fn connecting(error: &ConnectError, scrub: &Scrub) -> Reason {
    const LOGIN: &str = "check the replica's login: jwt and seed, creds, nkey, username and password, or token";
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation => {
            Reason::new(ReasonKind::Denied, "the server refuses the login").with_hint(LOGIN)
        }
        ConnectErrorKind::Authentication => {
            Reason::new(ReasonKind::Misconfigured, "nkey or seed is not the seed of a user").with_hint(LOGIN)
        }
        ConnectErrorKind::TimedOut => Reason::new(ReasonKind::Timeout, "no connection in time"),
        ConnectErrorKind::ServerParse => no_address(),
        _ => {
            let said = chain(error).find_map(|error| match error.downcast_ref() {
                Some(ServerError::Other(said)) => Some(said),
                _ => None,
            });
            said.map_or_else(|| unreachable(error), |said| at_login(&scrub.clean(said)))
        }
    }
}

pub(super) fn no_address() -> Reason {
    Reason::new(ReasonKind::Misconfigured, "not the address of a server").with_hint("host or host:port")
}

/// What a server says instead of letting one in.
fn at_login(said: &str) -> Reason {
    let lower = said.to_lowercase();
    let kind = if lower.contains("maximum") {
        ReasonKind::Throttled
    } else if lower.contains("authenti") || lower.contains("authoriz") || lower.contains("revoked") {
        ReasonKind::Denied
    } else {
        ReasonKind::Unreachable
    };
    Reason::new(kind, format!("the server says: {said}"))
}

/// A request that could not be sent, or whose answer never came.
pub(super) fn sending(error: &(dyn Error + 'static)) -> Reason {
    Reason::new(ReasonKind::Unreachable, root_cause(error))
}

pub(super) fn broke() -> Reason {
    Reason::new(ReasonKind::Unreachable, "the connection broke")
}

/// What a server says of a request for which there is a permission missing, if it is that one: it does not answer it.
pub(super) fn violation(said: &str, subject: &str) -> Option<Reason> {
    let lower = said.to_lowercase();
    if !lower.contains("permissions violation") {
        return None;
    }
    let reason = Reason::new(ReasonKind::Denied, "access denied");
    if lower.contains("subscription") {
        Some(reason.with_hint("allow the user to subscribe to _INBOX.>"))
    } else if said.contains(&format!("\"{subject}\"")) {
        Some(reason.with_hint(format!("allow the user to publish to {subject}")))
    } else {
        None
    }
}

/// An answer of JetStream that refuses.
pub(super) fn refused(error: &ApiError, bucket: &str, scrub: &Scrub) -> Reason {
    match (error.err_code, error.code) {
        (STREAM_NOT_FOUND, _) => no_bucket(bucket),
        (code, _) if NOT_ENABLED.contains(&code) => no_jetstream(),
        (_, 503) => Reason::new(ReasonKind::Unreachable, said(&error.description, scrub)),
        (_, 404) => Reason::new(ReasonKind::NotFound, said(&error.description, scrub)),
        _ => Reason::new(ReasonKind::Failed, said(&error.description, scrub)),
    }
}

fn said(description: &str, scrub: &Scrub) -> String {
    format!("the server says: {}", scrub.clean(description))
}

pub(super) fn no_bucket(bucket: &str) -> Reason {
    Reason::new(ReasonKind::NotFound, "no such bucket").with_hint(format!("check that object store {bucket} exists"))
}

pub(super) fn no_jetstream() -> Reason {
    Reason::new(ReasonKind::Misconfigured, "the server has no JetStream for this account")
        .with_hint("enable JetStream, or log in to the account that has the bucket")
}

pub(super) fn no_direct(bucket: &str) -> Reason {
    Reason::new(ReasonKind::Misconfigured, "the bucket's stream does not allow direct get")
        .with_hint(format!("nats stream edit OBJ_{bucket} --allow-direct"))
}

/// A status that says neither that a message is there nor that it is not.
pub(super) fn status(message: &Message, scrub: &Scrub) -> Reason {
    let status = message.status.map_or(0, |status| status.as_u16());
    let description = scrub.clean(message.description.as_deref().unwrap_or_default());
    let kind = match status {
        429 => ReasonKind::Throttled,
        _ => ReasonKind::Failed,
    };
    Reason::new(kind, format!("status {status}, {description}"))
}
