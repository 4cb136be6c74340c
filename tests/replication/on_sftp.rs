//! The real Litestream on real SFTP servers: watched, drilled, restored, and the server goes and comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use super::lab::agent::Agent;
use super::lab::{Lab, Process, command, free_port, wait_for};
use super::sftp_servers::{self as servers, CLIENT, HOST, PASSWORD, USER};
use super::site::{self, Seen, Site, replica_report, verdict};
use super::stall;

/// rclone's server, on a port that it has again after a restart.
fn start_rclone(lab: &Lab, home: &Path, port: u16) -> Process {
    let data = home.join("data");
    fs::create_dir_all(&data).unwrap();
    let mut command = servers::rclone(&lab.path(""), home, &data, port);
    let mut process = Process::spawn(&mut command, home.join("rclone.log"));
    process.wait_until_listening(&format!("127.0.0.1:{port}"));
    process
}

fn start_openssh(lab: &Lab, home: &Path, port: u16) -> Process {
    let mut command = servers::openssh(&lab.path(""), home, port);
    servers::write_key(CLIENT, &home.join("client_key"));
    let mut process = Process::spawn(&mut command, home.join("sshd.log"));
    process.wait_until_listening(&format!("127.0.0.1:{port}"));
    process
}

/// A site on rclone's server, by password, or on OpenSSH's, by key.
fn on(lab: &Lab, home: &Path, server: &Path, port: u16, version: &'static str) -> Site {
    let is_rclone = server.ends_with("rclone");
    let name = format!("{}-{}", server.file_name().unwrap().display(), version.replace('.', "-"));
    let login = if is_rclone {
        format!("user: {USER}, password: {PASSWORD}")
    } else {
        format!("user: {}, key-path: {}/client_key", servers::user(), server.display())
    };
    // v0.3 knows no such key, and trusts anyone.
    let host_key = match version.starts_with("0.3") {
        true => String::new(),
        false => format!(", host-key: '{}'", servers::line(&servers::key(HOST))),
    };
    let body = format!("type: sftp, host: '127.0.0.1:{port}', path: /data/{name}, {login}{host_key}");
    // rclone's root is what it serves, OpenSSH's that of the machine.
    let data = server.join("data").join(&name);
    let body = body
        .replace(&format!("/data/{name}"), &if is_rclone { format!("/{name}") } else { data.display().to_string() });
    Site::start(lab, home, &name, version, &[], (&body, data, String::new()))
}

pub fn genuine_litestream(lab: &Lab, home: &Path) {
    let [rclone_home, openssh_home] = ["rclone", "openssh"].map(|name| home.join(name));
    for home in [&rclone_home, &openssh_home] {
        fs::create_dir(home).unwrap();
    }
    // OpenSSH's does not run as root.
    fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let [rclone_port, openssh_port] = [free_port(), free_port()];
    let mut rclone = start_rclone(lab, &rclone_home, rclone_port);
    let _openssh = start_openssh(lab, &openssh_home, openssh_port);
    let mut sites = vec![
        on(lab, home, &rclone_home, rclone_port, "0.5.17"),
        on(lab, home, &rclone_home, rclone_port, "0.3.13"),
        on(lab, home, &openssh_home, openssh_port, "0.5.17"),
        on(lab, home, &openssh_home, openssh_port, "0.3.13"),
    ];
    let toml = site::quick_toml(&sites, "idle-interval = \"2s\"\n") + "[drill]\ninterval = \"10s\"\n";
    let agent = Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    thread::scope(|scope| {
        for site in &mut sites {
            let agent = &agent;
            scope.spawn(move || {
                stall::replicating(agent, site);
                stall::stopped(agent, site);
                stall::on_again(agent, site);
            });
        }
    });
    for site in &sites {
        let labels = [("database", site.name.as_str()), ("result", "passed")];
        wait_for("a drill to pass", || agent.metric("streamgauge_drills_total", &labels) >= Some(1.0));
        let labels = [("database", site.name.as_str()), ("result", "failed")];
        assert!(agent.metric("streamgauge_drills_total", &labels).is_none_or(|failed| failed == 0.0), "{}", site.name);
        restores_the_same(lab, home, site);
    }
    let text = agent.get("/api/v1/report").text();
    let log = agent.process.log();
    assert!(!text.contains(PASSWORD) && !log.contains(PASSWORD), "{log}");
    assert!(text.contains("replicas[0].host-key: not set: any server is trusted"), "{text}");

    // The server is gone, which costs the proof its age and nothing else, and comes back.
    drop(rclone);
    let (gone, there) = (&mut sites[0].name.clone(), sites[2].name.clone());
    wait_for("the replica to be down", || Seen::of(&agent, gone).get("replica_up") == Some(0.0));
    let reason = replica_report(&agent, gone)["reason"].clone();
    assert_eq!(reason["kind"], "unreachable", "{reason}");
    assert_eq!(Seen::of(&agent, &there).get("replica_up"), Some(1.0));
    rclone = start_rclone(lab, &rclone_home, rclone_port);
    sites[0].writer.commit(3);
    sites[0].wait_until_in_sync(&agent);
    drop(rclone);
}

