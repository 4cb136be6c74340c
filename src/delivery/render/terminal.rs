//! Text on a terminal: colours, lines of a block, and cells that stand below each other.

use std::fmt::Write;

use crate::domain::human;
use crate::domain::reason::Reason;

/// Text in a colour (ECMA-48 SGR), such as `32` or `1;31`, where there are colours.
pub fn painted(colour: bool, code: &str, text: &str) -> String {
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Makes the cells of each column equally wide.
pub fn align<const COLUMNS: usize>(rows: &mut [[String; COLUMNS]]) {
    for column in 0..COLUMNS {
        let width = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        rows.iter_mut().for_each(|row| row[column] = format!("{:width$}", row[column]));
    }
}

/// The text, cut where it takes more columns.
pub fn fit(text: &str, columns: usize) -> String {
    match text.char_indices().nth(columns) {
        None => text.to_owned(),
        Some(_) => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The text in lines of at most so many columns, broken between words where there are any.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some((end, next)) = rest.char_indices().nth(columns.max(1)) {
        let space = rest[..end + next.len_utf8()].rfind(' ').filter(|at| *at > 0);
        let (line, more) = rest.split_at(space.unwrap_or(end));
        lines.push(line.to_owned());
        rest = more.trim_start();
    }
    lines.push(rest.to_owned());
    lines
}

/// The width of what is as wide as its lines.
pub const UNCUT: usize = usize::MAX;

/// Where the text of a block's line begins.
const TEXT: usize = 20;

/// A line of a block: what it tells of, and what it tells, in as many lines of at most `width` columns as that takes.
pub fn row(out: &mut String, width: usize, label: &str, text: &str) {
    for (index, part) in wrapped(text, width.saturating_sub(TEXT)).iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        // Writing to a text does not fail.
        let _ = writeln!(out, "  {label:17} {part}");
    }
}

/// Why something is unknown, and what a person can do about it.
pub fn reason(out: &mut String, width: usize, label: &str, reason: &Reason) {
    row(out, width, label, &human::printable(&reason.message));
    if let Some(hint) = &reason.hint {
        row(out, width, "hint", &human::printable(hint));
    }
}
