//! Spot checks beside the genuine Litestream: content that is wrong under right checksums is told by one round, and a
//! database that is written, checkpointed and compacted all the time is never said to differ.
//!
//! `STREAMGAUGE_SPOT_SECONDS=600` goes on for so long with the busy database, and `--nocapture` prints what it saw.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stderr, reason = "a long run says what it saw")]
#![allow(dead_code, unreachable_pub, reason = "the site is shared with the drill's tests")]

#[path = "lab/mod.rs"]
mod lab;
#[path = "drill/site.rs"]
mod site;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::agent::Agent;
use lab::litestream::quick_yaml;
use lab::writer::Writer;
use lab::{Lab, command, wait_for};
use serde_json::Value;
use site::{Site, VERSION};
use streamgauge::domain::price::usual_prices;
use streamgauge::domain::spot::{SpotBook, SpotPolicy};
use streamgauge::domain::target::StoreKind;

/// The documentation that this test keeps true.
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/SPOT-CHECKS.md");

const HEAD: &str = "\
# What spot checks find, how soon, and what they cost

Every hour, the agent compares the first page and 16 randomly chosen pages of the live database with the replica's newest
version of them. If they differ, a second round follows at once; the difference is reported if that round sees it again.

The table shows how likely it is that a given number of differing pages is found within a given time, with the defaults
(`spot-interval = 1h`, `spot-pages = 16`). It does not count page 1. That page is always compared, and a different history or
an older state hardly ever has the same page 1 as the database. tests/spot.rs writes the table, and compares its formula with
a simulation of the rounds.

| database with pages of 4096 bytes | differing pages | one round | a day | a week |
|---|---|---|---|---|
";

/// How likely it is that so many rounds find at least one of `foreign` pages among `pages`, when each compares `count`
/// that are chosen at random.
fn chance(foreign: u32, pages: u32, count: u32, rounds: u32) -> f64 {
    let (foreign, pages) = (f64::from(foreign.min(pages)), f64::from(pages));
    // Of one round, without putting a page back: the product of the chances that each pick misses.
    let missed: f64 =
        (0..count).map(f64::from).map(|drawn| ((pages - foreign - drawn) / (pages - drawn)).max(0.0)).product();
    1.0 - missed.powi(rounds.cast_signed())
}

/// The share of `trials` in which so many rounds find one of the last `foreign` pages.
fn simulated(foreign: u32, pages: u32, count: u32, rounds: u32, trials: u64) -> f64 {
    let mut seeds = 0..;
    let mut round = || SpotBook::default().pages(seeds.next().unwrap_or_default(), pages, count, 0);
    let found = (0..trials).filter(|_| (0..rounds).any(|_| round().iter().any(|page| *page > pages - foreign)));
    found.count() as f64 / trials as f64
}

#[test]
fn the_chance_of_finding_foreign_pages_is_what_simulation_finds() {
    for (foreign, pages, rounds) in [(1, 64, 1), (1, 64, 8), (1, 1000, 24), (10, 1000, 5), (100, 1000, 1), (64, 64, 1)]
    {
        let (computed, simulated) = (chance(foreign, pages, 16, rounds), simulated(foreign, pages, 16, rounds, 20_000));
        // Four standard deviations of 20 000 trials.
        let slack = 4.0 * (computed * (1.0 - computed) / 20_000.0).sqrt() + 1e-9;
        assert!((computed - simulated).abs() <= slack, "{foreign} of {pages}: {computed} and {simulated}");
    }
}

