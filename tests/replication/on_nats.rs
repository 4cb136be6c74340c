//! The real Litestream on a real NATS server, and the agent beside it: from the first file to a restored database.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::litestream::quick_yaml;
use super::lab::{Lab, Process, command, free_port};
use super::site::{self, Site, verdict};

const VERSION: &str = "0.5.17";
const PASSWORD: &str = "lab-password";

/// Makes the bucket, which Litestream does not.
const MAKE_BUCKET: &str = "
import asyncio, sys, nats
async def make():
    connection = await nats.connect(sys.argv[1], user='lab', password=sys.argv[2])
    await connection.jetstream().create_object_store('app')
    await connection.close()
asyncio.run(make())
";

fn server(lab: &Lab, home: &Path) -> (Process, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let config = home.join("nats.conf");
    let text = format!(
        "listen: {address:?}\njetstream {{ store_dir: {:?} }}\nauthorization {{ user: lab, password: {PASSWORD} }}\n",
        home.join("jetstream")
    );
    fs::write(&config, text).unwrap();
    let mut server = Process::spawn(lab.program("py/bin/nats-server").arg("-c").arg(config), home.join("nats.log"));
    server.wait_until_listening(&address);
    let mut make = lab.program("py/bin/python");
    let made = make.args(["-c", MAKE_BUCKET, &format!("nats://{address}"), PASSWORD]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (server, address)
}

fn site(lab: &Lab, home: &Path, address: &str) -> Site {
    let database = home.join("app.db");
    let mut writer = lab.writer(&database);
    writer.sql("CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
    let url = format!("nats://{address}/app");
    let body = format!("url: \"{url}\", username: lab, password: {PASSWORD}");
    let litestream = lab.replicate(VERSION, home, &quick_yaml(VERSION, &database, &body));
    Site { name: "app".to_owned(), version: VERSION, database, replica: home.join("none"), url, writer, litestream }
}

/// Replicating, quiet, stalled and resumed; then drilled and restored.
pub fn from_lag_to_restore(lab: &Lab, home: &Path) {
    let (mut server, address) = server(lab, home);
    let mut site = site(lab, home, &address);
    let toml = "idle-interval = \"2s\"\ntimeout = \"3s\"\n\n[beacon]\nenabled = true\ninterval = \"2s\"\n";
    let agent = &site::agent(home, [&site], toml);
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
    let coverage = verdict(agent, "ReplicaGap").unwrap();
    assert_eq!(coverage.0, "pass", "{coverage:?}");

    // A server that stops is told, and found again by itself.
    server.freeze();
    let reason = "streamgauge_replica_up";
    super::lab::wait_for("the outage to be told", || agent.metric(reason, &[("database", "app")]) == Some(0.0));
    server.thaw();
    site.wait_until_in_sync(agent);

    for told in [agent.process.log(), agent.metrics(), agent.report().to_string()] {
        assert!(!told.contains(PASSWORD), "{told}");
    }
    assert!(server.is_running());
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

/// Byte for byte what Litestream restores, with the beacon in the same bucket.
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
