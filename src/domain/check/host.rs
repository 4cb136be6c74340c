//! Checks of the host: disk, permissions, checkpoints, and whether the machine is still the right one.

use super::entry::{Check, Context, Explanation, Unit, Watching, rule};
use super::expression::{Condition, Fold, Term};
use crate::domain::assessment::{DatabaseReport, LocalReport};
use crate::domain::human::{bytes, spoken};
use crate::domain::number::database::{
    AVAIL, FULL, PERMISSIONS_ACCEPTABLE, TIER, UNBACKFILLED, USED, USED_OBJECTIVE, WAL_SINCE, WAL_SIZE,
};
use crate::domain::verdict::Severity;

/// A WAL of which so much waits to be copied into the database is more than Litestream's own rhythm leaves (1000 pages by
/// default, 121359 pages in an emergency).
const UNBACKFILLED_BYTES: f64 = 268_435_456.0;

/// Litestream and SQLite begin a busy WAL anew within minutes.
const WAL_AGE_SECONDS: f64 = 1800.0;

const FULL_SECONDS: f64 = 86_400.0;

/// Of a disk that fills so fast, little would be left to do once it is mostly used.
const IMMINENT_SECONDS: f64 = 4.0 * 3600.0;

static PERMISSIONS: Term = Term::Folded(&PERMISSIONS_ACCEPTABLE, Fold::Min("file"));

static MUCH_WAITS: Condition = UNBACKFILLED.exceeds(UNBACKFILLED_BYTES);

static NEVER_RESET: Condition = Term::Age(&WAL_SINCE).exceeds(WAL_AGE_SECONDS);

static DISK_IN_DANGER: Condition = Term::Of(&WAL_SIZE).above(Term::Times(&AVAIL, 0.25));

static MOSTLY_USED: Condition = USED.above(&USED_OBJECTIVE);

static SOON_FULL: Condition = Term::Of(&FULL).below(Term::Constant(FULL_SECONDS));

static IMMINENTLY_FULL: Condition = Term::Of(&FULL).below(Term::Constant(IMMINENT_SECONDS));

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "CheckpointStarved",
        title: "Checkpoints keep up with the WAL",
        summary: "{database}: the WAL grows without a checkpoint",
        description: "{value} of the WAL of {database} has not been copied into the database yet, and the WAL has not \
                      been restarted for half an hour: a reader or Litestream holds checkpoints back, so the file \
                      grows and reads slow down.",
        action: "Find the long transaction: `streamgauge check` names the process that holds the lock. End it, and the \
                 next checkpoint gets through.",
        unit: Unit::Bytes,
        rules: &[
            rule(Severity::Critical, Condition::All(&[MUCH_WAITS, NEVER_RESET, DISK_IN_DANGER]), 30),
            rule(Severity::Warning, Condition::All(&[MUCH_WAITS, NEVER_RESET]), 30),
        ],
        explain: |context, on| starved(context, on.database()?),
    },
    Check {
        name: "DiskFilling",
        title: "The disk is no fuller than allowed",
        summary: "{database}: its disk is filling up",
        description: "{value} of the filesystem that holds {database}, its WAL or Litestream's staged files is used. \
                      SQLite needs room for the WAL, and VACUUM for a second copy.",
        action: "Free up space or grow the volume: check the WAL, Litestream's metadata directory, and logs.",
        unit: Unit::Ratio,
        rules: &[rule(Severity::Warning, MOSTLY_USED, 15)],
        explain: |context, on| filling(context, on.database()?),
    },
    Check {
        name: "DiskFullSoon",
        title: "The disk will not be full within hours, or within a day if it is mostly used",
        summary: "{database}: its disk will soon be full",
        description: "The filesystem that holds {database}, its WAL or Litestream's staged files will be full in \
                      {value} at the current rate. Then every write fails.",
        action: "Free up space now, then find out what is growing: the WAL (see CheckpointStarved), Litestream's \
                 metadata directory if uploads fail, or logs.",
        unit: Unit::Seconds,
        rules: &[rule(
            Severity::Critical,
            Condition::Any(&[Condition::All(&[SOON_FULL, MOSTLY_USED]), IMMINENTLY_FULL]),
            30,
        )],
        explain: |context, on| full_soon(context, on.database()?),
    },
    Check {
        name: "PermissionDrift",
        title: "Only the intended users can read and write the files",
        summary: "{database}: permissions are not as configured",
        description: "The mode or owner of {database}, its -wal, its -shm or their directory is not what it should be.",
        action: "Find out which with `streamgauge check`, then chmod or chown it, or configure what you want with \
                 `file-mode` and `owner` under [objectives].",
        unit: Unit::Count,
        rules: &[rule(Severity::Warning, PERMISSIONS.is(0.0), 10)],
        explain: |context, on| permissions(context, on.database()?),
    },
    Check {
        name: "SizingTierExceeded",
        title: "Size and write rate are in the first tier of the sizing guide",
        summary: "{database} is outgrowing its machine",
        description: "{database} is, or within 30 days will be, in tier {value} of the sizing guide (size: 1, 10 and \
                      50 GB; write transactions a second: 100 and 1000).",
        action: "Run `streamgauge check` to see what the guide advises for its tier.",
        unit: Unit::Count,
        rules: &[rule(Severity::Info, TIER.any(), 360)],
        explain: |context, on| sizing(context, on.database()?),
    },
];

