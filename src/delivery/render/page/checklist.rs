//! The production checklist over all databases, and those of its rows that no check can answer.

use maud::{Markup, html};

use super::state::labelled;
use super::words::runbook_link;
use crate::delivery::render::html::LINE;
use crate::domain::check::checklist::{ItemStatus, checklist, not_observable};
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
            table {
                thead { tr { th scope="col" { "Area" } th scope="col" { "Item" } th scope="col" { "What is asked" } th scope="col" { "Status" } } }
                tbody {
                    (LINE)
                    @for item in checklist(&report.verdicts) {
                        tr.item {
                            td { (item.area) } td { (item.item) }
                            td { (item.asked) @for check in item.checks { " " span.more { (runbook_link(check)) } } }
                            td {
                                (status(item.status))
                                @if let Some(line) = item.line { ": " code { (line) } }
                            }
                        }
                        (LINE)
                    }
                }
            }
        }
        (LINE)
    }
}

fn status(status: ItemStatus) -> Markup {
    match status {
        ItemStatus::Pass => labelled(Word::Ok, "pass"),
        ItemStatus::Fail => labelled(Word::Critical, "fail"),
        ItemStatus::Unknown => labelled(Word::Unknown, "unknown"),
        ItemStatus::NotObservable => labelled(Word::Unknown, "not observable"),
    }
}

/// Rows of a table of checks: what no look at files can answer.
pub(super) fn unobservable() -> Markup {
    html! {
        @for (item, line) in not_observable() {
            tr {
                td { (labelled(Word::Unknown, "not observable")) }
                td { (item.item) }
                td { "asked: " (item.asked) "; have the application run " code { (line) } }
            }
            (LINE)
        }
    }
}
