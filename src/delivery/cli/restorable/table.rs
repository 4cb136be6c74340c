//! The coverage map and its answers as a table for the terminal.

use std::fmt::Write;

use jiff::SignedDuration;

use super::{Found, Standing};
use crate::delivery::cli::output::WIDTH;
use crate::delivery::render::terminal::{UNCUT, fit, painted, reason, row, wrapped};
use crate::delivery::render::timeline::{Cell, LEGEND, cells, lines, obstacle, sentence, window};
use crate::domain::human;
use crate::domain::limits::BANDS_MAX;
use crate::usecase::restorable::Answer;

/// Columns that a name may take before it is cut.
const NAME_COLUMNS: usize = 40;

/// Objects that are shown of one answer, from the first.
const OBJECTS_SHOWN: usize = 12;

/// An upload that comes later after Litestream made the file is not the usual one.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// What names of v0.3 cannot tell.
const UNREAD: &str = "segments: if one is missing inside a WAL index, that shows only when they are read, by check \
                      --verify content, a drill or restore";

/// What names never tell, and who would know.
fn contents(found: &Found) -> &'static str {
    match &found.damaged {
        Some(damaged) if !damaged.is_empty() => "contents: only the damage that the agent found is known",
        Some(_) => "contents: the agent of this host has found no damage so far",
        None => "contents: damage is found by check --verify content, a drill, or an agent on this host",
    }
}

/// The blocks of a few replicas, or a line for each of many, in at most `width` columns or [`UNCUT`].
pub(super) fn table(found: &[Found], colour: bool, width: usize) -> String {
    let mut out = String::new();
    if found.len() > BANDS_MAX {
        let names = found.iter().map(|found| name(found).chars().count());
        let column = names.max().unwrap_or(0).min(NAME_COLUMNS);
        for found in found {
            line(&mut out, found, column, width);
        }
        if found.iter().any(|found| found.damaged.is_none()) {
            let not_read =
                "not read: contents; damage is found by check --verify content, a drill, or an agent on this host";
            // Writing to a text does not fail, here and below.
            let _ = writeln!(out, "\n{}", wrapped(not_read, width).join("\n"));
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
        let _ = writeln!(out, "\n{}", wrapped(LEGEND, width).join("\n"));
    }
    out
}

fn name(found: &Found) -> String {
    let database = found.database.as_ref().map(|database| format!("{database} -> "));
    human::printable(&format!("{}{}", database.unwrap_or_default(), found.url))
}

/// One replica of many.
fn line(out: &mut String, found: &Found, column: usize, width: usize) {
    let says = match (&found.reason, &found.answer, &found.timeline) {
        (Some(reason), ..) => format!("unknown: {}", human::printable(&reason.message)),
        (_, Some(answer), _) => match &answer.blocked {
            None if answer.restorable => format!("restorable: {}{}", state(answer), doubt(found)),
            None => "not restorable: nothing leads there".to_owned(),
            Some(blocked) => format!("blocked: {}", human::printable(&blocked.detail)),
        },
        (_, _, Some(map)) => format!("{}{}", sentence(map, found.listed_at), doubt(found)),
        _ => "unknown".to_owned(),
    };
    let name = if width == UNCUT { name(found) } else { fit(&name(found), column) };
    for (index, part) in wrapped(&says, width.saturating_sub(column + 2)).iter().enumerate() {
        let name = if index == 0 { &*name } else { "" };
        let _ = writeln!(out, "{name:column$}  {part}");
    }
}

/// Which doubt is left when all names are there.
fn doubt(found: &Found) -> &'static str {
    if found.named && found.status == Standing::Restorable { " as far as names show" } else { "" }
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
    if let Some(why) = &found.reason {
        reason(out, width, "unknown", why);
    }
    if let Some(answer) = &found.answer {
        asked(out, found, answer, width);
    } else if let (Some(map), None) = (&found.timeline, found.at) {
        if let Some(from) = window(map, found.retention, found.listed_at) {
            let columns = if width == UNCUT { WIDTH } else { width } - 4;
            let _ = writeln!(out, "  {}", band(&cells(map, from, found.listed_at, found.listed_at, columns), colour));
            let (from, until) = (human::instant(from), human::instant(found.listed_at));
            let rest = columns.saturating_sub(from.len());
            let _ = writeln!(out, "  {from}{until:>rest$}");
        }
        row(out, width, "restorable", &format!("{}{}", sentence(map, found.listed_at), doubt(found)));
        for (index, line) in lines(map, found.named).iter().enumerate() {
            row(out, width, if index == 0 { "map" } else { "" }, line);
        }
        if let Some(at) = map.cut_off_at {
            row(
                out,
                width,
                "starts at",
                &format!("{}: there are too many objects to look further back", human::instant(at)),
            );
        }
        for caveat in &map.caveats {
            row(out, width, "caveat", &format!("Litestream {}: {}", caveat.releases, human::printable(&caveat.detail)));
        }
    }
    for damaged in found.damaged.iter().flatten() {
        let (key, detail) = (human::printable(&damaged.key), human::printable(&damaged.detail));
        row(
            out,
            width,
            "damaged",
            &format!("{key}: {detail} (the agent of this host, {})", human::instant(damaged.seen_at)),
        );
    }
    if found.timeline.is_some() {
        row(out, width, "not read", contents(found));
    }
    if found.named {
        row(out, width, "", UNREAD);
    }
    if found.uploaded && found.times == "listing" && found.reason.is_none() && found.layout.is_some() {
        row(out, width, "times", &uploads(found.late));
    }
    if found.copied {
        row(out, width, "times", "those of the headers; Litestream goes by those of the files, which are of a copy");
    }
    row(out, width, "cost", &human::counted(found.requests, "request"));
}

