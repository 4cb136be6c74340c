//! Databases that are neighbours, rendered together: what changed since an earlier report is rendered anew.

use std::cmp::Ordering;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::ptr;
use std::sync::Arc;

use super::families::{Part, Place, Section, judged, numbers, pack};
use crate::delivery::render::metrics::family::read;
use crate::delivery::render::metrics::packed::{Packed, Packer};
use crate::domain::assessment::{DatabaseReport, Totals};
use crate::domain::number::{Number, Read, Value};
use crate::domain::profile::Selection;
use crate::domain::report::{Judged, Report};

/// Databases in a group at least. Of more, more is rendered again for one that changed; of fewer, the whole is larger.
const GROUP_DATABASES_MIN: usize = 13;
/// From there on, the name of one in so many ends it. Without a least size a few groups would be large, and hold most.
const GROUP_END: u64 = 4;
const GROUP_DATABASES_MAX: usize = 48;

/// Databases that are neighbours.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) samples: Packed,
    pub(super) totals: Totals,
}

/// Where the groups of databases end. It depends on names alone, so that a database that comes or goes changes its own group
/// and seldom more than the next.
pub(super) fn ends(databases: &[Arc<DatabaseReport>]) -> Arc<[usize]> {
    let (mut ends, mut start) = (Vec::new(), 0);
    for (end, database) in (1..).zip(databases) {
        let mut hasher = DefaultHasher::new();
        hasher.write(database.name.as_bytes());
        let full = match end - start {
            ..GROUP_DATABASES_MIN => false,
            GROUP_DATABASES_MAX.. => true,
            _ => hasher.finish().is_multiple_of(GROUP_END),
        };
        if full || end == databases.len() {
            ends.push(end);
            start = end;
        }
    }
    ends.into()
}

pub(super) fn ranges(ends: &[usize]) -> impl Iterator<Item = Range<usize>> {
    std::iter::once(0).chain(ends.iter().copied()).zip(ends).map(|(start, end)| start..*end)
}

/// Nothing changed in the database, as far as where it is says so.
fn is_the_same(one: Judged<'_>, other: Judged<'_>) -> bool {
    let (checks, others) = (one.checks(), other.checks());
    let unjudged = checks.is_empty() && others.is_empty();
    ptr::eq(one.database, other.database) && (unjudged || ptr::eq(checks, others))
}

pub(super) fn is_unchanged(before: &Report, now: &Report) -> bool {
    let (before_count, count) = (before.assessment.databases.len(), now.assessment.databases.len());
    let mut both = judged(before, 0..before_count).zip(judged(now, 0..count));
    before_count == count && both.all(|(before, now)| is_the_same(before, now))
}

pub(super) fn have_the_same_names(before: &Report, now: &Report) -> bool {
    let (before, now) = (&before.assessment.databases, &now.assessment.databases);
    before.len() == now.len() && before.iter().zip(now).all(|(before, now)| order(before, now).is_eq())
}

fn order(one: &Arc<DatabaseReport>, other: &Arc<DatabaseReport>) -> Ordering {
    if Arc::ptr_eq(one, other) { Ordering::Equal } else { one.name.cmp(&other.name) }
}

/// A group of an earlier report.
pub(super) struct Earlier<'a> {
    pub(super) group: &'a Arc<Group>,
    pub(super) report: &'a Report,
    pub(super) range: Range<usize>,
}

impl Earlier<'_> {
    /// Whether it begins before this database.
    pub(super) fn order(&self, first: &Arc<DatabaseReport>) -> Ordering {
        order(&self.report.assessment.databases[self.range.start], first)
    }

    /// Those that changed; `None` when others came in their place.
    pub(super) fn changed<'a>(&'a self, report: &'a Report, range: &Range<usize>) -> Option<Vec<Change<'a>>> {
        let both = judged(self.report, self.range.clone()).zip(judged(report, range.clone()));
        let changed = both.filter(|(before, now)| !is_the_same(*before, *now)).map(|(before, now)| {
            let same_name = before.database.name == now.database.name;
            same_name.then(|| Change::of(before, now))
        });
        if self.range.len() == range.len() { changed.collect() } else { None }
    }
}

