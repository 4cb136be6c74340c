//! To which instants one replica can be restored: everything is listed, nothing is remembered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::ports::{Content, Cursor, Page, ReplicaStore};
use super::restore::{border, header};
use super::walk;
use crate::domain::litestream::{
    Damaged, Dated, Facts, Folder, GenerationTimeline, Layout, LevelKeys, Listed, LtxFile, LtxTimeline, ObjectName,
    PlanTarget, caveats, instant,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::StoreKind;
use crate::domain::timeline::{Blocked, TimelineReport};

/// Listings of a replica, so that a hole is believed when two in a row show it.
const LISTINGS_MAX: usize = 2;

/// How far the time of a file may be from that of its header where Litestream set it: some servers know whole seconds only.
const LISTED_PRECISION: SignedDuration = SignedDuration::from_secs(1);

/// Headers that are read at the same time.
const HEADERS_AT_ONCE: usize = 16;

/// Everything that a replica holds, by name.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    layouts: Vec<Layout>,
    levels: LtxTimeline,
    generations: GenerationTimeline,
    /// Files of v0.5 are dated by their upload.
    uploaded: bool,
    /// How much later than Litestream made it the oldest of them was uploaded.
    late: Option<SignedDuration>,
    /// Files of v0.5 are dated by their headers, because what the listing gives is the time of a copy.
    copied: bool,
}

/// The result of a restore to an instant.
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

impl AnswerObject {
    fn of(object: Listed, keys: LevelKeys) -> Self {
        Self { key: object.name.key(keys), size: object.size, created: object.at.instant() }
    }
}

/// Lists a replica.
///
/// # Errors
///
/// When the replica cannot be listed.
pub async fn contents(store: &dyn ReplicaStore, damaged: &BTreeSet<String>) -> Result<Contents, Reason> {
    let mut contents = Contents::list(store).await?;
    for _ in 1..LISTINGS_MAX {
        // Retention and compaction go on while a listing takes its time.
        if contents.map(damaged, StoreKind::default(), Timestamp::MAX).gaps == 0 {
            break;
        }
        contents = Contents::list(store).await?;
    }
    contents.date_copy(store).await;
    contents.date_upload(store).await;
    Ok(contents)
}

impl Contents {
    async fn list(store: &dyn ReplicaStore) -> Result<Self, Reason> {
        let mut this = Self { layouts: store.layouts().await?, ..Self::default() };
        for layout in this.layouts.clone() {
            walk::all(store, layout, |object| this.insert(&object)).await?;
        }
        Ok(this)
    }

    fn insert(&mut self, object: &Listed) {
        if let Some(file) = object.ltx() {
            self.uploaded |= matches!(object.at, Dated::Uploaded(_));
            self.levels.insert(file);
        } else if let (ObjectName::Snapshot(generation, _), Some(file)) = (object.name, object.snapshot()) {
            self.generations.insert_snapshot(generation, file);
        } else if let (ObjectName::Segment(generation, _), Some(file)) = (object.name, object.segment()) {
            self.generations.insert_segment(generation, file);
        }
    }

    /// The newest layout that holds anything.
    pub fn layout(&self) -> Option<Layout> {
        self.layouts.first().copied()
    }

    fn keys(&self) -> Option<LevelKeys> {
        let levels = self.layouts.iter().find(|layout| **layout != Layout::V3);
        levels.map(|layout| layout.keys())
    }

    /// The times are those of the uploads, mostly seconds after Litestream's own, which the headers have. (v0.3 itself knows
    /// only the former.)
    pub fn uploaded(&self) -> bool {
        self.uploaded
    }

    /// How much later than Litestream made it the oldest file was uploaded, where that is known: much later in a copy.
    pub fn late(&self) -> Option<SignedDuration> {
        self.late
    }

    /// The times are those of the headers, which those of the files are not: somebody copied them.
    pub fn copied(&self) -> bool {
        self.copied
    }

    /// Dates files by their headers where the times that Litestream gave them are lost, as in a copy: restores go by the
    /// headers. The first and the last file of each level tell.
    async fn date_copy(&mut self, store: &dyn ReplicaStore) {
        let (Some(keys), Some(files), false) = (self.keys(), self.levels.files(), self.uploaded) else { return };
        let mut files = files.to_vec();
        files.sort_unstable_by_key(|file| (file.level, file.name()));
        let ends = files.chunk_by(|one, next| one.level == next.level).flat_map(|level| [level.first(), level.last()]);
        let mut ends: Vec<LtxFile> = ends.flatten().copied().collect();
        ends.dedup();
        let made = by_headers(store, keys, &ends).await;
        let differs =
            |(listed, made): (&LtxFile, &LtxFile)| listed.created.duration_since(made.created).abs() > LISTED_PRECISION;
        if !ends.iter().zip(&made).any(differs) {
            return;
        }
        self.levels = LtxTimeline::default();
        by_headers(store, keys, &files).await.into_iter().for_each(|file| self.levels.insert(file));
        self.copied = true;
    }

    /// Asks the oldest file how late uploads are: one request.
    async fn date_upload(&mut self, store: &dyn ReplicaStore) {
        let (Some(keys), Some(files), true) = (self.keys(), self.levels.files(), self.uploaded) else { return };
        let Some(oldest) = files.iter().min_by_key(|file| (file.max, file.level)).copied() else { return };
        let made = header(store, keys, &oldest).await.ok();
        self.late = made.map(|made| oldest.created.duration_since(made.timestamp));
    }

