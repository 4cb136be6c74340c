//! `[web]`: where HTTP is served, and under which names.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::infrastructure::config::value::section::Section;

/// `[web]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where HTTP is served; `[::]` is every address, IPv4 and IPv6. Default `127.0.0.1:10099`.
    pub listen_address: Vec<SocketAddr>,
    /// Names under which the page, the report and reloads may be asked for. Default none but those that nobody else can
    /// have.
    pub allowed_hosts: Vec<String>,
}

/// Reads `[web]`.
pub(crate) fn read(mut section: Section<'_>) -> Web {
    const ACCEPTED: &str = "address:port such as 127.0.0.1:10099, [::1]:10099 or, for every address, :10099";
    let mut listen_address: Vec<SocketAddr> = Vec::new();
    match section.texts("listen-address", ACCEPTED) {
        None => listen_address.push(SocketAddr::from((Ipv4Addr::LOCALHOST, 10_099))),
        Some(texts) => {
            for scalar in texts {
                let problem = |message: &str| scalar.place.problem(message).value(scalar.text);
                match address(scalar.text) {
                    Ok(address) if listen_address.iter().any(|known| overlap(*known, address)) => {
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
    Web { listen_address, allowed_hosts: hosts.unwrap_or_default() }
}

fn address(text: &str) -> Result<SocketAddr, &'static str> {
    let address = match text.strip_prefix(':') {
        Some(port) => port.parse().map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).ok(),
        None => text.replacen("localhost:", "127.0.0.1:", 1).parse().ok(),
    };
    address.ok_or("not an address with a port")
}

/// Whether one is the other, or both are every address.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    one == other || one.port() == other.port() && one.ip().is_unspecified() && other.ip().is_unspecified()
}
