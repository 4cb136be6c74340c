//! The process that runs a drill, asked as the agent asks it: probes, bounds, copies that are kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use streamgauge::domain::drill::{DrillPolicy, DrillProbe, DrillRecord, DrillResult, Expectation};
use streamgauge::domain::reason::ReasonKind;
use streamgauge::domain::target::{DatabaseFiles, ReplicaLocation, ReplicaTarget, TargetName};
use streamgauge::infrastructure::drill::process::ProcessDrills;
use streamgauge::infrastructure::store::StoreOptions;
use streamgauge::usecase::ports::{DrillJob, DrillRunner};

use crate::lab::Lab;
use crate::site::{Site, left};

fn drills(site: &Site) -> ProcessDrills {
    let options = StoreOptions { timeout: Duration::from_secs(10), concurrency: 16, ca_file: None };
    ProcessDrills::new(PathBuf::from(env!("CARGO_BIN_EXE_streamgauge")), site.scratch.clone(), options)
}

fn job(site: &Site, policy: DrillPolicy) -> DrillJob {
    DrillJob {
        database: TargetName("app.db".into()),
        files: Some(Arc::new(DatabaseFiles { path: site.database.clone(), meta_path: None })),
        replica: ReplicaTarget {
            name: "file".into(),
            location: ReplicaLocation::Directory(site.replica.clone()),
            sync_interval: Duration::from_secs(1),
            encrypted: false,
            age_identities: Vec::new(),
            kept: None,
            written: Default::default(),
        },
        policy,
        full: false,
    }
}

fn drill(site: &Site, policy: DrillPolicy) -> DrillRecord {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(drills(site).drill(job(site, policy)))
}

fn probe(name: &str, query: &str, expect: Expectation) -> DrillProbe {
    DrillProbe { name: name.into(), query: query.into(), expect }
}

#[test]
fn probes_judge_the_restored_data_and_cannot_do_harm() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) c FROM n");
    site.sync(&lab, &[]);
    let at_least = |min: f64| Expectation { min: Some(min), ..Default::default() };
    let policy =
        |probes: Vec<DrillProbe>| DrillPolicy { probes, timeout: Duration::from_secs(60), ..Default::default() };

    let rows = || probe("rows", "SELECT count(*) FROM t", at_least(100.0));
    let record = drill(&site, policy(vec![rows()]));
    assert_eq!((record.result, record.probes[0].value), (DrillResult::Passed, Some(100.0)), "{record:?}");

    let record = drill(&site, policy(vec![rows(), probe("more", "SELECT count(*) FROM t", at_least(101.0))]));
    assert_eq!(record.result, DrillResult::Failed, "{record:?}");
    assert_eq!(record.reason.unwrap().message, "probe more: 100: expected at least 101");

    let elsewhere = site.home.path().join("elsewhere");
    let attach = format!("ATTACH '{}' AS x", elsewhere.display());
    for query in [attach.as_str(), "DELETE FROM t", "SELECT zeroblob(1000000000)", "PRAGMA journal_mode = delete"] {
        let record = drill(&site, policy(vec![rows(), probe("harm", query, Expectation::default())]));
        assert_eq!(record.result, DrillResult::Inconclusive, "{query}: {record:?}");
        assert_eq!(record.probes[0].result, DrillResult::Passed, "{query}");
    }
    assert!(!elsewhere.exists());

    let endless = vec![rows(), probe("endless", "SELECT c FROM endless", Expectation::default())];
    let record = drill(&site, DrillPolicy { timeout: Duration::from_secs(4), ..policy(endless) });
    assert_eq!(record.result, DrillResult::Inconclusive, "{record:?}");
    assert_eq!(left(&site.scratch), Vec::<PathBuf>::new());
}

#[test]
fn a_function_that_sqlite_cannot_interrupt_ends_with_the_drill() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    // Compares a million bytes a million times, and never looks at the clock.
    let endless = "SELECT instr(zeroblob(60000000), CAST(zeroblob(30000000) || x'01' AS BLOB))";
    let probes = [("rows", "SELECT count(*) FROM t"), ("endless", endless), ("after", "SELECT 1")];
    let probes = probes.map(|(name, query)| probe(name, query, Expectation::default())).to_vec();
    let record = drill(&site, DrillPolicy { probes, timeout: Duration::from_secs(8), ..Default::default() });
    assert_eq!(record.result, DrillResult::Inconclusive, "{record:?}");
    assert_eq!(record.reason.as_ref().unwrap().kind, ReasonKind::Timeout, "{record:?}");
    // What was found out before is not lost with it.
    assert_eq!(record.probes.len(), 1, "{record:?}");
    assert_eq!((record.probes[0].value, record.probes[0].result), (Some(100.0), DrillResult::Passed));
    assert!(record.checks.iter().any(|check| check.name == "quick_check" && check.result == DrillResult::Passed));
    assert_eq!(left(&site.scratch), Vec::<PathBuf>::new());
    crate::lab::wait_for("its process to end", || !workers().contains(&std::process::id()));
}

