//! Asks an agent that runs elsewhere, or beside this process, for what it serves.

use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use aws_smithy_types::base64;
use http::{Request, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::config::{ListenAddress, Web};
use super::endpoint;
use super::http::failure::{chain, tls_error, unreachable};
use super::http::{TlsOptions, client};
use super::percent;
use crate::domain::limits::{AGENT_REASON_CHARS_MAX, AGENT_REPORT_BYTES_MAX};
use crate::domain::printable::printable;
use crate::domain::reason::{Reason, ReasonKind};

/// How long an agent may take to answer. It serves what is rendered already.
const PATIENCE: Duration = Duration::from_secs(10);

/// What helps where the agent lets in only those who can say who they are.
const UNIX_HINT: &str = "let the agent also listen on a Unix socket (listen-address under [web], such as \
                         unix:/run/streamgauge/streamgauge.sock): its owner needs neither a password nor a certificate";

/// An address as it may be shown: without the user and password that may stand in it.
pub fn shown(address: &str) -> String {
    login(address).0
}

/// An address without what stands before the host, and that: `user:password`.
fn login(address: &str) -> (String, Option<&str>) {
    let (scheme, rest) = address.split_at(address.find("://").map_or(0, |at| at + "://".len()));
    match rest.rsplit_once('@').filter(|_| !address.starts_with("unix:")) {
        Some((login, rest)) => (format!("{scheme}{rest}"), Some(login)),
        None => (address.to_owned(), None),
    }
}

/// How this host itself reaches an agent of this configuration: by a Unix socket if there is one, which asks for no
/// password, and otherwise at the first address.
pub fn address_of(web: &Web) -> String {
    let unix = web.listen_address.iter().find(|address| matches!(address, ListenAddress::Unix(_)));
    match unix.or_else(|| web.listen_address.first()) {
        Some(ListenAddress::Tcp(address)) => {
            // Where the file cannot be read by whoever asks, it is there for TLS most likely.
            let tls = |file| endpoint::load(file).map_or(true, |loaded| loaded.has_tls());
            let scheme = if web.config_file.as_deref().is_some_and(tls) { "https" } else { "http" };
            format!("{scheme}://{}", local(*address))
        }
        Some(unix) => unix.to_string(),
        None => format!("http://{}", ListenAddress::DEFAULT),
    }
}

/// How this host itself reaches what is listened on.
fn local(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, address.port())) } else { address }
}

/// The report of the agent at this address, such as `http://127.0.0.1:10099` or `unix:/run/streamgauge.sock`, as JSON.
/// It is told the user and password in `https://user:password@host:port`.
///
/// # Errors
///
/// When the address is none, nobody answers there, or the answer is no report.
pub async fn fetch_report(address: &str) -> Result<Bytes, Reason> {
    fetch(address, "/api/v1/report").await
}

/// What the agent at this address says of its own health, or whether it has looked at everything and is `ready`.
///
/// # Errors
///
/// As [`fetch_report`], and when it is not.
pub async fn fetch_health(address: &str, ready: bool) -> Result<Bytes, Reason> {
    fetch(address, if ready { "/-/ready" } else { "/-/healthy" }).await
}

async fn fetch(address: &str, path: &str) -> Result<Bytes, Reason> {
    let (address, login) = login(address);
    let url = format!("{}{path}", address.trim_end_matches('/'));
    let asked = async {
        let answer = match address.strip_prefix("unix:") {
            Some(socket) => send_by_socket(Path::new(socket), path).await,
            None => send(&url, login).await,
        }?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), AGENT_REPORT_BYTES_MAX).collect().await;
        let body = body.map_err(|error| Reason::new(ReasonKind::Failed, error.to_string()))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let mut message = format!("the answer is {status}");
        if status == http::StatusCode::SERVICE_UNAVAILABLE {
            let said: String = String::from_utf8_lossy(&body).trim().chars().take(AGENT_REASON_CHARS_MAX).collect();
            message = format!("{message}: {}", printable(&said));
        }
        let reason = Reason::new(ReasonKind::Failed, message);
        Err(if status == http::StatusCode::UNAUTHORIZED { reason.with_hint(UNIX_HINT) } else { reason })
    };
    let late = |_| Err(Reason::new(ReasonKind::Timeout, format!("no answer within {} s", PATIENCE.as_secs())));
    let answered = tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(late);
    answered.map_err(|reason| reason.context(format_args!("get {url}")))
}

async fn send(url: &str, login: Option<&str>) -> Result<http::Response<Incoming>, Reason> {
    let uri: Uri = url.parse().map_err(|_| Reason::new(ReasonKind::Misconfigured, "no valid address"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        let reason = Reason::new(ReasonKind::Misconfigured, "not an http:// address");
        return Err(reason.with_hint("an agent is at http://host:port, https://host:port or unix:/path"));
    }
    // What stays on this host needs no proof, and a certificate for this address is rare.
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let skip_verify = host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    let client = client::<Empty<Bytes>>(&TlsOptions { skip_verify, ..TlsOptions::default() }, PATIENCE)?;
    let tls = uri.scheme_str() == Some("https");
    let mut request = Request::get(uri);
    if let Some(login) = login {
        let login = base64::encode(percent::decoded(login).0);
        request = request.header(header::AUTHORIZATION, format!("Basic {login}"));
    }
    let request = request.body(Empty::new()).map_err(|_| Reason::new(ReasonKind::Misconfigured, "no valid address"))?;
    client.request(request).await.map_err(|error| {
        let reason = unreachable(&error);
        match is_of_other_scheme(&error) {
            false => reason,
            true if tls => reason.with_hint("the agent probably speaks no TLS: ask http://"),
            true => reason.with_hint("the agent probably speaks TLS: ask https://"),
        }
    })
}

/// Whether what answered is no HTTP where HTTP was expected, or no TLS where that was.
fn is_of_other_scheme(error: &(dyn Error + 'static)) -> bool {
    chain(error).any(|error| error.downcast_ref().is_some_and(hyper::Error::is_parse))
        || matches!(tls_error(error), Some(rustls::Error::InvalidMessage(_)))
}

async fn send_by_socket(socket: &Path, path: &str) -> Result<http::Response<Incoming>, Reason> {
    let stream = UnixStream::connect(socket).await.map_err(Reason::from)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| unreachable(&error))?;
    // Ends with the answer.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, "localhost").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| Reason::new(ReasonKind::Misconfigured, error.to_string()))?;
    sender.send_request(request).await.map_err(|error| unreachable(&error))
}
