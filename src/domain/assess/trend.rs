//! How fast something grows when what happens once is left out: the disk that fills, the database that outgrows its machine.
//!
//! The window is cut into four parts of the same length, and the trend is the second smallest of their four rates. What
//! happens once (a copy, an import) is inside one part or two and changes nothing; what goes on is inside three.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::samples;

/// Over which time a trend is taken.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    pub window: SignedDuration,
    /// Samples closer together than this replace each other, so that the window holds `window / spacing` of them.
    pub spacing: SignedDuration,
    /// A shorter history says nothing.
    pub least: SignedDuration,
}

/// The horizon for the space used on a filesystem: a copy that takes less than half an hour is no trend.
pub const SPACE: Horizon = Horizon {
    window: SignedDuration::from_hours(2),
    spacing: SignedDuration::from_mins(5),
    least: SignedDuration::from_mins(30),
};

/// The size of a database: an import of a day is no trend.
pub const SIZE: Horizon = Horizon {
    window: SignedDuration::from_hours(28 * 24),
    spacing: SignedDuration::from_hours(12),
    least: SignedDuration::from_hours(7 * 24),
};

/// Write transactions: an import of less than a day is no trend.
pub const WRITES: Horizon = Horizon {
    window: SignedDuration::from_hours(4 * 24),
    spacing: SignedDuration::from_hours(4),
    least: SignedDuration::from_hours(3 * 24),
};

/// A history of one number, oldest first: seconds since 1970, and the number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Trend(Vec<(i64, f64)>);

impl Trend {
    pub fn record(&mut self, at: Timestamp, value: f64, horizon: &Horizon) {
        let at = at.as_second();
        // The clock was set back: what is in the future did not happen.
        while self.0.last().is_some_and(|(last, _)| *last > at) {
            self.0.pop();
        }
        let age = |sample: &(i64, f64)| at - sample.0;
        let (spacing, window) = (horizon.spacing.as_secs(), horizon.window.as_secs());
        let same = |sample: &(i64, f64)| sample.1 == value;
        samples::add(&mut self.0, (at, value), usize::MAX, |s| age(s) < spacing, same, |s| age(s) > window);
    }

    /// Steady growth in a second; 0 when there is none, `None` while the history is too short to tell.
    pub fn growth(&self, horizon: &Horizon) -> Option<f64> {
        let (first, last) = (self.0.first()?.0, self.0.last()?.0);
        let start = first.max(last - horizon.window.as_secs());
        let span = last - start;
        if span < horizon.least.as_secs().max(4) {
            return None;
        }
        let part = span as f64 / 4.0;
        let bound = |index: u32| self.value_at(start as f64 + part * f64::from(index));
        let mut rates = [0.0; 4];
        for (index, rate) in (0_u32..).zip(&mut rates) {
            *rate = (bound(index + 1) - bound(index)) / part;
        }
        rates.sort_by(f64::total_cmp);
        Some(rates[1].max(0.0))
    }

