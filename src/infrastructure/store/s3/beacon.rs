//! The beacon beside a replica in a bucket: the only request that writes.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use jiff::Timestamp;

use super::client::{Clients, CustomerKey};
use super::failure::{self, Action};
use super::{ALGORITHM, Bucket, Buffers, Root, content, corrupt};
use crate::domain::beacon::SUFFIX;
use crate::domain::limits::BEACON_BYTES_MAX;
use crate::domain::reason::Reason;
use crate::domain::target::{S3Location, authority};
use crate::infrastructure::store::beacon::found;
use crate::infrastructure::store::keys::is_object_missing;
use crate::usecase::ports::{BeaconStore, FoundBeacon};

/// The place of one beacon in a bucket.
pub(super) struct S3Beacon {
    bucket: Bucket,
    key: String,
    endpoint: Option<String>,
}

impl S3Beacon {
    pub(super) fn new(place: &S3Location, clients: &Arc<Clients>) -> Result<Self, Reason> {
        Ok(Self { bucket: Bucket::new(place, clients)?, key: key(&place.path), endpoint: place.endpoint.clone() })
    }
}

/// Without the empty components that a replica's own path may have: no server has to know what a doubled slash is.
fn key(path: &str) -> String {
    format!("{}{SUFFIX}", Root::new(path).clean.trim_end_matches('/'))
}

#[async_trait]
impl BeaconStore for S3Beacon {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        let client = self.bucket.client().await?;
        let request = self.bucket.get(&client, &self.key, 0, BEACON_BYTES_MAX);
        let object = match request.send().await {
            Ok(object) => object,
            Err(error) => {
                let reason = failure::reason(error, Action::Read, &self.bucket.name);
                // A bucket that is not there is not a bucket without a beacon.
                return if is_object_missing(&reason) { Ok(None) } else { Err(reason) };
            }
        };
        let modified = object.last_modified.and_then(|at| Timestamp::from_second(at.secs()).ok());
        let modified = modified.ok_or_else(|| corrupt("an object without a time".to_owned()))?;
        let ahead = self.bucket.clients.clocks().offset(|host| is_of(host, self.endpoint.as_deref()));
        Ok(Some(found(content(object, 0, BEACON_BYTES_MAX, &Buffers::default()).await?, modified, ahead)))
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        let client = self.bucket.client().await?;
        let mut request = client.put_object().bucket(&self.bucket.name).key(&self.key).content_type("application/json");
        if let Some(CustomerKey { key, md5 }) = &self.bucket.customer_key {
            request =
                request.sse_customer_algorithm(ALGORITHM).sse_customer_key(key.expose()).sse_customer_key_md5(md5);
        }
        let done = request.body(ByteStream::from(content)).send().await;
        done.map(drop).map_err(|error| failure::reason(error, Action::Write, &self.bucket.name))
    }
}

/// A host that answers for an endpoint: itself, or with the bucket's name in front.
fn is_of(host: &str, endpoint: Option<&str>) -> bool {
    match endpoint.map(authority) {
        Some(authority) => host.strip_suffix(authority).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
        None => host.contains("amazonaws.com"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_is_beside_its_replica() {
        for (path, expected) in [
            ("apps/one", "apps/one.streamgauge/beacon.json"),
            ("/a/b/", "a/b.streamgauge/beacon.json"),
            ("", ".streamgauge/beacon.json"),
            (".", ".streamgauge/beacon.json"),
        ] {
            assert_eq!(key(path), expected, "{path}");
            // Not below what Litestream lists and deletes.
            assert!(!expected.starts_with(&Root::new(path).raw) && !expected.starts_with("generations/"), "{path}");
        }
    }

    #[test]
    fn a_host_is_known_by_its_endpoint() {
        for (host, endpoint, expected) in [
            ("127.0.0.1:9000", Some("http://127.0.0.1:9000"), true),
            ("bucket.minio.example.org", Some("https://minio.example.org/"), true),
            ("notminio.example.org", Some("https://minio.example.org"), false),
            ("bucket.s3.eu-west-1.amazonaws.com", None, true),
            ("127.0.0.1:9000", None, false),
        ] {
            assert_eq!(is_of(host, endpoint), expected, "{host}");
        }
    }
}
