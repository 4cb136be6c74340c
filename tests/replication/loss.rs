//! Nothing is called safe that does not restore: checkpoints, resets, a VACUUM, and replicas that lost files.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::lab::Lab;
use super::lab::agent::Agent;
use super::lab::litestream::VERSIONS;
use super::lab::writer::Writer;
use super::position::{self, with_suffix};
use super::site::{self, Site, now, verify_again};

const VERSION: &str = "0.5.17";

fn count(database: &mut Writer, before: f64) -> serde_json::Value {
    database.sql(&format!("SELECT count(*) FROM t WHERE at < {before:.3}"))
}

/// Litestream checkpoints all the time, with every mode that it knows, and is stopped anywhere in it. What then
/// restores holds all that was committed before the recovery point.
pub fn recovery_points_restore(lab: &Lab, home: &Path) {
    let sites = VERSIONS.map(|version| {
        let mut options = vec!["checkpoint-interval: 2s", "min-checkpoint-page-count: 100"];
        options.push(if version.starts_with("0.3.") {
            "max-checkpoint-page-count: 200"
        } else {
            "truncate-page-n: 200"
        });
        Site::on_directory(lab, home, &format!("cut-{}", version.replace('.', "-")), version, &options)
    });
    let agent = &site::agent(home, &sites, "idle-interval = \"1s\"\nlevel-interval = \"2s\"");
    thread::scope(|scope| {
        for site in sites {
            scope.spawn(move || recovery_point_restores(lab, home, agent, site));
        }
    });
}

fn recovery_point_restores(lab: &Lab, home: &Path, agent: &Agent, mut site: Site) {
    let mut compared = 0;
    for cut in 0..3_u64 {
        site.writer.run(Duration::from_millis(5));
        thread::sleep(Duration::from_millis(2500 + 370 * cut));
        site.litestream.process.freeze();
        verify_again(agent, &site.name);
        let seen = site.seen(agent);
        // Nothing is claimed while no look at the database met a log that the replica had reached.
        if let Some(point) = seen.recovery_point() {
            // A row is dated a little before its transaction commits.
            let before = point - 0.5;
            let mut restored = site.restored(lab, &home.join(format!("{}-{cut}.db", site.name))).unwrap();
            let there = count(&mut restored, before);
            site.litestream.process.thaw();
            assert_eq!(there, count(&mut site.writer, before), "{} cut {cut}: {seen:?}", site.name);
            compared += 1;
        }
        site.litestream.process.thaw();
        if cut == 1 {
            site.writer.sql("DELETE FROM t WHERE id % 2 = 0");
            site.writer.sql("VACUUM");
        }
    }
    assert!(compared > 0, "{}: no recovery point at any cut", site.name);
    let seen = site.seen(agent);
    assert!(seen.get("database_wal_resets_total") > Some(0.0), "{}: {seen:?}", site.name);
    site.writer.pause();
    site.wait_until_in_sync(agent);
    restores_everything(lab, home, &mut site, "end");
}

/// Restores, and finds all that is in the database.
fn restores_everything(lab: &Lab, home: &Path, site: &mut Site, story: &str) {
    let out = home.join(format!("{}-{story}.db", site.name));
    let mut restored = site.restored(lab, &out).unwrap_or_else(|error| panic!("{} {story}: {error}", site.name));
    let everything = now() + 60.0;
    assert_eq!(count(&mut restored, everything), count(&mut site.writer, everything), "{} {story}", site.name);
}

/// Files of a replica go while the agent watches.
pub fn lost_files(lab: &Lab, home: &Path) {
    let site = |(name, version)| {
        // After a SIGCONT, Litestream 0.3 can leave a commit in its shadow WAL until it checkpoints: a minute by default.
        let options: &[_] = if version == "0.3.13" { &["checkpoint-interval: 5s"] } else { &[] };
        let mut site = Site::on_directory(lab, home, name, version, options);
        site.writer.commit(50);
        site
    };
    let [old, new] = ["0.3.13", VERSION];
    let stories = [("emptied", new), ("tail", new), ("tail-of-segments", old), ("level0", new), ("older", new)];
    let mut sites = stories.map(site);
    let agent = &site::agent(home, &sites, "idle-interval = \"1s\"\nlevel-interval = \"1s\"");
    let [emptied, tail, segments, level0, older] = &mut sites;
    thread::scope(|scope| {
        scope.spawn(|| everything_deleted(lab, home, agent, emptied));
        scope.spawn(|| newest_files_deleted(lab, home, agent, tail));
        scope.spawn(|| newest_files_deleted(lab, home, agent, segments));
        scope.spawn(|| level_0_deleted(lab, home, agent, level0));
        scope.spawn(|| replaced_by_an_older_copy(lab, home, agent, older));
    });
}

