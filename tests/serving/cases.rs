//! For each rule: numbers that make it fire and numbers that must not, as Prometheus would have scraped them.

use streamgauge::domain::check::Severity;
use streamgauge::domain::check::Severity::{Critical, Info, Warning};

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

pub(super) static CASES: &[Case] = &[
    fires("DatabaseUnreadable", &[("streamgauge_database_up", "0")], &[(Critical, 0, "0")]),
    silent("DatabaseUnreadable", &[("streamgauge_database_up", "1")]),
    // Replaced during a deployment.
    silent("DatabaseUnreadable", &[("streamgauge_database_up", "1x10 0x4 1x300")]),
    fires("JournalModeNotWal", &[("streamgauge_database_journal_mode_wal", "0")], &[(Critical, 0, "0")]),
    silent("JournalModeNotWal", &[("streamgauge_database_journal_mode_wal", "1x10 0x4 1x300")]),
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
    silent("LineageConflict", &[(r#"streamgauge_replica_corrupt_objects{finding="corrupt"}"#, "1")]),
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
    fires("Watchdog", &[], &[(Info, 0, "1")]),
];
