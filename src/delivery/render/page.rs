//! The landing page: what is known of each database, as plain HTML that needs no script.

mod alerts;

use crate::domain::report::Block;
use std::fmt::{Display, Formatter, Result};

use jiff::Timestamp;

use super::{human, timeline};
use crate::domain::assessment::{DatabaseState, ReplicaReport};
use crate::domain::check::checklist::{ItemStatus, checklist};
use crate::domain::drill::{DrillReport, DrillResult};
use crate::domain::limits::{PAGE_FINDINGS_MAX, PAGE_ROWS_MAX};
use crate::domain::report::Report;
use crate::domain::verdict::{Severity, Status, Verdict};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#1a1a1a;background:#fff}\
table{border-collapse:collapse}th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid #ddd;vertical-align:top}\
.bad{font-weight:600;color:#a40000}.unknown{color:#666}nav a{margin-right:1rem}\
.band{width:12rem;height:.8rem;display:block;background:#e4e4e4}.band .n{fill:none}.band .r{fill:#2e7d32}\
.band .f{opacity:.8}.band .c{opacity:.6}.band .d{opacity:.4}.band .b{fill:#a40000}\
@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#161616}th,td{border-color:#3a3a3a}a{color:#8ab4f8}\
.bad{color:#ff8a80}.unknown{color:#999}.band{background:#333}.band .r{fill:#81c784}.band .b{fill:#ff8a80}}";

/// The page of a report, or of an agent that has none yet.
pub fn page(report: Option<&Report>) -> String {
    let body = report.map_or_else(
        || "<p>No report yet: the agent has just started.</p>\n".to_owned(),
        |report| Summary(report).to_string(),
    );
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>streamgauge</title>\
         <style>{STYLE}</style></head>\n<body><h1>streamgauge</h1>\n\
         <nav><a href=\"/metrics\">metrics</a><a href=\"/api/v1/report\">report (JSON)</a>\
         <a href=\"/-/healthy\">healthy</a><a href=\"/-/ready\">ready</a></nav>\n{body}</body></html>\n"
    )
}

struct Summary<'a>(&'a Report);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let report = self.0;
        writeln!(
            f,
            "<p>{} at {}. Version {}, revision {}.</p>",
            match report.assessment.databases.len() {
                1 => "1 database".to_owned(),
                count => format!("{count} databases"),
            },
            human::instant(report.generated_at),
            Escaped(report.assessment.agent.version),
            Escaped(report.assessment.agent.revision)
        )?;
        if let Some(error) = &report.assessment.agent.config.error {
            writeln!(f, "<p class=\"bad\">The last configuration was refused: {}</p>", Escaped(error))?;
        }
        for source in report.assessment.agent.sources.iter().filter(|source| !source.success) {
            let error = source.error.as_deref().unwrap_or("unknown error");
            writeln!(f, "<p class=\"bad\">{}: {}</p>", Escaped(&source.source), Escaped(error))?;
        }
        alerts::section(report, f)?;
        if report.assessment.databases.is_empty() {
            return writeln!(f, "<p class=\"bad\">No databases are watched.</p>");
        }
        let mut rows: Vec<Row<'_>> = report.blocks().map(|block| Row { block, now: report.generated_at }).collect();
        // What is wrong comes first; otherwise the order of the names stays.
        rows.sort_by_key(|row| !row.bad());
        writeln!(
            f,
            "<table><thead><tr><th>database</th><th>replica</th><th>state</th><th>recovery point</th><th>lag</th>\
             <th>unreplicated</th><th>proof age</th><th>restorable</th>\
             <th>restore drill</th><th>reason</th></tr></thead><tbody>"
        )?;
        rows.iter().take(PAGE_ROWS_MAX).try_for_each(|row| row.fmt(f))?;
        writeln!(f, "</tbody></table>")?;
        if let Some(more @ 1..) = rows.len().checked_sub(PAGE_ROWS_MAX) {
            writeln!(f, "<p>and {more} more: see <a href=\"/api/v1/report\">the report</a>.</p>")?;
        }
        self.checklist(f)
    }
}

