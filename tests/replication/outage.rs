//! What cannot be read, and what comes back.

use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use super::lab::agent::Agent;
use super::lab::{Lab, wait_for};
use super::position;
use super::site::{self, BUCKET, Seen, Site, replica_report};

const VERSION: &str = "0.5.17";

/// The bucket's credentials are revoked, for Litestream and for the agent, and given back.
pub fn credentials_revoked(lab: &Lab, home: &Path) {
    let objects = home.join("rclone");
    let rclone = lab.rclone(&objects);
    rclone.create_bucket(BUCKET);
    let mut site = Site::on_s3(lab, home, "revoked", VERSION, (&rclone, &objects));
    let agent = site::agent(home, [&site], "idle-interval = \"1s\"");
    site.writer.commit(20);
    site.wait_until_in_sync(&agent);

    let rclone = lab.rclone_revoked(rclone);
    site.wait_until(&agent, "to be down", |seen| seen.get("replica_up") == Some(0.0));
    let reason = replica_report(&agent, &site.name)["reason"].clone();
    assert_eq!(reason["kind"], "denied", "{reason}");
    let verified = site.seen(&agent).verified_at();
    site.writer.commit(30);
    let replica = position::of_replica(&site.replica);
    let source = position::of_source(&site.database);
    assert_eq!(source.salts, replica.salts);
    let beyond = (source.end - replica.end) as f64;
    assert!(beyond > 0.0);
    site.wait_until(&agent, "for bytes to be counted", |seen| seen.unreplicated_bytes() == Some(beyond));
    thread::sleep(Duration::from_secs(3));
    let seen = site.seen(&agent);
    assert_eq!(seen.lag(), Some(0.0), "the objective is met so far: {seen:?}");
    assert_eq!(seen.verified_at(), verified, "proof grows old");
    assert_eq!(seen.unreplicated_bytes(), Some(beyond));
    assert_eq!(seen.get("replica_up"), Some(0.0));

    let _rclone = lab.rclone_restored(rclone);
    site.wait_until_in_sync(&agent);
    let seen = site.seen(&agent);
    assert_eq!(seen.get("replica_up"), Some(1.0));
    assert!(seen.verified_at() > verified);
    assert_eq!(replica_report(&agent, &site.name)["reason"], serde_json::Value::Null);
}

/// The server dies in the middle of writes and comes back on the same port.
pub fn server_restarted(lab: &Lab, home: &Path) {
    let objects = home.join("rclone");
    let mut rclone = lab.rclone(&objects);
    rclone.create_bucket(BUCKET);
    let mut site = Site::on_s3(lab, home, "restarted", VERSION, (&rclone, &objects));
    let agent = site::agent(home, [&site], "idle-interval = \"1s\"");
    site.writer.run(Duration::from_millis(20));
    site.wait_until(&agent, "for the first proof", |seen| seen.recovery_point().is_some());
    rclone.stop();
    site.wait_until(&agent, "to be down", |seen| seen.get("replica_up") == Some(0.0));
    let reason = replica_report(&agent, &site.name)["reason"].clone();
    assert_eq!(reason["kind"], "unreachable", "{reason}");
    let bytes = site.seen(&agent).unreplicated_bytes();
    site.wait_until(&agent, "for bytes to be counted", |seen| seen.unreplicated_bytes() > bytes);
    let point = site.seen(&agent).recovery_point();

    let _rclone = lab.rclone_restored(rclone);
    site.wait_until(&agent, "to be up", |seen| seen.get("replica_up") == Some(1.0));
    site.wait_until(&agent, "for the recovery point to advance", |seen| seen.recovery_point() > point);
    site.writer.pause();
    site.wait_until_in_sync(&agent);
}

/// The agent is killed while commits wait, and its successor knows since when they do.
pub fn agent_killed(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "killed", VERSION, &[]);
    let mut agent = site::agent(home, [&site], "");
    site.writer.commit(20);
    site.wait_until_in_sync(&agent);
    site.litestream.process.freeze();
    site.writer.run(Duration::from_millis(50));
    // State is saved every half minute.
    site.wait_until(&agent, "for lag to grow", |seen| seen.lag() > Some(35.0));
    let before = pending_since(&site.seen(&agent)).unwrap();
    agent.process.signal(Signal::KILL);
    wait_for("the agent to die", || !agent.process.is_running());

    let agent: Agent = site::agent(home, [&site], "");
    site.wait_until(&agent, "for lag to be known", |seen| seen.lag().is_some());
    let seen = site.seen(&agent);
    let after = pending_since(&seen).unwrap();
    assert!((after - before).abs() < 2.0, "pending since {before}, after the restart since {after}");
    assert!(seen.lag() > Some(30.0), "{seen:?}");
    assert!(seen.recovery_point() < Some(before), "{seen:?}");
    site.litestream.process.thaw();
    site.writer.pause();
    site.wait_until_in_sync(&agent);
}

fn pending_since(seen: &Seen) -> Option<f64> {
    seen.get("replica_unreplicated_since_timestamp_seconds")
}
