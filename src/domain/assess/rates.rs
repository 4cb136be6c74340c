//! Growth and write rates over a window.
//!
//! Rates are differences of counters that only grow while the agent looks, divided by the time in which it looked, so a
//! WAL reset, a VACUUM, a reopened database or a restarted agent neither shows as a spike nor loses the window.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::samples;
use crate::domain::limits::RATE_SAMPLES_MAX;
use crate::domain::moment::Moment;
use crate::domain::observation::DatabaseLook;

/// The window over which rates are taken.
pub const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// Samples closer together than this replace each other: [`WINDOW`] then fits into [`RATE_SAMPLES_MAX`] of them.
const SPACING: SignedDuration = SignedDuration::from_secs(10);

/// Both clocks may disagree by so many seconds while the database is watched.
const UNWATCHED_MAX: f64 = 1.0;

/// The shortest time over which a rate says anything.
const SHORTEST: SignedDuration = SignedDuration::from_secs(5);

/// Growth and write rates over a window that outlives WAL resets, VACUUM and restarts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Rates {
    /// The time between the samples that were compared.
    pub window_seconds: f64,
    /// Growth of the database file; negative after a VACUUM.
    pub growth_bytes_per_second: f64,
    /// Write transactions committed.
    pub write_transactions_per_second: f64,
    /// Bytes of WAL frames committed.
    pub written_bytes_per_second: f64,
}

/// Totals counted until an instant; they continue over restarts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    wall: Timestamp,
    /// Seconds during which the database was watched.
    watched_seconds: f64,
    size_bytes: u64,
    commits: u64,
    written_bytes: u64,
}

impl Sample {
    /// Nothing changed until a later one, and the database was watched all the time.
    fn goes_on_to(&self, later: &Self) -> bool {
        let same = |sample: &Self| (sample.size_bytes, sample.commits, sample.written_bytes);
        same(self) == same(later) && self.unwatched_until(later) < UNWATCHED_MAX
    }

    /// Seconds until a later one in which the database was not watched.
    fn unwatched_until(&self, later: &Self) -> f64 {
        later.wall.duration_since(self.wall).as_secs_f64() - (later.watched_seconds - self.watched_seconds)
    }
}

/// The samples of one database, oldest first; the newest is the present.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RateWindow {
    samples: Vec<Sample>,
    /// The counters when they were last read; absent after a restart.
    #[serde(skip)]
    baseline: Option<(Moment, u64, u64)>,
}

impl RateWindow {
    /// Adds what a look counted.
    pub fn record(&mut self, look: &DatabaseLook) {
        let counters = &look.counters;
        let (mut watched, mut commits, mut written) = (0.0, 0, 0);
        if let Some((seen, seen_commits, seen_written)) = self.baseline {
            watched = look.at.since(seen).as_secs_f64();
            commits = counters.commits.saturating_sub(seen_commits);
            written = counters.written_bytes.saturating_sub(seen_written);
        }
        self.baseline = Some((look.at, counters.commits, counters.written_bytes));
        let last = self.samples.last().copied();
        let total = last.map_or((0.0, 0, 0), |last| (last.watched_seconds, last.commits, last.written_bytes));
        let sample = Sample {
            wall: look.at.wall(),
            watched_seconds: total.0 + watched,
            size_bytes: look.size_bytes,
            commits: total.1.saturating_add(commits),
            written_bytes: total.2.saturating_add(written),
        };
        let age = |known: &Sample| sample.wall.duration_since(known.wall);
        let same = |known: &Sample| known.goes_on_to(&sample);
        samples::add(&mut self.samples, sample, RATE_SAMPLES_MAX, |s| age(s) < SPACING, same, |s| age(s) > WINDOW);
    }

