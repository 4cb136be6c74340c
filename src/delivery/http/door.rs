//! One connection: the handshake of TLS where there is one, and who is let in before anything is answered.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;

use http::uri::Scheme;
use http::{Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::Watcher;
use tokio_rustls::TlsAcceptor;

use super::active::Active;
use super::answer::{Answer, put, say};
use super::body::Sent;
use super::listener::{Accepted, Connection, Peer};
use super::routes::App;
use super::seats::Seats;
use super::stream::Stream;
use crate::domain::limits::{
    HANDSHAKE_TIMEOUT, HEADER_READ_TIMEOUT, REQUEST_HEAD_BYTES_MAX, STREAM_RESETS_MAX, STREAMS_MAX, WRITE_STALL_TIMEOUT,
};
use crate::infrastructure::endpoint::{Endpoint, Refused};
use crate::usecase::ports::AskedBy;

/// Serves one connection.
pub(super) struct Door {
    pub(super) peer: Peer,
    pub(super) active: Arc<Active>,
    pub(super) seats: Arc<Seats>,
    pub(super) app: Arc<App>,
    pub(super) endpoint: Arc<Endpoint>,
}

impl Door {
    /// Serves until the client goes. One that says nothing costs its descriptor: there are neither buffers nor a TLS session
    /// for it yet.
    pub(super) async fn open(self, stream: Box<dyn Accepted>, watcher: Watcher) {
        let said = poll_fn(|cx| stream.poll_said(cx));
        match tokio::time::timeout(HEADER_READ_TIMEOUT, said).await {
            Ok(Ok(())) => Box::pin(self.answer(stream, watcher)).await,
            Ok(Err(error)) => tracing::debug!(%error, "connection ended early"),
            Err(_) => tracing::debug!("client says nothing"),
        }
    }

    /// The owner of this process, whom the kernel names at a Unix socket, needs neither a certificate nor a password.
    async fn answer(self, stream: Box<dyn Accepted>, watcher: Watcher) {
        let stream = Stream::new(stream, Arc::clone(&self.active), WRITE_STALL_TIMEOUT);
        let tls = self.endpoint.policy().tls.clone().filter(|_| self.peer != Peer::Owner);
        let Some(tls) = tls else { return self.serve(stream, false, watcher).await };
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, TlsAcceptor::from(tls).accept(stream)).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                self.serve(stream, http2, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake took too long"),
        }
    }

    async fn serve<T: Connection + 'static>(self, stream: T, http2: bool, watcher: Watcher) {
        let (active, this) = (Arc::clone(&self.active), Arc::new(self));
        let service = service_fn(move |request| {
            let this = Arc::clone(&this);
            async move { Ok::<_, Infallible>(this.respond(request).await) }
        });
        let stream = TokioIo::new(stream);
        let ended = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
            builder
                .max_pending_accept_reset_streams(STREAM_RESETS_MAX)
                .max_header_list_size(REQUEST_HEAD_BYTES_MAX as u32);
            let serving = watcher.watch(builder.serve_connection(stream, service));
            tokio::select! {
                ended = serving => ended,
                // A stream without a window waits in memory, where no write notices it.
                () = active.stalled(WRITE_STALL_TIMEOUT) => return tracing::debug!("HTTP/2 client does not read"),
            }
        } else {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).header_read_timeout(HEADER_READ_TIMEOUT);
            builder.max_header_size(REQUEST_HEAD_BYTES_MAX);
            watcher.watch(builder.serve_connection(stream, service)).await
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "HTTP connection ended early");
        }
    }

    async fn respond(&self, mut request: Request<Incoming>) -> Response<Sent> {
        let work = self.seats.work(&self.active).await;
        let policy = self.endpoint.policy();
        if policy.tls.is_some() && self.peer != Peer::Owner {
            request.extensions_mut().insert(Scheme::HTTPS);
        }
        let admitted = match self.peer {
            Peer::Network(address) => policy.admit(address, request.headers()).await,
            Peer::Owner => Ok(AskedBy::Owner),
        };
        let mut answer = match admitted {
            Ok(by) => self.app.respond(&request, by).await,
            Err(refused) => refuse(refused),
        };
        for (name, value) in &policy.headers {
            answer.headers_mut().insert(name, value.clone());
        }
        // In a crowd a connection has one answer, however many requests were sent on it.
        if self.seats.are_crowded() && request.version() < Version::HTTP_2 {
            put(&mut answer, header::CONNECTION, "close");
        }
        self.seats.relieve(|| self.app.cell.is_overfull()).await;
        let (parts, body) = answer.into_parts();
        Response::from_parts(parts, Sent::new(body, work))
    }
}

