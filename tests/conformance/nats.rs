//! Object stores of NATS JetStream on the real server: the one of the suite, and what only they can show.

#[path = "nats/fake.rs"]
mod fake;
#[path = "nats/faults.rs"]
mod faults;
#[path = "nats/logins.rs"]
mod logins;

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{Config, ObjectMetadata, ObjectStore};
use async_nats::jetstream::{self, Context};
use async_trait::async_trait;
use aws_smithy_types::base64;
use bytes::Bytes;
use streamgauge::domain::litestream::{Dated, Folder, Layout, LevelKeys, LtxName, ObjectName, Txid};
use streamgauge::domain::places::NatsLocation;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::observe::{self, Scope};
use streamgauge::usecase::ports::{Content, ReplicaStore, Shelves as _, Stores as _};

use crate::port::free_port;
use crate::servers::{Server, program};
use crate::suite::{Backend, names};
use crate::{LEVEL, NAME, ltx_name, read, stores, told};

/// The bucket of every server, and who may do everything there.
const BUCKET: &str = "bkt";
const USER: &str = "lab";
const PASSWORD: &str = "lab-password";

/// A running nats-server with JetStream.
struct Nats {
    server: Server,
    monitor: u16,
}

impl Nats {
    /// `config` are further lines of its configuration.
    fn start(config: &str) -> Self {
        Self::named("lab", config)
    }

    fn named(name: &str, config: &str) -> Self {
        let monitor = free_port();
        let server = Server::start(|port, directory| {
            let text = format!(
                "listen: \"127.0.0.1:{port}\"\nhttp: \"127.0.0.1:{monitor}\"\nserver_name: {name}\n\
                 jetstream {{ store_dir: {directory:?} }}\n{config}\n"
            );
            let file = directory.join("nats.conf");
            std::fs::write(&file, text).unwrap();
            let mut command = Command::new(program("nats-server"));
            command.arg("-c").arg(file);
            command
        });
        Self { server, monitor }
    }

    /// With one user, and the bucket.
    async fn with_bucket() -> Self {
        let server = Self::start(&format!("authorization {{ user: {USER}, password: {PASSWORD} }}"));
        server.bucket(BUCKET).await;
        server
    }

    async fn context(&self) -> Context {
        let options = async_nats::ConnectOptions::with_user_and_password(USER.into(), PASSWORD.into());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match options.clone().connect(format!("127.0.0.1:{}", self.server.port)).await {
                Ok(client) => return jetstream::new(client),
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn bucket(&self, name: &str) -> ObjectStore {
        let config = || Config { bucket: name.to_owned(), ..Config::default() };
        self.context().await.create_object_store(config()).await.unwrap()
    }

    fn place(&self) -> NatsLocation {
        NatsLocation {
            server: format!("127.0.0.1:{}", self.server.port),
            bucket: BUCKET.to_owned(),
            username: USER.to_owned(),
            password: Some(Secret::new(PASSWORD)),
            ..NatsLocation::default()
        }
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        open(self.place())
    }

    /// What the server says of the agent's connections: how many requests each has sent.
    fn requests(&self) -> Vec<u64> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.monitor)).unwrap();
        stream.write_all(b"GET /connz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let connections = body["connections"].as_array().unwrap().iter();
        let own = connections.filter(|connection| connection["name"] == "streamgauge");
        own.map(|connection| connection["in_msgs"].as_u64().unwrap()).collect()
    }

    /// The one connection's requests since there were so many.
    fn requests_since(&self, before: u64) -> u64 {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "one connection");
        requests[0] - before
    }
}

fn open(place: NatsLocation) -> Arc<dyn ReplicaStore> {
    stores(Duration::from_secs(60)).open(&ReplicaLocation::Nats(Box::new(place))).unwrap()
}

async fn put(store: &ObjectStore, key: &str, content: &[u8]) {
    let mut headers = HeaderMap::new();
    headers.insert("Litestream-Timestamp", jiff::Timestamp::now().to_string());
    // v0.3 does not know NATS; if it did, it would keep no time.
    let headers = key.starts_with("ltx/").then_some(headers);
    let meta = ObjectMetadata { name: key.to_owned(), headers, ..ObjectMetadata::default() };
    store.put(meta, &mut &*content).await.unwrap();
}

