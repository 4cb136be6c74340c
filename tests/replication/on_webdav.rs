//! The real Litestream on a real WebDAV server, and the agent beside it: from the first file to a restored database.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::{Lab, Process, command, free_port};
use super::site::{self, Site};

pub const VERSION: &str = "0.5.17";

fn server(lab: &Lab, home: &Path) -> (Process, u16) {
    let (port, objects) = (free_port(), home.join("objects"));
    fs::create_dir(&objects).unwrap();
    let mut command = lab.program("py/bin/rclone");
    command.args(["serve", "webdav", "--addr", &format!("127.0.0.1:{port}"), "--user", "lab", "--pass", "labpass"]);
    command.arg(&objects).env("RCLONE_CONFIG", "/dev/null");
    let mut server = Process::spawn(&mut command, home.join("rclone.log"));
    server.wait_until_listening(&format!("127.0.0.1:{port}"));
    (server, port)
}

/// Replicating, quiet, stalled and resumed; then drilled and restored.
pub fn from_lag_to_restore(lab: &Lab, home: &Path) {
    let (_server, port) = server(lab, home);
    let body = format!(
        "type: webdav, webdav-url: \"http://127.0.0.1:{port}\", webdav-username: lab, webdav-password: labpass, path: a/db1"
    );
    let site = Site::start(lab, home, "dav", VERSION, &[], (&body, home.join("objects/a/db1"), String::new()));
    play(lab, home, site);
}

/// The story of a replica on any server, whose password is `labpass`.
pub fn play(lab: &Lab, home: &Path, mut site: Site) {
    let agent = &site::agent(home, [&site], "idle-interval = \"2s\"");
    site.writer.run(Duration::from_millis(20));
    site.wait_until(agent, "for the first proof", |seen| seen.recovery_point().is_some() && seen.lag().is_some());
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(200));
        let seen = site.seen(agent);
        assert!(seen.lag().is_some_and(|lag| lag < 10.0), "{seen:?} {}", agent.process.log());
    }
    site.writer.pause();
    site.wait_until_in_sync(agent);

    site.litestream.process.freeze();
    site.writer.run(Duration::from_millis(20));
    site.wait_until(agent, "for lag to grow", |seen| seen.lag() > Some(3.0));
    site.writer.pause();
    site.litestream.process.thaw();
    site.wait_until_in_sync(agent);
    let log = fs::read_to_string(home.join("streamgauge.log")).unwrap();
    assert!(
        !log.contains("labpass")
            && !agent.metrics().contains("labpass")
            && !agent.report().to_string().contains("labpass")
    );
    site.litestream.process.stop();
    drilled(agent, &site);
    restored(lab, home, agent, &site);
}

fn streamgauge(agent: &Agent, arguments: &[&str]) -> Command {
    let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
    command.args(arguments).arg(format!("--config.file={}", agent.config.display()));
    command
}

fn drilled(agent: &Agent, site: &Site) {
    let drill = streamgauge(agent, &["drill", &site.name]).output().unwrap();
    let told = String::from_utf8_lossy(&drill.stdout).into_owned();
    assert!(drill.status.success(), "{told}{}", String::from_utf8_lossy(&drill.stderr));
    assert!(told.contains("passed"), "{told}");
}

/// Byte for byte what Litestream restores.
fn restored(lab: &Lab, home: &Path, agent: &Agent, site: &Site) {
    let (theirs, ours) = (home.join("theirs.db"), home.join("ours.db"));
    let config = ["-config", site.litestream.config.to_str().unwrap()];
    lab.restore_with(VERSION, &config, site.database.to_str().unwrap(), &theirs).unwrap();
    let restore = streamgauge(agent, &["restore", &site.name, "-o", ours.to_str().unwrap()]).output().unwrap();
    assert!(restore.status.success(), "{}", String::from_utf8_lossy(&restore.stderr));
    assert!(fs::read(&theirs).unwrap() == fs::read(&ours).unwrap(), "the restored databases differ");
    let rows = lab.writer(&ours).sql("SELECT count(*) FROM t")[0][0].as_u64();
    assert!(rows > Some(100), "{rows:?}");
}
