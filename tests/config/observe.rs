//! Places below which every replica is watched, by one agent or by several that share them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use streamgauge_testkit::s3;

use super::Files;
use super::lab::agent::Agent;
use super::lab::{command, http, wait_for};

/// Replicas in the bucket that shards share.
const REPLICAS: usize = 1000;

/// Writes what makes a folder a replica of Litestream v0.5 in a bucket.
fn replica(files: &Files, path: &str) {
    files.write(&format!("bucket/{path}/0000/0000000000000001-0000000000000001.ltx"), "LTX1");
}

/// What `config check` would watch, by name, with the URL of each.
fn watched(files: &Files, shard: Option<&str>) -> (BTreeMap<String, String>, String) {
    let mut check = command(env!("CARGO_BIN_EXE_streamgauge"));
    check.args(["config", "check", "--config.file", "streamgauge.toml"]).current_dir(files.path());
    check.env_remove("LITESTREAM_CONFIG").envs(shard.map(|shard| ("STREAMGAUGE__WATCH__SHARD", shard)));
    let told = check.output().expect("an answer");
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let text = String::from_utf8(told.stdout).expect("text");
    let mut found = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some((own, _)) = line.split_once("  replica only") {
            name = own;
        } else if let Some((_, place)) = line.split_once("    s3  ") {
            found.insert(name.to_owned(), place.split("  ").next().expect("a URL").to_owned());
        }
    }
    (found, text)
}

fn observe(files: &Files, port: u16, more: &str) {
    let toml = format!(
        "[[observe]]\nurl = \"s3://backups/prod/\"\nendpoint = \"http://127.0.0.1:{port}\"\nforce-path-style = true\n\
         access-key-id = \"id\"\nsecret-access-key = \"secret\"\n{more}"
    );
    files.write("streamgauge.toml", toml);
}

#[test]
fn every_replica_below_a_place_is_watched_and_what_is_none_is_not() {
    let files = Files::new();
    for path in
        ["prod/shop", "prod/eu/berlin", "prod/eu/paris", "prod/archive-1", "other/not-below", "prod/a/b/c/too-deep"]
    {
        replica(&files, path);
    }
    files.write("bucket/prod/old/generations/0123456789abcdef/wal/00000000_00000000.wal.lz4", "x");
    files.write("bucket/prod/shop.streamgauge/beacon.json", "{}").write("bucket/prod/logs/today/app.log", "x");
    let server = s3::serve(files.path().join("bucket")).expect("a server");
    observe(&files, server.port(), "exclude = [\"archive-*\"]\nrpo = \"10m\"\n");
    let (found, text) = watched(&files, None);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["eu/berlin", "eu/paris", "old", "shop"], "{text}");
    assert_eq!(found["eu/berlin"], "s3://backups/prod/eu/berlin");
    // What somebody names is watched as that person says, and once.
    let port = server.port();
    observe(
        &files,
        port,
        &format!(
            "depth = 1\n[[database]]\nname = \"the shop\"\nreplica = [{{ url = \"s3://backups/prod/shop\", endpoint = \
             \"http://127.0.0.1:{port}\", force-path-style = true, access-key-id = \"id\", secret-access-key = \"secret\" }}]\n"
        ),
    );
    let (found, text) = watched(&files, None);
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["archive-1", "old", "the shop"], "{text}");
}

#[test]
fn a_place_that_cannot_be_listed_is_not_called_well_and_none_is_given_twice() {
    let files = Files::new();
    files.write("bucket/note.txt", "");
    let check = |files: &Files| {
        let mut check = command(env!("CARGO_BIN_EXE_streamgauge"));
        check.args(["config", "check", "--config.file", "streamgauge.toml"]).current_dir(files.path());
        let told = check.env_remove("LITESTREAM_CONFIG").output().expect("an answer");
        (told.status.code(), String::from_utf8(told.stderr).expect("text"))
    };
    let place = |path: &str| format!("[[observe]]\nurl = \"file://{}/{path}\"\n", files.path().display());
    files.write("streamgauge.toml", place("bucket"));
    assert_eq!(check(&files), (Some(0), String::new()));
    files.write("streamgauge.toml", place("none"));
    let (code, error) = check(&files);
    assert!(code == Some(2) && error.contains("/none: list file://"), "{code:?} {error}");
    files.write("streamgauge.toml", place("bucket") + &place("bucket"));
    let (code, error) = check(&files);
    assert!(code == Some(2) && error.contains("observe[1].url: value `file://"), "{code:?} {error}");
    // On NATS, a place with others below it is a server, and one without is a bucket.
    let nats = |section: &str, bucket: &str| format!("[[{section}]]\nurl = \"nats://127.0.0.1:1/{bucket}\"\n");
    files.write("streamgauge.toml", nats("observe", ""));
    let (code, error) = check(&files);
    assert!(code == Some(2) && error.contains("nats://127.0.0.1:1/: list "), "{code:?} {error}");
    files.write("streamgauge.toml", nats("observe", "bucket"));
    let (code, error) = check(&files);
    assert!(code == Some(2) && error.contains("an object store of NATS is one replica"), "{code:?} {error}");
    files.write("streamgauge.toml", format!("[[database]]\nname = \"x\"\n{}", nats("database.replica", "")));
    let (code, error) = check(&files);
    assert!(code == Some(2) && error.contains("a replica of kind nats needs it"), "{code:?} {error}");
}

