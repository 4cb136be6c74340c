//! Samples of a window that moves on, oldest first.

use std::collections::VecDeque;

/// Adds a sample. The last one makes room if the one before it is `close` to the new one. From the front go those beyond
/// `most`, and those whose successor is `old`: one sample before the window stays, because it is what the window is
/// compared with.
pub(super) fn add<T>(
    samples: &mut VecDeque<T>,
    new: T,
    most: usize,
    close: impl Fn(&T) -> bool,
    old: impl Fn(&T) -> bool,
) {
    let before_last = samples.len().checked_sub(2).and_then(|index| samples.get(index));
    if before_last.is_some_and(close) {
        samples.pop_back();
    }
    if samples.len() == samples.capacity() {
        // There are windows for each database, and most are short.
        samples.reserve_exact(2);
    }
    samples.push_back(new);
    while samples.len() > most || samples.get(1).is_some_and(&old) {
        samples.pop_front();
    }
}
