//! The report: built anew where something changed, and handed out.

use super::Agent;
use crate::domain::assessment::{AgentReport, Assessment};
use crate::domain::moment::Moment;
use crate::domain::report::Report;
use crate::usecase::watch::telling;

impl Agent {
    /// Builds what changed anew and hands the report out.
    pub(super) fn publish(&mut self, now: Moment) {
        let report = self.assemble(now);
        self.hand_out(report, now);
    }

    fn hand_out(&mut self, report: Report, now: Moment) {
        self.published = now;
        self.shared.publish = false;
        self.publisher.publish(report);
    }

    /// Everything as it is, with what changed built anew.
    fn assemble(&mut self, now: Moment) -> Report {
        let shared = &mut self.shared;
        let pace = &shared.configured.pace;
        let changed = shared.fleet.rebuild(pace, now);
        for subject in changed.iter().filter_map(|name| shared.fleet.subjects.get(name)) {
            self.recorder.record(&subject.report, now.wall);
        }
        let databases = shared.fleet.reports();
        let mut stores = shared.stores.report();
        let counted = now.wall.duration_since(self.report.started_at).as_secs_f64();
        let mut agent = AgentReport {
            collectors: shared.collectors.report(&shared.fleet, pace),
            cost: shared.configured.costs.report(&mut stores, &databases, counted),
            stores,
            receivers: self.alerts.receivers(),
            process: (self.process)(),
            state: self.memory.state.clone(),
            ..self.report.clone()
        };
        self.duties.iter().for_each(|duty| duty.report(shared, now, &mut agent));
        let (complete, over_limit) = (shared.fleet.is_complete(), shared.configured.over_limit);
        let assessment = Assessment { complete, agent, databases, over_limit };
        let report = Report {
            generated_at: now.wall,
            verdicts: self.judge.judge(&assessment, now.wall),
            assessment,
            alerts: self.alerts.list(),
            alerts_dropped: self.alerts.dropped(),
            history: self.recorder.history(),
        };
        let changed = changed.iter().filter_map(|name| shared.fleet.subjects.get(name));
        telling::tell(changed.flat_map(|subject| self.telling.compare(subject, &report, now)).collect());
        report
    }

    /// Evaluates all rules if it is time to.
    pub(super) fn evaluate_alerts(&mut self, now: Moment) {
        let interval = self.shared.configured.alerting.evaluation_interval;
        let Some(at) = self.alerts.take_due(interval, now) else { return };
        let fresh = self.shared.fleet.has_changed();
        let mut report = self.assemble(now);
        let (changed, turned) = self.alerts.evaluate(&report, &self.shared.configured.alerting, at);
        // A verdict that time alone turned is shown as the alert is.
        for name in &turned {
            if let Some(subject) = self.shared.fleet.subjects.get_mut(name) {
                subject.rebuild(&self.shared.configured.pace, now);
            }
        }
        if !turned.is_empty() {
            report.assessment.databases = self.shared.fleet.reports();
            report.verdicts = self.judge.judge(&report.assessment, now.wall);
        }
        report.alerts = self.alerts.list();
        report.alerts_dropped = self.alerts.dropped();
        self.alerts.tell(&report, at);
        // The numbers of alerts follow time as well.
        if fresh || changed || !turned.is_empty() || !report.alerts.is_empty() {
            self.hand_out(report, now);
        }
        self.save_alerts(now);
    }
}
