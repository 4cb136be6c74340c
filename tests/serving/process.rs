//! The process: how it starts, refuses to start, stays up and ends.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use streamgauge_testkit::orders;
use streamgauge_testkit::replicator::Replicator;

use super::lab::agent::Agent;
use super::lab::{command, http, wait_for};
use super::{database, descriptors, told, watching};

/// An endpoint that takes connections and says nothing.
fn silent() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A database that does not matter, whose replica is at this endpoint.
fn replicated_to(endpoint: &TcpListener, path: &Path) -> String {
    format!(
        "[[database]]\npath = {path:?}\n[[database.replica]]\nurl = \"s3://bucket/app\"\nendpoint = \"http://{}\"\n\
         region = \"us-east-1\"\naccess-key-id = \"someone\"\nsecret-access-key = \"something\"\n",
        endpoint.local_addr().unwrap()
    )
}

#[test]
fn what_is_wrong_is_said_once_with_file_line_and_key() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("streamgauge.toml");
    fs::write(&file, "[[database]]\npath = \"/app.db\"\n[[database.replica]]\nurl = \"ftp://host/x\"\n").unwrap();
    let flag = format!("--config.file={}", file.display());
    let expected = format!("error: {}:4: database[0].replica[0].url: value `ftp://host/x`: ", file.display());
    // Of a check, 2 would say that a database is in danger.
    for (arguments, code) in [(&["run"][..], 2), (&["config", "check"], 2), (&["check"], 3)] {
        let (exit, out, error) = told(&[arguments, &[&flag]].concat());
        assert_eq!((exit, out.as_str()), (code, ""), "{arguments:?}: {error}");
        assert!(error.starts_with(&expected), "{error}");
        assert_eq!(error.matches("ftp://").count(), 1, "{error}");
    }
    for (arguments, code) in [(["run", "--no-such-flag"], 2), (["check", "--no-such-flag"], 3)] {
        let (exit, _, error) = told(&arguments);
        assert_eq!(exit, code, "{error}");
        assert!(error.contains("unexpected argument '--no-such-flag'"), "{error}");
    }
    let (exit, _, error) = told(&["run", "--config.file=/nonexistent/streamgauge.toml"]);
    assert_eq!(exit, 2);
    assert!(error.starts_with("error: /nonexistent/streamgauge.toml: no such file or directory\n"), "{error}");
}

/// IPv4 and IPv6 are two families, and `:port` is both where the machine has both.
#[test]
fn a_port_alone_is_listened_on_for_ipv4_and_ipv6() {
    let home = tempfile::tempdir().unwrap();
    // Free in both families a moment ago; nobody else of these tests asks for a certain one.
    let families =
        ["[::1]", "127.0.0.1"].map(|host| TcpListener::bind(format!("{host}:0")).ok().map(|bound| (host, bound)));
    let probes: Vec<_> = families.into_iter().flatten().collect();
    let port = probes[0].1.local_addr().unwrap().port();
    let hosts: Vec<_> = probes.into_iter().map(|(host, _)| host).collect();
    assert!(hosts.contains(&"127.0.0.1"));
    let toml = watching("", [&home.path().join("app.db")]);
    let _agent = Agent::start(home.path(), &toml, &[&format!("--web.listen-address=:{port}")]);
    for address in hosts.into_iter().map(|host| format!("{host}:{port}")) {
        assert_eq!(http::get(&address, "/-/healthy", &[]).unwrap().status, 200, "{address}");
    }
}

#[test]
fn an_address_that_is_taken_ends_it_with_a_reason() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("streamgauge.toml");
    fs::write(&file, watching("", [&home.path().join("app.db")])).unwrap();
    let taken = silent().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).unwrap();
    let (code, _, error) =
        told(&["run", &format!("--config.file={}", file.display()), &format!("--web.listen-address={taken}")]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains(&format!("error: listen on {taken}: address already in use\nhint: ")), "{error}");
}

#[test]
fn it_listens_on_every_address() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(database(&path));
    let agent = Agent::start(home.path(), &watching("", [&path]), &["--web.listen-address=127.0.0.2:0"]);
    agent.wait_until_ready();
    let log = agent.process.log();
    let (_, other) = log.split_once(" 127.0.0.2:").unwrap();
    let other: String = other.chars().take_while(char::is_ascii_digit).collect();
    let other = format!("127.0.0.2:{other}");
    for address in [&agent.address, &other] {
        let answer = http::get(address, "/metrics", &[]).unwrap();
        assert!(answer.text().contains("streamgauge_database_up{database=\"app\"} 1"), "{address}");
    }
}

