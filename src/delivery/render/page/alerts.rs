//! The alerts on the page: what fires, what is about to, what nobody is told of and why, and what is over.

use jiff::Timestamp;
use maud::{Markup, html};

use super::LINE;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::check::catalogue;
use crate::domain::human;
use crate::domain::limits::PAGE_ROWS_MAX;
use crate::domain::report::Report;

/// Empty when there are no alerts.
pub(super) fn section(report: &Report) -> Markup {
    if report.alerts.is_empty() {
        return Markup::default();
    }
    // They come in the order of their states, the worst first.
    let mut alerts: Vec<_> = report.alerts.iter().collect();
    alerts.sort_by_key(|alert| state(alert).0);
    let more = alerts.len().saturating_sub(PAGE_ROWS_MAX) + report.alerts_dropped;
    html! {
        h2 { "Alerts" }
        (LINE)
        table.alerts {
            thead {
                tr { th { "alert" } th { "severity" } th { "state" } th { "since" } th { "on" } th { "what is wrong" } }
            }
            tbody { (LINE) @for alert in alerts.iter().take(PAGE_ROWS_MAX) { (row(alert)) (LINE) } }
        }
        (LINE)
        @if more > 0 {
            p { "and " (more) " more " (human::agree(&more, "alert", "alerts")) "." } (LINE)
        }
    }
}

/// Its place among the others, its class, its state in words, and since when it is in it.
fn state(alert: &Alert) -> (u8, &'static str, &'static str, Option<Timestamp>) {
    match alert.state {
        AlertState::Firing if alert.suppressed.is_none() => (0, "bad", "firing", alert.fired_at),
        AlertState::Pending if alert.suppressed.is_none() => (1, "unknown", "pending", Some(alert.active_at)),
        AlertState::Firing => (2, "unknown", "firing", alert.fired_at),
        AlertState::Pending => (2, "unknown", "pending", Some(alert.active_at)),
        AlertState::Resolved if alert.is_unwatched() => (3, "unknown", "no longer watched", alert.resolved_at),
        AlertState::Resolved => (3, "unknown", "resolved", alert.resolved_at),
    }
}

fn row(alert: &Alert) -> Markup {
    let (_, class, state, since) = state(alert);
    let text = |name: &str| alert.annotations.get(name).map_or("", String::as_str);
    let check = catalogue().find(|check| check.name == alert.name());
    let labels = check.map_or(&[][..], |check| check.scope().labels());
    let subject: Vec<_> = labels.iter().filter_map(|label| alert.labels.get(*label)).map(String::as_str).collect();
    html! {
        tr {
            td {
                @match text("runbook_url") {
                    // Only these can do no harm as a link.
                    url if url.starts_with("https://") || url.starts_with("http://") => {
                        a href=(url) { (alert.name()) }
                    }
                    _ => { (alert.name()) }
                }
            }
            td { (alert.severity.as_str()) }
            td class=(class) {
                (state)
                @if let Some(reason) = &alert.suppressed { div { "nobody is notified: " (reason) } }
            }
            td { (since.map(human::instant).unwrap_or_default()) }
            td { (subject.join(" ")) }
            td { (text("summary")) div { (text("description")) } div { (text("action")) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::page;
    use crate::domain::check::catalogue;
    use crate::domain::report::sample;

    #[test]
    fn no_alert_is_no_section() {
        assert!(!page(Some(&sample::report(vec![sample::healthy("app")]))).contains("Alerts"));
    }

    #[test]
    fn what_fires_comes_first_and_what_is_suppressed_says_why() {
        let mut report = sample::full();
        report.alerts_dropped = 7;
        let page = page(Some(&report));
        let (_, alerts) = page.split_once("<h2>Alerts</h2>").expect("a section");
        let rows: Vec<_> = alerts.lines().filter(|line| line.starts_with("<tr><td><a")).take(4).collect();
        let states = [
            "firing</td>",
            "pending</td>",
            "firing<div>nobody is notified: silenced: moving</div></td>",
            "resolved</td>",
        ];
        for (row, state) in rows.iter().zip(states) {
            assert!(row.contains(state), "{row} should have {state}");
        }
        assert!(rows[0].contains("<td>orders s3</td><td>orders: replication to s3 is behind<div>"), "{}", rows[0]);
        assert!(alerts.contains("<p>and 7 more alerts.</p>"), "{alerts}");
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
        assert!(!page.contains("<script") && !page.contains("javascript:"), "{page}");
    }
}
