//! Checks of a replica: is it verified, does it restore, how far behind is it.

use jiff::SignedDuration;

use super::expression::{Comparison, Condition, Of, Quantity, Select, Term, seconds};
use super::unknown::why;
use super::{Check, Context, Tell, Told, Unit, Watching, rule, spoken};
use crate::domain::assess::proof::Method;
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::verdict::Severity;
use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

/// Proof may be this much older than two intervals before it is called old: a throttled or failed listing is no news.
const PROOF_AGE_SLACK_SECONDS: f64 = 600.0;

/// A new object has so long to be read before what a restore needs counts as not verified.
const UNREAD_SLACK: SignedDuration = SignedDuration::from_mins(10);

static LAG: Quantity = Quantity::of_replica("streamgauge_replica_lag_seconds", |_, replica| replica.lag_seconds);

pub(super) static RPO: Quantity =
    Quantity::of_replica("streamgauge_replica_rpo_objective_seconds", |database, _| Some(database.rpo_seconds));

static VERIFIED_AT: Quantity = Quantity::of_replica("streamgauge_replica_verified_timestamp_seconds", |_, replica| {
    replica.verified_at.map(seconds)
});

static WATCHED_SINCE: Quantity =
    Quantity::of_replica("streamgauge_replica_watched_since_timestamp_seconds", |_, replica| {
        Some(seconds(replica.watched_since))
    });

static VERIFY_INTERVAL: Quantity = Quantity::of_replica("streamgauge_replica_verify_interval_seconds", |_, replica| {
    Some(replica.verify_interval_seconds)
});

static UNREPLICATED_SINCE: Quantity =
    Quantity::of_replica("streamgauge_replica_unreplicated_since_timestamp_seconds", |_, replica| {
        replica.unreplicated_since.map(seconds)
    });

static EMPTY: Quantity = Quantity::of_replica("streamgauge_replica_empty", |_, replica| {
    Some(f64::from(replica.coverage.as_ref()?.is_empty()))
});

static FIRST_SNAPSHOT: Quantity = Quantity::of_replica("streamgauge_replica_first_snapshot_seconds", |database, _| {
    Some(database.first_snapshot_seconds())
});

static RESTORABLE: Quantity = Quantity::of_replica("streamgauge_replica_restorable", |_, replica| {
    Some(f64::from(replica.coverage.as_ref()?.restorable))
});

static GAPS: Quantity =
    Quantity::of_replica("streamgauge_replica_gaps", |_, replica| Some(replica.coverage.as_ref()?.gaps.len() as f64));

static DAMAGED: Quantity = Quantity {
    metric: "streamgauge_replica_corrupt_objects",
    select: Select::Sum("finding"),
    of: Of::Replica(|_, replica| Some(read(replica)?.findings.len() as f64)),
};

static REWRITTEN: Quantity = Quantity {
    metric: "streamgauge_replica_corrupt_objects",
    select: Select::Where("finding", "rewritten"),
    of: Of::Replica(|_, replica| {
        Some(read(replica)?.findings.iter().filter(|finding| rewritten(finding)).count() as f64)
    }),
};

static NEEDED_DAMAGED: Quantity = Quantity::of_replica("streamgauge_replica_needed_corrupt_objects", |_, replica| {
    Some(read(replica)?.needed_damaged().count() as f64)
});

static FOREIGN: Quantity = Quantity::of_replica("streamgauge_replica_foreign_history", |_, replica| {
    replica.keeping.foreign_history.map(f64::from)
});

static PROOF_AGE: Term = Term::Difference(&Term::Now, &Term::Else(&Term::Of(&VERIFIED_AT), &Term::Of(&WATCHED_SINCE)));

static PROOF_AGE_BOUND: Term =
    Term::Sum(&Term::Product(&Term::Of(&VERIFY_INTERVAL), &Term::Number(2.0)), &Term::Number(PROOF_AGE_SLACK_SECONDS));

pub(super) static UNVERIFIED: Condition = Condition::Compare(&PROOF_AGE, Comparison::Above, &PROOF_AGE_BOUND);

/// Lag, and the objective that it is compared with.
pub(super) static BEHIND: (Term, Term) = (Term::Of(&LAG), Term::Of(&RPO));

