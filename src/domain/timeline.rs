//! The coverage map: to which instants a replica can be restored, how exactly, and what stands in the way of the others.

use jiff::Timestamp;
use serde::Serialize;

/// A stretch of time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Span {
    pub from: Timestamp,
    pub until: Timestamp,
    /// States that can be told apart in it.
    pub points: u64,
    /// The longest time between two of them: a restore to an instant gives a state at most so much older.
    pub resolution_seconds: f64,
    /// `None`: every instant in it restores. Else what stands in the way.
    pub blocked: Option<Blocked>,
}

/// What stands in the way of a restore.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Blocked {
    /// The last position that is reached.
    pub after: String,
    /// The first one behind the hole.
    pub before: String,
    /// The object that is known to be damaged, if that is why.
    pub key: Option<String>,
    /// In a sentence.
    pub detail: String,
}

/// What another release of Litestream would do where it does not do what is asked.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Caveat {
    /// Such as `0.5.8 to 0.5.9`.
    pub releases: String,
    /// In a sentence.
    pub detail: String,
}

/// The coverage map of one replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TimelineReport {
    /// Oldest first; what is before the first one cannot be restored.
    pub spans: Vec<Span>,
    pub gaps: u64,
    pub largest_gap_seconds: Option<f64>,
    pub caveats: Vec<Caveat>,
}
