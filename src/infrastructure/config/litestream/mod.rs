//! `litestream.yml` of v0.3 and v0.5: which databases Litestream replicates, where to, and what it was told to keep.

mod glob;
mod pitfalls;
pub(crate) mod replica;
mod s3;
mod scan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::limits::DIRECTORY_MATCHES_MAX;
use crate::domain::litestream::expiry::Kept;
use crate::domain::target::ReplicaTarget;

use crate::infrastructure::config::litestream::pitfalls::{Least, at_least};
use crate::infrastructure::config::litestream::replica::{Context, DAY, Keys, go_duration, positive};
use crate::infrastructure::config::litestream::scan::scan;
use crate::infrastructure::config::problem::{Place, Sink};
use crate::infrastructure::config::value::paths::map_path;
use crate::infrastructure::config::value::section::{Dialect, Node, Section, Takes};

/// Litestream's levels between level 0 and the snapshots.
const LEVELS_MAX: usize = 8;

/// `l0-retention` of v0.5 unless it says otherwise.
const LEVEL0_RETENTION: Duration = Duration::from_secs(300);

/// A database of a `litestream.yml`.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) place: Place,
    /// As Litestream knows it.
    pub(crate) litestream_path: PathBuf,
    /// As this process sees it.
    pub(crate) path: PathBuf,
    pub(crate) meta_path: PathBuf,
    pub(crate) replicas: Vec<ReplicaTarget>,
    pub(crate) retention: Option<Duration>,
    pub(crate) snapshot_interval: Option<Duration>,
}

/// Everything that one file names.
#[derive(Debug, Default)]
pub(crate) struct Document {
    pub(crate) databases: Vec<Database>,
    /// A `dir` that could not be read.
    pub(crate) error: Option<String>,
}

/// What is written under an item of `dbs`.
struct Item {
    place: Place,
    path: Option<PathBuf>,
    directory: Option<Directory>,
    meta_path: Option<PathBuf>,
    meta_dir: Option<PathBuf>,
    replicas: Vec<Keys>,
    /// Written as `replica`, v0.5's key.
    single: bool,
    snapshot: Snapshot,
}

struct Directory {
    path: PathBuf,
    pattern: String,
    recursive: bool,
    watch: bool,
}

/// The `snapshot` section of v0.5.
#[derive(Clone, Copy, Default)]
struct Snapshot {
    interval: Option<Duration>,
    retention: Option<Duration>,
}

/// Which Litestream a file is for, where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V03,
    V05,
    Either,
}

/// What the top of the file says.
struct Top {
    settings: Keys,
    snapshot: Snapshot,
    /// `retention.enabled: false`: a bucket lifecycle decides, which is not known here.
    keeps_all: bool,
    /// `l0-retention`; `None`: 0, which keeps all.
    level0: Option<Duration>,
    /// A key that only v0.5 has.
    v05: bool,
}

/// Reads a parsed file.
pub(crate) fn read(root: &Node, file: &Arc<str>, context: &Context<'_>, sink: &Sink) -> Document {
    let mut section = Section::root(root, Dialect::Yaml, file, sink);
    let top = top(&mut section);
    let dbs = section.sections("dbs");
    if dbs.is_empty() {
        section.warning(section.place_of("dbs").problem("no databases"));
    }
    let items: Vec<Item> = dbs.into_iter().map(|section| item(section, context)).collect();
    section.finish();

    let written = version(&top, &items);
    let upgraded = written == Version::V03 && items.iter().any(|item| is_upgraded(item, context, sink));
    let version = if upgraded { Version::V05 } else { written };
    let context = Context { v03: version == Version::V03, ..*context };
    let told = snapshot(&top, &items, sink);
    let snapshot = Snapshot { interval: told.interval.or(Some(DAY)), retention: told.retention.or(Some(DAY)) };
    let mut document = Document::default();
    for mut item in items {
        if version == Version::V05 && item.replicas.len() > 1 {
            sink.warning(item.place.problem("Litestream v0.5 refuses more than one replica of a database"));
        }
        for keys in &mut item.replicas {
            keys.inherit(&top.settings, context.v03);
            pitfalls::advise(keys, version, context.base, sink);
        }
        let (retention, snapshot_interval) = match version {
            Version::V03 => v03_objectives(&item.replicas),
            Version::V05 if top.keeps_all => (None, snapshot.interval),
            // The key of v0.3 still says what is wanted, although v0.5 does not do it.
            Version::V05 => {
                let wanted = item.replicas.iter().filter_map(|keys| keys.retention).max();
                (told.retention.or(wanted).or(snapshot.retention), snapshot.interval)
            }
            Version::Either => (Some(DAY), None),
        };
        let first = document.databases.len();
        expand(&item, &context, &mut document, sink);
        for database in &mut document.databases[first..] {
            database.retention = retention;
            database.snapshot_interval = snapshot_interval;
            if version != Version::V03 {
                let kept = kept(&top, &snapshot);
                database.replicas.iter_mut().for_each(|replica| replica.kept = Some(kept));
            }
        }
    }
    document
}

