//! Planning the restore of a v0.5 replica: list all levels, find out which files are older than what is asked for, and
//! choose as Litestream does.

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::request::RestoreRequest;
use crate::domain::litestream::{
    Folder, HEADER_SIZE, Hole, Layout, LevelKeys, Listed, LtxFile, LtxHeader, PlanError, PlanTarget, SNAPSHOT_LEVEL,
    Txid, plan,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestoreBase, RestorePlan};
use crate::usecase::ports::ReplicaStore;
use crate::usecase::walk;

/// Bytes that one byte of an LZ4 block can stand for.
const LZ4_RATIO_MAX: u64 = 255;

/// TXIDs behind the one that was asked for that are tried, to name one that can be restored.
const NEIGHBOURS_TRIED: usize = 32;

pub(super) async fn plan_levels(
    store: &dyn ReplicaStore,
    keys: LevelKeys,
    request: &RestoreRequest,
) -> Result<RestorePlan, Reason> {
    let replica = Replica { store, keys };
    // In ascending order, so that a file that is compacted meanwhile is seen below, or above, or at both.
    let mut levels = Vec::new();
    let mut backwards = Vec::new();
    for level in 0..=SNAPSHOT_LEVEL {
        levels.push(replica.list(level, &mut backwards).await?);
    }
    let (files, target) = match request.point {
        PlanTarget::Time(time) => {
            let borders = try_join_all(levels.iter().map(|level| border(store, keys, level, time))).await?;
            let admitted = levels.iter().zip(borders).flat_map(|(level, (border, _))| &level[..border]);
            // What a listing dates a file does not matter any more.
            (admitted.copied().collect::<Vec<_>>(), PlanTarget::Time(Timestamp::MAX))
        }
        point => (levels.concat(), point),
    };
    let planned = match plan(&files, target) {
        Ok(planned) => planned,
        Err(error) => return Err(replica.refusal(error, &levels, &files, request.point).await),
    };
    let last = planned.last().copied();
    let newest = match &last {
        Some(file) => Some(replica.header(file).await?),
        None => None,
    };
    let chain = request.base.zip(newest).and_then(|(base, newest)| on_base(&files, target, &planned, base, &newest));
    let (planned, base) = match chain {
        Some(chain) => (chain, request.base),
        None => (planned, None),
    };
    if request.point == PlanTarget::Latest {
        check_names(&backwards, last.map_or(Txid(0), |last| last.max))?;
    }
    if let (Some(first), None) = (planned.first().filter(|first| first.min != Txid(1)), base) {
        let cause = "it does not begin a database, which takes a file from TXID 1 on";
        return Err(Reason::new(ReasonKind::Corrupt, cause).of_object(&replica.key(first)));
    }
    if let (Some(last), Some(newest)) = (&last, &newest) {
        check_size(newest, &planned, base).map_err(|reason| reason.of_object(&replica.key(last)))?;
    }
    let end = levels.iter().flatten().map(|file| file.max).max();
    Ok(RestorePlan {
        layout: Layout::V5(keys),
        txid: last.map(|file| file.max),
        objects: planned.iter().copied().map(Listed::from).collect(),
        generation: None,
        through: newest.map(|header| header.timestamp).unwrap_or_default(),
        shortfall: last.and_then(|last| shortfall(&files, target, last.max)),
        is_older: last.map(|last| last.max) < end,
        base,
        database_bytes: newest.map(|header| u64::from(header.page_size) * u64::from(header.commit)),
        notes: Vec::new(),
    })
}

/// An object whose name ends before it begins.
struct Backwards {
    key: String,
    level: u8,
    min: Txid,
}

/// Refuses names that Litestream never writes, and stumbles over: it takes one for a file behind a hole, or for a snapshot.
fn check_names(backwards: &[Backwards], end: Txid) -> Result<(), Reason> {
    let harmful = |odd: &&Backwards| odd.level == SNAPSHOT_LEVEL || odd.min.0 > end.0.wrapping_add(1);
    let Some(odd) = backwards.iter().find(harmful) else { return Ok(()) };
    let cause = "its last TXID is before its first, and Litestream restores nothing beside such a file";
    Err(Reason::new(ReasonKind::Corrupt, cause)
        .of_object(&odd.key)
        .with_hint("move it away if nobody knows what it is"))
}