/// Who keeps checkpoints from going on, as far as it shows.
fn holder(local: &LocalReport) -> String {
    let reader = match (local.wal_oldest_reader_frame, local.wal_frames) {
        (Some(frame), Some(frames)) if frame < frames => format!("a reader still needs frame {frame} of {frames}"),
        (Some(_), _) => "readers have reached its end".into(),
        (None, _) => "no reader is using it".into(),
    };
    match local.lock_holder_pid {
        Some(pid) => format!("{reader}; process {pid} holds a read lock"),
        None => reader,
    }
}

fn starved(context: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let local = database.local.as_ref().filter(|local| local.journal_mode_wal)?;
    let Some(size) = local.wal_size_bytes else { return Some(Explanation::Known("there is no WAL".into())) };
    let Some(waits) = local.unbackfilled_bytes() else {
        return Some(if size as f64 <= UNBACKFILLED_BYTES {
            Explanation::Known(format!("the WAL has {}", bytes(size)))
        } else {
            Explanation::Unknown(format!("the WAL holds {}, and no wal-index says how much of it waits", bytes(size)))
        });
    };
    let waiting = match waits {
        0 => "nothing waits for a checkpoint".to_owned(),
        _ => format!("{} wait for a checkpoint", bytes(waits)),
    };
    if waits as f64 <= UNBACKFILLED_BYTES {
        return Some(Explanation::Known(waiting));
    }
    let held = holder(local);
    // A single look cannot know for how long.
    if context.watching == Watching::Once {
        return Some(Explanation::Unknown(format!("{waiting}, for an unknown time: {held}")));
    }
    let since = local.wal_since.map(|since| context.age(since));
    let since = since.unwrap_or_else(|| "an unknown time".into());
    Some(Explanation::Known(format!("{waiting}, and the WAL has not been restarted for {since}: {held}")))
}

fn used(local: &LocalReport) -> Option<String> {
    Some(format!("{:.0} % is used, objective {:.0} %", 100.0 * local.used_ratio()?, 100.0 * local.used_objective_ratio))
}

fn filling(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let local = database.local.as_ref()?;
    Some(match used(local) {
        Some(used) => Explanation::Known(used),
        None => Explanation::Unknown("the system does not say how full its filesystem is".into()),
    })
}

