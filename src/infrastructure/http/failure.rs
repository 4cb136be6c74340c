//! Why a server could not be talked to.

use std::error::Error;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::printable;

/// No connection, or one that broke.
pub(in super::super) fn unreachable(error: &(dyn Error + 'static)) -> Reason {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::TimedOut
        {
            return Reason::new(ReasonKind::Timeout, "no connection in time");
        }
        cause = error.source();
    }
    let cause = root_cause(error);
    let reason = Reason::new(ReasonKind::Unreachable, &cause);
    match cause.contains("certificate") {
        true => reason.with_hint("name the certificate authority as ca-file"),
        false => reason,
    }
}

/// The innermost cause of an error.
pub(in super::super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).pop().unwrap_or_default()
}

/// The texts of an error and of its causes, outermost first.
pub(in super::super) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        texts.push(match error.downcast_ref::<std::io::Error>() {
            Some(error) if error.raw_os_error().is_some() => Reason::from(std::io::Error::from(error.kind())).message,
            _ => printable(&error.to_string()),
        });
        next = error.source();
    }
    texts
}
