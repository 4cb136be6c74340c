//! Looks that ask for single files of level 0 in place of listing them.

use std::sync::Arc;

use streamgauge::domain::litestream::{LevelKeys, Txid};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::{ReplicaLocation, ReplicaTarget, S3Location};
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::faulty_store::{Call, Fate};
use crate::world::{Scene, at, ltx, name, put, remove, wal};

/// A replica in a bucket.
pub(crate) fn bucket() -> ReplicaTarget {
    ReplicaTarget {
        name: "s3".to_owned(),
        location: ReplicaLocation::S3(Box::new(S3Location { bucket: "b".to_owned(), ..S3Location::default() })),
        sync_interval: std::time::Duration::from_secs(1),
        encrypted: false,
        age_identities: Vec::new(),
        kept: None,
        written: Default::default(),
    }
}

/// A snapshot and the level-0 files 1 to 5, which were listed at second 10.
fn listed() -> Scene {
    let mut scene = Scene { probe: ReplicaProbe::of(&Arc::new(bucket())), ..Scene::new() };
    write(&scene, 1..=5);
    put(&scene.files, 9, 1, 3, 3, Some(wal(5, 3)));
    scene.check(10, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 2 lists, 2 folders, 1 reads");
    scene
}

/// Writes level-0 files, one each second.
fn write(scene: &Scene, txids: std::ops::RangeInclusive<u64>) {
    txids.for_each(|txid| put(&scene.files, 0, txid, txid, txid.cast_signed(), Some(wal(5, txid))));
}

impl Scene {
    /// Looks when Litestream has written so many files beside the database.
    fn claims(&mut self, txid: u64, second: i64, expected: &str) {
        self.probe.claim(Some(Txid(txid)));
        self.check(second, expected);
        self.probe.claim(None);
    }
}

#[test]
fn new_files_are_found_by_their_names_and_listed_from_time_to_time() {
    let mut scene = listed();
    scene.claims(5, 20, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    scene.check(30, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    write(&scene, 6..=6);
    scene.claims(6, 40, "v0.5 txid 6 wal 5:6 complete 0=5 9=1 | 0 lists, 0 folders, 1 reads");
    // Something is new and the last listing is a minute ago.
    write(&scene, 7..=8);
    scene.check(71, "v0.5 txid 8 wal 5:8 complete 0=8 9=1 | 1 lists, 0 folders, 1 reads");
    // Nothing is new: no listing is due but that of everything, each hour.
    scene.claims(8, 600, "v0.5 txid 8 wal 5:8 complete 0=8 9=1 | 0 lists, 0 folders, 2 reads");
    scene.claims(8, 3609, "v0.5 txid 8 wal 5:8 complete 0=8 9=1 | 0 lists, 0 folders, 2 reads");
    scene.claims(8, 3610, "v0.5 txid 8 wal 5:8 complete 0=8 9=1 | 2 lists, 1 folders, 0 reads");
    // The first look for long at which something is new lists it.
    write(&scene, 9..=9);
    scene.claims(9, 4000, "v0.5 txid 9 wal 5:9 complete 0=9 9=1 | 3 lists, 1 folders, 1 reads");
}

#[test]
fn claim_of_what_is_known_does_not_keep_from_asking_for_more() {
    let mut scene = listed();
    // A metadata directory that Litestream has left says 5 for ever.
    write(&scene, 6..=8);
    scene.claims(5, 20, "v0.5 txid 8 wal 5:8 skipped from 6 0=5 9=1 | 0 lists, 0 folders, 5 reads");
}

#[test]
fn files_that_were_skipped_keep_the_recovery_point_back_until_they_are_listed() {
    let mut scene = listed();
    write(&scene, 6..=20);
    scene.claims(20, 20, "v0.5 txid 20 wal 5:20 skipped from 5 0=5 9=1 | 0 lists, 0 folders, 1 reads");
    write(&scene, 21..=22);
    scene.claims(22, 30, "v0.5 txid 22 wal 5:22 skipped from 5 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    scene.check(70, "v0.5 txid 22 wal 5:22 complete 0=22 9=1 | 1 lists, 0 folders, 1 reads");
}

#[test]
fn files_that_were_skipped_and_are_not_there_are_a_hole_with_the_next_listing() {
    let mut scene = listed();
    write(&scene, 6..=20);
    remove(&scene.files, 0, 9, 9);
    scene.claims(20, 20, "v0.5 txid 20 wal 5:20 skipped from 5 0=5 9=1 | 0 lists, 0 folders, 1 reads");
    scene.check_found(70, "v0.5 txid 20 wal 5:20 broken after 8 gap 8..a 0=19 9=1");
    // What does not restore is listed by each look.
    scene.claims(20, 80, "v0.5 txid 20 wal 5:20 broken after 8 gap 8..a 0=19 9=1 | 1 lists, 0 folders, 0 reads");
}

#[test]
fn file_that_should_be_there_and_is_missing_is_looked_for_by_a_listing() {
    let mut scene = listed();
    // The next one is gone, and those behind it are there.
    write(&scene, 7..=8);
    scene.claims(8, 20, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    scene.probe.claim(Some(Txid(8)));
    scene.check_found(70, "v0.5 txid 8 wal 5:8 broken after 5 gap 5..7 0=7 9=1");
    // Where nothing says what should be there, it is looked for at the pace of idle databases.
    let mut scene = listed();
    write(&scene, 7..=8);
    scene.check(300, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    scene.check_found(310, "v0.5 txid 8 wal 5:8 broken after 5 gap 5..7 0=7 9=1");
}

#[test]
fn what_is_still_being_uploaded_is_not_claimed() {
    let mut scene = listed();
    write(&scene, 6..=8);
    // Of many files beside the database none is there but these.
    scene.claims(9, 20, "v0.5 txid 8 wal 5:8 skipped from 5 0=5 9=1 | 0 lists, 0 folders, 2 reads");
    let mut scene = listed();
    scene.claims(900, 20, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 0 lists, 0 folders, 4 reads");
}

#[test]
fn newest_file_that_is_gone_or_another_is_listed() {
    let mut scene = listed();
    remove(&scene.files, 0, 5, 5);
    scene.claims(5, 20, "v0.5 txid 4 wal 5:4 complete 0=4 9=1 | 2 lists, 1 folders, 3 reads");
    let mut scene = listed();
    put(&scene.files, 0, 5, 5, 15, Some(wal(9, 1)));
    scene.claims(5, 20, "v0.5 txid 5 wal 9:1 complete 0=5 9=1 | 2 lists, 1 folders, 3 reads");
    // All of it.
    let mut scene = listed();
    (1..=5).for_each(|txid| remove(&scene.files, 0, txid, txid));
    remove(&scene.files, 9, 1, 3);
    scene.check_found(20, "v0.5 no start");
}

#[test]
fn next_file_that_is_not_what_its_name_says_is_listed_and_named() {
    let mut scene = listed();
    let key = LevelKeys::Plain.key(0, name(6, 6));
    scene.files.put(key, ltx(name(7, 7), at(6).wall(), Some(wal(5, 6))), at(6).wall());
    scene.probe.claim(Some(Txid(6)));
    let (finding, evidence) = scene.look_at(20).unwrap();
    assert_eq!((finding.txid, evidence.position), (Some(5), Some(wal(5, 5))));
    assert_eq!(finding.damaged.unwrap().kind, ReasonKind::Corrupt);
    // It is asked for again with each look, as long as it is there.
    scene.check(30, "v0.5 txid 5 wal 5:5 complete 0=6 9=1 | 2 lists, 0 folders, 2 reads");
}

#[test]
fn failures_are_failures_and_a_refusal_is_not_an_answer() {
    let mut scene = listed();
    for kind in [ReasonKind::Throttled, ReasonKind::Timeout, ReasonKind::Unreachable, ReasonKind::NotFound] {
        // A bucket that is gone is not a file that is not there.
        scene.store.script(move |_| Fate::Fails(kind));
        assert_eq!(scene.look_at(20).unwrap_err().kind, kind);
        assert_eq!(scene.store.calls()[2], 1, "one request");
    }
    // S3 refuses to say that a file is not there to those who may not list.
    scene
        .store
        .script(|call| if matches!(call, Call::Read(_)) { Fate::Fails(ReasonKind::Denied) } else { Fate::Answered });
    scene.check(30, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 1 lists, 0 folders, 1 reads");
    scene.store.script(|_| Fate::Fails(ReasonKind::Denied));
    assert_eq!(scene.look_at(40).unwrap_err().kind, ReasonKind::Denied);
}

#[test]
fn what_is_found_by_name_is_counted_once_when_it_is_listed() {
    let mut scene = listed();
    let received = |scene: &mut Scene, second| scene.look_at(second).unwrap().0.received_objects;
    write(&scene, 6..=7);
    scene.probe.claim(Some(Txid(7)));
    assert_eq!(received(&mut scene, 20), None);
    assert!(scene.probe.take_seen().is_none());
    write(&scene, 8..=8);
    assert_eq!(received(&mut scene, 80), Some(3));
    let listed = scene.probe.take_seen().unwrap().listed;
    assert_eq!(listed.iter().count(), 4, "from the newest that was listed on");
    write(&scene, 9..=9);
    scene.probe.claim(Some(Txid(9)));
    assert_eq!((received(&mut scene, 90), received(&mut scene, 141)), (None, Some(4)));
}
