//! Checks of the host: disk, permissions, checkpoints, and whether the machine is still the right one.

use super::expression::{Comparison, Condition, Of, Quantity, Select, Term, seconds};
use super::{Check, Context, Severity, Tell, Told, Unit, Watching, rule, spoken};
use crate::domain::report::{DatabaseReport, LocalReport};

/// A WAL of which so much waits to be copied into the database is more than Litestream's own rhythm leaves (1000 pages by
/// default, 121359 pages in an emergency).
const UNBACKFILLED_BYTES: f64 = 268_435_456.0;

/// Litestream and SQLite begin a busy WAL anew within minutes.
const WAL_AGE_SECONDS: f64 = 1800.0;

/// The founding rule.
const USED_RATIO: f64 = 0.8;

const FULL_SECONDS: f64 = 86_400.0;

/// A number of the local files, whose metric has the label `database` and no other.
const fn local(metric: &'static str, of: fn(&DatabaseReport) -> Option<f64>) -> Quantity {
    Quantity { metric, select: Select::Only, of: Of::Database(of) }
}

static UNBACKFILLED: Quantity = local("streamgauge_database_unbackfilled_bytes", |database| {
    Some(database.local.as_ref()?.unbackfilled_bytes()? as f64)
});

static WAL_SINCE: Quantity = local("streamgauge_database_wal_since_timestamp_seconds", |database| {
    database.local.as_ref()?.wal_since.map(seconds)
});

static WAL_SIZE: Quantity =
    local("streamgauge_database_wal_size_bytes", |database| Some(database.local.as_ref()?.wal_size_bytes? as f64));

static AVAIL: Quantity = local("streamgauge_database_filesystem_avail_bytes", |database| {
    Some(database.local.as_ref()?.filesystem?.space.avail_bytes as f64)
});

static USED: Quantity =
    local("streamgauge_database_filesystem_used_ratio", |database| database.local.as_ref()?.used_ratio());

static FULL: Quantity = local("streamgauge_database_filesystem_full_seconds", |database| {
    database.local.as_ref()?.filesystem_full_seconds()
});

static PERMISSIONS: Quantity = Quantity {
    metric: "streamgauge_database_file_permissions_ok",
    select: Select::Min("file"),
    of: Of::Database(|database| {
        let modes = &database.local.as_ref()?.modes;
        modes.iter().map(|mode| f64::from(mode.problem.is_none())).reduce(f64::min)
    }),
};

static TIER: Quantity = local("streamgauge_database_sizing_tier", |database| {
    let local = database.local.as_ref()?;
    Some(local.sizing.tier(local.size_bytes) as f64)
});

static MUCH_WAITS: Condition =
    Condition::Compare(&Term::Of(&UNBACKFILLED), Comparison::Above, &Term::Number(UNBACKFILLED_BYTES));

static NEVER_RESET: Condition = Condition::Compare(
    &Term::Difference(&Term::Now, &Term::Of(&WAL_SINCE)),
    Comparison::Above,
    &Term::Number(WAL_AGE_SECONDS),
);

static DISK_IN_DANGER: Condition =
    Condition::Compare(&Term::Of(&WAL_SIZE), Comparison::Above, &Term::Product(&Term::Of(&AVAIL), &Term::Number(0.25)));

static MOSTLY_USED: Condition = Condition::Compare(&Term::Of(&USED), Comparison::Above, &Term::Number(USED_RATIO));

static SOON_FULL: Condition = Condition::Compare(&Term::Of(&FULL), Comparison::Below, &Term::Number(FULL_SECONDS));

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "CheckpointStarved",
        title: "Checkpoints get on with the WAL",
        summary: "{database}: the WAL grows without a checkpoint",
        description: "{value} of the WAL of {database} are not in the database yet, and it has not begun anew for half an \
                      hour: a reader or Litestream holds checkpoints back, the file grows, and reads become slow.",
        action: "Find the long transaction: `streamgauge check` names the process that holds the lock. End it; then the \
                 next checkpoint gets through.",
        unit: Unit::Bytes,
        rules: &[
            rule(Severity::Critical, &Condition::All(&[&MUCH_WAITS, &NEVER_RESET, &DISK_IN_DANGER]), 30),
            rule(Severity::Warning, &Condition::All(&[&MUCH_WAITS, &NEVER_RESET]), 30),
        ],
        tell: Tell::Database(starved),
    },
    Check {
        name: "DiskFilling",
        title: "The disk is at most 80 % full",
        summary: "{database}: its disk is filling",
        description: "{value} of the filesystem that holds {database}, its WAL or what Litestream stages are used. SQLite \
                      needs room for the WAL, and VACUUM for a second copy.",
        action: "Free space or grow the volume: look at the WAL, at Litestream's metadata directory, at logs.",
        unit: Unit::Ratio,
        rules: &[rule(Severity::Warning, &MOSTLY_USED, 15)],
        tell: Tell::Database(filling),
    },
    Check {
        name: "DiskFullSoon",
        title: "The disk is not full within a day",
        summary: "{database}: its disk is full soon",
        description: "The filesystem that holds {database}, its WAL or what Litestream stages is full in {value} if it goes \
                      on filling as it does. Then every write fails.",
        action: "Free space now, then find what grows: the WAL (see CheckpointStarved), Litestream's metadata directory \
                 when uploads fail, logs.",
        unit: Unit::Seconds,
        rules: &[rule(Severity::Critical, &Condition::All(&[&SOON_FULL, &MOSTLY_USED]), 30)],
        tell: Tell::Database(full_soon),
    },
    Check {
        name: "PermissionDrift",
        title: "Only those who should can read and write the files",
        summary: "{database}: permissions are not as configured",
        description: "Mode or owner of {database}, its -wal, its -shm or their directory are not what they should be.",
        action: "See which with `streamgauge check`; chmod and chown it, or say what you want under [objectives] with \
                 `file-mode` and `owner`.",
        unit: Unit::Count,
        rules: &[rule(
            Severity::Warning,
            &Condition::Compare(&Term::Of(&PERMISSIONS), Comparison::Equal, &Term::Number(0.0)),
            10,
        )],
        tell: Tell::Database(permissions),
    },
    Check {
        name: "SizingTierExceeded",
        title: "Size and write rate are in the first band of the sizing guide",
        summary: "{database} outgrows its machine",
        description: "{database} is, or within 30 days will be, in band {value} of the sizing guide (size: 1, 10 and 50 GB; \
                      write transactions a second: 100 and 1000).",
        action: "Read what the guide advises for its band with `streamgauge check`.",
        unit: Unit::Count,
        rules: &[rule(
            Severity::Info,
            &Condition::Compare(&Term::Of(&TIER), Comparison::Above, &Term::Number(0.0)),
            360,
        )],
        tell: Tell::Database(sizing),
    },
];

