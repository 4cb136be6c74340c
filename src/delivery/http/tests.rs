//! Real requests over loopback.

mod openapi;

use std::io::Read;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::delivery::render::published::ReportCell;
use crate::domain::limits::{CONNECTIONS_PER_ADDRESS_MAX, REPORT_AGE_MAX, REQUEST_HEAD_BYTES_MAX};
use crate::domain::reason::ReasonKind;
use crate::domain::report::sample;
use crate::usecase::ports::{AskedBy, Publisher};

struct Running {
    address: SocketAddr,
    cell: ReportCell,
    reloads: ReloadRequests,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

async fn start() -> Running {
    let server = Server::bind(&["127.0.0.1:0".to_owned()]).await.expect("loopback");
    let address = server.local_addrs()[0];
    let cell = ReportCell::default();
    let (reload, reloads) = ReloadHandle::new();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(server.serve(cell.clone(), reload, async {
        let _ = stopped.await;
    }));
    Running { address, cell, reloads, stop, served }
}

async fn start_with_report() -> Running {
    let running = start().await;
    running.cell.publish(sample::full());
    running
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

impl Running {
    /// Sends bytes as they are and returns everything that comes back until the server closes.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.expect("connected");
        // The server may answer and close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    async fn ask(&self, request: &str, headers: &str) -> Answer {
        let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let answer = self.raw(request.as_bytes()).await;
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
        let head = String::from_utf8(answer[..end].to_vec()).expect("text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Answer { status, head, body: answer[end + 4..].to_vec() }
    }
}

#[tokio::test]
async fn each_client_gets_the_format_it_prefers() {
    let running = start_with_report().await;
    let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = "text/plain; version=0.0.4; charset=utf-8";
    let cases = [
        // Prometheus 2.42, 2.53 and 3.5; curl; VictoriaMetrics; nothing.
        (
            "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n",
            openmetrics,
        ),
        (
            "Accept: application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            openmetrics,
        ),
        (
            "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2\r\n",
            openmetrics,
        ),
        ("Accept: */*\r\n", text),
        ("Accept: text/plain;version=0.0.4;q=1,*/*;q=0.1\r\n", text),
        ("", text),
    ];
    for (accept, expected) in cases {
        let answer = running.ask("GET /metrics", accept).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(expected)), "{accept}");
        assert_eq!(answer.header("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.text().ends_with("# EOF\n"), expected == openmetrics, "{accept}");
        assert!(answer.text().contains("streamgauge_replica_lag_seconds{database=\"app\",replica=\"s3\"} 0.0\n"));
    }
}

#[tokio::test]
async fn gzip_is_the_same_bytes() {
    let running = start_with_report().await;
    for path in ["/metrics", "/api/v1/report", "/"] {
        let plain = running.ask(&format!("GET {path}"), "").await;
        let gzip = running.ask(&format!("GET {path}"), "Accept-Encoding: gzip\r\n").await;
        assert_eq!((plain.header("content-encoding"), gzip.header("content-encoding")), (None, Some("gzip")));
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(gzip.body.as_slice()).read_to_end(&mut unpacked).expect("gzip");
        assert_eq!(unpacked, plain.body, "{path}");
    }
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let running = start_with_report().await;
    let get = running.ask("GET /metrics", "").await;
    let head = running.ask("HEAD /metrics", "").await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), get.header("content-length"));
}

