//! For each rule: numbers that make it fire and numbers that must not, as Prometheus would have scraped them.

use streamgauge::domain::verdict::Severity;
use streamgauge::domain::verdict::Severity::{Critical, Info, Warning};

/// What happens to the series of one check.
pub(super) struct Case {
    pub(super) check: &'static str,
    /// Series without the labels of the scrape and of the subject. Their values, one a minute from 1970 on, are in
    /// promtool's notation; without `x` they go on for as long as is needed, and then end.
    pub(super) series: &'static [(&'static str, &'static str)],
    /// The rules that fire: since which minute the condition holds, and how the number reads when all of them have
    /// fired. Empty: none ever does.
    pub(super) fires: &'static [(Severity, u64, &'static str)],
}

type Series = &'static [(&'static str, &'static str)];

const fn fires(check: &'static str, series: Series, fires: &'static [(Severity, u64, &'static str)]) -> Case {
    Case { check, series, fires }
}

const fn silent(check: &'static str, series: Series) -> Case {
    Case { check, series, fires: &[] }
}

/// The bound of the disk that the agent exports.
const DISK_OBJECTIVE: (&str, &str) = ("streamgauge_database_filesystem_used_objective_ratio", "0.8");

pub(super) static CASES: &[Case] = &[
    fires("DatabaseUnreadable", &[("streamgauge_database_up", "0")], &[(Critical, 0, "0")]),
    silent("DatabaseUnreadable", &[("streamgauge_database_up", "1")]),
    // Replaced during a deployment.
    silent("DatabaseUnreadable", &[("streamgauge_database_up", "1x10 0x4 1x300")]),
    fires("DatabaseReplaced", &[("streamgauge_database_replaced", "1")], &[(Critical, 0, "1")]),
    silent("DatabaseReplaced", &[("streamgauge_database_replaced", "0")]),
    // Seen once, and gone before anybody could have acted.
    silent("DatabaseReplaced", &[("streamgauge_database_replaced", "0x10 1x0 0x300")]),
    fires("JournalModeNotWal", &[("streamgauge_database_journal_mode_wal", "0")], &[(Critical, 0, "0")]),
    silent("JournalModeNotWal", &[("streamgauge_database_journal_mode_wal", "1x10 0x4 1x300")]),
    fires("NoReplica", &[("streamgauge_database_replicas", "0")], &[(Warning, 0, "0")]),
    // The configuration is being written.
    silent("NoReplica", &[("streamgauge_database_replicas", "1x10 0x4 1x300")]),
    // Proof may be 20 minutes old with an interval of 5.
    fires(
        "ReplicaUnverifiable",
        &[
            ("streamgauge_replica_verified_timestamp_seconds", "0"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
            ("streamgauge_replica_unreplicated_since_timestamp_seconds", "1"),
        ],
        &[(Critical, 21, "26m 0s"), (Warning, 21, "26m 0s")],
    ),
    // Nothing was committed, and it was never verified.
    fires(
        "ReplicaUnverifiable",
        &[
            ("streamgauge_replica_watched_since_timestamp_seconds", "600"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
        ],
        &[(Warning, 31, "26m 0s")],
    ),
    silent(
        "ReplicaUnverifiable",
        &[
            ("streamgauge_replica_verified_timestamp_seconds", "-1200+60"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "-9000"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
            ("streamgauge_replica_unreplicated_since_timestamp_seconds", "1"),
        ],
    ),
    fires(
        "NeverReplicated",
        &[
            ("streamgauge_replica_empty", "1"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_first_snapshot_seconds", "900"),
        ],
        &[(Critical, 16, "1")],
    ),
    // A first snapshot of a large database is on its way.
    silent(
        "NeverReplicated",
        &[
            ("streamgauge_replica_empty", "1x120 0x300"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_first_snapshot_seconds", "7200"),
        ],
    ),
    fires(
        "NotRestorable",
        &[("streamgauge_replica_restorable", "0"), ("streamgauge_replica_empty", "0")],
        &[(Critical, 0, "0")],
    ),
    // What is empty is NeverReplicated.
    silent("NotRestorable", &[("streamgauge_replica_restorable", "0"), ("streamgauge_replica_empty", "1")]),
    silent("NotRestorable", &[("streamgauge_replica_restorable", "0x25 1x300"), ("streamgauge_replica_empty", "0")]),
    fires("ReplicaGap", &[("streamgauge_replica_gaps", "2")], &[(Critical, 0, "2")]),
    // The listing raced a compaction.
    silent("ReplicaGap", &[("streamgauge_replica_gaps", "0x10 1x12 0x300")]),
    fires(
        "ReplicaCorrupt",
        &[
            ("streamgauge_replica_needed_corrupt_objects", "1"),
            (r#"streamgauge_replica_corrupt_objects{finding="corrupt"}"#, "2"),
            (r#"streamgauge_replica_corrupt_objects{finding="truncated"}"#, "1"),
            (r#"streamgauge_replica_corrupt_objects{finding="rewritten"}"#, "0"),
        ],
        &[(Critical, 0, "1"), (Warning, 0, "3")],
    ),
    // What was replaced by another object is LineageConflict.
    silent(
        "ReplicaCorrupt",
        &[
            ("streamgauge_replica_needed_corrupt_objects", "0"),
            (r#"streamgauge_replica_corrupt_objects{finding="corrupt"}"#, "0"),
            (r#"streamgauge_replica_corrupt_objects{finding="rewritten"}"#, "3"),
        ],
    ),
    fires(
        "LineageConflict",
        &[(r#"streamgauge_replica_corrupt_objects{finding="rewritten"}"#, "1")],
        &[(Critical, 0, "1")],
    ),
    // A database that was restored to an older state.
    fires("LineageConflict", &[("streamgauge_replica_foreign_history", "1")], &[(Critical, 0, "1")]),
    silent("LineageConflict", &[(r#"streamgauge_replica_corrupt_objects{finding="corrupt"}"#, "1")]),
    fires("ContentMismatch", &[("streamgauge_replica_spot_mismatch", "1")], &[(Critical, 0, "1")]),
    silent("ContentMismatch", &[("streamgauge_replica_spot_mismatch", "0")]),
    // A day and three intervals of an hour.
    fires(
        "ContentUncompared",
        &[
            ("streamgauge_replica_spot_last_conclusive_timestamp_seconds", "-97200"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "-900000"),
            ("streamgauge_replica_spot_interval_seconds", "3600"),
        ],
        &[(Warning, 1, "1d 4h 1m 0s")],
    ),
    // It was never compared, and is not watched for long.
    silent(
        "ContentUncompared",
        &[
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_spot_interval_seconds", "3600"),
        ],
    ),
    // It cannot be compared: no interval.
    silent("ContentUncompared", &[("streamgauge_replica_watched_since_timestamp_seconds", "-900000")]),
    fires(
        "ReplicationLag",
        &[("streamgauge_replica_lag_seconds", "301+60"), ("streamgauge_replica_rpo_objective_seconds", "300")],
        &[(Critical, 0, "6m 1s")],
    ),
    silent(
        "ReplicationLag",
        &[("streamgauge_replica_lag_seconds", "300"), ("streamgauge_replica_rpo_objective_seconds", "300")],
    ),
    // An idle database.
    silent(
        "ReplicationLag",
        &[("streamgauge_replica_lag_seconds", "0"), ("streamgauge_replica_rpo_objective_seconds", "60")],
    ),
    // With an objective of a minute: a ticket after five, a page after ten when something was committed.
    fires(
        "LagUnknown",
        &[
            ("streamgauge_replica_lag_unknown_since_timestamp_seconds", "0"),
            ("streamgauge_replica_unproven_commit_timestamp_seconds", "60"),
            ("streamgauge_replica_rpo_objective_seconds", "60"),
        ],
        &[(Critical, 11, "12m 0s"), (Warning, 6, "12m 0s")],
    ),
    // Nothing was seen to be committed.
    fires(
        "LagUnknown",
        &[
            ("streamgauge_replica_lag_unknown_since_timestamp_seconds", "0"),
            ("streamgauge_replica_rpo_objective_seconds", "1200"),
        ],
        &[(Warning, 21, "22m 0s")],
    ),
    // A restart, and what is unknown by design.
    silent(
        "LagUnknown",
        &[
            ("streamgauge_replica_lag_unknown_since_timestamp_seconds", "0x5 stale"),
            ("streamgauge_replica_unproven_commit_timestamp_seconds", "0x5 stale"),
            ("streamgauge_replica_rpo_objective_seconds", "60"),
        ],
    ),
    silent("LagUnknown", &[("streamgauge_replica_rpo_objective_seconds", "60")]),
    fires("RestoreDrillFailed", &[("streamgauge_drill_failing", "1")], &[(Critical, 0, "1")]),
    silent("RestoreDrillFailed", &[("streamgauge_drill_failing", "0")]),
    // Late after two intervals and an hour.
    fires(
        "RestoreDrillOverdue",
        &[
            ("streamgauge_drill_last_success_timestamp_seconds", "0"),
            ("streamgauge_drill_first_seen_timestamp_seconds", "0"),
            ("streamgauge_drill_interval_seconds", "3600"),
            ("streamgauge_drill_withheld", "0"),
        ],
        &[(Warning, 181, "4h 1m 0s")],
    ),
    // The first one has its time, and one that may not begin is not late.
    silent(
        "RestoreDrillOverdue",
        &[
            ("streamgauge_drill_first_seen_timestamp_seconds", "0"),
            ("streamgauge_drill_interval_seconds", "7200"),
            ("streamgauge_drill_withheld", "0"),
        ],
    ),
    silent(
        "RestoreDrillOverdue",
        &[
            ("streamgauge_drill_last_success_timestamp_seconds", "-90000"),
            ("streamgauge_drill_interval_seconds", "3600"),
            ("streamgauge_drill_withheld", "1"),
        ],
    ),
    fires(
        "RestoreTooSlow",
        &[("streamgauge_drill_last_duration_seconds", "1000"), ("streamgauge_replica_rto_objective_seconds", "900")],
        &[(Warning, 0, "16m 40s")],
    ),
    silent(
        "RestoreTooSlow",
        &[("streamgauge_drill_last_duration_seconds", "900"), ("streamgauge_replica_rto_objective_seconds", "900")],
    ),
    silent("RestoreTooSlow", &[("streamgauge_drill_last_duration_seconds", "1000")]),
    // A reader holds checkpoints back for half an hour, and the WAL is more than a quarter of what is free.
    fires(
        "CheckpointStarved",
        &[
            ("streamgauge_database_unbackfilled_bytes", "314572800"),
            ("streamgauge_database_wal_since_timestamp_seconds", "0"),
            ("streamgauge_database_wal_size_bytes", "314572800"),
            ("streamgauge_database_filesystem_avail_bytes", "1000000000"),
        ],
        &[(Critical, 31, "300MiB"), (Warning, 31, "300MiB")],
    ),
    fires(
        "CheckpointStarved",
        &[
            ("streamgauge_database_unbackfilled_bytes", "314572800"),
            ("streamgauge_database_wal_since_timestamp_seconds", "0"),
            ("streamgauge_database_wal_size_bytes", "314572800"),
            ("streamgauge_database_filesystem_avail_bytes", "100000000000"),
        ],
        &[(Warning, 31, "300MiB")],
    ),
    // Litestream's own rhythm: the WAL begins anew every 20 minutes.
    silent(
        "CheckpointStarved",
        &[
            ("streamgauge_database_unbackfilled_bytes", "314572800"),
            ("streamgauge_database_wal_since_timestamp_seconds", "0x19 1200x19 2400x19 3600x19 4800x19 6000x19"),
            ("streamgauge_database_wal_size_bytes", "314572800"),
            ("streamgauge_database_filesystem_avail_bytes", "1000000000"),
        ],
    ),
    fires(
        "DiskFilling",
        &[("streamgauge_database_filesystem_used_ratio", "0.85"), DISK_OBJECTIVE],
        &[(Warning, 0, "85%")],
    ),
    silent("DiskFilling", &[("streamgauge_database_filesystem_used_ratio", "0.8"), DISK_OBJECTIVE]),
    // VACUUM.
    silent("DiskFilling", &[("streamgauge_database_filesystem_used_ratio", "0.5x10 0.95x13 0.5x300"), DISK_OBJECTIVE]),
    fires(
        "DiskFullSoon",
        &[
            ("streamgauge_database_filesystem_full_seconds", "36000"),
            ("streamgauge_database_filesystem_used_ratio", "0.9"),
            DISK_OBJECTIVE,
        ],
        &[(Critical, 0, "10h 0m 0s")],
    ),
    fires(
        "DiskFullSoon",
        &[
            ("streamgauge_database_filesystem_full_seconds", "7200"),
            ("streamgauge_database_filesystem_used_ratio", "0.4"),
            DISK_OBJECTIVE,
        ],
        &[(Critical, 0, "2h 0m 0s")],
    ),
    silent(
        "DiskFullSoon",
        &[
            ("streamgauge_database_filesystem_full_seconds", "36000"),
            ("streamgauge_database_filesystem_used_ratio", "0.8"),
            DISK_OBJECTIVE,
        ],
    ),
    silent("DiskFullSoon", &[("streamgauge_database_filesystem_used_ratio", "0.99"), DISK_OBJECTIVE]),
    fires(
        "PermissionDrift",
        &[
            (r#"streamgauge_database_file_permissions_acceptable{file="database"}"#, "1"),
            (r#"streamgauge_database_file_permissions_acceptable{file="wal"}"#, "0"),
        ],
        &[(Warning, 0, "0")],
    ),
    silent(
        "PermissionDrift",
        &[(r#"streamgauge_database_file_permissions_acceptable{file="database"}"#, "1x10 0x9 1x300")],
    ),
    // Wrong in what others may do, who cannot reach it.
    silent(
        "PermissionDrift",
        &[
            (r#"streamgauge_database_file_permissions_ok{file="database"}"#, "0"),
            (r#"streamgauge_database_file_permissions_acceptable{file="database"}"#, "1"),
        ],
    ),
    fires("SizingTierExceeded", &[("streamgauge_database_sizing_tier", "1")], &[(Info, 0, "1")]),
    silent("SizingTierExceeded", &[("streamgauge_database_sizing_tier", "0x10 1x350 0x300")]),
    fires("LitestreamDown", &[("streamgauge_litestream_up", "0")], &[(Critical, 0, "0"), (Warning, 0, "0")]),
    // A restart, and where it is not known.
    silent("LitestreamDown", &[("streamgauge_litestream_up", "1x10 0x4 1x300")]),
    silent("LitestreamDown", &[]),
    fires(
        "SnapshotStale",
        &[
            ("streamgauge_replica_unsnapshotted_since_timestamp_seconds", "0"),
            ("streamgauge_replica_snapshot_interval_seconds", "3600"),
        ],
        &[(Warning, 181, "3h 31m 0s")],
    ),
    // Nothing came after the newest snapshot, however old it is.
    silent("SnapshotStale", &[("streamgauge_replica_snapshot_interval_seconds", "60")]),
    silent(
        "SnapshotStale",
        &[
            ("streamgauge_replica_unsnapshotted_since_timestamp_seconds", "-7200+60"),
            ("streamgauge_replica_snapshot_interval_seconds", "3600"),
        ],
    ),
    fires(
        "RecoveryWindowShort",
        &[
            ("streamgauge_replica_restorable_since_timestamp_seconds", "-36000+60"),
            ("streamgauge_replica_retention_objective_seconds", "86400"),
            ("streamgauge_replica_snapshot_interval_seconds", "3600"),
            ("streamgauge_replica_history_whole", "0"),
        ],
        &[(Warning, 0, "10h 0m 0s")],
    ),
    // It is younger than the objective.
    silent(
        "RecoveryWindowShort",
        &[
            ("streamgauge_replica_restorable_since_timestamp_seconds", "-36000+60"),
            ("streamgauge_replica_retention_objective_seconds", "86400"),
            ("streamgauge_replica_snapshot_interval_seconds", "3600"),
            ("streamgauge_replica_history_whole", "1"),
        ],
    ),
    // Litestream deletes a snapshot at a time.
    silent(
        "RecoveryWindowShort",
        &[
            ("streamgauge_replica_restorable_since_timestamp_seconds", "-46800+60"),
            ("streamgauge_replica_retention_objective_seconds", "86400"),
            ("streamgauge_replica_snapshot_interval_seconds", "43200"),
            ("streamgauge_replica_history_whole", "0"),
        ],
    ),
    fires(
        "RetentionTooShort",
        &[
            ("streamgauge_replica_kept_seconds", "86400"),
            ("streamgauge_replica_retention_objective_seconds", "2592000"),
        ],
        &[(Warning, 0, "1d 0h 0m 0s")],
    ),
    silent(
        "RetentionTooShort",
        &[("streamgauge_replica_kept_seconds", "86400"), ("streamgauge_replica_retention_objective_seconds", "86400")],
    ),
    fires("RetentionNotEnforced", &[("streamgauge_replica_expired_objects", "7")], &[(Warning, 0, "7")]),
    silent("RetentionNotEnforced", &[("streamgauge_replica_expired_objects", "0x10 7x58 0x300")]),
    fires(
        "ReplicaRunaway",
        &[("streamgauge_replica_received_bytes", "10737418240"), ("streamgauge_replica_expected_bytes", "1073741824")],
        &[(Warning, 0, "10GiB")],
    ),
    silent(
        "ReplicaRunaway",
        &[("streamgauge_replica_received_bytes", "1073741824"), ("streamgauge_replica_expected_bytes", "1073741824")],
    ),
    // A snapshot was taken, or everything was imported anew.
    silent(
        "ReplicaRunaway",
        &[
            ("streamgauge_replica_received_bytes", "0x10 10737418240x58 0x300"),
            ("streamgauge_replica_expected_bytes", "1073741824"),
        ],
    ),
    fires("ReplicaChurn", &[("streamgauge_replica_repeated_objects", "3600")], &[(Warning, 0, "3.6k")]),
    silent("ReplicaChurn", &[("streamgauge_replica_repeated_objects", "1000")]),
    // A counter that was updated for half an hour.
    silent("ReplicaChurn", &[("streamgauge_replica_repeated_objects", "0x10 1500x58 0x300")]),
    fires(
        "CostAboveBudget",
        &[("streamgauge_dollars_per_month", "12.5"), ("streamgauge_budget_dollars_per_month", "10")],
        &[(Warning, 0, "$12.50")],
    ),
    silent("CostAboveBudget", &[("streamgauge_dollars_per_month", "12.5")]),
    silent(
        "CostAboveBudget",
        &[("streamgauge_dollars_per_month", "10"), ("streamgauge_budget_dollars_per_month", "10")],
    ),
    fires(
        "HostGone",
        &[
            ("streamgauge_replica_beacon_timestamp_seconds", "0"),
            ("streamgauge_replica_beacon_read_timestamp_seconds", "0+60"),
            ("streamgauge_replica_beacon_interval_seconds", "60"),
        ],
        &[(Critical, 5, "10m 0s")],
    ),
    // Its beacon is from the future.
    fires(
        "HostGone",
        &[
            ("streamgauge_replica_beacon_timestamp_seconds", "9000+60"),
            ("streamgauge_replica_beacon_read_timestamp_seconds", "0+60"),
            ("streamgauge_replica_beacon_interval_seconds", "60"),
        ],
        &[(Critical, 0, "-2h 30m 0s")],
    ),
    // The host is idle and there.
    silent(
        "HostGone",
        &[
            ("streamgauge_replica_beacon_timestamp_seconds", "0+60"),
            ("streamgauge_replica_beacon_read_timestamp_seconds", "60+60"),
            ("streamgauge_replica_beacon_interval_seconds", "60"),
        ],
    ),
    // The bucket cannot be read any more: nothing is known of the host.
    silent(
        "HostGone",
        &[
            ("streamgauge_replica_beacon_timestamp_seconds", "0"),
            ("streamgauge_replica_beacon_read_timestamp_seconds", "60"),
            ("streamgauge_replica_beacon_interval_seconds", "60"),
        ],
    ),
    fires("BucketVersioningOff", &[("streamgauge_bucket_versioning_enabled", "0")], &[(Warning, 0, "0")]),
    silent("BucketVersioningOff", &[("streamgauge_bucket_versioning_enabled", "1")]),
    // Not permitted to look.
    silent("BucketVersioningOff", &[]),
    fires("BucketPublic", &[("streamgauge_bucket_public", "1")], &[(Critical, 0, "1")]),
    silent("BucketPublic", &[("streamgauge_bucket_public", "0")]),
    fires(
        "NoncurrentNotExpired",
        &[("streamgauge_bucket_versioning_enabled", "1"), ("streamgauge_bucket_noncurrent_expiry_configured", "0")],
        &[(Info, 0, "0")],
    ),
    // There are no old versions.
    silent(
        "NoncurrentNotExpired",
        &[("streamgauge_bucket_versioning_enabled", "0"), ("streamgauge_bucket_noncurrent_expiry_configured", "0")],
    ),
    fires("StoreErrors", &[("streamgauge_store_failure_ratio", "0.25")], &[(Warning, 0, "25%")]),
    silent("StoreErrors", &[("streamgauge_store_failure_ratio", "0.1")]),
    // One of one: too few requests for a ratio.
    silent("StoreErrors", &[("streamgauge_store_failure_ratio", "0x10 1x13 stale")]),
    fires("ClockSkew", &[("streamgauge_store_clock_offset_seconds", "-7")], &[(Warning, 0, "7s")]),
    // Dates have whole seconds.
    silent("ClockSkew", &[("streamgauge_store_clock_offset_seconds", "1x20 -1x300")]),
    fires("WriterClockSkew", &[("streamgauge_writer_clock_offset_seconds", "45")], &[(Warning, 0, "45s")]),
    silent("WriterClockSkew", &[("streamgauge_writer_clock_offset_seconds", "-30")]),
    fires(
        "CollectorStuck",
        &[
            ("streamgauge_collector_last_round_timestamp_seconds", "0"),
            ("streamgauge_collector_interval_seconds", "60"),
        ],
        &[(Warning, 6, "11m 0s")],
    ),
    silent(
        "CollectorStuck",
        &[
            ("streamgauge_collector_last_round_timestamp_seconds", "-240+60"),
            ("streamgauge_collector_interval_seconds", "60"),
        ],
    ),
    fires("ConfigReloadFailed", &[("streamgauge_config_last_reload_successful", "0")], &[(Warning, 0, "0")]),
    silent("ConfigReloadFailed", &[("streamgauge_config_last_reload_successful", "1x10 0x4 1x300")]),
    fires("DiscoveryFailed", &[("streamgauge_discovery_success", "0")], &[(Warning, 0, "0")]),
    silent("DiscoveryFailed", &[("streamgauge_discovery_success", "1x10 0x4 1x300")]),
    fires("StateNotSaved", &[("streamgauge_state_last_save_successful", "0")], &[(Warning, 0, "")]),
    silent("StateNotSaved", &[("streamgauge_state_last_save_successful", "1x10 0x4 1x300")]),
    fires("StateSetAside", &[("streamgauge_state_set_aside_total", "1")], &[(Info, 0, "1")]),
    silent("StateSetAside", &[("streamgauge_state_set_aside_total", "0")]),
    fires(
        "SeriesLimitReached",
        &[
            (r#"streamgauge_databases{state="monitored"}"#, "50000"),
            (r#"streamgauge_databases{state="over_limit"}"#, "3"),
        ],
        &[(Warning, 0, "3")],
    ),
    silent(
        "SeriesLimitReached",
        &[
            (r#"streamgauge_databases{state="monitored"}"#, "50000"),
            (r#"streamgauge_databases{state="over_limit"}"#, "0"),
        ],
    ),
    fires("MetricsReduced", &[("streamgauge_metrics_reduced", "2")], &[(Critical, 0, ""), (Warning, 0, "")]),
    fires("MetricsReduced", &[("streamgauge_metrics_reduced", "1")], &[(Warning, 0, "")]),
    silent("MetricsReduced", &[("streamgauge_metrics_reduced", "0x10 2x4 0x300")]),
    fires(
        "NotificationsFailing",
        &[("streamgauge_notification_failing_since_timestamp_seconds", "0")],
        &[(Warning, 6, "6m 0s")],
    ),
    // It was restarted.
    silent("NotificationsFailing", &[("streamgauge_notification_failing_since_timestamp_seconds", "0x4 stale")]),
    fires(
        "RpoBudgetBurn",
        &[
            ("streamgauge_replica_lag_seconds", "400"),
            ("streamgauge_replica_rpo_objective_seconds", "300"),
            ("streamgauge_replica_verified_timestamp_seconds", "0+60"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
        ],
        &[(Warning, 0, "100%")],
    ),
    // All commits were there when it was last read, and it is not read any more.
    fires(
        "RpoBudgetBurn",
        &[
            ("streamgauge_replica_lag_seconds", "0"),
            ("streamgauge_replica_rpo_objective_seconds", "300"),
            ("streamgauge_replica_verified_timestamp_seconds", "0"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
        ],
        &[(Warning, 21, "12.5%")],
    ),
    // One minute in four hours is within the budget.
    silent(
        "RpoBudgetBurn",
        &[
            ("streamgauge_replica_lag_seconds", "0x200 400 0x50"),
            ("streamgauge_replica_rpo_objective_seconds", "300"),
            ("streamgauge_replica_verified_timestamp_seconds", "0+60"),
            ("streamgauge_replica_watched_since_timestamp_seconds", "0"),
            ("streamgauge_replica_verify_interval_seconds", "300"),
        ],
    ),
    fires("AgentDown", &[("up", "0")], &[(Critical, 0, "0")]),
    // One scrape failed.
    silent("AgentDown", &[("up", "1x20 0 1x300")]),
    fires("AgentAbsent", &[], &[(Critical, 0, "1")]),
    silent("AgentAbsent", &[("up", "0")]),
    fires(
        "ShardMissing",
        &[(r#"streamgauge_shard_info{shard="0"}"#, "1"), ("streamgauge_shards", "2")],
        &[(Critical, 0, "1")],
    ),
    silent(
        "ShardMissing",
        &[
            (r#"streamgauge_shard_info{shard="0"}"#, "1"),
            (r#"streamgauge_shard_info{shard="1"}"#, "1"),
            ("streamgauge_shards", "2"),
        ],
    ),
    // One is replaced.
    silent(
        "ShardMissing",
        &[
            (r#"streamgauge_shard_info{shard="0"}"#, "1"),
            (r#"streamgauge_shard_info{shard="1"}"#, "1x5 _x3 1x300"),
            ("streamgauge_shards", "2"),
        ],
    ),
    fires(
        "ShardsDisagree",
        &[(r#"streamgauge_shards{pod="a"}"#, "3"), (r#"streamgauge_shards{pod="b"}"#, "2")],
        &[(Critical, 0, "3")],
    ),
    // Two of them are the same.
    fires(
        "ShardsDisagree",
        &[
            (r#"streamgauge_shard_info{shard="0",pod="a"}"#, "1"),
            (r#"streamgauge_shard_info{shard="0",pod="b"}"#, "1"),
            ("streamgauge_shards", "2"),
        ],
        &[(Critical, 0, "2")],
    ),
    silent(
        "ShardsDisagree",
        &[
            (r#"streamgauge_shard_info{shard="0",pod="a"}"#, "1"),
            (r#"streamgauge_shard_info{shard="1",pod="b"}"#, "1"),
            (r#"streamgauge_shards{pod="a"}"#, "2"),
            (r#"streamgauge_shards{pod="b"}"#, "2"),
        ],
    ),
    fires("Watchdog", &[], &[(Info, 0, "1")]),
];
