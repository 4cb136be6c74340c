//! What is not the backup's fault: the drill is inconclusive, says why, and ends in time.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use streamgauge_testkit::http::{Answer, Server};
use streamgauge_testkit::{ltx, s3};

use crate::lab::litestream::{ACCESS_KEY, SECRET_KEY};
use crate::lab::{Lab, free_port};
use crate::site::{Site, left, run};

/// A drill of an S3 URL on a server of the lab.
fn drill_url(site: &Site, endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = site.command();
    command.arg(format!("s3://bucket/app?endpoint={endpoint}&region=us-east-1&forcePathStyle=true"));
    command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY).args(arguments);
    command
}

#[test]
fn a_bucket_is_drilled_has_a_price_and_may_be_denied_or_gone() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let server = lab.rclone(&site.home.path().join("objects"));
    server.create_bucket("bucket");
    site.sync_to(&lab, &["-force-snapshot"], &server.url("bucket", "app"));
    let endpoint = server.endpoint();
    // A server on this machine costs nothing unless it is said to: here, what Amazon's does.
    let prices = [("READS_PER_THOUSAND", "0.0004"), ("LISTS_PER_THOUSAND", "0.005"), ("RECEIVED_PER_GIGABYTE", "0.09")];
    let prices = prices.map(|(key, dollars)| (format!("STREAMGAUGE__DRILL__PRICE__{key}"), dollars));
    let drilled = run(drill_url(&site, &endpoint, &[]).envs(prices));
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    let (estimated, dollars) =
        (drilled.record()["estimated_dollars"].as_f64().unwrap(), drilled.record()["dollars"].as_f64().unwrap());
    assert!(0.0 < dollars && dollars <= estimated, "{dollars} {estimated}");
    assert!(drilled.stderr.contains("at most about $"), "{}", drilled.stderr);

    let mut server = lab.rclone_revoked(server);
    let drilled = run(&mut drill_url(&site, &endpoint, &[]));
    assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
    assert_eq!(drilled.record()["reason"]["kind"], "denied", "{}", drilled.record());

    server.stop();
    let drilled = run(&mut drill_url(&site, &endpoint, &[]));
    assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
    assert_eq!(drilled.record()["reason"]["kind"], "unreachable", "{}", drilled.record());
    assert_eq!(left(&site.scratch), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_server_that_hangs_ends_at_the_timeout() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    // The system accepts connections for it; nobody ever answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let drilled = run(&mut drill_url(&site, &endpoint, &["--timeout", "2s"]));
    assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
    assert_eq!(drilled.record()["reason"]["kind"], "timeout", "{}", drilled.record());
    assert!(drilled.record()["seconds"].as_f64().unwrap() < 10.0, "{}", drilled.record());
    assert_eq!(left(&site.scratch), Vec::<std::path::PathBuf>::new());
}

/// What is listed and never there is lost if it is always the same, and deleted before it is read if it never is.
#[test]
fn objects_that_are_deleted_sooner_than_they_are_read_are_inconclusive() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let snapshot = fs::read(&site.level(9)[0]).unwrap();
    for (step, result) in [(0, "failed"), (1, "inconclusive")] {
        let (header, newest) = (snapshot[..100].to_vec(), AtomicU64::new(1));
        let server = Server::start(move |request| {
            let ends = newest.load(Ordering::SeqCst);
            let key = format!("app/0009/{}", ltx::name(1, ends));
            match (s3::key(request), request.parameter("delimiter")) {
                (None, Some(_)) => {
                    let folder = "<CommonPrefixes><Prefix>app/0009/</Prefix></CommonPrefixes></ListBucketResult>";
                    Answer::xml(200, &s3::listing(&[], false).replace("</ListBucketResult>", folder))
                }
                (None, None) if request.parameter("prefix").is_some_and(|prefix| key.starts_with(&prefix)) => {
                    Answer::xml(200, &s3::listing(&[(key, 5000)], false))
                }
                (None, None) => Answer::xml(200, &s3::listing(&[], false)),
                (Some(_), _) if request.header("range") == Some("bytes=0-99") => {
                    let mut header = header.clone();
                    header[24..32].copy_from_slice(&ends.to_be_bytes());
                    Answer::new(206, "x", header).with("Content-Range", "bytes 0-99/5000")
                }
                (Some(_), _) => {
                    newest.fetch_add(step, Ordering::SeqCst);
                    Answer::xml(404, "<Error><Code>NoSuchKey</Code></Error>")
                }
            }
        });
        let server = server.unwrap();
        let drilled = run(&mut drill_url(&site, &format!("http://{}", server.address), &[]));
        assert_eq!(drilled.result(), result, "{}", drilled.record());
        assert!(drilled.reason().contains("0009/"), "{}", drilled.record());
    }
}

