//! Configurations and what stands in them, called with any bytes by the fuzz targets and the property tests. Paths lead nowhere:
//! nothing is read but the text.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::{Place, Sink};
use super::source::node::{Dialect, Kind, Node};
use super::source::{expand, yaml};
use super::value::paths::Base;
use super::value::section::Section;
use super::value::{duration, label, size, times, url};
use super::{Input, litestream, own_of, replica};
use crate::domain::limits::{YAML_DEPTH_MAX, YAML_NODES_MAX};

const NOWHERE: &str = "/nonexistent/streamgauge";

fn base() -> Base {
    Base::new(NOWHERE.into(), None)
}

/// A `litestream.yml`.
pub fn litestream(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let environment = BTreeMap::from([("HOME".to_owned(), "a: &b {c: *b}\n".to_owned())]);
    let limit = bytes.len().saturating_mul(2);
    let Some(expanded) = expand::expand(text, &environment, limit) else { return };
    assert!(expanded.text.len() <= limit.max(text.len()), "no more than was allowed");
    let (file, sink, base): (Arc<str>, _, _) = ("litestream.yml".into(), Sink::default(), base());
    let Some(root) = yaml::parse(&expanded.text, &file, &sink) else {
        return assert!(!sink.is_clean(), "what is not read has a reason");
    };
    assert!(nodes(&root, 0) <= YAML_NODES_MAX);
    // Directories of this machine are none of its business.
    if !expanded.text.contains("dir") && !expanded.text.contains(['\\', '!']) {
        let context =
            replica::Context { base: &base, path_map: &[], environment: &environment, v03: false, below: false };
        litestream::read(&root, &file, &context, &sink);
    }
}

/// How many nodes there are, each as often as it is named.
fn nodes(node: &Node, depth: usize) -> usize {
    assert!(depth <= YAML_DEPTH_MAX);
    match &node.kind {
        Kind::List(items) => 1 + items.iter().map(|item| nodes(item, depth + 1)).sum::<usize>(),
        Kind::Map(entries) => 1 + entries.iter().map(|entry| nodes(&entry.value, depth + 1)).sum::<usize>(),
        _ => 1,
    }
}

/// A `streamgauge.toml`.
pub fn own(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (input, sink) = (Input::default(), Sink::default());
    own_of(Some(("streamgauge.toml".into(), text.to_owned())), &input, &base(), &sink);
}

/// Durations, sizes, times, labels, addresses and patterns. What is shown of an address has no password in it.
pub fn values(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = (duration::parse(text), duration::parse_go(text), size::parse(text), size::is_litestreams(text));
    let _ = (times::day(text), times::instant(text), times::window(text), label::parse(text));
    let (pattern, name) = text.split_once('\n').unwrap_or((text, text));
    assert!(litestream::glob::check(pattern).is_ok() || litestream::glob::matches(pattern, name).is_err());
    let shown = url::redact(text);
    if let Ok(parsed) = url::Url::parse(text)
        && let Some(password) = parsed.password()
    {
        // A password that stands elsewhere as well is no secret there.
        let alone = password.expose().len() > 8 && text.matches(password.expose()).count() == 1;
        assert!(!alone || !shown.contains(password.expose()), "{text:?} is shown as {shown:?}");
    }
}

/// Any node as a section of any dialect.
pub fn sections(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (file, sink): (Arc<str>, _) = ("x".into(), Sink::default());
    let Some(root) = yaml::parse(text, &file, &sink) else { return };
    for dialect in [Dialect::Yaml, Dialect::Toml] {
        let mut section = Section::root(&root, dialect, &file, &sink);
        let _ = (section.duration("a"), section.size("b", 1), section.boolean("c"), section.number("d", 0.0));
        let _ = (section.texts("e", "").map(|texts| texts.len()), section.sections("f").len(), section.name("g"));
    }
    sink.problem(Place::file(&file).problem("in the end"));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_break_a_parser(bytes: Vec<u8>) {
            for target in [litestream, own, values, sections] {
                target(&bytes);
            }
        }

        #[test]
        fn no_text_breaks_a_parser(text in "([-\\[\\]{}:,&*<$\"'#|> \n=.]|dbs|path|replica|url|s3://|1h|x){0,40}") {
            for target in [litestream, own, values, sections] {
                target(text.as_bytes());
            }
        }
    }
}
