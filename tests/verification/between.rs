//! What is wrong between objects, or with one in time: rewritten, vanished, incomplete, of another page size or encoding.

use std::fs;
use std::path::Path;

use streamgauge::domain::limits::PLAN_CANDIDATES_MAX;
use streamgauge::domain::verification::{Budget, Ledger, VerifyDepth};
use streamgauge_testkit::ltx::{Consumed, Header, Pages, encode};
use streamgauge_testkit::wal::Position;

use crate::bench::{Bench, level, objects, thorough, v3, v5};
use crate::lab::Lab;

/// Puts a file that holds these pages.
pub(super) fn put(replica: &Path, on: u8, (min, max): (u64, u64), page_size: u32, commit: u32, pages: &[u32]) {
    let wal = Some(Consumed { from: 32, end: Position { salt1: 7, salt2: 8, end: 4152 } });
    let header = Header { page_size, commit, min, max, timestamp: (1_900_000_000 + max) * 1000, wal };
    let pages: Pages = pages.iter().map(|page| (*page, vec![*page as u8; page_size as usize])).collect();
    let path = replica.join(level(on, min, max));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, encode(&header, &pages)).unwrap();
}

#[tokio::test]
async fn pages_that_no_file_holds_are_missed() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path();
    put(replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
    put(replica, 0, (2, 2), 4096, 3, &[2]);
    put(replica, 0, (3, 3), 4096, 7, &[1, 4, 6, 7]);
    let mut bench = thorough(replica);
    bench.settle().await;
    assert_eq!(bench.findings(), [("pages_missing", level(0, 3, 3))]);
    let report = bench.report();
    assert!(report.findings[0].detail.contains("from 3 to 7 pages, and page 5 is in no file"), "{report:?}");
    assert!(report.findings[0].needed);

    // A restart does not make it well until its files were read again.
    let mut ledger = Ledger::new(VerifyDepth::Content, Budget::new(10 << 30), false);
    assert!(ledger.restore(&bench.ledger.save()));
    let mut restarted = Bench::with(replica, ledger);
    restarted.denied = true;
    restarted.look().await;
    assert_eq!(restarted.report().findings, report.findings);
    restarted.denied = false;
    restarted.wait(3600);
    restarted.settle().await;
    assert_eq!(restarted.report().findings, report.findings);

    put(replica, 0, (4, 4), 4096, 7, &[5]);
    bench.settle().await;
    assert_eq!(bench.findings(), [], "a later file holds what was missing");
}

#[tokio::test]
async fn pages_that_a_later_file_cuts_off_are_not_missed() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path();
    put(replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
    put(replica, 0, (2, 2), 4096, 9, &[1, 4, 5, 6, 7, 9]);
    put(replica, 0, (3, 3), 4096, 7, &[1]);
    let mut bench = thorough(replica);
    bench.settle().await;
    assert_eq!(bench.findings(), []);
    put(replica, 0, (4, 4), 4096, 8, &[1]);
    bench.settle().await;
    assert_eq!(bench.findings(), [("pages_missing", level(0, 4, 4))]);
}

#[tokio::test]
async fn pages_of_another_size_do_not_fit() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path();
    put(replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
    put(replica, 0, (2, 2), 1024, 3, &[2]);
    let mut bench = thorough(replica);
    bench.settle().await;
    assert_eq!(bench.findings(), [("page_size_mismatch", level(0, 2, 2))]);
}

#[tokio::test]
async fn an_encoding_newer_than_the_restorer_is_told() {
    let lab = Lab::find();
    for (version, expected) in [("0.5.15", vec![]), ("0.5.17", vec![("newer_encoding", level(0, 6, 6))])] {
        let home = tempfile::tempdir().unwrap();
        let replica = v5(&lab, version, home.path());
        let mut bench = Bench::with(&replica, Ledger::new(VerifyDepth::Content, Budget::new(1 << 30), true));
        bench.settle().await;
        assert_eq!(bench.findings(), expected, "{version}");
    }
}

