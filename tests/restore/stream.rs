//! Restores to standard output; `Source::ours` compares every other restore with one as well.

use std::fs;
use std::io::Read;
use std::process::Stdio;

use super::lab::Lab;
use super::source::{Source, restore, rows};

/// Of so many planned files all are read at once.
const AT_ONCE: usize = 16;

#[test]
fn many_files_go_by_way_of_a_file_that_is_gone_behind_it() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    for _ in 0..=AT_ONCE {
        source.sql(&rows(20));
        source.sync("0.5.17", false);
    }
    assert!(source.files(0).len() > AT_ONCE);
    let theirs = source.theirs("0.5.17", &[]).unwrap();
    let between = home.path().join("between");
    fs::create_dir(&between).unwrap();
    let stream = |options: &[&str]| {
        let mut command = restore(&source.url, std::path::Path::new("-"));
        command.env("TMPDIR", &between).args(options).output().unwrap()
    };
    let done = stream(&[]);
    assert!(done.status.success() && done.stdout == theirs, "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_dir(&between).unwrap().count(), 0);
    // Fewer of them need no place for a file.
    fs::remove_dir(&between).unwrap();
    assert_eq!(stream(&[]).status.code(), Some(2));
    let txid = format!("{AT_ONCE:016x}");
    let done = stream(&["--txid", &txid, "--format", "json"]);
    assert!(done.stdout == source.theirs("0.5.17", &["-txid", &txid]).unwrap());
    let answer: serde_json::Value = serde_json::from_slice(&done.stderr).unwrap();
    assert_eq!((answer["output"].as_str(), answer["objects"].as_array().map(Vec::len)), (Some("-"), Some(AT_ONCE)));
}

#[test]
fn what_is_damaged_or_not_read_to_its_end_is_not_restored() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    for step in 1..=4 {
        source.sql(&rows(3000));
        source.sync("0.5.17", step == 2);
    }
    let start =
        || restore(&source.url, std::path::Path::new("-")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = start().unwrap();
    child.stdout.take().unwrap().read_exact(&mut [0; 100]).unwrap();
    let done = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("write standard output: ") && said.contains("is not a complete database"), "{said}");

    // The last byte of the file's checksum: all its pages can be read.
    let (path, name, _) = source.files(9).pop().unwrap();
    let mut content = fs::read(&path).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(&path, content).unwrap();
    let done = start().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains(&format!("read ltx/9/{name}: ")), "{said}");
}
