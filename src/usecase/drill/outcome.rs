//! The result of a drill: which problems are the backup's fault, and which only kept the drill from finding out.

use crate::domain::drill::{COMPARE, DrillRecord, DrillResult, RECENCY};
use crate::domain::reason::{Reason, ReasonKind};

/// Checks that may remain unanswered without anything being wrong: where positions do not allow an answer, or a constraint
/// calls a function that only the application has.
const OPTIONAL: &[&str] = &[COMPARE, RECENCY, CONSTRAINTS];

/// Checks of what an application wrote, not of what was stored: the live database can fail them as well.
const OF_THE_DATA: &[&str] = &[FOREIGN_KEYS, CONSTRAINTS];

/// The finding of a check that only a full drill makes.
pub(super) const ONLY_IN_FULL: &str = "only in full drills";

pub(super) const FOREIGN_KEYS: &str = "foreign_key_check";
/// SQLite's quick check and its integrity check find rows that violate CHECK constraints; they are told apart.
pub(super) const CONSTRAINTS: &str = "check_constraints";

/// Why a drill cannot go on.
pub(super) struct Stop {
    pub result: DrillResult,
    pub reason: Reason,
}

impl Stop {
    pub(super) fn failed(reason: Reason) -> Self {
        Self { result: DrillResult::Failed, reason }
    }

    pub(super) fn inconclusive(reason: Reason) -> Self {
        Self { result: DrillResult::Inconclusive, reason }
    }

    /// Judges a failure of planning, reading or decoding: objects that are not there or not what they should be are the
    /// backup's fault, everything else is not.
    pub(super) fn of(reason: Reason) -> Self {
        Self { result: trouble(&reason), reason }
    }
}

/// The result of a step that ended with this reason.
pub(super) fn trouble(reason: &Reason) -> DrillResult {
    match reason.kind {
        ReasonKind::NotFound | ReasonKind::Corrupt => DrillResult::Failed,
        _ => DrillResult::Inconclusive,
    }
}

/// The result of asking SQLite: only damage is the backup's fault.
pub(super) fn damage(reason: &Reason) -> DrillResult {
    match reason.kind {
        ReasonKind::Corrupt => DrillResult::Failed,
        _ => DrillResult::Inconclusive,
    }
}

