//! The keys of one replica in a `litestream.yml`, and the defaults that they inherit.

use std::path::PathBuf;
use std::time::Duration;

use super::go::{BOOLEAN, NUMBER, SIZE, TEXT, Takes, duration_of_v03, go_duration, positive, unused, written};
use super::login::Login;
use crate::domain::litestream::expiry::Kept;
use crate::domain::secret::Secret;
use crate::domain::target::StoreKind;
use crate::infrastructure::config::problem::{Place, Problem};
use crate::infrastructure::config::value::duration;
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::config::value::url::{Url, is_url};

/// The kinds of replica, v0.3's `gcs` among them.
const KINDS: &str = "file, s3, gs, abs, sftp, webdav, nats, oss; gcs in v0.3";

/// Litestream keeps what is so old unless it is told otherwise.
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// v0.3 looks after its retention so often unless it is told otherwise.
const HOUR: Duration = Duration::from_secs(3600);

/// The keys of a replica that decide neither.
const UNUSED: [(Takes, &str); 4] = [
    (NUMBER, "max-sync-ltx-files concurrency max-reconnects"),
    (BOOLEAN, "auto-recover sign-payload require-content-md5 concurrent-writes"),
    (SIZE, "part-size"),
    (TEXT, "storage-class sse-customer-algorithm sse-kms-key-id"),
];

/// The keys that some kinds of replica have and others have not, ours among them.
const OF_KIND: [(&str, &str); 8] = [
    ("file", ""),
    (
        "s3",
        "access-key-id secret-access-key session-token profile ca-file region bucket endpoint force-path-style \
         skip-verify sign-payload require-content-md5 storage-class part-size concurrency sse-customer-algorithm \
         sse-customer-key sse-customer-key-path sse-kms-key-id",
    ),
    ("gs", "bucket ca-file"),
    ("abs", "account-name account-key sas-token bucket endpoint ca-file"),
    ("sftp", "host user password key-path host-key concurrent-writes"),
    ("webdav", "webdav-url webdav-username webdav-password ca-file"),
    (
        "nats",
        "bucket jwt seed creds nkey username password token tls root-cas client-cert client-key max-reconnects \
         reconnect-wait timeout",
    ),
    ("oss", "access-key-id secret-access-key session-token region bucket endpoint part-size concurrency ca-file"),
];

/// Why a replica cannot be used.
pub(crate) type Fault = Box<Problem>;

/// The keys of a replica that decide where it is and what is expected of it.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// The replica itself, then each key that is written.
    pub(crate) places: Vec<Place>,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) bucket: String,
    pub(crate) path: String,
    pub(crate) region: String,
    pub(crate) endpoint: String,
    pub(crate) force_path_style: Option<bool>,
    pub(crate) skip_verify: bool,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: Option<Secret>,
    /// This and the two below it are only of our own configuration.
    pub(crate) session_token: Option<Secret>,
    pub(crate) profile: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) sse_customer_key: Option<Secret>,
    pub(crate) sse_customer_key_path: String,
    pub(crate) storage_class: String,
    pub(crate) host: String,
    pub(crate) webdav_url: String,
    pub(crate) login: Login,
    pub(crate) sync_interval: Option<Duration>,
    pub(crate) retention: Option<Duration>,
    pub(crate) snapshot_interval: Option<Duration>,
    pub(crate) retention_check_interval: Option<Duration>,
    /// Encryption is asked for.
    pub(crate) age: bool,
    pub(crate) age_identities: Vec<Secret>,
}

impl Keys {
    /// The settings that may also stand at the top of the file.
    pub(crate) fn read_settings(section: &mut Section<'_>) -> Self {
        let text = |section: &mut Section<'_>, key| section.text(key).unwrap_or_default();
        let mut keys = Self {
            bucket: text(section, "bucket"),
            region: text(section, "region"),
            endpoint: text(section, "endpoint"),
            force_path_style: section.boolean("force-path-style"),
            skip_verify: section.boolean("skip-verify").unwrap_or(false),
            access_key_id: text(section, "access-key-id"),
            secret_access_key: section.secret("secret-access-key"),
            sse_customer_key: section.secret("sse-customer-key"),
            sse_customer_key_path: text(section, "sse-customer-key-path"),
            storage_class: written(section, "storage-class").unwrap_or_default().to_owned(),
            host: text(section, "host"),
            webdav_url: text(section, "webdav-url"),
            login: Login::read(section),
            sync_interval: sync_interval(section),
            ..Self::default()
        };
        if let Some(age) = section.section("age") {
            (keys.age, keys.age_identities) = read_age(age);
        }
        for key in ["validation-interval", "reconnect-wait", "timeout"] {
            go_duration(section, key);
        }
        for (takes, names) in UNUSED {
            unused(section, takes, names);
        }
        keys
    }

    /// One item of `replicas`, or `replica`.
    pub(crate) fn read(mut section: Section<'_>) -> Self {
        let mut keys = Self::read_settings(&mut section);
        keys.places = section.places();
        keys.kind = section.text("type").unwrap_or_default();
        keys.name = section.text("name").unwrap_or_default();
        keys.path = section.text("path").unwrap_or_default();
        keys.url = section.text("url").unwrap_or_default();
        keys.retention = duration_of_v03(&mut section, "retention");
        keys.snapshot_interval = duration_of_v03(&mut section, "snapshot-interval");
        keys.retention_check_interval = duration_of_v03(&mut section, "retention-check-interval");
        keys
    }

