//! The dashboard of one database: what could be lost, since when, and what there is to restore from.

use super::panel::{Dashboard, Databases, Panel, Scale, Unit, lines, section, stacked, stat, states, table};
use super::promql::{
    checks_of_databases, could_be_lost, increase, lag, lag_of_objective, of, of_each_database, promql, proof_age, rate,
    sound,
};
use crate::domain::number::Number;
use crate::domain::number::content::{
    BEACON_INTERVAL, BEACON_READ_AT, BEACON_RECOVERY_POINT, BEACON_WRITTEN_AT, CORRUPT, LINEAGE_CONFLICTS,
    NEEDED_CORRUPT, OLDEST_READ, OVERLAPS, PENDING_OBJECTS, REREAD_BYTES, SPOT_COMPARED_AT, SPOT_INTERVAL,
    SPOT_MISMATCH, SPOT_ROUNDS, UNREADABLE_OBJECTS, VERIFIED_BYTES, VERIFIED_OBJECTS,
};
use crate::domain::number::database::{
    AVAIL, COMMITS, FULL, GROWTH_BYTES_PER_SECOND, INFO as DATABASE_INFO, JOURNAL_MODE_WAL, LAST_COMMIT,
    LITESTREAM_ATTACHED, LITESTREAM_TXID_CLAIM, LITESTREAM_UP, PERMISSIONS_ACCEPTABLE, PROJECTED_SIZE_BYTES, REPLACED,
    SIZE_BYTES, STAGING_BYTES, TIER, UNBACKFILLED, UP as DATABASE_UP, USED, USED_OBJECTIVE, WAL_BACKFILLED_FRAMES,
    WAL_FRAMES, WAL_OLDEST_READER_FRAME, WAL_RESETS, WAL_SINCE, WAL_SIZE, WRITER_CLOCK_OFFSET, WRITTEN_BYTES,
};
use crate::domain::number::drill::{
    DRILLS, FAILING, LAST_COST_DOLLARS, LAST_DOWNLOADED_BYTES, LAST_RECOVERY_POINT, LAST_RESULT, LAST_SUCCESS, NEXT,
    PROBE_VALUE, RESTORE_SECONDS, RTO, RUNNING, WITHHELD,
};
use crate::domain::number::replica::{
    CHANGES_SINCE_SNAPSHOT, EXPECTED, EXPIRED, FOREIGN_HISTORY, GAPS, INFO, KEPT, LAG_METHOD, LAG_UPPER_BOUND,
    LARGEST_GAP, LAST_SEGMENT, NEWEST_SNAPSHOT, OBJECTS, RECEIVED, RECOVERY_POINT, REPEATED, RESTORABLE,
    RESTORABLE_GAPS, RESTORABLE_RESOLUTION, RESTORABLE_SINCE, RETENTION, RPO, SIZE_BYTES as REPLICA_SIZE,
    SNAPSHOT_INTERVAL, SNAPSHOTS, STORED_BYTES, TXID, UNREPLICATED_BYTES, UP, VERIFIED_AT, VERIFY_INTERVAL,
};
use crate::domain::profile::Profile;

/// The legend of a line for each replica.
const EACH: &str = "{{database}} {{replica}}";

pub(super) fn database(profile: Profile) -> Dashboard {
    Dashboard {
        uid: "streamgauge-database",
        title: "streamgauge / Database",
        description: "What could be lost of a database, since when, and which times can be restored.",
        databases: Databases::Some,
        sections: vec![
            section("", now(profile)),
            section("Replication", replication(profile)),
            section("What is written", writes()),
            section("What can be restored", history()),
            section("What was verified", content()),
            section("Restore drills", drills()),
            section("Host and bucket", host()),
        ],
    }
}

/// The number, one less: what is good is 1.
fn not(number: &Number) -> String {
    format!("1 - {}", of(number))
}

