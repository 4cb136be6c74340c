//! Looks at replicas of v0.5.

use std::sync::Arc;

use streamgauge::domain::litestream::expiry::Kept;
use streamgauge::domain::litestream::{LevelKeys, Txid};
use streamgauge::domain::observation::{StagedLtx, StagedPosition};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::{ReplicaLocation, ReplicaTarget};
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::replica_probe::ReplicaProbe;

use crate::faulty_store::{Call, Fate};
use crate::world::{Scene, at, ltx, name, put, remove, wal};

/// A snapshot of TXIDs 1 to 3 and the level-0 files 1 to `newest`, one each second, one frame each.
fn replica(newest: u64) -> Scene {
    let scene = Scene::new();
    for txid in 1..=newest {
        put(&scene.files, 0, txid, txid, txid as i64, Some(wal(5, txid)));
    }
    put(&scene.files, 9, 1, 3, 3, Some(wal(5, 3)));
    scene
}

#[test]
fn first_look_lists_everything_and_later_ones_only_what_is_new() {
    let mut scene = replica(5);
    // The root's folders and the levels'; both levels; the newest header.
    scene.check(10, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 2 lists, 2 folders, 1 reads");
    scene.check(11, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 1 lists, 0 folders, 0 reads");
    put(&scene.files, 0, 6, 6, 12, Some(wal(5, 6)));
    scene.check(12, "v0.5 txid 6 wal 5:6 complete 0=6 9=1 | 1 lists, 0 folders, 1 reads");
    scene.check(13, "v0.5 txid 6 wal 5:6 complete 0=6 9=1 | 1 lists, 0 folders, 0 reads");
}

#[test]
fn levels_are_listed_at_their_own_pace_and_only_when_they_can_have_changed() {
    let mut scene = replica(5);
    scene.look(10);
    put(&scene.files, 1, 1, 5, 20, None);
    // What is known is compared with the names that are there.
    scene.check(310, "v0.5 txid 5 wal 5:5 complete 0=5 9=1 | 2 lists, 0 folders, 0 reads");
    put(&scene.files, 0, 6, 6, 311, Some(wal(5, 6)));
    scene.check(611, "v0.5 txid 6 wal 5:6 complete 0=6 1=1 9=1 | 4 lists, 1 folders, 1 reads");
    scene.check(3611, "v0.5 txid 6 wal 5:6 complete 0=6 1=1 9=1 | 3 lists, 1 folders, 0 reads");
}

#[test]
fn newest_file_that_is_gone_has_everything_listed_anew() {
    let mut scene = replica(5);
    scene.look(10);
    remove(&scene.files, 0, 5, 5);
    scene.check(11, "v0.5 txid 4 wal 5:4 complete 0=4 9=1 | 3 lists, 1 folders, 1 reads");
}

#[test]
fn emptied_replica_restores_nothing_until_it_is_filled_again() {
    let mut scene = replica(2);
    scene.look(10);
    for (level, min, max) in [(0, 1, 1), (0, 2, 2), (9, 1, 3)] {
        remove(&scene.files, level, min, max);
    }
    scene.check_found(11, "v0.5 no start");
    scene.check_found(12, "nothing no start");
    // Litestream goes on as if nothing had happened.
    put(&scene.files, 0, 4, 4, 12, Some(wal(5, 4)));
    scene.check_found(13, "v0.5 txid 4 wal 5:4 no start gap ..4 0=1");
    put(&scene.files, 9, 1, 4, 14, Some(wal(5, 4)));
    scene.check_found(4000, "v0.5 txid 4 wal 5:4 complete 0=1 9=1");
}

#[test]
fn hole_is_one_when_no_level_bridges_it() {
    let mut scene = replica(3);
    for txid in [4, 6, 7] {
        put(&scene.files, 0, txid, txid, txid as i64, Some(wal(5, txid)));
    }
    scene.check_found(10, "v0.5 txid 7 wal 5:7 broken after 4 gap 4..6 0=6 9=1");
    // Known already: not listed a second time.
    scene.check(11, "v0.5 txid 7 wal 5:7 broken after 4 gap 4..6 0=6 9=1 | 1 lists, 0 folders, 0 reads");
    put(&scene.files, 1, 4, 6, 12, None);
    put(&scene.files, 0, 8, 8, 12, Some(wal(5, 8)));
    scene.check_found(320, "v0.5 txid 8 wal 5:8 complete 0=7 1=1 9=1");
}

#[test]
fn snapshot_alone_is_a_whole_replica() {
    let mut scene = Scene::new();
    put(&scene.files, 9, 1, 40, 3, Some(wal(5, 8)));
    scene.check_found(10, "v0.5 txid 40 wal 5:8 complete 9=1");
}

#[test]
fn compaction_says_nothing_of_the_wal_and_litestreams_own_file_of_that_txid_does() {
    let mut scene = Scene::new();
    put(&scene.files, 1, 1, 4, 9, None);
    scene.check_found(10, "v0.5 txid 4 complete 1=1");
    let staged =
        |txid, frames| StagedLtx { txid: Txid(txid), end: wal(5, frames), wal_bytes: 0, timestamp: at(9).wall() };
    scene.staged = Some(StagedPosition::Ltx(vec![staged(3, 7), staged(4, 8), staged(5, 9)]));
    scene.check_found(11, "v0.5 txid 4 txid 5:8 complete 1=1");
    let (_, evidence) = scene.look_at(12).unwrap();
    assert_eq!(evidence.newest_at, Some(at(9).wall()));
}

#[test]
fn compaction_on_a_store_that_dates_uploads_is_as_old_as_its_header_says() {
    let mut scene = Scene::new();
    let file = name(1, 4);
    scene.files.put(LevelKeys::Hex.key(1, file), ltx(file, at(9).wall(), None), at(500).wall());
    let (_, evidence) = scene.look_at(600).unwrap();
    assert_eq!(evidence.newest_at, Some(at(9).wall()));
}

#[test]
fn damaged_header_names_its_key() {
    let mut scene = replica(3);
    let key = LevelKeys::Plain.key(0, name(4, 4));
    scene.files.put(key.clone(), ltx(name(5, 5), at(4).wall(), Some(wal(5, 4))), at(4).wall());
    let (finding, evidence) = scene.look_at(10).unwrap();
    // The newest file that is what its name says tells how far the replica is.
    assert_eq!((finding.txid, evidence.position), (Some(3), Some(wal(5, 3))));
    let reason = finding.damaged.unwrap();
    assert_eq!(reason.kind, ReasonKind::Corrupt);
    assert_eq!(
        reason.message,
        "read ltx/0/0000000000000004-0000000000000004.ltx: TXIDs 0000000000000005 to 0000000000000005 differ from the \
         file's name 0000000000000004-0000000000000004.ltx at byte 16"
    );
    scene.files.put(key, ltx(name(4, 4), at(4).wall(), Some(wal(5, 4))), at(4).wall());
    scene.store.script(|call| if matches!(call, Call::Read(_)) { Fate::Cut(99) } else { Fate::Answered });
    let reason = scene.look_at(11).unwrap_err();
    assert_eq!(reason.message, "read ltx/0/0000000000000004-0000000000000004.ltx: unexpected end at byte 99");
    scene.store.heal();
    // What was listed is not listed again because a header could not be read.
    scene.check(12, "v0.5 txid 4 wal 5:4 complete 0=4 9=1 | 1 lists, 0 folders, 1 reads");
}

#[test]
fn file_that_goes_between_its_listing_and_its_reading_is_a_failed_look() {
    let mut scene = replica(4);
    let files = Arc::clone(&scene.files);
    scene.store.script(move |call| {
        if matches!(call, Call::Read(_)) {
            remove(&files, 0, 4, 4);
        }
        Fate::Answered
    });
    scene.check_found(10, "not_found: no such object");
    scene.store.heal();
    scene.check_found(12, "v0.5 txid 3 wal 5:3 complete 0=3 9=1");
}

#[test]
fn listing_that_fails_half_way_changes_nothing() {
    let mut scene = Scene::with(MemoryStore::with_page_keys(2), false);
    for txid in 1..=5 {
        put(&scene.files, 0, txid, txid, txid as i64, Some(wal(5, txid)));
    }
    scene.check_found(10, "v0.5 txid 5 wal 5:5 complete 0=5");
    // Retention took what was known, and new files are there.
    (1..=5).for_each(|txid| remove(&scene.files, 0, txid, txid));
    (9..=14).for_each(|txid| put(&scene.files, 0, txid, txid, txid as i64, Some(wal(5, txid))));
    put(&scene.files, 9, 1, 9, 9, Some(wal(5, 9)));
    for failing in 1..=5 {
        let mut lists = 0;
        scene.store.script(move |call| {
            lists += usize::from(matches!(call, Call::List(_)));
            if lists == failing { Fate::Fails(ReasonKind::Throttled) } else { Fate::Answered }
        });
        assert_eq!(scene.look_at(20).unwrap_err().kind, ReasonKind::Throttled);
    }
    scene.store.heal();
    scene.check_found(30, "v0.5 txid 14 wal 5:14 complete 0=6 9=1");
}

#[test]
fn layout_is_asked_for_until_there_is_one() {
    let mut scene = Scene::new();
    scene.check(10, "nothing no start | 0 lists, 1 folders, 0 reads");
    scene.files.put("lost+found/x", "", at(0).wall());
    scene.check_found(11, "nothing no start");
    put(&scene.files, 0, 1, 1, 12, Some(wal(5, 1)));
    scene.check_found(13, "v0.5 txid 1 wal 5:1 complete 0=1");
}

/// What a listing says of how a replica is kept.
fn kept(scene: &mut Scene, second: i64) -> String {
    let (finding, _) = scene.look_at(second).unwrap();
    let coverage = finding.coverage;
    let since = coverage.unsnapshotted_since.map_or(-1, |since| since.duration_since(at(0).wall()).as_secs());
    let number = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let (moved, expired) = (number(coverage.changes_since_snapshot), number(coverage.expired_objects));
    let whole = coverage.whole.map_or("?", |whole| if whole { "whole" } else { "cut" });
    format!("{moved} since {since}, {whole}, {expired} expired, {} received", number(finding.received_bytes))
}

#[test]
fn snapshots_that_do_not_come_and_history_that_goes_are_seen() {
    let mut scene = replica(5);
    assert_eq!(kept(&mut scene, 10), "2 since 4, whole, ? expired, 0 received");
    put(&scene.files, 0, 6, 6, 12, Some(wal(5, 6)));
    assert_eq!(kept(&mut scene, 12), "3 since 4, whole, ? expired, 131 received");
    put(&scene.files, 9, 1, 6, 400, Some(wal(5, 6)));
    put(&scene.files, 1, 4, 6, 400, None);
    // Levels are listed when there is something that they could hold; a new snapshot is not what level 0 received.
    put(&scene.files, 0, 7, 7, 401, Some(wal(5, 7)));
    assert_eq!(kept(&mut scene, 401), "1 since 401, whole, ? expired, 262 received");
    // Retention takes the first files, and what is listed anew is not received anew.
    (1..=6).for_each(|txid| remove(&scene.files, 0, txid, txid));
    remove(&scene.files, 9, 1, 3);
    assert_eq!(kept(&mut scene, 4100), "1 since 401, cut, ? expired, 262 received");
    // Nothing is written: there is nothing of which a snapshot could be taken.
    put(&scene.files, 9, 1, 7, 4200, Some(wal(5, 7)));
    remove(&scene.files, 0, 7, 7);
    assert_eq!(kept(&mut scene, 4201), "0 since -1, cut, ? expired, 262 received");
}

#[test]
fn what_retention_should_have_deleted_is_counted_when_everything_is_listed() {
    const DAY: i64 = 86_400;
    let mut scene = Scene::new();
    let day = std::time::Duration::from_secs(DAY.unsigned_abs());
    let five_minutes = std::time::Duration::from_secs(300);
    let kept_for = Kept { snapshots: Some(day), every: day, level0: Some(five_minutes) };
    scene.probe = ReplicaProbe::of(&Arc::new(ReplicaTarget { kept: Some(kept_for), ..directory() }));
    for (snapshot, second) in [(2, 0), (4, DAY), (6, 2 * DAY)] {
        put(&scene.files, 9, 1, snapshot, second, None);
    }
    put(&scene.files, 1, 5, 7, 2 * DAY, None);
    put(&scene.files, 0, 7, 7, 2 * DAY, None);
    put(&scene.files, 0, 8, 8, 2 * DAY, Some(wal(5, 8)));
    assert!(kept(&mut scene, 2 * DAY + 6 * 3600).contains(" 0 expired"), "a run may be late");
    // The first snapshot is two days and more than six hours old; level 0 is in level 1 for longer than that.
    assert!(kept(&mut scene, 2 * DAY + 8 * 3600).contains(" 2 expired"));
    remove(&scene.files, 9, 1, 2);
    remove(&scene.files, 0, 7, 7);
    assert!(kept(&mut scene, 2 * DAY + 10 * 3600).contains(" 0 expired"));
    // The last snapshot and the newest file stay, however old they are.
    remove(&scene.files, 9, 1, 4);
    assert!(kept(&mut scene, 100 * DAY).contains(" 0 expired"));
}

fn directory() -> ReplicaTarget {
    ReplicaTarget {
        name: "file".to_owned(),
        location: ReplicaLocation::Directory("/r".into()),
        sync_interval: std::time::Duration::from_secs(1),
        encrypted: false,
        age_identities: Vec::new(),
        kept: None,
        written: Default::default(),
    }
}

#[test]
fn what_is_gone_from_the_middle_shows_with_the_levels_where_names_cost_little() {
    let mut scene = replica(9);
    scene.look(10);
    remove(&scene.files, 0, 4, 4);
    scene.check(309, "v0.5 txid 9 wal 5:9 complete 0=9 9=1 | 1 lists, 0 folders, 0 reads");
    scene.check_found(310, "v0.5 txid 9 wal 5:9 broken after 3 gap 3..5 0=8 9=1");
    // Where each listing is paid for, it shows when everything is listed.
    let mut scene = Scene::with(MemoryStore::flat(), false);
    (1..=9).for_each(|txid| put(&scene.files, 0, txid, txid, txid.cast_signed(), Some(wal(5, txid))));
    scene.look(10);
    remove(&scene.files, 0, 4, 4);
    scene.check_found(3609, "v0.5 txid 9 wal 5:9 complete 0=9");
    scene.check_found(3610, "v0.5 txid 9 wal 5:9 broken after 3 gap 3..5 0=8");
}

#[test]
fn the_space_that_is_left_is_asked_for_only_where_nothing_arrives_although_something_waits() {
    let mut scene = Scene::new();
    put(&scene.files, 9, 1, 1, 1, None);
    put(&scene.files, 0, 2, 2, 2, Some(wal(5, 1)));
    let mut asked = |second, aim| {
        scene.probe.aim(aim);
        scene.look_at(second).unwrap().0.space_left
    };
    assert_eq!(asked(10, Some(wal(5, 2))), None, "it may be on its way");
    assert_eq!(asked(200, Some(wal(5, 1))), None, "nothing waits");
    assert_eq!(asked(210, None), None, "where the database is does not show");
    assert_eq!(asked(220, Some(wal(5, 2))), Some(0));
}
