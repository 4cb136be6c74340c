//! A v0.3 replica: generations of snapshots and WAL segments.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Finding, RELISTINGS_MAX, Seen, chain, due, listing, read_understood};
use crate::domain::assess::proof::{Evidence, Method};
use crate::domain::assessment::{CoverageReport, LevelReport};
use crate::domain::limits::{GENERATIONS_MAX, ODD_NEWEST_MAX, PLAN_CANDIDATES_MAX, SEGMENT_BYTES_MAX};
use crate::domain::litestream::expiry::Kept;
use crate::domain::litestream::generations::ROOT;
use crate::domain::litestream::{
    AgeIdentities, Coverage, Facts, Generation, GenerationKey, GenerationTimeline, Generations, Hole, Layout,
    LevelKeys, SegmentFile, SegmentName, SnapshotFile, SnapshotName, caveats, segment_end_of,
};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::WalPosition;
use crate::domain::timeline::{Span, TimelineReport};
use crate::domain::verification::{Listed, ObjectName, Sighting};
use crate::usecase::ports::{Pace, ReplicaStore};

/// How often a busy replica is asked for new generations and snapshots, which replication goes on to without a word.
const GENERATIONS_INTERVAL: Duration = Duration::from_secs(60);

/// What is remembered of the generations.
#[derive(Clone, Debug, Default)]
pub(super) struct Segments {
    generations: Generations,
    /// The newest segment that can be decoded, and where it ends.
    newest: Option<(Generation, SegmentFile, WalPosition)>,
    /// What is wrong with a newer one.
    odd: Option<Reason>,
    /// When everything was listed.
    reconciled: Option<Moment>,
    /// When generations and snapshots were listed.
    swept: Option<Moment>,
    /// Where the newest generation is broken, as two listings saw it.
    holes: Vec<Hole>,
    /// With which encrypted content is read; `None` where it cannot be: there is no WAL position.
    identities: Option<AgeIdentities>,
    /// Keys that are known to be damaged.
    damaged: Arc<BTreeSet<String>>,
    /// The files, while everything is listed.
    collecting: Option<GenerationTimeline>,
    /// The coverage map of when everything was listed, and how many segments came since.
    map: Option<Arc<TimelineReport>>,
    tail: u64,
    /// The newest segments, of the generation that is restored from.
    recent: BTreeMap<(Generation, SegmentName), SegmentFile>,
    /// What this look saw of single objects.
    seen: Option<Seen>,
    /// What Litestream was told to keep, if that is known.
    kept: Option<Kept>,
}

impl Segments {
    pub(super) fn new(identities: Option<AgeIdentities>, kept: Option<Kept>) -> Self {
        Self { identities, kept, ..Self::default() }
    }

    /// Says which keys nothing is restored from.
    pub(super) fn tell(&mut self, damaged: &Arc<BTreeSet<String>>) {
        if self.damaged != *damaged {
            self.reconciled = None;
        }
        self.damaged = Arc::clone(damaged);
    }

    pub(super) fn relist(&mut self) {
        self.reconciled = None;
    }

