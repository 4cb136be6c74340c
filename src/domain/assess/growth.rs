//! How fast a replica grows, against how fast its database is written.

use jiff::SignedDuration;
use serde::Serialize;

use super::samples;
use crate::domain::limits::GROWTH_SAMPLES_MAX;
use crate::domain::moment::Moment;
use crate::domain::observation::DatabaseLook;

/// The window over which growth is measured.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Samples closer together than this replace each other.
const SPACING: SignedDuration = SignedDuration::from_mins(1);

/// The shortest time over which growth says anything.
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

/// Bytes that a replica may receive beyond those written: tables of LTX files, and Litestream's own writes.
const ALLOWANCE_BYTES: u64 = 16 << 20;

/// How fast a replica grew, over at most an hour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct GrowthReport {
    /// Seconds over which it was measured.
    pub seconds: f64,
    /// Bytes of level-0 files that appeared.
    pub received_bytes: u64,
    /// Bytes of WAL frames that were committed meanwhile.
    pub written_bytes: u64,
    /// The most that level 0 may have received: twice what was written, plus the database once.
    pub expected_bytes: u64,
}

/// Readings of a database's own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// WAL bytes since some beginning.
    pub bytes: u64,
    /// How often frames may have been missed, at most one log full of them each time.
    pub missed: u64,
    /// Size of the log, its high-water mark.
    pub log: u64,
    /// Size of the database file.
    pub size: u64,
}

impl Written {
    pub fn of(look: &DatabaseLook) -> Self {
        let counters = look.counters;
        // A log that begins anew between two looks may have been longer than the first one saw.
        let resets = if counters.written_bytes_lower_bound { counters.wal_resets } else { 0 };
        let missed = resets.saturating_add(counters.doubts);
        let log = look.wal_size_bytes.unwrap_or_default();
        Self { bytes: counters.written_bytes, missed, log, size: look.size_bytes }
    }
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// By the monotonic clock.
    at: SignedDuration,
    received: u64,
    written: Written,
}

/// Bytes counted on both sides during the last hour, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    samples: Vec<Sample>,
}

impl Growth {
    /// Adds what was counted until `at`: bytes of level-0 files that appeared since some beginning, and what was written.
    pub fn record(&mut self, at: Moment, received: u64, written: Written) {
        // Whoever began to count anew cannot be compared with what was before.
        let begun_anew = |last: &Sample| {
            let before = last.written;
            received < last.received || written.bytes < before.bytes || written.missed < before.missed
        };
        if self.samples.last().is_some_and(begun_anew) {
            self.samples.clear();
        }
        let age = |sample: &Sample| at.mono().saturating_sub(sample.at);
        let same = |sample: &Sample| (sample.received, sample.written) == (received, written);
        let (new, most) = (Sample { at: at.mono(), received, written }, GROWTH_SAMPLES_MAX);
        samples::add(&mut self.samples, new, most, |s| age(s) < SPACING, same, |s| age(s) > WINDOW);
    }

    /// The growth over the last hour; `None` until enough was seen.
    pub fn report(&self) -> Option<GrowthReport> {
        let last = self.samples.last()?;
        let begin = last.at.saturating_sub(WINDOW);
        // The last sample before the window: what came after it may have come inside.
        let at = self.samples.iter().rposition(|sample| sample.at <= begin).unwrap_or(0);
        let first = self.samples.get(at)?;
        let same = |next: &&Sample| (next.received, next.written) == (first.received, first.written);
        // Where nothing came until the next one, the window begins between them.
        let next = self.samples.get(at + 1).filter(same);
        let measured = last.at.saturating_sub(next.map_or(first.at, |next| first.at.max(begin.min(next.at))));
        if measured < SHORTEST {
            return None;
        }
        let written_bytes = last.written.bytes.saturating_sub(first.written.bytes);
        let once = last.written.size.max(first.written.size);
        let times = last.written.missed.saturating_sub(first.written.missed);
        let missed = last.written.log.max(first.written.log).saturating_mul(times);
        let most = written_bytes.saturating_add(missed);
        Some(GrowthReport {
            seconds: measured.as_secs_f64(),
            received_bytes: last.received.saturating_sub(first.received),
            written_bytes,
            expected_bytes: most.saturating_mul(2).saturating_add(once).saturating_add(ALLOWANCE_BYTES),
        })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(minute: i64) -> Moment {
        let mono = SignedDuration::from_mins(minute);
        Moment::new(Timestamp::from_second(1_000_000 + 60 * minute).unwrap(), mono)
    }

    const MIB: u64 = 1 << 20;

    fn written_by(bytes: u64, missed: u64) -> Written {
        Written { bytes, missed, log: 4 * MIB, size: 100 * MIB }
    }

    /// A database of 100 MiB; each minute brings so many MiB to both sides.
    fn growth(minutes: i64, received: u64, written: u64) -> Growth {
        let mut growth = Growth::default();
        for minute in 0..=minutes {
            let count = minute.unsigned_abs() * MIB;
            growth.record(at(minute), received * count, written_by(written * count, 0));
        }
        growth
    }

    fn check(growth: &Growth, expected: &str) {
        let told = growth.report().map_or_else(
            || "unknown".to_owned(),
            |growth| {
                let GrowthReport { seconds, received_bytes, written_bytes, expected_bytes } = growth;
                let (received, written, expected) = (received_bytes / MIB, written_bytes / MIB, expected_bytes / MIB);
                format!("{received} of {expected} for {written} in {} min", seconds / 60.0)
            },
        );
        assert_eq!(told, expected);
    }

    #[test]
    fn growth_is_that_of_the_last_hour() {
        check(&growth(9, 1, 1), "unknown");
        check(&growth(10, 1, 1), "10 of 136 for 10 in 10 min");
        check(&growth(500, 1, 1), "60 of 236 for 60 in 60 min");
        check(&growth(500, 30, 0), "1800 of 116 for 0 in 60 min");
        assert!(growth(5000, 1, 1).samples.len() <= GROWTH_SAMPLES_MAX);
    }

    #[test]
    fn what_stands_still_takes_no_more_memory_with_time() {
        let idle = growth(500, 0, 0);
        check(&idle, "0 of 116 for 0 in 60 min");
        assert_eq!(idle.samples.len(), 2);
    }

    #[test]
    fn who_counts_anew_is_not_compared_with_before() {
        let mut restarted = growth(60, 1, 1);
        restarted.record(at(61), 0, written_by(61 * MIB, 0));
        check(&restarted, "unknown");
    }

    #[test]
    fn what_may_have_been_missed_is_granted() {
        let mut growth = growth(59, 1, 0);
        growth.record(at(60), 60 * MIB, written_by(0, 3));
        check(&growth, "60 of 140 for 0 in 60 min");
    }
}
