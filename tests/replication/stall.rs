//! Replicating, stopped, and on again: every version, to a directory and to S3.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::lab::Lab;
use super::lab::agent::Agent;
use super::lab::litestream::VERSIONS;
use super::position;
use super::site::{self, BUCKET, Seen, Site, now};

/// What nobody would call "a few seconds" any more, even on a machine that is busy with other tests.
pub const FEW_SECONDS: f64 = 10.0;

pub fn every_version(lab: &Lab, home: &Path) {
    let objects = home.join("rclone");
    let rclone = lab.rclone(&objects);
    rclone.create_bucket(BUCKET);
    let mut sites = Vec::new();
    for version in VERSIONS {
        let name = version.replace('.', "-");
        sites.push(Site::on_directory(lab, home, &format!("file-{name}"), version, &[]));
        sites.push(Site::on_s3(lab, home, &format!("s3-{name}"), version, (&rclone, &objects)));
    }
    let agent = &site::agent(home, &sites, "idle-interval = \"2s\"");
    thread::scope(|scope| {
        for site in &mut sites {
            scope.spawn(move || {
                replicating(agent, site);
                stopped(agent, site);
                on_again(agent, site);
            });
        }
    });
}

fn replicating(agent: &Agent, site: &mut Site) {
    site.writer.run(Duration::from_millis(20));
    site.wait_until(agent, "for the first proof", |seen| seen.recovery_point().is_some() && seen.lag().is_some());
    let start = site.seen(agent).recovery_point();
    let lags: Vec<_> = (0..40)
        .map(|_| {
            thread::sleep(Duration::from_millis(200));
            let seen = site.seen(agent);
            let report = || site::replica_report(agent, &site.name);
            seen.lag().unwrap_or_else(|| panic!("{}: {seen:?} {} {}", site.name, report(), agent.process.log()))
        })
        .collect();
    assert!(lags.iter().all(|lag| *lag < FEW_SECONDS), "{}: {lags:?}", site.name);
    site.wait_until(agent, "for the recovery point to advance", |seen| seen.recovery_point() > start);
    let method = if site.version.starts_with("0.3.") { "segment" } else { "wal" };
    let report = site::replica_report(agent, &site.name);
    assert_eq!(report["method"], method, "{}: {report}", site.name);
    site.writer.pause();
    site.wait_until_in_sync(agent);
}

fn stopped(agent: &Agent, site: &mut Site) {
    site.litestream.process.freeze();
    let since = |seen: &Seen| seen.get("replica_unreplicated_since_timestamp_seconds");
    let before = now();
    site.writer.commit(1);
    let after = now();
    site.writer.run(Duration::from_millis(20));
    site.wait_until(agent, "for lag to grow", |seen| seen.lag() > Some(3.0));
    let seen = site.seen(agent);
    // Commits are dated when they are seen, which is within a poll of a second or a little more.
    let dated = since(&seen).unwrap();
    assert!(dated > before - 0.1 && dated < after + 5.0, "{}: {before} {dated} {after}", site.name);
    let lag = seen.lag().unwrap();
    assert!((now() - lag - dated).abs() < 5.0, "{}: lag {lag}, since {dated}, now {}", site.name, now());

    site.writer.pause();
    let (source, replica) = (position::of_source(&site.database), position::of_replica(&site.replica));
    assert_eq!(source.salts, replica.salts, "{}: Litestream's lock keeps the log from being reset", site.name);
    let beyond = (source.end - replica.end) as f64;
    assert!(beyond > 0.0);
    site.wait_until(agent, "for all bytes to be counted", |seen| seen.unreplicated_bytes() == Some(beyond));
    let seen = site.seen(agent);
    assert_eq!(seen.get("replica_unreplicated_bytes_lower_bound"), Some(0.0), "{}", site.name);
    assert_eq!(since(&seen), Some(dated), "{}: later commits do not make the oldest one younger", site.name);
    assert!(seen.recovery_point() < Some(after), "{}: {seen:?}", site.name);
}

fn on_again(agent: &Agent, site: &mut Site) {
    site.litestream.process.thaw();
    site.wait_until_in_sync(agent);
    assert_eq!(position::of_source(&site.database).end, position::of_replica(&site.replica).end, "{}", site.name);
}
