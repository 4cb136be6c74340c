//! A v0.3 replica: generations of snapshots and WAL segments.

mod conclusion;
mod follow;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use self::follow::Followed;
use super::finding::{Finding, RELISTINGS_MAX, Seen, due, read_understood};
use crate::domain::assess::proof::Evidence;
use crate::domain::limits::{ODD_NEWEST_MAX, PLAN_CANDIDATES_MAX, SEGMENT_BYTES_MAX};
use crate::domain::litestream::expiry::Kept;
use crate::domain::litestream::{
    AgeIdentities, Facts, Folder, Generation, GenerationTimeline, Generations, Hole, Layout, LevelKeys, Listed,
    ObjectName, SegmentFile, SegmentName, caveats, segment_end_of,
};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::WalPosition;
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::Listing;
use crate::usecase::ports::{Pace, ReplicaStore};
use crate::usecase::walk;

/// How often a busy replica is asked for new generations and snapshots, which replication goes on to without a word.
const GENERATIONS_INTERVAL: Duration = Duration::from_secs(60);

/// The generations, between two looks.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    /// The `store` label.
    store: &'static str,
    generations: Generations,
    /// The newest segment that can be decoded, and where it ends.
    newest: Option<(Generation, SegmentFile, WalPosition)>,
    /// The problem of a newer one.
    odd: Option<Box<Reason>>,
    /// When everything was listed.
    pub(super) reconciled: Option<Moment>,
    /// When what is new was listed.
    pub(super) listed: Option<Moment>,
    /// What was read beyond that without a listing; `None`: nothing is new.
    followed: Option<Followed>,
    /// Single segments are asked for where that spares a listing.
    pub(super) peeks: bool,
    /// Where the WAL of the database ended before the look, where that is known.
    pub(super) aim: Option<WalPosition>,
    /// When what is known was compared with the names that are there.
    compared: Option<Moment>,
    /// When generations and snapshots were listed.
    swept: Option<Moment>,
    /// Where the newest generation is broken, as two listings saw it.
    holes: Vec<Hole>,
    /// With which encrypted content is read; `None` where it cannot be: there is no WAL position.
    identities: Option<AgeIdentities>,
    /// Keys that are known to be damaged.
    pub(super) damaged: Arc<BTreeSet<String>>,
    /// The files, while everything is listed.
    collecting: Option<GenerationTimeline>,
    /// The coverage map of when everything was listed, and how many segments came since.
    map: Option<Arc<TimelineReport>>,
    tail: u64,
    /// The newest segments, of the generation that is restored from.
    recent: BTreeMap<(Generation, SegmentName), SegmentFile>,
    /// There were more: the oldest are not there.
    dropped: bool,
    /// The single objects that this look saw.
    pub(super) seen: Option<Seen>,
    /// The retention that Litestream was given, if it is known.
    kept: Option<Kept>,
}

