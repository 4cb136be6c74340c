//! YAML as Litestream's yaml.v2 reads it into Go's structs: the first document only, anchors work, and keys are read in
//! their order, those that `<<` merges at its place. What is read later counts; a section is read over the one before it.
//! Scalars keep their text, because only the key decides whether `0123` is a number.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::domain::limits::{YAML_DEPTH_MAX, YAML_NODES_MAX};

use crate::infrastructure::config::problem::{Place, Sink, shown_key};
use crate::infrastructure::config::source::node::{Entry, Kind, Node, Style};

/// Reads the first document. `None` after a syntax error, which `sink` then holds.
pub(crate) fn parse(text: &str, file: &Arc<str>, sink: &Sink) -> Option<Arc<Node>> {
    let mut builder = Builder { file, sink, stack: Vec::new(), anchors: HashMap::new(), nodes: 0, root: None };
    let mut parser = Parser::new_from_str(text);
    let mut started = false;
    let failed = |line: usize, message: &str| {
        sink.problem(Place { line: Some(line), ..Place::file(file) }.problem(message));
        None
    };
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => return failed(error.marker().line(), &format!("not YAML: {}", error.info())),
        };
        match event {
            // Whatever follows the first document, even garbage, is not read.
            Event::DocumentEnd => break,
            Event::DocumentStart(..) => started = true,
            event if started => {
                if let Err(message) = builder.add(event, span) {
                    return failed(span.start.line(), message);
                }
            }
            _ => {}
        }
    }
    Some(builder.root.unwrap_or_else(|| node(None, Kind::Null)))
}

fn node(line: Option<usize>, kind: Kind) -> Arc<Node> {
    Arc::new(Node { line, origin: None, kind })
}

/// A collection whose end has not come yet.
enum Open {
    List { line: usize, anchor: usize, items: Vec<Arc<Node>> },
    Map { line: usize, anchor: usize, entries: Entries, key: Option<Key> },
}

/// The entries of a mapping, each key once.
#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    at: HashMap<String, usize>,
    /// Those that are not merged.
    written: HashSet<String>,
}

impl Entries {
    /// Reads a key after those before it, as Go does: a section over the one that is there, anything else in its place.
    /// Answers how many values that took.
    fn put(&mut self, entry: Entry) -> usize {
        let Some(at) = self.at.get(&entry.key) else {
            self.at.insert(entry.key.clone(), self.list.len());
            self.list.push(entry);
            return 1;
        };
        let known = &mut self.list[*at];
        let (Kind::Map(below), Kind::Map(above)) = (&known.value.kind, &entry.value.kind) else {
            *known = entry;
            return 1;
        };
        let mut both = Self::default();
        let values = below.iter().chain(above).map(|entry| both.put(entry.clone())).sum();
        known.line = entry.line;
        known.value = node(entry.value.line, Kind::Map(both.list));
        values
    }

    fn replaces(&self, key: &str, value: &Node) -> Option<&Entry> {
        let known = &self.list[*self.at.get(key)?];
        let both = matches!((&known.value.kind, &value.kind), (Kind::Map(_), Kind::Map(_)));
        (!both).then_some(known)
    }
}

/// A key that waits for its value.
struct Key {
    name: String,
    line: usize,
    /// A plain `<<`.
    merge: bool,
}

struct Builder<'a> {
    file: &'a Arc<str>,
    sink: &'a Sink,
    stack: Vec<Open>,
    anchors: HashMap<usize, (Arc<Node>, usize)>,
    /// Nodes of the document with every alias written out.
    nodes: usize,
    root: Option<Arc<Node>>,
}

