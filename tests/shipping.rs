//! What is shipped: the image and the stack around it, packages, the service, Kubernetes and the release.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

#[path = "shipping/compose.rs"]
mod compose;
#[path = "shipping/documents.rs"]
mod documents;
#[path = "shipping/image.rs"]
mod image;
#[path = "shipping/kubernetes.rs"]
mod kubernetes;
#[path = "shipping/packages.rs"]
mod packages;
#[path = "shipping/release.rs"]
mod release;
#[path = "shipping/scripts.rs"]
mod scripts;
#[path = "shipping/stack.rs"]
mod stack;
#[path = "shipping/units.rs"]
mod units;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamgauge::delivery::cli::version::VERSION;

use crate::lab::Lab;
use crate::lab::litestream::printed;

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A copy of what packages and releases are made of, beside the program, in which a test may change what it likes.
fn copied(to: &Path) {
    fs::create_dir_all(to).unwrap();
    let parts = ["CHANGELOG.md", "Cargo.toml", "LICENSE", "alerts", "dashboards", "packaging", "streamgauge.toml"];
    output(Command::new("cp").arg("-R").args(parts).arg(to).current_dir(root()));
}

/// The same with another version in Cargo.toml.
fn copied_as(to: &Path, version: &str) {
    copied(to);
    let manifest = to.join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let named = text.replacen(&format!("version = \"{VERSION}\""), &format!("version = \"{version}\""), 1);
    assert_ne!(named, text);
    fs::write(manifest, named).unwrap();
}

/// What a command printed, which has to succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    printed(output).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The documents of a YAML text, as another reader than ours sees them.
fn yaml(text: &str) -> Vec<serde_json::Value> {
    let program = "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.argv[1])), sys.stdout, default=str)";
    let mut python = Lab::find().program("py/bin/python");
    serde_json::from_str(&output(python.args(["-c", program, text]))).unwrap()
}

/// Holds a file of the repository to what it is generated from; `UPDATE=1` writes it.
#[track_caller]
fn generated(path: &str, wanted: &str) {
    let file: PathBuf = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&file, wanted).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    assert!(found == wanted, "{path} is not what is generated: run with UPDATE=1 and read what changed");
}
