//! What the documents name has to be there: files, sections, metrics and checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::super::ROOT;

/// What looks like a check and is something else: of S3, of OpenSSH, of systemd, of Kubernetes, and a message that is sent for a try.
const NO_CHECKS: &[&str] = &[
    "AbortIncompleteMultipartUpload",
    "AccessDenied",
    "MaxStartups",
    "NoncurrentVersionExpiration",
    "PodMonitor",
    "PrometheusRule",
    "RequestTimeTooSkewed",
    "StateDirectory",
    "StreamgaugeTest",
];

/// README, the documents beside it and those in docs/ and docs/backends/, with their texts.
fn documents() -> Vec<(PathBuf, String)> {
    let folders = ["", "docs", "docs/backends"].map(|folder| Path::new(ROOT).join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let documents = files.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The text outside code blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.chars().filter(|character| character.is_alphanumeric() || " -_".contains(*character));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// The texts in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn links_lead_somewhere() {
    let mut dead = Vec::new();
    for (path, text) in documents() {
        let prose = prose(&text);
        let links = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            let there = match (target.exists(), anchor) {
                (there, "") => there,
                (there, anchor) => {
                    there && anchors(&self::prose(&fs::read_to_string(&target).unwrap())).contains(anchor)
                }
            };
            if !there {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "nothing is there:\n{}", dead.join("\n"));
}

#[test]
fn metrics_and_checks_that_are_named_exist() {
    let read = |file: &str| fs::read_to_string(Path::new(ROOT).join(file)).unwrap();
    let metrics = read("docs/METRICS.md");
    let metrics: BTreeSet<&str> = metrics.split(|at: char| !(at.is_ascii_alphanumeric() || at == '_')).collect();
    let checks: BTreeSet<String> =
        read("docs/RUNBOOK.md").lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    let mut unknown = Vec::new();
    for (path, text) in documents().iter().filter(|(path, _)| !path.ends_with("CHANGELOG.md")) {
        let name = |word: &str| word.chars().all(|character| character.is_ascii_lowercase() || character == '_');
        for word in quoted(&prose(text)) {
            let metric = word.split(['{', ' ', '[']).next().unwrap().trim_end_matches("_bucket");
            if metric.starts_with("streamgauge_") && name(metric) && !metrics.contains(metric) {
                unknown.push(format!("{}: metric {metric}", path.display()));
            }
            let humps = word.chars().filter(char::is_ascii_uppercase).count();
            let camel = word.chars().all(|character| character.is_ascii_alphabetic()) && humps >= 2;
            let check = camel && word.starts_with(|first: char| first.is_ascii_uppercase()) && humps < word.len() / 2;
            let code = path.ends_with("ARCHITECTURE.md") || path.ends_with("CONTRIBUTING.md");
            if check && !code && !checks.contains(word) && !NO_CHECKS.contains(&word) {
                unknown.push(format!("{}: check {word}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "there is no such thing:\n{}", unknown.join("\n"));
}

/// The modules of a source file, from `src` or `tests` on, and the names of the tests in it.
fn tests_of(path: &Path, text: &str) -> (Vec<String>, Vec<String>) {
    let modules = path.with_extension("");
    let modules = modules.iter().map(|part| part.to_str().unwrap().to_owned()).filter(|part| part != "mod").collect();
    let (mut tests, mut is_test) = (Vec::new(), false);
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            tests.push(rest.split('(').next().unwrap().to_owned());
            is_test = false;
        }
    }
    (modules, tests)
}

/// The security model says what shows each of its rows: as `module::test`, where `*` is every test of a module and `…` the
/// rest of a name, or as the path of a file or of a folder.
#[test]
fn what_shows_that_the_security_model_holds_is_there() {
    let text = fs::read_to_string(Path::new(ROOT).join("docs/SECURITY-MODEL.md")).unwrap();
    let sources = ["src", "tests"].into_iter().flat_map(super::super::sources);
    let sources: Vec<_> = sources.map(|(path, text)| tests_of(&path, &text)).collect();
    let is_there = |named: &str| {
        if named.starts_with("tests/") {
            return Path::new(ROOT).join(named).exists();
        }
        let parts: Vec<&str> = named.split("::").collect();
        let (test, modules) = parts.split_last().unwrap();
        let within = |own: &[String]| own.windows(modules.len()).any(|some| some.iter().eq(modules));
        let is_named = |one: &String| match test.strip_suffix('…') {
            Some(start) => one.starts_with(start),
            None => *test == "*" || one == test,
        };
        sources.iter().any(|(own, tests)| within(own) && tests.iter().any(is_named))
    };
    let rows: Vec<&str> =
        text.lines().filter(|line| line.starts_with("| ") && !line.contains("| shown by |")).collect();
    let (mut count, mut absent) = (0, Vec::new());
    for row in &rows {
        let shown = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        let named: Vec<_> = shown.split(", ").filter(|one| !one.starts_with('[')).collect();
        count += named.len();
        let name = |one: &str| one.trim_matches('`').split(' ').next().unwrap().to_owned();
        absent.extend(named.into_iter().map(name).filter(|one| !is_there(one)));
    }
    assert!(rows.len() > 20 && count > rows.len(), "{} rows name {count} tests", rows.len());
    assert!(absent.is_empty(), "no test is there:\n{}", absent.join("\n"));
}
