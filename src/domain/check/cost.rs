//! What everything costs against what it may cost.

use super::expression::{Comparison, Condition, Of, Quantity, Select, Term};
use super::{Check, Context, Severity, Tell, Told, Unit, rule};
use crate::domain::report::Report;

static DOLLARS: Quantity = Quantity {
    metric: "streamgauge_dollars_per_month",
    select: Select::Only,
    of: Of::Agent(|report| report.agent.cost.dollars_per_month),
};

static BUDGET: Quantity = Quantity {
    metric: "streamgauge_budget_dollars_per_month",
    select: Select::Only,
    of: Of::Agent(|report| report.agent.cost.budget_dollars_per_month),
};

pub(super) static CHECKS: &[Check] = &[Check {
    name: "CostAboveBudget",
    title: "Storage and requests cost no more than the budget",
    summary: "The replicas cost more than the budget",
    description: "Storing all replicas and reading them costs {value} a month by the configured prices, more than the budget.",
    action: "See which replica it is in streamgauge_replica_storage_dollars_per_month; keep less, or raise the budget.",
    unit: Unit::Dollars,
    rules: &[rule(
        Severity::Warning,
        &Condition::Compare(&Term::Of(&DOLLARS), Comparison::Above, &Term::Of(&BUDGET)),
        360,
    )],
    tell: Tell::Agent(cost),
}];

fn cost(_: &Context, report: &Report) -> Option<Told> {
    let cost = &report.agent.cost;
    let budget = cost.budget_dollars_per_month?;
    Some(match cost.dollars_per_month {
        Some(dollars) => Told::Known(format!("${dollars:.2} a month, budget ${budget:.2}")),
        None => Told::Unknown("not every replica was listed, or requests were counted for less than an hour".into()),
    })
}
