//! A report of several databases on a terminal: a line for each, the worst first, what fails once for all of them, and a
//! last line that counts.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::args::SourceArgs;
use super::blocks::{coloured, counted, state_of};
use super::output::is_plain;
use crate::delivery::render::terminal::{UNCUT, align, fit, wrapped};
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::check::checklist::not_observable;
use crate::domain::drill::{DrillRecord, DrillResult};
use crate::domain::human;
use crate::domain::limits::{OVERVIEW_FINDINGS_MAX, OVERVIEW_NAMES_MAX, OVERVIEW_ROWS_MAX};
use crate::domain::report::Report;
use crate::domain::verdict::{Severity, Status, Verdict, Word};

/// The newest drill that the agent of this host remembers, by database.
pub type Drills = BTreeMap<String, DrillRecord>;

/// Columns that a name may take within a sentence.
const NAME_COLUMNS: usize = 24;

/// Lines that one finding may take.
const FINDING_LINES: usize = 2;

/// Where the text of a finding begins, below the names.
const INDENT: usize = 10;

/// What has a line: a database, or the agent itself where something is wrong with it.
pub struct Line<'a> {
    pub word: Word,
    pub name: &'a str,
    pub database: Option<&'a DatabaseReport>,
    verdicts: Vec<&'a Verdict>,
}

impl<'a> Line<'a> {
    /// The checks that make it what it is, the worst first, each once.
    pub fn checks(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = Vec::new();
        for verdict in worst_first(self.verdicts.iter().copied()).filter(|verdict| weight(verdict) > Word::Ok) {
            if !names.contains(&verdict.check) {
                names.push(verdict.check);
            }
        }
        names
    }

    /// The first of them, and how many more there are.
    pub fn fails(&self) -> String {
        match self.checks()[..] {
            [] => String::new(),
            [only] => only.to_owned(),
            [first, ref more @ ..] => format!("{first} +{}", more.len()),
        }
    }

    /// The replica from which the least would be lost.
    pub fn safest(&self) -> Option<&'a ReplicaReport> {
        self.database?.replicas.iter().max_by_key(|replica| replica.safe_at_least())
    }
}

fn weight(verdict: &Verdict) -> Word {
    Word::of(std::iter::once(verdict))
}

/// What is to be told of verdicts, the worst first: all that does not pass. What only informs, and is not known yet, is no
/// news.
pub(super) fn worst_first<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> impl Iterator<Item = &'a Verdict> {
    let quiet = |verdict: &&Verdict| verdict.status == Status::Unknown && verdict.severity == Severity::Info;
    let mut news: Vec<_> = verdicts.filter(|verdict| verdict.status != Status::Pass && !quiet(verdict)).collect();
    news.sort_by_key(|verdict| Reverse(weight(verdict)));
    news.into_iter()
}

/// A line for each database and, where something is wrong with it, for the agent; the worst first.
pub fn lines(report: &Report) -> Vec<Line<'_>> {
    let bad: Vec<&Verdict> = report.verdicts.agent.iter().filter(|verdict| verdict.status != Status::Pass).collect();
    let agent = (!bad.is_empty()).then(|| Line {
        word: Word::of(bad.iter().copied()),
        name: "streamgauge",
        database: None,
        verdicts: bad,
    });
    let databases = report.judged().map(|judged| Line {
        word: judged.word(),
        name: &judged.database.name,
        database: Some(judged.database),
        verdicts: judged.checks().iter().collect(),
    });
    let mut lines: Vec<Line<'_>> = databases.chain(agent).collect();
    lines.sort_by_key(|line| Reverse(line.word));
    lines
}

