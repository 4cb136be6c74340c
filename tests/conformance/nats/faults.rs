//! What goes wrong between the agent and a NATS server, and what it says of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use streamgauge::domain::places::NatsLocation;
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::ReplicaLocation;
use streamgauge::usecase::ports::{ReplicaStore, Stores as _};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::fake::{Fake, Message, status, stored, stream};
use super::{BUCKET, Nats, described, key, names, open, put};
use crate::proxy::{After, End, Proxy, Way};
use crate::{LEVEL, NAME, ltx_name, read, stores, told};

const IMPATIENT: Duration = Duration::from_secs(2);

fn impatient(place: NatsLocation) -> std::sync::Arc<dyn ReplicaStore> {
    stores(IMPATIENT).open(&ReplicaLocation::Nats(Box::new(place))).unwrap()
}

/// Why a listing failed, and that it did not take longer than it may.
async fn list_told(place: NatsLocation) -> String {
    let store = impatient(place);
    let begun = Instant::now();
    let told = told(store.list(LEVEL, None, None).await.unwrap_err());
    assert!(begun.elapsed() < 4 * IMPATIENT, "{told}");
    assert!(!told.contains(super::PASSWORD), "{told}");
    told.replace(&format!("nats://127.0.0.1:{}", port(&told)), "nats://HOST")
}

