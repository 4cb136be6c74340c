//! Parsing that the names of both formats share: numbers in hexadecimal digits, and the error for any other text.

/// Exactly `digits` (at most 16) lower-case hexadecimal digits: the way in which Litestream writes every number in a
/// name.
pub(super) fn hex(text: &str, digits: usize) -> Option<u64> {
    let strict = text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    strict.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

/// A name that is not of the form it should have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?}: expected {expected}")]
pub struct NameError {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl NameError {
    pub(super) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.to_owned(), expected }
    }
}
