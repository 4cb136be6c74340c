//! A replica in Google Cloud Storage, by its JSON API. Listings start at a key, so that a poll is one request whatever the
//! bucket holds, and they have Litestream's own times.

mod account;
mod beacon;
mod client;
mod credentials;
mod external;
mod grant;
mod posture;
mod tokens;

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;

use super::checked::{corrupt, printable};
use super::http::query;
use super::keys::{
    FolderPage, KeyInfo, KeyPage, KeyStore, first_filled, folder_name, is_object_missing, of_litestream, root,
};
use super::kind::{Kind, Shared, unsupported};
use crate::domain::limits::ANSWER_BYTES_MAX;
use crate::domain::places::GsLocation;
use crate::domain::reason::Reason;
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{Content, Cursor};
use client::{Action, Bucket, Google};

pub(super) const KIND: Kind = Kind {
    flat: true,
    open,
    shelf: open,
    beacon: |location, shared| {
        let place = place(location)?;
        Ok(Box::new(beacon::GsBeacon::new(place, Bucket::new(place, google(shared)))))
    },
    bucket: |location, shared, calls| {
        Some(Arc::new(posture::GsBucket::new(Bucket::new(location.gs()?, google(shared)), calls)))
    },
    clock_offset: |shared| google(shared).http.clock_offset(|_| true),
    ..Kind::plain(StoreKind::Gs)
};

fn open(location: &ReplicaLocation, shared: &Shared) -> Result<Box<dyn KeyStore>, Reason> {
    let place = place(location)?;
    Ok(Box::new(GsStore { bucket: Bucket::new(place, google(shared)), root: root(&place.path) }))
}

fn place(location: &ReplicaLocation) -> Result<&GsLocation, Reason> {
    location.gs().ok_or_else(|| unsupported(location))
}

/// What all replicas there have in common.
fn google(shared: &Shared) -> Arc<Google> {
    shared.of(Google::new)
}

/// Objects in one page, the most that Google gives.
const PAGE_KEYS: &str = "1000";

/// One replica in a bucket.
struct GsStore {
    bucket: Bucket,
    root: String,
}

/// An answer to a listing; `kind` tells it from other JSON.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listing {
    kind: String,
    #[serde(default)]
    items: Vec<Object>,
    #[serde(default)]
    prefixes: Vec<String>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    name: String,
    size: String,
    time_created: String,
    metadata: Option<Metadata>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(rename = "litestream-timestamp")]
    timestamp: Option<String>,
}

impl GsStore {
    async fn page(&self, fields: &str, what: &[(&str, &str)], token: Option<&str>) -> Result<Listing, Reason> {
        let fields = format!("kind,nextPageToken,{fields}");
        let mut parameters = vec![("fields", fields.as_str()), ("maxResults", PAGE_KEYS)];
        parameters.extend(what);
        parameters.extend(token.map(|token| ("pageToken", token)));
        let listing: Listing =
            self.bucket.json(&format!("/o?{}", query(&parameters)), ANSWER_BYTES_MAX as u64, Action::List).await?;
        if listing.kind != "storage#objects" {
            return Err(corrupt("not a listing of objects".to_owned()));
        }
        Ok(listing)
    }

    fn info(&self, object: Object) -> Result<KeyInfo, Reason> {
        let refuse = |why: &str| corrupt(format!("key {} {why}", printable(&object.name)));
        let key = object.name.strip_prefix(&self.root).ok_or_else(|| refuse("is not below the prefix"))?;
        let size = object.size.parse().map_err(|_| refuse("has no valid size"))?;
        let created: Timestamp = object.time_created.parse().map_err(|_| refuse("has no valid time"))?;
        let written = object.metadata.and_then(|metadata| metadata.timestamp);
        Ok(KeyInfo { at: of_litestream(key, written.as_deref(), created), key: key.to_owned(), size })
    }
}

#[async_trait]
impl KeyStore for GsStore {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let below = format!("{}{prefix}", self.root);
        let start = from.map(|from| format!("{}{from}", self.root));
        let mut what = vec![("prefix", below.as_str())];
        what.extend(start.as_deref().map(|start| ("startOffset", start)));
        let what = what.as_slice();
        first_filled(from, cursor, |token| async move {
            let page = self.page("items(name,size,timeCreated,metadata)", what, token.as_deref()).await?;
            let objects = page.items.into_iter().map(|object| self.info(object));
            Ok((objects.collect::<Result<_, _>>()?, page.next_page_token))
        })
        .await
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let below = format!("{}{prefix}", self.root);
        let token = cursor.and_then(|cursor| cursor.get::<String>());
        let what = [("prefix", below.as_str()), ("delimiter", "/")];
        let page = self.page("prefixes", &what, token.map(String::as_str)).await?;
        let names = page.prefixes.iter().filter_map(|folder| folder_name(folder, &below).transpose());
        Ok(FolderPage { names: names.collect::<Result<_, _>>()?, next: page.next_page_token.map(Cursor::new) })
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let key = format!("{}{key}", self.root);
        match self.bucket.read(&key, offset, length).await {
            Ok(bytes) => Ok(Content::There(bytes)),
            // A bucket that is missing has a hint.
            Err(reason) if is_object_missing(&reason) => Ok(Content::Missing(reason)),
            Err(reason) => Err(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_joined_as_litestream_joins_them() {
        for (path, expected) in [("", ""), ("app", "app/"), ("/", "/"), ("/a/b", "/a/b/")] {
            assert_eq!(root(path), expected, "{path}");
        }
    }
}
