//! Checks of a replica: is it verified, does it restore, how far behind is it.

use jiff::SignedDuration;

use super::entry::{Check, Context, Explanation, Unit, Watching, rule};
use super::expression::{Condition, Fold, Term};
use super::unknown::why;
use crate::domain::assess::proof::Method;
use crate::domain::assessment::{DatabaseReport, ReplicaReport};
use crate::domain::human::{agree, bytes, counted, instant, spoken};
use crate::domain::number::content::{CORRUPT, NEEDED_CORRUPT};
use crate::domain::number::replica::{
    EMPTY, FIRST_SNAPSHOT, FOREIGN_HISTORY, GAPS, LAG, RESTORABLE, RPO, UNREPLICATED_SINCE, VERIFIED_AT,
    VERIFY_INTERVAL, WATCHED_SINCE,
};
use crate::domain::verdict::Severity;
use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

/// So many intervals old, and [`PROOF_AGE_SLACK_SECONDS`] more, proof may be before it is called old.
pub const PROOF_AGE_INTERVALS: f64 = 2.0;

/// Beside [`PROOF_AGE_INTERVALS`]: a throttled or failed listing is no news.
pub const PROOF_AGE_SLACK_SECONDS: f64 = 600.0;

/// A new object has so long to be read before what a restore needs counts as not verified.
const UNREAD_SLACK: SignedDuration = SignedDuration::from_mins(10);

static DAMAGED: Term = Term::Folded(&CORRUPT, Fold::Sum("finding"));

static REWRITTEN: Term = Term::Folded(&CORRUPT, Fold::Where("finding", "rewritten"));

static PROOF_AGE: Term = Term::Difference(&Term::Now, &Term::Else(&VERIFIED_AT, &WATCHED_SINCE));

static PROOF_AGE_BOUND: Term =
    Term::Sum(&Term::Times(&VERIFY_INTERVAL, PROOF_AGE_INTERVALS), &Term::Constant(PROOF_AGE_SLACK_SECONDS));

/// A replica was not read for so long that what it holds is not known.
pub static UNVERIFIED: Condition = PROOF_AGE.above(PROOF_AGE_BOUND);

static PENDING: Condition = UNREPLICATED_SINCE.any();

static IS_EMPTY: Condition = EMPTY.is(1.0);

static HAD_TIME_FOR_A_SNAPSHOT: Condition = Term::Age(&WATCHED_SINCE).above(Term::Of(&FIRST_SNAPSHOT));

static HOLDS_SOMETHING: Condition = EMPTY.is(0.0);