/// The report, which is of these `sources`, in lines of at most `width` columns, which are 80 or more, or [`UNCUT`].
pub fn overview(report: &Report, drills: &Drills, sources: &SourceArgs, colour: bool, width: usize) -> String {
    let lines = lines(report);
    let mut out = table(&lines, drills, report.generated_at, colour, width);
    let (found, more) = findings(&lines, if width == UNCUT { UNCUT } else { NAME_COLUMNS });
    if !found.is_empty() {
        out.push('\n');
    }
    for (state, text) in found {
        let parts = wrapped(&text, width - INDENT);
        for (index, part) in parts.iter().take(FINDING_LINES).enumerate() {
            let label = if index == 0 { state } else { "" };
            let is_cut = index + 1 == FINDING_LINES && parts.len() > FINDING_LINES;
            let part = if is_cut { fit(&format!("{part} …"), width - INDENT) } else { part.clone() };
            out.push_str(&format!("{label:<8}  {part}\n"));
        }
    }
    if more > 0 {
        let checks = human::agree(&more, "check", "checks");
        out.push_str(&format!("{:8}  and {more} more {checks}: see --verbose\n", ""));
    }
    out.push('\n');
    // Below what is counted, so that nobody takes these for checked.
    let unseen: Vec<&str> = not_observable().map(|(item, _)| item.item).collect();
    let unseen = format!("not observable: {} (see --verbose)", unseen.join(", "));
    for line in wrapped(&last(&lines, sources), width).into_iter().chain(wrapped(&unseen, width)) {
        out.extend([&line, "\n"]);
    }
    out
}

