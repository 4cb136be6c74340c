//! Numbers of the agent itself.

use super::declare::{Kind, Known, Number, Value, counter, gauge, of_report, several};
use super::subject::Scope::{Agent, Collector, Source};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::assessment::{AgentReport, DatabaseState};
use crate::domain::verdict::{Severity, Verdict};

numbers! {
    BUILD = several(Kind::Info, (Agent, &["version", "revision"]), "streamgauge_build_info",
        "Version and source revision of the running agent.",
        |on, put| {
            let AgentReport { version, revision, .. } = on.agent()?.agent;
            put(&[version, revision], true.known());
            Some(())
        });

    REPORT_AT = of_report(&[], "streamgauge_report_timestamp_seconds",
        "When the report that this scrape shows was made.",
        |report, put| put(&[], report.generated_at.known()));

    RELOADED = gauge(Agent, "streamgauge_config_last_reload_successful",
        "1 if the configuration that was read last is in force, 0 if it was rejected and the previous one still is.",
        |on| on.agent()?.agent.config.last_reload_successful.known());

    LAST_RELOAD_SUCCESS = gauge(Agent, "streamgauge_config_last_reload_success_timestamp_seconds",
        "When the configuration in force was read.",
        |on| on.agent()?.agent.config.last_reload_success_at.known());

    STATE_SAVED = gauge(Agent, "streamgauge_state_last_save_successful",
        "1 if the agent's state could be saved at the last attempt, 0 if not; absent if no state is kept.",
        |on| on.agent()?.agent.state.as_ref()?.saved.known());

    LAST_SAVE = gauge(Agent, "streamgauge_state_last_save_timestamp_seconds",
        "When the agent's state was last saved.",
        |on| on.agent()?.agent.state.as_ref()?.last_saved_at.known());

    STATES_SET_ASIDE = counter(Agent, "streamgauge_state_set_aside_total",
        "Times that a damaged state was set aside and a new one started.",
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

    CHECK_STATUS = of_report(&["database", "replica", "check", "status"], "streamgauge_check_status",
        "1 for the result of this check: pass, fail or unknown.",
        |report, put| {
            for Verdict { database, replica, check, status, .. } in report.verdicts.iter() {
                let [database, replica] = [database, replica].map(|name| name.as_deref().unwrap_or_default());
                put(&[database, replica, check, status.as_str()], true.known());
            }
        });

    ALERTS = of_report(&["severity", "state"], "streamgauge_alerts",
        "Alerts of the built-in engine, by state; suppressed ones are pending or firing, but nobody is notified of \
         them.",
        |report, put| {
            for severity in Severity::ALL.iter().rev() {
                for state in ["pending", "firing", "suppressed", "resolved"] {
                    let of = report.alerts.iter().filter(|alert| alert.severity == *severity && shown_as(alert) == state);
                    put(&[severity.as_str(), state], of.count().known());
                }
            }
        });

    ALERTS_DROPPED = of_report(&[], "streamgauge_alerts_dropped",
        "Rules that hold but are not alerts, because there are too many.",
        |report, put| put(&[], report.alerts_dropped.known()));

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
        "File descriptors that the agent may have open at most.",
        |on| on.agent()?.agent.process?.max_fds.known());
}

/// The `state` label of an alert.
fn shown_as(alert: &Alert) -> &'static str {
    match alert.state {
        AlertState::Pending | AlertState::Firing if alert.suppressed.is_some() => "suppressed",
        state => state.as_str(),
    }
}
