//! Which files Litestream v0.3 restores a generation from.

use std::cmp::Reverse;

use super::name::{SegmentFile, SnapshotFile};

/// A snapshot and the segments that are applied to it, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationPlan {
    pub snapshot: SnapshotFile,
    /// May be empty: then the snapshot alone is restored.
    pub segments: Vec<SegmentFile>,
}

/// Why a generation's latest state cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerationPlanError {
    #[error("no snapshot")]
    NoSnapshot,
    #[error("no segment of WAL index {0:08x}")]
    IndexMissing(u32),
    /// Litestream: "missing initial wal segment".
    #[error("no first segment of WAL index {0:08x}")]
    FirstSegmentMissing(u32),
}

/// The newest snapshot of a generation and all segments from its index on, for the latest state.
///
/// A listing does not tell whether segments of one index follow each other, or whether the last one of an index is
/// there: their lengths are known only when they are read ([`segment_end`](super::segment::segment_end)).
pub fn plan_generation(
    snapshots: &[SnapshotFile],
    segments: &[SegmentFile],
) -> Result<GenerationPlan, GenerationPlanError> {
    let snapshot = newest_snapshot(snapshots).copied().ok_or(GenerationPlanError::NoSnapshot)?;
    let mut segments: Vec<SegmentFile> = segments.iter().filter(|s| s.index >= snapshot.index).copied().collect();
    segments.sort_unstable_by_key(SegmentFile::name);
    let mut expected = snapshot.index;
    for segments in segments.chunk_by(|a, b| a.index == b.index) {
        let Some(first) = segments.first() else { continue };
        if first.index != expected {
            return Err(GenerationPlanError::IndexMissing(expected));
        }
        if first.offset != 0 {
            return Err(GenerationPlanError::FirstSegmentMissing(expected));
        }
        expected = expected.saturating_add(1);
    }
    Ok(GenerationPlan { snapshot, segments })
}

/// The snapshot that v0.3 starts from: the one that was uploaded last.
pub(super) fn newest_snapshot<'a>(snapshots: impl IntoIterator<Item = &'a SnapshotFile>) -> Option<&'a SnapshotFile> {
    snapshots.into_iter().max_by_key(|snapshot| (snapshot.created, Reverse(snapshot.index)))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn check(snapshots: &[(u32, i64)], segments: &[(u32, u64)], expected: &str) {
        let created = |second| Timestamp::from_second(second).unwrap();
        let snapshots: Vec<_> = snapshots
            .iter()
            .map(|(index, second)| SnapshotFile { index: *index, size: 1, created: created(*second) })
            .collect();
        let segments: Vec<_> = segments
            .iter()
            .map(|(index, offset)| SegmentFile { index: *index, offset: *offset, size: 1, created: created(0) })
            .collect();
        let shown = match plan_generation(&snapshots, &segments) {
            Ok(plan) => {
                let segments: String = plan.segments.iter().map(|s| format!(" {}/{}", s.index, s.offset)).collect();
                format!("{}{segments}", plan.snapshot.index)
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected);
    }

    #[test]
    fn takes_the_newest_snapshot_and_what_follows() {
        check(&[(0, 10), (2, 20)], &[(1, 0), (2, 0), (2, 568), (3, 0)], "2 2/0 2/568 3/0");
        check(&[(2, 20)], &[(3, 0), (2, 568), (2, 0)], "2 2/0 2/568 3/0");
        check(&[(2, 20)], &[(1, 0)], "2");
        check(&[(2, 20)], &[], "2");
    }

    #[test]
    fn says_why_there_is_no_plan() {
        check(&[], &[(0, 0)], "no snapshot");
        check(&[(1, 10)], &[(1, 0), (3, 0)], "no segment of WAL index 00000002");
        check(&[(1, 10)], &[(2, 0)], "no segment of WAL index 00000001");
        check(&[(1, 10)], &[(1, 568), (2, 0)], "no first segment of WAL index 00000001");
    }
}
