//! What parent and child of a drill say to each other, a line of JSON each: the job, credentials included, through
//! standard input; news and in the end the record through standard output.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::drill::{DrillPolicy, DrillProbe, DrillRecord, DrillSchedule, Integrity};
use crate::domain::price::Prices;
use crate::domain::secret::Secret;
use crate::domain::target::{DatabaseFiles, ReplicaLocation, ReplicaTarget, S3Location, StaticCredentials, TargetName};
use crate::infrastructure::store::StoreOptions;
use crate::usecase::ports::{DrillEstimate, DrillJob};

/// From the child, in this order but for the progress in between.
#[derive(Debug, Serialize, Deserialize)]
pub enum Event {
    Step(String),
    Planned(DrillEstimate),
    /// So many bytes more.
    Received(u64),
    Done(Box<DrillRecord>),
}

/// To the child.
#[derive(Serialize, Deserialize)]
pub struct Order {
    /// Where to restore to: made, locked and removed by the parent.
    pub directory: PathBuf,
    /// Where the copy for the next drill is kept, and what it is a copy of.
    pub kept: Option<(PathBuf, String)>,
    store_timeout: Duration,
    store_concurrency: usize,
    ca_file: Option<PathBuf>,
    database: String,
    path: Option<PathBuf>,
    meta_path: Option<PathBuf>,
    replica: String,
    location: Location,
    encrypted: bool,
    age_identities: Vec<String>,
    full: bool,
    policy: Policy,
}

#[derive(Serialize, Deserialize)]
enum Location {
    Directory(PathBuf),
    S3(Box<S3>),
    Unsupported { kind: String, url: String },
}

#[derive(Serialize, Deserialize)]
struct S3 {
    bucket: String,
    path: String,
    region: Option<String>,
    endpoint: Option<String>,
    force_path_style: bool,
    skip_verify: bool,
    credentials: Option<(String, String, Option<String>)>,
    profile: Option<String>,
    ca_file: Option<PathBuf>,
    sse_customer_key: Option<String>,
}

/// A policy without its schedule, of which a single drill knows nothing.
#[derive(Serialize, Deserialize)]
struct Policy {
    size_max: u64,
    timeout: Duration,
    integrity: Integrity,
    foreign_keys: bool,
    compare: bool,
    full_every: u32,
    memory_max: u64,
    probes: Vec<DrillProbe>,
    prices: Prices,
    rto: Option<Duration>,
    rpo: Duration,
}

impl Order {
    /// What the child is told of a job.
    pub fn new(job: &DrillJob, stores: &StoreOptions, directory: PathBuf, kept: Option<(PathBuf, String)>) -> Self {
        let policy = &job.policy;
        Self {
            directory,
            kept,
            store_timeout: stores.timeout,
            store_concurrency: stores.concurrency,
            ca_file: stores.ca_file.clone(),
            database: job.database.0.clone(),
            path: job.files.as_ref().map(|files| files.path.clone()),
            meta_path: job.files.as_ref().and_then(|files| files.meta_path.clone()),
            replica: job.replica.name.clone(),
            location: Location::from(&job.replica.location),
            encrypted: job.replica.encrypted,
            age_identities: job.replica.age_identities.iter().map(|secret| secret.expose().to_owned()).collect(),
            full: job.full,
            policy: Policy {
                size_max: policy.size_max,
                timeout: policy.timeout,
                integrity: policy.integrity,
                foreign_keys: policy.foreign_keys,
                compare: policy.compare,
                full_every: policy.full_every,
                memory_max: policy.memory_max,
                probes: policy.probes.clone(),
                prices: policy.prices,
                rto: policy.rto,
                rpo: policy.rpo,
            },
        }
    }

    /// Of the whole drill.
    pub fn timeout(&self) -> Duration {
        self.policy.timeout
    }

    /// How the child opens replicas.
    pub fn stores(&self) -> StoreOptions {
        StoreOptions { timeout: self.store_timeout, concurrency: self.store_concurrency, ca_file: self.ca_file.clone() }
    }

    /// The job, as it was before it was sent.
    pub fn into_job(self) -> DrillJob {
        let Policy {
            size_max,
            timeout,
            integrity,
            foreign_keys,
            compare,
            full_every,
            memory_max,
            probes,
            prices,
            rto,
            rpo,
        } = self.policy;
        let meta_path = self.meta_path;
        let mut replica = ReplicaTarget {
            name: self.replica,
            location: self.location.into(),
            sync_interval: Duration::from_secs(1),
            encrypted: self.encrypted,
            age_identities: Vec::new(),
            kept: None,
        };
        replica.age_identities = self.age_identities.into_iter().map(Secret::new).collect();
        DrillJob {
            database: TargetName(self.database),
            files: self.path.map(|path| DatabaseFiles { path, meta_path }),
            replica,
            policy: DrillPolicy {
                schedule: DrillSchedule::Off,
                size_max,
                timeout,
                integrity,
                foreign_keys,
                compare,
                full_every,
                memory_max,
                probes,
                prices,
                rto,
                rpo,
            },
            full: self.full,
        }
    }
}

