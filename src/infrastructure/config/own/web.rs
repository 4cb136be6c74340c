//! `[web]`: where HTTP is served, to whom, and under which names.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::infrastructure::config::litestream::replica::Context;
use crate::infrastructure::config::value::section::Section;

/// `[web]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where HTTP is served. Default `127.0.0.1:10099`.
    pub listen_address: Vec<ListenAddress>,
    /// Names under which the page, the report and reloads may be asked for. Default none but those that nobody else can
    /// have.
    pub allowed_hosts: Vec<String>,
    /// Who may connect: TLS, users and more, in the format of the exporter toolkit. Default everybody, without TLS.
    pub config_file: Option<PathBuf>,
    /// Serve the sockets that systemd passes, in place of `listen_address`.
    pub systemd_socket: bool,
}

/// Where HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `[::]` is every address, IPv4 and IPv6.
    Tcp(SocketAddr),
    /// A socket in the file system, for the user that the agent runs as.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Where HTTP is served unless something else is configured.
    pub const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_099);

    /// The port, of those that have one.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }

    /// The port at which other hosts could reach it.
    pub fn port_for_others(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()).filter(|_| !address.ip().to_canonical().is_loopback()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return match path.as_os_str().len() {
                _ if !path.is_absolute() => Err("not an absolute path"),
                length if length > SOCKET_PATH_BYTES => {
                    Err("longer than 107 bytes, the limit for the path of a socket")
                }
                _ => Ok(Self::Unix(path.to_owned())),
            };
        }
        let address = match text.strip_prefix(':') {
            Some(port) => port.parse().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).ok(),
            None => text.replacen("localhost:", "127.0.0.1:", 1).parse().ok(),
        };
        address.map(Self::Tcp).ok_or("not an address with a port")
    }
}

/// unix(7): `sun_path` with the byte that ends it.
const SOCKET_PATH_BYTES: usize = 107;

/// Reads `[web]`.
pub(crate) fn read(mut section: Section<'_>, context: &Context<'_>) -> Web {
    const ACCEPTED: &str =
        "address:port such as 127.0.0.1:10099, [::1]:10099 or, for every address, :10099; or unix:/path";
    let mut listen_address: Vec<ListenAddress> = Vec::new();
    match section.texts("listen-address", ACCEPTED) {
        None => listen_address.push(ListenAddress::Tcp(ListenAddress::DEFAULT)),
        Some(texts) => {
            for scalar in texts {
                let problem = |message: &str| scalar.place.problem(message).value(scalar.text);
                match scalar.text.parse() {
                    Ok(address) if listen_address.iter().any(|known| overlap(known, &address)) => {
                        section.problem(problem("given twice").accepted("each address once"));
                    }
                    Ok(address) => listen_address.push(address),
                    Err(message) => section.problem(problem(message).accepted(ACCEPTED)),
                }
            }
        }
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let host = |text: &str| match text.bytes().all(is_part) && !text.is_empty() {
        true => Ok(text.to_owned()),
        false => Err("not a host name"),
    };
    let hosts = section.list("allowed-hosts", "a host name such as db1.example.org, without a port", host);
    Web {
        listen_address,
        allowed_hosts: hosts.unwrap_or_default(),
        config_file: section.parsed("config-file", "a path", |text| context.base.unless_empty(text)).flatten(),
        systemd_socket: section.boolean("systemd-socket").unwrap_or(false),
    }
}

/// Whether one is the other, or both are every address.
fn overlap(one: &ListenAddress, other: &ListenAddress) -> bool {
    let everywhere = |address: &ListenAddress| matches!(address, ListenAddress::Tcp(tcp) if tcp.ip().is_unspecified());
    one == other || one.port() == other.port() && everywhere(one) && everywhere(other)
}
