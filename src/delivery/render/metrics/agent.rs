//! The agent's own state.

use super::family::{Family, Kind};
use crate::domain::alert::{Alert, AlertState};
use crate::domain::assessment::DatabaseState;
use crate::domain::verdict::Severity;

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_build_info",
        kind: Kind::Info,
        labels: &["version", "revision"],
        help: "The version that runs and the source revision it was built from.",
        samples: |report, sink| sink.info(&[report.assessment.agent.version, report.assessment.agent.revision]),
    },
    Family {
        name: "streamgauge_report_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the report was made from which everything in this scrape comes.",
        samples: |report, sink| sink.put(&[], report.generated_at),
    },
    Family {
        name: "streamgauge_config_last_reload_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if the last configuration that was read is in force, 0 if it was refused and the one before it is.",
        samples: |report, sink| sink.put(&[], report.assessment.agent.config.last_reload_successful),
    },
    Family {
        name: "streamgauge_config_last_reload_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the configuration in force was read.",
        samples: |report, sink| sink.put_known(&[], report.assessment.agent.config.last_reload_success_at),
    },
    Family {
        name: "streamgauge_state_last_save_successful",
        kind: Kind::Gauge,
        labels: &[],
        help: "1 if what survives a restart could be saved the last time, 0 if not; absent where nothing is to be saved.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.state.as_ref().and_then(|state| state.saved))
        },
    },
    Family {
        name: "streamgauge_state_last_save_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When what survives a restart was last saved.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.state.as_ref().and_then(|state| state.last_saved_at))
        },
    },
    Family {
        name: "streamgauge_state_set_aside_total",
        kind: Kind::Counter,
        labels: &[],
        help: "How often a damaged state was set aside and begun anew.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.state.as_ref().map(|state| state.set_aside))
        },
    },
    Family {
        name: "streamgauge_databases",
        kind: Kind::Gauge,
        labels: &["state"],
        help: "Databases that the agent knows, by whether it can watch them.",
        samples: |report, sink| {
            for state in DatabaseState::ALL {
                let beyond = if *state == DatabaseState::OverLimit { report.assessment.over_limit } else { 0 };
                let count =
                    beyond + report.assessment.databases.iter().filter(|database| database.state == *state).count();
                sink.put(&[state.as_str()], count);
            }
        },
    },
    Family {
        name: "streamgauge_discovery_success",
        kind: Kind::Gauge,
        labels: &["source"],
        help: "1 if the databases of this source could be found out, 0 if not.",
        samples: |report, sink| {
            for source in &report.assessment.agent.sources {
                sink.put(&[&source.source], source.success);
            }
        },
    },
    Family {
        name: "streamgauge_collector_success",
        kind: Kind::Gauge,
        labels: &["collector"],
        help: "1 if the last round of this collector ended well, 0 if not.",
        samples: |report, sink| {
            for collector in &report.assessment.agent.collectors {
                sink.put(&[collector.collector], collector.success);
            }
        },
    },
    Family {
        name: "streamgauge_collector_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["collector"],
        help: "When a round of this collector last ended well.",
        samples: |report, sink| {
            for collector in &report.assessment.agent.collectors {
                sink.put_known(&[collector.collector], collector.last_success_at);
            }
        },
    },
    Family {
        name: "streamgauge_collector_last_round_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["collector"],
        help: "When a round of this collector last ended, well or not, or when the agent started.",
        samples: |report, sink| {
            for collector in &report.assessment.agent.collectors {
                sink.put(&[collector.collector], collector.last_round_at);
            }
        },
    },
    Family {
        name: "streamgauge_collector_interval_seconds",
        kind: Kind::Gauge,
        labels: &["collector"],
        help: "The longest time between two rounds of this collector when all is well.",
        samples: |report, sink| {
            for collector in &report.assessment.agent.collectors {
                sink.put_known(&[collector.collector], collector.interval_seconds);
            }
        },
    },
    Family {
        name: "streamgauge_collector_duration_seconds",
        kind: Kind::Histogram,
        labels: &["collector"],
        help: "How long the rounds of this collector took.",
        samples: |report, sink| {
            for collector in &report.assessment.agent.collectors {
                sink.histogram(&[collector.collector], &collector.duration);
            }
        },
    },
    Family {
        name: "streamgauge_check_status",
        kind: Kind::Gauge,
        labels: &["database", "replica", "check", "status"],
        help: "1 for what this check came to: pass, fail or unknown.",
        samples: |report, sink| {
            for verdict in report.verdicts.iter() {
                let replica = verdict.replica.as_deref().unwrap_or_default();
                sink.put(
                    &[verdict.database.as_deref().unwrap_or_default(), replica, verdict.check, verdict.status.as_str()],
                    true,
                );
            }
        },
    },
    Family {
        name: "streamgauge_alerts",
        kind: Kind::Gauge,
        labels: &["severity", "state"],
        help: "Alerts of the built-in engine by state, where suppressed ones fire or are pending and nobody is told of them.",
        samples: |report, sink| {
            for severity in Severity::ALL {
                for state in ["pending", "firing", "suppressed", "resolved"] {
                    let of =
                        report.alerts.iter().filter(|alert| alert.severity == *severity && shown_as(alert) == state);
                    sink.put(&[severity.as_str(), state], of.count());
                }
            }
        },
    },
    Family {
        name: "streamgauge_alerts_dropped",
        kind: Kind::Gauge,
        labels: &[],
        help: "Rules that hold and are no alert because there are too many.",
        samples: |report, sink| sink.put(&[], report.alerts_dropped),
    },
    Family {
        name: "process_start_time_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the agent started, in seconds since 1970.",
        samples: |report, sink| sink.put(&[], report.assessment.agent.started_at),
    },
    Family {
        name: "process_cpu_seconds_total",
        kind: Kind::Counter,
        labels: &[],
        help: "User and system time that the agent has used.",
        samples: |report, sink| sink.put_known(&[], report.assessment.agent.process.map(|process| process.cpu_seconds)),
    },
    Family {
        name: "process_resident_memory_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "Memory that the agent holds.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.process.map(|process| process.resident_memory_bytes))
        },
    },
    Family {
        name: "process_open_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "File descriptors that the agent has open.",
        samples: |report, sink| sink.put_known(&[], report.assessment.agent.process.map(|process| process.open_fds)),
    },
    Family {
        name: "process_max_fds",
        kind: Kind::Gauge,
        labels: &[],
        help: "File descriptors that the agent may have open.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.process.and_then(|process| process.max_fds))
        },
    },
];

/// The `state` label of an alert.
fn shown_as(alert: &Alert) -> &'static str {
    match alert.state {
        AlertState::Resolved => "resolved",
        _ if alert.suppressed.is_some() => "suppressed",
        AlertState::Pending => "pending",
        AlertState::Firing => "firing",
    }
}