/// Byte for byte what Litestream restores.
fn restores_the_same(lab: &Lab, home: &Path, site: &Site) {
    let out = |who: &str| -> PathBuf { home.join(format!("{}-{who}.db", site.name)) };
    let (theirs, ours) = (out("theirs"), out("ours"));
    let config = ["-config", site.litestream.config.to_str().unwrap()];
    lab.restore_with(site.version, &config, site.database.to_str().unwrap(), &theirs).unwrap();
    let mut restore = command(env!("CARGO_BIN_EXE_streamgauge"));
    restore.args(["restore", &site.name, "--quiet", "--litestream.config"]).arg(&site.litestream.config);
    let done = restore.arg("-o").arg(&ours).output().unwrap();
    assert!(done.status.success(), "{}: {}", site.name, String::from_utf8_lossy(&done.stderr));
    let (theirs, ours) = (fs::read(theirs).unwrap(), fs::read(ours).unwrap());
    assert!(theirs == ours && !ours.is_empty(), "{}: {} and {} bytes", site.name, theirs.len(), ours.len());
}

/// One agent beside the database writes beacons, another one has nothing but the server.
pub fn observer(lab: &Lab, home: &Path) {
    fs::set_permissions(home, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = home.join("openssh");
    fs::create_dir(&server).unwrap();
    let port = free_port();
    let _openssh = start_openssh(lab, &server, port);
    let mut site = on(lab, home, &server, port, "0.5.17");
    site.writer.commit(5);
    let toml = site::quick_toml([&site], "idle-interval = \"1s\"\n")
        + "[drill]\nenabled = false\n[beacon]\nenabled = true\ninterval = \"2s\"\nhost = \"db1\"\n";
    let host = Agent::start(home, &toml, &[]);
    let elsewhere = home.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let toml = format!(
        "[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n[drill]\nenabled = false\n[[database]]\nname = \"seen\"\n\
         [[database.replica]]\nurl = \"sftp://127.0.0.1:{port}{}\"\nuser = \"{}\"\nkey-path = \"{}/client_key\"\n\
         host-key = \"{}\"\n",
        site.replica.display(),
        servers::user(),
        server.display(),
        servers::line(&servers::key(HOST)),
    );
    let observer = Agent::start(&elsewhere, &toml, &[]);
    wait_for("the beacon to be seen", || {
        let is_there = verdict(&observer, "HostGone").is_some_and(|(status, _)| status == "pass");
        is_there && Seen::of(&observer, "seen").lag().is_some()
    });
    assert_eq!(replica_report(&observer, "seen")["beacon"]["claim"]["host"], "db1");
    assert_eq!(host.process.log_lines("beacon not written"), 0);
    let beside =
        fs::read_dir(server.join("data")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut beside: Vec<String> = beside.collect();
    beside.sort_unstable();
    assert_eq!(beside, [site.name.clone(), format!("{}.streamgauge", site.name)], "nothing else is written");
}
