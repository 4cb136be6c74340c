//! Numbers of the agent itself.

use super::declare::{Kind, Known, Number, Put, Value, counter, gauge, of_judged, of_report, several};
use super::subject::Scope::{Agent, Collector, Source};
use super::subject::Subject;
use crate::domain::alert::{Alert, AlertState};
use crate::domain::assessment::{AgentReport, DatabaseState, Reduced};
use crate::domain::verdict::{Severity, Status, Verdict};

numbers! {
    BUILD = several(Kind::Info, (Agent, &["version", "revision"]), "streamgauge_build_info",
        "Version and source revision of the running agent.",
        |on, put| {
            let AgentReport { version, revision, .. } = on.agent()?.agent;
            put(&[version, revision], true.known());
            Some(())
        });

    REPORT_AT = of_report(&[], "streamgauge_report_timestamp_seconds",
        "When the report shown by this scrape was made.",
        |report, _, put| put(&[], report.generated_at.known()));

    RELOADED = gauge(Agent, "streamgauge_config_last_reload_successful",
        "1 if the latest configuration is in force, 0 if it was rejected and the previous one still is.",
        |on| on.agent()?.agent.config.last_reload_successful.known());

    LAST_RELOAD_SUCCESS = gauge(Agent, "streamgauge_config_last_reload_success_timestamp_seconds",
        "When the configuration was last read, or found unchanged.",
        |on| on.agent()?.agent.config.last_reload_success_at.known());

    SHARD = several(Kind::Info, (Agent, &["shard"]), "streamgauge_shard_info",
        "The number of this agent among those that share a fleet, from 0; absent if it is the only one.",
        |on, put| {
            put(&[&on.agent()?.agent.shard?.index.to_string()], true.known());
            Some(())
        });

    SHARDS = gauge(Agent, "streamgauge_shards",
        "How many agents share the fleet, as configured for this one; absent if it is the only one.",
        |on| on.agent()?.agent.shard?.count.known());

    STATE_SAVED = gauge(Agent, "streamgauge_state_last_save_successful",
        "1 if the agent's state could be saved at the last attempt, 0 if not; absent if no state is kept.",
        |on| on.agent()?.agent.state.as_ref()?.saved.known());

    LAST_SAVE = gauge(Agent, "streamgauge_state_last_save_timestamp_seconds",
        "When the agent's state was last saved.",
        |on| on.agent()?.agent.state.as_ref()?.last_saved_at.known());

    STATES_SET_ASIDE = counter(Agent, "streamgauge_state_set_aside_total",
        "How often a damaged state was set aside and a new one started.",
        |on| on.agent()?.agent.state.as_ref()?.set_aside.known());

    DATABASES = several(Kind::Gauge, (Agent, &["state"]), "streamgauge_databases",
        "Databases that the agent knows, by whether it can watch them.",
        |on, put| {
            let assessment = on.agent()?;
            for state in DatabaseState::ALL {
                put(&[state.as_str()], assessment.count(*state).known());
            }
            Some(())
        });

    SERIES = gauge(Agent, "streamgauge_series",
        "Series that the configured profiles would serve; absent without a series-limit.",
        |on| on.agent()?.agent.series?.configured.known());

    SERIES_LIMIT = gauge(Agent, "streamgauge_series_limit",
        "The configured number of series above which profiles are reduced.",
        |on| on.agent()?.agent.series?.limit.known());

    REDUCED = gauge(Agent, "streamgauge_metrics_reduced",
        "2 if the limit keeps the series of all databases from being served, 1 if smaller profiles are served, 0 if \
         neither; absent without a limit.",
        |on| {
            Some(Value::Int(match on.agent()?.agent.series?.reduced {
                Reduced::No => 0,
                Reduced::To(_) => 1,
                Reduced::Shed => 2,
            }))
        });

    DISCOVERED = gauge(Source, "streamgauge_discovery_success",
        "1 if the databases of this source could be listed, 0 if not.",
        |on| on.source()?.success.known());

    COLLECTOR_SUCCESS = gauge(Collector, "streamgauge_collector_success",
        "1 if the last round of this collector succeeded, 0 if not.",
        |on| on.collector()?.success.known());

    COLLECTOR_LAST_SUCCESS = gauge(Collector, "streamgauge_collector_last_success_timestamp_seconds",
        "When a round of this collector last succeeded.",
        |on| on.collector()?.last_success_at.known());

    LAST_ROUND = gauge(Collector, "streamgauge_collector_last_round_timestamp_seconds",
        "When a round of this collector last ended, successful or not, or when the agent started.",
        |on| on.collector()?.last_round_at.known());

    ROUND_INTERVAL = gauge(Collector, "streamgauge_collector_interval_seconds",
        "The longest time between two rounds of this collector when all is well.",
        |on| on.collector()?.interval_seconds.known());

    COLLECTOR_DURATION = several(Kind::Histogram, (Collector, &[]), "streamgauge_collector_duration_seconds",
        "How long the rounds of this collector took.",
        |on, put| {
            put(&[], Some(Value::Histogram(&on.collector()?.duration)));
            Some(())
        });

    CHECK_STATUS = of_judged(&["database", "replica", "check", "status"], "streamgauge_check_status",
        "1 for the result of this check: pass, fail or unknown; only the full profile has those that pass, and notes.",
        |selection, judged, put| {
            let (all, name) = (selection.wants_all(&CHECK_STATUS, judged.database), judged.database.name.as_str());
            let told = judged.checks().iter().filter(|verdict| all || verdict.is_trouble());
            told.for_each(|verdict| tell(Some(name), verdict, put));
        },
        |report, put| report.verdicts.agent.iter().for_each(|verdict| tell(None, verdict, put)));

    CHECK_BREACH = of_report(&["database", "replica", "check", "severity"], "streamgauge_check_breach",
        "The number that this rule of a check compares, while the rule holds for the database or replica.",
        |report, _, put| {
            let selection = &report.assessment.selection;
            for breach in &report.verdicts.breaches {
                if selection.wants(&CHECK_BREACH, Subject::Database(&breach.database)) {
                    let [database, replica] = subject(Some(&breach.database.name), breach.replica.as_deref());
                    put(&[database, replica, breach.check, breach.severity.as_str()], breach.value.known());
                }
            }
        });

    CHECKS = of_report(&["check", "status"], "streamgauge_checks",
        "Databases or replicas for which this check fails, or is unknown.",
        |report, _, put| {
            for (check, [failing, unknown]) in &report.verdicts.troubles {
                put(&[check, Status::Fail.as_str()], failing.known());
                put(&[check, Status::Unknown.as_str()], unknown.known());
            }
        });

    LARGEST_LAG = of_report(&[], "streamgauge_largest_lag_seconds",
        "The largest streamgauge_replica_lag_seconds of all replicas, served or not.",
        |_, totals, put| put(&[], totals.largest_lag_seconds.known()));

    OLDEST_RECOVERY_POINT = of_report(&[], "streamgauge_oldest_recovery_point_timestamp_seconds",
        "The oldest streamgauge_replica_recovery_point_timestamp_seconds of all replicas, served or not.",
        |_, totals, put| put(&[], totals.oldest_recovery_point.known()));

    OLDEST_VERIFIED = of_report(&[], "streamgauge_oldest_verified_timestamp_seconds",
        "The oldest streamgauge_replica_verified_timestamp_seconds of all replicas, served or not.",
        |_, totals, put| put(&[], totals.oldest_verified.known()));

    ALERTS = of_report(&["severity", "state"], "streamgauge_alerts",
        "Alerts of the built-in engine, by state; suppressed ones are pending or firing, but notify nobody.",
        |report, _, put| {
            for severity in Severity::ALL.iter().rev() {
                for state in ["pending", "firing", "suppressed", "resolved"] {
                    let of = report.alerts.iter().filter(|alert| alert.severity == *severity && shown_as(alert) == state);
                    put(&[severity.as_str(), state], of.count().known());
                }
            }
        });

    ALERTS_DROPPED = of_report(&[], "streamgauge_alerts_dropped",
        "Rules that hold but are not alerts, because there are too many.",
        |report, _, put| put(&[], report.alerts_dropped.known()));

    PANICS = counter(Agent, "streamgauge_panics_total",
        "Internal errors of the agent since it started, each of which ended one piece of work.",
        |on| on.agent()?.agent.process?.panics.known());

    PROCESS_START_TIME = gauge(Agent, "process_start_time_seconds",
        "When the agent started, in seconds since 1970.",
        |on| {
            let agent = &on.agent()?.agent;
            // Of one that looks only once, nothing else of its process is told either.
            agent.process.as_ref()?;
            agent.started_at.known()
        });

    PROCESS_CPU_SECONDS = counter(Agent, "process_cpu_seconds_total",
        "User and system CPU time that the agent has used.",
        |on| on.agent()?.agent.process?.cpu_seconds.known());

    PROCESS_RESIDENT_MEMORY_BYTES = gauge(Agent, "process_resident_memory_bytes",
        "Resident memory of the agent.",
        |on| on.agent()?.agent.process?.resident_memory_bytes.known());

    PROCESS_OPEN_FDS = gauge(Agent, "process_open_fds",
        "File descriptors that the agent has open.",
        |on| on.agent()?.agent.process?.open_fds.known());

    PROCESS_MAX_FDS = gauge(Agent, "process_max_fds",
        "The most file descriptors that the agent may have open.",
        |on| on.agent()?.agent.process?.max_fds.known());
}

/// The `state` label of an alert.
fn shown_as(alert: &Alert) -> &'static str {
    match alert.state {
        AlertState::Pending | AlertState::Firing if alert.suppressed.is_some() => "suppressed",
        state => state.as_str(),
    }
}

fn tell(database: Option<&str>, verdict: &Verdict, put: &mut Put<'_>) {
    let [database, replica] = subject(database, verdict.replica.as_deref());
    put(&[database, replica, verdict.check, verdict.status.as_str()], true.known());
}

/// The `database` and `replica` labels; without one there is none.
fn subject<'a>(database: Option<&'a str>, replica: Option<&'a str>) -> [&'a str; 2] {
    [database, replica].map(Option::unwrap_or_default)
}
