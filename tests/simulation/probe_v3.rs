//! Looks at replicas of v0.3.

use std::sync::Arc;

use age::secrecy::ExposeSecret;
use streamgauge::domain::litestream::expiry::Kept;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, ReplicaTarget};
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::world::{Scene, at, put, wal};

pub(crate) const GENERATION: &str = "generations/050e5774cd45548e";

macro_rules! segment {
    ($name:literal) => {
        (
            concat!("wal/", $name, ".wal.lz4"),
            include_bytes!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/litestream/0.3.13/generations/050e5774cd45548e/wal/",
                $name,
                ".wal.lz4"
            ))
            .as_slice(),
        )
    };
}

/// The segments of a generation that Litestream 0.3.13 wrote, in order.
const SEGMENTS: [(&str, &[u8]); 6] = [
    segment!("00000000_00000000"),
    segment!("00000000_00001728"),
    segment!("00000000_00001f88"),
    segment!("00000001_00000000"),
    segment!("00000001_00000238"),
    segment!("00000001_00000a98"),
];

pub(crate) fn put_segment(files: &MemoryStore, generation: &str, which: usize, second: i64) {
    let (name, content) = SEGMENTS[which];
    files.put(format!("{generation}/{name}"), content, at(second).wall());
}

fn put_snapshot(files: &MemoryStore, generation: &str, index: u32, second: i64) {
    files.put(format!("{generation}/snapshots/{index:08x}.snapshot.lz4"), "image", at(second).wall());
}

/// A generation with a snapshot at index 0 and its first `segments` segments, one each second.
pub(crate) fn generation(scene: &Scene, segments: usize) {
    put_snapshot(&scene.files, GENERATION, 0, 1);
    (0..segments).for_each(|which| put_segment(&scene.files, GENERATION, which, 2 + which as i64));
}

/// Where the newest segment ends, in bytes.
fn end(scene: &mut Scene, second: i64) -> Option<u64> {
    scene.look_at(second).unwrap().1.position.map(|position| position.end)
}

#[test]
fn newest_segment_says_where_it_ends() {
    let mut scene = Scene::new();
    generation(&scene, 2);
    assert_eq!(end(&mut scene, 10), Some(0x1f88));
    scene.store.calls();
    assert_eq!(end(&mut scene, 11), Some(0x1f88));
    assert_eq!(scene.store.calls(), [1, 0, 0]);
    put_segment(&scene.files, GENERATION, 2, 12);
    put_segment(&scene.files, GENERATION, 3, 12);
    assert_eq!(end(&mut scene, 12), Some(0x238));
    assert_eq!(scene.store.calls(), [1, 0, 1]);
}

#[test]
fn new_generation_is_found_while_the_old_one_is_silent() {
    let mut scene = Scene::new();
    generation(&scene, 6);
    scene.look(10);
    let other = "generations/ffffffffffffffff";
    put_snapshot(&scene.files, other, 0, 20);
    put_segment(&scene.files, other, 0, 21);
    assert_ne!(end(&mut scene, 30), Some(0x1728));
    assert_eq!(end(&mut scene, 75), Some(0x1728));
}

#[test]
fn what_an_older_generation_restores_counts_as_restorable() {
    let mut scene = Scene::new();
    generation(&scene, 2);
    let other = "generations/ffffffffffffffff";
    put_snapshot(&scene.files, other, 0, 20);
    put_segment(&scene.files, other, 0, 21);
    let (finding, _) = scene.look_at(30).unwrap();
    let since = finding.coverage.restorable_since;
    assert_eq!((since, finding.timeline.unwrap().since), (Some(at(1).wall()), since));
}

#[test]
fn missing_index_is_a_hole() {
    let mut scene = Scene::new();
    put_snapshot(&scene.files, GENERATION, 0, 1);
    put_segment(&scene.files, GENERATION, 3, 3);
    let (finding, _) = scene.look_at(10).unwrap();
    assert_eq!(finding.coverage.gaps.len(), 1);
    assert_eq!(finding.coverage.gaps[0].before, "00000001/00000000");
    (0..3).for_each(|which| put_segment(&scene.files, GENERATION, which, 2));
    let (finding, _) = scene.look_at(4000).unwrap();
    assert!(finding.coverage.gaps.is_empty());
}

#[test]
fn generation_without_a_snapshot_restores_nothing() {
    let mut scene = Scene::new();
    put_segment(&scene.files, GENERATION, 0, 3);
    let (finding, _) = scene.look_at(10).unwrap();
    assert!(!finding.coverage.restorable);
}

#[test]
fn encrypted_segments_have_no_position() {
    let mut scene = Scene::with(MemoryStore::new(), true);
    generation(&scene, 6);
    scene.check(10, "v0.3 complete snapshot=1 wal=6 | 2 lists, 2 folders, 0 reads");
}

