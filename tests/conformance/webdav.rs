//! WebDAV as two real servers speak it (`rclone serve webdav` and Apache's mod_dav), and what others may answer.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::{Method, StatusCode};
use streamgauge::domain::litestream::{Layout, LevelKeys};
use streamgauge::domain::places::WebDavLocation;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::{Content, ReplicaStore, Stores as _};
use streamgauge_testkit::http::{Answer, Request, Server as Fake};
use streamgauge_testkit::ltx;
use tokio::sync::Mutex;

use crate::certificates::Certificate;
use crate::port::free_port;
use crate::servers::{Server, escaped, in_lab, program};
use crate::suite::{Backend, beacon_is_beside, names};
use crate::{LEVEL, NAME, ltx_name, read, stores, told};

const USER: &str = "lab";
const PASSWORD: &str = "labpass";

/// A server that is written to as Litestream does: with the collections that are missing, and then the file.
struct Dav {
    server: Server,
    place: WebDavLocation,
    store: Arc<dyn ReplicaStore>,
    made: Mutex<HashSet<String>>,
}

impl Dav {
    async fn empty_on(server: Server, below: &str) -> Box<dyn Backend> {
        let place = place(server.port, below, "app");
        let store = stores(Duration::from_secs(60)).open(&ReplicaLocation::WebDav(Box::new(place.clone()))).unwrap();
        let dav = Self { server, place, store, made: Mutex::default() };
        dav.make_collections("").await;
        Box::new(dav)
    }

    async fn send(&self, method: &[u8], key: &str, content: &[u8]) -> StatusCode {
        let below = self.place.endpoint.replace(&format!("http://127.0.0.1:{}", self.server.port), "");
        let (method, path) = (Method::from_bytes(method).unwrap(), escaped(&format!("{below}/app/{key}")));
        // `lab:labpass`
        self.server.send_as("Basic bGFiOmxhYnBhc3M=", method, &path, content).await
    }

    async fn make_collections(&self, key: &str) {
        let ends = key.match_indices('/').map(|(at, _)| at + 1);
        // Nobody writes into a collection that another one is still making.
        let mut made = self.made.lock().await;
        for collection in std::iter::once(0).chain(ends).map(|end| &key[..end]) {
            if made.insert(collection.to_owned()) {
                self.send(b"MKCOL", collection, b"").await;
            }
        }
    }
}

#[async_trait]
impl Backend for Dav {
    async fn put(&self, key: &str, content: &[u8]) {
        self.make_collections(key).await;
        let status = self.send(b"PUT", key, content).await;
        assert!(status.is_success(), "{key}: {status}");
    }

    async fn remove(&self, key: &str) {
        let status = self.send(b"DELETE", key, b"").await;
        assert!(status.is_success(), "{key}: {status}");
    }

    fn location(&self) -> Option<ReplicaLocation> {
        Some(ReplicaLocation::WebDav(Box::new(self.place.clone())))
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }

    fn is_dated(&self) -> bool {
        false
    }
}

pub(crate) async fn rclone() -> Box<dyn Backend> {
    Dav::empty_on(served_by_rclone(&[]), "").await
}

pub(crate) async fn apache() -> Box<dyn Backend> {
    Dav::empty_on(served_by_apache("Basic"), "/some/dav").await
}

fn place(port: u16, below: &str, path: &str) -> WebDavLocation {
    WebDavLocation {
        endpoint: format!("http://127.0.0.1:{port}{below}"),
        path: path.to_owned(),
        username: USER.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        ca_file: None,
    }
}

fn open(place: WebDavLocation) -> Arc<dyn ReplicaStore> {
    stores(IMPATIENT).open(&ReplicaLocation::WebDav(Box::new(place))).unwrap()
}

/// Short, so that what hangs does not hold up the tests.
const IMPATIENT: Duration = Duration::from_secs(4);

fn served_by_rclone(options: &[&str]) -> Server {
    Server::start(|port, directory| {
        let mut command = Command::new(program("rclone"));
        command.args(["serve", "webdav", "--addr", &format!("127.0.0.1:{port}"), "--user", USER, "--pass", PASSWORD]);
        command.args(["--config", ""]).args(options).arg(directory);
        command
    })
}

