//! Numbers as they are encoded and packed: what describes them, and their samples of some databases or of none.

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use crate::delivery::render::metrics::family::{Origin, describe, encode};
use crate::delivery::render::metrics::packed::{Packed, Packer};
use crate::delivery::render::metrics::text::to_text;
use crate::domain::assessment::Totals;
use crate::domain::number::{self, Number, Read, Scope, Subject};
use crate::domain::profile::Selection;
use crate::domain::report::{Judged, Report};

/// Databases of a report with the verdicts on them.
pub(super) fn judged(report: &Report, range: Range<usize>) -> impl Iterator<Item = Judged<'_>> {
    let Report { assessment, verdicts, .. } = report;
    let judgements = range.clone().map(|at| verdicts.databases.get(at));
    let databases = assessment.databases[range].iter().zip(judgements);
    databases.map(|(database, judgement)| Judged { database, judgement })
}

/// Some databases, as numbers are read of them.
pub(super) struct Section<'a> {
    judged: Vec<Judged<'a>>,
    databases: Vec<Subject<'a>>,
    replicas: Vec<Subject<'a>>,
}

impl<'a> Section<'a> {
    pub(super) fn of(judged: impl Iterator<Item = Judged<'a>>) -> Self {
        let judged: Vec<_> = judged.collect();
        let databases = judged.iter().map(|judged| Subject::Database(judged.database)).collect();
        let replicas = judged.iter().flat_map(|judged| Subject::replicas(judged.database)).collect();
        Self { judged, databases, replicas }
    }

    /// What a number is read of.
    pub(super) fn subjects(&self, number: &Number) -> &[Subject<'a>] {
        match number.scope {
            Scope::Database => &self.databases,
            Scope::Replica => &self.replicas,
            _ => &[],
        }
    }

    pub(super) fn origin<'b>(
        &'b self,
        number: &Number,
        selection: &'b Selection,
    ) -> Origin<'b, impl Iterator<Item = Judged<'b>>> {
        Origin { selection, subjects: self.subjects(number), judged: self.judged.iter().copied(), report: None }
    }
}

/// A number, and its place among all of them.
pub(super) type Place = (usize, &'static Number);

/// What there is of numbers.
#[derive(Debug)]
pub(super) enum Part {
    /// What describes them.
    Description,
    /// Samples of some databases.
    Of(Arc<Report>, Range<usize>),
    /// Samples that belong to no database.
    Others(Arc<Report>, Totals),
}

/// It, to be encoded.
#[derive(Debug)]
struct Families(Vec<Place>, Part);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Self(numbers, part) = self;
        let mut numbers = numbers.iter().map(|(_, number)| *number);
        match part {
            Part::Description => numbers.try_for_each(|number| describe(number, &mut encoder)),
            Part::Of(report, range) => {
                let (section, selection) = (Section::of(judged(report, range.clone())), &report.assessment.selection);
                numbers.try_for_each(|number| encode(number, section.origin(number, selection), &mut encoder))
            }
            Part::Others(report, totals) => numbers.try_for_each(|number| {
                let subjects: Vec<_> = number.scope.subjects(&report.assessment).collect();
                let (selection, judged) = (&report.assessment.selection, std::iter::empty());
                let report = Some((&**report, totals));
                encode(number, Origin { selection, subjects: &subjects, judged, report }, &mut encoder)
            }),
        }
    }
}

pub(super) fn is_of_databases(number: &Number) -> bool {
    matches!(number.scope, Scope::Database | Scope::Replica)
}

/// Those that have samples of databases.
pub(super) fn numbers() -> impl Iterator<Item = Place> {
    let all = number::all().enumerate();
    all.filter(|(_, number)| is_of_databases(number) || matches!(number.read, Read::OfJudged(..)))
}

fn encoded(numbers: Vec<Place>, part: Part) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(numbers, part)));
    let mut out = String::new();
    // A String takes everything and the collector itself has no other error.
    let _ = text::encode_registry(&mut out, &registry);
    out
}

/// Packs the samples of some numbers anew, and keeps those of all others as they were before.
pub(super) fn pack(packer: &mut Packer, anew: Vec<Place>, part: Part, before: Option<&Packed>) {
    let text = encoded(anew.clone(), part);
    let (mut text, mut anew) = (text.as_str(), anew.into_iter().map(|(number, _)| number).peekable());
    for number in 0..DESCRIPTIONS.len() {
        if anew.next_if_eq(&number).is_some() {
            packer.pack(number, samples(&mut text, number));
        } else if let Some(piece) = before.and_then(|before| before.get(number)) {
            packer.keep(number, piece);
        }
    }
}

/// Takes the samples of a number, without what describes it, from the beginning of a text; nothing where it has none.
fn samples<'a>(text: &mut &'a str, number: usize) -> &'a str {
    let Some(rest) = text.strip_prefix(DESCRIPTIONS[number].as_str()) else { return "" };
    // No sample begins with #.
    let mut marks = rest.match_indices('#').map(|(at, _)| at);
    let end = marks.find(|at| rest.as_bytes()[..*at].ends_with(b"\n")).unwrap_or(rest.len());
    let (samples, rest) = rest.split_at(end);
    *text = rest;
    samples
}

/// What describes each number, in OpenMetrics.
static DESCRIPTIONS: LazyLock<Vec<String>> =
    LazyLock::new(|| number::all().enumerate().map(|place| encoded(vec![place], Part::Description)).collect());

/// By format: the same, and in the end what ends the whole.
pub(super) static DESCRIBED: LazyLock<[Packed; 2]> = LazyLock::new(|| {
    let described = |form: fn(&str) -> String| {
        let mut packer = Packer::new();
        let texts = DESCRIPTIONS.iter().map(String::as_str).chain(["# EOF\n"]);
        texts.enumerate().for_each(|(number, text)| packer.pack(number, &form(text)));
        packer.finish()
    };
    [described(str::to_owned), described(to_text)]
});
