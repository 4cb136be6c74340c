//! What the levels that were listed, and the newest header, come to.

use std::sync::Arc;

use jiff::Timestamp;

use super::super::finding::{Finding, chain};
use super::Levels;
use crate::domain::assess::proof::{Chain, Evidence, Method};
use crate::domain::assessment::{CoverageReport, LevelReport};
use crate::domain::litestream::{Coverage, Layout, LtxFile, LtxHeader, SNAPSHOT_LEVEL};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::timeline::TimelineReport;

/// The `level` label of each level.
const LEVEL_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// In no more memory than they need: there is one of each replica.
fn exact(mut levels: Vec<LevelReport>) -> Vec<LevelReport> {
    levels.shrink_to_fit();
    levels
}

impl Levels {
    pub(super) fn conclude(&mut self, staged: Option<&StagedPosition>, sampled: Moment) -> (Finding, Evidence) {
        let coverage = self.inventory.coverage();
        let peeked = self.peeked.as_deref();
        let header = peeked.map(|peeked| &peeked.newest).or_else(|| self.newest.as_ref().map(|(_, header)| header));
        let newest = header.map(|header| header.max);
        let from_header = header.and_then(LtxHeader::wal_end).map(|position| (position, Method::Wal));
        let from_staging = || {
            // The newest file says nothing of the WAL; Litestream's own file of the same TXID does.
            let Some(StagedPosition::Ltx(files)) = staged else { return None };
            let same = files.iter().find(|file| Some(file.txid) == newest)?;
            Some((same.end, Method::Txid))
        };
        let positioned = from_header.or_else(from_staging);
        let newest_object =
            (0..=SNAPSHOT_LEVEL).filter_map(|level| self.inventory.newest(level)).map(|file| file.created);
        // What was not listed is dated by the host that wrote it, whose clock may be ahead.
        let unlisted = peeked.map(|peeked| peeked.newest.timestamp.min(sampled.wall()));
        let last_segment_at = newest_object.chain(unlisted).max();
        let skipped = peeked.filter(|peeked| peeked.linked.max < peeked.newest.max);
        let evidence = Evidence {
            verified_at: sampled,
            position: positioned.map(|(position, _)| position),
            method: positioned.map_or(Method::Observer, |(_, method)| method),
            newest_at: header.map(|header| header.timestamp).or(last_segment_at),
            chain: match skipped {
                Some(peeked) => Chain::Skipped { end: peeked.linked.timestamp },
                None => chain(&coverage, sampled),
            },
        };
        let finding = Finding {
            layout: Some(Layout::V5(self.keys)),
            txid: newest.map(|txid| txid.0),
            damaged: self.odd.clone(),
            last_segment_at,
            coverage: Arc::new(self.report(coverage)),
            timeline: self.extend_map(sampled.wall()),
            received_bytes: Some(self.received.bytes),
            received_objects: Some(self.received.objects),
            space_left: None,
        };
        (finding, evidence)
    }

    /// The coverage map with what came since it was made.
    fn extend_map(&mut self, until: Timestamp) -> Option<Arc<TimelineReport>> {
        let map = self.map.as_ref()?.ending(self.drawn_until);
        let extended = Arc::new(self.tail.extend(&map, until));
        if extended.spans.len() == map.spans.len() && extended.ending(self.drawn_until) == map {
            self.map = Some(Arc::clone(&extended));
        }
        Some(extended)
    }

    fn report(&self, coverage: Coverage<LtxFile>) -> CoverageReport {
        let levels = self.inventory.levels().filter_map(|(number, level)| {
            Some(LevelReport {
                level: LEVEL_NAMES.get(usize::from(number))?,
                objects: level.objects,
                bytes: level.bytes,
                newest_at: Some(level.newest.created),
            })
        });
        CoverageReport {
            restorable: coverage.restorable,
            restorable_since: coverage.restorable_since,
            gaps: coverage.holes,
            snapshots: coverage.snapshots,
            newest_snapshot_at: coverage.newest_snapshot.map(|file| file.created),
            unsnapshotted_since: self.candidates.unsnapshotted_since(),
            changes_since_snapshot: self
                .inventory
                .max_txid()
                .map(|newest| newest.0.saturating_sub(coverage.newest_snapshot.map_or(0, |snapshot| snapshot.max.0))),
            whole: coverage.restorable.then_some(coverage.whole),
            expired_objects: self.expired,
            download_bytes: coverage.restorable.then(|| self.inventory.download()),
            levels: exact(levels.collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::domain::litestream::{Listed, Txid};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A level, its TXIDs, and when they were replicated.
    type File = (u8, u64, u64, i64);

    fn admit(levels: &mut Levels, files: &[File]) {
        for (level, min, max, second) in files {
            let (min, max, created) = (Txid(*min), Txid(*max), at(*second));
            levels.admit(Listed::from(LtxFile { level: *level, min, max, size: 200, created }), false);
        }
    }

    /// Whether there is one map, and not two, after looks that found nothing new.
    fn is_shared(listed: &[File]) -> bool {
        let begin = || {
            let mut levels = Levels { collecting: Some(Box::default()), ..Levels::default() };
            admit(&mut levels, listed);
            let files = levels.collecting.take().unwrap();
            levels.draw(*files, Moment::new(at(100), SignedDuration::from_secs(100)));
            levels
        };
        let (mut often, mut once) = (begin(), begin());
        let shared = [100, 160, 220].map(|second| {
            let map = often.extend_map(at(second)).unwrap();
            assert_eq!(map.spans.last().unwrap().until, at(second));
            Arc::ptr_eq(&map, often.map.as_ref().unwrap())
        });
        // What they did not find came before they ended.
        [&mut often, &mut once].into_iter().for_each(|levels| admit(levels, &[(0, 6, 6, 120), (0, 7, 7, 150)]));
        for second in [230, 290] {
            assert_eq!(often.extend_map(at(second)), once.extend_map(at(second)));
        }
        shared == [true; 3]
    }

    #[test]
    fn looks_that_find_nothing_new_draw_the_map_out() {
        assert!(is_shared(&[(9, 1, 1, 10), (0, 2, 2, 20), (0, 3, 3, 30), (0, 4, 4, 40), (0, 5, 5, 50)]));
        // It ends with states of which others are lost, and what follows is shown apart.
        assert!(!is_shared(&[(9, 1, 1, 10), (1, 2, 5, 50), (0, 4, 4, 40), (0, 5, 5, 50)]));
    }
}
