//! Every fault of the catalogue as a script against the real agent, whose reports are judged twice: by the built-in
//! engine, and by the rules for Prometheus in promtool. Both have to agree on what fires at each step, and what fires has
//! to be what is expected. The table is docs/DETECTION.md; `UPDATE=1` writes it anew.
//!
//! `STREAMGAUGE_SCENARIO=words` runs those scenarios only whose names contain them, and prints what they did.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "one scenario alone says what it did")]

#[path = "detection/costs.rs"]
mod costs;
#[path = "detection/engine.rs"]
mod engine;
#[path = "support/faulty_store.rs"]
mod faulty_store;
#[path = "detection/fleet.rs"]
mod fleet;
#[path = "detection/judge.rs"]
mod judge;
#[path = "lab/mod.rs"]
mod lab;
#[path = "detection/peer.rs"]
mod peer;
#[path = "detection/scenarios.rs"]
mod scenarios;
#[path = "detection/table.rs"]
mod table;
#[path = "detection/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use judge::{Recording, promtool};
use lab::Lab;
use lab::prometheus::PROMETHEUS;
use scenarios::{SCENARIOS, Scenario};
use streamgauge::delivery::render;
use streamgauge::delivery::render::rules::{RuleOptions, RuleSet};
use streamgauge::domain::profile::Profile;

/// The documentation that this test keeps true.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/DETECTION.md");

/// The rules for Prometheus that are read with one profile.
fn rules(profile: Profile) -> String {
    let runbook_url = "https://example.org/runbook";
    render::rules::rules(RuleOptions { set: RuleSet::Of(profile), runbook_url, dashboard_url: None })
}

/// The metrics that rules are made of.
fn metrics(rules: &str) -> BTreeSet<String> {
    let words = rules.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("streamgauge_")).map(str::to_owned).collect()
}

/// Lives through scenarios, as many at once as there are processors.
fn record(scenarios: &[&'static Scenario], metrics: &BTreeSet<String>) -> Vec<Recording> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::SeqCst);
            let Some(scenario) = scenarios.get(index) else { return done };
            let mut recording = Recording::new(scenario.name, scenario.prometheus_alone);
            world::live(&scenario.site(), scenario.minutes * 60, scenario.events, |seen| recording.see(metrics, seen));
            done.push((index, recording));
        }
    };
    let threads = thread::available_parallelism().map_or(2, usize::from);
    let mut recordings: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    recordings.sort_by_key(|(index, _)| *index);
    recordings.into_iter().map(|(_, recording)| recording).collect()
}

#[test]
fn every_fault_is_detected_as_expected_by_both_engines() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    // The one Prometheus compares numbers, the other one reads what the agent says of them.
    let texts = [Profile::Full, Profile::Standard].map(rules);
    let paths = [0, 1].map(|place| home.path().join(format!("{place}.rules.yml")));
    paths.iter().zip(&texts).for_each(|(path, text)| fs::write(path, text).unwrap());
    let only = std::env::var("STREAMGAUGE_SCENARIO").ok();
    let wanted = |scenario: &&Scenario| only.as_ref().is_none_or(|only| scenario.name.contains(only));
    let scenarios: Vec<_> = SCENARIOS.iter().filter(wanted).collect();
    let recordings = record(&scenarios, &metrics(&texts.concat()));
    let mut problems: Vec<_> = scenarios
        .iter()
        .zip(&recordings)
        .flat_map(|(scenario, recording)| table::problems(scenario, recording))
        .collect();
    problems.extend(disagreements(&lab, home.path(), &paths, &recordings));
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    let table = table::render(&scenarios, &recordings);
    if only.is_some() {
        eprintln!("{table}");
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, &table).unwrap();
    }
    assert_eq!(fs::read_to_string(DOCUMENT).unwrap_or_default(), table, "run with UPDATE=1 and read what changed");
}

/// What the rules in each Prometheus say that the engine does not, and the other way round.
fn disagreements(lab: &Lab, home: &Path, rules: &[PathBuf; 2], recordings: &[Recording]) -> Vec<String> {
    thread::scope(|scope| {
        let ask = |(version, rules)| scope.spawn(move || promtool(lab, version, home, rules, recordings));
        let [full, standard] = rules;
        let rules = [(full.as_path(), false), (standard.as_path(), true)];
        let asked: Vec<_> = PROMETHEUS.into_iter().zip(rules).map(ask).collect();
        asked.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}
