//! The landing page: what is known of each database, as plain HTML that needs no script.

mod alerts;
mod checklist;
mod databases;

use maud::{Markup, html};

use super::assets;
use super::html::{LINE, document};
use crate::delivery::asked::{Asked, Problem};
use crate::domain::human;
use crate::domain::report::Report;

/// A part of the page; empty where it has nothing to say.
type Section = fn(&Report) -> Markup;

/// The parts of the page, from its top.
const SECTIONS: [Section; 5] = [summary, problems, alerts::section, databases::section, checklist::section];

/// The front page.
///
/// # Errors
///
/// None so far.
pub fn front(report: &Report, _: &Asked) -> Result<Vec<u8>, Problem> {
    Ok(page("streamgauge", &html! { @for section in SECTIONS { (section(report)) } }))
}

/// The page of an agent that has no report yet.
pub fn starting() -> Vec<u8> {
    page("streamgauge", &html! { p { "No report yet: the agent has just started." } (LINE) })
}

/// Says why there is no page.
pub fn problem(why: &Problem) -> Vec<u8> {
    let body = html! {
        p.bad { (why.detail) } (LINE)
        @if let Some(hint) = &why.hint { p { (hint) } (LINE) }
    };
    page(why.title(), &body)
}

/// A page with what all pages have.
fn page(title: &str, content: &Markup) -> Vec<u8> {
    let body = html! {
        nav {
            a href="/" { "databases" }
            a href="/metrics" { "metrics" }
            a href="/api/v1/report" { "report (JSON)" }
            a href="/-/healthy" { "healthy" }
            a href="/-/ready" { "ready" }
        }
        (LINE)
        main { h1 { (title) } (LINE) (content) }
        (LINE)
    };
    let head = html! { link rel="stylesheet" href=(assets::STYLE.path()); };
    document(title, &head, &body).into_bytes()
}

/// The summary: how many databases are watched, when the report was made, and by which version.
fn summary(report: &Report) -> Markup {
    html! {
        p {
            (human::counted(report.assessment.databases.len(), "database")) " at " (human::instant(report.generated_at))
            ". Version " (report.assessment.agent.version) ", revision " (report.assessment.agent.revision) "."
        }
        (LINE)
    }
}

/// Problems that keep the agent from watching what it should.
fn problems(report: &Report) -> Markup {
    html! {
        @if let Some(error) = &report.assessment.agent.config.error {
            p.bad { "The last configuration was rejected: " (error) } (LINE)
        }
        @for source in report.assessment.agent.sources.iter().filter(|source| !source.success) {
            p.bad { (source.source) ": " (source.error.as_deref().unwrap_or("unknown error")) } (LINE)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::drill::DrillReport;
    use crate::domain::limits::PAGE_ROWS_MAX;
    use crate::domain::report::sample;

    /// The front page of a report.
    pub(super) fn page(report: Option<&Report>) -> String {
        let page = report.map_or_else(|| Ok(starting()), |report| front(report, &Asked::default()));
        String::from_utf8(page.expect("made")).expect("text")
    }

    #[test]
    fn what_is_unknown_says_so() {
        let page = page(Some(&sample::report(vec![sample::unknown("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row");
        assert_eq!(row.matches("unknown</td>").count(), 5, "{row}");
        assert!(row.contains("list s3://backups/app: access denied"), "{row}");
        assert!(row.contains("hint: grant s3:ListBucket on backups"), "{row}");
    }

    #[test]
    fn a_pending_replica_shows_lag_and_a_lower_bound() {
        let page = page(Some(&sample::report(vec![sample::pending("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row");
        assert!(row.contains("<td class=\"bad\">6m 40s</td><td>≥ 20.1 KiB</td><td>10s</td>"), "{row}");
    }

    #[test]
    fn a_band_shows_what_restores() {
        let page = page(Some(&sample::report(vec![sample::healthy("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row");
        assert!(row.contains("<title>since 2025-12-31 00:00:00Z, 1d; no gaps</title>"), "{row}");
        assert!(
            row.contains("<rect class=\"r c\" x=\"0\" width=\"60\" height=\"10\"/><rect class=\"r\" x=\"60\""),
            "{row}"
        );
    }

    #[test]
    fn a_drill_shows_its_result_its_speed_and_the_next_one() {
        let cell = |change: fn(&mut DrillReport)| {
            let mut database = sample::drilled("app");
            let drill = database.replicas[0].drill.as_mut().expect("a drill");
            change(Arc::make_mut(drill));
            let page = page(Some(&sample::report(vec![database])));
            let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row").to_owned();
            row.split("<td>").nth(9).expect("a cell").to_owned()
        };
        let passed = "<div class=\"good\">passed 59m 40s ago, restored in 7.5s</div>";
        assert_eq!(cell(|_| {}), format!("{passed}<div>next 2026-01-01 23:00:00Z</div></td>"));
        let large = cell(|drill| drill.withheld = Some("it is <large>".into()));
        assert_eq!(large, format!("{passed}<div>withheld: it is &lt;large&gt;</div></td>"));
        let running = cell(|drill| drill.running_since = Some(sample::now()));
        assert_eq!(running, format!("{passed}<div>running for 0s</div></td>"));
        let never = cell(|drill| drill.history = Default::default());
        assert_eq!(never, "<div class=\"unknown\">none yet</div></td>");
    }

    #[test]
    fn a_damaged_object_has_a_line_with_its_key() {
        let page = page(Some(&sample::report(vec![sample::pending("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr class=\"finding\">")).expect("a row");
        assert!(row.contains("<td class=\"bad\">truncated</td>"), "{row}");
        assert!(row.contains("<code>0000/000000000000000c-000000000000000c.ltx</code>: unexpected end at byte 4096"));
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let page = page(Some(&sample::report(vec![sample::unknown("<script>\"'&\u{0}")])));
        assert!(page.contains("<td>&lt;script&gt;&quot;&#39;&amp;\u{fffd}</td>"), "{page}");
        assert!(!page.contains("<script"));
    }

    #[test]
    fn rows_end_somewhere_and_trouble_comes_first() {
        let healthy = Arc::new(sample::healthy("fine"));
        let mut report = sample::report(Vec::new());
        report.assessment.databases = vec![healthy; PAGE_ROWS_MAX + 6];
        report.assessment.databases.push(Arc::new(sample::unknown("zzz")));
        let page = page(Some(&report));
        assert_eq!(page.matches("<tr><td>").count(), PAGE_ROWS_MAX);
        assert!(page.contains("<p>and 7 more"));
        assert!(page.find(">zzz<") < page.find(">fine<"));
    }

    #[test]
    fn what_is_not_observable_is_said_with_the_line_that_the_application_needs() {
        let page = page(Some(&sample::full()));
        let row = page.lines().find(|line| line.contains("busy timeout")).expect("a row");
        assert!(row.ends_with("not observable: <code>PRAGMA busy_timeout = 5000;</code></td></tr>"), "{row}");
        let row = page.lines().find(|line| line.contains("replication lag alert")).expect("a row");
        assert!(row.ends_with("<td class=\"bad\">fail</td></tr>"), "{row}");
    }

    #[test]
    fn no_databases_do_not_look_healthy() {
        assert!(page(Some(&sample::report(Vec::new()))).contains("No databases are watched."));
        assert!(page(None).contains("No report yet"));
    }
}
