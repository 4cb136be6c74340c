//! The alerts on a page: what fires, what is about to, what nobody is told of and why, and what is over.

use std::sync::Arc;

use jiff::Timestamp;
use maud::{Markup, html};

use super::state::labelled;
use super::table::{cell, table};
use super::words::{ago, runbook_link};
use crate::delivery::render::html::LINE;
use crate::delivery::render::markdown::inline;
use crate::domain::alert::{Alert, AlertState, untold};
use crate::domain::check::catalogue;
use crate::domain::human::{self, printable};
use crate::domain::limits::PAGE_ROWS_MAX;
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// All of them; empty when there are none.
pub(super) fn section(report: &Report) -> Markup {
    list(report.alerts.iter().collect(), report.alerts_dropped, report.generated_at)
}

/// Those on one database.
pub(super) fn on(report: &Report, database: &str) -> Markup {
    let on = |alert: &&Arc<Alert>| alert.labels.get("database").is_some_and(|name| name == database);
    list(report.alerts.iter().filter(on).collect(), 0, report.generated_at)
}

const HEADINGS: [&str; 5] = ["State", "Alert", "On", "Since", "What is wrong"];

fn list(mut alerts: Vec<&Arc<Alert>>, dropped: usize, now: Timestamp) -> Markup {
    if alerts.is_empty() && dropped == 0 {
        return Markup::default();
    }
    alerts.sort_by_key(|alert| state(alert).0);
    let more = alerts.len().saturating_sub(PAGE_ROWS_MAX) + dropped;
    html! {
        section aria-labelledby="alerts" {
            h2 #alerts { "Alerts" }
            (LINE)
            (table(&HEADINGS, alerts.iter().take(PAGE_ROWS_MAX).map(|alert| row(alert, now))))
            @if more > 0 {
                p { "and " (more) " more " (human::agree(&more, "alert", "alerts")) "." } (LINE)
            }
        }
        (LINE)
    }
}

/// Its place among the others, how that looks, its state in words, and since when it is in it.
fn state(alert: &Alert) -> (u8, Word, &'static str, Option<Timestamp>) {
    match alert.state {
        AlertState::Firing if !alert.holds() => (2, Word::Unknown, "over, if it stays so", alert.ended_at),
        AlertState::Firing if alert.suppressed.is_none() => (0, Word::Critical, "firing", alert.fired_at),
        AlertState::Pending if alert.suppressed.is_none() => (1, Word::Warning, "pending", Some(alert.active_at)),
        AlertState::Firing => (2, Word::Unknown, "firing", alert.fired_at),
        AlertState::Pending => (2, Word::Unknown, "pending", Some(alert.active_at)),
        AlertState::Resolved if alert.is_resolved() => (3, Word::Ok, "resolved", alert.resolved_at),
        AlertState::Resolved => (3, Word::Unknown, alert.ending(), alert.resolved_at),
    }
}

fn row(alert: &Alert, now: Timestamp) -> Markup {
    let (_, word, state, since) = state(alert);
    let text = |name: &str| printable(alert.annotations.get(name).map_or("", String::as_str));
    let check = catalogue().find(|check| check.name == alert.name());
    let labels = check.map_or(&[][..], |check| check.scope().labels());
    let subject: Vec<_> =
        labels.iter().filter_map(|label| alert.labels.get(*label)).map(|value| printable(value)).collect();
    let cells = [
        html! {
            (labelled(word, state))
            @if let Some(reason) = &alert.suppressed { div { (printable(&untold(alert.state == AlertState::Resolved, reason))) } }
        },
        html! { (runbook_link(alert.name())) " " span.quiet { (alert.severity.as_str()) } },
        html! { (subject.join(" ")) },
        html! { @if let Some(since) = since { (ago(since, now)) } },
        html! { (text("summary")) div { (text("description")) } div { (inline(&text("action"))) } },
    ];
    html! { @for (heading, content) in HEADINGS.iter().zip(&cells) { (cell(heading, "", content)) } }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::page;
    use crate::domain::check::catalogue;
    use crate::domain::report::sample;

    #[test]
    fn no_alert_is_no_section() {
        assert!(!page(Some(&sample::report(vec![sample::healthy("app")]))).contains("Alerts</h2>"));
    }

    #[test]
    fn what_fires_comes_first_and_what_is_suppressed_says_why() {
        let mut report = sample::full();
        report.alerts_dropped = 7;
        let page = page(Some(&report));
        let (_, alerts) = page.split_once("Alerts</h2>").expect("a section");
        let rows: Vec<_> = alerts.lines().filter(|line| line.starts_with("<tr")).take(4).collect();
        let states = [
            " firing</span></td>",
            " pending</span></td>",
            " firing</span><div>nobody is notified: silenced: moving</div></td>",
            " resolved</span></td>",
        ];
        for (row, state) in rows.iter().zip(states) {
            assert!(row.contains(state), "{row} should have {state}");
        }
        assert!(
            rows[0].contains(">orders s3</td>") && rows[0].contains(">orders: replication to s3 is behind<div>"),
            "{}",
            rows[0]
        );
        assert!(alerts.contains("<p>and 7 more alerts.</p>"), "{alerts}");
    }

    #[test]
    fn what_is_kept_is_not_said_to_be_so() {
        let mut report = sample::full();
        let alert = Arc::make_mut(&mut report.alerts[0]);
        alert.ended_at = alert.fired_at;
        let page = page(Some(&report));
        let (_, alerts) = page.split_once("Alerts</h2>").expect("a section");
        assert!(alerts.contains(" over, if it stays so</span></td>"), "{alerts}");
    }

    /// Whatever an alert can be about is named.
    #[test]
    fn the_subject_of_each_check_is_shown() {
        for check in catalogue() {
            let mut report = sample::full();
            let alert = Arc::make_mut(&mut report.alerts[0]);
            alert.labels = [("alertname".to_owned(), check.name.to_owned())].into();
            let values = check.scope().labels().iter().map(|label| ((*label).to_owned(), format!("the-{label}")));
            alert.labels.extend(values);
            let page = page(Some(&report));
            for label in check.scope().labels() {
                assert!(page.contains(&format!("the-{label}")), "{}: {label}", check.name);
            }
        }
    }

    #[test]
    fn text_and_links_cannot_break_out() {
        let mut report = sample::full();
        let alert = Arc::make_mut(&mut report.alerts[0]);
        alert.annotations.insert("summary".into(), "<script>".into());
        alert.annotations.insert("runbook_url".into(), "javascript:alert(1)".into());
        alert.suppressed = Some("<b>".into());
        let page = page(Some(&report));
        assert!(page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;"), "{page}");
        assert!(page.matches("<script").count() == 1 && !page.contains("javascript:"), "{page}");
    }
}
