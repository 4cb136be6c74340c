//! How much is read: each object once, within the budget, and not again after a restart.

use std::fs;

use streamgauge::domain::verification::{Budget, Ledger, VerifyDepth};

use crate::bench::{Bench, level, thorough, v3, v5};
use crate::lab::Lab;

#[tokio::test]
async fn nothing_is_read_twice_not_even_after_a_restart() {
    let lab = Lab::find();
    for v03 in [false, true] {
        let home = tempfile::tempdir().unwrap();
        let replica = if v03 { v3(&lab, home.path()) } else { v5(&lab, "0.5.17", home.path()) };
        let mut bench = thorough(&replica);
        let report = bench.settle().await;
        let reads = bench.reads();
        bench.reconcile().await;
        assert_eq!(bench.reads(), reads, "looks at what was read");

        let saved = bench.ledger.save();
        let mut ledger = Ledger::new(VerifyDepth::Content, Budget::new(10 << 30), false);
        assert!(ledger.restore(&saved));
        let mut again = Bench::with(&replica, ledger);
        assert_eq!(again.settle().await, report);
        // A look reads the newest object's end, which is not remembered.
        assert_eq!(again.reads().0, 1);
        if !v03 {
            fs::copy(replica.join(level(0, 6, 6)), replica.join(level(0, 7, 7))).unwrap();
            again.settle().await;
            assert_eq!(again.findings(), [("misnamed", level(0, 7, 7))], "what is new is read");
        }
    }
}

#[tokio::test]
async fn findings_outlive_a_restart() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let key = level(0, 4, 4);
    let mut file = fs::read(replica.join(&key)).unwrap();
    file[120] ^= 1;
    fs::write(replica.join(&key), file).unwrap();
    let mut bench = thorough(&replica);
    let report = bench.settle().await;
    let mut ledger = Ledger::new(VerifyDepth::Content, Budget::new(10 << 30), false);
    assert!(ledger.restore(&bench.ledger.save()));
    assert_eq!(ledger.report().unwrap().findings[0].key, key);
    let mut again = Bench::with(&replica, ledger);
    assert_eq!(again.settle().await.findings, report.findings);
    assert!(!Ledger::new(VerifyDepth::Content, Budget::new(1), false).restore("{\"of\": \"another version\"}"));
}

#[tokio::test]
async fn the_budget_of_a_day_is_kept_and_what_waits_is_read_the_next_day() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let size = fs::metadata(replica.join(level(0, 5, 5))).unwrap().len();
    // The structure of everything and the content of the small ones fit, the content of the large one does not.
    let budget = size + 20_000;
    let mut bench = Bench::new(&replica, VerifyDepth::Content, Budget::new(budget));
    let report = bench.settle().await;
    assert_eq!((report.needed_verified, report.content_verified, report.pending), (4, 3, 1), "{report:?}");
    assert!(bench.reads().1 < budget, "{:?}", bench.reads());
    for _ in 0..20 {
        bench.look().await;
    }
    assert_eq!(bench.report().content_verified, 3);
    let spent = bench.reads();
    bench.wait(86_400);
    let report = bench.settle().await;
    assert_eq!((report.content_verified, report.pending), (4, 0));
    // A quarter of it may be for what was read on the first day.
    assert!(report.reread_bytes <= budget / 4, "{report:?}");
    assert_eq!(bench.reads().1 - spent.1, size + report.reread_bytes, "the budget of a second day");
}

#[tokio::test]
async fn what_rots_after_it_was_read_is_found_within_a_day_and_a_half() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = thorough(&replica);
    assert!(bench.settle().await.findings.is_empty());
    let path = replica.join(level(9, 1, 3));
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let mut file = fs::read(&path).unwrap();
    file[150] ^= 1;
    fs::write(&path, file).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
    let mut hours = 0;
    while bench.findings().is_empty() {
        assert!(hours < 36, "it was read again by now");
        hours += 1;
        bench.wait(3600);
        bench.settle().await;
    }
    assert!(hours >= 12, "not again so soon: {hours}");
    assert_eq!(bench.findings(), [("corrupt", level(9, 1, 3))]);
}

#[tokio::test]
async fn what_is_larger_than_a_day_allows_is_verified_by_its_structure_and_waits_for_nothing() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = Bench::new(&replica, VerifyDepth::Content, Budget::new(100_000));
    let report = bench.settle().await;
    assert_eq!((report.structure_verified, report.content_verified, report.pending), (4, 3, 0), "{report:?}");
    assert!(bench.reads().1 < 100_000);
}

#[tokio::test]
async fn only_so_many_requests_follow_a_look_and_a_first_listing_is_no_bill() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("ltx/0");
    fs::create_dir_all(&folder).unwrap();
    // A replica in which all that is compacted is still there.
    let name = |txid: u64| format!("ltx/0/{txid:016x}-{txid:016x}.ltx");
    (1..=500).for_each(|txid| fs::write(home.path().join(name(txid)), "not read").unwrap());
    fs::create_dir_all(home.path().join("ltx/9")).unwrap();
    fs::write(home.path().join(level(9, 1, 440)), "not an LTX file").unwrap();
    let mut bench = thorough(home.path());
    bench.look().await;
    // Behind a newest one that is bad, three are asked whether they are good. What is bad is read twice.
    assert_eq!(bench.reads().0, 2 * (1 + 3 + 32));
    let report = bench.settle().await;
    assert_eq!(report.needed, 61);
    assert_eq!(report.needed_verified, 61);
    // They are read for their headers with each look, because they are bad.
    assert!(bench.reads().0 <= 2 * (61 + 4 * 4), "{:?}", bench.reads());
}

#[tokio::test]
async fn what_cannot_be_read_says_nothing_of_its_content_and_is_tried_again_later() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let mut bench = thorough(&replica);
    bench.denied = true;
    bench.look().await;
    let report = bench.report();
    // The newest was read with the look; one attempt at the others is enough.
    assert_eq!((report.findings.len(), report.unreadable, report.needed_verified), (0, 1, 1), "{report:?}");
    assert!(bench.ledger.jobs(32, bench.now().wall()).is_empty(), "not with every look");
    bench.denied = false;
    bench.wait(60);
    let report = bench.settle().await;
    assert_eq!((report.findings.len(), report.unreadable, report.needed_verified), (0, 0, 4), "{report:?}");
}
