//! `/metrics`: every [number](crate::domain::number) of a report, in two formats, and the reference that describes them.
//!
//! A number whose value is unknown has no sample, and a family without samples is left out of the exposition altogether.

pub mod catalogue;
mod exposition;
mod family;
mod packed;
mod text;

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;

pub use exposition::{Exposition, Format};
pub use text::to_text;

use self::family::Origin;
use crate::domain::assessment::Totals;
use crate::domain::number::{self, Scope};
use crate::domain::report::Report;

/// The report in OpenMetrics 1.0 text, with its `# EOF`: all of it at once, for whoever asks only once.
pub fn openmetrics(report: &Arc<Report>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Whole(Arc::clone(report))));
    let mut out = String::new();
    // A String takes everything and the collector itself has no other error.
    let _ = prometheus_client::encoding::text::encode(&mut out, &registry);
    out
}

#[derive(Debug)]
struct Whole(Arc<Report>);

impl Collector for Whole {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let Report { assessment, .. } = &*self.0;
        let totals = Totals::of(assessment.databases.iter().map(|database| &**database));
        // Numbers of one scope stand together: what they are about is gone through once for all of them.
        let (mut scope, mut subjects) = (Scope::Outside, Vec::new());
        number::all().try_for_each(|number| {
            if number.scope != scope {
                (scope, subjects) = (number.scope, number.scope.subjects(assessment).collect());
            }
            let (selection, judged) = (&assessment.selection, self.0.judged());
            let from = Origin { selection, subjects: &subjects, judged, report: Some((&self.0, &totals)) };
            family::encode(number, from, &mut encoder)
        })
    }
}

#[cfg(test)]
mod tests;
