//! Reaches HTTPS servers through the proxy that the environment names (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`), as
//! Litestream does. Plain HTTP is never proxied: it is spoken with servers nearby and with the instance's metadata.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// TCP connections, directly or through a tunnel.
#[derive(Clone)]
pub(in super::super) struct Proxied {
    tcp: HttpConnector,
    proxies: Arc<Matcher>,
}

type BoxError = Box<dyn Error + Send + Sync>;

impl Proxied {
    pub(super) fn new(tcp: HttpConnector, proxies: Matcher) -> Self {
        Self { tcp, proxies: Arc::new(proxies) }
    }
}

impl fmt::Debug for Proxied {
    /// A proxy's address may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proxied")
    }
}

impl Service<Uri> for Proxied {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let remote = server.scheme() == Some(&Scheme::HTTPS) && !server.host().is_some_and(is_this_machine);
        let Some(proxy) = remote.then(|| self.proxies.intercept(&server)).flatten() else {
            let connection = self.tcp.call(server);
            return Box::pin(async move { connection.await.map_err(Into::into) });
        };
        let mut tunnel = Tunnel::new(proxy.uri().clone(), self.tcp.clone());
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let connection = tunnel.call(server);
        Box::pin(async move { connection.await.map_err(Into::into) })
    }
}

/// A host that is reached over loopback.
pub(in super::super) fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// The first line that a proxy for everything receives for a connection to `server`; `None` without a connection.
    async fn proxied(server: &'static str) -> Option<String> {
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://user:secret@{}", proxy.local_addr().unwrap());
        let mut connector = Proxied::new(HttpConnector::new(), Matcher::builder().all(address).build());
        connector.tcp.enforce_http(false);
        assert_eq!(format!("{connector:?}"), "Proxied");
        let received = tokio::task::spawn_blocking(move || {
            let line = BufReader::new(proxy.accept().unwrap().0).lines().next();
            line.map(Result::unwrap)
        });
        connector.call(Uri::from_static(server)).await.err()?;
        received.await.unwrap()
    }

    #[tokio::test]
    async fn https_goes_through_the_proxy_as_a_tunnel() {
        let expected = "CONNECT bucket.s3.amazonaws.com:443 HTTP/1.1";
        assert_eq!(proxied("https://bucket.s3.amazonaws.com").await.as_deref(), Some(expected));
    }

    #[test]
    fn this_machine_is_recognised() {
        for (host, expected) in [
            ("localhost", true),
            ("127.0.0.1", true),
            ("[::1]", true),
            ("10.0.0.1", false),
            ("localhost.example", false),
        ] {
            assert_eq!(is_this_machine(host), expected, "{host}");
        }
    }
}
