//! Configuration: what to watch and how, from `litestream.yml` (v0.3 and v0.5) and our own `streamgauge.toml`,
//! environment and flags.
//!
//! [`load`] is all: it reads everything, reports every mistake at once, and returns [`Settings`] and [`Target`]s.
//!
//! ```text
//! flags, STREAMGAUGE__…, streamgauge.toml ─► layers ─► Node ─► own (settings, database) ─┐
//! litestream.yml ─► expand ─► yaml ─► Node ─► litestream (keys, replica, s3, scan) ───────┴─► targets
//! ```

pub mod fuzz;
mod litestream;
mod own;
pub(crate) mod problem;
pub(crate) mod source;
pub(crate) mod value;

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::litestream::keys::Keys;
use self::litestream::replica;
use self::own::targets::{Collection, Found};
use self::own::{database, observe, settings};
use self::problem::{Collected, Place, Sink};
use self::source::expand::{self, Unset};
use self::source::node::Dialect;
use self::source::text::read_text;
use self::source::{layers, yaml};
use self::value::paths::{Base, USERS};
use self::value::section::Section;
use crate::domain::assessment::SourceReport;
use crate::domain::limits::{CONFIG_BYTES_MAX, DATABASES_MAX};
use crate::domain::naming::Names;
use crate::domain::target::{ReplicaTarget, Target};
use crate::infrastructure::files::Stamp;

pub use self::own::database::read_age_identities;
pub use self::own::drill::Drill;
pub use self::own::observe::{Observe, Observed};
pub use self::own::settings::{LOG_LEVELS, Litestream, Log, LogFormat, Requests, Settings};
pub use self::own::web::{ListenAddress, Web};
pub use self::problem::Problem;
pub(crate) use self::problem::did_you_mean;
pub use self::value::duration::read as read_duration;
pub use self::value::paths::{PathMapping, home};
pub use self::value::size::read as read_size;

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
    /// The directory that `~` stands for.
    pub home: Option<PathBuf>,
    /// The names that databases were given before.
    pub names: Names,
}

impl Input {
    fn base(&self) -> Base {
        Base::new(self.working_directory.clone(), self.home.clone())
    }
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
    /// Mistakes that do no harm, such as keys that Litestream ignores.
    pub warnings: Vec<Problem>,
    /// The files of which it was made, as they were.
    pub read: Vec<Stamp>,
    /// It was made of nothing else, such as what a directory holds.
    pub read_all: bool,
    /// Facts that are good to know before something is changed, although nothing is wrong.
    pub notes: Vec<Problem>,
}

/// A configuration that cannot be used.
#[derive(Clone, Debug)]
pub struct Refused {
    pub problems: Vec<Problem>,
    /// Possible causes of a problem, such as a variable that is not set.
    pub warnings: Vec<Problem>,
}

/// Reads all sources. Blocking; called at start, on reload, and at each `litestream.discovery-interval`.
///
/// # Errors
///
/// All problems and warnings of all sources, in the order of the sources.
pub fn load(input: &Input, mut observed: impl FnMut(&Settings, &Observe) -> Observed) -> Result<Loaded, Refused> {
    let sink = Sink::default();
    let base = input.base();
    base.depends_on(Path::new(USERS));
    let Own { settings, entries, observes } = own(input, &base, &sink);

    let mut collection = Collection::default();
    let mut sources: Vec<SourceReport> = Vec::new();
    for path in &settings.litestream.config {
        sources.push(litestream_file(path, input, &base, &settings, &mut collection, &sink));
    }
    if let Some(path) = &input.config_file {
        sources.push(source(&name(path), entries.len(), None));
    }
    let nothing = sources.iter().all(|source| source.databases == 0) && observes.is_empty() && collection.is_empty();
    let nothing = nothing && settings.litestream.config.is_empty();
    for entry in entries {
        collection.add_entry(entry, &sink);
    }
    let mut places = HashSet::new();
    for observe in observes.iter().filter(|observe| !places.insert(observe.replica.location.identity())) {
        sink.problem(observe.twice());
    }
    // A mistake elsewhere costs no requests.
    for observe in observes.iter().filter(|_| sink.is_clean()) {
        base.depends_on_more();
        let Observed { replicas, gone, error } = observed(&settings, observe);
        let source = source(&observe.url(), replicas.len(), error);
        if gone > 0 {
            sink.warning(observe.gone(gone));
        }
        collection.add_observed(observe, &replicas, &input.names);
        sources.push(source);
    }
    let mut names = input.names.clone();
    let mut targets = collection.into_targets(settings.shard, &mut names, &sink);
    if nothing && sink.is_clean() {
        let place = Place::file(&input.config_file.as_deref().map_or_else(|| "configuration".into(), name));
        sink.problem(place.problem(
            "nothing to watch: name a litestream.yml with --litestream.config, or a [[database]] or [[observe]] in \
             streamgauge.toml",
        ));
    }

    let Collected { problems, warnings, notes } = sink.into_parts();
    if !problems.is_empty() {
        return Err(Refused { problems, warnings });
    }
    let over_limit = targets.len().saturating_sub(DATABASES_MAX);
    targets.truncate(DATABASES_MAX);
    for source in &mut sources {
        let own = warnings.iter().filter(|warning| warning.file == source.source);
        source.warnings = own.map(ToString::to_string).collect();
    }
    let (read_all, read) = (!base.has_more(), base.into_files());
    Ok(Loaded { settings, targets, over_limit, names, sources, warnings, read, read_all, notes })
}