fn now(profile: Profile) -> Vec<Panel> {
    vec![
        stat(
            "Safe until",
            "Everything committed before this time can be restored from the most up-to-date replica. Of several \
             databases, the earliest.",
            Unit::Instant,
            Scale::Plain,
            format!("min({}) * 1000", of_each_database("max", &sound(&RECOVERY_POINT))),
        ),
        stat(
            "Lag against RPO",
            "The lag of the replica that is farthest behind, as a share of the recovery point objective.",
            Unit::Ratio,
            Scale::OfObjective,
            format!("max({})", lag_of_objective()),
        ),
        stat(
            "Could be lost now",
            "Committed bytes that are in no replica.",
            Unit::Bytes,
            Scale::Plain,
            could_be_lost(profile),
        ),
        stat(
            "Age of the proof",
            "The age of the oldest proof, as a share of the age at which it is too old.",
            Unit::Ratio,
            Scale::OfObjective,
            format!("max({})", proof_age()),
        ),
        stat(
            "Restorable since",
            "The earliest time from which everything up to now can be restored without a hole.",
            Unit::Instant,
            Scale::Plain,
            format!("max({}) * 1000", of_each_database("min", &sound(&RESTORABLE_SINCE))),
        ),
        stat(
            "Last good drill",
            "When a restore was last proven, by restoring.",
            Unit::Instant,
            Scale::Plain,
            format!("min({}) * 1000", of_each_database("max", &of(&LAST_SUCCESS))),
        ),
        table(
            "Failing and unknown checks",
            "What to do: click the name of a check to open its section of the runbook, on the agent.",
            &["check", "status", "database", "replica"],
        )
        .of_labels(format!("{} or {}", checks_of_databases("fail"), checks_of_databases("unknown"))),
    ]
}

fn replication(profile: Profile) -> Vec<Panel> {
    vec![
        lines("Lag", "The age of the oldest commit not proven to be in the replica. No line: unknown.", Unit::Seconds)
            .ask(EACH, lag())
            .ask("{{database}} {{replica}} at most", of(&LAG_UPPER_BOUND))
            .objective("objective", promql!("min({RPO})", RPO)),
        lines("Could be lost", "Committed bytes that are not proven to be in the replica.", Unit::Bytes)
            .ask(EACH, of(&UNREPLICATED_BYTES)),
        checks_over_time(profile),
        states("Seen", "Whether files and replicas could be read at the last look.", Scale::Good)
            .ask("{{database}} file", of(&DATABASE_UP))
            .ask("{{database}} {{replica}} read", of(&UP))
            .ask("{{database}} {{replica}} restorable", of(&RESTORABLE))
            .ask("{{database}} {{replica}} of this history", not(&FOREIGN_HISTORY)),
        states("How lag was proven", "Strongest first: wal, segment, txid, observer; beacon is a claim.", Scale::YesNo)
            .ask("{{database}} {{replica}} by {{method}}", of(&LAG_METHOD)),
        lines(
            "Time since verification",
            "How old everything known about a replica is. It is verified again within the interval.",
            Unit::Seconds,
        )
        .ask(EACH, promql!("time() - {VERIFIED_AT}", VERIFIED_AT))
        .objective("interval", promql!("max({VERIFY_INTERVAL})", VERIFY_INTERVAL)),
        lines(
            "How far Litestream is ahead",
            "TXIDs that Litestream has written on the host but that are not in the replica; also 0 if the replica was \
             looked at last.",
            Unit::Count,
        )
        .ask(
            EACH,
            promql!(
                "clamp_min(-({TXID} - on (job, instance, database) group_left () {LITESTREAM_TXID_CLAIM}), 0)",
                TXID,
                LITESTREAM_TXID_CLAIM
            ),
        ),
    ]
}

/// The full profile alone says which checks pass.
fn checks_over_time(profile: Profile) -> Panel {
    let status = |status: &str| checks_of_databases(status);
    let troubles = format!("{} * 2 or {}", status("fail"), status("unknown"));
    let (description, all) = match profile {
        Profile::Full => {
            let all = format!("{troubles} or {} * 0", status("pass"));
            ("What each check said. A bar ends when the agent did not answer.", all)
        }
        _ => (
            "Checks that fail or are unknown. A bar ends when the check passes, or when the agent did not answer.",
            troubles,
        ),
    };
    let panel = states("Checks", description, Scale::Status).width(24).height(18);
    panel.ask("{{check}}", format!("max by (check) ({all})"))
}

