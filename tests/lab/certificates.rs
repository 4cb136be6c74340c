//! Certificates as the real openssl makes them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate and its key, in PEM.
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// The certificate of an authority.
    pub fn authority(directory: &Path, name: &str) -> Self {
        Self::make(directory, name, &["-addext", "basicConstraints=critical,CA:TRUE"])
    }

    /// A certificate with these alternative names (`DNS:localhost,IP:127.0.0.1`) that nobody else has signed.
    pub fn self_signed(directory: &Path, name: &str, names: &str) -> Self {
        let names = format!("subjectAltName={names}");
        Self::make(directory, name, &["-addext", "basicConstraints=critical,CA:FALSE", "-addext", &names])
    }

    /// As [`Certificate::self_signed`], signed by this authority.
    pub fn sign(&self, directory: &Path, name: &str, names: &str) -> Self {
        let names = format!("subjectAltName={names}");
        let (certificate, key) = (self.certificate.to_str().unwrap(), self.key.to_str().unwrap());
        let signed = ["-CA", certificate, "-CAkey", key, "-addext", &names];
        Self::make(directory, name, &[&["-addext", "basicConstraints=critical,CA:FALSE"], &signed[..]].concat())
    }

    fn make(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let path = |ending: &str| directory.join(format!("{name}.{ending}"));
        let (certificate, key) = (path("pem"), path("key"));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", &format!("/CN={name}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .args(arguments)
            .output()
            .expect("openssl is missing");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        Self { certificate, key }
    }
}
