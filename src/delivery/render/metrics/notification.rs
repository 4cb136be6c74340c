//! Where alerts are sent, and how that goes.

use super::family::{Family, Kind};

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_notifications_total",
        kind: Kind::Counter,
        labels: &["receiver"],
        help: "Messages that this receiver took.",
        samples: |report, sink| {
            for receiver in &report.assessment.agent.receivers {
                sink.put(&[&receiver.receiver], receiver.notifications);
            }
        },
    },
    Family {
        name: "streamgauge_notification_failures_total",
        kind: Kind::Counter,
        labels: &["receiver", "reason"],
        help: "Attempts to send a message to this receiver that failed, by reason.",
        samples: |report, sink| {
            for receiver in &report.assessment.agent.receivers {
                for (reason, count) in &receiver.failures {
                    sink.put(&[&receiver.receiver, reason], *count);
                }
            }
        },
    },
    Family {
        name: "streamgauge_notification_waiting",
        kind: Kind::Gauge,
        labels: &["receiver"],
        help: "Alerts that began or ended and of which this receiver was not told yet.",
        samples: |report, sink| {
            for receiver in &report.assessment.agent.receivers {
                sink.put(&[&receiver.receiver], receiver.waiting);
            }
        },
    },
    Family {
        name: "streamgauge_notification_failing_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["receiver"],
        help: "Since when no message reaches this receiver, absent while the last attempt succeeded.",
        samples: |report, sink| {
            for receiver in &report.assessment.agent.receivers {
                sink.put_known(&[&receiver.receiver], receiver.failing_since);
            }
        },
    },
    Family {
        name: "streamgauge_deadman_last_success_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &[],
        help: "When the dead-man's switch was last reached.",
        samples: |report, sink| {
            for receiver in report.assessment.agent.receivers.iter().filter(|receiver| receiver.kind == "deadman") {
                sink.put_known(&[], receiver.last_success_at);
            }
        },
    },
];