fn writes() -> Vec<Panel> {
    vec![
        lines("Commits per second", "Write transactions, including Litestream's own.", Unit::Count)
            .ask("{{database}}", rate(&COMMITS)),
        lines("Written", "Bytes of WAL frames committed, and how fast the file grows.", Unit::BytesPerSecond)
            .ask("{{database}} written", rate(&WRITTEN_BYTES))
            .ask("{{database}} growth", of(&GROWTH_BYTES_PER_SECOND)),
        lines("Size", "The database, its WAL, what Litestream keeps beside it, and the replica.", Unit::Bytes)
            .ask("{{database}}", of(&SIZE_BYTES))
            .ask("{{database}} WAL", of(&WAL_SIZE))
            .ask("{{database}} staged by Litestream", of(&STAGING_BYTES))
            .ask("{{database}} {{replica}}", of(&REPLICA_SIZE))
            .ask("{{database}} in 30 days", of(&PROJECTED_SIZE_BYTES)),
        lines(
            "WAL",
            "Committed frames, how many of them are in the database, and how far the oldest reader has got.",
            Unit::Count,
        )
        .ask("{{database}} frames", of(&WAL_FRAMES))
        .ask("{{database}} backfilled", of(&WAL_BACKFILLED_FRAMES))
        .ask("{{database}} oldest reader", of(&WAL_OLDEST_READER_FRAME))
        .right("{{database}} not backfilled", Unit::Bytes, of(&UNBACKFILLED)),
        lines("Restarts of the WAL", "How often the WAL was restarted within an hour, and how old it is.", Unit::Count)
            .ask("{{database}} restarts", promql!("increase({WAL_RESETS}[1h])", WAL_RESETS))
            .right("{{database}} age", Unit::Seconds, promql!("time() - {WAL_SINCE}", WAL_SINCE)),
        lines("Time since the last commit", "An idle database alone is no problem.", Unit::Seconds)
            .ask("{{database}} commit", promql!("time() - {LAST_COMMIT}", LAST_COMMIT))
            .ask("{{database}} {{replica}} newest object", promql!("time() - {LAST_SEGMENT}", LAST_SEGMENT)),
    ]
}

fn history() -> Vec<Panel> {
    vec![
        lines(
            "How far back a restore reaches",
            "Without a hole up to now, beside the objective and what Litestream is told to keep.",
            Unit::Seconds,
        )
        .ask(EACH, promql!("time() - {RESTORABLE_SINCE}", RESTORABLE_SINCE))
        .ask("{{database}} {{replica}} told to keep", of(&KEPT))
        .objective("objective", promql!("max({RETENTION})", RETENTION)),
        lines("Holes", "In the chain to the latest state, and in time, back to the oldest snapshot.", Unit::Count)
            .ask("{{database}} {{replica}} in the chain", of(&GAPS))
            .ask("{{database}} {{replica}} in time", of(&RESTORABLE_GAPS))
            .right("{{database}} {{replica}} longest", Unit::Seconds, of(&LARGEST_GAP))
            .right("{{database}} {{replica}} resolution", Unit::Seconds, of(&RESTORABLE_RESOLUTION)),
        lines(
            "Age of the newest snapshot",
            "Beside the interval at which one has to appear while the database changes.",
            Unit::Seconds,
        )
        .ask(EACH, promql!("time() - {NEWEST_SNAPSHOT}", NEWEST_SNAPSHOT))
        .objective("interval", promql!("max({SNAPSHOT_INTERVAL})", SNAPSHOT_INTERVAL)),
        lines(
            "Snapshots and changes",
            "How many snapshots there are, and how far the replica has moved since the newest.",
            Unit::Count,
        )
        .ask("{{database}} {{replica}} snapshots", of(&SNAPSHOTS))
        .ask("{{database}} {{replica}} changes since", of(&CHANGES_SINCE_SNAPSHOT)),
        stacked("Objects by level", "How many objects the replica has.", Unit::Count)
            .ask("{{database}} {{replica}} level {{level}}", of(&OBJECTS)),
        stacked("Bytes by level", "How large the objects of the replica are.", Unit::Bytes)
            .ask("{{database}} {{replica}} level {{level}}", of(&STORED_BYTES)),
        lines(
            "Received in an hour",
            "Bytes of new level-0 files, beside the most that the writes explain.",
            Unit::Bytes,
        )
        .ask(EACH, of(&RECEIVED))
        .objective("{{database}} {{replica}} at most", of(&EXPECTED)),
        lines(
            "Objects that should not be there",
            "Objects that retention should have deleted, or that repeat the one before.",
            Unit::Count,
        )
        .ask("{{database}} {{replica}} expired", of(&EXPIRED))
        .ask("{{database}} {{replica}} repeated", of(&REPEATED)),
    ]
}

