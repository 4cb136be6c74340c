//! The dashboard of the agents: whether what they say is new, and what it takes them to know it.

use super::panel::{
    Dashboard, Databases, Panel, Scale, Unit, heatmap, lines, section, stacked, stat, states, table, troubles,
};
use super::promql::{buckets, how_many, increase, of, of_process, only, promql, rate, rate_of_process, up};
use crate::domain::number::agent::{
    ALERTS, ALERTS_DROPPED, BUILD, COLLECTOR_DURATION, COLLECTOR_LAST_SUCCESS, COLLECTOR_SUCCESS, DATABASES,
    DISCOVERED, LAST_RELOAD_SUCCESS, LAST_ROUND, LAST_SAVE, PANICS, PROCESS_CPU_SECONDS, PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS, PROCESS_RESIDENT_MEMORY_BYTES, PROCESS_START_TIME, RELOADED, REPORT_AT, ROUND_INTERVAL, SERIES,
    SERIES_LIMIT, STATE_SAVED, STATES_SET_ASIDE,
};
use crate::domain::number::drill::{DOWNLOAD_BUDGET_BYTES, DOWNLOAD_BUDGET_REMAINING_BYTES};
use crate::domain::number::receiver::{DEADMAN_LAST_SUCCESS, FAILING_SINCE, FAILURES, NOTIFICATIONS, WAITING};
use crate::domain::number::store::{
    BILLABLE_REQUESTS, CLOCK_OFFSET, FAILURE_RATIO, LOOK_SPACING, RECEIVED_BYTES, REQUEST_DURATION, REQUEST_FAILURES,
    REQUESTS,
};
use crate::domain::profile::Profile;
use crate::domain::verdict::Severity;

pub(super) fn agent(_: Profile) -> Dashboard {
    Dashboard {
        uid: "streamgauge-agent",
        title: "streamgauge / Agent",
        description: "Whether the agents are well, and what their work costs.",
        databases: Databases::None,
        sections: vec![
            section("", now()),
            section("What the agents look at", looks()),
            section("Stores", stores()),
            section("Notifications", notifications()),
            section("Process", process()),
        ],
    }
}

fn now() -> Vec<Panel> {
    vec![
        stat(
            "Agents down",
            "Agents that Prometheus cannot scrape.",
            Unit::Count,
            Scale::Trouble,
            how_many(&format!("({}) == 0", up()), &up()),
        ),
        stat(
            "Oldest report",
            "The age of the report that an agent shows. An old report says nothing about now.",
            Unit::Seconds,
            Scale::Plain,
            promql!("max(time() - {REPORT_AT})", REPORT_AT),
        ),
        troubles(
            "Rejected configurations",
            "Agents that rejected their latest configuration and keep using the previous one.",
            &promql!("{RELOADED} == 0", RELOADED),
        ),
        stat(
            "Databases not watched",
            "Databases that agents know but cannot watch. Those of an observer, which only sees replicas, count as \
             watched.",
            Unit::Count,
            Scale::Trouble,
            format!("sum({})", only(&DATABASES, &["state!~\"monitored|remote\""])),
        ),
        troubles(
            "Failing collectors",
            "Collectors whose last round failed.",
            &promql!("{COLLECTOR_SUCCESS} == 0", COLLECTOR_SUCCESS),
        ),
        troubles("Receivers not reached", "Receivers that no message reaches.", &of(&FAILING_SINCE)),
        agents(),
    ]
}

fn agents() -> Panel {
    // Gives each number of an agent the labels of its build, and leaves the numbers of other programs out.
    let built = |number: String| promql!("{number} * on (job, instance) group_left (version, revision) {BUILD}", BUILD);
    table(
        "Agents",
        "Each agent with its build. Click an instance to open its page. Saved is unknown if no state is kept.",
        &["version", "revision"],
    )
    .column("Up since", Unit::Instant, Scale::Plain, built(promql!("1000 * {PROCESS_START_TIME}", PROCESS_START_TIME)))
    .column(
        "Configured",
        Unit::Instant,
        Scale::Plain,
        built(promql!("1000 * {LAST_RELOAD_SUCCESS}", LAST_RELOAD_SUCCESS)),
    )
    .column("Report age", Unit::Seconds, Scale::Plain, built(promql!("(time() - {REPORT_AT})", REPORT_AT)))
    .column("Saved ago", Unit::Seconds, Scale::Plain, built(promql!("(time() - {LAST_SAVE})", LAST_SAVE)))
    .column("State set aside", Unit::Count, Scale::Trouble, built(increase(&STATES_SET_ASIDE)))
    .column("Internal errors", Unit::Count, Scale::Trouble, built(increase(&PANICS)))
}

