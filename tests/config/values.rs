//! Durations and sizes: one grammar and one message for every option, in the file and in the environment. The command
//! line's are held to the same by the tests of its own.

use streamgauge::infrastructure::config::Problem;

use super::own::uncommented;
use super::{Files, load};

const DURATION: &str = "a duration such as 500ms, 30s, 5m, 1h30m or 7d";
const SIZE: &str = "a size such as 10GiB, 512MB, 1.5GiB or a number of bytes";

/// What is said of a line of the commented example when its value is another.
fn said(lines: &[String], at: usize, value: &str) -> Option<Problem> {
    let mut lines = lines.to_vec();
    let (key, _) = lines[at].split_once(" = ").expect("an option");
    lines[at] = format!("{key} = {value:?}");
    let files = Files::new();
    files.write("streamgauge.toml", lines.join("\n"));
    // Files that the example names are not there, so that it is always refused.
    let problems = load(&files.input()).expect_err("an example that is not complete").problems;
    problems.into_iter().find(|problem| problem.line == Some(at + 1))
}

/// Whether a person would take the example's value for a number with one of these units.
fn looks(line: &str, units: &[&str]) -> bool {
    let value = line.split_once(" = ").map_or("", |(_, value)| value.trim_matches('"'));
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < value.len() && units.contains(&unit)
}

/// `STREAMGAUGE__SECTION__KEY` of a key that stands in no list.
fn variable(lines: &[String], at: usize) -> Option<String> {
    let section = lines[..at].iter().rev().find(|line| line.starts_with('['))?;
    let section = section.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.starts_with('['))?;
    let key = lines[at].split_once(" = ")?.0;
    let listed = section.starts_with("database.");
    (!listed).then(|| format!("STREAMGAUGE__{section}__{key}").to_uppercase().replace('-', "_").replace('.', "__"))
}

#[test]
fn every_duration_and_size_has_one_grammar_and_one_message() {
    let lines: Vec<String> = uncommented().lines().map(str::to_owned).collect();
    let mut found = [0, 0];
    for at in (0..lines.len()).filter(|at| lines[*at].contains(" = ") && !lines[*at].starts_with(['#', '['])) {
        let line = &lines[at];
        let problem = said(&lines, at, "1 fortnight");
        let accepted = problem.as_ref().and_then(|problem| problem.accepted.clone()).unwrap_or_default();
        let (kind, expected, good) = match accepted.split(' ').nth(1) {
            Some("duration") => (0, DURATION, "7d"),
            Some("size") => (1, SIZE, "1.5GiB"),
            _ => {
                let either = ["ms", "s", "m", "h", "d", "kB", "MB", "GB", "KiB", "MiB", "GiB"];
                assert!(!looks(line, &either), "{line}: {problem:?}");
                continue;
            }
        };
        found[kind] += 1;
        // A size may have a bound of its own behind what all have.
        assert!(accepted.starts_with(expected), "{line}: {accepted}");
        assert_eq!(problem.expect("a problem").message, "unknown unit", "{line}");
        assert_eq!(said(&lines, at, good), None, "{line}");
        if let Some(name) = variable(&lines, at) {
            let said = |value: &str| {
                let mut files = Files::new();
                files.write("streamgauge.toml", "[[database]]\npath = '/a.db'\n");
                files.set(&name, value);
                // A section may want other keys beside this one.
                let problems = load(&files.input()).err().map(|refused| refused.problems).unwrap_or_default();
                problems.into_iter().find(|problem| problem.key == name)
            };
            let problem = said("1 fortnight").expect(&name);
            assert_eq!((problem.message.as_str(), problem.accepted), ("unknown unit", Some(accepted)), "{name}");
            assert_eq!(said(good), None, "{name}");
        }
    }
    assert!(found[0] > 25 && found[1] > 4, "only {found:?} were found: does this test still see them?");
}
