//! The runbook as pages: all checks, and for each what it says right now and what to do.

use std::collections::HashMap;

use maud::{Markup, html};

use super::state::of_verdict;
use super::words;
use crate::delivery::render::html::LINE;
use crate::delivery::render::{markdown, runbook};
use crate::domain::check::{Check, catalogue};
use crate::domain::human;
use crate::domain::limits::PAGE_ROWS_MAX;
use crate::domain::report::Report;
use crate::domain::verdict::{Status, Verdict};

/// All checks.
pub(super) fn index(report: &Report) -> Markup {
    let mut failing: HashMap<&str, usize> = HashMap::new();
    for verdict in report.verdicts.iter().filter(|verdict| verdict.status == Status::Fail) {
        *failing.entry(verdict.check).or_default() += 1;
    }
    html! {
        div.headline { h1 { "Runbook" } }
        (markdown::blocks(runbook::introduction()))
        table {
            thead { tr { th scope="col" { "Check" } th scope="col" { "What is expected" } th.number scope="col" { "Failing now" } } }
            tbody {
                (LINE)
                @for check in catalogue() {
                    tr {
                        td { (words::runbook_link(check.name)) } td { (check.title) }
                        td.number { (failing.get(check.name).unwrap_or(&0)) }
                    }
                    (LINE)
                }
            }
        }
        (LINE)
    }
}

/// One check, and what it says right now.
pub(super) fn section(report: &Report, check: &Check, text: &str) -> Markup {
    let severities: Vec<_> = check.rules.iter().map(|rule| rule.severity.as_str()).collect();
    html! {
        div.headline {
            h1 { (check.name) }
            p.lead { (check.title) "." }
            @if !severities.is_empty() { p.quiet { "Severity: " (severities.join(" or ")) } }
        }
        (LINE)
        (now(report, check))
        h2 { "What it means, and what to do" }
        (markdown::blocks(text))
        p { a href="/runbook" { "All checks" } }
        (LINE)
    }
}

fn now(report: &Report, check: &Check) -> Markup {
    let of_databases = report
        .judged()
        .flat_map(|judged| judged.checks().iter().map(move |verdict| (Some(judged.database.name.as_str()), verdict)));
    let all = of_databases.chain(report.verdicts.agent.iter().map(|verdict| (None, verdict)));
    let all: Vec<(Option<&str>, &Verdict)> = all.filter(|(_, verdict)| verdict.check == check.name).collect();
    let of = |status| all.iter().copied().filter(move |(_, verdict)| verdict.status == status);
    let passed = of(Status::Pass).count();
    let count = all.len() - passed;
    html! {
        section aria-labelledby="now" {
            h2 #now { "Right now" }
            ul.plain {
                @for (database, verdict) in of(Status::Fail).chain(of(Status::Unknown)).take(PAGE_ROWS_MAX) {
                    li {
                        (of_verdict(verdict)) " "
                        @if let Some(database) = database { (words::database(database)) ": " }
                        (human::printable(&verdict.detail))
                    }
                }
                @if let Some(more @ 1..) = count.checked_sub(PAGE_ROWS_MAX) { li { "and " (more) " more" } }
                @match (count, passed) {
                    (0, 0) => { li.quiet { "It applies to nothing that this agent watches, or the agent cannot see it." } }
                    (_, 0) => {}
                    (0, passed) => { li { "It passes everywhere (" (passed) " of " (passed) ")." } }
                    (_, passed) => { li { "It passes everywhere else (" (passed) " of " (count + passed) ")." } }
                }
            }
        }
        (LINE)
    }
}