fn content() -> Vec<Panel> {
    vec![
        lines("Verified per second", "Objects that were read and are good, and how many bytes that took.", Unit::Count)
            .ask("{{database}} {{replica}} {{depth}}", rate(&VERIFIED_OBJECTS))
            .right("{{database}} {{replica}} read", Unit::BytesPerSecond, rate(&VERIFIED_BYTES))
            .right("{{database}} {{replica}} read again", Unit::BytesPerSecond, rate(&REREAD_BYTES)),
        lines(
            "Bad objects",
            "By what is wrong with them, and how many a restore of the latest state needs.",
            Unit::Count,
        )
        .ask("{{database}} {{replica}} {{finding}}", of(&CORRUPT))
        .ask("{{database}} {{replica}} needed", of(&NEEDED_CORRUPT)),
        lines(
            "Objects not read",
            "Waiting for the budget or their turn, or unreadable at the last attempt.",
            Unit::Count,
        )
        .ask("{{database}} {{replica}} pending", of(&PENDING_OBJECTS))
        .ask("{{database}} {{replica}} unreadable", of(&UNREADABLE_OBJECTS))
        .right(
            "{{database}} {{replica}} oldest read",
            Unit::Seconds,
            promql!("time() - {OLDEST_READ}", OLDEST_READ),
        ),
        lines("Signs of two writers", "Objects that were replaced, and files that overlap.", Unit::Count)
            .ask("{{database}} {{replica}} replaced", increase(&LINEAGE_CONFLICTS))
            .ask("{{database}} {{replica}} overlapping", of(&OVERLAPS)),
        stat(
            "Comparisons with the live database",
            "Rounds that compared pages of the replica, in the time shown, by result.",
            Unit::Count,
            Scale::Plain,
            format!("sum by (result) ({})", increase(&SPOT_ROUNDS)),
        )
        .named("{{result}}")
        .width(8),
        stat(
            "Page that differs",
            "Whether a page of the replica differs from the live database at the same position.",
            Unit::Count,
            Scale::Bad,
            promql!("max({SPOT_MISMATCH})", SPOT_MISMATCH),
        ),
        lines("Since pages were compared", "Beside the interval.", Unit::Seconds)
            .ask(EACH, promql!("time() - {SPOT_COMPARED_AT}", SPOT_COMPARED_AT))
            .objective("interval", promql!("max({SPOT_INTERVAL})", SPOT_INTERVAL)),
    ]
}

