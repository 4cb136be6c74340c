//! The layers of our own configuration, merged by the `config` crate: file, then environment, then flags. Defaults are
//! the reader's ([`super::super::own`]). What merging forgets, the place of each value, is kept beside it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use config::{Environment, Map, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use crate::infrastructure::config::problem::{Place, Sink};
use crate::infrastructure::config::source::node::{Entry, Kind, Node, Style};

/// Before every environment variable that is ours, `STREAMGAUGE__WEB__LISTEN_ADDRESS`. Two underscores: one would make
/// `STREAMGAUGE_CONFIG_FILE` and the like keys.
pub(crate) const PREFIX: &str = "STREAMGAUGE__";

/// A flag that overrides a key: `("web.listen-address", ["127.0.0.1:10099"])`.
pub(crate) type Override = (&'static str, Vec<String>);

/// Merges the layers into one tree. Mistakes of syntax are in `sink`.
pub(crate) fn merge(
    file: Option<(&Arc<str>, &str)>,
    environment: &BTreeMap<String, String>,
    flags: &[Override],
    sink: &Sink,
) -> Arc<Node> {
    let mut places = Places::default();
    let mut builder = config::Config::builder();
    if let Some((name, text)) = file {
        let mut tree = config::Config::default();
        tree.cache = places.read_toml(name, text, sink).into();
        builder = builder.add_source(tree);
    }
    builder = builder
        .add_source(Environment::default().separator("__").source(Some(places.read_environment(environment, sink))));
    flags.iter().for_each(|(key, _)| places.flag(key));
    let merged = flags.iter().try_fold(builder, |builder, (key, values)| match values.as_slice() {
        // A key with one value is given as one value: the reader makes a list of it where it needs one.
        [value] => builder.set_override(*key, value.clone()),
        values => builder.set_override(*key, values.to_vec()),
    });
    match merged.and_then(|builder| builder.build()) {
        Ok(merged) => places.node("", &merged.cache, None),
        Err(error) => {
            sink.problem(Place::file(&"configuration".into()).problem(error.to_string()));
            Arc::new(Node { line: None, origin: None, kind: Kind::Null })
        }
    }
}

/// The flags that are not called as their key is.
const FLAGS: [(&str, &str); 2] = [("shard", "watch.shard"), ("web.config.file", "web.config-file")];

/// Where each key was last set, by its path: `database[2].path`.
#[derive(Default)]
struct Places(HashMap<String, Where>);

enum Where {
    Line(usize),
    /// An environment variable or a flag.
    Other(Place),
}

impl Places {
    fn read_toml(&mut self, file: &Arc<str>, text: &str, sink: &Sink) -> Map<String, Value> {
        let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let lines = |offset: usize| 1 + starts.partition_point(|start| *start <= offset);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let line = error.span().map(|span| lines(span.start));
            let message = format!("not TOML: {}", error.message().replace('\n', ", "));
            sink.problem(Place { line, ..Place::file(file) }.problem(message));
        }
        if !errors.is_empty() {
            // What the parser guesses behind an error makes no sense to a person.
            return Map::new();
        }
        let mut top = self.table("", table.into_inner(), &lines);
        // The crate takes these for path expressions, where `x[999999999]` would make a list of that length.
        top.retain(|key, _| {
            let word = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            if !word {
                let place = Place { line: self.line(key), ..Place::file(file) };
                sink.problem(place.problem("a key that is not a plain word"));
            }
            word
        });
        top
    }

    fn table(&mut self, path: &str, table: DeTable<'_>, lines: &dyn Fn(usize) -> usize) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in table {
            let line = lines(key.span().start);
            let key = key.into_inner().into_owned();
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let value = self.value(&path, value.into_inner(), lines);
            self.0.insert(path, Where::Line(line));
            map.insert(key, value);
        }
        map
    }

    fn value(&mut self, path: &str, value: DeValue<'_>, lines: &dyn Fn(usize) -> usize) -> Value {
        let kind = match value {
            DeValue::String(text) => ValueKind::from(text.into_owned()),
            DeValue::Boolean(value) => ValueKind::from(value),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or_else(|_| number.as_str().parse().map_or(ValueKind::Nil, ValueKind::Float), ValueKind::from),
            DeValue::Float(number) => number.as_str().parse().map_or(ValueKind::Nil, ValueKind::Float),
            DeValue::Datetime(moment) => ValueKind::from(moment.to_string()),
            DeValue::Table(table) => ValueKind::from(self.table(path, table, lines)),
            DeValue::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    self.0.insert(path.clone(), Where::Line(lines(item.span().start)));
                    list.push(self.value(&path, item.into_inner(), lines));
                }
                ValueKind::from(list)
            }
        };
        Value::new(None, kind)
    }

    /// Our variables without their prefix, for the crate to split into keys.
    fn read_environment(&mut self, environment: &BTreeMap<String, String>, sink: &Sink) -> Map<String, String> {
        let mut ours = Map::new();
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(PREFIX) else { continue };
            let place = Place { file: "environment".into(), line: None, key: name.clone() };
            let parts: Vec<&str> = key.split("__").collect();
            let word = |part: &&str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && !part.is_empty();
            if !parts.iter().all(word) {
                sink.problem(place.problem("not a key").accepted(format!("{PREFIX}SECTION__KEY")));
                continue;
            }
            let parts: Vec<String> = parts.iter().map(|part| part.to_lowercase().replace('_', "-")).collect();
            self.0.insert(parts.join("."), Where::Other(place));
            ours.insert(parts.join("__"), value.clone());
        }
        ours
    }

    fn flag(&mut self, key: &str) {
        let flag = FLAGS.iter().find(|(_, of)| *of == key).map_or(key, |(flag, _)| flag);
        let place = Place { file: "command line".into(), line: None, key: format!("--{flag}") };
        self.0.insert(key.to_owned(), Where::Other(place));
    }

    fn line(&self, path: &str) -> Option<usize> {
        match self.0.get(path) {
            Some(Where::Line(line)) => Some(*line),
            _ => None,
        }
    }

    fn node(&self, path: &str, value: &Value, inherited: Option<&Place>) -> Arc<Node> {
        let origin = inherited.or_else(|| match self.0.get(path) {
            Some(Where::Other(origin)) => Some(origin),
            _ => None,
        });
        let style = if origin.is_some() { Style::Loose } else { Style::Quoted };
        let kind = match &value.kind {
            ValueKind::Nil => Kind::Null,
            ValueKind::String(text) => Kind::Scalar { text: text.clone(), style },
            ValueKind::Array(items) => {
                let below = |(index, item): (usize, &Value)| self.node(&format!("{path}[{index}]"), item, origin);
                Kind::List(items.iter().enumerate().map(below).collect())
            }
            ValueKind::Table(table) => {
                let below = |(key, value): (&String, &Value)| {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    let value = self.node(&path, value, None);
                    Entry { key: key.clone(), line: self.line(&path), value, shared: false }
                };
                let mut entries: Vec<Entry> = table.iter().map(below).collect();
                entries.sort_by(|a, b| (a.line, &a.key).cmp(&(b.line, &b.key)));
                Kind::Map(entries)
            }
            other => Kind::Scalar { text: other.to_string(), style: Style::Bare },
        };
        Arc::new(Node { line: self.line(path), origin: origin.cloned(), kind })
    }
}
