//! A database, its writer, and a replica that the genuine Litestream writes when it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use streamgauge::domain::litestream::{LtxHeader, decode};
use streamgauge_testkit::ltx::{self, HEADER_SIZE, Pages};

use crate::lab::litestream::printed;
use crate::lab::writer::Writer;
use crate::lab::{Lab, command};

pub const VERSION: &str = "0.5.17";

pub struct Site {
    /// Everything is in here.
    pub home: tempfile::TempDir,
    pub database: PathBuf,
    pub replica: PathBuf,
    pub scratch: PathBuf,
    pub writer: Writer,
}

/// What a run of `streamgauge drill` came to.
pub struct Drilled {
    pub code: Option<i32>,
    pub records: Vec<Value>,
    pub stderr: String,
}

impl Drilled {
    pub fn record(&self) -> &Value {
        assert_eq!(self.records.len(), 1, "{}", self.stderr);
        &self.records[0]
    }

    /// The one result, which the exit code has to agree with.
    pub fn result(&self) -> &str {
        let result = self.record()["result"].as_str().unwrap();
        let code = match result {
            "passed" => 0,
            "failed" => 2,
            _ => 3,
        };
        assert_eq!(self.code, Some(code), "{}", self.record());
        result
    }

    pub fn reason(&self) -> String {
        self.record()["reason"]["message"].as_str().unwrap_or_default().to_owned()
    }

    pub fn check(&self, name: &str) -> (&str, &str) {
        let checks = self.record()["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["name"] == name);
        let check = check.unwrap_or_else(|| panic!("no {name} in {}", self.record()));
        (check["result"].as_str().unwrap(), check["detail"].as_str().unwrap())
    }
}

impl Site {
    /// A database with a hundred rows in it, all of them in the replica.
    pub fn new(lab: &Lab) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (database, replica) = (home.path().join("app.db"), home.path().join("replica"));
        let scratch = home.path().join("scratch");
        let mut writer = lab.writer(&database);
        writer.sql("PRAGMA wal_autocheckpoint = 0");
        writer.create_table();
        writer.commit(100);
        let yaml = format!(
            "dbs:\n  - path: {}\n    replica: {{type: file, path: {}}}\n",
            database.display(),
            replica.display()
        );
        fs::write(home.path().join("litestream.yml"), yaml).unwrap();
        let site = Self { home, database, replica, scratch, writer };
        site.configure("1h");
        site.sync(lab, &["-force-snapshot"]);
        site
    }

    /// Writes `streamgauge.toml` with this recovery point objective.
    pub fn configure(&self, rpo: &str) {
        let litestream = self.home.path().join("litestream.yml");
        let toml = format!(
            "[litestream]\nconfig = [{litestream:?}]\n[objectives]\nrpo = \"{rpo}\"\n[storage]\npath = {:?}\n",
            self.home.path().join("storage")
        );
        fs::write(self.config(), toml).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.home.path().join("streamgauge.toml")
    }

    /// Replicates what was committed since, as one level-0 file.
    pub fn sync(&self, lab: &Lab, options: &[&str]) {
        self.sync_to(lab, options, &format!("file://{}", self.replica.display()));
    }

    pub fn sync_to(&self, lab: &Lab, options: &[&str], url: &str) {
        let mut litestream = lab.litestream(VERSION);
        litestream.args(["replicate", "-once"]).args(options).arg(&self.database).arg(url);
        printed(litestream.output().unwrap()).unwrap();
    }

    /// `streamgauge drill` with the site's configuration.
    pub fn command(&self) -> Command {
        self.command_in(&self.scratch)
    }

    /// The same with another scratch directory.
    pub fn command_in(&self, scratch: &Path) -> Command {
        let mut drill = command(env!("CARGO_BIN_EXE_streamgauge"));
        drill.arg("drill").arg("--config.file").arg(self.config()).arg("--scratch").arg(scratch);
        drill.args(["--format", "json"]);
        drill
    }

    pub fn drill(&self, arguments: &[&str]) -> Drilled {
        let drilled = run(self.command().args(arguments));
        assert_eq!(left(&self.scratch), Vec::<PathBuf>::new(), "scratch space is empty again");
        drilled
    }

    /// The files of a level, in the order of their names.
    pub fn level(&self, level: u8) -> Vec<PathBuf> {
        let mut files: Vec<_> = fs::read_dir(self.replica.join(format!("ltx/{level}")))
            .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
            .unwrap_or_default();
        files.sort();
        files
    }

    /// Encodes a file again with other pages, and the right checksum.
    pub fn forge(path: &Path, change: impl FnOnce(&LtxHeader, &mut Pages)) {
        let mut pages = Pages::new();
        let bytes = fs::read(path).unwrap();
        let summary = decode(bytes.as_slice(), |number, page| drop(pages.insert(number, page.to_vec()))).unwrap();
        change(&summary.header, &mut pages);
        let mut writer = ltx::Writer::new(&bytes[..HEADER_SIZE]);
        pages.iter().for_each(|(number, page)| writer.block(*number, page));
        fs::write(path, writer.finish()).unwrap();
    }
}

pub fn run(command: &mut Command) -> Drilled {
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let records = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Drilled { code: output.status.code(), records, stderr }
}

/// What is in a directory, which need not be there.
pub fn left(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map(|entries| entries.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default()
}
