//! The promises of [`ReplicaStore`], as functions that any backend can be given.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use streamgauge::domain::litestream::{
    Dated, Folder, Generation, Layout, LevelKeys, LtxName, ObjectName, SNAPSHOT_LEVEL, SegmentName, SnapshotName, Txid,
};
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::target::{ReplicaLocation, StoreKind};
use streamgauge::usecase::ports::{BucketPosture, Content, ReplicaStore};
use streamgauge::usecase::ports::{Shelves as _, Stores as _};

use crate::{LEVEL, ltx_name, read, stores};

/// A replica that tests can write to, by other means than the store: one server of a kind, on this machine, with an empty
/// replica. It ends when it is dropped.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Writes an object, whole at once, with a key below the replica's root.
    async fn put(&self, key: &str, content: &[u8]);
    async fn remove(&self, key: &str);
    /// Where the replica is; `None`: in memory.
    fn location(&self) -> Option<ReplicaLocation>;
    /// Always the same one.
    fn store(&self) -> Arc<dyn ReplicaStore>;
    /// How Litestream names levels there.
    fn keys(&self) -> LevelKeys {
        LevelKeys::Plain
    }
    /// Litestream's own times can be had from a listing.
    fn is_dated(&self) -> bool {
        true
    }
    /// The server itself can hold an object of that name.
    fn holds(&self, name: &str) -> bool {
        let _ = name;
        true
    }
}

const GENERATION: Generation = Generation(0x0123_4567_89ab_cdef);

fn ltx(level: u8, min: u64, max: u64) -> ObjectName {
    ObjectName::Ltx { level, name: LtxName { min: Txid(min), max: Txid(max) } }
}

fn segment(index: u32, offset: u64) -> ObjectName {
    ObjectName::Segment(GENERATION, SegmentName { index, offset })
}

async fn put(backend: &dyn Backend, name: ObjectName, content: &[u8]) {
    backend.put(&name.key(backend.keys()), content).await;
}

/// All promises. The replica has to be empty.
pub(crate) async fn run(backend: &dyn Backend) {
    if let Some(location) = backend.location() {
        what_its_kind_offers(&location).await;
    }
    an_empty_replica_is_an_answer(backend).await;
    levels_are_recognised_and_listed_in_order(backend).await;
    generations_are_beside_them(backend).await;
    listing_starts_at_any_name(backend).await;
    pages_join_without_loss(backend).await;
    a_folder_holds_only_its_own_objects(backend).await;
    odd_keys_stay_visible_beside_good_ones(backend).await;
    ranges_end_where_the_object_ends(backend).await;
    what_is_not_there_is_an_answer(backend).await;
    what_goes_away_is_missed(backend).await;
    if let Some(location) = backend.location() {
        replicas_below_a_place_are_found(backend, &location).await;
    }
}

/// The folders of a place, and the replicas in them. On NATS the place is a server, which has tests of its own.
async fn replicas_below_a_place_are_found(backend: &dyn Backend, location: &ReplicaLocation) {
    for tenant in ["one", "two"] {
        backend.put(&format!("tenants/{tenant}/{}", ltx(0, 1, 1).key(backend.keys())), b"LTX1").await;
    }
    let stores = stores(Duration::from_secs(60));
    let Some(tenants) = location.below("tenants") else { return assert_eq!(location.kind(), StoreKind::Nats) };
    let shelf = stores.shelf(&tenants).unwrap();
    assert_eq!(shelf.folders("").await.unwrap(), ["one", "two"]);
    assert_eq!(shelf.folders("one/").await.unwrap().len(), 1);
    assert_eq!(shelf.folders("none/").await.unwrap(), [""; 0]);
    let store = stores.open(&tenants.below("two").unwrap()).unwrap();
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(backend.keys())]);
    assert_eq!(store.list(Folder::Level(0), None, None).await.unwrap().objects.len(), 1);
}

/// Beacons, and an answer to how a bucket is set up, where there is a bucket.
async fn what_its_kind_offers(location: &ReplicaLocation) {
    let stores = stores(Duration::from_secs(60));
    beacon_is_beside(location).await;
    let bucket = stores.bucket(location);
    assert_eq!(bucket.is_some(), location.bucket().is_some(), "a kind with a bucket says how it is set up");
    if let Some(bucket) = bucket {
        let posture = bucket.posture().await;
        assert!(posture != BucketPosture::default(), "what is not known has a reason");
        let expected = |reason: &Reason| [ReasonKind::Denied, ReasonKind::Unsupported].contains(&reason.kind);
        assert!(posture.reason.as_ref().is_none_or(expected), "{posture:?}");
    }
}

