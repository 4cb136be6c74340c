//! A client that speaks TLS as it is told, and a server in this process for it to talk to.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedCipherSuite, SupportedProtocolVersion,
};
use streamgauge::delivery::http::{Guard, ReloadHandle, ReloadRequests, Room, Server};
use streamgauge::delivery::render::published::ReportCell;
use streamgauge::infrastructure::endpoint::{self, Endpoint};
use tokio::runtime::Runtime;

/// A server without a report.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    _runtime: Runtime,
    _reloads: ReloadRequests,
}

impl Served {
    /// With this web configuration.
    pub(super) fn by(file: &Path) -> Self {
        let loaded = endpoint::load(file).unwrap_or_else(|problems| panic!("{}", problems[0]));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (reload, reloads) = ReloadHandle::new();
        let address = runtime.block_on(async {
            let endpoint = Endpoint::follow(file.to_owned(), loaded);
            let server = Server::bind(&["127.0.0.1:0".to_owned()]).await.unwrap();
            let server = server.with(Guard::default(), Room::within(None), endpoint);
            let address = server.local_addrs()[0];
            tokio::spawn(server.serve(ReportCell::default(), reload, std::future::pending()));
            address
        });
        Self { address, _runtime: runtime, _reloads: reloads }
    }
}

pub(super) struct Client {
    /// `None`: plain HTTP.
    roots: Option<RootCertStore>,
    provider: CryptoProvider,
    versions: Vec<&'static SupportedProtocolVersion>,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    http2: bool,
    asks: bool,
}

pub(super) struct Answer {
    /// The status, and what was agreed on: version, suite, protocol.
    pub(super) summary: String,
    /// In lower case but for the values.
    pub(super) head: String,
}

fn certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}

impl Client {
    pub(super) fn plain() -> Self {
        let (provider, versions) = (aws_lc_rs::default_provider(), rustls::ALL_VERSIONS.to_vec());
        Self { roots: None, provider, versions, certificate: None, http2: false, asks: true }
    }

    pub(super) fn trusting(authority: &Path) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(authority));
        Self { roots: Some(roots), ..Self::plain() }
    }

    pub(super) fn showing(self, certificate: &Path, key: &Path) -> Self {
        Self { certificate: Some((certificates(certificate), PrivateKeyDer::from_pem_file(key).unwrap())), ..self }
    }

    pub(super) fn versions(self, versions: &[&'static SupportedProtocolVersion]) -> Self {
        Self { versions: versions.to_vec(), ..self }
    }

    pub(super) fn suites(mut self, suites: &[SupportedCipherSuite]) -> Self {
        self.provider.cipher_suites = suites.to_vec();
        self
    }

    pub(super) fn curves(mut self, curves: &[&'static dyn SupportedKxGroup]) -> Self {
        self.provider.kx_groups = curves.to_vec();
        self
    }

    pub(super) fn offering_http2(self) -> Self {
        Self { http2: true, ..self }
    }

    /// Only agrees on how to talk.
    pub(super) fn without_request(self) -> Self {
        Self { asks: false, ..self }
    }

    pub(super) fn ask(&self, address: SocketAddr, path: &str, headers: &str) -> io::Result<Answer> {
        self.send(address, "GET", path, headers)
    }

    pub(super) fn send(&self, address: SocketAddr, method: &str, path: &str, headers: &str) -> io::Result<Answer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
        let Some(roots) = &self.roots else { return exchange(stream, &request).map(|text| answer(&text, "")) };
        let builder = ClientConfig::builder_with_provider(Arc::new(self.provider.clone()));
        let builder = builder.with_protocol_versions(&self.versions).unwrap().with_root_certificates(roots.clone());
        let mut config = match &self.certificate {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        if self.http2 {
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        }
        let connection = ClientConnection::new(Arc::new(config), address.ip().into()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let version = stream.conn.protocol_version().unwrap();
        let suite = stream.conn.negotiated_cipher_suite().unwrap().suite();
        let protocol = String::from_utf8(stream.conn.alpn_protocol().unwrap_or_default().to_vec()).unwrap();
        let agreed = format!("{version:?} {suite:?} {protocol}").trim_end().to_owned();
        if !self.asks {
            return Ok(Answer { summary: agreed, head: String::new() });
        }
        exchange(stream, &request).map(|text| answer(&text, &agreed))
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    if !answer.starts_with(b"HTTP/1.1 ") {
        return Err(read.err().unwrap_or_else(|| io::Error::other(format!("not HTTP: {answer:?}"))));
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn answer(text: &str, agreed: &str) -> Answer {
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    let summary = format!("{} {agreed}", &head[9..12]).trim_end().to_owned();
    Answer { summary, head: head.to_owned() }
}

/// Asks as the owner does.
pub(super) fn by_socket(path: &Path, method: &str, target: &str) -> String {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let request = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    exchange(stream, &request).unwrap()
}

/// Whether a client that speaks no more than TLS 1.1 is told so.
pub(super) fn is_refused_with_tls_1_1(address: SocketAddr) -> bool {
    let hello = [&[3, 2][..], &[7; 32], &[0, 0, 2, 0xc0, 0x09, 1, 0]].concat();
    let handshake = [&[1, 0, 0, hello.len() as u8][..], &hello].concat();
    let record = [&[22, 3, 1, 0, handshake.len() as u8][..], &handshake].concat();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&record).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    // A fatal alert.
    answer.first() == Some(&21) && answer.get(5) == Some(&2)
}
