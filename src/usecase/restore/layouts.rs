//! Which layout is restored from where an upgrade left both, v0.3's generations and v0.5's levels.

use super::request::RestoreRequest;
use super::{v3_plan, v5_plan};
use crate::domain::litestream::{Layout, PlanTarget};
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::restore::RestorePlan;
use crate::usecase::ports::ReplicaStore;

/// Plans from what is there. With both layouts the latest state is the newer of both, as Litestream has it since 0.5.7;
/// a time is looked for in v0.5 first, which began later, and a TXID is one of v0.5.
///
/// # Errors
///
/// When the replica cannot be listed, or nothing there leads to what is asked for.
pub(super) async fn plan(store: &dyn ReplicaStore, request: &RestoreRequest) -> Result<RestorePlan, Reason> {
    let layouts = store.layouts().await?;
    let Some(levels) = layouts.iter().find(|layout| **layout != Layout::V3) else {
        if layouts.is_empty() {
            return Err(Reason::new(ReasonKind::NotFound, "restore: there is no replica").with_hint(
                "nothing that Litestream writes is there: check the URL, or the replica's path in litestream.yml",
            ));
        }
        return v3_plan::plan(store, request).await;
    };
    let levels = v5_plan::plan_levels(store, levels.keys(), request).await;
    if !layouts.contains(&Layout::V3) {
        return levels;
    }
    match (request.point, levels) {
        (PlanTarget::Txid(_), levels) => levels,
        (PlanTarget::Time(_), Err(reason)) if reason.kind == ReasonKind::NotFound => Ok(noted(
            RestorePlan { is_older: true, ..v3_plan::plan(store, request).await? },
            "v0.5 has nothing from that time, but its v0.3 predecessor has",
        )),
        (PlanTarget::Time(_), levels) => levels,
        (PlanTarget::Latest, Err(reason)) => Err(match reason.hint {
            // The older one is not what was asked for.
            None => reason.with_hint("the v0.3 generations beside it have an older state: restore to a point in time"),
            Some(_) => reason,
        }),
        (PlanTarget::Latest, Ok(levels)) => match v3_plan::plan(store, request).await {
            Ok(generations) if generations.through > levels.through => {
                Ok(noted(generations, "the v0.3 generations are newer than what v0.5 wrote beside them"))
            }
            Ok(_) => Ok(levels),
            Err(reason) if reason.kind == ReasonKind::NotFound => {
                Ok(noted(levels, &format!("the v0.3 generations beside it do not restore: {reason}")))
            }
            Err(reason) => Err(reason),
        },
    }
}

fn noted(mut plan: RestorePlan, note: &str) -> RestorePlan {
    plan.notes.push(note.to_owned());
    plan
}
