//! Environment variables in `litestream.yml`, expanded as Litestream does: by the grammar of Go's `os.Expand` on the raw
//! text, before YAML is parsed, comments included. A literal `$` cannot be written.

use std::collections::{BTreeMap, BTreeSet};

/// A text with its variables replaced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Names that stand outside comments and have no value here. Litestream may have one: it has its own environment.
    pub(super) unset: BTreeSet<String>,
}

/// Replaces `$NAME` and `${NAME}`; what is not set becomes empty. `None` when the result is longer than `limit`.
///
/// `PID`, which Litestream since 0.5.7 replaces by its own process number, has no value here.
pub(super) fn expand(text: &str, environment: &BTreeMap<String, String>, limit: usize) -> Option<Expanded> {
    let mut expanded = Expanded::default();
    let mut rest = text;
    let mut comment = false;
    while let Some(at) = rest.find('$') {
        expanded.text.push_str(&rest[..at]);
        comment = in_comment(&rest[..at], comment);
        let behind = &rest[at + 1..];
        let (name, length) = name(behind);
        match name {
            // A `$` before anything that cannot be a name stays, and so does one at the end.
            "" if length == 0 => expanded.text.push('$'),
            "" => {}
            _ => match environment.get(name).filter(|_| name != "PID") {
                Some(value) => expanded.text.push_str(value),
                None if is_word(name) && !comment => {
                    expanded.unset.insert(name.to_owned());
                }
                None => {}
            },
        }
        if expanded.text.len() > limit {
            return None;
        }
        rest = &behind[length..];
    }
    expanded.text.push_str(rest);
    (expanded.text.len() <= limit).then_some(expanded)
}

/// The variable's name at the start of what follows a `$`, and how many bytes it takes. Bytes without a name are bad
/// syntax that Go swallows.
fn name(text: &str) -> (&str, usize) {
    let bytes = text.as_bytes();
    match bytes.first() {
        Some(b'{') => {
            if bytes.len() > 2 && is_special(bytes[1]) && bytes[2] == b'}' {
                return (&text[1..2], 3);
            }
            match text.find('}') {
                Some(1) => ("", 2),
                Some(end) => (&text[1..end], end + 1),
                None => ("", 1),
            }
        }
        Some(&byte) if is_special(byte) => (&text[..1], 1),
        _ => {
            let end = bytes.iter().position(|byte| !is_name(*byte)).unwrap_or(bytes.len());
            (&text[..end], end)
        }
    }
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b'*' | b'#' | b'$' | b'@' | b'!' | b'?' | b'-' | b'0'..=b'9')
}

fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

fn is_word(name: &str) -> bool {
    name.bytes().all(is_name) && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// Whether what follows `text` stands in a YAML comment, when what came before it did or did not.
fn in_comment(text: &str, before: bool) -> bool {
    match text.rsplit_once('\n') {
        Some((_, line)) => line.starts_with('#') || line.contains(" #"),
        None => before || text.starts_with('#') || text.contains(" #"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str, unset: &[&str]) {
        let environment = [("A", "1"), ("LONG_name9", "x"), ("PID", "77"), ("a b", "spaced"), ("5", "never set")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let expanded = expand(text, &environment, 1_000).expect("short");
        assert_eq!(expanded.text, expected, "{text}");
        assert_eq!(expanded.unset.iter().collect::<Vec<_>>(), unset, "{text}");
    }

    #[test]
    fn follows_the_grammar_of_os_expand() {
        check("bucket: $A", "bucket: 1", &[]);
        check("${A}${LONG_name9}-$A.", "1x-1.", &[]);
        check("$LONG_name9z", "", &["LONG_name9z"]);
        check("${a b}", "spaced", &[]);
        check("cost: 5$", "cost: 5$", &[]);
        check("$ x $. $\"", "$ x $. $\"", &[]);
        check("a$$b", "ab", &[]);
        check("a$*b$#c$?d$-e", "abcde", &[]);
        check("pa$5word", "panever setword", &[]);
        check("${}x", "x", &[]);
        check("${A", "A", &[]);
        check("${A\n}", "", &[]);
        check("${*}${$}", "", &[]);
        check("$ä", "$ä", &[]);
    }

    #[test]
    fn names_what_is_not_set_outside_comments() {
        check("a: $NOPE # $ALSO\n# $THIS\nb: ${OTHER}\n", "a:  # \n# \nb: \n", &["NOPE", "OTHER"]);
        check("path: /run/$PID", "path: /run/", &["PID"]);
    }

    #[test]
    fn a_text_that_grows_too_long_is_refused() {
        let environment = [("A".to_owned(), "x".repeat(100))].into();
        assert_eq!(expand(&"$A".repeat(20), &environment, 1_000), None);
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_what_has_no_dollar(text in "\\PC{0,60}") {
            let expanded = expand(&text, &BTreeMap::new(), 10_000);
            if !text.contains('$') {
                prop_assert_eq!(expanded.map(|e| e.text), Some(text));
            }
        }
    }
}
