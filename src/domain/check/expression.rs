//! Conditions of checks: numbers of a report compared with each other, evaluated here and written as PromQL.
//!
//! Both readings have to agree. What is absent in the one is absent in the other: a condition over an unknown number does
//! not hold. All numbers of one condition have the labels of its [`Subject`] and no others.

use std::fmt::{self, Display, Formatter};

use jiff::Timestamp;

use crate::domain::assessment::{
    AgentReport, Assessment, BucketReport, CollectorReport, DatabaseReport, ReceiverReport, ReplicaReport,
    SourceReport, StoreReport,
};

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    Agent(&'a Assessment),
    Source(&'a SourceReport),
    Collector(&'a CollectorReport),
    Store(&'a StoreReport),
    Bucket(&'a BucketReport),
    Receiver(&'a ReceiverReport),
    Database(&'a DatabaseReport),
    Replica(&'a DatabaseReport, &'a ReplicaReport),
}

/// The kinds of [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Agent,
    Source,
    Collector,
    Store,
    Bucket,
    Receiver,
    Database,
    Replica,
    /// Only Prometheus can see it, from outside the agent.
    Outside,
}

impl Scope {
    /// Those of the agent itself: everything but databases, replicas and what is outside.
    pub const OF_AGENT: &'static [Self] =
        &[Self::Agent, Self::Source, Self::Collector, Self::Store, Self::Bucket, Self::Receiver];

    /// The labels that tell subjects of this kind apart, besides those that the scrape adds.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            Self::Agent | Self::Outside => &[],
            Self::Source => &["source"],
            Self::Collector => &["collector"],
            Self::Store => &["store"],
            Self::Bucket => &["bucket"],
            Self::Receiver => &["receiver"],
            Self::Database => &["database"],
            Self::Replica => &["database", "replica"],
        }
    }

    /// Everything of this kind.
    pub fn subjects(self, assessment: &Assessment) -> Vec<Subject<'_>> {
        let AgentReport { sources, collectors, stores, buckets, receivers, .. } = &assessment.agent;
        match self {
            Self::Agent => vec![Subject::Agent(assessment)],
            Self::Source => sources.iter().map(Subject::Source).collect(),
            Self::Collector => collectors.iter().map(Subject::Collector).collect(),
            Self::Store => stores.iter().map(Subject::Store).collect(),
            Self::Bucket => buckets.iter().map(Subject::Bucket).collect(),
            Self::Receiver => receivers.iter().map(Subject::Receiver).collect(),
            Self::Database => assessment.databases.iter().map(|database| Subject::Database(database)).collect(),
            Self::Replica => assessment.databases.iter().flat_map(|database| replicas(database)).collect(),
            Self::Outside => Vec::new(),
        }
    }
}

fn replicas(database: &DatabaseReport) -> impl Iterator<Item = Subject<'_>> {
    database.replicas.iter().map(move |replica| Subject::Replica(database, replica))
}

impl<'a> Subject<'a> {
    /// The values of its [`Scope::labels`].
    pub fn label_values(self) -> Vec<&'a str> {
        match self {
            Self::Agent(_) => Vec::new(),
            Self::Source(source) => vec![&source.source],
            Self::Collector(collector) => vec![collector.collector],
            Self::Store(store) => vec![&store.store],
            Self::Bucket(bucket) => vec![&bucket.bucket],
            Self::Receiver(receiver) => vec![&receiver.receiver],
            Self::Database(database) => vec![&database.name],
            Self::Replica(database, replica) => vec![&database.name, &replica.name],
        }
    }
}

/// A number of the report that is exported as a metric.
#[derive(Debug)]
pub struct Quantity {
    /// The metric family it is a sample of.
    pub metric: &'static str,
    pub select: Select,
    pub of: Of,
}

/// How one number is made of the samples of a family that has more labels than the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// It has no others.
    Only,
    /// The sample with this value of this label.
    Where(&'static str, &'static str),
    /// The sum over this label.
    Sum(&'static str),
    /// The smallest over this label.
    Min(&'static str),
    /// The largest over this label.
    Max(&'static str),
}

/// Where a number stands in the report; `None` where it is unknown.
#[derive(Clone, Copy, Debug)]
pub enum Of {
    Agent(fn(&Assessment) -> Option<f64>),
    Source(fn(&SourceReport) -> Option<f64>),
    Collector(fn(&CollectorReport) -> Option<f64>),
    Store(fn(&StoreReport) -> Option<f64>),
    Bucket(fn(&BucketReport) -> Option<f64>),
    Receiver(fn(&ReceiverReport) -> Option<f64>),
    Database(fn(&DatabaseReport) -> Option<f64>),
    Replica(fn(&DatabaseReport, &ReplicaReport) -> Option<f64>),
}

impl Quantity {
    /// A number of a database, whose metric has its label and no other.
    pub const fn of_database(metric: &'static str, of: fn(&DatabaseReport) -> Option<f64>) -> Self {
        Self { metric, select: Select::Only, of: Of::Database(of) }
    }

    /// A number of a replica, whose metric has its labels and no others.
    pub const fn of_replica(metric: &'static str, of: fn(&DatabaseReport, &ReplicaReport) -> Option<f64>) -> Self {
        Self { metric, select: Select::Only, of: Of::Replica(of) }
    }

    pub fn value(&self, subject: Subject<'_>) -> Option<f64> {
        match (self.of, subject) {
            (Of::Agent(of), Subject::Agent(assessment)) => of(assessment),
            (Of::Source(of), Subject::Source(source)) => of(source),
            (Of::Collector(of), Subject::Collector(collector)) => of(collector),
            (Of::Store(of), Subject::Store(store)) => of(store),
            (Of::Bucket(of), Subject::Bucket(bucket)) => of(bucket),
            (Of::Receiver(of), Subject::Receiver(receiver)) => of(receiver),
            (Of::Database(of), Subject::Database(database)) => of(database),
            (Of::Replica(of), Subject::Replica(database, replica)) => of(database, replica),
            // Labels would not match: a test finds such a condition.
            _ => None,
        }
    }
}

impl Display for Quantity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let metric = self.metric;
        match self.select {
            Select::Only => f.write_str(metric),
            Select::Where(label, value) => write!(f, "sum without ({label}) ({metric}{{{label}=\"{value}\"}})"),
            Select::Sum(label) => write!(f, "sum without ({label}) ({metric})"),
            Select::Min(label) => write!(f, "min without ({label}) ({metric})"),
            Select::Max(label) => write!(f, "max without ({label}) ({metric})"),
        }
    }
}

