//! Numbers of restore drills: what they came to, and what they may download.

use super::declare::{Kind, Known, Number, gauge, several};
use super::subject::Scope::{Agent, Replica};
use super::subject::Subject;
use crate::domain::drill::{DrillHistory, DrillRecord, DrillReport, DrillResult};

/// Where it is or was drilled.
fn drill(on: Subject<'_>) -> Option<&DrillReport> {
    on.replica()?.drill.as_deref()
}

/// The last drill.
fn last(on: Subject<'_>) -> Option<&DrillRecord> {
    drill(on)?.history.last.as_deref()
}

numbers! {
    INTERVAL = gauge(Replica, "streamgauge_drill_interval_seconds",
        "The time between two scheduled drills; absent if there are none.",
        |on| drill(on)?.interval_seconds.known())
        .standard();

    NEXT = gauge(Replica, "streamgauge_drill_next_timestamp_seconds",
        "When the next drill is due; absent while one is running and if none is scheduled.",
        |on| {
            let drill = drill(on)?;
            drill.history.next_due_at.filter(|_| drill.running_since.is_none()).known()
        });

    WITHHELD = gauge(Replica, "streamgauge_drill_withheld",
        "1 if drills are on but none will start (the report says why), 0 if not.",
        |on| {
            let drill = drill(on).filter(|drill| drill.interval_seconds.is_some())?;
            drill.withheld.is_some().known()
        });

    RUNNING = gauge(Replica, "streamgauge_drill_running",
        "1 if a drill is running, 0 if not.",
        |on| drill(on)?.running_since.is_some().known());

    LAST_ATTEMPT = gauge(Replica, "streamgauge_drill_last_attempt_timestamp_seconds",
        "When the last completed drill was started.",
        |on| last(on)?.started_at.known());

    LAST_SUCCESS = gauge(Replica, "streamgauge_drill_last_success_timestamp_seconds",
        "When the last drill that passed was completed.",
        |on| drill(on)?.history.last_success_at.known())
        .core();

    LAST_RESULT = several(Kind::Gauge, (Replica, &["result"]), "streamgauge_drill_last_result",
        "1 for the result of the last drill, 0 for the others: passed, failed, or inconclusive, which says nothing about the backup.",
        |on, put| {
            let last = last(on)?;
            for result in DrillResult::ALL {
                put(&[result.as_str()], (last.result == *result).known());
            }
            Some(())
        });

    FAILING = gauge(Replica, "streamgauge_drill_failing",
        "1 if the last conclusive drill failed, 0 if it passed.",
        |on| drill(on)?.history.last_conclusive.map(|result| result == DrillResult::Failed).known())
        .standard();

    FIRST_SEEN = gauge(Replica, "streamgauge_drill_first_seen_timestamp_seconds",
        "When the agent first saw that the replica can be drilled.",
        |on| drill(on)?.history.first_seen_at.known());

    DRILLS = several(Kind::Counter, (Replica, &["result"]), "streamgauge_drills_total",
        "Drills, by result; keeps counting after a restart if the agent keeps its state.",
        |on, put| {
            let DrillHistory { passed, failed, inconclusive, .. } = &*drill(on)?.history;
            for (result, count) in DrillResult::ALL.iter().zip([passed, failed, inconclusive]) {
                put(&[result.as_str()], count.known());
            }
            Some(())
        })
        .standard();

    RESTORE_SECONDS = gauge(Replica, "streamgauge_drill_last_duration_seconds",
        "How long the last full drill took until the restored file was on disk: the measured recovery time.",
        |on| drill(on)?.history.restore_seconds.known())
        .standard();

    LAST_DOWNLOADED_BYTES = gauge(Replica, "streamgauge_drill_last_downloaded_bytes",
        "Bytes that the last drill received from the store.",
        |on| last(on)?.downloaded_bytes.known());

    LAST_COST_DOLLARS = gauge(Replica, "streamgauge_drill_last_cost_dollars",
        "What the last drill cost, at the configured prices.",
        |on| last(on)?.dollars.known());

    LAST_RECOVERY_POINT = gauge(Replica, "streamgauge_drill_last_recovery_point_timestamp_seconds",
        "The recovery point of the last drill: nothing committed later is in what it restored.",
        |on| last(on)?.restored.as_ref()?.recovery_point.known());

    PROBE_VALUE = several(Kind::Gauge, (Replica, &["probe"]), "streamgauge_drill_probe_value",
        "The answer to the probe query in the last drill, if it is a number: an age in seconds if an age is expected.",
        |on, put| {
            for probe in &last(on)?.probes {
                put(&[&probe.name], probe.value.known());
            }
            Some(())
        });

    DOWNLOAD_BUDGET_BYTES = gauge(Agent, "streamgauge_drill_download_budget_bytes",
        "What scheduled drills from all buckets together may download in 24 hours, as configured.",
        |on| on.agent()?.agent.drill_budget?.budget_bytes.known());

    DOWNLOAD_BUDGET_REMAINING_BYTES = gauge(Agent, "streamgauge_drill_download_budget_remaining_bytes",
        "What is left of streamgauge_drill_download_budget_bytes.",
        |on| {
            let budget = on.agent()?.agent.drill_budget?;
            budget.budget_bytes.saturating_sub(budget.downloaded_bytes).known()
        });

    RTO = gauge(Replica, "streamgauge_replica_rto_objective_seconds",
        "How long a restore may take, as configured.",
        |on| drill(on)?.rto_seconds.known())
        .standard();
}
