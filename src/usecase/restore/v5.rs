//! Restoring a v0.5 replica. Files are applied newest first, so that each page is written once, by the newest file that
//! holds it.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::{RestoreOptions, RestoreRequest};
use crate::domain::litestream::header::lock_page;
use crate::domain::litestream::{Layout, LevelKeys, LtxFile, LtxHeader, SNAPSHOT_LEVEL, decode, plan};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{PlannedKind, PlannedObject, RestorePlan, Restored, RestoredObject};
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

/// Bytes that one request asks for.
const READ_BYTES: u64 = 4 << 20;

pub(super) async fn plan_levels(
    store: &dyn ReplicaStore,
    keys: LevelKeys,
    request: &RestoreRequest,
) -> Result<RestorePlan, Reason> {
    let mut files = Vec::new();
    for level in 0..=SNAPSHOT_LEVEL {
        let prefix = keys.prefix(level);
        let mut after = None;
        loop {
            let page = store.list(&prefix, after.as_deref()).await?;
            after = page.objects.last().map(|object| object.key.clone());
            let found = page.objects.iter().filter_map(|object| {
                let (level, name) = keys.parse_key(&object.key)?;
                Some(LtxFile { level, min: name.min, max: name.max, size: object.size, created: object.modified })
            });
            files.extend(found);
            if !page.more {
                break;
            }
        }
    }
    let planned = plan(&files, request.point)
        .map_err(|error| Reason::new(ReasonKind::NotFound, format!("plan restore: {error}")))?;
    let through = planned.iter().map(|file| file.created).max().unwrap_or_default();
    Ok(RestorePlan {
        layout: Layout::V5(keys),
        txid: planned.last().map(|file| file.max),
        objects: planned
            .iter()
            .map(|file| PlannedObject {
                key: keys.key(file.level, file.name()),
                size: file.size,
                created: file.created,
                kind: PlannedKind::Ltx(*file),
            })
            .collect(),
        generation: None,
        through,
        shortfall: None,
        base: None,
    })
}

pub(super) async fn restore_levels(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    _options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<Restored, Reason> {
    let mut restored = Restored {
        bytes: 0,
        page_size: 0,
        pages: 0,
        txid: plan.txid,
        position: None,
        objects: Vec::new(),
        downloaded_bytes: 0,
        requests: 0,
    };
    let mut written: Vec<bool> = Vec::new();
    let mut newest: Option<LtxHeader> = None;
    for object in plan.objects.iter().rev() {
        let (chunks, content) = mpsc::channel(2);
        let (sink, key) = (Arc::clone(&file), object.key.clone());
        let known = newest;
        let decoding = spawn_blocking(move || {
            let mut failure = None;
            let commit = known.map_or(u32::MAX, |header: LtxHeader| header.commit);
            let mut pages = written;
            let summary = decode(Chunks { content, current: Bytes::new() }, |page, bytes| {
                if page > commit {
                    return;
                }
                pages.resize(pages.len().max(page as usize), false);
                if let Some(seen) = pages.get_mut(page as usize - 1).filter(|seen| !**seen) {
                    *seen = true;
                    let offset = u64::from(page - 1) * bytes.len() as u64;
                    failure = failure.take().or_else(|| sink.write_at(offset, bytes).err());
                }
            });
            match (failure, summary) {
                (Some(reason), _) => Err(reason),
                (None, Ok(summary)) => Ok((pages, summary)),
                (None, Err(error)) => Err(Reason::from(error).context(format!("read {key}"))),
            }
        });
        let mut offset = 0;
        while offset < object.size {
            let chunk = store.read(&object.key, offset, READ_BYTES).await?;
            restored.requests += 1;
            if chunk.is_empty() {
                break;
            }
            offset += chunk.len() as u64;
            restored.downloaded_bytes += chunk.len() as u64;
            progress.received(chunk.len() as u64);
            if chunks.send(chunk).await.is_err() {
                break;
            }
        }
        drop(chunks);
        let (pages, summary) = decoding.await.map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))??;
        written = pages;
        newest = newest.or(Some(summary.header));
        restored.objects.push(RestoredObject {
            key: object.key.clone(),
            bytes: summary.bytes,
            checksum: format!("{:016x}", summary.file_checksum),
        });
    }
    restored.objects.reverse();
    let Some(header) = newest else { return Err(Reason::new(ReasonKind::NotFound, "restore: nothing is planned")) };
    let lock_page = lock_page(header.page_size);
    written.resize(header.commit as usize, false);
    let missing = (1..=header.commit).zip(&written).find(|(page, written)| !**written && *page != lock_page);
    if let Some((page, _)) = missing {
        return Err(Reason::new(ReasonKind::Corrupt, format!("restore: page {page} is in none of the files")));
    }
    restored.bytes = u64::from(header.commit) * u64::from(header.page_size);
    restored.page_size = header.page_size;
    restored.pages = header.commit;
    restored.position = header.wal_end();
    let length = restored.bytes;
    spawn_blocking(move || file.set_len(length).and_then(|()| file.sync()))
        .await
        .map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))??;
    Ok(restored)
}

struct Chunks {
    content: mpsc::Receiver<Bytes>,
    current: Bytes,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.current.is_empty() {
            self.current = self.content.blocking_recv().unwrap_or_default();
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