/// Refuses a database that cannot be in what would be read, before room is made for it.
fn check_size(newest: &LtxHeader, planned: &[LtxFile], base: Option<RestoreBase>) -> Result<(), Reason> {
    let size = |pages: u32| u64::from(newest.page_size) * u64::from(pages);
    let read = planned.iter().fold(0u64, |bytes, file| bytes.saturating_add(file.size));
    // The lock page is in no file.
    let most = read.saturating_mul(LZ4_RATIO_MAX).saturating_add(size(base.map_or(0, |base| base.commit)));
    let most = most.saturating_add(size(1));
    if size(newest.commit) <= most {
        return Ok(());
    }
    let cause =
        format!("{} pages of {} bytes cannot be in the {read} bytes that are planned", newest.commit, newest.page_size);
    Err(Reason::new(ReasonKind::Corrupt, cause))
}

/// The chain that leads from a database that is there to where the whole plan leads. `None` when there is none, or when
/// it is the longer way.
fn on_base(
    files: &[LtxFile],
    target: PlanTarget,
    whole: &[LtxFile],
    base: RestoreBase,
    newest: &LtxHeader,
) -> Option<Vec<LtxFile>> {
    let end = whole.last()?.max;
    if base.txid > end || base.txid.0 == 0 || base.page_size != newest.page_size {
        return None;
    }
    let stand_in =
        LtxFile { level: SNAPSHOT_LEVEL, min: Txid(1), max: base.txid, size: 0, created: Timestamp::UNIX_EPOCH };
    let increments = files.iter().filter(|file| file.level < SNAPSHOT_LEVEL && file.max > base.txid);
    let files: Vec<LtxFile> = increments.copied().chain([stand_in]).collect();
    let mut chain = plan(&files, target).ok()?;
    chain.remove(0);
    let bytes = |files: &[LtxFile]| files.iter().fold(0u64, |bytes, file| bytes.saturating_add(file.size));
    let reached = chain.last().map_or(base.txid, |file| file.max) == end;
    (reached && bytes(&chain) <= bytes(whole)).then_some(chain)
}

/// Files that were asked for and that nothing leads to.
fn shortfall(files: &[LtxFile], target: PlanTarget, end: Txid) -> Option<Hole> {
    // A TXID is reached, or there is no plan.
    let asked = !matches!(target, PlanTarget::Txid(_));
    let behind = files.iter().filter(|file| asked && file.level < SNAPSHOT_LEVEL && file.min > end);
    behind.map(|file| file.min).min().map(|before| Hole { after: end, before }.spoken())
}

/// Reads the header of a file.
///
/// # Errors
///
/// When it cannot be read, or is wrong.
pub(in crate::usecase) async fn header(
    store: &dyn ReplicaStore,
    keys: LevelKeys,
    file: &LtxFile,
) -> Result<LtxHeader, Reason> {
    let name = Listed::from(*file).name;
    let bytes = store.read(name, 0, HEADER_SIZE as u64).await?.required()?;
    let key = name.key(keys);
    LtxHeader::parse(&bytes).map_err(|error| Reason::from(error).of_object(&key))
}

/// How many files of a level, which are in the order of their names, were made before a time, and when the last of them
/// was. Their headers say that, where a listing may only give the time of upload; within a level it ascends, so that few
/// have to be read.
///
/// # Errors
///
/// When a header cannot be read, or is wrong.
pub(in crate::usecase) async fn border(
    store: &dyn ReplicaStore,
    keys: LevelKeys,
    level: &[LtxFile],
    time: Timestamp,
) -> Result<(usize, Option<Timestamp>), Reason> {
    let (mut from, mut to, mut last) = (0, level.len(), None);
    while from < to {
        // Most who ask for a time ask for one not long ago.
        let middle = if to == level.len() && from == 0 { to - 1 } else { from + (to - from) / 2 };
        let made = match header(store, keys, &level[middle]).await {
            Ok(header) => Some(header.timestamp),
            // Retention, which takes the oldest, took it meanwhile.
            Err(reason) if reason.kind == ReasonKind::NotFound => None,
            Err(reason) => return Err(reason),
        };
        if made.is_none_or(|made| made < time) {
            (from, last) = (middle + 1, made);
        } else {
            to = middle;
        }
    }
    Ok((from, last))
}

/// Where a file begins whose name ends before that.
fn begins_after_its_end(name: &str) -> Option<Txid> {
    let (min, max) = name.strip_suffix(".ltx")?.split_once('-')?;
    let (min, max): (Txid, Txid) = (min.parse().ok()?, max.parse().ok()?);
    (min > max).then_some(min)
}

struct Replica<'a> {
    store: &'a dyn ReplicaStore,
    keys: LevelKeys,
}

