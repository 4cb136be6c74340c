//! What is in an object store: descriptions in the order in which they were written, each read once.
//!
//! Objects that were deleted stay as markers for ever, and Litestream deletes all day: only the first listing reads them.

use std::collections::BTreeMap;
use std::ops::Bound;

use async_nats::Message;
use jiff::Timestamp;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::Bucket;
use super::link::{Get, Link, number, text};
use super::object::{Object, name, stored_at};
use crate::domain::limits::{KEY_BYTES_MAX, LISTED_ANEW_AFTER, NAMES_KEPT_BYTES_MAX, OBJECTS_KEPT_MAX};
use crate::domain::litestream::Dated;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::store::checked::corrupt;

/// Descriptions and their bytes in one answer.
const BATCH: usize = 1000;
const BATCH_BYTES: usize = 4 << 20;

/// An object as listings have it.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) size: u64,
    pub(super) at: Dated,
    sequence: u64,
}

/// The objects of one object store.
#[derive(Default)]
pub(super) struct Index(Mutex<Known>);

/// All descriptions up to one.
#[derive(Default)]
pub(super) struct Known {
    objects: BTreeMap<String, Entry>,
    /// Of their names.
    bytes: usize,
    /// The sequence of the newest one that was read.
    last: u64,
    /// When the stream was made, which tells it from another one of its name.
    created: Option<Timestamp>,
    begun: Option<Instant>,
    /// The first sequence that the stream still had.
    first: u64,
    /// All that was there at one moment was read.
    whole: bool,
    /// There is more than is kept.
    overfull: bool,
}

impl Index {
    /// As it was when it was last brought up to date, if it ever was.
    pub(super) async fn known(&self, bucket: &Bucket) -> Result<MutexGuard<'_, Known>, Reason> {
        let known = self.0.lock().await;
        if known.whole {
            return Ok(known);
        }
        drop(known);
        self.refreshed(bucket).await
    }

    /// A listing has it, as far as can be said without waiting.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.0.try_lock().is_ok_and(|known| known.objects.contains_key(key))
    }

    /// Reads what is new: one question where nothing is. What was read stays read when the caller gives up.
    pub(super) async fn refreshed(&self, bucket: &Bucket) -> Result<MutexGuard<'_, Known>, Reason> {
        let link = bucket.link().await?;
        let mut known = self.0.lock().await;
        let stream = link.stream(&bucket.name).await?;
        let old = known.begun.is_none_or(|begun| clock::timer().duration_since(begun) > LISTED_ANEW_AFTER);
        if old || known.created != Some(stream.created) || stream.state.last_seq < known.last {
            *known = Known { created: Some(stream.created), begun: Some(clock::timer()), ..Known::default() };
        }
        // What a limit of the stream or its owner removed leaves no marker.
        let first = stream.state.first_seq;
        if first > known.first {
            known.first = first;
            known.objects.retain(|_, entry| entry.sequence >= first);
            known.bytes = known.objects.keys().map(String::len).sum();
        }
        if known.overfull {
            return Err(too_many());
        }
        if stream.state.last_seq > known.last {
            known.read_on(&link, &bucket.name).await?;
        }
        known.whole = true;
        Ok(known)
    }
}

fn too_many() -> Reason {
    let cause = format!("more than {OBJECTS_KEPT_MAX} objects, or than {NAMES_KEPT_BYTES_MAX} bytes of their names");
    Reason::new(ReasonKind::Unsupported, cause)
}

impl Known {
    async fn read_on(&mut self, link: &Link, bucket: &str) -> Result<(), Reason> {
        let subject = format!("$O.{bucket}.M.>");
        loop {
            let get = Get {
                seq: Some(self.last.saturating_add(1)),
                next_by_subj: Some(&subject),
                batch: Some(BATCH),
                max_bytes: Some(BATCH_BYTES),
                ..Get::default()
            };
            let before = self.last;
            let pending = link.batch(bucket, &get, |message| self.take(bucket, &message)).await?;
            if pending == 0 {
                return Ok(());
            }
            if self.last == before {
                return Err(corrupt("a listing that makes no progress".to_owned()));
            }
        }
    }

    fn take(&mut self, bucket: &str, message: &Message) -> Result<(), Reason> {
        let sequence = number(message, "Nats-Sequence").filter(|sequence| *sequence > self.last);
        let sequence = sequence.ok_or_else(|| corrupt("messages that are not in ascending order".to_owned()))?;
        let name = text(message, "Nats-Subject").and_then(|subject| name(bucket, subject));
        // A longer one is nobody's key.
        if let Some(name) = name.filter(|name| name.len() <= KEY_BYTES_MAX) {
            let stored_at = stored_at(message)?;
            // What cannot be understood is there, and says so when it is read.
            let unread = Object::default();
            match Object::parse(&name, &message.payload).unwrap_or(Some(unread)) {
                None => self.bytes -= self.objects.remove(&name).map_or(0, |_| name.len()),
                Some(object) => {
                    let entry = Entry { size: object.size, at: object.dated(stored_at), sequence };
                    let bytes = name.len();
                    if self.objects.insert(name, entry).is_none() {
                        self.bytes += bytes;
                    }
                }
            }
            if self.objects.len() > OBJECTS_KEPT_MAX || self.bytes > NAMES_KEPT_BYTES_MAX {
                // Not to be counted again at each look.
                self.overfull = true;
                (self.objects, self.bytes) = (BTreeMap::new(), 0);
                return Err(too_many());
            }
        }
        self.last = sequence;
        Ok(())
    }

    /// The objects with a prefix, in order, from a key on or behind one.
    pub(super) fn from<'a>(
        &'a self,
        prefix: &'a str,
        from: &'a str,
        behind: Option<&'a str>,
    ) -> impl Iterator<Item = (&'a String, &'a Entry)> {
        let start = behind.map_or_else(|| Bound::Included(from.max(prefix)), Bound::Excluded);
        let range = self.objects.range::<str, _>((start, Bound::Unbounded));
        range.take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The names directly below a prefix that have keys below them.
    pub(super) fn folders(&self, prefix: &str) -> Vec<String> {
        let below = self.from(prefix, prefix, None).filter_map(|(key, _)| key[prefix.len()..].split_once('/'));
        let mut names: Vec<String> = Vec::new();
        for (name, _) in below {
            // An empty name holds nothing that Litestream wrote.
            if !name.is_empty() && names.last().is_none_or(|last| last != name) {
                names.push(name.to_owned());
            }
        }
        names
    }
}
