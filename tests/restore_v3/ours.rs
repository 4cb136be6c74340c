//! Our restore, called as the program calls it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use streamgauge::domain::litestream::PlanTarget;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::restore::{RestorePlan, Restored};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::scratch::ScratchFile;
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::{Progress, ReplicaStore, Stores as _};
use streamgauge::usecase::restore::{RestoreOptions, RestoreRequest, plan_restore};

/// A database that we restored.
#[derive(Debug)]
pub struct Ours {
    pub plan: RestorePlan,
    pub restored: Restored,
    pub database: Vec<u8>,
}

impl Ours {
    /// The first row of an answer, as JSON.
    pub fn query(&self, sql: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("db");
        std::fs::write(&path, &self.database).unwrap();
        query(&path, sql)
    }
}

/// The first row of an answer, as JSON.
pub fn query(database: &Path, sql: &str) -> String {
    let connection = rusqlite::Connection::open(database).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let columns = statement.column_count();
    let row = statement.query_row([], |row| {
        let value = |column| {
            Ok(match row.get::<_, rusqlite::types::Value>(column)? {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => format!("{text:?}"),
                other => format!("{other:?}"),
            })
        };
        (0..columns).map(value).collect::<Result<Vec<_>, _>>()
    });
    row.map_or_else(|error| error.to_string(), |values| format!("[{}]", values.join(",")))
}

#[derive(Default)]
struct Received(AtomicU64);

impl Progress for Received {
    fn received(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// Restores a replica in a directory.
pub fn restore(replica: &Path, point: PlanTarget, identities: &[String]) -> Result<Ours, Reason> {
    restore_from(&ReplicaLocation::Directory(replica.to_owned()), point, identities)
}

pub fn restore_from(location: &ReplicaLocation, point: PlanTarget, identities: &[String]) -> Result<Ours, Reason> {
    let options = StoreOptions { timeout: Duration::from_secs(30), concurrency: 8, ca_file: None };
    let store = Stores::new(options).open(location)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(restore_store(store, point, identities))
}

pub async fn restore_store(
    store: Arc<dyn ReplicaStore>,
    point: PlanTarget,
    identities: &[String],
) -> Result<Ours, Reason> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("restored");
    let file = ScratchFile::create(&path)?;
    let plan = plan_restore(store.as_ref(), &RestoreRequest::of(point)).await?;
    let identities = identities.iter().map(Secret::new).collect();
    let options = RestoreOptions { downloads: 4, threads: 2, identities };
    let progress = Arc::new(Received::default());
    let shared = Arc::new(plan.clone());
    let restored =
        streamgauge::usecase::restore::restore(store, shared, file.file(), options, progress.clone()).await?;
    assert_eq!(progress.0.load(Ordering::Relaxed), restored.downloaded_bytes);
    let database = std::fs::read(path).unwrap();
    Ok(Ours { plan, restored, database })
}