/// As the exporter toolkit words it, which names no realm.
fn refuse(refused: Refused) -> Answer {
    let (status, name, value) = match refused {
        Refused::TooMany => (StatusCode::TOO_MANY_REQUESTS, header::RETRY_AFTER, "1"),
        Refused::Unauthorized => (StatusCode::UNAUTHORIZED, header::WWW_AUTHENTICATE, "Basic"),
    };
    let mut answer = say(status, format!("{}\n", status.canonical_reason().unwrap_or_default()));
    put(&mut answer, name, value);
    answer
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::{BodyExt, Empty};
    use hyper::client::conn::http2::Builder;
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::delivery::http::guard::Guard;
    use crate::delivery::http::reload::ReloadHandle;
    use crate::delivery::http::seats::Room;
    use crate::delivery::render::published::ReportCell;
    use crate::domain::limits::ANSWERS_OLD_BYTES_MAX;
    use crate::domain::report::sample;
    use crate::usecase::ports::Publisher;

    #[tokio::test(start_paused = true)]
    async fn in_a_crowd_a_connection_has_one_answer() {
        let app = Arc::new(App { cell: ReportCell::default(), reload: ReloadHandle::new().0, guard: Guard::default() });
        let graceful = GracefulShutdown::new();
        for (others, answers) in [(2, 3), (8, 1)] {
            let seats = Seats::new(Room::within(Some(16)));
            for address in 0..others {
                seats.take(Peer::at([10, 0, 0, address].into()), |_| std::future::pending()).await;
            }
            let (ours, mut theirs) = tokio::io::duplex(64 << 10);
            let (app, endpoint, peer) = (Arc::clone(&app), Arc::default(), Peer::Owner);
            let door = Door { peer, active: Arc::default(), seats, app, endpoint };
            theirs.write_all("GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n".repeat(3).as_bytes()).await.expect("sent");
            // Until it has said nothing for too long.
            door.serve(ours, false, graceful.watcher()).await;
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.expect("answered");
            assert_eq!(text.matches("streamgauge is healthy").count(), answers, "{text}");
            assert_eq!(text.contains("connection: close"), answers == 1, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn where_too_much_is_kept_who_reads_slowly_gives_way_to_whoever_asks() {
        let cell = ReportCell::default();
        cell.publish(sample::full());
        let app = Arc::new(App { cell: cell.clone(), reload: ReloadHandle::new().0, guard: Guard::default() });
        let (graceful, seats) = (GracefulShutdown::new(), Seats::new(Room::within(None)));
        let ask = async |address: u8, path: &str| {
            let (ours, mut theirs) = tokio::io::duplex(1 << 10);
            let (held, app, watcher) = (Arc::clone(&seats), Arc::clone(&app), graceful.watcher());
            let peer = Peer::at([10, 0, 0, address].into());
            let door = move |active| Door { peer, active, seats: held, app, endpoint: Arc::default() };
            seats.take(peer, |active| door(active).serve(ours, false, watcher)).await;
            let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
            theirs.write_all(request.as_bytes()).await.expect("sent");
            sleep(Duration::from_millis(50)).await;
            theirs
        };
        for (too_much, is_cut) in [(0, false), (1, true)] {
            let mut slow = ask(1, "/api/v1/report").await;
            let _more = cell.held().share(ANSWERS_OLD_BYTES_MAX + too_much);
            let (mut text, mut report) = (String::new(), Vec::new());
            ask(2, "/-/healthy").await.read_to_string(&mut text).await.expect("answered");
            assert!(text.ends_with("streamgauge is healthy\n"), "{text}");
            slow.read_to_end(&mut report).await.expect("closed");
            assert_eq!(!report.ends_with(b"}\n"), is_cut, "{} bytes", report.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_stream_that_gets_no_window_ends_its_connection() {
        let cell = ReportCell::default();
        cell.publish(sample::full());
        let app = Arc::new(App { cell, reload: ReloadHandle::new().0, guard: Guard::default() });
        // Connections are told to end when it goes.
        let graceful = GracefulShutdown::new();
        for (window, pause, ends) in [(0, 0, true), (100, 0, true), (64 << 10, 20, false)] {
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            let (seats, app) = (Seats::new(Room::within(None)), Arc::clone(&app));
            let peer = Peer::at(std::net::Ipv4Addr::LOCALHOST.into());
            let (held, watcher) = (Arc::clone(&seats), graceful.watcher());
            let door = move |active| Door { peer, active, seats: held, app, endpoint: Arc::default() };
            seats.take(peer, |active| door(active).serve(ours, true, watcher)).await;
            let mut builder = Builder::new(TokioExecutor::new());
            let builder = builder.initial_stream_window_size(window).timer(TokioTimer::new());
            let (mut sender, connection) = builder.handshake(TokioIo::new(theirs)).await.expect("a handshake");
            let connection = tokio::spawn(connection);
            let request = Request::get("http://localhost/api/v1/report").body(Empty::<bytes::Bytes>::new());
            let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
            let begun = Instant::now();
            if ends {
                let _unread = answer;
                drop(connection.await.expect("joined"));
                let took = begun.elapsed();
                let expected = WRITE_STALL_TIMEOUT..WRITE_STALL_TIMEOUT * 2;
                assert!(expected.contains(&took), "{window}: {took:?}");
            } else {
                sleep(Duration::from_secs(pause)).await;
                assert!(answer.into_body().collect().await.expect("all of it").to_bytes().len() > 1_000);
                sleep(2 * WRITE_STALL_TIMEOUT).await;
                assert!(sender.is_ready(), "a connection without a request in work may stay");
            }
        }
    }
}
