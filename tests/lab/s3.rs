//! S3 servers: moto answers as Amazon does, rclone checks signatures and keeps objects as files.

use std::fs;
use std::path::{Path, PathBuf};

use super::litestream::{ACCESS_KEY, SECRET_KEY};
use super::{Lab, Process, free_port, http};

/// A running S3 server.
pub struct S3 {
    process: Process,
    port: u16,
    directory: PathBuf,
}

impl Lab {
    /// Everything in memory, any credentials accepted; its log has a line a request.
    pub fn moto(&self, directory: &Path) -> S3 {
        let port = free_port();
        let mut command = self.program("py/bin/moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        S3::started(Process::spawn(&mut command, directory.join("moto.log")), port, directory)
    }

    /// Buckets are folders of `directory`; only the lab's credentials are accepted.
    pub fn rclone(&self, directory: &Path) -> S3 {
        self.rclone_with(directory, free_port(), &format!("{ACCESS_KEY},{SECRET_KEY}"))
    }

    fn rclone_with(&self, directory: &Path, port: u16, key: &str) -> S3 {
        let mut command = self.program("py/bin/rclone");
        command.args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}"), "--auth-key", key]).arg(directory);
        command.env("RCLONE_CONFIG", "/dev/null");
        let log = directory.with_extension("rclone.log");
        S3::started(Process::spawn(&mut command, log), port, directory)
    }

    /// The same objects on the same port, with other credentials: whoever had the old ones is denied.
    pub fn rclone_revoked(&self, server: S3) -> S3 {
        let (port, directory) = (server.port, server.directory.clone());
        drop(server);
        self.rclone_with(&directory, port, "nobody,nobodynobody")
    }

    /// The same objects on the same port, with the lab's credentials again.
    pub fn rclone_restored(&self, server: S3) -> S3 {
        let (port, directory) = (server.port, server.directory.clone());
        drop(server);
        self.rclone_with(&directory, port, &format!("{ACCESS_KEY},{SECRET_KEY}"))
    }
}

impl S3 {
    fn started(mut process: Process, port: u16, directory: &Path) -> Self {
        process.wait_until_listening(&format!("127.0.0.1:{port}"));
        Self { process, port, directory: directory.to_owned() }
    }

    /// Ends the server; [`Lab::rclone_restored`] brings rclone back.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Moto takes an unsigned request; for rclone a bucket is a folder.
    pub fn create_bucket(&self, name: &str) {
        if self.process.log.ends_with("moto.log") {
            let answer = http::request("PUT", &self.address(), &format!("/{name}"), &[], b"").unwrap();
            assert_eq!(answer.status, 200, "create bucket: {}", answer.text());
        } else {
            fs::create_dir_all(self.directory.join(name)).unwrap();
        }
    }

    /// Requests whose log line contains `text`, such as `GET /bucket?list-type=2`. Moto only.
    pub fn requests(&self, text: &str) -> usize {
        self.process.log_lines(text)
    }

    /// The body of a replica in a `litestream.yml`.
    pub fn replica(&self, bucket: &str, path: &str) -> String {
        format!(
            "type: s3, bucket: {bucket}, path: {path}, endpoint: \"{}\", region: us-east-1, force-path-style: true, \
             access-key-id: {ACCESS_KEY}, secret-access-key: {SECRET_KEY}",
            self.endpoint()
        )
    }

    /// The url that `litestream restore` takes.
    pub fn url(&self, bucket: &str, path: &str) -> String {
        format!("s3://{bucket}/{path}?endpoint={}&region=us-east-1&forcePathStyle=true", self.endpoint())
    }
}
