//! Reports in, exposition out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::assessment::DatabaseReport;
use crate::domain::check::{Judge, Watching};
use crate::domain::number::{Kind, Number};
use crate::domain::profile::{Profile, Selection};
use crate::domain::report::sample;

/// Compares with a file of this repository, and rewrites it when `UPDATE=1`.
fn golden(path: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, actual).expect("golden file is written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(actual, expected, "{} is out of date; look at the difference and run with UPDATE=1", path.display());
}

/// The samples of one database, without descriptions.
fn samples(database: DatabaseReport) -> String {
    let text = openmetrics(&Arc::new(sample::report(vec![database])));
    text.split_inclusive('\n').filter(|line| line.contains("database=\"app\"")).collect()
}

#[test]
fn a_healthy_database() {
    golden("src/delivery/render/metrics/golden/healthy.txt", &samples(sample::healthy("app")));
}

#[test]
fn a_database_that_is_drilled() {
    let text = samples(sample::drilled("app"));
    let drills: String =
        text.split_inclusive('\n').filter(|line| line.contains("_drill") || line.contains("_rto_")).collect();
    golden("src/delivery/render/metrics/golden/drilled.txt", &drills);
}

#[test]
fn a_database_whose_commits_wait() {
    golden("src/delivery/render/metrics/golden/pending.txt", &samples(sample::pending("app")));
}

#[test]
fn a_database_of_which_nothing_is_known() {
    golden("src/delivery/render/metrics/golden/unknown.txt", &samples(sample::unknown("app")));
}

#[test]
fn an_agent_without_databases() {
    let text = openmetrics(&Arc::new(sample::report(Vec::new())));
    golden("src/delivery/render/metrics/golden/empty.txt", &text);
}

#[test]
fn a_report_in_which_everything_is_known() {
    golden("src/delivery/render/metrics/golden/full.txt", &openmetrics(&Arc::new(sample::full())));
}

/// Compact JSON with a line for each value, in the order in which it was written.
fn lines(json: &str) -> String {
    let (mut out, mut depth, mut quoted, mut escaped) = (String::new(), 0, false, false);
    for letter in json.chars() {
        let structure = !quoted;
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        if structure && matches!(letter, '}' | ']') {
            depth -= 1;
            out += &format!("\n{}", "  ".repeat(depth));
        }
        out.push(letter);
        if structure && matches!(letter, '{' | '[' | ',') {
            depth += usize::from(letter != ',');
            out += &format!("\n{}", "  ".repeat(depth));
        }
    }
    out.lines().filter(|line| !line.trim().is_empty()).fold(String::new(), |lines, line| lines + line + "\n")
}

#[test]
fn the_whole_report_as_json() {
    let json = crate::delivery::render::json::json(&sample::full()).expect("a report is written");
    golden("src/delivery/render/metrics/golden/full.json", &lines(&json));
}

/// The verdicts of every check on everything in the report in which everything is known.
#[test]
fn all_that_checks_say() {
    let mut out = String::new();
    for watching in [Watching::Continuously, Watching::Once] {
        let mut report = sample::full();
        report.verdicts = Judge::new(watching).judge(&report.assessment, sample::now());
        for verdict in report.judged().flat_map(|judged| judged.told(|_| true)).chain(report.verdicts.agent.clone()) {
            out += &serde_json::to_string(&verdict).expect("a verdict is written");
            out.push('\n');
        }
    }
    golden("src/delivery/render/metrics/golden/verdicts.json", &out);
}

#[test]
fn the_reference_is_what_the_table_says() {
    golden("docs/METRICS.md", &catalogue::markdown());
}

#[test]
fn names_are_legal_once_and_end_as_their_type_demands() {
    let mut seen = std::collections::BTreeSet::new();
    for family in number::all() {
        let name = family.name;
        assert!(seen.insert(name), "{name} is declared twice");
        assert!(name.starts_with("streamgauge_") || name.starts_with("process_"), "{name}");
        for word in family.labels().chain([name]) {
            let legal = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            assert!(legal && !word.contains("__") && !word.ends_with('_'), "{word} of {name}");
        }
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert_eq!(name.ends_with("_info"), family.kind == Kind::Info, "{name}");
        if name.contains("timestamp") {
            assert!(name.ends_with("_timestamp_seconds"), "{name}");
        }
    }
}

