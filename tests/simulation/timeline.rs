//! The coverage map of a replica that is looked at again and again, and what is asked of one where a listing has only the
//! time of upload.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use streamgauge::domain::litestream::LevelKeys;
use streamgauge::domain::timeline::TimelineReport;
use streamgauge::infrastructure::store::MemoryStore;
use streamgauge::usecase::restorable::{Counted, contents};

use crate::probe_v3::{GENERATION, generation, put_segment};
use crate::world::{Scene, at, ltx, name, put, remove, wal};

/// The map as `from..until states@resolution` in seconds, or what blocks.
fn shown(map: &TimelineReport) -> String {
    let second = |wall: jiff::Timestamp| wall.as_second() - at(0).wall().as_second();
    let span = |span: &streamgauge::domain::timeline::Span| {
        let (from, until) = (second(span.from), second(span.until));
        match &span.blocked {
            None => format!("{from}..{until} {}@{}", span.points, span.resolution_seconds),
            Some(blocked) => format!("{from}..{until} {}", blocked.detail.replace("00000000000000", "…")),
        }
    };
    map.spans.iter().map(span).collect::<Vec<_>>().join(", ")
}

/// Looks at a second, and compares the map and the calls that it took.
fn check(scene: &mut Scene, second: i64, expected: &str, calls: [usize; 3]) {
    scene.store.calls();
    let (finding, _) = scene.look_at(second).unwrap();
    let map = finding.timeline.expect("a map");
    assert_eq!((shown(&map).as_str(), scene.store.calls()), (expected, calls), "at {second}");
}

fn replica(newest: u64) -> Scene {
    let scene = Scene::new();
    (1..=newest).for_each(|txid| put(&scene.files, 0, txid, txid, txid.cast_signed(), Some(wal(5, txid))));
    put(&scene.files, 9, 1, 1, 1, Some(wal(5, 1)));
    scene
}

#[test]
fn a_map_grows_with_what_each_look_sees_and_costs_nothing_more() {
    let mut scene = replica(5);
    check(&mut scene, 10, "1..10 5@0", [2, 2, 1]);
    check(&mut scene, 200, "1..200 5@0", [1, 0, 0]);
    (6..=9).for_each(|txid| put(&scene.files, 0, txid, txid, 200 + txid.cast_signed(), Some(wal(5, txid))));
    check(&mut scene, 210, "1..210 9@0", [1, 0, 1]);
    // A compaction: of what it holds, only its end is certain to be left.
    put(&scene.files, 1, 2, 8, 208, None);
    put(&scene.files, 0, 10, 10, 311, Some(wal(5, 10)));
    check(&mut scene, 312, "1..10 5@0, 10..208 0@198, 208..312 3@0", [4, 1, 1]);
    // What retention took is seen when everything is listed.
    (1..=8).for_each(|txid| remove(&scene.files, 0, txid, txid));
    check(&mut scene, 4000, "1..208 1@207, 208..4000 3@0", [3, 1, 0]);
}

#[test]
fn a_hole_is_in_the_map_with_the_look_that_believes_it() {
    let mut scene = replica(5);
    scene.look_at(10).unwrap();
    put(&scene.files, 0, 8, 8, 20, Some(wal(5, 8)));
    let (finding, _) = scene.look_at(21).unwrap();
    assert_eq!(shown(&finding.timeline.unwrap()), "1..5 5@0, 5..21 TXIDs …06 to …07 are in no file");
    let (finding, _) = scene.look_at(400).unwrap();
    assert_eq!(finding.timeline.unwrap().largest_gap_seconds, Some(395.0));
}

#[test]
fn what_is_found_to_be_damaged_blocks_from_the_next_look_on() {
    let mut scene = replica(5);
    scene.look_at(10).unwrap();
    let key = LevelKeys::Plain.key(0, name(3, 3));
    scene.probe.set_damaged(BTreeSet::from([key.clone()]));
    check(&mut scene, 11, "1..3 2@0, 3..11 ltx/0/…03-…03.ltx is damaged", [2, 1, 0]);
    // Nothing new is known: nothing is listed for it.
    scene.probe.set_damaged(BTreeSet::from([key]));
    check(&mut scene, 12, "1..3 2@0, 3..12 ltx/0/…03-…03.ltx is damaged", [1, 0, 0]);
    scene.probe.set_damaged(BTreeSet::new());
    check(&mut scene, 13, "1..13 5@0", [2, 1, 0]);
}

#[test]
fn segments_of_v0_3_are_states_as_they_come() {
    let mut scene = Scene::new();
    generation(&scene, 4);
    check(&mut scene, 10, "1..10 5@0", [2, 2, 1]);
    put_segment(&scene.files, GENERATION, 4, 11);
    check(&mut scene, 12, "1..12 6@0", [1, 0, 1]);
    // The first segment of the second index is gone: everything is listed anew, and the others do not count.
    assert!(scene.files.remove(&format!("{GENERATION}/wal/00000001_00000000.wal.lz4")));
    let (finding, _) = scene.look_at(4000).unwrap();
    let missing = "the first segment of WAL index 00000001 is missing";
    assert_eq!(shown(&finding.timeline.unwrap()), format!("1..4 4@0, 4..4000 {missing}"));
}

#[test]
fn headers_decide_where_a_listing_knows_only_uploads() {
    let store = MemoryStore::new();
    // Uploaded three seconds after they were written.
    let put = |level: u8, min: u64, max: u64| {
        let second = max.cast_signed() * 10;
        let file = ltx(name(min, max), at(second).wall(), None);
        store.put(LevelKeys::Hex.key(level, name(min, max)), file, at(second + 3).wall());
    };
    put(9, 1, 1);
    (2..=6).for_each(|txid| put(0, txid, txid));
    let none = BTreeSet::new();
    let listed = contents(&store, &none).now_or_never().unwrap().unwrap();
    assert!(listed.uploaded());
    for (second, position, reads) in
        [(35, Some(3), 4), (41, Some(4), 4), (40, Some(3), 4), (10, None, 5), (99, Some(6), 2)]
    {
        let counted = Counted::new(&store);
        let answer = listed.ask(&counted, &none, at(second).wall()).now_or_never().unwrap().unwrap();
        let expected = position.map(|txid: u64| format!("{txid:016x}"));
        assert_eq!((answer.position, counted.requests()), (expected, reads), "at {second}");
    }
}
