//! What a network and the servers on it can do to an agent, on every kind of store that has a network: each fault is told
//! in its own word and in time, harms no other replica, and ends with its cause.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use streamgauge_testkit::http::{Answer, Request, Server};

use super::fleet::{Group, Member, tells_no_secret, wait_until_in_sync};
use super::lab::agent::Agent;
use super::lab::certificates::Certificate;
use super::lab::{Lab, Process, command, free_port, http, wait, wait_for};
use super::places::{NEW, Place};
use super::proxy::{After, End, Proxy, Way};
use super::sftp_servers::{self as sftp, CLIENT, HOST, PASSWORD, STRANGER};
use super::site::{Seen, now, replica_report};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Refused,
    Reset,
    Hang,
    Slow,
    Throttled,
    WrongCredentials,
    ExpiredCredentials,
    WrongHostKey,
    UnknownAuthority,
}

const FAULTS: [Fault; 9] = [
    Fault::Refused,
    Fault::Reset,
    Fault::Hang,
    Fault::Slow,
    Fault::Throttled,
    Fault::WrongCredentials,
    Fault::ExpiredCredentials,
    Fault::WrongHostKey,
    Fault::UnknownAuthority,
];

/// The kind of the reason; `None` where the protocol has no such thing.
fn reason(kind: &str, fault: Fault) -> Option<&'static str> {
    use Fault::*;
    match (fault, kind) {
        (Refused | Reset, _) => Some("unreachable"),
        (Hang | Slow, _) => Some("timeout"),
        (WrongCredentials | ExpiredCredentials, _) => Some("denied"),
        (Throttled, "abs" | "gs" | "oss" | "s3" | "webdav") => Some("throttled"),
        (WrongHostKey, "sftp") => Some("unreachable"),
        // The emulator of gs has no TLS: the login to Google's own shows it.
        (UnknownAuthority, "abs" | "nats" | "oss" | "s3" | "webdav") => Some("unreachable"),
        (Throttled, "nats" | "sftp") | (UnknownAuthority, "gs" | "sftp") => None,
        (WrongHostKey, "abs" | "gs" | "nats" | "oss" | "s3" | "webdav") => None,
        (_, other) => panic!("what is said of {fault:?} by a replica of kind {other}?"),
    }
}

/// What else is said, where several faults have one kind.
fn words(fault: Fault) -> Option<&'static str> {
    match fault {
        Fault::UnknownAuthority => Some("certificate"),
        Fault::WrongHostKey => Some("host-key"),
        _ => None,
    }
}

/// How the servers of that kind refuse a request, which they repeat.
fn refusal(kind: &str, fault: Fault, request: &Request) -> Answer {
    let shown = request.header("authorization").unwrap_or_default();
    let xml = |status, code: &str| {
        let message = format!("not with {shown}").replace('&', "&amp;");
        Answer::xml(status, &format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>"))
    };
    let json = |status, why: &str| {
        let error =
            serde_json::json!({"code": status, "message": format!("not with {shown}"), "errors": [{"reason": why}]});
        Answer::new(status, "application/json", serde_json::json!({"error": error}).to_string())
    };
    match (kind, fault) {
        ("oss" | "s3", Fault::Throttled) => xml(503, "SlowDown"),
        ("oss" | "s3", Fault::WrongCredentials) => xml(403, "InvalidAccessKeyId"),
        ("oss" | "s3", _) => xml(400, "ExpiredToken"),
        ("gs", Fault::Throttled) => json(429, "rateLimitExceeded"),
        ("gs", _) => json(401, "authError"),
        ("abs", Fault::Throttled) => xml(503, "ServerBusy"),
        ("abs", _) => xml(403, "AuthenticationFailed"),
        (_, Fault::Throttled) => Answer::new(429, "text/plain", shown),
        (_, _) => Answer::new(401, "text/plain", shown).with("WWW-Authenticate", "Basic realm=\"x\""),
    }
}

/// Servers whose authority nobody knows: one that speaks HTTP, and one of NATS.
struct Strangers {
    https: u16,
    nats: u16,
    _servers: [Process; 2],
}

impl Strangers {
    fn start(lab: &Lab, home: &Path) -> Self {
        let Certificate { certificate, key } = Certificate::self_signed(home, "stranger", "IP:127.0.0.1");
        let [https, nats] = [free_port(), free_port()];
        let address = |port: u16| format!("127.0.0.1:{port}");
        let mut openssl = command("openssl");
        openssl.args(["s_server", "-www", "-accept", &address(https), "-cert"]).arg(&certificate).arg("-key").arg(&key);
        let config = home.join("stranger.conf");
        let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
        fs::write(&config, format!("listen: {:?}\n{tls}\n", address(nats))).unwrap();
        let mut nats_server = lab.program("py/bin/nats-server");
        nats_server.arg("-c").arg(config);
        let servers = [(https, openssl), (nats, nats_server)].map(|(port, mut command)| {
            let mut server = Process::spawn(&mut command, home.join(format!("stranger-{port}.log")));
            server.wait_until_listening(&address(port));
            server
        });
        Self { https, nats, _servers: servers }
    }
}

/// A replica that the agent reaches through a network of its own.
struct Victim<'a> {
    member: &'a Member<'a>,
    proxy: Proxy,
    yaml: PathBuf,
}

