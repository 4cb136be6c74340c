//! Percent escapes (RFC 3986, 2.1).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

/// What is escaped in a name: all but the unreserved characters (RFC 3986, 2.3).
pub(super) const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What is escaped in a path.
pub(super) const PATH: &AsciiSet = &NAME.remove(b'/');

/// Resolves them, and says whether each `%` began one. One that does not stays.
pub(super) fn decoded(text: &str) -> (Vec<u8>, bool) {
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    // Each of them becomes one byte of three.
    let resolved = (text.len() - bytes.len()) / 2;
    (bytes, resolved == text.matches('%').count())
}

/// Escapes what is not plain.
pub(super) fn encoded(bytes: &[u8], escaped: &'static AsciiSet) -> String {
    percent_encode(bytes, escaped).to_string()
}
