//! Checks of the stores: do they answer, and do they tell the same time.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::Term;
use crate::domain::assessment::{DatabaseReport, StoreReport};
use crate::domain::human::spoken;
use crate::domain::number::database::WRITER_CLOCK_OFFSET;
use crate::domain::number::store::{CLOCK_OFFSET, FAILURE_RATIO};
use crate::domain::verdict::Severity;

/// Failures above this part of the requests are more than bad luck.
const FAILURE_RATIO_MAX: f64 = 0.1;

/// A clock that is off by more is wrong, and not merely read at the wrong moment.
const STORE_OFFSET_MAX_SECONDS: f64 = 5.0;

/// The same for a writer elsewhere, whose clock is only seen by what it wrote and when that arrived.
const WRITER_OFFSET_MAX_SECONDS: f64 = 30.0;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "StoreErrors",
        title: "Stores answer",
        summary: "requests to {store} are failing",
        description: "{value} of the requests to {store} in the last 15 minutes failed.",
        action: "Look up the reasons in streamgauge_store_request_failures_total: throttling, network, credentials.",
        unit: Unit::Ratio,
        rules: &[rule(Severity::Warning, FAILURE_RATIO.exceeds(FAILURE_RATIO_MAX), 15)],
        explain: |context, on| errors(context, on.store()?),
    },
    Check {
        name: "ClockSkew",
        title: "This host's clock and the store's agree",
        summary: "the clocks of {store} and this host differ",
        description: "The clocks of {store} and this host are {value} apart. Restores to a point in time, ages and \
                      recovery points are wrong by as much, and beyond 15 minutes S3 refuses every request.",
        action: "Check whether the time is synchronised on this host (`timedatectl`), then at the store.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, Term::Absolute(&CLOCK_OFFSET).exceeds(STORE_OFFSET_MAX_SECONDS), 15)],
        explain: |context, on| store_clock(context, on.store()?),
    },
    Check {
        name: "WriterClockSkew",
        title: "The clock of the host that writes is right",
        summary: "{database}: the clock of the host that writes it is wrong",
        description: "The clock of the host that writes {database} is off by {value}. Everything it writes carries the \
                      wrong time, so a restore to a point in time ends at a different one.",
        action: "Synchronise the clock of that host (`timedatectl`).",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Warning, Term::Absolute(&WRITER_CLOCK_OFFSET).exceeds(WRITER_OFFSET_MAX_SECONDS), 15)],
        explain: |context, on| writer_clock(context, on.database()?),
    },
];

/// `None` while there are too few requests: one of one is no rate.
fn errors(_: &Context, store: &StoreReport) -> Option<Explanation> {
    store.failure_ratio()?;
    let StoreReport { store, recent_requests, recent_failures, .. } = store;
    Some(Explanation::Known(format!(
        "{recent_failures} of {recent_requests} requests to {} failed in the last 15 minutes",
        store.as_str()
    )))
}

/// `3 s ahead of`, `2 min 0 s behind`.
fn offset(seconds: f64) -> String {
    let direction = if seconds > 0.0 { "ahead of" } else { "behind" };
    format!("{} {direction}", spoken(seconds.abs()))
}

/// `None` where the store has no clock of its own.
fn store_clock(_: &Context, store: &StoreReport) -> Option<Explanation> {
    let seconds = store.clock_offset_seconds?;
    Some(Explanation::Known(match seconds.abs() < 1.0 {
        true => format!("{} says the same time", store.store.as_str()),
        false => format!("the clock of {} is {} this host's", store.store.as_str(), offset(seconds)),
    }))
}

/// `None` where the database is on this host, and where nothing tells.
fn writer_clock(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let seconds = database.writer_offset_seconds()?;
    Some(Explanation::Known(match seconds.abs() < 1.0 {
        true => "right, if the store's is".into(),
        false => format!("it is {} the store's", offset(seconds)),
    }))
}

#[cfg(test)]
mod tests {
    use super::super::Watching;
    use super::*;
    use crate::domain::number::Subject;
    use crate::domain::store_kind::StoreKind;
    use crate::domain::verdict::Verdict;

    /// Status and detail of a check of a store.
    fn answer(check: &str, store: &StoreReport) -> Option<String> {
        let check = CHECKS.iter().find(|entry| entry.name == check).unwrap();
        let Verdict { status, detail, .. } =
            check.verdict(Subject::Store(store), jiff::Timestamp::UNIX_EPOCH, Watching::Continuously)?;
        Some(format!("{}: {detail}", status.as_str()))
    }

    #[test]
    fn one_of_one_is_no_rate() {
        let store = |recent_requests, recent_failures| {
            answer(
                "StoreErrors",
                &StoreReport { store: StoreKind::S3, recent_requests, recent_failures, ..Default::default() },
            )
        };
        assert_eq!(store(1, 1), None);
        assert_eq!(store(9, 9), None);
        assert_eq!(store(10, 1).unwrap(), "pass: 1 of 10 requests to s3 failed in the last 15 minutes");
        assert_eq!(store(10, 2).unwrap(), "fail: 2 of 10 requests to s3 failed in the last 15 minutes");
    }

    #[test]
    fn a_second_is_no_skew() {
        let store = |clock_offset_seconds| {
            answer("ClockSkew", &StoreReport { store: StoreKind::S3, clock_offset_seconds, ..Default::default() })
        };
        assert_eq!(store(None), None);
        assert_eq!(store(Some(0.0)).unwrap(), "pass: s3 says the same time");
        assert_eq!(store(Some(-5.0)).unwrap(), "pass: the clock of s3 is 5 s behind this host's");
        assert_eq!(store(Some(5.5)).unwrap(), "fail: the clock of s3 is 6 s ahead of this host's");
        assert_eq!(store(Some(-300.0)).unwrap(), "fail: the clock of s3 is 5 min 0 s behind this host's");
        let check = CHECKS.iter().find(|entry| entry.name == "ClockSkew").unwrap();
        assert_eq!(check.rules[0].when.to_string(), "abs(streamgauge_store_clock_offset_seconds) > 5");
    }
}