/// A database that changed.
pub(super) struct Change<'a> {
    before: Section<'a>,
    now: Section<'a>,
    /// Its replicas have their names still, and it has its profile: equal values are equal samples.
    is_labelled_alike: bool,
    /// Its verdicts are the same ones.
    is_judged_alike: bool,
}

impl<'a> Change<'a> {
    fn of(before: Judged<'a>, now: Judged<'a>) -> Self {
        let names = |judged: Judged<'a>| judged.database.replicas.iter().map(|replica| replica.name.as_str());
        let is_labelled_alike = names(before).eq(names(now)) && before.database.metrics == now.database.metrics;
        let is_judged_alike = is_labelled_alike && ptr::eq(before.checks(), now.checks());
        let [before, now] = [before, now].map(|judged| Section::of(std::iter::once(judged)));
        Self { before, now, is_labelled_alike, is_judged_alike }
    }

    /// Whether what is exported as `number` is not what it was. `traces` are for the use of this alone.
    fn differs(&self, number: &Number, selection: &Selection, traces: &mut [Vec<u8>; 2]) -> bool {
        match number.read {
            Read::One(read) if self.is_labelled_alike => {
                let mut both = self.before.subjects(number).iter().zip(self.now.subjects(number));
                both.any(|(before, now)| selection.wants(number, *now) && !are_equal([read(*before), read(*now)]))
            }
            Read::OfJudged(..) if self.is_judged_alike => false,
            _ => {
                let [before, now] = traces;
                trace(number, &self.before, selection, before);
                trace(number, &self.now, selection, now);
                before != now
            }
        }
    }
}

fn are_equal(values: [Option<Value<'_>>; 2]) -> bool {
    match values {
        [Some(Value::Int(before)), Some(Value::Int(now))] => before == now,
        [Some(Value::Float(before)), Some(Value::Float(now))] => before.to_bits() == now.to_bits(),
        [before, now] => before.is_none() && now.is_none(),
    }
}

/// The numbers of which something else is exported than before.
pub(super) fn differing(changed: &[Change<'_>], selection: &Selection) -> Vec<Place> {
    let mut traces = [Vec::new(), Vec::new()];
    let mut differs = |number| changed.iter().any(|change| change.differs(number, selection, &mut traces));
    numbers().filter(|(_, number)| differs(number)).collect()
}

impl Group {
    pub(super) fn new(report: &Arc<Report>, range: Range<usize>, packer: &mut Packer) -> Arc<Self> {
        Self::made(numbers().collect(), None, report, range, packer)
    }

    /// The group, with what did not change as it was before.
    pub(super) fn after(
        before: &Earlier<'_>,
        report: &Arc<Report>,
        range: Range<usize>,
        packer: &mut Packer,
    ) -> Arc<Self> {
        let Some(changed) = before.changed(report, &range) else { return Self::new(report, range, packer) };
        if changed.is_empty() {
            return Arc::clone(before.group);
        }
        let anew = differing(&changed, &report.assessment.selection);
        Self::made(anew, Some(&before.group.samples), report, range, packer)
    }

    fn made(
        anew: Vec<Place>,
        before: Option<&Packed>,
        report: &Arc<Report>,
        range: Range<usize>,
        packer: &mut Packer,
    ) -> Arc<Self> {
        let totals = Totals::of(judged(report, range.clone()).map(|judged| judged.database));
        pack(packer, anew, Part::Of(Arc::clone(report), range), before);
        Arc::new(Self { samples: packer.finish(), totals })
    }
}

/// Writes down what is exported as `number` of a database: equal traces are equal samples.
fn trace(number: &Number, section: &Section<'_>, selection: &Selection, out: &mut Vec<u8>) {
    out.clear();
    read(number, section.origin(number, selection), &mut |[_, replica], more, value| {
        let Some(value) = value else { return };
        for label in std::iter::once(&replica).chain(more) {
            out.extend_from_slice(label.as_bytes());
            // In no text.
            out.push(0xff);
        }
        match value {
            Value::Int(value) => out.extend_from_slice(&value.to_le_bytes()),
            Value::Float(value) => out.extend_from_slice(&value.to_bits().to_le_bytes()),
            Value::Histogram(histogram) => {
                out.extend_from_slice(&histogram.sum_seconds.to_bits().to_le_bytes());
                histogram.counts.iter().for_each(|count| out.extend_from_slice(&count.to_le_bytes()));
            }
        }
    });
}
