//! One instant on both clocks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// An instant as the wall clock dated it and as the monotonic clock counted it.
///
/// Ages are differences of `mono`, so that a stepped wall clock neither invents nor hides lag; what is shown to people
/// and to Prometheus as an instant is `wall`.
///
/// There are dozens for each database, so that both are kept as nanoseconds: instants before 1678 and after 2261 are the
/// next that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    wall: i64,
    mono: i64,
}

impl Moment {
    /// `mono` is the time since the agent's own origin, negative for what happened before it started.
    pub fn new(wall: Timestamp, mono: SignedDuration) -> Self {
        Self { wall: nanoseconds(wall.as_nanosecond()), mono: nanoseconds(mono.as_nanos()) }
    }

    /// By the wall clock.
    pub fn wall(self) -> Timestamp {
        Timestamp::from_nanosecond(self.wall.into()).unwrap_or_default()
    }

    /// By the monotonic clock.
    pub fn mono(self) -> SignedDuration {
        SignedDuration::from_nanos(self.mono)
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> SignedDuration {
        SignedDuration::from_nanos(self.mono.saturating_sub(earlier.mono).max(0))
    }

    /// The moment that lies `duration` after this one on both clocks.
    pub fn after(self, duration: Duration) -> Self {
        let duration = i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX);
        Self { wall: self.wall.saturating_add(duration), mono: self.mono.saturating_add(duration) }
    }

    /// How long it is from this moment to a reading of the monotonic clock; nothing if that has passed.
    pub fn until(self, mono: SignedDuration) -> Duration {
        Duration::try_from(mono.saturating_sub(self.mono())).unwrap_or_default()
    }

    /// The moment that lies `age` before this one on both clocks.
    pub fn ago(self, age: SignedDuration) -> Self {
        let age = nanoseconds(age.as_nanos());
        Self { wall: self.wall.saturating_sub(age), mono: self.mono.saturating_sub(age) }
    }

    /// Places an instant that only the wall clock dated (a file's mtime) on both clocks. One in the future is now.
    pub fn at_wall(self, wall: Timestamp) -> Self {
        let age = self.wall().duration_since(wall).max(SignedDuration::ZERO);
        self.ago(age)
    }
}

fn nanoseconds(count: i128) -> i64 {
    i64::try_from(count).unwrap_or(if count < 0 { i64::MIN } else { i64::MAX })
}

/// The instant that lies `duration` after another, the last there is where it is later than that.
pub fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A duration as the difference of two moments, the longest there is where it is longer than that.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
