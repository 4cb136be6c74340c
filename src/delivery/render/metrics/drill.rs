//! What restore drills of each replica came to.

use super::family::{Family, Kind};
use crate::domain::assessment::DrillBudgetReport;
use crate::domain::drill::{DrillRecord, DrillReport, DrillResult};
use crate::domain::report::Report;

/// Calls `sample` for each replica that is or was drilled, with its two labels.
fn drills(report: &Report, mut sample: impl FnMut(&[&str], &DrillReport)) {
    for database in &report.assessment.databases {
        for replica in &database.replicas {
            if let Some(drill) = &replica.drill {
                sample(&[&database.name, &replica.name], drill);
            }
        }
    }
}

/// Calls `sample` for each replica with its last drill.
fn last(report: &Report, mut sample: impl FnMut(&[&str], &DrillRecord)) {
    drills(report, |on, drill| {
        if let Some(last) = &drill.history.last {
            sample(on, last);
        }
    });
}

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_drill_interval_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The time between two scheduled drills; absent when there are none.",
        samples: |report, sink| drills(report, |on, drill| sink.put_known(on, drill.interval_seconds)),
    },
    Family {
        name: "streamgauge_drill_next_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the next drill is due; absent while one runs or when none is begun.",
        samples: |report, sink| {
            drills(report, |on, drill| {
                sink.put_known(on, drill.history.next_due_at.filter(|_| drill.running_since.is_none()));
            });
        },
    },
    Family {
        name: "streamgauge_drill_withheld",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if drills are on and none is begun, for the reason in the report, 0 if not.",
        samples: |report, sink| {
            drills(report, |on, drill| {
                if drill.interval_seconds.is_some() {
                    sink.put(on, drill.withheld.is_some());
                }
            });
        },
    },
    Family {
        name: "streamgauge_drill_running",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if a drill runs, 0 if not.",
        samples: |report, sink| drills(report, |on, drill| sink.put(on, drill.running_since.is_some())),
    },
    Family {
        name: "streamgauge_drill_last_attempt_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the last drill that ended was begun.",
        samples: |report, sink| last(report, |on, last| sink.put(on, last.started_at)),
    },
    Family {
        name: "streamgauge_drill_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the last drill that passed ended.",
        samples: |report, sink| drills(report, |on, drill| sink.put_known(on, drill.history.last_success_at)),
    },
    Family {
        name: "streamgauge_drill_last_result",
        kind: Kind::Gauge,
        labels: &["database", "replica", "result"],
        help: "1 for what the last drill came to, 0 for the others: passed, failed, or inconclusive, which says nothing of the backup.",
        samples: |report, sink| {
            last(report, |on, last| {
                for result in DrillResult::ALL {
                    sink.put(&[on[0], on[1], result.as_str()], last.result == *result);
                }
            });
        },
    },
    Family {
        name: "streamgauge_drill_failing",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the last drill that came to a result failed, 0 if it passed.",
        samples: |report, sink| {
            drills(report, |on, drill| {
                sink.put_known(on, drill.history.last_conclusive.map(|result| result == DrillResult::Failed))
            })
        },
    },
    Family {
        name: "streamgauge_drill_first_seen_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the agent first saw that the replica can be drilled.",
        samples: |report, sink| drills(report, |on, drill| sink.put_known(on, drill.history.first_seen_at)),
    },
    Family {
        name: "streamgauge_drills_total",
        kind: Kind::Counter,
        labels: &["database", "replica", "result"],
        help: "Drills by what they came to; counts on over a restart where the agent keeps its state.",
        samples: |report, sink| {
            drills(report, |on, drill| {
                let history = &drill.history;
                for (result, count) in
                    DrillResult::ALL.iter().zip([history.passed, history.failed, history.inconclusive])
                {
                    sink.put(&[on[0], on[1], result.as_str()], count);
                }
            });
        },
    },
    Family {
        name: "streamgauge_drill_last_duration_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How long the last drill that restored everything took until the restored file was on disk: the measured recovery time.",
        samples: |report, sink| drills(report, |on, drill| sink.put_known(on, drill.history.restore_seconds)),
    },
    Family {
        name: "streamgauge_drill_last_downloaded_bytes",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Bytes that the last drill received from the store.",
        samples: |report, sink| last(report, |on, last| sink.put(on, last.downloaded_bytes)),
    },
    Family {
        name: "streamgauge_drill_last_cost_dollars",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "What the last drill cost, by the configured prices.",
        samples: |report, sink| last(report, |on, last| sink.put(on, last.dollars)),
    },
    Family {
        name: "streamgauge_drill_last_recovery_point_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Nothing committed later is in what the last drill restored.",
        samples: |report, sink| {
            last(report, |on, last| sink.put_known(on, last.restored.as_ref().map(|restored| restored.recovery_point)));
        },
    },
    Family {
        name: "streamgauge_drill_probe_value",
        kind: Kind::Gauge,
        labels: &["database", "replica", "probe"],
        help: "What the probe query of the last drill answered, where it is a number: an age in seconds where an age is expected.",
        samples: |report, sink| {
            last(report, |on, last| {
                for probe in &last.probes {
                    sink.put_known(&[on[0], on[1], &probe.name], probe.value);
                }
            });
        },
    },
    Family {
        name: "streamgauge_drill_download_budget_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "What scheduled drills of all buckets together may download in 24 hours, as configured.",
        samples: |report, sink| {
            sink.put_known(&[], report.assessment.agent.drill_budget.map(|budget| budget.budget_bytes))
        },
    },
    Family {
        name: "streamgauge_drill_download_budget_remaining_bytes",
        kind: Kind::Gauge,
        labels: &[],
        help: "What is left of streamgauge_drill_download_budget_bytes.",
        samples: |report, sink| {
            let left = |budget: DrillBudgetReport| budget.budget_bytes.saturating_sub(budget.downloaded_bytes);
            sink.put_known(&[], report.assessment.agent.drill_budget.map(left));
        },
    },
    Family {
        name: "streamgauge_replica_rto_objective_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The time that a restore may take, as configured.",
        samples: |report, sink| drills(report, |on, drill| sink.put_known(on, drill.rto_seconds)),
    },
];