impl Summary<'_> {
    /// The production checklist over all databases.
    fn checklist(&self, f: &mut Formatter<'_>) -> Result {
        let items = checklist(&self.0.verdicts);
        writeln!(f, "<details><summary>Production checklist</summary><table><tbody>")?;
        for item in items {
            let (class, status) = match item.status {
                ItemStatus::Pass => ("good", "pass"),
                ItemStatus::Fail => ("bad", "fail"),
                ItemStatus::Unknown => ("unknown", "unknown"),
                ItemStatus::NotObservable => ("unknown", "not observable"),
            };
            write!(f, "<tr class=\"item\"><td>{}</td><td>{}</td><td>{}</td>", item.area, item.item, item.asked)?;
            let line = item.line.map_or_else(String::new, |line| format!(": <code>{line}</code>"));
            writeln!(f, "<td class=\"{class}\">{status}{line}</td></tr>")?;
        }
        writeln!(f, "</tbody></table></details>")
    }
}

/// One line of the table.
struct Row<'a> {
    block: Block<'a>,
    now: Timestamp,
}

impl Row<'_> {
    fn behind(&self) -> bool {
        let Block { database, replica, .. } = self.block;
        replica.and_then(|replica| replica.lag_seconds).is_some_and(|lag| lag > database.rpo_seconds)
    }

    /// The checks that failed for this line.
    fn failed(&self) -> impl Iterator<Item = &Verdict> {
        self.block.verdicts().filter(|verdict| verdict.status == Status::Fail)
    }

    fn bad(&self) -> bool {
        let Block { database, replica, .. } = self.block;
        let state =
            matches!(database.state, DatabaseState::Missing | DatabaseState::Unreadable | DatabaseState::OverLimit);
        let replica = replica.is_some_and(|replica| replica.up == Some(false) || replica.reason.is_some());
        let failed = self.failed().any(|verdict| verdict.severity > Severity::Info);
        state || database.reason.is_some() || replica || self.behind() || failed
    }

    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self { block: Block { database, replica, .. }, now } = self;
        let replica_name = replica.map_or("", |replica| &replica.name);
        write!(f, "<tr><td>{}</td><td>{}</td>", Escaped(&database.name), Escaped(replica_name))?;
        write!(f, "<td>{}</td>", database.state.as_str())?;
        let known = |value: Option<String>| {
            value.map_or_else(|| "<td class=\"unknown\">unknown</td>".to_owned(), |value| format!("<td>{value}</td>"))
        };
        f.write_str(&known(replica.and_then(|replica| replica.recovery_point).map(human::instant)))?;
        match replica.and_then(|replica| replica.lag_seconds) {
            Some(lag) if self.behind() => write!(f, "<td class=\"bad\">{}</td>", human::duration(lag))?,
            lag => f.write_str(&known(lag.map(human::duration)))?,
        }
        let unreplicated = replica.and_then(|replica| {
            let bound = if replica.unreplicated_bytes_lower_bound { "≥ " } else { "" };
            replica.unreplicated_bytes.map(|bytes| format!("{bound}{}", human::bytes(bytes)))
        });
        f.write_str(&known(unreplicated))?;
        let proof = replica.and_then(|replica| replica.verified_at);
        f.write_str(&known(proof.map(|at| human::duration(human::age_seconds(at, *now)))))?;
        f.write_str(&known(replica.and_then(|replica| band(replica, *now))))?;
        match replica.and_then(|replica| replica.drill.as_deref()) {
            Some(drill) => Drill(drill, *now).fmt(f)?,
            None => f.write_str("<td class=\"unknown\">none</td>")?,
        }
        f.write_str("<td>")?;
        let reasons = [database.reason.as_ref(), replica.and_then(|replica| replica.reason.as_ref())];
        for reason in reasons.into_iter().flatten() {
            write!(f, "<div class=\"bad\">{}</div>", Escaped(&reason.message))?;
            if let Some(hint) = &reason.hint {
                write!(f, "<div>hint: {}</div>", Escaped(hint))?;
            }
        }
        for verdict in self.failed() {
            let class = if verdict.severity > Severity::Info { "bad" } else { "unknown" };
            write!(f, "<div class=\"{class}\">{}: {}</div>", verdict.check, Escaped(&verdict.detail))?;
        }
        f.write_str("</td></tr>\n")?;
        self.findings(f)
    }

    /// The objects with which something is wrong, a line each.
    fn findings(&self, f: &mut Formatter<'_>) -> Result {
        let Some(replica) = self.block.replica else { return Ok(()) };
        let findings = replica.verification.iter().flat_map(|verification| &verification.findings);
        for finding in findings.take(PAGE_FINDINGS_MAX) {
            let class = if finding.needed { "bad" } else { "unknown" };
            let needed = if finding.needed { "a restore needs it" } else { "the latest state restores without it" };
            writeln!(
                f,
                "<tr class=\"finding\"><td></td><td>{}</td><td class=\"{class}\">{}</td><td colspan=\"5\"><code>{}</code>: {} \
                 ({needed}; found {})</td></tr>",
                Escaped(&replica.name),
                finding.kind.as_str(),
                Escaped(&finding.key),
                Escaped(&finding.detail),
                human::instant(finding.seen_at)
            )?;
        }
        Ok(())
    }
}

