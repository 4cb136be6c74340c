//! `tls_server_config`: what Go's names mean to rustls, and the configuration that follows.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::version::{TLS12, TLS13};
use rustls::{ProtocolVersion, RootCertStore, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};

use super::clients::{ClientAuth, Clients};
use crate::infrastructure::certificates;

/// The versions of the protocol, oldest first; `None` is one that rustls does not have.
pub(super) const VERSIONS: [(&str, Option<&SupportedProtocolVersion>); 4] =
    [("TLS10", None), ("TLS11", None), ("TLS12", Some(&TLS12)), ("TLS13", Some(&TLS13))];

/// Go's names of cipher suites; `None` is one without authenticated encryption, which rustls does not have.
pub(super) const SUITES: [(&str, Option<SupportedCipherSuite>); 13] = [
    ("TLS_AES_128_GCM_SHA256", Some(cipher_suite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(cipher_suite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(cipher_suite::TLS13_CHACHA20_POLY1305_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384)),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Some(cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256)),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Some(cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384)),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Some(cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256)),
];

/// Those of which HTTP/2 demands one (RFC 9113, section 9.2.2).
pub(super) const HTTP2_SUITES: [&str; 2] =
    ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"];

/// Go's names of curves; `None` is one that aws-lc-rs does not exchange keys with.
pub(super) const CURVES: [(&str, Option<&dyn SupportedKxGroup>); 4] = [
    ("CurveP256", Some(kx_group::SECP256R1)),
    ("CurveP384", Some(kx_group::SECP384R1)),
    ("CurveP521", None),
    ("X25519", Some(kx_group::X25519)),
];

/// All that a configuration is made of.
pub(super) struct Settings<'a> {
    /// PEM.
    pub(super) certificate: &'a [u8],
    /// PEM.
    pub(super) key: &'a [u8],
    /// PEM; `None` are the authorities of the system.
    pub(super) authorities: Option<&'a [u8]>,
    pub(super) client_auth: ClientAuth,
    pub(super) client_names: Vec<String>,
    pub(super) versions: Vec<&'static SupportedProtocolVersion>,
    /// In the order of preference; `None` are all. Those of TLS 1.3 are always all, as in Go.
    pub(super) suites: Option<Vec<SupportedCipherSuite>>,
    /// As `suites`.
    pub(super) curves: Option<Vec<&'static dyn SupportedKxGroup>>,
    pub(super) prefer_own_suites: bool,
    pub(super) http2: bool,
}

/// The part of the settings that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Certificate,
    Key,
    Authorities,
    Whole,
}

/// Makes the configuration of a server.
///
/// # Errors
///
/// What is wrong, and where.
pub(super) fn config(settings: Settings<'_>) -> Result<ServerConfig, (Part, String)> {
    let whole = |error: rustls::Error| (Part::Whole, error.to_string());
    let chain = certificates::certificates(settings.certificate).map_err(|error| (Part::Certificate, error))?;
    let key =
        PrivateKeyDer::from_pem_slice(settings.key).map_err(|error| (Part::Key, format!("no private key: {error}")))?;
    let provider = Arc::new(provider(settings.suites, settings.curves));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&settings.versions).map_err(whole)?;
    let builder = match settings.client_auth {
        ClientAuth::Nothing => builder.with_no_client_auth(),
        auth => {
            let roots = if auth.verifies() { roots(settings.authorities)? } else { RootCertStore::empty() };
            let clients = Clients::new(auth, roots, settings.client_names, provider);
            builder.with_client_cert_verifier(Arc::new(clients.map_err(|error| (Part::Authorities, error))?))
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(whole)?;
    config.ignore_client_order = settings.prefer_own_suites;
    let protocols: &[&[u8]] = if settings.http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn provider(
    suites: Option<Vec<SupportedCipherSuite>>,
    curves: Option<Vec<&'static dyn SupportedKxGroup>>,
) -> CryptoProvider {
    let mut provider = default_provider();
    if let Some(suites) = suites {
        let is_13 = |suite: &SupportedCipherSuite| suite.version().version == ProtocolVersion::TLSv1_3;
        provider.cipher_suites.retain(is_13);
        provider.cipher_suites.extend(suites.into_iter().filter(|suite| !is_13(suite)));
    }
    provider.kx_groups = curves.unwrap_or(provider.kx_groups);
    provider
}

/// The authorities that may sign for clients.
fn roots(pem: Option<&[u8]>) -> Result<RootCertStore, (Part, String)> {
    let Some(pem) = pem else { return Ok(certificates::of_system()) };
    let mut roots = RootCertStore::empty();
    certificates::add(&mut roots, pem).map_err(|error| (Part::Authorities, error))?;
    Ok(roots)
}