static NO_START: Condition = RESTORABLE.is(0.0);

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "ReplicaUnverifiable",
        title: "The replica is verified regularly",
        summary: "{database}: the state of {replica} is unknown",
        description: "Replica {replica} of {database} was last read {value} ago: what it holds now is unknown.",
        action: "Read the reason on the status page: credentials, the network, or a bucket that is gone.",
        unit: Unit::Seconds,
        rules: &[
            rule(Severity::Critical, Condition::All(&[UNVERIFIED, PENDING]), 5),
            rule(Severity::Warning, UNVERIFIED, 5),
        ],
        explain: |context, on| unverifiable(context, on.database()?, on.replica()?),
    },
    Check {
        name: "NeverReplicated",
        title: "The replica is not empty",
        summary: "{database}: {replica} is empty",
        description: "Replica {replica} of {database} holds no Litestream files: nothing can be restored from it.",
        action: "Check whether Litestream is running, and read its log; compare bucket and path with litestream.yml.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::All(&[IS_EMPTY, HAD_TIME_FOR_A_SNAPSHOT]), 2)],
        explain: |context, on| never(context, on.database()?, on.replica()?),
    },
    Check {
        name: "NotRestorable",
        title: "There is a snapshot to restore from",
        summary: "{database}: {replica} has no snapshot",
        description: "Replica {replica} of {database} holds files, but no snapshot and no chain that starts at the \
                      first file: nothing can be restored from it.",
        action: "Stop Litestream, give the replica a new, empty path, run `litestream reset` on the database, and \
                 start Litestream.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::All(&[NO_START, HOLDS_SOMETHING]), 30)],
        explain: |context, on| not_restorable(context, on.database()?, on.replica()?),
    },
    Check {
        name: "ReplicaGap",
        title: "The chain from the snapshot to the newest file has no hole",
        summary: "{database}: files are missing in {replica}",
        description: "The latest state of {database} cannot be restored from replica {replica}: files after the newest \
                      snapshot are missing, and no level bridges the holes. Holes: {value}.",
        action: "Stop Litestream, give the replica a new, empty path, run `litestream reset` on the database, and \
                 start Litestream. Then find out what deleted the files.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, GAPS.any(), 15)],
        explain: |context, on| gap(context, on.database()?, on.replica()?),
    },
    Check {
        name: "ReplicaCorrupt",
        title: "All objects that a restore needs were read and are good",
        summary: "{database}: damaged objects in {replica}",
        description: "Damaged objects in replica {replica} of {database}: {value}.",
        action: "If a restore needs one of them, stop Litestream, give the replica a new, empty path, run `litestream \
                 reset` on the database, and start Litestream. `streamgauge restore` tells you in a hint what the old \
                 path can still restore.",
        unit: Unit::Count,
        rules: &[
            rule(Severity::Critical, NEEDED_CORRUPT.any(), 0),
            rule(Severity::Warning, Term::Difference(&DAMAGED, &REWRITTEN).exceeds(0.0), 0),
        ],
        explain: |context, on| verified(on.replica()?, |read| corrupt(context, on.replica()?, read)),
    },
    Check {
        name: "LineageConflict",
        title: "Only one writer writes to the replica",
        summary: "{database}: {replica} has two writers, or another history",
        description: "In replica {replica} of {database}, objects overlap or were replaced by others of the same name, \
                      or the replica is ahead of what Litestream writes here: two processes write to it, or it belongs \
                      to another history.",
        action: "Find the second Litestream and stop it. Then give each database a new, empty path of its own, run \
                 `litestream reset` on it, and start Litestream.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::Any(&[REWRITTEN.exceeds(0.0), FOREIGN_HISTORY.is(1.0)]), 0)],
        explain: |context, on| lineage(context, on.database()?, on.replica()?),
    },
    Check {
        name: "ReplicationLag",
        title: "All commits older than the objective are in the bucket",
        summary: "{database}: replication to {replica} is behind",
        description: "The oldest commit of {database} that is not in replica {replica} is {value} old. It would be lost \
                      with this host.",
        action: "Read Litestream's log: it is stopped, stuck, or cannot upload.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Critical, LAG.above(&RPO), 1)],
        explain: |context, on| lag(context, on.database()?, on.replica()?),
    },
];

fn not_verified(replica: &ReplicaReport) -> String {
    replica.reason.as_ref().map_or_else(|| "not looked at yet".into(), ToString::to_string)
}

/// A pass by the last listing is unknown while the replica cannot be read; a failure stays a failure.
pub(super) fn as_far_as_read(context: &Context, replica: &ReplicaReport, detail: String) -> Option<Explanation> {
    Some(if context.failing.is_none() && replica.up == Some(false) {
        Explanation::Unknown(format!("last known: {detail}; {}", not_verified(replica)))
    } else {
        Explanation::Known(detail)
    })
}

fn unverifiable(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let since = replica.verified_at.unwrap_or(replica.watched_since);
    let age = context.now.duration_since(since).as_secs_f64();
    let bound = PROOF_AGE_INTERVALS * replica.verify_interval_seconds + PROOF_AGE_SLACK_SECONDS;
    let verified = match replica.verified_at {
        Some(_) => format!("verified {} ago{}", spoken(age), rest(context, replica)),
        None => format!("never verified in {}", spoken(age)),
    };
    Some(if context.failing.is_some() {
        Explanation::Known(format!("{verified}, and at most {} is allowed: {}", spoken(bound), not_verified(replica)))
    } else if replica.verified_at.is_none() || (context.watching == Watching::Once && replica.up == Some(false)) {
        Explanation::Unknown(not_verified(replica))
    } else {
        let failed = replica.up == Some(false);
        let failed = if failed { format!("; the last look failed: {}", not_verified(replica)) } else { String::new() };
        Explanation::Known(verified + &failed)
    })
}

/// Why a proof is old although all is well.
fn rest(context: &Context, replica: &ReplicaReport) -> String {
    let next = replica.rests_until.map(|until| until.duration_since(context.now).as_secs_f64().max(0.0));
    next.map_or_else(String::new, |next| format!("; nothing committed since, next look within {}", spoken(next)))
}