/// A message as a client writes it that is not one of NATS' own.
async fn publish(context: &Context, subject: String, content: impl Into<Bytes>) {
    context.publish(subject, content.into()).await.unwrap().await.unwrap();
}

fn described(name: &str) -> String {
    format!("$O.{BUCKET}.M.{}", encoded(name.as_bytes()))
}

/// Base64 as NATS has it.
fn encoded(bytes: &[u8]) -> String {
    base64::encode(bytes).replace('+', "-").replace('/', "_")
}

fn key(name: ObjectName) -> String {
    name.key(LevelKeys::Plain)
}

struct Suite {
    nats: Nats,
    bucket: ObjectStore,
    store: Arc<dyn ReplicaStore>,
}

pub(crate) async fn server() -> Box<dyn Backend> {
    let nats = Nats::with_bucket().await;
    let bucket = nats.context().await.get_object_store(BUCKET).await.unwrap();
    let store = nats.store();
    Box::new(Suite { nats, bucket, store })
}

#[async_trait]
impl Backend for Suite {
    async fn put(&self, key: &str, content: &[u8]) {
        put(&self.bucket, key, content).await;
    }

    async fn remove(&self, key: &str) {
        self.bucket.delete(key).await.unwrap();
    }

    fn location(&self) -> Option<ReplicaLocation> {
        Some(ReplicaLocation::Nats(Box::new(self.nats.place())))
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }
}