/// What the times of uploads are worth.
fn uploads(late: Option<SignedDuration>) -> String {
    match late {
        Some(late) if late > LATE => format!(
            "those of the uploads, the oldest {} after Litestream's own, as in a copy: --at reads Litestream's",
            human::duration(late.as_secs_f64())
        ),
        Some(_) => "those of the uploads, seconds after Litestream's own".to_owned(),
        // The file that would tell could not be read; of v0.3, Litestream itself knows no other times.
        None => "those of the uploads".to_owned(),
    }
}

fn asked(out: &mut String, found: &Found, answer: &Answer, width: usize) {
    row(out, width, "at", &found.at.map_or_else(String::new, human::instant));
    if answer.restorable {
        row(out, width, "restorable", &format!("{}{}", state(answer), doubt(found)));
    } else if let Some(blocked) = &answer.blocked {
        row(out, width, "blocked", &obstacle(blocked));
        if answer.position.is_some() {
            row(out, width, "instead", &format!("an older state is available: {}", state(answer)));
        }
    } else {
        row(out, width, "not restorable", "there is nothing from that time or before it");
        if let Some(since) = found.timeline.as_ref().and_then(|map| map.since) {
            row(out, width, "restorable since", &human::instant(since));
        }
    }
    if !answer.objects.is_empty() {
        row(
            out,
            width,
            "reads",
            &format!("{}, {}", human::counted(answer.objects.len(), "object"), human::bytes(answer.bytes)),
        );
        for object in answer.objects.iter().take(OBJECTS_SHOWN) {
            row(out, width, "", &format!("{} {}", human::printable(&object.key), human::bytes(object.size)));
        }
        if let Some(more @ 1..) = answer.objects.len().checked_sub(OBJECTS_SHOWN) {
            row(out, width, "", &format!("and {more} more"));
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
            Cell::Nothing => "90",
            Cell::Blocked => "31",
            _ => "32",
        };
        out.push_str(&painted(colour, code, &text));
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

    #[test]
    fn a_copy_in_a_bucket_is_not_said_to_have_litestreams_times() {
        let told = |seconds| uploads(Some(SignedDuration::from_secs(seconds)));
        assert_eq!(told(2), format!("{}, seconds after Litestream's own", uploads(None)));
        assert!(
            told(1200).starts_with("those of the uploads, the oldest 20m after Litestream's own"),
            "{}",
            told(1200)
        );
    }

    /// Everything that a block can say, a few and many of them.
    #[test]
    fn lines_fit_the_terminal() {
        let map = crate::domain::report::sample::everything();
        let map =
            map.assessment.databases.iter().find_map(|database| database.replicas.first()?.timeline.clone()).unwrap();
        let found = Found {
            database: Some("a-database-with-a-name".to_owned()),
            url: "s3://a-bucket-with-a-name/and/a/folder".to_owned(),
            timeline: Some((*map).clone()),
            listed_at: crate::domain::report::sample::now(),
            damaged: Some(Vec::new()),
            named: true,
            copied: true,
            ..Found::default()
        };
        for count in [1, 20] {
            let found = vec![found.clone(); count];
            let text = table(&found, false, 80);
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let uncut = table(&found, false, UNCUT);
            if count == 1 {
                assert_eq!(words(&text), words(&uncut), "nothing is left out");
            }
            assert!(uncut.lines().any(|line| line.chars().count() > 80), "{uncut}");
        }
    }
}
