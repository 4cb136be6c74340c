//! From flags, files and environment to what the agent is told.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Handle;

use super::args::{ConfigCheckArgs, RunArgs, SourceArgs};
use super::observer::Observer;
use crate::domain::assessment::SourceReport;
use crate::domain::limits::STORE_CALLS_MAX;
use crate::domain::naming::Names;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::target::{ReplicaTarget, Target};
use crate::infrastructure::config::{Input, Loaded, Problem, Refused, Settings, home, load, replica_of_url, settings};
use crate::infrastructure::files::Stamp;
use crate::infrastructure::store::{StoreOptions, Stores};
use crate::infrastructure::{endpoint, journal};
use crate::usecase::ports::{AskedBy, Configuration, Configured, Origin, Same};
use crate::usecase::watch::{named, remembered_names};

/// Where the configuration is read from, again and again.
#[derive(Clone)]
pub struct Sources(Input, Arc<Observer>);

impl Sources {
    /// The sources named on the command line, read in this process's environment.
    pub fn new(sources: &SourceArgs) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self(
            Input {
                config_file: sources.config_file.clone(),
                litestream_config: sources.litestream_config.clone(),
                environment,
                overrides: Vec::new(),
                working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
                home: home(),
                names: Names::default(),
            },
            Arc::default(),
        )
    }

    /// As [`Sources::new`], with the flags of `run`.
    pub fn of_run(args: &RunArgs) -> Self {
        let mut this = Self::new(&args.sources);
        this.1 = Arc::new(Observer::of_agent());
        this.set("web.listen-address", args.web_listen_address.clone());
        this.set("web.config-file", args.web_config_file.iter().map(|path| path.display().to_string()).collect());
        this.set("web.systemd-socket", args.web_systemd_socket.then(|| "true".to_owned()).into_iter().collect());
        this.set("watch.shard", args.shard.iter().cloned().collect());
        this.set("storage.path", args.storage_path.iter().map(|path| path.display().to_string()).collect());
        this.set("log.level", args.log.level.iter().cloned().collect());
        this.set("log.format", args.log.format.iter().cloned().collect());
        this
    }

    /// As [`Sources::new`], with the flags of `config check`.
    pub fn of_check(args: &ConfigCheckArgs) -> Self {
        let mut this = Self::new(&args.sources);
        this.set("web.config-file", args.web_config_file.iter().map(|path| path.display().to_string()).collect());
        this
    }

    fn set(&mut self, key: &'static str, values: Vec<String>) {
        if !values.is_empty() {
            self.0.overrides.push((key, values));
        }
    }

    /// The configured settings, without the databases.
    ///
    /// # Errors
    ///
    /// All problems in one reason, a line each.
    pub fn settings(&self) -> Result<Settings, Reason> {
        settings(&self.0).map_err(|problems| Reason::new(ReasonKind::Misconfigured, lines(&problems)))
    }

    /// Reads everything. Databases have the names that the agent gave them, where its state can be read.
    ///
    /// # Errors
    ///
    /// All problems in one reason, a line each, and behind them the warnings, which may be their cause.
    pub fn read(&self) -> Result<Loaded, Reason> {
        let storage = settings(&self.0).ok().and_then(|settings| settings.storage);
        let names = storage.map(|path| remembered_names(&journal::peek(&path))).unwrap_or_default();
        self.load(names, AskedBy::Nobody).map_err(|found| refused(refused_lines(&found), &self.args()))
    }

    /// From now on, places of `[[observe]]` are listed as an agent does.
    pub fn observe(&self, stores: Arc<Stores>) {
        self.1.begin(stores, Handle::current());
    }

    fn args(&self) -> SourceArgs {
        SourceArgs { config_file: self.0.config_file.clone(), litestream_config: self.0.litestream_config.clone() }
    }

    fn load(&self, names: Names, asked: AskedBy) -> Result<Loaded, Refused> {
        let input = Input { names, ..self.0.clone() };
        load(&input, |settings, observe| self.1.look(observe, &input.names, asked, || stores(settings)))
    }
}

/// Why a configuration is refused.
fn refused(problems: String, sources: &SourceArgs) -> Reason {
    let command = sources.command("config check");
    let hint = format!("`{command}` prints every problem and, when there is none, what would be watched");
    Reason::new(ReasonKind::Misconfigured, problems).with_hint(hint)
}

