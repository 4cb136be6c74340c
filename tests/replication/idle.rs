//! A database that nobody writes to is never behind. Litestream itself commits to it once after its checkpoint: that is
//! a commit like any other, and replicated within seconds.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::lab::Lab;
use super::lab::agent::Agent;
use super::lab::litestream::VERSIONS;
use super::site::{self, Site};

const WATCHED: Duration = Duration::from_secs(15);

/// What Litestream needs for a commit of its own, on a machine that does much else.
const FEW_SECONDS: f64 = 10.0;

pub fn every_version(lab: &Lab, home: &Path) {
    // Litestream checkpoints once after the last commit, and commits to its own table afterwards.
    let options = ["checkpoint-interval: 4s"];
    let site = |version: &'static str| {
        Site::on_directory(lab, home, &format!("idle-{}", version.replace('.', "-")), version, &options)
    };
    let mut sites = VERSIONS.map(site);
    let agent = &site::agent(home, &sites, "idle-interval = \"2s\"");
    thread::scope(|scope| {
        for site in &mut sites {
            scope.spawn(move || idle(agent, site));
        }
    });
}

fn idle(agent: &Agent, site: &mut Site) {
    site.writer.commit(100);
    site.wait_until_in_sync(agent);
    let before = site.seen(agent);
    let start = Instant::now();
    let commits = |seen: &site::Seen| seen.get("database_commits_total").unwrap();
    let (mut behind, mut in_sync_at) = (Vec::new(), commits(&before));
    while start.elapsed() < WATCHED {
        let seen = site.seen(agent);
        if seen.lag() == Some(0.0) {
            in_sync_at = commits(&seen);
        } else if commits(&seen) == in_sync_at || seen.lag() > Some(FEW_SECONDS) {
            behind.push((start.elapsed().as_secs_f64(), seen.lag()));
        }
        thread::sleep(Duration::from_millis(100));
    }
    site.wait_until_in_sync(agent);
    let after = site.seen(agent);
    assert!(commits(&after) > commits(&before), "{}: Litestream commits after its checkpoint", site.name);
    assert!(behind.is_empty(), "{}: {behind:?}", site.name);
    let advanced = after.recovery_point().unwrap() - before.recovery_point().unwrap();
    assert!(advanced > WATCHED.as_secs_f64() / 2.0, "{}: the recovery point advanced by {advanced} s", site.name);
}
