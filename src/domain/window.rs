//! Times of the day in a time zone.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Times of the day, every day: when drills may begin, or when a silence is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DailyWindow {
    pub from: Time,
    /// Not included. Before `from` where the window spans midnight.
    pub to: Time,
    pub zone: TimeZone,
}

impl DailyWindow {
    /// Whether this is one of its times.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let time = at.to_zoned(self.zone.clone()).time();
        if self.from < self.to { (self.from..self.to).contains(&time) } else { time >= self.from || time < self.to }
    }

    /// The first instant from `at` on that is one of its times.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_on_which_the_clock_skips_the_window_has_none() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let window =
            DailyWindow { from: Time::constant(2, 15, 0, 0), to: Time::constant(2, 45, 0, 0), zone: zone.clone() };
        let local =
            |text: &str| text.parse::<jiff::civil::DateTime>().unwrap().to_zoned(zone.clone()).unwrap().timestamp();
        assert_eq!(window.next_open(local("2026-03-28T02:20:00")), local("2026-03-28T02:20:00"));
        assert_eq!(window.next_open(local("2026-03-28T03:00:00")), local("2026-03-30T02:15:00"));
    }
}
