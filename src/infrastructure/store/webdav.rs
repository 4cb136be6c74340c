//! A replica in a collection of a WebDAV server (RFC 4918). A listing is one PROPFIND of depth 1, which answers with all
//! members at once: there are no pages, and none can start after a name.

mod auth;
mod beacon;
mod client;
pub(crate) mod multistatus;

use std::collections::BTreeMap;
use std::slice;
use std::sync::Arc;

use ::http::header::RANGE;
use ::http::{HeaderMap, Method, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;

use super::checked::corrupt;
use super::http::range;
use super::keys::{FolderPage, KeyInfo, KeyPage, KeyStore};
use super::kind::{Kind, Shared, unsupported};
use crate::domain::limits::{WEBDAV_LISTED_MAX, WHOLE_FILE_BYTES_MAX};
use crate::domain::litestream::{Dated, Layout};
use crate::domain::places::WebDavLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaLocation, StoreKind};
use crate::usecase::ports::{Content, Cursor};
use client::{Clients, Server};
use multistatus::{File, Member};

pub(super) const KIND: Kind = Kind {
    whole: true,
    open: |location, shared| Ok(Box::new(DavStore::new(location, shared, false)?)),
    shelf: |location, shared| Ok(Box::new(DavStore::new(location, shared, true)?)),
    beacon: |location, shared| Ok(Box::new(beacon::DavBeacon::new(place(location)?, clients(shared)))),
    clock_offset: |shared| clients(shared).clock_offset(|_| true),
    ..Kind::plain(StoreKind::WebDav)
};

/// What all replicas on WebDAV servers have in common.
fn clients(shared: &Shared) -> Arc<Clients> {
    shared.of(Clients::new)
}

fn place(location: &ReplicaLocation) -> Result<&WebDavLocation, Reason> {
    location.webdav().ok_or_else(|| unsupported(location))
}

/// One replica on a WebDAV server, or a place with replicas below it.
struct DavStore {
    server: Server,
    is_shelf: bool,
}

impl DavStore {
    fn new(location: &ReplicaLocation, shared: &Shared, is_shelf: bool) -> Result<Self, Reason> {
        Ok(Self { server: Server::new(place(location)?, clients(shared)), is_shelf })
    }

    /// What is directly below `prefix`; empty where that is not there while the server has the replica, or what its path is below.
    async fn members(&self, prefix: &str) -> Result<BTreeMap<String, Member>, Reason> {
        if let Some(members) = self.server.members(prefix).await? {
            return Ok(members);
        }
        // A server that was moved has no levels either.
        if !prefix.is_empty() && self.server.is_there("").await? {
            return Ok(BTreeMap::new());
        }
        // Litestream makes the collection with the first file. Many replicas are looked for where there is something.
        if !self.is_shelf && self.server.clone().at(String::new()).is_there("").await? {
            return Ok(BTreeMap::new());
        }
        Err(Reason::new(ReasonKind::NotFound, "no such collection").with_hint("check webdav-url and path"))
    }

    /// There is a file below a collection, as a bucket has no folder without one. Where that would take too long to find
    /// out, and where it may not be listed, there may be.
    async fn holds_files(&self, prefix: String, listed: &mut usize) -> Result<bool, Reason> {
        let mut left = vec![prefix];
        while let Some(prefix) = left.pop() {
            *listed += 1;
            if *listed > WEBDAV_LISTED_MAX {
                return Ok(true);
            }
            let members = match self.server.members(&prefix).await {
                Err(reason) if reason.kind == ReasonKind::Denied => return Ok(true),
                members => members?.unwrap_or_default(),
            };
            if members.values().any(|member| matches!(member, Member::File(_))) {
                return Ok(true);
            }
            // The last of them is looked at first: of all levels, that of the snapshots holds the fewest files.
            left.extend(members.into_keys().map(|name| format!("{prefix}{name}/")));
        }
        Ok(false)
    }
}

#[async_trait]
impl KeyStore for DavStore {
    async fn list(&self, prefix: &str, from: Option<&str>, _: Option<&Cursor>) -> Result<KeyPage, Reason> {
        let mut page = KeyPage::default();
        for (name, member) in self.members(prefix).await? {
            let key = format!("{prefix}{name}");
            if let Member::File(file) = member
                && from.is_none_or(|from| key.as_str() >= from)
            {
                let File { size, modified } = file;
                let refuse = |what: &str| corrupt(format!("{} has no valid {what}", super::printable(&key)));
                let (size, modified) = (size.ok_or_else(|| refuse("size"))?, modified.ok_or_else(|| refuse("time"))?);
                page.objects.push(KeyInfo { key, size, at: Dated::Uploaded(modified) });
            }
        }
        Ok(page)
    }

    async fn folders(&self, prefix: &str, _: Option<&Cursor>) -> Result<FolderPage, Reason> {
        let members = self.members(prefix).await?.into_iter();
        let mut names: Vec<String> =
            members.filter(|(_, member)| matches!(member, Member::Collection)).map(|(name, _)| name).collect();
        if prefix.is_empty() || self.is_shelf {
            let (mut held, mut listed) = (Vec::with_capacity(names.len()), 0);
            for name in names {
                let is_held = if Layout::recognise(slice::from_ref(&name)).is_empty() {
                    // What others keep beside a replica is theirs; where many are looked for, it may hold them.
                    self.is_shelf
                } else {
                    self.holds_files(format!("{prefix}{name}/"), &mut listed).await?
                };
                if is_held {
                    held.push(name);
                }
            }
            names = held;
        }
        Ok(names.into())
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        let range = range(offset, length)?;
        let headers = HeaderMap::from_iter([(RANGE, range)]);
        let answer = self.server.send(Method::GET, key, headers, Bytes::new(), length.max(WHOLE_FILE_BYTES_MAX)).await;
        let answer = answer.map_err(|reason| match reason.kind {
            ReasonKind::Corrupt => {
                reason.with_hint("the server must answer a request for a byte range with that range only")
            }
            _ => reason,
        })?;
        match answer.status {
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                answer.part(offset, length).map(Content::There)
            }
            // A server may ignore what was asked for.
            StatusCode::OK => {
                let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(answer.body.len());
                Ok(Content::There(answer.body.slice(within(offset)..within(offset.saturating_add(length)))))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Ok(Content::Missing(Reason::new(ReasonKind::NotFound, "no such file")))
            }
            _ => Err(client::refused(&answer)),
        }
    }
}
