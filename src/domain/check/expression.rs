//! Conditions of checks: numbers compared with each other, evaluated here and written as PromQL.
//!
//! Both readings have to agree. What is absent in the one is absent in the other: a condition over an unknown number does
//! not hold. All numbers of one condition have the labels of one [`Scope`] and no others.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

use crate::domain::number::{Number, Read, Scope, Subject, Value, seconds};

/// How one number is made of the values of one that has more labels than its subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The one with this value of this label.
    Where(&'static str, &'static str),
    /// The sum over this label.
    Sum(&'static str),
    /// The smallest over this label.
    Min(&'static str),
}

impl Fold {
    /// The label over which it goes.
    pub fn label(self) -> &'static str {
        let (Self::Where(label, _) | Self::Sum(label) | Self::Min(label)) = self;
        label
    }
}

/// Arithmetic over numbers.
#[derive(Clone, Copy, Debug)]
pub enum Term {
    Of(&'static Number),
    Folded(&'static Number, Fold),
    Constant(f64),
    /// Seconds since 1970.
    Now,
    /// How long ago an instant was, in seconds.
    Age(&'static Number),
    Times(&'static Number, f64),
    /// Without its sign.
    Absolute(&'static Number),
    Sum(&'static Self, &'static Self),
    Difference(&'static Self, &'static Self),
    /// The first, or the second where the first is unknown.
    Else(&'static Number, &'static Number),
}

/// The one value of a subject.
fn one(number: &Number, subject: Subject<'_>) -> Option<f64> {
    match number.read {
        Read::One(read) => read(subject).and_then(Value::as_f64),
        Read::Several(_) | Read::OfReport(_) | Read::OfJudged(..) => None,
    }
}

fn folded(number: &Number, fold: Fold, subject: Subject<'_>) -> Option<f64> {
    let Read::Several(read) = number.read else { return None };
    let place = number.more.iter().position(|label| *label == fold.label())?;
    let mut found: Option<f64> = None;
    read(subject, &mut |labels, value| {
        let Some(value) = value.and_then(Value::as_f64) else { return };
        found = match (fold, found) {
            (Fold::Where(_, wanted), _) if labels[place] != wanted => return,
            (Fold::Min(_), Some(before)) => Some(before.min(value)),
            (_, before) => Some(before.unwrap_or(0.0) + value),
        };
    });
    found
}

impl Term {
    /// Holds while it is above the other.
    pub const fn above(self, other: Self) -> Condition {
        Condition::Compare(self, Comparison { sign: ">", holds: |one, other| one > other }, other)
    }

    /// Holds while it is below the other.
    pub const fn below(self, other: Self) -> Condition {
        Condition::Compare(self, Comparison { sign: "<", holds: |one, other| one < other }, other)
    }

    /// Holds while it is above a constant.
    pub const fn exceeds(self, bound: f64) -> Condition {
        self.above(Self::Constant(bound))
    }

    /// Holds while it is a constant.
    pub const fn is(self, constant: f64) -> Condition {
        Condition::Compare(self, Comparison { sign: "==", holds: |one, other| one == other }, Self::Constant(constant))
    }

    /// `None` when a number that it needs is unknown.
    pub fn value(&self, subject: Subject<'_>, now: Timestamp) -> Option<f64> {
        let of = |term: &Self| term.value(subject, now);
        let number = |number: &Number| one(number, subject);
        match self {
            Self::Of(it) => number(it),
            Self::Folded(it, fold) => folded(it, *fold, subject),
            Self::Constant(constant) => Some(*constant),
            Self::Now => Some(seconds(now)),
            Self::Age(at) => Some(seconds(now) - number(at)?),
            Self::Times(it, factor) => Some(number(it)? * factor),
            Self::Absolute(it) => number(it).map(f64::abs),
            Self::Sum(one, other) => Some(of(one)? + of(other)?),
            Self::Difference(one, other) => Some(of(one)? - of(other)?),
            Self::Else(one, other) => number(one).or_else(|| number(other)),
        }
    }

    /// Time alone makes another value of it.
    fn follows_time(&self) -> bool {
        match self {
            Self::Now | Self::Age(_) => true,
            Self::Of(_)
            | Self::Folded(..)
            | Self::Constant(_)
            | Self::Times(..)
            | Self::Absolute(_)
            | Self::Else(..) => false,
            Self::Sum(one, other) | Self::Difference(one, other) => one.follows_time() || other.follows_time(),
        }
    }

    /// The numbers that it is made of, each as it is read.
    #[cfg(test)]
    fn leaves(self) -> Vec<Self> {
        match self {
            Self::Of(_) | Self::Folded(..) => vec![self],
            Self::Age(it) | Self::Times(it, _) | Self::Absolute(it) => vec![Self::Of(it)],
            Self::Constant(_) | Self::Now => Vec::new(),
            Self::Else(one, other) => vec![Self::Of(one), Self::Of(other)],
            Self::Sum(one, other) | Self::Difference(one, other) => [one.leaves(), other.leaves()].concat(),
        }
    }

    fn scope(&self) -> Option<Scope> {
        match self {
            Self::Of(it) | Self::Folded(it, _) | Self::Age(it) | Self::Times(it, _) => Some(it.scope),
            Self::Absolute(it) | Self::Else(it, _) => Some(it.scope),
            Self::Constant(_) | Self::Now => None,
            Self::Sum(one, other) | Self::Difference(one, other) => one.scope().or_else(|| other.scope()),
        }
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(Number { name, .. }) => f.write_str(name),
            Self::Folded(Number { name, .. }, fold) => match fold {
                Fold::Where(label, value) => write!(f, "sum without ({label}) ({name}{{{label}=\"{value}\"}})"),
                Fold::Sum(label) => write!(f, "sum without ({label}) ({name})"),
                Fold::Min(label) => write!(f, "min without ({label}) ({name})"),
            },
            Self::Constant(constant) => constant.fmt(f),
            Self::Now => f.write_str("time()"),
            Self::Age(Number { name, .. }) => write!(f, "(time() - {name})"),
            Self::Times(Number { name, .. }, factor) => write!(f, "({name} * {factor})"),
            Self::Absolute(Number { name, .. }) => write!(f, "abs({name})"),
            Self::Sum(one, other) => write!(f, "({one} + {other})"),
            Self::Difference(one, other) => write!(f, "({one} - {other})"),
            Self::Else(one, other) => write!(f, "({} or {})", one.name, other.name),
        }
    }
}

impl Number {
    /// Holds while it is above the other.
    pub const fn above(&'static self, other: &'static Self) -> Condition {
        Term::Of(self).above(Term::Of(other))
    }

    /// Holds while it is above a constant.
    pub const fn exceeds(&'static self, bound: f64) -> Condition {
        Term::Of(self).exceeds(bound)
    }

    /// Holds while it is above zero.
    pub const fn any(&'static self) -> Condition {
        self.exceeds(0.0)
    }

    /// Holds while it is a constant.
    pub const fn is(&'static self, constant: f64) -> Condition {
        Term::Of(self).is(constant)
    }
}

/// How two numbers are compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// In PromQL.
    sign: &'static str,
    holds: fn(f64, f64) -> bool,
}

/// When a check fails.
#[derive(Clone, Copy, Debug)]
pub enum Condition {
    Compare(Term, Comparison, Term),
    /// All of them; the value is that of the first.
    All(&'static [Self]),
    /// One of them; the value is that of the first that holds.
    Any(&'static [Self]),
    /// The first, where the second does not hold.
    Except(&'static Self, &'static Self),
    /// A condition that only Prometheus can see, in PromQL.
    Outside(&'static str),
}

impl Condition {
    /// The number that is compared, where the condition holds.
    pub fn value(&self, subject: Subject<'_>, now: Timestamp) -> Option<f64> {
        match self {
            Self::Compare(one, comparison, other) => {
                let (one, other) = (one.value(subject, now)?, other.value(subject, now)?);
                (comparison.holds)(one, other).then_some(one)
            }
            Self::All(conditions) => {
                let mut values = conditions.iter().map(|condition| condition.value(subject, now));
                let first = values.next()??;
                values.all(|value| value.is_some()).then_some(first)
            }
            Self::Any(conditions) => conditions.iter().find_map(|condition| condition.value(subject, now)),
            Self::Except(condition, exception) => {
                condition.value(subject, now).filter(|_| exception.value(subject, now).is_none())
            }
            Self::Outside(_) => None,
        }
    }

    /// Whether time alone can have it hold, or not any more, while what it is about is as it was.
    pub fn follows_time(&self) -> bool {
        match self {
            Self::Compare(one, _, other) => one.follows_time() || other.follows_time(),
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().any(Self::follows_time),
            Self::Except(one, other) => one.follows_time() || other.follows_time(),
            Self::Outside(_) => false,
        }
    }

    /// What it is about.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Compare(one, _, other) => one.scope().or_else(|| other.scope()).unwrap_or(Scope::Outside),
            Self::All(conditions) | Self::Any(conditions) => {
                conditions.first().map_or(Scope::Outside, |condition| condition.scope())
            }
            Self::Except(condition, _) => condition.scope(),
            Self::Outside(_) => Scope::Outside,
        }
    }

    /// The numbers that it compares, each as it is read.
    #[cfg(test)]
    pub fn terms(&self) -> Vec<Term> {
        match self {
            Self::Compare(one, _, other) => [one.leaves(), other.leaves()].concat(),
            Self::All(conditions) | Self::Any(conditions) => conditions.iter().flat_map(Self::terms).collect(),
            Self::Except(one, other) => [one.terms(), other.terms()].concat(),
            Self::Outside(_) => Vec::new(),
        }
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(one, Comparison { sign, .. }, other) => write!(f, "{one} {sign} {other}"),
            Self::All(conditions) | Self::Any(conditions) => {
                let word = if matches!(self, Self::All(_)) { " and " } else { " or " };
                for (index, condition) in conditions.iter().enumerate() {
                    let word = if index == 0 { "" } else { word };
                    write!(f, "{word}({condition})")?;
                }
                Ok(())
            }
            Self::Except(condition, exception) => write!(f, "({condition}) unless ({exception})"),
            Self::Outside(promql) => f.write_str(promql),
        }
    }
}
