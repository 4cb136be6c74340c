//! The system's clocks.

use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use crate::domain::moment::Moment;
use crate::usecase::ports::Clock;

/// The wall clock as it stands, and the monotonic clock counted from the start of the process.
#[derive(Debug)]
pub struct SystemClock {
    origin: Instant,
}

impl SystemClock {
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let mono = SignedDuration::try_from(self.origin.elapsed()).unwrap_or(SignedDuration::MAX);
        Moment { wall: Timestamp::now(), mono }
    }
}