/// The store that does not answer delays neither the other replica nor, in the end, readiness.
#[test]
fn it_is_ready_when_everything_was_looked_at_and_a_silent_store_delays_only_itself() {
    let home = tempfile::tempdir().unwrap();
    let endpoint = silent();
    let idle = home.path().join("idle.db");
    drop(database(&idle));
    let mut replicator = Replicator::create(home.path()).unwrap();
    let connection = orders::open(&home.path().join("app.db")).unwrap();
    let mut replicate = || {
        orders::write(&connection).unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        replicator.tick(now.as_millis() as u64).unwrap();
        replicator.txid() as f64
    };
    let first = replicate();
    let toml = format!(
        "[replica]\ntimeout = \"10m\"\ninterval = \"500ms\"\n[[database]]\npath = {:?}\n[[database.replica]]\n\
         url = \"file://{}\"\n{}",
        home.path().join("app.db"),
        home.path().join("replica").display(),
        replicated_to(&endpoint, &idle)
    );
    let agent = Agent::start(home.path(), &toml, &[]);
    let app = [("database", "app")];
    let proven = |txid| {
        wait_for("the other replica to be verified", || {
            agent.metric("streamgauge_replica_txid", &app) == Some(txid)
                && agent.metric("streamgauge_replica_lag_seconds", &app) == Some(0.0)
        });
    };
    proven(first);
    proven(replicate());
    proven(replicate());
    assert_eq!(agent.metric("streamgauge_replica_up", &[("database", "idle")]), None, "unknown is not down");
    let answer = agent.get("/-/ready");
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert_eq!(agent.get("/-/healthy").status, 200);

    drop(endpoint);
    agent.wait_until_ready();
    assert_eq!(agent.metric("streamgauge_replica_up", &[("database", "idle")]), Some(0.0));
    let lag = [("database", "idle"), ("check", "ReplicationLag"), ("status", "unknown")];
    assert_eq!(agent.metric("streamgauge_check_status", &lag), Some(1.0));
}

/// Sends the signal and waits: not long, because whoever stops a service kills it after a while.
fn ended_by(signal: Signal, agent: &mut Agent) -> ExitStatus {
    agent.process.signal(signal);
    let status = agent.process.ended(Duration::from_secs(10));
    status.unwrap_or_else(|| panic!("still there: {}", agent.process.log()))
}

#[test]
fn it_ends_in_order_whatever_hangs() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("app.db");
        drop(database(&path));
        let endpoint = silent();
        let mut agent = Agent::start(home.path(), &replicated_to(&endpoint, &path), &[]);
        wait_for("a report", || agent.get("/metrics").status == 200);
        let mut half = TcpStream::connect(&agent.address).unwrap();
        half.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").unwrap();
        let mut unread = TcpStream::connect(&agent.address).unwrap();
        unread.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(200).as_bytes()).unwrap();
        let status = ended_by(signal, &mut agent);
        assert!(status.success(), "{signal:?}: {status}: {}", agent.process.log());
    }
}

#[test]
fn scrapes_and_reloads_leave_no_descriptor_behind() {
    let home = tempfile::tempdir().unwrap();
    let paths = ["a.db", "b.db", "c.db"].map(|name| home.path().join(name));
    let _open = paths.each_ref().map(|path| database(path));
    let agent = Agent::start(home.path(), &watching("", &paths), &[]);
    agent.wait_until_ready();
    let pid = agent.process.pid();
    let reload = |toml: String| {
        fs::write(&agent.config, toml).unwrap();
        assert_eq!(http::request("POST", &agent.address, "/-/reload", &[], b"").unwrap().status, 200);
    };
    reload(watching("", &paths));
    let before = descriptors(pid);
    for round in 0..100 {
        (0..3).for_each(|_| assert_eq!(agent.get("/metrics").status, 200));
        // Databases come, go, and begin anew with other objectives.
        let settings = format!("[objectives]\nrpo = \"{}s\"\n[watch]\nseries-grace = \"100ms\"\n", round + 1);
        reload(watching(&settings, &paths[..round % 3 + 1]));
    }
    reload(watching("", &paths));
    wait_for("all databases", || agent.report()["databases"].as_array().unwrap().len() == 3);
    // The last connections are still being closed.
    wait_for("the descriptors of before", || descriptors(pid) <= before);
}