/// Litestream deletes all day, and no marker ever goes away.
#[tokio::test]
async fn a_hundred_thousand_deleted_objects_are_read_once() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let bucket = context.get_object_store(BUCKET).await.unwrap();
    let client = context.client();
    for txid in 1..=100_000 {
        let name = key(ltx_name(txid));
        let marker = format!(r#"{{"name":"{name}","bucket":"{BUCKET}","nuid":"x{txid}","deleted":true}}"#);
        client.publish(described(&name), marker.into()).await.unwrap();
        if txid % 1000 == 0 {
            client.flush().await.unwrap();
        }
    }
    put(&bucket, &key(ltx_name(100_001)), b"x").await;
    let store = nats.store();
    assert_eq!(names(&*store, LEVEL, None).await.0, [ltx_name(100_001)]);
    // One for the state of the stream, and one for each thousand messages.
    let first = nats.requests_since(0);
    assert_eq!(first, 102);
    // Where nothing is new, one.
    assert_eq!(names(&*store, LEVEL, None).await.0, [ltx_name(100_001)]);
    assert_eq!(nats.requests_since(first), 1);
    // One more for what is, whatever it is.
    put(&bucket, &key(ltx_name(100_002)), b"x").await;
    bucket.delete(&key(ltx_name(100_001))).await.unwrap();
    assert_eq!(names(&*store, LEVEL, Some(ltx_name(9))).await.0, [ltx_name(100_002)]);
    assert_eq!(nats.requests_since(first), 3);
    // The next one is not there yet: one; the head of one that is: two.
    assert!(matches!(store.read(ltx_name(100_003), 0, 100).await.unwrap(), Content::Missing(_)));
    assert_eq!(nats.requests_since(first), 4);
    assert_eq!(read(&*store, ltx_name(100_002), 0, 100).await.unwrap(), "x");
    assert_eq!(nats.requests_since(first), 6);
    // Nothing is left at the server: no consumer, and no connection once nobody needs one.
    let info = context.get_stream(format!("OBJ_{BUCKET}")).await.unwrap().get_info().await.unwrap();
    assert_eq!(info.state.consumer_count, 0);
    drop(store);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !nats.requests().is_empty() {
        assert!(Instant::now() < deadline, "the connection stays");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// More stores than one answer names, of which two are replicas.
#[tokio::test]
async fn replicas_are_found_among_the_object_stores_of_a_server() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    put(&context.get_object_store(BUCKET).await.unwrap(), &key(NAME), b"x").await;
    put(&nats.bucket("uploads").await, "photos/ltx/0/1.jpg", b"x").await;
    let emptied = nats.bucket("emptied").await;
    put(&emptied, &key(NAME), b"x").await;
    emptied.delete(&key(NAME)).await.unwrap();
    let stream = |name: String, subject: String| {
        let storage = jetstream::stream::StorageType::Memory;
        let config = jetstream::stream::Config {
            name,
            subjects: vec![subject],
            storage,
            allow_direct: true,
            ..Default::default()
        };
        let context = &context;
        async move { context.create_stream(config).await.unwrap() }
    };
    stream("ORDERS".into(), "orders.>".into()).await;
    stream("OBJ_not a name".replace(' ', "="), "$O.odd.M.>".into()).await;
    let closed = jetstream::stream::Config {
        name: "OBJ_closed".into(),
        subjects: vec!["$O.closed.M.>".into()],
        ..Default::default()
    };
    context.create_stream(closed).await.unwrap();
    for number in 0..1029 {
        stream(format!("OBJ_e{number}"), format!("$O.e{number}.M.>")).await;
    }
    let server = ReplicaLocation::Nats(Box::new(NatsLocation { bucket: String::new(), ..nats.place() }));
    let shelf = stores(Duration::from_secs(60)).shelf(&server).unwrap();
    let buckets = shelf.folders("").await.unwrap();
    assert_eq!(buckets.len(), 1033);
    assert!(
        ["bkt", "closed", "e0", "e1028", "emptied", "uploads"]
            .iter()
            .all(|name| buckets.iter().any(|found| found == name))
    );
    let mut found = BTreeSet::new();
    let scope = Scope { depth: 2, known: &BTreeSet::new(), wanted: &|_| true };
    observe::replicas(&*shelf, scope, &mut found).await.unwrap();
    // One whose files were all deleted is one that somebody should hear of.
    assert_eq!(found, BTreeSet::from(["bkt".to_owned(), "emptied".to_owned()]));
    let there = server.below("bkt").unwrap();
    assert_eq!(there, ReplicaLocation::Nats(Box::new(nats.place())));
    assert_eq!(server.below("bkt/deeper"), None);
}

#[tokio::test]
async fn what_goes_without_a_marker_is_not_believed_to_be_there() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let bucket = context.get_object_store(BUCKET).await.unwrap();
    let stream = context.get_stream(format!("OBJ_{BUCKET}")).await.unwrap();
    let store = nats.store();
    for txid in 1..=3 {
        put(&bucket, &key(ltx_name(txid)), b"x").await;
    }
    assert_eq!(names(&*store, LEVEL, None).await.0, [1, 2, 3].map(ltx_name));
    // By an age or size that the stream is limited to, or by its owner.
    stream.purge().sequence(5).await.unwrap();
    assert_eq!(names(&*store, LEVEL, None).await.0, [ltx_name(3)]);
    stream.purge().await.unwrap();
    assert!(names(&*store, LEVEL, None).await.0.is_empty());
    assert!(store.layouts().await.unwrap().is_empty());
    // Another bucket of the same name, with as many messages.
    context.delete_object_store(BUCKET).await.unwrap();
    let gone = told(store.list(LEVEL, None, None).await.unwrap_err());
    let url = format!("nats://127.0.0.1:{}/{BUCKET}", nats.server.port);
    let hint = format!("no such bucket | check that object store {BUCKET} exists");
    assert_eq!(gone, format!("not_found: list {url}/ltx/0/: {hint}"));
    assert_eq!(told(store.read(NAME, 0, 1).await.unwrap_err()), format!("not_found: read {url}/{}: {hint}", key(NAME)));
    let bucket = nats.bucket(BUCKET).await;
    for txid in 4..=6 {
        put(&bucket, &key(ltx_name(txid)), b"x").await;
    }
    assert_eq!(names(&*store, LEVEL, None).await.0, [4, 5, 6].map(ltx_name));
}

