//! A replica in memory: a peer of the other backends, for simulations and tests that place objects in time.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore, Named, file_dated};
use super::kind::Kind;
use crate::domain::limits::LIST_PAGE_KEYS_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::StoreKind;
use crate::usecase::ports::{Content, Cursor};

/// A replica in memory. Writing is inherent and not part of the port, so that no reader can do it.
pub type MemoryStore = Named<Memory>;

/// Objects in memory.
#[derive(Debug)]
pub struct Memory {
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
    /// An empty replica with pages of 1000 keys, which is listed folder by folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty replica whose pages hold `page_keys` keys, at least one.
    pub fn with_page_keys(page_keys: usize) -> Self {
        Self::holding(page_keys, false)
    }

    /// An empty replica as on S3: a listing shows what is in all folders.
    pub fn flat() -> Self {
        Self::holding(1000, true)
    }

    fn holding(page_keys: usize, flat: bool) -> Self {
        let page_keys = page_keys.clamp(1, LIST_PAGE_KEYS_MAX);
        let kind = Kind { flat, whole: !flat, ..Kind::plain(StoreKind::S3) };
        Self::over(Memory { objects: Mutex::default(), page_keys }, &kind)
    }

    /// Writes or replaces an object.
    pub fn put(&self, key: impl Into<String>, content: impl Into<Bytes>, modified: Timestamp) {
        let key = key.into();
        if let Some((folder, _)) = key.split_once('/') {
            self.learn(&[folder.to_owned()]);
        }
        self.store.locked().insert(key, Object { content: content.into(), modified });
    }

    /// Removes an object; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.store.locked().remove(key).is_some()
    }
}

impl Memory {
    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl KeyStore for Memory {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let objects = self.locked();
        let start = match cursor.and_then(|cursor| cursor.get::<String>()) {
            Some(last) => Bound::Excluded(last.as_str()),
            None => Bound::Included(from.unwrap_or(prefix).max(prefix)),
        };
        let mut found = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, object)| KeyInfo {
                key: key.clone(),
                size: object.content.len() as u64,
                at: file_dated(key, object.modified),
            });
        let page: Vec<KeyInfo> = found.by_ref().take(self.page_keys).collect();
        let last = page.last().filter(|_| found.next().is_some());
        let next = last.map(|last| Cursor::new(last.key.clone()));
        Ok(KeyPage { objects: page, next })
    }

    async fn folders(&self, prefix: &str, _: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let objects = self.locked();
        let mut names: Vec<String> = Vec::new();
        for key in objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded)).map(|(key, _)| key) {
            let Some(rest) = key.strip_prefix(prefix) else { break };
            if let Some((name, _)) = rest.split_once('/') {
                names.push(name.to_owned());
            }
        }
        // They are beside each other but for `a-/x`, which sorts before `a/x`.
        names.dedup();
        Ok(names.into())
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let objects = self.locked();
        let Some(object) = objects.get(key) else {
            return Ok(Content::Missing(Reason::new(ReasonKind::NotFound, "no such object")));
        };
        let size = object.content.len() as u64;
        let start = offset.min(size);
        let end = start.saturating_add(length).min(size);
        // Both are at most the content's length.
        Ok(Content::There(object.content.slice(start as usize..end as usize)))
    }
}
