//! How the rounds go in which the agent collects what it knows.

use std::time::Duration;

use super::fleet::Fleet;
use crate::domain::assessment::CollectorReport;
use crate::domain::moment::Moment;
use crate::usecase::ports::Pace;

pub(super) struct Collectors {
    pub(super) local: Collector,
    pub(super) sweep: Collector,
    pub(super) replica: Collector,
}

pub(super) struct Collector(CollectorReport);

impl Collector {
    fn new(collector: &'static str, now: Moment) -> Self {
        Self(CollectorReport { collector, last_round_at: now.wall(), ..CollectorReport::default() })
    }

    /// A round has ended in which nothing was looked at.
    pub(super) fn idle(&mut self, now: Moment) {
        self.0.last_round_at = now.wall();
    }

    /// A round has ended.
    pub(super) fn ended(&mut self, success: bool, took: Duration, now: Moment) {
        self.idle(now);
        self.0.success = success;
        self.0.duration.observe(took);
        if success {
            self.0.last_success_at = Some(now.wall());
        }
    }

    fn report(&self, interval: Option<Duration>) -> CollectorReport {
        CollectorReport { interval_seconds: interval.map(|interval| interval.as_secs_f64()), ..self.0.clone() }
    }
}

impl Collectors {
    pub(super) fn new(now: Moment) -> Self {
        let [local, sweep, replica] = ["local", "sweep", "replica"].map(|name| Collector::new(name, now));
        Self { local, sweep, replica }
    }

    /// All of them, with how often a round comes to an end; never while there is nothing to look at.
    pub(super) fn report(&self, fleet: &Fleet, pace: &Pace) -> Vec<CollectorReport> {
        let watched = fleet.subjects.values().any(|subject| subject.target.database.is_some());
        // The sweep takes a part of the databases with each poll.
        let poll = watched.then_some(pace.poll);
        let idle = fleet.busy_interval(pace).map(|busy| busy.max(pace.idle));
        vec![self.local.report(poll), self.sweep.report(poll), self.replica.report(idle)]
    }
}
