//! The reader that takes keys out of a tree.
//!
//! Reading a key *is* declaring it: a section that goes out of scope reports every key of it that was not read, so that
//! there is no second list of names. Both languages (YAML of `litestream.yml`, TOML of `streamgauge.toml`) are read by
//! the same code.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::limits::{DURATION_MAX, DURATION_MIN, INTERVAL_MIN};
use crate::domain::secret::Secret;
use crate::infrastructure::config::problem::{Place, Problem, Sink, did_you_mean, shown_key};
use crate::infrastructure::config::source::node::{Dialect, Entry, Kind, Node, Scalar, Style};
use crate::infrastructure::config::value::{duration, label, size, yaml};

const BOOLEAN: &str = "true or false";
const IN_QUOTES: &str = "in quotes, which makes it text";
const NOT_IN_QUOTES: &str = "not in quotes";

/// A mapping whose keys are being read.
pub(crate) struct Section<'a> {
    dialect: Dialect,
    sink: &'a Sink,
    entries: &'a [Entry],
    place: Place,
    known: Vec<&'static str>,
    /// Nothing is said of keys that are not read.
    open: bool,
}

impl<'a> Section<'a> {
    /// The document itself. Anything but a mapping is a problem and reads as an empty one.
    pub(crate) fn root(node: &'a Node, dialect: Dialect, file: &Arc<str>, sink: &'a Sink) -> Self {
        let place = Place::file(file);
        let entries: &[Entry] = match &node.kind {
            Kind::Null => &[],
            Kind::Map(entries) => entries,
            _ => {
                sink.problem(Place { line: node.line, ..place.clone() }.problem("expected keys at the top"));
                &[]
            }
        };
        Self { dialect, sink, entries, place, known: Vec::new(), open: false }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The place of a key that was or could have been written here.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        match self.entries.iter().rev().find(|entry| entry.key == key) {
            Some(entry) => self.entry_place(entry),
            None => Place { key: self.path(key), ..self.place.clone() },
        }
    }

    /// The place of the section and those of its keys.
    pub(crate) fn places(&self) -> Vec<Place> {
        let keys = self.entries.iter().map(|entry| self.entry_place(entry));
        std::iter::once(self.place.clone()).chain(keys).collect()
    }

    pub(crate) fn problem(&self, problem: Problem) {
        self.sink.problem(problem);
    }

    pub(crate) fn warning(&self, problem: Problem) {
        self.sink.warning(problem);
    }

    /// Reports what is wrong with a key; `accepted` may be empty.
    pub(crate) fn wrong(&self, key: &str, message: impl Into<String>, accepted: &str) {
        self.sink.problem(self.place_of(key).problem(message).accepted(accepted));
    }

    /// Reports what is wrong with the section as a whole; `accepted` may be empty.
    pub(crate) fn fault(&self, message: &str, accepted: &str) {
        self.sink.problem(self.place.problem(message).accepted(accepted));
    }

    /// Warns of a key; `accepted` may be empty.
    pub(crate) fn warn(&self, key: &str, message: &str, accepted: &str) {
        self.sink.warning(self.place_of(key).problem(message).accepted(accepted));
    }

    /// Reports a key that has to be there and is not.
    pub(crate) fn require(&self, key: &str, accepted: &str) {
        if !self.has(key) {
            self.wrong(key, "missing", accepted);
        }
    }

    /// Reports `other` where `key` is written as well.
    pub(crate) fn exclude(&self, key: &str, other: &str) {
        if self.has(key) && self.has(other) {
            self.wrong(other, format!("beside `{key}`"), "one of the two");
        }
    }

