//! What is written in a `litestream.yml`, key by key, before anything is made of it.

use std::path::PathBuf;
use std::time::Duration;

use super::go::{ABOVE_ZERO, BOOLEAN, MINUTE, NUMBER, TEXT, ZERO, at_least, go_duration, positive, unused};
use super::keys::Keys;
use super::replica::Context;
use super::{glob, pitfalls};
use crate::infrastructure::config::problem::Place;
use crate::infrastructure::config::value::paths::map_path;
use crate::infrastructure::config::value::section::Section;

/// Litestream's levels between level 0 and the snapshots.
const LEVELS_MAX: usize = 8;

/// `l0-retention` of v0.5 unless it says otherwise.
const LEVEL0_RETENTION: Duration = Duration::from_secs(300);

/// The keys of an item of `dbs`.
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) path: Option<PathBuf>,
    pub(crate) directory: Option<Directory>,
    pub(crate) meta_path: Option<PathBuf>,
    pub(crate) meta_dir: Option<PathBuf>,
    pub(crate) replicas: Vec<Keys>,
    /// Written as `replica`, v0.5's key.
    pub(crate) single: bool,
    pub(crate) snapshot: Snapshot,
    pub(crate) monitor_interval: Option<Duration>,
}

pub(crate) struct Directory {
    pub(crate) path: PathBuf,
    pub(crate) pattern: String,
    pub(crate) recursive: bool,
    pub(crate) watch: bool,
}

/// The `snapshot` section of v0.5.
#[derive(Clone, Copy, Default)]
pub(crate) struct Snapshot {
    pub(crate) interval: Option<Duration>,
    pub(crate) retention: Option<Duration>,
}

/// The keys at the top of the file.
pub(crate) struct Top {
    pub(crate) settings: Keys,
    pub(crate) snapshot: Snapshot,
    /// `retention.enabled: false`: a bucket lifecycle decides, which is not known here.
    pub(crate) keeps_all: bool,
    /// `l0-retention`; `None`: 0, which keeps all.
    pub(crate) level0: Option<Duration>,
    pub(crate) level0_check: Option<Duration>,
    /// A key that only v0.5 has.
    pub(crate) v05: bool,
}

/// Reads the keys at the top but `dbs`.
pub(crate) fn top(section: &mut Section<'_>) -> Top {
    let v05_keys = ["levels", "snapshot", "socket", "validation", "retention", "l0-retention", "mcp-addr"];
    let v05 = v05_keys.iter().any(|key| section.has(key));
    let settings = Keys::read_settings(section);
    let snapshot = read_snapshot(section);
    let mut keeps_all = false;
    if let Some(mut retention) = section.section("retention") {
        keeps_all = retention.boolean("enabled") == Some(false);
    }
    let levels = section.sections("levels");
    if levels.len() > LEVELS_MAX {
        section.warn("levels", "Litestream v0.5 refuses to start with so many", &format!("at most {LEVELS_MAX}"));
    }
    for mut level in levels {
        at_least(&mut level, "interval", ABOVE_ZERO);
    }
    if let Some(mut validation) = section.section("validation") {
        go_duration(&mut validation, "interval");
    }
    if let Some(mut socket) = section.section("socket") {
        unused(&mut socket, BOOLEAN, "enabled");
        unused(&mut socket, TEXT, "path");
        unused(&mut socket, NUMBER, "permissions");
    }
    if let Some(logging) = section.section("logging") {
        pitfalls::logging(logging);
    }
    let level0 = match at_least(section, "l0-retention", ZERO) {
        None => Some(LEVEL0_RETENTION),
        Some(nanoseconds) => positive(nanoseconds),
    };
    let level0_check = at_least(section, "l0-retention-check-interval", ABOVE_ZERO).and_then(positive);
    at_least(section, "heartbeat-interval", MINUTE);
    at_least(section, "shutdown-sync-timeout", ZERO);
    at_least(section, "shutdown-sync-interval", ABOVE_ZERO);
    pitfalls::heartbeat(section);
    pitfalls::addr(section);
    unused(section, BOOLEAN, "verify-compaction");
    unused(section, TEXT, "exec mcp-addr");
    Top { settings, snapshot, keeps_all, level0, level0_check, v05 }
}

fn read_snapshot(section: &mut Section<'_>) -> Snapshot {
    let Some(mut inner) = section.section("snapshot") else { return Snapshot::default() };
    Snapshot {
        interval: at_least(&mut inner, "interval", ABOVE_ZERO).and_then(positive),
        retention: at_least(&mut inner, "retention", ABOVE_ZERO).and_then(positive),
    }
}

/// Reads an item of `dbs`.
pub(crate) fn item(mut section: Section<'_>, context: &Context<'_>) -> Item {
    let mut path = |key: &'static str| {
        let path = section.parsed(key, "a path", |text| context.base.database(text))?;
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
        section.fault("both `replica` and `replicas`", "`replica` in v0.5, `replicas` in v0.3");
    }
    replicas.extend(section.section("replica").map(Keys::read));
    if replicas.is_empty() {
        section.warning(section.place().problem("no replica: the database is not backed up"));
    }
    let monitor_interval = go_duration(&mut section, "monitor-interval").and_then(positive);
    for key in ["checkpoint-interval", "busy-timeout"] {
        go_duration(&mut section, key);
    }
    unused(
        &mut section,
        NUMBER,
        "min-checkpoint-page-count max-checkpoint-page-count truncate-page-n max-sync-wal-bytes",
    );
    unused(&mut section, BOOLEAN, "restore-if-db-not-exists");
    pitfalls::checkpoints(&mut section);
    Item {
        place: section.place().clone(),
        path: file,
        directory,
        meta_path,
        meta_dir,
        replicas,
        single,
        snapshot: read_snapshot(&mut section),
        monitor_interval,
    }
}

/// `path` or `dir`, and what belongs to each.
fn check_paths(section: &Section<'_>, file: bool, directory: Option<&Directory>, watch: bool) {
    match (file, directory) {
        (true, Some(_)) => section.fault("both `path` and `dir`", "one of the two"),
        (true, None) if watch => section.wrong("watch", "only works with `dir`", ""),
        (true, None) => {}
        (false, None) if section.has("path") || section.has("dir") => {}
        (false, None) => section.fault("neither `path` nor `dir`", "one of the two"),
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