fn looks() -> Vec<Panel> {
    vec![
        stacked("Databases", "By whether the agent can watch them.", Unit::Count)
            .ask("{{state}}", promql!("sum by (state) ({DATABASES})", DATABASES)),
        states("Sources and state", "Whether databases could be listed, and the agent's state saved.", Scale::Good)
            .ask("{{instance}} {{source}}", of(&DISCOVERED))
            .ask("{{instance}} configuration", of(&RELOADED))
            .ask("{{instance}} state saved", of(&STATE_SAVED)),
        states("Collectors", "Whether their last round succeeded.", Scale::Good)
            .ask("{{instance}} {{collector}}", of(&COLLECTOR_SUCCESS)),
        lines(
            "Rounds against their interval",
            "The time since a round last ended, and since one last succeeded, as a share of the longest time between \
             two rounds.",
            Unit::Ratio,
        )
        .ask(
            "{{instance}} {{collector}}",
            promql!("(time() - {LAST_ROUND}) / {ROUND_INTERVAL}", LAST_ROUND, ROUND_INTERVAL),
        )
        .ask(
            "{{instance}} {{collector}} success",
            promql!("(time() - {COLLECTOR_LAST_SUCCESS}) / {ROUND_INTERVAL}", COLLECTOR_LAST_SUCCESS, ROUND_INTERVAL),
        )
        .objective("interval", promql!("max({ROUND_INTERVAL} / {ROUND_INTERVAL})", ROUND_INTERVAL)),
        heatmap("Duration of rounds", "How long the rounds of all collectors took.", &buckets(&COLLECTOR_DURATION)),
        lines(
            "Looks rarer than configured",
            "How many times rarer than configured looks at buckets are, to stay within the request budget; known only \
             with such a budget.",
            Unit::Count,
        )
        .ask("{{instance}}", of(&LOOK_SPACING)),
        lines("Download budget left for drills", "In 24 hours, from all buckets together.", Unit::Bytes)
            .ask("{{instance}}", of(&DOWNLOAD_BUDGET_REMAINING_BYTES))
            .objective("budget", promql!("max({DOWNLOAD_BUDGET_BYTES})", DOWNLOAD_BUDGET_BYTES)),
        lines(
            "Series",
            "The series that the configured profiles would serve, beside the limit; known only with a limit.",
            Unit::Count,
        )
        .ask("{{instance}}", of(&SERIES))
        .objective("limit", promql!("min({SERIES_LIMIT})", SERIES_LIMIT)),
    ]
}

fn stores() -> Vec<Panel> {
    let quantile = |quantile: f64| {
        let buckets = buckets(&REQUEST_DURATION);
        format!("histogram_quantile({quantile}, sum by (le, store) (rate({buckets}[$__rate_interval])))")
    };
    vec![
        lines("Requests", "Requests that the agents made, including retries and failures.", Unit::RequestsPerSecond)
            .ask("{{store}} {{operation}}", format!("sum by (store, operation) ({})", rate(&REQUESTS))),
        lines("Failed requests", "By reason, and as a share of those of the last 15 minutes.", Unit::RequestsPerSecond)
            .ask(
                "{{store}} {{operation}}: {{reason}}",
                format!("sum by (store, operation, reason) ({})", rate(&REQUEST_FAILURES)),
            )
            .right("{{instance}} {{store}}", Unit::Ratio, of(&FAILURE_RATIO)),
        lines("Billable requests", "By server, and by the class that they are billed in.", Unit::RequestsPerSecond)
            .ask("{{store}} {{host}} {{class}}", format!("sum by (store, host, class) ({})", rate(&BILLABLE_REQUESTS))),
        lines("Duration of a request", "Median and 99th percentile.", Unit::Seconds)
            .ask("{{store}} half", quantile(0.5))
            .ask("{{store}} 99 %", quantile(0.99)),
        lines("Received", "Bytes of answers.", Unit::BytesPerSecond)
            .ask("{{store}}", format!("sum by (store) ({})", rate(&RECEIVED_BYTES))),
        lines("Clocks", "How far the clock of a store is, at least, ahead of the agent's.", Unit::Seconds)
            .ask("{{instance}} {{store}}", of(&CLOCK_OFFSET)),
    ]
}

fn notifications() -> Vec<Panel> {
    vec![
        Severity::ALL
            .iter()
            .rev()
            .fold(
                stacked("Alerts", "Alerts of the agents' own engine. Nobody is told of suppressed ones.", Unit::Count),
                |panel, severity| panel.judged("{{severity}} {{state}}", scale_of(*severity), alerts_of(*severity)),
            )
            .ask("dropped", promql!("sum({ALERTS_DROPPED})", ALERTS_DROPPED)),
        lines("Messages per second", "Messages that receivers accepted, and attempts that failed.", Unit::Count)
            .ask("{{instance}} {{receiver}}", rate(&NOTIFICATIONS))
            .ask("{{instance}} {{receiver}}: {{reason}}", rate(&FAILURES)),
        lines("Waiting", "Alerts that began or ended without a receiver being told yet.", Unit::Count)
            .ask("{{instance}} {{receiver}}", of(&WAITING))
            .right(
                "{{instance}} {{receiver}} not reached for",
                Unit::Seconds,
                promql!("time() - {FAILING_SINCE}", FAILING_SINCE),
            ),
        lines("Dead-man's switch", "The time since it was last reached.", Unit::Seconds)
            .ask("{{instance}}", promql!("time() - {DEADMAN_LAST_SUCCESS}", DEADMAN_LAST_SUCCESS)),
    ]
}

fn process() -> Vec<Panel> {
    vec![
        lines("CPU", "Seconds of CPU time that an agent uses in a second.", Unit::Ratio)
            .ask("{{instance}}", rate_of_process(&PROCESS_CPU_SECONDS))
            .width(8),
        lines("Memory", "Resident memory of an agent.", Unit::Bytes)
            .ask("{{instance}}", of_process(&PROCESS_RESIDENT_MEMORY_BYTES))
            .width(8),
        lines("File descriptors", "How many are open, and how many may be.", Unit::Count)
            .ask("{{instance}}", of_process(&PROCESS_OPEN_FDS))
            .objective("{{instance}} limit", of_process(&PROCESS_MAX_FDS))
            .width(8),
    ]
}

fn alerts_of(severity: Severity) -> String {
    let of_severity = only(&ALERTS, &[&format!("severity=\"{}\"", severity.as_str())]);
    format!("sum by (severity, state) ({of_severity})")
}

fn scale_of(severity: Severity) -> Scale {
    match severity {
        Severity::Critical => Scale::Trouble,
        Severity::Warning => Scale::Doubt,
        Severity::Info => Scale::Plain,
    }
}
