//! The production checklist over all databases, and those of its rows that no check can answer.

use maud::{Markup, html};

use super::state::labelled;
use super::table::{cell, table};
use super::words::runbook_link;
use crate::delivery::render::html::LINE;
use crate::domain::check::checklist::{ItemReport, ItemStatus, checklist, not_observable};
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// Empty where there is no database that could be judged.
pub(super) fn section(report: &Report) -> Markup {
    if report.assessment.databases.is_empty() {
        return Markup::default();
    }
    html! {
        details #checklist {
            summary { "Production checklist" }
            (table(&HEADINGS, checklist(&report.verdicts).iter().map(item)))
        }
        (LINE)
    }
}

/// Of a table of checks.
pub(super) const HEADINGS: [&str; 3] = ["State", "Check", "What is expected, and what was seen"];

pub(super) fn row(cells: &[Markup; 3]) -> Markup {
    html! { @for (heading, content) in HEADINGS.iter().zip(cells) { (cell(heading, "", content)) } }
}

fn item(item: &ItemReport) -> Markup {
    let (word, text) = match item.status {
        ItemStatus::Pass => (Word::Ok, "pass"),
        ItemStatus::Fail => (Word::Critical, "fail"),
        ItemStatus::Unknown => (Word::Unknown, "unknown"),
        ItemStatus::NotObservable => (Word::Unknown, "not observable"),
    };
    let asked = html! {
        (item.asked)
        @if let Some(line) = item.line { "; have the application run " code { (line) } }
        @for check in item.checks { " " span.more { (runbook_link(check)) } }
    };
    row(&[labelled(word, text), html! { (item.area) ": " (item.item) }, asked])
}

/// Rows of a table of checks: what no look at files can answer.
pub(super) fn unobservable() -> impl Iterator<Item = Markup> {
    not_observable().map(|(item, line)| {
        let asked = html! { "asked: " (item.asked) "; have the application run " code { (line) } };
        row(&[labelled(Word::Unknown, "not observable"), html! { (item.item) }, asked])
    })
}
