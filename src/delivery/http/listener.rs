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
    /// Listens on `host:port`, `[::1]:port`, or `:port` and `[::]:port` for every address, IPv4 and IPv6; port 0 takes a
    /// free one.
    ///
    /// # Errors
    ///
    /// Why nothing can be listened on there, with the address.
    pub(super) async fn bind(address: &str) -> Result<Vec<Self>, Reason> {
        let bound = match address.strip_prefix("[::]").unwrap_or(address).strip_prefix(':') {
            Some(port) => bind_everywhere(port).await,
            None => TcpListener::bind(address).await.map(|listener| vec![listener]),
        };
        let tcp = |listeners: Vec<TcpListener>| listeners.into_iter().map(Self::Tcp).collect();
        bound.map(tcp).map_err(|error| {
            let kind = error.kind();
            let reason = Reason::from(error).context(format_args!("listen on {address}"));
            match kind {
                ErrorKind::AddrInUse => {
                    reason.with_hint("another program uses the port; choose another one with --web.listen-address")
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

/// Every address of this host. Usually the IPv6 wildcard takes IPv4 as well.
async fn bind_everywhere(port: &str) -> IoResult<Vec<TcpListener>> {
    let ipv4 = async |port: &str| TcpListener::bind(format!("0.0.0.0:{port}")).await;
    match TcpListener::bind(format!("[::]:{port}")).await {
        Ok(ipv6) => {
            // Where the system keeps the two apart (net.ipv6.bindv6only), the port is still free for IPv4.
            let beside = ipv4(&ipv6.local_addr()?.port().to_string()).await;
            Ok(std::iter::once(ipv6).chain(beside.ok()).collect())
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![ipv4(port).await?]),
    }
}
