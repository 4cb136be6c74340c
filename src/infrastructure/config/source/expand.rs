//! Environment variables in `litestream.yml`, expanded as Litestream does: by the grammar of Go's `os.Expand` on the raw
//! text, before YAML is parsed, comments included. A literal `$` cannot be written.

use std::collections::{BTreeMap, BTreeSet};

/// A text with its variables replaced.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expanded {
    pub(crate) text: String,
    /// Variables outside comments that have no value here. Litestream may have one: it has its own environment.
    pub(crate) unset: BTreeSet<Unset>,
    /// The variables that were put in.
    pub(crate) inserted: BTreeSet<String>,
}

/// A variable without a value, as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unset {
    Name(String),
    /// `${NAME:-default}` and the like, which a shell would understand.
    Shell(String),
    /// In this line a `$` that may belong to a password.
    Hidden(usize),
}

/// Replaces `$NAME` and `${NAME}`; what is not set becomes empty. `None` when the result is longer than `limit`.
///
/// `PID`, which Litestream since 0.5.7 replaces by its own process number, has no value here.
pub(crate) fn expand(text: &str, environment: &BTreeMap<String, String>, limit: usize) -> Option<Expanded> {
    let mut expanded = Expanded::default();
    let mut done = 0;
    let (mut comment, mut line) = (false, 1);
    let mut closing = Closing { next: Some(0) };
    while let Some(at) = text[done..].find('$').map(|at| done + at) {
        let before = &text[done..at];
        expanded.text.push_str(before);
        comment = in_comment(before, comment);
        line += before.bytes().filter(|byte| *byte == b'\n').count();
        let (name, length) = name(text, at + 1, &mut closing);
        match name {
            // A `$` before anything that cannot be a name stays, and so does one at the end.
            "" if length == 0 => expanded.text.push('$'),
            "" => {}
            _ => match environment.get(name).filter(|_| name != "PID") {
                Some(value) => {
                    expanded.text.push_str(value);
                    expanded.inserted.insert(name.to_owned());
                }
                None if !comment => expanded.unset.extend(unset(text, at, name, line)),
                None => {}
            },
        }
        if expanded.text.len() > limit {
            return None;
        }
        done = at + 1 + length;
        line += text[at..done].bytes().filter(|byte| *byte == b'\n').count();
    }
    expanded.text.push_str(&text[done..]);
    (expanded.text.len() <= limit).then_some(expanded)
}

/// Where the next `}` is, looked for once however often it is asked.
struct Closing {
    next: Option<usize>,
}

impl Closing {
    fn from(&mut self, text: &str, at: usize) -> Option<usize> {
        if self.next? < at || text.as_bytes().get(self.next?) != Some(&b'}') {
            self.next = text[at..].find('}').map(|length| at + length);
        }
        self.next
    }
}

/// The variable's name at what follows a `$`, and how many bytes it takes. Bytes without a name are bad syntax that Go
/// swallows.
fn name<'a>(text: &'a str, start: usize, closing: &mut Closing) -> (&'a str, usize) {
    let bytes = &text.as_bytes()[start..];
    match bytes.first() {
        Some(b'{') => {
            if bytes.len() > 2 && is_special(bytes[1]) && bytes[2] == b'}' {
                return (&text[start + 1..start + 2], 3);
            }
            match closing.from(text, start) {
                Some(end) if end == start + 1 => ("", 2),
                Some(end) => (&text[start + 1..end], end + 1 - start),
                None => ("", 1),
            }
        }
        Some(&byte) if is_special(byte) => (&text[start..=start], 1),
        _ => {
            let end = bytes.iter().position(|byte| !is_name(*byte)).unwrap_or(bytes.len());
            (&text[start..start + end], end)
        }
    }
}

/// The warning about a variable without a value. In braces it is meant; without them it may as well be the end of a
/// password that holds a `$`, unless it looks like a variable of the environment and stands alone.
fn unset(text: &str, at: usize, name: &str, line: usize) -> Option<Unset> {
    /// The operators that shells allow after a name.
    const OPERATORS: &str = ":-=?+%#/^,";
    let environment = |name: &str| {
        name.len() > 1 && name.bytes().all(|byte| byte == b'_' || byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if text[at + 1..].starts_with('{') {
        if is_word(name) {
            return Some(Unset::Name(name.to_owned()));
        }
        let word = name.find(|c: char| OPERATORS.contains(c)).map(|end| &name[..end]).filter(|word| is_word(word));
        return match word {
            Some(word) if !word.is_empty() => Some(Unset::Shell(word.to_owned())),
            _ if name.bytes().any(is_name) && !name.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(Unset::Hidden(line))
            }
            _ => None,
        };
    }
    let alone = !text[..at].ends_with(|c: char| c.is_alphanumeric() || "$%.!+*~".contains(c));
    match is_word(name) {
        true if alone && environment(name) => Some(Unset::Name(name.to_owned())),
        true => Some(Unset::Hidden(line)),
        false => None,
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
        let shown = |unset: &Unset| match unset {
            Unset::Name(name) => name.clone(),
            Unset::Shell(name) => format!("shell {name}"),
            Unset::Hidden(line) => format!("line {line}"),
        };
        assert_eq!(expanded.unset.iter().map(shown).collect::<Vec<_>>(), unset, "{text}");
    }

    #[test]
    fn follows_the_grammar_of_os_expand() {
        check("bucket: $A", "bucket: 1", &[]);
        check("${A}${LONG_name9}-$A.", "1x-1.", &[]);
        check("$LONG_name9z", "", &["line 1"]);
        check("${a b}", "spaced", &[]);
        check("cost: 5$", "cost: 5$", &[]);
        check("$ x $. $\"", "$ x $. $\"", &[]);
        check("a$$b", "ab", &[]);
        check("a$*b$#c$?d$-e", "abcde", &[]);
        check("pa$5word", "panever setword", &[]);
        check("${}x", "x", &[]);
        check("${A", "A", &[]);
        check("${A\n}", "", &["line 1"]);
        check("${*}${$}", "", &[]);
        check("$ä", "$ä", &[]);
    }

    #[test]
    fn names_what_is_not_set_outside_comments() {
        check("a: $NOPE # $ALSO\n# $THIS\nb: ${OTHER}\n", "a:  # \n# \nb: \n", &["NOPE", "OTHER"]);
        check("path: /run/$PID", "path: /run/", &["PID"]);
    }

    #[test]
    fn what_may_be_a_part_of_a_password_is_not_named() {
        check("a:\n secret: abc$SECRETxyz\nb: abc$SECRET", "a:\n secret: abc\nb: abc", &["line 2", "line 3"]);
        check("root:$6$SALTSALT$HASHHASH:1::", "root::1::", &["line 1"]);
        check("$lower ${lower} '$UPPER'", "  ''", &["UPPER", "lower", "line 1"]);
    }

    #[test]
    fn a_shells_defaults_are_noticed() {
        check("${DIR:-/geheim} ${X-geheim} ${A:?geheim}", "  ", &["shell A", "shell DIR", "shell X"]);
        check("${geheim geheim}", "", &["line 1"]);
    }

    #[test]
    fn braces_without_an_end_cost_no_more_than_others() {
        // Time is not asserted: with the product of the lengths this would not come to its end.
        let text = "${".repeat(1_900_000);
        let expanded = expand(&text, &BTreeMap::new(), text.len()).expect("short");
        assert_eq!(expanded.text, "");
        let text = format!("{}}}{}", "$x".repeat(900_000), "${".repeat(900_000));
        assert!(expand(&text, &BTreeMap::new(), text.len()).is_some());
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
