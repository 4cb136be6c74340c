//! The coverage map as a band and in words.

use std::fmt::Write;

use jiff::Timestamp;
use maud::{Markup, PreEscaped, html};

use crate::domain::human;
use crate::domain::litestream::Hole;
use crate::domain::timeline::{Blocked, Span, TimelineReport};

/// A piece of the band.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    /// Nothing restores: before the first snapshot, or not known.
    Nothing,
    /// States at most ten seconds apart, or every state that was replicated.
    Exact,
    /// At most ten minutes.
    Fine,
    /// At most two hours.
    Coarse,
    Coarser,
    Blocked,
}

impl Cell {
    /// In the terminal: told apart without colour.
    pub fn glyph(self) -> char {
        self.looks().0
    }

    /// The glyph of the terminal, and the class of the page's style.
    fn looks(self) -> (char, &'static str) {
        match self {
            Self::Nothing => ('·', "n"),
            Self::Exact => ('█', "r"),
            Self::Fine => ('▓', "r f"),
            Self::Coarse => ('▒', "r c"),
            Self::Coarser => ('░', "r d"),
            Self::Blocked => ('×', "b"),
        }
    }

    fn of(span: &Span) -> Self {
        if span.blocked.is_some() {
            return Self::Blocked;
        }
        match span.typical_seconds {
            None => Self::Exact,
            Some(seconds) if seconds <= 10.0 => Self::Exact,
            Some(seconds) if seconds <= 600.0 => Self::Fine,
            Some(seconds) if seconds <= 7200.0 => Self::Coarse,
            Some(_) => Self::Coarser,
        }
    }
}

/// The meaning of the band's glyphs.
pub const LEGEND: &str =
    "█ every state, or one in 10 s · ▓ one in 10 min · ▒ one in 2 h · ░ fewer · × blocked · · nothing restores";

/// From when on the band is drawn: the retention that is wanted, else the first span.
pub fn window(map: &TimelineReport, retention: Option<std::time::Duration>, until: Timestamp) -> Option<Timestamp> {
    let wanted =
        retention.and_then(|retention| until.checked_sub(jiff::SignedDuration::try_from(retention).ok()?).ok());
    wanted.or_else(|| map.spans.first().map(|span| span.from))
}

/// The band in `count` pieces of equal length. What is worst in a piece is what it shows, so that no gap is too short to
/// be seen. The newest state lasts until `known`, and what is after that is not known to restore.
pub fn cells(map: &TimelineReport, from: Timestamp, until: Timestamp, known: Timestamp, count: usize) -> Vec<Cell> {
    let start = from.as_nanosecond();
    let length = (until.as_nanosecond() - start).max(1);
    let mut cells = vec![Cell::Nothing; count];
    let cell = |at: Timestamp| {
        let part = (at.as_nanosecond() - start).clamp(0, length) * count as i128 / length;
        usize::try_from(part).unwrap_or(0).min(count.saturating_sub(1))
    };
    let last = map.spans.len().saturating_sub(1);
    for (index, span) in map.spans.iter().enumerate() {
        let end = if index == last { known.min(until).max(span.from) } else { span.until };
        if end < from || span.from > until {
            continue;
        }
        // The instant at which a span ends belongs to the next one.
        let end = end.as_nanosecond().saturating_sub(1).max(span.from.as_nanosecond());
        let end = Timestamp::from_nanosecond(end).unwrap_or(span.until);
        for cell in cells.iter_mut().take(cell(end) + 1).skip(cell(span.from)) {
            *cell = (*cell).max(Cell::of(span));
        }
    }
    cells
}

/// The band as an image for the page, with what it says in words. `known`: up to when it is known what restores; without it,
/// that is the newest object.
pub fn svg(map: &TimelineReport, from: Timestamp, until: Timestamp, known: Option<Timestamp>) -> Markup {
    const PIECES: usize = 120;
    let newest = map.spans.last().map_or(from, |span| span.from);
    let cells = cells(map, from, until, known.unwrap_or(newest), PIECES);
    // Written by hand for the sake of `/>`, of numbers and of our own words only.
    let mut pieces = String::new();
    let mut x = 0;
    for run in cells.chunk_by(|one, other| one == other) {
        if let Some(cell) = run.first() {
            let (class, width) = (cell.looks().1, run.len());
            // Writing to a text does not fail.
            let _ = write!(pieces, "<rect class=\"{class}\" x=\"{x}\" width=\"{width}\" height=\"10\"/>");
        }
        x += run.len();
    }
    html! {
        svg class="band" role="img" viewBox={ "0 0 " (PIECES) " 10" } preserveAspectRatio="none" {
            title { (sentence(map, until)) }
            (PreEscaped(pieces))
        }
    }
}

