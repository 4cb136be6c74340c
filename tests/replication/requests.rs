//! What watching a bucket costs, counted on the wire.

use std::path::Path;
use std::thread;
use std::time::Duration;

use streamgauge_testkit::ltx::{self, Consumed, Header};
use streamgauge_testkit::wal::Position;

use super::lab::agent::Agent;
use super::lab::litestream::{ACCESS_KEY, SECRET_KEY, quick_yaml};
use super::lab::s3::S3;
use super::lab::{Lab, http};
use super::proxy::Proxy;
use super::site::{BUCKET, Seen};

/// Objects that were read more than once, by more than their header.
fn read_twice(proxy: &Proxy) -> Vec<String> {
    let heads = proxy.heads();
    let reads = heads.iter().filter(|head| head.contains("range: bytes=") && !head.contains(HEADER));
    let mut keys: Vec<_> = reads.filter_map(|head| head.lines().next()).collect();
    keys.sort_unstable();
    keys.windows(2).filter(|keys| keys[0] == keys[1]).map(|keys| keys[0].to_owned()).collect()
}

/// Each look lists what is new.
const LISTING: &str = "listing-interval = \"1s\"";

/// What a read of a header asks for.
const HEADER: &str = "range: bytes=0-99\r\n";

fn toml(proxy: &Proxy, path: &str, database: &str, intervals: &str) -> String {
    format!(
        "[litestream]\nconfig = []\n\n\
         [replica]\ninterval = \"1s\"\nlevel-interval = \"1h\"\nreconcile-interval = \"1h\"\n{intervals}\n\n\
         [[database]]\n{database}\n\
         [[database.replica]]\nurl = \"s3://{BUCKET}/{path}\"\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
         access-key-id = \"{ACCESS_KEY}\"\nsecret-access-key = \"{SECRET_KEY}\"\n",
        proxy.address()
    )
}

/// Finished looks at replicas and list requests, as the agent counts them and as the server got them.
#[derive(Debug)]
struct Counted {
    looks: f64,
    lists: usize,
    reads: usize,
    headers: usize,
    all: usize,
    agent_lists: f64,
}

impl Counted {
    fn now(agent: &Agent, proxy: &Proxy) -> Self {
        let looks = ("streamgauge_collector_duration_seconds_count", [("collector", "replica")]);
        let lists = [("store", "s3"), ("operation", "list")];
        let heads = proxy.heads();
        let requests = |text: &str| heads.iter().filter(|head| head.contains(text)).count();
        Self {
            looks: agent.metric(looks.0, &looks.1).unwrap(),
            lists: requests("list-type=2"),
            reads: requests("range: bytes="),
            headers: requests(HEADER),
            all: requests(""),
            agent_lists: agent.metric("streamgauge_store_requests_total", &lists).unwrap(),
        }
    }
}

/// A replica that Litestream writes to, with a dozen of objects: nothing is asked while nothing is written.
pub fn of_a_written_database(lab: &Lab, home: &Path) {
    let (before, after) = written(lab, home, LISTING);
    let looks = after.looks - before.looks;
    assert_eq!((after.lists - before.lists) as f64, looks, "one list request for each look");
    assert_eq!(after.agent_lists - before.agent_lists, looks, "and the agent counts them");
}

/// The same by name: most looks ask for a header and do not list.
pub fn of_a_written_database_by_name(lab: &Lab, home: &Path) {
    let (before, after) = written(lab, home, "listing-interval = \"6s\"");
    let (looks, lists) = (after.looks - before.looks, (after.lists - before.lists) as f64);
    assert!((1.0..=looks / 2.0).contains(&lists), "{before:?} {after:?}");
    assert_eq!(after.agent_lists - before.agent_lists, lists, "and the agent counts them");
    assert!((after.headers - before.headers) as f64 >= looks - lists, "{before:?} {after:?}");
}

