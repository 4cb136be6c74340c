//! Checks of a replica: is it verified, does it restore, how far behind is it.

use super::{Answer, Severity, Status, Subject, Watching, spoken};
use crate::domain::report::ReplicaReport;
use crate::domain::verification::{FindingKind, ObjectFinding, VerificationReport};

/// Proof may be this much older than two intervals before it is called old: a throttled or failed listing is no news.
const PROOF_AGE_SLACK_SECONDS: f64 = 600.0;

fn not_verified(replica: &ReplicaReport) -> String {
    replica.reason.as_ref().map_or_else(|| "not looked at yet".into(), ToString::to_string)
}

/// What the last listing that was read lets pass is unknown while the replica cannot be read. What it failed stays
/// failed.
fn as_far_as_read(replica: &ReplicaReport, status: Status, detail: String) -> Answer {
    let (status, detail) = match (status, replica.up) {
        (Status::Pass, Some(false)) => (Status::Unknown, format!("last known: {detail}; {}", not_verified(replica))),
        known => (known.0, detail),
    };
    Some((Severity::Critical, status, detail))
}

/// Proof age against twice the interval at which proof is sought. Critical when commits wait for it.
pub(super) fn unverifiable(subject: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let pending = replica.unreplicated_since.is_some();
    let severity = if pending { Severity::Critical } else { Severity::Warning };
    let Some(verified_at) = replica.verified_at else {
        return Some((severity, Status::Unknown, format!("never verified: {}", not_verified(replica))));
    };
    let age = subject.now.duration_since(verified_at).as_secs_f64();
    let bound = 2.0 * replica.verify_interval_seconds + PROOF_AGE_SLACK_SECONDS;
    let failing = subject.watching == Watching::Once && replica.up == Some(false);
    let (status, detail) = if failing {
        (Status::Unknown, not_verified(replica))
    } else if age > bound {
        (
            Status::Fail,
            format!(
                "verified {} ago, which should be at most {}: {}",
                spoken(age),
                spoken(bound),
                not_verified(replica)
            ),
        )
    } else {
        (Status::Pass, format!("verified {} ago", spoken(age)))
    };
    Some((severity, status, detail))
}

/// A replica without any object.
pub(super) fn never(_: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let (status, detail) = match &replica.coverage {
        None => (Status::Unknown, not_verified(replica)),
        Some(coverage) if coverage.levels.iter().all(|level| level.objects == 0) => {
            (Status::Fail, format!("there is nothing at {}", replica.url))
        }
        Some(_) => (Status::Pass, "it holds files".into()),
    };
    as_far_as_read(replica, status, detail)
}

/// Files, and nothing to start from.
pub(super) fn not_restorable(_: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let coverage =
        replica.coverage.as_ref().filter(|coverage| coverage.levels.iter().any(|level| level.objects > 0))?;
    let (status, detail) = if coverage.restorable {
        (Status::Pass, format!("{} snapshots", coverage.snapshots))
    } else {
        (Status::Fail, "there is no snapshot and no chain from the first file: nothing can be restored".into())
    };
    as_far_as_read(replica, status, detail)
}

/// Holes that no level bridges on the way to the newest file.
pub(super) fn gap(_: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let coverage = replica.coverage.as_ref().filter(|coverage| coverage.restorable)?;
    let (status, detail) = match coverage.gaps.first() {
        None => (Status::Pass, "no hole".into()),
        Some(gap) => {
            (Status::Fail, format!("{} holes, the first between {} and {}", coverage.gaps.len(), gap.after, gap.before))
        }
    };
    as_far_as_read(replica, status, detail)
}

/// What was read of the objects; `None` where nothing is to be read. An error is the answer where nothing was.
fn verification(replica: &ReplicaReport) -> Option<Result<&VerificationReport, String>> {
    let verification = replica.verification.as_deref()?;
    let holds =
        |coverage: &crate::domain::report::CoverageReport| coverage.levels.iter().any(|level| level.objects > 0);
    if !verification.findings.is_empty() || verification.structure_verified > 0 {
        return Some(Ok(verification));
    }
    replica.coverage.as_ref().is_none_or(holds).then(|| Err("no object was read yet".to_owned()))
}

fn found(findings: &[&ObjectFinding]) -> Option<String> {
    let first = findings.first()?;
    let more = match findings.len() {
        1 => String::new(),
        count => format!(", and {} more", count - 1),
    };
    Some(format!("{} is {}: {}{more}", first.key, first.kind.spoken(), first.detail))
}

/// Objects that are not what they should be. Critical when a restore of the latest state needs one of them.
pub(super) fn corrupt(_: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let verification = match verification(replica)? {
        Ok(verification) => verification,
        Err(why) => return Some((Severity::Critical, Status::Unknown, why)),
    };
    let bad = |finding: &&ObjectFinding| finding.kind != FindingKind::Rewritten;
    let fatal = |finding: &&ObjectFinding| finding.needed && finding.kind != FindingKind::NewerEncoding;
    let all: Vec<&ObjectFinding> = verification.findings.iter().filter(bad).collect();
    let needed: Vec<&ObjectFinding> = all.iter().copied().filter(fatal).collect();
    if let Some(detail) = found(&needed) {
        return Some((Severity::Critical, Status::Fail, detail));
    }
    if let Some(detail) = found(&all) {
        return Some((Severity::Warning, Status::Fail, detail));
    }
    let (read, needed) = (verification.needed_verified, verification.needed);
    as_far_as_read(replica, Status::Pass, format!("{read} of the {needed} objects that a restore needs were read"))
}

/// Objects that were replaced by others of the same name.
pub(super) fn lineage(_: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let verification = match verification(replica)? {
        Ok(verification) => verification,
        Err(why) => return Some((Severity::Critical, Status::Unknown, why)),
    };
    let rewritten = verification.findings.iter().filter(|finding| finding.kind == FindingKind::Rewritten);
    match found(&rewritten.collect::<Vec<_>>()) {
        Some(detail) => Some((Severity::Critical, Status::Fail, detail)),
        None => as_far_as_read(replica, Status::Pass, "no object was replaced by another".into()),
    }
}

/// Lag against the recovery point objective.
pub(super) fn lag(subject: &Subject<'_>, replica: &ReplicaReport) -> Answer {
    let objective = subject.database.rpo_seconds;
    let answer = |status, detail| Some((Severity::Critical, status, detail));
    let Some(lag) = replica.lag_seconds else {
        let why = match (&replica.reason, subject.database.local.is_some()) {
            (Some(reason), _) => reason.to_string(),
            (None, false) => "there is no local database to compare with".into(),
            (None, true) => "not verified, or the database has no WAL that could be compared".into(),
        };
        return answer(Status::Unknown, why);
    };
    let bound = spoken(objective);
    if lag > objective {
        return answer(Status::Fail, format!("commits wait since {}, objective {bound}", spoken(lag)));
    }
    if replica.up == Some(false) {
        return answer(Status::Unknown, format!("last known {}: {}", spoken(lag), not_verified(replica)));
    }
    match replica.lag_upper_bound_seconds {
        Some(most) if subject.watching == Watching::Once && most > objective => answer(
            Status::Fail,
            format!(
                "commits wait and the replica does not move; its newest file is {} old, objective {bound}",
                spoken(most)
            ),
        ),
        _ if lag == 0.0 => answer(Status::Pass, "nothing waits".into()),
        _ => answer(Status::Pass, format!("commits wait since {}, objective {bound}", spoken(lag))),
    }
}
