//! Numbers of receivers: where alerts are sent, and how that goes.

use super::declare::{Kind, Known, Number, counter, gauge, several};
use super::subject::Scope::{Agent, Receiver};

numbers! {
    NOTIFICATIONS = counter(Receiver, "streamgauge_notifications_total",
        "Messages that this receiver accepted.",
        |on| on.receiver()?.notifications.known());

    FAILURES = several(Kind::Counter, (Receiver, &["reason"]), "streamgauge_notification_failures_total",
        "Failed attempts to send a message to this receiver, by reason.",
        |on, put| {
            for (reason, count) in &on.receiver()?.failures {
                put(&[reason], count.known());
            }
            Some(())
        });

    WAITING = gauge(Receiver, "streamgauge_notification_waiting",
        "Alerts that began or ended without this receiver being notified yet.",
        |on| on.receiver()?.waiting.known());

    FAILING_SINCE = gauge(Receiver, "streamgauge_notification_failing_since_timestamp_seconds",
        "Since when no message has reached this receiver; absent if the last attempt succeeded.",
        |on| on.receiver()?.failing_since.known());

    DEADMAN_LAST_SUCCESS = several(Kind::Gauge, (Agent, &[]), "streamgauge_deadman_last_success_timestamp_seconds",
        "When the dead-man's switch was last reached.",
        |on, put| {
            for receiver in on.agent()?.agent.receivers.iter().filter(|receiver| receiver.kind == "deadman") {
                put(&[], receiver.last_success_at.known());
            }
            Some(())
        });
}
