//! Certificates that nobody trusts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test that includes it uses its own part")]

use std::path::{Path, PathBuf};
use std::process::Command;

/// What openssl prints.
pub(crate) fn openssl(arguments: &[&str], directory: &Path) -> String {
    let made = Command::new("openssl").args(arguments).current_dir(directory).output();
    assert!(made.as_ref().is_ok_and(|made| made.status.success()), "openssl {arguments:?}: {made:?}");
    String::from_utf8(made.unwrap().stdout).unwrap()
}

/// A key, as `req` makes it with a certificate or a request for one.
pub(crate) const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/// A certificate for these names, and its key.
pub(crate) fn self_signed(directory: &Path, names: &str, constraints: &str) -> [PathBuf; 2] {
    let (names, constraints) = (format!("subjectAltName={names}"), format!("basicConstraints=critical,{constraints}"));
    let what = ["req", "-x509", "-days", "2", "-subj", "/CN=localhost", "-addext", &names, "-addext", &constraints];
    openssl(&[&what[..], &NEW_KEY, &["-keyout", "key.pem", "-out", "cert.pem"]].concat(), directory);
    ["cert.pem", "key.pem"].map(|file| directory.join(file))
}
