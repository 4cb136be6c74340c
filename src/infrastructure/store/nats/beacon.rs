//! The beacon beside a replica in an object store: the only requests that write.

use std::sync::Arc;

use async_nats::HeaderMap;
use async_trait::async_trait;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::Bucket;
use super::chunks::{Chunks, Walk};
use super::failure::no_bucket;
use super::link::Link;
use super::object::{Object, encoded, subject};
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::clock;
use crate::infrastructure::store::beacon::found;
use crate::infrastructure::store::checked::corrupt;
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The tokens of a beacon's chunk: the one that is described stays until the other one is. Nothing but these is ever replaced,
/// whatever the bucket says.
const CHUNKS: [&str; 2] = ["streamgaugeA", "streamgaugeB"];

/// The place of one beacon. Litestream reads and deletes only what begins with `ltx/` in the bucket.
pub(super) struct NatsBeacon {
    bucket: Bucket,
}

/// JetStream has a message.
#[derive(Deserialize)]
struct Stored {
    #[serde(rename = "seq")]
    _sequence: u64,
}

impl NatsBeacon {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// Writes a message in the place of those with the same subject.
    async fn replace(&self, link: &Link, subject: &str, content: Bytes) -> Result<(), Reason> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Rollup", "sub");
        let answer = link.ask(subject, Some(headers), content).await?;
        let answer = answer.ok_or_else(|| no_bucket(&self.bucket.name))?;
        link.answer::<Stored>(&answer, &self.bucket.name).map(drop)
    }
}

#[async_trait]
impl BeaconStore for NatsBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let link: Arc<Link> = self.bucket.link().await?;
        let Some((object, stored_at)) = Object::find(&link, &self.bucket.name, SUFFIX).await? else { return Ok(None) };
        let end = object.size.min(BEACON_BYTES_MAX + 1);
        let content = match Chunks::default().read(&link, &self.bucket.name, &object, 0..end).await? {
            Walk::Whole(content) => content,
            Walk::Ends(_) => return Err(corrupt("a beacon without its content".to_owned())),
        };
        Ok(Some(found(content, stored_at, link.clocks.offset(|server| server == link.server))))
    }

    /// As clients of NATS write objects: content, then description.
    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let (link, bucket) = (self.bucket.link().await?, &self.bucket.name);
        let before = match Object::find(&link, bucket, SUFFIX).await {
            Err(reason) if !matches!(reason.kind, ReasonKind::Corrupt | ReasonKind::Unsupported) => return Err(reason),
            before => before.ok().flatten(),
        };
        let [first, second] = CHUNKS;
        let nuid = if before.is_some_and(|(before, _)| before.nuid == first) { second } else { first };
        let description = json!({
            "name": SUFFIX, "bucket": bucket, "nuid": nuid, "size": content.len(), "chunks": 1,
            "mtime": clock::wall(), "options": {"max_chunk_size": 128 << 10},
            "digest": format!("SHA-256={}", encoded(digest(&SHA256, &content).as_ref())),
        });
        self.replace(&link, &format!("$O.{bucket}.C.{nuid}"), content).await?;
        self.replace(&link, &subject(bucket, SUFFIX), description.to_string().into()).await
    }
}
