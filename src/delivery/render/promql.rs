//! What PromQL reads: the names of metrics in it, the labels that it asks them for, and the profile that has all of them.

#[cfg(test)]
use std::collections::BTreeMap;

use super::rules::recorded;
use crate::domain::number::{self, Kind, Number};
use crate::domain::profile::Profile;

/// The smallest profile in which everything is served that PromQL reads.
pub(super) fn profile(promql: &str) -> Profile {
    let of = |(name, _): (&str, _)| match recorded(Profile::Core).into_iter().find(|rule| rule.record == name) {
        Some(rule) => profile(&rule.expr),
        None => number::all().find(|number| is_of(name, number)).map_or(Profile::Core, |number| number.profile),
    };
    metrics(promql).into_iter().map(of).max().unwrap_or(Profile::Core)
}

/// Names of the series of a number, without its own.
fn suffixes(number: &Number) -> &'static [&'static str] {
    match number.kind {
        Kind::Histogram => &["_bucket", "_sum", "_count"],
        Kind::Counter | Kind::Gauge | Kind::Info => &[""],
    }
}

/// Whether a series of this name is one of the number's.
fn is_of(name: &str, number: &Number) -> bool {
    name.strip_prefix(number.name).is_some_and(|suffix| suffixes(number).contains(&suffix))
}

/// The labels of everything that there is to ask for, by name: of what is exported, of what the rules record, and of what
/// Prometheus adds by itself.
#[cfg(test)]
pub(super) fn exported() -> BTreeMap<String, Vec<&'static str>> {
    let alerts = vec!["alertname", "alertstate", "severity", "database", "replica"];
    let mut known = BTreeMap::from([("up".to_owned(), Vec::new()), ("ALERTS".to_owned(), alerts)]);
    for family in number::all() {
        let bound = (family.kind == Kind::Histogram).then_some("le");
        let labels: Vec<&str> = family.labels().chain(bound).collect();
        known.extend(suffixes(family).iter().map(|suffix| (format!("{}{suffix}", family.name), labels.clone())));
    }
    for rule in recorded(Profile::Full) {
        let parts = metrics(&rule.expr);
        assert!(!parts.is_empty(), "{}", rule.record);
        for (name, _) in &parts {
            assert!(known.contains_key(*name), "{}: there is no metric {name}", rule.record);
        }
        let labels = known[parts[0].0].clone();
        known.insert(rule.record, labels);
    }
    known
}

/// The names of metrics in PromQL, with the labels of the selectors and groupings behind or before them.
pub(super) fn metrics(promql: &str) -> Vec<(&str, Vec<&str>)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b':';
    let mut found = Vec::new();
    let mut at = 0;
    while at < promql.len() {
        let word = promql[at..].bytes().take_while(|byte| is_name(*byte)).count();
        let name = &promql[at..at + word];
        at += word.max(1);
        if !name.contains("streamgauge_") && !name.starts_with("process_") && name != "up" && name != "ALERTS" {
            continue;
        }
        let mut labels = Vec::new();
        if let Some(selector) = promql[at..].strip_prefix('{').and_then(|rest| rest.split('}').next()) {
            let pairs = selector.split(',').filter(|pair| !pair.is_empty());
            labels.extend(pairs.filter_map(|pair| pair.split(['=', '!']).next()).map(str::trim));
            at += selector.len() + 2;
        }
        let before = &promql[..at - word.min(at)];
        if let Some((_, grouping)) = before.rsplit_once("without (") {
            labels.extend(grouping.split(')').next().filter(|_| grouping.ends_with(") (")));
        }
        found.push((name, labels));
    }
    found
}

#[test]
fn names_and_labels_are_found_in_promql() {
    let promql = "sum without (finding) (streamgauge_a{finding=\"x\",b!=\"{\"}) > 2 * replica:streamgauge_b:avg1h";
    let found = metrics(promql);
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["streamgauge_a", "replica:streamgauge_b:avg1h"]);
    assert!(found[0].1.contains(&"finding") && found[1].1.is_empty(), "{found:?}");
}