/// The worst of what was found out, and why. Rows that violate constraints do not fail a backup that is proven to be
/// what the live database is: they are in there, too.
pub(super) fn outcome(record: &DrillRecord, stop: Option<Stop>) -> (DrillResult, Option<Reason>) {
    let identical = record.checks.iter().any(|check| check.name == COMPARE && check.result == DrillResult::Passed);
    let mut doubt = None;
    for check in &record.checks {
        let reason = |kind| Reason::new(kind, format!("{}: {}", check.name, check.detail));
        match check.result {
            DrillResult::Passed => {}
            DrillResult::Failed if OF_THE_DATA.contains(&check.name.as_str()) && identical => {}
            // The reason of what stopped it has its kind and its hint.
            DrillResult::Failed => {
                let stop = stop.filter(|stop| stop.result == DrillResult::Failed);
                return (
                    DrillResult::Failed,
                    Some(stop.map_or_else(|| reason(ReasonKind::Corrupt), |stop| stop.reason)),
                );
            }
            DrillResult::Inconclusive if OPTIONAL.contains(&check.name.as_str()) || check.detail == ONLY_IN_FULL => {}
            DrillResult::Inconclusive => doubt = doubt.or_else(|| Some(reason(ReasonKind::Failed))),
        }
    }
    let probe = |result: DrillResult| {
        let probe = record.probes.iter().find(|probe| probe.result == result)?;
        Some(Reason::new(ReasonKind::Failed, format!("probe {}: {}", probe.name, probe.detail)))
    };
    if let Some(reason) = probe(DrillResult::Failed) {
        return (DrillResult::Failed, Some(reason));
    }
    if let Some(stop) = stop {
        return (stop.result, Some(stop.reason));
    }
    match doubt.or_else(|| probe(DrillResult::Inconclusive)) {
        Some(reason) => (DrillResult::Inconclusive, Some(reason)),
        None => (DrillResult::Passed, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::drill::{DrillCheck, ProbeRecord};
    use DrillResult::{Failed, Inconclusive, Passed};

    fn record(checks: &[(&str, DrillResult)], probes: &[DrillResult]) -> DrillRecord {
        DrillRecord {
            database: "db".into(),
            replica: "file".into(),
            url: "file:///r".into(),
            program: "streamgauge".into(),
            started_at: jiff::Timestamp::UNIX_EPOCH,
            finished_at: jiff::Timestamp::UNIX_EPOCH,
            result: Inconclusive,
            reason: None,
            incremental: false,
            restored: None,
            checks: checks
                .iter()
                .map(|(name, result)| DrillCheck {
                    name: (*name).into(),
                    result: *result,
                    detail: "so".into(),
                    seconds: 0.0,
                })
                .collect(),
            probes: probes
                .iter()
                .map(|result| ProbeRecord { name: "p".into(), result: *result, value: None, detail: "so".into() })
                .collect(),
            downloaded_bytes: 0,
            requests: 0,
            estimated_dollars: 0.0,
            dollars: 0.0,
            restore_seconds: None,
            seconds: 0.0,
        }
    }

    fn stop(kind: ReasonKind) -> Option<Stop> {
        Some(Stop::of(Reason::new(kind, "stopped")))
    }

    #[test]
    fn only_what_is_known_to_be_bad_fails_and_only_what_is_known_to_be_good_passes() {
        let cases: &[(DrillRecord, Option<Stop>, DrillResult)] = &[
            (record(&[("restore", Passed), ("quick_check", Passed)], &[Passed]), None, Passed),
            (record(&[("restore", Passed), ("quick_check", Failed)], &[]), None, Failed),
            (record(&[("restore", Passed), ("quick_check", Inconclusive)], &[]), None, Inconclusive),
            (record(&[("restore", Passed), (COMPARE, Inconclusive), (RECENCY, Inconclusive)], &[]), None, Passed),
            (record(&[("restore", Passed), (COMPARE, Failed)], &[]), None, Failed),
            (record(&[("restore", Passed)], &[Passed, Failed]), None, Failed),
            (record(&[("restore", Passed)], &[Inconclusive]), None, Inconclusive),
            (record(&[("restore", Passed), ("quick_check", Inconclusive)], &[Failed]), None, Failed),
            (record(&[("restore", Passed)], &[]), stop(ReasonKind::Timeout), Inconclusive),
            (record(&[("restore", Passed), ("quick_check", Failed)], &[]), stop(ReasonKind::Timeout), Failed),
            (record(&[], &[]), stop(ReasonKind::Corrupt), Failed),
            (record(&[], &[]), stop(ReasonKind::NotFound), Failed),
            (record(&[(FOREIGN_KEYS, Failed)], &[]), None, Failed),
            (record(&[(FOREIGN_KEYS, Failed), (COMPARE, Passed)], &[]), None, Passed),
            (record(&[(FOREIGN_KEYS, Failed), (COMPARE, Inconclusive)], &[]), None, Failed),
            (record(&[(CONSTRAINTS, Failed)], &[]), None, Failed),
            (record(&[(CONSTRAINTS, Failed), (COMPARE, Passed)], &[]), None, Passed),
            (record(&[("quick_check", Passed), (CONSTRAINTS, Inconclusive)], &[]), None, Passed),
        ];
        for (record, stop, expected) in cases {
            let stop = stop.as_ref().map(|stop| Stop { result: stop.result, reason: stop.reason.clone() });
            let (result, reason) = outcome(record, stop);
            assert_eq!((result, reason.is_none()), (*expected, *expected == Passed), "{record:?}");
        }
    }

    #[test]
    fn infrastructure_is_not_the_backups_fault() {
        for kind in ReasonKind::ALL {
            let failed = matches!(kind, ReasonKind::Corrupt | ReasonKind::NotFound);
            assert_eq!(trouble(&Reason::new(*kind, "")) == Failed, failed, "{kind:?}");
        }
    }
}
