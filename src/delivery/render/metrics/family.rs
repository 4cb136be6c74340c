//! How the values of a number reach prometheus-client's encoder.

use std::fmt::Error;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::domain::assessment::{DURATION_BOUNDS, Totals};
use crate::domain::number::{Kind, Number, Read, Subject, Value};
use crate::domain::printable::visible;
use crate::domain::profile::Selection;
use crate::domain::report::{Judged, Report};

static BYTES: Unit = Unit::Bytes;
static SECONDS: Unit = Unit::Seconds;

/// The base unit of a number, which is the last word of its name.
pub(super) fn unit(number: &Number) -> Option<&'static str> {
    parts(number).1.map(Unit::as_str)
}

/// The name without unit and without the suffix of its type, and the unit: the encoder puts both back.
fn parts(number: &Number) -> (&'static str, Option<&'static Unit>) {
    let name = match number.kind {
        Kind::Counter => number.name.strip_suffix("_total").unwrap_or(number.name),
        Kind::Info => return (number.name.strip_suffix("_info").unwrap_or(number.name), None),
        Kind::Gauge | Kind::Histogram => number.name,
    };
    if let Some(rest) = name.strip_suffix("_seconds") {
        (rest, Some(&SECONDS))
    } else if let Some(rest) = name.strip_suffix("_bytes") {
        (rest, Some(&BYTES))
    } else {
        (name, None)
    }
}

/// Takes values with those of the labels of their subject, and of those besides.
type PutAll<'a> = dyn FnMut([&str; 2], &[&str], Option<Value<'_>>) + 'a;

/// What the samples of numbers are read from.
pub(super) struct Origin<'a, J> {
    pub(super) selection: &'a Selection,
    /// Those of the scope of the number.
    pub(super) subjects: &'a [Subject<'a>],
    pub(super) judged: J,
    /// What belongs to no database is read from it, and from the totals of its databases; `None` where that is not wanted.
    pub(super) report: Option<(&'a Report, &'a Totals)>,
}

/// Reads all values of a number that are served: each with the labels of its subject, and those besides.
pub(super) fn read<'a>(number: &Number, from: Origin<'a, impl Iterator<Item = Judged<'a>>>, put: &mut PutAll<'_>) {
    let Origin { selection, judged, .. } = from;
    let subjects = from.subjects.iter().copied().filter(|subject| selection.wants(number, *subject));
    let report = from.report.filter(|(report, _)| selection.wants(number, Subject::Agent(&report.assessment)));
    match number.read {
        Read::One(read) => subjects.for_each(|subject| put(subject.label_values(), &[], read(subject))),
        Read::Several(read) => subjects.for_each(|subject| {
            let own = subject.label_values();
            read(subject, &mut |more, value| put(own, more, value));
        }),
        Read::OfReport(read) => {
            report.into_iter().for_each(|(report, totals)| read(report, totals, &mut |m, v| put(["", ""], m, v)))
        }
        Read::OfJudged(of_each, besides) => {
            let put = &mut |more: &[&str], value: Option<Value<'_>>| put(["", ""], more, value);
            let wanted = judged.filter(|judged| selection.wants(number, Subject::Database(judged.database)));
            wanted.for_each(|judged| of_each(selection, judged, put));
            report.into_iter().for_each(|(report, _)| besides(report, put));
        }
    }
}

/// Writes all values of a number as one family, or nothing when none is known.
pub(super) fn encode<'a>(
    number: &'static Number,
    from: Origin<'a, impl Iterator<Item = Judged<'a>>>,
    encoder: &mut DescriptorEncoder<'_>,
) -> Result<(), Error> {
    let mut family = Family { number, state: State::Empty(encoder) };
    read(number, from, &mut |own, more, value| family.put(own, more, value));
    if matches!(family.state, State::Failed) { Err(Error) } else { Ok(()) }
}

/// What stands before the samples of a family.
pub(super) fn describe(number: &'static Number, encoder: &mut DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut family = Family { number, state: State::Empty(encoder) };
    family.open();
    if matches!(family.state, State::Failed) { Err(Error) } else { Ok(()) }
}

/// Takes the values of one number.
struct Family<'a, 'b> {
    number: &'static Number,
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

impl Family<'_, '_> {
    /// Writes the descriptor, before the first sample.
    #[cold]
    fn open(&mut self) {
        let State::Empty(descriptor) = std::mem::replace(&mut self.state, State::Failed) else { return };
        let (name, unit) = parts(self.number);
        let kind = match self.number.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
            Kind::Info => MetricType::Info,
        };
        if let Ok(metric) = descriptor.encode_descriptor(name, self.number.help, unit, kind) {
            self.state = State::Open(metric);
        }
    }

    /// One sample, or none where the value is unknown or no finite number. `own` are the labels of the subject.
    fn put(&mut self, own: [&str; 2], more: &[&str], value: Option<Value<'_>>) {
        let Some(value) = value.filter(|value| !matches!(value, Value::Float(float) if !float.is_finite())) else {
            return;
        };
        let Self { number, .. } = *self;
        debug_assert_eq!(more.len(), number.more.len(), "labels of {}", number.name);
        if matches!(self.state, State::Empty(_)) {
            self.open();
        }
        let State::Open(metric) = &mut self.state else { return };
        if sample(metric, number, &Labels { number, own, more }, value).is_err() {
            self.state = State::Failed;
        }
    }
}

fn sample(metric: &mut MetricEncoder<'_>, number: &Number, labels: &Labels<'_>, value: Value<'_>) -> Result<(), Error> {
    match value {
        Value::Histogram(histogram) => {
            // The last bucket is the one without a bound.
            let bounds = DURATION_BOUNDS.into_iter().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(histogram.counts).collect();
            let count = histogram.counts.iter().fold(0, |sum: u64, count| sum.saturating_add(*count));
            let mut metric = metric.encode_family(labels)?;
            metric.encode_histogram::<NoLabelSet>(histogram.sum_seconds, count, &buckets, None)
        }
        _ if number.kind == Kind::Info => metric.encode_info(labels),
        // An empty set would print as `{}`.
        value if number.labels().next().is_none() => plain(metric, number.kind, value),
        value => plain(&mut metric.encode_family(labels)?, number.kind, value),
    }
}

fn plain(metric: &mut MetricEncoder<'_>, kind: Kind, value: Value<'_>) -> Result<(), Error> {
    match (kind, value) {
        (Kind::Counter, Value::Int(value)) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        (Kind::Counter, Value::Float(value)) => metric.encode_counter::<NoLabelSet, _, f64>(&value, None),
        (_, Value::Int(value)) => metric.encode_gauge(&value),
        (_, Value::Float(value)) => metric.encode_gauge(&value),
        (_, Value::Histogram(_)) => Ok(()),
    }
}

/// The labels of one sample: those of its subject, then those besides.
struct Labels<'a> {
    number: &'static Number,
    own: [&'a str; 2],
    more: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), Error> {
        for (name, value) in self.number.scope.labels().iter().zip(&self.own) {
            (*name, &*visible(value)).encode(encoder.encode_label())?;
        }
        for (name, value) in self.number.more.iter().zip(self.more) {
            (*name, &*visible(value)).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
