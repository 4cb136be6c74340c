//! A replica in memory, which tests use in the place of the others.

use std::sync::Arc;

use async_trait::async_trait;
use streamgauge::domain::litestream::{Dated, LevelKeys};
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::ports::ReplicaStore;

use crate::suite::{self, Backend, names};
use crate::{LEVEL, ltx_name};

struct Memory(Arc<MemoryStore>);

#[async_trait]
impl Backend for Memory {
    async fn put(&self, key: &str, content: &[u8]) {
        self.0.put(key, content.to_vec(), jiff::Timestamp::now());
    }

    async fn remove(&self, key: &str) {
        assert!(self.0.remove(key), "{key}");
    }

    fn location(&self) -> Option<ReplicaLocation> {
        None
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.0.clone()
    }
}

#[tokio::test]
async fn memory_keeps_the_promises() {
    suite::run(&Memory(Arc::new(MemoryStore::new()))).await;
}

#[tokio::test]
async fn memory_is_written_and_emptied_by_tests_alone() {
    let memory = MemoryStore::with_page_keys(1);
    let [one, two] = [1, 2].map(|txid| ltx_name(txid).key(LevelKeys::Plain));
    memory.put(&one, "1", jiff::Timestamp::UNIX_EPOCH);
    memory.put(&two, "2", jiff::Timestamp::UNIX_EPOCH);
    let page = memory.list(LEVEL, None, None).await.unwrap();
    assert_eq!((page.objects[0].at, page.next.is_some()), (Dated::Written(jiff::Timestamp::UNIX_EPOCH), true));
    assert!(memory.remove(&one) && !memory.remove(&one));
    assert_eq!(names(&memory, LEVEL, None).await.0, [ltx_name(2)]);
}
