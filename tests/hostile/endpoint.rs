//! Clients that only want to be in the way of others.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rusqlite::Connection;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream as TokioStream};
use tokio::task::JoinHandle;

use super::lab::agent::Agent;
use super::lab::certificates::Certificate;
use super::lab::{command, http, wait_for};

fn database(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES (1)").unwrap();
    connection
}

fn watching(settings: &str, databases: &[PathBuf]) -> String {
    let entries = databases.iter().map(|path| format!("[[database]]\npath = {path:?}\n"));
    format!("{settings}\n{}", entries.collect::<String>())
}

/// Each of several scrapes is answered, however long that takes.
fn scrapes(agent: &Agent, count: usize) {
    for number in 0..count {
        let answer = http::get(&agent.address, "/metrics", &[]);
        let answer = answer.unwrap_or_else(|error| panic!("scrape {number}: {error}"));
        assert!(answer.text().contains("\nstreamgauge_database_up{"), "scrape {number}: {}", answer.text());
    }
}

/// Connects from an address of this host, with a small window: what is not read does not leave the server.
async fn connect_from(source: [u8; 4], address: SocketAddr) -> TokioStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(address).await.unwrap()
}

/// Ten thousand connections that say nothing, three thousand of them from one address, and a thousand that ask for much
/// and read little or nothing of it.
async fn crowd(address: SocketAddr) -> Vec<TokioStream> {
    let mut crowd = Vec::new();
    for number in 0..10_000_u16 {
        let [high, low] = number.to_be_bytes();
        let source = if number % 10 < 3 { [127, 9, 9, 9] } else { [127, 1, high, low.max(1)] };
        crowd.push(connect_from(source, address).await);
        // Not faster than an unoptimized server on a busy machine can take them out of the queue.
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for number in 0..1_000_u16 {
        let [high, low] = number.to_be_bytes();
        let mut stream = connect_from([127, 2, high, low.max(1)], address).await;
        let sent = stream.write_all("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(30).as_bytes()).await;
        // It may have given way already.
        drop(sent);
        crowd.push(stream);
    }
    crowd
}

fn resident_bytes(agent: &Agent) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", agent.process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn ten_thousand_silent_and_a_thousand_slow_clients_fail_no_scrape() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let agent = Agent::start(home.path(), &watching("", &[path]), &[]);
    agent.wait_until_ready();
    let before = resident_bytes(&agent);
    let (over, address) = (Arc::new(AtomicBool::new(false)), agent.address.parse().unwrap());
    let clients = thread::spawn({
        let over = Arc::clone(&over);
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut crowd = crowd(address).await;
                while !over.load(Ordering::Relaxed) {
                    // A little each second: to the server they are never quite dead.
                    crowd.iter_mut().skip(10_500).for_each(|stream| drop(stream.try_read(&mut [0; 64])));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            });
        }
    });
    let (mut took, mut most, mut descriptors) = (Vec::new(), 0, 0);
    for _ in 0..18 {
        let begun = Instant::now();
        scrapes(&agent, 1);
        took.push(begun.elapsed());
        most = most.max(resident_bytes(&agent));
        descriptors = descriptors.max(fs::read_dir(format!("/proc/{}/fd", agent.process.pid())).unwrap().count());
        thread::sleep(Duration::from_secs(1).saturating_sub(begun.elapsed()));
    }
    over.store(true, Ordering::Relaxed);
    clients.join().unwrap();
    took.sort();
    let grown = most.saturating_sub(before) >> 20;
    println!(
        "scrapes took {:?} at most, {:?} in the middle; {grown} MiB more; {descriptors} descriptors",
        took[17], took[9]
    );
    // As long as Prometheus waits.
    assert!(took[17] < Duration::from_secs(10), "{took:?}");
    assert!(descriptors < 4096 + 256 + 200, "{descriptors} descriptors");
    assert!(descriptors > 1_000, "{descriptors} descriptors: there was no crowd");
    assert!(grown < 48, "{grown} MiB more");
}