static PENDING: Condition = Condition::Compare(&Term::Of(&UNREPLICATED_SINCE), Comparison::Above, &Term::Number(0.0));

static IS_EMPTY: Condition = Condition::Compare(&Term::Of(&EMPTY), Comparison::Equal, &Term::Number(1.0));

static HAD_TIME_FOR_A_SNAPSHOT: Condition = Condition::Compare(
    &Term::Difference(&Term::Now, &Term::Of(&WATCHED_SINCE)),
    Comparison::Above,
    &Term::Of(&FIRST_SNAPSHOT),
);

static HOLDS_SOMETHING: Condition = Condition::Compare(&Term::Of(&EMPTY), Comparison::Equal, &Term::Number(0.0));

static NO_START: Condition = Condition::Compare(&Term::Of(&RESTORABLE), Comparison::Equal, &Term::Number(0.0));

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "ReplicaUnverifiable",
        title: "The replica is verified regularly",
        summary: "{database}: nothing is known of {replica}",
        description: "Replica {replica} of {database} was last read {value} ago: what it holds now is not known.",
        action: "Look at the reason on the status page: credentials, network, or a bucket that is gone.",
        unit: Unit::Seconds,
        rules: &[
            rule(Severity::Critical, &Condition::All(&[&UNVERIFIED, &PENDING]), 5),
            rule(Severity::Warning, &UNVERIFIED, 5),
        ],
        tell: Tell::Replica(unverifiable),
    },
    Check {
        name: "NeverReplicated",
        title: "The replica holds something",
        summary: "{database}: {replica} is empty",
        description: "There is no file of Litestream in replica {replica} of {database}: nothing can be restored from it.",
        action: "Look whether Litestream runs and what it logs; compare bucket and path with litestream.yml.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, &Condition::All(&[&IS_EMPTY, &HAD_TIME_FOR_A_SNAPSHOT]), 2)],
        tell: Tell::Replica(never),
    },
    Check {
        name: "NotRestorable",
        title: "There is a snapshot to restore from",
        summary: "{database}: {replica} has no snapshot",
        description: "Replica {replica} of {database} holds files, and neither a snapshot nor a chain from the first one: \
                      nothing can be restored from it.",
        action: "Stop Litestream, give the replica a new and empty path, run `litestream reset` on the database, and start it.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, &Condition::All(&[&NO_START, &HOLDS_SOMETHING]), 30)],
        tell: Tell::Replica(not_restorable),
    },
    Check {
        name: "ReplicaGap",
        title: "The chain from the snapshot to the newest file has no hole",
        summary: "{database}: files are missing in {replica}",
        description: "{value} holes between the newest snapshot and the newest file of replica {replica} of {database} are \
                      bridged by no level: the latest state does not restore.",
        action: "Stop Litestream, give the replica a new and empty path, run `litestream reset` on the database, and start it; \
                 then look for what deleted the files.",
        unit: Unit::Count,
        rules: &[rule(
            Severity::Critical,
            &Condition::Compare(&Term::Of(&GAPS), Comparison::Above, &Term::Number(0.0)),
            15,
        )],
        tell: Tell::Replica(gap),
    },
    Check {
        name: "ReplicaCorrupt",
        title: "The objects that a restore needs were read and are good",
        summary: "{database}: damaged objects in {replica}",
        description: "{value} objects of replica {replica} of {database} are not what they should be.",
        action: "See their names with `streamgauge check`; if a restore needs them, have Litestream take a new snapshot.",
        unit: Unit::Count,
        rules: &[
            rule(
                Severity::Critical,
                &Condition::Compare(&Term::Of(&NEEDED_DAMAGED), Comparison::Above, &Term::Number(0.0)),
                0,
            ),
            rule(
                Severity::Warning,
                &Condition::Compare(
                    &Term::Difference(&Term::Of(&DAMAGED), &Term::Of(&REWRITTEN)),
                    Comparison::Above,
                    &Term::Number(0.0),
                ),
                0,
            ),
        ],
        tell: Tell::Replica(corrupt),
    },
    Check {
        name: "LineageConflict",
        title: "One writer only writes to the replica",
        summary: "{database}: two writers or another history in {replica}",
        description: "Objects of replica {replica} of {database} were replaced by others of the same name or overlap, or it is \
                      ahead of what Litestream writes here: two processes write to it, or it belongs to another history.",
        action: "Find the second Litestream and stop it; then give each database a new and empty path of its own, run \
                 `litestream reset` on it, and start it.",
        unit: Unit::Count,
        rules: &[rule(
            Severity::Critical,
            &Condition::Any(&[
                &Condition::Compare(&Term::Of(&REWRITTEN), Comparison::Above, &Term::Number(0.0)),
                &Condition::Compare(&Term::Of(&FOREIGN), Comparison::Equal, &Term::Number(1.0)),
            ]),
            0,
        )],
        tell: Tell::Replica(lineage),
    },
    Check {
        name: "ReplicationLag",
        title: "All commits older than the objective are in the bucket",
        summary: "{database}: replication to {replica} is behind",
        description: "The oldest commit of {database} that is not in replica {replica} is {value} old. It would be lost \
                      with this host.",
        action: "Look at Litestream's log: it is stopped, stuck, or cannot upload.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Critical, &Condition::Compare(&BEHIND.0, Comparison::Above, &BEHIND.1), 1)],
        tell: Tell::Replica(lag),
    },
];