    /// The retention of Litestream v0.3 for the replica.
    pub(crate) fn kept(&self) -> Kept {
        Kept {
            snapshots: Some(self.retention.unwrap_or(DAY)),
            every: self.retention_check_interval.unwrap_or(HOUR),
            level0: None,
        }
    }

    /// Takes what is not set from the top of the file. `part-size`, `concurrency` and `webdav-url` are not inherited in
    /// Litestream either; v0.3 inherits the two keys of S3 only.
    pub(crate) fn inherit(&mut self, from: &Self, v03: bool) {
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
        text(&mut self.bucket, &from.bucket);
        text(&mut self.region, &from.region);
        text(&mut self.endpoint, &from.endpoint);
        self.force_path_style = self.force_path_style.or(from.force_path_style);
        self.skip_verify |= from.skip_verify;
        if self.sse_customer_key.is_none() && self.sse_customer_key_path.is_empty() {
            self.sse_customer_key.clone_from(&from.sse_customer_key);
            self.sse_customer_key_path.clone_from(&from.sse_customer_key_path);
        }
        text(&mut self.storage_class, &from.storage_class);
        text(&mut self.host, &from.host);
        self.login.inherit(&from.login);
        self.sync_interval = self.sync_interval.or(from.sync_interval);
        self.age |= from.age;
    }

    /// What is said of keys of the replica that replicas of its kind do not have.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = Problem> {
        let kind = self.kind().unwrap_or_default();
        let of = |kind: &str| OF_KIND.iter().find(|(name, _)| *name == kind).map(|(_, keys)| *keys);
        let has = |keys: &str, key: &str| keys.split_ascii_whitespace().any(|name| name == key);
        let own = of(&kind);
        self.places.iter().skip(1).filter_map(move |place| {
            let key = place.key.rsplit('.').next().unwrap_or_default();
            let foreign = OF_KIND.iter().any(|(_, keys)| has(keys, key)) && own.is_some_and(|own| !has(own, key));
            foreign.then(|| place.problem(format!("ignored: a replica of kind {kind} has no such key")))
        })
    }

    /// What is said of a server that anybody can stand in for.
    pub(crate) fn unverified(&self) -> Option<Problem> {
        let says = self.kind().is_ok_and(|kind| kind == "sftp") && self.login.host_key.is_empty();
        says.then(|| {
            let message = "not set: any server is trusted, so an impostor could learn the password and show another \
                           replica";
            self.place_of("host-key").problem(message).accepted("the server's public key, as in known_hosts")
        })
    }

    /// Where a key is written, or would be.
    pub(crate) fn place_of(&self, key: &str) -> Place {
        // Those of the command line have no places.
        let Some(replica) = self.places.first() else { return Place::file(&"command line".into()) };
        let key = format!("{}.{key}", replica.key);
        let written = self.places.iter().find(|place| place.key == key);
        written.cloned().unwrap_or_else(|| Place { key, ..replica.clone() })
    }

    /// A problem with one of the keys. An empty `value` is not shown, and an empty `accepted` not said.
    pub(crate) fn fault(&self, key: &str, message: impl Into<String>, value: &str, accepted: &str) -> Fault {
        let problem = self.place_of(key).problem(message).accepted(accepted);
        Box::new(match key {
            _ if value.is_empty() => problem,
            "url" | "endpoint" => problem.url(value),
            _ => problem.value(value),
        })
    }

    /// The kind: a URL's scheme wins over `type`, and nothing at all is a file.
    pub(crate) fn kind(&self) -> Result<String, Fault> {
        let kind = match Url::parse(&self.url) {
            Ok(url) => url.scheme,
            Err(message) if is_url(&self.url) => return Err(self.fault("url", message, &self.url, "")),
            Err(_) if self.kind.is_empty() => "file".to_owned(),
            Err(_) => self.kind.clone(),
        };
        match kind.as_str() {
            "webdavs" => Ok("webdav".to_owned()),
            "gcs" => Ok("gs".to_owned()),
            known if StoreKind::ALL.iter().any(|kind| kind.as_str() == known) => Ok(kind),
            _ if self.url.is_empty() => Err(self.fault("type", "unknown kind of replica", &kind, KINDS)),
            _ => Err(self.fault("url", "unknown kind of replica", &self.url, KINDS)),
        }
    }
}

/// `sync-interval` has to be above zero.
fn sync_interval(section: &mut Section<'_>) -> Option<Duration> {
    let nanoseconds = go_duration(section, "sync-interval")?;
    let interval = positive(nanoseconds);
    if interval.is_none() {
        section.wrong("sync-interval", "must be above zero", duration::ACCEPTED_GO);
    }
    interval
}

/// Whether an `age` section asks for encryption, and the identities that it gives.
fn read_age(mut section: Section<'_>) -> (bool, Vec<Secret>) {
    let mut secrets = |key| {
        let keys = section.texts(key, "a list of keys").unwrap_or_default();
        keys.into_iter().map(|key| Secret::new(key.text)).collect::<Vec<_>>()
    };
    let (identities, recipients) = (secrets("identities"), secrets("recipients"));
    (!identities.is_empty() || !recipients.is_empty(), identities)
}
