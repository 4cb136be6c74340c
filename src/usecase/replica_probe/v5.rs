//! A v0.5 replica: levels of LTX files.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use super::{Finding, RELISTINGS_MAX, Seen, chain, corrupt, due, listing, read_understood};
use crate::domain::assess::proof::{Evidence, Method};
use crate::domain::assessment::{CoverageReport, LevelReport};
use crate::domain::limits::ODD_NEWEST_MAX;
use crate::domain::litestream::expiry::Kept;
use crate::domain::litestream::ltx::HEADER_SIZE;
use crate::domain::litestream::{
    Candidates, Coverage, Damaged, Facts, Hole, Inventory, Layout, LevelKeys, LtxFile, LtxHeader, LtxTail, LtxTimeline,
    SNAPSHOT_LEVEL, Txid, caveats, expired,
};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::{Listed, Sighting};
use crate::usecase::ports::{Pace, ReplicaStore};

/// The `level` label of each level.
const LEVEL_NAMES: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// What is remembered of the levels.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    keys: LevelKeys,
    inventory: Inventory,
    /// The newest file that is what its name says, with its header.
    newest: Option<(LtxFile, LtxHeader)>,
    /// What is wrong with a newer one.
    odd: Option<Reason>,
    /// When everything was listed.
    reconciled: Option<Moment>,
    /// When the levels above 0 were listed, and the newest TXID then.
    swept: Option<(Moment, Option<Txid>)>,
    /// Where the chain is broken, as two listings saw it.
    holes: Vec<Hole>,
    /// Generations of v0.3 are beside it.
    generations: bool,
    /// Keys that are known to be damaged.
    damaged: Arc<BTreeSet<String>>,
    /// The files, while everything is listed.
    collecting: Option<LtxTimeline>,
    /// The coverage map of when everything was listed, and what came since.
    map: Option<Arc<TimelineReport>>,
    tail: LtxTail,
    /// What a restore of the latest state may read.
    candidates: Candidates,
    /// What this look saw of single objects.
    seen: Option<Seen>,
    /// The newest file is read whole when it has at most so many bytes.
    whole: u64,
    /// What Litestream was told to keep, if that is known.
    kept: Option<Kept>,
    /// Files that should have been deleted when everything was listed; `None` where that is not known.
    expired: Option<u64>,
    received: Received,
}

/// Level-0 files that appeared since the first look.
#[derive(Clone, Copy, Debug, Default)]
struct Received {
    bytes: u64,
    objects: u64,
    /// The newest TXID that was counted; `None` until everything was listed once.
    until: Option<Txid>,
}

impl Levels {
    pub(super) fn new(keys: LevelKeys, kept: Option<Kept>) -> Self {
        Self {
            keys,
            inventory: Inventory::default(),
            newest: None,
            odd: None,
            reconciled: None,
            swept: None,
            holes: Vec::new(),
            generations: false,
            damaged: Arc::default(),
            collecting: None,
            map: None,
            tail: LtxTail::default(),
            candidates: Candidates::default(),
            seen: None,
            whole: 0,
            kept,
            expired: None,
            received: Received::default(),
        }
    }

    /// Says whether generations of v0.3 are there as well, if that is known, and which keys nothing is restored from.
    pub(super) fn tell(&mut self, generations: Option<bool>, damaged: &Arc<BTreeSet<String>>) {
        if self.damaged != *damaged {
            // What that blocks is seen when everything is listed.
            self.reconciled = None;
        }
        self.generations = generations.unwrap_or(self.generations);
        self.damaged = Arc::clone(damaged);
    }

    pub(super) fn read_whole(&mut self, bytes: u64) {
        self.whole = bytes;
    }

    pub(super) fn relist(&mut self) {
        self.reconciled = None;
    }

