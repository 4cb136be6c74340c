//! How a number is declared.

use jiff::Timestamp;

use super::subject::{Scope, Subject};
use crate::domain::assessment::{DurationHistogram, Totals};
use crate::domain::profile::{Profile, Selection};
use crate::domain::report::{Judged, Report};

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
    /// The smallest profile that has it.
    pub profile: Profile,
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
    /// Of what follows from an assessment, and of all its databases: such numbers are exported, and no check compares them.
    OfReport(fn(&Report, &Totals, &mut Put<'_>)),
    /// The same, apart for each database with what checks say of it, and for all that is besides.
    OfJudged(fn(&Selection, Judged<'_>, &mut Put<'_>), fn(&Report, &mut Put<'_>)),
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
    number(Kind::Gauge, (scope, &[]), name, help, Read::One(read))
}

/// A counter with one value for each subject.
pub(super) const fn counter(
    scope: Scope,
    name: &'static str,
    help: &'static str,
    read: fn(Subject<'_>) -> Option<Value<'static>>,
) -> Number {
    number(Kind::Counter, (scope, &[]), name, help, Read::One(read))
}

/// A number with several values for each subject, told apart by `more` labels.
pub(super) const fn several(
    kind: Kind,
    of: (Scope, &'static [&'static str]),
    name: &'static str,
    help: &'static str,
    read: fn(Subject<'_>, &mut Put<'_>) -> Option<()>,
) -> Number {
    number(kind, of, name, help, Read::Several(read))
}

/// A gauge of the report.
pub(super) const fn of_report(
    more: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    read: fn(&Report, &Totals, &mut Put<'_>),
) -> Number {
    number(Kind::Gauge, (Scope::Agent, more), name, help, Read::OfReport(read))
}

/// A gauge of the report with values of each database, and others.
pub(super) const fn of_judged(
    more: &'static [&'static str],
    name: &'static str,
    help: &'static str,
    of_each: fn(&Selection, Judged<'_>, &mut Put<'_>),
    besides: fn(&Report, &mut Put<'_>),
) -> Number {
    number(Kind::Gauge, (Scope::Agent, more), name, help, Read::OfJudged(of_each, besides))
}

/// What is not about a database is in every profile.
const fn number(
    kind: Kind,
    (scope, more): (Scope, &'static [&'static str]),
    name: &'static str,
    help: &'static str,
    read: Read,
) -> Number {
    let of_database = matches!(scope, Scope::Database | Scope::Replica);
    let profile = if of_database { Profile::Full } else { Profile::Core };
    Number { name, kind, scope, more, help, read, profile }
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
    /// In every profile.
    pub(super) const fn core(self) -> Self {
        Self { profile: Profile::Core, ..self }
    }

    /// In the profile that is usual.
    pub(super) const fn standard(self) -> Self {
        Self { profile: Profile::Standard, ..self }
    }

    /// All its labels, in the order of the exposition.
    pub fn labels(&self) -> impl Iterator<Item = &'static str> + Clone {
        self.scope.labels().iter().chain(self.more).copied()
    }
}
