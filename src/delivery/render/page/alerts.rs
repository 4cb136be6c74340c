//! The alerts on the page: what fires, what is about to, what nobody is told of and why, and what is over.

use std::fmt::{Formatter, Result};

use super::super::human;
use super::Escaped;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::check::catalogue;
use crate::domain::limits::PAGE_ROWS_MAX;
use crate::domain::report::Report;

/// Nothing when there are no alerts.
pub(super) fn section(report: &Report, f: &mut Formatter<'_>) -> Result {
    if report.alerts.is_empty() {
        return Ok(());
    }
    // They come in the order of their states, the worst first.
    let mut alerts: Vec<_> = report.alerts.iter().collect();
    alerts.sort_by_key(|alert| rank(alert));
    writeln!(
        f,
        "<h2>Alerts</h2>\n<table class=\"alerts\"><thead><tr><th>alert</th><th>severity</th><th>state</th><th>since</th>\
         <th>on</th><th>what is wrong</th></tr></thead><tbody>"
    )?;
    alerts.iter().take(PAGE_ROWS_MAX).try_for_each(|alert| row(alert, f))?;
    writeln!(f, "</tbody></table>")?;
    let more = alerts.len().saturating_sub(PAGE_ROWS_MAX) + report.alerts_dropped;
    if more > 0 {
        writeln!(f, "<p>and {more} more alerts.</p>")?;
    }
    Ok(())
}

/// What fires and is told first, then what is pending, what is suppressed, what is over.
fn rank(alert: &Alert) -> u8 {
    match alert.state {
        AlertState::Resolved => 3,
        _ if alert.suppressed.is_some() => 2,
        AlertState::Pending => 1,
        AlertState::Firing => 0,
    }
}

fn row(alert: &Alert, f: &mut Formatter<'_>) -> Result {
    let (class, state, since) = match alert.state {
        AlertState::Firing if alert.suppressed.is_none() => ("bad", "firing", alert.fired_at),
        AlertState::Firing => ("unknown", "firing", alert.fired_at),
        AlertState::Pending => ("unknown", "pending", Some(alert.active_at)),
        AlertState::Resolved if alert.is_unwatched() => ("unknown", "no longer watched", alert.resolved_at),
        AlertState::Resolved => ("unknown", "resolved", alert.resolved_at),
    };
    let text = |name: &str| alert.annotations.get(name).map_or("", String::as_str);
    write!(f, "<tr><td>")?;
    match text("runbook_url") {
        // Only these can do no harm as a link.
        url if url.starts_with("https://") || url.starts_with("http://") => {
            write!(f, "<a href=\"{}\">{}</a>", Escaped(url), Escaped(alert.name()))?;
        }
        _ => write!(f, "{}", Escaped(alert.name()))?,
    }
    write!(f, "</td><td>{}</td><td class=\"{class}\">{state}", alert.severity.as_str())?;
    if let Some(reason) = &alert.suppressed {
        write!(f, "<div>nobody is told: {}</div>", Escaped(reason))?;
    }
    write!(f, "</td><td>{}</td><td>", since.map(human::instant).unwrap_or_default())?;
    let check = catalogue().find(|check| check.name == alert.name());
    let labels = check.map_or(&[][..], |check| check.scope().labels());
    let subject: Vec<_> = labels.iter().filter_map(|label| alert.labels.get(*label)).map(String::as_str).collect();
    write!(f, "{}</td><td>{}", Escaped(&subject.join(" ")), Escaped(text("summary")))?;
    writeln!(f, "<div>{}</div><div>{}</div></td></tr>", Escaped(text("description")), Escaped(text("action")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::fixture;
    use super::super::page;
    use crate::domain::check::catalogue;

    #[test]
    fn no_alert_is_no_section() {
        assert!(!page(Some(&fixture::report(vec![fixture::healthy("app")]))).contains("Alerts"));
    }

    #[test]
    fn what_fires_comes_first_and_what_is_suppressed_says_why() {
        let mut report = fixture::full();
        report.alerts_dropped = 7;
        let page = page(Some(&report));
        let (_, alerts) = page.split_once("<h2>Alerts</h2>").expect("a section");
        let rows: Vec<_> = alerts.lines().filter(|line| line.starts_with("<tr><td><a")).take(4).collect();
        let states =
            ["firing</td>", "pending</td>", "firing<div>nobody is told: silenced: moving</div></td>", "resolved</td>"];
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
            let mut report = fixture::full();
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
        let mut report = fixture::full();
        let alert = Arc::make_mut(&mut report.alerts[0]);
        alert.annotations.insert("summary".into(), "<script>".into());
        alert.annotations.insert("runbook_url".into(), "javascript:alert(1)".into());
        alert.suppressed = Some("<b>".into());
        let page = page(Some(&report));
        assert!(page.contains("&lt;script&gt;") && page.contains("&lt;b&gt;"), "{page}");
        assert!(!page.contains("<script") && !page.contains("javascript:"), "{page}");
    }
}
