//! The check that only an observer elsewhere can make: that a host is gone.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::{Condition, Term};
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::beacon::{AHEAD_SECONDS_MAX, INTERVALS_MAX};
use crate::domain::human::spoken;
use crate::domain::number::content::{BEACON_INTERVAL, BEACON_READ_AT, BEACON_WRITTEN_AT};
use crate::domain::verdict::Severity;

static AGE: Term = Term::Difference(&Term::Of(&BEACON_READ_AT), &Term::Of(&BEACON_WRITTEN_AT));

pub(super) static CHECKS: &[Check] = &[Check {
    name: "HostGone",
    title: "The host of the database is up",
    summary: "{database}: the host that writes {replica} is gone",
    description: "The beacon beside replica {replica} of {database} was {value} old when it was last read (below \
                  zero: dated in the future): the host, its agent or its connection to the bucket is gone. If the \
                  host is lost, so is what it had not replicated.",
    action: "Check whether the host is up. If it is lost, restore elsewhere with `streamgauge restore`; remove the \
             beacon of a host that is gone for good.",
    unit: Unit::Seconds,
    // The age at the last reading, and not by now: a bucket that cannot be read says nothing of the host.
    rules: &[rule(
        Severity::Critical,
        Condition::Any(&[
            AGE.above(Term::Times(&BEACON_INTERVAL, INTERVALS_MAX)),
            // One from the future would be fresh for ever.
            AGE.below(Term::Constant(-AHEAD_SECONDS_MAX)),
        ]),
        5,
    )],
    explain: |context, on| gone(context, on.database()?, on.replica()?),
}];

/// `None` where the host is this one, and where there is no beacon.
fn gone(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let beacon = replica.beacon.as_ref()?;
    let why = beacon.reason.as_ref().map(ToString::to_string);
    let (Some(age), Some(claim)) = (beacon.age_seconds(), &beacon.claim) else {
        return Some(Explanation::Unknown(why.unwrap_or_else(|| "the beacon has not been read yet".into())));
    };
    let ago =
        |at: Option<jiff::Timestamp>| at.map_or_else(|| "unknown".to_owned(), |at| format!("{} ago", context.age(at)));
    let host = &claim.host;
    if context.failing.is_some() && age < 0.0 {
        return Some(Explanation::Known(format!(
            "the store dates the beacon of {host} {} in the future: whether the host is up is unknown",
            spoken(-age)
        )));
    }
    if context.failing.is_some() {
        let (claimed, proven) = (ago(beacon.recovery_point()), ago(replica.recovery_point));
        return Some(Explanation::Known(format!(
            "no beacon from {host} for {}, although it writes one every {}; last known recovery point: {claimed} by \
             its own account, {proven} by the bucket",
            spoken(age),
            spoken(claim.interval_seconds),
        )));
    }
    Some(match why {
        Some(why) => Explanation::Unknown(format!("last known: {host} was up {}; {why}", ago(beacon.written_at))),
        None => Explanation::Known(format!("{host} was up {}", ago(beacon.written_at))),
    })
}
