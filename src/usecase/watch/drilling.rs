//! The state of one replica's drills: when the next one is due, or why there is none.

use std::sync::{Arc, LazyLock};

use jiff::Timestamp;

use crate::domain::assessment::CoverageReport;
use crate::domain::drill::schedule::{DAILY_DOWNLOAD_MAX, DrillLimits};
use crate::domain::drill::{DrillHistory, DrillPolicy, DrillRecord, DrillReport, DrillSchedule};
use crate::domain::human::spoken_bytes;
use crate::domain::target::ReplicaTarget;

/// The drills of one replica.
#[derive(Debug)]
pub(super) struct Drilling {
    pub(super) history: Arc<DrillHistory>,
    pub(super) running_since: Option<Timestamp>,
    /// Why none is due.
    pub(super) withheld: Option<String>,
    /// The facts that the current plan was made from.
    pub(super) basis: Option<Basis>,
    pub(super) interval_seconds: Option<f64>,
    /// How much was wrong with the replica when it was last looked at.
    flaws: usize,
    /// When some of it was good again, since the last drill.
    pub(super) healed_at: Option<Timestamp>,
    pub(super) report: Option<Arc<DrillReport>>,
}

/// The facts of a replica's listing that decide about its drills.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Basis {
    /// More than is drilled every day.
    large: bool,
    healed_at: Option<Timestamp>,
    pub(super) withheld: Option<String>,
}

/// Of a replica that was never drilled: one for all.
static NONE: LazyLock<Arc<DrillHistory>> = LazyLock::new(Arc::default);

impl Default for Drilling {
    fn default() -> Self {
        Self {
            history: Arc::clone(&NONE),
            running_since: None,
            withheld: None,
            basis: None,
            interval_seconds: None,
            report: None,
            flaws: 0,
            healed_at: None,
        }
    }
}

impl Drilling {
    /// What is known of its drills, to be changed.
    pub(super) fn history_mut(&mut self) -> &mut DrillHistory {
        Arc::make_mut(&mut self.history)
    }

    /// Takes note of how much is known to be wrong with the replica.
    pub(super) fn note(&mut self, flaws: usize, now: Timestamp) {
        if flaws < self.flaws {
            self.healed_at = Some(now);
        }
        self.flaws = flaws;
    }

    /// A drill has ended.
    pub(super) fn conclude(&mut self, record: DrillRecord, began: Timestamp) {
        self.running_since = None;
        self.history_mut().conclude(record, began);
        (self.basis, self.healed_at) = (None, None);
    }

    /// Builds the report anew.
    pub(super) fn refresh(&mut self, policy: &DrillPolicy, download_bytes: Option<u64>) {
        if policy.schedule == DrillSchedule::Off && self.history.last.is_none() {
            self.report = None;
            return;
        }
        self.report = Some(Arc::new(DrillReport {
            interval_seconds: self.interval_seconds,
            withheld: self.withheld.clone(),
            running_since: self.running_since,
            download_bytes,
            rto_seconds: policy.rto.map(|rto| rto.as_secs_f64()),
            history: Arc::clone(&self.history),
        }));
    }
}

impl Basis {
    pub(super) fn of(
        policy: &DrillPolicy,
        replica: &ReplicaTarget,
        coverage: &CoverageReport,
        (limits, by_hand): (&DrillLimits, &str),
        healed_at: Option<Timestamp>,
    ) -> Self {
        let download = coverage.download_bytes.unwrap_or(0);
        let withheld = withheld(policy, replica, coverage, limits, by_hand);
        Self { large: download > DAILY_DOWNLOAD_MAX, healed_at, withheld }
    }
}

/// Why a replica is not drilled although drills are on, for a person. `by_hand` is the command that drills it all the same.
fn withheld(
    policy: &DrillPolicy,
    replica: &ReplicaTarget,
    coverage: &CoverageReport,
    limits: &DrillLimits,
    by_hand: &str,
) -> Option<String> {
    if policy.schedule == DrillSchedule::Off {
        return None;
    }
    if replica.encrypted && replica.age_identities.is_empty() {
        return Some("it is encrypted, and no configured identity can read it".to_owned());
    }
    let Some(download) = coverage.download_bytes else {
        return Some("nothing in it can be restored".to_owned());
    };
    if download > policy.size_max {
        return Some(format!(
            "a drill would download about {}, and max-size is {}: raise it, or run `{by_hand}`",
            spoken_bytes(download as f64),
            spoken_bytes(policy.size_max as f64)
        ));
    }
    match limits.daily_download.filter(|_| replica.location.is_remote()) {
        Some(most) if download > most => Some(format!(
            "a drill would download about {}, and daily-download is {}: raise it, or run `{by_hand}`",
            spoken_bytes(download as f64),
            spoken_bytes(most as f64)
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_less_wrong_than_before_is_taken_for_healed() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut drilling = Drilling::default();
        let seen: Vec<_> = [(0, 0), (1, 10), (2, 20), (1, 30), (1, 40), (0, 50)]
            .into_iter()
            .map(|(flaws, second)| {
                drilling.note(flaws, at(second));
                drilling.healed_at.map(|healed| healed.as_second())
            })
            .collect();
        assert_eq!(seen, [None, None, None, Some(30), Some(30), Some(50)]);
    }
}
