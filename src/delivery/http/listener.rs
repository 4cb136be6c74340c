//! Where connections come from: TCP, sockets in the file system, and sockets that systemd opened for us.

use std::fs::Permissions;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, Result as IoResult};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use listenfd::ListenFd;
use rustix::process::geteuid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixSocket, UnixStream, lookup_host};

use crate::domain::limits::LISTEN_BACKLOG;
use crate::domain::reason::{Reason, ReasonKind};

/// A connection, of whatever kind.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A connection as it was accepted.
pub(super) trait Accepted: Connection + Sync {
    /// Ready when the client has said something or gone; at once of a Unix socket, of which it cannot be asked.
    fn poll_said(&self, cx: &mut Context<'_>) -> Poll<IoResult<()>>;
}

impl Accepted for TcpStream {
    fn poll_said(&self, cx: &mut Context<'_>) -> Poll<IoResult<()>> {
        // It is not asked whether there is something to read: that is said of every new one.
        self.poll_peek(cx, &mut ReadBuf::new(&mut [0])).map_ok(drop)
    }
}

impl Accepted for UnixStream {
    fn poll_said(&self, _: &mut Context<'_>) -> Poll<IoResult<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Peer {
    /// An address, or the network that a host has for itself.
    Network(IpAddr),
    /// The user of this process, by a Unix socket.
    Owner,
}

impl Peer {
    pub(super) fn at(address: IpAddr) -> Self {
        /// The first 64 bits.
        const NETWORK: u128 = !0 << 64;
        Self::Network(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() & NETWORK).into()),
            ipv4 => ipv4,
        })
    }
}

/// One place where connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    /// The file is removed with it; `None` where somebody else made it.
    Unix {
        listener: UnixListener,
        _file: Option<SocketFile>,
    },
}

impl Listener {
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<IoResult<(Box<dyn Accepted>, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, address)| {
                // Only costs latency when refused.
                let _ = stream.set_nodelay(true);
                (Box::new(stream) as Box<dyn Accepted>, Peer::at(address.ip()))
            }),
            Self::Unix { listener, .. } => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = peer_of(&stream);
                (Box::new(stream) as Box<dyn Accepted>, peer)
            }),
        }
    }

    /// Where it listens, if that is an address.
    pub(super) fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// Where it listens, as it would be configured.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Tcp(listener) => listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            Self::Unix { listener, .. } => {
                let address = listener.local_addr().ok();
                let path = address.as_ref().and_then(|address| address.as_pathname());
                path.map_or_else(|| "unix:?".to_owned(), |path| format!("unix:{}", path.display()))
            }
        }
    }
}

/// Who is at the other end of a Unix socket: the file of one that systemd made may let anybody in.
fn peer_of(stream: &UnixStream) -> Peer {
    let owner = |user: u32| user == 0 || user == geteuid().as_raw();
    match stream.peer_cred() {
        Ok(credentials) if owner(credentials.uid()) => Peer::Owner,
        _ => Peer::at(Ipv4Addr::LOCALHOST.into()),
    }
}

