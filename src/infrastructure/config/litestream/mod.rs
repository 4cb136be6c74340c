//! `litestream.yml` of v0.3 and v0.5: which databases Litestream replicates, where to, and what it was told to keep.

pub(crate) mod glob;
mod go;
pub(crate) mod keys;
pub(crate) mod login;
mod pitfalls;
mod remote;
pub(crate) mod replica;
mod s3;
mod scan;
mod version;
mod written;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use self::keys::{DAY, Keys};
use self::replica::Context;
use self::scan::scan;
use self::version::Version;
use self::written::{Directory, Item, Snapshot, Top};
use super::problem::{Place, Sink};
use super::source::node::{Dialect, Node};
use super::value::paths::{default_meta_path, map_path};
use super::value::section::Section;
use crate::domain::limits::DIRECTORY_MATCHES_MAX;
use crate::domain::litestream::expiry::Kept;
use crate::domain::target::ReplicaTarget;

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

/// Reads a parsed file.
pub(crate) fn read(root: &Node, file: &Arc<str>, context: &Context<'_>, sink: &Sink) -> Document {
    let mut section = Section::root(root, Dialect::Yaml, file, sink);
    let top = written::top(&mut section);
    let dbs = section.sections("dbs");
    if dbs.is_empty() {
        section.warn("dbs", "no databases", "");
    }
    let items: Vec<Item> = dbs.into_iter().map(|section| written::item(section, context)).collect();
    drop(section);

    let version = version::version(&top, &items);
    let upgraded = version == Version::V03 && items.iter().any(|item| version::is_upgraded(item, context, sink));
    let version = if upgraded { Version::V05 } else { version };
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
            version::advise(keys, version, context.base, sink);
            keys.foreign().chain(keys.unverified()).for_each(|problem| sink.warning(problem));
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
            for replica in &mut database.replicas {
                (replica.written.every, replica.written.level0_check) = (item.monitor_interval, top.level0_check);
            }
            if version != Version::V03 {
                let kept = kept(&top, &snapshot);
                database.replicas.iter_mut().for_each(|replica| replica.kept = Some(kept));
            }
        }
    }
    document
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

/// The retention of Litestream v0.5 for every replica. It holds for v0.3 as well where neither is told anything: a day.
fn kept(top: &Top, snapshot: &Snapshot) -> Kept {
    let unless_all = |age: Option<Duration>| age.filter(|_| !top.keeps_all);
    Kept {
        snapshots: unless_all(snapshot.retention),
        every: snapshot.interval.unwrap_or(DAY),
        level0: unless_all(top.level0),
    }
}

/// The objectives that every replica of a v0.3 database can meet: the shortest retention, the longest snapshot
/// interval. A snapshot is also taken when there is none within the retention.
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
            sink.problem(*fault);
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
    context.base.depends_on_more();
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
        let fatal = if directory.watch { "" } else { ", so Litestream refuses to start (unless `watch: true`)" };
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