impl<'a> Victim<'a> {
    fn new(home: &Path, member: &'a Member<'a>) -> Self {
        let yaml = home.join(format!("{}.yml", member.name));
        let victim = Self { member, proxy: Proxy::start(member.place.port), yaml };
        fs::write(&victim.yaml, victim.well()).unwrap();
        victim
    }

    /// Its `litestream.yml`.
    fn well(&self) -> String {
        let place = self.member.place;
        let replica = place.replica(NEW, &self.member.name).unwrap();
        self.member.yaml(&replica.replace(&place.address(), &self.proxy.address()))
    }

    /// What the agent needs to read it.
    fn environment(&self) -> Option<(&'static str, String)> {
        let (name, value) = self.member.place.environment.clone()?;
        Some((name, value.replace(&self.member.place.address(), &self.proxy.address())))
    }

    fn report(&self, agent: &Agent) -> serde_json::Value {
        replica_report(agent, &self.member.name)
    }

    /// All that can befall it, one after the other.
    fn suffers(&mut self, agent: &Agent, strangers: &Strangers) {
        let kind = self.member.place.kind;
        for fault in FAULTS {
            let Some(expected) = reason(kind, fault) else { continue };
            // Where all requests share a connection, one that breaks soon after another one is not made anew at once.
            if ["nats", "sftp"].contains(&kind) {
                self.proxy = Proxy::start(self.member.place.port);
                self.configured(agent, "", "");
            }
            self.is_well(agent, fault);
            let server = Server::start(move |request| refusal(kind, fault, request)).unwrap();
            self.begins(agent, fault, server.port(), strangers);
            let mut last = serde_json::Value::Null;
            let told = wait(Duration::from_secs(30), || {
                last = self.report(agent)["reason"].clone();
                last["kind"] == expected
            });
            assert!(told, "{kind}: {fault:?} is told as {last}\n{}", agent.process.log());
            if let Some(words) = words(fault) {
                let said = last["message"].as_str().unwrap_or_default();
                assert!(said.contains(words), "{kind}: {fault:?} is told as {last}");
            }
            self.ends(agent, fault);
            self.is_well(agent, fault);
        }
    }

    fn is_well(&self, agent: &Agent, fault: Fault) {
        let mut last = serde_json::Value::Null;
        let well = wait(Duration::from_secs(60), || {
            last = self.report(agent);
            last["up"] == true && last["reason"].is_null()
        });
        assert!(well, "{} around {fault:?}: {last}\n{}", self.member.name, agent.process.log());
    }

    fn begins(&self, agent: &Agent, fault: Fault, refusing: u16, strangers: &Strangers) {
        let place = self.member.place;
        let way = match (fault, place.kind) {
            (Fault::Refused, _) => Way::Refused,
            (Fault::Reset, _) => Way::Ends(After::Each(100), End::Reset),
            (Fault::Hang, _) => Way::Ends(After::Each(0), End::Hang),
            (Fault::Slow, _) => Way::Slow(Duration::from_millis(300)),
            (Fault::WrongCredentials, "abs") => return self.configured(agent, &place.secrets[1], "geheimgeheimgeheim"),
            (Fault::WrongCredentials, "nats" | "webdav") => return self.configured(agent, PASSWORD, "falsch"),
            (Fault::WrongCredentials, "sftp") => return self.configured(agent, "client_key", "stranger_key"),
            (Fault::WrongHostKey, _) => {
                let [host, stranger] = [HOST, STRANGER].map(|number| sftp::line(&sftp::key(number)));
                return self.configured(agent, &host, &stranger);
            }
            (Fault::ExpiredCredentials, "nats" | "sftp") => {
                self.admits("another", STRANGER);
                Way::Open
            }
            (Fault::UnknownAuthority, "nats") => Way::Elsewhere(strangers.nats),
            (Fault::UnknownAuthority, _) => {
                self.proxy.set(Way::Elsewhere(strangers.https));
                return self.configured(agent, "http://", "https://");
            }
            (Fault::Throttled | Fault::WrongCredentials | Fault::ExpiredCredentials, _) => Way::Elsewhere(refusing),
        };
        self.proxy.set(way);
    }