/// Writes, finds and replaces the beacon beside an empty replica.
pub(crate) async fn beacon_is_beside(location: &ReplicaLocation) {
    let stores = stores(Duration::from_secs(60));
    let (replica, beacon) = (stores.open(location).unwrap(), stores.beacon(location).unwrap());
    assert_eq!(beacon.find().await.unwrap(), None);
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    for content in ["first", "the second"] {
        beacon.put(content.into()).await.unwrap();
        let found = beacon.find().await.unwrap().unwrap();
        assert_eq!(found.content, content);
        assert!(found.written_at > before && found.written_at < before + jiff::SignedDuration::from_mins(3));
    }
    assert!(replica.list(LEVEL, None, None).await.unwrap().objects.is_empty(), "the replica itself is untouched");
    assert!(replica.layouts().await.unwrap().is_empty());
    beacon.put(vec![b'x'; 100_000].into()).await.unwrap();
    assert_eq!(beacon.find().await.unwrap_err().kind.as_str(), "corrupt");
    let operations: Vec<_> = stores.report().remove(0).operations;
    let requests = |name| operations.iter().find(|operation| operation.operation == name).unwrap().requests;
    assert_eq!((requests("write"), requests("read")), (3, 4));
}

/// Follows the pages of a folder: the names, and the odd keys.
pub(crate) async fn names(
    store: &dyn ReplicaStore,
    folder: Folder,
    from: Option<ObjectName>,
) -> (Vec<ObjectName>, Vec<String>) {
    let (mut names, mut odd, mut cursor) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.list(folder, from, cursor.as_ref()).await.unwrap();
        names.extend(page.objects.into_iter().map(|object| object.name));
        odd.extend(page.odd);
        cursor = page.next;
        if cursor.is_none() {
            return (names, odd);
        }
    }
}

async fn an_empty_replica_is_an_answer(backend: &dyn Backend) {
    let store = backend.store();
    assert_eq!(store.layouts().await.unwrap(), []);
    for layout in [Layout::V3, Layout::V5(backend.keys())] {
        assert_eq!(store.folders(layout).await.unwrap(), []);
    }
    for folder in [Folder::Level(0), Folder::Wal(GENERATION), Folder::Snapshots(GENERATION)] {
        let page = store.list(folder, None, None).await.unwrap();
        assert!(page.objects.is_empty() && page.odd.is_empty() && page.next.is_none(), "{folder}");
    }
    assert!(store.list(Folder::Level(0), Some(ltx_name(5)), None).await.unwrap().objects.is_empty());
}

async fn levels_are_recognised_and_listed_in_order(backend: &dyn Backend) {
    for (name, size) in [(ltx(1, 5, 9), 2), (ltx(1, 1, 4), 1), (ltx(1, 10, 0xb), 3), (ltx(1, 10, 10), 0)] {
        put(backend, name, &vec![b'x'; size]).await;
    }
    put(backend, ltx(SNAPSHOT_LEVEL, 1, 9), b"snapshot").await;
    let store = backend.store();
    let layout = Layout::V5(backend.keys());
    assert_eq!(store.layouts().await.unwrap(), [layout]);
    assert_eq!(store.folders(layout).await.unwrap(), [Folder::Level(1), Folder::Level(SNAPSHOT_LEVEL)]);
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
    let page = store.list(Folder::Level(1), None, None).await.unwrap();
    let seen: Vec<_> = page.objects.iter().map(|object| (object.name, object.size)).collect();
    assert_eq!(seen, [(ltx(1, 1, 4), 1), (ltx(1, 5, 9), 2), (ltx(1, 10, 10), 0), (ltx(1, 10, 0xb), 3)]);
    assert!(page.next.is_none());
    assert!(page.objects.iter().all(|object| object.at.instant() > before), "modified just now");
    assert!(page.objects.iter().all(|object| matches!(object.at, Dated::Written(_)) == backend.is_dated()));
}

async fn generations_are_beside_them(backend: &dyn Backend) {
    let snapshot = ObjectName::Snapshot(GENERATION, SnapshotName { index: 7 });
    for name in [snapshot, segment(7, 0), segment(7, 4096), segment(8, 0)] {
        put(backend, name, b"x").await;
    }
    let store = backend.store();
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(backend.keys()), Layout::V3]);
    let folders = [Folder::Wal(GENERATION), Folder::Snapshots(GENERATION)];
    assert_eq!(store.folders(Layout::V3).await.unwrap(), folders);
    let page = store.list(Folder::Snapshots(GENERATION), None, None).await.unwrap();
    assert_eq!(page.objects.iter().map(|object| object.name).collect::<Vec<_>>(), [snapshot]);
    assert!(matches!(page.objects[0].at, Dated::Uploaded(_)), "v0.3 keeps no time of its own");
    let wal = |from| async move { names(&*backend.store(), Folder::Wal(GENERATION), from).await.0 };
    assert_eq!(wal(None).await, [segment(7, 0), segment(7, 4096), segment(8, 0)]);
    assert_eq!(wal(Some(segment(7, 1))).await, [segment(7, 4096), segment(8, 0)]);
    assert_eq!(read(&*store, segment(8, 0), 0, 9).await.unwrap(), "x");
}

