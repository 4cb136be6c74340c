//! The dashboard of all databases: which of them need somebody, the worst first.

use super::panel::{
    Dashboard, Databases, Panel, Scale, Unit, largest_by, lines, section, stacked, stat, table, troubles,
};
use super::promql::{
    breaks, checks, checks_of_databases, could_be_lost, firing, how_many, how_many_reported, increase, lag,
    lag_of_objective, lag_unknown, not_restorable, of, one_check, only, promql, proof_age, rpo_met_over_30_days, sound,
    up,
};
use crate::domain::number::Number;
use crate::domain::number::agent::{CHECKS, LARGEST_LAG, OLDEST_RECOVERY_POINT, OLDEST_VERIFIED};
use crate::domain::number::database::{FULL, SIZE_BYTES, USED, USED_OBJECTIVE};
use crate::domain::number::drill::{DRILLS, INTERVAL, LAST_SUCCESS, RESTORE_SECONDS, RTO};
use crate::domain::number::replica::{
    GAPS, LAG_UNKNOWN_SINCE, RECOVERY_POINT, RESTORABLE, RESTORABLE_SINCE, RPO, STORAGE_DOLLARS_PER_MONTH,
    UNREPLICATED_BYTES, VERIFIED_AT,
};
use crate::domain::number::store::{BUDGET, DOLLARS, REQUEST_BUDGET, REQUEST_DOLLARS_PER_MONTH};
use crate::domain::profile::Profile;
use crate::domain::verdict::Status;

pub(super) fn fleet(profile: Profile) -> Dashboard {
    Dashboard {
        uid: "streamgauge-fleet",
        title: "streamgauge / Fleet",
        description: "Which databases need somebody now, the worst first, and how all of them are doing.",
        databases: Databases::All,
        sections: vec![
            section("", now(profile)),
            section("Recovery point objective", objective()),
            section("Restore drills", drills()),
            section("Space and money", space_and_money()),
            section("Buckets", [super::posture("Settings of every bucket that holds a replica.", of)]),
        ],
    }
}

fn now(profile: Profile) -> Vec<Panel> {
    let failing = checks("fail");
    vec![
        stat(
            "Could be lost now",
            "Committed bytes that are in no replica, of all databases. What an observer also reports is counted once. \
             What is unknown is not in this sum: see beside it.",
            Unit::Bytes,
            Scale::Plain,
            could_be_lost(profile),
        ),
        stat(
            "Lag unknown",
            "Replicas whose lag is unknown. The table below shows them among the worst.",
            Unit::Count,
            Scale::Doubt,
            how_many_reported(&lag_unknown()),
        ),
        stat(
            "Lag against RPO",
            "The largest lag as a share of the recovery point objective of its database; 100 % is the objective.",
            Unit::Ratio,
            Scale::OfObjective,
            format!("max({})", lag_of_objective()),
        ),
        stat(
            "Not restorable",
            "Replicas whose latest state cannot be restored now. This is 0 only if it is known of every replica, \
             otherwise unknown.",
            Unit::Count,
            Scale::Trouble,
            not_restorable(),
        ),
        troubles("Failing checks", "Failing checks, of databases and of agents; listed below.", &failing),
        stat(
            "Agents down",
            "Agents that Prometheus cannot scrape: nothing is known about the databases there.",
            Unit::Count,
            Scale::Trouble,
            how_many(&format!("({}) == 0", up()), &up()),
        ),
        worst_first(&trouble(profile)),
        table(
            "Failing checks",
            "What each agent finds wrong. Click the name of a check to open its section of the runbook, on the agent.",
            &["check", "database", "replica"],
        )
        .of_labels(failing)
        .width(12),
        table(
            "Alerts that fire",
            "What Prometheus alerts on; needs the rules of `streamgauge rules`. Click a name to open the runbook.",
            &["alertname", "severity", "database", "replica"],
        )
        .of_labels(firing(Databases::All))
        .width(12),
    ]
}