/// In one line, such as `since 2026-11-20 08:00:00Z, 2d 3h; 1 gap of 3m`.
pub fn sentence(map: &TimelineReport, now: Timestamp) -> String {
    let Some(since) = map.since else {
        let blocked = map.spans.first().and_then(|span| span.blocked.as_ref());
        return blocked.map_or_else(
            || "nothing restores".to_owned(),
            |blocked| format!("no point in time restores: {}", human::printable(&blocked.detail)),
        );
    };
    let age = human::duration(human::age_seconds(since, now));
    let gaps = match map.largest_gap_seconds {
        None => "no gaps".to_owned(),
        Some(longest) => {
            let of = human::agree(&map.gaps, " of", ", the longest");
            format!("{}{of} {}", human::counted(map.gaps, "gap"), human::duration(longest))
        }
    };
    let now = if map.restorable_now() { "" } else { "; the latest state cannot be restored" };
    format!("since {}, {age}; {gaps}{now}", human::instant(since))
}

/// How exact a stretch is. `named`: only names tell.
fn exactness(span: &Span, named: bool) -> String {
    let states = match span.points {
        0 => "no state of its own".to_owned(),
        points => human::counted(points, "state"),
    };
    match span.typical_seconds {
        None if named => format!("every state that names show, {states}"),
        None => format!("every state, {states}"),
        Some(typical) if span.resolution_seconds > 2.0 * typical => {
            let (typical, longest) = (human::duration(typical), human::duration(span.resolution_seconds));
            format!("resolution {typical}, at worst {longest}, {states}")
        }
        Some(_) => format!("resolution {}, {states}", human::duration(span.resolution_seconds)),
    }
}

/// Where something is missing, and what.
pub fn obstacle(blocked: &Blocked) -> String {
    let Blocked { hole: Hole { after, before }, detail, .. } = blocked;
    human::printable(&format!("between {after} and {before}: {detail}"))
}

/// A line for each stretch, oldest first. `named`: only names tell.
pub fn lines(map: &TimelineReport, named: bool) -> Vec<String> {
    let line = |span: &Span| {
        let (from, length) = (human::instant(span.from), human::duration(span.duration()));
        match &span.blocked {
            None => format!("{from}  {length}: {}", exactness(span, named)),
            Some(blocked) => format!("{from}  {length}: blocked {}", obstacle(blocked)),
        }
    };
    map.spans.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn map() -> TimelineReport {
        let span = |from, until, typical, blocked: bool| Span {
            from: second(from),
            until: second(until),
            points: 9,
            resolution_seconds: 3600.0_f64.min(typical * 3.0),
            typical_seconds: (typical > 0.0).then_some(typical),
            blocked: blocked.then(|| {
                let detail = "TXIDs 6 to 7 are in no file".to_owned();
                Box::new(Blocked { hole: Hole { after: 5, before: 8 }.spoken(), key: None, detail })
            }),
        };
        let spans = vec![
            span(0, 36_000, 3600.0, false),
            span(36_000, 36_010, 0.0, true),
            span(36_010, 39_000, 30.0, false),
            span(39_000, 40_000, 0.0, false),
        ];
        TimelineReport { spans, gaps: 1, largest_gap_seconds: Some(10.0), since: Some(second(0)), ..Default::default() }
    }

    #[test]
    fn no_gap_is_too_short_to_be_seen() {
        let band = |from, count| {
            cells(&map(), second(from), second(40_000), second(40_000), count).into_iter().map(Cell::glyph)
        };
        assert_eq!(band(0, 20).collect::<String>(), "▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒×▓");
        assert_eq!(band(-40_000, 20).collect::<String>(), "··········▒▒▒▒▒▒▒▒▒×");
        assert_eq!(band(39_500, 4).collect::<String>(), "████");
        let nothing = cells(&TimelineReport::default(), second(0), second(10), second(10), 3);
        assert_eq!(nothing, [Cell::Nothing; 3]);
    }

    #[test]
    fn words_say_what_the_band_shows() {
        assert_eq!(sentence(&map(), second(40_000)), "since 2026-01-01 00:00:00Z, 11h 6m; 1 gap of 10s");
        assert_eq!(sentence(&TimelineReport::default(), second(0)), "nothing restores");
        let blocked = TimelineReport { spans: map().spans.split_off(1), ..TimelineReport::default() };
        assert_eq!(sentence(&blocked, second(0)), "no point in time restores: TXIDs 6 to 7 are in no file");
        let expected = [
            "2026-01-01 00:00:00Z  10h: resolution 1h, 9 states",
            "2026-01-01 10:00:00Z  10s: blocked between 5 and 8: TXIDs 6 to 7 are in no file",
            "2026-01-01 10:00:10Z  49m 50s: resolution 30s, at worst 1m 30s, 9 states",
            "2026-01-01 10:50:00Z  16m 40s: every state, 9 states",
        ];
        assert_eq!(lines(&map(), false), expected);
        assert!(lines(&map(), true)[3].ends_with(": every state that names show, 9 states"));
    }

    #[test]
    fn the_image_has_a_title_and_no_holes() {
        let image = svg(&map(), second(0), second(40_000), Some(second(40_000))).into_string();
        assert!(image.contains("<title>since 2026-01-01 00:00:00Z, 11h 6m; 1 gap of 10s</title>"), "{image}");
        let widths = image.split("width=\"").skip(1).filter_map(|rest| rest.split('"').next()?.parse::<u32>().ok());
        assert_eq!(widths.sum::<u32>(), 120);
        assert!(image.contains("<rect class=\"b\" x=\"108\" width=\"1\""), "{image}");
    }
}