async fn listing_starts_at_any_name(backend: &dyn Backend) {
    for txid in [0x11, 0x13, 0x15] {
        put(backend, ltx(2, txid, txid), b"x").await;
    }
    let store = backend.store();
    for (from, expected) in [
        (1, &[0x11, 0x13, 0x15][..]),
        (0x11, &[0x11, 0x13, 0x15]),
        (0x12, &[0x13, 0x15]),
        (0x15, &[0x15]),
        (0x16, &[]),
        (u64::MAX, &[]),
    ] {
        let expected: Vec<_> = expected.iter().map(|txid| ltx(2, *txid, *txid)).collect();
        assert_eq!(names(&*store, Folder::Level(2), Some(ltx(2, from, from))).await.0, expected, "from {from:x}");
    }
}

async fn pages_join_without_loss(backend: &dyn Backend) {
    let expected: Vec<ObjectName> = (1..=1100).map(|txid| ltx(3, txid, txid)).collect();
    let puts = expected.iter().map(|name| put(backend, *name, b"x"));
    futures_util::StreamExt::count(futures_util::stream::StreamExt::buffer_unordered(
        futures_util::stream::iter(puts),
        8,
    ))
    .await;
    let store = backend.store();
    let seen = names(&*store, Folder::Level(3), None).await.0;
    assert!(seen == expected, "{} names of {}", seen.len(), expected.len());
    let seen = names(&*store, Folder::Level(3), Some(ltx(3, 50, 50))).await.0;
    assert!(seen == expected[49..], "{} names of {} from the fiftieth", seen.len(), expected.len());
}

async fn a_folder_holds_only_its_own_objects(backend: &dyn Backend) {
    put(backend, ltx(4, 1, 1), b"x").await;
    let own = ltx(4, 1, 1).key(backend.keys());
    let (folder, file) = own.rsplit_once('/').unwrap();
    for beside in ["0", "x"] {
        backend.put(&format!("{folder}{beside}/{file}"), b"x").await;
    }
    let store = backend.store();
    assert_eq!(names(&*store, Folder::Level(4), None).await, (vec![ltx(4, 1, 1)], Vec::new()));
    let levels = store.folders(Layout::V5(backend.keys())).await.unwrap();
    assert_eq!(levels, [1, 2, 3, 4, SNAPSHOT_LEVEL].map(Folder::Level), "no other name is a level");
}

async fn odd_keys_stay_visible_beside_good_ones(backend: &dyn Backend) {
    let odd = ["a b", "a%20b", "a+b", "a&b=c?d#e", "ä→😀", ".tmp", "it's (1)*!~@,;", "lock.json"];
    let folder = Folder::Level(5).prefix(backend.keys());
    let odd = odd.iter().filter(|name| backend.holds(name));
    let mut keys: Vec<String> = odd.map(|name| format!("{folder}{name}")).collect();
    for key in &keys {
        backend.put(key, key.as_bytes()).await;
    }
    put(backend, ltx(5, 1, 1), b"good").await;
    keys.sort_unstable();
    let store = backend.store();
    assert_eq!(names(&*store, Folder::Level(5), None).await, (vec![ltx(5, 1, 1)], keys));
    assert_eq!(read(&*store, ltx(5, 1, 1), 0, 100).await.unwrap(), "good");
}

async fn ranges_end_where_the_object_ends(backend: &dyn Backend) {
    let (digits, empty) = (ltx(6, 1, 1), ltx(6, 2, 2));
    put(backend, digits, b"0123456789").await;
    put(backend, empty, b"").await;
    let store = backend.store();
    for (name, offset, length, expected) in [
        (digits, 0, 10, "0123456789"),
        (digits, 0, 100, "0123456789"),
        (digits, 0, 1, "0"),
        (digits, 3, 4, "3456"),
        (digits, 8, 4, "89"),
        (digits, 9, 1, "9"),
        (digits, 10, 1, ""),
        (digits, 4711, 1, ""),
        (digits, 2, 0, ""),
        (empty, 0, 100, ""),
    ] {
        let content = read(&*store, name, offset, length).await.unwrap();
        assert_eq!(content, expected, "{length} bytes from {offset} of {name}");
    }
}

/// Such as the file that is expected next.
async fn what_is_not_there_is_an_answer(backend: &dyn Backend) {
    let store = backend.store();
    for name in [ltx(6, 3, 3), ltx(7, 1, 1), segment(9, 0)] {
        let Content::Missing(reason) = store.read(name, 0, 1).await.unwrap() else { panic!("{name} is there") };
        assert_eq!(reason.kind, ReasonKind::NotFound, "{name}: {reason}");
    }
}

/// Litestream deletes while others read.
async fn what_goes_away_is_missed(backend: &dyn Backend) {
    let (gone, kept) = (ltx(8, 1, 1), ltx(8, 2, 2));
    for name in [gone, kept] {
        put(backend, name, b"x").await;
    }
    let store = backend.store();
    assert_eq!(names(&*store, Folder::Level(8), None).await.0, [gone, kept]);
    backend.remove(&gone.key(backend.keys())).await;
    assert!(matches!(store.read(gone, 0, 1).await.unwrap(), Content::Missing(_)));
    assert_eq!(names(&*store, Folder::Level(8), None).await.0, [kept]);
    assert_eq!(read(&*store, kept, 0, 1).await.unwrap(), "x");
}
