//! What a metric family is, and how its samples reach prometheus-client's encoder.

use std::fmt::Error;

use jiff::Timestamp;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::domain::assessment::{DURATION_BOUNDS, DurationHistogram};
use crate::domain::report::Report;

/// One metric: everything that there is to say about it, and the function that takes its samples out of a report.
#[derive(Debug)]
pub struct Family {
    /// As it is written in a query. Ends in `_total` for counters and `_info` for infos; the unit is the last word
    /// before that.
    pub name: &'static str,
    pub kind: Kind,
    pub labels: &'static [&'static str],
    /// One sentence that says what the number is. Plain ASCII without quotes and backslashes: the encoder does not
    /// escape it.
    pub help: &'static str,
    pub samples: fn(&Report, &mut Sink<'_, '_>),
}

/// The type of a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

impl Kind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

static BYTES: Unit = Unit::Bytes;
static SECONDS: Unit = Unit::Seconds;

impl Family {
    /// The base unit, which is the last word of the name.
    pub fn unit(&self) -> Option<&'static str> {
        self.parts().1.map(Unit::as_str)
    }

    /// The name without unit and without the suffix of its type, and the unit: the encoder puts both back.
    fn parts(&self) -> (&'static str, Option<&'static Unit>) {
        let name = match self.kind {
            Kind::Counter => self.name.strip_suffix("_total").unwrap_or(self.name),
            Kind::Info => return (self.name.strip_suffix("_info").unwrap_or(self.name), None),
            Kind::Gauge | Kind::Histogram => self.name,
        };
        if let Some(rest) = name.strip_suffix("_seconds") {
            (rest, Some(&SECONDS))
        } else if let Some(rest) = name.strip_suffix("_bytes") {
            (rest, Some(&BYTES))
        } else {
            (name, None)
        }
    }

    /// Writes the family, or nothing when it has no sample.
    pub(super) fn encode(&'static self, report: &Report, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut sink = Sink { family: self, state: State::Empty(encoder) };
        (self.samples)(report, &mut sink);
        if matches!(sink.state, State::Failed) { Err(Error) } else { Ok(()) }
    }
}

/// Takes the samples of one family.
pub struct Sink<'a, 'b> {
    family: &'static Family,
    state: State<'a, 'b>,
}

enum State<'a, 'b> {
    /// No sample yet, so that nothing is written.
    Empty(&'a mut DescriptorEncoder<'b>),
    /// The descriptor is written.
    Open(MetricEncoder<'a>),
    /// The writer refused, which a `String` never does.
    Failed,
}

/// A number of a counter or gauge.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    Int(u64),
    Float(f64),
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Number {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

impl From<usize> for Number {
    fn from(value: usize) -> Self {
        Self::Int(value as u64)
    }
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

/// 1 for true, 0 for false.
impl From<bool> for Number {
    fn from(value: bool) -> Self {
        Self::Int(value.into())
    }
}

/// Seconds since 1970, to the millisecond.
impl From<Timestamp> for Number {
    fn from(value: Timestamp) -> Self {
        Self::Float(value.as_millisecond() as f64 / 1000.0)
    }
}

impl Sink<'_, '_> {
    /// One sample; the labels are in the order of the family's. What is no finite number is left out.
    pub fn put(&mut self, labels: &[&str], value: impl Into<Number>) {
        let value = value.into();
        if matches!(value, Number::Float(float) if !float.is_finite()) {
            return;
        }
        self.write(labels, |metric, labels, kind| {
            // An empty set would print as `{}`.
            if labels.0.is_empty() {
                number(metric, kind, value)
            } else {
                number(&mut metric.encode_family(labels)?, kind, value)
            }
        });
    }

    /// One sample, or none where the value is unknown.
    pub fn put_known(&mut self, labels: &[&str], value: Option<impl Into<Number>>) {
        if let Some(value) = value {
            self.put(labels, value);
        }
    }

    /// One sample of an info family: its labels are its value.
    pub fn info(&mut self, labels: &[&str]) {
        self.write(labels, |metric, labels, _| metric.encode_info(labels));
    }

    /// One histogram. Its last bucket is the one without a bound.
    pub fn histogram(&mut self, labels: &[&str], value: &DurationHistogram) {
        let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(value.counts).collect();
        let count = value.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
        self.write(labels, |metric, labels, _| {
            metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(value.sum_seconds, count, &buckets, None)
        });
    }

    fn write(
        &mut self,
        labels: &[&str],
        encode: impl FnOnce(&mut MetricEncoder<'_>, &Labels<'_>, Kind) -> Result<(), Error>,
    ) {
        debug_assert_eq!(labels.len(), self.family.labels.len(), "labels of {}", self.family.name);
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Empty(descriptor) => {
                let (name, unit) = self.family.parts();
                let kind = match self.family.kind {
                    Kind::Counter => MetricType::Counter,
                    Kind::Gauge => MetricType::Gauge,
                    Kind::Histogram => MetricType::Histogram,
                    Kind::Info => MetricType::Info,
                };
                match descriptor.encode_descriptor(name, self.family.help, unit, kind) {
                    Ok(metric) => State::Open(metric),
                    Err(Error) => State::Failed,
                }
            }
            state => state,
        };
        let State::Open(metric) = &mut self.state else { return };
        let labels = Labels(self.family.labels, labels);
        if encode(metric, &labels, self.family.kind).is_err() {
            self.state = State::Failed;
        }
    }
}

fn number(metric: &mut MetricEncoder<'_>, kind: Kind, value: Number) -> Result<(), Error> {
    match (kind, value) {
        (Kind::Counter, Number::Int(value)) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        (Kind::Counter, Number::Float(value)) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        (_, Number::Int(value)) => metric.encode_gauge(&value),
        (_, Number::Float(value)) => metric.encode_gauge(&value),
    }
}

/// Names and values in the same order.
struct Labels<'a>(&'a [&'a str], &'a [&'a str]);

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        self.0.iter().zip(self.1).try_for_each(|label| (*label.0, *label.1).encode(encoder.encode_label()))
    }
}
