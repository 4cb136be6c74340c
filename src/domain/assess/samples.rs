//! Samples of a window that moves on, oldest first.

/// Adds a sample. The last one makes room if the one before it is `close` to the new one, or if both are the `same` as it: of a
/// stretch in which nothing changes its ends are kept, and a database that nobody writes has few samples. From the front go
/// those beyond `most`, and those whose successor is `old`: one sample before the window stays, because it is what the window
/// is compared with.
pub(super) fn add<T>(
    samples: &mut Vec<T>,
    new: T,
    most: usize,
    close: impl Fn(&T) -> bool,
    same: impl Fn(&T) -> bool,
    old: impl Fn(&T) -> bool,
) {
    if let Some([before, last]) = samples.last_chunk()
        && (close(before) || (same(before) && same(last)))
    {
        samples.pop();
    }
    if samples.len() == samples.capacity() {
        // There are windows for each database, and most are short.
        samples.reserve_exact(if samples.len() < 4 { 1 } else { 4 });
    }
    samples.push(new);
    let excess = samples.len().saturating_sub(most);
    let kept = excess + samples[excess..].iter().skip(1).take_while(|sample| old(sample)).count();
    samples.drain(..kept);
}
