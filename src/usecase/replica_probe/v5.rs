//! A v0.5 replica: levels of LTX files.

mod conclusion;
mod peek;
mod search;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use self::peek::Peeked;
use super::finding::{Finding, RELISTINGS_MAX, Seen, corrupt, due, read_understood};
use crate::domain::assess::proof::Evidence;
use crate::domain::limits::ODD_NEWEST_MAX;
use crate::domain::litestream::{
    Candidates, Damaged, Facts, Folder, HEADER_SIZE, Hole, Inventory, Layout, LevelKeys, Listed, LtxFile, LtxHeader,
    LtxTail, LtxTimeline, ObjectName, SNAPSHOT_LEVEL, Txid, caveats, expired,
};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaTarget, StoreKind};
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::Listing;
use crate::usecase::ports::{Pace, ReplicaStore};
use crate::usecase::walk;

/// The levels, between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    keys: LevelKeys,
    /// Where they are, where that is a replica of the configuration.
    target: Option<Arc<ReplicaTarget>>,
    inventory: Inventory,
    /// The newest file that is what its name says, with its header.
    newest: Option<(LtxFile, LtxHeader)>,
    /// The problem of a newer one.
    odd: Option<Box<Reason>>,
    /// When everything was listed.
    pub(super) reconciled: Option<Moment>,
    /// When level 0 was listed.
    listed: Option<Moment>,
    /// What was seen beyond that without a listing; `None`: nothing is new.
    peeked: Option<Box<Peeked>>,
    /// Single files are asked for where that spares a listing.
    pub(super) peeks: bool,
    /// The newest TXID that Litestream has written beside the database, where that shows.
    pub(super) claimed: Option<Txid>,
    /// When what is known was compared with the names that are there.
    compared: Option<Moment>,
    /// When the levels above 0 were listed, and the newest TXID then.
    swept: Option<(Moment, Option<Txid>)>,
    /// Where the chain is broken, as two listings saw it.
    holes: Vec<Hole>,
    /// Generations of v0.3 are beside it.
    pub(super) generations: bool,
    /// Keys that are known to be damaged.
    pub(super) damaged: Arc<BTreeSet<String>>,
    /// The files, while everything is listed.
    collecting: Option<Box<LtxTimeline>>,
    /// The coverage map of when everything was listed, where that ended, and what came since. While nothing did, it is the
    /// same as that of the last look, but for its end.
    map: Option<Arc<TimelineReport>>,
    drawn_until: Timestamp,
    tail: LtxTail,
    /// The files that a restore of the latest state may read.
    candidates: Candidates,
    /// The single objects that this look saw.
    pub(super) seen: Option<Box<Seen>>,
    /// The newest file is read whole when it has at most so many bytes.
    pub(super) whole: u64,
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

impl Received {
    /// Counts a file that is newer than all before it.
    fn count(&mut self, file: &LtxFile) {
        if file.level == 0 && self.until.is_some_and(|until| until < file.max) {
            self.bytes = self.bytes.saturating_add(file.size);
            self.objects += 1;
            self.until = Some(file.max);
        }
    }
}

