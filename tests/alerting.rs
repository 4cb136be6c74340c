//! Alerts on their way to people, with the real programs at the other end.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod lab;

#[path = "alerting/alertmanager.rs"]
mod alertmanager;
#[path = "alerting/end_to_end.rs"]
mod end_to_end;
#[path = "alerting/people.rs"]
mod people;
#[path = "alerting/programs.rs"]
mod programs;
#[path = "alerting/secrets.rs"]
mod secrets;
#[path = "alerting/site.rs"]
mod site;

use std::path::{Path, PathBuf};
use std::process::Command;

/// A certificate for 127.0.0.1 that nobody trusts, and its key.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output();
    assert!(made.is_ok_and(|made| made.status.success()), "openssl is missing");
    (certificate, key)
}