fn never(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let Some(coverage) = &replica.coverage else { return Some(Explanation::Unknown(not_verified(replica))) };
    if !coverage.is_empty() {
        return as_far_as_read(context, replica, "it holds files".into());
    }
    let nothing = format!("there is nothing at {}", replica.url);
    Some(match (context.failing, context.watching) {
        (Some(_), _) => Explanation::Known(nothing),
        (None, Watching::Once) => Explanation::Failing(Severity::Critical, nothing),
        (None, Watching::Continuously) => {
            let may_take = spoken(database.first_snapshot_seconds());
            Explanation::Unknown(format!("{nothing} yet; a first snapshot may take {may_take}"))
        }
    })
}

fn not_restorable(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let coverage = replica.coverage.as_ref().filter(|coverage| !coverage.is_empty())?;
    let detail = if coverage.restorable {
        counted(coverage.snapshots, "snapshot")
    } else {
        "there is no snapshot and no chain from the first file: nothing can be restored".into()
    };
    as_far_as_read(context, replica, detail)
}

fn gap(context: &Context, _: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let coverage = replica.coverage.as_ref().filter(|coverage| coverage.restorable)?;
    let detail = match coverage.gaps.first() {
        None => "no hole".into(),
        Some(gap) => {
            let holes = counted(coverage.gaps.len(), "hole");
            let first = if coverage.gaps.len() == 1 { "" } else { ", the first" };
            format!("{holes}{first} between {} and {}", gap.after, gap.before)
        }
    };
    as_far_as_read(context, replica, detail)
}

/// What reading the objects says, once one was read; `None` if nothing is to be read.
fn verified(
    replica: &ReplicaReport,
    explain: impl FnOnce(&VerificationReport) -> Option<Explanation>,
) -> Option<Explanation> {
    replica.verification.as_ref()?;
    if let Some(verification) = replica.read_objects() {
        return explain(verification);
    }
    let holds = replica.coverage.as_ref().is_none_or(|coverage| !coverage.is_empty());
    holds.then(|| Explanation::Unknown("no object has been read yet".to_owned()))
}

fn rewritten(finding: &ObjectFinding) -> bool {
    finding.kind == FindingKind::Rewritten
}

fn found<'a>(findings: impl Iterator<Item = &'a ObjectFinding>) -> Option<String> {
    let findings: Vec<_> = findings.collect();
    let first = findings.first()?;
    let more = match findings.len() - 1 {
        0 => String::new(),
        others => format!("; {} too", counted(others, "more object")),
    };
    Some(format!("{} is {}: {}{more}", first.key, first.kind.spoken(), first.detail))
}

fn corrupt(context: &Context, replica: &ReplicaReport, verification: &VerificationReport) -> Option<Explanation> {
    let others = || verification.findings.iter().filter(|finding| !rewritten(finding));
    if let Some(detail) = found(verification.needed_damaged()).or_else(|| found(others())) {
        return Some(Explanation::Known(detail));
    }
    let (read, needed) = (verification.needed_verified, verification.needed);
    let left = verification.needed_left;
    let detail = format!(
        "{read} of the {}{} that a restore needs {} been read{}{}",
        if verification.needed_older { "newest " } else { "" },
        counted(needed, "object"),
        agree(&needed, "has", "have"),
        if left > 0 { ", all good; `check --verify content` reads all of them" } else { "" },
        if verification.needed_older { "; only drills read older ones" } else { "" },
    );
    let late = verification.unread_since.is_some_and(|since| context.now.duration_since(since) > UNREAD_SLACK);
    let complete = match context.watching {
        // It was to read so much and no more.
        Watching::Once => read + left >= needed,
        Watching::Continuously => read >= needed || !late,
    };
    if !complete {
        return Some(Explanation::Unknown(detail));
    }
    as_far_as_read(context, replica, detail)
}

fn lineage(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    if replica.keeping.foreign_history == Some(true) {
        let number = |txid: Option<u64>| txid.map_or_else(|| "unknown".to_owned(), |txid| txid.to_string());
        let local = number(database.local.as_ref().and_then(|local| local.txid_claim));
        let there = number(replica.txid);
        let detail = format!(
            "it is at TXID {there}, but Litestream here is writing at {local}: another history, or another writer"
        );
        return Some(Explanation::Known(detail));
    }
    verified(replica, |verification| match found(verification.findings.iter().filter(|finding| rewritten(finding))) {
        Some(detail) => Some(Explanation::Known(detail)),
        None => as_far_as_read(context, replica, "no object was replaced by another".into()),
    })
}

