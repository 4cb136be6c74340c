//! The beacon beside a replica in Azure Blob Storage: the only request that writes.

use async_trait::async_trait;
use bytes::Bytes;
use http::Method;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};

use super::client::{Action, Container};
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::places::AbsLocation;
use crate::domain::reason::Reason;
use crate::domain::target::authority;
use crate::infrastructure::store::beacon::found;
use crate::infrastructure::store::checked::corrupt;
use crate::infrastructure::store::http::part_bytes_max;
use crate::infrastructure::store::keys::is_object_missing;
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The place of one beacon in a container.
pub(super) struct AbsBeacon {
    container: Container,
    key: String,
}

impl AbsBeacon {
    pub(super) fn new(place: &AbsLocation, container: Container) -> Self {
        Self { container, key: format!("{}{SUFFIX}", place.path.trim_end_matches('/')) }
    }
}

#[async_trait]
impl BeaconStore for AbsBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let answer = match self.container.read(&self.key, 0, BEACON_BYTES_MAX + 1).await {
            // A container that is not there is not a container without a beacon.
            Err(reason) if is_object_missing(&reason) => return Ok(None),
            answer => answer?,
        };
        let stored_at = answer.last_modified().ok_or_else(|| corrupt("a blob without a time".to_owned()))?;
        let host = authority(&self.container.endpoint);
        let ahead = self.container.azure.http.clock_offset(|other| other == host);
        Ok(Some(found(answer.part(0, BEACON_BYTES_MAX + 1)?, stored_at, ahead)))
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let headers = vec![
            (HeaderName::from_static("x-ms-blob-type"), HeaderValue::from_static("BlockBlob")),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            // It is signed.
            (CONTENT_LENGTH, HeaderValue::from(content.len())),
        ];
        let what = (Method::PUT, self.key.as_str());
        self.container.send(what, &[], headers, (content, part_bytes_max(0)), Action::Write).await.map(drop)
    }
}
