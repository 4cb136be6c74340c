//! What lives and reviews brought to light, each as the shortest story that shows it.

use std::sync::Arc;

use futures_util::FutureExt;
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::faulty_store::{Call, Fate};
use crate::world::{Scene, at, pace, put, remove, wal};

/// Level-0 files from `first` to `last`.
fn files(scene: &Scene, first: u64, last: u64) {
    (first..=last).for_each(|txid| put(&scene.files, 0, txid, txid, txid as i64, Some(wal(5, txid))));
}

/// Does `what` once, before the `nth` call.
fn before_call(scene: &Scene, nth: usize, mut what: impl FnMut() + Send + 'static) {
    let mut calls = 0;
    scene.store.script(move |_| {
        calls += 1;
        if calls == nth {
            what();
        }
        Fate::Answered
    });
}

#[test]
fn look_that_is_given_up_forgets_nothing() {
    let mut scene = Scene::new();
    files(&scene, 1, 3);
    put(&scene.files, 9, 1, 3, 3, Some(wal(5, 3)));
    scene.look(10);
    for hanging in ["ltx/", "ltx/0/", "ltx/9/"] {
        scene.store.script(move |call| match call {
            Call::List(prefix) | Call::Folders(prefix) if prefix == hanging => Fate::Hangs,
            _ => Fate::Answered,
        });
        let pace = pace();
        assert!(scene.probe.look(&scene.store, None, at(4000), &pace).now_or_never().is_none());
    }
    scene.store.heal();
    scene.check_found(20, "v0.5 txid 3 wal 5:3 complete 0=3 9=1");
}

#[test]
fn files_that_are_compacted_away_while_they_are_listed_leave_no_hole() {
    let mut scene = Scene::new();
    files(&scene, 1, 3);
    scene.look(10);
    files(&scene, 4, 6);
    // A directory is not read at one instant: what is deleted meanwhile may be missing, and what is older still there.
    before_call(&scene, 1, {
        let files = Arc::clone(&scene.files);
        move || {
            put(&files, 1, 1, 5, 11, None);
            (4..=5).for_each(|txid| remove(&files, 0, txid, txid));
        }
    });
    scene.check_found(11, "v0.5 txid 6 wal 5:6 complete 0=4 1=1");
}

#[test]
fn first_compaction_between_two_listings_does_not_look_like_an_emptied_replica() {
    let mut scene = Scene::new();
    files(&scene, 1, 2);
    scene.look(10);
    // Until 0.5.2, compacted files go at once. The folders are listed third, level 0 fourth.
    let files = Arc::clone(&scene.files);
    scene.store.script(move |call| {
        if call == Call::List("ltx/0/") && files.remove("ltx/0/0000000000000002-0000000000000002.ltx") {
            remove(&files, 0, 1, 1);
            put(&files, 1, 1, 2, 11, None);
        }
        Fate::Answered
    });
    scene.check_found(4000, "v0.5 txid 2 complete 1=1");
}

#[test]
fn what_goes_to_level_1_at_once_is_found_there_at_the_next_look() {
    let mut scene = Scene::new();
    put(&scene.files, 1, 1, 2, 2, None);
    put(&scene.files, 9, 1, 2, 2, Some(wal(5, 2)));
    scene.check_found(10, "v0.5 txid 2 wal 5:2 complete 1=1 9=1");
    put(&scene.files, 1, 3, 4, 11, None);
    scene.check_found(12, "v0.5 txid 4 complete 1=2 9=1");
}

#[test]
fn hole_that_was_there_before_the_first_look_is_claimed_at_it() {
    let mut scene = Scene::new();
    files(&scene, 1, 2);
    files(&scene, 4, 4);
    scene.check(10, "v0.5 txid 4 wal 5:4 broken after 2 gap 2..4 0=3 | 2 lists, 3 folders, 1 reads");
    scene.probe = ReplicaProbe::default();
    scene.check_found(11, "v0.5 txid 4 wal 5:4 broken after 2 gap 2..4 0=3");
}
