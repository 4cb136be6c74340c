//! What is recorded, and the one who records it: within a bound of bytes, however many databases there are.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::series::{Series, Spans};
use super::{DatabaseHistory, History, Point, saved};
use crate::domain::assessment::DatabaseReport;
use crate::domain::limits::{HISTORY_BYTES_MAX, HISTORY_FINE, HISTORY_HOURS};
use crate::domain::number::{Number, Read, Subject, database, replica};
use crate::domain::target::TargetName;

/// The numbers whose history is kept. Writes are rates, which go on over a restart and stay exact as `f32`; instants cost
/// something only when they move, which is why the recovery point of an idle database is not among them: while the lag is
/// known it lies that far back, and what is in the replica reaches to its last segment at least.
pub static RECORDED: &[&Number] = &[
    &database::SIZE_BYTES,
    &database::WAL_SIZE,
    &database::WRITE_TRANSACTIONS_PER_SECOND,
    &database::WRITTEN_BYTES_PER_SECOND,
    &replica::LAG,
    &replica::UNREPLICATED_BYTES,
    &replica::RESTORABLE_SINCE,
    &replica::LAST_SEGMENT,
];

/// How often the fine part is halved before the hours are as well, and how often they are before only the present is kept.
const FINE_HALVINGS: u32 = 3;
const HALVINGS_MAX: u32 = 12;

/// Memory of a database beside its series: the counters of both `Arc`s, and its place in the map.
const DATABASE_BYTES: usize = size_of::<DatabaseHistory>() + 12 * size_of::<usize>();

/// Records the history of all databases.
#[derive(Debug)]
pub struct Recorder {
    history: History,
    /// What it needs, and may need.
    bytes: usize,
    bytes_max: usize,
    /// How often what is kept was halved for all, so that it has room.
    halvings: u32,
    /// Databases whose history changed since it was last saved.
    unsaved: BTreeSet<Arc<str>>,
}

/// A history that is to be saved. Its text takes a while to make, so that it is made where it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsaved {
    /// Of the database.
    pub name: Arc<str>,
    history: Arc<DatabaseHistory>,
}

impl Unsaved {
    /// What [`Recorder::restore`] reads.
    pub fn text(&self) -> String {
        saved::write(&self.history)
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::bounded(HISTORY_BYTES_MAX)
    }
}

impl Recorder {
    pub(super) fn bounded(bytes_max: usize) -> Self {
        Self { history: History::default(), bytes: 0, bytes_max, halvings: 0, unsaved: BTreeSet::new() }
    }

    /// All that is recorded.
    pub fn history(&self) -> History {
        self.history.clone()
    }

    /// Memory of all that is recorded, without what the allocator adds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in what is known of a database at `now`; of replicas that it does not have any more, nothing is kept.
    pub fn record(&mut self, report: &DatabaseReport, now: Timestamp) {
        let at = seconds(now);
        let known = self.history.get(&report.name);
        let base = known.map_or(at, |known| known.base);
        let values: Vec<(Option<&str>, u8, f32)> = values(report, base).collect();
        let same = |known: &DatabaseHistory| {
            let unchanged = |(replica, number, value): &(_, _, f32)| {
                known.find(*replica, *number).map_or_else(|| value.is_nan(), |series| series.is_at(at, *value))
            };
            values.iter().all(unchanged) && known.series.iter().all(|series| wanted(series, &values))
        };
        if known.map_or_else(|| values.iter().all(|(.., value)| value.is_nan()), |known| same(known)) {
            return;
        }
        let spans = self.spans();
        let mut next = known.map_or_else(|| DatabaseHistory { base, series: Vec::new() }, |known| (**known).clone());
        next.series.retain(|series| wanted(series, &values));
        for (replica, number, value) in values {
            match next.series.iter_mut().find(|series| series.is_of(replica, number)) {
                Some(series) => series.record(at, value, spans),
                None if value.is_nan() => {}
                None => {
                    let known = next.series.iter().find_map(|series| series.name_of(replica));
                    let replica = known.or_else(|| replica.map(Arc::from));
                    next.series.push(Series::new(replica, number, at, value));
                }
            }
        }
        next.series.shrink_to_fit();
        self.put(&report.name.0, Arc::new(next), at);
    }

    /// Forgets a database.
    pub fn forget(&mut self, name: &str) {
        self.take(name);
    }