#[tokio::test]
async fn another_writers_file_is_a_conflict_and_the_same_file_again_is_not() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = thorough(&replica);
    bench.settle().await;

    // As a compaction that is made again after a crash: the same bytes, later.
    let key = level(0, 4, 4);
    let content = fs::read(replica.join(&key)).unwrap();
    fs::write(replica.join(&key), &content).unwrap();
    assert_eq!(bench.reconcile().await.findings, []);

    put(&replica, 0, (4, 4), 4096, 300, &[2]);
    bench.reconcile().await;
    assert_eq!(bench.findings(), [("rewritten", key.clone())]);
    assert_eq!(bench.report().lineage_conflicts, 1);
    bench.reconcile().await;
    assert_eq!(bench.report().lineage_conflicts, 1, "it is counted once");

    // Two writers that replace each other's file under the eyes of an ordinary look.
    put(&replica, 0, (6, 6), 4096, 300, &[3]);
    bench.settle().await;
    assert!(bench.findings().contains(&("rewritten", level(0, 6, 6))), "{:?}", bench.findings());
    assert_eq!(bench.report().lineage_conflicts, 2);
}

#[tokio::test]
async fn files_of_level_0_that_overlap_have_two_writers() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path();
    put(replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
    put(replica, 0, (2, 2), 4096, 3, &[2]);
    put(replica, 1, (2, 3), 4096, 3, &[2]);
    put(replica, 0, (3, 3), 4096, 3, &[2]);
    let mut bench = thorough(replica);
    bench.settle().await;
    assert_eq!(bench.findings(), [], "levels overlap by design");
    put(replica, 0, (3, 4), 4096, 3, &[1]);
    bench.settle().await;
    assert_eq!(bench.findings(), [("rewritten", level(0, 3, 4))]);
    assert_eq!(bench.report().lineage_conflicts, 1);
    fs::remove_file(replica.join(level(0, 3, 3))).unwrap();
    bench.reconcile().await;
    assert_eq!(bench.report().lineage_conflicts, 1);
}

#[tokio::test]
async fn a_smaller_file_under_the_same_name_is_cut_off_and_good_again_when_repaired() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = thorough(&replica);
    bench.settle().await;
    let path = replica.join(level(0, 5, 5));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 70_000]).unwrap();
    bench.reconcile().await;
    assert_eq!(bench.findings(), [("truncated", level(0, 5, 5))]);
    fs::write(&path, &whole).unwrap();
    bench.reconcile().await;
    assert_eq!(bench.findings(), []);
}

#[tokio::test]
async fn what_vanishes_is_missed_unless_retention_took_it() {
    let lab = Lab::find();
    // Whether a restore of the latest state needs it decides how bad that is.
    for (key, found, needed) in
        [(level(9, 1, 3), true, false), (level(0, 6, 6), true, true), (level(0, 4, 4), true, true)]
    {
        let home = tempfile::tempdir().unwrap();
        let replica = v5(&lab, "0.5.17", home.path());
        let mut bench = thorough(&replica);
        bench.settle().await;
        fs::remove_file(replica.join(&key)).unwrap();
        bench.reconcile().await;
        bench.reconcile().await;
        let expected: Vec<_> = found.then(|| ("vanished", key.clone())).into_iter().collect();
        assert_eq!(bench.findings(), expected);
        let findings = bench.report().findings;
        assert_eq!(findings[0].needed, needed, "{key}");
        let mut after = thorough(&replica).ledger;
        assert!(after.restore(&bench.ledger.save()));
        assert_eq!(after.report().unwrap().findings, findings, "nor is it worse after a restart");
    }
    // Level 0 goes when level 1 holds it.
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = thorough(&replica);
    bench.settle().await;
    put(&replica, 1, (4, 6), 4096, 300, &(1..=300).collect::<Vec<_>>());
    (4..6).for_each(|txid| fs::remove_file(replica.join(level(0, txid, txid))).unwrap());
    bench.reconcile().await;
    bench.reconcile().await;
    assert_eq!(bench.findings(), []);
}

#[tokio::test]
async fn a_new_history_in_a_place_that_was_emptied_has_nothing_of_the_old_one() {
    let home = tempfile::tempdir().unwrap();
    let (replica, kept) = (home.path().join("replica"), home.path().join("kept"));
    let write = |files: u64, page: u32| {
        put(&replica, 9, (1, 1), 4096, 3, &[1, 2, 3]);
        (2..=files).for_each(|txid| put(&replica, 0, (txid, txid), 4096, 3, &[page]));
    };
    write(5, 2);
    let mut bench = thorough(&replica);
    assert_eq!(bench.settle().await.findings, []);
    // While the directory is not mounted, say: it is back as it was.
    fs::rename(&replica, &kept).unwrap();
    bench.reconcile().await;
    let gone = bench.findings();
    assert!(gone.len() == 5 && gone.iter().all(|(kind, _)| *kind == "vanished"), "{gone:?}");
    let reads = bench.reads();
    fs::rename(&kept, &replica).unwrap();
    bench.reconcile().await;
    // The newest one alone is read again, by a look that wants to know where it ends.
    assert_eq!((bench.findings(), bench.reads().0), (Vec::new(), reads.0 + 1));

    fs::remove_dir_all(&replica).unwrap();
    bench.reconcile().await;
    assert_eq!(bench.findings().len(), 5);
    write(3, 3);
    assert_eq!(bench.reconcile().await.findings, []);
    let report = bench.report();
    assert_eq!((report.lineage_conflicts, report.needed, report.needed_verified), (0, 3, 3), "{report:?}");
}

