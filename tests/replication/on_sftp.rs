//! A replica on the real SFTP server, beside the database and seen from elsewhere.

use std::fs;
use std::path::Path;

use super::lab::agent::Agent;
use super::lab::{Lab, wait_for};
use super::places::{NEW, Place};
use super::sftp_servers::{self as servers, HOST};
use super::site::{self, Seen, Site, replica_report, verdict};

/// One agent beside the database writes beacons, another one has nothing but the server.
pub fn observer(lab: &Lab, home: &Path) {
    let place = Place::start(lab, home, "sftp");
    let (body, data) = (place.replica(NEW, "app").unwrap(), place.data().join("app"));
    let mut site = Site::start(lab, home, "app", NEW, &[], (&body, data, String::new()));
    site.writer.commit(5);
    let toml = site::quick_toml([&site], "idle-interval = \"1s\"\n")
        + "[drill]\nenabled = false\n[beacon]\nenabled = true\ninterval = \"2s\"\nhost = \"db1\"\n";
    let host = Agent::start(home, &toml, &[]);
    let elsewhere = home.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let toml = format!(
        "[replica]\ninterval = \"1s\"\nidle-interval = \"1s\"\n[drill]\nenabled = false\n[[database]]\nname = \"seen\"\n\
         [[database.replica]]\nurl = \"sftp://{}{}\"\nuser = \"{}\"\nkey-path = \"{}/client_key\"\n\
         host-key = \"{}\"\n",
        place.address(),
        site.replica.display(),
        servers::user(),
        place.home.display(),
        servers::line(&servers::key(HOST)),
    );
    let observer = Agent::start(&elsewhere, &toml, &[]);
    wait_for("the beacon to be seen", || {
        let is_there = verdict(&observer, "HostGone").is_some_and(|(status, _)| status == "pass");
        is_there && Seen::of(&observer, "seen").lag().is_some()
    });
    assert_eq!(replica_report(&observer, "seen")["beacon"]["claim"]["host"], "db1");
    assert_eq!(host.process.log_lines("cannot write the beacon"), 0);
    let beside = fs::read_dir(place.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut beside: Vec<String> = beside.collect();
    beside.sort_unstable();
    assert_eq!(beside, [site.name.clone(), format!("{}.streamgauge", site.name)], "nothing else is written");
}
