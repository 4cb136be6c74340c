//! The promises of [`ReplicaStore`], as functions that any backend can be given.

use std::sync::Arc;

use async_trait::async_trait;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::usecase::ports::ReplicaStore;

/// A replica that tests can write to, by other means than the store.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    async fn put(&self, key: &str, content: &[u8]);
    fn store(&self) -> Arc<dyn ReplicaStore>;
}

/// All promises. The replica has to be empty.
pub(crate) async fn run(backend: &dyn Backend) {
    nothing_below_a_prefix_is_an_empty_page(backend).await;
    keys_come_in_byte_order_with_their_size(backend).await;
    listing_starts_after_any_key(backend).await;
    a_prefix_holds_only_its_own_keys(backend).await;
    pages_join_without_loss(backend).await;
    folders_are_names_with_keys_below(backend).await;
    ranges_end_where_the_object_ends(backend).await;
    odd_keys_are_plain_keys(backend).await;
    what_is_not_there_is_not_found(backend).await;
}

pub(crate) async fn keys(store: &dyn ReplicaStore, prefix: &str, after: Option<&str>) -> Vec<String> {
    store.list(prefix, after).await.unwrap().objects.into_iter().map(|object| object.key).collect()
}

async fn nothing_below_a_prefix_is_an_empty_page(backend: &dyn Backend) {
    let store = backend.store();
    for prefix in ["", "0000/", "no/such/prefix/"] {
        let page = store.list(prefix, None).await.unwrap();
        assert_eq!((page.objects.len(), page.more), (0, false), "{prefix}");
        assert!(store.folders(prefix).await.unwrap().is_empty(), "{prefix}");
    }
    assert!(store.list("0000/", Some("0000/x")).await.unwrap().objects.is_empty());
}

async fn keys_come_in_byte_order_with_their_size(backend: &dyn Backend) {
    for (key, size) in [("order/b", 2), ("order/a", 1), ("order/B", 3), ("order/aa", 0), ("order/a-b", 4)] {
        backend.put(key, &vec![b'x'; size]).await;
    }
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
    let page = backend.store().list("order/", None).await.unwrap();
    let seen: Vec<_> = page.objects.iter().map(|object| (object.key.as_str(), object.size)).collect();
    assert_eq!(seen, [("order/B", 3), ("order/a", 1), ("order/a-b", 4), ("order/aa", 0), ("order/b", 2)]);
    assert!(!page.more);
    assert!(page.objects.iter().all(|object| object.modified > before), "modified just now");
}

async fn listing_starts_after_any_key(backend: &dyn Backend) {
    for key in ["after/1", "after/3", "after/5"] {
        backend.put(key, b"x").await;
    }
    let store = backend.store();
    for (after, expected) in [
        ("after/", &["after/1", "after/3", "after/5"][..]),
        ("after/1", &["after/3", "after/5"]),
        ("after/2", &["after/3", "after/5"]),
        ("after/5", &[]),
        ("after/9", &[]),
        ("a", &["after/1", "after/3", "after/5"]),
        ("zzz", &[]),
    ] {
        assert_eq!(keys(&*store, "after/", Some(after)).await, expected, "after {after}");
    }
}

async fn a_prefix_holds_only_its_own_keys(backend: &dyn Backend) {
    for key in ["prefix/0000/1", "prefix/00000/2", "prefix/000/3", "prefix/0001/4"] {
        backend.put(key, b"x").await;
    }
    let store = backend.store();
    assert_eq!(keys(&*store, "prefix/0000/", None).await, ["prefix/0000/1"]);
    let all = ["prefix/000/3", "prefix/0000/1", "prefix/00000/2", "prefix/0001/4"];
    assert_eq!(keys(&*store, "prefix/", None).await, all, "recursively");
    assert_eq!(keys(&*store, "prefix/", Some("prefix/0000/1")).await, all[2..]);
}

async fn pages_join_without_loss(backend: &dyn Backend) {
    let expected: Vec<String> = (1..=1100).map(|txid| format!("pages/{txid:016x}-{txid:016x}.ltx")).collect();
    let puts = expected.iter().map(|key| backend.put(key, b"x"));
    futures_util::StreamExt::count(futures_util::stream::StreamExt::buffer_unordered(
        futures_util::stream::iter(puts),
        8,
    ))
    .await;
    let store = backend.store();
    let (mut seen, mut after): (Vec<String>, Option<String>) = (Vec::new(), None);
    loop {
        let page = store.list("pages/", after.as_deref()).await.unwrap();
        seen.extend(page.objects.into_iter().map(|object| object.key));
        after = seen.last().cloned();
        if !page.more {
            break;
        }
    }
    assert!(seen == expected, "{} keys of {}", seen.len(), expected.len());
}

async fn folders_are_names_with_keys_below(backend: &dyn Backend) {
    for key in ["folders/b/c/1", "folders/a/1", "folders/a/2", "folders/a-/1", "folders/file"] {
        backend.put(key, b"x").await;
    }
    let store = backend.store();
    assert_eq!(store.folders("folders/").await.unwrap(), ["a", "a-", "b"]);
    assert_eq!(store.folders("folders/b/").await.unwrap(), ["c"]);
    assert!(store.folders("folders/b/c/").await.unwrap().is_empty());
    assert!(store.folders("").await.unwrap().contains(&"folders".to_owned()));
}

async fn ranges_end_where_the_object_ends(backend: &dyn Backend) {
    backend.put("ranges/digits", b"0123456789").await;
    backend.put("ranges/empty", b"").await;
    let store = backend.store();
    for (key, offset, length, expected) in [
        ("ranges/digits", 0, 10, "0123456789"),
        ("ranges/digits", 0, 100, "0123456789"),
        ("ranges/digits", 0, 1, "0"),
        ("ranges/digits", 3, 4, "3456"),
        ("ranges/digits", 8, 4, "89"),
        ("ranges/digits", 9, 1, "9"),
        ("ranges/digits", 10, 1, ""),
        ("ranges/digits", 4711, 1, ""),
        ("ranges/digits", 2, 0, ""),
        ("ranges/empty", 0, 100, ""),
    ] {
        let content = store.read(key, offset, length).await.unwrap();
        assert_eq!(content, expected, "{length} bytes from {offset} of {key}");
    }
}

async fn odd_keys_are_plain_keys(backend: &dyn Backend) {
    let odd = ["odd/a b", "odd/a%20b", "odd/a+b", "odd/a&b=c?d#e", "odd/ä→😀", "odd/.tmp", "odd/it's (1)*!~@,;"];
    for key in odd {
        backend.put(key, key.as_bytes()).await;
    }
    let store = backend.store();
    let mut sorted = odd;
    sorted.sort_unstable();
    assert_eq!(keys(&*store, "odd/", None).await, sorted);
    for (index, key) in sorted.iter().enumerate() {
        assert_eq!(store.read(key, 0, 100).await.unwrap(), key.as_bytes(), "{key}");
        assert_eq!(keys(&*store, "odd/", Some(key)).await, sorted[index + 1..], "after {key}");
    }
}

async fn what_is_not_there_is_not_found(backend: &dyn Backend) {
    let store = backend.store();
    for key in ["missing", "missing/too", "order", "order/a/b"] {
        assert_eq!(store.read(key, 0, 1).await.unwrap_err().kind, ReasonKind::NotFound, "{key}");
    }
}
