//! Where a replica is that is neither in a directory nor in S3: for each kind what Litestream needs to know, and nothing
//! of how it is read.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::secret::{Secret, exposed};
use super::target::StaticCredentials;

/// Google Cloud Storage. Credentials are those of the environment (`GOOGLE_APPLICATION_CREDENTIALS`, metadata server).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GsLocation {
    pub bucket: String,
    /// Cleaned as by Go's `path.Clean`; empty for the bucket itself, and perhaps with a slash in front.
    pub path: String,
    /// An emulator in Google's place (`STORAGE_EMULATOR_HOST`), which gets no credentials: `http://host:port`.
    pub emulator: Option<String>,
    /// PEM file with certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// Azure Blob Storage. The secrets are those of the configuration, else those of Litestream's environment
/// (`LITESTREAM_AZURE_SAS_TOKEN`, `LITESTREAM_AZURE_ACCOUNT_KEY`); without one, Azure's own chain counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AbsLocation {
    /// Empty: not configured.
    pub account: String,
    pub container: String,
    /// As [`GsLocation::path`].
    pub path: String,
    /// The account's own unless configured; `None` where no account is known either.
    pub endpoint: Option<String>,
    #[serde(with = "exposed")]
    pub account_key: Option<Secret>,
    #[serde(with = "exposed")]
    pub sas_token: Option<Secret>,
    /// PEM file with certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// A directory that is reached through SSH.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SftpLocation {
    /// `host` or `host:port`.
    pub host: String,
    pub user: String,
    /// As configured: without a slash in front it begins where the user logs in.
    pub path: String,
    #[serde(with = "exposed")]
    pub password: Option<Secret>,
    /// The file of the private key.
    pub key_path: Option<PathBuf>,
    /// The server's public key as in `authorized_keys`; `None`: Litestream trusts any server.
    pub host_key: Option<String>,
}

/// A collection of a WebDAV server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WebDavLocation {
    /// `http://…` or `https://…`, perhaps with a path; without credentials, and without a slash at the end.
    pub endpoint: String,
    /// Below the endpoint, without slashes at its ends.
    pub path: String,
    pub username: String,
    #[serde(with = "exposed")]
    pub password: Option<Secret>,
    /// PEM file with certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
}

/// An object store of NATS JetStream. The replica is the whole bucket. Litestream takes the first that is there of `jwt`
/// with `seed`, `creds`, `nkey`, `username` with `password`, and `token`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NatsLocation {
    /// `host` or `host:port`; empty: NATS' own default.
    pub server: String,
    pub bucket: String,
    #[serde(with = "exposed")]
    pub jwt: Option<Secret>,
    #[serde(with = "exposed")]
    pub seed: Option<Secret>,
    /// File of credentials.
    pub creds: Option<PathBuf>,
    #[serde(with = "exposed")]
    pub nkey: Option<Secret>,
    pub username: String,
    #[serde(with = "exposed")]
    pub password: Option<Secret>,
    #[serde(with = "exposed")]
    pub token: Option<Secret>,
    pub tls: bool,
    pub root_cas: Vec<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

/// Alibaba Cloud's Object Storage Service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct OssLocation {
    pub bucket: String,
    /// Raw, as `S3Location::path`: keys are joined to it as on S3.
    pub path: String,
    /// Litestream's default is cn-hangzhou.
    pub region: String,
    /// Absent: that of the region.
    pub endpoint: Option<String>,
    /// Absent: `OSS_ACCESS_KEY_ID` and `OSS_ACCESS_KEY_SECRET` of the environment.
    pub credentials: Option<StaticCredentials>,
    /// PEM file with certificate authorities beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl GsLocation {
    pub(super) fn url(&self) -> String {
        in_bucket("gs", &self.bucket, &self.path)
    }
}

impl AbsLocation {
    pub(super) fn url(&self) -> String {
        in_bucket("abs", &self.container, &self.path)
    }
}

impl OssLocation {
    pub(super) fn url(&self) -> String {
        in_bucket("oss", &self.bucket, &self.path)
    }
}

impl SftpLocation {
    pub(super) fn url(&self) -> String {
        let home = if self.path.starts_with('/') { "" } else { "/~/" };
        format!("sftp://{}{home}{}", self.host, self.path)
    }
}

impl WebDavLocation {
    pub(super) fn url(&self) -> String {
        let Self { endpoint, path, .. } = self;
        let scheme = if endpoint.starts_with("https:") { "webdavs" } else { "webdav" };
        let host = endpoint.split_once("://").map_or(endpoint.as_str(), |(_, host)| host);
        format!("{scheme}://{host}/{path}")
    }
}

impl NatsLocation {
    pub(super) fn url(&self) -> String {
        format!("nats://{}/{}", self.server, self.bucket)
    }
}

/// A path inside a bucket and what is below it: `.` and an empty one are the bucket itself.
pub(super) fn joined(path: &str, relative: &str) -> String {
    match path.trim_matches('/') {
        "" | "." => relative.to_owned(),
        path => format!("{path}/{relative}"),
    }
}

fn in_bucket(scheme: &str, bucket: &str, path: &str) -> String {
    let slash = if path.is_empty() { "" } else { "/" };
    format!("{scheme}://{bucket}{slash}{path}")
}

#[cfg(test)]
mod tests {
    use crate::domain::target::ReplicaLocation;

    use super::*;

    #[test]
    fn every_kind_has_a_url_without_credentials() {
        let secret = || Some(Secret::new("geheim"));
        let places = [
            ReplicaLocation::Gs(Box::new(GsLocation { bucket: "b".into(), ..Default::default() })),
            ReplicaLocation::Abs(Box::new(AbsLocation {
                container: "c".into(),
                path: "p".into(),
                sas_token: secret(),
                account_key: secret(),
                endpoint: Some("https://a.blob.core.windows.net".into()),
                ..Default::default()
            })),
            ReplicaLocation::Sftp(Box::new(SftpLocation {
                host: "h:22".into(),
                path: "p".into(),
                password: secret(),
                ..Default::default()
            })),
            ReplicaLocation::WebDav(Box::new(WebDavLocation {
                endpoint: "https://h/dav".into(),
                path: "p/q".into(),
                password: secret(),
                ..Default::default()
            })),
            ReplicaLocation::Nats(Box::new(NatsLocation {
                server: "h:4222".into(),
                bucket: "b".into(),
                jwt: secret(),
                seed: secret(),
                nkey: secret(),
                password: secret(),
                token: secret(),
                ..Default::default()
            })),
            ReplicaLocation::Oss(Box::new(OssLocation { bucket: "b".into(), path: "p".into(), ..Default::default() })),
        ];
        let told =
            places.each_ref().map(|place| format!("{} {}", place.kind().as_str(), place.identity().trim_start()));
        assert_eq!(
            told,
            [
                "gs gs://b",
                "abs https://a.blob.core.windows.net abs://c/p",
                "sftp sftp://h:22/~/p",
                "webdav webdavs://h/dav/p/q",
                "nats nats://h:4222/b",
                "oss oss://b/p",
            ]
        );
        assert!(!format!("{places:?} {told:?}").contains("geheim"));
        let buckets = places.each_ref().map(|place| place.bucket().map(|bucket| bucket.label));
        let named = |label: &str| Some(label.to_owned());
        assert_eq!(buckets, [named("b"), named("a.blob.core.windows.net/c"), None, None, None, named("b")]);
    }
}
