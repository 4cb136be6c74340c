//! Why an SFTP server did not do what it was asked, or could not be talked to.

use std::time::Duration;

use russh_sftp::client::error::Error;
use russh_sftp::protocol::{Status, StatusCode};

use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::scrub::Scrub;

/// A request that was answered with a refusal.
pub(super) fn refused(status: &Status, scrub: &Scrub) -> Reason {
    let said = scrub.clean(&status.error_message);
    match status.status_code {
        StatusCode::NoSuchFile => Reason::new(ReasonKind::NotFound, "no such file or directory"),
        StatusCode::PermissionDenied => Reason::new(ReasonKind::Denied, "permission denied")
            .with_hint("let the login's user read the directory and the files in it"),
        StatusCode::OpUnsupported => Reason::new(ReasonKind::Unsupported, "the server does not know this request"),
        StatusCode::NoConnection | StatusCode::ConnectionLost => {
            Reason::new(ReasonKind::Unreachable, "the server has lost its own connection")
        }
        StatusCode::Ok | StatusCode::Eof => Reason::new(ReasonKind::Corrupt, "an answer to another request"),
        StatusCode::Failure | StatusCode::BadMessage => {
            Reason::new(ReasonKind::Failed, format!("refused; the server says: {said}"))
        }
    }
}

/// A request without an answer that can be understood.
pub(super) fn broken(error: &Error, patience: Duration) -> Reason {
    match error {
        Error::Timeout => Reason::new(ReasonKind::Timeout, format!("no answer within {} s", patience.as_secs_f64())),
        Error::UnexpectedPacket => Reason::new(ReasonKind::Corrupt, "an answer to another request"),
        _ => broke(),
    }
}

pub(super) fn broke() -> Reason {
    Reason::new(ReasonKind::Unreachable, "the connection broke")
}

/// The root of a replica is missing.
pub(super) fn no_directory() -> Reason {
    Reason::new(ReasonKind::NotFound, "no such directory")
}

/// A connection that was not made, or that ended before one was logged in.
pub(super) fn not_connected(error: &russh::Error) -> Reason {
    use russh::Error as Ssh;
    match error {
        Ssh::IO(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            Reason::new(ReasonKind::Timeout, "no connection in time")
        }
        Ssh::IO(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => {
            let reason = Reason::from(std::io::Error::new(error.kind(), error.to_string()));
            Reason { kind: ReasonKind::Unreachable, ..reason }
        }
        Ssh::NoCommonAlgo { kind, theirs, .. } => {
            let theirs = super::printable(&theirs.join(", "));
            Reason::new(ReasonKind::Unsupported, format!("no common {kind:?} algorithm; the server offers {theirs}"))
        }
        Ssh::Version => {
            Reason::new(ReasonKind::Corrupt, "the server there is not an SSH server").with_hint("check host and port")
        }
        Ssh::ConnectionTimeout | Ssh::InactivityTimeout | Ssh::KeepaliveTimeout | Ssh::Elapsed(_) => {
            Reason::new(ReasonKind::Timeout, "no connection in time")
        }
        Ssh::WrongServerSig => Reason::new(ReasonKind::Unreachable, "the server does not own the key that it shows"),
        Ssh::IO(_) | Ssh::HUP | Ssh::Disconnect | Ssh::SendError | Ssh::RecvError | Ssh::Join(_) => {
            Reason::new(ReasonKind::Unreachable, "the server closed the connection before anyone could log in")
                .with_hint("see the server's log: it may limit connections (MaxStartups) or block this address")
        }
        error => {
            Reason::new(ReasonKind::Unreachable, format!("no SSH connection: {}", super::printable(&error.to_string())))
        }
    }
}
