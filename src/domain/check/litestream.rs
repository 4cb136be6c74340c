//! The check of Litestream's process. That it runs makes no other check pass: the proof is in the bucket.

use super::entry::{Check, Context, Explanation, Unit, rule};
use super::expression::Condition;
use crate::domain::assessment::{DatabaseReport, LitestreamEvidence, ReplicaReport};
use crate::domain::number::database::LITESTREAM_UP;
use crate::domain::reason::ReasonKind;
use crate::domain::verdict::Severity;

static DOWN: Condition = LITESTREAM_UP.is(0.0);

pub(super) static CHECKS: &[Check] = &[Check {
    name: "LitestreamDown",
    title: "Litestream is working on the database",
    summary: "{database}: no Litestream is working on it",
    description: "Litestream is configured for {database}, but no Litestream process is working on it: new commits \
                  exist on this host only.",
    action: "Start Litestream (`systemctl start litestream`). If it is already running, restart it: with `dir` but \
             without `watch: true`, it picks up new databases only when it starts. Then read its log. If you stopped \
             it on purpose, silence this check.",
    unit: Unit::Count,
    rules: &[rule(Severity::Critical, DOWN, 60), rule(Severity::Warning, DOWN, 5)],
    explain: |context, on| down(context, on.database()?),
}];

/// Where processes do not show (another container), this does not apply: the proof is in the bucket all the same.
fn down(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let litestream = database.local.as_ref()?.litestream.as_ref()?;
    litestream.up.map(|_| {
        let taken_up = !matches!(litestream.evidence, LitestreamEvidence::RunningElsewhere(_));
        let why = database.replicas.iter().find_map(refused).filter(|_| !taken_up);
        Explanation::Known(format!("{}{}", litestream.evidence, why.unwrap_or_default()))
    })
}

/// Why Litestream may not have taken up a database: it does not open one before it could list its replica.
fn refused(replica: &ReplicaReport) -> Option<String> {
    let reason = replica.reason.as_ref().filter(|_| replica.up == Some(false))?;
    matches!(reason.kind, ReasonKind::Denied | ReasonKind::NotFound).then(|| {
        format!(
            "; it takes one up once it can list its replica, which fails here, too ({reason}): see ReplicaUnverifiable"
        )
    })
}
