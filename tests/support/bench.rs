//! One database and its watch.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::moment::Moment;
use streamgauge::domain::observation::{Counters, DatabaseLook, Journal, WalState};
use streamgauge::domain::reason::Reason;
use streamgauge::domain::target::{DatabaseFiles, TargetName};
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::DatabaseWatch;

pub(crate) fn now() -> Moment {
    Moment::new(Timestamp::now(), SignedDuration::ZERO)
}

pub(crate) fn files(path: &Path) -> Arc<DatabaseFiles> {
    Arc::new(DatabaseFiles { path: path.to_owned(), meta_path: None })
}

/// A directory with one database in it, and its watch.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) watch: Watch,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new();
        watch.set_targets(vec![(TargetName("db".into()), files(&directory.path().join("db")))]);
        Self { directory, watch }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("db")
    }

    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        self.directory.path().join(format!("db{suffix}"))
    }

    pub(crate) fn poll(&mut self) -> Option<Result<DatabaseLook, Reason>> {
        self.watch.poll(now()).pop().map(|update| update.look)
    }

    /// Polls until nothing is left to look at, and returns the last look.
    pub(crate) fn settle(&mut self) -> Result<DatabaseLook, Reason> {
        let mut last = None;
        for _ in 0..8 {
            match self.poll() {
                Some(look) => last = Some(look),
                None if last.is_some() => break,
                None => {}
            }
        }
        last.expect("something changed")
    }

    pub(crate) fn counters(&mut self) -> Counters {
        self.settle().unwrap().counters
    }
}

pub(crate) fn wal(look: &DatabaseLook) -> &WalState {
    match &look.journal {
        Journal::Wal(state) => state,
        other => panic!("{other:?}"),
    }
}
