//! Servers that refuse, hang, break off and lie. Each time the reason says which; nothing hangs, panics or is believed.
//! What the agent makes of such servers, and whether it recovers, is in `tests/hostile`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use streamgauge::domain::assessment::StoreReport;
use streamgauge::domain::litestream::{Folder, Layout, LevelKeys};
use streamgauge::domain::secret::Secret;
use streamgauge::domain::target::{ReplicaLocation, S3Location};
use streamgauge::infrastructure::store::{StoreOptions, Stores};
use streamgauge::usecase::ports::ReplicaStore;
use streamgauge::usecase::ports::Stores as _;
use streamgauge_testkit::http::{Answer, Request, Server};
use streamgauge_testkit::s3::{listing, serve_made_up};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::port::free_port;
use crate::{KEY, LEVEL, NAME, key, ltx_name, place, read, stores, told};

/// Short, so that what hangs does not hold up the tests; long enough for two attempts on a busy machine.
const IMPATIENT: Duration = Duration::from_secs(3);

fn impatient(port: u16) -> Arc<dyn ReplicaStore> {
    stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(place(port, "bkt", "app")))).unwrap()
}

/// A server that gives the same answer to everything, and the store of a replica on it.
fn always(answer: Answer) -> (Server, Arc<dyn ReplicaStore>) {
    let server = started(move |_| answer.clone());
    let store = impatient(server.port());
    (server, store)
}

fn answer(status: u16, body: &str) -> Answer {
    Answer::xml(status, body)
}

fn xml(body: &str) -> Answer {
    answer(200, body)
}

fn started(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(answer).unwrap()
}

async fn list_told(answer: Answer) -> String {
    let (_server, store) = always(answer);
    told(store.list(LEVEL, Some(ltx_name(5)), None).await.unwrap_err())
}

/// A server that does something to each connection.
async fn raw<F, A>(serve: F) -> Arc<dyn ReplicaStore>
where
    F: Fn(tokio::net::TcpStream) -> A + Send + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    impatient(port)
}

fn objects(keys: &[&str]) -> Vec<(String, i64)> {
    keys.iter().map(|key| ((*key).to_owned(), 4096)).collect()
}

#[tokio::test]
async fn a_poll_is_one_request_whatever_the_bucket_holds() {
    for count in [1, 1000, 5000] {
        let server = serve_made_up(count).unwrap();
        let store = impatient(server.port());
        let page = store.list(LEVEL, Some(ltx_name(count + 1)), None).await.unwrap();
        assert_eq!((page.objects.len(), page.next.is_none(), server.requests()), (0, true, 1), "{count}, none new");
        let page = store.list(LEVEL, Some(ltx_name(count)), None).await.unwrap();
        assert_eq!((page.objects[0].name, page.next.is_none(), server.requests()), (ltx_name(count), true, 2), "one");
    }
}

#[tokio::test]
async fn listings_that_contradict_themselves_are_corrupt() {
    let at = "corrupt: list s3://bkt/app/0000/: ";
    let outside = "key other/0000/7 is not below the prefix";
    let long = format!("app/0000/{}", "k".repeat(5000));
    let shown = format!("0000/{}…", "k".repeat(195));
    for (body, expected) in [
        (listing(&objects(&["app/0000/7", "app/0000/6"]), false), "key 0000/6 is not in ascending order".to_owned()),
        (listing(&objects(&["app/0000/7", "app/0000/7"]), true), "key 0000/7 is not in ascending order".to_owned()),
        (listing(&[(format!("app/{}", key(4)), 1)], false), format!("key {} is not in ascending order", key(4))),
        (listing(&objects(&["other/0000/7"]), false), outside.to_owned()),
        (listing(&objects(&[&long]), false), format!("key {shown} is too long")),
        (
            "<ListBucketResult></ListBucketResult>".to_owned(),
            "a listing that does not say whether it is complete".to_owned(),
        ),
        (
            "<ListBucketResult><Contents></Contents></ListBucketResult>".to_owned(),
            "key  is not below the prefix".to_owned(),
        ),
        (listing(&[], true), "an empty page that promises more".to_owned()),
        (listing(&[("app/0000/7".to_owned(), -1)], false), "key app/0000/7 has no valid size".to_owned()),
        (listing(&[("app/0000/7".to_owned(), i64::MAX)], false), format!("key 0000/7 cannot have {} bytes", i64::MAX)),
        (listing(&objects(&["app/0000/7"]), false).replace("2026-11-22T", "292277026596-11-22T"), String::new()),
        (
            listing(&objects(&["app/0000/7"]), false).replace("LastModified", "X"),
            "key app/0000/7 has no valid time".to_owned(),
        ),
    ] {
        let told = list_told(xml(&body)).await;
        assert!(told.starts_with(&format!("{at}{expected}")), "{told} is not {at}{expected}");
    }
}

