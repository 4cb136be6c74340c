//! The metric families: one table, from which `/metrics`, `streamgauge metrics` and `docs/METRICS.md` all come.
//!
//! To add a metric, add one entry to the area it belongs to. A family whose value is unknown has no sample, and a family
//! without samples is left out of the exposition altogether.

mod agent;
pub mod catalogue;
mod database;
mod drill;
mod family;
mod notification;
mod replica;
mod store;
mod text;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

pub use family::{Family, Kind, Sink};
pub use text::to_text;

use crate::domain::report::Report;

/// Every family, in reading order.
pub fn families() -> impl Iterator<Item = &'static Family> {
    FAMILIES.iter().flat_map(|area| area.iter())
}

/// The areas, in reading order.
pub static FAMILIES: &[&[Family]] =
    &[agent::FAMILIES, database::FAMILIES, replica::FAMILIES, drill::FAMILIES, store::FAMILIES, notification::FAMILIES];

/// The report in OpenMetrics 1.0 text, with its `# EOF`.
pub fn openmetrics(report: &Arc<Report>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Exposition(Arc::clone(report))));
    let mut out = String::new();
    // A String takes everything and the collector itself has no other error.
    let _ = prometheus_client::encoding::text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Exposition(Arc<Report>);

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        families().try_for_each(|family| family.encode(&self.0, &mut encoder))
    }
}

#[cfg(test)]
mod tests;
