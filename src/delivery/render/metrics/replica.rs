//! What is proven of each replica.

use super::family::{Family, Kind};
use crate::domain::assessment::{CoverageReport, ObjectivesReport, ReplicaReport};
use crate::domain::beacon::BeaconReport;
use crate::domain::report::Report;
use crate::domain::spot::SpotReport;
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::{FindingKind, VerificationReport};

/// Calls `sample` for each replica with its two labels.
fn replicas(report: &Report, mut sample: impl FnMut(&[&str], &ReplicaReport)) {
    for database in &report.assessment.databases {
        for replica in &database.replicas {
            sample(&[&database.name, &replica.name], replica);
        }
    }
}

/// Calls `sample` for each replica with what is wanted of its database.
fn wanted(report: &Report, mut sample: impl FnMut(&[&str], &ObjectivesReport)) {
    for database in &report.assessment.databases {
        for replica in &database.replicas {
            sample(&[&database.name, &replica.name], &database.objectives);
        }
    }
}

/// Calls `sample` for each replica that was listed.
fn covered(report: &Report, mut sample: impl FnMut(&[&str], &CoverageReport)) {
    replicas(report, |on, replica| {
        if let Some(coverage) = &replica.coverage {
            sample(on, coverage);
        }
    });
}

/// Calls `sample` for each replica of which everything was listed.
fn mapped(report: &Report, mut sample: impl FnMut(&[&str], &TimelineReport)) {
    replicas(report, |on, replica| {
        if let Some(map) = &replica.timeline {
            sample(on, map);
        }
    });
}

/// Calls `sample` for each replica whose objects are verified.
fn verified(report: &Report, mut sample: impl FnMut(&[&str], &VerificationReport)) {
    replicas(report, |on, replica| {
        if let Some(verification) = &replica.verification {
            sample(on, verification);
        }
    });
}

/// Calls `sample` for each replica that is to be compared with a live database.
fn compared(report: &Report, mut sample: impl FnMut(&[&str], &SpotReport)) {
    replicas(report, |on, replica| {
        if let Some(spot) = replica.spot.as_ref().filter(|spot| spot.interval_seconds.is_some()) {
            sample(on, spot);
        }
    });
}

