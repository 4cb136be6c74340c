//! How many bytes verification may read: so many a day, saved up for at most a day.

use jiff::Timestamp;

use crate::domain::spot::SpotPolicy;

/// Which part of the bytes a day may be spent on what was read before.
pub(super) const REREADING_SHARE: u64 = 4;

/// Bytes that one request counts for in addition to those that it receives: on S3 it costs as much as these ($0.0004
/// for a thousand requests, $0.09 for a gigabyte received).
const REQUEST_BYTES: u64 = 4 << 10;

const DAY_SECONDS: f64 = 86_400.0;

/// How deep objects are verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum VerifyDepth {
    /// Not at all.
    #[default]
    None,
    /// Header and page index, and the content of what is small enough to be read whole.
    Structure,
    /// Everything, as far as the budget goes.
    Content,
}

/// How objects are verified, and how much may be read for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifyPolicy {
    pub depth: VerifyDepth,
    /// Bytes a day for each replica in a directory.
    pub directory: u64,
    /// Bytes a day for each replica in a bucket, where they cost money.
    pub bucket: u64,
    /// How often single pages are compared with the live database, out of the same bytes.
    pub spot: SpotPolicy,
}

impl VerifyPolicy {
    pub const OFF: Self = Self { depth: VerifyDepth::None, directory: 0, bucket: 0, spot: SpotPolicy::OFF };
}

/// 10 GiB a day from directories, and 64 MiB from buckets: at $0.09 for a gigabyte, at most 17 cents a month.
impl Default for VerifyPolicy {
    fn default() -> Self {
        Self { depth: VerifyDepth::Content, directory: 10 << 30, bucket: 64 << 20, spot: SpotPolicy::default() }
    }
}

/// A bucket of tokens, one for each byte.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budget {
    per_day: u64,
    /// The most that is saved up.
    capacity: u64,
    tokens: f64,
    filled: Option<Timestamp>,
}

impl Budget {
    /// A full one.
    pub fn new(per_day: u64) -> Self {
        Self { per_day, capacity: per_day, tokens: per_day as f64, filled: None }
    }

    /// An empty one that fills with a part of what this one does, and holds as much.
    pub(super) fn part(&self, divisor: u64) -> Self {
        Self { per_day: self.per_day / divisor, capacity: self.capacity, tokens: 0.0, filled: None }
    }

    /// The most that can ever be there.
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes that may be read now. A clock that was set back fills nothing.
    pub fn available(&mut self, now: Timestamp) -> u64 {
        let elapsed = self.filled.map_or(0.0, |filled| now.duration_since(filled).as_secs_f64().max(0.0));
        self.filled = Some(self.filled.map_or(now, |filled| filled.max(now)));
        let more = elapsed / DAY_SECONDS * self.per_day as f64;
        self.tokens = (self.tokens + more).min(self.capacity as f64);
        self.tokens.max(0.0) as u64
    }

    /// Counts what was read.
    pub fn spend(&mut self, requests: u64, bytes: u64) {
        self.tokens -= cost(requests, bytes) as f64;
    }

    pub(super) fn saved(&self) -> (f64, Option<Timestamp>) {
        (self.tokens, self.filled)
    }

    pub(super) fn restore(&mut self, (tokens, filled): (f64, Option<Timestamp>)) {
        if tokens.is_finite() {
            self.tokens = tokens.min(self.capacity as f64);
            self.filled = filled;
        }
    }
}

/// The bytes that so many requests and received bytes take from a budget.
pub(super) fn cost(requests: u64, bytes: u64) -> u64 {
    bytes.saturating_add(requests.saturating_mul(REQUEST_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_day_fills_it_and_no_more() {
        let mut budget = Budget::new(86_400);
        assert_eq!(budget.available(at(0)), 86_400);
        budget.spend(1, 80_000 - REQUEST_BYTES);
        assert_eq!(budget.available(at(0)), 6_400);
        assert_eq!(budget.available(at(100)), 6_500);
        assert_eq!(budget.available(at(50)), 6_500, "a clock that was set back");
        assert_eq!(budget.available(at(101)), 6_501);
        assert_eq!(budget.available(at(10 * 86_400)), 86_400);
    }

    #[test]
    fn debts_are_paid_back_first_even_over_a_restart() {
        let mut budget = Budget::new(86_400);
        budget.available(at(0));
        budget.spend(0, 87_400);
        let mut again = Budget::new(86_400);
        again.restore(budget.saved());
        assert_eq!(again.available(at(500)), 0);
        assert_eq!(again.available(at(1500)), 500);
    }
}
