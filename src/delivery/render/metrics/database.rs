//! What the local files of a database say, and what Litestream's say beside them.

use super::family::{Family, Kind};
use crate::domain::assess::rates::Rates;
use crate::domain::assessment::LocalReport;
use crate::domain::report::Report;

/// Calls `sample` for each database whose files were read.
fn locals(report: &Report, mut sample: impl FnMut(&str, &LocalReport)) {
    for database in &report.assessment.databases {
        if let Some(local) = &database.local {
            sample(&database.name, local);
        }
    }
}

fn rate(local: &LocalReport, which: fn(Rates) -> f64) -> Option<f64> {
    local.rates.map(which)
}

pub(super) static FAMILIES: &[Family] = &[
    Family {
        name: "streamgauge_database_info",
        kind: Kind::Info,
        labels: &["database", "path", "page_size"],
        help: "The file of the database and the size of its pages in bytes.",
        samples: |report, sink| {
            locals(report, |name, local| sink.info(&[name, &local.path, &local.page_size.to_string()]))
        },
    },
    Family {
        name: "streamgauge_database_up",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if the files of the database were read at the last look, 0 if they could not be.",
        samples: |report, sink| {
            for database in &report.assessment.databases {
                sink.put_known(&[&database.name], database.up());
            }
        },
    },
    Family {
        name: "streamgauge_database_replaced",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if another file was put in the place of the database while it was in use, 0 if not.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.replacement.replaced)),
    },
    Family {
        name: "streamgauge_database_replicas",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Replicas that are configured for the database.",
        samples: |report, sink| {
            for database in &report.assessment.databases {
                sink.put(&[&database.name], database.replicas.len());
            }
        },
    },
    Family {
        name: "streamgauge_database_polled",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if the filesystem does not tell of changes, so that they are seen later, 0 if it does.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.polled)),
    },
    Family {
        name: "streamgauge_database_size_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Size of the database file.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.size_bytes)),
    },
    Family {
        name: "streamgauge_database_wal_size_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Size of the WAL file, which is its high-water mark and not what is committed in it.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.wal_size_bytes)),
    },
    Family {
        name: "streamgauge_database_wal_frames",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Committed frames in the WAL.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.wal_frames)),
    },
    Family {
        name: "streamgauge_database_wal_backfilled_frames",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Frames of the WAL that a checkpoint has copied into the database.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.wal_backfilled_frames)),
    },
    Family {
        name: "streamgauge_database_wal_oldest_reader_frame",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "The lowest frame that a reader still needs, which is where checkpoints stop.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.wal_oldest_reader_frame)),
    },
    Family {
        name: "streamgauge_database_unbackfilled_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Committed pages of the WAL that no checkpoint has copied into the database yet.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.unbackfilled_bytes())),
    },
    Family {
        name: "streamgauge_database_wal_since_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Since when the WAL is known not to have begun anew.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.wal_since)),
    },
    Family {
        name: "streamgauge_database_wal_resets_total",
        kind: Kind::Counter,
        labels: &["database"],
        help: "Times that the WAL began anew since the agent first saw the database.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.counters.wal_resets)),
    },
    Family {
        name: "streamgauge_database_commits_total",
        kind: Kind::Counter,
        labels: &["database"],
        help: "Write transactions since the agent first saw the database, those of Litestream included.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.counters.commits)),
    },
    Family {
        name: "streamgauge_database_commits_lower_bound",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if some commits may be missing from streamgauge_database_commits_total, 0 if it is exact.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.counters.commits_lower_bound)),
    },
    Family {
        name: "streamgauge_database_written_bytes_total",
        kind: Kind::Counter,
        labels: &["database"],
        help: "Bytes of WAL frames committed since the agent first saw the database.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.counters.written_bytes)),
    },
    Family {
        name: "streamgauge_database_written_bytes_lower_bound",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if some bytes may be missing from streamgauge_database_written_bytes_total, 0 if it is exact.",
        samples: |report, sink| {
            locals(report, |name, local| sink.put(&[name], local.counters.written_bytes_lower_bound))
        },
    },
    Family {
        name: "streamgauge_database_last_commit_timestamp_seconds",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "When the last commit was made.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.last_commit_at)),
    },
    Family {
        name: "streamgauge_database_growth_bytes_per_second",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "How fast the database file grows over the window of rates; negative when it shrank.",
        samples: |report, sink| {
            locals(report, |name, local| sink.put_known(&[name], rate(local, |rates| rates.growth_bytes_per_second)))
        },
    },
    Family {
        name: "streamgauge_database_write_transactions_per_second",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Write transactions per second over the window of rates.",
        samples: |report, sink| {
            locals(report, |name, local| {
                sink.put_known(&[name], rate(local, |rates| rates.write_transactions_per_second))
            })
        },
    },
    Family {
        name: "streamgauge_database_written_bytes_per_second",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Bytes of WAL frames committed per second over the window of rates.",
        samples: |report, sink| {
            locals(report, |name, local| sink.put_known(&[name], rate(local, |rates| rates.written_bytes_per_second)))
        },
    },
    Family {
        name: "streamgauge_database_rate_window_seconds",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "The time over which growth and write rates are averaged.",
        samples: |report, sink| {
            locals(report, |name, local| sink.put_known(&[name], rate(local, |rates| rates.window_seconds)))
        },
    },
    Family {
        name: "streamgauge_database_journal_mode_wal",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if the database is in WAL mode, 0 if it has a rollback journal that Litestream cannot replicate.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.journal_mode_wal)),
    },
    Family {
        name: "streamgauge_database_filesystem_size_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Size of the filesystem that holds the database.",
        samples: |report, sink| {
            locals(report, |name, local| {
                sink.put_known(&[name], local.filesystem.map(|filesystem| filesystem.space.size_bytes))
            })
        },
    },
    Family {
        name: "streamgauge_database_filesystem_avail_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Space on the filesystem of the database that is free to unprivileged processes.",
        samples: |report, sink| {
            locals(report, |name, local| {
                sink.put_known(&[name], local.filesystem.map(|filesystem| filesystem.space.avail_bytes))
            })
        },
    },
    Family {
        name: "streamgauge_database_filesystem_used_ratio",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "How full the fullest filesystem is that holds the database, its WAL or the metadata directory of Litestream: 1 is full.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.used_ratio())),
    },
    Family {
        name: "streamgauge_database_filesystem_used_objective_ratio",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "How full these filesystems may be, as configured.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.used_objective_ratio)),
    },
    Family {
        name: "streamgauge_database_filesystem_full_seconds",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "When the first of these filesystems is full if it goes on filling as it did for hours; absent when none does.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.filesystem_full_seconds())),
    },
    Family {
        name: "streamgauge_database_file_permissions_ok",
        kind: Kind::Gauge,
        labels: &["database", "file"],
        help: "1 if mode and owner of this file are as configured, 0 if not.",
        samples: |report, sink| {
            locals(report, |name, local| {
                for mode in &local.modes {
                    sink.put(&[name, mode.found.file.as_str()], mode.problem.is_none());
                }
            })
        },
    },
    Family {
        name: "streamgauge_database_file_permissions_acceptable",
        kind: Kind::Gauge,
        labels: &["database", "file"],
        help: "1 if mode and owner of this file are as configured, or are wrong only for others who cannot reach it; 0 if not.",
        samples: |report, sink| {
            locals(report, |name, local| {
                for mode in &local.modes {
                    sink.put(&[name, mode.found.file.as_str()], mode.is_acceptable());
                }
            })
        },
    },
    Family {
        name: "streamgauge_database_sizing_tier",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "The band of the sizing guide that the database is in, or will be within 30 days: 0 is the first.",
        samples: |report, sink| locals(report, |name, local| sink.put(&[name], local.sizing.tier(local.size_bytes))),
    },
    Family {
        name: "streamgauge_database_projected_size_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Size of the database in 30 days if it goes on growing as it did for weeks.",
        samples: |report, sink| {
            locals(report, |name, local| sink.put_known(&[name], local.sizing.projected_size_bytes))
        },
    },
    Family {
        name: "streamgauge_database_staging_bytes",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "Size of all files in the metadata directory that Litestream keeps for the database.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.staging_bytes)),
    },
    Family {
        name: "streamgauge_litestream_up",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if a Litestream runs that could work on the database, 0 if none does; its running proves no replication.",
        samples: |report, sink| {
            locals(report, |name, local| {
                sink.put_known(&[name], local.litestream.as_ref().and_then(|litestream| litestream.up))
            })
        },
    },
    Family {
        name: "streamgauge_litestream_attached",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "1 if a process holds the read lock that Litestream keeps on what it replicates, 0 if none does; other readers hold it too.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.open)),
    },
    Family {
        name: "streamgauge_litestream_txid_claim",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "The newest TXID among the local files of Litestream: how far it claims to be, which is no proof.",
        samples: |report, sink| locals(report, |name, local| sink.put_known(&[name], local.txid_claim)),
    },
    Family {
        name: "streamgauge_writer_clock_offset_seconds",
        kind: Kind::Gauge,
        labels: &["database"],
        help: "How far the clock of another host that writes the database is ahead of the store's, by its beacon.",
        samples: |report, sink| {
            for database in &report.assessment.databases {
                sink.put_known(&[&database.name], database.writer_offset_seconds());
            }
        },
    },
];