/// Asks for the whole report, and takes a little of it now and then. What is returned is its entity tag.
async fn read_slowly(address: SocketAddr, over: Arc<AtomicBool>) -> String {
    let mut stream = connect_from([127, 0, 0, 1], address).await;
    stream.write_all(b"GET /api/v1/report HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let (mut tag, mut some) = (String::new(), vec![0; 16 << 10]);
    while !over.load(Ordering::Relaxed) {
        // It may have given way.
        let Ok(count @ 1..) = stream.read(&mut some).await else { break };
        let head = String::from_utf8_lossy(&some[..count]).to_lowercase();
        if let Some((_, rest)) = head.split_once("etag: ") {
            tag = rest.lines().next().unwrap_or_default().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    tag
}

/// Each of them reads another report, which is large.
#[test]
fn slow_readers_of_large_reports_that_change_keep_little_in_memory() {
    const DATABASES: usize = 900;
    const READERS: usize = 30;
    let home = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..DATABASES).map(|number| home.path().join(format!("database-{number}.db"))).collect();
    drop(database(&paths[0]));
    for path in &paths[1..] {
        fs::copy(&paths[0], path).unwrap();
    }
    let writer = Connection::open(&paths[0]).unwrap();
    let agent = Agent::start(home.path(), &watching("[watch]\npoll-interval = \"200ms\"\n", &paths), &[]);
    agent.wait_until_ready();
    let whole = || http::get(&agent.address, "/api/v1/report", &[]).unwrap().text().len();
    let length = whole();
    scrapes(&agent, 2);
    let (before, mut most) = (resident_bytes(&agent), 0);
    let (over, address) = (Arc::new(AtomicBool::new(false)), agent.address.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let reader = runtime.spawn(read_slowly(address, Arc::clone(&over)));
            for _ in 0..5 {
                writer.execute_batch("INSERT INTO t VALUES (3)").unwrap();
                thread::sleep(Duration::from_millis(200));
            }
            most = most.max(resident_bytes(&agent));
            reader
        })
        .collect();
    scrapes(&agent, 1);
    assert!(whole() > length / 2, "who reads at once has all of it");
    over.store(true, Ordering::Relaxed);
    let tags = readers.into_iter().map(|reader| runtime.block_on(reader).unwrap());
    let tags: std::collections::BTreeSet<_> = tags.collect();
    let grown = most.saturating_sub(before) >> 20;
    println!("{} reports of {} KiB were read; {grown} MiB more", tags.len(), length >> 10);
    assert!(tags.len() > READERS / 2 && tags.len() * length > 60 << 20, "{} reports of {length} bytes", tags.len());
    assert!(grown < 60, "{grown} MiB more");
}

#[test]
fn connections_that_say_nothing_or_little_keep_no_scrape_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let agent = Agent::start(home.path(), &watching("", &[path]), &[]);
    agent.wait_until_ready();
    let connect = |address: &str| TcpStream::connect(address).unwrap();
    let silent: Vec<_> = (0..4_000).map(|_| connect(&agent.address)).collect();
    scrapes(&agent, 5);

    let (over, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let chatty = thread::spawn({
        let (address, over, asked) = (agent.address.clone(), Arc::clone(&over), Arc::clone(&asked));
        move || {
            let mut streams: Vec<_> = (0..256).map(|_| connect(&address)).collect();
            while !over.load(Ordering::Relaxed) {
                for stream in &mut streams {
                    let mut answer = [0; 512];
                    let sent = stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
                    if sent.is_err() || !stream.read(&mut answer).is_ok_and(|count| count > 0) {
                        *stream = connect(&address);
                    }
                }
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    wait_for("the chatty ones", || asked.load(Ordering::Relaxed) > 1);
    scrapes(&agent, 30);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", agent.process.pid())).unwrap().count();
    assert!(descriptors < 400, "{descriptors} descriptors");
    over.store(true, Ordering::Relaxed);
    chatty.join().unwrap();
    drop(silent);
}

/// With few descriptors it is the connections that have to do with fewer, and no database is called unreadable for it.
#[test]
fn connections_take_no_descriptor_that_a_database_needs() {
    let home = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..20).map(|number| home.path().join(format!("db{number}.db"))).collect();
    let open: Vec<_> = paths.iter().map(|path| database(path)).collect();
    let mut limited = command("sh");
    limited.args(["-c", "ulimit -n 96 && exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_streamgauge")]);
    let settings = "[watch]\npoll-interval = \"200ms\"\nsweep-interval = \"1s\"\n";
    let agent = Agent::start_by(limited, home.path(), &watching(settings, &paths), &home.path().join("storage"), &[]);
    agent.wait_until_ready();
    let streams: Vec<_> = (0..300).map(|_| TcpStream::connect(&agent.address).unwrap()).collect();
    for round in 0..30 {
        open.iter().for_each(|connection| connection.execute_batch("INSERT INTO t VALUES (2)").unwrap());
        let metrics = agent.metrics();
        let up = metrics.lines().filter(|line| line.starts_with("streamgauge_database_up{"));
        let up: Vec<_> = up.filter(|line| line.ends_with(" 1.0") || line.ends_with(" 1")).collect();
        assert_eq!(up.len(), paths.len(), "round {round}: {metrics}\n{}", agent.process.log());
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(agent.process.log_lines("Too many open files"), 0, "{}", agent.process.log());
    drop(streams);
}

#[test]
fn reloads_without_end_are_few_and_keep_no_scrape_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let agent = Agent::start(home.path(), &watching("", &[path]), &[]);
    agent.wait_until_ready();
    let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let reloading: Vec<_> = (0..64)
        .map(|_| {
            let (address, over, done) = (agent.address.clone(), Arc::clone(&over), Arc::clone(&done));
            thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let Ok(answer) = http::request("POST", &address, "/-/reload", &[], b"") else { continue };
                    assert!(matches!(answer.status, 200 | 429), "{}: {}", answer.status, answer.text());
                    done.fetch_add(usize::from(answer.status == 200), Ordering::Relaxed);
                }
            })
        })
        .collect();
    wait_for("many answers", || {
        scrapes(&agent, 1);
        done.load(Ordering::Relaxed) > 500
    });
    over.store(true, Ordering::Relaxed);
    reloading.into_iter().for_each(|thread| thread.join().unwrap());
    let (answers, reads) = (done.load(Ordering::Relaxed), agent.process.log_lines("configuration reloaded"));
    assert!(reads * 4 < answers, "{answers} answers by {reads} readings");
}