impl From<&ReplicaLocation> for Location {
    fn from(location: &ReplicaLocation) -> Self {
        match location {
            ReplicaLocation::Directory(path) => Self::Directory(path.clone()),
            ReplicaLocation::S3(s3) => Self::S3(Box::new(S3::from(s3.as_ref()))),
            ReplicaLocation::Unsupported { kind, url } => Self::Unsupported { kind: kind.clone(), url: url.clone() },
        }
    }
}

impl From<Location> for ReplicaLocation {
    fn from(location: Location) -> Self {
        match location {
            Location::Directory(path) => Self::Directory(path),
            Location::S3(s3) => Self::S3(Box::new(S3Location::from(*s3))),
            Location::Unsupported { kind, url } => Self::Unsupported { kind, url },
        }
    }
}

impl From<&S3Location> for S3 {
    fn from(s3: &S3Location) -> Self {
        let exposed = |secret: &Secret| secret.expose().to_owned();
        // Taken apart by name, so that a new field cannot be forgotten.
        let S3Location {
            bucket,
            path,
            region,
            endpoint,
            force_path_style,
            skip_verify,
            credentials,
            profile,
            ca_file,
            sse_customer_key,
        } = s3;
        Self {
            bucket: bucket.clone(),
            path: path.clone(),
            region: region.clone(),
            endpoint: endpoint.clone(),
            force_path_style: *force_path_style,
            skip_verify: *skip_verify,
            credentials: credentials.as_ref().map(|own| {
                (own.access_key_id.clone(), exposed(&own.secret_access_key), own.session_token.as_ref().map(exposed))
            }),
            profile: profile.clone(),
            ca_file: ca_file.clone(),
            sse_customer_key: sse_customer_key.as_ref().map(exposed),
        }
    }
}

impl From<S3> for S3Location {
    fn from(s3: S3) -> Self {
        Self {
            bucket: s3.bucket,
            path: s3.path,
            region: s3.region,
            endpoint: s3.endpoint,
            force_path_style: s3.force_path_style,
            skip_verify: s3.skip_verify,
            credentials: s3.credentials.map(|(access_key_id, secret, token)| StaticCredentials {
                access_key_id,
                secret_access_key: Secret::new(secret),
                session_token: token.map(Secret::new),
            }),
            profile: s3.profile,
            ca_file: s3.ca_file,
            sse_customer_key: s3.sse_customer_key.map(Secret::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drill::Expectation;

    #[test]
    fn a_job_arrives_as_it_was_sent() {
        let location = S3Location {
            bucket: "b".into(),
            path: "./p".into(),
            region: Some("eu-west-1".into()),
            endpoint: Some("http://127.0.0.1:1".into()),
            force_path_style: true,
            skip_verify: true,
            credentials: Some(StaticCredentials {
                access_key_id: "id".into(),
                secret_access_key: Secret::new("secret"),
                session_token: Some(Secret::new("token")),
            }),
            profile: Some("p".into()),
            ca_file: Some("/ca.pem".into()),
            sse_customer_key: Some(Secret::new("key")),
        };
        let expect = Expectation { max_age: Some(Duration::from_millis(1500)), ..Default::default() };
        let mut job = DrillJob {
            database: TargetName("db".into()),
            files: Some(DatabaseFiles { path: "/db".into(), meta_path: Some("/meta".into()) }),
            replica: ReplicaTarget {
                name: "s3".into(),
                location: ReplicaLocation::S3(Box::new(location)),
                sync_interval: Duration::from_secs(1),
                encrypted: true,
                age_identities: vec![Secret::new("AGE-SECRET-KEY-1")],
                kept: None,
            },
            policy: DrillPolicy {
                schedule: DrillSchedule::Off,
                size_max: u64::MAX,
                timeout: Duration::from_secs(7),
                integrity: Integrity::Full,
                foreign_keys: false,
                compare: false,
                full_every: 9,
                memory_max: 1 << 20,
                probes: vec![DrillProbe { name: "p".into(), query: "select 1".into(), expect }],
                prices: Prices::FREE,
                rto: Some(Duration::from_secs(5)),
                rpo: Duration::from_secs(6),
            },
            full: true,
        };
        let stores = StoreOptions { timeout: Duration::from_secs(3), concurrency: 4, ca_file: Some("/x".into()) };
        let kept = Some(("/kept".into(), "identity".into()));
        let text = serde_json::to_string(&Order::new(&job, &stores, "/scratch".into(), kept)).unwrap();
        assert!(!text.contains('\n'), "one line");
        let order: Order = serde_json::from_str(&text).unwrap();
        let options = order.stores();
        assert_eq!(
            (options.timeout, options.concurrency, options.ca_file),
            (stores.timeout, 4, stores.ca_file.clone())
        );
        assert_eq!(order.into_job(), job);

        for location in [
            ReplicaLocation::Directory("/r".into()),
            ReplicaLocation::Unsupported { kind: "sftp".into(), url: "sftp://h".into() },
        ] {
            job.replica.location = location;
            let text = serde_json::to_string(&Order::new(&job, &stores, "/scratch".into(), None)).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&text).unwrap().into_job(), job);
        }
    }
}
