//! A replica of a million files, whose listing is made up page by page.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use streamgauge::domain::litestream::{Dated, Folder, Layout, LevelKeys, Listed, ObjectName};
use streamgauge::domain::reason::Reason;
use streamgauge::usecase::ports::{Content, Cursor, Page, ReplicaStore};
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::faulty_store::FaultyStore;
use crate::world::{at, ltx, name, pace, wal};

const FILES: u64 = 1_000_000;
const PAGE: u64 = 1000;

/// Level 0 of [`FILES`] files; every hundred thousandth is missing.
struct Endless;

fn there(txid: u64) -> bool {
    !txid.is_multiple_of(100_000) || txid == FILES
}

#[async_trait]
impl ReplicaStore for Endless {
    async fn layouts(&self) -> Result<Vec<Layout>, Reason> {
        Ok(vec![Layout::V5(LevelKeys::Plain)])
    }

    async fn folders(&self, _: Layout) -> Result<Vec<Folder>, Reason> {
        Ok(vec![Folder::Level(0)])
    }

    async fn list(&self, _: Folder, from: Option<ObjectName>, cursor: Option<&Cursor>) -> Result<Page, Reason> {
        let named = from.map(|name| if let ObjectName::Ltx { name, .. } = name { name.min.0 } else { 1 });
        let first = cursor.map_or_else(|| named.unwrap_or(1), |cursor| *cursor.get::<u64>().unwrap());
        let objects = (first..=FILES).filter(|txid| there(*txid)).take(PAGE as usize);
        let objects: Vec<Listed> = objects
            .map(|txid| {
                let name = ObjectName::Ltx { level: 0, name: name(txid, txid) };
                Listed { name, size: 200, at: Dated::Written(at(1).wall()) }
            })
            .collect();
        let last = objects.last().and_then(Listed::ltx).map_or(FILES, |file| file.max.0);
        Ok(Page { objects, odd: Vec::new(), next: (last < FILES).then(|| Cursor::new(last + 1)) })
    }

    async fn read(&self, name: ObjectName, _: u64, length: u64) -> Result<Content, Reason> {
        let ObjectName::Ltx { name, .. } = name else { unreachable!("there is nothing else") };
        let file = Bytes::from(ltx(name, at(1).wall(), Some(wal(5, name.max.0))));
        Ok(Content::There(file.slice(..length as usize)))
    }
}

#[test]
fn a_million_keys_are_remembered_by_their_holes() {
    let store = FaultyStore::new(Arc::new(Endless));
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