    /// Gives databases other names, from the first of each pair to the second.
    pub fn rename<'a>(&mut self, names: impl Iterator<Item = (&'a TargetName, &'a TargetName)>, now: Timestamp) {
        let moved: Vec<_> = names.filter_map(|(from, to)| Some((to, self.take(from)?.1))).collect();
        moved.into_iter().for_each(|(to, history)| self.put(&to.0, history, seconds(now)));
    }

    /// Forgets what became too old at `now`. To be called from time to time, for databases that stand still.
    pub fn tidy(&mut self, now: Timestamp) {
        self.compact(seconds(now));
        let series = self.history.databases().flat_map(|(_, history)| &history.series);
        let past = series.map(Series::past_bytes).sum::<usize>();
        // With one halving less the past may become twice as much; what is known of now stays.
        if past < self.bytes_max.saturating_sub(self.bytes - past) / 4 {
            self.halvings = self.halvings.saturating_sub(1);
        }
    }

    /// What is to be saved: databases whose history changed since this was last asked.
    pub fn unsaved(&mut self) -> Vec<Unsaved> {
        let changed = std::mem::take(&mut self.unsaved).into_iter();
        let known = |name: Arc<str>| Some((Arc::clone(self.history.get(&name)?), name));
        changed.filter_map(known).map(|(history, name)| Unsaved { name, history }).collect()
    }

    /// What was saved is lost.
    pub fn not_saved(&mut self) {
        self.unsaved.extend(self.history.databases().map(|(name, _)| Arc::clone(name)));
    }

    /// Takes over the [text](Unsaved::text) of a run that recorded until some instant, except what lies in the
    /// future or is too old. What is known of a database of that name already stays.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn restore(
        &mut self,
        name: &TargetName,
        text: &str,
        recorded: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let (at, spans) = (seconds(now), self.spans());
        let mut history = saved::read(text, at)?;
        if self.history.get(name).is_some() {
            return Ok(());
        }
        for series in &mut history.series {
            series.interrupt(recorded.map_or(0, seconds), at, spans);
            series.compact(at, spans);
        }
        self.put(&name.0, Arc::new(history), at);
        self.unsaved.remove(name.as_str());
        Ok(())
    }

    fn take(&mut self, name: &str) -> Option<(Arc<str>, Arc<DatabaseHistory>)> {
        self.history.get(name)?;
        let (name, history) = self.history.shelf(name).remove_entry(name)?;
        self.bytes -= bytes(&name, &history);
        self.unsaved.remove(&name);
        Some((name, history))
    }

    fn put(&mut self, name: &Arc<str>, history: Arc<DatabaseHistory>, at: u32) {
        self.take(name);
        if history.series.is_empty() {
            return;
        }
        self.bytes += bytes(name, &history);
        self.unsaved.insert(Arc::clone(name));
        self.history.shelf(name).insert(Arc::clone(name), history);
        while self.bytes > self.bytes_max && self.halvings < HALVINGS_MAX {
            self.halvings += 1;
            self.compact(at);
        }
        if self.bytes > self.bytes_max {
            self.forget(name);
        }
    }

    fn spans(&self) -> Spans {
        let halved = |span: u32, halvings: u32| if self.halvings < HALVINGS_MAX { span >> halvings } else { 0 };
        Spans {
            fine: halved(HISTORY_FINE, self.halvings),
            hours: halved(HISTORY_HOURS, self.halvings.saturating_sub(FINE_HALVINGS)),
        }
    }

    pub(super) fn compact(&mut self, at: u32) {
        let spans = self.spans();
        self.bytes = 0;
        for (name, history) in Arc::make_mut(&mut self.history.shelves).iter_mut().flat_map(Arc::make_mut) {
            if history.series.iter().any(|series| series.is_to_compact(at, spans)) {
                Arc::make_mut(history).series.iter_mut().for_each(|series| series.compact(at, spans));
            }
            self.bytes += bytes(name, history);
        }
    }
}

impl History {
    /// How a number of [`RECORDED`] went, of a database or of one of its replicas, oldest first; empty where nothing is
    /// known of it.
    pub fn series(&self, database: &str, replica: Option<&str>, number: &Number) -> Vec<Point> {
        let index =
            RECORDED.iter().position(|recorded| recorded.name == number.name).and_then(|at| u8::try_from(at).ok());
        let found = self.get(database).zip(index);
        let Some((base, series)) = found.and_then(|(known, index)| Some((known.base, known.find(replica, index)?)))
        else {
            return Vec::new();
        };
        let origin = origin(number, base);
        let value = |value: f32| Some(f64::from(value) + origin).filter(|value| !value.is_nan());
        let point = |slot: super::series::Slot| {
            let at = Timestamp::from_second(slot.at.into()).ok()?;
            Some(Point { at, value: value(slot.last), low: value(slot.low), high: value(slot.high) })
        };
        series.slots().filter_map(point).collect()
    }
}

/// The replica, the place in [`RECORDED`] and the value of each number; NaN is unknown.
fn values(report: &DatabaseReport, base: u32) -> impl Iterator<Item = (Option<&str>, u8, f32)> {
    let subjects = std::iter::once(Subject::Database(report)).chain(Subject::replicas(report));
    subjects.flat_map(move |subject| {
        let replica = subject.replica().map(|replica| replica.name.as_str());
        let scope = if replica.is_some() { replica::LAG.scope } else { database::SIZE_BYTES.scope };
        let numbers = (0_u8..).zip(RECORDED).filter(move |(_, number)| number.scope == scope);
        numbers.map(move |(index, number)| (replica, index, value(number, subject, base)))
    })
}

fn value(number: &Number, subject: Subject<'_>, base: u32) -> f32 {
    let Read::One(read) = number.read else { return f32::NAN };
    let value = read(subject).and_then(|value| value.as_f64()).map(|value| (value - origin(number, base)) as f32);
    value.filter(|value| value.is_finite()).unwrap_or(f32::NAN)
}

/// What values are kept against.
fn origin(number: &Number, base: u32) -> f64 {
    if number.name.ends_with("_timestamp_seconds") { base.into() } else { 0.0 }
}

/// The database still has what the series is of.
fn wanted(series: &Series, values: &[(Option<&str>, u8, f32)]) -> bool {
    values.iter().any(|(replica, number, _)| series.is_of(*replica, *number))
}

fn bytes(name: &str, history: &DatabaseHistory) -> usize {
    let series = history.series.iter().map(|series| size_of::<Series>() + series.bytes());
    DATABASE_BYTES + name.len() + series.sum::<usize>()
}

/// An instant as slots have it; one before 1970 or after 2106 is the next that they can have.
fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.as_second().max(0)).unwrap_or(u32::MAX)
}
