//! A replica in memory: a peer of the other backends, for simulations and tests that place objects in time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::domain::limits::LIST_PAGE_KEYS_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{ListPage, ObjectInfo, ReplicaStore};

/// Objects in memory. Writing is inherent and not part of the port, so that no reader can do it.
#[derive(Debug)]
pub struct MemoryStore {
    objects: Mutex<BTreeMap<String, Object>>,
    page_keys: usize,
}

#[derive(Debug)]
struct Object {
    content: Bytes,
    modified: Timestamp,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_page_keys(1000)
    }
}

impl MemoryStore {
    /// An empty replica with pages of 1000 keys, as on S3.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty replica whose pages hold `page_keys` keys, at least one.
    pub fn with_page_keys(page_keys: usize) -> Self {
        Self { objects: Mutex::default(), page_keys: page_keys.clamp(1, LIST_PAGE_KEYS_MAX) }
    }

    /// Writes or replaces an object.
    pub fn put(&self, key: impl Into<String>, content: impl Into<Bytes>, modified: Timestamp) {
        self.locked().insert(key.into(), Object { content: content.into(), modified });
    }

    /// Removes an object; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.locked().remove(key).is_some()
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ReplicaStore for MemoryStore {
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<ListPage, Reason> {
        let objects = self.locked();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut found = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, object)| ObjectInfo {
                key: key.clone(),
                size: object.content.len() as u64,
                modified: object.modified,
            });
        let page = found.by_ref().take(self.page_keys).collect();
        Ok(ListPage { objects: page, more: found.next().is_some() })
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>, Reason> {
        let objects = self.locked();
        let mut names: Vec<String> = Vec::new();
        for key in objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(key, _)| key) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            if let Some((name, _)) = rest.split_once('/') {
                names.push(name.to_owned());
            }
        }
        // `a-/x` sorts before `a/x`, while `a` is the smaller name.
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, Reason> {
        let objects = self.locked();
        let object = objects.get(key).ok_or_else(|| Reason::new(ReasonKind::NotFound, "no such object"))?;
        let size = object.content.len() as u64;
        let start = offset.min(size);
        let end = start.saturating_add(length).min(size);
        // Both are at most the content's length.
        Ok(object.content.slice(start as usize..end as usize))
    }
}
