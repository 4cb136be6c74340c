//! What is wrong with a configuration: file, line, key, value, and what would be accepted.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use crate::domain::limits::CONFIG_PROBLEMS_MAX;

use super::url::redact;

/// One mistake, printed in one line: ``file:line: key: value `x`: problem; accepted: …``.
///
/// A value that may be a credential is never in it: unknown keys and secrets are named without their value, and URLs
/// lose their user information and query.
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
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        if let Some(value) = &self.value {
            write!(f, ": value `{}`", value.escape_debug())?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(accepted) = &self.accepted {
            write!(f, "; accepted: {accepted}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// Where something was said, and the name by which a person would look for it there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) line: Option<usize>,
    pub(super) key: String,
}

impl Place {
    /// A file as a whole.
    pub(super) fn file(file: &Arc<str>) -> Self {
        Self { file: Arc::clone(file), line: None, key: String::new() }
    }

    pub(super) fn problem(&self, message: impl Into<String>) -> Problem {
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

    pub(super) fn value(mut self, value: &str) -> Self {
        let value = redact(value);
        let mut shown: String = value.chars().take(Self::VALUE_CHARACTERS).collect();
        if shown.len() < value.len() {
            shown.push('…');
        }
        self.value = Some(shown);
        self
    }

    pub(super) fn accepted(mut self, accepted: impl Into<String>) -> Self {
        self.accepted = Some(accepted.into());
        self
    }
}

/// What is wrong with one key of a section, by code that does not know where the section is.
pub(super) struct Fault {
    pub(super) key: &'static str,
    message: String,
    value: String,
    accepted: Option<&'static str>,
}

impl Fault {
    /// An empty `value` is not shown.
    pub(super) fn new(key: &'static str, message: impl Into<String>, value: &str) -> Self {
        Self { key, message: message.into(), value: value.to_owned(), accepted: None }
    }

    pub(super) fn accepted(mut self, accepted: &'static str) -> Self {
        self.accepted = Some(accepted);
        self
    }

    pub(super) fn at(self, place: &Place) -> Problem {
        let problem = place.problem(self.message);
        let problem = if self.value.is_empty() { problem } else { problem.value(&self.value) };
        Problem { accepted: self.accepted.map(str::to_owned), ..problem }
    }
}

/// Collects every mistake of one load, so that a person sees all of them at once.
#[derive(Debug, Default)]
pub(super) struct Sink {
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
}

impl Sink {
    /// What makes the configuration unusable.
    pub(super) fn problem(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        // What follows from a mistake at a key is not a second mistake.
        let same =
            |known: &Problem| known.file == problem.file && known.line == problem.line && known.key == problem.key;
        if problem.key.is_empty() || !problems.iter().any(same) {
            push(&mut problems, problem);
        }
    }

    /// What is surely not meant and can be lived with.
    pub(super) fn warning(&self, problem: Problem) {
        push(&mut self.warnings.borrow_mut(), problem);
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// Problems and warnings: file by file, in the order of the lines.
    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (in_order(self.problems.into_inner()), in_order(self.warnings.into_inner()))
    }
}

fn in_order(mut list: Vec<Problem>) -> Vec<Problem> {
    let mut files: Vec<String> = list.iter().map(|problem| problem.file.clone()).collect();
    let mut seen = std::collections::HashSet::new();
    files.retain(|file| seen.insert(file.clone()));
    list.sort_by_key(|problem| (files.iter().position(|file| *file == problem.file), problem.line));
    list
}

fn push(list: &mut Vec<Problem>, problem: Problem) {
    if list.len() < CONFIG_PROBLEMS_MAX {
        list.push(problem);
    } else if list.len() == CONFIG_PROBLEMS_MAX {
        list.push(Problem {
            line: None,
            key: String::new(),
            value: None,
            message: format!("more than {CONFIG_PROBLEMS_MAX} problems, the rest is not shown"),
            accepted: None,
            ..problem
        });
    }
}

/// The candidate that was probably meant.
pub(super) fn did_you_mean<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    // Comparing costs the product of the lengths.
    if word.len() > 64 {
        return None;
    }
    let word = word.to_lowercase().replace('_', "-");
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
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
        assert_eq!(sink.into_parts().0.len(), CONFIG_PROBLEMS_MAX + 1);
    }

    #[test]
    fn what_follows_from_a_mistake_is_not_a_second_one() {
        let sink = Sink::default();
        let place = Place { file: "a".into(), line: Some(1), key: "bucket".to_owned() };
        sink.problem(place.problem("a list"));
        sink.problem(place.problem("missing"));
        assert_eq!(sink.into_parts().0, [place.problem("a list")]);
    }
}
