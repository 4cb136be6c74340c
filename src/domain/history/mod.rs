//! History: how a few numbers of each database and of each of its replicas went, for charts. Six hours of it are fine, the
//! days before are hours.
//!
//! It belongs to the agent alone, lives in memory within [`HISTORY_BYTES_MAX`](crate::domain::limits::HISTORY_BYTES_MAX),
//! and is comfort: no check looks at it.

mod recorder;
mod saved;
mod series;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use jiff::Timestamp;

pub use self::recorder::{RECORDED, Recorder, Unsaved};
use self::series::Series;

/// So many shelves hold the histories. When one changes that a report holds as well, only its shelf is copied.
const SHELVES: usize = 1024;

/// The history of all databases at one instant. Cloning it copies nothing.
#[derive(Clone, Debug)]
pub struct History {
    shelves: Arc<[Arc<Shelf>]>,
}

/// Those of some databases, by their names.
type Shelf = BTreeMap<Arc<str>, Arc<DatabaseHistory>>;

/// A value and those that it took up to a minute later, in the last six hours, or, before them, within the same hour of the
/// clock. The value holds until the next point; that of the last one still holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// When the number changed; strictly later than the point before.
    pub at: Timestamp,
    /// The last value, in the unit of the number; `None`: it became unknown, which is a gap.
    pub value: Option<f64>,
    /// The lowest and the highest known value; `None`: it was unknown all the time.
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The history of one database and its replicas.
#[derive(Clone, Debug, PartialEq)]
struct DatabaseHistory {
    /// What instants are counted from, in seconds since 1970, so that they are exact enough as `f32`.
    base: u32,
    series: Vec<Series>,
}

impl Default for History {
    fn default() -> Self {
        Self { shelves: vec![Arc::default(); SHELVES].into() }
    }
}

impl History {
    /// Since when anything is known of how a database went; `None`: nothing is.
    pub fn since(&self, database: &str) -> Option<Timestamp> {
        let first = self.get(database)?.series.iter().map(|series| series.first().at).min()?;
        Timestamp::from_second(first.into()).ok()
    }

    fn get(&self, database: &str) -> Option<&Arc<DatabaseHistory>> {
        self.shelves[place(database)].get(database)
    }

    fn databases(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<DatabaseHistory>)> {
        self.shelves.iter().flat_map(|shelf| shelf.iter())
    }

    /// The shelf of a database, to be changed.
    fn shelf(&mut self, database: &str) -> &mut Shelf {
        Arc::make_mut(&mut Arc::make_mut(&mut self.shelves)[place(database)])
    }
}

/// The shelf that a database is on.
fn place(database: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    hasher.write(database.as_bytes());
    (hasher.finish() % SHELVES as u64) as usize
}

impl DatabaseHistory {
    fn find(&self, replica: Option<&str>, number: u8) -> Option<&Series> {
        self.series.iter().find(|series| series.is_of(replica, number))
    }
}

#[cfg(test)]
mod tests;
