//! A replica in Alibaba Cloud's Object Storage Service, which is read as S3: OSS answers to the requests and signatures of
//! S3 at hosts of their own. Litestream itself speaks OSS' own language there; the objects are the same.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::keys::{FolderPage, KeyPage, KeyStore};
use super::kind::{Kind, Shared, unsupported};
use super::s3::S3Clients;
use crate::domain::places::OssLocation;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::domain::target::{ReplicaLocation, S3Location, StaticCredentials, StoreKind, authority};
use crate::usecase::ports::{BeaconStore, BucketPosture, BucketStore, Content, Cursor, FoundBeacon};

pub(super) const KIND: Kind = Kind {
    of: StoreKind::Oss,
    flat: true,
    nested: false,
    whole: false,
    open: |location, shared| Ok(Box::new(InWordsOfOss(clients(shared).0.open(&as_s3(location)?)?))),
    beacon: |location, shared| Ok(Box::new(InWordsOfOss(clients(shared).0.beacon(&as_s3(location)?)?))),
    shelf: |location, shared| Ok(Box::new(InWordsOfOss(clients(shared).0.shelf(&as_s3(location)?)?))),
    bucket: |location, _, _| location.oss().map(|_| Arc::new(Settings) as Arc<dyn BucketStore>),
    clock_offset: |shared| clients(shared).0.clock_offset(),
};

/// What all replicas in OSS have in common; those in S3 have their own, so that each kind tells of its own clocks.
struct OssClients(S3Clients);

fn clients(shared: &Shared) -> Arc<OssClients> {
    shared.of(|options| OssClients(S3Clients::new(options)))
}

/// The same place as S3 has it.
fn as_s3(location: &ReplicaLocation) -> Result<S3Location, Reason> {
    let place = location.oss().ok_or_else(|| unsupported(location))?;
    let credentials = credentials(place, |name| std::env::var(name).ok());
    let endpoint = endpoint(place);
    let host = authority(&endpoint);
    let host = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(host, _)| host);
    Ok(S3Location {
        bucket: place.bucket.clone(),
        path: place.path.clone(),
        region: Some(place.region.clone()),
        // OSS knows buckets by the names of hosts alone, and an address has no names below it.
        force_path_style: host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok(),
        credentials: Some(credentials.map_err(|reason| reason.context(format_args!("open {}", location.url())))?),
        ca_file: place.ca_file.clone(),
        endpoint: Some(endpoint),
        ..S3Location::default()
    })
}

/// Where OSS speaks S3: `s3.` stands before the host at which it speaks its own language.
fn endpoint(place: &OssLocation) -> String {
    let Some(endpoint) = &place.endpoint else { return format!("https://s3.oss-{}.aliyuncs.com", place.region) };
    let host = authority(endpoint);
    let is_own = host.starts_with("oss-") && host.ends_with(".aliyuncs.com");
    if is_own { endpoint.replacen("://oss-", "://s3.oss-", 1) } else { endpoint.clone() }
}

/// Those that are configured, else those of the environment, as Litestream has it; never those of AWS.
fn credentials(place: &OssLocation, variable: impl Fn(&str) -> Option<String>) -> Result<StaticCredentials, Reason> {
    if let Some(credentials) = &place.credentials {
        return Ok(credentials.clone());
    }
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let (id, secret) = variable("OSS_ACCESS_KEY_ID").zip(variable("OSS_ACCESS_KEY_SECRET")).ok_or_else(|| {
        Reason::new(ReasonKind::Denied, "no credentials").with_hint(
            "configure access-key-id and secret-access-key, or set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET",
        )
    })?;
    Ok(StaticCredentials {
        access_key_id: id,
        secret_access_key: Secret::new(secret),
        session_token: variable("OSS_SESSION_TOKEN").map(Secret::new),
    })
}

/// A store in S3, whose reasons name the permissions of OSS.
struct InWordsOfOss<S: ?Sized>(Box<S>);

fn in_words_of_oss(reason: Reason) -> Reason {
    let hint = reason.hint.as_ref().map(|hint| hint.replace("s3:ListBucket", "oss:ListObjects").replace("s3:", "oss:"));
    Reason { hint, ..reason }
}

#[async_trait]
impl KeyStore for InWordsOfOss<dyn KeyStore> {
    async fn list(&self, prefix: &str, from: Option<&str>, cursor: Option<&Cursor>) -> Result<KeyPage, Reason> {
        self.0.list(prefix, from, cursor).await.map_err(in_words_of_oss)
    }

    async fn folders(&self, prefix: &str, cursor: Option<&Cursor>) -> Result<FolderPage, Reason> {
        self.0.folders(prefix, cursor).await.map_err(in_words_of_oss)
    }

    async fn read(&self, key: &str, offset: u64, length: u64) -> Result<Content, Reason> {
        self.0.read(key, offset, length).await.map_err(in_words_of_oss)
    }
}