/// The coverage map, over the retention that is wanted, if that is known, else over all of it.
fn band(replica: &ReplicaReport, now: Timestamp) -> Option<String> {
    let map = replica.timeline.as_ref()?;
    let from = timeline::window(map, None, now)?;
    Some(format!("{}{}", timeline::svg(map, from, now), timeline::sentence(map, now)))
}

/// The cell about restore drills: what the last one came to, when and how fast, and when the next one is due.
struct Drill<'a>(&'a DrillReport, Timestamp);

impl Display for Drill<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let Self(drill, now) = self;
        f.write_str("<td>")?;
        match &drill.history.last {
            Some(last) => {
                let class = match last.result {
                    DrillResult::Passed => "good",
                    DrillResult::Failed => "bad",
                    DrillResult::Inconclusive => "unknown",
                };
                let ago = human::duration(human::age_seconds(last.finished_at, *now));
                write!(f, "<div class=\"{class}\">{} {ago} ago", last.result.as_str())?;
                if let Some(seconds) = last.restore_seconds {
                    write!(f, ", restored in {}", human::duration(seconds))?;
                }
                f.write_str("</div>")?;
                if let Some(reason) = &last.reason {
                    write!(f, "<div>{}</div>", Escaped(&reason.message))?;
                }
            }
            None => f.write_str("<div class=\"unknown\">none yet</div>")?,
        }
        match (drill.running_since, &drill.withheld, drill.history.next_due_at) {
            (Some(since), ..) => {
                write!(f, "<div>one runs since {}</div>", human::duration(human::age_seconds(since, *now)))?;
            }
            (None, Some(withheld), _) => write!(f, "<div>withheld: {}</div>", Escaped(withheld))?,
            (None, None, Some(next)) => write!(f, "<div>next {}</div>", human::instant(next))?,
            (None, None, None) => {}
        }
        f.write_str("</td>")
    }
}