fn everything_deleted(lab: &Lab, home: &Path, agent: &Agent, site: &mut Site) {
    site.wait_until_in_sync(agent);
    // Nothing is written, and Litestream does not look into its replica.
    fs::remove_dir_all(site.replica.join("ltx")).unwrap();
    // The look after the next one at the latest: one may have listed the folder before.
    verify_again(agent, &site.name);
    verify_again(agent, &site.name);
    let seen = site.seen(agent);
    assert_eq!(seen.get("replica_restorable"), Some(0.0), "{seen:?}");
    assert!(seen.lag() > Some(0.0), "{seen:?}");
    // The agent has not watched it for as long as a first snapshot may take.
    let check = [("database", "emptied"), ("check", "NeverReplicated"), ("status", "unknown")];
    assert_eq!(agent.metric("streamgauge_check_status", &check), Some(1.0));

    // Litestream goes on with the next file, from which nothing restores until it takes a snapshot.
    site.writer.run(Duration::from_millis(100));
    site.wait_until(agent, "for new files", |seen| seen.get("replica_txid") > Some(0.0));
    for _ in 0..20 {
        let claimed = site.seen(agent).get("replica_restorable") == Some(1.0);
        let out = home.join("emptied-again.db");
        if claimed {
            site.restored(lab, &out).unwrap();
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn newest_files_deleted(lab: &Lab, home: &Path, agent: &Agent, site: &mut Site) {
    for round in 0..3 {
        site.writer.commit(5);
        site.wait_until_in_sync(agent);
        site.writer.commit(5);
        site.wait_until_in_sync(agent);
        site.litestream.process.freeze();
        let lost = newest_files(&site.replica);
        let kept: Vec<_> = lost.iter().map(|path| (path, fs::read(path).unwrap())).collect();
        lost.iter().for_each(|path| fs::remove_file(path).unwrap());
        verify_again(agent, &site.name);
        let seen = site.seen(agent);
        assert!(!seen.in_sync(), "{} {round}: {lost:?} are gone, and {seen:?}", site.name);
        assert!(seen.lag() > Some(0.0), "{} {round}: {seen:?}", site.name);
        // Put back: the same proof as before.
        kept.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        site.wait_until_in_sync(agent);
        site.litestream.process.thaw();
    }
    restores_everything(lab, home, site, "put-back");
}

fn level_0_deleted(lab: &Lab, home: &Path, agent: &Agent, site: &mut Site) {
    site.wait_until_in_sync(agent);
    site.writer.commit(5);
    site.wait_until_in_sync(agent);
    site.litestream.process.freeze();
    fs::remove_dir_all(site.replica.join("ltx/0")).unwrap();
    verify_again(agent, &site.name);
    if site.seen(agent).in_sync() {
        // The levels above hold everything.
        restores_everything(lab, home, site, "levels");
    }
    site.litestream.process.thaw();
    site.writer.commit(5);
    thread::sleep(Duration::from_secs(2));
    verify_again(agent, &site.name);
    if site.seen(agent).in_sync() {
        restores_everything(lab, home, site, "on");
    }
}

fn replaced_by_an_older_copy(lab: &Lab, home: &Path, agent: &Agent, site: &mut Site) {
    let copy = home.join("copy.db");
    site.writer.sql(&format!("VACUUM INTO '{}'", copy.display()));
    site.writer.commit(50);
    site.wait_until_in_sync(agent);
    site.litestream.process.stop();
    let writer = std::mem::replace(&mut site.writer, lab.writer(&home.join("other.db")));
    writer.close();
    for suffix in ["-wal", "-shm"] {
        // Litestream leaves them where they are, or not.
        let _ = fs::remove_file(with_suffix(&site.database, suffix));
    }
    fs::rename(copy, &site.database).unwrap();
    thread::sleep(Duration::from_secs(2));
    verify_again(agent, &site.name);
    let seen = site.seen(agent);
    assert!(!seen.in_sync(), "another database: {seen:?}");

    site.writer = lab.writer(&site.database);
    site.writer.commit(1);
    site.wait_until(agent, "for lag", |seen| seen.lag() > Some(2.0));
    site.restart_litestream(lab);
    site.wait_until_in_sync(agent);
    restores_everything(lab, home, site, "replaced");
}

/// The files without which the last transactions do not restore: the newest one of v0.3, and of v0.5 all that end where
/// it ends, at any level.
fn newest_files(replica: &Path) -> Vec<PathBuf> {
    let generations = replica.join("generations");
    if generations.exists() {
        return vec![position::newest_segment(&generations)];
    }
    let newest = position::newest(&replica.join("ltx/0"));
    let last = newest.file_stem().unwrap().to_str().unwrap().split_once('-').unwrap().1.to_owned();
    let levels = fs::read_dir(replica.join("ltx")).unwrap().map(|level| level.unwrap().path());
    let files = levels.flat_map(|level| fs::read_dir(level).unwrap().map(|file| file.unwrap().path()));
    files.filter(|file| file.to_string_lossy().ends_with(&format!("-{last}.ltx"))).collect()
}
