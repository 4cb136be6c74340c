//! What replaces a database under a running Litestream, and what only looks like it: told or silent, by one look and by
//! an agent that watches all along.
//!
//! The table is [`CASES`]. All of it runs at once, beside few Litestreams and one agent.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod lab;
#[path = "replacement/site.rs"]
mod site;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::{fs, thread};

use lab::Lab;
use site::{Site, World, shell, sqlite};

/// What is expected of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Expected {
    /// The file is not the one that the WAL belongs to.
    Replaced,
    /// The file is no database any more.
    Unreadable,
    /// Nothing is wrong.
    Silent,
}
use Expected::{Replaced, Silent, Unreadable};

pub struct Case {
    pub name: &'static str,
    pub litestream: &'static str,
    pub how: fn(&mut Site),
    pub expected: Expected,
}

const fn case(name: &'static str, expected: Expected, how: fn(&mut Site)) -> Case {
    Case { name, litestream: "0.5.17", how, expected }
}

const fn of_v3(name: &'static str, expected: Expected, how: fn(&mut Site)) -> Case {
    Case { name, litestream: "0.3.13", how, expected }
}

pub const CASES: &[Case] = &[
    case("mv", Replaced, |site| fs::rename(site.foreign(), &site.database).unwrap()),
    case("cp", Replaced, copy_edited),
    case("rsync", Replaced, |site| rsync(site, &[])),
    case("rsync-inplace", Replaced, |site| rsync(site, &["--inplace"])),
    case("vacuum-into-mv", Replaced, |site| {
        let new = site.beside("new");
        sqlite(&site.database, &[&format!("VACUUM INTO '{}'", new.display())]);
        fs::rename(new, &site.database).unwrap();
    }),
    case("same-content-mv", Replaced, |site| {
        let new = site.beside("new");
        fs::copy(&site.database, &new).unwrap();
        fs::rename(new, &site.database).unwrap();
    }),
    of_v3("mv-v3", Replaced, |site| fs::rename(site.foreign(), &site.database).unwrap()),
    of_v3("cp-v3", Replaced, copy_edited),
    case("emptied", Unreadable, |site| fs::write(&site.database, "").unwrap()),
    case("garbage", Unreadable, |site| {
        let length = fs::metadata(&site.database).unwrap().len() as usize;
        let noise: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
        fs::write(&site.database, noise).unwrap();
    }),
    case("restore", Silent, |site| {
        let edited = site.edited();
        sqlite(&site.database, &[".timeout 10000", &format!(".restore '{}'", edited.display())]);
    }),
    case("vacuum", Silent, |site| sqlite(&site.database, &[".timeout 10000", "VACUUM"])),
    case("checkpoint", Silent, |site| sqlite(&site.database, &["PRAGMA wal_checkpoint(PASSIVE)"])),
    case("truncate", Silent, |site| sqlite(&site.database, &[".timeout 2000", "PRAGMA wal_checkpoint(TRUNCATE)"])),
    case("backup", Silent, |site| drop(site.edited())),
    case("chmod", Silent, |site| fs::set_permissions(&site.database, fs::Permissions::from_mode(0o640)).unwrap()),
    case("hard-link", Silent, |site| fs::hard_link(&site.database, site.beside("link")).unwrap()),
    case("touch", Silent, |site| shell(Command::new("touch").arg(&site.database))),
    case("litestream-restarted", Silent, |site| {
        let litestream = site.litestream.as_mut().unwrap();
        litestream.stop();
        site.writer().commit(3);
        site.start_litestream();
    }),
    case("mv-and-repaired", Replaced, |site| fs::rename(site.foreign(), &site.database).unwrap()),
    case("application-restarted", Silent, |site| {
        site.litestream.as_mut().unwrap().stop();
        site.close();
        assert!(!site.beside_database("-wal").exists(), "the last one to close takes the WAL along");
        site.open();
        site.writer().commit(2);
        site.start_litestream();
    }),
];

