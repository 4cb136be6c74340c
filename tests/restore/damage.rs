//! Replicas that lost something: never a wrong database, and never an older one without a word.

use std::fs;

use streamgauge_testkit::ltx::{Header, Pages, encode};

use super::lab::Lab;
use super::source::{Source, rows};

/// A snapshot at TXID 2 and level-0 files up to TXID 6.
fn replica<'a>(lab: &'a Lab, home: &std::path::Path) -> Source<'a> {
    let mut source = Source::new(lab, home, 4096);
    for step in 1..=6 {
        source.sql(&rows(100));
        source.sync("0.5.17", step == 2);
    }
    source
}

#[test]
fn a_hole_is_named_and_an_older_state_is_never_given_silently() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let source = replica(&lab, home.path());
    fs::remove_file(&source.files(0)[3].0).unwrap();
    let out = home.path().join("out.db");

    let done = source.run(&out, &[]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("nothing leads from TXID 0000000000000003 to TXID 0000000000000005"), "{said}");
    assert!(said.contains("hint: --txid 0000000000000003 restores what comes before the hole"), "{said}");
    assert!(source.theirs("0.5.17", &[]).is_err());
    assert!(source.ours(&["--txid", "0000000000000003"]).is_ok());

    // Litestream takes no instant behind its newest file; this one is just before it.
    let newest = source.files(0).last().unwrap().2.timestamp.to_string();
    let theirs = source.theirs("0.5.17", &["-timestamp", &newest]).unwrap();
    let done = source.run(&out, &["--at", &newest, "--format", "json"]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(fs::read(&out).unwrap() == theirs, "the bytes differ");
    assert!(
        said.contains("WARNING: ") && said.contains("would give you this older state silently, with exit code 0"),
        "{said}"
    );
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(answer["shortfall"]["after"], "0000000000000003");
    assert_eq!(answer["shortfall"]["before"], "0000000000000005");
}

#[test]
fn a_damaged_object_is_named_with_the_place() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let source = replica(&lab, home.path());
    let (path, name, _) = source.files(0)[4].clone();
    let whole = fs::read(&path).unwrap();
    let key = format!("ltx/0/{name}");
    let folder = home.path().join("out");
    fs::create_dir(&folder).unwrap();
    let refused = |content: &[u8], cause: &str| {
        fs::write(&path, content).unwrap();
        let done = source.run(&folder.join("out.db"), &[]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(&key) && said.contains(cause), "expected {cause}: {said}");
        assert!(said.contains("hint: --txid 0000000000000004 restores what comes before it"), "{said}");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        assert!(source.theirs("0.5.17", &[]).is_err(), "{cause}: Litestream restores it");
    };
    for length in [0, 50, 100, 500, whole.len() - 20, whole.len() - 1] {
        refused(&whole[..length], if length < 100 { "read " } else { "unexpected end at byte " });
    }
    let flipped = |at: usize| {
        let mut content = whole.clone();
        content[at] ^= 0x40;
        content
    };
    refused(&flipped(whole.len() - 3), "file checksum ");
    for at in [0, 10, 101, 105, 107, 300, whole.len() - 12, whole.len() - 18, whole.len() - 30] {
        refused(&flipped(at), " at byte ");
    }
    // Litestream does not look at these; what is restored would not be what the name says.
    let mut renamed = whole.clone();
    renamed[31] ^= 1;
    fs::write(&path, renamed).unwrap();
    let said = source.ours(&[]).unwrap_err();
    assert!(said.contains(&key), "{said}");

    // What the hint says.
    assert!(source.ours(&["--txid", "0000000000000004"]).is_ok());
    fs::write(&path, &whole).unwrap();
    assert!(source.ours(&[]).unwrap() == source.theirs("0.5.17", &[]).unwrap());
}

#[test]
fn what_other_objects_hold_as_well_restores_without_the_damaged_one() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let source = replica(&lab, home.path());
    let whole = source.ours(&[]).unwrap();
    let damage = |level: u8, nth: usize| {
        let (path, name, _) = source.files(level)[nth].clone();
        let mut content = fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0x40;
        fs::write(&path, content).unwrap();
        format!("ltx/{level}/{name}")
    };
    let snapshot = damage(9, 0);
    for args in [&[][..], &["--txid", "0000000000000006"]] {
        let said = source.ours(args).unwrap_err();
        assert!(said.contains(&snapshot), "{said}");
        let hint = format!("hint: the same state restores without this object: use --without {snapshot}");
        assert!(said.contains(&hint), "{said}");
        assert!(source.ours(&[args, &["--without", &snapshot]].concat()).unwrap() == whole, "the bytes differ");
    }
    // A header that cannot be read ends the planning.
    let (newest, name, _) = source.files(0)[5].clone();
    let key = format!("ltx/0/{name}");
    let kept = fs::read(&newest).unwrap();
    fs::write(&newest, &kept[..50]).unwrap();
    let said = source.ours(&["--without", &snapshot]).unwrap_err();
    assert!(
        said.contains(&format!(
            "an older state, TXID 0000000000000005, restores without this object: use --without {key}"
        )),
        "{said}"
    );
    let done = source.run(&home.path().join("older.db"), &["--without", &snapshot, "--without", &key]);
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(0), "{said}");
    assert!(
        said.contains(&format!("note    {key} is left out; anything that only it holds is not restored")),
        "{said}"
    );
    fs::write(&newest, &kept).unwrap();
    // With the beginning gone as well, nothing does.
    let first = damage(0, 0);
    let said = source.ours(&["--without", &snapshot]).unwrap_err();
    assert!(said.contains(&first), "{said}");
    assert!(said.contains("nothing restores without this object"), "{said}");
    let said = source.ours(&["--without", "snapshot"]).unwrap_err();
    assert!(said.contains("expected a key below the replica"), "{said}");
}

#[test]
fn an_object_that_lacks_pages_is_named_and_left_out_on_demand() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let source = replica(&lab, home.path());
    let whole = source.ours(&[]).unwrap();
    let newest = source.files(0)[5].2;
    let (page_size, commit, timestamp) = (newest.page_size, newest.commit, newest.timestamp.as_millisecond() as u64);
    let header = Header { page_size, commit, min: 3, max: 6, timestamp, wal: None };
    let pages: Pages = [(1, whole[..page_size as usize].to_vec())].into();
    let key = "ltx/1/0000000000000003-0000000000000006.ltx";
    let path = home.path().join("replica").join(key);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, encode(&header, &pages)).unwrap();
    for out in ["-", "out.db"] {
        let out = if out == "-" { out.into() } else { home.path().join(out) };
        let done = source.run(&out, &[]);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("error: read {key}: it is incomplete: page ")), "{said}");
        let hint = format!("hint: the same state restores without this object: use --without {key}");
        assert!(said.contains(&hint), "{said}");
    }
    assert!(source.ours(&["--without", key]).unwrap() == whole, "the bytes differ");
}

#[test]
fn files_of_another_page_size_are_refused() {
    let lab = Lab::find();
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = replica(&lab, home.path());
    let mut stranger = Source::new(&lab, other.path(), 1024);
    for _ in 1..=6 {
        stranger.sql(&rows(100));
        stranger.sync("0.5.17", false);
    }
    fs::copy(&stranger.files(0)[5].0, &source.files(0)[5].0).unwrap();
    let said = source.ours(&[]).unwrap_err();
    assert!(said.contains("pages of 4096 bytes, but of 1024 in the other files"), "{said}");
}