#[test]
fn the_document_says_what_is_found_and_what_it_costs() {
    let policy = SpotPolicy::default();
    let a_day = 86_400.0 / policy.interval.unwrap().as_secs_f64();
    let mut text = HEAD.to_owned();
    for (size, pages) in [("256 KiB", 64), ("4 MiB", 1024), ("100 MiB", 25_600), ("1 GiB", 262_144)] {
        for (words, foreign) in [("1", 1), ("1 %", pages / 100), ("10 %", pages / 10), ("all", pages)] {
            let found = |rounds: f64| 100.0 * chance(foreign.max(1), pages, policy.pages, rounds as u32);
            let (round, day, week) = (found(1.0), found(a_day), found(7.0 * a_day));
            text += &format!("| {size} ({pages}) | {words} | {round:.2} % | {day:.2} % | {week:.2} % |\n");
        }
    }
    // Pages that do not compress: the most that a round receives.
    let (requests, bytes) = (u64::from(policy.pages) + 1, (u64::from(policy.pages) + 1) * 4128);
    let daily = |count: u64| (count as f64 * a_day) as u64;
    let dollars = usual_prices(StoreKind::S3, "").unwrap().dollars(daily(requests), 0, daily(bytes));
    text += &format!(
        "\n**What they do not find.** Spot checks are not meant to find a single rotten page in a large database. For that, the agent
reads each object again in full, on average once a day and within 36 hours, as far as a quarter of the daily limit for
reading allows (`content` in `[verify]`), and a restore drill compares every page.

**What they cost.** A round takes {requests} requests, one for each page: {} requests and at most {} KiB a day for each replica,
${dollars:.4} a day and ${:.3} a month at S3's prices. They count towards the daily limit for reading. Directories are free.
Reading objects again takes at most 16 MiB a day from each replica in a bucket, $0.0015 a day.

- No listing is needed: verification, which reads each object once, knows where the pages are. After a restart, the agent
  reads the header and index of everything that a restore needs again.
- A live page takes no request: the agent reads the WAL up to the replica's position, from plain files.

**What they cannot compare**:

- pages of v0.3 replicas, whose objects do not say where a page is in them;
- pages of encrypted replicas, and of databases on another host;
- in a database larger than about 4 GB, pages that have not changed since the newest snapshot, whose index is too large to
  read on its own.

ContentUncompared fires when nothing could be compared for more than a day.
",
        daily(requests),
        daily(bytes) >> 10,
        30.44 * dollars,
    );
    if std::env::var_os("UPDATE").is_some() {
        fs::write(DOCUMENT, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(DOCUMENT).unwrap_or_default(), text, "run with UPDATE=1 and read what changed");
}

/// What `streamgauge check --verify content` came to.
struct Checked {
    code: i32,
    report: Value,
}

impl Checked {
    fn spot(&self) -> &Value {
        &self.report["databases"][0]["replicas"][0]["spot"]
    }

    /// The pages that differ.
    fn different(&self) -> Vec<u64> {
        let known = self.spot()["mismatches"].as_array().unwrap();
        known.iter().map(|known| known["page"].as_u64().unwrap()).collect()
    }

    /// The verdict of a check: its status and what it says.
    fn verdict(&self, name: &str) -> Option<(&str, &str)> {
        let verdicts = self.report["databases"][0]["checks"].as_array().unwrap();
        let verdict = verdicts.iter().find(|verdict| verdict["check"] == name)?;
        Some((verdict["status"].as_str().unwrap(), verdict["detail"].as_str().unwrap()))
    }

    /// Content that differs was told as it should be; the object that it names.
    fn mismatch(&self) -> String {
        let (status, detail) = self.verdict("ContentMismatch").unwrap();
        assert_eq!((status, self.code), ("fail", 2), "{}", self.report);
        assert!(!self.different().is_empty() && detail.starts_with("page "), "{detail}");
        let key = self.spot()["mismatches"][0]["key"].as_str().unwrap();
        assert!(detail.contains(key), "{detail}");
        key.to_owned()
    }
}

fn check_by(config: &Path, arguments: &[&str]) -> (i32, String) {
    let mut check = command(env!("CARGO_BIN_EXE_streamgauge"));
    check.args(["check", "--verify", "content", "--config.file"]).arg(config).args(arguments);
    let output = check.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code().unwrap(), text + &String::from_utf8_lossy(&output.stderr))
}

