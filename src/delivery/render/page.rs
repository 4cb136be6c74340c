//! The pages: what needs somebody, in words; each database; the runbook. They are complete without scripts.

mod agent;
mod alerts;
mod chart;
mod charts;
mod checklist;
mod database;
mod databases;
mod findings;
mod local;
mod overview;
mod query;
mod replica;
mod runbook;
mod state;
mod table;
mod words;

use maud::{Markup, html};

use self::overview::Overview;
use self::query::Query;
use super::html::{LINE, document};
use super::{assets, runbook as text};
use crate::delivery::asked::{Asked, Problem};
use crate::domain::check::catalogue;
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// The front page.
///
/// # Errors
///
/// When a parameter is none that the table of databases knows.
pub fn front(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    let query = Query::of(asked)?;
    let overview = Overview::of(report);
    let content = html! {
        (overview.headline())
        (findings::needs(&overview))
        (findings::unknown(&overview))
        (databases::section(&overview, &query))
        (agent::section(report))
        (alerts::section(report))
        (checklist::section(report))
    };
    Ok(page(&overview.title(), overview.word(), overview.needy, &content))
}

/// The page of one database.
///
/// # Errors
///
/// When there is none of this name.
pub fn database(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    let judged = report.database(&asked.name).ok_or_else(|| Problem::not_found("database", &asked.name))?;
    let (word, content) = database::page(report, judged);
    let title = format!("{}: {}", judged.database.name, word.as_str());
    Ok(page(&title, word, usize::from(word != Word::Ok), &content))
}

/// The list of all checks.
///
/// # Errors
///
/// None.
pub fn runbook(report: &Report, _: &Asked) -> Result<Vec<u8>, Problem> {
    Ok(page("Runbook", Word::Ok, 0, &runbook::index(report)))
}

/// The runbook's section on one check; upper and lower case do not matter.
///
/// # Errors
///
/// When there is no check of this name.
pub fn check(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    let known = catalogue().find(|check| check.name.eq_ignore_ascii_case(&asked.name));
    let found = known.and_then(|check| Some((check, text::section(check.name)?)));
    let (check, text) = found.ok_or_else(|| Problem::not_found("check", &asked.name))?;
    Ok(page(check.name, Word::Ok, 0, &runbook::section(report, check, text)))
}

/// The sentence of the front page, for where there is room for one line of text.
pub fn sentence(report: &Report) -> String {
    let markup = Overview::of(report).sentence().into_string();
    // It holds numbers and instants, of which none has to be escaped.
    let texts = markup.split('<').enumerate().map(|(part, text)| match part {
        0 => text,
        _ => text.split_once('>').map_or("", |(_, text)| text),
    });
    texts.collect()
}

/// The page of an agent that has no report yet.
pub fn starting() -> Vec<u8> {
    let content = html! {
        div.headline.unknown { h1 { "No report yet" } p { "The agent has just started." } }
    };
    page("starting", Word::Unknown, 0, &content)
}

/// Says why there is no page.
pub fn problem(why: &Problem) -> Vec<u8> {
    let content = html! {
        div.headline.unknown {
            h1 { (why.title()) }
            p { (why.detail) }
            @if let Some(hint) = &why.hint { p { (hint) } }
            p { a href="/" { "All databases" } }
        }
    };
    page(why.title(), Word::Unknown, 0, &content)
}

