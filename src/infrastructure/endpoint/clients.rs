//! Certificates of clients: whether one is asked for, and which of them are taken.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What is asked of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// Nothing.
    Nothing,
    /// A certificate, whoever signed it, if it has one.
    Request,
    /// A certificate, whoever signed it.
    RequireAny,
    /// A certificate by one of the authorities, if it has one.
    VerifyIfGiven,
    /// A certificate by one of the authorities.
    RequireAndVerify,
}

impl ClientAuth {
    /// The words of Go.
    pub(super) const WORDS: [(&'static str, Self); 6] = [
        ("NoClientCert", Self::Nothing),
        ("RequestClientCert", Self::Request),
        ("RequireAnyClientCert", Self::RequireAny),
        ("RequireClientCert", Self::RequireAny),
        ("VerifyClientCertIfGiven", Self::VerifyIfGiven),
        ("RequireAndVerifyClientCert", Self::RequireAndVerify),
    ];

    pub(super) fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }
}

/// Takes certificates as [`ClientAuth`] has it, and of them those that have one of the names.
#[derive(Debug)]
pub(super) struct Clients {
    chain: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    names: Vec<String>,
    provider: Arc<CryptoProvider>,
}

impl Clients {
    /// Signed by one of `roots`, where that is verified. With `names`, a certificate is required in any case: without one
    /// there is no name.
    ///
    /// # Errors
    ///
    /// When no certificate could be verified by these authorities.
    pub(super) fn new(
        auth: ClientAuth,
        roots: RootCertStore,
        names: Vec<String>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let verifier = || WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build();
        let chain = auth.verifies().then(verifier).transpose().map_err(|error| error.to_string())?;
        let required = matches!(auth, ClientAuth::RequireAny | ClientAuth::RequireAndVerify);
        Ok(Self { chain, mandatory: required || !names.is_empty(), names, provider })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.as_ref().map_or(&[], |chain| chain.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(chain) = &self.chain {
            chain.verify_client_cert(certificate, intermediates, now)?;
        }
        let allowed = self.names.is_empty() || names_of(certificate).iter().any(|name| self.names.contains(name));
        let refused = || rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        allowed.then(ClientCertVerified::assertion).ok_or_else(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The alternative names of a certificate: DNS names, mail addresses, IP addresses and URIs. None of one that does not
/// parse.
fn names_of(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let address = |bytes: &[u8]| {
        let ipv4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
        let ipv6 = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
        ipv4.or_else(|_| ipv6()).ok().map(|address| address.to_string())
    };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}