type Client = http2::SendRequest<Empty<Bytes>>;

/// Speaks HTTP/2 over TLS with streams that may hold so much, and pings every few seconds. Also returns the connection.
async fn http2_client(address: &str, authority: &Path, window: u32) -> (Client, JoinHandle<hyper::Result<()>>) {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TokioStream::connect(address).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).initial_stream_window_size(window);
    builder.keep_alive_interval(Duration::from_secs(5)).keep_alive_while_idle(true);
    let (client, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
    (client, tokio::spawn(connection))
}

async fn ask(client: &mut Client) -> hyper::Result<::http::Response<hyper::body::Incoming>> {
    let request = ::http::Request::get("https://localhost/metrics").body(Empty::new()).unwrap();
    client.send_request(request).await
}

#[test]
fn an_http2_client_that_takes_nothing_is_given_up_although_it_pings() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("app.db");
    let _open = database(&path);
    let authority = Certificate::authority(home.path(), "authority");
    authority.sign(home.path(), "server", "DNS:localhost");
    let web = home.path().join("web.yml");
    fs::write(&web, "tls_server_config: {cert_file: server.pem, key_file: server.key}\n").unwrap();
    let flag = format!("--web.config.file={}", web.display());
    let agent = Agent::start(home.path(), &watching("", &[path]), &[&flag]);
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
        let (mut well, mut serving) = http2_client(&agent.address, &authority.certificate, 1 << 20).await;
        let (mut greedy, ended) = http2_client(&agent.address, &authority.certificate, 0).await;
        while !ask(&mut well).await.unwrap().status().is_success() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let mut unread = Vec::new();
        for _ in 0..16 {
            unread.push(ask(&mut greedy).await.unwrap());
        }
        let begun = Instant::now();
        drop(tokio::time::timeout(Duration::from_secs(90), ended).await.expect("it is given up"));
        assert!(begun.elapsed() >= Duration::from_secs(25), "{:?}", begun.elapsed());
        let answer = ask(&mut well).await.unwrap().into_body().collect().await.unwrap().to_bytes();
        assert!(answer.windows(23).any(|part| part == b"streamgauge_database_up"), "others are served on");
        assert!(tokio::time::timeout(Duration::from_millis(1), &mut serving).await.is_err());
    });
}