/// The replica that a URL of the command line names, read as a `[[database.replica]]` is.
///
/// # Errors
///
/// When the URL is wrong.
pub fn replica_of_url(input: &Input, url: &str) -> Result<ReplicaTarget, Box<Problem>> {
    let base = input.base();
    let context =
        replica::Context { base: &base, path_map: &[], environment: &input.environment, v03: false, below: false };
    let keys = Keys { url: url.to_owned(), ..Keys::default() };
    replica::target(&keys, None, &context)
}

/// The settings without the databases, for commands that are told where to look.
///
/// # Errors
///
/// All problems of `streamgauge.toml` and the environment.
pub fn settings(input: &Input) -> Result<Settings, Vec<Problem>> {
    let sink = Sink::default();
    let base = input.base();
    let Own { settings, .. } = own(input, &base, &sink);
    let Collected { problems, .. } = sink.into_parts();
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

/// A file that was read, before its warnings are known.
fn source(name: &str, databases: usize, error: Option<String>) -> SourceReport {
    SourceReport { source: name.to_owned(), success: error.is_none(), databases, warnings: Vec::new(), error }
}

fn name(path: &Path) -> Arc<str> {
    path.display().to_string().into()
}

/// What our own configuration says.
struct Own {
    settings: Settings,
    entries: Vec<Found>,
    observes: Vec<Observe>,
}

/// Our own file, environment and flags.
fn own(input: &Input, base: &Base, sink: &Sink) -> Own {
    let file = input.config_file.as_deref().map(|path| {
        let (name, path) = (name(path), base.working_directory.join(path));
        base.depends_on(&path);
        let text = read_text(&path, CONFIG_BYTES_MAX).unwrap_or_else(|message| {
            sink.problem(Place::file(&name).problem(message));
            String::new()
        });
        (name, text)
    });
    own_of(file, input, base, sink)
}

/// As [`own`], of a file that was read.
fn own_of(file: Option<(Arc<str>, String)>, input: &Input, base: &Base, sink: &Sink) -> Own {
    let mut flags = input.overrides.clone();
    if !input.litestream_config.is_empty() {
        let paths = input.litestream_config.iter().map(|path| path.display().to_string());
        flags.push(("litestream.config", paths.collect()));
    }
    let root = layers::merge(file.as_ref().map(|(name, text)| (name, text.as_str())), &input.environment, &flags, sink);
    let name = file.map_or_else(|| "configuration".into(), |(name, _)| name);
    let mut section = Section::root(&root, Dialect::Toml, &name, sink);
    // What these entries name is named as this process sees it.
    let context = replica::Context { base, path_map: &[], environment: &input.environment, v03: false, below: false };
    let settings = settings::read(&mut section, &context);
    let entries = section.sections("database").into_iter();
    let entries = entries.map(|section| database::read(section, &settings, &context)).collect();
    let observes = section.sections("observe").into_iter();
    let observes = observes.filter_map(|section| observe::read(section, &settings, &context)).collect();
    Own { settings, entries, observes }
}

fn litestream_file(
    path: &Path,
    input: &Input,
    base: &Base,
    settings: &Settings,
    collection: &mut Collection,
    sink: &Sink,
) -> SourceReport {
    let name = name(path);
    let fail = |message: String| {
        sink.problem(Place::file(&name).problem(message.clone()));
        source(&name, 0, Some(message))
    };
    base.depends_on(path);
    let mut text = match read_text(path, CONFIG_BYTES_MAX) {
        Ok(text) => text,
        Err(message) => return fail(message),
    };
    if settings.litestream.expand_env {
        let limit = usize::try_from(CONFIG_BYTES_MAX).unwrap_or(usize::MAX);
        let Some(expanded) = expand::expand(&text, &input.environment, limit) else {
            return fail(format!("more than {CONFIG_BYTES_MAX} bytes with its variables expanded"));
        };
        for Unset { line, key, message } in expanded.unset {
            sink.warning(Place { line, key, ..Place::file(&name) }.problem(message));
        }
        for variable in &expanded.inserted {
            sink.inserted(variable, input.environment.get(variable).map_or("", String::as_str));
        }
        text = expanded.text;
    }
    let Some(root) = yaml::parse(&text, &name, sink) else {
        return source(&name, 0, Some("not YAML".to_owned()));
    };
    let context = replica::Context {
        base,
        path_map: &settings.litestream.path_map,
        environment: &input.environment,
        v03: false,
        below: false,
    };
    let document = litestream::read(&root, &name, &context, sink);
    let databases = document.databases.len();
    for database in document.databases {
        collection.add_litestream(database, settings, sink);
    }
    source(&name, databases, document.error)
}