    /// The coverage map of the newest layout. `damaged` holds keys.
    pub fn map(&self, damaged: &BTreeSet<String>, kind: StoreKind, until: Timestamp) -> TimelineReport {
        let store = kind.as_str();
        let Some(keys) = self.keys() else {
            let mut map = self.generations.clone().map(damaged, until);
            let facts = Facts { generations: true, pauses: self.generations.has_pauses(), store, ..Facts::default() };
            map.caveats = if self.layouts.is_empty() { Vec::new() } else { caveats(&facts, &map) };
            return map;
        };
        let mut map = self.levels.clone().map(&Damaged::new(keys, damaged), until);
        let files = self.levels.files().unwrap_or_default();
        let generations = self.layouts.contains(&Layout::V3);
        let (copied, misplaced) = (self.copied, keys != kind.level_keys());
        map.caveats = caveats(&Facts { files, generations, copied, misplaced, store, ..Facts::default() }, &map);
        map
    }

    /// Answers what a restore to an instant gives. Where the listing does not have Litestream's own times, a few
    /// headers are read.
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
            let message = "plan restore: more files than can be compared at once";
            return Err(Reason::new(ReasonKind::Unsupported, message));
        };
        let mut files = files.to_vec();
        if self.uploaded {
            date(store, keys, &mut files, at).await?;
        }
        let found = instant(&files, &Damaged::new(keys, damaged), PlanTarget::Time(at))
            .map_err(|error| Reason::new(ReasonKind::NotFound, format!("plan restore: {error}")))?;
        if found.txid.is_none() && self.layouts.contains(&Layout::V3) {
            return Ok(self.ask_generations(damaged, at));
        }
        let objects = found.files.iter().map(|file| AnswerObject::of((*file).into(), keys));
        let position = found.txid.map(|txid| txid.to_string());
        Ok(Answer::new(position, found.created, objects.collect(), found.blocked, at))
    }

    fn ask_generations(&self, damaged: &BTreeSet<String>, at: Timestamp) -> Answer {
        let Some(found) = self.generations.clone().instant(damaged, at) else { return Answer::default() };
        let generation = found.generation;
        let keys = LevelKeys::Plain;
        let snapshot = found.snapshot.map(|file| AnswerObject::of((generation, file).into(), keys));
        let segments = found.segments.iter().map(|file| AnswerObject::of((generation, *file).into(), keys));
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

/// Files with the times of their headers, in the same order. What cannot be read keeps the time that it has.
async fn by_headers(store: &dyn ReplicaStore, keys: LevelKeys, files: &[LtxFile]) -> Vec<LtxFile> {
    let dated = files.iter().map(|file| async move {
        let made = header(store, keys, file).await.ok().map(|header| header.timestamp);
        LtxFile { created: made.unwrap_or(file.created), ..*file }
    });
    futures_util::stream::iter(dated).buffered(HEADERS_AT_ONCE).collect().await
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
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        self.count();
        self.store.layouts().await
    }

    async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
        self.count();
        self.store.folders(layout).await
    }

    async fn all(&self, layout: Layout) -> Result<Option<Page>, Reason> {
        let page = self.store.all(layout).await?;
        page.iter().for_each(|_| self.count());
        Ok(page)
    }

    async fn list(&self, folder: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        self.count();
        self.store.list(folder, from, cursor).await
    }

    async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
        self.count();
        self.store.read(name, offset, length).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::litestream::{LtxHeader, LtxName, Txid};
    use crate::infrastructure::store::MemoryStore;

    #[test]
    fn who_dates_files_is_not_told_by_their_keys() {
        let mut contents = Contents { layouts: vec![Layout::V5(LevelKeys::Hex)], ..Contents::default() };
        let name = ObjectName::Ltx { level: 0, name: LtxName { min: Txid(1), max: Txid(1) } };
        contents.insert(&Listed { name, size: 1, at: Dated::Written(Timestamp::UNIX_EPOCH) });
        assert!(!contents.uploaded());
        contents.insert(&Listed { name, size: 1, at: Dated::Uploaded(Timestamp::UNIX_EPOCH) });
        assert!(contents.uploaded());
    }

    #[tokio::test]
    async fn how_late_a_copy_was_uploaded_is_known_by_its_oldest_file() {
        let made = Timestamp::UNIX_EPOCH;
        let header = LtxHeader {
            page_size: 4096,
            commit: 1,
            min: Txid(1),
            max: Txid(1),
            timestamp: made,
            wal_offset: 0,
            wal_size: 0,
            wal_salt1: 0,
            wal_salt2: 0,
        };
        let store = MemoryStore::flat();
        let name = LtxName { min: Txid(1), max: Txid(1) };
        let late = SignedDuration::from_mins(20);
        store.put(LevelKeys::Hex.key(9, name), header.encode().to_vec(), made + late);
        let found = contents(&store, &BTreeSet::new()).await.unwrap();
        assert_eq!((found.uploaded(), found.late()), (true, Some(late)));
        let unreadable = MemoryStore::flat();
        unreadable.put(LevelKeys::Hex.key(9, name), "no header", made);
        let found_there = contents(&unreadable, &BTreeSet::new()).await.unwrap();
        assert_eq!((found_there.uploaded(), found_there.late()), (true, None));
        let caveats = |kind| found.map(&BTreeSet::new(), kind, made + late).caveats;
        assert_eq!(caveats(StoreKind::S3), []);
        assert!(caveats(StoreKind::File)[0].detail.starts_with("finds nothing here"), "{:?}", caveats(StoreKind::File));
    }
}