/// Servers write a character that XML cannot have as a reference, which XML cannot have either.
#[tokio::test]
async fn a_key_that_no_document_can_hold_hides_none_beside_it() {
    let (odd, good) = ("app/0000/0000000000000004-\u{1}", format!("app/{}", key(5)));
    let body = listing(&[(odd.to_owned(), 1), (good, 4096)], false);
    for body in [body.replace('\u{1}', "&#x1;"), body.replace('\u{1}', "&#1;")] {
        let (_server, store) = always(xml(&body));
        let page = store.list(LEVEL, None, None).await.unwrap_or_else(|reason| panic!("{body}: {reason}"));
        assert_eq!((page.objects.len(), page.odd), (1, vec!["0000/0000000000000004-\u{1}".to_owned()]));
    }
}

#[tokio::test]
async fn answers_that_are_not_listings_are_corrupt() {
    for body in ["", "<", "<HtmlReport></HtmlReport>", "\0\u{1}\u{2}"] {
        let told = list_told(xml(body)).await;
        let expected = "corrupt: list s3://bkt/app/0000/: answer with status 200: ";
        assert!(told.starts_with(expected), "{body:?}: {told}");
        assert!(told.ends_with(" | check that the endpoint is an S3 server"), "{body:?}: {told}");
    }
    let unlikely = listing(&objects(&["app/0000/7"]), false);
    let mut nested = "<a>".repeat(200_000);
    nested.push_str(&unlikely);
    nested.push_str(&"</a>".repeat(200_000));
    assert!(list_told(xml(&nested)).await.starts_with("corrupt: "));
}

#[tokio::test]
async fn the_page_of_a_captive_portal_is_the_way_and_not_the_store() {
    let page = "<!DOCTYPE html><html><body>Welcome to our guest network!</body></html>";
    let hint = "a captive portal, a login page or a proxy is in the way, or the endpoint is not an S3 server";
    for status in [200, 403, 404, 511] {
        let (_server, store) = always(Answer::new(status, "text/html; charset=utf-8", page));
        let expected = |what: &str| format!("unreachable: {what}: answered with a web page (status {status}) | {hint}");
        let told_list = told(store.list(LEVEL, None, None).await.unwrap_err());
        if status < 500 {
            assert_eq!(told_list, expected("list s3://bkt/app/0000/"));
            assert_eq!(told(store.layouts().await.unwrap_err()), expected("list s3://bkt/app/"));
            assert_eq!(
                told(store.read(NAME, 0, 100).await.unwrap_err()),
                expected(&format!("read s3://bkt/app/{KEY}"))
            );
        } else {
            assert_eq!(told_list, "failed: list s3://bkt/app/0000/: status 511");
        }
    }
}

/// The SDK takes a document that breaks off for one that says less: fewer objects, and the end of the listing.
#[tokio::test]
async fn a_listing_that_is_cut_is_not_believed() {
    let whole = listing(&objects(&["app/0000/7", "app/0000/8"]), false);
    for end in [whole.len() - 1, whole.find("<Contents>").unwrap(), whole.rfind("</Key>").unwrap(), 60] {
        let (server, store) = always(xml(&whole[..end]));
        let told = told(store.list(LEVEL, None, None).await.unwrap_err());
        let expected =
            "unreachable: list s3://bkt/app/0000/: the answer was cut short: it ends before its last element does";
        assert_eq!(told, expected, "{end}");
        assert_eq!(server.requests(), 3, "it is asked again before that is said");
    }
    let folders = "<ListBucketResult><IsTruncated>false</IsTruncated><CommonPrefixes><Prefix>app/0000/</Prefix>\
                   </CommonPrefixes><CommonPrefixes><Prefix>app/00";
    let (_server, store) = always(xml(folders));
    let told = told(store.layouts().await.unwrap_err());
    assert!(told.starts_with("unreachable: list s3://bkt/app/: the answer was cut short"), "{told}");
}

