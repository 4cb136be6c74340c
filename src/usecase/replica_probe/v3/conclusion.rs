//! What the generations that were listed, and the newest segment, come to.

use std::sync::Arc;

use super::super::finding::{Finding, chain};
use super::Segments;
use crate::domain::assess::proof::{Evidence, Method};
use crate::domain::assessment::{CoverageReport, LevelReport};
use crate::domain::litestream::{Coverage, Layout, SegmentFile, SnapshotFile};
use crate::domain::moment::Moment;
use crate::domain::timeline::{Span, TimelineReport};

impl Segments {
    pub(super) fn conclude(&self, sampled: Moment) -> (Finding, Evidence) {
        let coverage = self.generations.coverage();
        let followed = self.followed.as_ref();
        let position = followed.map(|followed| followed.end).or_else(|| self.newest.map(|(_, _, end)| end));
        let listed_at = self.generations.newest().and_then(|(_, inventory)| inventory.newest_at);
        let newest_at = listed_at.max(followed.map(|followed| followed.seen_at));
        let evidence = Evidence {
            verified_at: sampled,
            position,
            method: if position.is_some() { Method::Segment } else { Method::Observer },
            newest_at,
            chain: chain(&coverage, sampled),
        };
        let timeline = self.timeline(sampled);
        let mut report = self.report(coverage, sampled);
        // Without a hole, what an older generation restores leads up to the newest one.
        let unbroken = timeline.as_deref().and_then(TimelineReport::unbroken_since);
        report.restorable_since = report.restorable_since.map(|newest| unbroken.unwrap_or(newest));
        let finding = Finding {
            layout: Some(Layout::V3),
            last_segment_at: newest_at,
            coverage: Arc::new(report),
            timeline,
            damaged: self.odd.clone(),
            ..Finding::default()
        };
        (finding, evidence)
    }

    /// Segments beyond the last listing.
    fn unlisted(&self) -> u64 {
        self.followed.map_or(0, |followed| followed.count)
    }

    /// The coverage map with what came since it was made: each segment is a state.
    fn timeline(&self, sampled: Moment) -> Option<Arc<TimelineReport>> {
        let map = self.map.as_ref()?;
        let tail = self.tail + self.unlisted();
        let from = map.listed_at.filter(|_| tail > 0 && map.restorable_now());
        let more = from.map(|from| Span {
            from,
            until: sampled.wall().max(from),
            points: tail,
            resolution_seconds: 0.0,
            typical_seconds: None,
            blocked: None,
        });
        Some(Arc::new(map.extended(more.into_iter().collect(), sampled.wall())))
    }

    fn report(&self, coverage: Coverage<SnapshotFile>, sampled: Moment) -> CoverageReport {
        let newest = self.generations.newest();
        let all = || self.generations.iter().map(|(_, inventory)| inventory);
        let levels = [
            LevelReport {
                level: "snapshot",
                objects: all().map(|inventory| inventory.snapshots).sum(),
                bytes: all().map(|inventory| inventory.snapshot_bytes).sum(),
                newest_at: coverage.newest_snapshot.map(|snapshot| snapshot.created),
            },
            LevelReport {
                level: "wal",
                objects: all().map(|inventory| inventory.segments).sum(),
                bytes: all().map(|inventory| inventory.segment_bytes).sum(),
                newest_at: newest.and_then(|(_, inventory)| inventory.newest_segment).map(|segment| segment.created),
            },
        ];
        let later = |file: &&SegmentFile| {
            coverage
                .newest_snapshot
                .is_none_or(|snapshot| file.index >= snapshot.index && file.created > snapshot.created)
        };
        let later = || self.recent.values().filter(later);
        // Of so many, the oldest are not here: the snapshot is older than all of them.
        let dropped = coverage.newest_snapshot.filter(|_| self.dropped);
        let oldest = later().map(|file| file.created).min();
        CoverageReport {
            unsnapshotted_since: dropped.map(|snapshot| snapshot.created).or(oldest),
            changes_since_snapshot: Some(later().count() as u64 + self.unlisted()),
            whole: coverage.restorable.then_some(coverage.whole),
            expired_objects: self.kept.map(|kept| self.generations.expired(&kept, sampled.wall())),
            restorable: coverage.restorable,
            restorable_since: coverage.restorable_since,
            gaps: coverage.holes,
            snapshots: coverage.snapshots,
            newest_snapshot_at: coverage.newest_snapshot.map(|snapshot| snapshot.created),
            download_bytes: coverage.newest_snapshot.map(|snapshot| self.generations.download(&snapshot)),
            levels: levels.into_iter().filter(|level| level.objects > 0).collect(),
        }
    }
}
