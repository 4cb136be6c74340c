//! Restoring on top of a database that was restored before, and plans that are overtaken by Litestream's retention.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use streamgauge::domain::litestream::PlanTarget;
use streamgauge::domain::reason::Reason;
use streamgauge::domain::restore::RestoreBase;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::infrastructure::scratch::ScratchFile;
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::{Progress, ReplicaStore, RestoreFile, Stores as _};
use streamgauge::usecase::restore::{RestoreOptions, RestoreRequest, plan_restore, restore, restore_requested};

use super::faulty_store::{Call, Fate, FaultyStore};
use super::lab::Lab;
use super::source::{Source, rows};

struct Silent;

impl Progress for Silent {
    fn received(&self, _: u64) {}
}

fn open(source: &Source<'_>) -> Arc<dyn ReplicaStore> {
    let options = StoreOptions { timeout: Duration::from_secs(30), concurrency: 16, ca_file: None };
    Stores::new(options).open(&ReplicaLocation::Directory(source.home.join("replica"))).unwrap()
}

fn options() -> RestoreOptions {
    RestoreOptions { downloads: 3, threads: 2, identities: Vec::new() }
}

/// A file that is written in place, as a drill keeps its last copy.
struct Kept(fs::File);

impl RestoreFile for Kept {
    fn write_at(&self, offset: u64, content: &[u8]) -> Result<(), Reason> {
        Ok(std::os::unix::fs::FileExt::write_all_at(&self.0, content, offset)?)
    }

    fn set_len(&self, bytes: u64) -> Result<(), Reason> {
        Ok(self.0.set_len(bytes)?)
    }

    fn sync(&self) -> Result<(), Reason> {
        Ok(self.0.sync_all()?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_newer_is_applied_to_what_is_there() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    let mut states = Vec::new();
    let steps = [
        &*rows(3000),
        &*rows(50),
        "DELETE FROM t WHERE id > 500; VACUUM",
        &*rows(2000),
        "UPDATE t SET b = zeroblob(9) WHERE id = 7",
    ];
    for (step, statements) in steps.iter().enumerate() {
        source.sql(statements);
        source.sync("0.5.17", step == 0);
        states.push(source.theirs("0.5.17", &[]).unwrap());
    }
    let store = open(&source);
    let last = states.len() - 1;
    for from in 0..=last {
        for to in 0..=last {
            let txid = |step: usize| streamgauge::domain::litestream::Txid(step as u64 + 1);
            let commit = (states[from].len() / 4096) as u32;
            let base = RestoreBase { txid: txid(from), page_size: 4096, commit };
            let request = RestoreRequest { base: Some(base), ..RestoreRequest::of(PlanTarget::Txid(txid(to))) };
            let plan = Arc::new(plan_restore(store.as_ref(), &request).await.unwrap());
            assert_eq!(plan.base.is_some(), from <= to, "from {from} to {to}: {plan:?}");
            assert!(plan.base.is_none() || plan.objects.len() == to - from, "from {from} to {to}: {plan:?}");
            let path = home.path().join(format!("{from}-{to}.db"));
            fs::write(&path, if plan.base.is_some() { &states[from][..] } else { &[] }).unwrap();
            let file = Arc::new(Kept(fs::OpenOptions::new().write(true).open(&path).unwrap()));
            let restored = restore(Arc::clone(&store), plan, file, options(), Arc::new(Silent)).await.unwrap();
            assert!(fs::read(&path).unwrap() == states[to], "from {from} to {to}");
            assert_eq!((restored.bytes, restored.txid), (states[to].len() as u64, Some(txid(to))));
        }
    }
    let other = RestoreBase { txid: streamgauge::domain::litestream::Txid(1), page_size: 512, commit: 9 };
    let request = RestoreRequest { base: Some(other), ..RestoreRequest::of(PlanTarget::Latest) };
    assert_eq!(plan_restore(store.as_ref(), &request).await.unwrap().base, None, "another page size");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_retention_overtakes_is_made_anew() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    for step in 1..=4 {
        source.sql(&rows(200));
        source.sync("0.5.17", step == 1 || step == 4);
    }
    let expected = source.theirs("0.5.17", &[]).unwrap();
    let snapshot = source.files(9)[1].0.clone();
    let hidden = home.path().join("hidden");
    fs::rename(&snapshot, &hidden).unwrap();
    let doomed: Vec<PathBuf> = source.files(0).into_iter().map(|(path, ..)| path).collect();
    let store = Arc::new(FaultyStore::new(open(&source)));
    let request = RestoreRequest::of(PlanTarget::Latest);
    let plan = plan_restore(store.as_ref(), &request).await.unwrap();
    assert_eq!(plan.objects.len(), 4);
    // The newest snapshot appears, and level 0 goes, when the first file of the plan is read.
    let happened = AtomicBool::new(false);
    store.script(move |call| {
        if matches!(call, Call::Read(_)) && !happened.swap(true, Ordering::SeqCst) {
            fs::rename(&hidden, &snapshot).unwrap();
            doomed.iter().for_each(|file| fs::remove_file(file).unwrap());
        }
        Fate::Answered
    });
    let out = home.path().join("out.db");
    let file = ScratchFile::create(&scratch(&out)).unwrap();
    let sink = file.file();
    let (plan, restored) = restore_requested(store, &request, plan, sink, options(), Arc::new(Silent)).await.unwrap();
    assert_eq!((plan.objects.len(), restored.objects.len()), (1, 1));
    file.publish(&out).unwrap();
    assert!(fs::read(&out).unwrap() == expected, "the bytes differ");
    assert!(!scratch(&out).exists());
}

fn scratch(out: &Path) -> PathBuf {
    out.with_extension("scratch")
}
