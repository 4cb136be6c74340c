//! How a database and its replicas went, as charts of the history that the agent keeps.

use jiff::Timestamp;
use maud::{Markup, html};

use super::chart::Chart;
use super::words::ago;
use crate::delivery::render::html::LINE;
use crate::domain::assessment::DatabaseReport;
use crate::domain::history::Point;
use crate::domain::human;
use crate::domain::number::{database as of_database, replica as of_replica};
use crate::domain::report::Report;

/// So many values are taken of what changes all the time.
const SAMPLES: i32 = 120;

/// Empty where nothing is known yet.
pub(super) fn section(report: &Report, database: &DatabaseReport) -> Markup {
    let until = report.generated_at;
    let Some(from) = report.history.since(&database.name).filter(|from| *from < until) else {
        return Markup::default();
    };
    html! {
        section aria-labelledby="history" {
            h2 #history { "History" }
            p.quiet { "Since " (ago(from, until)) "." }
            div.charts { @for chart in charts(report, database, from) { (chart.draw()) } }
        }
        (LINE)
    }
}

fn charts<'a>(report: &Report, database: &DatabaseReport, from: Timestamp) -> Vec<Chart<'a>> {
    let until = report.generated_at;
    let bytes: fn(f64) -> String = |bytes| human::bytes(bytes.max(0.0) as u64);
    let chart = |id: &str, title: String, lines, objective, said| Chart {
        id: id.to_owned(),
        title,
        lines,
        objective,
        said,
        from,
        until,
    };
    let mut charts = Vec::new();
    for (index, replica) in database.replicas.iter().enumerate() {
        let points = |number| report.history.series(&database.name, Some(&replica.name), number);
        let title = |title: &str| match database.replicas.len() {
            1 => title.to_owned(),
            _ => format!("{title}, {}", human::printable(&replica.name)),
        };
        let id = |id| format!("{id}-{index}");
        let lag = vec![("behind", points(&of_replica::LAG))];
        charts.push(chart(&id("lag"), title("Behind"), lag, Some(database.rpo_seconds), human::duration));
        let lost = vec![("could be lost", points(&of_replica::UNREPLICATED_BYTES))];
        charts.push(chart(&id("lost"), title("Could be lost"), lost, None, bytes));
        let window = vec![("window", window(&points(&of_replica::RESTORABLE_SINCE), from, until))];
        let wanted = database.objectives.retention_seconds;
        charts.push(chart(&id("window"), title("Restorable window"), window, wanted, human::duration));
    }
    let points = |number| report.history.series(&database.name, None, number);
    let commits = vec![("commits", points(&of_database::WRITE_TRANSACTIONS_PER_SECOND))];
    charts.push(chart("commits", "Commits a second".into(), commits, None, |rate| format!("{rate:.2}")));
    let written = vec![("written", points(&of_database::WRITTEN_BYTES_PER_SECOND))];
    charts.push(chart("written", "Written a second".into(), written, None, bytes));
    let size = vec![("database", points(&of_database::SIZE_BYTES)), ("WAL (dashed)", points(&of_database::WAL_SIZE))];
    charts.push(chart("size", "Size".into(), size, None, bytes));
    charts
}

/// How long a window was that began at each of these instants: it grows while they stay.
fn window(since: &[Point], from: Timestamp, until: Timestamp) -> Vec<Point> {
    let step = until.duration_since(from) / SAMPLES;
    let sample = |number: i32| {
        let at = from + step * number;
        let known = since.iter().rev().find(|point| point.at <= at).and_then(|point| point.value);
        let value = known.map(|since| at.as_duration().as_secs_f64() - since);
        Point { at, value, low: value, high: value }
    };
    (0..=SAMPLES).map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::history::Recorder;
    use crate::domain::report::sample;

    #[test]
    fn what_was_recorded_is_drawn_and_what_was_not_is_no_empty_chart() {
        let (later, earlier) = (sample::pending("app"), sample::healthy("app"));
        let mut report = sample::report(vec![later.clone()]);
        assert_eq!(section(&report, &later).into_string(), "");
        let mut recorder = Recorder::default();
        for (minutes, database) in [(60, &earlier), (20, &later), (10, &sample::unknown("app"))] {
            recorder.record(database, sample::now() - jiff::SignedDuration::from_mins(minutes));
        }
        report.history = recorder.history();
        let page = section(&report, &later).into_string();
        assert_eq!(page.matches("<figure").count(), 6, "{page}");
        assert!(
            page.contains("<title>Behind: unknown; objective 5m, at most 6m 40s since 2025-12-31 23:00:00 UTC</title>"),
            "{page}"
        );
        assert!(page.contains("<rect class=\"gap\" x=\"200\" width=\"40\""), "{page}");
        assert!(page.contains("Restorable window: unknown; objective 1d, at most 23h 49m since"), "{page}");
    }
}
