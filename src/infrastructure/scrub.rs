//! Takes secrets out of texts that somebody else made.

use aws_smithy_types::base64;

use crate::infrastructure::percent;
use crate::infrastructure::store::printable;

/// Secrets, which never appear in what [`Scrub::clean`] returns.
#[derive(Clone, Debug, Default)]
pub(super) struct Scrub(Vec<String>);

/// Shorter parts of an address are words, and no secrets.
const PART_BYTES_MIN: usize = 4;

impl Scrub {
    /// Hides a text, also as it looks in base64 and with its percent signs resolved.
    pub(super) fn hide(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        // Whole groups of three bytes: how the last ones look depends on what follows.
        let groups = &text.as_bytes()[..text.len() / 3 * 3];
        let decoded = String::from_utf8_lossy(&percent::decoded(text).0).into_owned();
        for form in [text.to_owned(), base64::encode(groups), decoded] {
            if !form.is_empty() && !self.0.contains(&form) {
                self.0.push(form);
            }
        }
        // What contains another one goes first.
        self.0.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// Hides each part of an address's path and query.
    pub(super) fn hide_parts(&mut self, path_and_query: &str) {
        self.hide(path_and_query.trim_matches('/'));
        for part in path_and_query.split(['/', '?', '&', '=', ';', ',']) {
            if part.len() >= PART_BYTES_MIN {
                self.hide(part);
            }
        }
    }

    /// Hides the value of an `Authorization` header, also without its scheme, and what is secret of a signature:
    /// `AWS4-HMAC-SHA256 Credential=ID/date/region/…, SignedHeaders=…, Signature=…`
    pub(super) fn hide_authorization(&mut self, value: &str) {
        self.hide(value);
        self.hide(value.split_once(' ').map_or("", |(_, token)| token));
        for secret in ["Credential=", "Signature="] {
            let rest = value.split_once(secret).map_or("", |(_, rest)| rest);
            self.hide(rest.split(['/', ',', ' ']).next().unwrap_or_default());
        }
    }

    /// One line of bounded length without what is hidden.
    pub(super) fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.0 {
            text = text.replace(secret, "[redacted]");
        }
        printable(text.trim())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_of_a_secret_is_left() {
        let mut scrub = Scrub::default();
        scrub.hide("me:geheim");
        scrub.hide_parts("/hooks/T0%41geheim/x?token=geheim2&to=me");
        for text in [
            "no hook \"/hooks/T0%41geheim/x?token=geheim2&to=me\" here",
            "no hook T0Ageheim",
            "Basic bWU6Z2VoZWlt",
            "token geheim2",
            "hooks\\/T0%41geheim\\/x",
        ] {
            let shown = scrub.clean(text);
            assert!(!shown.contains("geheim") && !shown.contains("Z2VoZWlt"), "{shown}");
            assert!(shown.contains("[redacted]"), "{shown}");
        }
        scrub.hide_authorization("Bearer vertraulich");
        assert_eq!(scrub.clean("vertraulich is not Bearer vertraulich"), "[redacted] is not [redacted]");
        assert_eq!(scrub.clean(" a\nb "), "a\\nb");
        assert_eq!(scrub.clean(&"a".repeat(5000)).chars().count(), 201);
    }
}
