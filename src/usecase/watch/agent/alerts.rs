//! Alerts: evaluated at even intervals on the report as it is, saved and told as they change.

use crate::domain::assessment::Assessment;
use std::sync::Arc;
use std::time::Duration;

use super::{Agent, after};
use crate::domain::alert::book::AlertBook;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::alerting::Alerting;
use crate::domain::assessment::ReceiverReport;
use crate::domain::check::Watching;
use crate::domain::moment::Moment;
use crate::domain::report::Report;
use crate::domain::target::TargetName;
use crate::usecase::ports::{AlertBoard, AlertOutlet, EntryKey, EntryKind};

/// What the agent knows of alerts.
pub(super) struct Alerts {
    book: AlertBook,
    outlet: Option<Arc<dyn AlertOutlet>>,
    /// The instant of the next evaluation. Evaluations count as made then and not a little later, so that a hold of four
    /// intervals has passed with the fifth evaluation.
    due: Moment,
    unsaved: bool,
    /// Who was told what, while it is not saved.
    notified: Option<String>,
    /// The newest of that, saved or not.
    told: Option<String>,
}

impl Alerts {
    pub(super) fn new(outlet: Option<Arc<dyn AlertOutlet>>, now: Moment) -> Self {
        Self { book: AlertBook::default(), outlet, due: now, unsaved: false, notified: None, told: None }
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

    /// All alerts, for a report.
    pub(super) fn list(&self) -> Vec<Arc<Alert>> {
        self.book.alerts().to_vec()
    }

    pub(super) fn dropped(&self) -> usize {
        self.book.dropped()
    }

    pub(super) fn receivers(&self) -> Vec<ReceiverReport> {
        self.outlet.as_ref().map(|outlet| outlet.report()).unwrap_or_default()
    }

    /// How long until the next evaluation.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        Duration::try_from(self.due.mono.saturating_sub(now.mono)).unwrap_or_default()
    }

    /// The instant of the evaluation that is due, if one is.
    fn take_due(&mut self, interval: Duration, now: Moment) -> Option<Moment> {
        if now.mono < self.due.mono {
            return None;
        }
        let due = now.ago(now.since(self.due));
        self.due = after(due, interval);
        if now.mono < self.due.mono {
            return Some(due);
        }
        // Evaluations that were missed are not made up for.
        self.due = after(now, interval);
        Some(now)
    }

    fn tell(&self, report: &Report, at: Moment) {
        let Some(outlet) = &self.outlet else { return };
        let told = self.book.alerts().iter().filter(|alert| alert.state != AlertState::Pending);
        let alerts = told.map(Arc::clone).collect();
        let Assessment { complete, databases, .. } = &report.assessment;
        outlet.tell(AlertBoard { at: at.wall, complete: *complete, databases: databases.len(), alerts });
    }

    /// The entries of the journal that are to be written; with `last`, whether they changed or not.
    pub(super) fn unsaved(&mut self, last: bool, now: Moment) -> Vec<(EntryKey, String)> {
        let told = self.outlet.as_ref().and_then(|outlet| outlet.unsaved());
        let mut notified = told.or_else(|| self.notified.take());
        self.notified = None;
        if let Some(text) = &notified {
            self.told = Some(text.clone());
        } else if last {
            notified.clone_from(&self.told);
        }
        let notified = notified.map(|text| (EntryKey::only(EntryKind::Notified), text));
        let alerts = (std::mem::take(&mut self.unsaved) || last)
            .then(|| (EntryKey::only(EntryKind::Alerts), self.book.save(now)));
        alerts.into_iter().chain(notified).collect()
    }

    /// An entry could not be written.
    pub(super) fn not_saved(&mut self, kind: EntryKind, text: String) {
        match kind {
            EntryKind::Alerts => self.unsaved = true,
            // What the outlet gives once it changed again is newer.
            EntryKind::Notified => self.notified = Some(text),
            EntryKind::Target | EntryKind::Objects | EntryKind::Names | EntryKind::Sources => {}
        }
    }
}

impl Agent {
    /// Evaluates all rules if it is time to.
    pub(super) fn evaluate_alerts(&mut self, now: Moment) {
        let Some(at) = self.alerts.take_due(self.configured.alerting.evaluation_interval, now) else { return };
        let fresh = !self.dirty.is_empty() || !self.moving.is_empty();
        let mut report = self.assemble(now);
        let changed = self.alerts.book.evaluate(&report.assessment, &self.configured.alerting, at);
        // A verdict that time alone turned is shown as the alert is.
        let turned: Vec<_> = self.alerts.book.turned().map(|name| TargetName(name.to_owned())).collect();
        for name in &turned {
            if let Some(subject) = self.subjects.get_mut(name) {
                subject.rebuild(&self.configured.pace, now);
            }
        }
        if !turned.is_empty() {
            report.assessment.databases = self.databases();
            report.verdicts = self.judge.judge(&report.assessment, now.wall, Watching::Continuously);
        }
        report.alerts = self.alerts.list();
        report.alerts_dropped = self.alerts.dropped();
        self.alerts.tell(&report, at);
        // The numbers of alerts follow time as well.
        if fresh || changed || !turned.is_empty() || !report.alerts.is_empty() {
            self.published = now;
            self.publisher.publish(report);
        }
        self.alerts.unsaved |= changed;
        self.save_alerts();
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, Timestamp};

    use super::*;

    fn at(millis: i64) -> Moment {
        Moment {
            wall: Timestamp::from_millisecond(1_000_000 + millis).unwrap(),
            mono: SignedDuration::from_millis(millis),
        }
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
