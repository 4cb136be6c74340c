//! Why something could not be seen: a closed set of words and a sentence for a person.

use std::time::Duration;

use serde::{Deserialize, Serialize};

words! {
    /// Why a probe has no observation. The word is metric label, page text and runbook heading.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
    #[cfg_attr(test, derive(schemars::JsonSchema))]
    #[serde(rename_all = "snake_case")]
    pub enum ReasonKind {
        /// It is not there.
        NotFound = "not_found",
        /// The credentials or file permissions do not allow it.
        Denied = "denied",
        /// The server asked to slow down.
        Throttled = "throttled",
        /// No answer in time.
        Timeout = "timeout",
        /// No connection: name resolution, refused, TLS.
        Unreachable = "unreachable",
        /// It was read and is not what its format demands, or a listing contradicts itself.
        Corrupt = "corrupt",
        /// It exists and this version cannot read it.
        Unsupported = "unsupported",
        /// The configuration makes it impossible.
        Misconfigured = "misconfigured",
        /// Any other failure of the operating system or the server.
        Failed = "failed",
    }
}

/// Why a probe has no observation, for the caller (`kind`), the operator (`message`) and whoever has to act (`hint`).
///
/// A message is lower case and reads verb, object, place, cause: `list s3://backups/app: access denied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[error("{message}")]
pub struct Reason {
    /// Why, in one word.
    pub kind: ReasonKind,
    /// Why, in a sentence for a person.
    pub message: String,
    /// What a person can do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The server asks to be left alone for so long.
    #[serde(skip)]
    pub retry_after: Option<Duration>,
    /// The key of the object that was read, where it is about one.
    #[serde(skip)]
    pub object: Option<String>,
}

impl Reason {
    pub fn new(kind: ReasonKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after: None, object: None }
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that this came of reading an object.
    #[must_use]
    pub fn of_object(self, key: &str) -> Self {
        Self { object: Some(key.to_owned()), ..self.context(format_args!("read {key}")) }
    }

    /// Puts what was being done in front: `verb object place: cause`.
    #[must_use]
    pub fn context(mut self, doing: impl std::fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl From<std::io::Error> for Reason {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => ReasonKind::NotFound,
            ErrorKind::PermissionDenied => ReasonKind::Denied,
            ErrorKind::TimedOut => ReasonKind::Timeout,
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset | ErrorKind::HostUnreachable => {
                ReasonKind::Unreachable
            }
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => ReasonKind::Corrupt,
            _ => ReasonKind::Failed,
        };
        // std's text ends in "(os error 2)"; the number helps nobody.
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or(&text);
        let mut characters = text.chars();
        let message =
            characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect());
        Self::new(kind, message)
    }
}