impl Levels {
    pub(super) fn new(keys: LevelKeys, target: Option<Arc<ReplicaTarget>>) -> Self {
        Self { keys, target, ..Self::default() }
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
        if self.may_peek(sampled, pace) && self.peek(store, sampled, pace).await? {
            let (finding, evidence) = self.conclude(staged, sampled);
            return Ok((Finding { received_bytes: None, received_objects: None, ..finding }, evidence));
        }
        // On a copy, so that a listing that fails or is abandoned half-way changes nothing.
        let mut next = self.clone();
        next.seen = Some(Box::new(Seen { listed: Listing::new(self.keys), newest: None }));
        next.list(store, sampled, pace).await?;
        (next.listed, next.peeked) = (Some(sampled), None);
        *self = next;
        if let Some(seen) = &mut self.seen {
            let (plan, unbroken) = self.candidates.plan();
            seen.listed.plan = plan.into_iter().map(Listed::from).collect();
            (seen.listed.unbroken, seen.listed.cut) = (unbroken, self.candidates.is_cut());
        }
        self.read_newest(store).await?;
        if let Some(seen) = &mut self.seen {
            let end = seen.listed.plan.last().filter(|_| seen.listed.unbroken).and_then(|last| last.name.ltx());
            let tip = self.newest.filter(|(file, header)| {
                header.wal_end().is_some() && file.level == 0 && end.is_some_and(|end| end.max == file.max)
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
        } else if self.hasty() || due(self.swept.map(|(at, _)| at), self.level_pace(pace), sampled) {
            self.sweep(store, sampled).await?;
        }
        if due(self.compared, pace.levels, sampled) {
            if self.misses(store).await? {
                self.reconcile(store, sampled).await?;
            }
            self.compared = Some(sampled);
        }
        self.catch_up(store, sampled).await?;
        // A listing takes its time, and what is compacted and deleted meanwhile can be missing from all its parts: a
        // hole is believed when two listings in a row show it.
        let mut believed = std::mem::take(&mut self.holes);
        for _ in 0..RELISTINGS_MAX {
            let seen = self.inventory.coverage().breaks();
            if seen == believed {
                break;
            }
            believed = seen;
            self.reconcile(store, sampled).await?;
            self.catch_up(store, sampled).await?;
        }
        self.holes = self.inventory.coverage().breaks();
        self.received.until = self.received.until.max(self.inventory.max_txid());
        if let Some(files) = self.collecting.take() {
            self.draw(*files, sampled);
        }
        Ok(())
    }

    fn level_pace(&self, pace: &Pace) -> Duration {
        if self.peeks { pace.bucket_levels } else { pace.levels }
    }

    /// Makes the coverage map of everything that was listed.
    fn draw(&mut self, files: LtxTimeline, sampled: Moment) {
        let damaged = Damaged::new(self.keys, &self.damaged);
        let all = files.files();
        let target = self.target.as_deref();
        let kept = target.and_then(|target| target.kept);
        self.expired = kept.zip(all).map(|(kept, files)| expired(files, &kept, sampled.wall()));
        let listed = all.map(<[LtxFile]>::to_vec).unwrap_or_default();
        let mut map = files.map(&damaged, sampled.wall());
        let kind = target.map(|target| target.location.kind());
        let facts = Facts {
            files: &listed,
            generations: self.generations,
            misplaced: kind.is_some_and(|kind| kind.level_keys() != self.keys),
            store: kind.map_or("", StoreKind::as_str),
            ..Facts::default()
        };
        map.caveats = caveats(&facts, &map);
        self.drawn_until = map.spans.last().map(|span| span.until).unwrap_or_default();
        self.map = Some(Arc::new(map));
        let level0 = kept.map(|kept| kept.level0);
        self.tail = LtxTail::new(sampled.wall(), self.inventory.end(), &listed, level0);
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

    /// Lists a level from the newest known file on, which is one request when there is little new. `false` when that
    /// file is gone.
    async fn list_level(&mut self, store: &dyn ReplicaStore, level: u8) -> Result<bool, Reason> {
        let known = self.inventory.last_name(level).map(|name| ObjectName::Ltx { level, name });
        let mut still_there = known.is_none();
        walk::each(store, Folder::Level(level), known, |object| {
            let again = known == Some(object.name);
            still_there |= again;
            self.admit(object, again);
        })
        .await?;
        Ok(still_there)
    }

    /// Takes in what was listed; `again`: it was known.
    fn admit(&mut self, object: Listed, again: bool) {
        let Some(file) = object.ltx() else { return };
        if !again {
            self.inventory.insert(file);
            match &mut self.collecting {
                Some(files) => files.insert(file),
                None => self.tail.insert(file),
            }
        }
        self.candidates.insert(file);
        self.received.count(&file);
        if let Some(seen) = &mut self.seen {
            seen.listed.push(file.into());
        }
    }

    /// Lists the levels above 0 from the newest known file on, if there is anything new that they could hold.
    async fn sweep(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        let newest = self.inventory.max_txid();
        let unchanged = !self.hasty() && self.swept.is_some_and(|(_, txid)| txid == newest);
        if !unchanged {
            for folder in store.folders(Layout::V5(self.keys)).await? {
                if let Folder::Level(level @ 1..) = folder
                    && !self.list_level(store, level).await?
                {
                    return self.reconcile(store, sampled).await;
                }
            }
        }
        self.swept = Some((sampled, newest));
        Ok(())
    }

    /// Whether something that is known is gone, where the names of all files tell for little.
    async fn misses(&self, store: &dyn ReplicaStore) -> Result<bool, Reason> {
        let known: Vec<Folder> = self.inventory.levels().map(|(level, _)| Folder::Level(level)).collect();
        let Some(names) = store.names(&known).await? else { return Ok(false) };
        Ok(self.inventory.misses(names))
    }

    /// Lists everything anew.
    async fn reconcile(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        self.inventory = Inventory::default();
        self.collecting = Some(Box::default());
        self.candidates = Candidates::default();
        if let Some(seen) = &mut self.seen {
            seen.listed.restart();
        }
        walk::all(store, Layout::V5(self.keys), |object| self.admit(object, false)).await?;
        (self.reconciled, self.compared) = (Some(sampled), Some(sampled));
        self.swept = Some((sampled, self.inventory.max_txid()));
        Ok(())
    }

    /// Reads the header of the newest file, once for each new one. A file that is not what its name says proves nothing:
    /// the newest one that is does. The other one is asked for again with each look.
    async fn read_newest(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        self.odd = None;
        let mut odd: Vec<LtxFile> = Vec::new();
        loop {
            let Some(file) = self.newest_but(store, &odd).await? else {
                self.newest = None;
                return self.odd.as_deref().cloned().map_or(Ok(()), Err);
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
                    self.odd.get_or_insert_with(|| Box::new(reason));
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
            walk::each(store, Folder::Level(file.level), None, |object| {
                if let Some(file) = object.ltx().filter(|file| !is_odd(file)) {
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
        let name = Listed::from(file).name;
        let key = name.key(self.keys);
        // One byte more than was listed, to see a file that has grown.
        let whole = first && file.size <= self.whole;
        let length = if whole { file.size.saturating_add(1) } else { HEADER_SIZE as u64 };
        let understand = |bytes: &Bytes| {
            let header = LtxHeader::parse(bytes).map_err(|error| corrupt(&key, error))?;
            header.check_name(file.name()).map_err(|error| corrupt(&key, error))?;
            Ok(header)
        };
        let read = read_understood(store, (name, &key), length.max(HEADER_SIZE as u64), understand).await;
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
}

/// Orders files by what they say of where the replica is. Level 0 says exactly where it ends in the WAL, a snapshot where
/// its level-0 file did, a compaction nothing.
fn newness(file: &LtxFile) -> (Txid, bool, bool) {
    (file.max, file.level == 0, file.level == SNAPSHOT_LEVEL)
}
