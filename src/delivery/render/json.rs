//! The report as JSON: `/api/v1/report` and `check --format json`. Its version is the field `schema`.

use serde::Serialize;

use crate::domain::check::checklist::{ItemReport, checklist};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;
use crate::domain::verdict::Word;

/// The report, and what its checks say of the production checklist.
#[derive(Serialize)]
struct Document<'a> {
    #[serde(flatten)]
    report: &'a Report,
    /// All verdicts in one word, as the exit code of `check` has it.
    status: Word,
    checklist: Vec<ItemReport>,
}

/// The whole report; fields that are unknown are `null`.
pub fn json(report: &Report) -> Result<Vec<u8>, Reason> {
    let mut bytes =
        serde_json::to_vec(&Document { report, status: report.word(), checklist: checklist(&report.verdicts) })
            .map_err(|error| Reason::new(ReasonKind::Failed, format!("write report as json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}