/// How bad it is with each replica, or with a database itself: 1 is where somebody has to look.
fn trouble(profile: Profile) -> String {
    // The sides of `or` are kept apart by a label, so that the largest of them is taken, and not the first.
    let side = |name: &str, promql: String| {
        let served = super::super::promql::profile(&promql) <= profile;
        served.then(|| format!("label_replace({promql}, \"side\", \"{name}\", \"\", \"\")"))
    };
    let sides = [
        side("lag", lag_of_objective()),
        // Halfway at least, so that it does not look well.
        side("doubt", format!("{} * 0.5", lag_unknown())),
        side("unknown", promql!("(time() - {LAG_UNKNOWN_SINCE}) / {RPO}", LAG_UNKNOWN_SINCE, RPO)),
        side("proof", proof_age()),
        side("map", promql!("({RESTORABLE} == 0) + 10", RESTORABLE)),
        side("checks", format!("count by (job, instance, database, replica) ({})", checks_of_databases("fail"))),
    ];
    let sides: Vec<String> = sides.into_iter().flatten().collect();
    format!("{} ({})", largest_by(&REPLICA), sides.join(" or "))
}

const REPLICA: [&str; 2] = ["database", "replica"];

fn worst_first(trouble: &str) -> Panel {
    let panel = table(
        "Worst first",
        "The 100 replicas in the worst state. At a trouble of 1 somebody has to look: the lag reaches its objective, \
         the proof is too old, or a check fails (1 for each). A row without a replica is about the database itself. \
         Click a database to open its dashboard, or an instance to open its agent's page.",
        &REPLICA,
    );
    panel
        .column("Trouble", Unit::Count, Scale::OfObjective, trouble.to_owned())
        .column("Lag", Unit::Seconds, Scale::Plain, lag())
        .column("Could be lost", Unit::Bytes, Scale::Plain, sound(&UNREPLICATED_BYTES))
        .column("Safe until", Unit::Instant, Scale::Plain, format!("{} * 1000", sound(&RECOVERY_POINT)))
        .column("Proof age", Unit::Seconds, Scale::Plain, promql!("time() - {VERIFIED_AT}", VERIFIED_AT))
        .column("Restorable since", Unit::Instant, Scale::Plain, promql!("{RESTORABLE_SINCE} * 1000", RESTORABLE_SINCE))
        .column("Holes", Unit::Count, Scale::Plain, of(&GAPS))
        .column("Drilled ago", Unit::Seconds, Scale::Plain, promql!("time() - {LAST_SUCCESS}", LAST_SUCCESS))
        .within(&format!("topk(100, {trouble})"))
}

fn objective() -> Vec<Panel> {
    vec![
        lines(
            "Replicas beyond their objective",
            "How many replicas lag by more than their recovery point objective, and for how many that is unknown.",
            Unit::Count,
        )
        .judged("beyond", Scale::Trouble, format!("sum({} > bool 1)", lag_of_objective()))
        .judged("unknown", Scale::Doubt, how_many_reported(&lag_unknown())),
        lines(
            "Largest lag against its objective",
            "The ten replicas with the largest lag, as a share of their objective.",
            Unit::Ratio,
        )
        .ask("{{database}} {{replica}} {{instance}}", format!("topk(10, {})", lag_of_objective()))
        .objective("objective", promql!("max({RPO} / {RPO})", RPO))
        .width(8),
        stat(
            "RPO met, 30 days",
            "How much of the time the worst replica was within its recovery point objective. Recorded by the rules of \
             `streamgauge rules`.",
            Unit::Ratio,
            Scale::Availability,
            format!("min({})", rpo_met_over_30_days()),
        ),
        stacked(
            "Checks that do not pass",
            "Of how many databases or replicas, whichever profile is served.",
            Unit::Count,
        )
        .judged("{{check}} {{status}}", Scale::Trouble, not_passing(Status::Fail))
        .judged("{{check}} {{status}}", Scale::Doubt, not_passing(Status::Unknown)),
        lines("Worst of all replicas", "Of those for which it is known, whichever profile is served.", Unit::Seconds)
            .ask("lag", promql!("max({LARGEST_LAG})", LARGEST_LAG))
            .ask("since the oldest recovery point", oldest(&OLDEST_RECOVERY_POINT))
            .ask("since the oldest proof", oldest(&OLDEST_VERIFIED)),
    ]
}