impl Builder<'_> {
    fn add(&mut self, event: Event<'_>, span: Span) -> Result<(), &'static str> {
        let line = span.start.line();
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain) && tag.is_none();
                let merge = plain && text == "<<";
                let null = plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let kind = if null {
                    Kind::Null
                } else {
                    let style = if plain { Style::Loose } else { Style::Quoted };
                    Kind::Scalar { text: text.into_owned(), style }
                };
                self.complete(node(Some(line), kind), line, anchor, 1, merge)
            }
            Event::Alias(anchor) => {
                let (node, size) =
                    self.anchors.get(&anchor).cloned().ok_or("an alias of something that contains it")?;
                self.complete(node, line, 0, size, false)
            }
            Event::SequenceStart(_, anchor, _) => self.open(Open::List { line, anchor, items: Vec::new() }),
            Event::MappingStart(_, anchor, _) => {
                self.open(Open::Map { line, anchor, entries: Entries::default(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            _ => Ok(()),
        }
    }

    fn open(&mut self, collection: Open) -> Result<(), &'static str> {
        // Later code walks and drops the tree by recursion.
        if self.stack.len() >= YAML_DEPTH_MAX {
            return Err("nested too deeply");
        }
        self.stack.push(collection);
        Ok(())
    }

    fn close(&mut self) -> Result<(), &'static str> {
        match self.stack.pop() {
            Some(Open::List { line, anchor, items }) => {
                self.complete(node(Some(line), Kind::List(items)), line, anchor, 1, false)
            }
            Some(Open::Map { line, anchor, entries, .. }) => {
                self.complete(node(Some(line), Kind::Map(entries.list)), line, anchor, 1, false)
            }
            None => Err("an end without a start"),
        }
    }

    fn grow(&mut self, nodes: usize) -> Result<(), &'static str> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > YAML_NODES_MAX { Err("too many values, aliases written out") } else { Ok(()) }
    }

    /// Puts a finished node where it belongs.
    fn complete(
        &mut self,
        done: Arc<Node>,
        line: usize,
        anchor: usize,
        size: usize,
        merge_key: bool,
    ) -> Result<(), &'static str> {
        self.grow(size)?;
        if anchor != 0 {
            self.anchors.insert(anchor, (Arc::clone(&done), expanded_size(&done)));
        }
        let place = |line: Option<usize>, key: &str| Place {
            file: Arc::clone(self.file),
            line,
            key: shown_key(key).to_owned(),
        };
        let mut values = 0;
        match self.stack.last_mut() {
            None => self.root = Some(done),
            Some(Open::List { items, .. }) => items.push(done),
            Some(Open::Map { entries, key, .. }) => match key.take() {
                None => *key = Some(Key { name: key_name(&done)?, line, merge: merge_key }),
                Some(Key { merge: true, .. }) => {
                    let mut merged = Vec::new();
                    merge(&done, &mut merged)?;
                    for entry in merged {
                        let written = entries.written.contains(&entry.key);
                        if let Some(known) = entries.replaces(&entry.key, &entry.value).filter(|_| written) {
                            let message = "replaced by the `<<` after it, because Litestream reads one after the \
                                           other; put `<<` first to keep it";
                            self.sink.warning(place(known.line, &entry.key).problem(message));
                        }
                        values += entries.put(entry);
                    }
                }
                Some(Key { name, line, .. }) => {
                    if !entries.written.insert(name.clone()) {
                        let both = entries.replaces(&name, &done).is_none();
                        let count = if both { "this one overrides it" } else { "the last one counts" };
                        let message = format!("given twice in the same place; {count}");
                        self.sink.warning(place(Some(line), &name).problem(message));
                    }
                    values += entries.put(Entry { key: name, line: Some(line), value: done, shared: anchor != 0 });
                }
            },
        }
        self.grow(values)
    }
}

/// Nodes below and including this one, aliases written out, up to the bound.
fn expanded_size(node: &Node) -> usize {
    let mut size = 0_usize;
    let mut waiting = vec![node];
    while let Some(node) = waiting.pop() {
        size += 1;
        if size > YAML_NODES_MAX {
            break;
        }
        match &node.kind {
            Kind::List(items) => waiting.extend(items.iter().map(|item| &**item)),
            Kind::Map(entries) => waiting.extend(entries.iter().map(|entry| &*entry.value)),
            Kind::Null | Kind::Scalar { .. } => {}
        }
    }
    size
}

fn key_name(node: &Node) -> Result<String, &'static str> {
    match &node.kind {
        Kind::Scalar { text, .. } => Ok(text.clone()),
        Kind::Null => Ok(String::new()),
        Kind::List(_) | Kind::Map(_) => Err("a key that is not a plain word"),
    }
}