#[test]
fn encrypted_segments_have_a_position_with_the_right_identity() {
    let (own, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let mut scene = Scene::new();
    scene.probe = ReplicaProbe::of(&Arc::new(encrypted_target(&[&other, &own])));
    generation(&scene, 1);
    let (name, content) = SEGMENTS[1];
    let recipient = own.to_public();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient)).unwrap();
    let mut writer = encryptor.wrap_output(Vec::new()).unwrap();
    std::io::Write::write_all(&mut writer, content).unwrap();
    scene.files.put(format!("{GENERATION}/{name}"), writer.finish().unwrap(), at(3).wall());
    assert_eq!(end(&mut scene, 10), Some(0x1f88));
    // What was written before encryption was turned on is read as it is.
    put_segment(&scene.files, GENERATION, 2, 11);
    assert!(end(&mut scene, 12).is_some());

    for (identities, expected) in [(vec![&other], "encrypted with age for other identities"), (vec![], "")] {
        scene.probe = ReplicaProbe::of(&Arc::new(encrypted_target(&identities)));
        scene.files.remove(&format!("{GENERATION}/{}", SEGMENTS[2].0));
        match scene.look_at(20) {
            Ok((_, evidence)) => assert!(identities.is_empty() && evidence.position.is_none()),
            Err(reason) => {
                assert_eq!(reason.message, format!("read {GENERATION}/{name}: {expected}"));
                assert!(reason.hint.is_some_and(|hint| hint.contains("age-identity-file")));
            }
        }
    }
}

/// A replica whose contents are encrypted.
fn encrypted_target(identities: &[&age::x25519::Identity]) -> ReplicaTarget {
    let text = |identity: &&age::x25519::Identity| Secret::new(identity.to_string().expose_secret());
    ReplicaTarget {
        name: "file".to_owned(),
        location: ReplicaLocation::Directory("/r".into()),
        sync_interval: std::time::Duration::from_secs(1),
        encrypted: true,
        age_identities: identities.iter().map(text).collect(),
        kept: None,
        written: Default::default(),
    }
}

/// Releases of v0.5 read v0.3 from directories and S3 only; keys do not tell which kind of store it is.
#[test]
fn a_store_is_named_by_its_kind_and_not_by_its_keys() {
    for (location, expected) in [
        (ReplicaLocation::Directory("/r".into()), None),
        (ReplicaLocation::Sftp(Box::default()), Some("a store of kind sftp")),
    ] {
        let mut scene = Scene::new();
        scene.probe =
            ReplicaProbe::of(&Arc::new(ReplicaTarget { location, encrypted: false, ..encrypted_target(&[]) }));
        generation(&scene, 2);
        let caveats = scene.look_at(10).unwrap().0.timeline.unwrap().caveats.clone();
        let unread = caveats.iter().find(|caveat| caveat.detail.contains("cannot read v0.3 generations"));
        assert_eq!(unread.is_some(), expected.is_some(), "{caveats:?}");
        assert!(unread.is_none_or(|caveat| caveat.detail.contains(expected.unwrap())), "{unread:?}");
    }
}

#[test]
fn damaged_segment_names_its_key() {
    let mut scene = Scene::new();
    generation(&scene, 2);
    scene.files.put(format!("{GENERATION}/{}", SEGMENTS[2].0), "not lz4", at(9).wall());
    let (finding, evidence) = scene.look_at(10).unwrap();
    assert!(evidence.position.is_some(), "the segment before it tells how far the replica is");
    let reason = finding.damaged.unwrap();
    assert_eq!(reason.kind, ReasonKind::Corrupt);
    assert!(reason.message.starts_with(&format!("read {GENERATION}/wal/00000000_00001f88.wal.lz4: ")), "{reason}");
}

#[test]
fn upgrade_to_v05_beside_the_old_generations_is_found_within_a_minute_or_so() {
    let mut scene = Scene::new();
    generation(&scene, 6);
    scene.look(10);
    put(&scene.files, 0, 1, 1, 20, Some(wal(5, 1)));
    scene.check_found(75, "v0.5 txid 1 wal 5:1 complete 0=1");
}

#[test]
fn generations_that_are_newer_than_levels_are_those_that_count() {
    // A look that remembers nothing, after a downgrade.
    let mut scene = Scene::new();
    put(&scene.files, 9, 1, 1, 1, None);
    put(&scene.files, 0, 2, 2, 1, Some(wal(5, 1)));
    generation(&scene, 1);
    let one_look = scene.look(10);
    assert!(one_look.starts_with("v0.3 segment "), "{one_look}");
    // Nothing of v0.5 arrives, so that they stay those that count, until something does.
    put_segment(&scene.files, GENERATION, 1, 80);
    let later = scene.look(90);
    assert!(later.starts_with("v0.3 segment "), "{later}");
    put(&scene.files, 0, 3, 3, 100, Some(wal(5, 2)));
    scene.check_found(160, "v0.5 txid 3 wal 5:2 complete 0=2 9=1");
}

