//! The content of an object: chunks of any size, which only reading finds. Where they begin is remembered, so that an
//! object that is read in pieces is walked once.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use async_nats::Message;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use tokio::sync::Mutex;

use super::link::{Get, Link, number};
use super::object::Object;
use crate::domain::limits::NATS_WALKS_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::store::checked::corrupt;

/// How far the chunks are apart of which is remembered where they begin.
const MARK_EVERY_BYTES: u64 = 256 << 10;

/// Chunks and their bytes in one answer.
const BATCH_MAX: u64 = 64;
const BATCH_BYTES: usize = 8 << 20;

/// Reads from the beginning that are so short do not wait for others.
const SHORT_BYTES: u64 = 128 << 10;

/// What a walk brought.
pub(super) enum Walk {
    Whole(Bytes),
    /// No chunk begins at this byte, before the object ends.
    Ends(u64),
}

/// The objects of one replica whose chunks are known in part.
#[derive(Default)]
pub(super) struct Chunks(Mutex<VecDeque<Chunked>>);

/// Where the chunks of one object begin.
struct Chunked {
    nuid: String,
    /// The sequence from which the chunk at a byte is found.
    marks: BTreeMap<u64, u64>,
    /// How far the content was hashed, from its beginning on.
    hashed: (u64, Context),
}

impl Chunked {
    fn new(nuid: &str) -> Self {
        Self { nuid: nuid.to_owned(), marks: BTreeMap::from([(0, 1)]), hashed: (0, Context::new(&SHA256)) }
    }

    /// The last mark at or before a byte.
    fn before(&self, offset: u64) -> (u64, u64) {
        self.marks.range(..=offset).next_back().map_or((0, 1), |(at, sequence)| (*at, *sequence))
    }

    /// Takes in the chunk that begins at a byte.
    fn take(&mut self, object: &Object, at: u64, sequence: u64, chunk: &[u8]) -> Result<(), Reason> {
        let end = at.saturating_add(chunk.len() as u64);
        if end > object.size {
            return Err(corrupt(format!("an object with more than its {} bytes", object.size)));
        }
        if at >= self.before(at).0.saturating_add(MARK_EVERY_BYTES) {
            self.marks.insert(at, sequence);
        }
        let (hashed, context) = &mut self.hashed;
        if *hashed == at {
            context.update(chunk);
            *hashed = end;
            let digest = object.digest.as_deref().filter(|_| end == object.size);
            if digest.is_some_and(|digest| digest != context.clone().finish().as_ref()) {
                return Err(corrupt("an object whose content does not match its SHA-256".to_owned()));
            }
        }
        Ok(())
    }
}

impl Chunks {
    /// Bytes of an object, which are not beyond its end.
    pub(super) async fn read(
        &self,
        link: &Link,
        bucket: &str,
        object: &Object,
        bytes: Range<u64>,
    ) -> Result<Walk, Reason> {
        if bytes.start == 0 && bytes.end <= SHORT_BYTES {
            return Chunked::new(&object.nuid).walk(link, bucket, object, bytes).await;
        }
        // One after the other: where one piece ends, the next one begins.
        let mut kept = self.0.lock().await;
        match kept.iter().position(|chunked| chunked.nuid == object.nuid) {
            Some(index) => kept.swap(0, index),
            None => {
                kept.truncate(NATS_WALKS_MAX - 1);
                kept.push_front(Chunked::new(&object.nuid));
            }
        }
        let Some(chunked) = kept.front_mut() else { return Ok(Walk::Ends(0)) };
        let walked = chunked.walk(link, bucket, object, bytes).await;
        // Where the content is another one; after a connection that broke, the walk goes on.
        let is_over = match &walked {
            Ok(walk) => matches!(walk, Walk::Ends(_)),
            Err(reason) => reason.kind == ReasonKind::Corrupt,
        };
        if is_over {
            kept.pop_front();
        }
        walked
    }
}

impl Chunked {
    async fn walk(&mut self, link: &Link, bucket: &str, object: &Object, bytes: Range<u64>) -> Result<Walk, Reason> {
        let subject = format!("$O.{bucket}.C.{}", object.nuid);
        let usual = (object.size / object.chunks.max(1)).max(1);
        let (mut at, mut sequence) = self.before(bytes.start);
        let mut content = BytesMut::new();
        while at < bytes.end {
            let batch = ((bytes.end - at).div_ceil(usual)).clamp(1, BATCH_MAX);
            let get = Get {
                seq: Some(sequence),
                next_by_subj: Some(&subject),
                batch: usize::try_from(batch).ok(),
                max_bytes: Some(BATCH_BYTES),
                ..Get::default()
            };
            let before = at;
            let pending = link.batch(bucket, &get, |message: Message| {
                let found = number(&message, "Nats-Sequence").filter(|found| *found >= sequence);
                let found = found.ok_or_else(|| corrupt("chunks that are not in ascending order".to_owned()))?;
                let chunk = &message.payload;
                self.take(object, at, found, chunk)?;
                let wanted = |byte: u64| byte.clamp(at, at + chunk.len() as u64) - at;
                // Both are at most the chunk's length.
                content.extend_from_slice(&chunk[wanted(bytes.start) as usize..wanted(bytes.end) as usize]);
                at += chunk.len() as u64;
                sequence = found.saturating_add(1);
                Ok(())
            });
            if pending.await? == 0 && at < bytes.end || at == before {
                return Ok(Walk::Ends(at));
            }
        }
        Ok(Walk::Whole(content.freeze()))
    }
}