/// Clients write chunks as they come out of a pipe.
#[tokio::test]
async fn chunks_of_any_size_are_walked_once() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let sizes = [100, 1, 131_072, 4096, 77_777, 131_072, 9, 500_000, 3].repeat(6);
    let content: Vec<u8> = (0..sizes.iter().sum::<usize>()).map(|byte| (byte % 251) as u8).collect();
    let mut at = 0;
    for (number, size) in sizes.iter().enumerate() {
        publish(&context, format!("$O.{BUCKET}.C.abc"), content[at..at + size].to_vec()).await;
        // Others write between them.
        publish(&context, format!("$O.{BUCKET}.C.other{number}"), "other").await;
        at += size;
    }
    let (size, chunks) = (content.len(), sizes.len());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &content);
    let digest = encoded(digest.as_ref());
    let description = |digest: &str| {
        let name = key(NAME);
        format!(r#"{{"name":"{name}","nuid":"abc","size":{size},"chunks":{chunks},"digest":"SHA-256={digest}"}}"#)
    };
    publish(&context, described(&key(NAME)), description(&digest)).await;
    let store = nats.store();
    for (offset, length) in
        [(0, 100), (99, 4), (3_000_000, 5000), (131_000, 600_000), (size - 8, 100), (0, size), (7, 1)]
    {
        let expected = &content[offset..(offset + length).min(size)];
        assert!(read(&*store, NAME, offset as u64, length as u64).await.unwrap() == expected, "{length} from {offset}");
    }
    // In pieces, as a restore reads, by a store that knows nothing of it yet.
    let store = nats.store();
    let piece = 300_000;
    let pieces = (0..size.div_ceil(piece)).map(|index| {
        let store = store.clone();
        async move { read(&*store, NAME, (index * piece) as u64, piece as u64).await.unwrap() }
    });
    let pieces = futures_util::future::join_all(pieces).await.concat();
    assert!(pieces == content);
    let received = nats.requests().into_iter().max().unwrap();
    assert!(received < 100, "{received} requests");

    // What is not what was written.
    let wrong = encoded(&[0; 32]);
    publish(&context, described(&key(NAME)), description(&wrong)).await;
    let refused = told(read(&*nats.store(), NAME, 0, size as u64).await.unwrap_err());
    assert!(refused.ends_with("an object whose content does not match its SHA-256"), "{refused}");
}

