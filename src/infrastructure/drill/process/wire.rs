//! The protocol between the parent and child of a drill, a line of JSON each: the job, credentials included, through
//! standard input; news and in the end the record through standard output.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::domain::drill::DrillRecord;
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
    pub stores: StoreOptions,
    pub job: DrillJob,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::sync::Arc;

    use super::*;
    use crate::domain::drill::{DrillPolicy, DrillProbe, DrillSchedule, Expectation, Integrity};
    use crate::domain::places::SftpLocation;
    use crate::domain::price::ConfiguredPrices;
    use crate::domain::secret::Secret;
    use crate::domain::target::{
        DatabaseFiles, ReplicaLocation, ReplicaTarget, S3Location, StaticCredentials, TargetName,
    };

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
            files: Some(Arc::new(DatabaseFiles { path: "/db".into(), meta_path: Some("/meta".into()) })),
            replica: ReplicaTarget {
                name: "s3".into(),
                location: ReplicaLocation::S3(Box::new(location)),
                sync_interval: Duration::from_secs(1),
                encrypted: true,
                age_identities: vec![Secret::new("AGE-SECRET-KEY-1")],
                kept: None,
                written: Default::default(),
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
                prices: ConfiguredPrices::default(),
                rto: Some(Duration::from_secs(5)),
                rpo: Duration::from_secs(6),
            },
            full: true,
        };
        let stores = StoreOptions { timeout: Duration::from_secs(3), concurrency: 4, ca_file: Some("/x".into()) };
        let kept = Some(("/kept".into(), "identity".into()));
        let order = |job: &DrillJob, kept| Order {
            directory: "/scratch".into(),
            kept,
            stores: stores.clone(),
            job: job.clone(),
        };
        let text = serde_json::to_string(&order(&job, kept.clone())).unwrap();
        assert!(!text.contains('\n'), "one line");
        let arrived: Order = serde_json::from_str(&text).unwrap();
        assert_eq!((arrived.job, arrived.stores, arrived.kept), (job.clone(), stores.clone(), kept));

        for location in [
            ReplicaLocation::Directory("/r".into()),
            ReplicaLocation::Sftp(Box::new(SftpLocation {
                host: "h".into(),
                password: Some(Secret::new("geheim")),
                ..SftpLocation::default()
            })),
        ] {
            job.replica.location = location;
            let text = serde_json::to_string(&order(&job, None)).unwrap();
            assert_eq!(serde_json::from_str::<Order>(&text).unwrap().job, job);
        }
    }
}
