//! Why a server could not be talked to.

use std::error::Error;

use rustls::CertificateError;

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
    let (message, hint) = match certificate(error) {
        Some(Refused::Authority) => (
            "the server presents the certificate of an authority (CA:TRUE) as its own, which is not accepted"
                .to_owned(),
            "give the server a certificate with basicConstraints CA:FALSE, self-signed or signed by that authority, \
             and configure the signer's as ca-file",
        ),
        Some(Refused::Name) => (root_cause(error), "address the server by a name in its certificate"),
        Some(Refused::Time) => (root_cause(error), "renew the server's certificate, or set the clock of this machine"),
        Some(Refused::Other) => (root_cause(error), "configure the certificate authority as ca-file"),
        None => (root_cause(error), ""),
    };
    let reason = Reason::new(ReasonKind::Unreachable, message);
    if hint.is_empty() { reason } else { reason.with_hint(hint) }
}

/// Why a server's certificate is not accepted.
enum Refused {
    Authority,
    Name,
    Time,
    Other,
}

fn certificate(error: &(dyn Error + 'static)) -> Option<Refused> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(refused)) = unwrapped(error).downcast_ref() {
            return Some(match refused {
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Refused::Name,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Refused::Time,
                // The verifier's own error, which it does not export.
                CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => Refused::Authority,
                _ => Refused::Other,
            });
        }
        cause = error.source();
    }
    None
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
