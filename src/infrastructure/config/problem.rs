//! Problems of a configuration: file, line, key, value, and what would be accepted.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::domain::limits::CONFIG_PROBLEMS_MAX;

use super::value::url::{redact, understood};
use crate::domain::printable::printable;

/// One mistake, printed in one line: ``file:line: key: value `x`: problem; accepted: …``.
///
/// A value that may be a credential is never in it: unknown keys and secrets are named without their value, of a URL
/// only what was understood is shown, and what a variable put in is shown as the variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, `environment` or `command line`.
    pub file: String,
    /// Counted from 1; absent where a text has no lines or the mistake is something missing.
    pub line: Option<usize>,
    /// `web.listen-address`, `dbs[0].replica.url`, `STREAMGAUGE__WEB__LISTEN_ADDRESS`; empty for the file as a whole.
    pub key: String,
    pub value: Option<String>,
    pub message: String,
    pub accepted: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.file))?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", printable(&self.key))?;
        }
        if let Some(value) = &self.value {
            let end = value.char_indices().nth(Self::VALUE_CHARACTERS).map_or(value.len(), |(end, _)| end);
            let more = if end < value.len() { "…" } else { "" };
            write!(f, ": value `{}{more}`", value[..end].escape_debug())?;
        }
        write!(f, ": {}", printable(&self.message))?;
        if let Some(accepted) = &self.accepted {
            write!(f, "; accepted: {accepted}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Where something was said, and the name by which a person would look for it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: Arc<str>,
    pub(crate) line: Option<usize>,
    pub(crate) key: String,
}

impl Place {
    /// A file as a whole.
    pub(crate) fn file(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), line: None, key: String::new() }
    }

    pub(crate) fn problem(&self, message: impl Into<String>) -> Problem {
        Problem {
            file: self.file.to_string(),
            line: self.line,
            key: self.key.clone(),
            value: None,
            message: message.into(),
            accepted: None,
        }
    }
}

impl Problem {
    /// Longest part of a value that is shown.
    const VALUE_CHARACTERS: usize = 80;

    pub(crate) fn value(mut self, value: &str) -> Self {
        self.value = Some(redact(value));
        self
    }

    /// A value that should be a URL, and is shown as far as it is one.
    pub(crate) fn url(mut self, value: &str) -> Self {
        self.value = understood(value);
        self
    }

    /// Names the variable in place of what it put in.
    fn without(mut self, inserted: &[(String, String)]) -> Self {
        for (name, text) in inserted {
            let variable = format!("${{{name}}}");
            // A part of what was put in, such as one line of several, is as secret.
            match &mut self.value {
                Some(value) if value.len() >= INSERTED_BYTES_MIN && text.contains(value.as_str()) => {
                    value.clone_from(&variable);
                }
                Some(value) if value.contains(text) => *value = value.replace(text, &variable),
                _ => {}
            }
            self.message = replace(&self.message, text, &variable);
        }
        self
    }

    /// Says what would be accepted, unless that is empty.
    pub(crate) fn accepted(mut self, accepted: impl Into<String>) -> Self {
        self.accepted = Some(accepted.into()).filter(|accepted| !accepted.is_empty());
        self
    }
}

/// The value of a variable is shown if it is shorter: too little to be a secret, and likely to be found anywhere.
const INSERTED_BYTES_MIN: usize = 4;

/// A key that a file holds, as it may be shown. What does not look like a key may be a line of another file, such as a
/// password.
pub(crate) fn shown_key(key: &str) -> &str {
    /// Longer than any key there is.
    const LONGEST: usize = 32;
    let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let starts = key.starts_with(|first: char| first.is_ascii_alphabetic());
    if (plain && starts && key.len() <= LONGEST) || key == "<<" { key } else { "…" }
}

/// Collects every mistake of one load, so that a person sees all of them at once.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    collected: RefCell<Collected>,
    /// Name and text of the variables that were put in.
    inserted: RefCell<Vec<(String, String)>>,
}

/// All that a [`Sink`] collected: file by file, in the order of the lines.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) problems: Vec<Problem>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) notes: Vec<Problem>,
}

impl Sink {
    /// Adds a problem, which makes the configuration unusable.
    pub(crate) fn problem(&self, problem: Problem) {
        // What follows from a mistake at a key is not a second mistake.
        let same =
            |known: &Problem| known.file == problem.file && known.line == problem.line && known.key == problem.key;
        let list = &mut self.collected.borrow_mut().problems;
        if problem.key.is_empty() || !list.iter().any(same) {
            self.push(list, problem);
        }
    }

    /// Adds a warning: a mistake that does no harm.
    pub(crate) fn warning(&self, problem: Problem) {
        self.push(&mut self.collected.borrow_mut().warnings, problem);
    }

    /// Adds a note, which is good to know before something is changed.
    pub(crate) fn note(&self, problem: Problem) {
        self.push(&mut self.collected.borrow_mut().notes, problem);
    }

    fn push(&self, list: &mut Vec<Problem>, problem: Problem) {
        if list.len() < CONFIG_PROBLEMS_MAX {
            list.push(self.shown(problem));
        } else if list.len() == CONFIG_PROBLEMS_MAX {
            let message = format!("more than {CONFIG_PROBLEMS_MAX} problems; the rest are not shown");
            list.push(Place::file(&problem.file.into()).problem(message));
        }
    }

