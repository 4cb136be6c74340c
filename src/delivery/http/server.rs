//! Listening, and one task for each connection.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};

use super::guard::Guard;
use super::listener::listen;
use super::reload::ReloadHandle;
use super::routes::App;
use super::seats::{Active, Seats};
use super::stream::Stream;
use crate::delivery::render::published::ReportCell;
use crate::domain::limits::{
    CONNECTIONS_MAX, HEADER_READ_TIMEOUT, REQUEST_HEAD_BYTES_MAX, SHUTDOWN_TIMEOUT, WRITE_STALL_TIMEOUT,
};
use crate::domain::reason::{Reason, ReasonKind};

/// Addresses that are listened on, and not yet served.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    guard: Guard,
    connections: usize,
}

impl Server {
    /// Listens on all addresses or on none. `host:port`, `[::1]:port`, and `:port` for every address, IPv4 and IPv6;
    /// port 0 takes a free one.
    pub async fn bind(addresses: &[String]) -> Result<Self, Reason> {
        if addresses.is_empty() {
            return Err(Reason::new(ReasonKind::Misconfigured, "listen for HTTP: no address is given"));
        }
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.extend(listen(address).await?);
        }
        Ok(Self { listeners, guard: Guard::default(), connections: CONNECTIONS_MAX })
    }

    /// Goes by these names, and serves so many connections at once.
    #[must_use]
    pub fn with(self, guard: Guard, connections: usize) -> Self {
        Self { guard, connections, ..self }
    }

    /// Where the server listens, in the order of the addresses given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` completes, then gives open requests [`SHUTDOWN_TIMEOUT`] to finish.
    pub async fn serve(self, cell: ReportCell, reload: ReloadHandle, shutdown: impl Future<Output = ()>) {
        let app = Arc::new(App { cell, reload, guard: self.guard });
        let graceful = GracefulShutdown::new();
        let mut seats = Seats::new(self.connections);
        let mut shutdown = std::pin::pin!(shutdown);
        let (mut turn, mut failing) = (0, false);
        loop {
            turn += 1;
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&self.listeners, turn) => accepted,
            };
            match accepted {
                Ok(stream) => {
                    failing = false;
                    seats.make_room().await;
                    let active = seats.active();
                    let connection = graceful.watch(connect(stream, active.clone(), Arc::clone(&app)));
                    let task = tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(%error, "HTTP connection ended early");
                        }
                    });
                    seats.take(active, task);
                }
                // The client changed its mind.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                // Out of descriptors or memory: the connection stays in the queue, so trying at once would spin.
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%error, "accept HTTP connection");
                    }
                    seats.close_one().await;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        drop(self.listeners);
        // What is still open afterwards ends with its seat.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await;
    }
}

/// The next connection of any listener; each `turn` another one comes first, so that a flood on one hides no other.
async fn accept(listeners: &[TcpListener], turn: usize) -> std::io::Result<TcpStream> {
    let accepted = poll_fn(|cx| {
        let ready = (0..listeners.len()).map(|index| &listeners[(index + turn) % listeners.len()]);
        ready.map(|listener| listener.poll_accept(cx)).find(Poll::is_ready).unwrap_or(Poll::Pending)
    });
    let (stream, _) = accepted.await?;
    // Only costs latency when refused.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn connect(
    stream: TcpStream,
    active: Active,
    app: Arc<App>,
) -> impl hyper_util::server::graceful::GracefulConnection<Error = hyper::Error> + Send {
    let stream = Stream::new(stream, active.clone(), WRITE_STALL_TIMEOUT);
    let service = service_fn(move |request| {
        let (app, active) = (Arc::clone(&app), active.clone());
        async move {
            active.set_working(true);
            let answer = app.respond(&request).await;
            active.set_working(false);
            Ok::<_, Infallible>(answer)
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_READ_TIMEOUT)
        .max_header_size(REQUEST_HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
}
