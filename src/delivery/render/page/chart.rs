//! A chart of numbers over time: an image with its numbers in a table, drawn here, so that it needs no script.

use std::fmt::Write;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, PreEscaped, html};

use super::words::clock;
use crate::domain::history::Point;
use crate::domain::human;

/// Pieces of time that are told apart in the image and in the table. In each, the highest value counts.
const COLUMNS: usize = 240;
const TABLE_ROWS: usize = 24;
const HEIGHT: f64 = 100.0;

pub(super) struct Chart<'a> {
    /// Without spaces, other than those of all other charts on the page.
    pub(super) id: String,
    pub(super) title: String,
    /// The lines, each with its name and with its points, oldest first, of which each holds until the next.
    pub(super) lines: Vec<(&'a str, Vec<Point>)>,
    pub(super) objective: Option<f64>,
    /// How a number is said.
    pub(super) said: fn(f64) -> String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

impl Chart<'_> {
    /// Empty where nothing at all is known.
    pub(super) fn draw(&self) -> Markup {
        let lines: Vec<_> = self.lines.iter().map(|(_, points)| self.columns(points, COLUMNS)).collect();
        let values = lines.iter().flatten().flatten().copied();
        let Some(highest) = values.reduce(f64::max) else { return Markup::default() };
        let shown = self.objective.map_or(highest, |objective| highest.max(objective));
        let top = if shown > 0.0 { shown * 1.08 } else { 1.0 };
        html! {
            figure.chart {
                figcaption {
                    span { strong { (self.title) } " " (self.latest()) }
                    " " span.quiet { "at most " ((self.said)(highest)) }
                }
                div.plot {
                    svg role="img" viewBox={ "0 0 " (COLUMNS) " " (HEIGHT) } preserveAspectRatio="none" {
                        title { (self.title) ": " (self.latest()) ", at most " ((self.said)(highest)) " since " (human::clock(self.from, self.until)) }
                        (self.shapes(&lines, top))
                    }
                }
                div.axis { (clock(self.from, self.until)) (clock(self.until, self.until)) }
                (self.table())
            }
        }
    }

    /// The newest values, and the objective.
    fn latest(&self) -> String {
        let last = |points: &[Point]| points.last().and_then(|point| point.value);
        let said = |value: Option<f64>| value.map_or_else(|| "unknown".to_owned(), self.said);
        let values = self.lines.iter().map(|(name, points)| match self.lines.len() {
            1 => said(last(points)),
            _ => format!("{name} {}", said(last(points))),
        });
        let mut text = values.collect::<Vec<_>>().join(", ");
        if let Some(objective) = self.objective {
            let _ = write!(text, "; objective {}", (self.said)(objective));
        }
        text
    }

    /// The highest value of each of so many pieces of equal length; what lasts counts in every piece that it reaches.
    fn columns(&self, points: &[Point], count: usize) -> Vec<Option<f64>> {
        let (start, length) =
            (self.from.as_nanosecond(), (self.until.as_nanosecond() - self.from.as_nanosecond()).max(1));
        let column = |at: Timestamp| {
            let part = (at.as_nanosecond() - start).clamp(0, length) * count as i128 / length;
            usize::try_from(part).unwrap_or(0).min(count - 1)
        };
        let mut columns = vec![None; count];
        for (index, point) in points.iter().enumerate() {
            let end = points.get(index + 1).map_or(self.until, |next| next.at);
            if end < self.from || point.at > self.until {
                continue;
            }
            let first = &mut columns[column(point.at)];
            *first = [*first, point.high].into_iter().flatten().reduce(f64::max);
            // The instant at which it ends belongs to the next one.
            let end = end.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(end).max(point.at);
            for highest in columns.iter_mut().take(column(end) + 1).skip(column(point.at)) {
                *highest = [*highest, point.value].into_iter().flatten().reduce(f64::max);
            }
        }
        columns
    }

    /// Of numbers and of our own words only.
    fn shapes(&self, lines: &[Vec<Option<f64>>], top: f64) -> Markup {
        let y = |value: f64| HEIGHT - value.max(0.0) / top * (HEIGHT - 2.0) - 1.0;
        let mut out = String::new();
        let unknown: Vec<bool> = (0..COLUMNS).map(|at| lines.iter().all(|line| line[at].is_none())).collect();
        let mut x = 0;
        for run in unknown.chunk_by(|one, other| one == other) {
            let width = run.len();
            if run[0] {
                let _ = write!(out, "<rect class=\"gap\" x=\"{x}\" width=\"{width}\" height=\"{HEIGHT}\"/>");
            }
            x += width;
        }
        if let Some(objective) = self.objective {
            let y = y(objective);
            let _ = write!(out, "<path class=\"objective\" d=\"M0 {y:.1}H{COLUMNS}\"/>");
        }
        for (number, line) in lines.iter().enumerate() {
            let (mut path, mut x, mut drawing) = (String::new(), 0, false);
            for run in line.chunk_by(|one, other| one == other) {
                if let Some(value) = run[0] {
                    let _ = match drawing {
                        true => write!(path, "V{:.1}", y(value)),
                        false => write!(path, "M{x} {:.1}", y(value)),
                    };
                    let _ = write!(path, "H{}", x + run.len());
                }
                drawing = run[0].is_some();
                x += run.len();
            }
            let _ = write!(out, "<path class=\"line l{number}\" d=\"{path}\"/>");
        }
        PreEscaped(out)
    }

    fn table(&self) -> Markup {
        let columns: Vec<_> = self.lines.iter().map(|(_, points)| self.columns(points, TABLE_ROWS)).collect();
        let step = self.until.duration_since(self.from) / i32::try_from(TABLE_ROWS).unwrap_or(i32::MAX);
        let at = |row: usize| self.from + step * i32::try_from(row).unwrap_or(0);
        html! {
            details id={ "numbers-" (self.id) } {
                summary { "Numbers: " (self.title) }
                table {
                    thead { tr { th scope="col" { "From" } @for (name, _) in &self.lines { th scope="col" { (name) ", at most" } } } }
                    tbody {
                        @for row in 0..TABLE_ROWS {
                            tr {
                                td { (clock(at(row), self.until)) }
                                @for line in &columns { td { (line[row].map_or_else(|| "unknown".to_owned(), self.said)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::sample::now;

    fn chart(points: &[(i64, Option<f64>)]) -> String {
        let at = |second| now() + SignedDuration::from_secs(second);
        let point = |(second, value): &(i64, Option<f64>)| {
            let (at, value) = (at(*second), *value);
            Point { at, value, low: value, high: value }
        };
        let points = points.iter().map(point).collect();
        let said = human::duration;
        let lines = vec![("lag", points)];
        Chart {
            id: "lag".into(),
            title: "Lag".into(),
            lines,
            objective: Some(100.0),
            said,
            from: now(),
            until: at(240),
        }
        .draw()
        .into_string()
    }

    #[test]
    fn steps_last_until_the_next_and_what_is_unknown_is_a_gap() {
        let chart = chart(&[(0, Some(0.0)), (60, Some(50.0)), (120, None), (180, Some(10.0))]);
        assert!(chart.contains("<path class=\"line l0\" d=\"M0 99.0H60V53.6H120M180 89.9H240\"/>"), "{chart}");
        assert!(chart.contains("<rect class=\"gap\" x=\"120\" width=\"60\" height=\"100\"/>"), "{chart}");
        assert!(chart.contains("<path class=\"objective\" d=\"M0 8.3H240\"/>"), "{chart}");
        assert!(chart.contains("<title>Lag: 10s; objective 1m 40s, at most 50s since 00:00:00 UTC</title>"), "{chart}");
        assert_eq!(chart.matches("<td>unknown</td>").count(), 6, "{chart}");
    }

    #[test]
    fn a_peak_of_a_moment_is_seen_and_nothing_known_is_nothing() {
        let peak = chart(&[(0, Some(0.0)), (100, Some(400.0)), (101, Some(0.0))]);
        assert!(peak.contains("H100V"), "{peak}");
        assert_eq!(chart(&[]), "");
        assert_eq!(chart(&[(0, None)]), "");
    }
}