#[tokio::test]
async fn an_answer_larger_than_any_listing_is_not_read_to_its_end() {
    let store = raw(|mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await);
        while stream.write_all(&[b' '; 65536]).await.is_ok() {}
    })
    .await;
    let told = told(store.list(LEVEL, None, None).await.unwrap_err());
    assert!(told.starts_with("corrupt: list s3://bkt/app/0000/: answer with status 200: length limit"), "{told}");
}

#[tokio::test]
async fn a_listing_of_folders_without_end_ends() {
    let folders = |names: &str, token: &str| {
        xml(&format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated>{names}\
             <NextContinuationToken>{token}</NextContinuationToken></ListBucketResult>"
        ))
    };
    let (_server, store) = always(folders("", "again"));
    let told_empty = told(store.layouts().await.unwrap_err());
    let (_server, store) = always(folders("<CommonPrefixes><Prefix>app/a/</Prefix></CommonPrefixes>", "again"));
    let told_same = told(store.layouts().await.unwrap_err());
    let (_server, store) = always(folders("<CommonPrefixes><Prefix>other/</Prefix></CommonPrefixes>", ""));
    let told_outside = told(store.layouts().await.unwrap_err());
    let at = "corrupt: list s3://bkt/app/: ";
    assert_eq!(told_empty, format!("{at}an endless listing of folders"));
    assert_eq!(told_same, format!("{at}an endless listing of folders"));
    assert_eq!(told_outside, format!("{at}other/ is not below the prefix"));
}

#[tokio::test]
async fn folders_are_followed_over_pages() {
    let server = started(|request| {
        let (name, more) = match request.parameter("continuation-token").as_deref() {
            None => ("0000", "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
            Some(_) => ("0009", "<IsTruncated>false</IsTruncated>"),
        };
        let folder = format!("<CommonPrefixes><Prefix>app/{name}/</Prefix></CommonPrefixes>");
        xml(&format!("<ListBucketResult>{folder}{more}</ListBucketResult>"))
    });
    let folders = impatient(server.port()).folders(Layout::V5(LevelKeys::Hex)).await.unwrap();
    assert_eq!(folders, [Folder::Level(0), Folder::Level(9)]);
}

#[tokio::test]
async fn contents_that_were_not_asked_for_are_corrupt() {
    let ranged = |status: u16, range: Option<&str>, body: &'static [u8]| {
        let answer = Answer::new(status, "application/octet-stream", body);
        match range {
            Some(range) => answer.with("content-range", range),
            None => answer,
        }
    };
    let at = &format!("corrupt: read s3://bkt/app/{KEY}: ");
    let told_cut =
        format!("unreachable: read s3://bkt/app/{KEY}: the answer was cut short: 4 of the 8 bytes that it names");
    let other = format!("{at}answered with a different range than the one from byte 100");
    for (offset, answer, expected) in [
        (0, ranged(206, Some("bytes 0-3/99"), b"1234"), Ok("1234")),
        (0, ranged(200, None, b"1234"), Ok("1234")),
        (0, ranged(200, None, b"123456789"), Err(format!("{at}answered with more than the 8 bytes asked for"))),
        (
            0,
            ranged(206, Some("bytes 0-7/99"), b"123456789"),
            Err(format!("{at}answered with more than the 8 bytes asked for")),
        ),
        (0, ranged(206, Some("bytes 0-7/99"), b"1234"), Err(told_cut)),
        (92, ranged(206, Some("bytes 92-98/99"), b"1234567"), Ok("1234567")),
        (100, ranged(200, None, b"1234"), Err(other.clone())),
        (100, ranged(206, Some("bytes 0-3/99"), b"1234"), Err(other.clone())),
        (100, ranged(206, Some("nonsense"), b"1234"), Err(other.clone())),
        (100, ranged(416, None, b"<Error><Code>InvalidRange</Code></Error>"), Ok("")),
    ] {
        let (_server, store) = always(answer);
        let read = read(&*store, NAME, offset, 8).await;
        assert_eq!(read.map_err(told), expected.map(Bytes::from));
    }
}