fn check(config: &Path) -> Checked {
    let (code, text) = check_by(config, &["--wait", "0s", "--format", "json"]);
    Checked { code, report: serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")) }
}

#[test]
fn a_sound_replica_is_equal_and_a_wrong_letter_under_a_right_checksum_is_told() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    site.writer.commit(200);
    site.sync(&lab, &[]);
    let sound = check(&site.config());
    let compared = sound.spot()["last_compared"].as_u64().unwrap();
    let pages = site.writer.sql("PRAGMA page_count")[0][0].as_u64().unwrap();
    assert_eq!((compared, sound.different().len()), (pages.min(65), 0), "{}", sound.report);
    assert_eq!(sound.verdict("ContentMismatch").unwrap().0, "pass");
    let (_, table) = check_by(&site.config(), &[]);
    assert!(table.contains("pages compared with the live database, equal\n"), "{table}");

    let newest = site.level(0).pop().unwrap();
    let modified = fs::metadata(&newest).unwrap().modified().unwrap();
    Site::forge(&newest, |_, pages| {
        let letter = pages.values_mut().next_back().unwrap().iter_mut().rev().find(|byte| **byte == b'A');
        *letter.unwrap() = b'B';
    });
    fs::File::options().write(true).open(&newest).unwrap().set_modified(modified).unwrap();
    let told = check(&site.config());
    assert!(newest.ends_with(told.mismatch()), "{}", told.report);
    assert_eq!(told.different().len(), 1, "one letter is in one page: {}", told.report);
    assert_eq!(told.verdict("ReplicaCorrupt").unwrap().0, "pass", "its checksum is right");
    let (_, table) = check_by(&site.config(), &[]);
    assert!(table.contains("1 page differs from the live database\n"), "{table}");
}

