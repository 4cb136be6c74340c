//! Configuration: what to watch and how, from `litestream.yml` (v0.3 and v0.5) and our own `streamgauge.toml`,
//! environment and flags.
//!
//! [`load`] is all: it reads everything, reports every mistake at once, and returns [`Settings`] and [`Target`]s.
//!
//! ```text
//! flags, STREAMGAUGE__…, streamgauge.toml ─► layers ─► node ─► settings, database ─┐
//! litestream.yml ─► expand ─► yaml ─► node ─► litestream (replica, s3, scan) ──────┴─► targets
//! ```

mod alerting;
mod database;
mod drill;
mod duration;
mod expand;
mod glob;
mod layers;
mod litestream;
mod node;
mod paths;
mod permissions;
mod pitfalls;
mod problem;
mod receiver;
mod replica;
mod s3;
mod scan;
mod scratch;
mod settings;
mod size;
mod targets;
mod url;
mod yaml;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::domain::assessment::SourceReport;
use crate::domain::limits::{CONFIG_BYTES_MAX, DATABASES_MAX};
use crate::domain::naming::Names;
use crate::domain::reason::Reason;
use crate::domain::target::{ReplicaTarget, Target};

use self::expand::Unset;
use self::node::{Dialect, Section};
use self::paths::Base;
use self::problem::{Collected, Place, Sink};
use self::targets::Collection;

pub use self::database::read_age_identities;
pub use self::drill::Drill;
pub use self::paths::{PathMapping, home};
pub use self::problem::Problem;
pub use self::settings::{
    BUCKET_INTERVAL, DIRECTORY_INTERVAL, Litestream, Log, LogFormat, LogLevel, ObjectiveDefaults, Replica,
    STORAGE_PATH, Settings, Storage, Watch, Web,
};
pub use self::size::parse as parse_size;

/// Everything that a load depends on besides files.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// `--config.file`. A file that is named has to exist.
    pub config_file: Option<PathBuf>,
    /// `--litestream.config`; in place of `litestream.config` of the file when not empty.
    pub litestream_config: Vec<PathBuf>,
    pub environment: BTreeMap<String, String>,
    /// Flags, by the key that they override: `("web.listen-address", ["127.0.0.1:10099"])`.
    pub overrides: Vec<(&'static str, Vec<String>)>,
    /// Against which relative paths are resolved.
    pub working_directory: PathBuf,
    /// What `~` stands for.
    pub home: Option<PathBuf>,
    /// The names that databases were given before.
    pub names: Names,
}

/// A configuration that can be used.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub settings: Settings,
    /// Sorted by name, at most [`DATABASES_MAX`].
    pub targets: Vec<Target>,
    /// Targets beyond that.
    pub over_limit: usize,
    /// The names of [`Input`] and the new ones.
    pub names: Names,
    pub sources: Vec<SourceReport>,
    /// What is surely not meant and can be lived with, such as keys that Litestream ignores.
    pub warnings: Vec<Problem>,
    /// What is right as it is and good to know before something is changed.
    pub notes: Vec<Problem>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug)]
pub struct Refused {
    pub problems: Vec<Problem>,
    /// What may be the cause of a problem, such as a variable that is not set.
    pub warnings: Vec<Problem>,
}

/// Reads all sources. Blocking; called at start, on reload, and at each `litestream.discovery-interval`.
///
/// # Errors
///
/// All problems and warnings of all sources, in the order of the sources.
pub fn load(input: &Input) -> Result<Loaded, Refused> {
    let sink = Sink::default();
    let base = Base { working_directory: input.working_directory.clone(), home: input.home.clone() };
    let (settings, entries) = own(input, &base, &sink);

    let mut collection = Collection::default();
    let mut counts: Vec<Source> = Vec::new();
    for path in &settings.litestream.config {
        let source = litestream_file(path, input, &base, &settings, &mut collection, &sink);
        counts.push(source);
    }
    if let Some(path) = &input.config_file {
        counts.push(Source { name: name(path), databases: entries.len(), error: None });
    }
    let nothing = settings.litestream.config.is_empty() && entries.is_empty() && collection.is_empty();
    for entry in entries {
        collection.add_entry(entry, &settings.objectives, &sink);
    }
    let mut names = input.names.clone();
    let mut targets = collection.into_targets(&settings, &mut names, &sink);
    if nothing && sink.is_clean() {
        let place = Place::file(&input.config_file.as_deref().map_or_else(|| "configuration".into(), name));
        sink.problem(place.problem(
            "nothing to watch: name a litestream.yml with --litestream.config, or a [[database]] in streamgauge.toml",
        ));
    }

    let Collected { problems, warnings, notes } = sink.into_parts();
    if !problems.is_empty() {
        return Err(Refused { problems, warnings });
    }
    let over_limit = targets.len().saturating_sub(DATABASES_MAX);
    targets.truncate(DATABASES_MAX);
    let sources = counts.into_iter().map(|source| source.report(&warnings)).collect();
    Ok(Loaded { settings, targets, over_limit, names, sources, warnings, notes })
}

/// The replica that a URL of the command line names, read as a `[[database.replica]]` is.
///
/// # Errors
///
/// What is wrong with the URL.
pub fn replica_of_url(input: &Input, url: &str) -> Result<ReplicaTarget, Box<Problem>> {
    let base = Base { working_directory: input.working_directory.clone(), home: input.home.clone() };
    let context = replica::Context { base: &base, path_map: &[], environment: &input.environment, v03: false };
    let keys = replica::Keys { url: url.to_owned(), ..replica::Keys::default() };
    replica::target(&keys, None, &context).map_err(|fault| Box::new(fault.at(&Place::file(&"command line".into()))))
}

