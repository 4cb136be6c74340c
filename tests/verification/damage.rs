//! Objects that are damaged by themselves.

use std::fs;
use std::path::Path;

use streamgauge::domain::verification::{Budget, VerifyDepth};

use crate::bench::{Bench, copy, level, objects, thorough, v3, v5};
use crate::lab::Lab;

type Change = Box<dyn Fn(&mut Vec<u8>)>;

/// What was done, and as what it is to be found.
fn changes(length: usize) -> Vec<(String, &'static str, Change)> {
    let mut all: Vec<(String, &'static str, Change)> = Vec::new();
    for end in [0, 1, 99, 100, 110, length / 2, length - 17, length - 1] {
        all.push((format!("cut off at {end}"), "truncated", Box::new(move |file| file.truncate(end))));
    }
    let flips = [
        ("magic", 0, "corrupt"),
        ("page size", 10, "corrupt"),
        ("last TXID", 31, "misnamed"),
        ("checksum field", 47, "corrupt"),
        ("page number", 103, "corrupt"),
        ("page flags", 105, "corrupt"),
        ("compressed page", 120, "corrupt"),
        ("index size", length - 17, "corrupt"),
        ("database checksum", length - 16, "corrupt"),
        ("file checksum", length - 1, "corrupt"),
    ];
    for (what, at, kind) in flips {
        all.push((format!("flipped {what}"), kind, Box::new(move |file| file[at] ^= 0x11)));
    }
    all.push(("grown".to_owned(), "corrupt", Box::new(|file| file.push(0))));
    all
}

fn change(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut file = fs::read(path).unwrap();
    change(&mut file);
    fs::write(path, file).unwrap();
}

#[tokio::test]
async fn every_damage_of_a_small_file_is_found_by_one_request() {
    let lab = Lab::find();
    for version in ["0.5.15", "0.5.17"] {
        let home = tempfile::tempdir().unwrap();
        let replica = v5(&lab, version, home.path());
        let keys = [level(9, 1, 3), level(0, 4, 4), level(0, 6, 6)];
        for key in keys {
            let length = fs::metadata(replica.join(&key)).unwrap().len() as usize;
            for (what, kind, damage) in changes(length) {
                let damaged = tempfile::tempdir().unwrap();
                let damaged = copy(&replica, damaged.path());
                change(&damaged.join(&key), damage);
                let mut bench = Bench::new(&damaged, VerifyDepth::Structure, Budget::new(1 << 30));
                let report = bench.settle().await;
                let found: Vec<_> =
                    report.findings.iter().map(|finding| (finding.kind.as_str(), &*finding.key)).collect();
                assert_eq!(found, [(kind, &*key)], "{version}: {what}");
                assert!(report.findings[0].needed, "{version} {key}: {what}");
                // Four objects in the plan: one request each, two for the large one; what is bad twice. The header of the
                // newest is asked for again with each look while it is bad.
                assert!(bench.reads().0 <= 11, "{version} {key}: {what}: {:?}", bench.reads());
            }
        }
    }
}

#[tokio::test]
async fn sound_replicas_have_no_findings() {
    let lab = Lab::find();
    for version in ["0.5.15", "0.5.17"] {
        let home = tempfile::tempdir().unwrap();
        let replica = v5(&lab, version, home.path());
        let mut bench = thorough(&replica);
        let report = bench.settle().await;
        assert_eq!(report.findings, [], "{version}");
        // The snapshot and three files behind it; what the snapshot holds as well is not read.
        assert_eq!((report.needed, report.needed_verified, report.pending), (4, 4, 0), "{version}");
        assert_eq!((report.structure_verified, report.content_verified), (4, 4), "{version}");
        // One request each, and two more for the structure of the one that is large.
        assert_eq!(bench.reads().0, 6, "{version}");
    }
    let home = tempfile::tempdir().unwrap();
    let replica = v3(&lab, home.path());
    let mut bench = thorough(&replica);
    let report = bench.settle().await;
    assert_eq!(report.findings, []);
    assert_eq!(report.content_verified, objects(&replica).len() as u64);
    assert_eq!(bench.reads().0, objects(&replica).len() as u64, "each is read once");
}

#[tokio::test]
async fn a_large_file_is_cut_off_by_its_ends_and_flipped_by_its_content() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    let key = level(0, 5, 5);
    let length = fs::metadata(replica.join(&key)).unwrap().len() as usize;
    assert!(length > 200_000, "{length}");
    for (what, depth, kind, damage) in [
        (
            "cut off",
            VerifyDepth::Structure,
            Some("truncated"),
            Box::new(move |file: &mut Vec<u8>| file.truncate(length - 5000)) as Change,
        ),
        ("cut to a stub", VerifyDepth::Structure, Some("truncated"), Box::new(|file: &mut Vec<u8>| file.truncate(120))),
        ("renumbered", VerifyDepth::Structure, Some("misnamed"), Box::new(|file: &mut Vec<u8>| file[31] += 1)),
        ("flipped", VerifyDepth::Structure, None, Box::new(|file: &mut Vec<u8>| file[100_000] ^= 1)),
        ("flipped", VerifyDepth::Content, Some("corrupt"), Box::new(|file: &mut Vec<u8>| file[100_000] ^= 1)),
    ] {
        let damaged = tempfile::tempdir().unwrap();
        let damaged = copy(&replica, damaged.path());
        change(&damaged.join(&key), damage);
        let mut bench = Bench::new(&damaged, depth, Budget::new(1 << 30));
        bench.settle().await;
        let expected: Vec<_> = kind.into_iter().map(|kind| (kind, key.clone())).collect();
        assert_eq!(bench.findings(), expected, "{what}, {depth:?}");
    }
}

#[tokio::test]
async fn a_file_under_another_name_is_not_what_its_name_says() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v5(&lab, "0.5.17", home.path());
    fs::rename(replica.join(level(0, 6, 6)), replica.join(level(0, 6, 7))).unwrap();
    let mut bench = thorough(&replica);
    assert!(bench.look().await, "the object before it says how far the replica is");
    bench.settle().await;
    assert_eq!(bench.findings(), [("misnamed", level(0, 6, 7))]);
}

#[tokio::test]
async fn damaged_v3_objects_are_found() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let replica = v3(&lab, home.path());
    for key in objects(&replica) {
        let length = fs::metadata(replica.join(&key)).unwrap().len() as usize;
        let cuts = [0, 5, length / 2, length - 3]
            .map(|end| -> (&str, Change) { ("truncated", Box::new(move |file: &mut Vec<u8>| file.truncate(end))) });
        let flips = [0, length / 2, length - 1]
            .map(|at| -> (&str, Change) { ("corrupt", Box::new(move |file: &mut Vec<u8>| file[at] ^= 0x11)) });
        for (kind, damage) in cuts.into_iter().chain(flips) {
            let damaged = tempfile::tempdir().unwrap();
            let damaged = copy(&replica, damaged.path());
            change(&damaged.join(&key), damage);
            let mut bench = thorough(&damaged);
            bench.settle().await;
            let found = bench.findings();
            let own: Vec<_> = found.iter().filter(|(_, of)| *of == key).collect();
            assert_eq!(own.len(), 1, "{key} {kind}: {found:?}");
            // A flip can make a length longer than what is there.
            assert!(own[0].0 == kind || (kind == "corrupt" && own[0].0 == "truncated"), "{key} {kind}: {found:?}");
            assert_eq!(found.len(), 1, "{key} {kind}: {found:?}");
        }
    }
}
