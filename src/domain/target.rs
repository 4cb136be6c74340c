//! The targets: a database, its replicas, and what is expected of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::drill::DrillPolicy;
use super::litestream::expiry::Kept;
use super::price::{Prices, usual_storage};
use super::secret::{Secret, exposed};

/// The stable, short name of a target: the `database` label of every series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TargetName(pub String);

impl std::fmt::Display for TargetName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One database and its replicas. At least one of `database` and `replicas` is present.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub name: TargetName,
    /// The local files; absent when only the bucket can be seen.
    pub database: Option<DatabaseFiles>,
    pub replicas: Vec<ReplicaTarget>,
    pub objectives: Objectives,
    pub drill: DrillPolicy,
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
}

/// Where a replica is. What follows from its kind is answered here and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ReplicaLocation {
    Directory(PathBuf),
    S3(Box<S3Location>),
    /// A kind that Litestream knows and this version cannot read; `url` has no credentials.
    Unsupported {
        kind: String,
        url: String,
    },
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
    /// The closed set of the `store` label.
    pub fn kind(&self) -> &str {
        match self {
            Self::Directory(_) => "file",
            Self::S3(_) => "s3",
            Self::Unsupported { kind, .. } => kind,
        }
    }

    /// The place as a person would write it, without credentials.
    pub fn url(&self) -> String {
        match self {
            Self::Directory(path) => format!("file://{}", path.display()),
            Self::S3(s3) if s3.path.is_empty() => format!("s3://{}", s3.bucket),
            Self::S3(s3) => format!("s3://{}/{}", s3.bucket, s3.path),
            Self::Unsupported { url, .. } => url.clone(),
        }
    }

    /// Tells this place from every other one: two are the same place if and only if these texts are equal. It is saved, so
    /// its form does not change.
    pub fn identity(&self) -> String {
        format!("{} {}", self.endpoint().unwrap_or_default(), self.url())
    }

    /// The server, where the URL does not say which.
    pub fn endpoint(&self) -> Option<&str> {
        self.s3()?.endpoint.as_deref()
    }

    /// The region, where it is configured.
    pub fn region(&self) -> Option<&str> {
        self.s3()?.region.as_deref()
    }

    /// What the replicas that are slow, or fail, together with this one have in common: their bucket at an endpoint, or
    /// the directory above them.
    pub fn queue(&self) -> String {
        match self {
            Self::Directory(path) => format!("file {}", path.parent().unwrap_or(path).display()),
            Self::S3(s3) => format!("s3 {} {}", s3.endpoint.as_deref().unwrap_or_default(), s3.bucket),
            Self::Unsupported { kind, .. } => kind.clone(),
        }
    }

    /// The bucket that holds the replica, where there is such a thing and its settings can be read.
    pub fn bucket(&self) -> Option<BucketPlace> {
        let place = self.s3()?;
        let label = match self.endpoint() {
            // What stands before an @ is a secret.
            Some(endpoint) => format!("{}/{}", authority(endpoint).rsplit('@').next()?, place.bucket),
            None => place.bucket.clone(),
        };
        Some(BucketPlace { label, prefix: format!("{}/", place.path) })
    }

    /// Requests cost money there, and take their time.
    pub fn metered(&self) -> bool {
        !matches!(self, Self::Directory(_))
    }

    /// This version can read replicas of this kind.
    pub fn is_supported(&self) -> bool {
        !matches!(self, Self::Unsupported { .. })
    }

    /// What it costs there, where `configured` are the prices of stores that cost something.
    pub fn prices(&self, configured: Prices) -> Prices {
        let usual = || usual_storage(self.endpoint().map(authority));
        match self {
            Self::Directory(_) => Prices::FREE,
            Self::S3(_) | Self::Unsupported { .. } => {
                Prices { stored_per_gigabyte: Some(configured.stored_per_gigabyte.unwrap_or_else(usual)), ..configured }
            }
        }
    }

    pub fn directory(&self) -> Option<&Path> {
        let Self::Directory(path) = self else { return None };
        Some(path)
    }

    pub fn s3(&self) -> Option<&S3Location> {
        let Self::S3(place) = self else { return None };
        Some(place)
    }

    pub fn s3_mut(&mut self) -> Option<&mut S3Location> {
        let Self::S3(place) = self else { return None };
        Some(place)
    }
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

    #[test]
    fn storage_costs_what_it_usually_does_there_unless_configured() {
        let check = |endpoint: Option<&str>, dollars: f64| {
            let told = at(endpoint).prices(Prices::S3).storage_dollars(2_000_000_000);
            assert!((told - 2.0 * dollars).abs() < 1e-9, "{endpoint:?}: {told}");
            let configured = Prices { stored_per_gigabyte: Some(1.5), ..Prices::S3 };
            assert_eq!(at(endpoint).prices(configured).storage_dollars(2_000_000_000), 3.0);
        };
        check(None, 0.023);
        check(Some("https://s3.eu-west-1.amazonaws.com"), 0.023);
        check(Some("https://s3.us-west-000.backblazeb2.com"), 0.005);
        check(Some("https://storage.googleapis.com"), 0.020);
        check(Some("https://objects.example.org"), 0.023);
        check(Some("http://127.0.0.1:9000"), 0.0);
        check(Some("http://[::1]:9000"), 0.0);
        check(Some("http://minio:9000/"), 0.0);
        let directory = ReplicaLocation::Directory("/r".into());
        assert_eq!(directory.prices(Prices::S3).storage_dollars(1 << 40), 0.0);
    }
}
