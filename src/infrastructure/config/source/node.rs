//! The tree that every source becomes: values with their places, and how each was written.

use std::sync::Arc;

use crate::infrastructure::config::problem::Place;

/// The two languages, where they differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// yaml.v2 into Go structs: unknown keys are ignored (we warn), `yes` is a boolean, an integer is a duration in
    /// nanoseconds.
    Yaml,
    /// Unknown keys are errors.
    Toml,
}

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
    /// The environment variable or the flag that set it, where it was one of them.
    pub(crate) origin: Option<Place>,
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) line: Option<usize>,
    pub(crate) value: Arc<Node>,
    /// It has an anchor, and may be there only to be used elsewhere.
    pub(crate) shared: bool,
}

/// One scalar and where it stands.
pub(crate) struct Scalar<'a> {
    pub(crate) text: &'a str,
    pub(crate) style: Style,
    pub(crate) place: Place,
}