    /// Between two samples, on the line from one to the other.
    fn value_at(&self, at: f64) -> f64 {
        let mut before: Option<(f64, f64)> = None;
        for (second, value) in self.0.iter().map(|(second, value)| (*second as f64, *value)) {
            match before {
                Some((earlier, from)) if second >= at && second > earlier => {
                    return from + (value - from) * ((at - earlier) / (second - earlier)).clamp(0.0, 1.0);
                }
                None if second >= at => return value,
                _ => before = Some((second, value)),
            }
        }
        before.map_or(0.0, |(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;

    /// Growth in a second, from samples a minute apart.
    fn growth(minutes: i64, value: impl Fn(i64) -> f64) -> Option<f64> {
        let mut trend = Trend::default();
        for minute in 0..=minutes {
            trend.record(Timestamp::from_second(1_000_000 + minute * MINUTE).unwrap(), value(minute), &SPACE);
        }
        trend.growth(&SPACE)
    }

    #[test]
    fn steady_growth_is_what_it_is() {
        assert_eq!(growth(240, |minute| 5e9 + minute as f64 * 600.0), Some(10.0));
        assert_eq!(growth(31, |minute| minute as f64 * 60.0), Some(1.0));
    }

    #[test]
    fn a_short_history_says_nothing() {
        assert_eq!(growth(29, |minute| minute as f64 * 60.0), None);
        assert_eq!(growth(0, |_| 7.0), None);
        assert_eq!(Trend::default().growth(&SPACE), None);
    }

    #[test]
    fn what_shrinks_or_stays_does_not_grow() {
        assert_eq!(growth(240, |_| 7.0), Some(0.0));
        assert_eq!(growth(240, |minute| 1e9 - minute as f64), Some(0.0));
    }

    /// Wherever a copy of 25 minutes lies, before, in the middle of, or at the end of the window.
    #[test]
    fn a_copy_is_no_trend() {
        for begins in 0..=240 {
            let copied = |minute: i64| (minute - begins).clamp(0, 25) as f64 * 1e9;
            assert_eq!(growth(240, copied), Some(0.0), "begins at minute {begins}");
            let and_slowly = growth(240, |minute| copied(minute) + minute as f64 * 600.0).unwrap();
            assert!((and_slowly - 10.0).abs() < 1e-3, "begins at minute {begins}: {and_slowly}");
        }
    }

    /// A day of 12 GB on top of 10 MB an hour, seen hourly: wherever it lies, and even in the first week.
    #[test]
    fn an_import_day_is_no_growth() {
        for (days, begins) in [(7, 0), (7, 30), (7, 70), (7, 100), (7, 140), (28, 300), (28, 330), (60, 900)] {
            let mut trend = Trend::default();
            for hour in 0..=days * 24 {
                let imported = (hour - begins).clamp(0, 24) as f64 * 500e6;
                let at = Timestamp::from_second(1_000_000 + hour * 3600).unwrap();
                trend.record(at, 5e9 + imported + hour as f64 * 10e6, &SIZE);
            }
            let month = trend.growth(&SIZE).unwrap() * 30.0 * 86_400.0;
            assert!((month - 7.2e9).abs() < 1e6, "{days} days, begins at hour {begins}: {month} bytes a month");
        }
    }

    /// WAL and staging grow and go again every ten minutes.
    #[test]
    fn a_sawtooth_is_no_trend() {
        let growth = growth(240, |minute| (minute % 10) as f64 * 50e6).unwrap();
        assert!(growth < 50e6 / 600.0, "{growth}");
    }

    #[test]
    fn what_begins_to_fill_the_disk_is_seen_in_time() {
        let fills = |minutes: i64| growth(240 + minutes, |minute| (minute - 240).max(0) as f64 * 6e8).unwrap();
        assert_eq!(fills(55), 0.0);
        assert!(fills(75) > 0.0);
        assert_eq!(fills(120), 1e7);
    }

    #[test]
    fn what_stands_still_takes_no_more_memory_with_time() {
        let mut trend = Trend::default();
        let mut record = |minute: i64, value| {
            trend.record(Timestamp::from_second(1_000_000 + minute * MINUTE).unwrap(), value, &SPACE);
            (trend.0.len(), trend.growth(&SPACE))
        };
        for minute in 0..=600 {
            record(minute, 5e9);
        }
        assert_eq!(record(601, 5e9), (2, Some(0.0)));
        // It stood still until then, and not only once, long ago.
        let mut grown = |minute: i64| record(minute, 5e9 + (minute - 601) as f64 * 6e8).1;
        let growth: Vec<_> = (602..=691).map(&mut grown).collect();
        assert_eq!([growth[59], growth[89]], [Some(0.0), Some(1e7)]);
    }

    #[test]
    fn a_clock_set_back_forgets_the_future() {
        let mut trend = Trend::default();
        let mut record = |second, value| trend.record(Timestamp::from_second(second).unwrap(), value, &SPACE);
        record(1_000_000, 0.0);
        record(9_000_000, 5e9);
        (0..=40).for_each(|minute| record(1_000_060 + minute * MINUTE, minute as f64 * 60.0));
        let growth = trend.growth(&SPACE).unwrap();
        assert!((0.9..=1.0).contains(&growth), "{growth}");
    }

    #[test]
    fn memory_is_bounded_and_a_restart_keeps_it() {
        for horizon in [SPACE, SIZE, WRITES] {
            let mut trend = Trend::default();
            (0..100_000).for_each(|minute| {
                trend.record(Timestamp::from_second(minute * MINUTE).unwrap(), minute as f64, &horizon);
            });
            assert!(trend.0.len() <= 64, "{}", trend.0.len());
            let text = serde_json::to_string(&trend).unwrap();
            assert_eq!(serde_json::from_str::<Trend>(&text).unwrap(), trend);
        }
    }
}
