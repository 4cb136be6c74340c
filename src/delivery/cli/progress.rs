//! How far a long work is: one line that is redrawn on a terminal, a plain line now and then elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::output::{redraws, say};
use crate::domain::human;
use crate::infrastructure::clock;

/// Time over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(5);
/// Takes away what stands in the line.
pub const CLEAR: &str = "\r\x1b[K";
/// Characters of the bar.
const BAR: u64 = 24;

/// Where progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Quiet,
    /// Redrawn in place.
    Bar,
    Lines,
}

/// Shows how much of `total` bytes was received, on standard error.
pub struct Display {
    style: Style,
    total: u64,
    received: Arc<AtomicU64>,
    samples: VecDeque<(Instant, u64)>,
}

impl Display {
    pub fn new(total: u64, received: Arc<AtomicU64>, quiet: bool) -> Self {
        let style = match quiet {
            true => Style::Quiet,
            false if redraws() => Style::Bar,
            false => Style::Lines,
        };
        Self { style, total, received, samples: VecDeque::from([(clock::monotonic(), 0)]) }
    }

    /// How often [`Display::draw`] is to be called.
    pub fn interval(&self) -> Duration {
        if self.style == Style::Bar { Duration::from_millis(200) } else { Duration::from_secs(10) }
    }

    /// Shows where the work stands.
    pub fn draw(&mut self, now: Instant) {
        let received = self.received.load(Ordering::Relaxed);
        self.samples.push_back((now, received));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        let rate = self.samples.front().map_or(0.0, |(at, bytes)| {
            let seconds = now.duration_since(*at).as_secs_f64();
            if seconds > 0.0 { (received - bytes) as f64 / seconds } else { 0.0 }
        });
        let text = line(received, self.total, rate);
        match self.style {
            Style::Quiet => {}
            Style::Bar => say(&format!("{CLEAR}{} {text}", bar(received, self.total))),
            Style::Lines => say(&format!("{text}\n")),
        }
    }

    /// Takes the bar away, so that what follows stands on a line of its own.
    pub fn clear(&self) {
        if self.style == Style::Bar {
            say(CLEAR);
        }
    }
}

fn bar(received: u64, total: u64) -> String {
    let full = (received.min(total) * BAR).checked_div(total).unwrap_or(BAR) as usize;
    format!("[{}{}]", "#".repeat(full), "-".repeat(BAR as usize - full))
}

/// How far a download of `total` bytes is, at `rate` bytes a second: percent, bytes, rate and time left.
pub fn line(received: u64, total: u64, rate: f64) -> String {
    let percent = (received.min(total) * 100).checked_div(total).unwrap_or(100);
    let left = match total.saturating_sub(received) {
        0 => "finishing".to_owned(),
        _ if rate <= 0.0 => "waiting".to_owned(),
        left => format!("{} left", human::duration((left as f64 / rate).max(1.0).ceil())),
    };
    let (received, total, rate) = (human::bytes(received), human::bytes(total), human::bytes(rate as u64));
    format!("{percent:3} %  {received} of {total}  {rate}/s  {left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        assert_eq!(line(1 << 20, 4 << 20, 1048576.0), " 25 %  1.0 MiB of 4.0 MiB  1.0 MiB/s  3s left");
        assert_eq!(line(4 << 20, 4 << 20, 0.0), "100 %  4.0 MiB of 4.0 MiB  0 B/s  finishing");
        assert_eq!(line(0, 4 << 20, 0.0), "  0 %  0 B of 4.0 MiB  0 B/s  waiting");
        // Read twice after a broken connection, or nothing to read at all.
        assert_eq!(line(5 << 20, 4 << 20, 1.0), "100 %  5.0 MiB of 4.0 MiB  1 B/s  finishing");
        assert_eq!(line(0, 0, 0.0), "100 %  0 B of 0 B  0 B/s  finishing");
        assert_eq!(bar(1, 2), "[############------------]");
        assert_eq!(bar(0, 0), format!("[{}]", "#".repeat(24)));
    }
}