#[tokio::test]
async fn a_customers_key_is_sent_with_reads_alone() {
    let server = started(|request| {
        let sent = |name: &str| request.header(name).map(str::to_owned);
        let prefix = "x-amz-server-side-encryption-customer";
        let sent = ["algorithm", "key", "key-MD5"].map(|name| sent(&format!("{prefix}-{name}")));
        let listed = request.query().contains("list-type");
        let expected =
            ["AES256", CUSTOMER_KEY, "cLyPS3KoaSFGi/joRB3OUQ=="].map(|value| (!listed).then(|| value.to_owned()));
        let agreed = if listed { xml(&listing(&[], false)) } else { answer(200, "content") };
        if sent == expected { agreed } else { answer(403, "") }
    });
    // 32 zero bytes.
    const CUSTOMER_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let with_key =
        |key: &str| S3Location { sse_customer_key: Some(Secret::new(key)), ..place(server.port(), "bkt", "app") };
    let store = stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(with_key(CUSTOMER_KEY)))).unwrap();
    assert_eq!(read(&*store, NAME, 0, 100).await.unwrap(), "content");
    assert!(store.list(LEVEL, None, None).await.unwrap().objects.is_empty());
    let refused = stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(with_key("c2hvcnQ=")))).err().unwrap();
    assert_eq!(told(refused), "misconfigured: open s3://bkt: sse-customer-key is not the base64 of 32 bytes");
}

#[tokio::test]
async fn a_read_beyond_the_bound_is_refused_without_a_request() {
    let (server, store) = always(xml(""));
    let told = told(store.read(NAME, 0, u64::MAX).await.unwrap_err());
    let expected = format!("unsupported: read s3://bkt/app/{KEY}: 18446744073709551615 bytes, more than");
    assert!(told.starts_with(&expected), "{told}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let error = |status: u16, code: &str| answer(status, &format!("<Error><Code>{code}</Code></Error>"));
    let moved = error(301, "PermanentRedirect")
        .with("x-amz-bucket-region", "eu-west-1")
        .with("location", "http://127.0.0.1:1/");
    for (answer, expected) in [
        (error(403, "AccessDenied"), "denied: PLACE: access denied | grant s3:ListBucket on bucket bkt"),
        (answer(403, ""), "denied: PLACE: access denied | grant s3:ListBucket on bucket bkt"),
        (error(400, "ExpiredToken"), "denied: PLACE: the credentials have expired | renew the credentials"),
        (moved, "misconfigured: PLACE: the bucket is in another region | set region to eu-west-1"),
        (error(404, "NoSuchBucket"), "not_found: PLACE: no such bucket | check that bucket bkt exists"),
        (error(501, "NotImplemented"), "unsupported: PLACE: the store does not know this request"),
        (error(503, "SlowDown"), "throttled: PLACE: the store asks to slow down"),
    ] {
        assert_eq!(list_told(answer).await, expected.replace("PLACE", "list s3://bkt/app/0000/"));
    }
}

/// The store says what it is, and a permission is no remedy.
#[tokio::test]
async fn a_stores_own_words_are_kept_without_what_it_was_sent() {
    let server = started(|request| {
        let sent = request.header("authorization");
        let said = format!("Transaction cap exceeded\nfor {}. {}", sent.unwrap(), "See the Caps page. ".repeat(50));
        let body = format!("<Error><Code>AccessDenied</Code><Message>{said}</Message></Error>");
        answer(403, &body)
    });
    let told = told(impatient(server.port()).list(LEVEL, None, None).await.unwrap_err());
    let expected =
        "denied: list s3://bkt/app/0000/: refused; the store says: Transaction cap exceeded\\nfor [redacted]. See";
    assert!(told.starts_with(expected), "{told}");
    assert!(told.chars().count() < 300 && told.ends_with('…'), "{told}");
}

#[tokio::test]
async fn a_store_that_asks_to_be_left_alone_is_not_asked_meanwhile() {
    let server = started(|_| answer(503, "<Error><Code>ServiceUnavailable</Code></Error>").with("retry-after", "60"));
    // Other replicas there are the same server's.
    let stores = stores(IMPATIENT);
    for path in ["app", "app", "other"] {
        let store = stores.open(&ReplicaLocation::S3(Box::new(place(server.port(), "bkt", path)))).unwrap();
        let told = told(store.list(LEVEL, None, None).await.unwrap_err());
        let expected = format!("throttled: list s3://bkt/{path}/0000/: the store asks to slow down");
        assert!(told.starts_with(&expected), "{told}");
    }
    assert_eq!(server.requests(), 1);
}

/// The SDK adds the difference to its own clock and panics where that makes a year of five digits, for ever.
#[tokio::test]
async fn a_date_that_no_clock_says_does_not_blind_the_client() {
    for date in ["Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Sat, 01 Jan 2101 00:00:00 GMT"] {
        let server = started(move |_| xml(&listing(&objects(&["app/0000/7"]), false)).with("date", date));
        let store = impatient(server.port());
        for _ in 0..3 {
            assert_eq!(store.list(LEVEL, None, None).await.unwrap().odd.len(), 1, "{date}");
            // The second that is missing to the year 10000.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
    }
}

#[tokio::test]
async fn a_profile_that_does_not_exist_is_named() {
    let profile = Some("no-such-profile".to_owned());
    let place = S3Location { credentials: None, profile, ..place(1, "bkt", "app") };
    let store = stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(place))).unwrap();
    let told = told(store.list(LEVEL, None, None).await.unwrap_err());
    let expected =
        "denied: list s3://bkt/app/0000/: no usable credentials in profile no-such-profile | check the profile";
    assert!(told.starts_with(expected), "{told}");
}

