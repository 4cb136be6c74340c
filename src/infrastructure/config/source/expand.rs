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

/// What is said of a variable without a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unset {
    /// Of a `$` that may belong to a password, which is not shown.
    pub(crate) line: Option<usize>,
    pub(crate) key: String,
    pub(crate) message: &'static str,
}

const PID: &str = "Litestream's process ID, which is not known here; replaced with nothing";
const UNSET: &str = "not set in this process's environment; replaced with nothing, as Litestream would do";
const SHELL: &str = "Litestream has no defaults: it takes everything between the braces for a name, and replaces it \
                     with nothing";
const HIDDEN: &str = "Litestream takes a `$` here for a variable that is not set, and replaces it with nothing (not \
                      shown, because it may be part of a password)";

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
    let unset = |name: &str| {
        let message = if name == "PID" { PID } else { UNSET };
        Some(Unset { line: None, key: format!("${name}"), message })
    };
    let hidden = Some(Unset { line: Some(line), key: String::new(), message: HIDDEN });
    if text[at + 1..].starts_with('{') {
        if is_word(name) {
            return unset(name);
        }
        let word = name.find(|c: char| OPERATORS.contains(c)).map(|end| &name[..end]).filter(|word| is_word(word));
        return match word {
            // `${NAME:-default}` and the like, which a shell would understand.
            Some(word) if !word.is_empty() => {
                Some(Unset { line: None, key: format!("${{{word}…}}"), message: SHELL })
            }
            _ if name.bytes().any(is_name) && !name.bytes().all(|byte| byte.is_ascii_digit()) => hidden,
            _ => None,
        };
    }
    let alone = !text[..at].ends_with(|c: char| c.is_alphanumeric() || "$%.!+*~".contains(c));
    match is_word(name) {
        true if alone && environment(name) => unset(name),
        true => hidden,
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
        let shown = |unset: &Unset| match (unset.line, unset.message) {
            (Some(line), _) => format!("line {line}"),
            (None, SHELL) => format!("shell {}", unset.key.trim_matches(|c| "${…}".contains(c))),
            (None, _) => unset.key[1..].to_owned(),
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
