//! Parts of the report as JSON: `/api/v1/`. Fields are only ever added; what is unknown is `null`.

use http::StatusCode;
use serde::Serialize;

use crate::delivery::asked::{Asked, Problem};
use crate::domain::report::Report;

/// `/api/v1/databases/{name}`: one database as it is in the report.
///
/// # Errors
///
/// When there is none of this name.
pub fn database(report: &Report, asked: &Asked) -> Result<Vec<u8>, Problem> {
    json(&report.database(&asked.name).ok_or_else(|| Problem::not_found("database", &asked.name))?)
}

fn json(what: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let failed = |error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, format!("write JSON: {error}"));
    let mut bytes = serde_json::to_vec(what).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}
