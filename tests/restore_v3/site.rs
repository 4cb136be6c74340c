//! Databases that the genuine Litestream 0.3.13 replicated: three page sizes, two generations each,
//! one encrypted copy and one in a bucket.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use age::secrecy::ExposeSecret;
use jiff::Timestamp;
use streamgauge::domain::litestream::PlanTarget;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, S3Location, StaticCredentials};

use super::lab::litestream::{ACCESS_KEY, Litestream, SECRET_KEY};
use super::lab::s3::S3;
use super::lab::writer::Writer;
use super::lab::{Lab, wait_for};
use super::ours::{self, Ours};

const VERSION: &str = "0.3.13";

pub const PAGE_SIZES: [u32; 3] = [512, 4096, 65_536];

/// Everything there is, after Litestream has ended.
pub struct Site {
    pub config: PathBuf,
    pub replicas: Vec<Replica>,
    /// Keeps what is below `bucket` as objects; ends with this.
    _server: S3,
}

/// One replica of one database.
#[derive(Clone)]
pub struct Replica {
    /// As `litestream.yml` has it.
    pub name: String,
    pub database: PathBuf,
    /// Its objects as files; of the one in a bucket as well.
    pub folder: PathBuf,
    /// `None` for the folder itself.
    pub bucket: Option<ReplicaLocation>,
    pub page_size: u32,
    pub identities: Vec<String>,
    /// How many rows there are, and how long they are together.
    pub rows: String,
}

/// A secret key and the public one.
pub fn identity() -> (String, String) {
    let identity = age::x25519::Identity::generate();
    (identity.to_string().expose_secret().to_owned(), identity.to_public().to_string())
}

impl Site {
    /// Some twenty seconds of replication with many WAL indexes and snapshots, a downtime in which the WAL is gone, and
    /// a second generation with several segments in each index and one snapshot.
    pub fn make(lab: &Lab, home: &Path) -> Self {
        let key = identity();
        let mut replicas: Vec<Replica> = PAGE_SIZES.into_iter().map(|size| Replica::plain(home, size)).collect();
        let encrypted = replicas[1].clone();
        let folder = home.join("bucket/encrypted");
        replicas.push(Replica { name: "secret".to_owned(), folder, identities: vec![key.0.clone()], ..encrypted });
        let server = lab.rclone(home);
        let plain = replicas[0].clone();
        let (folder, bucket) = (home.join("bucket/offsite"), Some(location(&server)));
        replicas.push(Replica { name: "offsite".to_owned(), folder, bucket, ..plain });
        server.create_bucket("bucket");
        let databases: Vec<PathBuf> = replicas[..3].iter().map(|replica| replica.database.clone()).collect();
        for (database, page_size) in databases.iter().zip(PAGE_SIZES) {
            create(database, page_size);
        }
        let config = |busy: bool| yaml(&replicas, &server, &key, busy);
        let mut writers: Vec<Writer> = databases.iter().map(|database| lab.writer(database)).collect();
        let mut litestream = lab.replicate(VERSION, home, &config(true));
        busy(&mut writers, &replicas);
        litestream.process.stop();
        // Closing deletes the WAL, so that Litestream cannot go on where it was.
        writers.drain(..).for_each(Writer::close);
        let mut writers: Vec<Writer> = databases.iter().map(|database| lab.writer(database)).collect();
        writers.iter_mut().for_each(|writer| assert!(writer.commit(7) > 0));
        let mut litestream = lab.replicate(VERSION, home, &config(false));
        steady(&mut writers, &replicas);
        finish(&mut litestream, &replicas);
        for replica in &mut replicas {
            let which = databases.iter().position(|database| *database == replica.database).unwrap();
            replica.rows = writers[which].sql("SELECT count(*), sum(length(b)) FROM t")[0].to_string();
        }
        Self { config: litestream.config, replicas, _server: server }
    }
}

impl Replica {
    fn plain(home: &Path, page_size: u32) -> Self {
        Self {
            name: format!("pages-{page_size}"),
            database: home.join(format!("{page_size}.db")),
            folder: home.join(format!("bucket/replica-{page_size}")),
            bucket: None,
            page_size,
            identities: Vec::new(),
            rows: String::new(),
        }
    }

    pub fn encrypted(&self) -> bool {
        !self.identities.is_empty()
    }

    pub fn ours(&self, point: PlanTarget) -> Result<Ours, Reason> {
        match &self.bucket {
            Some(bucket) => ours::restore_from(bucket, point, &self.identities),
            None => ours::restore(&self.folder, point, &self.identities),
        }
    }

    /// What 0.3.13 restores.
    pub fn genuine(&self, lab: &Lab, site: &Site, at: Option<Timestamp>) -> Result<Vec<u8>, String> {
        let at = at.map(|at| at.to_string());
        let mut options = vec!["-config", site.config.to_str().unwrap(), "-replica", &self.name];
        options.extend(at.iter().flat_map(|at| ["-timestamp", at]));
        read(|out| lab.restore_with(VERSION, &options, self.database.to_str().unwrap(), out))
    }

    /// What 0.5.17 restores, which reads v0.3 as well.
    pub fn genuine_v05(&self, lab: &Lab, at: Option<Timestamp>) -> Result<Vec<u8>, String> {
        genuine_folder(lab, "0.5.17", &self.folder, at)
    }