fn top(section: &mut Section<'_>) -> Top {
    let v05_keys = ["levels", "snapshot", "socket", "validation", "retention", "l0-retention", "mcp-addr"];
    let v05 = v05_keys.iter().any(|key| section.has(key));
    let settings = Keys::read_settings(section);
    let snapshot = read_snapshot(section);
    let mut keeps_all = false;
    if let Some(mut retention) = section.section("retention") {
        keeps_all = retention.boolean("enabled") == Some(false);
        retention.finish();
    }
    let levels = section.sections("levels");
    if levels.len() > LEVELS_MAX {
        let problem = section.place_of("levels").problem("Litestream v0.5 refuses to start with so many");
        section.warning(problem.accepted(format!("at most {LEVELS_MAX}")));
    }
    for mut level in levels {
        at_least(&mut level, "interval", Least::AboveZero);
        level.finish();
    }
    if let Some(mut validation) = section.section("validation") {
        go_duration(&mut validation, "interval");
        validation.finish();
    }
    if let Some(mut socket) = section.section("socket") {
        socket.unused(Takes::Boolean, &["enabled"]);
        socket.unused(Takes::Text, &["path"]);
        socket.unused(Takes::Number, &["permissions"]);
        socket.finish();
    }
    if let Some(logging) = section.section("logging") {
        pitfalls::logging(logging);
    }
    let level0 = match at_least(section, "l0-retention", Least::Zero) {
        None => Some(LEVEL0_RETENTION),
        Some(nanoseconds) => positive(nanoseconds),
    };
    at_least(section, "l0-retention-check-interval", Least::AboveZero);
    at_least(section, "heartbeat-interval", Least::Minute);
    at_least(section, "shutdown-sync-timeout", Least::Zero);
    at_least(section, "shutdown-sync-interval", Least::AboveZero);
    pitfalls::heartbeat(section);
    pitfalls::addr(section);
    section.unused(Takes::Boolean, &["verify-compaction"]);
    section.unused(Takes::Text, &["exec", "mcp-addr"]);
    Top { settings, snapshot, keeps_all, level0, v05 }
}

fn read_snapshot(section: &mut Section<'_>) -> Snapshot {
    let Some(mut inner) = section.section("snapshot") else { return Snapshot::default() };
    let snapshot = Snapshot {
        interval: at_least(&mut inner, "interval", Least::AboveZero).and_then(positive),
        retention: at_least(&mut inner, "retention", Least::AboveZero).and_then(positive),
    };
    inner.finish();
    snapshot
}

fn item(mut section: Section<'_>, context: &Context<'_>) -> Item {
    let mut path = |key: &'static str| {
        let absolute = |text: &str| match text {
            "" => Err("empty".to_owned()),
            text => context.base.litestream(text).map_err(str::to_owned),
        };
        let path = section.parsed(key, "a path", absolute)?;
        pitfalls::path(&mut section, key, &map_path(context.path_map, &path), context.base);
        Some(path)
    };
    let (file, directory) = (path("path"), path("dir"));
    let (meta_path, meta_dir) = (path("meta-path"), path("meta-dir"));
    let pattern = section.text("pattern").unwrap_or_default();
    let recursive = section.boolean("recursive").unwrap_or(false);
    let watch = section.boolean("watch").unwrap_or(false);
    let directory = directory.map(|path| Directory { path, pattern, recursive, watch });
    check_paths(&section, file.is_some(), directory.as_ref(), watch);
    pitfalls::metadata(&section, directory.is_some());
    let single = section.has("replica");
    let mut replicas: Vec<Keys> = section.sections("replicas").into_iter().map(Keys::read).collect();
    if single && !replicas.is_empty() {
        section.problem(
            section.place().problem("both `replica` and `replicas`").accepted("`replica` in v0.5, `replicas` in v0.3"),
        );
    }
    replicas.extend(section.section("replica").map(Keys::read));
    if replicas.is_empty() {
        section.warning(section.place().problem("no replica: the database is not backed up"));
    }
    for key in ["monitor-interval", "checkpoint-interval", "busy-timeout"] {
        go_duration(&mut section, key);
    }
    section.unused(
        Takes::Number,
        &["min-checkpoint-page-count", "max-checkpoint-page-count", "truncate-page-n", "max-sync-wal-bytes"],
    );
    section.unused(Takes::Boolean, &["restore-if-db-not-exists"]);
    pitfalls::checkpoints(&mut section);
    let item = Item {
        place: section.place().clone(),
        path: file,
        directory,
        meta_path,
        meta_dir,
        replicas,
        single,
        snapshot: read_snapshot(&mut section),
    };
    section.finish();
    item
}