/// Reads the web configuration, if there is one.
///
/// # Errors
///
/// All problems in one reason, a line each.
pub fn web_config(settings: &Settings) -> Result<Option<endpoint::Loaded>, Reason> {
    let read = settings.web.config_file.as_deref().map(endpoint::load).transpose();
    read.map_err(|problems| refused(lines(&problems), &SourceArgs::default()))
}

fn is_valid(web_config: &Path) -> bool {
    endpoint::load(web_config).is_ok()
}

/// A replica that the command line names, with the database that it is of if that is configured.
#[derive(Clone, Debug)]
pub struct Picked {
    pub target: Option<Target>,
    pub replica: ReplicaTarget,
}

impl Sources {
    /// Finds the replicas that `DATABASE|URL` and `--replica` name: all that are configured when no place is named. A URL
    /// needs no configuration.
    ///
    /// # Errors
    ///
    /// Problems of the configuration, and names that nothing goes by.
    pub fn pick(&self, places: &[String], replica: Option<&str>) -> Result<(Settings, Vec<Picked>), Reason> {
        let (urls, names): (Vec<&String>, Vec<&String>) = places.iter().partition(|place| place.contains("://"));
        let names: Vec<String> = names.into_iter().cloned().collect();
        let mut picked = Vec::new();
        for url in &urls {
            let replica = replica_of_url(&self.0, url)
                .map_err(|problem| Reason::new(ReasonKind::Misconfigured, problem.to_string()))?;
            picked.push(Picked { target: None, replica });
        }
        if names.is_empty() && !urls.is_empty() {
            return Ok((self.settings()?, picked));
        }
        let meant = |reason| with_url_hint(reason, &names);
        let Loaded { targets, settings, sources, .. } = self.read().map_err(meant)?;
        // What a place holds that could not be listed is not known.
        let unlisted = unlisted(&sources);
        if let Some(reason) = unlisted.clone().filter(|_| names.is_empty()) {
            return Err(reason);
        }
        let found = resolved(&targets, &names);
        for target in named(targets, &found).map_err(|reason| unlisted.unwrap_or_else(|| meant(reason)))? {
            let wanted = |one: &&Arc<ReplicaTarget>| replica.is_none_or(|name| name == one.name);
            let own: Vec<_> = target.replicas.iter().filter(wanted).map(|replica| (**replica).clone()).collect();
            if own.is_empty() && !names.is_empty() {
                return Err(without_replica(&target, replica));
            }
            picked.extend(own.into_iter().map(|replica| Picked { target: Some(target.clone()), replica }));
        }
        Ok((settings, picked))
    }

    /// As [`Sources::pick`], where one replica is wanted.
    ///
    /// # Errors
    ///
    /// A database that has several, beside those of [`Sources::pick`].
    pub fn pick_one(&self, place: &str, replica: Option<&str>) -> Result<(Settings, Picked), Reason> {
        let (settings, mut picked) = self.pick(&[place.to_owned()], replica)?;
        match (picked.pop(), picked.is_empty()) {
            (Some(one), true) => Ok((settings, one)),
            (Some(Picked { target: Some(target), .. }), false) => {
                let reason = Reason::new(ReasonKind::Misconfigured, format!("{place} has several replicas"));
                Err(reason.with_hint(format!("pick one with --replica; {}", replicas_of(&target))))
            }
            _ => Err(Reason::new(ReasonKind::NotFound, format!("{place}: no such database"))),
        }
    }
}

/// The names that a person gave, with the whole path of a database in place of a path to it from here.
pub fn resolved(targets: &[Target], names: &[String]) -> Vec<String> {
    let whole = |name: &String| {
        if targets.iter().any(|target| *target.name == **name) {
            return name.clone();
        }
        let path = Path::new(name);
        let mut databases = targets.iter().filter_map(|target| target.database.as_ref());
        // Asking where it is takes longer than its name.
        let named =
            databases.find(|files| files.path.file_name() == path.file_name() && is_same_file(&files.path, path));
        named.and_then(|files| files.path.to_str()).map_or_else(|| name.clone(), str::to_owned)
    };
    names.iter().map(whole).collect()
}

