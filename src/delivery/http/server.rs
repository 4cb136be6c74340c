//! Listening, and one task for each connection.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::server::graceful::GracefulShutdown;

use super::door::Door;
use super::guard::Guard;
use super::listener::{Listener, accept, activated, listen};
use super::reload::ReloadHandle;
use super::routes::App;
use super::seats::{Room, Seats};
use crate::delivery::render::published::ReportCell;
use crate::domain::limits::SHUTDOWN_TIMEOUT;
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::endpoint::Endpoint;

/// Addresses that are listened on, and not yet served.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    guard: Guard,
    room: Room,
    endpoint: Arc<Endpoint>,
}

impl Server {
    /// Listens on all addresses or on none. `host:port`, `[::1]:port`, and `:port` for every address, IPv4 and IPv6;
    /// port 0 takes a free one; `unix:/path` is a socket in the file system.
    ///
    /// # Errors
    ///
    /// When no address is given, or one cannot be listened on.
    pub async fn bind(addresses: &[String]) -> Result<Self, Reason> {
        let mut listeners = Vec::with_capacity(addresses.len());
        for address in addresses {
            listeners.extend(listen(address).await?);
        }
        Self::of(listeners)
    }

    /// Listens on the sockets that systemd passed to this process.
    ///
    /// # Errors
    ///
    /// When it passed none, or one that cannot be used.
    pub fn activated() -> Result<Self, Reason> {
        Self::of(activated()?)
    }

    fn of(listeners: Vec<Listener>) -> Result<Self, Reason> {
        if listeners.is_empty() {
            return Err(Reason::new(ReasonKind::Misconfigured, "listen for HTTP: no address is given"));
        }
        Ok(Self { listeners, guard: Guard::default(), room: Room::within(None), endpoint: Arc::default() })
    }

    /// Goes by these names, serves so many connections at once, and whom `endpoint` lets in.
    #[must_use]
    pub fn with(self, guard: Guard, room: Room, endpoint: Arc<Endpoint>) -> Self {
        Self { guard, room, endpoint, ..self }
    }

    /// The addresses on which the server listens, in the order of those given.
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::tcp).collect()
    }

    /// Every place where the server listens, as it would be configured.
    pub fn places(&self) -> Vec<String> {
        self.listeners.iter().map(Listener::place).collect()
    }

    /// Serves until `shutdown` completes, then gives open requests [`SHUTDOWN_TIMEOUT`] to finish.
    pub async fn serve(self, cell: ReportCell, reload: ReloadHandle, shutdown: impl Future<Output = ()>) {
        let app = Arc::new(App { cell, reload, guard: self.guard });
        let graceful = GracefulShutdown::new();
        let seats = Seats::new(self.room);
        let mut shutdown = std::pin::pin!(shutdown);
        let (mut turn, mut failing) = (0, false);
        loop {
            turn += 1;
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = accept(&self.listeners, turn) => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    failing = false;
                    let watcher = graceful.watcher();
                    let (seats_of, app, endpoint) = (Arc::clone(&seats), Arc::clone(&app), Arc::clone(&self.endpoint));
                    let door = |active| Door { peer, active, seats: seats_of, app, endpoint };
                    seats.take(peer, |active| door(active).open(stream, watcher)).await;
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
        seats.close_waiting();
        // What is still open afterwards ends with its seat.
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await;
        seats.close_all();
    }
}