impl Segments {
    pub(super) fn new(store: &'static str, identities: Option<AgeIdentities>, kept: Option<Kept>) -> Self {
        Self { store, identities, kept, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.generations.objects() == 0
    }

    /// Generations were just listed, which is when an upgrade of the writer is looked for.
    pub(super) fn upgrade_due(&self, sampled: Moment) -> bool {
        self.swept == Some(sampled)
    }

    pub(super) async fn look(
        &mut self,
        store: &dyn ReplicaStore,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<(Finding, Evidence), Reason> {
        if self.may_follow(sampled, pace) && self.follow(store, sampled, pace).await? {
            return Ok(self.conclude(sampled));
        }
        // On a copy, so that a listing that fails or is abandoned half-way changes nothing.
        let mut next = self.clone();
        next.seen = Some(Seen { listed: Listing::new(LevelKeys::Plain), newest: None });
        if next.whole_listing_due(sampled, pace) || !next.list_new(store).await? {
            next.reconcile(store, sampled).await?;
        } else if due(next.swept, GENERATIONS_INTERVAL, sampled) {
            next.sweep(store, sampled).await?;
        }
        if due(next.compared, pace.levels, sampled) {
            if next.misses(store).await? {
                next.reconcile(store, sampled).await?;
            }
            next.compared = Some(sampled);
        }
        // A hole is believed when two listings in a row show it.
        let mut believed = std::mem::take(&mut next.holes);
        for _ in 0..RELISTINGS_MAX {
            let seen = next.generations.coverage().breaks();
            if seen == believed {
                break;
            }
            believed = seen;
            next.reconcile(store, sampled).await?;
        }
        (next.listed, next.followed) = (Some(sampled), None);
        next.holes = next.generations.coverage().breaks();
        if let Some(files) = next.collecting.take() {
            let pauses = files.has_pauses();
            let mut map = files.map(&next.damaged, sampled.wall());
            let facts = Facts { generations: true, pauses, store: next.store, ..Facts::default() };
            map.caveats = caveats(&facts, &map);
            (next.map, next.tail) = (Some(Arc::new(map)), 0);
        }
        *self = next;
        self.plan();
        self.read_newest(store).await?;
        Ok(self.conclude(sampled))
    }

    /// Lists the newest generation's segments from the newest known one on. `false` when that one is gone.
    async fn list_new(&mut self, store: &dyn ReplicaStore) -> Result<bool, Reason> {
        let Some((generation, _)) = self.generations.newest() else { return Ok(true) };
        self.list(store, Folder::Wal(generation)).await
    }

    /// Lists a folder from the newest known object on. `false` when that one is gone.
    async fn list(&mut self, store: &dyn ReplicaStore, folder: Folder) -> Result<bool, Reason> {
        let known = self.generations.last(folder);
        let mut still_there = known.is_none();
        walk::each(store, folder, known, |object| {
            let again = known == Some(object.name);
            still_there |= again;
            self.admit(object, again);
        })
        .await?;
        self.forget_older();
        Ok(still_there)
    }

    /// Takes in what was listed; `again`: it was known.
    fn admit(&mut self, object: Listed, again: bool) {
        match object.name {
            ObjectName::Snapshot(generation, _) => {
                let Some(file) = object.snapshot().filter(|_| !again) else { return self.see(object) };
                self.generations.insert_snapshot(generation, file);
                if let Some(files) = &mut self.collecting {
                    files.insert_snapshot(generation, file);
                }
            }
            ObjectName::Segment(generation, name) => {
                let Some(file) = object.segment() else { return };
                if !again {
                    self.generations.insert_segment(generation, file);
                    match &mut self.collecting {
                        Some(files) => files.insert_segment(generation, file),
                        None => self.tail += 1,
                    }
                }
                self.recent.insert((generation, name), file);
                if self.recent.len() > PLAN_CANDIDATES_MAX {
                    self.make_room();
                }
            }
            ObjectName::Ltx { .. } => return,
        }
        self.see(object);
    }

    fn see(&mut self, object: Listed) {
        if let Some(seen) = &mut self.seen {
            seen.listed.push(object);
        }
    }

    /// Forgets a segment of another generation than the newest, or else the oldest one.
    fn make_room(&mut self) {
        let newest = self.generations.newest().map(|(generation, _)| generation);
        if self.recent.last_key_value().is_some_and(|((generation, _), _)| Some(*generation) != newest) {
            self.recent.pop_last();
        } else {
            self.dropped |= self.recent.pop_first().is_some();
        }
    }

    /// Only segments of the newest generation are planned.
    fn forget_older(&mut self) {
        let newest = self.generations.newest().map(|(generation, _)| generation);
        self.recent.retain(|(generation, _), _| Some(*generation) == newest);
        self.dropped &= self.recent.len() >= PLAN_CANDIDATES_MAX;
    }

    /// Says what a restore of the latest state reads: the newest snapshot and all segments from its index on.
    fn plan(&mut self) {
        let coverage = self.generations.coverage();
        let newest = self.generations.newest().map(|(generation, _)| generation);
        let (Some(seen), Some(generation)) = (&mut self.seen, newest) else { return };
        let index = coverage.newest_snapshot.map_or(0, |snapshot| snapshot.index);
        self.recent.retain(|(_, name), _| name.index >= index);
        let first = self.recent.first_key_value().map(|((_, name), _)| *name);
        self.dropped &= self.recent.len() >= PLAN_CANDIDATES_MAX && first != Some(SegmentName { index, offset: 0 });
        let snapshot = coverage.newest_snapshot.map(|snapshot| Listed::from((generation, snapshot)));
        let segments = self.recent.iter().map(|((generation, _), file)| Listed::from((*generation, *file)));
        seen.listed.plan = snapshot.into_iter().chain(segments).collect();
        seen.listed.cut = self.dropped;
        seen.listed.unbroken = coverage.restorable && coverage.holes.is_empty();
    }

    /// Looks for new generations and snapshots.
    async fn sweep(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        for generation in walk::generations(store).await? {
            let new = self.generations.get(generation).is_none();
            if new {
                self.list(store, Folder::Wal(generation)).await?;
            }
            if !self.list(store, Folder::Snapshots(generation)).await? {
                // Retention: what it took from the segments has to be seen as well.
                return self.reconcile(store, sampled).await;
            }
        }
        self.swept = Some(sampled);
        Ok(())
    }

    /// Whether something of the newest generation that is known is gone, where the names of all files tell for little.
    async fn misses(&self, store: &dyn ReplicaStore) -> Result<bool, Reason> {
        let Some((generation, inventory)) = self.generations.newest() else { return Ok(false) };
        let folders = [Folder::Wal(generation), Folder::Snapshots(generation)];
        let Some(names) = store.names(&folders).await? else { return Ok(false) };
        Ok(inventory.misses(names))
    }

    async fn reconcile(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        self.generations = Generations::default();
        self.collecting = Some(GenerationTimeline::default());
        self.recent.clear();
        self.dropped = false;
        if let Some(seen) = &mut self.seen {
            seen.listed.restart();
        }
        walk::all(store, Layout::V3, |object| self.admit(object, false)).await?;
        self.forget_older();
        (self.reconciled, self.compared) = (Some(sampled), Some(sampled));
        self.swept = Some(sampled);
        Ok(())
    }

    /// Reads the newest segment, once for each new one: only its content says where it ends. One that cannot be decoded
    /// proves nothing: the newest one that can does. The other one is asked for again with each look.
    async fn read_newest(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        self.odd = None;
        let newest = self
            .generations
            .newest()
            .and_then(|(generation, inventory)| inventory.newest_segment.map(|segment| (generation, segment)));
        let (Some((generation, segment)), Some(identities)) = (newest, self.identities.clone()) else {
            self.newest = None;
            return Ok(());
        };
        let before = self.recent.range(..(generation, segment.name())).rev().map(|(_, file)| *file);
        let segments: Vec<SegmentFile> = std::iter::once(segment).chain(before).take(1 + ODD_NEWEST_MAX).collect();
        for (index, segment) in segments.into_iter().enumerate() {
            if self.newest.is_some_and(|(known, file, _)| (known, file) == (generation, segment)) {
                return Ok(());
            }
            match self.end_of(store, &identities, (generation, segment), index == 0).await? {
                Ok(end) => {
                    self.newest = Some((generation, segment, end));
                    return Ok(());
                }
                Err(reason) if reason.kind == ReasonKind::Corrupt => {
                    self.odd.get_or_insert_with(|| Box::new(reason));
                }
                Err(reason) => return Err(reason),
            }
        }
        self.newest = None;
        self.odd.as_deref().cloned().map_or(Ok(()), Err)
    }

    /// Where a segment ends in the WAL, or what is wrong with it; the `first` one is seen.
    async fn end_of(
        &mut self,
        store: &dyn ReplicaStore,
        identities: &AgeIdentities,
        (generation, segment): (Generation, SegmentFile),
        first: bool,
    ) -> Result<Result<WalPosition, Reason>, Reason> {
        let object = Listed::from((generation, segment));
        let key = generation.segment_key(segment.name());
        if segment.size > SEGMENT_BYTES_MAX {
            let message = format!("{} bytes, more than the {SEGMENT_BYTES_MAX} that are read", segment.size);
            return Err(Reason::new(ReasonKind::Unsupported, message).of_object(&key));
        }
        let understand = |bytes: &Bytes| {
            segment_end_of(&segment.name(), bytes.as_ref(), identities)
                .map(|end| end.end)
                .map_err(|error| Reason::from(error).of_object(&key))
        };
        let (bytes, end) =
            read_understood(store, (object.name, &key), segment.size, understand).await.inspect_err(|reason| {
                if reason.kind == ReasonKind::NotFound {
                    self.reconciled = None;
                }
            })?;
        let short = (bytes.len() as u64) < segment.size;
        if let Some(seen) = self.seen.as_mut().filter(|_| first) {
            // It is read anyway.
            seen.newest = Some((object, bytes, 0));
        }
        // An answer that is shorter than the segment was listed says nothing of the segment.
        if short { end.map(Ok) } else { Ok(end) }
    }
}
