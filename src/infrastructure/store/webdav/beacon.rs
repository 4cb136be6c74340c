//! The beacon beside a replica on a WebDAV server: the only requests that write.

use std::sync::Arc;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderValue, Method, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;

use super::client::{Clients, Server, refused};
use super::corrupt;
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::places::WebDavLocation;
use crate::domain::reason::Reason;
use crate::infrastructure::store::beacon::found;
use crate::infrastructure::store::http::{Answer, part_bytes_max};
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The collection and the name in it that [`SUFFIX`] makes.
const NAME: &str = "beacon.json";

/// A beacon that is too long is seen by whoever gets it.
fn answer_bytes_max() -> u64 {
    part_bytes_max(BEACON_BYTES_MAX)
}

/// The place of one beacon on a server.
pub(super) struct DavBeacon {
    /// The collection with nothing but the beacon.
    server: Server,
}

impl DavBeacon {
    pub(super) fn new(place: &WebDavLocation, clients: Arc<Clients>) -> Self {
        let collection = SUFFIX.trim_end_matches(NAME).trim_end_matches('/');
        Self { server: Server::new(place, clients).at(format!("{}{collection}", place.path)) }
    }

    async fn write(&self, content: Bytes) -> Result<Answer, Reason> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        self.server.send(Method::PUT, NAME, headers, content, answer_bytes_max()).await
    }

    async fn make_collection(&self) -> Result<Answer, Reason> {
        let method = Method::from_bytes(b"MKCOL").map_err(|error| corrupt(error.to_string()))?;
        self.server.send(method, "", HeaderMap::new(), Bytes::new(), answer_bytes_max()).await
    }
}

#[async_trait]
impl BeaconStore for DavBeacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let answer = self.server.send(Method::GET, NAME, HeaderMap::new(), Bytes::new(), answer_bytes_max()).await?;
        match answer.status {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            _ => return Err(refused(&answer)),
        }
        let stored_at = answer.last_modified().ok_or_else(|| corrupt("a file without a time".to_owned()))?;
        let host = self.server.uri(NAME)?.authority().map(ToString::to_string).unwrap_or_default();
        Ok(Some(found(answer.body, stored_at, self.server.clients.clock_offset(|asked| asked == host))))
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let mut answer = self.write(content.clone()).await?;
        // 409: the collection is missing. Some servers say 404, and some 403.
        if matches!(answer.status.as_u16(), 403 | 404 | 409) {
            self.make_collection().await?;
            answer = self.write(content).await?;
        }
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::FORBIDDEN | StatusCode::CONFLICT => Err(refused(&answer)
                .with_hint("let the user write the collection *.streamgauge beside the replica's collection")),
            _ => Err(refused(&answer)),
        }
    }
}
