//! Networks and servers that fail half-way.

use std::path::Path;
use std::process::Stdio;

use super::lab::s3::S3;
use super::lab::{Lab, wait_for};
use super::proxy::{After, End, Proxy, Way};
use super::source::{Source, restore, rows};

const BUCKET: &str = "bucket";

/// A replica of a few megabytes on rclone, and a proxy before it.
fn replica<'a>(lab: &'a Lab, home: &Path) -> (Source<'a>, S3, Proxy) {
    let objects = home.join("objects");
    std::fs::create_dir_all(&objects).unwrap();
    let server = lab.rclone(&objects);
    server.create_bucket(BUCKET);
    let mut source = Source::to(lab, home, 4096, server.url(BUCKET, "app"));
    source.sql(&rows(30_000));
    source.sync("0.5.17", true);
    source.sql(&rows(500));
    source.sync("0.5.17", false);
    let proxy = Proxy::start(server.port());
    (source, server, proxy)
}

fn through(proxy: &Proxy) -> String {
    format!("s3://{BUCKET}/app?endpoint=http://{}&region=us-east-1&forcePathStyle=true", proxy.address())
}

#[test]
fn connections_that_break_after_some_bytes_do_not_stop_it() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (source, _server, proxy) = replica(&lab, home.path());
    let expected = source.theirs("0.5.17", &[]).unwrap();
    proxy.set(Way::Ends(After::Each(200_000), End::Reset));
    let out = home.path().join("out.db");
    let done = restore(&through(&proxy), &out).args(["--format", "json"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(proxy.ended() > 5, "{} connections broke", proxy.ended());
    assert!(std::fs::read(&out).unwrap() == expected, "the bytes differ");
    let answer: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(answer["downloaded_bytes"].as_u64() >= answer["planned_bytes"].as_u64(), "{answer}");
    assert!(answer["requests"].as_u64() > Some(5), "{answer}");
}

#[test]
fn a_server_that_is_restarted_half_way_does_not_stop_it() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (source, server, proxy) = replica(&lab, home.path());
    let expected = source.theirs("0.5.17", &[]).unwrap();
    proxy.set(Way::Ends(After::All(1_500_000), End::Reset));
    let out = home.path().join("out.db");
    let mut running = restore(&through(&proxy), &out).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for("half of it", || proxy.is_closed());
    let _server = lab.rclone_restored(server);
    proxy.set(Way::Open);
    assert!(running.wait().unwrap().success());
    assert!(std::fs::read(&out).unwrap() == expected, "the bytes differ");
}

#[test]
fn a_server_that_stays_away_is_named_and_nothing_is_left_behind() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (_source, mut server, proxy) = replica(&lab, home.path());
    server.stop();
    let folder = home.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let done = restore(&through(&proxy), &folder.join("out.db")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.starts_with("error: list s3://bucket/app/"), "{said}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let (_source, _server, proxy) = replica(&lab, home.path());
    let folder = home.path().join("out");
    std::fs::create_dir(&folder).unwrap();
    let left = || std::fs::read_dir(&folder).unwrap().count();
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        proxy.set(Way::Ends(After::All(1_500_000), End::Hang));
        let mut running = restore(&through(&proxy), &folder.join("out.db"))
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("half of it", || proxy.is_closed() && left() == 1);
        let pid = rustix::process::Pid::from_raw(running.id() as i32).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
        let mut said = String::new();
        std::io::Read::read_to_string(&mut running.stderr.take().unwrap(), &mut said).unwrap();
        assert_eq!(running.wait().unwrap().code(), Some(2), "{said}");
        assert_eq!(said, "error: restore: interrupted; nothing was left behind\n");
        assert_eq!(left(), 0);
        proxy.set(Way::Open);
    }
}