fn copy_edited(site: &mut Site) {
    fs::copy(site.edited(), &site.database).unwrap();
}

fn rsync(site: &Site, more: &[&str]) {
    let edited = site.edited();
    shell(Command::new("rsync").args(more).arg("--checksum").arg(edited).arg(&site.database));
}

/// Whether a program of the system is installed; with `CI` set it has to be.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("there is no {program}: what needs it is left out");
    }
    assert!(there || std::env::var_os("CI").is_none(), "{program} is needed in CI: run tests/lab/install");
    there
}

#[test]
fn what_replaces_a_database_is_told_and_what_only_looks_like_it_is_not() {
    let lab = &Lab::find();
    assert!(is_there("sqlite3"), "sqlite3 is needed: install it");
    let home = tempfile::tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let runs = |case: &&Case| !case.name.starts_with("rsync") || is_there("rsync");
    let mut world = World::start(lab, home.path(), CASES.iter().filter(runs).collect());
    world.wait_until_known();

    let mut sites = std::mem::take(&mut world.sites);
    thread::scope(|scope| {
        for site in &mut sites {
            scope.spawn(move || (site.case.how)(site));
        }
    });
    thread::scope(|scope| {
        for site in &mut sites {
            let world = &world;
            scope.spawn(move || judge(world, site));
        }
    });
    let repaired = sites.iter_mut().find(|site| site.case.name == "mv-and-repaired").unwrap();
    repair(repaired);
    world.wait_until_in_sync(repaired);
    sites.retain(|site| site.case.name != "mv-and-repaired");

    // What was told stays, and what was not is still well when everything has settled.
    thread::scope(|scope| {
        for site in &sites {
            let world = &world;
            scope.spawn(move || assert_eq!(world.told(site), site.case.expected, "{}", site.case.name));
        }
    });
}

/// Does what the runbook says: everybody ends, the WAL of the old file goes, and both start again with the new one.
fn repair(site: &mut Site) {
    site.litestream = None;
    site.kill();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(site.beside_database(suffix)).unwrap();
    }
    site.open();
    site.writer().commit(3);
    site.start_litestream();
}

/// Waits until the agent says what is expected, and asks one look for the same.
fn judge(world: &World<'_>, site: &mut Site) {
    let name = site.case.name;
    match site.case.expected {
        Silent => {
            // It goes on being replicated, and everything that was committed comes back.
            site.writer().commit(5);
            world.wait_until_in_sync(site);
            let rows = site.writer().sql("SELECT count(*), sum(id) FROM t");
            let restored = site.restored(world.lab, &site.beside("restored.db"));
            assert_eq!(restored, rows, "{name}");
        }
        Replaced | Unreadable => {
            world.wait_until_told(site);
        }
    }
    let (code, database) = world.one_look(site);
    let local = &database["local"];
    let verdict = |check: &str| {
        let all = database["checks"].as_array().unwrap();
        all.iter()
            .find(|verdict| verdict["check"] == check)
            .map_or("absent", |verdict| verdict["status"].as_str().unwrap())
    };
    let replica = &database["replicas"][0];
    match site.case.expected {
        Replaced => {
            assert_eq!((verdict("DatabaseReplaced"), code), ("fail", 2), "{name}: {database:#}");
            assert_eq!(local["replacement"]["replaced"], true, "{name}");
            for unknown in ["lag_seconds", "unreplicated_bytes", "recovery_point", "method"] {
                assert!(replica[unknown].is_null(), "{name}: {unknown} in {replica:#}");
            }
            world.assert_nothing_is_proven(site);
        }
        Unreadable => {
            assert_eq!((verdict("DatabaseUnreadable"), code), ("fail", 2), "{name}: {database:#}");
            assert!(local.is_null() && replica["lag_seconds"].is_null(), "{name}: {database:#}");
        }
        Silent => {
            assert_eq!(verdict("DatabaseReplaced"), "pass", "{name}: {database:#}");
            assert_eq!(local["replacement"]["replaced"], false, "{name}");
        }
    }
}
