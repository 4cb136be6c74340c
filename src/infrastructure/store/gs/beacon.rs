//! The beacon beside a replica in Google Cloud Storage: the only request that writes.

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use jiff::Timestamp;
use serde::Deserialize;

use super::client::{Action, Bucket, request};
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::places::GsLocation;
use crate::domain::reason::Reason;
use crate::domain::target::authority;
use crate::infrastructure::store::beacon::found;
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::http::{escaped, part_bytes_max, query};
use crate::infrastructure::store::keys::is_object_missing;
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The place of one beacon in a bucket.
pub(super) struct GsBeacon {
    bucket: Bucket,
    key: String,
}

/// What is asked for of an object.
#[derive(Deserialize)]
struct Stored {
    updated: String,
}

impl GsBeacon {
    pub(super) fn new(place: &GsLocation, bucket: Bucket) -> Self {
        Self { bucket, key: format!("{}{SUFFIX}", place.path.trim_end_matches('/')) }
    }

    /// When it came, which is asked for before its content, so that no beacon is taken for a newer one.
    async fn stored_at(&self) -> Result<Timestamp, Reason> {
        let rest = format!("/o/{}?fields=updated", escaped(&self.key));
        let stored: Stored = self.bucket.json(&rest, 0, Action::Read).await?;
        stored.updated.parse().map_err(|_| corrupt("an object without a time".to_owned()))
    }

    async fn found(&self) -> Result<FoundBeacon, Reason> {
        let stored_at = self.stored_at().await?;
        let content = self.bucket.read(&self.key, 0, BEACON_BYTES_MAX + 1).await?;
        let host = authority(&self.bucket.server);
        Ok(found(content, stored_at, self.bucket.google.http.clock_offset(|other| other == host)))
    }
}

#[async_trait]
impl BeaconStore for GsBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        match self.found().await {
            // A bucket that is not there is not a bucket without a beacon.
            Err(reason) if is_object_missing(&reason) => Ok(None),
            found => found.map(Some),
        }
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let rest = format!("/o?{}", query(&[("uploadType", "media"), ("name", &self.key), ("fields", "updated")]));
        let mut request = request(Method::POST, &self.bucket.url("/upload", &rest), content)?;
        // Not JSON, which the emulator would take for what is asked.
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        self.bucket.send(request, part_bytes_max(0), Action::Write).await.map(drop)
    }
}
