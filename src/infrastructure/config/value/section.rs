//! A parsed configuration text with the place of everything in it, and the reader that takes keys out of it.
//!
//! Reading a key *is* declaring it: [`Section::finish`] reports every key that was not read, so there is no second list
//! of names. Both languages (YAML of `litestream.yml`, TOML of `streamgauge.toml`) are read by the same code.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::limits::{DURATION_MAX, DURATION_MIN, INTERVAL_MIN};
use crate::domain::secret::Secret;

use crate::infrastructure::config::problem::{Place, Problem, Sink, did_you_mean, shown_key};
use crate::infrastructure::config::value::duration;
use crate::infrastructure::config::value::size;

/// How a scalar was written, which decides what it may be read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// In quotes: a string and nothing else.
    Quoted,
    /// A TOML number or boolean: not a string.
    Bare,
    /// Plain YAML, an environment variable or a flag: whatever the key wants.
    Loose,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Null,
    Scalar { text: String, style: Style },
    List(Vec<Arc<Node>>),
    Map(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: Option<usize>,
    /// Set where the value comes from an environment variable or a flag.
    pub(crate) origin: Option<Origin>,
    pub(crate) kind: Kind,
}

/// An environment variable or a flag.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// `environment` or `command line`.
    pub(crate) source: Arc<str>,
    pub(crate) name: String,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: Option<usize>,
    pub(crate) value: Arc<Node>,
    /// It has an anchor, and may be there only to be used elsewhere.
    pub(crate) shared: bool,
}

/// The two languages, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// yaml.v2 into Go structs: unknown keys are ignored (we warn), `yes` is a boolean, an integer is a duration in
    /// nanoseconds.
    Yaml,
    /// Unknown keys are errors.
    Toml,
}

const IN_QUOTES: &str = "in quotes, which makes it text";

/// What Litestream takes for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    Text,
    Number,
    Boolean,
    Size,
}

impl Takes {
    fn accepted(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::Size => "a size such as 5MB",
        }
    }

    fn reads(self, text: &str, style: Style) -> bool {
        match self {
            Self::Text => true,
            Self::Number => style == Style::Loose && yaml_number(text).is_some(),
            Self::Boolean => {
                style == Style::Loose && (matches!(text, "true" | "false") || yaml_boolean(text).is_some())
            }
            Self::Size => size::is_litestreams(text),
        }
    }
}

/// One scalar and where it stands.
pub(crate) struct Scalar<'a> {
    pub(crate) text: &'a str,
    pub(crate) style: Style,
    pub(crate) place: Place,
}

impl<'a> Scalar<'a> {
    /// What is in force when nothing is written.
    pub(crate) fn default_of(text: &'a str) -> Self {
        Self { text, style: Style::Loose, place: Place::file(&"default".into()) }
    }
}

