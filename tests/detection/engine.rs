//! The built-in engine, as the agent uses it: it is saved after each evaluation, and an agent that begins anew goes on
//! from there.

use std::collections::BTreeMap;

use streamgauge::domain::alert::AlertState;
use streamgauge::domain::alert::book::AlertBook;
use streamgauge::domain::alerting::Alerting;

use crate::judge::Labels;
use crate::world::Seen;

pub(crate) struct Engine {
    alerting: Alerting,
    book: AlertBook,
    /// The agent it belongs to.
    run: usize,
    saved: String,
}

impl Engine {
    pub(crate) fn new(name: &'static str) -> Self {
        let labels = [("job", "streamgauge"), ("instance", name)];
        let labels = labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into();
        let alerting = Alerting { labels, ..Alerting::default() };
        Self { alerting, book: AlertBook::default(), run: 0, saved: String::new() }
    }

    /// The alerts that are pending, and those that fire (`true`).
    pub(crate) fn evaluate(&mut self, seen: &Seen) -> BTreeMap<Labels, bool> {
        let Some(report) = &seen.report else { return BTreeMap::new() };
        if seen.run != self.run {
            (self.run, self.book) = (seen.run, AlertBook::default());
            self.book.restore(&self.saved, &self.alerting, seen.now);
        }
        self.book.evaluate(&report.assessment, &report.verdicts.databases, &self.alerting, seen.now);
        self.saved = self.book.save(seen.now);
        let active = self.book.alerts().iter().filter(|alert| alert.state != AlertState::Resolved);
        active.map(|alert| (alert.labels.clone(), alert.state == AlertState::Firing)).collect()
    }
}
