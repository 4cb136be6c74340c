//! The restore plan against the genuine one: `litestream restore -dry-run` over generated directory replicas.
//!
//! A dry run reads names, sizes and times and no content, so that a replica is a directory of empty files.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use streamgauge::domain::litestream::{
    Damaged, Inventory, LevelKeys, LtxFile, LtxName, LtxTimeline, PlanTarget, Txid, instant, plan,
};

/// The smallest size that an LTX file can have.
const SIZE: u64 = 131;

/// Replicas to compare; each costs one run of the genuine program for each of three targets, 50 ms or so.
const REPLICAS: u32 = 100;

#[test]
fn plans_what_litestream_plans() {
    let litestream = litestream("0.5.17");
    let config = Config { cases: REPLICAS, failure_persistence: None, max_shrink_iters: 50, ..Config::default() };
    let mut runner = TestRunner::new(config);
    let result = runner.run(&(replica(), 1..25u64, any::<prop::sample::Index>()), |(files, txid, time)| {
        let directory = write(&files);
        // A time outside those of the files is refused before there is a plan.
        let times: Vec<Timestamp> = files.iter().map(|file| file.created).collect();
        let time = (!times.is_empty()).then(|| PlanTarget::Time(times[time.index(times.len())]));
        for target in [PlanTarget::Latest, PlanTarget::Txid(Txid(txid))].into_iter().chain(time) {
            let genuine = dry_run(&litestream, directory.path(), target);
            let ours = plan(&files, target).map(|files| files.iter().map(|f| (f.level, f.name())).collect());
            prop_assert_eq!(ours.map_err(|error| error.to_string()).ok(), genuine.clone().ok(), "{:?}", genuine);
            match target {
                PlanTarget::Latest => check_coverage(&files, &genuine)?,
                PlanTarget::Time(time) => check_map(&files, time, &genuine)?,
                PlanTarget::Txid(_) => {}
            }
        }
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Coverage calls whole and restorable what the genuine program restores.
fn check_coverage(files: &[LtxFile], genuine: &Result<Vec<(u8, LtxName)>, String>) -> Result<(), TestCaseError> {
    let mut inventory = Inventory::default();
    files.iter().for_each(|file| inventory.insert(*file));
    let coverage = inventory.coverage();
    prop_assert_eq!(genuine.is_ok(), coverage.restorable && coverage.holes.is_empty(), "{:?}", genuine);
    match genuine {
        Ok(plan) => prop_assert_eq!(inventory.end(), plan.last().map(|(_, name)| name.max)),
        Err(error) => {
            // "non-contiguous ltx files: have up to … but next file starts at …"
            let first = error.split("have up to ").nth(1).and_then(|rest| rest.get(..16));
            prop_assert_eq!(first.map(str::to_owned), inventory.end().map(|end| end.to_string()), "{}", error);
        }
    }
    Ok(())
}

/// The coverage map says of an instant what the genuine program restores to it, and calls blocked where that is silently
/// older than what is there.
fn check_map(
    files: &[LtxFile],
    time: Timestamp,
    genuine: &Result<Vec<(u8, LtxName)>, String>,
) -> Result<(), TestCaseError> {
    let whole = Damaged::new(LevelKeys::Plain, &BTreeSet::new());
    let asked = instant(files, &whole, PlanTarget::Time(time)).unwrap();
    let planned: Vec<_> = asked.files.iter().map(|file| (file.level, file.name())).collect();
    prop_assert_eq!(planned, genuine.clone().unwrap_or_default());
    let mut timeline = LtxTimeline::default();
    files.iter().for_each(|file| timeline.insert(*file));
    let newest = files.iter().map(|file| file.created).max().unwrap_or(time);
    let map = timeline.map(&whole, newest);
    match map.span_at(time) {
        // Nothing is there yet, or nothing leads anywhere.
        None => prop_assert!(genuine.is_err(), "{:?}", map),
        Some(span) if span.blocked.is_none() => {
            prop_assert!(genuine.is_ok() && asked.blocked.is_none(), "{:?}: {:?}", genuine, span);
        }
        Some(_) => {}
    }
    prop_assert!(asked.blocked.is_none() || map.span_at(time).is_none_or(|span| span.blocked.is_some()));
    Ok(())
}

/// A replica as Litestream leaves it (levels that follow each other, expired beginnings, snapshots), then damaged.
fn replica() -> impl Strategy<Value = Vec<LtxFile>> {
    let widths = prop::collection::vec(1..7u64, 3);
    let snapshots = prop::collection::btree_set(1..20u64, 0..3);
    let expired = prop::collection::vec(0..12u64, 4);
    let extra = prop::collection::vec((0..10u8, 1..20u64, 0..6u64), 0..4);
    let lost = prop::collection::vec(any::<prop::sample::Index>(), 0..5);
    (1..20u64, widths, snapshots, expired, extra, lost).prop_map(|(newest, widths, snapshots, expired, extra, lost)| {
        let mut files = BTreeMap::new();
        let mut add = |level: u8, min: u64, max: u64| {
            // Compactions carry the time of their last input; two files a second share one.
            let created = Timestamp::from_second(1_700_000_000 + max.cast_signed() / 2).unwrap();
            let file = LtxFile { level, min: Txid(min), max: Txid(max), size: SIZE, created };
            files.insert((level, file.name()), file);
        };
        let mut width = 1;
        for level in 0..4u8 {
            width *= if level == 0 { 1 } else { widths[usize::from(level) - 1] };
            let whole = (1..=newest).step_by(width as usize).map(|min| (min, min + width - 1));
            whole.filter(|(min, max)| *max <= newest && *min > expired[usize::from(level)]).for_each(|(min, max)| {
                add(level, min, max);
            });
        }
        snapshots.iter().filter(|max| **max <= newest).for_each(|max| add(9, 1, *max));
        extra.iter().for_each(|(level, min, more)| add(*level, if *level == 9 { 1 } else { *min }, min + more));
        let mut files: Vec<LtxFile> = files.into_values().collect();
        for index in lost {
            if !files.is_empty() {
                files.remove(index.index(files.len()));
            }
        }
        files
    })
}

fn write(files: &[LtxFile]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in files {
        let path = directory.path().join(LevelKeys::Plain.key(file.level, file.name()));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let handle = File::create(path).unwrap();
        handle.set_len(file.size).unwrap();
        handle.set_modified(file.created.into()).unwrap();
    }
    directory
}

/// The files that the genuine program would restore from, or what it says instead.
fn dry_run(litestream: &Path, replica: &Path, target: PlanTarget) -> Result<Vec<(u8, LtxName)>, String> {
    let mut command = Command::new(litestream);
    // Litestream refuses to start with a bundle of certificate authorities.
    command.env_remove("AWS_CA_BUNDLE").args(["restore", "-dry-run", "-json", "-o"]).arg(replica.join("restored.db"));
    match target {
        PlanTarget::Latest => &mut command,
        PlanTarget::Txid(txid) => command.args(["-txid", &txid.to_string()]),
        PlanTarget::Time(time) => command.args(["-timestamp", &time.to_string()]),
    };
    let output = command.arg(format!("file://{}", replica.display())).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = |file: &serde_json::Value| {
        (file["level"].as_u64().unwrap() as u8, file["name"].as_str().unwrap().parse().unwrap())
    };
    Ok(answer["files"].as_array().unwrap().iter().map(file).collect())
}

/// A genuine Litestream.
fn litestream(version: &str) -> PathBuf {
    let lab = std::env::var_os("STREAMGAUGE_LAB").map(PathBuf::from);
    let lab = lab.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/lab"));
    let path = lab.join("litestream").join(version).join("litestream");
    assert!(path.exists(), "no Litestream {version} at {}: run tests/lab/install", path.display());
    path
}
