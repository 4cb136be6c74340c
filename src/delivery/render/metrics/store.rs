//! Requests to the stores that hold the replicas.

use super::family::{Family, Kind};
use crate::domain::report::{Report, StoreOperationReport};

/// Every operation with the name of its store.
fn operations(report: &Report) -> impl Iterator<Item = (&str, &StoreOperationReport)> {
    let stores = report.agent.stores.iter();
    stores.flat_map(|store| store.operations.iter().map(|operation| (store.store.as_str(), operation)))
}

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_store_requests_total",
        kind: Kind::Counter,
        labels: &["store", "operation"],
        help: "Requests that the agent made to this kind of store, retries and failures included.",
        samples: |report, sink| {
            for (store, operation) in operations(report) {
                sink.put(&[store, operation.operation], operation.requests);
            }
        },
    },
    Family {
        name: "streamgauge_store_request_failures_total",
        kind: Kind::Counter,
        labels: &["store", "operation", "reason"],
        help: "Requests to this kind of store that failed, by reason.",
        samples: |report, sink| {
            for (store, operation) in operations(report) {
                for (reason, count) in &operation.failures {
                    sink.put(&[store, operation.operation, reason], *count);
                }
            }
        },
    },
    Family {
        name: "streamgauge_store_request_duration_seconds",
        kind: Kind::Histogram,
        labels: &["store", "operation"],
        help: "How long requests to this kind of store took.",
        samples: |report, sink| {
            for (store, operation) in operations(report) {
                sink.histogram(&[store, operation.operation], &operation.duration);
            }
        },
    },
    Family {
        name: "streamgauge_store_received_bytes_total",
        kind: Kind::Counter,
        labels: &["store"],
        help: "Bytes of answers that the agent received from this kind of store.",
        samples: |report, sink| {
            for store in &report.agent.stores {
                sink.put(&[&store.store], store.received_bytes);
            }
        },
    },
];