    /// Keys and times of all objects.
    pub fn objects(&self) -> Vec<(String, Timestamp)> {
        objects(&self.folder)
    }
}

/// What some version restores from a directory.
pub fn genuine_folder(lab: &Lab, version: &str, folder: &Path, at: Option<Timestamp>) -> Result<Vec<u8>, String> {
    let at = at.map(|at| at.to_string());
    let options: Vec<&str> = at.iter().flat_map(|at| ["-timestamp", at]).collect();
    read(|out| lab.restore_with(version, &options, &format!("file://{}", folder.display()), out))
}

fn read(restore: impl FnOnce(&Path) -> Result<(), String>) -> Result<Vec<u8>, String> {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("restored.db");
    restore(&out)?;
    fs::read(&out).map_err(|error| error.to_string())
}

/// Keys and times of all objects below a folder, in the order of the keys.
pub fn objects(folder: &Path) -> Vec<(String, Timestamp)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(below).into_iter().flatten() {
            let path = entry.unwrap().path();
            // What is being uploaded at this moment may be gone before it is looked at.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "lz4") {
                let key = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                found.push((key, Timestamp::try_from(metadata.modified().unwrap()).unwrap()));
            }
        }
    }
    found.sort_unstable();
    found
}

fn create(database: &Path, page_size: u32) {
    let connection = rusqlite::Connection::open(database).unwrap();
    connection
        .execute_batch(&format!(
            "PRAGMA page_size={page_size}; PRAGMA journal_mode=WAL; CREATE TABLE t(id INTEGER PRIMARY KEY, b)"
        ))
        .unwrap();
}

/// The replica in the bucket, which Litestream calls `offsite`.
fn location(server: &S3) -> ReplicaLocation {
    ReplicaLocation::S3(Box::new(S3Location {
        bucket: "bucket".to_owned(),
        path: "offsite".to_owned(),
        region: Some("us-east-1".to_owned()),
        endpoint: Some(server.endpoint()),
        force_path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: ACCESS_KEY.to_owned(),
            secret_access_key: Secret::new(SECRET_KEY),
            session_token: None,
        }),
        ..S3Location::default()
    }))
}

/// Many WAL indexes and a snapshot every other second, or segments one by one.
fn yaml(replicas: &[Replica], server: &S3, key: &(String, String), busy: bool) -> String {
    let mut yaml = "dbs:\n".to_owned();
    let replica_options = if busy { "snapshot-interval: 2s, " } else { "" };
    for database in &replicas[..3] {
        let minimum = if busy { 12 } else { 24 };
        yaml.push_str(&format!(
            "  - path: {}\n    monitor-interval: 50ms\n    checkpoint-interval: 1m\n    \
             min-checkpoint-page-count: {minimum}\n    replicas:\n",
            database.database.display()
        ));
        for replica in replicas.iter().filter(|replica| replica.database == database.database) {
            let age = format!(", age: {{identities: ['{}'], recipients: ['{}']}}", key.0, key.1);
            let age = if replica.encrypted() { &*age } else { "" };
            let place = match replica.bucket {
                Some(_) => server.replica("bucket", &replica.name),
                None => format!("type: file, path: {}", replica.folder.display()),
            };
            yaml.push_str(&format!(
                "      - {{{place}, name: {}, sync-interval: 100ms, {replica_options}retention: 1h{age}}}\n",
                replica.name
            ));
        }
    }
    yaml
}

/// Growth, deletions, VACUUM, a transaction of several megabytes, and rows in between.
fn busy(writers: &mut [Writer], replicas: &[Replica]) {
    let steps = [
        "INSERT INTO t(b) SELECT hex(randomblob(500)) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n \
         WHERE i < 300) SELECT i FROM n)",
        "INSERT INTO t(b) VALUES (hex(randomblob(1500000)))",
        "UPDATE t SET b = hex(randomblob(200)) WHERE id % 3 = 0",
        "DELETE FROM t WHERE id % 2 = 0",
        "VACUUM",
        "INSERT INTO t(b) VALUES (zeroblob(300000))",
        "DELETE FROM t WHERE length(b) > 10000",
        "VACUUM",
    ];
    for step in steps {
        for writer in writers.iter_mut() {
            writer.sql(step);
            writer.run(Duration::from_millis(40));
        }
        grown(replicas, 3);
    }
    writers.iter_mut().for_each(|writer| assert!(writer.pause() > 0));
}

/// One segment after the other, over several indexes. Rows are longer than a page of 4096 bytes, so that each has one
/// of its own: what is lost with a segment is in no later one.
fn steady(writers: &mut [Writer], replicas: &[Replica]) {
    for _ in 0..24 {
        for writer in writers.iter_mut() {
            writer.sql("INSERT INTO t(b) VALUES (hex(randomblob(3000)))");
        }
        grown(replicas, 1);
    }
}

/// Waits until each replica has that many more objects.
fn grown(replicas: &[Replica], more: usize) {
    let before: Vec<usize> = replicas.iter().map(|replica| replica.objects().len()).collect();
    wait_for("more objects", || {
        replicas.iter().zip(&before).all(|(replica, before)| replica.objects().len() >= before + more)
    });
}

/// Lets Litestream sync what is left, and end.
fn finish(litestream: &mut Litestream, replicas: &[Replica]) {
    litestream.process.stop();
    assert!(replicas.iter().all(|replica| replica.objects().len() > 30), "{}", litestream.process.log());
}