/// What is configured apart from databases, for commands that are told where to look.
///
/// # Errors
///
/// All problems of `streamgauge.toml` and the environment.
pub fn settings(input: &Input) -> Result<Settings, Vec<Problem>> {
    let sink = Sink::default();
    let base = Base { working_directory: input.working_directory.clone(), home: input.home.clone() };
    let (settings, _) = own(input, &base, &sink);
    let Collected { problems, .. } = sink.into_parts();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// A file that was read, before its warnings are known.
struct Source {
    name: Arc<str>,
    databases: usize,
    error: Option<String>,
}

impl Source {
    fn report(self, warnings: &[Problem]) -> SourceReport {
        let own = warnings.iter().filter(|warning| warning.file == *self.name);
        SourceReport {
            source: self.name.to_string(),
            success: self.error.is_none(),
            databases: self.databases,
            warnings: own.map(ToString::to_string).collect(),
            error: self.error,
        }
    }
}

fn name(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// Our own file, environment and flags.
fn own(input: &Input, base: &Base, sink: &Sink) -> (Settings, Vec<database::Entry>) {
    let file = input.config_file.as_deref().map(|path| {
        let name = name(path);
        let text = read_text(&base.working_directory.join(path), CONFIG_BYTES_MAX).unwrap_or_else(|message| {
            sink.problem(Place::file(&name).problem(message));
            String::new()
        });
        (name, text)
    });
    let mut flags = input.overrides.clone();
    if !input.litestream_config.is_empty() {
        let paths = input.litestream_config.iter().map(|path| path.display().to_string());
        flags.push(("litestream.config", paths.collect()));
    }
    let root = layers::merge(file.as_ref().map(|(name, text)| (name, text.as_str())), &input.environment, &flags, sink);
    let name = file.map_or_else(|| "configuration".into(), |(name, _)| name);
    let mut section = Section::root(&root, Dialect::Toml, &name, sink);
    let litestream_config = input.environment.get("LITESTREAM_CONFIG").map(String::as_str);
    let settings = settings::read(&mut section, &settings::Context { base, litestream_config });
    // What these entries name is named as this process sees it.
    let context = replica::Context { base, path_map: &[], environment: &input.environment, v03: false };
    let entries = section.sections("database").into_iter().map(|section| database::read(section, &context)).collect();
    section.finish();
    (settings, entries)
}

fn litestream_file(
    path: &Path,
    input: &Input,
    base: &Base,
    settings: &Settings,
    collection: &mut Collection,
    sink: &Sink,
) -> Source {
    let name = name(path);
    let fail = |message: String| {
        sink.problem(Place::file(&name).problem(message.clone()));
        Source { name: Arc::clone(&name), databases: 0, error: Some(message) }
    };
    let mut text = match read_text(path, CONFIG_BYTES_MAX) {
        Ok(text) => text,
        Err(message) => return fail(message),
    };
    if settings.litestream.expand_env {
        let limit = usize::try_from(CONFIG_BYTES_MAX).unwrap_or(usize::MAX);
        let Some(expanded) = expand::expand(&text, &input.environment, limit) else {
            return fail(format!("more than {CONFIG_BYTES_MAX} bytes with its variables expanded"));
        };
        for unset in &expanded.unset {
            sink.warning(warning_of(unset, &name));
        }
        for variable in &expanded.inserted {
            sink.inserted(variable, input.environment.get(variable).map_or("", String::as_str));
        }
        text = expanded.text;
    }
    let Some(root) = yaml::parse(&text, &name, sink) else {
        return Source { name, databases: 0, error: Some("not YAML".to_owned()) };
    };
    let context =
        replica::Context { base, path_map: &settings.litestream.path_map, environment: &input.environment, v03: false };
    let document = litestream::read(&root, &name, &context, sink);
    let databases = document.databases.len();
    for database in document.databases {
        collection.add_litestream(database, &settings.objectives, sink);
    }
    Source { name, databases, error: document.error }
}

fn warning_of(unset: &Unset, file: &Arc<str>) -> Problem {
    let (line, key, message) = match unset {
        Unset::Name(name) if name == "PID" => (
            None,
            "$PID".to_owned(),
            "the number of Litestream's process, which is not known here; replaced by nothing",
        ),
        Unset::Name(name) => {
            (None, format!("${name}"), "not set in this process's environment, replaced by nothing as Litestream would")
        }
        Unset::Shell(name) => (
            None,
            format!("${{{name}…}}"),
            "Litestream has no defaults: it takes all between the braces for a name, and puts nothing in its place",
        ),
        Unset::Hidden(line) => (
            Some(*line),
            String::new(),
            "Litestream takes a `$` here for a variable, which is not set, and puts nothing in its place (not shown, \
             because it may be part of a password)",
        ),
    };
    Place { file: Arc::clone(file), line, key }.problem(message)
}

/// Reads a text file of at most `limit` bytes.
fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let sentence = |error: std::io::Error| Reason::from(error).message;
    // A pipe would block whoever opens it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(sentence)?;
    let kind = file.metadata().map_err(sentence)?.file_type();
    if kind.is_dir() {
        return Err("a directory, not a file".to_owned());
    }
    if !kind.is_file() {
        return Err("a pipe or device, not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(sentence)?;
    if bytes.len() as u64 > limit {
        return Err(format!("more than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}
