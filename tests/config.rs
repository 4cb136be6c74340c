//! Configuration, from files to targets: what is accepted, what it means, and what is said about everything else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use streamgauge::domain::target::{ReplicaLocation, Target};
use streamgauge::infrastructure::config::{self, Input, Loaded, Observed, Refused};

#[path = "config/alerting.rs"]
mod alerting;
#[path = "config/broken.rs"]
mod broken;
#[path = "config/commands.rs"]
mod commands;
#[path = "config/drill.rs"]
mod drill;
#[path = "config/generated.rs"]
mod generated;
#[path = "config/genuine.rs"]
mod genuine;
#[path = "lab/mod.rs"]
mod lab;
#[path = "config/litestream.rs"]
mod litestream;
#[path = "config/names.rs"]
mod names;
#[path = "config/observe.rs"]
mod observe;
#[path = "config/own.rs"]
mod own;
#[path = "config/robust.rs"]
mod robust;
#[path = "config/secrets.rs"]
mod secrets;
#[path = "config/values.rs"]
mod values;
#[path = "config/warned.rs"]
mod warned;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/config/broken");

/// A load that finds nothing below the places that are observed.
fn load(input: &Input) -> Result<Loaded, Refused> {
    config::load(input, |_, _| Observed::default())
}

/// A load of one of the broken files.
fn input(file: &str) -> Input {
    let mut input = Input { working_directory: FIXTURES.into(), ..Input::default() };
    if file.ends_with(".toml") {
        input.config_file = Some(file.into());
    } else {
        input.litestream_config = vec![file.into()];
    }
    input
}

/// What a load says when it fails, without the directory of the fixtures.
fn messages(input: &Input) -> Vec<String> {
    let problems = load(input).map(|loaded| loaded.targets).expect_err("a broken configuration was accepted").problems;
    let directory = format!("{}/", input.working_directory.display());
    problems.iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
}

/// Files of one test, in a directory of their own.
struct Files {
    directory: tempfile::TempDir,
    environment: BTreeMap<String, String>,
}

impl Files {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory"), environment: BTreeMap::new() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().expect("a path")
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, bytes).expect("a file");
        self
    }

    fn database(&self, name: &str) -> &Self {
        self.write(name, b"SQLite format 3\0")
    }

    fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A load of `litestream.yml` and `streamgauge.toml`, whichever are there.
    fn input(&self) -> Input {
        let there = |name: &str| Some(PathBuf::from(name)).filter(|name| self.path().join(name).exists());
        Input {
            config_file: there("streamgauge.toml"),
            litestream_config: there("litestream.yml").into_iter().collect(),
            environment: self.environment.clone(),
            working_directory: self.path(),
            home: Some("/home/me".into()),
            ..Input::default()
        }
    }

    fn load(&self) -> Loaded {
        load(&self.input()).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// The directory's own path is of no interest to a reader.
    fn short(&self, text: &str) -> String {
        text.replace(&self.path().display().to_string(), "DIR")
    }

    fn targets(&self) -> Vec<String> {
        self.load().targets.iter().map(|target| self.short(&show(target))).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.load().warnings.iter().map(|warning| self.short(&warning.to_string())).collect()
    }
}

/// `name path [meta] -> replica, … {objectives}`
fn show(target: &Target) -> String {
    let path = |path: &Path| path.display().to_string();
    let files = target.database.as_ref().map_or_else(
        || "remote".to_owned(),
        |files| format!("{} [{}]", path(&files.path), files.meta_path.as_deref().map_or_else(|| "-".to_owned(), path)),
    );
    let replicas: Vec<String> = target
        .replicas
        .iter()
        .map(|replica| {
            let encrypted = if replica.encrypted { " encrypted" } else { "" };
            format!("{}={} {:?}{encrypted}", replica.name, place(&replica.location), replica.sync_interval)
        })
        .collect();
    let hours = |duration: Option<std::time::Duration>| match duration {
        Some(duration) => format!("{}h", duration.as_secs() / 3600),
        None => "-".to_owned(),
    };
    let objectives = &target.objectives;
    format!(
        "{} {files} -> {} {{{:?} {} {}}}",
        target.name,
        replicas.join(", "),
        objectives.rpo,
        hours(objectives.retention),
        hours(objectives.snapshot_interval)
    )
}

fn place(location: &ReplicaLocation) -> String {
    match location {
        ReplicaLocation::S3(s3) => {
            let mut text = format!("s3[{}][{}]", s3.bucket, s3.path);
            for part in [&s3.region, &s3.endpoint, &s3.profile].into_iter().flatten() {
                text.push(' ');
                text.push_str(part);
            }
            for (flag, word) in [(s3.force_path_style, " path-style"), (s3.skip_verify, " unverified")] {
                text.push_str(if flag { word } else { "" });
            }
            match &s3.credentials {
                Some(credentials) => format!("{text} key:{}", credentials.access_key_id),
                None => text,
            }
        }
        ReplicaLocation::Directory(path) => path.display().to_string(),
        other => format!("({}) {}", other.kind().as_str(), other.url()),
    }
}