    pub(super) fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take()
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
        // On a copy, so that a listing that fails or is abandoned half-way changes nothing.
        let mut next = self.clone();
        next.seen = Some(Seen { listed: Listed::new(LevelKeys::Plain), newest: None });
        if due(next.reconciled, pace.reconcile, sampled) || !next.list_new(store).await? {
            next.reconcile(store, sampled).await?;
        } else if due(next.swept, GENERATIONS_INTERVAL, sampled) {
            next.sweep(store, sampled).await?;
        }
        // A hole is believed when two listings in a row show it.
        let mut believed = std::mem::take(&mut next.holes);
        for _ in 0..RELISTINGS_MAX {
            let seen = next.holes();
            if seen == believed {
                break;
            }
            believed = seen;
            next.reconcile(store, sampled).await?;
        }
        next.holes = next.holes();
        if let Some(files) = next.collecting.take() {
            let facts = Facts { generations: true, pauses: files.has_pauses(), store: "file", ..Facts::default() };
            let mut map = files.map(&next.damaged, sampled.wall);
            map.caveats = caveats(&facts, &map);
            (next.map, next.tail) = (Some(Arc::new(map)), 0);
        }
        *self = next;
        self.plan();
        self.read_newest(store).await?;
        Ok(self.conclude(sampled))
    }

    /// Where the newest generation is broken; one without a snapshot is broken from the start.
    fn holes(&self) -> Vec<Hole> {
        let coverage = self.generations.coverage();
        let start = (!coverage.restorable).then(Hole::default);
        start.into_iter().chain(coverage.holes).collect()
    }

    /// Lists the newest generation's segments from the newest known one on. `false` when that one is gone.
    async fn list_new(&mut self, store: &dyn ReplicaStore) -> Result<bool, Reason> {
        let Some((generation, _)) = self.generations.newest() else { return Ok(true) };
        self.list_wal(store, generation).await
    }

    async fn list_wal(&mut self, store: &dyn ReplicaStore, generation: Generation) -> Result<bool, Reason> {
        let last = self.generations.get(generation).and_then(|inventory| inventory.last_segment);
        let known = last.map(|name| generation.segment_key(name));
        self.list(store, &generation.wal_prefix(), known).await
    }

    async fn list_snapshots(&mut self, store: &dyn ReplicaStore, generation: Generation) -> Result<bool, Reason> {
        let last = self.generations.get(generation).and_then(|inventory| inventory.last_snapshot);
        let known = last.map(|index| generation.snapshot_key(SnapshotName { index }));
        self.list(store, &generation.snapshots_prefix(), known).await
    }

    async fn list(&mut self, store: &dyn ReplicaStore, prefix: &str, known: Option<String>) -> Result<bool, Reason> {
        let mut still_there = known.is_none();
        let (generations, recent) = (&mut self.generations, &mut self.recent);
        let (collecting, tail) = (&mut self.collecting, &mut self.tail);
        let mut listed = self.seen.as_mut().map(|seen| &mut seen.listed);
        listing::each(store, prefix, known.as_deref().map(listing::just_before), |object| {
            let again = known.as_deref() == Some(object.key.as_str());
            still_there |= again;
            let (size, created) = (object.size, object.modified);
            let name = match GenerationKey::parse(&object.key) {
                Some(GenerationKey::Snapshot(generation, name)) => {
                    let file = SnapshotFile { index: name.index, size, created };
                    if !again {
                        generations.insert_snapshot(generation, file);
                        if let Some(files) = collecting {
                            files.insert_snapshot(generation, file);
                        }
                    }
                    ObjectName::Snapshot(generation, name)
                }
                Some(GenerationKey::Segment(generation, name)) => {
                    let file = SegmentFile { index: name.index, offset: name.offset, size, created };
                    if !again {
                        generations.insert_segment(generation, file);
                        match collecting {
                            Some(files) => files.insert_segment(generation, file),
                            None => *tail += 1,
                        }
                    }
                    recent.insert((generation, name), file);
                    if recent.len() > PLAN_CANDIDATES_MAX {
                        recent.pop_first();
                    }
                    ObjectName::Segment(generation, name)
                }
                None => return,
            };
            if let Some(listed) = &mut listed {
                listed.push(Sighting { name, size, modified: created });
            }
        })
        .await?;
        let newest = self.generations.newest().map(|(generation, _)| generation);
        self.recent.retain(|(generation, _), _| Some(*generation) == newest);
        Ok(still_there)
    }

    /// Says what a restore of the latest state reads: the newest snapshot and all segments from its index on.
    fn plan(&mut self) {
        let coverage = self.generations.coverage();
        let newest = self.generations.newest().map(|(generation, _)| generation);
        let (Some(seen), Some(generation)) = (&mut self.seen, newest) else { return };
        let index = coverage.newest_snapshot.map_or(0, |snapshot| snapshot.index);
        self.recent.retain(|(_, name), _| name.index >= index);
        let snapshot = coverage.newest_snapshot.map(|snapshot| Sighting {
            name: ObjectName::Snapshot(generation, SnapshotName { index: snapshot.index }),
            size: snapshot.size,
            modified: snapshot.created,
        });
        let segments = self.recent.iter().map(|((generation, name), file)| Sighting {
            name: ObjectName::Segment(*generation, *name),
            size: file.size,
            modified: file.created,
        });
        seen.listed.plan = snapshot.into_iter().chain(segments).collect();
        seen.listed.unbroken = coverage.restorable && coverage.holes.is_empty();
    }

    /// Looks for new generations and snapshots.
    async fn sweep(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        for generation in self.named(store).await? {
            let new = self.generations.get(generation).is_none();
            if new {
                self.list_wal(store, generation).await?;
            }
            if !self.list_snapshots(store, generation).await? {
                // Retention: what it took from the segments has to be seen as well.
                return self.reconcile(store, sampled).await;
            }
        }
        self.swept = Some(sampled);
        Ok(())
    }

    async fn reconcile(&mut self, store: &dyn ReplicaStore, sampled: Moment) -> Result<(), Reason> {
        self.generations = Generations::default();
        self.collecting = Some(GenerationTimeline::default());
        self.recent.clear();
        if let Some(seen) = &mut self.seen {
            seen.listed.restart();
        }
        self.list_all(store).await?;
        self.reconciled = Some(sampled);
        self.swept = Some(sampled);
        Ok(())
    }

    async fn list_all(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        for generation in self.named(store).await? {
            // Retention deletes snapshots before the segments that follow them, so segments are listed first: a
            // snapshot that is then still there has its segments in the listing.
            self.list_wal(store, generation).await?;
            self.list_snapshots(store, generation).await?;
        }
        Ok(())
    }

    async fn named(&self, store: &dyn ReplicaStore) -> Result<Vec<Generation>, Reason> {
        let folders = store.folders(ROOT).await?;
        if folders.len() > GENERATIONS_MAX {
            let message = format!("list {ROOT}: {} generations, at most {GENERATIONS_MAX} are read", folders.len());
            return Err(
                Reason::new(ReasonKind::Unsupported, message).with_hint("retention does not work on this replica")
            );
        }
        Ok(folders.iter().filter_map(|folder| folder.parse().ok()).collect())
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
                Err(reason) if reason.kind == ReasonKind::Corrupt => drop(self.odd.get_or_insert(reason)),
                Err(reason) => return Err(reason),
            }
        }
        self.newest = None;
        self.odd.clone().map_or(Ok(()), Err)
    }

    /// Where a segment ends in the WAL, or what is wrong with it; the `first` one is seen.
    async fn end_of(
        &mut self,
        store: &dyn ReplicaStore,
        identities: &AgeIdentities,
        (generation, segment): (Generation, SegmentFile),
        first: bool,
    ) -> Result<Result<WalPosition, Reason>, Reason> {
        let key = generation.segment_key(segment.name());
        if segment.size > SEGMENT_BYTES_MAX {
            let message = format!("read {key}: {} bytes, at most {SEGMENT_BYTES_MAX} are read", segment.size);
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        let understand = |bytes: &Bytes| {
            segment_end_of(&segment.name(), bytes.as_ref(), identities)
                .map(|end| end.end)
                .map_err(|error| Reason::from(error).context(format_args!("read {key}")))
        };
        let (bytes, end) = read_understood(store, &key, segment.size, understand).await.inspect_err(|reason| {
            if reason.kind == ReasonKind::NotFound {
                self.reconciled = None;
            }
        })?;
        let short = (bytes.len() as u64) < segment.size;
        if let Some(seen) = self.seen.as_mut().filter(|_| first) {
            let name = ObjectName::Segment(generation, segment.name());
            // It is read anyway.
            seen.newest = Some((Sighting { name, size: segment.size, modified: segment.created }, bytes, 0));
        }
        // An answer that is shorter than the segment was listed says nothing of the segment.
        if short { end.map(Ok) } else { Ok(end) }
    }

    fn conclude(&self, sampled: Moment) -> (Finding, Evidence) {
        let coverage = self.generations.coverage();
        let position = self.newest.map(|(_, _, end)| end);
        let newest_at = self.generations.newest().and_then(|(_, inventory)| inventory.newest_at);
        let evidence = Evidence {
            verified_at: sampled,
            position,
            method: if position.is_some() { Method::Segment } else { Method::Observer },
            newest_at,
            chain: chain(&coverage, sampled),
        };
        let finding = Finding {
            layout: Some(Layout::V3.as_str()),
            txid: None,
            last_segment_at: newest_at,
            coverage: self.report(coverage, sampled),
            timeline: self.timeline(sampled),
            received_bytes: None,
            received_objects: None,
            damaged: self.odd.clone(),
        };
        (finding, evidence)
    }

    /// The coverage map with what came since it was made: each segment is a state.
    fn timeline(&self, sampled: Moment) -> Option<Arc<TimelineReport>> {
        let map = self.map.as_ref()?;
        let from = map.listed_at.filter(|_| self.tail > 0 && map.restorable_now());
        let more = from.map(|from| Span {
            from,
            until: sampled.wall.max(from),
            points: self.tail,
            resolution_seconds: 0.0,
            typical_seconds: None,
            blocked: None,
        });
        Some(Arc::new(map.extended(more.into_iter().collect(), sampled.wall)))
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
        let dropped = coverage.newest_snapshot.filter(|_| self.recent.len() >= PLAN_CANDIDATES_MAX);
        let oldest = later().map(|file| file.created).min();
        CoverageReport {
            unsnapshotted_since: dropped.map(|snapshot| snapshot.created).or(oldest),
            changes_since_snapshot: Some(later().count() as u64),
            whole: coverage.restorable.then_some(coverage.whole),
            expired_objects: self.kept.map(|kept| self.generations.expired(&kept, sampled.wall)),
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
