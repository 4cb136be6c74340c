//! The production checklist over all databases.

use maud::{Markup, html};

use super::LINE;
use crate::domain::check::checklist::{ItemStatus, checklist};
use crate::domain::report::Report;

/// Empty where there is no database that could be judged.
pub(super) fn section(report: &Report) -> Markup {
    if report.assessment.databases.is_empty() {
        return Markup::default();
    }
    html! {
        details {
            summary { "Production checklist" }
            table {
                tbody {
                    (LINE)
                    @for item in checklist(&report.verdicts) {
                        @let (class, status) = word(item.status);
                        tr.item {
                            td { (item.area) } td { (item.item) } td { (item.asked) }
                            td class=(class) { (status) @if let Some(line) = item.line { ": " code { (line) } } }
                        }
                        (LINE)
                    }
                }
            }
        }
        (LINE)
    }
}

/// The class and the word of an answer.
fn word(status: ItemStatus) -> (&'static str, &'static str) {
    match status {
        ItemStatus::Pass => ("good", "pass"),
        ItemStatus::Fail => ("bad", "fail"),
        ItemStatus::Unknown => ("unknown", "unknown"),
        ItemStatus::NotObservable => ("unknown", "not observable"),
    }
}
