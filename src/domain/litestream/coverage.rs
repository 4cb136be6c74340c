//! Coverage of a replica, as far as its listing tells.

use jiff::Timestamp;

use super::hole::Hole;

/// The coverage: what could be restored, of v0.3 from the newest generation, the one that it restores from. `S` is a
/// snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage<S> {
    /// There is something from which something restores.
    pub restorable: bool,
    /// When the oldest snapshot (or file that starts at TXID 1) was made from which the chain reaches as far as from the
    /// newest one.
    pub restorable_since: Option<Timestamp>,
    /// Holes behind the newest snapshot that nothing bridges. With one, restoring the latest state fails (v0.3, and
    /// Litestream 0.5.10 and later) or silently gives an older one (0.5.8 and 0.5.9).
    pub holes: Vec<Hole>,
    /// When the replica had come as far as the chain reaches.
    pub reached_at: Option<Timestamp>,
    /// The earliest time at which the states that the first hole blocks may have been written.
    pub lost_since: Option<Timestamp>,
    /// Of all generations.
    pub snapshots: u64,
    pub newest_snapshot: Option<S>,
    /// The chain reaches from its beginning (TXID 1; the first index of the generation) to its end: nothing of it was
    /// deleted or lost. A generation begins anew whenever Litestream lost track, so that this says nothing of those before
    /// it.
    pub whole: bool,
}

impl<S> Coverage<S> {
    /// Where the chain is broken; one without a start is broken there.
    pub fn breaks(self) -> Vec<Hole> {
        let start = (!self.restorable).then(Hole::default);
        start.into_iter().chain(self.holes).collect()
    }
}