/// A mapping whose keys are being read.
pub(crate) struct Section<'a> {
    dialect: Dialect,
    sink: &'a Sink,
    entries: &'a [Entry],
    place: Place,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The document itself. Anything but a mapping is a problem and reads as an empty one.
    pub(crate) fn root(node: &'a Node, dialect: Dialect, file: &Arc<str>, sink: &'a Sink) -> Self {
        let root = Self { dialect, sink, entries: &[], place: Place::file(file), known: Vec::new() };
        match &node.kind {
            Kind::Null => root,
            Kind::Map(entries) => Self { entries, ..root },
            _ => {
                sink.problem(Place { line: node.line, ..root.place.clone() }.problem("expected keys at the top"));
                root
            }
        }
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

    /// Whether a key is written here with a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == key && !matches!(entry.value.kind, Kind::Null))
    }

    fn path(&self, key: &str) -> String {
        if self.place.key.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place.key) }
    }

    fn entry_place(&self, entry: &Entry) -> Place {
        self.node_place(&entry.value, self.path(shown_key(&entry.key)), entry.line)
    }

    fn node_place(&self, node: &Node, key: String, line: Option<usize>) -> Place {
        match &node.origin {
            Some(origin) => Place { file: Arc::clone(&origin.source), line: None, key: origin.name.clone() },
            None => Place { file: Arc::clone(&self.place.file), line: line.or(self.place.line), key },
        }
    }

    /// The last entry of that name: duplicates are the parser's to report.
    fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let entry = self.entries.iter().rev().find(|entry| entry.key == key)?;
        (!matches!(entry.value.kind, Kind::Null)).then_some(entry)
    }

    /// One value, however written.
    pub(crate) fn any(&mut self, key: &'static str, expected: &str) -> Option<Scalar<'a>> {
        let entry = self.take(key)?;
        let place = self.entry_place(entry);
        match &entry.value.kind {
            Kind::Scalar { text, style } => Some(Scalar { text, style: *style, place }),
            Kind::List(_) => self.refuse(&place, "a list", expected),
            _ => self.refuse(&place, "a section", expected),
        }
    }

    /// One value without a word about anything else. The key still has to be read.
    pub(crate) fn optional(&mut self, key: &'static str) -> Option<Scalar<'a>> {
        let entry = self.take(key)?;
        let place = self.entry_place(entry);
        match &entry.value.kind {
            Kind::Scalar { text, style } => Some(Scalar { text, style: *style, place }),
            // Nothing reads this as any value.
            _ => Some(Scalar { text: "", style: Style::Quoted, place }),
        }
    }

    fn refuse<T>(&self, place: &Place, found: &str, expected: &str) -> Option<T> {
        self.sink.problem(place.problem(format!("{found} where one value is expected")).accepted(expected));
        None
    }

    /// A string.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        self.scalar(key, "a string").map(|scalar| scalar.text.to_owned())
    }

    /// A string and its place.
    pub(crate) fn scalar(&mut self, key: &'static str, accepted: &str) -> Option<Scalar<'a>> {
        let scalar = self.any(key, accepted)?;
        if scalar.style == Style::Bare {
            self.sink.problem(scalar.place.problem("not in quotes").value(scalar.text).accepted(accepted));
            return None;
        }
        Some(scalar)
    }

    /// Every key with its string, where keys are names of the user's own: there is nothing to [`finish`](Self::finish).
    pub(crate) fn pairs(&mut self, accepted: &str) -> Vec<(&'a str, Scalar<'a>)> {
        let mut pairs = Vec::with_capacity(self.entries.len());
        for entry in self.entries {
            let place = self.entry_place(entry);
            match &entry.value.kind {
                Kind::Scalar { text, style } if *style != Style::Bare => {
                    pairs.push((entry.key.as_str(), Scalar { text, style: *style, place }));
                }
                _ => self.sink.problem(place.problem("not a string").accepted(accepted)),
            }
        }
        pairs
    }

    /// A string that is never shown.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<Secret> {
        let scalar = self.any(key, "a string")?;
        if scalar.style == Style::Bare {
            self.sink.problem(scalar.place.problem("not in quotes").accepted("a string"));
            return None;
        }
        (!scalar.text.is_empty()).then(|| Secret::new(scalar.text))
    }

    /// A string with a meaning of its own.
    pub(crate) fn parsed<T>(
        &mut self,
        key: &'static str,
        accepted: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let scalar = self.scalar(key, accepted)?;
        match parse(scalar.text) {
            Ok(value) => Some(value),
            Err(message) => {
                self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted));
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let scalar = self.any(key, "true or false")?;
        let value = match (self.dialect, scalar.style, scalar.text) {
            (_, Style::Quoted, _) => None,
            (_, _, "true") => Some(true),
            (_, _, "false") => Some(false),
            (Dialect::Yaml, _, text) => yaml_boolean(text),
            _ => None,
        };
        if value.is_none() {
            let message = if scalar.style == Style::Quoted { IN_QUOTES } else { "not a boolean" };
            self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted("true or false"));
        }
        value
    }

    /// A whole number within bounds.
    pub(crate) fn integer(&mut self, key: &'static str, least: usize, most: usize) -> Option<usize> {
        let accepted = format!("a number from {least} to {most}");
        let scalar = self.any(key, &accepted)?;
        let value = scalar.text.parse().ok().filter(|value| (least..=most).contains(value));
        let message = match (scalar.style, value) {
            (Style::Quoted, _) => IN_QUOTES,
            (_, None) => "not such a number",
            _ => return value,
        };
        self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted));
        None
    }

    /// A number that may have a fraction, from `least` on.
    pub(crate) fn number(&mut self, key: &'static str, least: f64) -> Option<f64> {
        let accepted = if least == 0.0 { "a number, 0 or above" } else { "a number" };
        let scalar = self.any(key, accepted)?;
        let value = scalar.text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= least);
        let message = match (scalar.style, value) {
            (Style::Quoted, _) => IN_QUOTES,
            (_, None) => "not such a number",
            _ => return value,
        };
        self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted));
        None
    }

    /// Bytes: a number, or one with a unit in quotes.
    pub(crate) fn size(&mut self, key: &'static str, least: u64) -> Option<u64> {
        let scalar = self.any(key, size::ACCEPTED)?;
        let value = size::parse(scalar.text).and_then(|bytes| if bytes < least { Err("too small") } else { Ok(bytes) });
        let accepted = || match least {
            0 => size::ACCEPTED.to_owned(),
            least => format!("{}, at least {least}", size::ACCEPTED),
        };
        value
            .map_err(|message| {
                self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted()));
            })
            .ok()
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
        let (message, accepted) = match duration::parse(scalar.text) {
            Ok(Duration::ZERO) => ("must be above zero", duration::ACCEPTED),
            Ok(_) if scalar.style == Style::Bare => ("not in quotes", duration::ACCEPTED),
            Ok(value) if value < least => ("too short", range),
            Ok(value) if value > DURATION_MAX => ("too long", range),
            Ok(value) => return Some(value),
            Err(message) => (message, duration::ACCEPTED),
        };
        self.sink.problem(scalar.place.problem(message).value(scalar.text).accepted(accepted));
        None
    }

    /// Strings in a list. A single string is a list of one, and one from the environment is split at commas.
    pub(crate) fn texts(&mut self, key: &'static str, accepted: &str) -> Option<Vec<Scalar<'a>>> {
        let entry = self.take(key)?;
        let place = self.entry_place(entry);
        match &entry.value.kind {
            Kind::Scalar { text, style: Style::Loose } if self.dialect == Dialect::Toml => Some(
                text.split(',')
                    .map(str::trim)
                    .filter(|text| !text.is_empty())
                    .map(|text| Scalar { text, style: Style::Loose, place: place.clone() })
                    .collect(),
            ),
            Kind::Scalar { text, style } if *style != Style::Bare => Some(vec![Scalar { text, style: *style, place }]),
            Kind::List(items) => Some(self.list(&place, items, accepted)),
            _ => {
                self.sink.problem(place.problem("not a list of strings").accepted(accepted));
                None
            }
        }
    }

    fn list(&self, place: &Place, items: &'a [Arc<Node>], accepted: &str) -> Vec<Scalar<'a>> {
        let mut scalars = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let place = self.node_place(item, format!("{}[{index}]", place.key), item.line.or(place.line));
            match &item.kind {
                Kind::Scalar { text, style } if *style != Style::Bare => {
                    scalars.push(Scalar { text, style: *style, place });
                }
                _ => self.sink.problem(place.problem("not a string").accepted(accepted)),
            }
        }
        scalars
    }

    /// A mapping below this one.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Self> {
        let entry = self.take(key)?;
        let place = self.entry_place(entry);
        self.enter(&entry.value, place)
    }

    /// A mapping below this one; absent reads as empty.
    pub(crate) fn section_or_empty(&mut self, key: &'static str) -> Self {
        let place = self.place_of(key);
        self.section(key).unwrap_or(Self {
            dialect: self.dialect,
            sink: self.sink,
            entries: &[],
            place,
            known: Vec::new(),
        })
    }

    /// The mappings of a list.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.take(key) else { return Vec::new() };
        let place = self.entry_place(entry);
        let Kind::List(items) = &entry.value.kind else {
            let accepted = match self.dialect {
                Dialect::Yaml => format!("a list, each item starting with `- ` below `{key}:`"),
                Dialect::Toml => format!("[[{}]] tables", self.path(key)),
            };
            self.sink.problem(place.problem("not a list").accepted(accepted));
            return Vec::new();
        };
        let item_place = |(index, item): (usize, &'a Arc<Node>)| {
            self.enter(item, self.node_place(item, format!("{}[{index}]", place.key), item.line.or(place.line)))
        };
        items.iter().enumerate().filter_map(item_place).collect()
    }

    fn enter(&self, node: &'a Node, place: Place) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            self.sink.problem(place.problem("not a section").accepted("keys with values"));
            return None;
        };
        Some(Self { dialect: self.dialect, sink: self.sink, entries, place, known: Vec::new() })
    }

    /// Reads keys of `litestream.yml` whose values say nothing to us, to tell of those that Litestream cannot read.
    pub(crate) fn unused(&mut self, takes: Takes, keys: &[&'static str]) {
        for key in keys {
            let Some(entry) = self.take(key) else { continue };
            let readable = match &entry.value.kind {
                Kind::Scalar { text, style } => takes.reads(text, *style),
                _ => false,
            };
            if !readable {
                let problem = self.entry_place(entry).problem("Litestream refuses to start with it");
                self.sink.warning(problem.accepted(takes.accepted()));
            }
        }
    }

    /// Declares keys whose values say nothing to us.
    pub(crate) fn ignore(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// Reports the keys that nothing read. Their values are not shown: a misspelt key may hold a credential.
    pub(crate) fn finish(self) {
        let unknown = |entry: &&Entry| !entry.shared && !self.known.contains(&entry.key.as_str());
        for entry in self.entries.iter().filter(unknown) {
            let place = self.entry_place(entry);
            let meant = did_you_mean(&entry.key, &self.known).map(|key| format!("did you mean `{key}`?"));
            match self.dialect {
                Dialect::Yaml => {
                    let meant = meant.map(|meant| format!("; {meant}")).unwrap_or_default();
                    self.sink.warning(place.problem(format!("unknown key, which Litestream ignores{meant}")));
                }
                Dialect::Toml => {
                    let meant = meant.map(|meant| format!(", {meant}")).unwrap_or_default();
                    let mut known = self.known.clone();
                    known.sort_unstable();
                    self.sink.problem(place.problem(format!("unknown key{meant}")).accepted(known.join(", ")));
                }
            }
        }
    }
}

/// What yaml.v2 takes for a number: decimal, hexadecimal, octal or binary, with `_` between the digits.
pub(crate) fn yaml_number(text: &str) -> Option<f64> {
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let whole = |radix: u32, digits: &str| u64::from_str_radix(digits, radix).ok().map(|number| number as f64);
    let number = match digits.get(..2) {
        Some("0x") => whole(16, &digits[2..]),
        Some("0o") => whole(8, &digits[2..]),
        Some("0b") => whole(2, &digits[2..]),
        _ => digits.parse().ok().filter(|_| digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')),
    };
    number.map(|number| negative * number).filter(|number| number.abs() < i64::MAX as f64)
}

/// YAML 1.1's booleans as yaml.v2 has them.
fn yaml_boolean(text: &str) -> Option<bool> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}
