//! A replica of a million files, whose listing is made up page by page.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use streamgauge::domain::litestream::{LevelKeys, LtxName};
use streamgauge::domain::reason::Reason;
use streamgauge::usecase::ports::{ListPage, ObjectInfo, ReplicaStore};
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::world::{FaultyStore, at, ltx, name, pace, wal};

const FILES: u64 = 1_000_000;
const PAGE: u64 = 1000;

/// Level 0 of [`FILES`] files; every hundred thousandth is missing.
struct Endless;

fn there(txid: u64) -> bool {
    !txid.is_multiple_of(100_000) || txid == FILES
}

#[async_trait]
impl ReplicaStore for Endless {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ListPage, Reason> {
        let key = |txid| format!("{prefix}{}", name(txid, txid));
        // Keys of equal length up to the TXID: `after` is one of them, or one without its last letter.
        let named = after.and_then(|after| u64::from_str_radix(&after[prefix.len()..][..16], 16).ok());
        let from = named.map_or(1, |txid| txid + u64::from(after == Some(key(txid).as_str())));
        let objects = (from..=FILES).filter(|txid| there(*txid)).take(PAGE as usize);
        let objects = objects.map(|txid| ObjectInfo { key: key(txid), size: 200, modified: at(1).wall });
        let objects: Vec<_> = objects.collect();
        let more = objects.last().is_some_and(|last| last.key != key(FILES));
        Ok(ListPage { objects, more })
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        Ok(vec![if prefix.is_empty() { "ltx" } else { "0" }.to_owned()])
    }

    async fn read(&self, key: &str, _: u64, length: u64) -> Result<Bytes, Reason> {
        let (_, name): (_, LtxName) = LevelKeys::Plain.parse_key(key).unwrap();
        Ok(Bytes::from(ltx(name, at(1).wall, Some(wal(5, name.max.0)))).slice(..length as usize))
    }
}

#[test]
fn a_million_keys_are_remembered_by_their_holes() {
    let store = FaultyStore::new(Endless);
    let mut probe = ReplicaProbe::default();
    let mut look = |second| probe.look(&store, None, at(second), &pace()).now_or_never().unwrap().unwrap();
    let (finding, _) = look(10);
    assert_eq!(finding.coverage.levels[0].objects, FILES - 9);
    assert_eq!(finding.coverage.gaps.len(), 9);
    store.calls();
    look(11);
    assert_eq!(store.calls(), [1, 0, 0]);
    // What the probe holds, as it would print it: a file remembered adds 250 characters. With nothing to restore from,
    // each of the newest files may be needed, of which it remembers PLAN_CANDIDATES_MAX.
    let remembered = format!("{probe:?}").len();
    assert!(remembered < 300_000, "{remembered} characters remembered");
}
