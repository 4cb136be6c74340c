//! Google Cloud Storage: an emulator that Litestream is tested with, which knows no pages, and a fake that has them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use streamgauge::domain::litestream::LevelKeys;
use streamgauge::domain::places::GsLocation;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::{BucketPosture, ReplicaStore, Stores as _};
use streamgauge_testkit::http::{Answer, Request as Asked, Server as Fake};

use crate::port::free_port;
use crate::servers::{Server, program};
use crate::suite::{Backend, names};
use crate::{LEVEL, ltx_name, read, stores, told};

fn place(port: u16, bucket: &str) -> ReplicaLocation {
    let emulator = Some(format!("http://127.0.0.1:{port}"));
    ReplicaLocation::Gs(Box::new(GsLocation {
        bucket: bucket.to_owned(),
        path: "app".to_owned(),
        emulator,
        ..Default::default()
    }))
}

fn open(port: u16, patience: Duration) -> Arc<dyn ReplicaStore> {
    stores(patience).open(&place(port, "bkt")).unwrap()
}

/// A server, and the store of a replica on it.
struct Gs<S> {
    server: S,
    port: u16,
    store: Arc<dyn ReplicaStore>,
}

/// gcp-storage-emulator, as Litestream takes it.
pub(crate) async fn emulator() -> Box<dyn Backend> {
    let program = program("gcp-storage-emulator");
    let server = Server::start(|port, _| {
        let mut command = Command::new(program);
        command.args(["start", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--in-memory", "--default-bucket", "bkt"]);
        command
    });
    let port = server.port;
    Box::new(Gs { server, port, store: open(port, Duration::from_secs(60)) })
}

/// The fake, with small pages, some of them empty.
pub(crate) async fn paged() -> Box<dyn Backend> {
    let objects = Objects::default();
    let server = Fake::start({
        let objects = objects.clone();
        move |asked| objects.answer(asked)
    });
    let server = server.unwrap();
    let port = server.port();
    Box::new(Gs { server, port, store: open(port, Duration::from_secs(60)) })
}

async fn send(port: u16, method: Method, path: &str, content_type: &str, body: Vec<u8>) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let uri = format!("http://127.0.0.1:{port}{path}");
    let request = Request::builder().method(method).uri(&uri).header("content-type", content_type);
    let answer = client.request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
    assert!(answer.status().is_success(), "{uri}: {}", answer.status());
}

fn escaped(key: &str) -> String {
    form_urlencoded::byte_serialize(key.as_bytes()).collect::<String>().replace('+', "%20")
}

#[async_trait]
impl<S: Send + Sync> Backend for Gs<S> {
    async fn put(&self, key: &str, content: &[u8]) {
        let mut about = json!({});
        if key.starts_with("ltx/") {
            about["metadata"] = json!({"litestream-timestamp": jiff::Timestamp::now().to_string()});
        }
        let head = format!(
            "--cut\r\nContent-Type: application/json\r\n\r\n{about}\r\n--cut\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        let body = [head.as_bytes(), content, b"\r\n--cut--\r\n"].concat();
        let name = escaped(&format!("app/{key}"));
        let path = format!("/upload/storage/v1/b/bkt/o?uploadType=multipart&name={name}");
        send(self.port, Method::POST, &path, "multipart/related; boundary=cut", body).await;
    }

    async fn remove(&self, key: &str) {
        let path = format!("/storage/v1/b/bkt/o/{}", escaped(&format!("app/{key}")));
        send(self.port, Method::DELETE, &path, "text/plain", Vec::new()).await;
    }

    fn location(&self) -> Option<ReplicaLocation> {
        let _ = &self.server;
        Some(place(self.port, "bkt"))
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }
}

/// A bucket `bkt` as Google's documentation describes one: listings begin at `startOffset`, itself included, in the order of
/// bytes; a page may have fewer names than asked for, or none, and there are more where it says so.
#[derive(Clone, Default)]
struct Objects(Arc<Mutex<BTreeMap<String, Object>>>);

struct Object {
    content: Vec<u8>,
    about: Value,
}

/// Objects in a page, prime, so that its ends fall anywhere.
const PAGE: usize = 97;

fn answer(status: u16, body: &Value) -> Answer {
    Answer::new(status, "application/json; charset=UTF-8", body.to_string())
}

fn refusal(status: u16, reason: &str, message: &str) -> Answer {
    let errors = json!([{"domain": "global", "reason": reason, "message": message}]);
    answer(status, &json!({"error": {"code": status, "message": message, "errors": errors}}))
}

impl Objects {
    fn answer(&self, asked: &Asked) -> Answer {
        let query: BTreeMap<String, String> = form_urlencoded::parse(asked.query().as_bytes()).into_owned().collect();
        let path = asked.path();
        let Some(rest) = path.strip_prefix("/upload").unwrap_or(path).strip_prefix("/storage/v1/b/bkt") else {
            return refusal(404, "notFound", "The specified bucket does not exist.");
        };
        let object = rest.strip_prefix("/o/").map(|key| {
            let key = key.replace('+', "%2B");
            form_urlencoded::parse(format!("k={key}").as_bytes()).next().unwrap().1.into_owned()
        });
        match (asked.method.as_str(), rest, object) {
            ("POST", "/o", _) => self.upload(asked, &query),
            ("GET", "/o", _) => self.list(&query),
            ("GET", "", _) => answer(
                200,
                &json!({
                    "versioning": {"enabled": true},
                    "iamConfiguration": {"publicAccessPrevention": "inherited"},
                    "lifecycle": {"rule": [{"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 3}}]},
                }),
            ),
            ("GET", "/iam", _) => refusal(403, "forbidden", "me does not have storage.buckets.getIamPolicy access."),
            ("GET", _, Some(key)) => self.read(asked, &query, &key),
            ("DELETE", _, Some(key)) => {
                self.0.lock().unwrap().remove(&key).unwrap();
                Answer::new(204, "text/html", "")
            }
            other => panic!("{other:?}"),
        }
    }

    fn upload(&self, asked: &Asked, query: &BTreeMap<String, String>) -> Answer {
        let (about, content) = if query["uploadType"] == "media" {
            (json!({}), asked.body.clone())
        } else {
            let find = |from: usize, what: &[u8]| {
                let at = asked.body[from..].windows(what.len()).position(|window| window == what);
                from + at.unwrap() + what.len()
            };
            let about = find(0, b"\r\n\r\n");
            let content = find(about, b"\r\n\r\n");
            let about = serde_json::Deserializer::from_slice(&asked.body[about..]).into_iter().next().unwrap().unwrap();
            (about, asked.body[content..asked.body.len() - b"\r\n--cut--\r\n".len()].to_vec())
        };
        let (mut about, now): (Value, _) = (about, jiff::Timestamp::now().to_string());
        about["name"] = query["name"].clone().into();
        about["size"] = content.len().to_string().into();
        about["timeCreated"] = now.clone().into();
        about["updated"] = now.into();
        self.0.lock().unwrap().insert(query["name"].clone(), Object { content, about });
        answer(200, &json!({}))
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Answer {
        let get = |name: &str| query.get(name).map_or("", String::as_str);
        assert!(get("fields").starts_with("kind,nextPageToken,"), "{query:?}");
        let (prefix, start) = (get("prefix"), get("startOffset").max(get("pageToken").trim_start_matches('!')));
        let objects = self.0.lock().unwrap();
        let mut matching = objects.range(start.to_owned()..).filter(|(name, _)| name.starts_with(prefix));
        if get("delimiter") == "/" {
            let mut folders: Vec<_> = matching
                .filter_map(|(name, _)| Some(format!("{prefix}{}/", name[prefix.len()..].split_once('/')?.0)))
                .collect();
            folders.dedup();
            return answer(200, &json!({"kind": "storage#objects", "prefixes": folders}));
        }
        // Every page is promised by an empty one before it.
        if get("pageToken").starts_with('!') {
            return answer(200, &json!({"kind": "storage#objects", "nextPageToken": start}));
        }
        let page: Vec<_> = matching.by_ref().take(PAGE).map(|(_, object)| object.about.clone()).collect();
        let mut body = json!({"kind": "storage#objects", "items": page});
        if let Some((name, _)) = matching.next() {
            body["nextPageToken"] = format!("!{name}").into();
        }
        answer(200, &body)
    }

    fn read(&self, asked: &Asked, query: &BTreeMap<String, String>, key: &str) -> Answer {
        let objects = self.0.lock().unwrap();
        let Some(object) = objects.get(key) else {
            return Answer::new(404, "text/html; charset=UTF-8", format!("No such object: bkt/{key}"));
        };
        if query.get("alt").map(String::as_str) != Some("media") {
            return answer(200, &object.about);
        }
        let range = asked.header("range").unwrap().strip_prefix("bytes=").unwrap().split_once('-').unwrap();
        let (from, to): (usize, usize) = (range.0.parse().unwrap(), range.1.parse().unwrap());
        let size = object.content.len();
        if from >= size {
            return Answer::new(416, "text/html; charset=UTF-8", "").with("Content-Range", &format!("bytes */{size}"));
        }
        let to = to.min(size - 1);
        Answer::new(206, "application/octet-stream", &object.content[from..=to])
            .with("Content-Range", &format!("bytes {from}-{to}/{size}"))
    }
}

fn started(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Fake, Arc<dyn ReplicaStore>) {
    let server = Fake::start(answer).unwrap();
    let store = open(server.port(), Duration::from_secs(3));
    (server, store)
}

#[tokio::test]
async fn what_gs_refuses_has_a_meaning_and_a_hint() {
    let list = "grant storage.objects.list on bucket bkt";
    for (given, expected) in [
        (
            refusal(403, "forbidden", "me does not have storage.objects.list access."),
            format!("denied: list gs://bkt/app/ltx/0/: access denied; the store says: me does not have storage.objects.list access. | {list}"),
        ),
        (
            refusal(403, "userRateLimitExceeded", "Too fast."),
            "throttled: list gs://bkt/app/ltx/0/: access denied; the store says: Too fast.".to_owned(),
        ),
        (
            refusal(401, "authError", "Invalid Credentials"),
            "denied: list gs://bkt/app/ltx/0/: access denied; the store says: Invalid Credentials | check \
             GOOGLE_APPLICATION_CREDENTIALS, or the service account of this machine, and its clock"
                .to_owned(),
        ),
        (
            refusal(404, "notFound", "The specified bucket does not exist."),
            "not_found: list gs://bkt/app/ltx/0/: no such bucket | check that bucket bkt exists".to_owned(),
        ),
        (
            refusal(429, "rateLimitExceeded", "Slow."),
            "throttled: list gs://bkt/app/ltx/0/: the store asks to slow down; the store says: Slow.".to_owned(),
        ),
        (
            refusal(503, "backendError", "Later.").with("Retry-After", "1000"),
            "throttled: list gs://bkt/app/ltx/0/: the store asks to slow down and is left alone for".to_owned(),
        ),
        (
            Answer::new(403, "text/html", "<html>log in"),
            "unreachable: list gs://bkt/app/ltx/0/: answered with a web page (status 403) | a captive portal, a login page or \
             a proxy is in the way, or the endpoint is not Google Cloud Storage"
                .to_owned(),
        ),
    ] {
        let (_server, store) = started(move |_| given.clone());
        let told = told(store.list(LEVEL, None, None).await.unwrap_err());
        let told = told.split(" another ").next().unwrap();
        assert_eq!(told, expected);
    }
}

#[tokio::test]
async fn documents_that_are_no_listings_of_gs_are_not_believed() {
    let object = |name: &str, more: Value| {
        let mut object = json!({"name": name, "size": "1", "timeCreated": "2026-11-28T00:00:00Z"});
        object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        object
    };
    let listing = |items: Value| json!({"kind": "storage#objects", "items": items}).to_string();
    let (seven, six) = (object("app/ltx/0/7", json!({})), object("app/ltx/0/6", json!({})));
    for (body, expected) in [
        ("{}".to_owned(), "answered with something else than Google Cloud Storage would"),
        (json!({"kind": "storage#buckets"}).to_string(), "not a listing of objects"),
        (String::new(), "answered with something else than Google Cloud Storage would"),
        (listing(json!([seven, six])), "key ltx/0/6 is not in ascending order"),
        (listing(json!([seven, seven])), "key ltx/0/7 is not in ascending order"),
        (listing(json!([object("other/7", json!({}))])), "key other/7 is not below the prefix"),
        (listing(json!([object("app/ltx/1/7", json!({}))])), "key ltx/1/7 is not below the prefix"),
        (listing(json!([object("app/ltx/0/7", json!({"size": "-1"}))])), "key app/ltx/0/7 has no valid size"),
        (listing(json!([object("app/ltx/0/7", json!({"timeCreated": "soon"}))])), "key app/ltx/0/7 has no valid time"),
        ("[".repeat(200_000), "answered with something else than Google Cloud Storage would"),
        (" ".repeat(17 << 20), "an answer of more than 16777216 bytes"),
    ] {
        let body = Answer::new(200, "application/json", body);
        let (_server, store) = started(move |_| body.clone());
        let told = told(store.list(LEVEL, Some(ltx_name(0)), None).await.unwrap_err());
        assert_eq!(told, format!("corrupt: list gs://bkt/app/ltx/0/: {expected}"));
    }
    // What is cut off, was something else before.
    let whole = listing(json!([seven]));
    let (_server, store) = started(move |_| Answer::new(200, "application/json", &whole[..whole.len() / 2]));
    assert_eq!(store.list(LEVEL, None, None).await.unwrap_err().kind.as_str(), "unreachable");
    // Pages that never end.
    let body = json!({"kind": "storage#objects", "nextPageToken": "again"});
    let (server, store) = started(move |_| answer(200, &body));
    assert_eq!(store.list(LEVEL, None, None).await.unwrap_err().kind.as_str(), "corrupt");
    assert!(server.requests() <= 100, "{}", server.requests());
}

#[tokio::test]
async fn odd_keys_of_gs_stay_visible_and_a_time_that_is_none_is_not_litestreams() {
    let good = format!("app/{}", ltx_name(7).key(LevelKeys::Plain));
    let odd = [
        "app/ltx/0/\u{1}",
        "app/ltx/0/%2e%2e",
        "app/ltx/0/../x",
        "app/ltx/0//x",
        "app/ltx/0/\u{e000}",
        "app/ltx/0/\u{1f600}",
    ];
    let mut keys: Vec<&str> = odd.into_iter().chain([good.as_str()]).collect();
    keys.sort_unstable();
    let item = |name: &&str| json!({"name": name, "size": "1", "timeCreated": "2026-11-28T00:00:00Z", "metadata": {"litestream-timestamp": "soon"}});
    let body = json!({"kind": "storage#objects", "items": keys.iter().map(item).collect::<Vec<_>>()});
    let (_server, store) = started(move |_| answer(200, &body));
    let (found, seen) = names(&*store, LEVEL, None).await;
    assert_eq!((found, seen.len()), (vec![ltx_name(7)], odd.len()));
    let page = store.list(LEVEL, None, None).await.unwrap();
    assert!(matches!(page.objects[0].at, streamgauge::domain::litestream::Dated::Uploaded(_)));
}

fn changed(change: impl FnOnce(&mut Answer)) -> Answer {
    let mut answer = Answer::new(206, "x", "23").with("Content-Range", "bytes 2-5/10");
    change(&mut answer);
    answer
}

#[tokio::test]
async fn parts_of_objects_of_gs_are_what_was_asked_for_or_refused() {
    for (given, expected) in [
        (Answer::new(200, "x", "0123456789"), "corrupt: answered with a different range than the one from byte 2"),
        (
            Answer::new(206, "x", "234").with("Content-Range", "bytes 3-5/10"),
            "corrupt: answered with a different range than the one from byte 2",
        ),
        (
            Answer::new(206, "x", "234").with("Content-Range", "bytes 2-5/10"),
            "unreachable: the answer was cut short: 3 of the 4 bytes that it names",
        ),
        (
            Answer::new(206, "x", "23456").with("Content-Range", "bytes 2-6/10"),
            "corrupt: answered with more than the 4 bytes asked for",
        ),
        (changed(|answer| answer.length = Some(4)), "unreachable: the connection broke"),
        (changed(|answer| answer.silent = true), "timeout: no answer"),
        (refusal(404, "notFound", "The specified bucket does not exist."), "not_found: no such bucket"),
        (Answer::new(404, "text/html", "No such object: bkt/app"), "not_found: no such object"),
    ] {
        let (_server, store) = started(move |_| given.clone());
        let reason = read(&*store, ltx_name(7), 2, 4).await.unwrap_err();
        let message = reason.message.rsplit_once(".ltx: ").unwrap().1;
        let told = format!("{}: {message}", reason.kind.as_str());
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
    let port = free_port();
    let gone = read(&*open(port, Duration::from_secs(3)), ltx_name(7), 2, 4).await.unwrap_err();
    assert_eq!(gone.kind.as_str(), "unreachable", "{gone}");
}

#[tokio::test]
async fn what_fails_once_on_gs_is_asked_again() {
    let count = AtomicUsize::new(0);
    let (_server, store) = started(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::new(StatusCode::BAD_GATEWAY.as_u16(), "text/html", "<html>502"),
        _ => answer(200, &json!({"kind": "storage#objects"})),
    });
    assert!(store.list(LEVEL, None, None).await.unwrap().objects.is_empty());
}

#[tokio::test]
async fn a_bucket_of_gs_says_how_it_is_set_up() {
    let server = Fake::start(|asked| Objects::default().answer(asked)).unwrap();
    let posture = stores(Duration::from_secs(60)).bucket(&place(server.port(), "bkt")).unwrap().posture().await;
    let reason = posture.reason.clone().unwrap();
    assert_eq!(
        told(reason),
        "denied: read settings of gs://bkt/iam: access denied; the store says: me does not have storage.buckets.getIamPolicy \
         access. | grant storage.buckets.getIamPolicy on bucket bkt"
    );
    let known = BucketPosture {
        versioning_enabled: Some(true),
        object_lock_enabled: Some(false),
        noncurrent_expiry: Some(vec![String::new()]),
        reason: posture.reason.clone(),
        ..BucketPosture::default()
    };
    assert_eq!(posture, known);
}

/// A policy says who gets in only where objects have no access control lists.
#[tokio::test]
async fn a_bucket_of_gs_is_closed_only_where_nothing_can_open_it() {
    let uniform = |enabled: bool| json!({"uniformBucketLevelAccess": {"enabled": enabled}});
    for (access, member, expected) in [
        (json!({}), "user:me", None),
        (uniform(false), "user:me", None),
        (uniform(true), "user:me", Some(false)),
        (uniform(false), "allUsers", Some(true)),
        (uniform(true), "allUsers", Some(true)),
        (json!({"publicAccessPrevention": "enforced"}), "user:me", Some(false)),
    ] {
        let shown = access.to_string();
        let server = Fake::start(move |asked| match asked.path().ends_with("/iam") {
            true => answer(200, &json!({"bindings": [{"role": "r", "members": [member]}]})),
            false => answer(200, &json!({"iamConfiguration": access})),
        });
        let server = server.unwrap();
        let posture = stores(Duration::from_secs(60)).bucket(&place(server.port(), "bkt")).unwrap().posture().await;
        assert_eq!((posture.public, posture.reason.is_none()), (expected, expected.is_some()), "{shown} {member}");
        if let Some(reason) = posture.reason {
            let told = told(reason);
            assert!(
                told.starts_with("unsupported: read settings of gs://bkt: each object may have an access"),
                "{told}"
            );
        }
    }
}
