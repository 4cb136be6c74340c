//! Where connections come from. Another way to listen is another variant of [`Listener`], and one arm in each method.

use std::io::{ErrorKind, Result as IoResult};
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use tokio::net::{TcpListener, TcpStream};

use crate::domain::reason::Reason;

/// A connection that was accepted, whatever it came through.
pub(super) type Connection = TcpStream;

/// One address that is listened on.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
}

impl Listener {
    /// Listens on `host:port`, `[::1]:port`, or `:port` for every interface; port 0 takes a free one.
    ///
    /// # Errors
    ///
    /// Why nothing can be listened on there, with the address.
    pub(super) async fn bind(address: &str) -> Result<Self, Reason> {
        let bound = match address.strip_prefix(':') {
            // The IPv6 wildcard takes IPv4 as well, where there is IPv6.
            Some(port) => match TcpListener::bind(format!("[::]:{port}")).await {
                Err(error) if error.kind() != ErrorKind::AddrInUse => {
                    TcpListener::bind(format!("0.0.0.0:{port}")).await
                }
                bound => bound,
            },
            None => TcpListener::bind(address).await,
        };
        bound.map(Self::Tcp).map_err(|error| {
            let kind = error.kind();
            let reason = Reason::from(error).context(format_args!("listen on {address}"));
            match kind {
                ErrorKind::AddrInUse => {
                    reason.with_hint("another program has the port; --web.listen-address takes others")
                }
                ErrorKind::InvalidInput => reason.with_hint("an address is host:port, [ipv6]:port or :port"),
                _ => reason,
            }
        })
    }

    /// Where it listens; `None` where that has no address of the internet.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
        }
    }

    /// The next connection.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<IoResult<Connection>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = ready!(listener.poll_accept(cx))?;
                // Only costs latency when refused.
                let _ = stream.set_nodelay(true);
                Poll::Ready(Ok(stream))
            }
        }
    }
}
