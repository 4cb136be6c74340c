//! The targets: a database, its replicas, and what is expected of them.

mod name;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::name::TargetName;
use super::drill::DrillPolicy;
use super::litestream::expiry::{Kept, Written};
use super::places::{AbsLocation, GsLocation, NatsLocation, OssLocation, SftpLocation, WebDavLocation, joined};
use super::price::{ConfiguredPrices, Prices};
use super::profile::Profile;
use super::secret::{Secret, exposed};
pub use super::store_kind::StoreKind;

/// One database and its replicas. At least one of `database` and `replicas` is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: TargetName,
    /// The local files; absent when only the bucket can be seen.
    pub database: Option<Arc<DatabaseFiles>>,
    pub replicas: Vec<Arc<ReplicaTarget>>,
    /// Most databases have the same ones.
    pub objectives: Arc<Objectives>,
    /// As well.
    pub drill: Arc<DrillPolicy>,
    /// A `litestream.yml` names the database: a Litestream is expected to run.
    pub litestream: bool,
}

/// Where the database and Litestream's metadata are, as this process sees them (after the prefix map).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFiles {
    /// The database file; `-wal` and `-shm` stand beside it.
    pub path: PathBuf,
    /// Litestream's metadata directory (`.<file>-litestream` unless configured); `None` without Litestream.
    pub meta_path: Option<PathBuf>,
}

/// The user's objectives: the bounds of the checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objectives {
    /// Recovery point objective: lag above it is critical. Default 5 minutes (the founding rule).
    pub rpo: Duration,
    /// How far back one wants to be able to restore, where the configuration says it.
    pub retention: Option<Duration>,
    /// How often a snapshot is to be taken, where the configuration says it.
    pub snapshot_interval: Option<Duration>,
    /// Recovery time objective: how long a restore may take. `None`: as long as it needs.
    pub rto: Option<Duration>,
    /// The Litestream that would restore, where the configuration says it: it has to know what is written.
    pub restorer: Option<LitestreamVersion>,
    /// Who may read and write the files.
    pub permissions: Permissions,
    /// How full the filesystem may be, in percent. Default 80 (the founding rule).
    pub disk_used_percent: u8,
    /// How many of its numbers are served.
    pub metrics: Profile,
}

/// Modes and owner that the database, `-wal` and `-shm` are to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// Permission bits, each of which is good. Default 0600 and 0640.
    pub modes: Vec<u32>,
    /// They are configured, so that they hold wherever the files are.
    pub configured: bool,
    /// Default: any, the same for all files.
    pub owner: Option<Owner>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self { modes: vec![0o600, 0o640], configured: false, owner: None }
    }
}

/// A user, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    pub uid: u32,
}

/// A release of Litestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LitestreamVersion {
    pub major: u16,
    pub minor: u16,
    pub patch: u16,
}

impl LitestreamVersion {
    /// It reads files whose pages are LZ4 blocks, which are written since 0.5.16.
    pub fn reads_blocks(self) -> bool {
        self >= Self { major: 0, minor: 5, patch: 16 }
    }
}

impl std::str::FromStr for LitestreamVersion {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.').map(|part| part.parse::<u16>().ok());
        match (parts.next().flatten(), parts.next().flatten(), parts.next().flatten(), parts.next()) {
            (Some(major), Some(minor), Some(patch), None) => Ok(Self { major, minor, patch }),
            _ => Err("not a release"),
        }
    }
}

impl Default for Objectives {
    fn default() -> Self {
        Self {
            rpo: Duration::from_secs(300),
            retention: None,
            snapshot_interval: None,
            rto: None,
            restorer: None,
            permissions: Permissions::default(),
            disk_used_percent: 80,
            metrics: Profile::default(),
        }
    }
}

/// One replica of a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaTarget {
    /// The `replica` label: Litestream's replica name, by default the type (`file`, `s3`, …).
    pub name: String,
    pub location: ReplicaLocation,
    /// Litestream's sync interval, which sets how soon after a commit a look is worth its price. Default 1 s.
    pub sync_interval: Duration,
    /// v0.3 `age` encryption: contents cannot be read without an identity.
    pub encrypted: bool,
    /// The `age` identities that the configuration gives for it, as text.
    #[serde(with = "exposed")]
    pub age_identities: Vec<Secret>,
    /// The retention that Litestream was given for it; `None` where no `litestream.yml` says so.
    pub kept: Option<Kept>,
    /// How Litestream was told to write to it.
    pub written: Written,
}

