//! What the command refuses, says and leaves.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use super::lab::Lab;
use super::source::{Source, restore, rows};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn it_overwrites_nothing_and_leaves_nothing_beside_what_would_be_applied() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    source.sql(&rows(10));
    source.sync("0.5.17", true);
    let folder = home.path().join("out");
    fs::create_dir(&folder).unwrap();
    let out = folder.join("out.db");
    for taken in ["out.db", "out.db-wal", "out.db-shm", "out.db-journal"] {
        let taken = folder.join(taken);
        fs::write(&taken, "mine").unwrap();
        let done = source.run(&out, &[]);
        assert_eq!(done.status.code(), Some(2));
        assert!(said(&done).contains(&format!("{}", taken.display())), "{}", said(&done));
        assert!(said(&done).contains("\nhint: "), "{}", said(&done));
        assert_eq!(fs::read(&taken).unwrap(), b"mine");
        fs::remove_file(&taken).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
    let done = source.run(&folder.join("missing/out.db"), &[]);
    assert!(said(&done).contains("is not a directory\nhint: create it first"), "{}", said(&done));

    // What a killed restore leaves is named, and nobody else's file; nothing is removed.
    let left = folder.join(".out.db.restoring-4294967");
    for (path, content) in
        [(&left, "half"), (&folder.join(".out.db.restoring-x"), ""), (&folder.join(".o.restoring-1"), "")]
    {
        fs::write(path, content).unwrap();
    }
    let done = source.run(&out, &[]);
    assert!(done.status.success(), "{}", said(&done));
    let note = format!(
        "note    a killed restore left {left}, 4 B; unless process 4294967 still runs: rm {left}\n",
        left = left.display()
    );
    assert_eq!(said(&done), note);
    assert_eq!(fs::read(&left).unwrap(), b"half");
    fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| *path != out).for_each(|path| {
        fs::remove_file(path).unwrap();
    });
    assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(told.contains("TXID 0000000000000001") && told.contains("PRAGMA integrity_check"), "{told}");
}

#[test]
fn a_configured_database_is_restored_by_name_and_the_plan_is_said_first() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    source.sql(&rows(10));
    source.sync("0.5.17", true);
    let config = home.path().join("litestream.yml");
    let yaml = format!("dbs:\n  - path: {}\n    replica: {{url: '{}'}}\n", source.database.display(), source.url);
    fs::write(&config, yaml).unwrap();
    let out = home.path().join("out.db");
    let mut command = super::lab::command(env!("CARGO_BIN_EXE_streamgauge"));
    command.args(["restore", "app", "--litestream.config"]).arg(&config).arg("-o").arg(&out);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    assert!(fs::read(&out).unwrap() == source.theirs("0.5.17", &[]).unwrap());
    let said = said(&done);
    for expected in [&*format!("from    {} (v0.5)\n", source.url), "asked   the newest state\n", "read    1 object, "] {
        assert!(said.contains(expected), "{said}");
    }
}

/// The disk is gone, and somebody logs in as root.
#[test]
fn in_its_own_place_a_database_needs_its_owner_and_is_not_to_be_moved_away() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    source.sql(&rows(10));
    source.sync("0.5.17", true);
    let (folder, config) = (home.path().join("new"), home.path().join("litestream.yml"));
    fs::create_dir(&folder).unwrap();
    let yaml = format!("dbs:\n  - path: {}/app.db\n    replica: {{url: '{}'}}\n", folder.display(), source.url);
    fs::write(&config, yaml).unwrap();
    let root = std::os::unix::fs::chown(&folder, Some(1234), Some(1235)).is_ok();
    let restore = |out: &std::path::Path, more: &[&str]| {
        let mut command = super::lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        // By a path from here.
        command.current_dir(home.path()).args(["restore", "new/app.db", "--litestream.config"]).arg(&config);
        command.arg("-o").arg(out).args(more).output().unwrap()
    };
    let full = restore("/proc/app.db".as_ref(), &[]);
    assert!(said(&full).contains(", but nothing is free there\nhint: make room"), "{}", said(&full));
    let done = restore("new/app.db".as_ref(), &[]);
    assert!(done.status.success(), "{}", said(&done));
    let told = String::from_utf8(done.stdout).unwrap();
    assert!(told.contains("         then start Litestream and the application\n"), "{told}");
    assert_eq!((told.contains("chown 1234:1235 new/app.db"), told.contains("away")), (root, false), "{told}");
    let told = String::from_utf8(restore("other.db".as_ref(), &["--at", "0s"]).stdout).unwrap();
    assert!(!told.contains("chown") && told.contains("put other.db in its place"), "{told}");
    assert!(!told.contains("older state"), "of now, it is the newest: {told}");
    source.sql(&rows(10));
    source.sync("0.5.17", false);
    let before = source.files(0).last().unwrap().2.timestamp.to_string();
    let told = String::from_utf8(restore("older.db".as_ref(), &["--at", &before]).stdout).unwrap();
    assert!(told.ends_with("this is an older state: give Litestream a new path for its replica\n"), "{told}");
}

#[test]
fn what_cannot_be_restored_is_answered_with_what_can() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut source = Source::new(&lab, home.path(), 4096);
    for step in 0..3 {
        source.sql(&rows(10));
        source.sync("0.5.17", step == 1);
    }
    let refused = |options: &[&str]| {
        let done = source.run(&home.path().join("out.db"), options);
        assert_eq!(done.status.code(), Some(2));
        said(&done)
    };
    // The instant that the message names is the first that works.
    let text = refused(&["--at", "2001-01-01T00:00:00Z"]);
    let first = text.split("--at ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().to_owned();
    assert!(text.contains(&format!("before the earliest restorable time, {first}")), "{text}");
    let before: jiff::Timestamp = first.parse().unwrap();
    let before = (before - jiff::SignedDuration::from_millis(1)).to_string();
    assert!(refused(&["--at", &before]).contains("before the earliest restorable time"));
    assert!(source.theirs("0.5.17", &["-timestamp", &before]).is_err());
    assert!(source.ours(&["--at", &first]).unwrap() == source.theirs("0.5.17", &["-timestamp", &first]).unwrap());

    let text = refused(&["--txid", "0000000000000009"]);
    assert!(text.contains("hint: what can be restored: --txid 0000000000000003 is before it\n"), "{text}");
    fs::remove_file(&source.files(0)[0].0).unwrap();
    let text = refused(&["--txid", "0000000000000001"]);
    assert!(text.contains("hint: what can be restored: --txid 0000000000000002 after it\n"), "{text}");
    assert!(refused(&["--txid", "9"]).contains("expected 16 hexadecimal digits"));
    assert!(refused(&["--at", "noon"]).contains("expected a time such as"));

    let nowhere = restore("file:///nonexistent/replica", &home.path().join("out.db")).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(2));
    let text = said(&nowhere);
    assert!(
        text.starts_with("error: restore: there is no replica\nhint: ") && text.contains("check the URL"),
        "{text}"
    );
}
