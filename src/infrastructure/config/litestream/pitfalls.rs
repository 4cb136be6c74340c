//! Pitfalls of `litestream.yml`, where Litestream does not do what its writer expects: values with which it refuses to
//! start, keys that it does not read, paths that lead elsewhere.

use std::path::Path;

use super::go::{BOOLEAN, TEXT, refused, unused, written};
use crate::infrastructure::config::value::paths::{Base, is_relative};
use crate::infrastructure::config::value::section::Section;
use crate::infrastructure::config::value::yaml;

/// `heartbeat-url`, which is as good as a password.
pub(crate) fn heartbeat(section: &mut Section<'_>) {
    unused(section, TEXT, "heartbeat-url");
    let url = written(section, "heartbeat-url").unwrap_or_default();
    if !url.is_empty() && !url.starts_with("http://") && !url.starts_with("https://") {
        refused(section, "heartbeat-url", "http://… or https://…, in lower case");
    }
}

/// `addr`, where metrics are served.
pub(crate) fn addr(section: &mut Section<'_>) {
    unused(section, TEXT, "addr");
    let addr = written(section, "addr").unwrap_or_default();
    if !addr.is_empty() && addr.rsplit_once(':').is_none_or(|(_, port)| port.is_empty()) {
        section.warn("addr", "Litestream refuses to start with it", "host:port, or :port");
    }
}

/// `logging`
pub(crate) fn logging(mut section: Section<'_>) {
    let section = &mut section;
    unused(section, TEXT, "level type");
    unused(section, BOOLEAN, "stderr source");
    let kind = written(section, "type").unwrap_or_default();
    if !["", "text", "json", "pretty"].contains(&kind) {
        section.warn("type", "Litestream v0.5 ends with a panic", "text, json or pretty");
    }
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
    if written(section, KEY).and_then(yaml::number).is_some_and(|pages| pages < 1.0) {
        refused(section, KEY, "1 or more");
    }
}

/// A path of a database as it is written, and as this process sees it.
pub(crate) fn path(section: &mut Section<'_>, key: &'static str, here: &Path, base: &Base) {
    let Some(text) = written(section, key) else { return };
    let place = section.place_of(key);
    if is_relative(text) {
        section.warning(place.problem(relative(base)).value(text).accepted("the whole path"));
    }
    if key != "path" || !text.contains(['*', '?', '[']) {
        return;
    }
    base.depends_on(here);
    if !here.exists() {
        let problem = place.problem("not a pattern: Litestream takes it for the name of one file");
        section.warning(problem.value(text).accepted("`dir` and `pattern` for several files"));
    }
}

/// What is said of a path without a root.
pub(crate) fn relative(base: &Base) -> String {
    let here = base.working_directory.display();
    format!("Litestream resolves it against the directory that it was started in, streamgauge against {here}")
}
