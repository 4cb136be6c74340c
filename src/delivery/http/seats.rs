//! The connections that are open. There is always room for one more: the one that has been silent for longest gives way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::domain::limits::{CONNECTIONS_MAX, CONNECTIONS_MIN};

/// How many connections a process may serve that may open `descriptors` files: a quarter of them, so that there are
/// always some for databases, whoever connects.
pub fn connections_max(descriptors: Option<u64>) -> usize {
    let quarter = descriptors.map_or(CONNECTIONS_MAX as u64, |all| all / 4);
    usize::try_from(quarter).unwrap_or(CONNECTIONS_MAX).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX)
}

/// All connections with their tasks.
pub(super) struct Seats {
    max: usize,
    taken: Vec<(Active, JoinHandle<()>)>,
    turns: Arc<AtomicU64>,
}

impl Seats {
    pub(super) fn new(max: usize) -> Self {
        Self { max, taken: Vec::new(), turns: Arc::default() }
    }

    /// The handle by which a new connection is known.
    pub(super) fn active(&self) -> Active {
        let active = Active { turns: Arc::clone(&self.turns), ..Active::default() };
        active.touch();
        active
    }

    pub(super) fn take(&mut self, active: Active, task: JoinHandle<()>) {
        self.taken.push((active, task));
    }

    /// Waits for nobody's client: only for tasks that are ended here.
    pub(super) async fn make_room(&mut self) {
        self.taken.retain(|(_, task)| !task.is_finished());
        while self.taken.len() >= self.max {
            self.close_one().await;
        }
    }

    /// Ends the connection that was silent for longest, one that waits for its answer only when there is no other.
    pub(super) async fn close_one(&mut self) {
        let silent = |index: &usize| {
            let (active, _) = &self.taken[*index];
            (active.working.load(Ordering::Relaxed), active.last.load(Ordering::Relaxed))
        };
        let Some(index) = (0..self.taken.len()).min_by_key(silent) else { return };
        let (_, task) = self.taken.swap_remove(index);
        task.abort();
        // Its descriptor is free afterwards.
        let _ = task.await;
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        self.taken.iter().for_each(|(_, task)| task.abort());
    }
}

/// How lately something came or went on a connection, in turns that all connections share.
#[derive(Clone, Default)]
pub(super) struct Active {
    turns: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
    working: Arc<AtomicBool>,
}

impl Active {
    /// Something came or went.
    pub(super) fn touch(&self) {
        self.last.store(self.turns.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether an answer is being made.
    pub(super) fn set_working(&self, working: bool) {
        self.working.store(working, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_databases() {
        for (descriptors, expected) in
            [(None, 256), (Some(1 << 20), 256), (Some(1024), 256), (Some(256), 64), (Some(64), 16), (Some(16), 8)]
        {
            assert_eq!(connections_max(descriptors), expected, "{descriptors:?}");
        }
    }

    #[tokio::test]
    async fn the_longest_silent_one_gives_way_and_one_that_is_answered_last() {
        let mut seats = Seats::new(3);
        let mut sit = |working| {
            let active = seats.active();
            active.set_working(working);
            seats.take(active.clone(), tokio::spawn(std::future::pending()));
            active
        };
        let (answered, silent, chatty) = (sit(true), sit(false), sit(false));
        silent.touch();
        chatty.touch();
        let left = |seats: &Seats| -> Vec<u64> {
            seats.taken.iter().map(|(active, _)| active.last.load(Ordering::Relaxed)).collect()
        };
        seats.make_room().await;
        let expected = [&answered, &chatty].map(|active| active.last.load(Ordering::Relaxed));
        assert_eq!(left(&seats), expected);
        seats.close_one().await;
        assert_eq!(left(&seats), expected[..1]);
        seats.close_one().await;
        seats.close_one().await;
        assert!(left(&seats).is_empty());
    }
}
