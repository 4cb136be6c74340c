//! The coverage map and its answers as a table for the terminal.

use std::fmt::Write;

use super::Found;
use crate::delivery::render::timeline::{Cell, LEGEND, cells, lines, sentence, window};
use crate::domain::human;
use crate::domain::limits::BANDS_MAX;
use crate::usecase::restorable::Answer;

/// Columns of the terminal, or 80.
pub(super) fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 40).unwrap_or(80)
}

/// Columns that a name may take before it is cut.
const NAME_COLUMNS: usize = 40;

/// Objects that are shown of one answer, from the first.
const OBJECTS_SHOWN: usize = 12;

/// The blocks of a few replicas, or a line for each of many.
pub(super) fn table(found: &[Found], colour: bool, width: usize) -> String {
    let mut out = String::new();
    if found.len() > BANDS_MAX {
        let names = found.iter().map(|found| name(found).chars().count());
        let column = names.max().unwrap_or(0).min(NAME_COLUMNS);
        for found in found {
            line(&mut out, found, column);
        }
        return out;
    }
    for (index, found) in found.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        block(&mut out, found, colour, width);
    }
    if found.iter().any(|found| found.at.is_none() && found.timeline.as_ref().is_some_and(|map| !map.spans.is_empty()))
    {
        let _ = writeln!(out, "\n{LEGEND}");
    }
    out
}

fn name(found: &Found) -> String {
    let place = human::printable(&found.url);
    found
        .database
        .as_ref()
        .map_or_else(|| place.clone(), |database| format!("{} -> {place}", human::printable(database)))
}

/// One replica of many.
fn line(out: &mut String, found: &Found, column: usize) {
    let says = match (&found.reason, &found.answer, &found.timeline) {
        (Some(reason), ..) => format!("unknown: {}", human::printable(&reason.message)),
        (_, Some(answer), _) => match &answer.blocked {
            None if answer.restorable => format!("restorable: {}", state(answer)),
            None => "not restorable: nothing leads there".to_owned(),
            Some(blocked) => format!("blocked: {}", human::printable(&blocked.detail)),
        },
        (_, _, Some(map)) => sentence(map, found.listed_at),
        _ => "unknown".to_owned(),
    };
    // Writing to a text does not fail, here and below.
    let _ = writeln!(out, "{:column$}  {says}", name(found));
}

/// The position of an answer and how old it is.
fn state(answer: &Answer) -> String {
    let position = answer.position.as_deref().unwrap_or("nothing");
    let at = answer.state_at.map_or_else(|| "unknown".to_owned(), human::instant);
    let older = answer.older_seconds.map_or_else(|| "unknown".to_owned(), human::duration);
    format!("{position} of {at}, {older} before")
}

fn block(out: &mut String, found: &Found, colour: bool, width: usize) {
    let _ = writeln!(out, "{}", name(found));
    let mut row = |label: &str, text: &str| {
        let _ = writeln!(out, "  {label:17} {text}");
    };
    if let Some(reason) = &found.reason {
        row("unknown", &human::printable(&reason.message));
        if let Some(hint) = &reason.hint {
            row("hint", &human::printable(hint));
        }
    }
    if let Some(answer) = &found.answer {
        asked(&mut row, found, answer);
    } else if let (Some(map), None) = (&found.timeline, found.at) {
        if let Some(from) = window(map, found.retention, found.listed_at) {
            let _ = writeln!(out, "  {}", band(&cells(map, from, found.listed_at, width - 4), colour));
            let (from, until) = (human::instant(from), human::instant(found.listed_at));
            let rest = (width - 4).saturating_sub(from.len());
            let _ = writeln!(out, "  {from}{until:>rest$}");
        }
        let mut row = |label: &str, text: &str| {
            let _ = writeln!(out, "  {label:17} {text}");
        };
        row("restorable", &sentence(map, found.listed_at));
        for (index, line) in lines(map).iter().enumerate() {
            row(if index == 0 { "map" } else { "" }, line);
        }
        if let Some(at) = map.cut_off_at {
            row("starts at", &format!("{}: there are too many objects to look further back", human::instant(at)));
        }
        for caveat in &map.caveats {
            row("caveat", &format!("Litestream {}: {}", caveat.releases, human::printable(&caveat.detail)));
        }
    }
    if found.uploaded && found.times == "listing" && found.reason.is_none() && found.layout.is_some() {
        let _ = writeln!(out, "  {:17} those of the uploads, seconds after Litestream's own", "times");
    }
    let _ = writeln!(out, "  {:17} {}", "cost", human::counted(found.requests, "request"));
}

fn asked(row: &mut impl FnMut(&str, &str), found: &Found, answer: &Answer) {
    row("at", &found.at.map_or_else(String::new, human::instant));
    if answer.restorable {
        row("restorable", &state(answer));
    } else if let Some(blocked) = &answer.blocked {
        let (after, before) = (human::printable(&blocked.hole.after), human::printable(&blocked.hole.before));
        row("blocked", &format!("between {after} and {before}: {}", human::printable(&blocked.detail)));
        if answer.position.is_some() {
            row("instead", &format!("an older state is available: {}", state(answer)));
        }
    } else {
        row("not restorable", "there is nothing from that time or before it");
        if let Some(since) = found.timeline.as_ref().and_then(|map| map.since) {
            row("restorable since", &human::instant(since));
        }
    }
    if !answer.objects.is_empty() {
        row("reads", &format!("{}, {}", human::counted(answer.objects.len(), "object"), human::bytes(answer.bytes)));
        for object in answer.objects.iter().take(OBJECTS_SHOWN) {
            row("", &format!("{} {}", human::printable(&object.key), human::bytes(object.size)));
        }
        if let Some(more @ 1..) = answer.objects.len().checked_sub(OBJECTS_SHOWN) {
            row("", &format!("and {more} more"));
        }
    }
}

/// The pieces as blocks, coloured on a terminal (ECMA-48 SGR).
fn band(cells: &[Cell], colour: bool) -> String {
    let mut out = String::new();
    for run in cells.chunk_by(|one, other| one == other) {
        let Some(cell) = run.first() else { continue };
        let text: String = run.iter().map(|cell| cell.glyph()).collect();
        let code = match cell {
            Cell::Nothing => 90,
            Cell::Blocked => 31,
            _ => 32,
        };
        if colour {
            let _ = write!(out, "\x1b[{code}m{text}\x1b[0m");
        } else {
            out.push_str(&text);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_is_told_apart_without_colour() {
        let cells = [Cell::Nothing, Cell::Coarse, Cell::Exact, Cell::Exact, Cell::Blocked];
        assert_eq!(band(&cells, false), "·▒██×");
        assert_eq!(band(&cells[2..], true), "\x1b[32m██\x1b[0m\x1b[31m×\x1b[0m");
    }
}