#[tokio::test]
async fn odd_objects_are_beside_good_ones() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let bucket = context.get_object_store(BUCKET).await.unwrap();
    put(&bucket, &key(NAME), b"good").await;
    // Names that no path has.
    for odd in ["ltx/0//x", "ltx//0/x", "/ltx/0/x", "ltx/0/../x", "ltx/0/a\nb\u{7}", "//", ".", "ltx"] {
        put(&bucket, odd, b"odd").await;
    }
    // Descriptions that cannot be understood, and a subject that is no name.
    let (cut, empty, other, link, short, long) =
        (ltx_name(0x10), ltx_name(0x11), ltx_name(0x12), ltx_name(0x13), ltx_name(0x14), ltx_name(0x15));
    let named = |name: ObjectName, rest: &str| format!(r#"{{"name":"{}",{rest}}}"#, key(name));
    for (subject, description) in [
        (described(&key(cut)), r#"{"name":"#.to_owned()),
        (described(&key(empty)), String::new()),
        (described(&key(other)), r#"{"name":"another","nuid":"abc","size":1}"#.to_owned()),
        (described(&key(link)), named(link, r#""nuid":"abc","options":{"link":{"bucket":"elsewhere"}}"#)),
        (described(&key(short)), named(short, r#""nuid":"short","size":100,"chunks":2"#)),
        (described(&key(long)), named(long, r#""nuid":"long","size":4,"chunks":1"#)),
        (format!("$O.{BUCKET}.M.no-base64!"), "{}".to_owned()),
        (format!("$O.{BUCKET}.M.a.b.c"), "{}".to_owned()),
    ] {
        publish(&context, subject, description).await;
    }
    publish(&context, format!("$O.{BUCKET}.C.short"), "12345").await;
    publish(&context, format!("$O.{BUCKET}.C.long"), "12345").await;
    let store = nats.store();
    let (good, odd) = names(&*store, LEVEL, None).await;
    assert_eq!(good, [NAME, cut, empty, other, link, short, long]);
    assert_eq!(odd, ["ltx/0/../x", "ltx/0//x", "ltx/0/a\nb\u{7}"]);
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(LevelKeys::Plain)]);
    assert_eq!(store.folders(Layout::V5(LevelKeys::Plain)).await.unwrap(), [LEVEL]);
    assert_eq!(read(&*store, NAME, 0, 100).await.unwrap(), "good");
    for (name, cause) in [
        (cut, "corrupt: PLACE: an object whose description cannot be understood"),
        (empty, "corrupt: PLACE: an object whose description cannot be understood"),
        (other, "corrupt: PLACE: an object that is described by another name"),
        (link, "unsupported: PLACE: a link to another object, which is not followed"),
        (short, "corrupt: PLACE: an object whose content ends after 5 bytes, before it should"),
        (long, "corrupt: PLACE: an object with more than its 4 bytes"),
    ] {
        let place = format!("read nats://127.0.0.1:{}/{BUCKET}/{}", nats.server.port, key(name));
        assert_eq!(told(read(&*store, name, 0, 200).await.unwrap_err()), cause.replace("PLACE", &place));
    }
}

/// Its own chunks are replaced, and nothing else.
#[tokio::test]
async fn a_beacon_takes_nothing_away_whatever_the_one_before_says() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let bucket = context.get_object_store(BUCKET).await.unwrap();
    put(&bucket, &key(NAME), b"good").await;
    let nuid = bucket.info(key(NAME)).await.unwrap().nuid;
    let name = ".streamgauge/beacon.json";
    let copied = format!(r#"{{"name":"{name}","nuid":"{nuid}","size":4,"chunks":1}}"#);
    publish(&context, described(name), copied).await;
    let stores = stores(Duration::from_secs(60));
    let beacon = stores.beacon(&ReplicaLocation::Nats(Box::new(nats.place()))).unwrap();
    for content in ["one", "two", "three"] {
        beacon.put(content.into()).await.unwrap();
        assert_eq!(beacon.find().await.unwrap().unwrap().content, content);
    }
    assert_eq!(read(&*nats.store(), NAME, 0, 100).await.unwrap(), "good");
    // Two of the object, two chunks of beacons and their one description.
    let info = context.get_stream(format!("OBJ_{BUCKET}")).await.unwrap().get_info().await.unwrap();
    assert_eq!(info.state.messages, 5);
    // What cannot be understood is replaced as well.
    publish(&context, described(name), "{").await;
    beacon.put("four".into()).await.unwrap();
    assert_eq!(beacon.find().await.unwrap().unwrap().content, "four");
}

/// One bucket's name is the beginning of the other's, and so are their subjects.
#[tokio::test]
async fn buckets_with_similar_names_are_apart() {
    let nats = Nats::with_bucket().await;
    let other = nats.bucket("bkt0").await;
    put(&other, &key(ltx_name(1)), b"other").await;
    let stores = stores(Duration::from_secs(60));
    let place = |bucket: &str| NatsLocation { bucket: bucket.to_owned(), ..nats.place() };
    let [own, other] =
        [BUCKET, "bkt0"].map(|bucket| stores.open(&ReplicaLocation::Nats(Box::new(place(bucket)))).unwrap());
    assert!(names(&*own, LEVEL, None).await.0.is_empty());
    assert_eq!(names(&*other, LEVEL, None).await.0, [ltx_name(1)]);
    assert_eq!(nats.requests().len(), 1, "replicas of one server and login share a connection");
    for bucket in ["", "*", ">", "b.c", "b c", "b\nc"] {
        let refused = stores.open(&ReplicaLocation::Nats(Box::new(place(bucket)))).err().unwrap();
        assert_eq!(refused.kind.as_str(), "misconfigured", "{bucket}");
    }
}

/// Litestream's own time, and the server's where there is none; never the year 1 that descriptions have.
#[tokio::test]
async fn objects_have_litestreams_time() {
    let nats = Nats::with_bucket().await;
    let bucket = nats.context().await.get_object_store(BUCKET).await.unwrap();
    let level = Folder::Level(1);
    let named = |txid| ObjectName::Ltx { level: 1, name: LtxName { min: Txid(txid), max: Txid(txid) } };
    for (txid, time) in [(1, Some("2026-11-22T08:49:25.39Z")), (2, Some("yesterday")), (3, None)] {
        let mut headers = HeaderMap::new();
        time.into_iter().for_each(|time| headers.insert("litestream-timestamp", time));
        let name = key(named(txid));
        bucket
            .put(ObjectMetadata { name, headers: Some(headers), ..Default::default() }, &mut &b"x"[..])
            .await
            .unwrap();
    }
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    let page = nats.store().list(level, None, None).await.unwrap();
    let dates: HashMap<_, _> = page.objects.iter().map(|object| (object.name, object.at)).collect();
    assert_eq!(dates[&named(1)], Dated::Written("2026-11-22T08:49:25.39Z".parse().unwrap()));
    for txid in [2, 3] {
        assert!(matches!(dates[&named(txid)], Dated::Uploaded(at) if at > before), "{:?}", dates[&named(txid)]);
    }
}