    pub(super) fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take()
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
        // On a copy, so that a listing that fails or is abandoned half-way changes nothing.
        let mut next = self.clone();
        next.seen = Some(Seen { listed: Listed::new(self.keys), newest: None });
        next.list(store, sampled, pace).await?;
        *self = next;
        if let Some(seen) = &mut self.seen {
            let (plan, unbroken) = self.candidates.plan();
            seen.listed.plan = plan.into_iter().map(Sighting::from).collect();
            seen.listed.unbroken = unbroken;
        }
        self.read_newest(store).await?;
        if let Some(seen) = &mut self.seen {
            let end = seen.listed.plan.last().filter(|_| seen.listed.unbroken).map(|last| last.name);
            let tip = self.newest.filter(|(file, header)| {
                header.wal_end().is_some() && file.level == 0 && end.is_some_and(|end| end.reaches(file.max))
            });
            seen.listed.tip = tip.map(|(_, header)| header);
        }
        Ok(self.conclude(staged, sampled))
    }

    async fn list(&mut self, store: &dyn ReplicaStore, sampled: Moment, pace: &Pace) -> Result<(), Reason> {
        // Litestream deletes the newest level-0 file only when there are newer ones: when it is gone, nothing that is
        // remembered can be trusted.
        if due(self.reconciled, pace.reconcile, sampled) || !self.list_level(store, 0).await? {
            self.reconcile(store, sampled).await?;
        } else if self.hasty() || due(self.swept.map(|(at, _)| at), pace.levels, sampled) {
            self.sweep(store, sampled).await?;
        }
        self.catch_up(store, sampled).await?;
        // A listing takes its time, and what is compacted and deleted meanwhile can be missing from all its parts: a
        // hole is believed when two listings in a row show it.
        let mut believed = std::mem::take(&mut self.holes);
        for _ in 0..RELISTINGS_MAX {
            let seen = self.holes();
            if seen == believed {
                break;
            }
            believed = seen;
            self.reconcile(store, sampled).await?;
            self.catch_up(store, sampled).await?;
        }
        self.holes = self.holes();
        self.received.until = self.received.until.max(self.inventory.max_txid());
        if let Some(files) = self.collecting.take() {
            self.draw(files, sampled);
        }
        Ok(())
    }

    /// Makes the coverage map of everything that was listed.
    fn draw(&mut self, files: LtxTimeline, sampled: Moment) {
        let damaged = Damaged::new(self.keys, &self.damaged);
        let all = files.files();
        self.expired = self.kept.zip(all).map(|(kept, files)| expired(files, &kept, sampled.wall));
        let listed = all.map(<[LtxFile]>::to_vec).unwrap_or_default();
        let mut map = files.map(&damaged, sampled.wall);
        let store = match self.keys {
            LevelKeys::Plain => "file",
            LevelKeys::Hex => "s3",
        };
        let facts = Facts { files: &listed, generations: self.generations, store, ..Facts::default() };
        map.caveats = caveats(&facts, &map);
        self.map = Some(Arc::new(map));
        self.tail = LtxTail::new(sampled.wall, self.inventory.end());
    }

    /// The other levels are listed after level 0, which may have gone on; its newest file says more than theirs.
    async fn catch_up(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        let listed = self.swept.is_some_and(|(at, _)| at == sampled);
        if listed && self.inventory.newest(0).map(|file| file.max) < self.inventory.max_txid() {
            self.list_level(store, 0).await?;
        }
        Ok(())
    }

    /// Level 0 is empty: until 0.5.2, files went from there as soon as they were compacted, and what is new may be above.
    fn hasty(&self) -> bool {
        self.inventory.newest(0).is_none()
    }

    /// Where the chain is broken; a chain without a start is broken at 0.
    fn holes(&self) -> Vec<Hole> {
        let coverage = self.inventory.coverage();
        let start = (!coverage.restorable).then(Hole::default);
        start.into_iter().chain(coverage.holes).collect()
    }

    /// Lists a level from the newest known file on, which is one request when there is little new. `false` when that
    /// file is gone.
    async fn list_level(&mut self, store: &dyn ReplicaStore, level: u8) -> Result<bool, Reason> {
        let prefix = self.keys.prefix(level);
        let known = self.inventory.last_name(level).map(|name| self.keys.key(level, name));
        let mut still_there = known.is_none();
        let (keys, inventory, candidates) = (self.keys, &mut self.inventory, &mut self.candidates);
        let (collecting, tail, received) = (&mut self.collecting, &mut self.tail, &mut self.received);
        let mut listed = self.seen.as_mut().map(|seen| &mut seen.listed);
        listing::each(store, &prefix, known.as_deref().map(listing::just_before), |object| {
            let Some((level, name)) = keys.parse_key(&object.key) else { return };
            let (min, max) = (name.min, name.max);
            let file = LtxFile { level, min, max, size: object.size, created: object.modified };
            if known.as_deref() == Some(object.key.as_str()) {
                still_there = true;
            } else {
                inventory.insert(file);
                match collecting {
                    Some(files) => files.insert(file),
                    None => tail.insert(file),
                }
            }
            candidates.insert(file);
            if level == 0 && received.until.is_some_and(|until| until < max) {
                received.bytes = received.bytes.saturating_add(file.size);
                received.objects += 1;
                received.until = Some(max);
            }
            if let Some(listed) = &mut listed {
                listed.push(file.into());
            }
        })
        .await?;
        Ok(still_there)
    }

    /// Lists the levels above 0 from the newest known file on, if there is anything new that they could hold.
    async fn sweep(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        let newest = self.inventory.max_txid();
        let unchanged = !self.hasty() && self.swept.is_some_and(|(_, txid)| txid == newest);
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
    /// above, or at both.
    async fn reconcile(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        self.inventory = Inventory::default();
        self.collecting = Some(LtxTimeline::default());
        self.candidates = Candidates::default();
        if let Some(seen) = &mut self.seen {
            seen.listed.restart();
        }
        for level in self.levels(store).await? {
            self.list_level(store, level).await?;
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

    /// Reads the header of the newest file, once for each new one. A file that is not what its name says proves nothing:
    /// the newest one that is does. The other one is asked for again with each look.
    async fn read_newest(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        self.odd = None;
        let mut odd: Vec<LtxFile> = Vec::new();
        loop {
            let Some(file) = self.newest_but(store, &odd).await? else {
                self.newest = None;
                return self.odd.clone().map_or(Ok(()), Err);
            };
            if self.newest.as_ref().is_some_and(|(known, _)| *known == file) {
                return Ok(());
            }
            match self.header(store, file, odd.is_empty()).await? {
                Ok(header) => {
                    self.newest = Some((file, header));
                    return Ok(());
                }
                Err(reason) if odd.len() < ODD_NEWEST_MAX => {
                    self.odd.get_or_insert(reason);
                    odd.push(file);
                }
                Err(reason) => return Err(reason),
            }
        }
    }

    /// The newest file besides some. Where they are the newest of their level, that is listed to see what is below them.
    async fn newest_but(&self, store: &dyn ReplicaStore, odd: &[LtxFile]) -> Result<Option<LtxFile>, Reason> {
        let is_odd = |file: &LtxFile| odd.iter().any(|odd| (odd.level, odd.name()) == (file.level, file.name()));
        let newer = |known: Option<LtxFile>, file| known.into_iter().chain([file]).max_by_key(newness);
        let mut newest = None;
        for file in (0..=SNAPSHOT_LEVEL).filter_map(|level| self.inventory.newest(level)).copied() {
            if !is_odd(&file) {
                newest = newer(newest, file);
                continue;
            }
            listing::each(store, &self.keys.prefix(file.level), None, |object| {
                let Some((level, name)) = self.keys.parse_key(&object.key) else { return };
                let (min, max) = (name.min, name.max);
                let file = LtxFile { level, min, max, size: object.size, created: object.modified };
                if !is_odd(&file) {
                    newest = newer(newest, file);
                }
            })
            .await?;
        }
        Ok(newest)
    }

    /// Reads the header of a file, or what is wrong with it; with the `first` one its content, if that is small enough.
    async fn header(
        &mut self,
        store: &dyn ReplicaStore,
        file: LtxFile,
        first: bool,
    ) -> Result<Result<LtxHeader, Reason>, Reason> {
        let key = self.keys.key(file.level, file.name());
        // One byte more than was listed, to see a file that has grown.
        let whole = first && file.size <= self.whole;
        let length = if whole { file.size.saturating_add(1) } else { HEADER_SIZE as u64 };
        let understand = |bytes: &Bytes| {
            let header = LtxHeader::parse(bytes).map_err(|error| corrupt(&key, error))?;
            header.check_name(file.name()).map_err(|error| corrupt(&key, error))?;
            Ok(header)
        };
        let read = read_understood(store, &key, length.max(HEADER_SIZE as u64), understand).await;
        let (bytes, header) = read.inspect_err(|reason| {
            if reason.kind == ReasonKind::NotFound {
                // What is remembered is not what is there.
                self.reconciled = None;
            }
        })?;
        let short = (bytes.len() as u64) < file.size.min(HEADER_SIZE as u64);
        if let Some(seen) = self.seen.as_mut().filter(|_| whole) {
            let more = (bytes.len() as u64).saturating_sub(HEADER_SIZE as u64);
            seen.newest = Some((file.into(), bytes, more));
        }
        // An answer that is shorter than the file was listed says nothing of the file.
        if short { header.map(Ok) } else { Ok(header) }
    }

    fn conclude(&self, staged: Option<&StagedPosition>, sampled: Moment) -> (Finding, Evidence) {
        let coverage = self.inventory.coverage();
        let newest = self.newest.as_ref().map(|(file, _)| file.max);
        let header = self.newest.as_ref().map(|(_, header)| header);
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
            txid: newest.map(|txid| txid.0),
            damaged: self.odd.clone(),
            last_segment_at,
            coverage: self.report(coverage),
            timeline: self.map.as_ref().map(|map| Arc::new(self.tail.extend(map, sampled.wall))),
            received_bytes: Some(self.received.bytes),
            received_objects: Some(self.received.objects),
        };
        (finding, evidence)
    }

    fn report(&self, coverage: Coverage<LtxFile>) -> CoverageReport {
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
            levels: levels.collect(),
        }
    }
}

/// Orders files by what they say of where the replica is. Level 0 says exactly where it ends in the WAL, a snapshot where
/// its level-0 file did, a compaction nothing.
fn newness(file: &LtxFile) -> (Txid, bool, bool) {
    (file.max, file.level == 0, file.level == SNAPSHOT_LEVEL)
}
