//! `rate_limit`: how many requests are answered, whoever they are from.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// A bucket that holds `burst` requests and gains one with each `interval`.
#[derive(Debug)]
pub(super) struct Limiter {
    interval: Duration,
    burst: u32,
    /// How full the bucket was, and when; `None` is full.
    bucket: Mutex<Option<(f64, Instant)>>,
}

impl Limiter {
    /// `None` for an interval of zero, which is no limit.
    pub(super) fn new(interval: Duration, burst: u32) -> Option<Self> {
        (!interval.is_zero()).then(|| Self { interval, burst, bucket: Mutex::default() })
    }

    /// Whether it has the same limits.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        (self.interval, self.burst) == (other.interval, other.burst)
    }

    /// Takes one request out of the bucket, if there is one.
    pub(super) fn allows(&self, now: Instant) -> bool {
        let most = f64::from(self.burst);
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let (held, at) = bucket.unwrap_or((most, now));
        let gained = now.saturating_duration_since(at).as_secs_f64() / self.interval.as_secs_f64();
        let held = (held + gained).min(most);
        let allowed = held >= 1.0;
        *bucket = Some((if allowed { held - 1.0 } else { held }, now));
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_answered_and_then_one_each_interval() {
        let start = Instant::now();
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        let limiter = Limiter::new(Duration::from_secs(1), 3).expect("a limit");
        let allowed = |time| (0..5).filter(|_| limiter.allows(at(time))).count();
        assert_eq!([0, 500, 1_000, 1_999, 3_500, 60_000].map(allowed), [3, 0, 1, 0, 2, 3]);
        assert!(
            !Limiter::new(Duration::from_secs(1), 0).expect("a limit").allows(at(0)),
            "a burst of none is no request"
        );
        assert!(Limiter::new(Duration::ZERO, 0).is_none(), "an interval of zero is no limit");
    }
}
