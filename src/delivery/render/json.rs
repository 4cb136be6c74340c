//! The report as JSON: `/api/v1/report` and `check --format json`. Its version is the field `schema`.

use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::Report;

/// The whole report; fields that are unknown are `null`.
pub fn json(report: &Report) -> Result<Vec<u8>, Reason> {
    let mut bytes = serde_json::to_vec(report)
        .map_err(|error| Reason::new(ReasonKind::Failed, format!("write report as json: {error}")))?;
    bytes.push(b'\n');
    Ok(bytes)
}