#[test]
fn a_downgrade_is_found_while_levels_stand_still() {
    let mut scene = Scene::new();
    put(&scene.files, 9, 1, 1, 1, None);
    put(&scene.files, 0, 2, 2, 2, Some(wal(5, 1)));
    scene.probe.aim(Some(wal(5, 1)));
    scene.check_found(10, "v0.5 txid 2 wal 5:1 complete 0=1 9=1");
    put_snapshot(&scene.files, GENERATION, 0, 100);
    put_segment(&scene.files, GENERATION, 0, 101);
    scene.check_found(200, "v0.5 txid 2 wal 5:1 complete 0=1 9=1");
    scene.probe.aim(Some(wal(6, 1)));
    let found = scene.look(210);
    assert!(found.starts_with("v0.3 segment "), "{found}");
}

#[test]
fn emptied_replica_restores_nothing_until_it_is_filled_again() {
    let mut scene = Scene::new();
    generation(&scene, 1);
    scene.look(10);
    assert!(scene.files.remove(&format!("{GENERATION}/{}", SEGMENTS[0].0)));
    assert!(scene.files.remove(&format!("{GENERATION}/snapshots/00000000.snapshot.lz4")));
    scene.check_found(11, "v0.3 no start");
    scene.check_found(12, "nothing no start");
    put(&scene.files, 0, 1, 1, 20, Some(wal(5, 1)));
    scene.check_found(21, "v0.5 txid 1 wal 5:1 complete 0=1");
}

/// What a listing says of how a replica is kept: changes since the newest snapshot and the second of the first, whether
/// its history is whole, and what should be gone.
fn kept(scene: &mut Scene, second: i64) -> (Option<u64>, Option<i64>, Option<bool>, Option<u64>) {
    let coverage = scene.look_at(second).unwrap().0.coverage;
    let since = coverage.unsnapshotted_since.map(|since| since.duration_since(at(0).wall()).as_secs());
    (coverage.changes_since_snapshot, since, coverage.whole, coverage.expired_objects)
}

#[test]
fn snapshots_that_do_not_come_and_history_that_goes_are_seen() {
    const HOUR: i64 = 3600;
    let mut scene = Scene::new();
    let (day, hour) = (std::time::Duration::from_secs(86_400), std::time::Duration::from_secs(3600));
    let policy = Kept { snapshots: Some(day), every: hour, level0: None };
    scene.probe =
        ReplicaProbe::of(&Arc::new(ReplicaTarget { encrypted: false, kept: Some(policy), ..encrypted_target(&[]) }));
    generation(&scene, 3);
    assert_eq!(kept(&mut scene, 10), (Some(3), Some(2), Some(true), Some(0)));
    assert_eq!(
        kept(&mut scene, 40 * HOUR),
        (Some(3), Some(2), Some(true), Some(0)),
        "the only snapshot is rightly kept"
    );
    put_segment(&scene.files, GENERATION, 3, 40 * HOUR);
    put_snapshot(&scene.files, GENERATION, 1, 40 * HOUR + 1);
    put_segment(&scene.files, GENERATION, 4, 40 * HOUR + 2);
    assert_eq!(
        kept(&mut scene, 41 * HOUR),
        (Some(1), Some(40 * HOUR + 2), Some(true), Some(1)),
        "the first one should be gone"
    );
    scene.files.remove(&format!("{GENERATION}/snapshots/00000000.snapshot.lz4"));
    (0..3).for_each(|which| assert!(scene.files.remove(&format!("{GENERATION}/{}", SEGMENTS[which].0))));
    let after = kept(&mut scene, 42 * HOUR + 1);
    assert_eq!(after, (Some(1), Some(40 * HOUR + 2), Some(false), Some(0)));
}

/// The names of segments do not show that one is missing between them: it is seen to be gone.
#[test]
fn segment_that_is_gone_has_everything_listed_where_names_cost_little() {
    let mut scene = Scene::new();
    generation(&scene, 4);
    let listed = |scene: &mut Scene, second| {
        scene.look_at(second).unwrap();
        let seen = scene.probe.take_seen().unwrap().listed;
        (seen.complete, seen.plan.len())
    };
    assert_eq!(listed(&mut scene, 10), (true, 5));
    let lost = scene.files.remove(&format!("{GENERATION}/wal/00000000_00001728.wal.lz4"));
    assert!(lost);
    assert_eq!(listed(&mut scene, 309), (false, 5));
    assert_eq!(listed(&mut scene, 310), (true, 4));
}