#[test]
fn help_is_one_sentence_that_needs_no_escaping() {
    for Number { name, help, .. } in number::all() {
        let plain = help.bytes().all(|byte| (b' '..=b'~').contains(&byte) && !matches!(byte, b'\\' | b'"'));
        assert!(plain, "help of {name}");
        assert!(help.ends_with('.') && !help.trim_end_matches('.').contains(". "), "help of {name}");
        assert!(help.starts_with(|first: char| first.is_ascii_uppercase() || first.is_ascii_digit()), "help of {name}");
    }
}

/// Names that people's rules and dashboards stand on: removing one is a breaking change.
#[test]
fn promised_names_are_there() {
    let promised = [
        "streamgauge_replica_lag_seconds",
        "streamgauge_replica_recovery_point_timestamp_seconds",
        "streamgauge_replica_unreplicated_bytes",
        "streamgauge_replica_verified_timestamp_seconds",
        "streamgauge_replica_last_segment_timestamp_seconds",
        "streamgauge_replica_up",
        "streamgauge_replica_gaps",
        "streamgauge_replica_restorable_since_timestamp_seconds",
        "streamgauge_database_up",
        "streamgauge_database_size_bytes",
        "streamgauge_database_wal_size_bytes",
        "streamgauge_database_commits_total",
        "streamgauge_database_growth_bytes_per_second",
        "streamgauge_database_write_transactions_per_second",
        "streamgauge_database_written_bytes_per_second",
        "streamgauge_drill_last_success_timestamp_seconds",
        "streamgauge_drill_last_result",
        "streamgauge_drill_interval_seconds",
        "streamgauge_drills_total",
        "streamgauge_build_info",
    ];
    for name in promised {
        assert!(number::all().any(|family| family.name == name), "{name}");
    }
}

#[test]
fn every_family_has_a_sample_in_a_full_report_and_one_block_of_its_own() {
    let text = to_text(&openmetrics(&Arc::new(sample::full())));
    for Number { name, kind, .. } in number::all() {
        let sample = match kind {
            Kind::Histogram => format!("{name}_bucket{{"),
            _ => name.to_string(),
        };
        let has_sample = text.lines().any(|line| {
            line.strip_prefix(&sample).is_some_and(|rest| *kind == Kind::Histogram || rest.starts_with([' ', '{']))
        });
        assert!(has_sample, "{name}");
        assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        assert_eq!(text.matches(&format!("# HELP {name} ")).count(), 1, "{name}");
    }
}

#[test]
fn label_values_are_escaped() {
    let text = openmetrics(&Arc::new(sample::report(vec![sample::unknown("a\"b\\c\nd é\u{1f4a7}\r")])));
    let line = text.lines().find(|line| line.starts_with("streamgauge_database_up{")).expect("a sample");
    assert_eq!(line, "streamgauge_database_up{database=\"a\\\"b\\\\c\\\\u{a}d é\u{1f4a7}\\\\u{d}\"} 0");
}

#[test]
fn no_number_is_no_sample() {
    let mut database = sample::healthy("app");
    database.replicas[0].lag_seconds = Some(f64::INFINITY);
    database.rpo_seconds = f64::NAN;
    let text = samples(database);
    assert!(!text.contains("replica_lag_seconds") && !text.contains("rpo_objective"), "{text}");
}

#[test]
fn text_has_the_names_and_types_of_its_own() {
    let openmetrics = "\
# HELP a_seconds Seconds.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\na_seconds_total 1\n\
# HELP b Info.\n# TYPE b info\nb_info{x=\"# EOF\"} 1\n\
# HELP c Anything.\n# TYPE c unknown\nc 1\n\
# HELP d_seconds How long.\n# TYPE d_seconds histogram\n# UNIT d_seconds seconds\nd_seconds_sum 1.0\n# EOF\n";
    let text = "\
# HELP a_seconds_total Seconds.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
# HELP b_info Info.\n# TYPE b_info gauge\nb_info{x=\"# EOF\"} 1\n\
# HELP c Anything.\n# TYPE c untyped\nc 1\n\
# HELP d_seconds How long.\n# TYPE d_seconds histogram\nd_seconds_sum 1.0\n";
    assert_eq!(to_text(openmetrics), text);
}

