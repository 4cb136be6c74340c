//! Numbers of the content of a replica: what was read of it, compared with the live database, and claimed by its beacon.

use super::declare::{Kind, Known, Number, counter, gauge, several};
use super::subject::Scope::Replica;
use super::subject::Subject;
use crate::domain::beacon::BeaconReport;
use crate::domain::spot::SpotReport;
use crate::domain::verification::{FindingKind, VerificationReport};

fn verification(on: Subject<'_>) -> Option<&VerificationReport> {
    on.replica()?.verification.as_deref()
}

fn spot(on: Subject<'_>) -> Option<&SpotReport> {
    on.replica()?.compared()
}

fn beacon(on: Subject<'_>) -> Option<&BeaconReport> {
    on.replica()?.beacon.as_deref()
}

numbers! {
    VERIFIED_OBJECTS = several(Kind::Counter, (Replica, &["depth"]), "streamgauge_replica_verified_objects_total",
        "Objects of the replica that were read and are good: header and index (structure), or decoded in full (content).",
        |on, put| {
            let verification = verification(on)?;
            put(&["structure"], verification.structure_verified.known());
            put(&["content"], verification.content_verified.known());
            Some(())
        });

    VERIFIED_BYTES = counter(Replica, "streamgauge_replica_verified_bytes_total",
        "Bytes of the replica that were read to verify its objects.",
        |on| verification(on)?.read_bytes.known());

    REREAD_OBJECTS = counter(Replica, "streamgauge_replica_reread_objects_total",
        "Objects of the replica that were read in full again, long after they were first found good.",
        |on| verification(on)?.reread.known());

    REREAD_BYTES = counter(Replica, "streamgauge_replica_reread_bytes_total",
        "The part of streamgauge_replica_verified_bytes_total that was read again.",
        |on| verification(on)?.reread_bytes.known());

    OLDEST_READ = gauge(Replica, "streamgauge_replica_oldest_read_timestamp_seconds",
        "When the object that was not read in full for the longest time was last read.",
        |on| verification(on)?.oldest_read_at.known());

    SPOT_INTERVAL = gauge(Replica, "streamgauge_replica_spot_interval_seconds",
        "How often pages of the replica are compared with the live database; absent if they cannot be.",
        |on| spot(on)?.interval_seconds.known());

    SPOT_ROUNDS = several(Kind::Counter, (Replica, &["result"]), "streamgauge_replica_spot_rounds_total",
        "Rounds of such comparisons: equal, different, or inconclusive if nothing could be compared or a difference \
         has to be seen again.",
        |on, put| {
            let spot = spot(on)?;
            put(&["equal"], spot.equal.known());
            put(&["different"], spot.different.known());
            put(&["inconclusive"], spot.inconclusive.known());
            Some(())
        });

    SPOT_PAGES_COMPARED = counter(Replica, "streamgauge_replica_spot_pages_compared_total",
        "Pages of the replica that were compared with the live database.",
        |on| spot(on)?.pages_compared.known());

    SPOT_COMPARED_AT = gauge(Replica, "streamgauge_replica_spot_last_conclusive_timestamp_seconds",
        "When pages of the replica were last compared with the live database.",
        |on| spot(on)?.conclusive_at.known());

    SPOT_MISMATCH = gauge(Replica, "streamgauge_replica_spot_mismatch",
        "1 if a page of the replica differs from the live database at the same position, 0 if none is known to differ; \
         absent until a page was compared.",
        |on| spot(on)?.mismatch().known());

    CORRUPT = several(Kind::Gauge, (Replica, &["finding"]), "streamgauge_replica_corrupt_objects",
        "Damaged objects of the replica, by what is wrong with them; 0 if none of those read is known to be damaged.",
        |on, put| {
            let findings = &on.replica()?.read_objects()?.findings;
            for kind in FindingKind::ALL {
                let count = findings.iter().filter(|finding| finding.kind == *kind).count();
                put(&[kind.as_str()], count.known());
            }
            Some(())
        });

    NEEDED_CORRUPT = gauge(Replica, "streamgauge_replica_needed_corrupt_objects",
        "Objects in streamgauge_replica_corrupt_objects without which the latest state cannot be restored.",
        |on| on.replica()?.read_objects()?.needed_damaged().count().known())
        .standard();

    UNREADABLE_OBJECTS = gauge(Replica, "streamgauge_replica_unreadable_objects",
        "Objects of the replica that could not be read at the last attempt; this says nothing about their content.",
        |on| verification(on)?.unreadable.known());

    PENDING_OBJECTS = gauge(Replica, "streamgauge_replica_pending_objects",
        "Objects of the replica that are waiting to be read, for the byte budget or for their turn.",
        |on| verification(on)?.pending.known());

    LINEAGE_CONFLICTS = counter(Replica, "streamgauge_replica_lineage_conflicts_total",
        "Objects of the replica that were replaced by others of the same name: two writers.",
        |on| verification(on)?.lineage_conflicts.known());

    BEACON_WRITTEN_AT = gauge(Replica, "streamgauge_replica_beacon_timestamp_seconds",
        "When the agent beside the database wrote the beacon that an observer read.",
        |on| beacon(on)?.written_at.known());

    BEACON_READ_AT = gauge(Replica, "streamgauge_replica_beacon_read_timestamp_seconds",
        "When the beacon was last read.",
        |on| beacon(on)?.read_at.known());

    BEACON_INTERVAL = gauge(Replica, "streamgauge_replica_beacon_interval_seconds",
        "How often the beacon is written, according to the beacon.",
        |on| beacon(on)?.claim.as_ref()?.interval_seconds.known());

    BEACON_RECOVERY_POINT = gauge(Replica, "streamgauge_replica_beacon_recovery_point_timestamp_seconds",
        "The recovery point that the beacon claims.",
        |on| beacon(on)?.recovery_point().known());

    OVERLAPS = gauge(Replica, "streamgauge_replica_overlaps",
        "Level-0 files of the replica that begin before the previous one ends: two writers.",
        |on| verification(on)?.overlaps.known());
}