/// Adds the entries of what `<<` names: a mapping, or a list of them of which the first counts most.
fn merge(source: &Node, into: &mut Vec<Entry>) -> Result<(), &'static str> {
    match &source.kind {
        Kind::Map(entries) => {
            if into.len() + entries.len() > YAML_NODES_MAX {
                return Err("too many values, aliases written out");
            }
            into.extend_from_slice(entries);
            Ok(())
        }
        // The first counts most, and so comes last.
        Kind::List(items) if items.iter().all(|item| matches!(item.kind, Kind::Map(_))) => {
            items.iter().rev().try_for_each(|item| merge(item, into))
        }
        _ => Err("`<<` without a mapping to merge"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::infrastructure::config::problem::Collected;

    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "null".to_owned(),
            Kind::Scalar { text, style: Style::Quoted } => format!("{text:?}"),
            Kind::Scalar { text, .. } => text.clone(),
            Kind::List(items) => format!("[{}]", items.iter().map(|item| show(item)).collect::<Vec<_>>().join(" ")),
            Kind::Map(entries) => {
                let entries = entries.iter().map(|entry| format!("{}={}", entry.key, show(&entry.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn read(text: &str) -> String {
        let sink = Sink::default();
        let node = parse(text, &"f.yml".into(), &sink);
        let Collected { problems, warnings, .. } = sink.into_parts();
        let mut out: Vec<String> = node.iter().map(|node| show(node)).collect();
        out.extend(problems.iter().chain(&warnings).map(ToString::to_string));
        out.join(" | ")
    }

    #[test]
    fn keeps_the_text_of_scalars() {
        assert_eq!(
            read("a: 0123\nb: '0123'\nc: 1e3\nd: yes\ne:\nf: ~\ng: \"\"\nh: !!str 5\n"),
            r#"{a=0123 b="0123" c=1e3 d=yes e=null f=null g="" h="5"}"#
        );
    }

    #[test]
    fn reads_the_first_document_only() {
        assert_eq!(read("---\na: 1\n---\nb: [\n"), "{a=1}");
        assert_eq!(read("a: 1\n...\n]]]"), "{a=1}");
        assert_eq!(read(""), "null");
        assert_eq!(read("# only a comment\n"), "null");
    }

    #[test]
    fn the_last_duplicate_counts_and_is_noticed() {
        assert_eq!(read("a: 1\na: 2\n"), "{a=2} | f.yml:2: a: given twice in the same place; the last one counts");
        assert_eq!(
            read("a: {b: 1, c: 1}\na: {c: 2}\n"),
            "{a={b=1 c=2}} | f.yml:2: a: given twice in the same place; this one overrides it"
        );
    }

    #[test]
    fn merges_where_the_merge_stands() {
        assert_eq!(read("x: &x {a: 1, b: 2}\ny:\n  <<: *x\n  b: 3\n"), "{x={a=1 b=2} y={a=1 b=3}}");
        assert_eq!(
            read("x: &x {a: 1, b: 2}\ny:\n  b: 3\n  <<: *x\n"),
            "{x={a=1 b=2} y={b=2 a=1}} | f.yml:3: b: replaced by the `<<` after it, because Litestream reads one after \
             the other; put `<<` first to keep it"
        );
        assert_eq!(read("x: &x {a: {b: 1, c: 2}}\ny: {<<: *x, a: {b: 3}}\n"), "{x={a={b=1 c=2}} y={a={b=3 c=2}}}");
        assert_eq!(read("a: &a {k: 1}\nb: &b {k: 2}\nc: {<<: [*a, *b]}\n"), "{a={k=1} b={k=2} c={k=1}}");
        for merged in ["5", "[5]", "[{a: 1}, 5]"] {
            assert_eq!(read(&format!("a: {{<<: {merged}}}")), "f.yml:1: `<<` without a mapping to merge");
        }
    }

    #[test]
    fn says_where_the_syntax_is_wrong() {
        let answer = read("a: 1\nb: [1,\n");
        assert!(answer.starts_with("f.yml:") && answer.contains("not YAML: "), "{answer}");
        assert_eq!(read("a: &a\n  b: *a\n"), "f.yml:2: an alias of something that contains it");
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&text).contains("too many values, aliases written out"), "{}", read(&text));
        let merges = format!("a: &a {{{}}}\nb:\n", (0..5_000).map(|n| format!("k{n}: 1, ")).collect::<String>());
        let merges = merges + &"  - {<<: *a}\n".repeat(5_000);
        assert!(read(&merges).contains("too many values"), "{}", &read(&merges)[..200]);
        let again: String = (0..20_000).map(|n| format!("a: {{k{n}: 1}}\n")).collect();
        assert!(read(&again).contains("too many values"), "{}", &read(&again)[..200]);
    }

    #[test]
    fn deep_nesting_is_refused() {
        let flow = "[".repeat(100_000);
        assert!(read(&flow).contains("f.yml:1"), "{}", read(&flow));
        let block: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        assert!(read(&block).contains("nested too deeply"), "{}", &read(&block)[..100]);
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-a-c:&*<{}\\[\\]|>'\"!#%?,. \n\t]{0,80}") {
            read(&text);
        }

        #[test]
        fn never_panics_on_any_text(text in "\\PC{0,80}") {
            read(&text);
        }
    }
}
