//! Numbers of stores and buckets: requests, how buckets are set up, and what all of it costs.

use super::declare::{Kind, Known, Number, Value, counter, gauge, several};
use super::subject::Scope::{Agent, Bucket, Store};
use crate::domain::assessment::Billed;

numbers! {
    REQUESTS = several(Kind::Counter, (Store, &["operation"]), "streamgauge_store_requests_total",
        "Requests that the agent made to this kind of store, including retries and failures.",
        |on, put| {
            for operation in &on.store()?.operations {
                put(&[operation.operation], operation.requests.known());
            }
            Some(())
        });

    REQUEST_FAILURES = several(Kind::Counter, (Store, &["operation", "reason"]), "streamgauge_store_request_failures_total",
        "Requests to this kind of store that failed, by reason.",
        |on, put| {
            for operation in &on.store()?.operations {
                for (reason, count) in &operation.failures {
                    put(&[operation.operation, reason], count.known());
                }
            }
            Some(())
        });

    REQUEST_DURATION = several(Kind::Histogram, (Store, &["operation"]), "streamgauge_store_request_duration_seconds",
        "How long requests to this kind of store took.",
        |on, put| {
            for operation in &on.store()?.operations {
                put(&[operation.operation], Some(Value::Histogram(&operation.duration)));
            }
            Some(())
        });

    BILLABLE_REQUESTS = several(Kind::Counter, (Store, &["host", "class"]), "streamgauge_store_billable_requests_total",
        "Requests by server (empty if the kind has only one) and by the class that they are billed in: read, list or \
         other.",
        |on, put| {
            for Billed { host, reads, lists, others, .. } in &on.store()?.billed {
                for (class, count) in [("read", reads), ("list", lists), ("other", others)] {
                    put(&[host.as_deref().unwrap_or_default(), class], count.known());
                }
            }
            Some(())
        });

    RECEIVED_BYTES = counter(Store, "streamgauge_store_received_bytes_total",
        "Bytes of answers that the agent received from this kind of store.",
        |on| on.store()?.received_bytes.known());

    FAILURE_RATIO = gauge(Store, "streamgauge_store_failure_ratio",
        "The share of requests to this kind of store that failed in the last 15 minutes; absent below 10 requests.",
        |on| on.store()?.failure_ratio().known());

    REQUEST_DOLLARS_PER_MONTH = gauge(Store, "streamgauge_store_request_dollars_per_month",
        "What the agent's requests and downloads cost at the configured prices, projected from those since it started.",
        |on| on.store()?.request_dollars_per_month.known());

    CLOCK_OFFSET = gauge(Store, "streamgauge_store_clock_offset_seconds",
        "How far, at least, the clock of this kind of store is ahead of this host's, according to the Date of its \
         answers.",
        |on| on.store()?.clock_offset_seconds.known());

    VERSIONING = gauge(Bucket, "streamgauge_bucket_versioning_enabled",
        "1 if the bucket keeps deleted and replaced objects, 0 if not.",
        |on| on.bucket()?.versioning_enabled.known());

    PUBLIC_ACCESS_BLOCKED = gauge(Bucket, "streamgauge_bucket_public_access_blocked",
        "1 if the bucket's settings keep policies and access lists from making it public, 0 if not.",
        |on| on.bucket()?.public_access_blocked.known());

    PUBLIC = gauge(Bucket, "streamgauge_bucket_public",
        "1 if the policy or the access list of the bucket lets anybody in, 0 if not.",
        |on| on.bucket()?.public.known());

    OBJECT_LOCK_ENABLED = gauge(Bucket, "streamgauge_bucket_object_lock_enabled",
        "1 if objects of the bucket can be locked, 0 if not.",
        |on| on.bucket()?.object_lock_enabled.known());

    NONCURRENT_EXPIRY = gauge(Bucket, "streamgauge_bucket_noncurrent_expiry_configured",
        "1 if a lifecycle rule of the bucket expires old versions of all replicas in it, 0 if not.",
        |on| on.bucket()?.noncurrent_expiry_configured.known());

    POSTURE_CHECKED = gauge(Bucket, "streamgauge_bucket_posture_checked_timestamp_seconds",
        "When the settings of the bucket were last read.",
        |on| on.bucket()?.checked_at.known());

    DOLLARS = gauge(Agent, "streamgauge_dollars_per_month",
        "What storing all replicas and the agent's requests cost at the configured prices, without drills.",
        |on| on.agent()?.agent.cost.dollars_per_month.known());

    BUDGET = gauge(Agent, "streamgauge_budget_dollars_per_month",
        "The most that streamgauge_dollars_per_month may be, as configured.",
        |on| on.agent()?.agent.cost.budget_dollars_per_month.known());

    REQUEST_BUDGET = gauge(Agent, "streamgauge_request_budget_dollars_per_month",
        "What the agent's own requests may cost before looks become rarer, as configured; absent without such a \
         budget.",
        |on| on.agent()?.agent.cost.request_budget_dollars_per_month.known());

    LOOK_SPACING = gauge(Agent, "streamgauge_look_spacing_ratio",
        "How many times rarer than configured looks at buckets are, to stay within the request budget; absent without \
         one.",
        |on| on.agent()?.agent.cost.look_spacing.known());
}
