//! Renderings of the report: metrics, JSON, page, and the cell from which they are served.

pub mod alertmanager;
pub mod api;
pub mod assets;
pub mod drill_report;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod grammar;
mod html;
pub mod json;
mod markdown;
pub mod metrics;
pub mod page;
pub mod published;
pub mod rules;
pub mod runbook;
pub mod timeline;