/// Of how many databases and replicas each check has this result.
fn not_passing(status: Status) -> String {
    let of_status = only(&CHECKS, &[&format!("status=\"{}\"", status.as_str())]);
    format!("sum by (check, status) ({of_status}) > 0")
}

/// How long ago the oldest of all agents was.
fn oldest(number: &Number) -> String {
    format!("max(time() - {})", of(number))
}

fn drills() -> Vec<Panel> {
    vec![
        stat(
            "Drills",
            "Restore drills in the time shown, by result. Inconclusive says nothing about the backup.",
            Unit::Count,
            Scale::Plain,
            format!("sum by (result) ({})", increase(&DRILLS)),
        )
        .named("{{result}}")
        .width(12),
        stat(
            "Failing",
            "Replicas whose last conclusive drill failed.",
            Unit::Count,
            Scale::Trouble,
            how_many_reported(&breaks("RestoreDrillFailed")),
        ),
        stat(
            "Overdue",
            "Replicas without a good drill for more than two intervals, unless they are too large to be drilled.",
            Unit::Count,
            Scale::Doubt,
            how_many(&one_check("RestoreDrillOverdue", "fail"), &of(&INTERVAL)),
        ),
        stat(
            "Restore against RTO",
            "The longest restore as a share of the recovery time objective of its database; 100 % is the objective.",
            Unit::Ratio,
            Scale::OfObjective,
            promql!("max({RESTORE_SECONDS} / {RTO})", RESTORE_SECONDS, RTO),
        ),
    ]
}

fn space_and_money() -> Vec<Panel> {
    vec![
        lines(
            "Fullest disks",
            "The ten databases with the fullest filesystems, and how full these may be.",
            Unit::Ratio,
        )
        .ask("{{database}} {{instance}}", promql!("topk(10, {USED})", USED))
        .objective("objective", promql!("min({USED_OBJECTIVE})", USED_OBJECTIVE)),
        lines(
            "Bill",
            "Dollars a month for storing all replicas and for the agents' requests, beside the budget.",
            Unit::Dollars,
        )
        .ask("all", promql!("sum({DOLLARS})", DOLLARS))
        .ask(
            "requests to {{store}}",
            promql!("sum by (store) ({REQUEST_DOLLARS_PER_MONTH})", REQUEST_DOLLARS_PER_MONTH),
        )
        .objective("budget", promql!("sum({BUDGET})", BUDGET))
        .objective("request budget", promql!("sum({REQUEST_BUDGET})", REQUEST_BUDGET)),
        lines(
            "Most expensive replicas",
            "The ten replicas that cost the most to store, in dollars a month.",
            Unit::Dollars,
        )
        .ask(
            "{{database}} {{replica}} {{instance}}",
            promql!("topk(10, {STORAGE_DOLLARS_PER_MONTH})", STORAGE_DOLLARS_PER_MONTH),
        ),
        stat(
            "First disk full in",
            "When the first filesystem will be full at the current rate. Also unknown if none is filling up.",
            Unit::Seconds,
            Scale::Plain,
            promql!("min({FULL})", FULL),
        )
        .width(6),
        stat(
            "Databases",
            "The size of all databases.",
            Unit::Bytes,
            Scale::Plain,
            promql!("sum({SIZE_BYTES})", SIZE_BYTES),
        )
        .width(6),
    ]
}
