//! The SDK's HTTP transport: one pooled hyper client for all S3 clients with the same TLS settings.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use http::{HeaderValue, StatusCode, header};
use http_body_util::Limited;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::clocks::Clocks;
use super::proxy::Proxied;
use crate::domain::limits::{ANSWER_BYTES_MAX, CA_FILE_BYTES_MAX};
use crate::domain::reason::{Reason, ReasonKind};

/// Idle connections kept open to one host, and for how long.
const IDLE_CONNECTIONS_MAX: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// What decides whether two clients may share connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TlsOptions {
    pub(super) skip_verify: bool,
    /// Certificate authorities beside the system's.
    pub(super) ca_files: Vec<PathBuf>,
}

/// A shared pool of connections. Cloning shares it.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<HttpsConnector<Proxied>, SdkBody>,
    clocks: Arc<Clocks>,
}

impl Connector {
    /// Reads certificates: call it where blocking is allowed.
    pub(super) fn new(options: &TlsOptions, connect_timeout: Duration, clocks: Arc<Clocks>) -> Result<Self, Reason> {
        let mut tcp = connect::HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect_timeout));
        let tcp = Proxied::new(tcp, Matcher::from_env());
        let tls = tls_config(options)?;
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(https);
        Ok(Self { client, clocks })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

impl HttpClient for Connector {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let Self { client, clocks } = self.clone();
        HttpConnectorFuture::new(async move {
            let mut request = request.try_into_http1x().map_err(|error| ConnectorError::user(error.into()))?;
            if request.uri().host().is_some_and(is_tigris) {
                request.headers_mut().insert("x-tigris-consistent", HeaderValue::from_static("true"));
            }
            let ranged = request.headers().contains_key(header::RANGE);
            let host = request.uri().authority().map(ToString::to_string).unwrap_or_default();
            let sent = Timestamp::now();
            let response = client.request(request).await.map_err(|error| ConnectorError::io(error.into()))?;
            clocks.take(&host, response.headers(), sent, Timestamp::now());
            // Contents are bounded by whoever reads them; all else is read to its end by the SDK.
            let content = ranged && matches!(response.status(), StatusCode::OK | StatusCode::PARTIAL_CONTENT);
            let response = response.map(|body| match content {
                true => SdkBody::from_body_1_x(body),
                false => SdkBody::from_body_1_x(Limited::new(body, ANSWER_BYTES_MAX)),
            });
            HttpResponse::try_from(response).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Tigris answers from the nearest region unless asked for the newest state, as Litestream asks.
fn is_tigris(host: &str) -> bool {
    ["fly.storage.tigris.dev", "t3.storage.dev"]
        .iter()
        .any(|domain| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

fn tls_config(options: &TlsOptions) -> Result<ClientConfig, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Reason::new(ReasonKind::Failed, format!("set up TLS: {error}")))?;
    if options.skip_verify {
        let verifier = Arc::new(SkipVerify(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in &options.ca_files {
        add_authorities(&mut roots, file).map_err(|reason| {
            reason
                .context(format_args!("read certificate authorities {}", file.display()))
                .with_hint("name a readable PEM file with at least one certificate")
        })?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), Reason> {
    let misconfigured = |cause: String| Reason::new(ReasonKind::Misconfigured, cause);
    let mut pem = Vec::new();
    let file = std::fs::File::open(file).map_err(Reason::from)?;
    file.take(CA_FILE_BYTES_MAX).read_to_end(&mut pem).map_err(Reason::from)?;
    let mut added = 0;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| misconfigured(error.to_string()))?;
        roots.add(certificate).map_err(|error| misconfigured(error.to_string()))?;
        added += 1;
    }
    match added {
        0 => Err(misconfigured("no certificate in it".to_owned())),
        _ => Ok(()),
    }
}

/// Accepts any certificate (`skip-verify`); the peer still has to own its key.
#[derive(Debug)]
struct SkipVerify(Arc<CryptoProvider>);

impl ServerCertVerifier for SkipVerify {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ca.pem");
        std::fs::write(&file, "not a certificate").unwrap();
        let options = TlsOptions { skip_verify: false, ca_files: vec![file.clone()] };
        let refused = Connector::new(&options, Duration::from_secs(1), Arc::default()).unwrap_err();
        assert_eq!(refused.kind, ReasonKind::Misconfigured);
        assert_eq!(refused.message, format!("read certificate authorities {}: no certificate in it", file.display()));
    }

    #[test]
    fn tigris_is_recognised_by_its_hosts() {
        for (host, expected) in [
            ("fly.storage.tigris.dev", true),
            ("bucket.t3.storage.dev", true),
            ("nott3.storage.dev", false),
            ("s3.amazonaws.com", false),
        ] {
            assert_eq!(is_tigris(host), expected, "{host}");
        }
    }
}