#[test]
fn what_is_not_there_cannot_be_read_or_is_too_large_is_inconclusive() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let drilled = site.drill(&["--timeout", "1ms"]);
    assert_eq!((drilled.result(), &drilled.record()["reason"]["kind"]), ("inconclusive", &"timeout".into()));

    let drilled = site.drill(&["--max-size", "100"]);
    assert_eq!(drilled.result(), "inconclusive");
    assert!(drilled.reason().contains("at most 100 B are allowed"), "{}", drilled.reason());

    let gone = site.home.path().join("gone");
    fs::rename(&site.replica, &gone).unwrap();
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "failed", "nothing restores: {}", drilled.record());
    std::os::unix::fs::symlink("not-mounted", &site.replica).unwrap();
    let drilled = site.drill(&[]);
    assert_eq!(drilled.result(), "inconclusive", "the link says that something is missing: {}", drilled.record());
    fs::remove_file(&site.replica).unwrap();
    fs::rename(gone, &site.replica).unwrap();

    let blocked = site.home.path().join("streamgauge.toml").join("scratch");
    let drilled = run(&mut site.command_in(&blocked));
    assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
}

#[test]
fn a_full_disk_is_inconclusive_before_and_during_the_restore() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("INSERT INTO t(b) VALUES (randomblob(3000000))");
    site.sync(&lab, &[]);

    // A limit from outside, that the drill's own cannot lift: the write fails as it does on a full disk.
    let drill = site.command();
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1024; exec \"$0\" \"$@\""]).arg(drill.get_program()).args(drill.get_args());
    let drilled = run(&mut limited);
    assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
    assert!(drilled.reason().contains("write "), "{}", drilled.reason());
    assert_eq!(left(&site.scratch), Vec::<std::path::PathBuf>::new());

    let disk = site.home.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "none"]).arg(&disk).output();
    if mounted.is_ok_and(|output| output.status.success()) {
        let drilled = run(&mut site.command_in(&disk.join("scratch")));
        let unmounted = Command::new("umount").arg(&disk).status().unwrap();
        assert!(unmounted.success());
        assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
        let reason = drilled.reason();
        assert!(reason.contains(" MiB of scratch space are needed, but only "), "{reason}");
    }
}

#[test]
fn scratch_space_that_others_could_have_prepared_is_inconclusive() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let (shared, link) = (site.home.path().join("shared"), site.home.path().join("link"));
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    symlink(&shared, &link).unwrap();
    for (scratch, why) in [(&shared, "others can enter it (mode 0777)"), (&link, "it is a symbolic link")] {
        let drilled = run(&mut site.command_in(scratch));
        assert_eq!(drilled.result(), "inconclusive", "{}", drilled.record());
        assert!(drilled.reason().contains(why), "{}", drilled.reason());
        assert_eq!(left(&shared), Vec::<std::path::PathBuf>::new(), "nothing was made there");
    }
    // One below it, which is made for this alone, whatever way leads there.
    for scratch in [shared.join("drill"), link.join("drill")] {
        let drilled = run(&mut site.command_in(&scratch));
        assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    }
}

#[test]
fn a_snapshot_that_expands_without_end_leaves_the_disk_alone() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let folder = site.home.path().join("bomb/generations/0123456789abcdef/snapshots");
    fs::create_dir_all(&folder).unwrap();
    let database = fs::read(&site.database).unwrap();
    let header = |pages: u32| {
        let mut page = database[..4096].to_vec();
        page[28..32].copy_from_slice(&pages.to_be_bytes());
        let counter = page[24..28].to_vec();
        page[92..96].copy_from_slice(&counter);
        page
    };
    // A few megabytes that say of themselves that they are three pages, or sixteen terabytes.
    for (pages, result, why) in [(3, "failed", "decompresses to more than"), (u32::MAX, "inconclusive", "no space: ")] {
        let name = folder.join("00000000.snapshot.lz4");
        let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
        let mut frame = lz4_flex::frame::FrameEncoder::with_frame_info(info, fs::File::create(&name).unwrap());
        frame.write_all(&header(pages)).unwrap();
        for _ in 0..600 {
            frame.write_all(&vec![0; 1 << 20]).unwrap();
        }
        frame.finish().unwrap();
        assert!(fs::metadata(&name).unwrap().len() < 8 << 20);
        let url = format!("file://{}", site.home.path().join("bomb").display());
        let drilled = site.drill(&[&url]);
        assert_eq!(drilled.result(), result, "{}", drilled.record());
        assert!(drilled.reason().contains(why), "{}", drilled.reason());

        let out = site.home.path().join("out.db");
        let mut restore = crate::lab::command(env!("CARGO_BIN_EXE_streamgauge"));
        let restored = restore.args(["restore", &url, "-o"]).arg(&out).output().unwrap();
        let said = String::from_utf8_lossy(&restored.stderr);
        assert!(restored.status.code() == Some(2) && said.contains(why), "{said}");
        assert!(!out.exists());
    }
}

#[test]
fn what_cannot_be_begun_says_so() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let code = |arguments: &[&str]| site.command().args(arguments).output().unwrap().status.code();
    assert_eq!(code(&["nothing"]), Some(3));
    assert_eq!(code(&["--report", "report.pdf"]), Some(3));
    assert_eq!(code(&["--max-size", "many"]), Some(3));
    let endpoint = format!("http://127.0.0.1:{}", free_port());
    let drilled = run(&mut drill_url(&site, &endpoint, &[]));
    assert_eq!(drilled.result(), "inconclusive");
}
