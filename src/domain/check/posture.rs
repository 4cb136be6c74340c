//! Checks of how a bucket is set up, where its provider has the notion and the agent may ask.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::Condition;
use crate::domain::assessment::BucketReport;
use crate::domain::number::store::{NONCURRENT_EXPIRY, PUBLIC, VERSIONING};
use crate::domain::verdict::Severity;

static VERSIONED: Condition = VERSIONING.is(1.0);

static NOT_EXPIRED: Condition = NONCURRENT_EXPIRY.is(0.0);

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "BucketVersioningOff",
        title: "The bucket keeps deleted and replaced objects",
        summary: "{bucket} has no versioning",
        description: "Versioning of bucket {bucket} is off: anybody who deletes or replaces an object of a replica, by \
                      mistake or with stolen credentials, destroys the backup.",
        action: "Turn versioning on, with a lifecycle rule that expires noncurrent versions after a few days.",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, VERSIONING.is(0.0), 60)],
        explain: |context, on| versioning(context, on.bucket()?),
    },
    Check {
        name: "BucketPublic",
        title: "The bucket is not public",
        summary: "{bucket} is public",
        description: "The policy or access list of bucket {bucket} lets anybody in: the databases in it are disclosed.",
        action: "Block public access to the bucket now, then find out what was read.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, PUBLIC.is(1.0), 0)],
        explain: |context, on| public(context, on.bucket()?),
    },
    Check {
        name: "NoncurrentNotExpired",
        title: "Old versions of objects expire",
        summary: "{bucket} keeps old versions forever",
        description: "Bucket {bucket} has versioning, but no lifecycle rule that expires noncurrent versions of the \
                      replicas: you keep, and pay for, everything that Litestream ever deleted.",
        action: "Add a lifecycle rule with NoncurrentVersionExpiration, a few days longer than you need to notice a \
                 mistake.",
        unit: Unit::Count,
        rules: &[rule(Severity::Info, Condition::All(&[NOT_EXPIRED, VERSIONED]), 24 * 60)],
        explain: |context, on| noncurrent(context, on.bucket()?),
    },
];

fn answer(bucket: &BucketReport, known: Option<&str>) -> Explanation {
    let why = || bucket.reason.as_ref().map_or_else(|| "not looked at yet".into(), ToString::to_string);
    let name = &bucket.bucket;
    known.map_or_else(
        || Explanation::Unknown(format!("{name}: {}", why())),
        |known| Explanation::Known(format!("{name}: {known}")),
    )
}

fn versioning(_: &Context, bucket: &BucketReport) -> Option<Explanation> {
    let says = bucket.versioning_enabled.map(|on| match (on, bucket.object_lock_enabled) {
        (true, Some(true)) => "versioning and object lock are on",
        (true, _) => "versioning is on",
        (false, _) => "versioning is off",
    });
    Some(answer(bucket, says))
}

fn public(_: &Context, bucket: &BucketReport) -> Option<Explanation> {
    let says = bucket.public.map(|public| match (public, bucket.public_access_blocked) {
        (true, _) => "its policy or access list lets anybody in",
        (false, Some(true)) => "public access is blocked",
        (false, _) => "neither policy nor access list lets anybody in",
    });
    Some(answer(bucket, says))
}

/// `None` without versioning: there are no old versions.
fn noncurrent(_: &Context, bucket: &BucketReport) -> Option<Explanation> {
    if bucket.versioning_enabled == Some(false) {
        return None;
    }
    let says = bucket.noncurrent_expiry_configured.filter(|_| bucket.versioning_enabled.is_some());
    let says = says.map(|configured| match configured {
        true => "a lifecycle rule expires noncurrent versions",
        false => "no lifecycle rule expires noncurrent versions of the replicas",
    });
    Some(answer(bucket, says))
}

#[cfg(test)]
mod tests {
    use super::super::Watching;
    use super::*;
    use crate::domain::number::Subject;
    use crate::domain::reason::{Reason, ReasonKind};

    /// The checks with their statuses; those that do not apply are left out.
    fn answers(bucket: BucketReport) -> String {
        let answer = |check: &Check| {
            let verdict =
                check.verdict(Subject::Bucket(&bucket), jiff::Timestamp::UNIX_EPOCH, Watching::Continuously)?;
            Some(format!("{} {}", check.name, verdict.status.as_str()))
        };
        CHECKS.iter().filter_map(answer).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn settings_that_may_not_be_read_or_are_not_known_do_not_pass() {
        let unknown = "BucketVersioningOff unknown, BucketPublic unknown, NoncurrentNotExpired unknown";
        assert_eq!(answers(BucketReport::default()), unknown);
        let reason = Some(Reason::new(ReasonKind::Denied, "read settings: access denied"));
        assert_eq!(answers(BucketReport { reason, ..BucketReport::default() }), unknown);
    }

    #[test]
    fn old_versions_have_to_expire_only_where_there_are_any() {
        let bucket = |versioning, noncurrent| BucketReport {
            versioning_enabled: Some(versioning),
            noncurrent_expiry_configured: Some(noncurrent),
            public: Some(false),
            ..BucketReport::default()
        };
        let expected = "BucketVersioningOff pass, BucketPublic pass, NoncurrentNotExpired fail";
        assert_eq!(answers(bucket(true, false)), expected);
        assert_eq!(answers(bucket(true, true)), expected.replace("fail", "pass"));
        assert_eq!(answers(bucket(false, false)), "BucketVersioningOff fail, BucketPublic pass");
        let public = BucketReport { public: Some(true), ..bucket(true, true) };
        assert_eq!(answers(public), "BucketVersioningOff pass, BucketPublic fail, NoncurrentNotExpired pass");
    }
}
