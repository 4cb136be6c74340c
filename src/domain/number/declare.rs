//! How a number is declared.

use jiff::Timestamp;

use super::subject::{Scope, Subject};
use crate::domain::assessment::DurationHistogram;
use crate::domain::report::Report;

/// Everything that there is to say about one number, which is one family of metrics, and how it is read.
#[derive(Debug)]
pub struct Number {
    /// As it is written in a query. Ends in `_total` for counters and `_info` for infos; the unit is the last word
    /// before that.
    pub name: &'static str,
    pub kind: Kind,
    /// What it is a number of.
    pub scope: Scope,
    /// Its labels besides those of its scope.
    pub more: &'static [&'static str],
    /// One sentence that says what the number is. Plain ASCII without quotes and backslashes: the encoder does not
    /// escape it.
    pub help: &'static str,
    pub read: Read,
}

words! {
    /// The type of a family of metrics.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        Counter = "counter",
        Gauge = "gauge",
        Histogram = "histogram",
        Info = "info",
    }
}

/// How a number is read. What is unknown has no value.
#[derive(Clone, Copy, Debug)]
pub enum Read {
    /// The one value of a subject.
    One(fn(Subject<'_>) -> Option<Value<'static>>),
    /// Values of a subject, each with those of the labels besides its own. What returns early has told everything.
    Several(fn(Subject<'_>, &mut Put<'_>) -> Option<()>),
    /// Of what follows from an assessment: such numbers are exported, and no check compares them.
    OfReport(fn(&Report, &mut Put<'_>)),
}

/// Takes values with those of their labels.
pub type Put<'a> = dyn FnMut(&[&str], Option<Value<'_>>) + 'a;

/// A value of a number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The value of an info, whose labels say everything, is 1.
    Int(u64),
    Float(f64),
    Histogram(&'a DurationHistogram),
}

impl Value<'_> {
    /// `None` for what is more than a number.
    pub fn as_f64(self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            Self::Histogram(_) => None,
        }
    }
}

/// A gauge with one value for each subject.
pub(super) const fn gauge(
    scope: Scope,
    name: &'static str,
    help: &'static str,
    read: fn(Subject<'_>) -> Option<Value<'static>>,
) -> Number {
    Number { name, kind: Kind::Gauge, scope, more: &[], help, read: Read::One(read) }
}

/// A counter with one value for each subject.
pub(super) const fn counter(
    scope: Scope,
    name: &'static str,
    help: &'static str,
    read: fn(Subject<'_>) -> Option<Value<'static>>,
) -> Number {
    Number { name, kind: Kind::Counter, scope, more: &[], help, read: Read::One(read) }
}

/// A number with several values for each subject, told apart by `more` labels.
pub(super) const fn several(
    kind: Kind,
    (scope, more): (Scope, &'static [&'static str]),
    name: &'static str,
    help: &'static str,
    read: fn(Subject<'_>, &mut Put<'_>) -> Option<()>,
) -> Number {
    Number { name, kind, scope, more, help, read: Read::Several(read) }
}

/// A gauge of the report.
pub(super) const fn of_report(
    more: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    read: fn(&Report, &mut Put<'_>),
) -> Number {
    Number { name, kind: Kind::Gauge, scope: Scope::Agent, more, help, read: Read::OfReport(read) }
}

/// What may be the value of a number.
pub(super) trait Known {
    /// `None` where it is unknown.
    fn known(self) -> Option<Value<'static>>;
}

impl<T: Known> Known for Option<T> {
    fn known(self) -> Option<Value<'static>> {
        self?.known()
    }
}

/// What is exported as a whole number; `true` is 1.
macro_rules! whole {
    ($($number:ty),*) => {
        $(impl Known for $number {
            fn known(self) -> Option<Value<'static>> {
                Some(Value::Int(self as u64))
            }
        })*
    };
}

whole!(u64, u32, usize, bool);

impl Known for f64 {
    fn known(self) -> Option<Value<'static>> {
        Some(Value::Float(self))
    }
}

/// An instant as Prometheus has it.
impl Known for Timestamp {
    fn known(self) -> Option<Value<'static>> {
        seconds(self).known()
    }
}

/// An instant as Prometheus has it: seconds since 1970, to the millisecond.
pub fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

impl Number {
    /// All its labels, in the order of the exposition.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.scope.labels().iter().chain(self.more).copied()
    }
}