/// The parents of all processes that run a drill.
fn workers() -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let workers = processes.filter(|path| {
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains("drill-worker")
    });
    let parent = |path: PathBuf| {
        let status = std::fs::read_to_string(path.join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    workers.filter_map(parent).collect()
}

#[test]
fn a_process_without_memory_is_inconclusive_and_the_parent_stays_small() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("INSERT INTO t(b) VALUES (randomblob(60000000))");
    site.sync(&lab, &[]);
    let before = resident();
    let record = drill(&site, DrillPolicy::default());
    assert_eq!(record.result, DrillResult::Passed, "{record:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes more for a database of 60 MB");

    let sorts = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 40) \
                 SELECT count(*) FROM (SELECT DISTINCT randomblob(1000000) FROM n)";
    let policy = DrillPolicy {
        memory_max: 16 << 20,
        probes: vec![probe("sorts", sorts, Expectation::default())],
        ..Default::default()
    };
    let record = drill(&site, policy);
    assert_eq!(record.result, DrillResult::Inconclusive, "{record:?}");
}

/// Bytes of memory that this process has.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_dropped_drill_leaves_nothing() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for milliseconds in [0, 5, 20, 60, 150] {
        let drills = drills(&site);
        let job = job(&site, DrillPolicy::default());
        runtime.block_on(async {
            let _ = tokio::time::timeout(Duration::from_millis(milliseconds), drills.drill(job)).await;
        });
    }
    drop(runtime);
    // What a directory that was made in the last moment needs is a start.
    drop(drills(&site));
    assert_eq!(left(&site.scratch), Vec::<PathBuf>::new());
}

#[test]
fn a_program_that_is_no_drill_is_inconclusive() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for program in ["/bin/true", "/bin/false", "/bin/yes", "/nonexistent"] {
        let options = StoreOptions { timeout: Duration::from_secs(10), concurrency: 16, ca_file: None };
        let drills = ProcessDrills::new(PathBuf::from(program), site.scratch.clone(), options);
        let policy = DrillPolicy { timeout: Duration::from_secs(20), ..Default::default() };
        let record = runtime.block_on(drills.drill(job(&site, policy)));
        assert_eq!(record.result, DrillResult::Inconclusive, "{program}: {record:?}");
        assert_ne!(record.reason.unwrap().kind, ReasonKind::Timeout, "{program}");
    }
}

#[test]
fn what_a_child_downloaded_before_it_died_is_counted() {
    let lab = Lab::find();
    let site = Site::new(&lab);
    let script = site.home.path().join("child");
    let planned = r#"{"Planned":{"position":"TXID 1","objects":1,"bytes":9,"requests":1,"dollars":0.5,"database_bytes":null,"incremental":false}}"#;
    let text = format!(
        "#!/bin/sh\nread job\necho '{planned}'\necho '{{\"Received\":7}}'\necho '{{\"Received\":5}}'\nkill -9 $$\n"
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = StoreOptions { timeout: Duration::from_secs(10), concurrency: 16, ca_file: None };
    let drills = ProcessDrills::new(script, site.scratch.clone(), options);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let record = runtime.block_on(drills.drill(job(&site, DrillPolicy::default())));
    assert_eq!((record.result, record.downloaded_bytes), (DrillResult::Inconclusive, 12), "{record:?}");
    assert_eq!(record.estimated_dollars, 0.5);
    assert_eq!(record.reason.unwrap().message, "the drill's process was killed");
}

#[test]
fn a_kept_copy_is_brought_up_to_date_and_a_full_drill_comes_in_turn() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.sql("INSERT INTO t(b) VALUES (randomblob(2000000))");
    site.sync(&lab, &["-force-snapshot"]);
    let policy = || DrillPolicy { full_every: 3, ..Default::default() };
    let first = drill(&site, policy());
    assert_eq!((first.result, first.incremental), (DrillResult::Passed, false), "{first:?}");
    let kept = kept(&site.scratch).expect("a copy is kept");
    for number in 2..=4 {
        site.writer.commit(5);
        site.sync(&lab, &[]);
        let record = drill(&site, policy());
        assert_eq!(record.result, DrillResult::Passed, "{record:?}");
        if record.incremental {
            assert_ne!(number, 4, "the third after a full one is full");
            assert!(record.downloaded_bytes * 10 < first.downloaded_bytes, "{record:?}");
        }
        let restored = site.home.path().join(format!("restored-{number}.db"));
        lab.restore(crate::site::VERSION, &format!("file://{}", site.replica.display()), &restored).unwrap();
        assert!(std::fs::read(&restored).unwrap() == std::fs::read(&kept).unwrap(), "drill {number}");
    }
    // What did not pass is not kept.
    let sound = std::fs::read(site.level(9).last().unwrap()).unwrap();
    std::fs::write(site.level(9).last().unwrap(), &sound[..sound.len() - 1]).unwrap();
    let record = drill(&site, policy());
    if record.result == DrillResult::Failed {
        assert!(!kept.exists(), "{record:?}");
    }
    std::fs::write(site.level(9).last().unwrap(), sound).unwrap();
    assert_eq!(drill(&site, policy()).result, DrillResult::Passed);
    // Somebody tampers with the copy: it is not trusted.
    std::fs::write(&kept, "").unwrap();
    let record = drill(&site, policy());
    assert_eq!((record.result, record.incremental), (DrillResult::Passed, false), "{record:?}");
    // Switched off: nothing is kept.
    drill(&site, DrillPolicy::default());
    assert!(!kept.exists());
}

fn kept(scratch: &Path) -> Option<PathBuf> {
    let copies = left(&scratch.join("streamgauge-kept-drills"));
    copies.first().map(|copy| copy.join("database")).filter(|copy| copy.exists())
}
