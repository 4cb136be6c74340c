//! Restoring a v0.3 replica: replay the planned snapshot and WAL segments.
//!
//! Objects are downloaded ahead, several at once, and applied in order by one thread, which never holds more than one
//! batch of pages.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::reading::{Reader, pieces};
use super::request::RestoreOptions;
use crate::domain::litestream::{
    AgeIdentities, Applied, Listed, ObjectName, Replay, ReplayError, ReplayFile, Replayed,
};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::{RestorePlan, Restored, RestoredObject};
use crate::usecase::ports::{Progress, ReplicaStore, RestoreFile};

pub(super) async fn restore(
    store: Arc<dyn ReplicaStore>,
    plan: Arc<RestorePlan>,
    file: Arc<dyn RestoreFile>,
    options: RestoreOptions,
    progress: Arc<dyn Progress>,
) -> Result<Restored, Reason> {
    let identities = AgeIdentities::parse(&options.identities)?;
    let (parts, received) = mpsc::channel(2);
    let planned = Arc::clone(&plan);
    let applying = spawn_blocking(move || apply(&planned, &file, identities, received));
    let reader = Reader::new(store, plan.layout.keys(), progress);
    let fed = feed(&reader, &plan, options.downloads, parts).await;
    let applied = applying.await.map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))?;
    // What could not be read explains what could not be applied.
    fed?;
    let (replayed, objects) = applied?;
    Ok(Restored {
        bytes: replayed.bytes,
        page_size: replayed.page_size,
        pages: replayed.pages,
        txid: None,
        position: replayed.position,
        objects,
        downloaded_bytes: reader.received(),
        requests: reader.requests(),
    })
}

/// A piece of an object.
struct Part {
    content: Bytes,
    /// Nothing follows.
    last: bool,
}

/// Downloads all objects in order, up to `downloads` requests at once, until they are all sent or nobody wants them.
async fn feed(reader: &Reader, plan: &RestorePlan, downloads: usize, sink: mpsc::Sender<Part>) -> Result<(), Reason> {
    let reads = plan.objects.iter().copied().flat_map(pieces).map(|piece| async move {
        let content = reader.read(piece.name, piece.offset, piece.length).await?;
        Ok::<_, Reason>(Part { content, last: piece.last })
    });
    let mut parts = futures_util::stream::iter(reads).buffered(downloads.max(1));
    while let Some(part) = parts.next().await {
        if sink.send(part?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Applies the objects as they come in. Blocking.
fn apply(
    plan: &RestorePlan,
    file: &Arc<dyn RestoreFile>,
    identities: AgeIdentities,
    mut parts: mpsc::Receiver<Part>,
) -> Result<(Replayed, Vec<RestoredObject>), Reason> {
    let last_index = plan.objects.iter().rev().find_map(Listed::segment).map(|segment| segment.index);
    let mut replay = Replay::new(Pages(Arc::clone(file)), identities, last_index);
    let mut objects = Vec::with_capacity(plan.objects.len());
    for object in &plan.objects {
        let content = Parts { parts: &mut parts, current: Bytes::new(), ended: false };
        let key = plan.key(object);
        let applied = match object.name {
            ObjectName::Snapshot(_, snapshot) => replay.snapshot(snapshot.index, content),
            ObjectName::Segment(_, segment) => replay.segment(segment, content),
            ObjectName::Ltx { .. } => {
                return Err(Reason::new(ReasonKind::Unsupported, format!("read {key}: not of v0.3")));
            }
        };
        let Applied { checksum, .. } = applied.map_err(|error| failed(plan, object, error))?;
        objects.push(RestoredObject { key, bytes: object.size, checksum: format!("{checksum:08x}") });
    }
    let replayed = replay.finish().map_err(|error| match plan.objects.last() {
        Some(last) => failed(plan, last, error),
        None => error.into(),
    })?;
    Ok((replayed, objects))
}

/// Names the object that is wrong, and the one that is missing before it.
fn failed(plan: &RestorePlan, object: &Listed, error: ReplayError) -> Reason {
    let (generation, key) = (plan.generation, plan.key(object));
    match error {
        ReplayError::Write(reason) => reason,
        ReplayError::Missing(name) => {
            let missing = generation.map_or_else(|| name.position(), |generation| generation.segment_key(name));
            let message = format!("read {key}: {missing} is missing, which comes before it");
            Reason::new(ReasonKind::Corrupt, message).with_hint(
                "an earlier time restores what is before it; Litestream 0.3.13 restores a malformed database here",
            )
        }
        ReplayError::OpenTransaction => {
            let reason = Reason::from(error).context(format_args!("read {key}"));
            reason.with_hint("restore to a time before the last segment")
        }
        error => Reason::from(error).context(format_args!("read {key}")),
    }
}

/// The file as the replay sees it.
struct Pages(Arc<dyn RestoreFile>);

impl ReplayFile for Pages {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        self.0.write_at(offset, content)
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.0.set_len(bytes)
    }

    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        self.0.expect(bytes)
    }
}

/// The content of one object. It ends early when the download failed, whose reason is what counts then.
struct Parts<'a> {
    parts: &'a mut mpsc::Receiver<Part>,
    current: Bytes,
    ended: bool,
}

impl Read for Parts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.parts.blocking_recv() {
                Some(Part { content, last }) => (self.current, self.ended) = (content, last),
                None => self.ended = true,
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
