//! A v0.5 replica: levels of LTX files.

use jiff::SignedDuration;

use super::{Finding, corrupt, listing};
use crate::domain::assess::proof::{Chain, Evidence};
use crate::domain::litestream::header::HEADER_SIZE;
use crate::domain::litestream::{Coverage, Inventory, Layout, LevelKeys, LtxFile, LtxHeader, SNAPSHOT_LEVEL, Txid};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{CoverageReport, GapReport, LevelReport, Method};
use crate::usecase::ports::{Pace, ReplicaStore};

/// The `level` label of each level.
const LEVEL_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// What is remembered of the levels.
#[derive(Debug)]
pub(super) struct Levels {
    keys: LevelKeys,
    inventory: Inventory,
    /// The newest file that says where it ends in the WAL, with its header.
    newest: Option<(LtxFile, LtxHeader)>,
    /// When everything was listed.
    reconciled: Option<Moment>,
    /// When the levels above 0 were listed, and the newest TXID then.
    swept: Option<(Moment, Option<Txid>)>,
}

impl Levels {
    pub(super) fn new(keys: LevelKeys) -> Self {
        Self { keys, inventory: Inventory::default(), newest: None, reconciled: None, swept: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inventory.objects() == 0
    }

    pub(super) async fn look(
        &mut self,
        store: &dyn ReplicaStore,
        staged: Option<&StagedPosition>,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<(Finding, Evidence), Reason> {
        let due = |last: Option<Moment>, interval| {
            last.is_none_or(|last| {
                sampled.since(last) >= SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX)
            })
        };
        let reconcile = due(self.reconciled, pace.reconcile);
        if reconcile || !self.list_new(store).await? {
            self.reconcile(store, sampled).await?;
        } else if due(self.swept.map(|(at, _)| at), pace.levels) {
            self.sweep(store, sampled).await?;
        }
        self.read_newest(store).await?;
        Ok(self.conclude(staged, sampled))
    }

    /// Lists level 0 from the newest known file on, which is one request. `false` when that file is gone, which
    /// Litestream never does: then nothing that is remembered can be trusted.
    async fn list_new(&mut self, store: &dyn ReplicaStore) -> Result<bool, Reason> {
        self.list_level(store, 0).await
    }

    async fn list_level(&mut self, store: &dyn ReplicaStore, level: u8) -> Result<bool, Reason> {
        let prefix = self.keys.prefix(level);
        let known = self.inventory.last_name(level).map(|name| self.keys.key(level, name));
        let mut still_there = known.is_none();
        let (keys, inventory) = (self.keys, &mut self.inventory);
        listing::each(store, &prefix, known.as_deref().map(listing::just_before), |object| {
            still_there |= known.as_deref() == Some(object.key.as_str());
            if let Some((level, name)) = keys.parse_key(&object.key) {
                let file = LtxFile { level, min: name.min, max: name.max, size: object.size, created: object.modified };
                if known.as_deref() != Some(object.key.as_str()) {
                    inventory.insert(file);
                }
            }
        })
        .await?;
        Ok(still_there)
    }

    /// Lists the levels above 0 from the newest known file on, if there is anything new that they could hold.
    async fn sweep(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        let newest = self.inventory.max_txid();
        let unchanged = self.swept.is_some_and(|(_, txid)| txid == newest);
        if !unchanged {
            for level in self.levels(store).await?.into_iter().filter(|level| *level > 0) {
                if !self.list_level(store, level).await? {
                    return self.reconcile(store, sampled).await;
                }
            }
        }
        self.swept = Some((sampled, newest));
        Ok(())
    }

    /// Lists everything anew. In ascending order of levels, so that a file that is compacted meanwhile is seen below, or
    /// above, or at both, and never at none.
    async fn reconcile(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        let before = std::mem::take(&mut self.inventory);
        for level in self.levels(store).await? {
            if let Err(reason) = self.list_level(store, level).await {
                self.inventory = before;
                return Err(reason);
            }
        }
        self.reconciled = Some(sampled);
        self.swept = Some((sampled, self.inventory.max_txid()));
        Ok(())
    }

    async fn levels(&self, store: &dyn ReplicaStore) -> Result<Vec<u8>, Reason> {
        let root = match self.keys {
            LevelKeys::Plain => "ltx/",
            LevelKeys::Hex => "",
        };
        let folders = store.folders(root).await?;
        let there = |level: &u8| {
            let prefix = self.keys.prefix(*level);
            folders
                .iter()
                .any(|folder| prefix.strip_prefix(root).is_some_and(|name| name.trim_end_matches('/') == folder))
        };
        Ok((0..=SNAPSHOT_LEVEL).filter(there).collect())
    }

    /// Reads the header of the newest file that has a WAL position, once for each new one.
    async fn read_newest(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        let candidates = [self.inventory.newest(0), self.inventory.newest(SNAPSHOT_LEVEL)];
        // A snapshot ends where its level-0 file ends; that one says it exactly.
        let newest = candidates.into_iter().flatten().max_by_key(|file| (file.max, std::cmp::Reverse(file.level)));
        let Some(file) = newest.copied() else {
            self.newest = None;
            return Ok(());
        };
        if self.newest.as_ref().is_some_and(|(known, _)| *known == file) {
            return Ok(());
        }
        let key = self.keys.key(file.level, file.name());
        let bytes = store.read(&key, 0, HEADER_SIZE as u64).await.inspect_err(|reason| {
            if reason.kind == ReasonKind::NotFound {
                // Listed a moment ago: deleted meanwhile. What is remembered is not what is there.
                self.reconciled = None;
            }
        })?;
        let header = LtxHeader::parse(&bytes).map_err(|error| corrupt(&key, error))?;
        header.check_name(file.name()).map_err(|error| corrupt(&key, error))?;
        self.newest = Some((file, header));
        Ok(())
    }

    fn conclude(&self, staged: Option<&StagedPosition>, sampled: Moment) -> (Finding, Evidence) {
        let coverage = self.inventory.coverage();
        let header =
            self.newest.as_ref().filter(|(file, _)| Some(file.max) == coverage.newest).map(|(_, header)| header);
        let from_header = header.and_then(LtxHeader::wal_end).map(|position| (position, Method::Wal));
        let from_staging = || {
            // The newest file says nothing of the WAL; Litestream's own file of the same TXID does.
            let Some(StagedPosition::Ltx(files)) = staged else { return None };
            let same = files.iter().find(|file| Some(file.txid) == coverage.newest)?;
            Some((same.end, Method::Txid))
        };
        let positioned = from_header.or_else(from_staging);
        let newest_object =
            (0..=SNAPSHOT_LEVEL).filter_map(|level| self.inventory.newest(level)).map(|file| file.created);
        let last_segment_at = newest_object.max();
        let evidence = Evidence {
            verified_at: sampled,
            position: positioned.map(|(position, _)| position),
            method: positioned.map_or(Method::Observer, |(_, method)| method),
            newest_at: header.map(|header| header.timestamp).or(last_segment_at),
            chain: chain(&coverage, sampled),
        };
        let finding = Finding {
            layout: Some(Layout::V5(self.keys).as_str()),
            txid: coverage.newest.map(|txid| txid.0),
            last_segment_at,
            coverage: self.report(coverage),
        };
        (finding, evidence)
    }

    fn report(&self, coverage: Coverage) -> CoverageReport {
        let gap = |gap: &crate::domain::litestream::Gap| GapReport {
            after: gap.after.to_string(),
            before: gap.before.to_string(),
        };
        let levels = self.inventory.levels().filter(|(_, level)| level.objects > 0);
        let levels = levels.filter_map(|(number, level)| {
            Some(LevelReport {
                level: LEVEL_NAMES.get(usize::from(number))?,
                objects: level.objects,
                bytes: level.bytes,
                newest_at: level.newest.map(|file| file.created),
            })
        });
        CoverageReport {
            restorable: coverage.restorable,
            restorable_since: coverage.restorable_since,
            gaps: coverage.gaps.iter().map(gap).collect(),
            snapshots: coverage.snapshots,
            newest_snapshot_at: coverage.newest_snapshot.map(|file| file.created),
            levels: levels.collect(),
        }
    }
}

fn chain(coverage: &Coverage, sampled: Moment) -> Chain {
    if !coverage.restorable {
        return Chain::NoStart;
    }
    match coverage.gaps.first() {
        None => Chain::Complete,
        Some(gap) => Chain::Broken { end: coverage.end_created, lost_since: gap.before_created.min(sampled.wall) },
    }
}
