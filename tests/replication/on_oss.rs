//! The real Litestream with its client of OSS, on the one server here that takes its signatures: rclone, which checks none.

use std::fs;
use std::path::Path;

use super::anywhere::{Anywhere, watched};
use super::lab::{Lab, Process, free_port};

pub fn from_lag_to_restore(lab: &Lab, home: &Path) {
    let (port, objects) = (free_port(), home.join("objects"));
    fs::create_dir_all(objects.join("bucket")).unwrap();
    let mut command = lab.program("py/bin/rclone");
    command
        .args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")])
        .arg(&objects)
        .env("RCLONE_CONFIG", "/dev/null");
    let mut server = Process::spawn(&mut command, home.join("rclone.log"));
    server.wait_until_listening(&format!("127.0.0.1:{port}"));
    let replica = format!(
        "type: oss, bucket: bucket, path: a/db1, endpoint: \"http://127.0.0.1:{port}\", region: cn-hangzhou, \
         access-key-id: lab, secret-access-key: labpass"
    );
    let place = Anywhere { replica: &replica, secret: Some("labpass"), ..Default::default() };
    watched(lab, home, &place, "oss", "0.5.17", |_, _| {});
}