/// What is counted, and what to ask next.
fn last(lines: &[Line<'_>], sources: &SourceArgs) -> String {
    let mut text = counted(lines);
    if let Some(worst) = lines.iter().find(|line| line.word > Word::Ok && line.database.is_some()) {
        // Only what can be typed as it is, into a shell as well.
        let plain = worst.name.len() <= NAME_COLUMNS && is_plain(worst.name) && !worst.name.starts_with('-');
        let name = if plain { worst.name } else { "DATABASE" };
        text += &format!("; `{}` shows one in full", sources.command(&format!("check {name}")));
        if let Some(check) = worst.checks().first() {
            text += &format!(", `{}` says what to do", sources.command(&format!("why {check}")));
        }
    }
    text
}

const HEADER: [&str; 7] = ["STATE   ", "DATABASE", "SAFE UNTIL", "LAG", "AT RISK", "LAST DRILL", "FAILS"];
const NAME: usize = 1;
const FAILS: usize = 6;

fn table(lines: &[Line<'_>], drills: &Drills, now: Timestamp, colour: bool, width: usize) -> String {
    let mut rows = vec![HEADER.map(str::to_owned)];
    let mut words = vec![None];
    // Those that are well are listed only where there is room for all.
    let listed = |line: &Line<'_>| lines.len() <= OVERVIEW_ROWS_MAX || line.word > Word::Ok;
    let some: Vec<&Line<'_>> = lines.iter().filter(|line| listed(line)).take(OVERVIEW_ROWS_MAX).collect();
    for line in &some {
        let drill = line.database.map(|database| drills.get(database.name.as_str()));
        rows.push(cells(line, drill.flatten(), now));
        words.push(Some(line.word));
    }
    for word in Word::ALL.iter().rev() {
        let rest: Vec<&Line<'_>> = lines.iter().filter(|line| line.word == *word).collect();
        let shown = some.iter().filter(|line| line.word == *word).count();
        if shown < rest.len() {
            rows.push(together(&rest[shown..], shown > 0, now));
            words.push(Some(*word));
        }
    }
    let said = |column: usize| rows[1..].iter().any(|row| row[column] != "-");
    let columns: Vec<usize> = (0..HEADER.len()).filter(|column| said(*column)).collect();
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let fixed: usize =
        columns.iter().filter(|column| ![NAME, FAILS].contains(column)).map(|column| widest(*column)).sum();
    let room = width.saturating_sub(fixed + 2 * (columns.len() - 1));
    let names = widest(NAME).min(room.saturating_sub(widest(FAILS)).max(room / 2).max(NAME_COLUMNS / 2 + 1));
    let fails = room.saturating_sub(names);
    for row in &mut rows {
        row[NAME] = fit(&row[NAME], names);
        if row[FAILS].len() > fails {
            // The name says more than how many there are besides.
            row[FAILS] = fit(row[FAILS].split(" +").next().unwrap_or_default(), fails);
        }
    }
    align(&mut rows);
    let mut out = String::new();
    for (mut row, word) in rows.into_iter().zip(words) {
        if let Some(word) = word {
            row[0] = format!("{}{}", coloured(word, colour), " ".repeat(row[0].len() - word.as_str().len()));
        }
        let cells: Vec<&str> = columns.iter().map(|column| row[*column].as_str()).collect();
        out.extend([cells.join("  ").trim_end(), "\n"]);
    }
    out
}

/// One unit is enough to compare lines.
fn short(seconds: f64) -> String {
    human::duration(seconds).split(' ').next().unwrap_or_default().to_owned()
}

fn cells(line: &Line<'_>, drill: Option<&DrillRecord>, now: Timestamp) -> [String; 7] {
    let age = |at| short(human::age_seconds(at, now));
    let safest = line.safest();
    let unknown = || if line.database.is_some() { "unknown" } else { "-" }.to_owned();
    let lag = |replica: &ReplicaReport| Some(replica.lag_words()?.replace("at most ", "≤"));
    let drill = drill.map(|drill| match drill.result {
        DrillResult::Inconclusive => drill.result.as_str().to_owned(),
        result => format!("{} {}", result.as_str(), age(drill.finished_at)),
    });
    [
        line.word.as_str().to_uppercase(),
        human::printable(line.name),
        safest.and_then(ReplicaReport::safe_at_least).map_or_else(unknown, |at| format!("{} ago", age(at))),
        safest.and_then(lag).unwrap_or_else(unknown),
        safest.and_then(ReplicaReport::at_risk_words).map_or_else(unknown, |bytes| bytes.replace("at least ", "≥")),
        drill.unwrap_or_else(|| "-".to_owned()),
        line.fails(),
    ]
}

/// The worst of several of one word, which have a line together.
fn together(lines: &[&Line<'_>], more: bool, now: Timestamp) -> [String; 7] {
    let known: Vec<_> = lines.iter().filter(|line| line.database.is_some()).collect();
    let count = if more { format!("{} more", lines.len()) } else { human::counted(lines.len(), "database") };
    let of = |get: fn(&ReplicaReport) -> Option<f64>| {
        let all: Option<Vec<f64>> = known.iter().map(|line| get(line.safest()?)).collect();
        all?.into_iter().reduce(f64::max)
    };
    let points: Option<Vec<Timestamp>> = known.iter().map(|line| line.safest()?.safe_at_least()).collect();
    let oldest = points.and_then(|points| points.into_iter().min());
    let unknown = || "unknown".to_owned();
    let lag = of(|replica| Some(replica.lag_upper_bound_seconds.unwrap_or(0.0).max(replica.lag_seconds?)));
    [
        lines.first().map_or("", |line| line.word.as_str()).to_uppercase(),
        count,
        oldest.map_or_else(unknown, |at| format!("{} ago", short(human::age_seconds(at, now)))),
        lag.map_or_else(
            unknown,
            |lag| {
                if lag > 0.0 { format!("≤{}", human::duration(lag)) } else { human::duration(lag) }
            },
        ),
        of(|replica| replica.at_risk().map(|bytes| bytes as f64))
            .map_or_else(unknown, |bytes| human::bytes(bytes as u64)),
        "-".to_owned(),
        String::new(),
    ]
}

/// What does not pass, each check once, the worst first: its state and a sentence. And how many checks more there are.
fn findings(lines: &[Line<'_>], name_columns: usize) -> (Vec<(&'static str, String)>, usize) {
    let mut groups: Vec<Vec<(&str, &Verdict)>> = Vec::new();
    let all = lines.iter().flat_map(|line| worst_first(line.verdicts.iter().copied()).map(|news| (line.name, news)));
    for (name, verdict) in all {
        let same = |group: &&mut Vec<(&str, &Verdict)>| {
            let (_, first) = group[0];
            (first.check, first.status, first.severity) == (verdict.check, verdict.status, verdict.severity)
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push((name, verdict)),
            None => groups.push(vec![(name, verdict)]),
        }
    }
    // What is known to fail comes before what is unknown, and what only informs last. Of what is equally bad, what the table
    // names comes first.
    let named: BTreeSet<&str> = lines.iter().filter_map(|line| line.checks().first().copied()).collect();
    groups.sort_by_key(|group| {
        let (_, first) = group[0];
        let databases = group.chunk_by(|(one, _), (other, _)| one == other).count();
        let is_note = first.severity == Severity::Info;
        (is_note, Reverse((first.status, first.severity, named.contains(first.check), databases)))
    });
    let more = groups.len().saturating_sub(OVERVIEW_FINDINGS_MAX);
    let sentence = |group: &Vec<(&str, &Verdict)>| (state_of(group[0].1), sentence(group, name_columns));
    (groups.iter().take(OVERVIEW_FINDINGS_MAX).map(sentence).collect(), more)
}

/// Such as `PermissionDrift on 6 databases: app, shop, blog and 3 more; mode 0664, expected 0600`.
fn sentence(group: &[(&str, &Verdict)], name_columns: usize) -> String {
    let name = |name: &str| fit(&human::printable(name), name_columns);
    let mut names: Vec<&str> = group.iter().map(|(name, _)| *name).collect();
    // Before they are cut, which may make them equal.
    names.dedup();
    let names: Vec<String> = names.into_iter().map(name).collect();
    let (first, worst) = (&names[0], group[0].1);
    let (check, detail) = (worst.check, human::printable(&worst.detail));
    if names.len() == 1 {
        let replicas = if group.len() > 1 { format!(", {} replicas", group.len()) } else { String::new() };
        return format!("{check} on {first}{replicas}: {detail}");
    }
    let count = human::counted(names.len(), "database");
    // A single one left over takes no more room than its number.
    let named = if names.len() == OVERVIEW_NAMES_MAX + 1 { names.len() } else { names.len().min(OVERVIEW_NAMES_MAX) };
    let rest = names.len() - named;
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    let listed = names[..named].join(", ");
    let equal = group.iter().all(|(_, verdict)| verdict.detail == worst.detail);
    let of = if equal { String::new() } else { format!("{first}: ") };
    format!("{check} on {count}: {listed}{rest}; {of}{detail}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::blocks::blocks;
    use super::*;
    use crate::domain::assessment::DatabaseReport;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::report::sample;

    /// A report of these databases with what all checks say of it.
    fn judged(databases: Vec<DatabaseReport>) -> Report {
        let mut report = sample::report(databases);
        report.assessment.agent.sources.clear();
        report.verdicts = Judge::new(Watching::Once).judge(&report.assessment, report.generated_at);
        report
    }

    /// Of which every look saw the database ahead, or a hole, or nothing of either.
    fn troubled() -> [DatabaseReport; 4] {
        let [mut behind, mut hole] = ["behind", "hole"].map(sample::healthy);
        let replica = &mut behind.replicas[0];
        let newest = replica.recovery_point.take();
        (replica.lag_seconds, replica.lag_upper_bound_seconds) = (Some(300.0), Some(340.0));
        replica.last_segment_at = newest;
        let coverage = hole.replicas[0].coverage.as_mut().unwrap();
        Arc::make_mut(coverage).gaps.push(crate::domain::litestream::Hole { after: "1".into(), before: "3".into() });
        [behind, hole, sample::pending("pending"), sample::unknown("unknown")]
    }

    #[test]
    fn one_database_and_its_line_among_others_say_the_same() {
        for database in troubled() {
            let name = database.name.to_string();
            let report = judged(vec![database]);
            let (table, block) = (lines(&report), blocks(&report, false, UNCUT));
            let line = table.iter().find(|line| line.name == name).unwrap();
            let [_, _, safe, lag, at_risk, ..] = cells(line, None, report.generated_at);
            let row =
                |label: &str| block.lines().find_map(|row| row.trim().strip_prefix(label)).unwrap_or_default().trim();
            assert_eq!(block.split(' ').next(), Some(&*line.word.as_str().to_uppercase()), "{block}");
            assert_eq!(row("lag  ").replace("at most ", "≤"), lag, "{block}");
            assert_eq!(row("at risk  ").replace("at least ", "≥"), at_risk, "{block}");
            let ago = safe.strip_suffix(" ago").map_or_else(|| "unknown".to_owned(), |age| format!("({age}"));
            assert!(row("recovery point").contains(&ago), "{safe}: {block}");
            let failed = row("failed").split(':').next().unwrap_or_default();
            let first = line.checks().first().copied();
            assert!(failed.is_empty() || Some(failed) == first, "{failed} and {first:?}: {block}");
            assert!(block.contains(&format!("\n{}\n", counted(&table))), "{block}");
        }
    }

    #[test]
    fn what_is_behind_is_safe_until_its_newest_file() {
        let report = judged(troubled()[..1].to_vec());
        let line = &lines(&report)[0];
        assert_eq!(cells(line, None, report.generated_at)[2], "4s ago");
        assert!(blocks(&report, false, UNCUT).contains("recovery point    at least 2025-12-31 23:59:56Z (4s ago)"));
    }

    fn many(names: impl Fn(usize) -> String) -> Vec<DatabaseReport> {
        let of = |number| match number {
            17 => sample::pending(&names(17)),
            99 => sample::unknown(&names(99)),
            180 => sample::pending(&names(180)),
            other => sample::healthy(&names(other)),
        };
        (0..200).map(of).collect()
    }

    #[test]
    fn three_bad_ones_of_two_hundred_are_told_of_on_one_screen() {
        let report = judged(many(|number| format!("tenant-{number:03}")));
        let text = overview(&report, &Drills::new(), &SourceArgs::default(), false, 80);
        assert!(text.lines().count() < 20, "{text}");
        let rows: Vec<&str> = text.lines().skip(1).take(4).collect();
        for (row, expected) in rows.iter().zip([
            "CRITICAL  tenant-017     unknown     ≤6m 50s  unknown  ReplicaGap",
            "CRITICAL  tenant-099     unknown     unknown  unknown  DatabaseUnreadable",
            "CRITICAL  tenant-180     unknown     ≤6m 50s  unknown  ReplicaGap",
            "OK        197 databases  4s ago      0s       0 B",
        ]) {
            assert!(row.starts_with(expected), "{row:?} should begin with {expected:?}:\n{text}");
        }
        for said in
            ["ReplicationLag on 2 databases: tenant-017, tenant-180; files", "DatabaseUnreadable on tenant-099: "]
        {
            assert_eq!(text.matches(said).count(), 1, "{said}:\n{text}");
        }
        assert!(
            text.contains(
                "3 critical, 197 ok; `streamgauge check tenant-017` shows one in full,\n`streamgauge why Replica"
            ),
            "{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let drills = |name: &str| Drills::from([(name.to_owned(), sample::drill_record(name))]);
        let long = |number: usize| format!("{number:03}-{}", "a very/long path without-end ".repeat(9));
        for names in [&long as &dyn Fn(usize) -> String, &|number| format!("{number:03}"), &|_| "x".repeat(300)] {
            let report = judged(many(names));
            for (width, drills) in
                [(80, Drills::new()), (80, drills(&names(17))), (81, Drills::new()), (200, drills(&names(17)))]
            {
                let text = overview(&report, &drills, &SourceArgs::default(), false, width);
                let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width && text.lines().count() < 22, "{widest}:\n{text}");
                assert!(text.contains("197 databases"), "{text}");
                assert_eq!(text.contains("passed 59m"), !drills.is_empty(), "{text}");
            }
        }
    }

    #[test]
    fn what_several_have_is_said_once() {
        let drifted = |number: usize| {
            let mut database = sample::healthy(&format!("db{number}"));
            for mode in Arc::make_mut(&mut database.local_mut().unwrap().modes) {
                mode.problem = Some("mode 0664, expected 0600 or 0640".to_owned());
            }
            database
        };
        let text = overview(&judged((0..6).map(drifted).collect()), &Drills::new(), &SourceArgs::default(), false, 80);
        assert_eq!(text.matches("expected 0600").count(), 1, "{text}");
        let said = "failed    PermissionDrift on 6 databases: db0, db1, db2 and 3 more; ";
        assert!(text.contains(said), "{text}");
        assert_eq!(text.lines().filter(|line| line.starts_with("WARNING   db")).count(), 6, "{text}");
        let text = overview(&judged((0..4).map(drifted).collect()), &Drills::new(), &SourceArgs::default(), false, 80);
        assert!(text.contains("PermissionDrift on 4 databases: db0, db1, db2, db3; "), "{text}");
    }

    #[test]
    fn more_bad_ones_than_a_screen_holds_are_counted() {
        let bad = (0..60).map(|number| sample::unknown(&format!("db{number:02}"))).collect();
        let text = overview(&judged(bad), &Drills::new(), &SourceArgs::default(), false, 80);
        assert_eq!(text.lines().filter(|line| line.starts_with("CRITICAL  db")).count(), OVERVIEW_ROWS_MAX, "{text}");
        assert!(text.contains("CRITICAL  44 more   unknown     unknown  unknown"), "{text}");
        assert!(text.contains("\n60 critical; "), "{text}");
    }

    #[test]
    fn what_fails_is_told_before_what_is_unknown_and_uncut_where_there_is_room() {
        const LONG: &str = "a-name-of-more-than-24-columns";
        let mut report = judged((0..4).map(|number| sample::healthy(&format!("{LONG}-{number}"))).collect());
        let verdict = |check, severity, status| Verdict {
            check,
            title: "",
            severity,
            database: None,
            replica: Some("file".into()),
            status,
            detail: "one detail ".repeat(30).trim_end().into(),
        };
        let more = [
            verdict("Informs", Severity::Info, Status::Fail),
            verdict("CriticalForOne", Severity::Critical, Status::Fail),
            verdict("UnknownToAll", Severity::Critical, Status::Unknown),
            verdict("WarnsOfAll", Severity::Warning, Status::Fail),
            verdict("CriticalForAll", Severity::Critical, Status::Fail),
        ];
        let of = |number| more[if number == 1 { 0 } else { 2 }..].to_vec();
        report.verdicts.databases = (0..4).map(|number| of(number).into()).collect();
        let drills = Drills::from([("elsewhere".to_owned(), sample::drill_record("elsewhere"))]);
        let text = overview(&report, &drills, &SourceArgs::default(), false, UNCUT);
        let found: Vec<&str> =
            text.split("\n\n").nth(1).unwrap().lines().map(|line| line[INDENT..].split(' ').next().unwrap()).collect();
        assert_eq!(found, ["CriticalForAll", "CriticalForOne", "WarnsOfAll", "UnknownToAll", "and"], "{text}");
        assert!(!text.contains('…') && text.contains(&format!("{LONG}-2")), "{text}");
        assert!(!text.contains("LAST DRILL") && text.contains("CriticalForOne +"), "{text}");
        assert!(overview(&report, &drills, &SourceArgs::default(), false, 80).contains('…'));
    }

    #[test]
    fn colours_are_in_the_first_words_only() {
        let report = judged(vec![sample::pending("a"), sample::healthy("\u{1b}[31mb")]);
        let (plain, coloured) = (
            overview(&report, &Drills::new(), &SourceArgs::default(), false, 80),
            overview(&report, &Drills::new(), &SourceArgs::default(), true, 80),
        );
        assert!(coloured.contains("\n\u{1b}[1;31mCRITICAL\u{1b}[0m  a "), "{coloured}");
        assert!(plain.contains("OK        \\u{1b}[31mb") && !plain.contains('\u{1b}'), "{plain}");
        let without = coloured.replace("\u{1b}[1;31m", "").replace("\u{1b}[1;32m", "").replace("\u{1b}[0m", "");
        assert_eq!(without, plain);
    }
}