impl Replica<'_> {
    /// All files of a level, by their names.
    async fn list(&self, level: u8, backwards: &mut Vec<Backwards>) -> Result<Vec<LtxFile>, Reason> {
        let mut files = Vec::new();
        let prefix = self.keys.prefix(level);
        walk::pages(self.store, Folder::Level(level), None, |page| {
            files.extend(page.objects.iter().filter_map(Listed::ltx));
            for key in page.odd {
                if let Some(min) = key.strip_prefix(&prefix).and_then(begins_after_its_end) {
                    // Of many, the one that begins last says enough, and a listing is in the order of the names.
                    backwards.retain(|odd| odd.level != level);
                    backwards.push(Backwards { key, level, min });
                }
            }
        })
        .await?;
        Ok(files)
    }

    async fn header(&self, file: &LtxFile) -> Result<LtxHeader, Reason> {
        header(self.store, self.keys, file).await
    }

    fn key(&self, file: &LtxFile) -> String {
        self.keys.key(file.level, file.name())
    }

    /// Why there is no plan, and what could be restored instead.
    async fn refusal(&self, error: PlanError, levels: &[Vec<LtxFile>], files: &[LtxFile], point: PlanTarget) -> Reason {
        let refused = Reason::new(ReasonKind::NotFound, format!("plan restore: {error}"));
        match (error, point) {
            (PlanError::NotContiguous { end }, _) => {
                let found = shortfall(files, PlanTarget::Latest, end).map_or_else(String::new, |hole| hole.before);
                let cause =
                    format!("plan restore: nothing leads from TXID {end} to TXID {found}, where the later files begin");
                let hint = format!("--txid {end} restores what comes before the hole");
                Reason::new(ReasonKind::NotFound, cause).with_hint(hint)
            }
            (PlanError::TxidMissing { wanted, end }, _) => {
                let all = levels.concat();
                let mut behind: Vec<Txid> = all.iter().map(|file| file.max).filter(|max| *max > wanted).collect();
                behind.sort_unstable();
                behind.dedup();
                let mut behind = behind.into_iter().take(NEIGHBOURS_TRIED);
                let next = behind.find(|txid| plan(&all, PlanTarget::Txid(*txid)).is_ok());
                let before = (end.0 > 0).then(|| format!("--txid {end} is before it"));
                let held = all.iter().filter(|file| Some(file.max) == next && file.min <= wanted);
                let refused = match held.max_by_key(|file| file.min) {
                    Some(LtxFile { min, max, .. }) => {
                        let cause =
                            format!("plan restore: TXID {wanted} was compacted: TXIDs {min} to {max} are one file now");
                        Reason::new(ReasonKind::NotFound, cause)
                    }
                    None => refused,
                };
                let next = next.map(|txid| format!("--txid {txid} after it"));
                match before.into_iter().chain(next).collect::<Vec<_>>().join(", ") {
                    none if none.is_empty() => refused,
                    neighbours => refused.with_hint(format!("what can be restored: {neighbours}")),
                }
            }
            (PlanError::NoFiles, PlanTarget::Time(time)) => match self.first_instant(levels).await {
                Ok(Some(first)) => {
                    let cause = format!("plan restore: {time} is before the earliest restorable time, {first}");
                    let hint = format!("--at {first} restores the oldest state");
                    Reason::new(ReasonKind::NotFound, cause).with_hint(hint)
                }
                Ok(None) => refused,
                Err(reason) => reason,
            },
            (PlanError::NoFiles, _) => refused,
        }
    }

    /// The first instant that can be asked for: just after the oldest file was made that is a whole database.
    async fn first_instant(&self, levels: &[Vec<LtxFile>]) -> Result<Option<Timestamp>, Reason> {
        let mut first: Option<Timestamp> = None;
        for level in levels {
            let Some(file) = level.iter().find(|file| file.min == Txid(1)) else { continue };
            let made = self.header(file).await?.timestamp;
            first = Some(first.map_or(made, |first| first.min(made)));
        }
        let millisecond = jiff::SignedDuration::from_millis(1);
        Ok(first.and_then(|first| first.checked_add(millisecond).ok()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use async_trait::async_trait;

    use super::*;
    use crate::domain::litestream::ObjectName;
    use crate::infrastructure::store::MemoryStore;
    use crate::usecase::ports::{Content, Cursor, Page};

    /// Counts reads.
    struct Counted(MemoryStore, AtomicUsize);

    #[async_trait]
    impl ReplicaStore for Counted {
        async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
            self.0.layouts().await
        }

        async fn folders(&self, layout: Layout) -> Result<Vec<Folder>, Reason> {
            self.0.folders(layout).await
        }

        async fn list(
            &self,
            folder: Folder,
            from: Option<ObjectName>,
            cursor: Option<&Cursor>,
        ) -> Result<Page, Reason> {
            self.0.list(folder, from, cursor).await
        }

        async fn read(&self, name: ObjectName, offset: u64, length: u64) -> Result<Content, Reason> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.0.read(name, offset, length).await
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_795_338_790 + second).unwrap()
    }

    /// Files by level, first and last TXID; a file is made at the second of its last TXID, and uploaded whenever.
    fn replica(files: impl IntoIterator<Item = (u8, u64, u64)>) -> Counted {
        let store = MemoryStore::with_page_keys(100);
        for (level, min, max) in files {
            let header = LtxHeader {
                page_size: 4096,
                commit: 1,
                min: Txid(min),
                max: Txid(max),
                timestamp: second(max as i64),
                wal_offset: 0,
                wal_size: 0,
                wal_salt1: 0,
                wal_salt2: 0,
            };
            let name = crate::domain::litestream::LtxName { min: header.min, max: header.max };
            store.put(LevelKeys::Hex.key(level, name), header.encode().to_vec(), second(1_000_000));
        }
        Counted(store, AtomicUsize::new(0))
    }

    async fn planned(store: &Counted, point: PlanTarget) -> Result<RestorePlan, Reason> {
        plan_levels(store, LevelKeys::Hex, &RestoreRequest::of(point)).await
    }

    #[tokio::test]
    async fn headers_say_what_is_older_than_an_instant_and_few_are_read() {
        let raw = (1..=3000).map(|txid| (0, txid, txid));
        let store = replica(raw.chain((0..30).map(|n| (1, n * 100 + 1, n * 100 + 100))).chain([(9, 1, 1500)]));
        for (asked, reached) in [(3001, 3000), (3000, 2999), (2801, 2800), (1501, 1500), (1500, 1499), (2, 1)] {
            store.1.store(0, Ordering::Relaxed);
            let plan = planned(&store, PlanTarget::Time(second(asked))).await.unwrap();
            assert_eq!((plan.txid, plan.through), (Some(Txid(reached)), second(reached as i64)), "{asked}");
            assert_eq!((plan.shortfall, plan.is_older), (None, reached < 3000));
            let reads = store.1.load(Ordering::Relaxed);
            assert!(reads <= 13 + 6 + 1 + 1, "{reads} reads");
        }
        let refused = planned(&store, PlanTarget::Time(second(1))).await.unwrap_err();
        assert_eq!(refused.kind, ReasonKind::NotFound);
        let first = second(1) + jiff::SignedDuration::from_millis(1);
        assert!(refused.message.ends_with(&format!("the earliest restorable time, {first}")), "{refused}");
    }

    #[tokio::test]
    async fn a_txid_that_was_compacted_is_not_where_the_chain_ends() {
        let store = replica([(9, 1, 3), (1, 4, 6), (1, 7, 9), (2, 4, 9), (0, 10, 10), (0, 14, 14)]);
        let refused = async |txid| {
            let refused = planned(&store, PlanTarget::Txid(Txid(txid))).await.unwrap_err();
            (refused.message, refused.hint.unwrap_or_default())
        };
        let (message, hint) = refused(8).await;
        let compacted =
            "TXID 0000000000000008 was compacted: TXIDs 0000000000000007 to 0000000000000009 are one file now";
        assert_eq!(message, format!("plan restore: {compacted}"));
        assert!(hint.ends_with("--txid 0000000000000006 is before it, --txid 0000000000000009 after it"), "{hint}");
        // Behind the end, and in a hole.
        assert!(refused(15).await.0.ends_with("is not available: the chain ends at 000000000000000a"));
        assert!(refused(12).await.0.ends_with("is not available: the chain ends at 000000000000000a"));
    }

    #[tokio::test]
    async fn a_hole_before_what_was_asked_for_is_a_shortfall_or_a_refusal() {
        let store = replica([(9, 1, 3), (0, 4, 4), (0, 6, 6), (0, 7, 7)]);
        let plan = planned(&store, PlanTarget::Time(second(100))).await.unwrap();
        assert_eq!(plan.txid, Some(Txid(4)));
        let hole = Hole { after: Txid(4), before: Txid(6) }.spoken();
        assert_eq!(plan.shortfall, Some(hole));
        assert!(plan.is_older);
        // What was asked for lies before it.
        assert_eq!(planned(&store, PlanTarget::Time(second(5))).await.unwrap().shortfall, None);
        assert_eq!(planned(&store, PlanTarget::Txid(Txid(4))).await.unwrap().shortfall, None);
        let refused = planned(&store, PlanTarget::Latest).await.unwrap_err();
        assert!(refused.message.contains("from TXID 0000000000000004 to TXID 0000000000000006"), "{refused}");
    }
}