fn port(told: &str) -> &str {
    told.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

const PLACE: &str = "list nats://HOST/bkt/ltx/0/";

#[tokio::test]
async fn a_server_that_does_not_listen_or_answer_says_so_in_time() {
    let nowhere =
        |server: &str| NatsLocation { server: server.to_owned(), bucket: BUCKET.to_owned(), ..NatsLocation::default() };
    let refused = list_told(nowhere(&format!("127.0.0.1:{}", super::free_port()))).await;
    assert_eq!(refused, format!("unreachable: {PLACE}: connection refused"));
    let unknown = list_told(nowhere("no.such.host.invalid:4222")).await;
    assert!(unknown.starts_with("unreachable: ") || unknown.starts_with("timeout: "), "{unknown}");
    for odd in ["127.0.0.1:port", "a b", "[::1"] {
        let told = list_told(nowhere(odd)).await;
        assert!(told.starts_with("misconfigured: ") || told.starts_with("unreachable: "), "{odd}: {told}");
    }
    // Accepts, and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let told = list_told(nowhere(&silent.local_addr().unwrap().to_string())).await;
    assert_eq!(told, format!("timeout: {PLACE}: no connection in time"));
    // Something else.
    let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = http.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = http.accept().await {
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    let told = list_told(nowhere(&address)).await;
    assert!(told.starts_with("unreachable: "), "{told}");
    // Lets one in, and answers nothing.
    let mute = Fake::start("2.15.1", |_, _| Some(Vec::new())).await;
    assert_eq!(list_told(mute.place()).await, format!("timeout: {PLACE}: no answer within 2 s"));
    // Closes the connection at the first request.
    let rude = Fake::start("2.15.1", |_, _| None).await;
    assert_eq!(list_told(rude.place()).await, format!("unreachable: {PLACE}: the connection broke"));
    // And is not logged in to with every call.
    let (store, before) = (impatient(rude.place()), rude.connections.load(Ordering::SeqCst));
    for _ in 0..50 {
        let reason = store.list(LEVEL, None, None).await.unwrap_err().to_string();
        assert!(reason.ends_with("the connection broke"), "{reason}");
    }
    let logins = rude.connections.load(Ordering::SeqCst) - before;
    assert!(logins <= 4, "{logins} logins");
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_asked_over_and_over_and_found_again() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    let accepted = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = accepted.clone();
    tokio::spawn(async move {
        while gone.accept().await.is_ok() {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    let stores = stores(IMPATIENT);
    let place = |bucket: &str| NatsLocation {
        server: address.to_string(),
        bucket: bucket.to_owned(),
        ..NatsLocation::default()
    };
    let begun = Instant::now();
    let calls = (0..50).map(|index| {
        let store = stores.open(&ReplicaLocation::Nats(Box::new(place(&format!("bkt{index}"))))).unwrap();
        async move { store.list(LEVEL, None, None).await.unwrap_err().kind.as_str() }
    });
    let kinds = futures_util::future::join_all(calls).await;
    assert!(kinds.iter().all(|kind| ["unreachable", "timeout"].contains(kind)), "{kinds:?}");
    let attempts = accepted.load(Ordering::SeqCst);
    assert!(attempts <= 3, "{attempts} connections for 50 replicas in {:?}", begun.elapsed());

    // Restarted, with everything it had.
    let nats = Nats::with_bucket().await;
    put(&nats.context().await.get_object_store(BUCKET).await.unwrap(), &key(NAME), b"x").await;
    let proxy = Proxy::start(nats.server.port);
    let store = impatient(NatsLocation { server: proxy.address(), ..nats.place() });
    assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
    proxy.set(Way::Open);
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(reason) = store.list(LEVEL, None, None).await {
        assert_eq!(reason.kind.as_str(), "unreachable", "{reason}");
        assert!(Instant::now() < deadline, "{reason}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_one() {
    let nats = Nats::with_bucket().await;
    let bucket = nats.context().await.get_object_store(BUCKET).await.unwrap();
    for txid in 1..=50 {
        put(&bucket, &key(ltx_name(txid)), &[7; 1000]).await;
    }
    for most in [10, 500, 2000, 5000] {
        let proxy = Proxy::start(nats.server.port);
        proxy.set(Way::Ends(After::Each(most), End::Reset));
        let told = list_told(NatsLocation { server: proxy.address(), ..nats.place() }).await;
        assert!(told.starts_with(&format!("unreachable: {PLACE}: ")), "{told}");
    }
    put(&bucket, &key(NAME), &[7; 500_000]).await;
    let proxy = Proxy::start(nats.server.port);
    proxy.set(Way::Ends(After::Each(200_000), End::Reset));
    let store = impatient(NatsLocation { server: proxy.address(), ..nats.place() });
    let told = told(read(&*store, NAME, 0, 500_000).await.unwrap_err());
    assert!(told.starts_with("unreachable: read ") && told.ends_with("the connection broke"), "{told}");
}

/// Before 2.11 a server answers a request for many with one, and before 2.10.15 listings by other means may hang.
#[tokio::test]
async fn an_old_server_is_to_be_upgraded() {
    let old = Fake::start("2.9.10", |subject, _| {
        let one = stored(1, &described("ltx/0/x"), r#"{"name":"ltx/0/x","deleted":true}"#, "");
        Some(if subject.contains("INFO") { stream(1) } else { vec![one] })
    })
    .await;
    let hint = "upgrade nats-server to 2.11 or later";
    let expected = format!("unsupported: {PLACE}: nats-server 2.9.10 cannot list an object store | {hint}");
    assert_eq!(list_told(old.place()).await, expected);
}

#[tokio::test]
async fn what_no_server_should_answer_is_not_believed() {
    let answering = |answers: fn() -> Vec<Message>| async move {
        let fake = Fake::start("2.15.1", move |subject, _| {
            Some(if subject.contains("INFO") { stream(1000) } else { answers() })
        })
        .await;
        list_told(fake.place()).await
    };
    fn one(sequence: u64, more: &str) -> Message {
        stored(sequence, &described("ltx/0/x"), r#"{"name":"ltx/0/x"}"#, more)
    }
    const PENDING: &str = "\r\nNats-Num-Pending: 9";
    for (answers, expected) in [
        // Nothing, again and again.
        (
            (|| vec![status("204 EOB", PENDING)]) as fn() -> Vec<Message>,
            "corrupt: PLACE: a listing that makes no progress",
        ),
        (|| vec![one(5, PENDING), one(5, PENDING)], "corrupt: PLACE: messages that are not in ascending order"),
        (|| vec![one(7, PENDING), one(6, PENDING)], "corrupt: PLACE: messages that are not in ascending order"),
        (|| vec![status("408 Bad Request", "")], "failed: PLACE: status 408, Bad Request"),
        (|| vec![status("429 Too Many Requests", "")], "throttled: PLACE: status 429, Too Many Requests"),
        (|| vec![one(5, PENDING), status("503", "")], "unreachable: PLACE: no server answers for the bucket's stream"),
        // The end never comes.
        (|| vec![one(5, PENDING)], "timeout: PLACE: no answer within 2 s"),
    ] {
        assert_eq!(answering(answers).await, expected.replace("PLACE", PLACE));
    }
    let strange =
        Fake::start("2.15.1", |_, _| Some(vec![Message { headers: String::new(), payload: b"{}".to_vec() }])).await;
    let told = list_told(strange.place()).await;
    assert_eq!(told, format!("corrupt: {PLACE}: an answer that is not one of JetStream"));
    let busy = Fake::start("2.15.1", |_, _| {
        let payload =
            br#"{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}"#;
        Some(vec![Message { headers: String::new(), payload: payload.to_vec() }])
    })
    .await;
    let told = list_told(busy.place()).await;
    assert_eq!(told, format!("unreachable: {PLACE}: the server says: JetStream system temporarily unavailable"));
}

#[tokio::test]
async fn a_server_without_jetstream_or_direct_get_says_what_to_change() {
    let nats = Nats::with_bucket().await;
    let context = nats.context().await;
    let mut config = context.get_stream(format!("OBJ_{BUCKET}")).await.unwrap().get_info().await.unwrap().config;
    config.allow_direct = false;
    context.update_stream(config).await.unwrap();
    put(&context.get_object_store(BUCKET).await.unwrap(), &key(NAME), b"x").await;
    let hint = "nats stream edit OBJ_bkt --allow-direct";
    let expected = format!("misconfigured: {PLACE}: the bucket's stream does not allow direct get | {hint}");
    assert_eq!(list_told(nats.place()).await, expected);
    let told = told(read(&*open(nats.place()), NAME, 0, 1).await.unwrap_err());
    assert!(told.starts_with("misconfigured: read ") && told.ends_with(hint), "{told}");

    let none = crate::servers::Server::start(|port, _| {
        let mut command = std::process::Command::new(crate::servers::program("nats-server"));
        command.args(["-a", "127.0.0.1", "-p", &port.to_string()]);
        command
    });
    let place =
        NatsLocation { server: format!("127.0.0.1:{}", none.port), bucket: BUCKET.to_owned(), ..Default::default() };
    let told = list_told(place).await;
    assert!(
        told.starts_with(&format!("misconfigured: {PLACE}: the server has no JetStream for this account")),
        "{told}"
    );
}

/// A first listing that takes longer than one call may goes on where it was.
#[tokio::test]
async fn a_long_first_listing_goes_on_where_it_was() {
    const PENDING: &str = "\r\nNats-Num-Pending: 9";
    let marker = |sequence| stored(sequence, &described("ltx/0/x"), r#"{"name":"ltx/0/x","deleted":true}"#, PENDING);
    let slow = Fake::start("2.15.1", move |subject, request| {
        let request = String::from_utf8_lossy(request);
        Some(match subject.contains("INFO") {
            true => stream(10),
            // The third message does not come in time.
            false if request.contains("\"seq\":1,") => vec![marker(1), marker(2)],
            false => {
                assert!(request.contains("\"seq\":3,"), "{request}");
                let name = key(NAME);
                let last = stored(3, &described(&name), &format!(r#"{{"name":"{name}"}}"#), PENDING);
                vec![last, status("204 EOB", "\r\nNats-Num-Pending: 0")]
            }
        })
    })
    .await;
    let store = impatient(slow.place());
    assert_eq!(store.list(LEVEL, None, None).await.unwrap_err().kind.as_str(), "timeout");
    assert_eq!(names(&*store, LEVEL, None).await.0, [NAME]);
    assert_eq!(slow.connections.load(Ordering::SeqCst), 1);
}

/// Three servers, of which the named one goes away: the others are found, as Litestream finds them.
#[tokio::test]
async fn another_server_of_the_cluster_is_asked_when_one_is_gone() {
    let routes: Vec<u16> = (0..3).map(|_| super::free_port()).collect();
    let all: Vec<String> = routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
    let start = |number: usize| {
        let cluster = format!(
            "cluster {{ name: lab, listen: \"127.0.0.1:{}\", routes: {all:?} }}\n\
             authorization {{ user: {}, password: {} }}",
            routes[number],
            super::USER,
            super::PASSWORD
        );
        Nats::named(&format!("lab{number}"), &cluster)
    };
    let mut servers: Vec<Nats> = (0..3).map(start).collect();
    let context = servers[0].context().await;
    let deadline = Instant::now() + Duration::from_secs(60);
    let bucket = loop {
        let config = async_nats::jetstream::object_store::Config {
            bucket: BUCKET.to_owned(),
            num_replicas: 3,
            ..Default::default()
        };
        match context.create_object_store(config).await {
            Ok(bucket) => break bucket,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let store = open(servers[0].place());
    // Written through one server, and looked for through whichever answers: what is there is never said to be damaged.
    for txid in 1..=100 {
        put(&bucket, &key(ltx_name(txid)), &[7; 200_000]).await;
        let found = names(&*store, LEVEL, None).await.0;
        // A server that is behind has what came first, without holes.
        assert!(found.len() as u64 <= txid, "{} of {txid}", found.len());
        assert!(found.iter().copied().eq((1..=found.len() as u64).map(ltx_name)), "{found:?}");
        let newest = *found.last().unwrap_or(&NAME);
        if !found.is_empty() {
            assert_eq!(read(&*store, newest, 0, 200_000).await.unwrap().len(), 200_000);
        }
    }
    let store = impatient(servers[0].place());
    // Whichever answers may be behind the others.
    let deadline = Instant::now() + Duration::from_secs(60);
    while names(&*store, LEVEL, None).await.0.len() != 100 {
        assert!(Instant::now() < deadline, "some are never listed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(servers.remove(0));
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match store.list(LEVEL, None, None).await {
            Ok(page) if page.objects.len() == 100 => break,
            Ok(page) => assert!(Instant::now() < deadline, "{} of 100", page.objects.len()),
            // What is asked while the others elect a leader may never be answered.
            Err(reason) => {
                let electing = matches!(reason.kind, ReasonKind::Unreachable | ReasonKind::Timeout);
                assert!(electing && Instant::now() < deadline, "{reason}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
