//! How drills go on, on standard error: one redrawn line on a terminal, plain lines elsewhere.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::output::{redraws, say};
use super::progress::{CLEAR, line};
use crate::domain::drill::DrillRecord;
use crate::domain::human;
use crate::infrastructure::clock;
use crate::usecase::ports::{DrillEstimate, DrillJob, DrillNews, Progress};

/// Between two plain lines about the same download.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// Between two drawings of the line.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);

/// Says what the drill that runs is doing.
pub struct Narrator {
    terminal: bool,
    state: Mutex<State>,
}

struct State {
    name: String,
    step: String,
    total: u64,
    received: u64,
    since: Instant,
    said: Instant,
}

impl Default for Narrator {
    fn default() -> Self {
        Self { terminal: redraws(), state: Mutex::new(State::of(String::new())) }
    }
}

impl Narrator {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The drill of `job` begins.
    pub fn begin(&self, job: &DrillJob) {
        // A replica that was named by its URL goes by it.
        let own = *job.database != *job.replica.location.url();
        let name = if own { format!("{}/{}", job.database, job.replica.name) } else { job.database.to_string() };
        *self.state() = State::of(human::printable(&name));
        self.draw();
    }

    /// It has ended.
    pub fn end(&self, record: &DrillRecord) {
        let reason = record.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let took = human::duration(record.seconds);
        self.line(&human::printable(&format!("{} after {took}{reason}", record.result.as_str())));
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        say(&format!("{}{}: {text}\n", if self.terminal { CLEAR } else { "" }, self.state().name));
    }

    /// The line that is drawn again and again.
    fn draw(&self) {
        if self.terminal {
            let mut state = self.state();
            state.said = clock::monotonic();
            say(&format!("{CLEAR}{}: {}", state.name, state.describe()));
        }
    }
}

impl State {
    fn of(name: String) -> Self {
        let now = clock::monotonic();
        Self { name, step: "starting".to_owned(), total: 0, received: 0, since: now, said: now }
    }

    fn describe(&self) -> String {
        if self.step != "restoring" || self.total == 0 {
            return format!("{} …", self.step);
        }
        let rate = self.received as f64 / clock::monotonic().duration_since(self.since).as_secs_f64().max(0.001);
        format!("restoring {}", line(self.received, self.total, rate))
    }
}

impl Progress for Narrator {
    fn received(&self, bytes: u64) {
        let interval = if self.terminal { DRAW_INTERVAL } else { LINE_INTERVAL };
        let mut state = self.state();
        state.received = state.received.saturating_add(bytes);
        let now = clock::monotonic();
        if now.duration_since(state.said) < interval {
            return;
        }
        state.said = now;
        let text = state.describe();
        drop(state);
        match self.terminal {
            true => self.draw(),
            false => self.line(&text),
        }
    }
}

impl DrillNews for Narrator {
    fn planned(&self, estimate: &DrillEstimate) {
        self.state().total = estimate.bytes;
        let kind = if estimate.incremental { "what is new up to " } else { "" };
        let price =
            if estimate.dollars > 0.0 { format!(", at most about ${:.4}", estimate.dollars) } else { String::new() };
        let size = estimate.database_bytes.map_or_else(String::new, |bytes| format!(" for {}", human::bytes(bytes)));
        self.line(&format!(
            "restores {kind}{}: {} to download{size} (objects: {}){price}",
            estimate.position,
            human::bytes(estimate.bytes),
            estimate.objects
        ));
    }

    fn step(&self, name: &str) {
        let mut state = self.state();
        (state.step, state.since) = (human::printable(name), clock::monotonic());
        drop(state);
        self.draw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_says_how_far_it_is() {
        let mut state = State::of("app".to_owned());
        (state.step, state.total, state.received) = ("restoring".to_owned(), 4 << 20, 1 << 20);
        let text = state.describe();
        assert!(text.starts_with("restoring  25 %  1.0 MiB of 4.0 MiB  "), "{text}");
    }
}
