//! A newest object that is not what it should be: what Litestream's own restore makes of it, and one look.

use std::fs;
use std::path::{Path, PathBuf};

use super::lab::litestream::printed;
use super::lab::{Lab, command};
use super::site::Site;

/// Exit code, the checks that fail critically, and lag and recovery point of the one replica.
fn check(site: &Site) -> (i32, Vec<String>, serde_json::Value) {
    let mut program = command(env!("CARGO_BIN_EXE_streamgauge"));
    program.args(["check", "--wait=0s", "--format=json", "--litestream.config"]).arg(&site.litestream.config);
    let output = program.output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let code = output.status.code().unwrap();
    let word = ["ok", "warning", "critical", "unknown"][usize::try_from(code).unwrap()];
    assert_eq!(report["status"], word);
    let verdicts = report["databases"][0]["checks"].as_array().unwrap();
    let failed = verdicts.iter().filter(|v| v["status"] == "fail" && v["severity"] == "critical");
    let failed = failed.map(|v| v["check"].as_str().unwrap().to_owned()).collect();
    (code, failed, report["databases"][0]["replicas"][0].clone())
}

fn newest(folder: &Path) -> PathBuf {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.pop().unwrap()
}

fn with_copy(folder: &Path, kept: &Path) {
    fs::remove_dir_all(folder).unwrap();
    assert!(command("cp").arg("-a").arg(kept).arg(folder).status().unwrap().success());
}

type Odd = (&'static str, fn(&Path));

/// What a restore stumbles over, in the newest file.
const ODD: &[Odd] = &[
    ("copied to the next name", |file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let next = u64::from_str_radix(&name[..16], 16).unwrap() + 1;
        fs::copy(file, file.with_file_name(format!("{next:016x}-{next:016x}.ltx"))).unwrap();
    }),
    ("empty", |file| fs::write(file, "").unwrap()),
    ("garbage", |file| fs::write(file, [0xa5; 300]).unwrap()),
    ("of another page size", |file| {
        let mut content = fs::read(file).unwrap();
        content[10] ^= 0x30;
        fs::write(file, content).unwrap();
    }),
    ("the one before under its name", |file| {
        let name = file.file_name().unwrap().to_str().unwrap();
        let before = u64::from_str_radix(&name[..16], 16).unwrap() - 1;
        fs::copy(file.with_file_name(format!("{before:016x}-{before:016x}.ltx")), file).unwrap();
    }),
];

/// Each of them is critical in one look, and the newest sound file still says how far the replica is.
pub fn newest_of_v05(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "odd", "0.5.17", &[]);
    site.litestream.process.stop();
    for _ in 0..4 {
        site.writer.commit(1);
        let mut once = lab.litestream("0.5.17");
        printed(once.args(["replicate", "-once", "-config"]).arg(&site.litestream.config).output().unwrap()).unwrap();
    }
    let (level, kept) = (site.replica.join("ltx/0"), home.join("kept"));
    assert!(command("cp").arg("-a").arg(&level).arg(&kept).status().unwrap().success());
    let (_, failed, sound) = check(&site);
    assert_eq!((failed, &sound["lag_seconds"]), (vec![], &0.0.into()), "{sound}");
    for (name, make) in ODD {
        with_copy(&level, &kept);
        make(&newest(&level));
        let restored = lab.restore("0.5.17", &site.url, &home.join("restored.db"));
        assert!(restored.is_err(), "{name}: Litestream restores it");
        let (code, failed, replica) = check(&site);
        assert_eq!(code, 2, "{name}: {replica}");
        assert!(failed.contains(&"ReplicaCorrupt".to_owned()), "{name}: {failed:?}");
        assert_eq!(replica["up"], true, "{name}");
        assert!(replica["lag_seconds"].is_number(), "{name}: {replica}");
    }
}

/// The same of v0.3, whose newest segment has to be decoded to know where it ends.
pub fn newest_of_v03(lab: &Lab, home: &Path) {
    let mut site = Site::on_directory(lab, home, "odd3", "0.3.13", &[]);
    let wal = || {
        let generations = fs::read_dir(site.replica.join("generations")).ok()?;
        let generation = generations.map(|entry| entry.unwrap().path()).next()?;
        Some(generation.join("wal")).filter(|wal| wal.exists())
    };
    let segments = || wal().map_or(0, |wal| fs::read_dir(wal).unwrap().count());
    for _ in 0..3 {
        let before = segments();
        site.writer.commit(1);
        super::lab::wait_for("a segment", || segments() > before);
    }
    let wal = wal().unwrap();
    site.litestream.process.stop();
    fs::write(newest(&wal), [0xa5; 200]).unwrap();
    assert!(site.restored(lab, &home.join("restored.db")).is_err());
    let (code, failed, replica) = check(&site);
    assert_eq!((code, failed.contains(&"ReplicaCorrupt".to_owned())), (2, true), "{failed:?} {replica}");
    assert!(replica["lag_seconds"].as_f64() > Some(0.0), "what is in it alone is not safe: {replica}");
}
