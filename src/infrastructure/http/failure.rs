//! Why a server could not be talked to.

use std::error::Error;

use rustls::CertificateError;

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::printable;

/// No connection, or one that broke.
pub(in super::super) fn unreachable(error: &(dyn Error + 'static)) -> Reason {
    let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::TimedOut;
    if chain(error).any(|error| error.downcast_ref().is_some_and(is_late)) {
        return Reason::new(ReasonKind::Timeout, "no connection in time");
    }
    let certificate = match tls_error(error) {
        Some(rustls::Error::InvalidCertificate(refused)) => Some(refused),
        _ => None,
    };
    let reason = Reason::new(ReasonKind::Unreachable, root_cause(error));
    match certificate {
        None => reason,
        Some(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
            reason.with_hint("address the server by a name in its certificate")
        }
        Some(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => reason.with_hint("renew the server's certificate, or set the clock of this machine"),
        // The verifier's own error, which it does not export.
        Some(CertificateError::Other(other)) if other.to_string().contains("CaUsedAsEndEntity") => {
            let cause = "the server uses the certificate of an authority (CA:TRUE) as its own, which is not accepted";
            Reason::new(ReasonKind::Unreachable, cause).with_hint(
                "give the server a certificate with basicConstraints CA:FALSE, self-signed or signed by that \
                 authority, and configure the signer's certificate as ca-file",
            )
        }
        Some(_) => reason.with_hint("configure the certificate authority as ca-file"),
    }
}

/// An answer that ended early or otherwise broke off.
pub(in super::super) fn broken(error: &(dyn Error + 'static)) -> Reason {
    Reason::new(ReasonKind::Unreachable, format!("the connection broke: {}", root_cause(error)))
}

/// The meaning of a status with which a store refuses a request, where nothing else says more.
pub(in super::super) fn by_status(status: u16) -> Reason {
    match status {
        301 | 302 | 303 | 307 | 308 => Reason::new(ReasonKind::Misconfigured, "it is somewhere else")
            .with_hint("configure the address that the server redirects to"),
        401 | 403 => Reason::new(ReasonKind::Denied, "access denied"),
        404 | 410 => Reason::new(ReasonKind::NotFound, "not found"),
        405 | 501 => Reason::new(ReasonKind::Unsupported, "the store does not know this request"),
        408 | 504 => Reason::new(ReasonKind::Timeout, "the store gave up waiting"),
        429 | 503 => Reason::new(ReasonKind::Throttled, "the store asks to slow down"),
        status => Reason::new(ReasonKind::Failed, format!("status {status}")),
    }
}

/// An error and its causes, outermost first.
pub(in super::super) fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

/// What TLS itself found wrong.
pub(in super::super) fn tls_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    chain(error).find_map(|error| unwrapped(error).downcast_ref())
}

/// The error inside an I/O error, which is not its cause but stands in its place, possibly nested.
fn unwrapped<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(inner) = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
        error = inner;
    }
    error
}

/// The innermost cause of an error.
pub(in super::super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).pop().unwrap_or_default()
}

/// The texts of an error and of its causes, outermost first.
pub(in super::super) fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let text = |error: &(dyn Error + 'static)| match error.downcast_ref::<std::io::Error>() {
        Some(error) if error.raw_os_error().is_some() => Reason::from(std::io::Error::from(error.kind())).message,
        _ => printable(&error.to_string()),
    };
    chain(error).map(text).collect()
}
