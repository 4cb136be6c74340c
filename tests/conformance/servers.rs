//! The real S3 servers: moto and `rclone serve s3`, on free ports, gone when dropped.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::port::free_port;
use crate::{ACCESS_KEY, SECRET_KEY};

/// A server process.
pub(crate) struct Server {
    pub(crate) port: u16,
    child: Child,
    /// What it serves, removed with it.
    directory: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    /// moto, without authentication, with one bucket.
    pub(crate) async fn moto(bucket: &str) -> Self {
        let program = program("moto_server");
        let server = Self::start(|port, _| {
            let mut command = Command::new(&program);
            command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
            command
        });
        server.put(&format!("/{bucket}"), b"").await;
        server
    }

    /// rclone, which checks signatures, with one bucket that is a directory.
    pub(crate) fn rclone(bucket: &str, options: &[&str]) -> Self {
        let program = program("rclone");
        Self::start(|port, directory| {
            std::fs::create_dir(directory.join(bucket)).unwrap();
            let mut command = Command::new(&program);
            command.args(["serve", "s3", "--addr", &format!("127.0.0.1:{port}")]);
            command.args(["--auth-key", &format!("{ACCESS_KEY},{SECRET_KEY}"), "--config", ""]);
            // It caches what it saw in a directory, and tests write there.
            command.args(["--dir-cache-time", "0s"]).args(options).arg(directory);
            command
        })
    }

    /// A program that listens on a free port of this machine and may keep what it serves in a directory.
    pub(crate) fn start(command: impl FnOnce(u16, &Path) -> Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = command(port, directory.path());
        command.env_remove("AWS_CA_BUNDLE").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = Self { port, child: command.spawn().unwrap(), directory };
        let deadline = Instant::now() + Duration::from_secs(60);
        // What listens where it ended is another one's.
        let mut lives = || assert!(server.child.try_wait().unwrap().is_none(), "{command:?} ended");
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            lives();
            assert!(Instant::now() < deadline, "{command:?} does not listen on port {port}");
            std::thread::sleep(Duration::from_millis(20));
        }
        lives();
        server
    }

    /// What the server serves, where that is a directory.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Writes an object with a plain PUT to a path that is sent exactly so.
    pub(crate) async fn put(&self, path: &str, content: &[u8]) {
        self.send(Method::PUT, path, content).await;
    }

    /// A request whose signature is none, which has to succeed.
    pub(crate) async fn send(&self, method: Method, path: &str, content: &[u8]) {
        // moto wants one where something is deleted, and does not check it.
        let signed = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request";
        let status = self.send_as(signed, method, path, content).await;
        assert!(status.is_success(), "{path}: {status}");
    }

    /// A request with this authorization.
    pub(crate) async fn send_as(&self, authorization: &str, method: Method, path: &str, content: &[u8]) -> StatusCode {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1:{}{path}", self.port))
            .header("authorization", authorization)
            .body(Full::new(Bytes::copy_from_slice(content)));
        client.request(request.unwrap()).await.unwrap().status()
    }
}

/// A path with everything escaped that HTTP would take for something else.
pub(crate) fn escaped(key: &str) -> String {
    key.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => path.push(byte as char),
            byte => path.push_str(&format!("%{byte:02X}")),
        }
        path
    })
}

/// A Python program of the lab.
pub(crate) fn program(name: &str) -> PathBuf {
    in_lab(&format!("py/bin/{name}"))
}

/// A file of the lab by its path there.
pub(crate) fn in_lab(path: &str) -> PathBuf {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/target/lab");
    let lab = std::env::var_os("STREAMGAUGE_LAB").map_or_else(|| PathBuf::from(default), PathBuf::from);
    let program = lab.join(path);
    assert!(program.exists(), "{} is missing: run tests/lab/install", program.display());
    program
}