/// The program `promtool`: from the laboratory, or from the path.
fn promtool() -> Option<PathBuf> {
    let lab = std::env::var_os("STREAMGAUGE_LAB").map(PathBuf::from);
    let lab = lab.map(|lab| lab.join("prometheus-3/usr/bin/promtool")).filter(|path| path.is_file());
    lab.or_else(|| {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|folder| folder.join("promtool")).find(|path| path.is_file())
    })
}

#[test]
fn promtool_finds_nothing_to_complain_about() {
    let Some(promtool) = promtool() else {
        assert!(std::env::var_os("CI").is_none(), "promtool is neither in $STREAMGAUGE_LAB nor on the path");
        println!("skipped: promtool is neither in $STREAMGAUGE_LAB nor on the path");
        return;
    };
    for report in [sample::full(), sample::report(vec![sample::unknown("a\"b\\c\nd é\r\u{0}")])] {
        let text = to_text(&openmetrics(&Arc::new(report)));
        let mut child = Command::new(&promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool starts");
        child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("promtool ends");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success() && said.is_empty(), "{}\n{text}", String::from_utf8_lossy(&said));
    }
}

proptest! {
    /// Whatever a file is called, it stays inside its quotes: the number of lines does not depend on it.
    #[test]
    fn no_name_adds_a_line(name in "\\PC*|[\\x00-\\x7f]*") {
        let plain = openmetrics(&Arc::new(sample::report(vec![sample::healthy("app")])));
        let hostile = openmetrics(&Arc::new(sample::report(vec![sample::healthy(&name)])));
        prop_assert_eq!(hostile.matches('\n').count(), plain.matches('\n').count());
        prop_assert_eq!(to_text(&hostile).matches('\n').count(), to_text(&plain).matches('\n').count());
    }
}

/// A condition reads the same number here as Prometheus does, or neither has one.
#[test]
fn what_checks_compare_is_what_is_exported() {
    use crate::domain::check::expression::{Fold, Term};
    use crate::domain::check::{Check, catalogue};
    use crate::domain::number::Read;

    let databases = vec![
        sample::healthy("healthy"),
        sample::drilled("drilled"),
        sample::pending("pending"),
        sample::unknown("unknown"),
        sample::observed("observed"),
    ];
    let full = sample::full();
    let mut report = sample::report(databases);
    let agent = full.assessment.agent;
    (report.assessment.agent.stores, report.assessment.agent.buckets) = (agent.stores, agent.buckets);
    let report = Arc::new(report);
    let text = openmetrics(&report);
    let mut compared = 0;
    let terms = |check: &'static Check| check.rules.iter().flat_map(|rule| rule.when.terms());
    for check in catalogue() {
        let scope = check.scope();
        for term in terms(check) {
            let (number, fold) = match term {
                Term::Of(number) => (number, None),
                Term::Folded(number, fold) => (number, Some(fold)),
                _ => panic!("{}: {term}", check.name),
            };
            assert_eq!(number.scope, scope, "{}: {}", check.name, number.name);
            // A label that is not there, or a value where there are several, would be unknown for ever.
            assert_eq!(number.more, fold.map(Fold::label).as_slice(), "{}: labels of {}", check.name, number.name);
            assert_eq!(matches!(number.read, Read::One(_)), fold.is_none(), "{}: {}", check.name, number.name);
            for subject in scope.subjects(&report.assessment) {
                let labels = scope.labels().iter().zip(subject.label_values());
                let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                let is_its = |line: &&str| {
                    let rest = line.strip_prefix(number.name).filter(|rest| rest.starts_with(['{', ' ']));
                    rest.is_some() && labels.iter().all(|label| line.contains(label))
                };
                let lines = text.lines().filter(is_its);
                let value = |line: &str| line.rsplit_once(' ')?.1.parse::<f64>().ok();
                let exported = match fold {
                    Some(Fold::Where(label, value_of)) => {
                        let wanted = format!("{label}=\"{value_of}\"");
                        lines.filter(|line| line.contains(&wanted)).filter_map(value).reduce(|a, b| a + b)
                    }
                    Some(Fold::Min(_)) => lines.filter_map(value).reduce(f64::min),
                    Some(Fold::Sum(_)) | None => lines.filter_map(value).reduce(|a, b| a + b),
                };
                assert_eq!(term.value(subject, sample::now()), exported, "{}: {term}", check.name);
                compared += usize::from(exported.is_some());
            }
        }
    }
    assert!(compared > 50, "only {compared} numbers were compared");
}

