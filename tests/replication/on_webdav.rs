//! The real Litestream on a real WebDAV server.

use std::fs;
use std::path::Path;

use super::anywhere::{Anywhere, watched};
use super::lab::{Lab, Process, free_port};

pub fn from_lag_to_restore(lab: &Lab, home: &Path) {
    let (port, objects) = (free_port(), home.join("objects"));
    fs::create_dir(&objects).unwrap();
    let mut command = lab.program("py/bin/rclone");
    command.args(["serve", "webdav", "--addr", &format!("127.0.0.1:{port}"), "--user", "lab", "--pass", "labpass"]);
    command.arg(&objects).env("RCLONE_CONFIG", "/dev/null");
    let mut server = Process::spawn(&mut command, home.join("rclone.log"));
    server.wait_until_listening(&format!("127.0.0.1:{port}"));
    let replica = format!(
        "type: webdav, webdav-url: \"http://127.0.0.1:{port}\", webdav-username: lab, webdav-password: labpass, path: a/db1"
    );
    let place = Anywhere { replica: &replica, secret: Some("labpass"), ..Default::default() };
    watched(lab, home, &place, "dav", "0.5.17", |_, _| {});
}