/// `path` or `dir`, and what belongs to each.
fn check_paths(section: &Section<'_>, file: bool, directory: Option<&Directory>, watch: bool) {
    match (file, directory) {
        (true, Some(_)) => {
            section.problem(section.place().problem("both `path` and `dir`").accepted("one of the two"));
        }
        (true, None) if watch => section.problem(section.place_of("watch").problem("only works with `dir`")),
        (true, None) => {}
        (false, None) if section.has("path") || section.has("dir") => {}
        (false, None) => {
            section.problem(section.place().problem("neither `path` nor `dir`").accepted("one of the two"));
        }
        (false, Some(Directory { pattern, .. })) => {
            let place = section.place_of("pattern");
            let problem = match glob::check(pattern) {
                _ if pattern.is_empty() => place.problem("missing beside `dir`"),
                Err(message) => place.problem(message).value(pattern),
                Ok(()) => return,
            };
            section.problem(problem.accepted("a pattern such as *.db"));
        }
    }
}

/// Whether a Litestream v0.5 has taken over a database for which only v0.3 was configured.
fn is_upgraded(item: &Item, context: &Context<'_>, sink: &Sink) -> bool {
    let Some(path) = &item.path else { return false };
    let meta = item.meta_path.clone().unwrap_or_else(|| default_meta_path(path));
    let meta = map_path(context.path_map, &meta);
    let (levels, generation) = (meta.join("ltx"), meta.join("generation"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    // Whoever goes back to v0.3 begins a new generation there.
    let since = changed(&levels.join("0")).or_else(|| changed(&levels));
    let upgraded = since.is_some() && since >= changed(&generation);
    if upgraded {
        let message =
            format!("Litestream v0.5 has taken over, because {} is there: it is read as v0.5 does", levels.display());
        sink.warning(item.place.problem(message));
    }
    upgraded
}

/// A key of v0.5 counts more than one of v0.3: v0.5 ignores those, and people leave them behind when they upgrade.
fn version(top: &Top, items: &[Item]) -> Version {
    let v05_kind = |keys: &Keys| {
        // v0.3 does not look at a URL's parameters.
        (keys.url.starts_with("s3:") && keys.url.contains('?'))
            || ["gs", "webdav", "nats", "oss"].contains(&keys.kind.as_str())
            || ["gs:", "webdav:", "webdavs:", "nats:", "oss:"].iter().any(|scheme| keys.url.starts_with(scheme))
    };
    let v05_item = |item: &Item| {
        item.single
            || item.directory.is_some()
            || item.snapshot.interval.or(item.snapshot.retention).is_some()
            || item.replicas.iter().any(v05_kind)
    };
    let v03_keys = |keys: &Keys| {
        keys.retention.or(keys.snapshot_interval).is_some()
            || keys.age
            || keys.kind == "gcs"
            || keys.url.starts_with("gcs:")
    };
    if top.v05 || items.iter().any(v05_item) {
        Version::V05
    } else if items.iter().any(|item| item.replicas.len() > 1 || item.replicas.iter().any(v03_keys)) {
        Version::V03
    } else {
        Version::Either
    }
}

/// v0.5 has one snapshot schedule: the top of the file, else what databases say, which must not differ.
fn snapshot(top: &Top, items: &[Item], sink: &Sink) -> Snapshot {
    let one = |name: &str, global: Option<Duration>, of: fn(&Snapshot) -> Option<Duration>| {
        let mut chosen: Option<Duration> = None;
        for item in items {
            match (of(&item.snapshot), chosen) {
                (Some(value), Some(other)) if value != other && global.is_none() => {
                    let key = format!("{}.snapshot.{name}", item.place.key);
                    let place = Place { key, ..item.place.clone() };
                    sink.problem(place.problem("differs from another database's; Litestream has one schedule for all"));
                }
                (Some(value), None) => chosen = Some(value),
                _ => {}
            }
        }
        global.or(chosen)
    };
    Snapshot {
        interval: one("interval", top.snapshot.interval, |snapshot| snapshot.interval),
        retention: one("retention", top.snapshot.retention, |snapshot| snapshot.retention),
    }
}

/// What Litestream v0.5 keeps of every replica. It holds for v0.3 as well where neither is told anything: a day.
fn kept(top: &Top, snapshot: &Snapshot) -> Kept {
    let unless_all = |age: Option<Duration>| age.filter(|_| !top.keeps_all);
    Kept {
        snapshots: unless_all(snapshot.retention),
        every: snapshot.interval.unwrap_or(DAY),
        level0: unless_all(top.level0),
    }
}

/// What every replica of a v0.3 database has to fulfil: the shortest retention, the longest snapshot interval. A snapshot is
/// also taken when there is none within the retention.
fn v03_objectives(replicas: &[Keys]) -> (Option<Duration>, Option<Duration>) {
    let retention = replicas.iter().map(|keys| keys.retention.unwrap_or(DAY)).min();
    let interval = |keys: &Keys| {
        let retention = keys.retention.unwrap_or(DAY);
        keys.snapshot_interval.map_or(retention, |interval| interval.min(retention))
    };
    (retention, replicas.iter().map(interval).max())
}

/// Adds the database of an item, or those that its directory holds.
fn expand(item: &Item, context: &Context<'_>, document: &mut Document, sink: &Sink) {
    // Faults are the same for every database of a directory: report them once.
    for keys in &item.replicas {
        if let Err(fault) = replica::target(keys, None, context) {
            sink.problem(keys.problem(fault));
        }
    }
    match (&item.path, &item.directory) {
        (Some(path), _) => {
            let meta = item.meta_path.clone().unwrap_or_else(|| default_meta_path(path));
            document.databases.push(database(item, path.clone(), &meta, None, context));
        }
        (None, Some(directory)) => expand_directory(item, directory, context, document, sink),
        (None, None) => {}
    }
}

fn expand_directory(item: &Item, directory: &Directory, context: &Context<'_>, document: &mut Document, sink: &Sink) {
    let place = |key: &str| Place { key: format!("{}.{key}", item.place.key), ..item.place.clone() };
    let shown = directory.path.display().to_string();
    let here = map_path(context.path_map, &directory.path);
    let limit = DIRECTORY_MATCHES_MAX.saturating_sub(document.databases.len());
    let found = match scan(&here, &directory.pattern, directory.recursive, limit) {
        Ok(found) => found,
        Err(message) => {
            let problem = place("dir").problem(format!("read {}: {message}", here.display())).value(&shown);
            let problem = sink.shown(problem);
            document.error.get_or_insert_with(|| problem.to_string());
            sink.warning(problem);
            return;
        }
    };
    for warning in found.warnings {
        sink.warning(place("dir").problem(warning).value(&shown));
    }
    if found.databases.is_empty() {
        let fatal =
            if directory.watch { "" } else { ", without which Litestream refuses to start (unless `watch: true`)" };
        sink.warning(place("dir").problem(format!("no database matches `{}`{fatal}", directory.pattern)).value(&shown));
    }
    for relative in found.databases {
        let path = directory.path.join(&relative);
        let meta = match (&item.meta_dir, &item.meta_path) {
            (Some(base), _) => base.join(format!("{relative}-litestream")),
            (None, Some(base)) => default_meta_path(&base.join(&relative)),
            (None, None) => default_meta_path(&path),
        };
        document.databases.push(database(item, path, &meta, Some(&relative), context));
    }
}

fn database(item: &Item, path: PathBuf, meta: &Path, relative: Option<&str>, context: &Context<'_>) -> Database {
    let target = |keys: &Keys| replica::target(keys, relative, context).ok();
    Database {
        place: item.place.clone(),
        path: map_path(context.path_map, &path),
        litestream_path: path,
        meta_path: map_path(context.path_map, meta),
        replicas: item.replicas.iter().filter_map(target).collect(),
        retention: None,
        snapshot_interval: None,
    }
}

/// `<directory>/.<file>-litestream`.
pub(crate) fn default_meta_path(path: &Path) -> PathBuf {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{file}-litestream"))
}
