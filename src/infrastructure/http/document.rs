//! Whether a document is one, or what the way to a server made of it: the page of a captive portal, a text that breaks off.

use crate::domain::reason::{Reason, ReasonKind};

/// The error for an answer that was cut short.
pub(in super::super) fn cut(how: &str) -> Reason {
    Reason::new(ReasonKind::Unreachable, format!("the answer was cut short: {how}"))
}

/// What `whose` would answer with.
#[cfg(feature = "gcs")]
pub(in super::super) fn json<T: serde::de::DeserializeOwned>(body: &[u8], whose: &str) -> Result<T, Reason> {
    serde_json::from_slice(body).map_err(|error| match error.is_eof() && !body.is_empty() {
        true => cut("a document without its end"),
        // Its own text may quote the document.
        false => Reason::new(ReasonKind::Corrupt, format!("answered with something else than {whose} would")),
    })
}

/// Somebody else answered than `expected`.
pub(in super::super) fn web_page(status: u16, expected: &str) -> Reason {
    Reason::new(ReasonKind::Unreachable, format!("answered with a web page (status {status})")).with_hint(format!(
        "a captive portal, a login page or a proxy is in the way, or the endpoint is not {expected}"
    ))
}

pub(in super::super) fn is_html(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    let starts = |text: &str| start.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes()));
    starts("<!doctype html") || root(body).is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"html"))
}

/// An XML document without the end of its root. The SDK takes one for a document that says less.
pub(in super::super) fn is_cut(body: &[u8]) -> bool {
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