/// What is served of databases that are all judged, with this profile and what `adjust` makes of the selection.
fn served(mut databases: Vec<DatabaseReport>, profile: Profile, adjust: impl Fn(&mut Selection)) -> Vec<String> {
    databases.iter_mut().for_each(|database| database.metrics = profile);
    let mut report = sample::report(databases);
    adjust(Arc::make_mut(&mut report.assessment.selection));
    report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, sample::now());
    let text = openmetrics(&Arc::new(report));
    let of_database = |line: &&str| line.contains("{database=\"") && !line.contains("{database=\"\"");
    text.lines().filter(of_database).map(str::to_owned).collect()
}

/// Each state that a database can be in.
fn states() -> Vec<DatabaseReport> {
    vec![
        sample::drilled("drilled"),
        sample::healthy("healthy"),
        sample::observed("observed"),
        sample::pending("pending"),
        sample::unknown("unknown"),
    ]
}

#[test]
fn a_profile_has_so_many_series() {
    for database in [sample::healthy("app"), sample::drilled("app"), sample::observed("app")] {
        let count = |profile| served(vec![database.clone()], profile, |_| ()).len();
        let [core, standard, full] = [Profile::Core, Profile::Standard, Profile::Full].map(count);
        assert!((5..=10).contains(&core), "{core}");
        assert!((15..=30).contains(&standard), "{standard}");
        assert!(full > 80, "{full}");
    }
}

#[test]
fn a_profile_has_what_the_smaller_one_has() {
    let [core, standard, full] = [Profile::Core, Profile::Standard, Profile::Full].map(|profile| {
        let samples: std::collections::BTreeSet<String> = served(states(), profile, |_| ()).into_iter().collect();
        samples
    });
    assert!(core.is_subset(&standard) && standard.is_subset(&full) && core.len() < standard.len());
    // What is wrong is told whatever is left out.
    for sample in ["check=\"ReplicationLag\",status=\"unknown\"", "check=\"ReplicaCorrupt\",severity=\"critical\""] {
        assert!(core.iter().any(|line| line.contains(sample)), "{sample}: {core:#?}");
    }
    assert!(!standard.iter().any(|line| line.contains("status=\"pass\"")));
}

#[test]
fn a_selection_adds_to_a_profile_and_takes_away_last() {
    let names = |lines: Vec<String>| {
        let names = lines.iter().filter_map(|line| line.split('{').next()).map(str::to_owned);
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let core = names(served(states(), Profile::Core, |_| ()));
    let adjusted = names(served(states(), Profile::Core, |selection| {
        selection.include = ["streamgauge_replica_gaps", "streamgauge_replica_up"].into();
        selection.exclude = ["streamgauge_replica_up", "streamgauge_check_breach"].into();
    }));
    let added: Vec<_> = adjusted.difference(&core).collect();
    let taken: Vec<_> = core.difference(&adjusted).collect();
    assert_eq!((added.len(), added[0].as_str(), taken.len()), (1, "streamgauge_replica_gaps", 2), "{taken:?}");
    let shed = served(states(), Profile::Full, |selection| {
        selection.include = ["streamgauge_replica_gaps"].into();
        selection.most = None;
    });
    assert_eq!(shed, Vec::<String>::new());
    let passing = served(states(), Profile::Core, |selection| selection.include = ["streamgauge_check_status"].into());
    assert!(passing.iter().any(|line| line.contains("status=\"pass\"")));
}

#[test]
fn each_database_has_a_profile_of_its_own() {
    let mut report = sample::report(vec![sample::healthy("a"), sample::healthy("b")]);
    let of = |report: &Report| {
        let text = openmetrics(&Arc::new(report.clone()));
        ["a", "b"].map(|name| text.matches(&format!("{{database=\"{name}\"")).count())
    };
    let [before, other] = of(&report);
    Arc::make_mut(&mut report.assessment.databases[0]).metrics = Profile::Core;
    let [after, same] = of(&report);
    assert!(after < before / 5 && other == same, "{before} {after}, {other} {same}");
}
