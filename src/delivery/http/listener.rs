//! Where connections come from.

use std::io::{ErrorKind, Result as IoResult};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

use crate::domain::limits::LISTEN_BACKLOG;
use crate::domain::reason::Reason;

/// Listens on `host:port`, `[::1]:port`, or `:port` and `[::]:port` for every address, IPv4 and IPv6; port 0 takes a
/// free one.
///
/// # Errors
///
/// Why nothing can be listened on there, with the address.
pub(super) async fn listen(address: &str) -> Result<Vec<TcpListener>, Reason> {
    let bound = match address.strip_prefix("[::]").unwrap_or(address).strip_prefix(':') {
        Some(port) => bind_everywhere(port).await,
        None => bind(address).await.map(|listener| vec![listener]),
    };
    bound.map_err(|error| {
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

/// The first of the addresses that a name stands for on which one can listen.
async fn bind(address: &str) -> IoResult<TcpListener> {
    let mut refused = None;
    for address in lookup_host(address).await? {
        match bind_to(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.unwrap_or_else(|| ErrorKind::InvalidInput.into()))
}

/// As [`TcpListener::bind`], with a longer queue: that has room for 128 connections, and whoever comes while more wait
/// to be accepted tries again only after a second.
fn bind_to(address: SocketAddr) -> IoResult<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Every address of this host. Usually the IPv6 wildcard takes IPv4 as well.
async fn bind_everywhere(port: &str) -> IoResult<Vec<TcpListener>> {
    let ipv4 = async |port: &str| bind(&format!("0.0.0.0:{port}")).await;
    match bind(&format!("[::]:{port}")).await {
        Ok(ipv6) => {
            // Where the system keeps the two apart (net.ipv6.bindv6only), IPv4 is listened on beside it.
            let beside = match rustix::net::sockopt::ipv6_v6only(&ipv6)? {
                true => Some(ipv4(&ipv6.local_addr()?.port().to_string()).await?),
                false => None,
            };
            Ok(std::iter::once(ipv6).chain(beside).collect())
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![ipv4(port).await?]),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_burst_of_connections_that_nobody_has_accepted_yet_keeps_nobody_out() {
        let listener = bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let burst = most.trim().parse::<usize>().unwrap().min(400);
        let connect = || std::net::TcpStream::connect_timeout(&address, Duration::from_secs(30)).unwrap();
        let waiting: Vec<_> = (0..burst).map(|_| connect()).collect();
        assert_eq!(waiting.len(), burst);
    }
}
