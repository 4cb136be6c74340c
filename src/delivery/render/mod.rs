//! Renderings of the report: metrics, JSON, page, and the cell from which they are served.

pub mod alertmanager;
pub mod api;
pub mod assets;
pub mod dashboards;
pub mod drill_report;
#[cfg(test)]
mod grammar;
pub mod held;
mod html;
pub mod json;
mod markdown;
pub mod metrics;
pub mod page;
pub mod pieces;
mod promql;
pub mod published;
pub mod rules;
pub mod runbook;
pub mod terminal;
pub mod timeline;
