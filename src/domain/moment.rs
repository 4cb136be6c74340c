//! One instant on both clocks.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// An instant as the wall clock dated it and as the monotonic clock counted it.
///
/// Ages are differences of `mono`, so that a stepped wall clock neither invents nor hides lag; what is shown to people
/// and to Prometheus as an instant is `wall`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock.
    pub wall: Timestamp,
    /// Time since the agent's own origin; negative for what happened before it started.
    pub mono: SignedDuration,
}

impl Moment {
    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> SignedDuration {
        self.mono.saturating_sub(earlier.mono).max(SignedDuration::ZERO)
    }

    /// The moment that lies `duration` after this one on both clocks.
    pub fn after(self, duration: Duration) -> Self {
        let duration = signed(duration);
        Self { wall: later(self.wall, duration), mono: self.mono.saturating_add(duration) }
    }

    /// How long it is from this moment to a reading of the monotonic clock; nothing if that has passed.
    pub fn until(self, mono: SignedDuration) -> Duration {
        Duration::try_from(mono.saturating_sub(self.mono)).unwrap_or_default()
    }

    /// The moment that lies `age` before this one on both clocks.
    pub fn ago(self, age: SignedDuration) -> Self {
        Self { wall: self.wall.checked_sub(age).unwrap_or(Timestamp::MIN), mono: self.mono.saturating_sub(age) }
    }

    /// Places an instant that only the wall clock dated (a file's mtime) on both clocks. One in the future is now.
    pub fn at_wall(self, wall: Timestamp) -> Self {
        let age = self.wall.duration_since(wall).max(SignedDuration::ZERO);
        self.ago(age)
    }
}

/// The instant that lies `duration` after another, the last there is where it is later than that.
pub fn later(at: Timestamp, duration: SignedDuration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// A duration as the difference of two moments, the longest there is where it is longer than that.
pub fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
