//! Azure Blob Storage: Azurite, and a server that makes up what Azurite does not do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use streamgauge::domain::litestream::LevelKeys;
use streamgauge::domain::places::AbsLocation;
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::{ReplicaStore, Stores as _};
use streamgauge_testkit::http::{Answer, Request as Asked, Server as Fake};

use crate::azurite::{self, ACCOUNT, KEY, signed};
use crate::servers::{Server, in_lab};
use crate::suite::{Backend, names};
use crate::{LEVEL, ltx_name, read, stores, told};

fn place(port: u16) -> AbsLocation {
    AbsLocation {
        account: ACCOUNT.to_owned(),
        container: "box".to_owned(),
        path: "app".to_owned(),
        endpoint: Some(azurite::endpoint(port)),
        account_key: Some(Secret::new(KEY)),
        ..Default::default()
    }
}

fn open(place: AbsLocation, patience: Duration) -> Arc<dyn ReplicaStore> {
    stores(patience).open(&ReplicaLocation::Abs(Box::new(place))).unwrap()
}

struct Abs {
    server: Server,
    store: Arc<dyn ReplicaStore>,
}

async fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], content: &[u8]) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request =
        signed(port, method, path, headers, content.len()).map(|_| Full::new(Bytes::copy_from_slice(content)));
    let answer = client.request(request).await.unwrap();
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}

async fn started() -> Server {
    let program = in_lab("azurite/node_modules/.bin/azurite-blob");
    let server = Server::start(|port, directory| azurite::azurite(&program, port, directory));
    send(server.port, "PUT", "box?restype=container", &[], b"").await;
    server
}

pub(crate) async fn azurite() -> Box<dyn Backend> {
    let server = started().await;
    let store = open(place(server.port), Duration::from_secs(60));
    Box::new(Abs { server, store })
}

impl Abs {
    fn path(key: &str) -> String {
        let name: String = form_urlencoded::byte_serialize(format!("app/{key}").as_bytes()).collect();
        format!("box/{}", name.replace('+', "%20"))
    }
}

#[async_trait]
impl Backend for Abs {
    async fn put(&self, key: &str, content: &[u8]) {
        let now = jiff::Timestamp::now().to_string();
        let mut headers = vec![("x-ms-blob-type", "BlockBlob")];
        if key.starts_with("ltx/") {
            headers.push(("x-ms-meta-Litestreamtimestamp", &now));
        }
        send(self.server.port, "PUT", &Self::path(key), &headers, content).await;
    }

    async fn remove(&self, key: &str) {
        send(self.server.port, "DELETE", &Self::path(key), &[], b"").await;
    }

    fn location(&self) -> Option<ReplicaLocation> {
        Some(ReplicaLocation::Abs(Box::new(place(self.server.port))))
    }

    fn store(&self) -> Arc<dyn ReplicaStore> {
        self.store.clone()
    }
}

#[tokio::test]
async fn wrong_secrets_for_azurite_are_denied_and_not_repeated() {
    let server = started().await;
    let secret = "geheimgeheimgeheim00";
    let wrong_key = AbsLocation { account_key: Some(Secret::new(secret)), ..place(server.port) };
    let token = format!("sv=2023-11-03&ss=b&srt=sco&sp=rl&se=2099-01-01T00:00:00Z&sig={secret}");
    let wrong_token = AbsLocation { sas_token: Some(Secret::new(token)), ..place(server.port) };
    for place in [wrong_key, wrong_token] {
        let store = open(place, Duration::from_secs(60));
        for reason in
            [store.list(LEVEL, None, None).await.unwrap_err(), read(&*store, ltx_name(7), 0, 1).await.unwrap_err()]
        {
            let told = told(reason);
            assert!(told.starts_with("denied: ") && !told.contains("geheim"), "{told}");
        }
    }
    let token = AbsLocation { sas_token: Some(Secret::new(azurite::sas())), account_key: None, ..place(server.port) };
    let store = open(token, Duration::from_secs(60));
    assert!(store.list(LEVEL, None, None).await.unwrap().objects.is_empty());
    let missing = AbsLocation { container: "other".into(), ..place(server.port) };
    let store = open(missing, Duration::from_secs(60));
    let cause = "no such container | check that container other exists";
    assert_eq!(
        told(store.list(LEVEL, None, None).await.unwrap_err()),
        format!("not_found: list abs://other/app/ltx/0/: {cause}")
    );
    let told = told(read(&*store, ltx_name(7), 0, 1).await.unwrap_err());
    assert!(told.starts_with("not_found: ") && told.ends_with(cause), "{told}");
    let nobody = ReplicaLocation::Abs(Box::new(AbsLocation { endpoint: None, ..place(server.port) }));
    assert_eq!(stores(Duration::from_secs(1)).open(&nobody).err().unwrap().kind.as_str(), "misconfigured");
}

fn blob(name: &str, size: &str) -> String {
    format!(
        "<Blob><Name>{name}</Name><Properties><Content-Length>{size}</Content-Length><Last-Modified>Sat, 28 Nov 2026 \
         00:00:00 GMT</Last-Modified></Properties><Metadata /></Blob>"
    )
}

fn page(blobs: &[String], next: &str) -> Answer {
    let blobs = blobs.concat();
    Answer::xml(
        200,
        &format!(
            "<?xml version=\"1.0\"?><EnumerationResults><Blobs>{blobs}</Blobs><NextMarker>{next}</NextMarker></EnumerationResults>"
        ),
    )
}

