//! Restoring a v0.3 replica: replay the planned snapshot and WAL segments.
//!
//! Objects are downloaded ahead, several at once, and decoded in order by one thread while another one writes. Writing
//! takes longer than decoding, and a file takes one write at a time: more threads would wait for that one, and handing
//! thousands of small segments from one to the next costs more than decoding them.

use std::io::Read;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::reading::{Pieces, Reader, ahead, stopped};
use super::request::RestoreOptions;
use crate::domain::litestream::{
    AgeIdentities, Applied, Batch, Listed, ObjectName, Replay, ReplayError, ReplayFile, Replayed,
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
    let planned = Arc::clone(&plan);
    let (pages, writing) = Pages::to(file);
    let reader = Arc::new(Reader::new(store, plan.layout.keys(), progress));
    let (pieces, _task) = ahead(&reader, plan.objects.clone(), options.downloads);
    let applying = spawn_blocking(move || apply(&planned, pages, identities, pieces));
    // Nothing may write to the file when this has returned.
    let (applied, written) = (applying.await.map_err(stopped)?, writing.await.map_err(stopped)?);
    // What could not be written explains what could not be applied.
    written?;
    let (replayed, objects) = applied?;
    Ok(Restored {
        bytes: replayed.bytes,
        page_size: replayed.page_size,
        pages: replayed.pages,
        txid: None,
        position: replayed.position,
        trailing_bytes: replayed.trailing_bytes,
        objects,
        downloaded_bytes: reader.received(),
        requests: reader.requests(),
    })
}

/// Applies the objects as they come in. Blocking.
fn apply(
    plan: &RestorePlan,
    pages: Pages,
    identities: AgeIdentities,
    mut pieces: Pieces,
) -> Result<(Replayed, Vec<RestoredObject>), Reason> {
    let mut replay = Replay::new(pages, identities);
    let mut objects = Vec::with_capacity(plan.objects.len());
    for object in &plan.objects {
        let mut content = Content { pieces: &mut pieces, current: Bytes::new(), ended: Ok(false) };
        let key = plan.key(object);
        if let ObjectName::Ltx { .. } = object.name {
            return Err(Reason::new(ReasonKind::Unsupported, "not of v0.3").of_object(&key));
        }
        let applied = replay.object(object.name, &mut content);
        // What could not be read explains what could not be applied.
        content.ended?;
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
            let message = format!("{missing}, which comes before it, is missing");
            let hint = format!(
                "{}; Litestream 0.3.13 may restore an older state or a malformed database here, without an error",
                preceding(plan, object)
            );
            Reason::new(ReasonKind::Corrupt, message).of_object(&key).with_hint(hint)
        }
        ReplayError::OpenTransaction => Reason::from(error).of_object(&key).with_hint(preceding(plan, object)),
        error => Reason::from(error).of_object(&key),
    }
}

/// Which state a restore reaches without an object: the newest one before it.
fn preceding(plan: &RestorePlan, object: &Listed) -> String {
    let earlier = plan.objects.iter().take_while(|other| other.name != object.name);
    match earlier.map(|other| other.at.instant()).max().filter(|time| *time < object.at.instant()) {
        Some(time) => format!("the state at {time} precedes it: restore to that time"),
        None => "no earlier state has an earlier time to restore to".to_owned(),
    }
}

/// The file as the replay sees it: another thread writes to it.
struct Pages {
    file: Arc<dyn RestoreFile>,
    writes: SyncSender<Write>,
    /// Memory whose content was written.
    spare: Receiver<Batch>,
}

enum Write {
    Content(Vec<(u64, usize)>, Batch),
    Length(u64),
}

impl Pages {
    /// Starts the thread, which ends when the pages are dropped, or with what cannot be written.
    fn to(file: Arc<dyn RestoreFile>) -> (Self, JoinHandle<Result<(), Reason>>) {
        // While one batch is written the next one is decoded, and there is no memory for a third.
        let (writes, work) = sync_channel(0);
        let (used, spare) = channel();
        let written = Arc::clone(&file);
        (Self { file, writes, spare }, spawn_blocking(move || write(&*written, &work, &used)))
    }

    fn send(&self, write: Write) -> Result<(), Reason> {
        // The thread says itself why it has ended.
        self.writes.send(write).map_err(|_| Reason::new(ReasonKind::Failed, "restore: the writing has ended"))
    }
}

fn write(file: &dyn RestoreFile, work: &Receiver<Write>, used: &Sender<Batch>) -> Result<(), Reason> {
    work.iter().try_for_each(|write| match write {
        Write::Length(bytes) => file.set_len(bytes),
        Write::Content(parts, mut batch) => {
            let mut content = batch.content();
            for (offset, length) in parts {
                let (part, rest) = content.split_at_checked(length).unwrap_or((content, &[]));
                file.write_at(offset, part)?;
                content = rest;
            }
            batch.clear();
            // Nobody needs it at the end.
            let _ = used.send(batch);
            Ok(())
        }
    })
}

impl ReplayFile for Pages {
    fn write(&self, parts: Vec<(u64, usize)>, content: Batch) -> Result<(), Reason> {
        self.send(Write::Content(parts, content))
    }

    fn memory(&self) -> Batch {
        self.spare.try_recv().unwrap_or_default()
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        self.send(Write::Length(bytes))
    }

    fn expect(&self, bytes: u64) -> Result<(), Reason> {
        self.file.expect(bytes)
    }
}

/// The content of one object.
struct Content<'a> {
    pieces: &'a mut Pieces,
    current: Bytes,
    /// Or why it ends early.
    ended: Result<bool, Reason>,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.current.is_empty() && self.ended == Ok(false) {
            match self.pieces.blocking_next() {
                Some(Ok((content, piece))) => (self.current, self.ended) = (content, Ok(piece.last)),
                Some(Err(reason)) => self.ended = Err(reason),
                None => self.ended = Ok(true),
            }
        }
        let count = self.current.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}
