//! A replica in an object store of NATS JetStream, which is a stream with a message for each object's description and
//! one for each chunk of its content.
//!
//! Everything is asked by direct get, which leaves nothing at the server: no consumer is ever made. Descriptions are read
//! once, in the order in which they were written, and from then on only those that are new.

mod beacon;
mod chunks;
mod clients;
mod failure;
mod index;
mod link;
mod object;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::checked::corrupt;
use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore};
use super::kind::{Kind, Shared, unsupported};
use crate::domain::places::NatsLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{Content, Cursor};
use chunks::{Chunks, Walk};
use clients::{Clients, Slot};
use index::Index;
use link::Link;
use object::Object;

pub(super) const KIND: Kind = Kind {
    open: |location, shared| Ok(Box::new(NatsStore::of(Bucket::open(location, shared)?))),
    shelf: |location, shared| Ok(Box::new(NatsStore::of(Bucket::all(location, shared)?))),
    beacon: |location, shared| Ok(Box::new(beacon::NatsBeacon::new(Bucket::open(location, shared)?))),
    clock_offset: |shared| clients(shared).clock_offset(),
    ..Kind::plain(StoreKind::Nats)
};

/// Keys in one page.
const PAGE_KEYS: usize = 1000;

/// How often a read begins anew when the object is not as it was listed or changes under it, and the pause before it: any
/// server of a cluster may answer, and one may be behind the one that answered before.
const ATTEMPTS_MAX: usize = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// What all replicas on NATS have in common.
fn clients(shared: &Shared) -> Arc<Clients> {
    shared.of(Clients::new)
}

/// An object store, and the connection through which it is asked. One without a name stands for all of the server.
struct Bucket {
    name: String,
    slot: Arc<Slot>,
}

impl Bucket {
    fn open(location: &ReplicaLocation, shared: &Shared) -> Result<Self, Reason> {
        let place: &NatsLocation = location.nats().ok_or_else(|| unsupported(location))?;
        if !shelf::is_bucket(&place.bucket) {
            let cause = format!("open {}: not the name of an object store", location.url());
            let hint = "a bucket's name consists of letters, digits, - and _";
            return Err(Reason::new(ReasonKind::Misconfigured, cause).with_hint(hint));
        }
        Ok(Self { name: place.bucket.clone(), slot: clients(shared).slot(place) })
    }

    fn all(location: &ReplicaLocation, shared: &Shared) -> Result<Self, Reason> {
        let place = location.nats().ok_or_else(|| unsupported(location))?;
        Ok(Self { name: String::new(), slot: clients(shared).slot(place) })
    }

    async fn link(&self) -> Result<Arc<Link>, Reason> {
        self.slot.link().await
    }
}

/// One replica, which is the whole object store; or the server, in which only folders are asked for.
struct NatsStore {
    bucket: Bucket,
    index: Index,
    chunks: Chunks,
}

impl NatsStore {
    fn of(bucket: Bucket) -> Self {
        Self { bucket, index: Index::default(), chunks: Chunks::default() }
    }
}

#[async_trait]
impl KeyStore for NatsStore {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let last = cursor.and_then(|cursor| cursor.get::<String>()).map(String::as_str);
        let index = match last {
            // The pages of one listing are of what was there when it began, or newer.
            Some(_) => self.index.known(&self.bucket).await?,
            None => self.index.refreshed(&self.bucket).await?,
        };
        let mut found = index.from(prefix, from.unwrap_or(prefix), last);
        let info =
            |(key, entry): (&String, &index::Entry)| KeyInfo { key: key.clone(), size: entry.size, at: entry.at };
        let objects: Vec<KeyInfo> = found.by_ref().take(PAGE_KEYS).map(info).collect();
        let last = objects.last().filter(|_| found.next().is_some());
        let next = last.map(|last| Cursor::new(last.key.clone()));
        Ok(KeyPage { objects, next })
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        if self.bucket.name.is_empty() {
            return shelf::folders(&*self.bucket.link().await?, prefix, cursor).await;
        }
        Ok(self.index.refreshed(&self.bucket).await?.folders(prefix).into())
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let mut found = 0;
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            // Always anew: chunks of an object that was deleted or replaced may be there for a while, and are not it.
            let link = self.bucket.link().await?;
            let Some((object, _)) = Object::find(&link, &self.bucket.name, key).await? else {
                if attempt + 1 < ATTEMPTS_MAX && self.index.holds(key) {
                    continue;
                }
                return Ok(Content::Missing(Reason::new(ReasonKind::NotFound, "no such object")));
            };
            let end = offset.saturating_add(length).min(object.size);
            if offset >= end {
                return Ok(Content::There(Bytes::new()));
            }
            match self.chunks.read(&link, &self.bucket.name, &object, offset..end).await? {
                Walk::Whole(content) => return Ok(Content::There(content)),
                Walk::Ends(at) => found = at,
            }
        }
        Err(corrupt(format!("an object whose content ends after {found} bytes, before it should")))
    }
}
