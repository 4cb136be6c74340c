//! Numbers of a database: what its local files say, and what Litestream's say beside them.

use super::declare::{Kind, Known, Number, counter, gauge, several};
use super::subject::Scope::Database;
use super::subject::Subject;
use crate::domain::assessment::LocalReport;

fn local(on: Subject<'_>) -> Option<&LocalReport> {
    on.database()?.local.as_deref()
}

numbers! {
    INFO = several(Kind::Info, (Database, &["path", "page_size"]), "streamgauge_database_info",
        "The database file and its page size in bytes.",
        |on, put| {
            let local = local(on)?;
            put(&[&local.path, &local.page_size.to_string()], true.known());
            Some(())
        });

    UP = gauge(Database, "streamgauge_database_up",
        "1 if the files of the database were read at the last look, 0 if they could not be.",
        |on| on.database()?.up().known())
        .standard();

    REPLACED = gauge(Database, "streamgauge_database_replaced",
        "1 if the database was replaced by another file while it was in use, 0 if not.",
        |on| local(on)?.replacement.replaced.known());

    REPLICAS = gauge(Database, "streamgauge_database_replicas",
        "Replicas that are configured for the database.",
        |on| on.database()?.replicas.len().known())
        .core();

    POLLED = gauge(Database, "streamgauge_database_polled",
        "1 if the filesystem does not report changes, so they are seen later, 0 if it does.",
        |on| local(on)?.polled.known());

    SIZE_BYTES = gauge(Database, "streamgauge_database_size_bytes",
        "Size of the database file.",
        |on| local(on)?.size_bytes.known())
        .core();

    WAL_SIZE = gauge(Database, "streamgauge_database_wal_size_bytes",
        "Size of the WAL file: a high-water mark, not what is committed in it.",
        |on| local(on)?.wal_size_bytes.known())
        .standard();

    WAL_FRAMES = gauge(Database, "streamgauge_database_wal_frames",
        "Committed frames in the WAL.",
        |on| local(on)?.wal_frames.known());

    WAL_BACKFILLED_FRAMES = gauge(Database, "streamgauge_database_wal_backfilled_frames",
        "Frames of the WAL that a checkpoint has copied into the database.",
        |on| local(on)?.wal_backfilled_frames.known());

    WAL_OLDEST_READER_FRAME = gauge(Database, "streamgauge_database_wal_oldest_reader_frame",
        "The lowest frame that a reader still needs; checkpoints stop there.",
        |on| local(on)?.wal_oldest_reader_frame.known());

    UNBACKFILLED = gauge(Database, "streamgauge_database_unbackfilled_bytes",
        "Committed pages of the WAL that no checkpoint has copied into the database yet.",
        |on| local(on)?.unbackfilled_bytes().known());

    WAL_SINCE = gauge(Database, "streamgauge_database_wal_since_timestamp_seconds",
        "Since when the WAL is known not to have been restarted.",
        |on| local(on)?.wal_since.known());

    WAL_RESETS = counter(Database, "streamgauge_database_wal_resets_total",
        "How often the WAL was restarted since the agent first saw the database.",
        |on| local(on)?.counters.wal_resets.known());

    COMMITS = counter(Database, "streamgauge_database_commits_total",
        "Write transactions since the agent first saw the database, including Litestream's own.",
        |on| local(on)?.counters.commits.known())
        .standard();

    COMMITS_LOWER_BOUND = gauge(Database, "streamgauge_database_commits_lower_bound",
        "1 if some commits may be missing from streamgauge_database_commits_total, 0 if it is exact.",
        |on| local(on)?.counters.commits_lower_bound.known());

    WRITTEN_BYTES = counter(Database, "streamgauge_database_written_bytes_total",
        "Bytes of WAL frames committed since the agent first saw the database.",
        |on| local(on)?.counters.written_bytes.known());

    WRITTEN_BYTES_LOWER_BOUND = gauge(Database, "streamgauge_database_written_bytes_lower_bound",
        "1 if some bytes may be missing from streamgauge_database_written_bytes_total, 0 if it is exact.",
        |on| local(on)?.counters.written_bytes_lower_bound.known());

    LAST_COMMIT = gauge(Database, "streamgauge_database_last_commit_timestamp_seconds",
        "When the last commit was made.",
        |on| local(on)?.last_commit_at.known());

    GROWTH_BYTES_PER_SECOND = gauge(Database, "streamgauge_database_growth_bytes_per_second",
        "How fast the database file grows over the window of rates; negative when it shrank.",
        |on| local(on)?.rates?.growth_bytes_per_second.known());

    WRITE_TRANSACTIONS_PER_SECOND = gauge(Database, "streamgauge_database_write_transactions_per_second",
        "Write transactions per second over the window of rates.",
        |on| local(on)?.rates?.write_transactions_per_second.known());

    WRITTEN_BYTES_PER_SECOND = gauge(Database, "streamgauge_database_written_bytes_per_second",
        "Bytes of WAL frames committed per second over the window of rates.",
        |on| local(on)?.rates?.written_bytes_per_second.known());

    RATE_WINDOW = gauge(Database, "streamgauge_database_rate_window_seconds",
        "The time over which growth and write rates are averaged.",
        |on| local(on)?.rates?.window_seconds.known());

    JOURNAL_MODE_WAL = gauge(Database, "streamgauge_database_journal_mode_wal",
        "1 if the database is in WAL mode, 0 if it has a rollback journal that Litestream cannot replicate.",
        |on| local(on)?.journal_mode_wal.known());

    FILESYSTEM_SIZE_BYTES = gauge(Database, "streamgauge_database_filesystem_size_bytes",
        "Size of the filesystem that holds the database.",
        |on| local(on)?.filesystem?.space.size_bytes.known());

    AVAIL = gauge(Database, "streamgauge_database_filesystem_avail_bytes",
        "Space on the database's filesystem that is free for unprivileged processes.",
        |on| local(on)?.filesystem?.space.avail_bytes.known());

    USED = gauge(Database, "streamgauge_database_filesystem_used_ratio",
        "How full the fullest filesystem is, of those that hold the database, its WAL and Litestream's metadata \
         directory; 1 is full.",
        |on| local(on)?.used_ratio().known())
        .standard();

    USED_OBJECTIVE = gauge(Database, "streamgauge_database_filesystem_used_objective_ratio",
        "How full these filesystems may be, as configured.",
        |on| local(on)?.used_objective_ratio.known());

    FULL = gauge(Database, "streamgauge_database_filesystem_full_seconds",
        "When the first of these filesystems will be full if it keeps filling up at the rate of the last hours; absent \
         if none is filling up.",
        |on| local(on)?.filesystem_full_seconds().known())
        .standard();

    FILE_PERMISSIONS_OK = several(Kind::Gauge, (Database, &["file"]), "streamgauge_database_file_permissions_ok",
        "1 if mode and owner of this file are as configured, 0 if not.",
        |on, put| {
            for mode in &*local(on)?.modes {
                put(&[mode.found.file.as_str()], mode.problem.is_none().known());
            }
            Some(())
        });

    PERMISSIONS_ACCEPTABLE = several(Kind::Gauge, (Database, &["file"]), "streamgauge_database_file_permissions_acceptable",
        "1 if mode and owner of this file are as configured, or wrong only for others who cannot reach it; 0 if not.",
        |on, put| {
            for mode in &*local(on)?.modes {
                put(&[mode.found.file.as_str()], mode.is_acceptable().known());
            }
            Some(())
        });

    TIER = gauge(Database, "streamgauge_database_sizing_tier",
        "The tier of the sizing guide that the database is in, or will be in within 30 days; 0 is the first.",
        |on| {
            let local = local(on)?;
            local.sizing.tier(local.size_bytes).known()
        });

    PROJECTED_SIZE_BYTES = gauge(Database, "streamgauge_database_projected_size_bytes",
        "Size of the database in 30 days if it keeps growing as it has for weeks.",
        |on| local(on)?.sizing.projected_size_bytes.known());

    STAGING_BYTES = gauge(Database, "streamgauge_database_staging_bytes",
        "Size of all files in the metadata directory that Litestream keeps for the database.",
        |on| local(on)?.staging_bytes.known());

    LITESTREAM_UP = gauge(Database, "streamgauge_litestream_up",
        "1 if a running Litestream process could be working on the database, 0 if none could; that alone does not \
         prove replication.",
        |on| local(on)?.litestream.as_ref()?.up.known());

    LITESTREAM_ATTACHED = gauge(Database, "streamgauge_litestream_attached",
        "1 if a process holds the read lock that Litestream keeps on databases it replicates, 0 if none does; other \
         readers can hold it, too.",
        |on| local(on)?.open.known());

    LITESTREAM_TXID_CLAIM = gauge(Database, "streamgauge_litestream_txid_claim",
        "The newest TXID among Litestream's local files: how far it claims to be, not a proof.",
        |on| local(on)?.txid_claim.known());

    WRITER_CLOCK_OFFSET = gauge(Database, "streamgauge_writer_clock_offset_seconds",
        "How far the clock of another host that writes the database is ahead of the store's, according to its beacon.",
        |on| on.database()?.writer_offset_seconds().known());
}
