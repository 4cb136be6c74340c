//! Replicas that are damaged on purpose: the drill fails, and says where.

use std::fs;

use crate::lab::Lab;
use crate::site::Site;

/// The name of a file as a key ends.
fn name(path: &std::path::Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// A site whose newest level-0 files are planned: three of them behind the snapshot.
fn site(lab: &Lab) -> Site {
    let mut site = Site::new(lab);
    for _ in 0..3 {
        site.writer.commit(3);
        site.sync(lab, &[]);
    }
    assert_eq!(site.drill(&[]).result(), "passed", "before the damage");
    site
}

#[test]
fn changed_content_fails_by_key() {
    let lab = Lab::find();
    let site = site(&lab);
    for path in [site.level(0)[2].clone(), site.level(9).last().unwrap().clone()] {
        let sound = fs::read(&path).unwrap();
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x20;
        for content in [damaged, sound[..sound.len() / 2].to_vec(), Vec::new()] {
            fs::write(&path, content).unwrap();
            let drilled = site.drill(&[]);
            assert_eq!(drilled.result(), "failed", "{}", drilled.record());
            assert!(drilled.reason().contains(name(&path)), "{} in {}", name(&path), drilled.reason());
            assert_eq!(drilled.check("restore").0, "failed");
        }
        fs::write(&path, sound).unwrap();
    }
    assert_eq!(site.drill(&[]).result(), "passed", "after the repair");
}

#[test]
fn a_hole_a_lost_tail_and_an_empty_replica_fail() {
    let lab = Lab::find();
    let site = site(&lab);
    let level = site.level(0);
    let hole = &level[level.len() - 2];
    let sound = fs::read(hole).unwrap();
    fs::remove_file(hole).unwrap();
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    fs::write(hole, sound).unwrap();

    // Litestream restores the older state without a word. The live database tells.
    let tail = level.last().unwrap();
    fs::remove_file(tail).unwrap();
    site.configure("1ms");
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    assert!(drilled.reason().contains("bytes of committed WAL are not in it"), "{}", drilled.reason());

    fs::remove_dir_all(site.replica.join("ltx")).unwrap();
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    assert!(drilled.reason().contains("nothing there was written by Litestream"), "{}", drilled.reason());
}

#[test]
fn wrong_data_with_right_checksums_fails() {
    let lab = Lab::find();
    let site = site(&lab);
    let path = site.level(0).last().unwrap().clone();
    let sound = fs::read(&path).unwrap();

    // One letter of one row: no check of SQLite's sees that.
    Site::forge(&path, |_, pages| {
        let page = pages.values_mut().next_back().unwrap();
        let letter = page.iter_mut().rev().find(|byte| **byte == b'A').unwrap();
        *letter = b'B';
    });
    let drilled = site.drill(&[]);
    assert_eq!(drilled.check("quick_check").0, "passed", "{}", drilled.record());
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    let (result, detail) = drilled.check("compare");
    assert!(result == "failed" && detail.starts_with("page "), "{detail}");

    // A page of garbage, as a torn capture leaves it.
    fs::write(&path, sound).unwrap();
    Site::forge(&path, |_, pages| pages.values_mut().next_back().unwrap().fill(0xa5));
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    assert_eq!(drilled.check("quick_check").0, "failed", "{}", drilled.record());

    // Not even a database.
    let all: Vec<_> = site.level(0).into_iter().chain(site.level(9)).collect();
    for path in all {
        Site::forge(&path, |_, pages| pages.values_mut().for_each(|page| page.fill(0x5a)));
    }
    let url = format!("file://{}", site.replica.display());
    let drilled = site.drill(&[&url]);
    assert_eq!(drilled.result(), "failed", "{}", drilled.record());
    let (result, detail) = drilled.check("restore");
    assert!(result == "failed" && detail.contains("page 1 does not begin a database"), "{detail}");
    let newest = site.level(0).last().cloned().unwrap();
    assert!(detail.contains(name(&newest)) || detail.contains("/9/"), "{detail}");
}