/// The next connection of any listener; each `turn` another one comes first, so that a flood on one hides no other.
pub(super) async fn accept(listeners: &[Listener], turn: usize) -> IoResult<(Box<dyn Accepted>, Peer)> {
    poll_fn(|cx| {
        let ready = (0..listeners.len()).map(|index| &listeners[(index + turn) % listeners.len()]);
        ready.map(|listener| listener.poll_accept(cx)).find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

/// Listens on `host:port`, `[::1]:port`, or `:port` and `[::]:port` for every address, IPv4 and IPv6; port 0 takes a
/// free one. `unix:/path` is a socket there, for the user of this process alone.
///
/// # Errors
///
/// Why nothing can be listened on there, with the address.
pub(super) async fn listen(address: &str) -> Result<Vec<Listener>, Reason> {
    let tcp = |bound: Vec<TcpListener>| bound.into_iter().map(Listener::Tcp).collect();
    let bound = match (address.strip_prefix("unix:"), address.strip_prefix("[::]").unwrap_or(address).strip_prefix(':'))
    {
        (Some(path), _) => bind_file(Path::new(path)).map(|listener| vec![listener]),
        (None, Some(port)) => bind_everywhere(port).await.map(tcp),
        (None, None) => bind(address).await.map(|listener| tcp(vec![listener])),
    };
    bound.map_err(|error| {
        let kind = error.kind();
        let reason = Reason::from(error).context(format_args!("listen on {address}"));
        match kind {
            ErrorKind::AddrInUse if address.starts_with("unix:") => {
                reason.with_hint("another agent listens there; choose another path with --web.listen-address")
            }
            ErrorKind::AddrInUse => {
                reason.with_hint("another program uses the port; choose another one with --web.listen-address")
            }
            ErrorKind::InvalidInput => reason.with_hint("an address is host:port, [ipv6]:port, :port or unix:/path"),
            _ => reason,
        }
    })
}

/// All sockets that systemd passed to this process (sd_listen_fds(3)).
///
/// # Errors
///
/// When there is none, or one of them is neither TCP nor a stream socket in the file system.
pub(super) fn activated() -> Result<Vec<Listener>, Reason> {
    let mut passed = ListenFd::from_env();
    if passed.len() == 0 {
        let reason = Reason::new(ReasonKind::Misconfigured, "listen on the sockets of systemd: it passed none");
        return Err(reason.with_hint("start the .socket unit, not the .service, or drop --web.systemd-socket"));
    }
    let failed = |error: Error| Reason::from(error).context("listen on the sockets of systemd");
    let adopted = (0..passed.len()).map(|index| adopt(&mut passed, index).map_err(failed));
    Ok(adopted.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn adopt(passed: &mut ListenFd, index: usize) -> IoResult<Option<Listener>> {
    if let Ok(listener) = passed.take_tcp_listener(index) {
        return listener
            .map(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener).map(Listener::Tcp)
            })
            .transpose();
    }
    let listener = passed.take_unix_listener(index)?;
    listener
        .map(|listener| {
            listener.set_nonblocking(true)?;
            Ok(Listener::Unix { listener: UnixListener::from_std(listener)?, _file: None })
        })
        .transpose()
}

/// A socket in the file system that is removed in the end.
#[derive(Debug)]
pub(super) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // What is left behind is taken away by the next one that listens there.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A socket at `path` for the user of this process. What an agent left behind there that no longer listens is replaced;
/// a file of any other kind is not.
fn bind_file(path: &Path) -> IoResult<Listener> {
    if path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket()) {
        match StdUnixStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => return Err(ErrorKind::AddrInUse.into()),
        }
    }
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = Some(SocketFile(path.to_owned()));
    // Before it listens nobody can connect.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(Listener::Unix { listener: socket.listen(LISTEN_BACKLOG)?, _file: file })
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

    #[test]
    fn a_host_is_one_address_or_one_network_of_ipv6() {
        let peer = |text: &str| Peer::at(text.parse().expect("an address"));
        assert_eq!(peer("::ffff:10.0.0.7"), peer("10.0.0.7"));
        assert_ne!(peer("10.0.0.8"), peer("10.0.0.7"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:0:0:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
    }

    #[tokio::test]
    async fn a_socket_in_the_file_system_is_its_users_alone_and_goes_in_the_end() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("agent.sock");
        let address = format!("unix:{}", path.display());
        let listener = listen(&address).await.unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(listener[0].place(), address);
        let taken = listen(&address).await.unwrap_err();
        assert_eq!(taken.message, format!("listen on {address}: address in use"));
        drop(listener);
        assert!(!path.exists());
        // Killed: the file stays, and nobody listens.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(listen(&address).await.unwrap());
        std::fs::write(&path, "precious").unwrap();
        let refused = listen(&address).await.unwrap_err();
        assert_eq!(refused.message, format!("listen on {address}: address already in use"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
    }

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
