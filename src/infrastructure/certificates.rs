//! Certificates in PEM, and the authorities whose signatures are believed.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// The certificates of a file, in their order.
///
/// # Errors
///
/// Why they are none.
pub(super) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(read) if read.is_empty() => Err("no certificate in it".to_owned()),
        Ok(read) => Ok(read),
        Err(error) => Err(error.to_string()),
    }
}

/// The authorities that this system believes. Blocking.
pub(super) fn of_system() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

/// Believes those of a file as well.
///
/// # Errors
///
/// As [`certificates`].
pub(super) fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    certificates(pem)?.into_iter().try_for_each(|certificate| roots.add(certificate).map_err(|error| error.to_string()))
}