    /// The rates at `now`. A database that was not looked at since its last change is unchanged since, because it is
    /// looked at when it changes.
    pub fn rates(&self, now: Moment) -> Option<Rates> {
        let last = self.samples.last()?;
        let idle = self.baseline.map_or(SignedDuration::ZERO, |(seen, ..)| now.since(seen));
        let start = now.wall().checked_sub(WINDOW).ok()?;
        // The last sample at or before the start of the window: nothing changed between it and the start.
        let at = self.samples.iter().rposition(|sample| sample.wall <= start).unwrap_or(0);
        let first = self.samples.get(at)?;
        let mut watched = last.watched_seconds - first.watched_seconds + idle.as_secs_f64();
        // It may be long before the window if nothing changed. That only counts where there is a gap in the window.
        let next = self.samples.get(at + 1).filter(|next| first.goes_on_to(next));
        if next.is_some() && first.unwatched_until(last) >= UNWATCHED_MAX {
            watched -= start.duration_since(first.wall).as_secs_f64().max(0.0);
        }
        if watched < SHORTEST.as_secs_f64() {
            return None;
        }
        let inside = watched.min(WINDOW.as_secs_f64());
        // Size is known without watching, so its growth counts the time in which nobody looked.
        let span = now.wall().duration_since(first.wall).as_secs_f64().clamp(inside, WINDOW.as_secs_f64());
        Some(Rates {
            window_seconds: inside,
            growth_bytes_per_second: (last.size_bytes as f64 - first.size_bytes as f64) / span,
            write_transactions_per_second: last.commits.saturating_sub(first.commits) as f64 / inside,
            written_bytes_per_second: last.written_bytes.saturating_sub(first.written_bytes) as f64 / inside,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::observation::{Counters, Journal};

    fn at(seconds: i64) -> Moment {
        Moment::new(Timestamp::from_second(1_000_000 + seconds).unwrap(), SignedDuration::from_secs(seconds))
    }

    fn look(seconds: i64, size_bytes: u64, commits: u64) -> DatabaseLook {
        DatabaseLook {
            at: at(seconds),
            size_bytes,
            wal_size_bytes: None,
            page_size: 4096,
            journal: Journal::WalAbsent { change_counter: 0 },
            last_commit: None,
            counters: Counters { commits, written_bytes: commits * 100, ..Counters::default() },
            replacement: Default::default(),
        }
    }

    fn check(window: &RateWindow, now: i64, expected: &str) {
        let actual = window.rates(at(now)).map_or_else(
            || "unknown".to_owned(),
            |rates| {
                format!(
                    "growth {:.2}, transactions {:.2}, written {:.1} over {:.0}",
                    rates.growth_bytes_per_second,
                    rates.write_transactions_per_second,
                    rates.written_bytes_per_second,
                    rates.window_seconds
                )
            },
        );
        assert_eq!(actual, expected);
    }

    fn window(looks: &[(i64, u64, u64)]) -> RateWindow {
        let mut window = RateWindow::default();
        for (seconds, size, commits) in looks {
            window.record(&look(*seconds, *size, *commits));
        }
        window
    }

    #[test]
    fn one_look_says_nothing() {
        check(&window(&[(0, 1000, 0)]), 1, "unknown");
    }

    #[test]
    fn idle_is_known_to_be_zero() {
        check(&window(&[(0, 1000, 0)]), 60, "growth 0.00, transactions 0.00, written 0.0 over 60");
    }

    #[test]
    fn steady_writes() {
        let looks: Vec<_> = (0..=100).map(|second| (second, 1000 + second as u64 * 50, second as u64 * 2)).collect();
        check(&window(&looks), 100, "growth 50.00, transactions 2.00, written 200.0 over 100");
    }

    #[test]
    fn vacuum_is_negative_growth_and_no_negative_writes() {
        check(
            &window(&[(0, 9000, 0), (50, 9000, 10), (100, 1000, 11)]),
            100,
            "growth -80.00, transactions 0.11, written 11.0 over 100",
        );
    }

    #[test]
    fn old_writes_leave_the_window() {
        let looks = window(&[(0, 1000, 0), (10, 2000, 90)]);
        check(&looks, 20, "growth 50.00, transactions 4.50, written 450.0 over 20");
        check(&looks, 905, "growth 1.11, transactions 0.10, written 10.0 over 900");
        check(&looks, 911, "growth 0.00, transactions 0.00, written 0.0 over 900");
    }

    #[test]
    fn restart_continues_the_window_and_counts_only_the_time_it_watched() {
        let before = window(&[(0, 1000, 0), (100, 2000, 50)]);
        let mut after: RateWindow = serde_json::from_str(&serde_json::to_string(&before).unwrap()).unwrap();
        // Away for 200 seconds; the new process counts from zero.
        after.record(&look(300, 3000, 0));
        after.record(&look(350, 3500, 25));
        check(&after, 350, "growth 7.14, transactions 0.50, written 50.0 over 150");
    }

    #[test]
    fn idle_hours_take_no_memory_and_hide_no_gap() {
        let looks: Vec<_> = (0..=60).map(|minute| (minute * 60, 1000, 0)).collect();
        let idle = window(&looks);
        assert_eq!(idle.samples.len(), 2);
        check(&idle, 3600, "growth 0.00, transactions 0.00, written 0.0 over 900");
        // Ten minutes in which nobody looked.
        let mut after: RateWindow = serde_json::from_str(&serde_json::to_string(&idle).unwrap()).unwrap();
        after.record(&look(4200, 1000, 0));
        after.record(&look(4260, 1000, 10));
        check(&after, 4260, "growth 0.00, transactions 0.03, written 3.3 over 300");
    }

    #[test]
    fn memory_is_bounded() {
        let looks: Vec<_> = (0..20_000).map(|second| (second, 0, second as u64)).collect();
        assert!(window(&looks).samples.len() <= RATE_SAMPLES_MAX);
    }
}