/// Who says so, where it is not proven.
fn claimed(replica: &ReplicaReport) -> String {
    let claim = replica.beacon.as_ref().and_then(|beacon| beacon.claim.as_ref());
    let Some(claim) = claim.filter(|_| replica.method == Some(Method::Beacon)) else { return String::new() };
    match claim.pending_commits {
        Some(count @ 1..) => {
            let (commits, wait) = (counted(count, "commit"), agree(&count, "is waiting", "are waiting"));
            format!("; {commits} {wait}, according to the beacon of {}", claim.host)
        }
        Some(0) | None => format!("; according to the beacon of {}", claim.host),
    }
}

/// How much would be lost, of an alert whose reader wants to know.
fn lost(context: &Context, replica: &ReplicaReport) -> String {
    let much = context.failing.filter(|_| replica.at_risk() != Some(0)).and_then(|_| replica.at_risk_words());
    much.map_or_else(String::new, |much| format!("; {much} would be lost"))
}

/// What keeps newer files from being restored, where that is so.
fn unusable(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<String> {
    let coverage = replica.coverage.as_ref().filter(|coverage| !coverage.is_empty())?;
    let why = match () {
        () if !coverage.restorable => "there is no snapshot that they build on, see NotRestorable",
        () if coverage.gaps.is_empty() => return None,
        () => "a hole keeps them from being restored, see ReplicaGap",
    };
    let age = replica.last_segment_at.map(|newest| context.now.duration_since(newest).as_secs_f64());
    let arrive = age.is_some_and(|age| age <= database.rpo_seconds);
    Some(format!("{}, but {why}", if arrive { "files arrive" } else { "there are newer files" }))
}

/// So little is left of a filesystem that no file of Litestream has room.
const FULL_BYTES: u64 = 1 << 20;

/// That nothing can be written to a replica in a directory, of one in which something is missing.
fn full(replica: &ReplicaReport) -> String {
    let left = replica.space_left_bytes.filter(|left| *left < FULL_BYTES);
    left.map_or_else(String::new, |left| format!("; the filesystem of the replica is full: {} free", bytes(left)))
}

fn lag(context: &Context, database: &DatabaseReport, replica: &ReplicaReport) -> Option<Explanation> {
    let objective = spoken(database.rpo_seconds);
    let Some(lag) = replica.lag_seconds else {
        return Some(Explanation::Unknown(why(database, replica)));
    };
    if context.failing.is_none() && replica.up == Some(false) {
        return Some(Explanation::Unknown(format!("last known {}: {}", spoken(lag), not_verified(replica))));
    }
    Some(match replica.lag_upper_bound_seconds {
        Some(most) if context.watching == Watching::Once && most > database.rpo_seconds => {
            let old = spoken(most);
            let detail = match unusable(context, database, replica) {
                Some(why) => format!("{why}; what restores is {old} old, objective {objective}"),
                None => format!(
                    "commits are waiting and the replica does not move; its newest file is {old} old, objective \
                     {objective}"
                ),
            };
            Explanation::Failing(Severity::Critical, detail + &full(replica))
        }
        _ if lag == 0.0 => Explanation::Known("nothing is waiting".into()),
        _ => {
            // How long a commit waits is counted until the replica was last read: it may have arrived since.
            let read = replica.verified_at.filter(|_| replica.up == Some(false));
            let waiting = match (read, unusable(context, database, replica)) {
                (Some(read), _) => format!(
                    "commits had been waiting for {} at {}, when the replica was last read",
                    spoken(lag),
                    instant(read)
                ),
                (None, Some(why)) => format!("{why}; commits have been waiting for {}", spoken(lag)),
                (None, None) => format!("commits have been waiting for {}", spoken(lag)),
            };
            let unread = read.map_or_else(String::new, |_| format!("; {}", not_verified(replica)));
            let (lost, claimed) = (lost(context, replica), claimed(replica));
            let full = full(replica);
            Explanation::Known(format!("{waiting}, objective {objective}{lost}{claimed}{full}{unread}"))
        }
    })
}
