//! The rules for Prometheus, judged by the real promtool: each fires when it should, after its time and with readable
//! text, and is silent where a hasty rule would not be. And the runbook, which has to know each of them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use streamgauge::delivery::render::runbook::{RUNBOOK, sections};
use streamgauge::domain::alerting::RUNBOOK_URL;
use streamgauge::domain::check::{Check, catalogue};
use streamgauge::domain::number::{self, Scope};
use streamgauge::domain::verdict::Severity;

use super::cases::{CASES, Case};
use super::lab::Lab;
use super::lab::prometheus::PROMETHEUS;
use super::told;

fn alerts(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts").join(file)
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_and_amtool_accept_what_is_checked_in() {
    let lab = Lab::find();
    for version in PROMETHEUS {
        for file in ["streamgauge.rules.yml", "streamgauge.minimal.rules.yml"] {
            run(lab.promtool(version).args(["check", "rules", "--lint-fatal"]).arg(alerts(file)));
        }
        let mut amtool = lab.program(format!("{version}/usr/bin/amtool"));
        run(amtool.arg("check-config").arg(alerts("alertmanager.example.yml")));
    }
}

#[test]
fn each_rule_has_a_firing_and_a_silent_case() {
    let mut missing = Vec::new();
    for check in catalogue() {
        let cases = || CASES.iter().filter(|case| case.check == check.name);
        for rule in check.rules {
            if !cases().any(|case| case.fires.iter().any(|(severity, ..)| *severity == rule.severity)) {
                missing.push(format!("{} {}: nothing makes it fire", check.name, rule.severity.as_str()));
            }
        }
        // It has no condition that could not hold.
        if check.name != "Watchdog" && !cases().any(|case| case.fires.is_empty()) {
            missing.push(format!("{}: nothing keeps it silent", check.name));
        }
    }
    assert!(missing.is_empty(), "add them to tests/serving/cases.rs:\n{}", missing.join("\n"));
    let known: BTreeSet<&str> = catalogue().map(|check| check.name).collect();
    let unknown: Vec<&str> = CASES.iter().map(|case| case.check).filter(|name| !known.contains(name)).collect();
    assert!(unknown.is_empty(), "there is no check {unknown:?}");
}

#[test]
fn rules_fire_after_their_time_and_are_silent_otherwise() {
    let lab = Lab::find();
    let directory = tempfile::tempdir().unwrap();
    let full = told(&["rules", "--profile", "full"]).1;
    let standard = fs::read_to_string(alerts("streamgauge.rules.yml")).unwrap();
    let (mut files, mut of_standard) = (Vec::new(), Vec::new());
    for check in catalogue() {
        let name = check.name;
        let mut tests = String::new();
        for case in CASES.iter().filter(|case| case.check == name) {
            unit_test(&mut tests, case, check);
        }
        // Only what the check needs: promtool evaluates every rule of a file at every minute of every test.
        let write = |profile: &str, text: String| {
            let rules = directory.path().join(format!("{name}.{profile}.rules.yml"));
            fs::write(&rules, text).unwrap();
            let yaml = format!(
                "rule_files: [{rules:?}]\nevaluation_interval: 1m\ngroup_eval_order: [breaches, streamgauge-rpo, \
                 streamgauge-rpo-slow, streamgauge-alerts]\ntests:\n{tests}"
            );
            let file = directory.path().join(format!("{name}.{profile}.yml"));
            fs::write(&file, yaml).unwrap();
            file
        };
        files.push(write("full", only(&full, name)));
        if matches!(check.scope(), Scope::Database | Scope::Replica) {
            of_standard.push(write("standard", breaching(&only(&standard, name), check)));
        }
        // The service level stands on what the agent says of another check.
        if name == "RpoBudgetBurn" {
            let unverifiable = catalogue().find(|check| check.name == "ReplicaUnverifiable").unwrap();
            of_standard.push(write("standard", breaching(&only(&standard, name), unverifiable)));
        }
    }
    std::thread::scope(|scope| {
        for version in PROMETHEUS {
            let mut command = lab.promtool(version);
            command.args(["test", "rules"]).args(&files);
            if version == PROMETHEUS[0] {
                command.args(&of_standard);
            }
            scope.spawn(move || run(&mut command));
        }
    });
}

/// The rule file without the alerts of other checks; recording rules stay where the check reads them.
fn only(rules: &str, check: &str) -> String {
    let (recordings, alerts) = rules.split_once("  - name: streamgauge-alerts\n").unwrap();
    let blocks =
        alerts.split_inclusive("      - alert: ").flat_map(|part| part.strip_suffix("      - alert: ").or(Some(part)));
    let its: Vec<&str> = blocks.filter(|block| block.lines().next() == Some(check)).collect();
    assert!(!its.is_empty(), "{check} is not in the rule file");
    let needed = its.iter().any(|block| block.contains("replica:streamgauge_"));
    let head = if needed { recordings } else { "groups:\n" };
    let its: String = its.iter().map(|block| format!("      - alert: {block}")).collect();
    format!("{head}  - name: streamgauge-alerts\n    rules:\n{its}")
}

/// The rules, beside what the agent says of the conditions of the check.
fn breaching(rules: &str, check: &Check) -> String {
    let mut group = "groups:\n  - name: breaches\n    rules:\n".to_owned();
    for rule in check.rules {
        let (name, severity, promql) = (check.name, rule.severity.as_str(), rule.when.to_string());
        let record = format!("      - record: streamgauge_check_breach\n        expr: {promql:?}\n");
        let _ = writeln!(group, "{record}        labels: {{check: {name}, severity: {severity}}}");
    }
    rules.replacen("groups:\n", &group, 1)
}

/// One test of promtool: minute by minute, from 1970 on.
fn unit_test(yaml: &mut String, case: &Case, check: &Check) {
    let minutes = |duration: std::time::Duration| duration.as_secs() / 60;
    let rule = |severity| {
        let found = check.rules.iter().find(|rule| rule.severity == severity);
        found.unwrap_or_else(|| panic!("{} has no rule that is {severity:?}", check.name))
    };
    let fired = case.fires.iter().map(|(severity, since, _)| since + minutes(rule(*severity).hold)).max();
    // A silent case lasts for longer than it would take to fire.
    let longest = check.rules.iter().map(|rule| minutes(rule.hold)).max().unwrap_or(0);
    let last = fired.unwrap_or(longest + 240) + 2;
    let labels = labels(check);
    let series = |metric: &str| {
        let (name, own) = metric.strip_suffix('}').and_then(|text| text.split_once('{')).unwrap_or((metric, ""));
        let scrape = r#"job="streamgauge",instance="127.0.0.1:10099""#;
        let scope = labels.iter().filter(|(name, _)| !["job", "instance"].contains(name));
        let scope: String = scope.map(|(name, value)| format!(",{name}={value:?}")).collect();
        let own = if own.is_empty() { String::new() } else { format!(",{own}") };
        format!("{name}{{{scrape}{scope}{own}}}")
    };
    let _ = writeln!(yaml, "  - name: {:?}\n    interval: 1m", format!("{} {:?}", check.name, case.fires));
    let _ = writeln!(yaml, "    input_series:");
    for (metric, values) in case.series {
        let values = match (values.contains('x'), fired) {
            (true, _) => (*values).to_owned(),
            (false, Some(_)) => format!("{values}x{last} stale"),
            (false, None) => format!("{values}x{last}"),
        };
        let _ = writeln!(yaml, "      - series: '{}'\n        values: '{values}'", series(metric));
    }
    let name = check.name;
    let _ = writeln!(yaml, "    promql_expr_test:");
    let mut expect = |expr: String, minute: u64, count: Option<u64>| {
        let samples = count.map_or_else(|| "[]".to_owned(), |count| format!("[{{labels: '{{}}', value: {count}}}]"));
        let _ = writeln!(yaml, "      - {{expr: '{expr}', eval_time: {minute}m, exp_samples: {samples}}}");
    };
    let firing = |severity: Severity| {
        format!(r#"count(ALERTS{{alertname="{name}",severity="{}",alertstate="firing"}})"#, severity.as_str())
    };
    if case.fires.is_empty() {
        let ever = format!(r#"count(count_over_time(ALERTS{{alertname="{name}",alertstate="firing"}}[{last}m]))"#);
        expect(ever, last, None);
    }
    for (severity, since, _) in case.fires {
        let fires = since + minutes(rule(*severity).hold);
        if fires > 0 {
            expect(firing(*severity), fires - 1, None);
        }
        expect(firing(*severity), fires, Some(1));
        // What was recorded is averaged for a while.
        let lingers = rule(*severity).when.to_string().contains(":avg");
        if !case.series.is_empty() && !lingers {
            // The series end after the last minute, and the alert is kept for a while.
            let gone = last + 1 + minutes(rule(*severity).keep_firing);
            expect(firing(*severity), gone - 1, Some(1));
            expect(firing(*severity), gone, None);
        }
    }
    let Some(fired) = fired else { return };
    let _ = writeln!(yaml, "    alert_rule_test:\n      - alertname: {name}\n        eval_time: {fired}m");
    let _ = writeln!(yaml, "        exp_alerts:");
    for (severity, _, value) in case.fires {
        let fill = |text: &str| {
            let mut text = text.replace("{value}", value);
            for (name, value) in &labels {
                text = text.replace(&format!("{{{name}}}"), value);
            }
            assert!(!text.contains(['{', '}']), "{name}: nothing replaces a word of: {text}");
            text
        };
        let _ = writeln!(yaml, "          - exp_labels:\n              severity: {}", severity.as_str());
        for (name, value) in &labels {
            let _ = writeln!(yaml, "              {name}: {value:?}");
        }
        let runbook = format!("{RUNBOOK_URL}#{}", name.to_lowercase());
        let mut annotations = vec![
            ("summary", fill(check.summary)),
            ("description", fill(check.description)),
            ("action", fill(check.action)),
            ("runbook_url", runbook),
        ];
        if check.scope() != Scope::Outside {
            annotations.push(("dashboard_url", "http://127.0.0.1:10099/".to_owned()));
        }
        let _ = writeln!(yaml, "            exp_annotations:");
        for (key, text) in annotations {
            let _ = writeln!(yaml, "              {key}: {text:?}");
        }
    }
}

/// The labels that an alert keeps of its series.
fn labels(check: &Check) -> Vec<(&'static str, &'static str)> {
    let scrape = [("job", "streamgauge"), ("instance", "127.0.0.1:10099")];
    let value = |label: &&'static str| match *label {
        "database" => ("database", "app"),
        "replica" => ("replica", "s3"),
        label => (label, "one"),
    };
    match check.name {
        "Watchdog" => Vec::new(),
        "AgentAbsent" | "ShardMissing" | "ShardsDisagree" => vec![scrape[0]],
        "RpoBudgetBurn" => scrape.into_iter().chain(["database", "replica"].iter().map(value)).collect(),
        _ => scrape.into_iter().chain(check.scope().labels().iter().map(value)).collect(),
    }
}

/// What each section of the runbook says, in this order; each is a paragraph that begins with it in bold.
const LEADS: [&str; 5] = ["Meaning.", "Impact.", "Diagnosis.", "What to do.", "When it is wrong."];

#[test]
fn the_runbook_has_a_section_for_each_check_and_no_other() {
    let mut found = BTreeSet::new();
    for (name, text) in sections() {
        assert!(found.insert(name), "docs/RUNBOOK.md: {name} is there twice");
        let mut rest = text;
        for lead in LEADS {
            let paragraph = format!("**{lead}**");
            let at =
                rest.find(&paragraph).unwrap_or_else(|| panic!("docs/RUNBOOK.md: {name} has no {lead} in its place"));
            let begins = at == 0 || rest[..at].ends_with("\n\n");
            assert!(begins, "docs/RUNBOOK.md: {lead} of {name} is no paragraph of its own");
            rest = &rest[at + paragraph.len()..];
            assert!(rest.find("\n\n").unwrap_or(rest.len()) >= 10, "docs/RUNBOOK.md: {lead} of {name} says nothing");
        }
        assert_eq!(text.matches("```").count() % 2, 0, "docs/RUNBOOK.md: a command of {name} does not end");
    }
    let metrics: BTreeSet<&str> = number::all().map(|number| number.name).collect();
    for word in RUNBOOK.split(|letter: char| !letter.is_ascii_alphanumeric() && !"_:".contains(letter)) {
        let known = !word.starts_with("streamgauge_") || metrics.contains(word);
        assert!(known, "docs/RUNBOOK.md: there is no metric {word}");
    }
    let missing: Vec<&str> = catalogue().map(|check| check.name).filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "docs/RUNBOOK.md: there is no section {missing:?}");
    let known: BTreeSet<&str> = catalogue().map(|check| check.name).collect();
    let unknown: Vec<&&str> = found.difference(&known).collect();
    assert!(unknown.is_empty(), "docs/RUNBOOK.md: there is no check {unknown:?}");
}

#[test]
fn the_command_prints_what_is_checked_in() {
    for (arguments, file) in [
        (&["rules"][..], "streamgauge.rules.yml"),
        (&["rules", "--profile", "minimal"], "streamgauge.minimal.rules.yml"),
        (&["rules", "--format", "alertmanager"], "alertmanager.example.yml"),
    ] {
        let (code, out, err) = told(arguments);
        assert_eq!((code, err.as_str()), (0, ""), "{arguments:?}");
        assert!(out == fs::read_to_string(alerts(file)).unwrap(), "{arguments:?} is not alerts/{file}");
    }
}
