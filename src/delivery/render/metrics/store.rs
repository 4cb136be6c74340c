//! Requests to the stores that hold the replicas, and how their buckets are set up.

use super::family::{Family, Kind, Number, Sink};
use crate::domain::assessment::{BucketReport, StoreOperationReport};
use crate::domain::report::Report;

/// Every operation with the name of its store.
fn operations(report: &Report) -> impl Iterator<Item = (&str, &StoreOperationReport)> {
    let stores = report.assessment.agent.stores.iter();
    stores.flat_map(|store| store.operations.iter().map(|operation| (store.store.as_str(), operation)))
}

/// What is known of each bucket.
fn buckets<T: Into<Number>>(report: &Report, sink: &mut Sink<'_, '_>, value: fn(&BucketReport) -> Option<T>) {
    for bucket in &report.assessment.agent.buckets {
        sink.put_known(&[&bucket.bucket], value(bucket));
    }
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
            for store in &report.assessment.agent.stores {
                sink.put(&[&store.store], store.received_bytes);
            }
        },
    },
    Family {
        name: "streamgauge_store_failure_ratio",
        kind: Kind::Gauge,
        labels: &["store"],
        help: "The part of the requests to this kind of store in the last 15 minutes that failed, absent below 10 requests.",
        samples: |report, sink| {
            for store in &report.assessment.agent.stores {
                sink.put_known(&[&store.store], store.failure_ratio());
            }
        },
    },
    Family {
        name: "streamgauge_store_request_dollars_per_month",
        kind: Kind::Gauge,
        labels: &["store"],
        help: "What the requests of the agent and what it received cost, by the configured prices, projected from those since its start.",
        samples: |report, sink| {
            for store in &report.assessment.agent.stores {
                sink.put_known(&[&store.store], store.request_dollars_per_month);
            }
        },
    },
    Family {
        name: "streamgauge_store_clock_offset_seconds",
        kind: Kind::Gauge,
        labels: &["store"],
        help: "How far the clock of this kind of store is at least ahead of the one of this host, by the Date of its answers.",
        samples: |report, sink| {
            for store in &report.assessment.agent.stores {
                sink.put_known(&[&store.store], store.clock_offset_seconds);
            }
        },
    },
    Family {
        name: "streamgauge_bucket_versioning_enabled",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "1 if the bucket keeps what is deleted or replaced in it, 0 if not.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.versioning_enabled),
    },
    Family {
        name: "streamgauge_bucket_public_access_blocked",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "1 if settings of the bucket keep policies and access lists from opening it, 0 if not.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.public_access_blocked),
    },
    Family {
        name: "streamgauge_bucket_public",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "1 if the policy or the access list of the bucket lets anybody in, 0 if not.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.public),
    },
    Family {
        name: "streamgauge_bucket_object_lock_enabled",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "1 if objects of the bucket can be locked, 0 if not.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.object_lock_enabled),
    },
    Family {
        name: "streamgauge_bucket_noncurrent_expiry_configured",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "1 if a lifecycle rule of the bucket expires old versions of all replicas in it, 0 if not.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.noncurrent_expiry_configured),
    },
    Family {
        name: "streamgauge_bucket_posture_checked_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["bucket"],
        help: "When the settings of the bucket were last looked at.",
        samples: |report, sink| buckets(report, sink, |bucket| bucket.checked_at),
    },
    Family {
        name: "streamgauge_dollars_per_month",
        kind: Kind::Gauge,
        labels: &[],
        help: "What storing all replicas and the requests of the agent cost, by the configured prices and without drills.",
        samples: |report, sink| sink.put_known(&[], report.assessment.agent.cost.dollars_per_month),
    },
    Family {
        name: "streamgauge_budget_dollars_per_month",
        kind: Kind::Gauge,
        labels: &[],
        help: "What streamgauge_dollars_per_month may be, as configured.",
        samples: |report, sink| sink.put_known(&[], report.assessment.agent.cost.budget_dollars_per_month),
    },
];
