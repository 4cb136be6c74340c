//! What the log says of what is found: a line when something becomes bad, and one when it is well again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::lab::agent::Agent;
use super::lab::litestream::{ACCESS_KEY, SECRET_KEY};
use super::lab::{Lab, wait, wait_for};
use super::site::{self, BUCKET, Site};

/// Of how many things the lines with these words tell.
fn told(agent: &Agent, one: &str, many: &str) -> usize {
    let log = agent.process.log();
    let counted = |line: &str| {
        let (_, rest) = line.split_once("count=")?;
        rest.split(' ').next()?.parse::<usize>().ok()
    };
    let single = log.lines().filter(|line| line.contains(one)).count();
    single + log.lines().filter(|line| line.contains(many)).filter_map(counted).sum::<usize>()
}

const DATABASES: usize = 12;

/// The bucket of many replicas stops to answer: each is told of once, however often it is asked, and once more when it
/// answers again.
pub fn dead_bucket(lab: &Lab, home: &Path) {
    let objects = home.join("rclone");
    let mut server = lab.rclone(&objects);
    server.create_bucket(BUCKET);
    let mut toml = "[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n[drill]\nenabled = false\n".to_owned();
    for number in 0..DATABASES {
        // Seen from elsewhere, and empty, which is no news so soon.
        toml += &format!(
            "[[database]]\nname = \"db{number}\"\n[[database.replica]]\nurl = \"s3://{BUCKET}/db{number}\"\nendpoint = \
             \"{}\"\nregion = \"us-east-1\"\naccess-key-id = \"{ACCESS_KEY}\"\nsecret-access-key = \"{SECRET_KEY}\"\n",
            server.endpoint()
        );
    }
    let agent = Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    let bad = || told(&agent, "\"replica is bad\"", "\"replicas are bad\"");
    // They are empty: nothing of them is well.
    let well = || told(&agent, "\"replica can be looked at again\"", "\"replicas can be looked at again\"");
    assert_eq!((bad(), well()), (0, 0), "{}", agent.process.log());
    server.stop();
    // More than a few are told of together, a minute after the first.
    let patience = Duration::from_secs(120);
    assert!(wait(patience, || bad() == DATABASES), "{}", agent.process.log());
    let log = agent.process.log();
    let line = log.lines().find(|line| line.contains("replica is bad") || line.contains("replicas are bad")).unwrap();
    assert!(line.contains("level=warn") && line.contains(" reason=") && line.contains(BUCKET), "{line}");

    // Failing again is no news.
    let failures = || {
        let text = agent.metrics();
        let lines = text.lines().filter(|line| line.starts_with("streamgauge_store_request_failures_total{"));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum::<f64>()
    };
    let before = failures();
    assert!(wait(Duration::from_secs(60), || failures() >= before + DATABASES as f64), "nothing is asked any more");
    assert_eq!((bad(), well()), (DATABASES, 0), "{}", agent.process.log());

    let _server = lab.rclone_restored(server);
    assert!(wait(patience, || well() == DATABASES), "{}", agent.process.log());
    assert_eq!(bad(), DATABASES);
}

/// A database is gone and comes back.
pub fn missing_database(lab: &Lab, home: &Path) {
    let site = Site::on_directory(lab, home, "gone", "0.5.17", &[]);
    let agent = site::agent(home, [&site], "");
    let elsewhere = home.join("elsewhere.db");
    fs::rename(&site.database, &elsewhere).unwrap();
    wait_for("it to be missed", || agent.process.log_lines("\"database is bad\"") == 1);
    let log = agent.process.log();
    let line = log.lines().find(|line| line.contains("database is bad")).unwrap();
    assert!(line.contains("database=gone") && line.contains("no such file or directory"), "{line}");
    fs::rename(&elsewhere, &site.database).unwrap();
    wait_for("it to be well again", || agent.process.log_lines("\"database is well again\"") == 1);
    let log = agent.process.log();
    assert!(log.lines().any(|line| line.contains("database is well again") && line.contains(" after=")), "{log}");
}
