//! Certificates as the real openssl makes them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, unreachable_pub, reason = "each test that includes it uses its own part")]

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

    /// The names of both files.
    pub fn files(&self) -> [&str; 2] {
        [&self.certificate, &self.key].map(|file| file.to_str().unwrap())
    }

    fn make(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let path = |ending: &str| directory.join(format!("{name}.{ending}"));
        let made = Self { certificate: path("pem"), key: path("key") };
        let [certificate, key] = made.files();
        let subject = format!("/CN={name}");
        let new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        let what = ["-subj", &subject, "-keyout", key, "-out", certificate];
        openssl(&[&new[..], &what, arguments].concat());
        made
    }
}

/// What openssl prints.
pub fn openssl(arguments: &[&str]) -> String {
    let made = Command::new("openssl").args(arguments).output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "openssl {arguments:?}: {made:?}");
    String::from_utf8(made.unwrap().stdout).unwrap()
}
