//! What Litestream does with a `litestream.yml` that whoever wrote it does not expect: values with which it refuses to
//! start, keys that it does not read, paths that lead elsewhere.

use std::path::Path;

use crate::infrastructure::config::litestream::Version;
use crate::infrastructure::config::litestream::replica::{Keys, go_duration};
use crate::infrastructure::config::problem::Sink;
use crate::infrastructure::config::value::paths::{Base, is_relative};
use crate::infrastructure::config::value::section::{Section, Takes, yaml_number};

/// The least that Litestream v0.5 accepts of a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Least {
    Zero,
    AboveZero,
    Minute,
}

/// Reads a duration, in nanoseconds.
pub(crate) fn at_least(section: &mut Section<'_>, key: &'static str, least: Least) -> Option<i64> {
    let nanoseconds = go_duration(section, key)?;
    let (bound, words) = match least {
        Least::Zero => (0, "0s or more"),
        Least::AboveZero => (1, "above 0s"),
        Least::Minute => (60_000_000_000, "1m or more"),
    };
    if nanoseconds < bound {
        refused(section, key, words);
    }
    Some(nanoseconds)
}

fn refused(section: &Section<'_>, key: &str, accepted: &str) {
    let problem = section.place_of(key).problem("Litestream v0.5 refuses to start with it");
    section.warning(problem.accepted(accepted));
}

/// `heartbeat-url`, which is as good as a password.
pub(crate) fn heartbeat(section: &mut Section<'_>) {
    section.unused(Takes::Text, &["heartbeat-url"]);
    let url = section.optional("heartbeat-url");
    if url.is_some_and(|url| {
        !url.text.is_empty() && !url.text.starts_with("http://") && !url.text.starts_with("https://")
    }) {
        refused(section, "heartbeat-url", "http://… or https://…, in lower case");
    }
}

/// `addr`, where metrics are served.
pub(crate) fn addr(section: &mut Section<'_>) {
    section.unused(Takes::Text, &["addr"]);
    let addr = section.optional("addr");
    let without_port = |text: &str| text.rsplit_once(':').is_none_or(|(_, port)| port.is_empty());
    if addr.is_some_and(|addr| !addr.text.is_empty() && without_port(addr.text)) {
        let problem = section.place_of("addr").problem("Litestream refuses to start with it");
        section.warning(problem.accepted("host:port, or :port"));
    }
}

/// `logging`
pub(crate) fn logging(mut section: Section<'_>) {
    section.unused(Takes::Text, &["level", "type"]);
    section.unused(Takes::Boolean, &["stderr", "source"]);
    let kind = section.optional("type");
    if kind.is_some_and(|kind| !["", "text", "json", "pretty"].contains(&kind.text)) {
        let problem = section.place_of("type").problem("Litestream v0.5 ends with a panic");
        section.warning(problem.accepted("text, json or pretty"));
    }
    section.finish();
}

/// `meta-path` and `meta-dir` of a database.
pub(crate) fn metadata(section: &Section<'_>, directory: bool) {
    if section.has("meta-dir") && !directory {
        refused(section, "meta-dir", "only beside `dir`");
    } else if section.has("meta-dir") && section.has("meta-path") {
        refused(section, "meta-dir", "one of `meta-path` and `meta-dir`");
    }
}

/// `min-checkpoint-page-count` of a database.
pub(crate) fn checkpoints(section: &mut Section<'_>) {
    const KEY: &str = "min-checkpoint-page-count";
    if section.optional(KEY).and_then(|scalar| yaml_number(scalar.text)).is_some_and(|pages| pages < 1.0) {
        refused(section, KEY, "1 or more");
    }
}

/// A path of a database as it is written, and as this process sees it.
pub(crate) fn path(section: &mut Section<'_>, key: &'static str, here: &Path, base: &Base) {
    let Some(scalar) = section.optional(key) else { return };
    if is_relative(scalar.text) {
        section.warning(scalar.place.problem(relative(base)).value(scalar.text).accepted("the whole path"));
    }
    if key == "path" && scalar.text.contains(['*', '?', '[']) && !here.exists() {
        let message = "not a pattern: Litestream takes it for the name of one file";
        section.warning(
            scalar.place.problem(message).value(scalar.text).accepted("`dir` and `pattern` for several files"),
        );
    }
}

fn relative(base: &Base) -> String {
    let here = base.working_directory.display();
    format!("Litestream takes it from the directory in which it was started, streamgauge from {here}")
}

/// What a Litestream of that version does with a replica.
pub(crate) fn advise(keys: &Keys, version: Version, base: &Base, sink: &Sink) {
    let warn = |key: &str, message: &str| sink.warning(keys.place_of(key).problem(message));
    let (url, path) = (keys.url.as_str(), keys.s3.path.as_str());
    if url.is_empty() && matches!(keys.kind.as_str(), "" | "file") && is_relative(path) {
        sink.warning(keys.place_of("path").problem(relative(base)).value(path).accepted("the whole path"));
    }
    if version != Version::V05 && keys.kind == "s3" && url.is_empty() && path.starts_with('/') {
        warn(
            "path",
            "begins with `/`: Litestream v0.3 writes to the path without it and looks for its own files below the path \
             with it, so that it never finds them: snapshots pile up, and it cannot restore; leave the `/` away",
        );
    }
    match version {
        Version::V05 => advise_v05(keys, sink),
        Version::V03 => {
            for (key, instead) in
                [("retention", "`snapshot.retention`, 24h"), ("snapshot-interval", "`snapshot.interval`, 24h")]
            {
                let written = if key == "retention" { keys.retention } else { keys.snapshot_interval };
                if written.is_some() {
                    let message = format!("Litestream v0.5 will ignore it, and go by {instead} unless set at the top");
                    sink.note(keys.place_of(key).problem(message));
                }
            }
        }
        Version::Either => {}
    }
}

/// What v0.5 does not do although it is written.
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
