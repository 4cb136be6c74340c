//! To which instants one replica can be restored: everything is listed, nothing is remembered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::ports::{ListPage, ReplicaStore};
use super::replica_probe::listing;
use super::restore::border;
use crate::domain::limits::GENERATIONS_MAX;
use crate::domain::litestream::generations::ROOT;
use crate::domain::litestream::{
    Damaged, Facts, GenerationKey, GenerationTimeline, Layout, LevelKeys, LtxFile, LtxTimeline, PlanTarget,
    SNAPSHOT_LEVEL, SegmentFile, SnapshotFile, caveats, instant,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::timeline::{Blocked, TimelineReport};

/// Listings of a replica, so that a hole is believed when two in a row show it.
const LISTINGS_MAX: usize = 2;

/// Everything that a replica holds, by name.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    layouts: Vec<Layout>,
    levels: LtxTimeline,
    generations: GenerationTimeline,
}

/// What a restore to an instant would give.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Answer {
    /// The state at the instant is there, as exactly as the replica still has it.
    pub restorable: bool,
    /// The TXID, or `generation/index/offset` of the last segment (v0.3).
    pub position: Option<String>,
    /// When that state was replicated.
    pub state_at: Option<Timestamp>,
    /// How much older than the instant it is.
    pub older_seconds: Option<f64>,
    /// In the order in which they are applied.
    pub objects: Vec<AnswerObject>,
    /// Of all objects.
    pub bytes: u64,
    pub blocked: Option<Blocked>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AnswerObject {
    pub key: String,
    pub size: u64,
    pub created: Timestamp,
}

/// Lists a replica.
///
/// # Errors
///
/// What kept it from being listed.
pub async fn contents(store: &dyn ReplicaStore, damaged: &BTreeSet<String>) -> Result<Contents, Reason> {
    let mut contents = Contents::list(store).await?;
    for _ in 1..LISTINGS_MAX {
        // Retention and compaction go on while a listing takes its time.
        if contents.map(damaged, "", Timestamp::MAX).gaps == 0 {
            break;
        }
        contents = Contents::list(store).await?;
    }
    Ok(contents)
}

impl Contents {
    async fn list(store: &dyn ReplicaStore) -> Result<Self, Reason> {
        let mut this = Self { layouts: Layout::recognise(&store.folders("").await?), ..Self::default() };
        for layout in this.layouts.clone() {
            match layout {
                Layout::V5(keys) => this.list_levels(store, keys).await?,
                Layout::V3 => this.list_generations(store).await?,
            }
        }
        Ok(this)
    }

    async fn list_levels(&mut self, store: &dyn ReplicaStore, keys: LevelKeys) -> Result<(), Reason> {
        let root = match keys {
            LevelKeys::Plain => "ltx/",
            LevelKeys::Hex => "",
        };
        let folders = store.folders(root).await?;
        for level in 0..=SNAPSHOT_LEVEL {
            let prefix = keys.prefix(level);
            let name = prefix.strip_prefix(root).unwrap_or(&prefix).trim_end_matches('/');
            if !folders.iter().any(|folder| folder == name) {
                continue;
            }
            let levels = &mut self.levels;
            listing::each(store, &prefix, None, |object| {
                if let Some((level, name)) = keys.parse_key(&object.key) {
                    let (min, max) = (name.min, name.max);
                    levels.insert(LtxFile { level, min, max, size: object.size, created: object.modified });
                }
            })
            .await?;
        }
        Ok(())
    }

    async fn list_generations(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        let folders = store.folders(ROOT).await?;
        if folders.len() > GENERATIONS_MAX {
            let message = format!("list {ROOT}: {} generations, at most {GENERATIONS_MAX} are read", folders.len());
            return Err(Reason::new(ReasonKind::Unsupported, message));
        }
        let generations = &mut self.generations;
        for generation in
            folders.iter().filter_map(|folder| folder.parse::<crate::domain::litestream::Generation>().ok())
        {
            // Segments first, as retention deletes snapshots before the segments that follow them.
            for prefix in [generation.wal_prefix(), generation.snapshots_prefix()] {
                listing::each(store, &prefix, None, |object| {
                    let (size, created) = (object.size, object.modified);
                    match GenerationKey::parse(&object.key) {
                        Some(GenerationKey::Snapshot(generation, name)) => {
                            generations.insert_snapshot(generation, SnapshotFile { index: name.index, size, created });
                        }
                        Some(GenerationKey::Segment(generation, name)) => {
                            let (index, offset) = (name.index, name.offset);
                            generations.insert_segment(generation, SegmentFile { index, offset, size, created });
                        }
                        None => {}
                    }
                })
                .await?;
            }
        }
        Ok(())
    }

    /// The newest layout that holds anything.
    pub fn layout(&self) -> Option<Layout> {
        self.layouts.first().copied()
    }

    fn keys(&self) -> Option<LevelKeys> {
        self.layouts.iter().find_map(|layout| match layout {
            Layout::V5(keys) => Some(*keys),
            Layout::V3 => None,
        })
    }

    /// The times are those of the uploads, seconds after Litestream's own, which the headers have. (v0.3 itself knows only
    /// the former.)
    pub fn uploaded(&self) -> bool {
        matches!(self.layout(), Some(Layout::V5(LevelKeys::Hex)))
    }

