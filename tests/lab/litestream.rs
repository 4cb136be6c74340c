//! The genuine Litestream, any of the pinned versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Lab, Process};

/// The credentials that the lab's S3 servers take.
pub const ACCESS_KEY: &str = "test";
pub const SECRET_KEY: &str = "testtesttest";

/// The versions that the tests run: v0.3, v0.5 with LZ4 frames, v0.5 with LZ4 blocks.
pub const VERSIONS: [&str; 3] = ["0.3.13", "0.5.15", "0.5.17"];

impl Lab {
    /// The command line program.
    pub fn litestream(&self, version: &str) -> Command {
        let mut command = self.program(format!("litestream/{version}/litestream"));
        command.env("AWS_ACCESS_KEY_ID", ACCESS_KEY).env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
        command
    }

    /// Starts the daemon with this `litestream.yml`, which is written to `directory`.
    pub fn replicate(&self, version: &str, directory: &Path, yaml: &str) -> Litestream {
        let config = directory.join("litestream.yml");
        fs::write(&config, yaml).unwrap();
        let mut command = self.litestream(version);
        command.arg("replicate").arg("-config").arg(&config);
        Litestream { process: Process::spawn(&mut command, directory.join("litestream.log")), config }
    }

    /// Restores the newest state; the error is what Litestream printed.
    pub fn restore(&self, version: &str, url: &str, out: &Path) -> Result<(), String> {
        self.restore_with(version, &[], url, out)
    }

    /// Restores with options such as `-timestamp` or `-txid`.
    pub fn restore_with(&self, version: &str, options: &[&str], url: &str, out: &Path) -> Result<(), String> {
        let mut command = self.litestream(version);
        printed(command.arg("restore").args(options).arg("-o").arg(out).arg(url).output().unwrap()).map(drop)
    }

    /// What `restore -dry-run -json` says it would do. Versions from 0.5.12 on.
    pub fn restore_plan(&self, version: &str, url: &str) -> Result<serde_json::Value, String> {
        let mut command = self.litestream(version);
        command.args(["restore", "-dry-run", "-json", "-o", "/nonexistent/restored.db", url]);
        let plan = printed(command.output().unwrap())?;
        Ok(serde_json::from_str(&plan).unwrap_or_else(|error| panic!("{error} in {plan}")))
    }
}

/// A running daemon.
pub struct Litestream {
    pub process: Process,
    /// Its `litestream.yml`.
    pub config: PathBuf,
}

/// A `litestream.yml` for one database, with everything quick. `replica` is the body of the replica, such as
/// `type: file, path: /x`; v0.3 knows no levels and takes a list.
pub fn quick_yaml(version: &str, database: &Path, replica: &str) -> String {
    let database = database.display();
    if version.starts_with("0.3.") {
        return format!(
            "dbs:\n  - path: {database}\n    monitor-interval: 300ms\n    replicas:\n      - {{{replica}, sync-interval: 500ms}}\n"
        );
    }
    format!(
        "levels: [{{interval: 3s}}, {{interval: 9s}}]\n\
         snapshot: {{interval: 20s, retention: 45s}}\n\
         l0-retention: 5s\n\
         l0-retention-check-interval: 2s\n\
         dbs:\n  - path: {database}\n    monitor-interval: 300ms\n    replica: {{{replica}, sync-interval: 500ms}}\n"
    )
}

/// Standard output of a command that succeeded, else all it printed.
pub fn printed(output: Output) -> Result<String, String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    Err(format!("{}: {stdout}{}", output.status, String::from_utf8_lossy(&output.stderr)))
}