    /// Whether a key is written here with a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key && !matches!(entry.value.kind, Kind::Null))
    }

    /// Says nothing of keys that are not read, because it is not known which there are.
    pub(crate) fn leave(&mut self) {
        self.open = true;
    }

    fn path(&self, key: &str) -> String {
        if self.place.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.key) }
    }

    fn entry_place(&self, entry: &Entry) -> Place {
        self.node_place(&entry.value, self.path(shown_key(&entry.key)), entry.line)
    }

    fn node_place(&self, node: &Node, key: String, line: Option<usize>) -> Place {
        match &node.origin {
            Some(origin) => origin.clone(),
            None => Place { file: Arc::clone(&self.place.file), line: line.or(self.place.line), key },
        }
    }

    /// Declares a key, and takes its value where there is one: duplicates are the parser's to report.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<(&'a Node, Place)> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        (!matches!(entry.value.kind, Kind::Null)).then(|| (&*entry.value, self.entry_place(entry)))
    }

    /// One value, however written.
    pub(crate) fn any(&mut self, key: &'static str, accepted: &str) -> Option<Scalar<'a>> {
        let (node, place) = self.take(key)?;
        let found = match &node.kind {
            Kind::Scalar { text, style } => return Some(Scalar { text, style: *style, place }),
            Kind::List(_) => "a list",
            _ => "a section",
        };
        self.sink.problem(place.problem(format!("{found} where one value is expected")).accepted(accepted));
        None
    }

    /// What was made of a scalar, or a problem that shows it.
    fn judged<T, M: Into<String>>(&self, scalar: &Scalar<'_>, accepted: &str, read: Result<T, M>) -> Option<T> {
        let wrong = |message| self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted));
        read.map_err(wrong).ok()
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, "a string", |text| Ok::<_, String>(text.to_owned()))
    }

    /// A string that is never shown.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let scalar = self.any(key, "a string")?;
        if scalar.style == Style::Bare {
            self.sink.problem(scalar.place.problem(NOT_IN_QUOTES).accepted("a string"));
            return None;
        }
        (!scalar.text.is_empty()).then(|| Secret::new(scalar.text))
    }

    /// A string with a meaning of its own.
    pub(crate) fn parsed<T, M: Into<String>>(
        &mut self,
        key: &'static str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Result<T, M>,
    ) -> Option<T> {
        let scalar = self.any(key, accepted)?;
        if scalar.style == Style::Bare {
            return self.judged(&scalar, accepted, Err(NOT_IN_QUOTES));
        }
        self.judged(&scalar, accepted, parse(scalar.text))
    }

    /// A name that becomes a label.
    pub(crate) fn name(&mut self, key: &'static str) -> Option<String> {
        self.parsed(key, label::ACCEPTED, label::parse)
    }

    /// One of a closed set of words.
    pub(crate) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        words: impl Iterator<Item = (&'static str, T)>,
    ) -> Option<T> {
        let words: Vec<_> = words.collect();
        let accepted = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        self.parsed(key, &accepted, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or("not one of the choices")
        })
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let scalar = self.any(key, BOOLEAN)?;
        let value = match (scalar.style, self.dialect, scalar.text) {
            (Style::Quoted, ..) => Err(IN_QUOTES),
            (_, Dialect::Yaml, text) => yaml::boolean(text).ok_or("not a boolean"),
            (_, Dialect::Toml, text) => text.parse().map_err(|_| "not a boolean"),
        };
        self.judged(&scalar, BOOLEAN, value)
    }

    /// A whole number within bounds.
    pub(crate) fn integer<T: Display + FromStr + PartialOrd>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let accepted = format!("a number from {} to {}", range.start(), range.end());
        self.such_number(key, &accepted, |value| range.contains(value))
    }

    /// A number that may have a fraction, from `least` on.
    pub(crate) fn number(&mut self, key: &'static str, least: f64) -> Option<f64> {
        let accepted = if least == 0.0 { "a number, 0 or above" } else { "a number" };
        self.such_number(key, accepted, |value: &f64| value.is_finite() && *value >= least)
    }

    fn such_number<T: FromStr>(
        &mut self,
        key: &'static str,
        accepted: &str,
        is_accepted: impl FnOnce(&T) -> bool,
    ) -> Option<T> {
        let scalar = self.any(key, accepted)?;
        let value = match scalar.style {
            Style::Quoted => Err(IN_QUOTES),
            _ => scalar.text.parse().ok().filter(is_accepted).ok_or("not such a number"),
        };
        self.judged(&scalar, accepted, value)
    }

    /// Bytes: a number, or one with a unit in quotes.
    pub(crate) fn size(&mut self, key: &'static str, least: u64) -> Option<u64> {
        let accepted = match least {
            0 => size::ACCEPTED.to_owned(),
            least => format!("{}, at least {least}", size::ACCEPTED),
        };
        let scalar = self.any(key, &accepted)?;
        let value = size::parse(scalar.text).and_then(|bytes| if bytes < least { Err("too small") } else { Ok(bytes) });
        self.judged(&scalar, &accepted, value)
    }

    /// A duration of our own configuration.
    pub(crate) fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.duration_from(DURATION_MIN, "a duration from 1ms to 100y", key)
    }

    /// How often something is to be done.
    pub(crate) fn interval(&mut self, key: &'static str) -> Option<Duration> {
        self.duration_from(INTERVAL_MIN, "a duration from 10ms to 100y", key)
    }

    fn duration_from(&mut self, least: Duration, range: &str, key: &'static str) -> Option<Duration> {
        let scalar = self.any(key, duration::ACCEPTED)?;
        let (value, accepted) = match duration::parse(scalar.text) {
            Ok(Duration::ZERO) => (Err("must be above zero"), duration::ACCEPTED),
            Ok(_) if scalar.style == Style::Bare => (Err(NOT_IN_QUOTES), duration::ACCEPTED),
            Ok(value) if value < least => (Err("too short"), range),
            Ok(value) if value > DURATION_MAX => (Err("too long"), range),
            value => (value, duration::ACCEPTED),
        };
        self.judged(&scalar, accepted, value)
    }

    /// Strings in a list. A single string is a list of one, and one from the environment is split at commas.
    pub(crate) fn texts(&mut self, key: &'static str, accepted: &str) -> Option<Vec<Scalar<'a>>> {
        let (node, place) = self.take(key)?;
        match &node.kind {
            Kind::Scalar { text, style: Style::Loose } if self.dialect == Dialect::Toml => {
                let parts = text.split(',').map(str::trim).filter(|text| !text.is_empty());
                Some(parts.map(|text| Scalar { text, style: Style::Loose, place: place.clone() }).collect())
            }
            Kind::Scalar { text, style } if *style != Style::Bare => Some(vec![Scalar { text, style: *style, place }]),
            Kind::List(items) => {
                Some(self.items(items, &place).filter_map(|(item, at)| self.string(item, at, accepted)).collect())
            }
            _ => {
                self.sink.problem(place.problem("not a list of strings").accepted(accepted));
                None
            }
        }
    }

    /// As [`texts`](Self::texts), for strings with a meaning of their own.
    pub(crate) fn list<T, M: Into<String>>(
        &mut self,
        key: &'static str,
        accepted: &str,
        parse: impl Fn(&str) -> Result<T, M>,
    ) -> Option<Vec<T>> {
        let scalars = self.texts(key, accepted)?;
        Some(scalars.iter().filter_map(|scalar| self.judged(scalar, accepted, parse(scalar.text))).collect())
    }

    /// Every key with its string, where keys are names of the user's own.
    pub(crate) fn pairs(&mut self, accepted: &str) -> Vec<(&'a str, Scalar<'a>)> {
        self.leave();
        let read =
            |entry: &'a Entry| Some((&*entry.key, self.string(&entry.value, self.entry_place(entry), accepted)?));
        self.entries.iter().filter_map(read).collect()
    }

    fn string(&self, node: &'a Node, place: Place, accepted: &str) -> Option<Scalar<'a>> {
        match &node.kind {
            Kind::Scalar { text, style } if *style != Style::Bare => Some(Scalar { text, style: *style, place }),
            _ => {
                self.sink.problem(place.problem("not a string").accepted(accepted));
                None
            }
        }
    }

    /// The items of a list and their places.
    fn items(&self, items: &'a [Arc<Node>], list: &Place) -> impl Iterator<Item = (&'a Node, Place)> {
        items.iter().enumerate().map(|(index, item)| {
            (&**item, self.node_place(item, format!("{}[{index}]", list.key), item.line.or(list.line)))
        })
    }

    /// A mapping below this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Self> {
        let (node, place) = self.take(key)?;
        self.enter(node, place)
    }

    /// A mapping below this one; absent reads as empty.
    pub(crate) fn section_or_empty(&mut self, key: &'static str) -> Self {
        let place = self.place_of(key);
        self.section(key).unwrap_or_else(|| self.below(&[], place))
    }

    /// The mappings of a list.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some((node, place)) = self.take(key) else { return Vec::new() };
        let Kind::List(items) = &node.kind else {
            let accepted = match self.dialect {
                Dialect::Yaml => format!("a list, each item starting with `- ` below `{key}:`"),
                Dialect::Toml => format!("[[{}]] tables", self.path(key)),
            };
            self.sink.problem(place.problem("not a list").accepted(accepted));
            return Vec::new();
        };
        self.items(items, &place).filter_map(|(item, at)| self.enter(item, at)).collect()
    }

    /// As [`sections`](Self::sections). More than `most`, which `accepted` says in words, are a problem.
    pub(crate) fn sections_up_to(&mut self, key: &'static str, most: usize, accepted: &str) -> Vec<Self> {
        let sections = self.sections(key);
        if sections.len() > most {
            self.wrong(key, "too many", accepted);
        }
        sections
    }

    fn enter(&self, node: &'a Node, place: Place) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            self.sink.problem(place.problem("not a section").accepted("keys with values"));
            return None;
        };
        Some(self.below(entries, place))
    }

    fn below(&self, entries: &'a [Entry], place: Place) -> Self {
        Self { dialect: self.dialect, sink: self.sink, entries, place, known: Vec::new(), open: false }
    }
}

/// Reports the keys that nothing read. Their values are not shown: a misspelt key may hold a credential.
impl Drop for Section<'_> {
    fn drop(&mut self) {
        let unknown = |entry: &&Entry| !entry.shared && !self.known.contains(&entry.key.as_str()) && !self.open;
        for entry in self.entries.iter().filter(unknown) {
            let place = self.entry_place(entry);
            let meant = did_you_mean(&entry.key, &self.known);
            let meant = |sign| meant.map(|key| format!("{sign} did you mean `{key}`?")).unwrap_or_default();
            match self.dialect {
                Dialect::Yaml => {
                    let message = format!("unknown key, which Litestream ignores{}", meant(";"));
                    self.sink.warning(place.problem(message));
                }
                Dialect::Toml => {
                    let mut known = self.known.clone();
                    known.sort_unstable();
                    self.sink.problem(place.problem(format!("unknown key{}", meant(","))).accepted(known.join(", ")));
                }
            }
        }
    }
}