/// Whether two paths are to be of the same file, which need not be there.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    let [one, other] = [one, other].map(|path| {
        let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let above = whole.parent().and_then(|above| above.canonicalize().ok());
        above.and_then(|above| Some(above.join(whole.file_name()?))).unwrap_or(whole)
    });
    one == other
}

/// Why what was read is not all that there is.
pub fn unlisted(sources: &[SourceReport]) -> Option<Reason> {
    let source = sources.iter().find(|source| !source.success)?;
    let why = source.error.as_deref().unwrap_or_default();
    Some(Reason::new(ReasonKind::Failed, format!("{}: {why}", source.source)))
}

/// Why nothing was picked of a database that was named.
fn without_replica(target: &Target, replica: Option<&str>) -> Reason {
    match replica {
        Some(name) if !target.replicas.is_empty() => {
            let reason = Reason::new(ReasonKind::NotFound, format!("{}: no replica {name}", target.name));
            reason.with_hint(replicas_of(target))
        }
        _ => Reason::new(ReasonKind::NotFound, format!("{}: it has no replica", target.name)),
    }
}

fn replicas_of(target: &Target) -> String {
    let names: Vec<&str> = target.replicas.iter().map(|replica| replica.name.as_str()).collect();
    format!("its replicas are {}", names.join(", "))
}

/// Why a place was not found, for who names a directory: that is no database, and meant as a replica.
fn with_url_hint(reason: Reason, places: &[String]) -> Reason {
    let directory = places.iter().filter_map(|place| std::path::absolute(place).ok()).find(|path| path.is_dir());
    match directory {
        Some(path) => reason.with_hint(format!("name a replica in a directory by its URL: file://{}", path.display())),
        None => reason,
    }
}

/// Problems, a line each.
pub fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Problems, and behind them warnings.
fn refused_lines(refused: &Refused) -> String {
    let warnings = refused.warnings.iter().map(|warning| format!("warning: {warning}"));
    std::iter::once(lines(&refused.problems)).chain(warnings).collect::<Vec<_>>().join("\n")
}

impl Configuration for Sources {
    fn load(&self, names: Names, asked: AskedBy) -> Result<Configured, String> {
        let loaded = Self::load(self, names, asked).map_err(|refused| refused_lines(&refused))?;
        // The server takes it in by itself; this is how the agent comes to say that it cannot.
        web_config(&loaded.settings).map_err(|refused| refused.message)?;
        if asked == AskedBy::Owner {
            self.1.forget_gone();
        }
        Ok(configured(loaded))
    }

    fn command(&self, words: &str) -> String {
        self.args().command(words)
    }
}

/// The files that a configuration was read from.
struct Files {
    read: Vec<Stamp>,
    /// It was made of nothing else.
    all: bool,
    web: Option<PathBuf>,
}

impl Origin for Files {
    fn is_same(&self) -> bool {
        self.all && self.read.iter().all(Stamp::holds) && self.web.as_deref().is_none_or(is_valid)
    }

    fn other_version(&self) -> Option<u64> {
        let now: Vec<Stamp> = self.read.iter().map(Stamp::again).collect();
        (now != self.read).then(|| {
            let mut hasher = DefaultHasher::new();
            now.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// The part of a configuration that the agent works with.
pub fn configured(loaded: Loaded) -> Configured {
    let settings = loaded.settings;
    let web = settings.web.config_file.clone();
    let same = Same::new(Files { read: loaded.read, all: loaded.read_all, web });
    Configured {
        targets: loaded.targets,
        over_limit: loaded.over_limit,
        names: loaded.names,
        sources: loaded.sources,
        pace: settings.pace,
        drills: settings.drill.limits,
        alerting: settings.alerting,
        costs: settings.costs,
        shard: settings.shard,
        metrics: settings.metrics,
        same,
    }
}

/// Opens replicas as configured.
pub fn stores(settings: &Settings) -> Arc<Stores> {
    Arc::new(Stores::new(store_options(settings)))
}

/// How stores are asked.
pub fn store_options(settings: &Settings) -> StoreOptions {
    let (timeout, ca_file) = (settings.requests.timeout, settings.requests.ca_file.clone());
    StoreOptions { timeout, concurrency: STORE_CALLS_MAX, ca_file }
}