/// Calls `sample` for each replica with a beacon.
fn beacons(report: &Report, mut sample: impl FnMut(&[&str], &BeaconReport)) {
    replicas(report, |on, replica| {
        if let Some(beacon) = &replica.beacon {
            sample(on, beacon);
        }
    });
}

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_replica_info",
        kind: Kind::Info,
        labels: &["database", "replica", "store", "layout", "url"],
        help: "Where the replica is and in which layout of Litestream it is written.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.info(&[on[0], on[1], &replica.store, replica.layout.unwrap_or_default(), &replica.url]);
            });
        },
    },
    Family {
        name: "streamgauge_replica_up",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the replica was listed and its newest object read at the last look, 0 if not.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.up)),
    },
    Family {
        name: "streamgauge_replica_recovery_point_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The newest instant of which it is proven that all that was committed before it can be restored from the replica.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.recovery_point)),
    },
    Family {
        name: "streamgauge_replica_lag_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Age of the oldest commit that is not proven to be in the replica, 0 when there is none.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.lag_seconds)),
    },
    Family {
        name: "streamgauge_replica_lag_unknown_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Since when the lag is unknown; absent while it is known, and where it is unknown by design: for an observer without a beacon, and while the database is missing.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.put_known(on, replica.keeping.lag_unknown.map(|unknown| unknown.since));
            });
        },
    },
    Family {
        name: "streamgauge_replica_unproven_commit_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "While the lag is unknown: when the oldest commit was made of which it is not known whether it is in the replica.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.put_known(on, replica.keeping.lag_unknown.and_then(|unknown| unknown.commit_at));
            });
        },
    },
    Family {
        name: "streamgauge_replica_lag_upper_bound_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The most that the lag can be where the oldest unproven commit was not seen being made.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.lag_upper_bound_seconds)),
    },
    Family {
        name: "streamgauge_replica_unreplicated_bytes",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Committed WAL bytes that are not proven to be in the replica.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.unreplicated_bytes)),
    },
    Family {
        name: "streamgauge_replica_unreplicated_bytes_lower_bound",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if streamgauge_replica_unreplicated_bytes is a lower bound because the WAL began anew, 0 if it is exact.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.put_known(on, replica.unreplicated_bytes.map(|_| replica.unreplicated_bytes_lower_bound))
            })
        },
    },
    Family {
        name: "streamgauge_replica_unreplicated_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the oldest commit was made that is not proven to be in the replica.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.unreplicated_since)),
    },
    Family {
        name: "streamgauge_replica_verified_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the replica was last verified: how old everything said about it is.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.verified_at)),
    },
    Family {
        name: "streamgauge_replica_watched_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the agent first watched the replica.",
        samples: |report, sink| replicas(report, |on, replica| sink.put(on, replica.watched_since)),
    },
    Family {
        name: "streamgauge_replica_verify_interval_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The longest time that passes between two verifications when all is well.",
        samples: |report, sink| replicas(report, |on, replica| sink.put(on, replica.verify_interval_seconds)),
    },
    Family {
        name: "streamgauge_replica_lag_method_info",
        kind: Kind::Info,
        labels: &["database", "replica", "method"],
        help: "How the recovery point was proven, strongest first: wal, segment, txid, observer; beacon where lag is a claim of the agent beside the database, and not proven.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                if let Some(method) = replica.method {
                    sink.info(&[on[0], on[1], method.as_str()]);
                }
            });
        },
    },
    Family {
        name: "streamgauge_replica_last_segment_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the newest object of the replica was written; old on an idle database, and no alarm by itself.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.last_segment_at)),
    },
    Family {
        name: "streamgauge_replica_txid",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The newest TXID in the replica.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.txid)),
    },
    Family {
        name: "streamgauge_replica_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica", "level"],
        help: "Objects of the replica, by level.",
        samples: |report, sink| {
            covered(report, |on, coverage| {
                for level in &coverage.levels {
                    sink.put(&[on[0], on[1], level.level], level.objects);
                }
            });
        },
    },
    Family {
        name: "streamgauge_replica_empty",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the listing has no file of Litestream at all, 0 if it has.",
        samples: |report, sink| covered(report, |on, coverage| sink.put(on, coverage.is_empty())),
    },
    Family {
        name: "streamgauge_replica_first_snapshot_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How long a first snapshot may take to be there, by the size of the database.",
        samples: |report, sink| {
            for database in &report.assessment.databases {
                for replica in &database.replicas {
                    sink.put(&[&database.name, &replica.name], database.first_snapshot_seconds());
                }
            }
        },
    },
    Family {
        name: "streamgauge_replica_stored_bytes",
        kind: Kind::Gauge,
        labels: &["database", "replica", "level"],
        help: "Size of the objects of the replica, by level.",
        samples: |report, sink| {
            covered(report, |on, coverage| {
                for level in &coverage.levels {
                    sink.put(&[on[0], on[1], level.level], level.bytes);
                }
            });
        },
    },
    Family {
        name: "streamgauge_replica_snapshots",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Snapshots in the replica.",
        samples: |report, sink| covered(report, |on, coverage| sink.put(on, coverage.snapshots)),
    },
    Family {
        name: "streamgauge_replica_newest_snapshot_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the newest snapshot of the replica was taken.",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.newest_snapshot_at)),
    },
    Family {
        name: "streamgauge_replica_snapshot_interval_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How often a snapshot has to appear, as configured or by default of Litestream (24 hours).",
        samples: |report, sink| {
            wanted(report, |on, objectives| sink.put(on, objectives.snapshot_interval()));
        },
    },
    Family {
        name: "streamgauge_replica_unsnapshotted_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the oldest change was replicated that no snapshot holds; absent when the newest snapshot holds everything.",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.unsnapshotted_since)),
    },
    Family {
        name: "streamgauge_replica_changes_since_snapshot",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How far the replica moved since its newest snapshot, in TXIDs (v0.5) or segments (v0.3).",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.changes_since_snapshot)),
    },
    Family {
        name: "streamgauge_replica_restorable",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the listing has a snapshot or a chain from the start from which something restores, 0 if not.",
        samples: |report, sink| covered(report, |on, coverage| sink.put(on, coverage.restorable)),
    },
    Family {
        name: "streamgauge_replica_restorable_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The earliest instant that can be restored without a hole between it and the newest object.",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.restorable_since)),
    },
    Family {
        name: "streamgauge_replica_history_whole",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the replica still reaches back to its beginning, 0 if older history was deleted or lost.",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.whole)),
    },
    Family {
        name: "streamgauge_replica_retention_objective_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How far back a restore has to reach, as configured.",
        samples: |report, sink| {
            wanted(report, |on, objectives| sink.put_known(on, objectives.retention_seconds));
        },
    },
    Family {
        name: "streamgauge_replica_kept_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "For how long Litestream was told to keep history; absent where that is not known or all is kept.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.keeping.kept_seconds)),
    },
    Family {
        name: "streamgauge_replica_expired_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Objects that the retention of Litestream, as configured, should have deleted more than 6 hours ago.",
        samples: |report, sink| covered(report, |on, coverage| sink.put_known(on, coverage.expired_objects)),
    },
    Family {
        name: "streamgauge_replica_received_bytes",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Bytes of level-0 files that appeared in the replica within the last hour.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.put_known(on, replica.keeping.growth.map(|growth| growth.received_bytes));
            });
        },
    },
    Family {
        name: "streamgauge_replica_expected_bytes",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The most that streamgauge_replica_received_bytes should be: twice the WAL bytes committed in that time, and the database once.",
        samples: |report, sink| {
            replicas(report, |on, replica| {
                sink.put_known(on, replica.keeping.growth.map(|growth| growth.expected_bytes));
            });
        },
    },
    Family {
        name: "streamgauge_replica_repeated_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Level-0 files that appeared in the replica within the last hour while each one that was read changes the same pages as the one before.",
        samples: |report, sink| {
            replicas(report, |on, replica| sink.put_known(on, replica.keeping.churn.map(|churn| churn.objects)));
        },
    },
    Family {
        name: "streamgauge_replica_storage_dollars_per_month",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "What storing the replica costs, by the configured prices.",
        samples: |report, sink| {
            replicas(report, |on, replica| sink.put_known(on, replica.keeping.storage_dollars_per_month));
        },
    },
    Family {
        name: "streamgauge_replica_foreign_history",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if the replica is ahead of the local Litestream, which goes on writing behind it: another history or another writer; 0 if not.",
        samples: |report, sink| replicas(report, |on, replica| sink.put_known(on, replica.keeping.foreign_history)),
    },
    Family {
        name: "streamgauge_replica_gaps",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Holes between the newest snapshot and the newest object that no level bridges; with one, the latest state does not restore.",
        samples: |report, sink| covered(report, |on, coverage| sink.put(on, coverage.gaps.len())),
    },
    Family {
        name: "streamgauge_replica_restorable_gaps",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Stretches of time, back to the oldest snapshot, to which the replica cannot be restored because objects are missing.",
        samples: |report, sink| mapped(report, |on, map| sink.put(on, map.gaps)),
    },
    Family {
        name: "streamgauge_replica_largest_gap_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The longest of streamgauge_replica_restorable_gaps, 0 when there is none.",
        samples: |report, sink| mapped(report, |on, map| sink.put(on, map.largest_gap_seconds.unwrap_or(0.0))),
    },
    Family {
        name: "streamgauge_replica_restorable_resolution_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The longest time between two restorable states of which those between them were compacted away; 0 when every state is left.",
        samples: |report, sink| mapped(report, |on, map| sink.put_known(on, map.resolution_seconds())),
    },
    Family {
        name: "streamgauge_replica_rpo_objective_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The lag that is tolerated, as configured.",
        samples: |report, sink| {
            for database in &report.assessment.databases {
                for replica in &database.replicas {
                    sink.put(&[&database.name, &replica.name], database.rpo_seconds);
                }
            }
        },
    },
    Family {
        name: "streamgauge_replica_verified_objects_total",
        kind: Kind::Counter,
        labels: &["database", "replica", "depth"],
        help: "Objects of the replica that were read and are good: header and index (structure), or decoded in full (content).",
        samples: |report, sink| {
            verified(report, |on, verification| {
                sink.put(&[on[0], on[1], "structure"], verification.structure_verified);
                sink.put(&[on[0], on[1], "content"], verification.content_verified);
            });
        },
    },
    Family {
        name: "streamgauge_replica_verified_bytes_total",
        kind: Kind::Counter,
        labels: &["database", "replica"],
        help: "Bytes of the replica that were read to verify its objects.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.read_bytes)),
    },
    Family {
        name: "streamgauge_replica_reread_objects_total",
        kind: Kind::Counter,
        labels: &["database", "replica"],
        help: "Objects of the replica that were read in full again, long after they were found good.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.reread)),
    },
    Family {
        name: "streamgauge_replica_reread_bytes_total",
        kind: Kind::Counter,
        labels: &["database", "replica"],
        help: "Those of streamgauge_replica_verified_bytes_total that were read again.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.reread_bytes)),
    },
    Family {
        name: "streamgauge_replica_oldest_read_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the object was last read in full whose last reading is the longest ago.",
        samples: |report, sink| verified(report, |on, verification| sink.put_known(on, verification.oldest_read_at)),
    },
    Family {
        name: "streamgauge_replica_spot_interval_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How often pages of the replica are compared with the live database; absent where they cannot be.",
        samples: |report, sink| compared(report, |on, spot| sink.put_known(on, spot.interval_seconds)),
    },
    Family {
        name: "streamgauge_replica_spot_rounds_total",
        kind: Kind::Counter,
        labels: &["database", "replica", "result"],
        help: "Rounds of such comparisons: equal, different, or inconclusive, when nothing could be compared or a difference had to be seen again.",
        samples: |report, sink| {
            compared(report, |on, spot| {
                sink.put(&[on[0], on[1], "equal"], spot.equal);
                sink.put(&[on[0], on[1], "different"], spot.different);
                sink.put(&[on[0], on[1], "inconclusive"], spot.inconclusive);
            });
        },
    },
    Family {
        name: "streamgauge_replica_spot_pages_compared_total",
        kind: Kind::Counter,
        labels: &["database", "replica"],
        help: "Pages of the replica that were compared with the live database.",
        samples: |report, sink| compared(report, |on, spot| sink.put(on, spot.pages_compared)),
    },
    Family {
        name: "streamgauge_replica_spot_last_conclusive_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When pages of the replica were last compared with the live database.",
        samples: |report, sink| compared(report, |on, spot| sink.put_known(on, spot.conclusive_at)),
    },
    Family {
        name: "streamgauge_replica_spot_mismatch",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "1 if a page of the replica differs from the live database at the same position, 0 if none is known to; absent until one was compared.",
        samples: |report, sink| compared(report, |on, spot| sink.put_known(on, spot.mismatch())),
    },
    Family {
        name: "streamgauge_replica_corrupt_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica", "finding"],
        help: "Objects of the replica with which something is wrong, by what it is; 0 when none is known among those read.",
        samples: |report, sink| {
            verified(report, |on, verification| {
                if !verification.has_read() {
                    return;
                }
                for kind in FindingKind::ALL {
                    let count = verification.findings.iter().filter(|finding| finding.kind == *kind).count();
                    sink.put(&[on[0], on[1], kind.as_str()], count);
                }
            });
        },
    },
    Family {
        name: "streamgauge_replica_needed_corrupt_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Those of streamgauge_replica_corrupt_objects without which the latest state does not restore.",
        samples: |report, sink| {
            verified(report, |on, verification| {
                if verification.has_read() {
                    sink.put(on, verification.needed_damaged().count());
                }
            });
        },
    },
    Family {
        name: "streamgauge_replica_unreadable_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Objects of the replica that could not be read at the last attempt, which says nothing of their content.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.unreadable)),
    },
    Family {
        name: "streamgauge_replica_pending_objects",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Objects of the replica that wait to be read, for the byte budget or their turn.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.pending)),
    },
    Family {
        name: "streamgauge_replica_lineage_conflicts_total",
        kind: Kind::Counter,
        labels: &["database", "replica"],
        help: "Objects of the replica that were replaced by others of the same name: two writers.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.lineage_conflicts)),
    },
    Family {
        name: "streamgauge_replica_beacon_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the agent beside the database wrote the beacon that an observer read.",
        samples: |report, sink| beacons(report, |on, beacon| sink.put_known(on, beacon.written_at)),
    },
    Family {
        name: "streamgauge_replica_beacon_read_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "When the beacon was last read.",
        samples: |report, sink| beacons(report, |on, beacon| sink.put_known(on, beacon.read_at)),
    },
    Family {
        name: "streamgauge_replica_beacon_interval_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "How often the beacon is written, as it says.",
        samples: |report, sink| {
            beacons(report, |on, beacon| sink.put_known(on, beacon.claim.as_ref().map(|claim| claim.interval_seconds)));
        },
    },
    Family {
        name: "streamgauge_replica_beacon_recovery_point_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "The recovery point that the beacon claims.",
        samples: |report, sink| beacons(report, |on, beacon| sink.put_known(on, beacon.recovery_point())),
    },
    Family {
        name: "streamgauge_replica_overlaps",
        kind: Kind::Gauge,
        labels: &["database", "replica"],
        help: "Level-0 files of the replica that begin before the one in front of them ends: two writers.",
        samples: |report, sink| verified(report, |on, verification| sink.put(on, verification.overlaps)),
    },
];