    /// The coverage map of the newest layout. `damaged` holds keys, `store` is the label of the store.
    pub fn map(&self, damaged: &BTreeSet<String>, store: &str, until: Timestamp) -> TimelineReport {
        let Some(keys) = self.keys() else {
            let mut map = self.generations.clone().map(damaged, until);
            let facts = Facts { generations: true, pauses: self.generations.has_pauses(), store, ..Facts::default() };
            map.caveats = if self.layouts.is_empty() { Vec::new() } else { caveats(&facts, &map) };
            return map;
        };
        let mut map = self.levels.clone().map(&Damaged::new(keys, damaged), until);
        let files = self.levels.files().unwrap_or_default();
        let generations = self.layouts.contains(&Layout::V3);
        map.caveats = caveats(&Facts { files, generations, store, ..Facts::default() }, &map);
        map
    }

    /// What a restore to an instant gives. Where the listing does not have Litestream's own times, a few headers are
    /// read.
    ///
    /// # Errors
    ///
    /// When there are too many files, or a header cannot be read.
    pub async fn ask(
        &self,
        store: &dyn ReplicaStore,
        damaged: &BTreeSet<String>,
        at: Timestamp,
    ) -> Result<Answer, Reason> {
        let Some(keys) = self.keys() else { return Ok(self.ask_generations(damaged, at)) };
        let Some(files) = self.levels.files() else {
            let message = "plan restore: more files than are compared at once";
            return Err(Reason::new(ReasonKind::Unsupported, message));
        };
        let mut files = files.to_vec();
        if keys == LevelKeys::Hex {
            date(store, keys, &mut files, at).await?;
        }
        let found = instant(&files, &Damaged::new(keys, damaged), PlanTarget::Time(at))
            .map_err(|error| Reason::new(ReasonKind::NotFound, format!("plan restore: {error}")))?;
        if found.txid.is_none() && self.layouts.contains(&Layout::V3) {
            return Ok(self.ask_generations(damaged, at));
        }
        let objects = found.files.iter().map(|file| AnswerObject {
            key: keys.key(file.level, file.name()),
            size: file.size,
            created: file.created,
        });
        let position = found.txid.map(|txid| txid.to_string());
        Ok(Answer::new(position, found.created, objects.collect(), found.blocked, at))
    }

    fn ask_generations(&self, damaged: &BTreeSet<String>, at: Timestamp) -> Answer {
        let Some(found) = self.generations.clone().instant(damaged, at) else { return Answer::default() };
        let generation = found.generation;
        let snapshot = found.snapshot.map(|file| AnswerObject {
            key: generation.snapshot_key(crate::domain::litestream::SnapshotName { index: file.index }),
            size: file.size,
            created: file.created,
        });
        let segments = found.segments.iter().map(|file| AnswerObject {
            key: generation.segment_key(file.name()),
            size: file.size,
            created: file.created,
        });
        let position = match (found.segments.last(), found.snapshot) {
            (_, None) => None,
            (Some(file), _) => Some(format!("{generation}/{:08x}/{:08x}", file.index, file.offset)),
            (None, Some(file)) => Some(format!("{generation}/{:08x}/{:08x}", file.index, 0)),
        };
        let created = found.snapshot.and(found.created);
        Answer::new(position, created, snapshot.into_iter().chain(segments).collect(), found.blocked, at)
    }
}

impl Answer {
    fn new(
        position: Option<String>,
        state_at: Option<Timestamp>,
        objects: Vec<AnswerObject>,
        blocked: Option<Blocked>,
        at: Timestamp,
    ) -> Self {
        Self {
            restorable: position.is_some() && blocked.is_none(),
            older_seconds: state_at.map(|state| at.duration_since(state).as_secs_f64().max(0.0)),
            bytes: objects.iter().fold(0, |bytes, object| bytes.saturating_add(object.size)),
            position,
            state_at,
            objects,
            blocked,
        }
    }
}

/// Dates files by what their headers say of an instant, where a listing gives only the time of upload, by another clock
/// and in whole seconds.
async fn date(store: &dyn ReplicaStore, keys: LevelKeys, files: &mut [LtxFile], at: Timestamp) -> Result<(), Reason> {
    let just_before = at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
    files.sort_unstable_by_key(|file| (file.level, file.name()));
    for level in files.chunk_by_mut(|one, next| one.level == next.level) {
        let (before, last) = border(store, keys, level, at).await?;
        let (earlier, later) = level.split_at_mut(before);
        earlier.iter_mut().for_each(|file| file.created = file.created.min(just_before));
        later.iter_mut().for_each(|file| file.created = file.created.max(at));
        if let (Some(file), Some(last)) = (earlier.last_mut(), last) {
            file.created = last;
        }
    }
    Ok(())
}

/// A replica that counts what it is asked.
pub struct Counted<'a> {
    store: &'a dyn ReplicaStore,
    requests: AtomicU64,
}

impl<'a> Counted<'a> {
    pub fn new(store: &'a dyn ReplicaStore) -> Self {
        Self { store, requests: AtomicU64::new(0) }
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl ReplicaStore for Counted<'_> {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ListPage, Reason> {
        self.count();
        self.store.list(prefix, after).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        self.count();
        self.store.folders(prefix).await
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason> {
        self.count();
        self.store.read(key, offset, length).await
    }
}