fn not_verified(replica: &ReplicaReport) -> String {
    replica.reason.as_ref().map_or_else(|| "not looked at yet".into(), ToString::to_string)
}

/// What the last listing that was read lets pass is unknown while the replica cannot be read. What it failed stays
/// failed.
pub(super) fn as_far_as_read(context: &Context, replica: &ReplicaReport, detail: String) -> Option<Told> {
    Some(if context.failing.is_none() && replica.up == Some(false) {
        Told::Unknown(format!("last known: {detail}; {}", not_verified(replica)))
    } else {
        Told::Known(detail)
    })
}

fn unverifiable(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let since = replica.verified_at.unwrap_or(replica.watched_since);
    let age = context.now.duration_since(since).as_secs_f64();
    let bound = 2.0 * replica.verify_interval_seconds + PROOF_AGE_SLACK_SECONDS;
    let verified = match replica.verified_at {
        Some(_) => format!("verified {} ago", spoken(age)),
        None => format!("never verified in {}", spoken(age)),
    };
    Some(if context.failing.is_some() {
        Told::Known(format!("{verified}, which should be at most {}: {}", spoken(bound), not_verified(replica)))
    } else if replica.verified_at.is_none() || (context.watching == Watching::Once && replica.up == Some(false)) {
        Told::Unknown(not_verified(replica))
    } else {
        Told::Known(verified)
    })
}

fn never(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let Some(coverage) = &replica.coverage else { return Some(Told::Unknown(not_verified(replica))) };
    if !coverage.is_empty() {
        return as_far_as_read(context, replica, "it holds files".into());
    }
    let nothing = format!("there is nothing at {}", replica.url);
    Some(match (context.failing, context.watching) {
        (Some(_), _) => Told::Known(nothing),
        (None, Watching::Once) => Told::Failing(Severity::Critical, nothing),
        (None, Watching::Continuously) => {
            let may_take = spoken(database.first_snapshot_seconds());
            Told::Unknown(format!("{nothing} yet; a first snapshot may take {may_take}"))
        }
    })
}

fn not_restorable(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let coverage = replica.coverage.as_ref().filter(|coverage| !coverage.is_empty())?;
    let detail = if coverage.restorable {
        format!("{} snapshots", coverage.snapshots)
    } else {
        "there is no snapshot and no chain from the first file: nothing can be restored".into()
    };
    as_far_as_read(context, replica, detail)
}

fn gap(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let coverage = replica.coverage.as_ref().filter(|coverage| coverage.restorable)?;
    let detail = match coverage.gaps.first() {
        None => "no hole".into(),
        Some(gap) => format!("{} holes, the first between {} and {}", coverage.gaps.len(), gap.after, gap.before),
    };
    as_far_as_read(context, replica, detail)
}

