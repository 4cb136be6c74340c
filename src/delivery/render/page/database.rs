//! The page of one database: what would be lost, what is wrong, and all that is known of it and its replicas.

use maud::{Markup, html};

use super::findings;
use super::local;
use super::overview::Line;
use super::replica;
use super::state::{badge, mark, of_verdict};
use super::table::table;
use super::words::{clock, exposure, runbook_link};
use super::{alerts, charts, checklist};
use crate::delivery::render::html::LINE;
use crate::domain::human;
use crate::domain::report::{Judged, Report};
use crate::domain::verdict::{Status, Verdict, Word};

/// The database and the word of it.
pub(super) fn page(report: &Report, judged: Judged<'_>) -> (Word, Markup) {
    let now = report.generated_at;
    let database = judged.database;
    let lines: Vec<_> = judged.blocks().map(Line::of).collect();
    let word = judged.word();
    let content = html! {
        div class={ "headline " (word.as_str()) } {
            h1 { (mark(word)) " " (human::printable(&database.name)) }
            @for line in &lines {
                p.lead {
                    @if let Some(replica) = line.block.replica.filter(|_| lines.len() > 1) { (human::printable(&replica.name)) ": " }
                    (exposure(&line.block, now))
                }
            }
            p.quiet { (badge(word)) " as of " (clock(now, now)) "." }
        }
        (LINE)
        @for line in lines.iter().filter(|line| line.word != Word::Ok) {
            article class={ "card " (line.word.as_str()) } {
                @if let Some(replica) = line.block.replica { h2 { "Findings on " (human::printable(&replica.name)) } }
                @else { h2 { "Findings" } }
                (findings::on(line))
            }
            (LINE)
        }
        (charts::section(report, database))
        @for line in &lines { @if let Some(found) = line.block.replica { (replica::section(database, found, now)) } }
        (local::section(database, now))
        (checks(judged))
        (alerts::on(report, &database.name))
    };
    (word, content)
}

/// Every check on it, what is wrong first, and what no check can see.
fn checks(judged: Judged<'_>) -> Markup {
    let mut verdicts = judged.told(|_| true);
    verdicts.sort_by_key(|verdict| std::cmp::Reverse((verdict.status, verdict.severity)));
    let passed = verdicts.iter().filter(|verdict| verdict.status == Status::Pass).count();
    html! {
        section aria-labelledby="checks" {
            h2 #checks { "Checks" } (LINE)
            details #all-checks open[passed < verdicts.len()] {
                summary { (passed) " of " (human::counted(verdicts.len(), "check")) " passed" }
                (table(&checklist::HEADINGS, verdicts.iter().map(check).chain(checklist::unobservable())))
            }
        }
        (LINE)
    }
}

fn check(verdict: &Verdict) -> Markup {
    let name = html! {
        (runbook_link(verdict.check))
        @if let Some(replica) = &verdict.replica { " " span.quiet { (human::printable(replica)) } }
    };
    checklist::row(&[of_verdict(verdict), name, html! { (verdict.title) ": " (human::printable(&verdict.detail)) }])
}
