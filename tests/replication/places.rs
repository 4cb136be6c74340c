//! A server of each kind of store on this machine, and how Litestream is told of a replica there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use streamgauge::infrastructure::store::kinds;

use super::azurite::{self, ACCOUNT, KEY, azurite, sas};
use super::lab::litestream::{ACCESS_KEY, SECRET_KEY};
use super::lab::{Lab, Process, free_port, http};
use super::sftp_servers::{self as sftp, CLIENT, HOST, PASSWORD, USER};

/// The newest Litestream, and the last one of v0.3.
pub const NEW: &str = "0.5.17";
pub const OLD: &str = "0.3.13";

/// Where Litestream's replicas of one kind go.
pub struct Place {
    pub kind: &'static str,
    pub port: u16,
    /// What it keeps.
    pub home: PathBuf,
    /// The body of a replica in `litestream.yml` with `NAME` for that of the database, and who writes it.
    pub replicas: Vec<(&'static str, String)>,
    /// Of those who read and write there.
    pub environment: Option<(&'static str, String)>,
    /// What nobody may read in what the agent says.
    pub secrets: Vec<String>,
    /// It ends with this.
    pub servers: Vec<Process>,
}

impl Place {
    /// One of each kind that can be read, in folders of `home`.
    pub fn of_all_kinds(lab: &Lab, home: &Path) -> Vec<Self> {
        thread::scope(|scope| {
            let started: Vec<_> = kinds().map(|kind| scope.spawn(move || Self::start(lab, home, kind))).collect();
            started.into_iter().map(|place| place.join().unwrap()).collect()
        })
    }

    pub fn start(lab: &Lab, home: &Path, kind: &'static str) -> Self {
        let mut place = Self {
            kind,
            port: free_port(),
            home: home.join(kind),
            replicas: Vec::new(),
            environment: None,
            secrets: Vec::new(),
            servers: Vec::new(),
        };
        fs::create_dir_all(place.data()).unwrap();
        // OpenSSH's does not run as root.
        for path in [home, &place.home] {
            fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
        }
        match kind {
            "abs" => place.azurite(lab),
            "file" => {
                let body = format!("type: file, path: {}/NAME", place.data().display());
                place.replicas = vec![(NEW, body.clone()), (OLD, body)];
            }
            "gs" => place.emulator_of_gs(lab),
            "nats" => place.nats(lab),
            "oss" => place.rclone_as_oss(lab),
            "s3" => place.moto(lab),
            "sftp" => place.openssh_and_rclone(lab),
            "webdav" => place.rclone_as_webdav(lab),
            other => panic!("there is no server of kind {other}"),
        }
        place
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it keeps of replicas, where that is files.
    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The replica of a database, as a version of Litestream writes it.
    pub fn replica(&self, version: &str, name: &str) -> Option<String> {
        let written = self.replicas.iter().find(|(by, _)| *by == version);
        written.map(|(_, body)| body.replace("NAME", name))
    }

    fn serve(&mut self, mut command: Command, port: u16) {
        let mut server = Process::spawn(&mut command, self.home.join(format!("server-{port}.log")));
        server.wait_until_listening(&format!("127.0.0.1:{port}"));
        self.servers.push(server);
    }

    fn azurite(&mut self, lab: &Lab) {
        let program = lab.path("azurite/node_modules/.bin/azurite-blob");
        self.serve(azurite(&program, self.port, &self.home), self.port);
        let request = azurite::signed(self.port, "PUT", "box?restype=container", &[], 0);
        let headers = request.headers().iter().filter(|(name, _)| *name != "content-length");
        let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let target = request.uri().path_and_query().unwrap().as_str();
        let made = http::request("PUT", &self.address(), target, &headers, b"").unwrap();
        assert_eq!(made.status, 201, "{}", made.text());
        let endpoint = azurite::endpoint(self.port);
        let body = format!("type: abs, bucket: box, path: NAME, endpoint: \"{endpoint}\", account-name: {ACCOUNT}");
        // One has a token in the file, the other one a key in the environment.
        self.replicas = vec![(NEW, format!("{body}, sas-token: \"{}\"", sas())), (OLD, body)];
        self.environment = Some(("LITESTREAM_AZURE_ACCOUNT_KEY", KEY.to_owned()));
        self.secrets = vec![KEY.to_owned(), sas().split_once("&sig=").unwrap().1.to_owned()];
    }

    fn emulator_of_gs(&mut self, lab: &Lab) {
        let mut command = lab.program("py/bin/gcp-storage-emulator");
        command.args(["start", "--host", "127.0.0.1", "--port", &self.port.to_string(), "--in-memory"]);
        command.args(["--default-bucket", "bucket"]);
        self.serve(command, self.port);
        let body = "bucket: bucket, path: NAME";
        self.replicas = vec![(NEW, format!("type: gs, {body}")), (OLD, format!("type: gcs, {body}"))];
        self.environment = Some(("STORAGE_EMULATOR_HOST", self.address()));
    }

    /// A replica is a bucket of its own, which Litestream does not make: this is the one of a database with this name.
    pub const NATS_BUCKET: &str = "nats-new";

    pub fn nats_config(&self, password: &str) {
        let text = format!(
            "listen: {:?}\njetstream {{ store_dir: {:?} }}\nauthorization {{ user: lab, password: {password} }}\n",
            self.address(),
            self.data()
        );
        fs::write(self.home.join("nats.conf"), text).unwrap();
    }

    fn nats(&mut self, lab: &Lab) {
        self.nats_config(PASSWORD);
        let mut command = lab.program("py/bin/nats-server");
        command.arg("-c").arg(self.home.join("nats.conf"));
        self.serve(command, self.port);
        let make = format!(
            "import asyncio, nats\nasync def make():\n    there = await nats.connect('nats://lab:{PASSWORD}@{}')\n    \
             await there.jetstream().create_object_store('{}')\n    await there.close()\nasyncio.run(make())\n",
            self.address(),
            Self::NATS_BUCKET
        );
        let made = lab.program("py/bin/python").args(["-c", &make]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let body = format!("url: \"nats://{}/NAME\", username: lab, password: {PASSWORD}", self.address());
        self.replicas = vec![(NEW, body)];
        self.secrets = vec![PASSWORD.to_owned()];
    }

    /// The one server here that takes the signatures of Litestream's client of OSS: rclone, which checks none.
    fn rclone_as_oss(&mut self, lab: &Lab) {
        let mut command = rclone(lab, "s3", self.port);
        fs::create_dir(self.data().join("bucket")).unwrap();
        command.arg(self.data());
        self.serve(command, self.port);
        let body = format!(
            "type: oss, bucket: bucket, path: a/NAME, endpoint: \"http://{}\", region: cn-hangzhou, access-key-id: lab, \
             secret-access-key: {PASSWORD}",
            self.address()
        );
        self.replicas = vec![(NEW, body)];
        self.secrets = vec![PASSWORD.to_owned()];
    }

    fn moto(&mut self, lab: &Lab) {
        let mut command = lab.program("py/bin/moto_server");
        command.args(["-H", "127.0.0.1", "-p", &self.port.to_string()]);
        self.serve(command, self.port);
        assert_eq!(http::request("PUT", &self.address(), "/bucket", &[], b"").unwrap().status, 200);
        let body = format!(
            "type: s3, bucket: bucket, path: NAME, endpoint: \"http://{}\", region: us-east-1, force-path-style: true, \
             access-key-id: {ACCESS_KEY}, secret-access-key: {SECRET_KEY}",
            self.address()
        );
        self.replicas = vec![(NEW, body.clone()), (OLD, body)];
        self.secrets = vec![SECRET_KEY.to_owned()];
    }

    /// One by key, the other one by password.
    fn openssh_and_rclone(&mut self, lab: &Lab) {
        let command = sftp::openssh(&lab.path(""), &self.home, self.port);
        self.serve(command, self.port);
        sftp::write_key(CLIENT, &self.home.join("client_key"));
        let other = self.home.join("rclone");
        fs::create_dir(&other).unwrap();
        let port = free_port();
        self.serve(sftp::rclone(&lab.path(""), &other, &other, port), port);
        let new = format!(
            "type: sftp, host: '{}', path: {}/NAME, user: {}, key-path: {}/client_key, host-key: '{}'",
            self.address(),
            self.data().display(),
            sftp::user(),
            self.home.display(),
            sftp::line(&sftp::key(HOST)),
        );
        // v0.3 knows no key of a host, and trusts anyone.
        let old = format!("type: sftp, host: '127.0.0.1:{port}', path: /NAME, user: {USER}, password: {PASSWORD}");
        self.replicas = vec![(NEW, new), (OLD, old)];
        self.secrets = vec![PASSWORD.to_owned()];
    }

    fn rclone_as_webdav(&mut self, lab: &Lab) {
        let mut command = rclone(lab, "webdav", self.port);
        command.args(["--user", USER, "--pass", PASSWORD]).arg(self.data());
        self.serve(command, self.port);
        let body = format!(
            "type: webdav, webdav-url: \"http://{}\", webdav-username: {USER}, webdav-password: {PASSWORD}, path: a/NAME",
            self.address()
        );
        self.replicas = vec![(NEW, body)];
        // The second is both, as a request has it.
        self.secrets = vec![PASSWORD.to_owned(), "bGFiOmxhYnBhc3M=".to_owned()];
    }
}

fn rclone(lab: &Lab, serves: &str, port: u16) -> Command {
    let mut command = lab.program("py/bin/rclone");
    command.args(["serve", serves, "--addr", &format!("127.0.0.1:{port}"), "--config", ""]);
    command
}
