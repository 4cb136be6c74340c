//! How many of the latest requests to a store failed.

use std::time::Duration;

use crate::domain::limits::REQUEST_WINDOW_MINUTES;

/// Requests of the last [`REQUEST_WINDOW_MINUTES`], the one that runs included, counted minute by minute.
#[derive(Clone, Debug)]
pub struct RequestWindow {
    minutes: [Minute; REQUEST_WINDOW_MINUTES],
}

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    number: u64,
    requests: u64,
    failures: u64,
}

impl Default for RequestWindow {
    fn default() -> Self {
        Self { minutes: [Minute::default(); REQUEST_WINDOW_MINUTES] }
    }
}

impl RequestWindow {
    /// Counts a request that ended `at` after an origin of the caller's.
    pub fn count(&mut self, at: Duration, failed: bool) {
        let number = at.as_secs() / 60;
        // The remainder is below the length of the array.
        let minute = &mut self.minutes[(number % REQUEST_WINDOW_MINUTES as u64) as usize];
        if minute.number != number {
            *minute = Minute { number, ..Minute::default() };
        }
        minute.requests += 1;
        minute.failures += u64::from(failed);
    }

    /// Requests, and how many of them failed.
    pub fn sum(&self, at: Duration) -> (u64, u64) {
        let now = at.as_secs() / 60;
        let recent = |minute: &&Minute| now.saturating_sub(minute.number) < REQUEST_WINDOW_MINUTES as u64;
        let recent = self.minutes.iter().filter(recent);
        recent.fold((0, 0), |(requests, failures), minute| (requests + minute.requests, failures + minute.failures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        let mut window = RequestWindow::default();
        assert_eq!(window.sum(minutes(0)), (0, 0));
        for minute in 0..10 {
            window.count(minutes(minute), minute % 5 == 0);
        }
        assert_eq!(window.sum(minutes(9)), (10, 2));
        assert_eq!(window.sum(minutes(14)), (10, 2));
        assert_eq!(window.sum(minutes(15)), (9, 1));
        assert_eq!(window.sum(minutes(24)), (0, 0));
        window.count(minutes(30), true);
        assert_eq!(window.sum(minutes(30)), (1, 1));
    }
}