/// Where a replica is: all kinds that Litestream knows. What follows from its kind is answered here and nowhere else;
/// which of them can be read is the stores' business.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplicaLocation {
    Directory(PathBuf),
    S3(Box<S3Location>),
    Gs(Box<GsLocation>),
    Abs(Box<AbsLocation>),
    Sftp(Box<SftpLocation>),
    WebDav(Box<WebDavLocation>),
    Nats(Box<NatsLocation>),
    Oss(Box<OssLocation>),
}

/// A bucket that holds replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketPlace {
    /// The `bucket` label: buckets of two providers may have one name.
    pub label: String,
    /// What the keys of the replica start with.
    pub prefix: String,
}

impl ReplicaLocation {
    pub fn kind(&self) -> StoreKind {
        match self {
            Self::Directory(_) => StoreKind::File,
            Self::S3(_) => StoreKind::S3,
            Self::Gs(_) => StoreKind::Gs,
            Self::Abs(_) => StoreKind::Abs,
            Self::Sftp(_) => StoreKind::Sftp,
            Self::WebDav(_) => StoreKind::WebDav,
            Self::Nats(_) => StoreKind::Nats,
            Self::Oss(_) => StoreKind::Oss,
        }
    }

    /// The place as a person would write it, without credentials.
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::S3(s3) if s3.path.is_empty() => format!("s3://{}", s3.bucket),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.path),
            Self::Gs(place) => place.url(),
            Self::Abs(place) => place.url(),
            Self::Sftp(place) => place.url(),
            Self::WebDav(place) => place.url(),
            Self::Nats(place) => place.url(),
            Self::Oss(place) => place.url(),
        }
    }

    /// Tells this place from every other one: two are the same place if and only if these texts are equal. It is saved, so
    /// its form does not change.
    pub fn identity(&self) -> String {
        format!("{} {}", self.endpoint().unwrap_or_default(), self.url())
    }

    /// The server, where the URL does not say which.
    pub fn endpoint(&self) -> Option<&str> {
        match self {
            Self::S3(place) => place.endpoint.as_deref(),
            Self::Abs(place) => place.endpoint.as_deref(),
            Self::Oss(place) => place.endpoint.as_deref(),
            Self::Gs(place) => place.emulator.as_deref(),
            Self::Directory(_) | Self::Sftp(_) | Self::WebDav(_) | Self::Nats(_) => None,
        }
    }

    /// The region, where it is configured.
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Oss(place) => Some(&place.region),
            place => place.s3()?.region.as_deref(),
        }
    }

    /// What the replicas that are slow, or fail, together with this one have in common: their bucket at an endpoint, their
    /// server, or the directory above them.
    pub fn queue(&self) -> String {
        let shared = match self {
            Self::Directory(path) => return format!("file {}", path.parent().unwrap_or(path).display()),
            Self::S3(place) => &place.bucket,
            Self::Gs(place) => &place.bucket,
            Self::Abs(place) => &place.container,
            Self::Oss(place) => &place.bucket,
            Self::Sftp(place) => &place.host,
            Self::WebDav(place) => &place.endpoint,
            Self::Nats(place) => &place.server,
        };
        format!("{} {} {shared}", self.kind().as_str(), self.endpoint().unwrap_or_default())
    }

    /// The store as it is reached for this replica, with the login, and without the place of the replica in it.
    pub fn store(&self) -> Self {
        let mut store = self.clone();
        match &mut store {
            Self::Directory(path) => path.clear(),
            Self::S3(place) => place.path.clear(),
            Self::Gs(place) => place.path.clear(),
            Self::Abs(place) => place.path.clear(),
            Self::Oss(place) => place.path.clear(),
            Self::Sftp(place) => place.path.clear(),
            Self::WebDav(place) => place.path.clear(),
            // A replica is a whole store.
            Self::Nats(_) => {}
        }
        store
    }

    /// The bucket that holds the replica, where there is such a thing as the settings of one.
    pub fn bucket(&self) -> Option<BucketPlace> {
        let (bucket, path) = match self {
            Self::S3(place) => (&place.bucket, format!("{}/", place.path)),
            Self::Oss(place) => (&place.bucket, format!("{}/", place.path)),
            Self::Gs(place) => (&place.bucket, folder(&place.path)),
            Self::Abs(place) => (&place.container, folder(&place.path)),
            Self::Directory(_) | Self::Sftp(_) | Self::WebDav(_) | Self::Nats(_) => return None,
        };
        let label = match self.endpoint() {
            // What stands before an @ is a secret.
            Some(endpoint) => format!("{}/{bucket}", authority(endpoint).rsplit('@').next()?),
            None => bucket.clone(),
        };
        Some(BucketPlace { label, prefix: path })
    }

    /// The replica at `relative` below this place, as Litestream would have it in a URL of its own; `None` where there cannot
    /// be one: on NATS, a replica is a whole object store, and the place is the server.
    pub fn below(&self, relative: &str) -> Option<Self> {
        let mut place = self.clone();
        match &mut place {
            Self::Directory(path) => path.push(relative),
            Self::S3(place) => place.path = joined(&place.path, relative),
            Self::Gs(place) => place.path = joined(&place.path, relative),
            Self::Abs(place) => place.path = joined(&place.path, relative),
            Self::Oss(place) => place.path = joined(&place.path, relative),
            Self::Sftp(place) => place.path = format!("{}/{relative}", place.path.trim_end_matches('/')),
            Self::WebDav(place) => place.path = joined(&place.path, relative),
            Self::Nats(place) if place.bucket.is_empty() && !relative.contains('/') => place.bucket = relative.into(),
            Self::Nats(_) => return None,
        }
        Some(place)
    }

    /// Requests take their time there, and are not made without need.
    pub fn is_remote(&self) -> bool {
        self.directory().is_none()
    }

    /// What it costs there: what is `configured`, and else what is usual.
    pub fn prices(&self, configured: &ConfiguredPrices) -> Prices {
        configured.at(self.kind(), self.endpoint().map(authority))
    }

    pub fn directory(&self) -> Option<&Path> {
        let Self::Directory(path) = self else { return None };
        Some(path)
    }
}