#[tokio::test]
async fn the_report_is_versioned_json_and_pages_load_from_here_alone() {
    let running = start_with_report().await;
    let report = running.ask("GET /api/v1/report?pretty", "").await;
    assert_eq!(report.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_slice(&report.body).expect("json");
    assert_eq!((json["schema"].as_u64(), json["databases"][0]["name"].as_str()), (Some(1), Some("app")));
    assert_eq!(json["databases"][2]["replicas"][0]["lag_seconds"], serde_json::Value::Null);

    let page = running.ask("GET /", "").await;
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert_eq!(policy.split("; ").next(), Some("default-src 'none'"));
    for rule in policy.split("; ").skip(1) {
        let (_, sources) = rule.split_once(' ').expect("sources");
        assert!(["'self'", "'none'", "'self' data:"].contains(&sources), "{rule}");
    }
}

#[tokio::test]
async fn whoever_has_the_newest_report_is_not_sent_it_again() {
    let running = start_with_report().await;
    for path in ["/", "/api/v1/report", "/api/v1/databases/app"] {
        let first = running.ask(&format!("GET {path}"), "").await;
        let tag = first.header("etag").expect("a tag").to_owned();
        assert_eq!((first.status, first.header("cache-control")), (200, Some("no-cache")), "{path}");
        let again = running.ask(&format!("GET {path}"), &format!("If-None-Match: \"other\", {tag}\r\n")).await;
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, Some(tag.as_str())), "{path}");
        assert_eq!(again.header("content-type"), None, "that of the page is kept");
        let none = running.ask("GET /databases/none", &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!(none.status, 404, "there is none, whatever was asked for before");
        running.cell.publish(sample::full());
        let newer = running.ask(&format!("GET {path}"), &format!("If-None-Match: {tag}\r\n")).await;
        assert_eq!(newer.status, 200, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_answered_says_why() {
    let running = start_with_report().await;
    for (path, status, detail) in [
        ("/api/v1/databases/none", 404, "there is no database \"none\""),
        ("/api/v1/databases/app?stat=x", 400, "unknown parameter \"stat\""),
        ("/api/v1/nothing", 404, "there is no path \"/api/v1/nothing\""),
    ] {
        let answer = running.ask(&format!("GET {path}"), "").await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (status, Some("application/problem+json")),
            "{path}"
        );
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("json");
        assert_eq!((json["detail"].as_str(), json["status"].as_u64()), (Some(detail), Some(status.into())), "{path}");
    }
    let early = start().await;
    let answer = early.ask("GET /api/v1/report", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
}

#[tokio::test]
async fn what_a_page_loads_is_served_and_kept() {
    let running = start_with_report().await;
    let page = running.ask("GET /", "").await;
    let style =
        page.text().split('"').find(|part| part.starts_with("/static/style-")).expect("a style sheet").to_owned();
    let style = running.ask(&format!("GET {style}"), "").await;
    assert_eq!((style.status, style.header("content-type")), (200, Some("text/css; charset=utf-8")));
    assert!(style.header("cache-control").is_some_and(|control| control.contains("immutable")));
    assert_eq!(running.ask("GET /static/style-00000000.css", "").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_publishes_nothing_is_neither_healthy_nor_ready() {
    let (cell, (reload, _)) = (ReportCell::default(), ReloadHandle::new());
    let app = routes::App { cell: cell.clone(), reload, guard: Guard::default() };
    let ask = async |path: &str| {
        let request = http::Request::get(path).header("host", "localhost");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).expect("a request");
        app.respond(&request, AskedBy::Stranger).await.status().as_u16()
    };
    assert_eq!((ask("/-/healthy").await, ask("/-/ready").await), (200, 503));
    tokio::time::advance(REPORT_AGE_MAX + Duration::from_secs(1)).await;
    assert_eq!((ask("/-/healthy").await, ask("/").await), (503, 503), "there was never a report");
    cell.publish(sample::full());
    assert_eq!((ask("/-/healthy").await, ask("/-/ready").await), (200, 200));
    tokio::time::advance(REPORT_AGE_MAX).await;
    assert_eq!((ask("/-/healthy").await, ask("/-/ready").await), (200, 200));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!((ask("/-/healthy").await, ask("/-/ready").await), (503, 503));
    assert_eq!((ask("/").await, ask("/databases/app").await), (503, 503), "an old page would look like one of now");
    assert_eq!(ask("/metrics").await, 503, "rules would go on with what was found once");
    cell.publish(sample::full());
    assert_eq!((ask("/-/healthy").await, ask("/-/ready").await, ask("/metrics").await), (200, 200, 200));
}

#[tokio::test]
async fn ready_only_after_everything_was_looked_at() {
    let running = start().await;
    assert_eq!(running.ask("GET /-/healthy", "").await.status, 200);
    let mut statuses = Vec::new();
    for complete in [None, Some(false), Some(true)] {
        if let Some(complete) = complete {
            let mut report = sample::full();
            report.assessment.complete = complete;
            running.cell.publish(report);
        }
        let metrics = running.ask("GET /metrics", "").await.status;
        statuses.push((running.ask("GET /-/ready", "").await.status, metrics, running.ask("GET /", "").await.status));
    }
    assert_eq!(statuses, [(503, 503, 200), (503, 200, 200), (200, 200, 200)]);
}

#[tokio::test]
async fn a_reload_says_how_it_went() {
    let mut running = start().await;
    let mut reloads = std::mem::replace(&mut running.reloads, ReloadHandle::new().1);
    let agent = tokio::spawn(async move {
        let answers = [Ok(()), Err("read /etc/x.toml: no such file".to_owned())];
        for answer in answers {
            reloads.recv().await.expect("a request").1.send(answer).expect("someone waits");
        }
    });
    let done = running.ask("POST /-/reload", "Content-Length: 0\r\n").await;
    assert_eq!((done.status, done.text()), (200, "configuration reloaded\n"));
    let refused = running.ask("PUT /-/reload", "").await;
    assert_eq!((refused.status, refused.text()), (500, "reload configuration: read /etc/x.toml: no such file\n"));
    agent.await.expect("both were asked");
    let gone = running.ask("POST /-/reload", "").await;
    assert_eq!((gone.status, gone.text()), (500, "reload configuration: the agent is stopping\n"));
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_is_never_answered_ends() {
    let (handle, _requests) = ReloadHandle::new();
    assert!(handle.reload(AskedBy::Stranger).await.expect("few wait").expect_err("late").contains("did not answer"));
}

#[tokio::test]
async fn other_paths_and_methods_say_what_there_is() {
    let running = start_with_report().await;
    for path in ["/x", "/metrics/", "//", "/-/", "/../etc/passwd", "/%00"] {
        assert_eq!(running.ask(&format!("GET {path}"), "").await.status, 404, "{path}");
    }
    for (request, allow) in [
        ("POST /metrics", "GET, HEAD"),
        ("DELETE /", "GET, HEAD"),
        ("OPTIONS /api/v1/report", "GET, HEAD"),
        ("GET /-/reload", "POST, PUT"),
        ("BREW /-/ready", "GET, HEAD"),
    ] {
        let answer = running.ask(request, "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{request}");
    }
}

#[tokio::test]
async fn what_is_too_large_is_refused_unread() {
    let running = start_with_report().await;
    let body = running.ask("POST /-/reload", "Content-Length: 99999999999\r\n").await;
    assert_eq!(body.status, 413);
    let header = format!("X: {}\r\n", "a".repeat(REQUEST_HEAD_BYTES_MAX));
    assert_eq!(running.ask("GET /metrics", &header).await.status, 431);
    let headers = "a: b\r\n".repeat(1000);
    assert_eq!(running.ask("GET /metrics", &headers).await.status, 431);
    assert_eq!(running.ask("GET /-/healthy", "").await.status, 200);
}

#[tokio::test]
async fn garbage_harms_nobody() {
    let running = start_with_report().await;
    let head = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: ";
    let garbage: [&[u8]; 8] = [
        b"\r\n\r\n\r\n\r\n\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /-/healthy HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nfffffffffffffffff\r\n",
        b"GET http://[/ HTTP/1.1\r\n\r\n",
    ];
    for bytes in garbage {
        let answer = running.raw(bytes).await;
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
    }
    let latin = [head.as_bytes(), b"\xff\xfe;q=\xff\r\n\r\n"].concat();
    assert!(running.raw(&latin).await.starts_with(b"HTTP/1.1 200"));
    assert_eq!(running.ask("GET /-/healthy", "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sends_its_head_too_slowly_is_cut_off() {
    let running = start_with_report().await;
    let mut stream = TcpStream::connect(running.address).await.expect("connected");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost:").await.expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("closed");
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_give_way_to_the_one_that_asks() {
    let running = start_with_report().await;
    let mut idle = Vec::new();
    for _ in 0..CONNECTIONS_PER_ADDRESS_MAX + 20 {
        idle.push(TcpStream::connect(running.address).await.expect("queued"));
    }
    assert_eq!(running.ask("GET /-/healthy", "").await.status, 200);
}

#[tokio::test]
async fn a_name_that_may_be_anybodys_gets_metrics_and_health_alone() {
    let running = start_with_report().await;
    let named = |request: &str, host: &str| {
        let request = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let running = &running;
        async move { String::from_utf8(running.raw(request.as_bytes()).await[9..12].to_vec()).expect("a status") }
    };
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        assert_eq!(named(&format!("GET {path}"), "evil.example.com").await, "200", "{path}");
    }
    for request in ["GET /", "GET /api/v1/report", "POST /-/reload"] {
        assert_eq!(named(request, "evil.example.com").await, "421", "{request}");
    }
    assert_eq!(named("GET /api/v1/report", "localhost:10099").await, "200");
    let foreign = running.ask("POST /-/reload", "Origin: https://evil.example.com\r\n").await;
    assert_eq!(
        (foreign.status, foreign.text()),
        (403, "refused: this request comes from a web page of another site\n")
    );
}

#[tokio::test]
async fn one_connection_serves_many_requests_at_once_with_others() {
    let running = start_with_report().await;
    let clients = (0..8).map(|_| {
        let address = running.address;
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            let mut answers = Vec::new();
            for _ in 0..50 {
                stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
            }
            stream.shutdown().await.expect("half closed");
            stream.read_to_end(&mut answers).await.expect("answered");
            String::from_utf8(answers).expect("text").matches("streamgauge is healthy").count()
        })
    });
    for client in clients.collect::<Vec<_>>() {
        assert_eq!(client.await.expect("joined"), 50);
    }
}

#[tokio::test]
async fn stopping_finishes_what_was_asked() {
    let mut running = start_with_report().await;
    let idle = TcpStream::connect(running.address).await.expect("connected");
    let mut asking = TcpStream::connect(running.address).await.expect("connected");
    asking.write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let waiting = running.reloads.recv().await.expect("a reload");
    running.stop.send(()).expect("serving");
    tokio::time::sleep(Duration::from_millis(20)).await;
    waiting.1.send(Ok(())).expect("still waited for");
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    running.served.await.expect("ended");
    assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
    drop(idle);
}

#[tokio::test(start_paused = true)]
async fn stopping_does_not_wait_for_ever() {
    let mut running = start_with_report().await;
    let mut asking = TcpStream::connect(running.address).await.expect("connected");
    asking.write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let _never_answered = running.reloads.recv().await.expect("a reload");
    running.stop.send(()).expect("serving");
    running.served.await.expect("ended");
    let mut answer = String::new();
    asking.read_to_string(&mut answer).await.expect("closed");
    assert_eq!(answer, "");
}

#[tokio::test]
async fn addresses_are_all_bound_or_none_is() {
    let any = "127.0.0.1:0".to_owned();
    let server = Server::bind(&[any.clone(), "localhost:0".to_owned(), ":0".to_owned()]).await.expect("bound");
    let addresses = server.local_addrs();
    assert_eq!(addresses.len(), 3);
    assert!(addresses.iter().all(|address| address.port() != 0));

    let taken = Server::bind(&[any, addresses[0].to_string()]).await.expect_err("taken");
    assert_eq!(taken.to_string(), format!("listen on {}: address already in use", addresses[0]));
    assert!(taken.hint.is_some());
    let wrong = Server::bind(&["no port".to_owned()]).await.expect_err("no address");
    assert_eq!(wrong.to_string(), "listen on no port: invalid socket address");
    assert_eq!(Server::bind(&[]).await.expect_err("none").kind, ReasonKind::Misconfigured);
}