/// Arithmetic over quantities.
#[derive(Debug)]
pub enum Term {
    Of(&'static Quantity),
    Number(f64),
    /// Seconds since 1970.
    Now,
    Sum(&'static Self, &'static Self),
    Difference(&'static Self, &'static Self),
    Product(&'static Self, &'static Self),
    Quotient(&'static Self, &'static Self),
    /// The first, or the second where the first is unknown.
    Else(&'static Self, &'static Self),
    /// Without its sign.
    Absolute(&'static Self),
}

impl Term {
    /// `None` when a number that it needs is unknown.
    pub fn value(&self, subject: Subject<'_>, now: Timestamp) -> Option<f64> {
        let of = |term: &Self| term.value(subject, now);
        match self {
            Self::Of(quantity) => quantity.value(subject),
            Self::Number(number) => Some(*number),
            Self::Now => Some(seconds(now)),
            Self::Sum(one, other) => Some(of(one)? + of(other)?),
            Self::Difference(one, other) => Some(of(one)? - of(other)?),
            Self::Product(one, other) => Some(of(one)? * of(other)?),
            Self::Quotient(one, other) => Some(of(one)? / of(other)?),
            Self::Else(one, other) => of(one).or_else(|| of(other)),
            Self::Absolute(one) => of(one).map(f64::abs),
        }
    }

    fn quantities(&self, found: &mut Vec<&'static Quantity>) {
        match self {
            Self::Of(quantity) => found.push(quantity),
            Self::Number(_) | Self::Now => {}
            Self::Absolute(one) => one.quantities(found),
            Self::Sum(one, other)
            | Self::Difference(one, other)
            | Self::Product(one, other)
            | Self::Quotient(one, other)
            | Self::Else(one, other) => {
                one.quantities(found);
                other.quantities(found);
            }
        }
    }
}

/// An instant as Prometheus has it: seconds since 1970, to the millisecond.
pub fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(quantity) => quantity.fmt(f),
            Self::Number(number) => number.fmt(f),
            Self::Now => f.write_str("time()"),
            Self::Sum(one, other) => write!(f, "({one} + {other})"),
            Self::Difference(one, other) => write!(f, "({one} - {other})"),
            Self::Product(one, other) => write!(f, "({one} * {other})"),
            Self::Quotient(one, other) => write!(f, "({one} / {other})"),
            Self::Else(one, other) => write!(f, "({one} or {other})"),
            Self::Absolute(one) => write!(f, "abs({one})"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Above,
    Below,
    Equal,
}

/// When a check fails.
#[derive(Debug)]
pub enum Condition {
    Compare(&'static Term, Comparison, &'static Term),
    /// All of them; the value is that of the first.
    All(&'static [&'static Self]),
    /// One of them; the value is that of the first that holds.
    Any(&'static [&'static Self]),
    /// The first, where the second does not hold.
    Except(&'static Self, &'static Self),
    /// What only Prometheus can see, in PromQL.
    Outside(&'static str),
}

impl Condition {
    /// The number that is compared, where the condition holds.
    pub fn value(&self, subject: Subject<'_>, now: Timestamp) -> Option<f64> {
        match self {
            Self::Compare(one, comparison, other) => {
                let (one, other) = (one.value(subject, now)?, other.value(subject, now)?);
                let holds = match comparison {
                    Comparison::Above => one > other,
                    Comparison::Below => one < other,
                    Comparison::Equal => one == other,
                };
                holds.then_some(one)
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

    /// Everything it is made of.
    pub fn quantities(&self) -> Vec<&'static Quantity> {
        let mut found = Vec::new();
        match self {
            Self::Compare(one, _, other) => {
                one.quantities(&mut found);
                other.quantities(&mut found);
            }
            Self::All(conditions) | Self::Any(conditions) => {
                found.extend(conditions.iter().flat_map(|condition| condition.quantities()))
            }
            Self::Except(one, other) => found.extend([*one, *other].into_iter().flat_map(Self::quantities)),
            Self::Outside(_) => {}
        }
        found
    }
}

impl Display for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare(one, comparison, other) => {
                let sign = match comparison {
                    Comparison::Above => ">",
                    Comparison::Below => "<",
                    Comparison::Equal => "==",
                };
                write!(f, "{one} {sign} {other}")
            }
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
