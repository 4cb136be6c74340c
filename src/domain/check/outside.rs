//! Checks that only Prometheus can make: an agent that does not answer, the way to the pager, and how often an
//! objective was missed over weeks.
//!
//! Their conditions are PromQL as it stands. [`recording_rules`] are the series that they and dashboards stand on.

use std::time::Duration;

use super::entry::{Check, Rule, Unit, rule};
use super::expression::Condition;
use crate::domain::number::replica::{LAG, RPO};
use crate::domain::verdict::Severity;

/// The budget that the objective leaves is used up too fast: 99.9 % of 30 days within the recovery point objective leave 43
/// minutes beyond it. Six times too fast uses 5 % of them in six hours; the short window ends the alert soon after the
/// trouble. What is faster than that is `ReplicationLag`, which pages at once.
const RPO_BUDGET_BURN: &str = "\
(1 - replica:streamgauge_rpo_met:avg6h) > (6 * 0.001) and (1 - replica:streamgauge_rpo_met:avg30m) > (6 * 0.001)";

/// An agent that cannot be scraped has no series; the others say how many there should be.
const SHARD_MISSING: &str = "\
count by (job) (count by (job, shard) (streamgauge_shard_info)) < max by (job) (streamgauge_shards)";

const SHARDS_DISAGREE: &str = "\
max by (job) (streamgauge_shards) != min by (job) (streamgauge_shards) \
or count by (job) (streamgauge_shard_info) > count by (job) (count by (job, shard) (streamgauge_shard_info))";

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "RpoBudgetBurn",
        title: "The recovery point objective is met 99.9 % of the time",
        summary: "{database}: {replica} misses its recovery point objective too often",
        description: "Replica {replica} of {database} was behind its objective, or not verified, for {value} of the \
                      last 6 hours. This uses up the allowance of 0.1 % in 30 days too fast.",
        action: "Look for something that comes and goes: bursts of writes, throttling by the bucket, restarts of \
                 Litestream.",
        unit: Unit::Ratio,
        rules: &[rule(Severity::Warning, Condition::Outside(RPO_BUDGET_BURN), 2)],
        explain: |_, _| None,
    },
    Check {
        name: "AgentDown",
        title: "The agent answers",
        summary: "streamgauge at {instance} does not answer",
        description: "Prometheus could not scrape {instance} for 5 minutes: nothing is known about the databases \
                      there.",
        action: "Check whether the host is up, then check the agent: `systemctl status streamgauge` and its log.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::Outside(r#"up{job="streamgauge"} == 0"#), 5)],
        explain: |_, _| None,
    },
    Check {
        name: "AgentAbsent",
        title: "Prometheus has an agent to scrape",
        summary: "Prometheus scrapes no streamgauge",
        description: "Prometheus has no target for the job `streamgauge`: nobody would notice that the agent is gone.",
        action: "Check scrape_configs and service discovery: the job must be called `streamgauge`.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::Outside(r#"absent(up{job="streamgauge"})"#), 10)],
        explain: |_, _| None,
    },
    Check {
        name: "ShardMissing",
        title: "Every part of the fleet is watched",
        summary: "A shard of streamgauge is missing: only {value} found",
        description: "The fleet is shared between several agents, but only {value} of them could be scraped: nothing \
                      is known about the replicas of the others.",
        action: "Compare `streamgauge_shard_info` with the agents that should run: one is down, was never started, or \
                 Prometheus does not scrape it.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::Outside(SHARD_MISSING), 10)],
        explain: |_, _| None,
    },
    Check {
        name: "ShardsDisagree",
        title: "Agents agree on who watches what",
        summary: "Shards of streamgauge do not agree on who watches what",
        description: "Agents were given different numbers of shards, or two were given the same shard: some replicas \
                      may be watched by nobody.",
        action: "In `--shard`, give every agent the same number after the slash, and each its own number before it.",
        unit: Unit::Count,
        rules: &[rule(Severity::Critical, Condition::Outside(SHARDS_DISAGREE), 15)],
        explain: |_, _| None,
    },
    Check {
        name: "Watchdog",
        title: "Alerts are delivered",
        summary: "All is well: this alert always fires",
        description: "It proves that rules are evaluated and alerts are delivered. Whoever receives it must notice \
                      when it stops.",
        action: "Nothing while it fires. When it stops, Prometheus, Alertmanager or the connection between them is \
                 broken.",
        unit: Unit::Count,
        rules: &[Rule {
            severity: Severity::Info,
            when: Condition::Outside("vector(1)"),
            hold: Duration::ZERO,
            keep_firing: Duration::ZERO,
        }],
        explain: |_, _| None,
    },
];

/// The share of time within the recovery point objective over 30 days: one of [`recording_rules`].
pub const RPO_MET_30_DAYS: &str = "replica:streamgauge_rpo_met:avg30d";

/// A series that Prometheus computes and keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingRule {
    /// Its name, as `level:metric:operation`.
    pub record: String,
    /// PromQL.
    pub expr: String,
    /// How often; `None`: as often as everything.
    pub interval: Option<Duration>,
}

/// Whether the recovery point objective is met, 1 or 0 for each replica, and its averages: the service level.
///
/// It is met while lag is known and at most the objective. A replica that cannot be read meets it until a commit that may
/// be missing is older than that, and then has no sample; one that was not verified for so long that it is an alert misses
/// it. Where there is nothing to compare with (only the bucket is known) there is no sample. Time in which the
/// agent was down is not counted: `AgentDown` is the alert for that. `unverified` has a series for each replica that is not
/// verified.
pub fn recording_rules(unverified: &str) -> Vec<RecordingRule> {
    let met = "replica:streamgauge_rpo_met";
    let within = format!("({} <= bool {})", LAG.name, RPO.name);
    let every = |record: String, expr: String| RecordingRule { record, expr, interval: None };
    let mut rules = vec![every(met.into(), format!("{within} unless ({unverified})\nor\n({unverified}) * 0"))];
    rules.extend(
        ["5m", "30m", "1h", "6h"]
            .map(|over| every(format!("{met}:avg{over}"), format!("avg_over_time({met}[{over}])"))),
    );
    // Averages of whole hours, so that 30 days are 720 samples.
    rules.push(RecordingRule {
        record: RPO_MET_30_DAYS.into(),
        expr: format!("avg_over_time({met}:avg1h[30d:1h])"),
        interval: Some(Duration::from_secs(900)),
    });
    rules
}