fn refusal(status: u16, code: &str, message: &str) -> Answer {
    let document = format!(
        "\u{feff}<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{message}\nRequestId:1</Message></Error>"
    );
    Answer::xml(status, &document)
}

fn made_up(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Fake, Arc<dyn ReplicaStore>) {
    let server = Fake::start(answer).unwrap();
    let store = open(place(server.port()), Duration::from_secs(3));
    (server, store)
}

fn item(txid: u64) -> String {
    blob(&format!("app/{}", ltx_name(txid).key(LevelKeys::Plain)), "1")
}

#[tokio::test]
async fn pages_of_abs_join_where_each_begins_and_none_is_lost() {
    let (server, store) = made_up(|asked| {
        assert_eq!(asked.header("x-ms-version"), Some("2026-02-06"));
        let start = asked.parameter("startFrom");
        match asked.parameter("marker").as_deref() {
            None => {
                assert!(start.is_some_and(|start| start.starts_with("app/ltx/0/")));
                page(&[item(1), item(2)], "empty")
            }
            Some(marker) => {
                assert_eq!(start, None);
                if marker == "empty" { page(&[], "last") } else { page(&[item(3)], "") }
            }
        }
    });
    // The server does not know where to start.
    let found = names(&*store, LEVEL, Some(ltx_name(2))).await.0;
    assert_eq!((found, server.requests()), (vec![ltx_name(2), ltx_name(3)], 3));
}

#[tokio::test]
async fn answers_of_abs_that_are_no_listings_are_not_believed() {
    let seven = item(7);
    for (given, expected) in [
        (
            page(&[seven.clone(), item(6)], ""),
            "corrupt: key ltx/0/0000000000000006-0000000000000006.ltx is not in ascending order",
        ),
        (page(&[blob("other/7", "1")], ""), "corrupt: key other/7 is not below the prefix"),
        (page(&[blob("app/ltx/0/7", "-1")], ""), "corrupt: key app/ltx/0/7 has no valid size"),
        (
            page(&[seven.replace("Last-Modified", "X")], ""),
            "corrupt: key app/ltx/0/0000000000000007-0000000000000007.ltx has no valid time",
        ),
        (Answer::xml(200, "<ListBucketResult></ListBucketResult>"), "corrupt: not a listing of blobs"),
        (
            Answer::xml(200, "<EnumerationResults><Blobs>"),
            "unreachable: the answer was cut short: a document without its end",
        ),
        (Answer::xml(200, "<html>log in"), "unreachable: answered with a web page (status 200)"),
        (
            refusal(403, "AuthorizationPermissionMismatch", "This request is not authorized"),
            "denied: access denied; the store says: This request is not authorized | grant Storage Blob Data Reader on \
             container box, or a SAS token with sp=rl",
        ),
        (
            refusal(403, "AuthenticationFailed", "Server failed to authenticate the request."),
            "denied: access denied; the store says: Server failed to authenticate the request. | check account-name, \
             account-key and sas-token, and the clock of this machine",
        ),
        (
            refusal(503, "ServerBusy", "Ingress is over the limit."),
            "throttled: the store asks to slow down; the store says: Ingress is over the limit.",
        ),
        (
            Answer::xml(400, "<Error><Code>InvalidHeaderValue</Code><HeaderName>x-ms-version</HeaderName></Error>"),
            "unsupported: the server does not know version 2026-02-06 of the protocol | update it; Azurite takes --skipApiVersionCheck",
        ),
        (page(&[], "again"), "corrupt: an endless listing of empty pages"),
    ] {
        let (server, store) = made_up(move |_| given.clone());
        let told = told(store.list(LEVEL, Some(ltx_name(0)), None).await.unwrap_err());
        let told = told.replace("list abs://box/app/ltx/0/: ", "");
        assert!(told.starts_with(expected) && server.requests() <= 100, "{told} is not {expected}");
    }
    // Directories of an account with hierarchical namespaces are no objects.
    let directory =
        blob("app/ltx/0/x", "0").replace("</Properties>", "<ResourceType>directory</ResourceType></Properties>");
    let (_server, store) = made_up(move |_| page(&[seven.clone(), directory.clone()], ""));
    assert_eq!(names(&*store, LEVEL, None).await, (vec![ltx_name(7)], vec![]));
}

#[tokio::test]
async fn parts_of_blobs_are_what_was_asked_for_or_refused() {
    let part = |range: &str| Answer::new(206, "x", "23").with("Content-Range", range);
    let mut short = part("bytes 2-5/10");
    short.length = Some(4);
    let mut silent = part("bytes 2-5/10");
    silent.silent = true;
    for (given, expected) in [
        (Answer::new(200, "x", "0123456789"), "corrupt: answered with a different range than the one from byte 2"),
        (part("bytes 3-4/10"), "corrupt: answered with a different range than the one from byte 2"),
        (part("bytes 2-5/10"), "unreachable: the answer was cut short: 2 of the 4 bytes that it names"),
        (short, "unreachable: the connection broke"),
        (silent, "timeout: no answer"),
        (refusal(404, "ContainerNotFound", "x"), "not_found: no such container"),
        (refusal(404, "BlobNotFound", "x"), "not_found: no such blob"),
    ] {
        let (_server, store) = made_up(move |_| given.clone());
        let reason = read(&*store, ltx_name(7), 2, 4).await.unwrap_err();
        let told = format!("{}: {}", reason.kind.as_str(), reason.message.rsplit_once(".ltx: ").unwrap().1);
        assert!(told.starts_with(expected), "{told} is not {expected}");
    }
}
