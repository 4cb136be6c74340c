//! The table of databases: a line for each replica and for each database that has none, what is wrong first.

use jiff::Timestamp;
use maud::{Markup, Render, html};

use super::LINE;
use crate::delivery::render::terminal::unreplicated;
use crate::delivery::render::timeline;
use crate::domain::assessment::DatabaseState;
use crate::domain::drill::{DrillReport, DrillResult};
use crate::domain::human;
use crate::domain::limits::{PAGE_FINDINGS_MAX, PAGE_ROWS_MAX};
use crate::domain::report::{Block, Report};
use crate::domain::verdict::{Severity, Status, Verdict};
use crate::domain::verification::ObjectFinding;

const COLUMNS: [&str; 10] = [
    "database",
    "replica",
    "state",
    "recovery point",
    "lag",
    "unreplicated",
    "proof age",
    "restorable",
    "restore drill",
    "reason",
];

pub(super) fn section(report: &Report) -> Markup {
    if report.assessment.databases.is_empty() {
        return html! { p.bad { "No databases are watched." } (LINE) };
    }
    let mut rows: Vec<Row<'_>> = report.blocks().map(|block| Row { block, now: report.generated_at }).collect();
    // What is wrong comes first; otherwise the order of the names stays.
    rows.sort_by_key(|row| !row.bad());
    html! {
        table {
            thead { tr { @for column in COLUMNS { th { (column) } } } }
            tbody { (LINE) @for row in rows.iter().take(PAGE_ROWS_MAX) { (row) } }
        }
        (LINE)
        @if let Some(more @ 1..) = rows.len().checked_sub(PAGE_ROWS_MAX) {
            p { "and " (more) " more: see " a href="/api/v1/report" { "the report" } "." } (LINE)
        }
    }
}

/// One line of the table.
struct Row<'a> {
    block: Block<'a>,
    now: Timestamp,
}

impl Row<'_> {
    fn behind(&self) -> bool {
        self.block
            .replica
            .and_then(|replica| replica.lag_seconds)
            .is_some_and(|lag| lag > self.block.database.rpo_seconds)
    }

    /// The checks that failed for this line.
    fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.block.verdicts().filter(|verdict| verdict.status == Status::Fail)
    }

    fn bad(&self) -> bool {
        let state = matches!(
            self.block.database.state,
            DatabaseState::Missing | DatabaseState::Unreadable | DatabaseState::OverLimit
        );
        let replica = self.block.replica.is_some_and(|replica| replica.up == Some(false) || replica.reason.is_some());
        let failed = self.failed().any(|verdict| verdict.severity > Severity::Info);
        state || self.block.database.reason.is_some() || replica || self.behind() || failed
    }

    fn age(&self, at: Timestamp) -> String {
        human::duration(human::age_seconds(at, self.now))
    }

    fn lag(&self) -> Markup {
        let lag = self.block.replica.and_then(|replica| replica.lag_seconds).map(human::duration);
        match lag {
            Some(lag) if self.behind() => html! { td.bad { (lag) } },
            lag => known(lag),
        }
    }

    /// The coverage map, over all of it.
    fn band(&self) -> Option<Markup> {
        let map = self.block.replica?.timeline.as_ref()?;
        let from = timeline::window(map, None, self.now)?;
        Some(html! { (timeline::svg(map, from, self.now)) (timeline::sentence(map, self.now)) })
    }

    /// The last restore drill: its result, when it was and how fast, and when the next one is due.
    fn drill(&self) -> Markup {
        let Some(drill) = self.block.replica.and_then(|replica| replica.drill.as_deref()) else {
            return html! { td.unknown { "none" } };
        };
        html! {
            td {
                @match &drill.history.last {
                    Some(last) => {
                        div class=(drill_class(last.result)) {
                            (last.result.as_str()) " " (self.age(last.finished_at)) " ago"
                            @if let Some(seconds) = last.restore_seconds { ", restored in " (human::duration(seconds)) }
                        }
                        @if let Some(reason) = &last.reason { div { (reason.message) } }
                    }
                    None => { div.unknown { "none yet" } }
                }
                (self.next_drill(drill))
            }
        }
    }

    fn next_drill(&self, drill: &DrillReport) -> Markup {
        match (drill.running_since, &drill.withheld, drill.history.next_due_at) {
            (Some(since), ..) => html! { div { "running for " (self.age(since)) } },
            (None, Some(withheld), _) => html! { div { "withheld: " (withheld) } },
            (None, None, Some(next)) => html! { div { "next " (human::instant(next)) } },
            (None, None, None) => Markup::default(),
        }
    }

    fn reasons(&self) -> Markup {
        let reasons =
            [self.block.database.reason.as_ref(), self.block.replica.and_then(|replica| replica.reason.as_ref())];
        html! {
            @for reason in reasons.into_iter().flatten() {
                div.bad { (reason.message) }
                @if let Some(hint) = &reason.hint { div { "hint: " (hint) } }
            }
            @for verdict in self.failed() {
                div class=(if verdict.severity > Severity::Info { "bad" } else { "unknown" }) {
                    (verdict.check) ": " (verdict.detail)
                }
            }
        }
    }
}

impl Render for Row<'_> {
    fn render(&self) -> Markup {
        let Block { database, replica, .. } = self.block;
        let findings = replica.and_then(|replica| replica.verification.as_ref());
        let findings = findings.map_or(&[][..], |verification| &verification.findings);
        html! {
            tr {
                td { (database.name) }
                td { (replica.map_or("", |replica| &replica.name)) }
                td { (database.state.as_str()) }
                (known(replica.and_then(|replica| replica.recovery_point).map(human::instant)))
                (self.lag())
                (known(replica.and_then(unreplicated)))
                (known(replica.and_then(|replica| replica.verified_at).map(|at| self.age(at))))
                (known(self.band()))
                (self.drill())
                td { (self.reasons()) }
            }
            (LINE)
            @for found in findings.iter().take(PAGE_FINDINGS_MAX) {
                (finding(replica.map_or("", |replica| &replica.name), found))
            }
        }
    }
}

/// A cell that says so where nothing is known.
fn known(value: Option<impl Render>) -> Markup {
    value.map_or_else(|| html! { td.unknown { "unknown" } }, |value| html! { td { (value) } })
}

fn drill_class(result: DrillResult) -> &'static str {
    match result {
        DrillResult::Passed => "good",
        DrillResult::Failed => "bad",
        DrillResult::Inconclusive => "unknown",
    }
}

/// The line of an object with which something is wrong.
fn finding(replica: &str, finding: &ObjectFinding) -> Markup {
    let (class, needed) = match finding.needed {
        true => ("bad", "a restore needs it"),
        false => ("unknown", "the latest state restores without it"),
    };
    html! {
        tr.finding {
            td {}
            td { (replica) }
            td class=(class) { (finding.kind.as_str()) }
            td colspan="5" {
                code { (finding.key) }
                ": " (finding.detail) " (" (needed) "; found " (human::instant(finding.seen_at)) ")"
            }
        }
        (LINE)
    }
}
