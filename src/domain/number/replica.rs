//! Numbers of a replica: what is proven of it, what it holds and what is wanted of it.

use super::declare::{Kind, Known, Number, gauge, several};
use super::subject::Scope::Replica;
use super::subject::Subject;
use crate::domain::assessment::{CoverageReport, ReplicaReport};
use crate::domain::litestream::Layout;
use crate::domain::timeline::TimelineReport;

/// What was listed.
fn coverage(on: Subject<'_>) -> Option<&CoverageReport> {
    on.replica()?.coverage.as_deref()
}

/// To which instants it restores, once everything was listed.
fn map(on: Subject<'_>) -> Option<&TimelineReport> {
    on.replica()?.timeline.as_deref()
}

numbers! {
    INFO = several(Kind::Info, (Replica, &["store", "layout", "url", "bucket"]), "streamgauge_replica_info",
        "Where the replica is, and in which of Litestream's layouts; bucket is empty if there is none.",
        |on, put| {
            let ReplicaReport { store, layout, url, bucket, .. } = on.replica()?;
            let layout = layout.map_or("", Layout::as_str);
            put(&[store, layout, url, bucket.as_deref().unwrap_or_default()], true.known());
            Some(())
        })
        .standard();

    UP = gauge(Replica, "streamgauge_replica_up",
        "1 if the replica could be read at the last look, its newest object included, 0 if not.",
        |on| on.replica()?.up.known())
        .core();

    RECOVERY_POINT = gauge(Replica, "streamgauge_replica_recovery_point_timestamp_seconds",
        "Everything that was committed before this time is proven to be restorable from the replica.",
        |on| on.replica()?.recovery_point.known())
        .core();

    LAG = gauge(Replica, "streamgauge_replica_lag_seconds",
        "Age of the oldest commit that is not proven to be in the replica, 0 if there is none; while the replica \
         cannot be read, as last seen, and absent once a commit that may be missing is older than the objective.",
        |on| on.replica()?.lag_seconds.known())
        .core();

    LAG_UNKNOWN_SINCE = gauge(Replica, "streamgauge_replica_lag_unknown_since_timestamp_seconds",
        "Since when the lag has been unknown; absent while it is known, and where it is unknown by design: for an \
         observer without a beacon, while the database is missing, and while the replica cannot be read.",
        |on| on.replica()?.keeping.lag_unknown.as_ref()?.since.known())
        .standard();

    UNPROVEN_COMMIT = gauge(Replica, "streamgauge_replica_unproven_commit_timestamp_seconds",
        "While the lag is unknown: when the oldest commit that may be missing from the replica was made.",
        |on| on.replica()?.keeping.lag_unknown.as_ref()?.commit_at.known());

    LAG_UPPER_BOUND = gauge(Replica, "streamgauge_replica_lag_upper_bound_seconds",
        "Upper bound of the lag if nobody saw when the oldest unproven commit was made.",
        |on| on.replica()?.lag_upper_bound_seconds.known());

    UNREPLICATED_BYTES = gauge(Replica, "streamgauge_replica_unreplicated_bytes",
        "Committed WAL bytes that are not proven to be in the replica.",
        |on| on.replica()?.unreplicated_bytes.known())
        .core();

    UNREPLICATED_BYTES_LOWER_BOUND = gauge(Replica, "streamgauge_replica_unreplicated_bytes_lower_bound",
        "1 if streamgauge_replica_unreplicated_bytes is a lower bound because the WAL was restarted, 0 if it is exact.",
        |on| {
            let replica = on.replica()?;
            replica.unreplicated_bytes.map(|_| replica.unreplicated_bytes_lower_bound).known()
        });

    UNREPLICATED_SINCE = gauge(Replica, "streamgauge_replica_unreplicated_since_timestamp_seconds",
        "When the oldest commit that is not proven to be in the replica was made.",
        |on| on.replica()?.unreplicated_since.known());

    VERIFIED_AT = gauge(Replica, "streamgauge_replica_verified_timestamp_seconds",
        "When the replica was last verified; everything known about it is as old as that.",
        |on| on.replica()?.verified_at.known())
        .core();

    WATCHED_SINCE = gauge(Replica, "streamgauge_replica_watched_since_timestamp_seconds",
        "When the agent first watched the replica.",
        |on| on.replica()?.watched_since.known())
        .standard();

    VERIFY_INTERVAL = gauge(Replica, "streamgauge_replica_verify_interval_seconds",
        "The longest time that passes between two verifications when all is well.",
        |on| on.replica()?.verify_interval_seconds.known())
        .standard();

    LAG_METHOD = several(Kind::Info, (Replica, &["method"]), "streamgauge_replica_lag_method_info",
        "How the recovery point was proven, strongest first: wal, segment, txid, observer; beacon if the lag is claimed by the agent beside the database, and not proven.",
        |on, put| {
            put(&[on.replica()?.method?.as_str()], true.known());
            Some(())
        });

    LAST_SEGMENT = gauge(Replica, "streamgauge_replica_last_segment_timestamp_seconds",
        "When the newest object of the replica was written; old if the database is idle, which alone is no cause for \
         alarm.",
        |on| on.replica()?.last_segment_at.known());

    TXID = gauge(Replica, "streamgauge_replica_txid",
        "The newest TXID in the replica.",
        |on| on.replica()?.txid.known());

    OBJECTS = several(Kind::Gauge, (Replica, &["level"]), "streamgauge_replica_objects",
        "Objects of the replica, by level.",
        |on, put| {
            for level in &coverage(on)?.levels {
                put(&[level.level], level.objects.known());
            }
            Some(())
        });

    EMPTY = gauge(Replica, "streamgauge_replica_empty",
        "1 if the listing contains no Litestream file at all, 0 if it does.",
        |on| coverage(on)?.is_empty().known());

    FIRST_SNAPSHOT = gauge(Replica, "streamgauge_replica_first_snapshot_seconds",
        "How long a first snapshot may take to appear, by the size of the database.",
        |on| on.database()?.first_snapshot_seconds().known());

    STORED_BYTES = several(Kind::Gauge, (Replica, &["level"]), "streamgauge_replica_stored_bytes",
        "Size of the objects of the replica, by level.",
        |on, put| {
            for level in &coverage(on)?.levels {
                put(&[level.level], level.bytes.known());
            }
            Some(())
        });

    SIZE_BYTES = gauge(Replica, "streamgauge_replica_size_bytes",
        "Size of all objects of the replica.",
        |on| coverage(on)?.levels.iter().map(|level| level.bytes).sum::<u64>().known())
        .standard();

    SNAPSHOTS = gauge(Replica, "streamgauge_replica_snapshots",
        "Snapshots in the replica.",
        |on| coverage(on)?.snapshots.known());

    NEWEST_SNAPSHOT = gauge(Replica, "streamgauge_replica_newest_snapshot_timestamp_seconds",
        "When the newest snapshot of the replica was taken.",
        |on| coverage(on)?.newest_snapshot_at.known());

    SNAPSHOT_INTERVAL = gauge(Replica, "streamgauge_replica_snapshot_interval_seconds",
        "How often a snapshot has to appear, as configured or by Litestream's default (24 hours).",
        |on| on.database()?.objectives.snapshot_interval().known());

    UNSNAPSHOTTED_SINCE = gauge(Replica, "streamgauge_replica_unsnapshotted_since_timestamp_seconds",
        "When the oldest change that no snapshot holds was replicated; absent if the newest snapshot holds everything.",
        |on| coverage(on)?.unsnapshotted_since.known());

    CHANGES_SINCE_SNAPSHOT = gauge(Replica, "streamgauge_replica_changes_since_snapshot",
        "How far the replica has moved since its newest snapshot, in TXIDs (v0.5) or segments (v0.3).",
        |on| coverage(on)?.changes_since_snapshot.known());

    RESTORABLE = gauge(Replica, "streamgauge_replica_restorable",
        "1 if the listing contains a snapshot, or a chain from the start, that something can be restored from, 0 if \
         not.",
        |on| coverage(on)?.restorable.known())
        .standard();

    RESTORABLE_SINCE = gauge(Replica, "streamgauge_replica_restorable_since_timestamp_seconds",
        "The earliest time from which everything up to the newest object can be restored without a hole.",
        |on| coverage(on)?.restorable_since.known())
        .core();

    WHOLE = gauge(Replica, "streamgauge_replica_history_whole",
        "1 if the replica still reaches back to its beginning, 0 if older history was deleted or lost.",
        |on| coverage(on)?.whole.known());

    RETENTION = gauge(Replica, "streamgauge_replica_retention_objective_seconds",
        "How far back a restore has to reach, as configured.",
        |on| on.database()?.objectives.retention_seconds.known());

    KEPT = gauge(Replica, "streamgauge_replica_kept_seconds",
        "How long Litestream was told to keep history; absent if that is not known or everything is kept.",
        |on| on.replica()?.keeping.kept_seconds.known());

    EXPIRED = gauge(Replica, "streamgauge_replica_expired_objects",
        "Objects that Litestream's retention, as configured, should have deleted more than 6 hours ago.",
        |on| coverage(on)?.expired_objects.known());

    RECEIVED = gauge(Replica, "streamgauge_replica_received_bytes",
        "Bytes of level-0 files that appeared in the replica within the last hour.",
        |on| on.replica()?.keeping.growth?.received_bytes.known());

    EXPECTED = gauge(Replica, "streamgauge_replica_expected_bytes",
        "The most that streamgauge_replica_received_bytes should be: twice the WAL bytes committed in that time, plus the database once.",
        |on| on.replica()?.keeping.growth?.expected_bytes.known());

    REPEATED = gauge(Replica, "streamgauge_replica_repeated_objects",
        "Level-0 files that appeared in the replica within the last hour, if all that were read change the same pages.",
        |on| on.replica()?.keeping.churn?.objects.known());

    STORAGE_DOLLARS_PER_MONTH = gauge(Replica, "streamgauge_replica_storage_dollars_per_month",
        "What storing the replica costs, at the configured prices.",
        |on| on.replica()?.keeping.storage_dollars_per_month.known())
        .standard();

    FOREIGN_HISTORY = gauge(Replica, "streamgauge_replica_foreign_history",
        "1 if the replica is ahead of the local Litestream, which keeps writing behind it: another history or another \
         writer; 0 if not.",
        |on| on.replica()?.keeping.foreign_history.known());

    GAPS = gauge(Replica, "streamgauge_replica_gaps",
        "Holes between the newest snapshot and the newest object that no level bridges; with any, the latest state \
         cannot be restored.",
        |on| coverage(on)?.gaps.len().known())
        .standard();

    RESTORABLE_GAPS = gauge(Replica, "streamgauge_replica_restorable_gaps",
        "Stretches of time, back to the oldest snapshot, that cannot be restored because objects are missing.",
        |on| map(on)?.gaps.known());

    LARGEST_GAP = gauge(Replica, "streamgauge_replica_largest_gap_seconds",
        "The longest of streamgauge_replica_restorable_gaps, 0 if there is none.",
        |on| map(on)?.largest_gap_seconds.unwrap_or(0.0).known());

    RESTORABLE_RESOLUTION = gauge(Replica, "streamgauge_replica_restorable_resolution_seconds",
        "The longest time between two restorable states because those between them were compacted away; 0 if every \
         state is left.",
        |on| map(on)?.resolution_seconds().known());

    RPO = gauge(Replica, "streamgauge_replica_rpo_objective_seconds",
        "The lag that is tolerated, as configured.",
        |on| on.database()?.rpo_seconds.known())
        .core();
}