/// The directory is what the server shows as `/some/dav`; `login` is `Basic` or `Digest`.
fn served_by_apache(login: &str) -> Server {
    Server::start(|port, directory| {
        // It gives up being root, and has to write there nevertheless.
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o777)).unwrap();
        let apache = in_lab("apache");
        let modules = [
            "mpm_event",
            "authz_core",
            "authz_user",
            "authn_core",
            "authn_file",
            "auth_basic",
            "auth_digest",
            "dav",
            "dav_fs",
            "alias",
        ];
        let modules = modules.map(|name| format!("LoadModule {name}_module modules/mod_{name}.so\n")).concat();
        // `labpass`, as `openssl passwd -apr1` and `htdigest` write it.
        let users = match login {
            "Basic" => "AuthUserFile",
            _ => "AuthDigestProvider file\nAuthUserFile",
        };
        let (file, line) = match login {
            "Basic" => (directory.join(".users"), "lab:$apr1$streamga$oucDcUYNEat0FZYUSNU/F1\n"),
            _ => (directory.join(".users"), "lab:lab:6330d4118b3cacbd78b994d8cf74dfe0\n"),
        };
        std::fs::write(&file, line).unwrap();
        let (file, directory) = (file.display(), directory.display());
        let config = format!(
            "ServerRoot {}\nServerName 127.0.0.1\nListen 127.0.0.1:{port}\n{modules}User daemon\nGroup daemon\n\
             PidFile {directory}/.pid\nErrorLog {directory}/.error.log\nDefaultRuntimeDir {directory}\n\
             DavLockDB {directory}/.lock\nDocumentRoot {directory}\nAlias /some/dav {directory}\n\
             <Directory {directory}>\nDav On\nAuthType {login}\nAuthName lab\n{users} {file}\nRequire valid-user\n\
             </Directory>\n",
            apache.join("usr/lib/apache2").display(),
        );
        let config_file = format!("{directory}/.httpd.conf");
        std::fs::write(&config_file, config).unwrap();
        let libraries = std::fs::read_dir(apache.join("usr/lib")).unwrap().map(|entry| entry.unwrap().path());
        let libraries = libraries.filter(|path| path.to_string_lossy().ends_with("-linux-gnu"));
        let mut command = Command::new(apache.join("usr/sbin/apache2"));
        // One process, which is gone when it is killed.
        command.args(["-X", "-f", &config_file]);
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
        command
    })
}