/// A single look has seen nothing grow: to it, this does not apply.
fn full_soon(context: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let local = database.local.as_ref().filter(|_| context.watching == Watching::Continuously)?;
    let used = used(local)?;
    let known = local.filesystem.as_ref()?.filling_bytes_per_second.is_some();
    let known = known && local.staging_filesystem.as_ref().is_none_or(|other| other.filling_bytes_per_second.is_some());
    Some(match local.filesystem_full_seconds() {
        Some(full) => Explanation::Known(format!("{used}, full in {} at the current rate", spoken(full))),
        None if known => Explanation::Known(format!("{used}, and not filling up")),
        None if local.used_ratio()? > local.used_objective_ratio => {
            Explanation::Unknown(format!("{used}; how fast it fills will be known after half an hour"))
        }
        // How fast it fills decides, and is not known yet: nothing is claimed, and nothing is worth a word.
        None => return None,
    })
}

fn permissions(_: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let modes = &database.local.as_ref()?.modes;
    if modes.is_empty() {
        return Some(Explanation::Unknown("not looked at yet".into()));
    }
    let problems = |harmless: bool| {
        let of_its_kind = modes.iter().filter(|mode| mode.harmless == harmless);
        let problems = of_its_kind.filter_map(|mode| Some((mode.found.file, mode.problem.as_ref()?)));
        let problems: Vec<String> = problems.map(|(file, problem)| format!("{}: {problem}", file.as_str())).collect();
        problems.join("; ")
    };
    let (wrong, harmless) = (problems(false), problems(true));
    Some(Explanation::Known(match (wrong.as_str(), harmless.as_str()) {
        ("", "") => "as expected".into(),
        ("", harmless) => format!("others cannot reach it: a directory above is closed to them ({harmless})"),
        (wrong, _) => wrong.to_owned(),
    }))
}