    fn ends(&self, agent: &Agent, fault: Fault) {
        if matches!(fault, Fault::ExpiredCredentials) {
            self.admits(PASSWORD, CLIENT);
        }
        self.proxy.set(Way::Open);
        self.configured(agent, "", "");
    }

    /// Whom the server lets in, where it is one that can be told.
    fn admits(&self, password: &str, key: u8) {
        let place = self.member.place;
        match place.kind {
            "nats" => {
                place.nats_config(password);
                place.servers[0].signal(Signal::HUP);
            }
            "sftp" => fs::write(place.home.join("authorized_keys"), sftp::line(&sftp::key(key))).unwrap(),
            _ => {}
        }
    }

    /// The agent reads a `litestream.yml` with something else in it.
    fn configured(&self, agent: &Agent, from: &str, to: &str) {
        let (before, well) = (fs::read_to_string(&self.yaml).unwrap(), self.well());
        let text = if from.is_empty() { well } else { well.replace(from, to) };
        if before != text {
            fs::write(&self.yaml, text).unwrap();
            let reload = || http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap().status;
            wait_for("a reload", || reload() == 200);
        }
    }
}

pub fn every_fault_of_every_kind(lab: &Lab, home: &Path) {
    let places = Place::of_all_kinds(lab, home);
    let strangers = Strangers::start(lab, home);
    let members = places.iter().map(|place| Member::new(lab, home, place, NEW).unwrap()).collect();
    let mut group = Group::start(lab, &home.join("litestream"), members);
    for member in &mut group.members {
        member.writer.commit(3);
    }
    let (networked, local): (Vec<_>, Vec<_>) =
        group.members.iter().partition(|member| !member.place.servers.is_empty());
    let mut victims: Vec<_> = networked.into_iter().map(|member| Victim::new(home, member)).collect();
    sftp::write_key(STRANGER, &home.join("sftp/stranger_key"));

    let unharmed = local[0];
    let yaml = home.join("unharmed.yml");
    fs::write(&yaml, unharmed.yaml(&unharmed.place.replica(NEW, &unharmed.name).unwrap())).unwrap();
    let configs: Vec<_> = victims.iter().map(|victim| &victim.yaml).chain([&yaml]).collect();
    let toml = format!(
        "[litestream]\nconfig = {configs:?}\n[replica]\ntimeout = \"3s\"\ninterval = \"1s\"\nidle-interval = \"1s\"\n\
         [drill]\nenabled = false\n"
    );
    let mut streamgauge = command(env!("CARGO_BIN_EXE_streamgauge"));
    streamgauge.envs(victims.iter().filter_map(Victim::environment));
    let agent = Agent::start_by(streamgauge, home, &toml, &home.join("streamgauge"), &[]);
    agent.wait_until_ready();
    wait_until_in_sync(&agent, &group.members.iter().collect::<Vec<_>>());

    let descriptors = || fs::read_dir(format!("/proc/{}/fd", agent.process.pid())).unwrap().count();
    let before = descriptors();
    thread::scope(|scope| {
        let suffering: Vec<_> =
            victims.iter_mut().map(|victim| scope.spawn(|| victim.suffers(&agent, &strangers))).collect();
        while !suffering.iter().all(thread::ScopedJoinHandle::is_finished) {
            let seen = Seen::of(&agent, &unharmed.name);
            let looked = now() - seen.verified_at().unwrap_or(0.0);
            assert!(seen.in_sync() && looked < 10.0, "{looked} seconds ago: {seen:?}");
            tells_no_secret(&agent, &places);
            thread::sleep(Duration::from_millis(500));
        }
    });
    wait_until_in_sync(&agent, &group.members.iter().collect::<Vec<_>>());
    // A client may keep one connection more than it did.
    let most = before + victims.len();
    let left = wait(Duration::from_secs(60), || descriptors() <= most);
    assert!(left, "{} descriptors, and {before} before", descriptors());
    assert_eq!(agent.process.log_lines("panicked"), 0, "{}", agent.process.log());
}
