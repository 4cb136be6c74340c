//! The cost of everything against the budget.

use super::entry::{Check, Context, Explanation, Unit, rule};
use crate::domain::assessment::Assessment;
use crate::domain::number::store::{BUDGET, DOLLARS};
use crate::domain::verdict::Severity;

pub(super) static CHECKS: &[Check] = &[Check {
    name: "CostAboveBudget",
    title: "Storage and requests stay within the budget",
    summary: "The replicas cost more than budgeted",
    description: "Storing all replicas and reading them costs {value} a month at the configured prices, more than the \
                  budget.",
    action: "Run `streamgauge cost` to see which replica it is. Keep less, or raise the budget.",
    unit: Unit::Dollars,
    rules: &[rule(Severity::Warning, DOLLARS.above(&BUDGET), 360)],
    explain: |context, on| cost(context, on.agent()?),
}];

fn cost(_: &Context, assessment: &Assessment) -> Option<Explanation> {
    let cost = &assessment.agent.cost;
    let budget = cost.budget_dollars_per_month?;
    Some(match cost.dollars_per_month {
        Some(dollars) => Explanation::Known(format!("${dollars:.2} a month, budget ${budget:.2}")),
        None => Explanation::Unknown(
            "not every replica has been listed yet, or requests have been counted for less than an hour".into(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::Watching;
    use super::super::judge::on_agent;
    use super::*;
    use crate::domain::assessment::{AgentReport, CostReport};

    fn check(dollars_per_month: Option<f64>, budget_dollars_per_month: Option<f64>, expected: &str) {
        let cost = CostReport { dollars_per_month, budget_dollars_per_month, ..CostReport::default() };
        let agent = AgentReport { cost, ..AgentReport::default() };
        let assessment = Assessment { agent, ..Assessment::default() };
        let verdicts = on_agent(&assessment, Timestamp::UNIX_EPOCH, Watching::Continuously);
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
        let unknown = "unknown: not every replica has been listed yet, or requests have been counted for less than an \
                       hour";
        check(None, Some(5.0), unknown);
    }
}
