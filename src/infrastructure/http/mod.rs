//! Connections to HTTP servers: TLS, certificate authorities, proxies. The one way out for stores and receivers.

pub(super) mod clocks;
pub(super) mod document;
pub(super) mod failure;
pub(super) mod pauses;
pub(super) mod proxy;
pub(super) mod transport;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{Client, connect};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::sync::OnceCell;

use crate::domain::limits::{ANSWER_READ_BYTES_MAX, CA_FILE_BYTES_MAX, IDLE_CONNECTIONS_MAX};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::certificates;

pub(super) use proxy::Proxied;

/// How long idle connections are kept open.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// The options that decide whether two clients may share connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct TlsOptions {
    pub(super) skip_verify: bool,
    /// Certificate authorities beside the system's.
    pub(super) ca_files: Vec<PathBuf>,
}

/// One of something for each way to trust servers, made when it is first needed.
pub(super) struct PerTls<T>(Mutex<HashMap<TlsOptions, Arc<OnceCell<T>>>>);

impl<T> Default for PerTls<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone + Send + 'static> PerTls<T> {
    /// `make` runs where blocking is allowed.
    pub(super) async fn get(
        &self,
        options: &TlsOptions,
        make: impl FnOnce(&TlsOptions) -> Result<T, Reason> + Send + 'static,
    ) -> Result<T, Reason> {
        let cell = {
            let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(made.entry(options.clone()).or_default())
        };
        let options = options.clone();
        cell.get_or_try_init(|| blocking(move || make(&options))).await.cloned()
    }

    /// Makes a new one the next time.
    pub(super) fn forget(&self, options: &TlsOptions) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(options);
    }

    #[cfg(test)]
    pub(super) fn has(&self, options: &TlsOptions) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(options)
    }
}

/// Connects to `http` and `https` servers, the latter through the environment's proxy. Reads certificates: call it where
/// blocking is allowed.
fn connector(options: &TlsOptions, connect_timeout: Duration) -> Result<HttpsConnector<Proxied>, Reason> {
    let mut tcp = connect::HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(connect_timeout));
    let tcp = Proxied::new(tcp, Matcher::from_env());
    let tls = tls_config(options)?;
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp))
}

/// A client with a pool of such connections, which are closed when they idle. Reads certificates, as [`connector`].
pub(super) fn client<B>(
    options: &TlsOptions,
    connect_timeout: Duration,
) -> Result<Client<HttpsConnector<Proxied>, B>, Reason>
where
    B: Body + Send,
    B::Data: Send,
{
    let https = connector(options, connect_timeout)?;
    Ok(Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
        .http1_max_buf_size(ANSWER_READ_BYTES_MAX)
        .build(https))
}

/// The configuration of TLS. Reads certificates, as [`connector`].
pub(super) fn tls_config(options: &TlsOptions) -> Result<ClientConfig, Reason> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Reason::new(ReasonKind::Failed, format!("set up TLS: {error}")))?;
    if options.skip_verify {
        let verifier = Arc::new(SkipVerify(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = certificates::of_system();
    for file in &options.ca_files {
        add_authorities(&mut roots, file).map_err(|reason| {
            reason
                .context(format_args!("read certificate authorities {}", file.display()))
                .with_hint("configure a readable PEM file with at least one certificate")
        })?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn add_authorities(roots: &mut RootCertStore, file: &Path) -> Result<(), Reason> {
    let mut pem = Vec::new();
    let file = std::fs::File::open(file).map_err(Reason::from)?;
    file.take(CA_FILE_BYTES_MAX).read_to_end(&mut pem).map_err(Reason::from)?;
    certificates::add(roots, &pem).map_err(|cause| Reason::new(ReasonKind::Misconfigured, cause))
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
        let refused = connector(&options, Duration::from_secs(1)).unwrap_err();
        assert_eq!(refused.kind, ReasonKind::Misconfigured);
        assert_eq!(refused.message, format!("read certificate authorities {}: no certificate in it", file.display()));
    }
}