fn mebibytes(bytes: f64) -> String {
    format!("{:.0} MiB", bytes / 1_048_576.0)
}

/// Who keeps checkpoints from going on, as far as it shows.
fn holder(local: &LocalReport) -> String {
    let reader = match (local.wal_oldest_reader_frame, local.wal_frames) {
        (Some(frame), Some(frames)) if frame < frames => format!("a reader still needs frame {frame} of {frames}"),
        (Some(_), _) => "readers are at its end".into(),
        (None, _) => "no reader is in it".into(),
    };
    match local.lock_holder_pid {
        Some(pid) => format!("{reader}; process {pid} holds a read lock"),
        None => reader,
    }
}

fn starved(context: &Context, database: &DatabaseReport) -> Option<Told> {
    let local = database.local.as_ref().filter(|local| local.journal_mode_wal)?;
    let Some(size) = local.wal_size_bytes else { return Some(Told::Known("there is no WAL".into())) };
    let Some(waits) = local.unbackfilled_bytes() else {
        return Some(if size as f64 <= UNBACKFILLED_BYTES {
            Told::Known(format!("the WAL has {}", mebibytes(size as f64)))
        } else {
            Told::Unknown(format!("the WAL has {}, and no wal-index says what waits", mebibytes(size as f64)))
        });
    };
    let waiting = format!("{} wait for a checkpoint", mebibytes(waits as f64));
    if waits as f64 <= UNBACKFILLED_BYTES {
        return Some(Told::Known(waiting));
    }
    let held = holder(local);
    // A single look cannot know for how long.
    if context.watching == Watching::Once {
        return Some(Told::Unknown(format!("{waiting}, since an unknown time: {held}")));
    }
    let since = local.wal_since.map(|since| spoken(context.now.duration_since(since).as_secs_f64()));
    let since = since.unwrap_or_else(|| "an unknown time".into());
    Some(Told::Known(format!("{waiting}, and the WAL has not begun anew for {since}: {held}")))
}

fn used(local: &LocalReport) -> Option<String> {
    Some(format!("{:.0} % are used", 100.0 * local.used_ratio()?))
}

fn filling(_: &Context, database: &DatabaseReport) -> Option<Told> {
    let local = database.local.as_ref()?;
    Some(match used(local) {
        Some(used) => Told::Known(used),
        None => Told::Unknown("the system does not say how full its filesystem is".into()),
    })
}

/// A single look has seen nothing grow: to it, this does not apply.
fn full_soon(context: &Context, database: &DatabaseReport) -> Option<Told> {
    let local = database.local.as_ref().filter(|_| context.watching == Watching::Continuously)?;
    let used = used(local)?;
    let known = local.filesystem?.filling_bytes_per_second.is_some();
    let known = known && local.staging_filesystem.is_none_or(|other| other.filling_bytes_per_second.is_some());
    Some(match local.filesystem_full_seconds() {
        Some(full) => Told::Known(format!("{used}, full in {} as it goes on", spoken(full))),
        None if known => Told::Known(format!("{used}, and no more from hour to hour")),
        None if local.used_ratio()? > USED_RATIO => {
            Told::Unknown(format!("{used}; how fast it fills is known after half an hour"))
        }
        None => Told::Known(used),
    })
}

fn permissions(_: &Context, database: &DatabaseReport) -> Option<Told> {
    let modes = &database.local.as_ref()?.modes;
    if modes.is_empty() {
        return Some(Told::Unknown("not looked at yet".into()));
    }
    let problems = modes.iter().filter_map(|mode| Some((mode.found.file, mode.problem.as_ref()?)));
    let problems: Vec<String> = problems.map(|(file, problem)| format!("{}: {problem}", file.as_str())).collect();
    Some(Told::Known(if problems.is_empty() { "as expected".into() } else { problems.join("; ") }))
}

/// What is known in the first band says nothing of growth; a single look is only asked about the size.
fn sizing(context: &Context, database: &DatabaseReport) -> Option<Told> {
    let local = database.local.as_ref()?;
    let sizing = &local.sizing;
    let advice = sizing.advice(local.size_bytes);
    if !advice.is_empty() {
        return Some(Told::Known(advice.join("; ")));
    }
    if context.watching == Watching::Once {
        return None;
    }
    Some(match (sizing.projected_size_bytes, sizing.write_transactions_per_second) {
        (Some(size), Some(writes)) => {
            let megabytes = size / 1e6;
            Told::Known(format!("{megabytes:.1} MB in 30 days, {writes:.1} write transactions a second"))
        }
        _ => Told::Unknown("how it grows is known after a week, how it is written after three days".into()),
    })
}
