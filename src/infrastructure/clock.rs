//! The system's clocks: no other file reads them.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::domain::moment::Moment;
use crate::usecase::ports::Clock;

/// The time by the wall clock.
pub fn wall() -> Timestamp {
    Timestamp::now()
}

/// The time by the monotonic clock, which nobody sets.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time by which the runtime's timers go: the monotonic clock, which a test may have stopped.
pub fn timer() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// The wall clock as it stands, and the monotonic clock counted from the start of the process.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    pub fn start() -> Self {
        Self { origin: monotonic() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let mono = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        Moment::new(wall(), mono)
    }
}