/// What was read of the objects; `None` where nothing was read, or nothing is to be read.
fn read(replica: &ReplicaReport) -> Option<&VerificationReport> {
    replica.verification.as_deref().filter(|verification| verification.has_read())
}

/// What was read of the objects; `None` where nothing is to be read. An error is the answer where nothing was.
fn verification(replica: &ReplicaReport) -> Option<Result<&VerificationReport, Told>> {
    replica.verification.as_ref()?;
    if let Some(verification) = read(replica) {
        return Some(Ok(verification));
    }
    let holds = replica.coverage.as_ref().is_none_or(|coverage| !coverage.is_empty());
    holds.then(|| Err(Told::Unknown("no object was read yet".to_owned())))
}

fn rewritten(finding: &ObjectFinding) -> bool {
    finding.kind == FindingKind::Rewritten
}

fn found<'a>(findings: impl Iterator<Item = &'a ObjectFinding>) -> Option<String> {
    let findings: Vec<_> = findings.collect();
    let first = findings.first()?;
    let more = match findings.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    Some(format!("{} is {}: {}{more}", first.key, first.kind.spoken(), first.detail))
}

fn corrupt(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let verification = match verification(replica)? {
        Ok(verification) => verification,
        Err(told) => return Some(told),
    };
    let others = || verification.findings.iter().filter(|finding| !rewritten(finding));
    if let Some(detail) = found(verification.needed_damaged()).or_else(|| found(others())) {
        return Some(Told::Known(detail));
    }
    let (read, needed) = (verification.needed_verified, verification.needed);
    let detail = format!("{read} of the {needed} objects that a restore needs were read");
    let late = verification.unread_since.is_some_and(|since| context.now.duration_since(since) > UNREAD_SLACK);
    if read < needed && (late || context.watching == Watching::Once) {
        return Some(Told::Unknown(detail));
    }
    as_far_as_read(context, replica, detail)
}

fn lineage(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    if replica.keeping.foreign_history == Some(true) {
        let number = |txid: Option<u64>| txid.map_or_else(|| "unknown".to_owned(), |txid| txid.to_string());
        let local = number(database.local.as_ref().and_then(|local| local.txid_claim));
        let there = number(replica.txid);
        let detail = format!(
            "it is at TXID {there}, and Litestream here goes on writing at {local}: another history, or another writer"
        );
        return Some(Told::Known(detail));
    }
    let verification = match verification(replica)? {
        Ok(verification) => verification,
        Err(told) => return Some(told),
    };
    match found(verification.findings.iter().filter(|finding| rewritten(finding))) {
        Some(detail) => Some(Told::Known(detail)),
        None => as_far_as_read(context, replica, "no object was replaced by another".into()),
    }
}

/// Who says so, where it is not proven.
fn claimed(replica: &ReplicaReport) -> String {
    let claim = replica.beacon.as_ref().and_then(|beacon| beacon.claim.as_ref());
    let Some(claim) = claim.filter(|_| replica.method == Some(Method::Beacon)) else { return String::new() };
    match claim.pending_commits {
        Some(1) => format!("; 1 commit waits, says the beacon of {}", claim.host),
        Some(count @ 2..) => format!("; {count} commits wait, says the beacon of {}", claim.host),
        Some(0) | None => format!("; says the beacon of {}", claim.host),
    }
}

fn lag(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Told> {
    let objective = spoken(database.rpo_seconds);
    let Some(lag) = replica.lag_seconds else {
        return Some(Told::Unknown(why(database, replica)));
    };
    if context.failing.is_none() && replica.up == Some(false) {
        return Some(Told::Unknown(format!("last known {}: {}", spoken(lag), not_verified(replica))));
    }
    Some(match replica.lag_upper_bound_seconds {
        Some(most) if context.watching == Watching::Once && most > database.rpo_seconds => {
            let old = spoken(most);
            let detail = format!(
                "commits wait and the replica does not move; its newest file is {old} old, objective {objective}"
            );
            Told::Failing(Severity::Critical, detail)
        }
        _ if lag == 0.0 => Told::Known("nothing waits".into()),
        _ => Told::Known(format!("commits wait since {}, objective {objective}{}", spoken(lag), claimed(replica))),
    })
}