fn drills() -> Vec<Panel> {
    vec![
        lines(
            "Time to restore",
            "How long the last full drill took, beside the recovery time objective.",
            Unit::Seconds,
        )
        .ask(EACH, of(&RESTORE_SECONDS))
        .objective("objective", promql!("min({RTO})", RTO)),
        states(
            "Drills",
            "Whether the last conclusive drill failed, and whether drills are withheld (the agent's page says why).",
            Scale::Bad,
        )
        .ask("{{database}} {{replica}} failing", of(&FAILING))
        .ask("{{database}} {{replica}} withheld", of(&WITHHELD)),
        stat(
            "Results",
            "Drills in the time shown, by result. Inconclusive says nothing about the backup.",
            Unit::Count,
            Scale::Plain,
            format!("sum by (result) ({})", increase(&DRILLS)),
        )
        .named("{{result}}")
        .width(12),
        stat(
            "Next drill",
            "When the next one is due. Also unknown while one is running, and if none is scheduled.",
            Unit::Instant,
            Scale::Plain,
            promql!("min({NEXT}) * 1000", NEXT),
        )
        .width(6),
        stat("Running", "Whether a drill is running.", Unit::Count, Scale::YesNo, promql!("max({RUNNING})", RUNNING))
            .width(6),
        table("Last drill", "What it restored, downloaded and cost.", &["database", "replica"])
            .column(
                "Restored up to",
                Unit::Instant,
                Scale::Plain,
                promql!("{LAST_RECOVERY_POINT} * 1000", LAST_RECOVERY_POINT),
            )
            .column("Downloaded", Unit::Bytes, Scale::Plain, of(&LAST_DOWNLOADED_BYTES))
            .column("Cost", Unit::Dollars, Scale::Plain, of(&LAST_COST_DOLLARS))
            .height(5),
        lines("Probes", "The answers to your queries in the last drill; ages are seconds.", Unit::Count)
            .ask("{{database}} {{probe}}", of(&PROBE_VALUE)),
        states("Result of the last drill", "Inconclusive says nothing about the backup.", Scale::YesNo)
            .ask("{{database}} {{replica}} {{result}}", of(&LAST_RESULT)),
    ]
}

fn host() -> Vec<Panel> {
    vec![
        table("Where it is", "The file, and where its replicas are.", &["database", "path", "page_size"])
            .of_labels(of(&DATABASE_INFO))
            .height(5),
        table(
            "Replicas",
            "Where they are, and in which layout.",
            &["database", "replica", "store", "bucket", "layout", "url"],
        )
        .of_labels(of(&INFO))
        .height(5),
        states("Host", "What replication needs on the host.", Scale::Good)
            .ask("{{database}} Litestream runs", of(&LITESTREAM_UP))
            .ask("{{database}} Litestream is attached", of(&LITESTREAM_ATTACHED))
            .ask("{{database}} in WAL mode", of(&JOURNAL_MODE_WAL))
            .ask("{{database}} not replaced", not(&REPLACED))
            .ask("{{database}} permissions of {{file}}", of(&PERMISSIONS_ACCEPTABLE)),
        lines("Disk", "How full the database's fullest filesystem is, and how full it may be.", Unit::Ratio)
            .ask("{{database}}", of(&USED))
            .objective("objective", promql!("min({USED_OBJECTIVE})", USED_OBJECTIVE))
            .right("{{database}} free", Unit::Bytes, of(&AVAIL))
            .right("{{database}} full in", Unit::Seconds, of(&FULL)),
        super::posture("Settings of the buckets that hold replicas of the database.", |number| {
            let setting = of(number);
            promql!("{setting} and on (job, instance, bucket) {INFO}", INFO)
        }),
        lines("Beacon", "For an observer: how old the last word from the agent beside the database is.", Unit::Seconds)
            .ask("{{database}} {{replica}} written", promql!("time() - {BEACON_WRITTEN_AT}", BEACON_WRITTEN_AT))
            .ask("{{database}} {{replica}} read", promql!("time() - {BEACON_READ_AT}", BEACON_READ_AT))
            .ask(
                "{{database}} {{replica}} claims to be safe",
                promql!("time() - {BEACON_RECOVERY_POINT}", BEACON_RECOVERY_POINT),
            )
            .objective("interval", promql!("max({BEACON_INTERVAL})", BEACON_INTERVAL)),
        lines(
            "Clock of the writer",
            "How far it is ahead of the store's clock, according to its beacon.",
            Unit::Seconds,
        )
        .ask("{{database}}", of(&WRITER_CLOCK_OFFSET)),
        lines("Sizing", "The tier of the sizing guide; 0 is the first.", Unit::Count).ask("{{database}}", of(&TIER)),
    ]
}
