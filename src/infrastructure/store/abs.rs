//! A replica in Azure Blob Storage. Listings start at a key, so that a poll is one request whatever the container holds,
//! and they have Litestream's own times.

mod beacon;
mod client;
mod credentials;
pub(crate) mod listing;
mod posture;

use std::sync::Arc;

use async_trait::async_trait;

use super::checked::{corrupt, printable};
use super::keys::{
    FolderPage, KeyInfo, KeyPage, KeyStore, first_filled, folder_name, is_object_missing, of_litestream, root,
};
use super::kind::{Kind, Shared, unsupported};
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::places::AbsLocation;
use crate::domain::reason::Reason;
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{Content, Cursor};
use client::{Action, Azure, Container};
use listing::{Blob, Listing};

pub(super) const KIND: Kind = Kind {
    flat: true,
    open,
    shelf: open,
    beacon: |location, shared| {
        let place = place(location)?;
        Ok(Box::new(beacon::AbsBeacon::new(place, Container::new(place, azure(shared))?)))
    },
    bucket: |location, shared, calls| {
        let place = location.abs()?;
        Some(Arc::new(posture::AbsContainer::new(&place.container, Container::new(place, azure(shared)), calls)))
    },
    clock_offset: |shared| azure(shared).http.clock_offset(|_| true),
    ..Kind::plain(StoreKind::Abs)
};

fn open(location: &ReplicaLocation, shared: &Shared) -> Result<Box<dyn KeyStore>, Reason> {
    let place = place(location)?;
    Ok(Box::new(AbsStore { container: Container::new(place, azure(shared))?, root: root(&place.path) }))
}

/// What all replicas there have in common.
fn azure(shared: &Shared) -> Arc<Azure> {
    shared.of(Azure::new)
}

fn place(location: &ReplicaLocation) -> Result<&AbsLocation, Reason> {
    location.abs().ok_or_else(|| unsupported(location))
}

/// Blobs in one page.
const PAGE_KEYS: &str = "1000";

/// One replica in a container.
struct AbsStore {
    container: Container,
    root: String,
}

impl AbsStore {
    async fn page(&self, what: &[(&str, &str)], marker: Option<&str>) -> Result<Listing, Reason> {
        let mut parameters = vec![("restype", "container"), ("comp", "list"), ("maxresults", PAGE_KEYS)];
        parameters.extend(what);
        parameters.extend(marker.map(|marker| ("marker", marker)));
        let answer = self.container.get("", &parameters, None, ANSWER_BYTES_MAX as u64, Action::List).await?;
        Listing::read(&answer.body)
    }

    fn info(&self, blob: &Blob) -> Result<KeyInfo, Reason> {
        let name = blob.name.text();
        let refuse = |why: &str| corrupt(format!("key {} {why}", printable(&name)));
        let key = name.strip_prefix(&self.root).ok_or_else(|| refuse("is not below the prefix"))?;
        let size = blob.size().ok_or_else(|| refuse("has no valid size"))?;
        let modified = blob.modified().ok_or_else(|| refuse("has no valid time"))?;
        Ok(KeyInfo { at: of_litestream(key, blob.written(), modified), key: key.to_owned(), size })
    }
}

#[async_trait]
impl KeyStore for AbsStore {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let below = format!("{}{prefix}", self.root);
        let start = from.map(|from| format!("{}{from}", self.root)).filter(|_| self.container.knows_where_to_start());
        let (below, start) = (below.as_str(), start.as_deref());
        first_filled(from, cursor, |marker| async move {
            let mut what = vec![("prefix", below), ("include", "metadata")];
            if marker.is_none() {
                what.extend(start.map(|start| ("startFrom", start)));
            }
            let page = self.page(&what, marker.as_deref()).await?;
            // Accounts with hierarchical namespaces list their directories.
            let blobs = page.blobs.blobs.iter().filter(|blob| !blob.is_directory());
            Ok((blobs.map(|blob| self.info(blob)).collect::<Result<_, _>>()?, page.next()))
        })
        .await
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let below = format!("{}{prefix}", self.root);
        let marker = cursor.and_then(|cursor| cursor.get::<String>());
        let page = self.page(&[("prefix", &below), ("delimiter", "/")], marker.map(String::as_str)).await?;
        let folders = page.blobs.prefixes.iter();
        let names = folders.filter_map(|folder| folder_name(&folder.name.text(), &below).transpose());
        Ok(FolderPage { names: names.collect::<Result<_, _>>()?, next: page.next().map(Cursor::new) })
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let key = format!("{}{key}", self.root);
        match self.container.read(&key, offset, length).await {
            Ok(answer) => answer.part(offset, length).map(Content::There),
            // A container that is missing has a hint.
            Err(reason) if is_object_missing(&reason) => Ok(Content::Missing(reason)),
            Err(reason) => Err(reason),
        }
    }
}
