//! One replica as Litestream reads it: its keys, the defaults they inherit, and the place that follows.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::domain::litestream::expiry::Kept;
use crate::domain::secret::Secret;
use crate::domain::target::{ReplicaLocation, ReplicaTarget, S3Location, StaticCredentials};

use super::duration;
use super::node::{Section, Style, Takes, yaml_number};
use super::paths::{Base, PathMapping, map_path};
use super::problem::{Fault, Place, Problem};
use super::s3;
use super::url::{Url, clean, is_url};

/// The kinds of replica, v0.3's `gcs` among them.
const KINDS: &str = "file, s3, gs, abs, sftp, webdav, nats, oss; gcs in v0.3";

/// Litestream keeps what is so old unless it is told otherwise.
pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// v0.3 looks after its retention so often unless it is told otherwise.
const HOUR: Duration = Duration::from_secs(3600);

/// Largest `sse-customer-key-path` file: 32 bytes in base64 and a line end.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The keys of a replica that decide neither.
const UNUSED: &[(Takes, &[&str])] = &[
    (Takes::Number, &["max-sync-ltx-files", "concurrency", "max-reconnects"]),
    (Takes::Boolean, &["auto-recover", "sign-payload", "require-content-md5", "concurrent-writes", "tls"]),
    (Takes::Size, &["part-size"]),
    (
        Takes::Text,
        &[
            "storage-class",
            "sse-customer-algorithm",
            "sse-kms-key-id",
            "account-name",
            "account-key",
            "sas-token",
            "password",
            "key-path",
            "host-key",
            "webdav-username",
            "webdav-password",
            "jwt",
            "seed",
            "creds",
            "nkey",
            "username",
            "token",
            "root-cas",
            "client-cert",
            "client-key",
        ],
    ),
];

/// The keys of a replica that decide where it is and what is expected of it.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// The replica itself, then each key that is written.
    pub(super) places: Vec<Place>,
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) s3: s3::Keys,
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Option<Secret>,
    pub(super) sse_customer_key: Option<Secret>,
    pub(super) sse_customer_key_path: String,
    pub(super) host: String,
    pub(super) user: String,
    pub(super) webdav_url: String,
    pub(super) sync_interval: Option<Duration>,
    pub(super) retention: Option<Duration>,
    pub(super) snapshot_interval: Option<Duration>,
    pub(super) retention_check_interval: Option<Duration>,
    /// Encryption is asked for.
    pub(super) age: bool,
    pub(super) age_identities: Vec<Secret>,
}

/// A duration as Litestream reads one. A number without a unit is nanoseconds there, which nobody means.
pub(super) fn go_duration(section: &mut Section<'_>, key: &'static str) -> Option<i64> {
    let scalar = section.any(key, duration::ACCEPTED_GO)?;
    if scalar.style == Style::Loose
        && let Some(number) = yaml_number(scalar.text)
    {
        if number != 0.0 {
            let problem = scalar.place.problem("no unit: Litestream takes it for nanoseconds");
            section.warning(problem.value(scalar.text).accepted(duration::ACCEPTED_GO));
        }
        // The cast saturates, as does what Litestream makes of it.
        return Some(number as i64);
    }
    match duration::parse_go(scalar.text) {
        Ok(nanoseconds) => Some(nanoseconds),
        Err(message) => {
            section.problem(scalar.place.problem(message).value(scalar.text).accepted(duration::ACCEPTED_GO));
            None
        }
    }
}

/// A key that only v0.3 reads. v0.5 does not look at its value, so that one which v0.3 cannot read either is a warning.
fn duration_of_v03(section: &mut Section<'_>, key: &'static str) -> Option<Duration> {
    let place = section.place_of(key);
    let readable = match section.optional(key) {
        None => return None,
        Some(scalar) if scalar.style == Style::Loose && yaml_number(scalar.text).is_some() => true,
        Some(scalar) => duration::parse_go(scalar.text).is_ok(),
    };
    if readable {
        return go_duration(section, key).and_then(positive);
    }
    let message = "Litestream v0.3 refuses to start with it, and v0.5 does not read this key";
    section.warning(place.problem(message).accepted(duration::ACCEPTED_GO));
    None
}

/// A duration above zero; anything else is as good as absent.
pub(super) fn positive(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().filter(|nanoseconds| *nanoseconds > 0).map(Duration::from_nanos)
}

