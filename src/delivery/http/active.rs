//! What a connection is at: whether it has requests in work, and how fast its client takes the answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::domain::limits::{READ_PAUSE_MAX, READ_RATE_MIN};
use crate::infrastructure::clock;

/// A client is not judged by its rate before.
const READ_START: Duration = Duration::from_secs(1);

/// What a connection with requests in work is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its client takes nothing, or hardly anything, of an answer.
    Behind,
    /// All its answers are still being made.
    Making,
    /// Its client takes one as it comes.
    Reading,
}

impl State {
    /// The least worth keeping first.
    pub(super) const ALL: [Self; 3] = [Self::Behind, Self::Making, Self::Reading];
}

/// How far a client has come with an answer.
struct Progress {
    made: Instant,
    /// When something of it was last taken.
    moved: Instant,
    bytes: u64,
}

impl Progress {
    fn is_behind(&self, now: Instant) -> bool {
        let time = now.saturating_duration_since(self.made).saturating_sub(READ_START);
        let expected = time.as_secs().saturating_mul(READ_RATE_MIN);
        self.bytes < expected || now.saturating_duration_since(self.moved) > READ_PAUSE_MAX
    }
}

/// What a connection is at, and how lately something came or went on it, in turns that all connections share.
#[derive(Default)]
pub(super) struct Active {
    id: u64,
    turns: Arc<AtomicU64>,
    last: AtomicU64,
    /// Requests in work.
    working: AtomicUsize,
    /// How far the client has come with each answer that was made.
    sending: Mutex<BTreeMap<u64, Progress>>,
}

impl Active {
    /// Of a connection of which something has come just now.
    pub(super) fn new(id: u64, turns: Arc<AtomicU64>) -> Self {
        let this = Self { id, turns, ..Self::default() };
        this.touch();
        this
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The turn at which something last came or went.
    pub(super) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// How many requests are in work.
    pub(super) fn working(&self) -> usize {
        self.working.load(Ordering::Relaxed)
    }

    /// One more request is in work. Whether it is the first.
    pub(super) fn begin(&self) -> bool {
        self.working.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// One request less. Whether it was the last.
    pub(super) fn end(&self) -> bool {
        self.working.fetch_sub(1, Ordering::Relaxed) == 1
    }

    /// An answer is made.
    pub(super) fn made(&self, answer: u64) {
        let now = clock::timer();
        self.sending().insert(answer, Progress { made: now, moved: now, bytes: 0 });
    }

    /// So many bytes of an answer were taken.
    pub(super) fn moved(&self, answer: u64, bytes: usize) {
        if let Some(answer) = self.sending().get_mut(&answer) {
            (answer.moved, answer.bytes) = (clock::timer(), answer.bytes.saturating_add(bytes as u64));
        }
    }

    /// An answer was taken, or will not be.
    pub(super) fn gone(&self, answer: u64) {
        self.sending().remove(&answer);
    }

    /// Something came or went.
    pub(super) fn touch(&self) {
        self.last.store(self.turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns when the client has taken nothing of one of its answers for `patience`, whatever else comes and goes.
    pub(super) async fn stalled(&self, patience: Duration) {
        loop {
            let now = clock::timer();
            let oldest = self.sending().values().map(|answer| answer.moved).min().unwrap_or(now);
            if now.duration_since(oldest) >= patience {
                return;
            }
            sleep_until(oldest + patience).await;
        }
    }

    fn sending(&self) -> MutexGuard<'_, BTreeMap<u64, Progress>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is no request in work.
    pub(super) fn is_waiting(&self) -> bool {
        self.working() == 0
    }

    pub(super) fn state(&self, now: Instant) -> State {
        let sending = self.sending();
        match sending.values().any(|answer| answer.is_behind(now)) {
            true => State::Behind,
            false if sending.is_empty() => State::Making,
            false => State::Reading,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_now_and_then_is_behind() {
        let start = clock::timer();
        let mut answer = Progress { made: start, moved: start, bytes: 0 };
        let at = |milliseconds| start + Duration::from_millis(milliseconds);
        assert!(!answer.is_behind(at(200)) && answer.is_behind(at(300)));
        (answer.moved, answer.bytes) = (at(9_900), 8 * READ_RATE_MIN);
        assert!(!answer.is_behind(at(9_950)) && answer.is_behind(at(10_000)), "it took 8 seconds' worth in 10");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_behind_with_any_of_its_answers() {
        let active = Active::default();
        assert!(active.is_waiting() && active.begin() && !active.begin());
        assert_eq!(active.state(clock::timer()), State::Making);
        active.made(1);
        assert_eq!(active.state(clock::timer()), State::Reading, "although another one is still being made");
        active.made(2);
        tokio::time::sleep(2 * READ_PAUSE_MAX).await;
        active.moved(2, 10);
        assert_eq!(active.state(clock::timer()), State::Behind);
        active.gone(1);
        assert_eq!(active.state(clock::timer()), State::Reading);
        assert!(!active.end() && active.end() && active.is_waiting());
    }
}
