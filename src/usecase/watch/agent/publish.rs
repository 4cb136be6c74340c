//! The report: built anew where something changed, and handed out.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Agent;
use crate::domain::assessment::{AgentReport, Assessment};
use crate::domain::moment::Moment;
use crate::domain::report::Report;
use crate::domain::target::TargetName;
use crate::domain::verdict::Verdicts;

impl Agent {
    /// Builds what changed anew and hands the report out.
    pub(super) fn publish(&mut self, now: Moment) {
        let (assessment, verdicts, changed) = self.assess(now);
        let report = self.report(assessment, verdicts, &changed, now);
        self.hand_out(report, now);
    }

    fn hand_out(&mut self, report: Report, now: Moment) {
        self.published = now;
        self.shared.publish = false;
        self.publisher.publish(report);
    }

    /// Everything as it is, with what changed built anew; what checks say of it; and what that is.
    fn assess(&mut self, now: Moment) -> (Assessment, Verdicts, BTreeSet<TargetName>) {
        let changed = self.shared.fleet.take_fresh(&self.shared.configured.pace, now);
        let shared = &self.shared;
        for subject in changed.iter().filter_map(|name| shared.fleet.subjects.get(name)) {
            self.recorder.record(&subject.report, now.wall());
        }
        let (databases, tally) = (shared.fleet.reports(), shared.fleet.tally);
        let mut stores = shared.stores.report();
        let counted = now.wall().duration_since(self.report.started_at).as_secs_f64();
        let mut agent = AgentReport {
            collectors: shared.collectors.report(&shared.fleet, &shared.configured.pace),
            cost: shared.configured.costs.report(&mut stores, tally.storage_dollars(), counted),
            stores,
            receivers: self.alerts.receivers(),
            process: (self.process)(),
            state: self.memory.state.clone(),
            ..self.report.clone()
        };
        self.duties.iter().for_each(|duty| duty.report(shared, now, &mut agent));
        agent.cost.look_spacing = shared.configured.costs.request_budget.map(|_| self.times_rarer());
        let (complete, over_limit) = (shared.fleet.is_complete(), shared.configured.over_limit);
        let selection = Arc::clone(&shared.configured.metrics.selection);
        let mut assessment = Assessment { complete, agent, databases, states: tally.states, over_limit, selection };
        let mut verdicts = self.judge.judge(&assessment, now.wall());
        if let Some(limit) = shared.configured.metrics.series_limit {
            self.series.keep(limit, &mut assessment, &verdicts);
            verdicts.agent = self.judge.judge_agent(&assessment, now.wall());
        }
        (assessment, verdicts, changed)
    }

    /// Has looks at buckets be as rare as their budget asks for, but so frequent that lag above the tightest objective is seen
    /// in time.
    pub(super) fn space_out(&mut self, now: Moment) {
        let costs = self.shared.configured.costs;
        if !self.spacing.is_due(costs.request_budget, now) {
            return;
        }
        let before = self.times_rarer();
        let spent = self.shared.stores.report().iter().map(|store| costs.spent(store)).sum();
        let most = self.pace.spacing_max(self.longest_spacing());
        self.spacing.decide(spent, costs.request_budget, most, now);
        self.pace_out();
        let times = self.times_rarer();
        if times > before {
            tracing::info!(
                times,
                "buckets are looked at less often than configured, to stay within the request budget"
            );
        } else if times < before {
            tracing::info!(times, "buckets are looked at more often again, within the request budget");
        }
    }

    /// How many times rarer than configured looks at buckets are, to a tenth.
    fn times_rarer(&self) -> f64 {
        let times = self.shared.configured.pace.bucket.div_duration_f64(self.pace.bucket);
        (times * 10.0).round() / 10.0
    }

    /// A third of the tightest objective.
    fn longest_spacing(&self) -> Duration {
        let subjects = self.shared.fleet.subjects.values();
        subjects.map(|subject| subject.target.objectives.rpo).min().unwrap_or_default() / 3
    }

    /// Puts the spacing in force.
    pub(super) fn pace_out(&mut self) {
        self.shared.configured.pace = self.pace.spaced(self.spacing.ratio(), self.longest_spacing());
    }

    /// The report, of which the log is told what it makes of what changed.
    fn report(
        &mut self,
        assessment: Assessment,
        verdicts: Verdicts,
        changed: &BTreeSet<TargetName>,
        now: Moment,
    ) -> Report {
        let report = Report {
            generated_at: now.wall(),
            assessment,
            verdicts,
            alerts: self.alerts.book.alerts().to_vec(),
            alerts_dropped: self.alerts.book.dropped(),
            history: self.recorder.history(),
        };
        let changed = changed.iter().filter_map(|name| self.shared.fleet.subjects.get(name));
        let configuration = &*self.shared.configuration;
        let lines = changed.flat_map(|subject| self.telling.compare(subject, &report, configuration, now)).collect();
        self.telling.tell(lines, now);
        report
    }

    /// Evaluates all rules if it is time to.
    pub(super) fn evaluate_alerts(&mut self, now: Moment) {
        let interval = self.shared.configured.alerting.evaluation_interval;
        let Some(at) = self.alerts.take_due(interval, now) else { return };
        let (mut assessment, mut verdicts, mut changed) = self.assess(now);
        let alerting = &self.shared.configured.alerting;
        let (moved, turned) = self.alerts.evaluate(&assessment, &verdicts.databases, alerting, at);
        if moved {
            self.alerts.log(&*self.shared.configuration);
        }
        // A verdict that time alone turned is shown as the alert is.
        for name in &turned {
            self.shared.fleet.rebuild(name, &self.shared.configured.pace, now);
        }
        if !turned.is_empty() {
            assessment.databases = self.shared.fleet.reports();
            assessment.states = self.shared.fleet.tally.states;
            verdicts = self.judge.judge(&assessment, now.wall());
            changed.extend(turned.iter().cloned());
        }
        self.alerts.tell(&assessment, at);
        let report = self.report(assessment, verdicts, &changed, now);
        // The numbers of alerts follow time as well.
        if moved || !changed.is_empty() || !report.alerts.is_empty() {
            self.hand_out(report, now);
        }
        self.save_alerts(now);
    }
}