impl Keys {
    /// The settings that may also stand at the top of the file.
    pub(super) fn read_settings(section: &mut Section<'_>) -> Self {
        let text = |section: &mut Section<'_>, key| section.text(key).unwrap_or_default();
        let mut keys = Self {
            s3: s3::Keys {
                bucket: text(section, "bucket"),
                path: String::new(),
                region: text(section, "region"),
                endpoint: text(section, "endpoint"),
                force_path_style: section.boolean("force-path-style"),
                skip_verify: section.boolean("skip-verify").unwrap_or(false),
            },
            access_key_id: text(section, "access-key-id"),
            secret_access_key: section.secret("secret-access-key"),
            sse_customer_key: section.secret("sse-customer-key"),
            sse_customer_key_path: text(section, "sse-customer-key-path"),
            host: text(section, "host"),
            user: text(section, "user"),
            webdav_url: text(section, "webdav-url"),
            sync_interval: sync_interval(section),
            ..Self::default()
        };
        if let Some(age) = section.section("age") {
            (keys.age, keys.age_identities) = age.finish_age();
        }
        for key in ["validation-interval", "reconnect-wait", "timeout"] {
            go_duration(section, key);
        }
        for (takes, names) in UNUSED {
            section.unused(*takes, names);
        }
        keys
    }

    /// One item of `replicas`, or `replica`.
    pub(super) fn read(mut section: Section<'_>) -> Self {
        let mut keys = Self::read_settings(&mut section);
        keys.places = section.places();
        keys.kind = section.text("type").unwrap_or_default();
        keys.name = section.text("name").unwrap_or_default();
        keys.s3.path = section.text("path").unwrap_or_default();
        keys.url = section.text("url").unwrap_or_default();
        keys.retention = duration_of_v03(&mut section, "retention");
        keys.snapshot_interval = duration_of_v03(&mut section, "snapshot-interval");
        keys.retention_check_interval = duration_of_v03(&mut section, "retention-check-interval");
        section.finish();
        keys
    }

    /// What Litestream v0.3 keeps of the replica.
    pub(super) fn kept(&self) -> Kept {
        Kept {
            snapshots: Some(self.retention.unwrap_or(DAY)),
            every: self.retention_check_interval.unwrap_or(HOUR),
            level0: None,
        }
    }

    /// Takes what is not set from the top of the file. `part-size`, `concurrency`, `host-key` and `webdav-*` are not
    /// inherited in Litestream either; v0.3 inherits the two keys of S3 only.
    pub(super) fn inherit(&mut self, from: &Self, v03: bool) {
        let text = |own: &mut String, default: &String| {
            if own.is_empty() {
                own.clone_from(default);
            }
        };
        text(&mut self.access_key_id, &from.access_key_id);
        if self.secret_access_key.is_none() {
            self.secret_access_key.clone_from(&from.secret_access_key);
        }
        if v03 {
            return;
        }
        text(&mut self.s3.bucket, &from.s3.bucket);
        text(&mut self.s3.region, &from.s3.region);
        text(&mut self.s3.endpoint, &from.s3.endpoint);
        self.s3.force_path_style = self.s3.force_path_style.or(from.s3.force_path_style);
        self.s3.skip_verify |= from.s3.skip_verify;
        if self.sse_customer_key.is_none() && self.sse_customer_key_path.is_empty() {
            self.sse_customer_key.clone_from(&from.sse_customer_key);
            self.sse_customer_key_path.clone_from(&from.sse_customer_key_path);
        }
        text(&mut self.host, &from.host);
        text(&mut self.user, &from.user);
        self.sync_interval = self.sync_interval.or(from.sync_interval);
        self.age |= from.age;
    }

    /// Where a key is written, or would be.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let Some(replica) = self.places.first() else { return Place::file(&"".into()) };
        let key = format!("{}.{key}", replica.key);
        let written = self.places.iter().find(|place| place.key == key);
        written.cloned().unwrap_or_else(|| Place { key, ..replica.clone() })
    }

    /// What is wrong with one of the keys.
    pub(super) fn problem(&self, fault: Fault) -> Problem {
        let place = self.place_of(fault.key);
        fault.at(&place)
    }

    /// The kind: a URL's scheme wins over `type`, and nothing at all is a file.
    fn kind(&self) -> Result<String, Fault> {
        let kind = match Url::parse(&self.url) {
            Ok(url) => url.scheme,
            Err(message) if is_url(&self.url) => return Err(Fault::new("url", message, &self.url)),
            Err(_) if self.kind.is_empty() => "file".to_owned(),
            Err(_) => self.kind.clone(),
        };
        match kind.as_str() {
            "webdavs" => Ok("webdav".to_owned()),
            "gcs" => Ok("gs".to_owned()),
            "file" | "s3" | "gs" | "abs" | "sftp" | "webdav" | "nats" | "oss" => Ok(kind),
            _ if self.url.is_empty() => Err(Fault::new("type", "unknown kind of replica", &kind).accepted(KINDS)),
            _ => Err(Fault::new("url", "unknown kind of replica", &self.url).accepted(KINDS)),
        }
    }
}

