//! What everything costs against what it may cost.

use super::expression::{Comparison, Condition, Of, Quantity, Select, Term};
use super::{Check, Context, Severity, Tell, Told, Unit, rule};
use crate::domain::assessment::Report;

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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::judge_agent;
    use super::*;
    use crate::domain::assessment::{AgentReport, ConfigReport, CostReport, SCHEMA};

    fn check(dollars_per_month: Option<f64>, budget_dollars_per_month: Option<f64>, expected: &str) {
        let agent = AgentReport {
            version: "test",
            revision: "test",
            started_at: Timestamp::UNIX_EPOCH,
            config: ConfigReport::default(),
            sources: Vec::new(),
            collectors: Vec::new(),
            stores: Vec::new(),
            receivers: Vec::new(),
            buckets: Vec::new(),
            process: None,
            drill_budget: None,
            state: None,
            cost: CostReport { dollars_per_month, budget_dollars_per_month },
        };
        let report = Report {
            schema: SCHEMA,
            generated_at: Timestamp::UNIX_EPOCH,
            complete: true,
            agent,
            databases: Vec::new(),
            over_limit: 0,
            checks: Vec::new(),
            alerts: Vec::new(),
            alerts_dropped: 0,
        };
        let verdicts = judge_agent(&report, Timestamp::UNIX_EPOCH);
        let verdicts = verdicts.iter().filter(|verdict| verdict.check == "CostAboveBudget");
        let told: Vec<_> = verdicts.map(|verdict| format!("{}: {}", verdict.status.as_str(), verdict.detail)).collect();
        assert_eq!(told.join("; "), expected);
    }

    #[test]
    fn what_costs_more_than_the_budget_is_told_where_there_is_one() {
        check(Some(5.001), Some(5.0), "fail: $5.00 a month, budget $5.00");
        check(Some(5.0), Some(5.0), "pass: $5.00 a month, budget $5.00");
        check(Some(0.5), Some(0.0), "fail: $0.50 a month, budget $0.00");
        check(Some(1e6), None, "");
        let unknown = "unknown: not every replica was listed, or requests were counted for less than an hour";
        check(None, Some(5.0), unknown);
    }
}
