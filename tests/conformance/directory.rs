//! Directories: those of the suite, and what only they can show.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use streamgauge::domain::litestream::{Layout, LevelKeys};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::Stores as _;
use streamgauge::usecase::ports::{Content, ReplicaStore};

use crate::suite::{self, Backend};
use crate::{LEVEL, NAME, stores, told};

/// A directory that is looked at directly or through a server; Litestream's writes appear by rename.
pub(crate) struct Files {
    pub(crate) root: PathBuf,
    pub(crate) location: ReplicaLocation,
    pub(crate) store: Arc<dyn ReplicaStore>,
    pub(crate) keys: LevelKeys,
    /// What goes with it: a server, or the directory itself.
    pub(crate) kept: Box<dyn Send + Sync>,
}

pub(crate) async fn plain() -> Box<dyn Backend> {
    let root = tempfile::tempdir().unwrap();
    let replica = root.path().join("app");
    std::fs::create_dir(&replica).unwrap();
    files(root, &replica, directory(&replica), LevelKeys::Plain)
}

/// Such as one that was copied from a bucket.
pub(crate) async fn copied_from_a_bucket() -> Box<dyn Backend> {
    let root = tempfile::tempdir().unwrap();
    let replica = root.path().join("app");
    write(&replica.join("0001/beside"), b"");
    let store = directory(&replica);
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(LevelKeys::Hex)]);
    std::fs::remove_dir_all(replica.join("0001")).unwrap();
    files(root, &replica, store, LevelKeys::Hex)
}

fn files(kept: tempfile::TempDir, replica: &Path, store: Arc<dyn ReplicaStore>, keys: LevelKeys) -> Box<dyn Backend> {
    let location = ReplicaLocation::Directory(replica.to_owned());
    Box::new(Files { root: replica.to_owned(), location, store, keys, kept: Box::new(kept) })
}

#[async_trait]
impl Backend for Files {
    async fn put(&self, key: &str, content: &[u8]) {
        let _kept = &self.kept;
        write(&self.root.join(key), content);
    }

    async fn remove(&self, key: &str) {
        std::fs::remove_file(self.root.join(key)).unwrap();
    }

    fn location(&self) -> Option<ReplicaLocation> {
        Some(self.location.clone())
    }

    fn keys(&self) -> LevelKeys {
        self.keys
    }

    fn is_dated(&self) -> bool {
        self.keys == LevelKeys::Plain
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }
}

fn write(path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn directory(root: &Path) -> Arc<dyn ReplicaStore> {
    stores(Duration::from_secs(60)).open(&ReplicaLocation::Directory(root.to_owned())).unwrap()
}

#[tokio::test]
async fn a_directory_that_is_missing_is_an_empty_replica() {
    let root = tempfile::tempdir().unwrap();
    let store = directory(&root.path().join("tenants/missing"));
    assert_eq!(store.layouts().await.unwrap(), []);
    assert!(store.list(LEVEL, None, None).await.unwrap().objects.is_empty());
    assert_eq!(store.names(&[LEVEL]).await.unwrap(), Some(Vec::new()));
    assert!(matches!(store.read(NAME, 0, 1).await.unwrap(), Content::Missing(_)));
}

#[tokio::test]
async fn a_directory_behind_a_link_that_leads_nowhere_or_that_is_none_says_so() {
    let root = tempfile::tempdir().unwrap();
    // Whoever made the link meant something to be there.
    std::os::unix::fs::symlink("not-mounted", root.path().join("link")).unwrap();
    let reason = directory(&root.path().join("link")).layouts().await.unwrap_err();
    assert_eq!(reason.kind, ReasonKind::NotFound, "{reason}");
    let missing = root.path().join("link/missing");
    let url = format!("file://{}", missing.display());
    let store = directory(&missing);
    let not_found = "no such file or directory";
    assert_eq!(
        told(store.list(LEVEL, None, None).await.unwrap_err()),
        format!("not_found: list {url}/ltx/0/: {not_found}")
    );
    assert_eq!(told(store.layouts().await.unwrap_err()), format!("not_found: list {url}/: {not_found}"));
    let key = NAME.key(LevelKeys::Plain);
    assert_eq!(told(store.read(NAME, 0, 1).await.unwrap_err()), format!("not_found: read {url}/{key}: {not_found}"));
    let file = root.path().join("file");
    write(&file, b"x");
    let told = told(directory(&file).layouts().await.unwrap_err());
    assert_eq!(told, format!("not_found: list file://{}/: not a directory", file.display()));
}

#[tokio::test]
async fn beacons_are_beside_their_replicas_in_directories() {
    let root = tempfile::tempdir().unwrap();
    let replica = root.path().join("app");
    std::fs::create_dir(&replica).unwrap();
    suite::beacon_is_beside(&ReplicaLocation::Directory(replica)).await;
    let path = root.path().join("app.streamgauge");
    let names: Vec<_> = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["beacon.json"]);
    // Nobody is led elsewhere by a link.
    std::fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink(root.path(), &path).unwrap();
    let beacon = stores(Duration::from_secs(60)).beacon(&ReplicaLocation::Directory(root.path().join("app"))).unwrap();
    assert!(beacon.put("x".into()).await.is_err());
    assert!(!root.path().join("beacon.json").exists());
}