/// The requests from before a database was written until it is in sync again.
fn written(lab: &Lab, home: &Path, listing: &str) -> (Counted, Counted) {
    let moto = lab.moto(home);
    moto.create_bucket(BUCKET);
    let proxy = Proxy::start(moto.port());
    let database = home.join("app.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    // As by default, files of level 0 stay for a while: a look finds the newest one of the look before.
    let yaml =
        quick_yaml("0.5.17", &database, &moto.replica(BUCKET, "app")).replace("l0-retention: 5s", "l0-retention: 5m");
    let _litestream = lab.replicate("0.5.17", home, &yaml);
    writer.commit(10);
    let path = format!("path = \"{}\"", database.display());
    let agent = Agent::start(home, &toml(&proxy, "app", &path, &format!("idle-interval = \"1h\"\n{listing}")), &[]);
    let in_sync = || super::lab::wait_for("app to be in sync", || Seen::of(&agent, "app").in_sync());
    in_sync();
    // What Litestream does of its own after a commit.
    thread::sleep(Duration::from_secs(3));
    in_sync();

    let before = Counted::now(&agent, &proxy);
    writer.run(Duration::from_millis(50));
    thread::sleep(Duration::from_secs(10));
    writer.pause();
    in_sync();
    thread::sleep(Duration::from_secs(3));
    let after = Counted::now(&agent, &proxy);
    assert!(after.looks - before.looks >= 4.0, "{before:?} {after:?}");
    assert_eq!(
        read_twice(&proxy),
        Vec::<String>::new(),
        "each file is read once, to see where it ends and to verify it"
    );
    let others = (after.all - before.all) - (after.lists - before.lists) - (after.reads - before.reads);
    assert_eq!(others, 0, "{:?}", proxy.heads());
    (before, after)
}

/// More objects in level 0 than one page of a listing holds.
pub fn of_a_large_replica(lab: &Lab, home: &Path) {
    let (first, last) = large(lab, home, LISTING);
    let (looks, lists) = (last.looks - first.looks, (last.lists - first.lists) as f64);
    // A look may be on its way at either moment.
    assert!((lists - looks).abs() <= 1.0, "{first:?} {last:?}");
    // The database is elsewhere: each look asks for the beacon of its host as well.
    let reads = (last.reads - first.reads) as f64;
    assert!(reads <= 2.0 * (looks + 1.0), "{first:?} {last:?}");
}

/// The same by name: nothing but the files says which of them is the newest.
pub fn of_a_large_replica_by_name(lab: &Lab, home: &Path) {
    let (first, last) = large(lab, home, "");
    assert!(last.lists - first.lists <= 1, "{first:?} {last:?}");
    let (looks, headers) = (last.looks - first.looks, (last.headers - first.headers) as f64);
    assert!((looks..=6.0 * (looks + 1.0)).contains(&headers), "{first:?} {last:?}");
}

/// The requests while thirty objects come, to the look that sees the last one.
fn large(lab: &Lab, home: &Path, listing: &str) -> (Counted, Counted) {
    let moto = lab.moto(home);
    moto.create_bucket(BUCKET);
    (1..=1600).for_each(|txid| put_ltx(&moto, txid));
    let proxy = Proxy::start(moto.port());
    // Its files are headers, which tell the probe all it asks.
    let settings = format!("idle-interval = \"1s\"\n{listing}\n\n[verify]\nenabled = false");
    let agent = Agent::start(home, &toml(&proxy, "large", "name = \"large\"", &settings), &[]);
    let txid = || Seen::of(&agent, "large").get("replica_txid");
    super::lab::wait_for("the first listing", || txid() == Some(1600.0));
    let first = Counted::now(&agent, &proxy);
    assert!(first.lists >= 2, "{first:?}");
    assert_eq!(agent.metric("streamgauge_replica_objects", &[("database", "large"), ("level", "0")]), Some(1600.0));

    for txid in 1601..=1630 {
        put_ltx(&moto, txid);
        thread::sleep(Duration::from_millis(300));
    }
    super::lab::wait_for("the newest file", || txid() == Some(1630.0));
    let last = Counted::now(&agent, &proxy);
    assert!(last.looks - first.looks >= 4.0, "{first:?} {last:?}");
    assert_eq!(last.all - first.all, (last.lists - first.lists) + (last.reads - first.reads));
    (first, last)
}

/// A file of level 0 as its listing and its header show it.
fn put_ltx(server: &S3, txid: u64) {
    let from = 32 + (txid - 1) * 4120;
    let wal = Some(Consumed { from, end: Position { salt1: 7, salt2: 9, end: from + 4120 } });
    let timestamp = 1_700_000_000_000 + txid;
    let header = Header { page_size: 4096, commit: 1, min: txid, max: txid, timestamp, wal };
    let file = [header.encode().as_slice(), &[0; 100]].concat();
    let key = format!("/{BUCKET}/large/0000/{}", ltx::name(txid, txid));
    assert_eq!(http::request("PUT", &server.address(), &key, &[], &file).unwrap().status, 200);
}