#[async_trait]
impl BeaconStore for InWordsOfOss<dyn BeaconStore> {
    async fn find(&self) -> Result<Option<FoundBeacon>, Reason> {
        self.0.find().await.map_err(in_words_of_oss)
    }

    async fn put(&self, content: Bytes) -> Result<(), Reason> {
        self.0.put(content).await.map_err(in_words_of_oss)
    }
}

/// The settings of a bucket: as S3, OSS tells neither of versions nor of policies, and its access lists say something
/// else. It is not asked, so that nothing is taken for an answer that is none.
struct Settings;

#[async_trait]
impl BucketStore for Settings {
    async fn posture(&self) -> BucketPosture {
        let cause = "OSS does not show versioning, policies and retention over S3";
        BucketPosture { reason: Some(Reason::new(ReasonKind::Unsupported, cause)), ..BucketPosture::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(region: &str, endpoint: Option<&str>) -> OssLocation {
        let endpoint = endpoint.map(str::to_owned);
        OssLocation { bucket: "bkt".to_owned(), region: region.to_owned(), endpoint, ..OssLocation::default() }
    }

    /// The hosts are those of Alibaba's document on access by AWS' SDKs.
    #[test]
    fn hosts_are_those_at_which_oss_speaks_s3() {
        for (region, configured, expected, path_style) in [
            ("cn-hangzhou", None, "https://s3.oss-cn-hangzhou.aliyuncs.com", false),
            (
                "cn-hangzhou",
                Some("https://oss-cn-hangzhou-internal.aliyuncs.com"),
                "https://s3.oss-cn-hangzhou-internal.aliyuncs.com",
                false,
            ),
            ("x", Some("https://oss-accelerate.aliyuncs.com"), "https://s3.oss-accelerate.aliyuncs.com", false),
            ("x", Some("https://s3.oss-eu-west-1.aliyuncs.com"), "https://s3.oss-eu-west-1.aliyuncs.com", false),
            ("x", Some("https://oss-files.example.org"), "https://oss-files.example.org", false),
            ("x", Some("http://127.0.0.1:9000"), "http://127.0.0.1:9000", true),
            ("x", Some("http://[::1]:9000"), "http://[::1]:9000", true),
        ] {
            let keys = Some(StaticCredentials {
                access_key_id: "id".to_owned(),
                secret_access_key: Secret::new("geheim"),
                session_token: None,
            });
            let place = OssLocation { credentials: keys.clone(), ..place(region, configured) };
            let s3 = as_s3(&ReplicaLocation::Oss(Box::new(place))).unwrap();
            assert_eq!((s3.endpoint.as_deref(), s3.force_path_style), (Some(expected), path_style), "{configured:?}");
            assert_eq!((s3.region.as_deref(), s3.credentials), (Some(region), keys));
        }
    }

    #[test]
    fn credentials_are_those_of_the_configuration_or_of_oss_in_the_environment() {
        let of = |place: &OssLocation, variables: &[(&str, &str)]| {
            let find = |name: &str| variables.iter().find(|(of, _)| *of == name).map(|(_, value)| (*value).to_owned());
            let found = credentials(place, find).map_err(|reason| reason.kind.as_str())?;
            let token = found.session_token.as_ref().map(|token| token.expose().to_owned());
            Ok((found.access_key_id.clone(), found.secret_access_key.expose().to_owned(), token))
        };
        let (id, secret) = (("OSS_ACCESS_KEY_ID", "id"), ("OSS_ACCESS_KEY_SECRET", "secret"));
        let token = ("OSS_SESSION_TOKEN", "token");
        let owned = |token: Option<&str>| Ok(("id".to_owned(), "secret".to_owned(), token.map(str::to_owned)));
        let bare = place("x", None);
        assert_eq!(of(&bare, &[id, secret]), owned(None));
        assert_eq!(of(&bare, &[id, secret, token]), owned(Some("token")));
        let aws = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        for missing in [&[][..], &[id], &[secret, token], &[id, ("OSS_ACCESS_KEY_SECRET", "")], &aws] {
            assert_eq!(of(&bare, missing), Err("denied"), "{missing:?}");
        }
        let keys = StaticCredentials {
            access_key_id: "configured".to_owned(),
            secret_access_key: Secret::new("own"),
            session_token: None,
        };
        let configured = OssLocation { credentials: Some(keys), ..bare };
        assert_eq!(of(&configured, &[id, secret, token]), Ok(("configured".to_owned(), "own".to_owned(), None)));
    }

    #[test]
    fn hints_name_the_permissions_of_oss() {
        for (hint, expected) in [
            ("grant s3:ListBucket on bucket b", "grant oss:ListObjects on bucket b"),
            ("grant s3:GetObject on the objects of bucket b", "grant oss:GetObject on the objects of bucket b"),
        ] {
            let reason = in_words_of_oss(Reason::new(ReasonKind::Denied, "access denied").with_hint(hint));
            assert_eq!(reason.hint.as_deref(), Some(expected));
        }
    }
}
