//! When a replica is drilled next. Pure: `now` is an argument.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// The times of the day at which drills may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrillWindow {
    pub from: Time,
    /// Not included. Before `from` where the window spans midnight.
    pub to: Time,
    pub zone: TimeZone,
}

impl DrillWindow {
    /// Whether a drill may begin.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let time = at.to_zoned(self.zone.clone()).time();
        if self.from < self.to { (self.from..self.to).contains(&time) } else { time >= self.from || time < self.to }
    }

    /// The first instant from `at` on at which a drill may begin.
    pub fn next_open(&self, at: Timestamp) -> Timestamp {
        if self.is_open(at) {
            return at;
        }
        let today = at.to_zoned(self.zone.clone()).date();
        let days = (0..=2_i64).filter_map(|days| today.checked_add(SignedDuration::from_hours(24 * days)).ok());
        let opens =
            days.filter_map(|day| Some(day.to_datetime(self.from).to_zoned(self.zone.clone()).ok()?.timestamp()));
        // A day on which the clock skips the whole window has none.
        opens.filter(|open| *open > at).find(|open| self.is_open(*open)).unwrap_or(at)
    }
}

/// What holds for the scheduled drills of all databases together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DrillLimits {
    /// `None`: at any time.
    pub window: Option<DrillWindow>,
    /// Bytes that drills from buckets may download in 24 hours; `None`: as many as they need.
    pub daily_download: Option<u64>,
}