fn write(root: &Path, key: &str, content: &[u8]) {
    let path = root.join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn key(txid: u64) -> String {
    format!("ltx/0/{}", ltx::name(txid, txid))
}

/// The first answer says how the login is to be shown; a digest is counted, and its nonce is renewed.
#[tokio::test]
async fn logins_are_shown_as_the_server_asks_and_never_told() {
    for (server, below) in [
        (served_by_rclone(&[]), ""),
        (served_by_apache("Basic"), "/some/dav"),
        (served_by_apache("Digest"), "/some/dav"),
    ] {
        write(server.directory(), &format!("a b/ä#1/{}", key(7)), b"content");
        let good = place(server.port, below, "a b/ä#1");
        let store = open(good.clone());
        for _ in 0..3 {
            assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
            assert_eq!(read(&*store, NAME, 3, 100).await.unwrap(), "tent");
        }
        // Chosen so that it is found in whatever form it is told.
        let bad = "verysecret";
        for (user, password) in [(USER, Some(bad)), ("nobody", Some(bad)), ("", None), (USER, None)] {
            let password = password.map(Secret::new);
            let place = WebDavLocation { username: user.to_owned(), password, ..good.clone() };
            let location = ReplicaLocation::WebDav(Box::new(place.clone()));
            let beacon = stores(IMPATIENT).beacon(&location).unwrap();
            for refused in [
                open(place.clone()).list(LEVEL, None, None).await.map(drop).unwrap_err(),
                open(place.clone()).layouts().await.map(drop).unwrap_err(),
                open(place.clone()).read(NAME, 0, 1).await.map(drop).unwrap_err(),
                beacon.find().await.map(drop).unwrap_err(),
                beacon.put("x".into()).await.unwrap_err(),
            ] {
                let told = told(refused);
                assert!(told.starts_with("denied: "), "{told}");
                assert!(told.ends_with("access denied | check webdav-username and webdav-password"), "{told}");
                assert!(!told.contains(bad) && !format!("{place:?}").contains(bad), "{told}");
            }
        }
    }
    let server = served_by_apache("Digest");
    std::fs::create_dir(server.directory().join("app")).unwrap();
    beacon_is_beside(&ReplicaLocation::WebDav(Box::new(place(server.port, "/some/dav", "app")))).await;
    assert!(server.directory().join("app.streamgauge/beacon.json").exists());
}

#[tokio::test]
async fn a_collection_that_is_missing_is_empty_and_one_of_another_server_or_none_says_so() {
    for (server, below) in [(served_by_rclone(&[]), ""), (served_by_apache("Basic"), "/some/dav")] {
        for (replica, txid) in [("db1", 1), ("db10", 10), ("db1/db1", 11)] {
            write(server.directory(), &format!("{replica}/{}", key(txid)), b"x");
        }
        write(server.directory(), "file", b"x");
        std::fs::create_dir_all(server.directory().join("empty/ltx/0")).unwrap();
        std::fs::create_dir_all(server.directory().join("empty/generations/a/b/c")).unwrap();
        for (replica, txid) in [("db1", 1), ("db10", 10), ("db1/db1", 11)] {
            let store = open(place(server.port, below, replica));
            assert_eq!(names(&*store, LEVEL, None).await, (vec![ltx_name(txid)], Vec::new()), "{replica}");
        }
        let cause = "no such collection | check webdav-url and path";
        let moved = open(place(server.port, "/wrong", "db1"));
        let url = format!("webdav://127.0.0.1:{}/wrong/db1", server.port);
        let listed = told(moved.list(LEVEL, None, None).await.unwrap_err());
        assert_eq!(listed, format!("not_found: list {url}/ltx/0/: {cause}"));
        assert_eq!(told(moved.layouts().await.unwrap_err()), format!("not_found: list {url}/: {cause}"));
        assert!(matches!(moved.read(NAME, 0, 1).await.unwrap(), Content::Missing(_)));
        // As in a bucket, there is no layout without a file.
        for path in ["empty", "db", "a/b"] {
            let empty = open(place(server.port, below, path));
            assert_eq!(empty.layouts().await.unwrap(), [], "{path}");
            assert_eq!(names(&*empty, LEVEL, None).await, (Vec::new(), Vec::new()), "{path}");
            assert!(matches!(empty.read(NAME, 0, 1).await.unwrap(), Content::Missing(_)), "{path}");
        }
        // rclone says what it is, and Apache that it is no collection.
        let file = open(place(server.port, below, "file")).layouts().await.unwrap_err();
        assert!(["not_found", "failed"].contains(&file.kind.as_str()), "{file}");
    }
}

#[tokio::test]
async fn servers_are_known_by_their_certificates() {
    let tls = tempfile::tempdir().unwrap();
    let own = Certificate::self_signed(tls.path(), "server", "IP:127.0.0.1");
    let [certificate, key_file] = own.files();
    let server = served_by_rclone(&["--cert", certificate, "--key", key_file]);
    write(server.directory(), &format!("app/{}", key(7)), b"x");
    let known = place(server.port, "", "app");
    let known =
        WebDavLocation { endpoint: known.endpoint.replace("http:", "https:"), ca_file: Some(own.certificate), ..known };
    assert_eq!(names(&*open(known.clone()), LEVEL, None).await.0, [NAME]);
    let told = told(open(WebDavLocation { ca_file: None, ..known }).list(LEVEL, None, None).await.unwrap_err());
    assert!(told.starts_with(&format!("unreachable: list webdavs://127.0.0.1:{}/app/ltx/0/: ", server.port)), "{told}");
    assert!(told.ends_with("configure the certificate authority as ca-file"), "{told}");
}

/// A listing of `app/ltx/0/` with these files, and other entries behind them.
fn listing(names: &[String], rest: &str) -> Answer {
    let own = "<response><href>/app/ltx/0/</href><propstat><prop><resourcetype><collection/></resourcetype></prop>\
               <status>HTTP/1.1 200 OK</status></propstat></response>";
    let file = |name: &String| {
        format!(
            "<response><href>/app/ltx/0/{name}</href><propstat><prop><resourcetype/><getcontentlength>9</getcontentlength>\
             <getlastmodified>Sun, 06 Nov 1994 08:49:37 GMT</getlastmodified></prop><status>HTTP/1.1 200 OK</status>\
             </propstat></response>"
        )
    };
    let files: String = names.iter().map(file).collect();
    Answer::xml(207, &format!("<multistatus xmlns=\"DAV:\">{own}{files}{rest}</multistatus>"))
}

fn always(answer: Answer) -> (Fake, Arc<dyn ReplicaStore>) {
    answering(move |_| answer.clone())
}

fn answering(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> (Fake, Arc<dyn ReplicaStore>) {
    let server = Fake::start(answer).unwrap();
    let store = open(place(server.port(), "", "app"));
    (server, store)
}

async fn list_told(answer: Answer) -> String {
    let (server, store) = always(answer);
    let told = told(store.list(LEVEL, Some(ltx_name(5)), None).await.unwrap_err());
    told.replace(&format!("list webdav://127.0.0.1:{}/app/ltx/0/: ", server.port()), "")
}

#[tokio::test]
async fn a_look_is_one_request_whatever_the_order_of_the_listing() {
    let names_of = |txids: &[u64]| txids.iter().map(|txid| ltx::name(*txid, *txid)).collect::<Vec<_>>();
    let (server, store) = always(listing(&names_of(&[9, 3, 7, 5, 7]), ""));
    assert_eq!(names(&*store, LEVEL, Some(ltx_name(5))).await.0, [5, 7, 9].map(ltx_name));
    assert_eq!(names(&*store, LEVEL, Some(ltx_name(10))).await.0, []);
    assert_eq!(server.requests(), 2);
    // No page is needed for as much as one answer may hold.
    let many: Vec<u64> = (1..=20_000).collect();
    let (server, store) = always(listing(&names_of(&many), ""));
    let page = store.list(LEVEL, None, None).await.unwrap();
    assert_eq!((page.objects.len(), page.next.is_none(), server.requests()), (20_000, true, 1));
}

#[tokio::test]
async fn listings_that_are_too_long_or_contradict_themselves_are_not_believed() {
    let odd = |name: &str| vec![name.to_owned()];
    let failed =
        |status: u16| format!("<response><href>/app/ltx/0/x</href><status>HTTP/1.1 {status} X</status></response>");
    let unsized_file = listing(&odd("x"), "");
    let unsized_file =
        String::from_utf8(unsized_file.body).unwrap().replace("9</getcontentlength>", "</getcontentlength>");
    for (answer, expected) in [
        (listing(&[], &failed(403)), "denied: /app/ltx/0/x: access denied"),
        (listing(&odd("x/y"), ""), "corrupt: /app/ltx/0/x/y: not in the collection that was listed"),
        (Answer::xml(207, &unsized_file), "corrupt: ltx/0/x has no valid size"),
        (Answer::xml(200, "<a/>"), "corrupt: status 200 where a listing has status 207 | check that webdav-url"),
        (Answer::xml(207, ""), "corrupt: a listing that cannot be read: "),
        (Answer::xml(207, "<multistatus>"), "unreachable: the answer was cut short"),
        (Answer::xml(207, "\u{0}"), "corrupt: a listing that cannot be read: "),
        (Answer::new(207, "application/xml", b"<a>\xff</a>".to_vec()), "corrupt: a listing that is not UTF-8"),
        (Answer::new(200, "text/html", "<html>log in</html>"), "unreachable: answered with a web page (status 200)"),
        (
            Answer::xml(207, &" ".repeat((16 << 20) + 1)),
            "unsupported: too many files in one collection: an answer of more than 16777216 bytes | WebDAV lists",
        ),
        (Answer::xml(405, ""), "unsupported: the store does not know this request | check that webdav-url"),
        (Answer::xml(403, ""), "denied: access denied | let the user list and read"),
        (Answer::xml(301, "").with("location", "http://127.0.0.1:1/"), "misconfigured: it is somewhere else | "),
        (Answer::xml(503, "").with("retry-after", "100"), "throttled: the store asks to slow down"),
        (Answer::xml(507, ""), "failed: status 507"),
    ] {
        let shown = String::from_utf8_lossy(&answer.body[..answer.body.len().min(200)]).into_owned();
        let told = list_told(answer).await;
        assert!(told.starts_with(expected), "{told} is not {expected}, for {shown}");
    }
    // What went away while it was listed is no failure.
    let (_server, store) = always(listing(&[ltx::name(7, 7)], &failed(404)));
    assert_eq!(names(&*store, LEVEL, None).await, (vec![NAME], Vec::new()));
}

/// By a real server, which goes on while nobody listens any more.
#[tokio::test]
async fn a_hundred_thousand_files_are_too_many() {
    let server = served_by_rclone(&[]);
    let level = server.directory().join("app/ltx/0");
    for number in 0..100_000 {
        let file = level.join(ltx::name(number + 1, number + 1));
        match number % 10_000 {
            0 => write(server.directory(), &format!("app/{}", key(number + 1)), b"x"),
            more => std::fs::hard_link(level.join(ltx::name(number + 1 - more, number + 1 - more)), file).unwrap(),
        }
    }
    let place = ReplicaLocation::WebDav(Box::new(place(server.port, "", "app")));
    let store = stores(Duration::from_secs(60)).open(&place).unwrap();
    let told = told(store.list(LEVEL, Some(ltx_name(99_000)), None).await.unwrap_err());
    assert!(
        told.starts_with("unsupported: list webdav://") && told.contains("too many files in one collection"),
        "{told}"
    );
    // One file by its name needs no listing.
    assert_eq!(read(&*store, ltx_name(100_000), 0, 9).await.unwrap(), "x");
}

#[tokio::test]
async fn ranges_are_checked_and_a_whole_file_is_cut() {
    let ranged = |status: u16, range: Option<&str>, body: &[u8]| {
        let answer = Answer::new(status, "application/octet-stream", body);
        match range {
            Some(range) => answer.with("content-range", range),
            None => answer,
        }
    };
    let mut short = ranged(206, Some("bytes 2-9/10"), b"2345");
    short.length = Some(8);
    let long = vec![b'x'; 5 << 20];
    for (answer, expected) in [
        (ranged(206, Some("bytes 2-9/10"), b"23456789"), Ok("23456789")),
        (ranged(206, Some("bytes 2-4/5"), b"234"), Ok("234")),
        (ranged(200, None, b"0123456789abc"), Ok("23456789")),
        (ranged(200, None, b"0"), Ok("")),
        (ranged(416, None, b""), Ok("")),
        (ranged(206, Some("bytes 0-7/10"), b"01234567"), Err("corrupt: answered with a different range")),
        (ranged(206, None, b"23456789"), Err("corrupt: answered with a different range")),
        (ranged(206, Some("bytes 2-9/10"), b"23456789abc"), Err("corrupt: answered with more than the 8 bytes")),
        (ranged(206, Some("bytes 2-9/10"), b"2345"), Err("unreachable: the answer was cut short: 4 of the 8 bytes")),
        (short, Err("unreachable: the connection broke")),
        (ranged(200, None, &long), Err("corrupt: an answer of more than 4194304 bytes | the server must answer")),
        (ranged(204, None, b""), Err("failed: status 204")),
        (ranged(500, None, b""), Err("failed: status 500")),
    ] {
        let (server, store) = always(answer);
        let at = format!("read webdav://127.0.0.1:{}/app/{}: ", server.port(), key(7));
        let told = read(&*store, NAME, 2, 8).await.map_err(|reason| told(reason).replace(&at, ""));
        match expected {
            Ok(expected) => assert_eq!(told.as_deref(), Ok(expected.as_bytes())),
            Err(expected) => assert!(told.as_ref().unwrap_err().starts_with(expected), "{told:?} is not {expected}"),
        }
    }
}

#[tokio::test]
async fn servers_that_are_gone_hang_or_recover() {
    let port = free_port();
    let told_gone = told(open(place(port, "", "app")).list(LEVEL, None, None).await.unwrap_err());
    assert_eq!(told_gone, format!("unreachable: list webdav://127.0.0.1:{port}/app/ltx/0/: connection refused"));
    let mut nothing = Answer::xml(207, "");
    nothing.silent = true;
    let (_server, store) = always(nothing);
    let started = std::time::Instant::now();
    let hung = told(store.list(LEVEL, None, None).await.unwrap_err());
    assert!(hung.starts_with("timeout: ") && started.elapsed() < IMPATIENT * 2, "{hung} {:?}", started.elapsed());
    let asked = AtomicUsize::new(0);
    let (server, store) = answering(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::xml(502, ""),
        _ => listing(&[ltx::name(7, 7)], ""),
    });
    assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
    assert_eq!(server.requests(), 2);
    let odd = WebDavLocation { endpoint: "http://not an address".to_owned(), ..place(1, "", "app") };
    let told = told(open(odd).list(LEVEL, None, None).await.unwrap_err());
    assert!(told.starts_with("misconfigured: "), "{told}");
}

/// A nonce that is too old is no wrong password, and a server that finds every nonce too old is left alone.
#[tokio::test]
async fn a_stale_nonce_is_renewed_once() {
    let asked = AtomicUsize::new(0);
    let (server, store) = answering(move |request| {
        let number = asked.fetch_add(1, Ordering::SeqCst);
        let challenge = format!("Digest realm=\"r\", nonce=\"n{number}\", qop=\"auth\", stale=true");
        let refused = Answer::xml(401, "").with("www-authenticate", &challenge);
        match (number, request.header("authorization").unwrap_or_default()) {
            (1, shown) if shown.contains("nonce=\"n0\"") && shown.contains("nc=00000001") => listing(&[], ""),
            (2, shown) if shown.contains("nonce=\"n0\"") && shown.contains("nc=00000002") => refused,
            (3, shown) if shown.contains("nonce=\"n2\"") && shown.contains("nc=00000001") => listing(&[], ""),
            _ => refused,
        }
    });
    for _ in 0..2 {
        store.list(LEVEL, None, None).await.unwrap();
    }
    assert_eq!(server.requests(), 4);
    assert_eq!(store.list(LEVEL, None, None).await.unwrap_err().kind.as_str(), "denied");
    assert_eq!(server.requests(), 7);
}

/// An answer to PROPFIND with nothing but collections.
fn collections(path: &str, names: &[&str]) -> Answer {
    let one = |name: &&str| {
        format!(
            "<response><href>{path}{name}</href><propstat><prop><resourcetype><collection/></resourcetype></prop>\
             <status>HTTP/1.1 200 OK</status></propstat></response>"
        )
    };
    let all: String = std::iter::once(&"").chain(names).map(one).collect();
    Answer::xml(207, &format!("<multistatus xmlns=\"DAV:\">{all}</multistatus>"))
}

/// What others keep in the replica's collection is not looked at, and what may not be listed may hold something.
#[tokio::test]
async fn folders_of_others_do_not_hide_a_replica() {
    let (server, store) = answering(|request| match request.path() {
        "/app/" => collections("/app/", &["private/", "ltx/", "huge/", "generations/", "0003/"]),
        "/app/ltx/" => collections("/app/ltx/", &["0/"]),
        "/app/ltx/0/" => listing(&[ltx::name(7, 7)], ""),
        "/app/generations/" => Answer::xml(403, ""),
        "/app/0003/" => collections("/app/0003/", &[]),
        other => panic!("{other}"),
    });
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(LevelKeys::Plain), Layout::V3]);
    assert_eq!(server.requests(), 5);
    // A tree without an end is not followed, and there is one bound for all of it.
    let (server, store) = answering(|request| collections(request.path(), &["ltx/", "generations/"]));
    assert_eq!(store.layouts().await.unwrap(), [Layout::V5(LevelKeys::Plain), Layout::V3]);
    assert_eq!(server.requests(), 65);
}

#[tokio::test]
async fn refusals_and_beacons_have_bounds_of_their_own() {
    let beacon = |answer: Answer| {
        let server = Fake::start(move |_| answer.clone()).unwrap();
        let place = ReplicaLocation::WebDav(Box::new(place(server.port(), "", "app")));
        let beacon = stores(IMPATIENT).beacon(&place).unwrap();
        (server, beacon)
    };
    let long = "x".repeat(20 << 10);
    let (_server, refusing) = beacon(Answer::xml(403, &long));
    assert_eq!(refusing.find().await.map(drop).unwrap_err().kind.as_str(), "denied");
    assert_eq!(refusing.put("x".into()).await.unwrap_err().kind.as_str(), "denied");
    let (_server, missing) = beacon(Answer::xml(404, &long));
    assert!(missing.find().await.unwrap().is_none());
    let (_server, other) = beacon(Answer::xml(200, &long).with("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(other.find().await.map(drop).unwrap_err().kind.as_str(), "corrupt");
}
