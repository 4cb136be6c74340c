//! How drills go on, on standard error: one redrawn line on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::progress::line;
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
        let now = clock::monotonic();
        let state = State { name: String::new(), step: String::new(), total: 0, received: 0, since: now, said: now };
        Self { terminal: std::io::stderr().is_terminal(), state: Mutex::new(state) }
    }
}

impl Narrator {
    /// The drill of `job` begins.
    pub fn begin(&self, job: &DrillJob) {
        // A replica that was named by its URL goes by it.
        let own = job.database.0 != job.replica.location.url();
        let name = if own { format!("{}/{}", job.database, job.replica.name) } else { job.database.0.clone() };
        let name = human::printable(&name);
        self.change(|state| {
            let now = clock::monotonic();
            *state = State { name, step: "starting".to_owned(), total: 0, received: 0, since: now, said: now };
        });
        self.draw();
    }

    /// It has ended.
    pub fn end(&self, record: &DrillRecord) {
        let reason = record.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let took = human::duration(record.seconds);
        self.line(&human::printable(&format!("{} after {took}{reason}", record.result.as_str())));
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A line that stays.
    fn line(&self, text: &str) {
        let name = &self.state.lock().unwrap_or_else(PoisonError::into_inner).name;
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        // There is nowhere left to complain to.
        let _ = std::io::stderr().lock().write_all(format!("{clear}{name}: {text}\n").as_bytes());
    }

    /// The line that is drawn again and again.
    fn draw(&self) {
        if !self.terminal {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.said = clock::monotonic();
        let text = format!("\r\x1b[K{}: {}", state.name, state.describe());
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

impl State {
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
        let mut due = false;
        let interval = if self.terminal { DRAW_INTERVAL } else { LINE_INTERVAL };
        self.change(|state| {
            state.received = state.received.saturating_add(bytes);
            due = clock::monotonic().duration_since(state.said) >= interval;
        });
        match (due, self.terminal) {
            (true, true) => self.draw(),
            (true, false) => {
                let mut text = String::new();
                self.change(|state| {
                    state.said = clock::monotonic();
                    text = state.describe();
                });
                self.line(&text);
            }
            (false, _) => {}
        }
    }
}

impl DrillNews for Narrator {
    fn planned(&self, estimate: &DrillEstimate) {
        self.change(|state| state.total = estimate.bytes);
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
        self.change(|state| {
            state.step = human::printable(name);
            state.since = clock::monotonic();
        });
        self.draw();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_says_how_far_it_is() {
        let narrator = Narrator::default();
        narrator.change(|state| {
            state.step = "restoring".into();
            (state.total, state.received) = (4 << 20, 1 << 20);
        });
        let mut text = String::new();
        narrator.change(|state| text = state.describe());
        assert!(text.starts_with("restoring  25 %  1.0 MiB of 4.0 MiB  "), "{text}");
    }
}