/// `sync-interval` has to be above zero.
fn sync_interval(section: &mut Section<'_>) -> Option<Duration> {
    let nanoseconds = go_duration(section, "sync-interval")?;
    let interval = positive(nanoseconds);
    if interval.is_none() {
        section
            .problem(section.place_of("sync-interval").problem("must be above zero").accepted(duration::ACCEPTED_GO));
    }
    interval
}

impl Section<'_> {
    /// Whether an `age` section asks for encryption, and the identities that it gives.
    fn finish_age(mut self) -> (bool, Vec<Secret>) {
        let strings = |section: &mut Self, key| {
            let keys = section.texts(key, "a list of keys").unwrap_or_default();
            keys.into_iter().map(|key| Secret::new(key.text)).collect::<Vec<_>>()
        };
        let (identities, recipients) = (strings(&mut self, "identities"), strings(&mut self, "recipients"));
        self.finish();
        (!identities.is_empty() || !recipients.is_empty(), identities)
    }
}

/// What a replica's place depends on besides its keys.
pub(super) struct Context<'a> {
    pub(super) base: &'a Base,
    pub(super) path_map: &'a [PathMapping],
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) v03: bool,
}

/// The replica that Litestream would use, for the database at `relative` below a `dir`.
pub(super) fn target(keys: &Keys, relative: Option<&str>, context: &Context<'_>) -> Result<ReplicaTarget, Fault> {
    let kind = keys.kind()?;
    if is_url(&keys.s3.path) {
        return Err(Fault::new("path", "a URL, which belongs in `url`", &keys.s3.path));
    }
    let mut url = if keys.url.is_empty() {
        None
    } else {
        Some(
            Url::parse(&keys.url)
                .map_err(|message| Fault::new("url", message, &keys.url).accepted("s3://bucket/path and the like"))?,
        )
    };
    for (key, value) in [("path", &keys.s3.path), ("bucket", &keys.s3.bucket), ("host", &keys.host)] {
        let concerns = match key {
            "path" => kind != "nats",
            "bucket" => matches!(kind.as_str(), "s3" | "gs" | "abs" | "oss"),
            _ => kind == "sftp",
        };
        if url.is_some() && concerns && !value.is_empty() {
            return Err(
                Fault::new("url", format!("both `url` and `{key}` are set"), &keys.url).accepted("one of the two")
            );
        }
    }
    let mut path = keys.s3.path.clone();
    if let Some(relative) = relative {
        match &mut url {
            Some(url) => url.join(relative),
            None if path.is_empty() => relative.clone_into(&mut path),
            None => path = clean(&format!("{path}/{relative}")),
        }
    }
    let location = match kind.as_str() {
        "file" => directory(&path, url.as_ref(), context)?,
        "s3" => bucket(keys, path, url.as_ref(), context)?,
        _ => unsupported(kind, keys, &path, url.as_ref())?,
    };
    Ok(ReplicaTarget {
        name: if keys.name.is_empty() { location.kind().to_owned() } else { keys.name.clone() },
        location,
        sync_interval: keys.sync_interval.unwrap_or(Duration::from_secs(1)),
        encrypted: keys.age && context.v03,
        age_identities: if context.v03 { keys.age_identities.clone() } else { Vec::new() },
        kept: context.v03.then(|| keys.kept()),
    })
}

fn directory(path: &str, url: Option<&Url>, context: &Context<'_>) -> Result<ReplicaLocation, Fault> {
    if url.is_some_and(|url| url.userinfo.is_some()) {
        // Litestream makes a directory of that name, and all would show the password as a part of the path.
        return Err(Fault::new("url", "a user in the URL of a directory", "").accepted("file:///directory"));
    }
    let path = url.map_or_else(|| path.to_owned(), Url::directory);
    if path.is_empty() {
        return Err(Fault::new("path", "missing, and a replica of kind file needs it", "").accepted("a directory"));
    }
    let path = context.base.litestream(&path).map_err(|message| Fault::new("path", message, &path))?;
    Ok(ReplicaLocation::Directory(map_path(context.path_map, &path)))
}

