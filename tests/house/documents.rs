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