/// All shards together watch each replica once, give it the same name, and ask no more than one agent would but for the
/// list of folders that each of them reads.
#[test]
fn shards_share_a_bucket_and_its_bill() {
    let files = Files::new();
    (0..REPLICAS).for_each(|n| replica(&files, &format!("prod/tenant-{n:04}")));
    let server = s3::serve(files.path().join("bucket")).expect("a server");
    observe(&files, server.port(), "");
    let asked = |shard: Option<String>| {
        let before = server.requests();
        let (found, text) = watched(&files, shard.as_deref());
        (found, server.requests() - before, text)
    };
    let (all, requests, text) = asked(None);
    assert_eq!(all.len(), REPLICAS, "{text}");
    assert_eq!(requests, REPLICAS as u64 + 1);
    let mut owners: Vec<BTreeMap<String, u64>> = Vec::new();
    for count in [1, 3, 5] {
        let (mut owner, mut sum) = (BTreeMap::new(), 0);
        for index in 0..count {
            let (found, requests, _) = asked(Some(format!("{index}/{count}")));
            sum += requests;
            for (name, url) in found {
                assert_eq!(all.get(&name), Some(&url));
                assert_eq!(owner.insert(name.clone(), index), None, "{name} is watched twice");
            }
        }
        assert_eq!(owner.len(), REPLICAS, "of {count}");
        assert_eq!(sum, REPLICAS as u64 + count, "of {count}");
        owners.push(owner);
    }
    // From three to five shards: two fifths move, all of them to the new ones.
    let moved = owners[1].iter().filter(|(name, owner)| owners[2][*name] != **owner).count();
    assert!((REPLICAS * 3 / 10..REPLICAS / 2).contains(&moved), "{moved} moved");
    let only: BTreeSet<u64> =
        owners[1].iter().filter_map(|(name, owner)| Some(owners[2][name]).filter(|now| now != owner)).collect();
    assert_eq!(only, BTreeSet::from([3, 4]));
}

/// A replica that somebody deleted is what an agent is there to notice: it is not forgotten because it is gone.
#[test]
fn what_comes_is_watched_and_what_goes_stays_until_somebody_says_so() {
    let files = Files::new();
    for path in ["one", "two"] {
        replica(&files, path);
    }
    let bucket = files.path().join("bucket");
    let toml = format!(
        "[litestream]\ndiscovery-interval = \"100ms\"\n[watch]\nseries-grace = \"100ms\"\nshard = \"0/1\"\n\
         [[observe]]\nurl = \"file://{}\"\ninterval = \"100ms\"\n",
        bucket.display()
    );
    let mut agent = Agent::start(&files.path(), &toml, &[]);
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    wait_for("the replicas that are there", || names(&agent) == expected(&["one", "two"]));
    assert_eq!(agent.metric("streamgauge_shard_info", &[("shard", "0")]), Some(1.0));
    assert_eq!(agent.metric("streamgauge_shards", &[]), Some(1.0));
    replica(&files, "three");
    wait_for("one more", || names(&agent) == expected(&["one", "two", "three"]));
    fs::remove_dir_all(bucket.join("two")).expect("deleted");
    let warned = |agent: &Agent| agent.report()["agent"]["sources"].to_string().contains("1 replica below");
    wait_for("a word about what is gone", || warned(&agent));
    assert_eq!(names(&agent), expected(&["one", "two", "three"]));
    // The place itself is gone: what was below it is not known, and not forgotten.
    fs::rename(&bucket, files.path().join("away")).expect("moved");
    wait_for("a source that fails", || {
        agent.metric("streamgauge_discovery_success", &[("source", &format!("file://{}", bucket.display()))])
            == Some(0.0)
    });
    assert_eq!(names(&agent), expected(&["one", "two", "three"]));
    fs::rename(files.path().join("away"), &bucket).expect("moved back");
    assert_eq!(http::request("POST", &agent.address, "/-/reload", &[], b"").expect("an answer").status, 200);
    assert_eq!(names(&agent), expected(&["one", "two", "three"]), "a stranger confirms nothing");
    agent.process.signal(rustix::process::Signal::HUP);
    wait_for("it is forgotten on purpose", || names(&agent) == expected(&["one", "three"]));
    assert!(agent.process.is_running());
}

/// A restart neither forgets what was deleted meanwhile nor brings back what somebody said is gone on purpose.
#[test]
fn what_is_gone_is_known_over_a_restart() {
    let files = Files::new();
    for path in ["prod/one", "prod/two"] {
        replica(&files, path);
    }
    let server = s3::serve(files.path().join("bucket")).expect("a server");
    observe(&files, server.port(), "");
    let toml = fs::read_to_string(files.path().join("streamgauge.toml")).expect("a file");
    let expected = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut agent = Agent::start(&files.path(), &toml, &[]);
    wait_for("the replicas that are there", || names(&agent) == expected(&["one", "two"]));
    assert!(agent.process.stop().success());
    fs::remove_dir_all(files.path().join("bucket/prod/two")).expect("deleted");

    let mut agent = Agent::start(&files.path(), &toml, &[]);
    let warned = |agent: &Agent| agent.report()["agent"]["sources"].to_string().contains("1 replica below");
    wait_for("a word about what is gone", || warned(&agent));
    assert_eq!(names(&agent), expected(&["one", "two"]));
    agent.process.signal(rustix::process::Signal::HUP);
    wait_for("the source without a word", || !warned(&agent));
    assert!(agent.process.stop().success());

    let agent = Agent::start(&files.path(), &toml, &[]);
    let listed = [("source", "s3://backups/prod")];
    wait_for("the listing", || agent.metric("streamgauge_discovery_success", &listed) == Some(1.0));
    assert!(!warned(&agent));
    assert_eq!(names(&agent), expected(&["one"]));
}

fn names(agent: &Agent) -> BTreeSet<String> {
    let report = agent.report();
    let databases = report["databases"].as_array().expect("databases").iter();
    databases.map(|database| database["name"].as_str().expect("a name").to_owned()).collect()
}
