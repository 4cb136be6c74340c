//! Which Litestream a file is for, and what that one does with a replica that whoever wrote it does not expect.

use std::path::Path;

use super::keys::Keys;
use super::pitfalls::relative;
use super::replica::Context;
use super::written::{Item, Top};
use crate::infrastructure::config::problem::Sink;
use crate::infrastructure::config::value::paths::{Base, default_meta_path, is_relative, map_path};

/// Which Litestream a file is for, where that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V03,
    V05,
    Either,
}

/// Whether a Litestream v0.5 has taken over a database for which only v0.3 was configured.
pub(crate) fn is_upgraded(item: &Item, context: &Context<'_>, sink: &Sink) -> bool {
    let Some(path) = &item.path else { return false };
    // What decides is when its directories change.
    context.base.depends_on_more();
    let meta = item.meta_path.clone().unwrap_or_else(|| default_meta_path(path));
    let meta = map_path(context.path_map, &meta);
    let (levels, generation) = (meta.join("ltx"), meta.join("generation"));
    let changed = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    // Whoever goes back to v0.3 begins a new generation there.
    let since = changed(&levels.join("0")).or_else(|| changed(&levels));
    let upgraded = since.is_some() && since >= changed(&generation);
    if upgraded {
        let message = format!(
            "Litestream v0.5 has taken over, because {} exists: the file is read as v0.5 reads it",
            levels.display()
        );
        sink.warning(item.place.problem(message));
    }
    upgraded
}

/// A key of v0.5 counts more than one of v0.3: v0.5 ignores those, and people leave them behind when they upgrade.
pub(crate) fn version(top: &Top, items: &[Item]) -> Version {
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

/// Warns of what a Litestream of that version does with a replica.
pub(crate) fn advise(keys: &Keys, version: Version, base: &Base, sink: &Sink) {
    let warn = |key: &str, message: &str| sink.warning(keys.place_of(key).problem(message));
    let (url, path) = (keys.url.as_str(), keys.path.as_str());
    if url.is_empty() && matches!(keys.kind.as_str(), "" | "file") && is_relative(path) {
        sink.warning(keys.place_of("path").problem(relative(base)).value(path).accepted("the whole path"));
    }
    if version != Version::V05 && keys.kind == "s3" && url.is_empty() && path.starts_with('/') {
        warn(
            "path",
            "begins with `/`: Litestream v0.3 writes to the path without it but looks for its files below the path \
             with it, and never finds them: snapshots pile up, and it cannot restore; remove the `/`",
        );
    }
    match version {
        Version::V05 => advise_v05(keys, sink),
        Version::V03 => {
            for (key, written) in [("retention", keys.retention), ("snapshot-interval", keys.snapshot_interval)] {
                if written.is_some() {
                    let instead = key.replace("snapshot-", "");
                    let message = format!(
                        "Litestream v0.5 will ignore it, and use `snapshot.{instead}`, 24h unless set at the top"
                    );
                    sink.note(keys.place_of(key).problem(message));
                }
            }
        }
        Version::Either => {}
    }
}

/// Warns of keys that v0.5 ignores.
fn advise_v05(keys: &Keys, sink: &Sink) {
    let warn = |key: &str, message: &str| sink.warning(keys.place_of(key).problem(message));
    if keys.age {
        warn("age", "Litestream v0.5 does not encrypt: 0.5.0 writes plain text, later ones refuse to start");
    }
    if keys.retention.is_some() {
        warn("retention", "Litestream v0.5 ignores it here and keeps `snapshot.retention`, 24h unless set at the top");
    }
    if keys.snapshot_interval.is_some() {
        warn("snapshot-interval", "Litestream v0.5 ignores it here; set `snapshot.interval` at the top");
    }
    if keys.kind == "gcs" || keys.url.starts_with("gcs:") {
        let key = if keys.url.is_empty() { "type" } else { "url" };
        warn(key, "Litestream v0.5 refuses `gcs`; it wants `gs`");
    }
}