/// Text from outside, as HTML text.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        use std::fmt::Write;
        self.0.chars().try_for_each(|character| match character {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            // HTML has no way to write most of them.
            control if control.is_control() => f.write_char('\u{fffd}'),
            other => f.write_char(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::fixture;
    use super::*;

    #[test]
    fn what_is_unknown_says_so() {
        let page = page(Some(&fixture::report(vec![fixture::unknown("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row");
        assert_eq!(row.matches("unknown</td>").count(), 5, "{row}");
        assert!(row.contains("list s3://backups/app: access denied"), "{row}");
        assert!(row.contains("hint: grant s3:ListBucket on backups"), "{row}");
    }

    #[test]
    fn a_pending_replica_shows_lag_and_a_lower_bound() {
        let page = page(Some(&fixture::report(vec![fixture::pending("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row");
        assert!(row.contains("<td class=\"bad\">6m 40s</td><td>≥ 20.1 KiB</td><td>10s</td>"), "{row}");
    }

    #[test]
    fn a_band_shows_what_restores() {
        let page = page(Some(&fixture::report(vec![fixture::healthy("app")])));
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
            let mut database = fixture::drilled("app");
            let drill = database.replicas[0].drill.as_mut().expect("a drill");
            change(Arc::make_mut(drill));
            let page = page(Some(&fixture::report(vec![database])));
            let row = page.lines().find(|line| line.starts_with("<tr><td>app")).expect("a row").to_owned();
            row.split("<td>").nth(9).expect("a cell").to_owned()
        };
        let passed = "<div class=\"good\">passed 59m 40s ago, restored in 7.5s</div>";
        assert_eq!(cell(|_| {}), format!("{passed}<div>next 2026-01-01 23:00:00Z</div></td>"));
        let large = cell(|drill| drill.withheld = Some("it is <large>".into()));
        assert_eq!(large, format!("{passed}<div>withheld: it is &lt;large&gt;</div></td>"));
        let running = cell(|drill| drill.running_since = Some(fixture::now()));
        assert_eq!(running, format!("{passed}<div>one runs since 0s</div></td>"));
        let never = cell(|drill| drill.history = Default::default());
        assert_eq!(never, "<div class=\"unknown\">none yet</div></td>");
    }

    #[test]
    fn a_damaged_object_has_a_line_with_its_key() {
        let page = page(Some(&fixture::report(vec![fixture::pending("app")])));
        let row = page.lines().find(|line| line.starts_with("<tr class=\"finding\">")).expect("a row");
        assert!(row.contains("<td class=\"bad\">truncated</td>"), "{row}");
        assert!(row.contains("<code>0000/000000000000000c-000000000000000c.ltx</code>: unexpected end at byte 4096"));
    }

    #[test]
    fn names_cannot_break_out_of_the_page() {
        let page = page(Some(&fixture::report(vec![fixture::unknown("<script>\"'&\u{0}")])));
        assert!(page.contains("<td>&lt;script&gt;&quot;&#39;&amp;\u{fffd}</td>"), "{page}");
        assert!(!page.contains("<script"));
    }

    #[test]
    fn rows_end_somewhere_and_trouble_comes_first() {
        let healthy = Arc::new(fixture::healthy("fine"));
        let mut report = fixture::report(Vec::new());
        report.assessment.databases = vec![healthy; PAGE_ROWS_MAX + 6];
        report.assessment.databases.push(Arc::new(fixture::unknown("zzz")));
        let page = page(Some(&report));
        assert_eq!(page.matches("<tr><td>").count(), PAGE_ROWS_MAX);
        assert!(page.contains("<p>and 7 more"));
        assert!(page.find(">zzz<") < page.find(">fine<"));
    }

    #[test]
    fn what_is_not_observable_is_said_with_the_line_that_the_application_needs() {
        let page = page(Some(&fixture::full()));
        let row = page.lines().find(|line| line.contains("busy timeout")).expect("a row");
        assert!(row.ends_with("not observable: <code>PRAGMA busy_timeout = 5000;</code></td></tr>"), "{row}");
        let row = page.lines().find(|line| line.contains("replication lag alert")).expect("a row");
        assert!(row.ends_with("<td class=\"bad\">fail</td></tr>"), "{row}");
    }

    #[test]
    fn no_databases_do_not_look_healthy() {
        assert!(page(Some(&fixture::report(Vec::new()))).contains("No databases are watched."));
        assert!(page(None).contains("No report yet"));
    }
}
