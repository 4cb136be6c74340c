//! The report as JSON: `/api/v1/report` and `check --format json`. Its version is the field `schema`.

use std::fmt::Write;

use serde::Serialize;

use crate::domain::check::checklist::{ItemReport, checklist};
use crate::domain::printable::is_unseen;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// The report, and what its checks say of the production checklist.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Report"))]
pub(crate) struct Document<'a> {
    #[serde(flatten)]
    #[cfg_attr(test, schemars(with = "crate::domain::report::Document<'_>"))]
    report: &'a Report,
    /// All verdicts in one word, as the exit code of `check` has it.
    status: Word,
    /// The production checklist, in reading order.
    checklist: Vec<ItemReport>,
}

/// A value as people read it, with a line feed behind it.
///
/// # Errors
///
/// When it has something that JSON has no form for.
pub fn pretty(value: &impl Serialize) -> Result<String, Reason> {
    serde_json::to_string_pretty(value).map(|text| harmless(text) + "\n").map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Reason {
    Reason::new(ReasonKind::Failed, format!("write JSON: {error}"))
}

/// The whole report in one line; fields that are unknown are `null`.
///
/// # Errors
///
/// As [`pretty`].
pub fn json(report: &Report) -> Result<String, Reason> {
    line(&Document { report, status: report.word(), checklist: checklist(&report.verdicts) })
}

/// A value in one line.
///
/// # Errors
///
/// As [`pretty`].
pub fn line(value: &impl Serialize) -> Result<String, Reason> {
    serde_json::to_string(value).map(|text| harmless(text) + "\n").map_err(unwritable)
}

/// The same values, with an escape for each character that JSON leaves as it is although a terminal would obey it.
pub fn harmless(json: String) -> String {
    // Line feeds only stand between values; in a string they are escaped already.
    let obeyed = |character: char| is_unseen(character) && character != '\n';
    if !json.chars().any(obeyed) {
        return json;
    }
    json.chars().fold(String::with_capacity(json.len() + 64), |mut text, character| {
        match obeyed(character) {
            // A String takes everything.
            true => drop(write!(text, "\\u{:04x}", u32::from(character))),
            false => text.push(character),
        }
        text
    })
}
