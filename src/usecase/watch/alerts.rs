//! Alerts: evaluated at even intervals on the report as it is, saved and told as they change.

use std::sync::Arc;
use std::time::Duration;

use super::telling::AlertTelling;
use crate::domain::alert::AlertState;
use crate::domain::alert::book::AlertBook;
use crate::domain::alerting::Alerting;
use crate::domain::assessment::{Assessment, ReceiverReport};
use crate::domain::moment::Moment;
use crate::domain::target::TargetName;
use crate::domain::verdict::Judgement;
use crate::usecase::ports::{AlertBoard, AlertOutlet, Configuration, EntryKey, EntryKind};

/// The agent's state of alerts.
pub(super) struct Alerts {
    pub(super) book: AlertBook,
    outlet: Option<Arc<dyn AlertOutlet>>,
    /// The instant of the next evaluation. Evaluations count as made then and not a little later, so that a hold of four
    /// intervals has passed with the fifth evaluation.
    due: Moment,
    telling: AlertTelling,
    unsaved: bool,
    /// Who was told what.
    told: Option<String>,
    told_unsaved: bool,
}

impl Alerts {
    pub(super) fn new(outlet: Option<Arc<dyn AlertOutlet>>, now: Moment) -> Self {
        let (book, telling) = (AlertBook::default(), AlertTelling::default());
        Self { book, outlet, due: now, telling, unsaved: false, told: None, told_unsaved: false }
    }

    /// Takes over what an earlier run saved.
    pub(super) fn restore(
        &mut self,
        alerts: Option<String>,
        notified: Option<String>,
        alerting: &Alerting,
        now: Moment,
    ) {
        if let Some(saved) = alerts {
            self.book.restore(&saved, alerting, now);
            self.telling.restore(self.book.alerts());
        }
        if let (Some(outlet), Some(saved)) = (&self.outlet, notified) {
            outlet.restore(&saved);
            self.told = Some(saved);
        }
    }

    pub(super) fn configure(&self, alerting: &Alerting) {
        if let Some(outlet) = &self.outlet {
            outlet.configure(alerting);
        }
    }

    pub(super) fn receivers(&self) -> Vec<ReceiverReport> {
        self.outlet.as_ref().map(|outlet| outlet.report()).unwrap_or_default()
    }

    /// How long until the next evaluation.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        now.until(self.due.mono())
    }

    /// The instant of the evaluation that is due, if one is.
    pub(super) fn take_due(&mut self, interval: Duration, now: Moment) -> Option<Moment> {
        if now.mono() < self.due.mono() {
            return None;
        }
        let due = now.ago(now.since(self.due));
        self.due = due.after(interval);
        if now.mono() < self.due.mono() {
            return Some(due);
        }
        // Evaluations that were missed are not made up for.
        self.due = now.after(interval);
        Some(now)
    }

    /// Evaluates all rules. `true` when alerts changed, and whose verdicts time alone turned.
    pub(super) fn evaluate(
        &mut self,
        assessment: &Assessment,
        judged: &[Judgement],
        alerting: &Alerting,
        at: Moment,
    ) -> (bool, Vec<TargetName>) {
        let changed = self.book.evaluate(assessment, judged, alerting, at);
        self.unsaved |= changed;
        (changed, self.book.turned().map(TargetName::from).collect())
    }

    /// Tells the log of what changed.
    pub(super) fn log(&mut self, configuration: &dyn Configuration) {
        self.telling.tell(self.book.alerts(), configuration);
    }

    pub(super) fn tell(&self, assessment: &Assessment, at: Moment) {
        let Some(outlet) = &self.outlet else { return };
        let told = self.book.alerts().iter().filter(|alert| alert.state != AlertState::Pending);
        let alerts = told.map(Arc::clone).collect();
        let (complete, databases) = (assessment.complete, assessment.databases.len());
        outlet.tell(AlertBoard { at: at.wall(), complete, databases, alerts });
    }

    /// The entries of the journal that are to be written; with `last`, whether they changed or not.
    pub(super) fn unsaved(&mut self, last: bool, now: Moment) -> Vec<(EntryKey, String)> {
        if let Some(told) = self.outlet.as_ref().and_then(|outlet| outlet.unsaved()) {
            (self.told, self.told_unsaved) = (Some(told), true);
        }
        let told = self.told.as_ref().filter(|_| std::mem::take(&mut self.told_unsaved) || last);
        let told = told.map(|text| (EntryKey::only(EntryKind::Notified), text.clone()));
        let alerts = (std::mem::take(&mut self.unsaved) || last)
            .then(|| (EntryKey::only(EntryKind::Alerts), self.book.save(now)));
        alerts.into_iter().chain(told).collect()
    }

    /// What was saved is lost.
    pub(super) fn not_saved(&mut self) {
        (self.unsaved, self.told_unsaved) = (true, true);
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn at(millis: i64) -> Moment {
        Moment::new(Timestamp::from_millisecond(1_000_000 + millis).unwrap(), SignedDuration::from_millis(millis))
    }

    #[test]
    fn evaluations_lie_on_a_grid_and_missed_ones_are_left_out() {
        let mut alerts = Alerts::new(None, at(0));
        let mut due = |millis| alerts.take_due(Duration::from_secs(15), at(millis));
        assert_eq!(due(400), Some(at(0)));
        assert_eq!(due(14_999), None);
        assert_eq!(due(15_700), Some(at(15_000)));
        assert_eq!(due(30_001), Some(at(30_000)));
        assert_eq!(due(70_000), Some(at(70_000)));
        assert_eq!(due(84_999), None);
        assert_eq!(due(85_000), Some(at(85_000)));
    }
}
