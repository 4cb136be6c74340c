//! The coverage part of a replica's report: what could be restored, and the objects by level.

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::litestream::Hole;

/// The coverage of a replica: what could be restored, as far as a listing can tell.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CoverageReport {
    /// There is a snapshot (or a chain from the start) from which something restores.
    pub restorable: bool,
    /// The start of the contiguous chain that reaches the newest object.
    pub restorable_since: Option<Timestamp>,
    /// Holes between the newest snapshot and the newest object that no level bridges: with one, restoring the latest
    /// state fails.
    pub gaps: Vec<Hole>,
    /// Snapshots in the replica.
    pub snapshots: u64,
    /// When the newest snapshot was taken; `None` when there is none.
    pub newest_snapshot_at: Option<Timestamp>,
    /// When the oldest change was replicated that no snapshot holds, as far as compaction left that apart; `None` when the
    /// newest snapshot holds everything.
    pub unsnapshotted_since: Option<Timestamp>,
    /// How far the replica moved since its newest snapshot: TXIDs of v0.5, segments of v0.3.
    pub changes_since_snapshot: Option<u64>,
    /// The replica still reaches back to its beginning (TXID 1; the first index of a generation of v0.3): nothing
    /// that a restore could have reached was deleted or lost. `None` where nothing restores.
    pub whole: Option<bool>,
    /// Objects that Litestream's retention should have deleted more than 6 hours ago; `None` where it is not known what
    /// Litestream was told to keep.
    pub expired_objects: Option<u64>,
    /// About how much restoring the latest state downloads.
    pub download_bytes: Option<u64>,
    /// The objects by level.
    pub levels: Vec<LevelReport>,
}

impl CoverageReport {
    /// The listing has no file of Litestream.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.objects == 0)
    }
}

/// The objects of one level of a replica.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LevelReport {
    /// The `level` label: `0` to `9` for v0.5, where 9 are snapshots; `wal` and `snapshot` for v0.3.
    pub level: &'static str,
    /// Objects of the level.
    pub objects: u64,
    /// Bytes of all objects of the level.
    pub bytes: u64,
    /// When the newest object of the level was made; `None` when there is none.
    pub newest_at: Option<Timestamp>,
}