#[tokio::test]
async fn a_store_that_recovers_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let server = started(move |_| {
        let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
        if first { answer(500, "") } else { xml(&listing(&objects(&["app/0000/7"]), false)) }
    });
    assert_eq!(impatient(server.port()).list(LEVEL, None, None).await.unwrap().odd.len(), 1);
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let port = free_port();
    let told = told(impatient(port).list(LEVEL, None, None).await.unwrap_err());
    assert_eq!(told, "unreachable: list s3://bkt/app/0000/: connection refused");
    let nowhere = S3Location { endpoint: Some("http://no.such.host.invalid".to_owned()), ..place(1, "bkt", "app") };
    let store = stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(nowhere))).unwrap();
    let kind = store.list(LEVEL, None, None).await.unwrap_err().kind;
    // A resolver that does not answer is as good.
    assert!(["unreachable", "timeout"].contains(&kind.as_str()), "{}", kind.as_str());
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_misconfigured() {
    for endpoint in ["not a url", "ftp://", "minio:9000"] {
        let place = S3Location { endpoint: Some(endpoint.to_owned()), ..place(1, "bkt", "app") };
        let store = stores(IMPATIENT).open(&ReplicaLocation::S3(Box::new(place))).unwrap();
        let refused = store.list(LEVEL, None, None).await.unwrap_err();
        assert_eq!(refused.kind.as_str(), "misconfigured", "{endpoint}: {refused}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_times_out() {
    let store = raw(|stream| async move {
        let _open = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let told = told(store.list(LEVEL, None, None).await.unwrap_err());
    assert!(told.starts_with("timeout: list s3://bkt/app/0000/: no answer"), "{told}");
}

#[tokio::test]
async fn a_server_that_stops_in_the_middle_times_out() {
    let store = raw(|mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-99/100\r\ncontent-length: 100\r\n\r\nbegin";
        drop(stream.write_all(head.as_bytes()).await);
        std::future::pending::<()>().await;
    })
    .await;
    let told_read = told(store.read(NAME, 0, 100).await.unwrap_err());
    assert!(told_read.starts_with(&format!("timeout: read s3://bkt/app/{KEY}: no answer")), "{told_read}");
    let told_list = told(store.list(LEVEL, None, None).await.unwrap_err());
    assert!(told_list.starts_with("timeout: list s3://bkt/app/0000/: no answer"), "{told_list}");
}

#[tokio::test]
async fn a_connection_that_breaks_is_unreachable() {
    let resets = raw(|mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
    })
    .await;
    let told_reset = told(resets.list(LEVEL, None, None).await.unwrap_err());
    assert!(told_reset.starts_with("unreachable: list s3://bkt/app/0000/: "), "{told_reset}");

    let cuts = raw(|mut stream| async move {
        drop(stream.read(&mut [0; 4096]).await);
        let head = "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-99/100\r\ncontent-length: 100\r\n\r\nbegin";
        drop(stream.write_all(head.as_bytes()).await);
    })
    .await;
    let told_read = told(cuts.read(NAME, 0, 100).await.unwrap_err());
    let expected = format!("unreachable: read s3://bkt/app/{KEY}: the connection broke");
    assert!(told_read.starts_with(&expected), "{told_read}");
    let told_list = told(cuts.list(LEVEL, None, None).await.unwrap_err());
    assert!(told_list.starts_with("unreachable: list s3://bkt/app/0000/: the connection broke"), "{told_list}");
}

#[tokio::test]
async fn calls_in_flight_are_bounded_over_all_stores() {
    let (current, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let server = started(move |_| {
        most.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        current.fetch_sub(1, Ordering::SeqCst);
        xml(&listing(&[], false))
    });
    let stores = Stores::new(StoreOptions { timeout: Duration::from_secs(60), concurrency: 3, ca_file: None });
    let calls = (0..20).map(|replica| {
        let place = place(server.port(), "bkt", &format!("app{replica}"));
        let store = stores.open(&ReplicaLocation::S3(Box::new(place))).unwrap();
        async move { store.list(LEVEL, None, None).await.unwrap() }
    });
    futures_util::future::join_all(calls).await;
    assert_eq!(seen.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn what_is_asked_is_counted_by_kind_of_store() {
    let server = started(|request| {
        let listed = request.query().contains("list-type");
        if listed { xml(&listing(&[], false)) } else { answer(403, "") }
    });
    let root = tempfile::tempdir().unwrap();
    let level = root.path().join("ltx/0");
    std::fs::create_dir_all(&level).unwrap();
    std::fs::write(root.path().join(NAME.key(LevelKeys::Plain)), "12345").unwrap();
    let stores = stores(IMPATIENT);
    let s3 = stores.open(&ReplicaLocation::S3(Box::new(place(server.port(), "bkt", "app")))).unwrap();
    let file = stores.open(&ReplicaLocation::Directory(root.path().to_owned())).unwrap();
    s3.list(LEVEL, None, None).await.unwrap();
    s3.list(LEVEL, None, None).await.unwrap();
    s3.read(NAME, 0, 9).await.unwrap_err();
    file.read(NAME, 0, 9).await.unwrap();
    let counted: Vec<String> = stores
        .report()
        .iter()
        .flat_map(|store| {
            store.operations.iter().map(|operation| {
                let timed: u64 = operation.duration.counts.iter().sum();
                assert_eq!(timed, operation.requests);
                format!(
                    "{} {} {} {:?}",
                    store.store.as_str(),
                    operation.operation,
                    operation.requests,
                    operation.failures
                )
            })
        })
        .collect();
    assert_eq!(
        counted,
        [
            "file list 0 []",
            "file folders 0 []",
            "file read 1 []",
            "file write 0 []",
            "file posture 0 []",
            "s3 list 2 []",
            "s3 folders 0 []",
            r#"s3 read 1 [("denied", 1)]"#,
            "s3 write 0 []",
            "s3 posture 0 []",
        ]
    );
    let received: Vec<u64> = stores.report().iter().map(|store| store.received_bytes).collect();
    assert_eq!(received, [5, 0]);
}

/// A server whose clock is `ahead` seconds ahead and that answers with `status`.
async fn asked_twelve_times(ahead: i64, status: u16) -> StoreReport {
    let server = started(move |_| {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now).unwrap();
        answer(status, &listing(&[], false)).with("date", &date)
    });
    let stores = stores(Duration::from_secs(60));
    let store = stores.open(&ReplicaLocation::S3(Box::new(place(server.port(), "bkt", "app")))).unwrap();
    for _ in 0..12 {
        assert_eq!(store.list(LEVEL, None, None).await.is_ok(), status == 200);
    }
    stores.report().remove(0)
}

#[tokio::test]
async fn clocks_and_failures_of_a_server_are_told_from_its_answers() {
    let right = asked_twelve_times(0, 200).await;
    assert_eq!((right.clock_offset_seconds, right.failure_ratio()), (Some(0.0), Some(0.0)));
    // A second that is not over, and the time that a request takes on a busy machine, are not the server's fault.
    let ahead = asked_twelve_times(600, 200).await.clock_offset_seconds.unwrap();
    assert!((590.0..=600.0).contains(&ahead), "{ahead}");
    let behind = asked_twelve_times(-600, 403).await;
    assert!((-600.0..=-590.0).contains(&behind.clock_offset_seconds.unwrap()), "{behind:?}");
    assert_eq!(behind.failure_ratio(), Some(1.0));
    // That something is not there is an answer.
    assert_eq!(asked_twelve_times(0, 404).await.failure_ratio(), Some(0.0));
}
