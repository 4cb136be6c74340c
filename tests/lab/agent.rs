//! The agent itself, as the binary that users run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::clock::LabClock;
use super::{Process, command, http, wait_for};

/// A running `streamgauge run`.
pub struct Agent {
    pub process: Process,
    pub address: String,
    /// Its `streamgauge.toml`.
    pub config: PathBuf,
}

impl Agent {
    /// Starts it with this `streamgauge.toml`, which is written to `directory`, and waits for its address.
    pub fn start(directory: &Path, toml: &str, arguments: &[&str]) -> Self {
        Self::start_keeping(directory, toml, &directory.join("streamgauge"), arguments)
    }

    /// As [`Agent::start`], with a storage path of its own.
    pub fn start_keeping(directory: &Path, toml: &str, storage: &Path, arguments: &[&str]) -> Self {
        Self::start_at(None, directory, toml, storage, arguments)
    }

    /// As [`Agent::start_keeping`], by a clock of its own.
    pub fn start_at(
        clock: Option<&LabClock>,
        directory: &Path,
        toml: &str,
        storage: &Path,
        arguments: &[&str],
    ) -> Self {
        let mut command = command(env!("CARGO_BIN_EXE_streamgauge"));
        if let Some(clock) = clock {
            clock.give(&mut command);
        }
        Self::start_by(command, directory, toml, storage, arguments)
    }

    /// As [`Agent::start_keeping`], by a command that starts the binary with the arguments that it is given.
    pub fn start_by(mut command: Command, directory: &Path, toml: &str, storage: &Path, arguments: &[&str]) -> Self {
        let config = directory.join("streamgauge.toml");
        fs::write(&config, toml).unwrap();
        // Whatever can be asked for, unless a test is about what is served.
        if !toml.contains("[metrics]") {
            command.env("STREAMGAUGE__METRICS__PROFILE", "full");
        }
        command
            .arg("run")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", storage.display()))
            .args(["--web.listen-address=127.0.0.1:0", "--log.format=logfmt"])
            .args(arguments);
        let mut process = Process::spawn(&mut command, directory.join("streamgauge.log"));
        let mut address = None;
        wait_for("the agent's address", || {
            assert!(process.is_running(), "the agent ended: {}", process.log());
            address = listen_address(&process.log());
            address.is_some()
        });
        Self { process, address: address.unwrap(), config }
    }

    pub fn get(&self, path: &str) -> http::Response {
        http::get(&self.address, path, &[]).unwrap()
    }

    /// Waits for the first complete report.
    pub fn wait_until_ready(&self) {
        wait_for("the agent to be ready", || self.get("/-/ready").status == 200);
    }

    /// The latest report; waits for the first one.
    #[track_caller]
    pub fn report(&self) -> serde_json::Value {
        let mut report = serde_json::Value::Null;
        wait_for("a report", || {
            report = self.get("/api/v1/report").json();
            report["databases"].is_array()
        });
        report
    }

    /// All of `/metrics`, as text 0.0.4.
    pub fn metrics(&self) -> String {
        http::get(&self.address, "/metrics", &[("Accept", "text/plain;version=0.0.4")]).unwrap().text()
    }

    /// The value of the one sample that has these labels among its own; `None` when there is no such sample.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let text = self.metrics();
        let mut found = text.lines().filter_map(|line| sample(line, name, labels));
        let value = found.next();
        assert!(found.next().is_none(), "{name}{labels:?} is more than one sample in\n{text}");
        value
    }
}

/// The address in the line that says where the agent listens.
fn listen_address(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("listen"))?;
    let (_, rest) = line.split_once("127.0.0.1:")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    (port != "0").then(|| format!("127.0.0.1:{port}"))
}

/// The value of a line of the text format if it is a sample of `name` with these labels.
fn sample(line: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let rest = line.strip_prefix(name)?;
    let (own, value) = match rest.strip_prefix('{') {
        Some(rest) => rest.rsplit_once("} ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let own = format!(",{own}");
    let has = |(label, value): &(&str, &str)| own.contains(&format!(",{label}=\"{value}\""));
    labels.iter().all(has).then(|| value.split(' ').next()?.parse().ok())?
}