#[tokio::test]
async fn a_missing_segment_is_a_hole_between_its_neighbours() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v3(&lab, home.path());
    let segments: Vec<_> = objects(&replica).into_iter().filter(|key| key.contains("/wal/")).collect();
    // One that has a neighbour of its index on either side.
    let index = |key: &str| key.rsplit('/').next().unwrap()[..8].to_owned();
    let middle = segments.windows(3).find(|keys| index(&keys[0]) == index(&keys[2])).expect("three of one index");
    fs::remove_file(replica.join(&middle[1])).unwrap();
    let mut bench = thorough(&replica);
    let report = bench.settle().await;
    assert_eq!(bench.findings(), [("segment_missing", middle[2].clone())]);
    assert!(report.findings[0].detail.contains(&format!("{} is missing", middle[1])), "{report:?}");
}

#[tokio::test]
async fn the_last_segment_of_an_index_is_missed_once_it_was_seen() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v3(&lab, home.path());
    let last = objects(&replica).into_iter().rfind(|key| key.contains("/wal/")).unwrap();
    let mut bench = thorough(&replica);
    bench.settle().await;
    fs::remove_file(replica.join(&last)).unwrap();
    bench.reconcile().await;
    assert_eq!(bench.findings(), [("vanished", last)]);
    assert!(bench.report().findings[0].needed);
}

#[tokio::test]
async fn bytes_behind_the_last_frame_stop_no_restore_but_what_follows_them_does() {
    let lab = Lab::find();
    for (newest, expected) in [(true, vec!["trailing_bytes"]), (false, vec!["segment_missing", "trailing_bytes"])] {
        let home = tempfile::tempdir().unwrap();
        let replica = v3(&lab, home.path());
        let segments: Vec<_> = objects(&replica).into_iter().filter(|key| key.contains("/wal/")).collect();
        let at = if newest { segments.len() - 1 } else { segments.len() - 2 };
        let path = replica.join(&segments[at]);
        let mut wal = Vec::new();
        let content = fs::read(&path).unwrap();
        std::io::Read::read_to_end(&mut lz4_flex::frame::FrameDecoder::new(&*content), &mut wal).unwrap();
        wal.extend([7; 100]);
        fs::write(&path, streamgauge_testkit::ltx::lz4_frame(&wal)).unwrap();
        let mut bench = thorough(&replica);
        let report = bench.settle().await;
        let mut kinds: Vec<_> = bench.findings().into_iter().map(|(kind, _)| kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, expected);
        let stops: Vec<_> = report.damaged().into_iter().collect();
        assert_eq!(stops, if newest { &[] } else { &segments[at + 1..] });
        assert_eq!(report.needed_damaged().count(), stops.len());
        let mut after = thorough(&replica).ledger;
        assert!(after.restore(&bench.ledger.save()));
        assert_eq!(after.report().unwrap().findings, report.findings, "nor is it different after a restart");
    }
}

#[tokio::test]
async fn what_is_older_than_what_is_remembered_of_a_chain_is_said_to_be_needed_too() {
    let home = tempfile::tempdir().unwrap();
    let replica = home.path();
    let most = PLAN_CANDIDATES_MAX as u64;
    for (files, more) in [(most, false), (most + 5, true)] {
        (1..=files).for_each(|txid| put(replica, 0, (txid, txid), 512, 1, &[1]));
        let report = thorough(replica).settle().await;
        assert_eq!((report.needed, report.needed_older), (most, more), "{files} files");
    }
    // Of which the newest snapshot leaves none.
    put(replica, 9, (1, most + 3), 512, 1, &[1]);
    let report = thorough(replica).settle().await;
    assert_eq!((report.needed, report.needed_older), (3, false));
}