fn bucket(keys: &Keys, path: String, url: Option<&Url>, context: &Context<'_>) -> Result<ReplicaLocation, Fault> {
    let s3_keys = s3::Keys { path, ..keys.s3.clone() };
    let location = s3::location(&s3_keys, url, context.v03).ok_or_else(|| {
        Fault::new("bucket", "missing, and a replica of kind s3 needs it", "").accepted("a bucket's name")
    })?;
    let written = match keys.s3.endpoint.as_str() {
        "" if context.v03 => None,
        "" => url.and_then(|url| url.query("endpoint")),
        endpoint => Some(endpoint.to_owned()),
    };
    if written.or_else(|| location.endpoint.clone()).is_some_and(|endpoint| !s3::is_address(&endpoint)) {
        let key = if keys.s3.endpoint.is_empty() { "url" } else { "endpoint" };
        return Err(Fault::new(key, "the endpoint is not the address of a server", "")
            .accepted("https://host, host:port and the like, perhaps with a path"));
    }
    if location.bucket.chars().any(|c| c.is_whitespace() || c.is_control() || c == '@') || is_url(&location.bucket) {
        return Err(Fault::new("bucket", "not a bucket's name", "").accepted("a bucket's name"));
    }
    let sse_customer_key = match (&keys.sse_customer_key, keys.sse_customer_key_path.as_str()) {
        (None, "") => None,
        (Some(key), _) => Some(key.clone()),
        (None, path) => Some(read_key(path, context)?),
    };
    let credentials = match &keys.secret_access_key {
        Some(secret) if !keys.access_key_id.is_empty() => Some(StaticCredentials {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: secret.clone(),
            session_token: None,
        }),
        _ => environment_credentials(context.environment),
    };
    Ok(ReplicaLocation::S3(Box::new(S3Location { credentials, sse_customer_key, ..location })))
}

/// Litestream's own variables count where Amazon's are not set; Amazon's alone are left to the usual chain.
fn environment_credentials(environment: &BTreeMap<String, String>) -> Option<StaticCredentials> {
    let get = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let (aws_id, aws_secret) = (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"));
    if aws_id.is_some() && aws_secret.is_some() {
        return None;
    }
    Some(StaticCredentials {
        access_key_id: aws_id.or_else(|| get("LITESTREAM_ACCESS_KEY_ID"))?.clone(),
        secret_access_key: Secret::new(aws_secret.or_else(|| get("LITESTREAM_SECRET_ACCESS_KEY"))?),
        session_token: get("AWS_SESSION_TOKEN").map(Secret::new),
    })
}

fn read_key(path: &str, context: &Context<'_>) -> Result<Secret, Fault> {
    let fault = |message: String| Fault::new("sse-customer-key-path", message, path);
    let absolute = context.base.litestream(path).map_err(|message| fault(message.to_owned()))?;
    let text =
        super::read_text(Path::new(&map_path(context.path_map, &absolute)), KEY_FILE_BYTES_MAX).map_err(fault)?;
    Ok(Secret::new(text.trim()))
}

/// A kind that we cannot read, named without credentials.
fn unsupported(kind: String, keys: &Keys, path: &str, url: Option<&Url>) -> Result<ReplicaLocation, Fault> {
    let missing = |key: &'static str, accepted: &'static str| {
        Err(Fault::new(key, format!("missing, and a replica of kind {kind} needs it"), "").accepted(accepted))
    };
    let host = url.map_or("", |url| url.host.as_str());
    let bucket = match kind.as_str() {
        "sftp" if host.is_empty() && keys.host.is_empty() => return missing("host", "host or host:port"),
        "sftp" if keys.user.is_empty() && url.and_then(Url::user).is_none() => return missing("user", "a user's name"),
        "sftp" => keys.host.rsplit('@').next().unwrap_or_default(),
        "webdav" if host.is_empty() && keys.webdav_url.is_empty() => {
            return missing("webdav-url", "an http or https URL");
        }
        "webdav" => return Ok(webdav(kind, keys, path, url)),
        "nats" if url.is_none() && keys.s3.bucket.is_empty() => return missing("bucket", "a bucket's name"),
        _ if kind != "nats" && host.is_empty() && keys.s3.bucket.is_empty() => {
            return missing("bucket", "a bucket's name");
        }
        _ => keys.s3.bucket.as_str(),
    };
    let url = match url {
        Some(url) => url.without_credentials().replacen("gcs://", "gs://", 1),
        None => format!("{kind}://{bucket}/{}", path.trim_start_matches('/')),
    };
    Ok(ReplicaLocation::Unsupported { kind, url })
}

fn webdav(kind: String, keys: &Keys, path: &str, url: Option<&Url>) -> ReplicaLocation {
    let url = match url {
        Some(url) => url.without_credentials(),
        None => format!("{}/{}", super::url::redact(&keys.webdav_url), path.trim_start_matches('/')),
    };
    ReplicaLocation::Unsupported { kind, url }
}