    /// The problem without what a variable put in.
    pub(crate) fn shown(&self, problem: Problem) -> Problem {
        problem.without(&self.inserted.borrow())
    }

    /// Notes the value that a variable put into a file, which may be a secret wherever it stands: from now on it is
    /// shown by its name.
    pub(crate) fn inserted(&self, name: &str, text: &str) {
        let text = text.trim();
        if text.len() >= INSERTED_BYTES_MIN {
            self.inserted.borrow_mut().push((name.to_owned(), text.to_owned()));
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.collected.borrow().problems.is_empty()
    }

    pub(crate) fn into_parts(self) -> Collected {
        let mut collected = self.collected.into_inner();
        for list in [&mut collected.problems, &mut collected.warnings, &mut collected.notes] {
            in_order(list);
        }
        collected
    }
}

fn in_order(list: &mut [Problem]) {
    let mut files: Vec<String> = list.iter().map(|problem| problem.file.clone()).collect();
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    list.sort_by_key(|problem| (files.iter().position(|file| *file == problem.file), problem.line));
}

/// Replaces what a variable put in; what is short only where it is a word, because it may be found anywhere.
fn replace(text: &str, inserted: &str, variable: &str) -> String {
    const ANYWHERE_BYTES_MIN: usize = 8;
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in text.match_indices(inserted) {
        let end = at + inserted.len();
        let apart = !text[..at].ends_with(char::is_alphanumeric) && !text[end..].starts_with(char::is_alphanumeric);
        if apart || inserted.len() >= ANYWHERE_BYTES_MIN {
            out.extend([&text[done..at], variable]);
            done = end;
        }
    }
    out + &text[done..]
}

/// The candidate that was probably meant, whatever the case of its letters.
pub(crate) fn did_you_mean<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // Comparing costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 5)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line() {
        let place = Place { file: "a.toml".into(), line: Some(3), key: "web.listen-address".to_owned() };
        assert_eq!(
            place.problem("no port").value("x\ny").accepted("address:port").to_string(),
            "a.toml:3: web.listen-address: value `x\\ny`: no port; accepted: address:port"
        );
        assert_eq!(Place::file(&"a.toml".into()).problem("not found").to_string(), "a.toml: not found");
    }

    #[test]
    fn a_value_that_is_a_url_loses_its_credentials() {
        let place = Place::file(&"a".into());
        let shown = place.problem("p").value("sftp://u:geheim@host/x?key=geheim").to_string();
        assert_eq!(shown, "a: value `sftp://host/x`: p");
    }

    #[test]
    fn guesses_what_was_meant() {
        let keys = ["listen-address", "level", "path"];
        assert_eq!(did_you_mean("listen_adress", &keys), Some("listen-address"));
        assert_eq!(did_you_mean("levle", &keys), Some("level"));
        assert_eq!(did_you_mean("colour", &keys), None);
    }

    #[test]
    fn a_flood_of_problems_is_bounded() {
        let sink = Sink::default();
        for _ in 0..CONFIG_PROBLEMS_MAX * 3 {
            sink.problem(Place::file(&"a".into()).problem("p"));
        }
        assert_eq!(sink.into_parts().problems.len(), CONFIG_PROBLEMS_MAX + 1);
    }

    #[test]
    fn what_follows_from_a_mistake_is_not_a_second_one() {
        let sink = Sink::default();
        let place = Place { file: "a".into(), line: Some(1), key: "bucket".to_owned() };
        sink.problem(place.problem("a list"));
        sink.problem(place.problem("missing"));
        assert_eq!(sink.into_parts().problems, [place.problem("a list")]);
    }

    #[test]
    fn a_key_is_shown_where_it_looks_like_one() {
        for key in ["acess-key-id", "forcePathStyle", "x.y_z", "<<"] {
            assert_eq!(shown_key(key), key);
        }
        for key in ["root:*:19000:0:99999:7::", "$y$j9T$abc", "two words", "\u{1b}[2J", "", "9", &"a".repeat(33)] {
            assert_eq!(shown_key(key), "…", "{key}");
        }
    }

    #[test]
    fn what_a_variable_put_in_is_shown_by_its_name() {
        let sink = Sink::default();
        sink.inserted("TOKEN", "geheim-geheim\n  url: geheim\n");
        sink.inserted("SHORT", "abc");
        let place = Place::file(&"a".into());
        for value in ["geheim-geheim", "url: geheim", "abc"] {
            sink.warning(place.problem("p").value(value));
        }
        sink.inserted("HOST", "geheim.example");
        sink.warning(place.problem("no s3://geheim.example/x").value("x.geheim.example"));
        let shown: Vec<String> = sink.into_parts().warnings.iter().map(ToString::to_string).collect();
        let expected = [
            "a: value `${TOKEN}`: p",
            "a: value `${TOKEN}`: p",
            "a: value `abc`: p",
            "a: value `x.${HOST}`: no s3://${HOST}/x",
        ];
        assert_eq!(shown, expected);
        assert_eq!(replace("a database at data/x", "data", "$D"), "a database at $D/x");
        assert_eq!(replace("x-geheim-gehe-y", "geheim-gehe", "$D"), "x-$D-y");
    }
}