/// The keys of a folder begin so.
fn folder(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path}/") }
}

/// What each backend asks for: the place, if it is one of its kind.
macro_rules! places {
    ($($name:ident: $variant:ident($place:ty),)*) => {
        impl ReplicaLocation {
            $(pub fn $name(&self) -> Option<&$place> {
                let Self::$variant(place) = self else { return None };
                Some(place)
            })*
        }
    };
}

places! {
    s3: S3(S3Location),
    gs: Gs(GsLocation),
    abs: Abs(AbsLocation),
    sftp: Sftp(SftpLocation),
    webdav: WebDav(WebDavLocation),
    nats: Nats(NatsLocation),
    oss: Oss(OssLocation),
}

/// Host and port of a URL, and what may stand before them.
pub fn authority(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or_default()
}

/// An S3 bucket and the raw path inside it.
///
/// Litestream v0.5 builds keys by plain concatenation, `path + "/" + rest`, and never normalises: `path` is kept
/// exactly as Litestream would use it (`"."` for `s3://bucket`, `""` for `bucket:` without `path:`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct S3Location {
    pub bucket: String,
    pub path: String,
    /// Absent: asked from the bucket, or `us-east-1` with a custom endpoint, as Litestream does.
    pub region: Option<String>,
    /// Absent: Amazon's own.
    pub endpoint: Option<String>,
    pub force_path_style: bool,
    /// Do not verify the server's certificate (`skip-verify`).
    pub skip_verify: bool,
    /// Both or neither; otherwise the usual AWS chain (environment, profile, web identity, container, instance).
    pub credentials: Option<StaticCredentials>,
    /// A named profile of the shared AWS configuration.
    pub profile: Option<String>,
    /// PEM file with additional certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// SSE-C key headers that GET and HEAD need (`sse-customer-key`, base64).
    #[serde(with = "exposed")]
    pub sse_customer_key: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StaticCredentials {
    pub access_key_id: String,
    #[serde(with = "exposed")]
    pub secret_access_key: Secret,
    #[serde(with = "exposed")]
    pub session_token: Option<Secret>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoint: Option<&str>) -> ReplicaLocation {
        let endpoint = endpoint.map(str::to_owned);
        ReplicaLocation::S3(Box::new(S3Location {
            bucket: "b".into(),
            path: "p".into(),
            endpoint,
            ..S3Location::default()
        }))
    }

    #[test]
    fn one_bucket_name_at_two_endpoints_is_two_places() {
        let places = [at(None), at(Some("http://one:9000")), at(Some("http://two:9000"))];
        let identities = places.each_ref().map(ReplicaLocation::identity);
        assert_eq!(identities, [" s3://b/p", "http://one:9000 s3://b/p", "http://two:9000 s3://b/p"]);
        assert!(places.iter().all(|place| place.url() == "s3://b/p"));
        let labels = places.map(|place| place.bucket().unwrap().label);
        assert_eq!(labels, ["b", "one:9000/b", "two:9000/b"]);
    }
}