/// In the first tier, growth may still be unknown; a single look is only asked about the size.
fn sizing(context: &Context, database: &DatabaseReport) -> Option<Explanation> {
    let local = database.local.as_ref()?;
    let sizing = &local.sizing;
    let advice = sizing.advice(local.size_bytes);
    if !advice.is_empty() {
        return Some(Explanation::Known(advice.join("; ")));
    }
    if context.watching == Watching::Once {
        return None;
    }
    Some(match (sizing.projected_size_bytes, sizing.write_transactions_per_second) {
        (Some(size), Some(writes)) => {
            let megabytes = size / 1e6;
            Explanation::Known(format!("{megabytes:.1} MB in 30 days, {writes:.1} write transactions a second"))
        }
        _ => Explanation::Unknown("its growth will be known after a week, its write rate after three days".into()),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::super::judge::on_database;
    use super::super::tests;
    use super::*;
    use crate::domain::assess::permissions::ModeReport;
    use crate::domain::assess::sizing::Sizing;
    use crate::domain::assessment::LitestreamEvidence;
    use crate::domain::assessment::{DatabaseState, FilesystemReport, LitestreamReport, ReplicaReport};
    use crate::domain::observation::{FileMode, FileRole, Filesystem};
    use crate::domain::replacement::{Contradiction, Replacement, Sign};
    use crate::domain::verdict::Status;

    const HOUR: f64 = 3600.0;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn disk(used_percent: u64, filling_bytes_per_second: Option<f64>) -> Option<FilesystemReport> {
        let size_bytes = 100 << 30;
        let avail_bytes = (1 << 30) * (100 - used_percent);
        Some(FilesystemReport {
            space: Filesystem { size_bytes, avail_bytes, used_bytes: size_bytes - avail_bytes },
            filling_bytes_per_second,
        })
    }

    /// 65536 frames of 4 KiB are 256 MiB.
    fn local() -> LocalReport {
        LocalReport {
            page_size: 4096,
            size_bytes: 1 << 20,
            wal_size_bytes: Some(4 << 20),
            journal_mode_wal: true,
            wal_frames: Some(1000),
            wal_backfilled_frames: Some(900),
            wal_oldest_reader_frame: Some(950),
            wal_since: Some(at(90_000)),
            sizing: Sizing { projected_size_bytes: Some(2e6), write_transactions_per_second: Some(1.0) },
            modes: Arc::new([ModeReport {
                found: FileMode { file: FileRole::Database, mode: 0o600, uid: 1, gid: 1 },
                problem: None,
                harmless: false,
            }]),
            filesystem: disk(40, Some(0.0)),
            used_objective_ratio: 0.8,
            lock_holder_pid: Some(77),
            open: Some(true),
            replacement: Replacement::Agrees { pages: 3 }.into(),
            ..LocalReport::default()
        }
    }

    fn answer(name: &str, local: LocalReport, watching: Watching) -> String {
        let database =
            DatabaseReport { state: DatabaseState::Monitored, local: Some(local.into()), ..DatabaseReport::default() };
        let verdicts = on_database(&database, at(100_000), watching);
        let Some(verdict) = verdicts.iter().find(|verdict| verdict.check == name) else {
            return "does not apply".into();
        };
        let severity = if verdict.status == Status::Fail { verdict.severity.as_str() } else { "" };
        format!("{} {severity}: {}", verdict.status.as_str(), verdict.detail)
    }

    fn check(name: &str, local: LocalReport, expected: &str) {
        assert_eq!(answer(name, local, Watching::Continuously), expected, "{name}");
    }

    fn wal(frames: u32, backfilled: u32, seconds: i64) -> LocalReport {
        LocalReport {
            wal_frames: Some(frames),
            wal_backfilled_frames: Some(backfilled),
            wal_size_bytes: Some(u64::from(frames) * 4120),
            wal_oldest_reader_frame: Some(backfilled),
            wal_since: Some(at(100_000 - seconds)),
            ..local()
        }
    }

    #[test]
    fn checkpoints_are_starved_when_much_waits_for_long() {
        let name = "CheckpointStarved";
        check(name, local(), "pass : 400.0 KiB wait for a checkpoint");
        check(name, wal(65_636, 100, 7200), "pass : 256.0 MiB wait for a checkpoint");
        let expected = "fail warning: 260.0 MiB wait for a checkpoint, and the WAL has not been restarted for 30 min 1 \
                        s: a reader still needs frame 100 of 66660; process 77 holds a read lock";
        check(name, wal(66_660, 100, 1801), expected);
    }

    /// It grows to 121359 pages and begins anew.
    #[test]
    fn the_sawtooth_of_litestream_starves_nothing() {
        let expected = "pass : 474.1 MiB wait for a checkpoint, and the WAL has not been restarted for 29 min 59 s: a \
                        reader still needs frame 0 of 121359; process 77 holds a read lock";
        check("CheckpointStarved", wal(121_359, 0, 1799), expected);
        check("CheckpointStarved", wal(121_359, 121_359, 86_400), "pass : nothing waits for a checkpoint");
    }

    #[test]
    fn a_wal_that_endangers_the_disk_is_critical() {
        let expected = |local| {
            let answer = answer("CheckpointStarved", local, Watching::Continuously);
            answer.split(':').next().unwrap_or_default().to_owned()
        };
        let large = wal(4_000_000, 100, 7200);
        assert_eq!(expected(LocalReport { filesystem: disk(40, None), ..large.clone() }), "fail critical");
        let roomy = FilesystemReport {
            space: Filesystem { size_bytes: 1 << 40, avail_bytes: 1 << 39, used_bytes: 1 << 39 },
            filling_bytes_per_second: None,
        };
        assert_eq!(expected(LocalReport { filesystem: Some(roomy), ..large }), "fail warning");
    }

    #[test]
    fn a_wal_of_which_little_shows_is_not_said_to_be_well() {
        let scanned = LocalReport { wal_backfilled_frames: None, ..wal(100_000, 0, 7200) };
        check(
            "CheckpointStarved",
            scanned,
            "unknown : the WAL holds 392.9 MiB, and no wal-index says how much of it waits",
        );
        let once = answer("CheckpointStarved", wal(100_000, 50_000, 0), Watching::Once);
        assert_eq!(once, "pass : 195.3 MiB wait for a checkpoint");
        let once = answer("CheckpointStarved", wal(100_000, 0, 0), Watching::Once);
        let expected = "unknown : 390.6 MiB wait for a checkpoint, for an unknown time: a reader still needs frame 0 \
                        of 100000; process 77 holds a read lock";
        assert_eq!(once, expected);
    }

    #[test]
    fn a_disk_above_four_fifths_is_filling_whichever_it_is() {
        check("DiskFilling", local(), "pass : 40 % is used, objective 80 %");
        check(
            "DiskFilling",
            LocalReport { filesystem: disk(80, None), ..local() },
            "pass : 80 % is used, objective 80 %",
        );
        check(
            "DiskFilling",
            LocalReport { filesystem: disk(81, None), ..local() },
            "fail warning: 81 % is used, objective 80 %",
        );
        let staging = LocalReport { staging_filesystem: disk(95, None).map(Box::new), ..local() };
        check("DiskFilling", staging, "fail warning: 95 % is used, objective 80 %");
        let unknown = "unknown : the system does not say how full its filesystem is";
        check("DiskFilling", LocalReport { filesystem: None, ..local() }, unknown);
    }

    #[test]
    fn a_disk_is_full_soon_when_it_fills_and_is_mostly_used() {
        let name = "DiskFullSoon";
        let with = |used, filling| LocalReport { filesystem: disk(used, filling), ..local() };
        // 10 GiB are left.
        let in_hours = |hours: f64| Some((10_u64 << 30) as f64 / (hours * HOUR));
        check(
            name,
            with(90, in_hours(23.0)),
            "fail critical: 90 % is used, objective 80 %, full in 23 h 0 min at the current rate",
        );
        check(
            name,
            with(90, in_hours(25.0)),
            "pass : 90 % is used, objective 80 %, full in 1 d 1 h at the current rate",
        );
        check(name, with(90, Some(0.0)), "pass : 90 % is used, objective 80 %, and not filling up");
        check(
            name,
            with(90, None),
            "unknown : 90 % is used, objective 80 %; how fast it fills will be known after half an hour",
        );
        let soon = "fail critical: 40 % is used, objective 80 %, full in 3 h 59 min at the current rate";
        check(name, with(40, Some((60_u64 << 30) as f64 / (3.99 * HOUR))), soon);
        let later = "pass : 40 % is used, objective 80 %, full in 5 h 0 min at the current rate";
        check(name, with(40, Some((60_u64 << 30) as f64 / (5.0 * HOUR))), later);
        check(name, with(40, None), "does not apply");
        assert_eq!(answer(name, with(90, None), Watching::Once), "does not apply");
    }

    #[test]
    fn permissions_that_drift_are_named() {
        let file = |file, problem: Option<&str>| ModeReport {
            found: FileMode { file, mode: 0o644, uid: 1, gid: 1 },
            problem: problem.map(str::to_owned),
            harmless: false,
        };
        let modes = vec![file(FileRole::Database, None), file(FileRole::Wal, Some("mode 0644, expected 0600"))];
        check("PermissionDrift", local(), "pass : as expected");
        let drifted = LocalReport { modes: modes.into(), ..local() };
        check("PermissionDrift", drifted, "fail warning: wal: mode 0644, expected 0600");
        let closed = ModeReport { harmless: true, ..file(FileRole::Wal, Some("mode 0644, expected 0600")) };
        let note = "pass : others cannot reach it: a directory above is closed to them (wal: mode 0644, expected 0600)";
        check("PermissionDrift", LocalReport { modes: [closed.clone()].into(), ..local() }, note);
        let modes = vec![closed, file(FileRole::Database, Some("owned by uid 1, expected app"))];
        let owner = "fail warning: database: owned by uid 1, expected app";
        check("PermissionDrift", LocalReport { modes: modes.into(), ..local() }, owner);
        check("PermissionDrift", LocalReport { modes: Arc::default(), ..local() }, "unknown : not looked at yet");
    }

    #[test]
    fn a_replaced_file_is_critical() {
        let seen = |seen: Replacement| LocalReport { replacement: seen.into(), ..local() };
        let name = "DatabaseReplaced";
        check(name, local(), "pass : its file agrees with its WAL, as do 3 pages that both hold");
        check(name, seen(Replacement::Closed), "pass : no process has it open in WAL mode");
        check(name, seen(Replacement::Unknown), "does not apply");
        let replaced = seen(Replacement::Replaced(Contradiction::Content { sign: Sign::Page(7), seen: true }));
        let expected = "fail critical: page 7 of its file is not what a checkpoint copied there from the WAL";
        check(name, replaced.clone(), expected);
        assert_eq!(answer(name, replaced.clone(), Watching::Once), expected);
        let elsewhere = "unknown : the file at its path is not what its programs use, see DatabaseReplaced";
        check("JournalModeNotWal", local(), "pass : its header says WAL");
        check("JournalModeNotWal", replaced, elsewhere);
        let hidden = Contradiction::Content { sign: Sign::RollbackJournal, seen: false };
        let hidden = answer(name, seen(Replacement::Replaced(hidden)), Watching::Once);
        assert!(hidden.contains("whether programs hold another file, which was deleted, cannot be seen"), "{hidden}");
    }

    #[test]
    fn the_sizing_guide_informs() {
        let name = "SizingTierExceeded";
        check(name, local(), "pass : 2.0 MB in 30 days, 1.0 write transactions a second");
        let large = LocalReport { size_bytes: 12_000_000_000, ..local() };
        check(name, large, "fail info: 12.0 GB: the sizing guide advises to consider PostgreSQL");
        let unknown = LocalReport { sizing: Sizing::default(), ..local() };
        let expected = "unknown : its growth will be known after a week, its write rate after three days";
        check(name, unknown.clone(), expected);
        assert_eq!(answer(name, unknown, Watching::Once), "does not apply");
    }

    #[test]
    fn litestream_that_does_not_run_is_a_warning_at_first() {
        let with = |up, evidence| {
            let litestream = LitestreamReport { up, evidence, pid: None };
            LocalReport { litestream: Some(litestream), ..local() }
        };
        let runs = with(Some(true), LitestreamEvidence::Attached(7));
        check("LitestreamDown", runs, "pass : process 7 has the database open");
        let gone = with(Some(false), LitestreamEvidence::Gone);
        check("LitestreamDown", gone, "fail warning: no `litestream replicate` process on this host has it open");
        check("LitestreamDown", with(None, LitestreamEvidence::Unseen), "does not apply");
        let stopped = with(Some(false), LitestreamEvidence::Stopped(7));
        check("LitestreamDown", stopped, "fail warning: process 7 is stopped (SIGSTOP)");
        let elsewhere = |replica: ReplicaReport| {
            let local = with(Some(false), LitestreamEvidence::RunningElsewhere(7));
            let database = DatabaseReport { local: Some(local.into()), ..tests::database(replica) };
            let verdicts = on_database(&database, at(tests::NOW), Watching::Continuously);
            verdicts.iter().find(|verdict| verdict.check == "LitestreamDown").unwrap().detail.to_string()
        };
        let runs = "process 7 is running, but does not have the database open";
        assert_eq!(elsewhere(tests::replica()), runs);
        let refused = elsewhere(tests::unreadable(tests::replica()));
        let why = "it takes one up once it can list its replica, which fails here, too (list s3://backups/app/: access \
                   denied): see ReplicaUnverifiable";
        assert_eq!(refused, format!("{runs}; {why}"));
        check("LitestreamDown", local(), "does not apply");
        let down = super::super::catalogue().find(|check| check.name == "LitestreamDown").unwrap();
        let holds = down.rules.iter().map(|rule| (rule.severity, rule.hold.as_secs()));
        assert_eq!(holds.collect::<Vec<_>>(), [(Severity::Critical, 3600), (Severity::Warning, 300)]);
    }

    #[test]
    fn a_database_without_a_replica_is_not_well() {
        check("NoReplica", local(), "fail warning: none is configured");
    }
}