/// How a container asks, without a shell, and how whoever may not be asked for a password does.
#[test]
fn a_health_check_asks_the_agent_where_it_listens() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(database(&path));
    let socket = format!("unix:{}", home.path().join("agent.sock").display());
    let mut agent = Agent::start(home.path(), &watching("", [&path]), &[&format!("--web.listen-address={socket}")]);
    let settings = home.path().join("asks.toml");
    fs::write(&settings, format!("[web]\nlisten-address = [\"127.0.0.1:1\", {socket:?}]\n")).unwrap();
    let configured = format!("--config.file={}", settings.display());
    let urls = [format!("http://{}", agent.address), socket.clone()].map(|url| format!("--url={url}"));
    for place in [&configured, &urls[0], &urls[1]] {
        assert_eq!(told(&["healthcheck", place]), (0, "streamgauge is healthy\n".to_owned(), String::new()), "{place}");
        wait_for("the first look", || told(&["healthcheck", "--ready", place]).1 == "streamgauge is ready\n");
    }
    let (_, evidence, _) = told(&["why", "ReplicationLag", &configured]);
    assert!(evidence.contains(&format!("Right now (the agent at {socket}, ")), "{evidence}");
    assert!(ended_by(Signal::TERM, &mut agent).success());
    let (code, out, error) = told(&["healthcheck", &configured]);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    assert_eq!(error, format!("error: get {socket}/-/healthy: no such file or directory\n"));
}

/// What systemd starts with `Type=notify` and a watchdog.
#[test]
fn the_service_manager_is_told_how_it_goes() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(database(&path));
    let socket = home.path().join("notify.sock");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let told = || {
        let mut message = [0; 4096];
        let length = manager.recv(&mut message).unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let until = |what: &dyn Fn(&str) -> bool| loop {
        let message = told();
        if what(&message) {
            return message;
        }
    };
    let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
    command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "900000");
    let mut agent = Agent::start_by(command, home.path(), &watching("", [&path]), &home.path().join("storage"), &[]);
    assert_eq!(told(), "READY=1\n", "the first word");
    assert_eq!(agent.get("/-/healthy").status, 200, "who is ready answers");
    until(&|message| message == "WATCHDOG=1\n");
    let status = until(&|message| message.starts_with("STATUS="));
    assert!(status.contains("database") && !status.contains(['<', '>', '&']), "{status}");
    agent.process.signal(Signal::HUP);
    let reloading = until(&|message| message.starts_with("RELOADING=1\n"));
    let (_, since) = reloading.split_once("MONOTONIC_USEC=").unwrap();
    assert!(since.trim().parse::<u64>().unwrap() > 0);
    until(&|message| message == "READY=1\n");
    agent.process.signal(Signal::TERM);
    until(&|message| message == "STOPPING=1\n");
    assert!(agent.process.ended(Duration::from_secs(10)).unwrap().success());
}

/// As systemd passes them: from descriptor 3 on.
#[test]
fn sockets_of_systemd_are_served_in_place_of_addresses() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    drop(database(&path));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let expected = tcp.local_addr().unwrap().to_string();
    let file = home.path().join("passed.sock");
    let unix = UnixListener::bind(&file).unwrap();
    let mut passing = command("sh");
    let script = "exec 3<&0 4>&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\"";
    passing.args(["-c", script, env!("CARGO_BIN_EXE_streamgauge")]);
    let start = |mut passing: Command, streams: Option<(OwnedFd, OwnedFd)>| {
        fs::write(home.path().join("streamgauge.toml"), watching("", [&path])).unwrap();
        passing
            .args(["run", "--web.systemd-socket"])
            .arg(format!("--storage.path={}", home.path().join("s").display()));
        passing.arg(format!("--config.file={}", home.path().join("streamgauge.toml").display()));
        if let Some((tcp, unix)) = streams {
            passing.stdin(tcp).stdout(unix);
        }
        passing.stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut agent = start(passing, Some((tcp.into(), unix.into())));
    wait_for("an answer", || http::get(&expected, "/-/healthy", &[]).is_ok_and(|answer| answer.status == 200));
    assert_eq!(told(&["healthcheck", &format!("--url=unix:{}", file.display())]).0, 0);
    agent.kill().unwrap();
    agent.wait().unwrap();
    let none = start(command(env!("CARGO_BIN_EXE_streamgauge")), None).wait_with_output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    let error = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(
        error.contains("error: listen on the sockets of systemd: it passed none\nhint: start the .socket unit"),
        "{error}"
    );
}
