//! What a look says of files that are damaged, left behind or not what they seem.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking")]

use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use streamgauge::domain::observation::{DatabaseLook, DatabasePosture, FileRole};
use streamgauge::domain::reason::{Reason, ReasonKind};
use streamgauge::domain::target::{DatabaseFiles, TargetName};
use streamgauge::infrastructure::database::Watch;
use streamgauge::usecase::ports::{DatabaseWatch, LocalUpdate};

#[path = "support/bench.rs"]
mod bench;
#[path = "support/writer.rs"]
mod writer;
use bench::{Bench, files, now, wal};
use writer::Writer;

/// The first look that comes to an end: a file that is being written is looked at again.
fn watched(files: &Arc<DatabaseFiles>) -> LocalUpdate {
    let mut watch = Watch::new();
    watch.set_targets(vec![(TargetName("it".into()), files.clone())]);
    (0..10).find_map(|_| watch.sweep(now(), 1).pop()).unwrap()
}

fn look_at(files: &Arc<DatabaseFiles>) -> Result<DatabaseLook, Reason> {
    watched(files).look
}

fn posture_of(files: &Arc<DatabaseFiles>) -> DatabasePosture {
    watched(files).posture.unwrap()
}

#[test]
#[ignore = "the other side of Writer"]
fn writer_child() {
    writer::serve();
}

#[test]
fn damaged_files_are_a_reason_that_names_the_file() {
    let bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(20);
    let copy = |name: &str| {
        for suffix in ["", "-wal", "-shm"] {
            std::fs::copy(bench.beside(suffix), bench.beside(&format!("{name}{suffix}"))).unwrap();
        }
        bench.beside(name)
    };
    let damage = |path: &Path, suffix: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let file = PathBuf::from(format!("{}{suffix}", path.display()));
        let mut bytes = std::fs::read(&file).unwrap();
        change(&mut bytes);
        std::fs::write(file, bytes).unwrap();
        look_at(&files(path))
    };
    let good = look_at(&files(&copy("good"))).unwrap();

    let junk = damage(&copy("c"), "-wal", &|bytes| bytes[0] = 0).unwrap_err();
    assert!(junk.message.ends_with("c-wal: wal header at offset 0: not the magic number"), "{junk}");
    let closed = copy("d");
    std::fs::remove_file(bench.beside("d-shm")).unwrap();
    std::fs::remove_file(bench.beside("d-wal")).unwrap();
    let magic = damage(&closed, "", &|bytes| bytes[0] = 0).unwrap_err();
    assert_eq!((magic.kind, magic.hint.is_some()), (ReasonKind::Corrupt, true));
    let empty = damage(&closed, "", &Vec::clear).unwrap_err();
    assert_eq!(empty.kind, ReasonKind::Unsupported);

    // Nobody is connected to the copy, so the next one to open it will not believe the wal-index: the log counts.
    let stale = damage(&copy("e"), "-shm", &|bytes| bytes[16] ^= 1).unwrap();
    assert_eq!(wal(&stale).position, wal(&good).position);
    let cut = damage(&copy("b"), "-wal", &|bytes| bytes.truncate(5_000)).unwrap();
    assert_eq!(wal(&cut).position.end, 32, "the first transaction has two frames, and one is left");

    // Here somebody is.
    let live = files(&bench.path());
    let poke = |suffix: &str, at: u64, value: &[u8]| {
        let file = std::fs::File::options().write(true).open(bench.beside(suffix)).unwrap();
        file.write_all_at(value, at).unwrap();
    };
    let flip = |at: usize| [std::fs::read(bench.beside("-shm")).unwrap()[at] ^ 1];
    poke("-shm", 16, &flip(16));
    let torn = look_at(&live).unwrap_err();
    assert_eq!(torn.kind, ReasonKind::Corrupt);
    assert!(torn.message.ends_with("db-shm: wal-index header at offset 48: the two copies differ"), "{torn}");
    poke("-shm", 16, &flip(16));
    assert_eq!(wal(&look_at(&live).unwrap()).position, wal(&good).position);
    std::fs::File::options().write(true).open(bench.beside("-wal")).unwrap().set_len(5_000).unwrap();
    let short = look_at(&live).unwrap_err();
    assert!(short.message.contains("db-wal: 5000 bytes, but "), "{short}");

    // Whatever is damaged, it is an answer and never a panic.
    let target = copy("f");
    for suffix in ["", "-wal", "-shm"] {
        for at in (0..140).step_by(3) {
            let _ = damage(&target, suffix, &|bytes| bytes[at] ^= 0x55);
            let _ = damage(&target, suffix, &|bytes| bytes[at] ^= 0x55);
        }
    }
    writer.kill();
}

#[test]
fn a_wal_index_that_stays_torn_is_reported_after_some_polls() {
    let mut bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.write(1);
    bench.settle().unwrap();
    let shm = std::fs::File::options().write(true).open(bench.beside("-shm")).unwrap();
    shm.write_all_at(&[0xaa], 16).unwrap();
    let polls: Vec<Option<ReasonKind>> = (0..4).map(|_| bench.poll().map(|look| look.unwrap_err().kind)).collect();
    assert_eq!(polls, [None, None, None, Some(ReasonKind::Corrupt)]);
    writer.kill();
}

#[test]
fn a_symbolic_link_is_refused_with_the_real_name() {
    let mut bench = Bench::new();
    let real = bench.beside("-real");
    Writer::wal(&real).close();
    std::os::unix::fs::symlink(&real, bench.path()).unwrap();
    let reason = bench.settle().unwrap_err();
    assert_eq!(reason.kind, ReasonKind::Misconfigured);
    let hint = format!("configure the real path {}", real.canonicalize().unwrap().display());
    assert_eq!(reason.hint, Some(hint));
}

#[test]
fn others_reach_what_lies_below_open_directories_only() {
    let bench = Bench::new();
    Writer::wal(&bench.path()).close();
    let reachable = |mode| {
        std::fs::set_permissions(bench.directory.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        posture_of(&files(&bench.path())).reachable
    };
    let above = bench.directory.path().parent().unwrap().ancestors();
    let mut open = above.map(|directory| std::fs::metadata(directory).unwrap().permissions().mode() & 1 == 1);
    let open = Some(open.all(|open| open));
    assert_eq!([0o700, 0o750, 0o754, 0o755, 0o711].map(reachable), [Some(false), Some(false), Some(false), open, open]);
}

#[test]
fn posture_names_modes_space_and_the_holder_of_the_lock() {
    let bench = Bench::new();
    let mut writer = Writer::wal(&bench.path());
    writer.sql("begin; select * from t");
    let posture = posture_of(&files(&bench.path()));
    assert_eq!((posture.lock_holder_pid, posture.open), (Some(writer.pid()), Some(true)));
    assert_eq!(posture.staging_filesystem, None, "there is no other one");
    let roles: Vec<FileRole> = posture.modes.iter().map(|mode| mode.file).collect();
    assert_eq!(roles, [FileRole::Database, FileRole::Wal, FileRole::Shm, FileRole::Directory]);
    let directory = std::fs::metadata(bench.directory.path()).unwrap();
    assert_eq!(posture.modes[3].mode, directory.permissions().mode() & 0o7777);
    assert!(posture.filesystem.unwrap().size_bytes > 0);
    writer.close();
    let closed = posture_of(&files(&bench.path()));
    assert_eq!((closed.lock_holder_pid, closed.open), (None, Some(false)));
}
