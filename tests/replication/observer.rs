//! Two agents: one beside the database, which writes beacons, and one elsewhere with nothing but the bucket.

use std::fs;
use std::path::Path;

use super::lab::agent::Agent;
use super::lab::litestream::{ACCESS_KEY, SECRET_KEY};
use super::lab::{Lab, wait_for};
use super::site::{self, Site, verdict};

pub fn host_is_gone(lab: &Lab, home: &Path) {
    let objects = home.join("objects");
    fs::create_dir_all(objects.join(site::BUCKET)).unwrap();
    let server = lab.rclone(&objects);
    let mut site = Site::on_s3(lab, home, "shop", "0.5.17", (&server, &objects));
    site.writer.commit(5);

    // Without a beacon, a bucket does not tell an idle database from a host that is gone, and does not claim to.
    let replica = format!(
        "url = \"s3://{}/shop\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\naccess-key-id = \"{ACCESS_KEY}\"\n\
         secret-access-key = \"{SECRET_KEY}\"\n",
        site::BUCKET,
        server.endpoint()
    );
    let toml = format!(
        "[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n[objectives]\nrpo = \"10s\"\n[drill]\nenabled = false\n[[database]]\nname = \"seen\"\n\
         [[database.replica]]\n{replica}"
    );
    let elsewhere = home.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let observer = Agent::start(&elsewhere, &toml, &[]);
    wait_for("the observer to verify", || site::Seen::of(&observer, "seen").verified_at().is_some());
    let unknown = "there is no local database to compare with, and no beacon from its host".to_owned();
    assert_eq!(verdict(&observer, "ReplicationLag"), Some(("unknown".into(), unknown)));
    assert_eq!(verdict(&observer, "HostGone"), None);
    let beside = objects.join(site::BUCKET).join("shop.streamgauge");
    assert!(!beside.exists());

    let toml = site::quick_toml([&site], "idle-interval = \"1s\"\n")
        + "[beacon]\nenabled = true\ninterval = \"2s\"\nhost = \"db1\"\n";
    let mut host = Agent::start(home, &toml, &[]);
    wait_for("the beacon to be seen", || {
        let seen = site::Seen::of(&observer, "seen");
        verdict(&observer, "HostGone").is_some_and(|(status, _)| status == "pass") && seen.lag().is_some()
    });
    let report = site::replica_report(&observer, "seen");
    assert_eq!(report["method"], "beacon", "its lag is a claim");
    assert!(report["beacon"]["claim"]["position"]["end"].is_u64(), "{report}");
    assert_eq!(
        (&report["beacon"]["claim"]["host"], &report["beacon"]["claim"]["database"]),
        (&"db1".into(), &"shop".into())
    );
    assert!(verdict(&observer, "HostGone").unwrap().1.starts_with("db1 was up "));
    let names: Vec<_> = fs::read_dir(&beside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["beacon.json"], "nothing else is written");
    assert_eq!(host.process.log_lines("cannot write the beacon"), 0);

    // Litestream stands still, and the agent beside it can tell nobody but by its beacon.
    site.wait_until_in_sync(&host);
    site.litestream.process.freeze();
    site.writer.commit(3);
    wait_for("the observer to tell of the lag", || {
        verdict(&observer, "ReplicationLag").is_some_and(|(status, _)| status == "fail")
    });
    let (_, detail) = verdict(&observer, "ReplicationLag").unwrap();
    assert!(
        detail.contains("commits have been waiting for ")
            && detail.ends_with(" commits are waiting, according to the beacon of db1"),
        "{detail}"
    );
    site.litestream.process.thaw();
    wait_for("the observer to see it catch up", || {
        verdict(&observer, "ReplicationLag").is_some_and(|(status, _)| status == "pass")
    });

    // The host is gone from one moment to the next; the bucket and what is in it stays.
    site.wait_until_in_sync(&host);
    host.process.signal(rustix::process::Signal::KILL);
    assert!(host.process.ended(std::time::Duration::from_secs(30)).is_some());
    wait_for("the observer to miss the host", || {
        verdict(&observer, "HostGone").is_some_and(|(status, _)| status == "fail")
    });
    let (_, detail) = verdict(&observer, "HostGone").unwrap();
    assert!(
        detail.starts_with("no beacon from db1 for ") && detail.contains("last known recovery point: "),
        "{detail}"
    );
    assert!(!detail.contains("unknown"), "{detail}");
    // The bucket itself is well, and an old claim says nothing of the lag.
    wait_for("the lag to be unknown", || site::Seen::of(&observer, "seen").lag().is_none());
    assert_eq!(verdict(&observer, "ReplicaUnverifiable").unwrap().0, "pass");
    assert_eq!(verdict(&observer, "ReplicationLag").unwrap().0, "unknown");
}