/// A page with what all pages have. `word` and `count` are what its icon shows.
fn page(title: &str, word: Word, count: usize, content: &Markup) -> Vec<u8> {
    let body = html! {
        a.skip href="#main" { "Skip to the content" }
        header {
            nav aria-label="Pages" {
                a.brand href="/" { "streamgauge" }
                a href="/" { "Databases" }
                a href="/runbook" { "Runbook" }
            }
            p #live role="status" {}
            noscript { p.quiet { "Without scripts this page does not update itself: reload it." } }
        }
        (LINE)
        main #main tabindex="-1" { (LINE) (content) }
        (LINE)
        footer {
            nav aria-label="Machines" {
                a href="/metrics" { "Metrics" }
                a href="/api/v1/report" { "Report (JSON)" }
                a href="/-/healthy" { "Healthy" }
                a href="/-/ready" { "Ready" }
            }
        }
        (LINE)
    };
    let head = html! {
        link rel="icon" href=(state::icon(word, count));
        link rel="stylesheet" href=(assets::STYLE.path());
        script defer src=(assets::SCRIPT.path()) {}
    };
    document(&format!("{title} · streamgauge"), &head, &body).into_bytes()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::assessment::DatabaseReport;
    use crate::domain::check::{Judge, Watching};
    use crate::domain::drill::DrillReport;
    use crate::domain::limits::PAGE_ROWS_MAX;
    use crate::domain::report::sample;
    use crate::domain::verdict::{Severity, Status, Verdict};
    use crate::domain::verification::{FindingKind, ObjectFinding};

    fn text(page: Result<Vec<u8>, Problem>) -> String {
        String::from_utf8(page.expect("made")).expect("text")
    }

    /// The front page of a report.
    pub(super) fn page(report: Option<&Report>) -> String {
        text(report.map_or_else(|| Ok(starting()), |report| front(report, &Asked::default())))
    }

    fn asked(report: &Report, query: &str) -> String {
        text(front(report, &Asked::new("", query)))
    }

    fn page_of(report: &Report, name: &str) -> String {
        text(database(report, &Asked::new(name, "")))
    }

    /// A report with what the checks say of it.
    fn judged(databases: Vec<DatabaseReport>) -> Report {
        let mut report = sample::report(databases);
        report.verdicts = Judge::new(Watching::Continuously).judge(&report.assessment, report.generated_at);
        report
    }

    /// The row of a database that is healthy but for one change.
    fn row(page: &str) -> &str {
        page.lines().find(|line| line.starts_with("<tr role=\"row\"")).expect("a row")
    }

    #[test]
    fn what_is_unknown_says_so() {
        let page = page(Some(&judged(vec![sample::unknown("app")])));
        assert_eq!(row(&page).matches("<span class=\"unknown\">unknown</span>").count(), 3, "{page}");
        assert!(page.contains("list s3://backups/app: access denied"), "{page}");
        assert!(page.contains("hint: grant s3:ListBucket on backups"), "{page}");
        assert!(page.contains("What would be lost is unknown: nothing has been proven."), "{page}");
        assert!(!page.contains("safe up to"), "{page}");
    }

    #[test]
    fn nothing_that_was_not_judged_is_safe() {
        let page = page(Some(&sample::report(vec![sample::healthy("app")])));
        assert!(page.contains("1 of 1 database is unknown."), "{page}");
    }

    #[test]
    fn all_is_said_in_one_sentence() {
        let first = |databases| {
            let page = page(Some(&judged(databases)));
            let (_, sentence) = page.split_once("</span> ").expect("a mark");
            let (sentence, _) = sentence.split_once("</h1>").expect("a heading");
            sentence.replace("<time datetime=\"2025-12-31 23:59:56Z\">", "").replace("</time>", "")
        };
        let healthy = || sample::healthy("fine");
        assert_eq!(first(vec![healthy()]), "The one database is safe up to 2025-12-31 23:59:56 UTC.");
        let some = vec![sample::pending("a"), healthy(), healthy()];
        assert_eq!(first(some), "1 of 3 databases needs you, everything else is safe up to 2025-12-31 23:59:56 UTC.");
        assert_eq!(first(vec![]), "No databases are watched.");
        let undated = DatabaseReport { replicas: vec![], ..healthy() };
        assert!(first(vec![undated]).starts_with("1 of 1 database needs you"));
    }

    #[test]
    fn what_would_be_lost_is_said_in_words_with_a_lower_bound() {
        let mut behind = sample::pending("app");
        behind.replicas[0].verification = None;
        let page = page(Some(&judged(vec![behind])));
        assert!(page.contains("Writes since 2025-12-31 23:53:20 UTC would be lost: at least 20.1 KiB."), "{page}");
        assert!(page.contains("<a href=\"/runbook/ReplicationLag\">"), "{page}");
        assert!(row(&page).contains("at least 20.1 KiB"), "{page}");
    }

    #[test]
    fn what_would_be_lost_of_a_replica_that_cannot_be_read_may_have_arrived() {
        let mut unseen = sample::pending("app");
        (unseen.replicas[0].verification, unseen.replicas[0].up) = (None, Some(false));
        let page = page(Some(&judged(vec![unseen])));
        assert!(page.contains("Writes since 2025-12-31 23:53:20 UTC could be lost"), "{page}");
        assert!(page.contains("Whether they have arrived is unknown"), "{page}");
    }

    #[test]
    fn a_replica_that_does_not_restore_is_nowhere_called_safe() {
        let report = judged(vec![sample::pending("app")]);
        for page in [page(Some(&report)), page_of(&report, "app")] {
            assert!(page.contains("does not restore</span>"), "{page}");
            assert!(page.contains("The latest state cannot be restored."), "beside the map, which is whole: {page}");
            assert!(!page.contains("at least 20.1 KiB"), "more than that would be lost: {page}");
        }
    }

    #[test]
    fn what_fails_is_not_hidden_by_what_is_unknown() {
        let mut report = judged(vec![sample::healthy("app")]);
        let mut verdicts = report.verdicts.databases[0].to_vec();
        let at = |check| move |verdict: &Verdict| verdict.check == check;
        let lag = verdicts.iter().position(at("ReplicationLag")).expect("a verdict");
        verdicts[lag].status = Status::Unknown;
        report.verdicts.databases[0] = verdicts.clone().into();
        let unknown = page(Some(&report));
        assert!(unknown.contains("<title>1 unknown") && unknown.contains("id=\"unknown\""), "{unknown}");
        assert!(!unknown.contains("id=\"needs-you\""), "{unknown}");
        let down = verdicts.iter().position(at("LitestreamDown")).expect("a verdict");
        (verdicts[down].status, verdicts[down].severity) = (Status::Fail, Severity::Warning);
        report.verdicts.databases[0] = verdicts.into();
        let both = page(Some(&report));
        assert_eq!(report.database("app").map(|judged| Word::of(judged.checks().iter())), Some(Word::Unknown));
        assert!(both.contains("<title>1 needs you") && both.contains("id=\"needs-you\""), "{both}");
        assert!(both.contains("/runbook/LitestreamDown") && both.contains("/runbook/ReplicationLag"), "{both}");
    }

    #[test]
    fn what_is_wrong_with_the_agent_is_in_the_sentence_and_in_the_title() {
        let mut report = judged(vec![sample::healthy("app")]);
        report.verdicts.agent.iter_mut().for_each(|verdict| verdict.status = Status::Pass);
        let well = page(Some(&report));
        assert!(well.contains("<title>all safe") && !well.contains("streamgauge itself"), "{well}");
        let verdict = &mut report.verdicts.agent[0];
        (verdict.status, verdict.severity) = (Status::Unknown, Severity::Warning);
        let unknown = page(Some(&report));
        assert!(unknown.contains("<title>not all is known"), "{unknown}");
        assert!(unknown.contains("Not all is known of streamgauge itself.</h1>"), "{unknown}");
        report.verdicts.agent[0].status = Status::Fail;
        let fails = page(Some(&report));
        assert!(fails.contains("<title>streamgauge needs you"), "{fails}");
        assert!(fails.contains("streamgauge itself needs you.</h1>") && fails.contains("%21%3C%2Ftext"), "{fails}");
        report.assessment.databases.clear();
        assert!(page(Some(&report)).contains("streamgauge itself needs you.</h1>"));
    }

    #[test]
    fn the_same_on_many_is_said_once() {
        let many = (0..30).map(|number| sample::pending(&format!("db{number:02}"))).collect();
        let page = page(Some(&judged(many)));
        assert!(page.contains("30 replicas with the same findings"), "{page}");
        assert_eq!(page.matches("<article").count(), 1, "{page}");
        assert!(page.contains(">and 22 more</a>"), "{page}");
    }

    #[test]
    fn a_band_shows_what_restores() {
        let page = page(Some(&judged(vec![sample::healthy("app")])));
        assert!(row(&page).contains("<title>since 2025-12-31 00:00:00Z, 1d; no gaps</title>"), "{page}");
        let band = "<rect class=\"r c\" x=\"0\" width=\"60\" height=\"10\"/><rect class=\"r\" x=\"60\"";
        assert!(row(&page).contains(band), "{page}");
    }

    #[test]
    fn a_drill_shows_its_result_and_its_speed() {
        let cell = |change: fn(&mut DrillReport)| {
            let mut database = sample::drilled("app");
            let drill = database.replicas[0].drill.as_mut().expect("a drill");
            change(Arc::make_mut(drill));
            let page = page(Some(&judged(vec![database])));
            let (_, cell) = row(&page).split_once("data-label=\"Last drill\">").expect("a cell");
            cell.split("</td>").next().unwrap_or_default().to_owned()
        };
        let passed = "<span class=\"good\">passed</span> 59m 40s ago<span class=\"quiet\">, restored in 7.5s</span>";
        assert_eq!(cell(|_| {}), passed);
        let large = cell(|drill| drill.withheld = Some("it is <large>".into()));
        assert_eq!(large, format!("{passed}<span class=\"quiet\">, withheld: it is &lt;large&gt;</span>"));
        let running = cell(|drill| drill.running_since = Some(sample::now()));
        assert_eq!(running, format!("{passed}<span class=\"quiet\">, running for 0s</span>"));
        let never = cell(|drill| drill.history = Default::default());
        assert_eq!(never, "<span class=\"quiet\">none yet</span>");
    }

    #[test]
    fn the_page_of_a_database_has_what_an_expert_asks() {
        let report = judged(vec![
            sample::drilled("app"),
            sample::pending("late"),
            sample::unknown("lost"),
            sample::observed("seen"),
        ]);
        let page = page_of(&report, "app");
        for said in [
            "Nothing is at risk: everything up to 2025-12-31 23:59:56 UTC is safe.",
            "by wal",
            "<code>0000000000000074</code>",
            "100 committed frames, 80 copied into the database",
            "480000 bytes",
            "PRAGMA busy_timeout = 5000;",
        ] {
            let said = said.replace("480000 bytes", "468.8 KiB in 9 requests");
            assert!(page.contains(&said), "{said}: {page}");
        }
        let late = page_of(&report, "late");
        assert!(late.contains("<span class=\"bad\">truncated</span>"), "{late}");
        assert!(
            late.contains("<code>0000/000000000000000c-000000000000000c.ltx</code>: unexpected end at byte 4096"),
            "{late}"
        );
        let harmed = |kinds: &[FindingKind]| {
            let mut late = sample::pending("late");
            let found = Arc::make_mut(late.replicas[0].verification.as_mut().expect("it was read"));
            let finding = found.findings[0].clone();
            found.findings = kinds.iter().map(|kind| ObjectFinding { kind: *kind, ..finding.clone() }).collect();
            page_of(&judged(vec![late]), "late")
        };
        for (kinds, harm) in [
            (&[FindingKind::Truncated][..], "damaged"),
            (&[FindingKind::Vanished], "missing"),
            (&[FindingKind::Vanished, FindingKind::Truncated], "missing or damaged"),
        ] {
            assert!(harmed(kinds).contains(&format!("objects that it needs are {harm}.")), "{harm}");
        }
        assert!(page_of(&report, "lost").contains("Unknown: not everything in the replica has been listed."));
        assert!(page_of(&report, "seen").contains("db1"));
        let none = database(&report, &Asked::new("none", "")).expect_err("there is none");
        assert_eq!(none.detail, "there is no database \"none\"");
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let name = "<script>\"'&\u{0}/ä";
        let report = judged(vec![sample::unknown(name)]);
        let front = page(Some(&report));
        assert!(front.contains(">&lt;script&gt;&quot;&#39;&amp;\\0/ä</a>"), "{front}");
        assert!(front.contains("href=\"/databases/%3Cscript%3E%22%27%26%00%2F%C3%A4\""), "{front}");
        for page in [front, page_of(&report, name)] {
            assert_eq!(page.matches("<script").count(), 1, "{page}");
        }
    }

    #[test]
    fn rows_end_somewhere_and_trouble_comes_first() {
        let mut databases = vec![sample::healthy("fine"); PAGE_ROWS_MAX + 6];
        databases.push(sample::unknown("zzz"));
        let report = judged(databases);
        let first = page(Some(&report));
        assert_eq!(first.matches("data-label=\"Safe until\"").count(), PAGE_ROWS_MAX);
        assert!(first.contains("1 to 100 of 107 rows") && first.contains("href=\"/?page=2#databases\""), "{first}");
        let (_, table) = first.split_once("<table").expect("a table");
        assert!(table.find(">zzz<") < table.find(">fine<"), "{first}");
        let second = asked(&report, "page=2");
        assert_eq!(second.matches("data-label=\"Safe until\"").count(), 7);
        let found = asked(&report, "q=ZZ");
        assert_eq!(found.matches("data-label=\"Safe until\"").count(), 1);
        let named = asked(&report, "sort=-name");
        assert!(
            named.split_once("<table").is_some_and(|(_, table)| table.find(">zzz<") < table.find(">fine<")),
            "{named}"
        );
        assert!(asked(&report, "state=warning").contains("nothing found"));
    }

    #[test]
    fn what_is_not_observable_is_said_with_the_line_that_the_application_needs() {
        let page = page(Some(&sample::full()));
        let row = page.lines().find(|line| line.contains("busy timeout")).expect("a row");
        assert!(
            row.contains(" not observable</span>") && row.contains("<code>PRAGMA busy_timeout = 5000;</code>"),
            "{row}"
        );
        let row = page.lines().find(|line| line.contains("replication lag alert")).expect("a row");
        assert!(row.contains(" fail</span>"), "{row}");
    }

    #[test]
    fn no_databases_do_not_look_healthy() {
        assert!(page(Some(&sample::report(Vec::new()))).contains("No databases are watched."));
        assert!(page(None).contains("No report yet"));
    }

    #[test]
    fn every_check_has_a_page() {
        let report = judged(vec![sample::pending("app")]);
        let index = text(runbook(&report, &Asked::default()));
        for known in catalogue() {
            assert!(index.contains(&format!("href=\"/runbook/{}\"", known.name)), "{}", known.name);
            let page = text(check(&report, &Asked::new(&known.name.to_lowercase(), "")));
            assert!(page.contains("<strong>Meaning.</strong>"), "{}", known.name);
        }
        let lag = text(check(&report, &Asked::new("ReplicationLag", "")));
        assert!(lag.contains("<a class=\"name\" href=\"/databases/app\">"), "{lag}");
        assert_eq!(check(&report, &Asked::new("x", "")).expect_err("none").detail, "there is no check \"x\"");
    }

    /// Scripts and styles come from this server only, and nothing is written into the page itself.
    #[test]
    fn nothing_is_inline() {
        let report = judged(vec![sample::drilled("app"), sample::pending("late")]);
        for page in [page(Some(&report)), page_of(&report, "late"), text(runbook(&report, &Asked::default()))] {
            assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains(" onload="), "{page}");
            assert_eq!(page.matches("<script").count(), 1);
        }
        assert!(assets::SCRIPT.content.len() <= 3072, "{}", assets::SCRIPT.content.len());
    }
}
