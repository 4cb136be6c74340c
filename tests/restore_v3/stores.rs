//! Where a v0.3 replica is: behind a store that fails, beside what v0.5 wrote after an upgrade.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use streamgauge::domain::litestream::{Layout, PlanTarget, Txid};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::infrastructure::store::MemoryStore;

use super::damage::Copy;
use super::faulty_store::{Call, Fate, FaultyStore};
use super::lab::Lab;
use super::lab::litestream::printed;
use super::ours::{Ours, restore_store};
use super::site::{Replica, Site, genuine_folder, objects};

pub fn all(lab: &Lab, site: &Site) {
    upgraded(lab, &site.replicas[1]);
    failing(&site.replicas[1]);
}

/// Litestream 0.5.17 goes on where 0.3.13 was: the newer of both is the latest state, as it is for 0.5.17.
fn upgraded(lab: &Lab, replica: &Replica) {
    let copy = Copy::of(replica);
    let folder = copy.directory.path();
    let old = replica.ours(PlanTarget::Latest).unwrap();
    let database = folder.join("upgraded.db");
    std::fs::write(&database, &old.database).unwrap();
    let mut command = lab.litestream("0.5.17");
    command.args(["replicate", "-once"]).arg(&database).arg(format!("file://{}", folder.display()));
    printed(command.output().unwrap()).unwrap();
    let restore = |point| super::ours::restore(folder, point, &[]);
    let same = |ours: &Ours| ours.database == genuine_folder(lab, "0.5.17", folder, None).unwrap();

    let latest = restore(PlanTarget::Latest).unwrap();
    assert!(matches!(latest.plan.layout, Layout::V5(_)) && latest.plan.notes.is_empty() && same(&latest));
    let before = restore(PlanTarget::Time(old.plan.through)).unwrap();
    assert!(before.plan.layout == Layout::V3 && before.database == old.database, "{:?}", before.plan);
    assert_eq!(before.plan.notes, ["v0.5 has nothing from that time, but its v0.3 predecessor has"]);
    let txid = restore(PlanTarget::Txid(Txid(1))).unwrap();
    assert!(matches!(txid.plan.layout, Layout::V5(_)));

    // Back to 0.3.13: what it writes is newer than all of v0.5.
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let generation = old.plan.generation.unwrap().to_string();
    for (key, modified) in objects(folder).into_iter().filter(|(key, _)| key.contains(&generation)) {
        let shifted = later + modified.duration_since(old.plan.through);
        File::options().write(true).open(folder.join(key)).unwrap().set_modified(shifted.into()).unwrap();
    }
    let back = restore(PlanTarget::Latest).unwrap();
    assert!(back.plan.layout == Layout::V3 && back.database == old.database && same(&back));
    assert_eq!(back.plan.notes, ["the v0.3 generations are newer than what v0.5 wrote beside them"]);

    // What v0.3 lost is no reason not to restore v0.5, unless it is the newer one.
    let keys = old.plan.objects.iter().map(|object| old.plan.key(object));
    let lost = keys.into_iter().find(|key| key.contains("_00000000.wal")).unwrap();
    std::fs::remove_file(folder.join(&lost)).unwrap();
    let broken = restore(PlanTarget::Latest).unwrap();
    assert!(matches!(broken.plan.layout, Layout::V5(_)));
    assert!(broken.plan.notes[0].contains(&lost), "{:?}", broken.plan.notes);
}

/// What goes wrong while objects are read.
#[derive(Clone, Copy)]
enum Fault {
    /// Every read is short, and every twentieth fails.
    Weak,
    /// The objects after the first four are denied.
    Denied,
    /// The objects after the first four are gone.
    Gone,
    /// The objects after the first four are shorter than listed.
    Short,
}

impl Fault {
    /// What becomes of a read, by its number.
    fn befalls(self, number: usize) -> Fate {
        match self {
            Self::Weak if number % 20 == 7 => Fate::Fails(ReasonKind::Unreachable),
            Self::Weak => Fate::Cut(10_000),
            Self::Denied if number > 3 => Fate::Fails(ReasonKind::Denied),
            Self::Gone if number > 3 => Fate::Gone,
            Self::Short if number > 3 => Fate::Shorter(10),
            _ => Fate::Answered,
        }
    }
}

fn failing(replica: &Replica) {
    let whole = replica.ours(PlanTarget::Latest).unwrap();
    let run = |fault: Fault| {
        let files = Arc::new(memory(&replica.folder));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut reads = 0;
        let store = Arc::new(FaultyStore::scripted(files, move |call| {
            let number = reads;
            reads += usize::from(matches!(call, Call::Read(_)));
            if reads > number { fault.befalls(number) } else { Fate::Answered }
        }));
        let ours = runtime.block_on(restore_store(store.clone(), PlanTarget::Latest, &[]));
        (ours, store.calls()[2] as u64)
    };
    let (weak, reads) = run(Fault::Weak);
    let weak = weak.unwrap();
    assert!(weak.database == whole.database, "what was read again is the same");
    assert_eq!((weak.restored.requests, weak.restored.downloaded_bytes), (reads, whole.restored.downloaded_bytes));
    assert!(reads > whole.restored.requests);
    for (fault, kind) in
        [(Fault::Denied, ReasonKind::Denied), (Fault::Gone, ReasonKind::NotFound), (Fault::Short, ReasonKind::Corrupt)]
    {
        let reason = run(fault).0.unwrap_err();
        assert_eq!(reason.kind, kind, "{reason}");
        let named = whole.plan.objects[4..].iter().any(|object| reason.message.contains(&whole.plan.key(object)));
        assert!(named, "{reason}");
    }
}

/// The objects of a folder in memory.
fn memory(folder: &Path) -> MemoryStore {
    let files = MemoryStore::with_page_keys(7);
    for (key, modified) in objects(folder) {
        files.put(key.clone(), std::fs::read(folder.join(key)).unwrap(), modified);
    }
    files
}