#[test]
fn a_replica_of_another_history_with_the_same_txids_is_told() {
    let lab = Lab::find();
    let (mut site, mut sibling) = (Site::new(&lab), Site::new(&lab));
    for site in [&mut site, &mut sibling] {
        site.writer.commit(50);
        site.sync(&lab, &[]);
    }
    let names = |site: &Site| {
        [0, 9]
            .map(|level| site.level(level).iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(names(&site), names(&sibling), "no name tells them apart");
    fs::remove_dir_all(&site.replica).unwrap();
    fs::rename(&sibling.replica, &site.replica).unwrap();
    // Litestream goes on behind the newest TXID, as it would have.
    site.writer.commit(1);
    site.sync(&lab, &[]);
    let told = check(&site.config());
    assert_eq!(told.verdict("ReplicationLag").unwrap().0, "pass", "nothing else notices: {}", told.report);
    told.mismatch();
}

#[test]
fn a_database_that_was_put_back_to_an_older_state_under_its_wal_is_told() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let busy = Busy::new(&lab, home.path());
    let Busy { database, mut writer, mut litestream, config, .. } = busy;
    let older = home.path().join("older.db");
    fs::copy(&database, &older).unwrap();
    // Everything is written again, and the log begins anew since: what changed is in the file that is replaced.
    writer.sql("UPDATE t SET b = hex(randomblob(500)) WHERE id > 100");
    let salts = || fs::read(wal(&database)).unwrap().get(16..24).map(<[u8]>::to_vec);
    for _ in 0..3 {
        let before = salts();
        wait_for("the WAL to begin anew", || {
            writer.sql("UPDATE t SET b = hex(randomblob(500)) WHERE id = 1");
            salts() != before
        });
    }
    writer.commit(3);
    litestream.process.signal(rustix::process::Signal::KILL);
    litestream.process.ended(Duration::from_secs(10)).unwrap();
    // The application is killed as well: the WAL stays as it is.
    drop(writer);
    fs::copy(&older, &database).unwrap();

    // The next snapshot would hold what the file holds now, and nothing would differ any more.
    let yaml = fs::read_to_string(&litestream.config).unwrap().replace("interval: 20s", "interval: 1h");
    let mut litestream = lab.replicate(VERSION, home.path(), &yaml);
    wait_for("Litestream to go on", || litestream.process.log_lines("initialized db") > 0);
    let mut writer = lab.writer(&database);
    writer.sql("UPDATE t SET b = hex(randomblob(500)) WHERE id = 2");
    let mut told = check(&config);
    // A round compares what it can read on both sides at one position, which may be a few pages that were just written again.
    wait_for("a round that finds it", || {
        told = check(&config);
        told.spot()["last_compared"].as_u64() > Some(0) && !told.different().is_empty()
    });
    told.mismatch();
    let log = litestream.process.log();
    assert!(!log.contains("ERROR"), "Litestream says nothing of it: {log}");
    litestream.process.stop();
}

fn wal(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// A database that is written every few milliseconds, with a Litestream that checkpoints, compacts, snapshots and deletes
/// every few seconds.
struct Busy {
    database: PathBuf,
    writer: Writer,
    litestream: lab::litestream::Litestream,
    config: PathBuf,
    toml: String,
}

impl Busy {
    fn new(lab: &Lab, home: &Path) -> Self {
        let (database, replica) = (home.join("app.db"), home.join("replica"));
        let mut writer = lab.writer(&database);
        writer.create_table();
        // 500 pages, most of which are left alone.
        let rows = "SELECT value FROM json_each('[1' || replace(hex(zeroblob(2000)), '00', ',1') || ']')";
        writer.sql(&format!("INSERT INTO t(b) SELECT hex(randomblob(500)) FROM ({rows})"));
        let yaml = quick_yaml(VERSION, &database, &format!("type: file, path: {}", replica.display()))
            .replace("monitor-interval: 300ms", "monitor-interval: 100ms\n    min-checkpoint-page-count: 100")
            .replace("sync-interval: 500ms", "sync-interval: 100ms")
            .replace("interval: 3s", "interval: 1s")
            .replace("interval: 9s", "interval: 2s");
        let litestream = lab.replicate(VERSION, home, &yaml);
        wait_for("a snapshot", || replica.join("ltx/9").exists());
        let toml = format!(
            "[litestream]\nconfig = [{:?}]\n[verify]\nspot-interval = \"10s\"\n[storage]\npath = {:?}\n",
            litestream.config,
            home.join("storage")
        );
        let config = home.join("streamgauge.toml");
        fs::write(&config, &toml).unwrap();
        Self { database, writer, litestream, config, toml }
    }
}

#[test]
fn a_busy_database_is_compared_again_and_again_and_never_said_to_differ() {
    let lab = Lab::find();
    let home = tempfile::tempdir().unwrap();
    let mut busy = Busy::new(&lab, home.path());
    busy.writer.run(Duration::from_millis(5));
    let agent = Agent::start(home.path(), &busy.toml, &[]);
    let seconds = std::env::var("STREAMGAUGE_SPOT_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(15);
    let until = Instant::now() + Duration::from_secs(seconds);
    let (mut looks, mut conclusive, mut pages) = (0, 0, 0);
    let mut reasons = std::collections::BTreeMap::<String, u64>::new();
    while Instant::now() < until {
        // Pages all over the database as well, besides those at its end.
        busy.writer.sql(&format!("UPDATE t SET b = hex(randomblob(500)) WHERE id % 101 = {}", looks % 101));
        busy.writer.run(Duration::from_millis(5));
        let checked = check(&busy.config);
        assert!(checked.different().is_empty(), "a false alarm: {}", checked.report);
        let compared = checked.spot()["last_compared"].as_u64().unwrap();
        (looks, conclusive, pages) = (looks + 1, conclusive + u64::from(compared > 0), pages + compared);
        if let Some(why) = checked.spot()["not_compared"].as_str() {
            *reasons.entry(why.chars().filter(|letter| !letter.is_ascii_digit()).collect()).or_default() += 1;
        }
    }
    let on = [("replica", "file")];
    let metric = |name: &str| agent.metric(&format!("streamgauge_replica_spot_{name}"), &on);
    wait_for("the agent to compare pages", || metric("pages_compared_total") > Some(0.0));
    let rounds = |result| agent.metric("streamgauge_replica_spot_rounds_total", &[("result", result)]);
    eprintln!("check: {conclusive} of {looks} looks compared, {pages} pages; otherwise: {reasons:?}");
    eprintln!(
        "agent: {:?} equal, {:?} inconclusive, {:?} pages",
        rounds("equal"),
        rounds("inconclusive"),
        metric("pages_compared_total")
    );
    assert_eq!((metric("mismatch"), rounds("different")), (Some(0.0), Some(0.0)));
    assert!(2 * conclusive >= looks, "a useful part of them compares: {conclusive} of {looks}, {reasons:?}");
    busy.writer.pause();
    busy.litestream.process.stop();
}
