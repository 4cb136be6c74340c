//! The reader by Litestream's own authors, `litestream-vfs`, sees in a replica what is restored from it.

#![allow(clippy::unwrap_used, reason = "helpers of a test")]

#[path = "lab/mod.rs"]
mod lab;

use std::fs;
use std::path::Path;

use lab::litestream::printed;
use lab::{Lab, command};
use rusqlite::Connection;

/// What the extension itself rewrites in the first page: it is no WAL database to it (bytes 18 and 19), and it counts
/// changes in its own way (24 to 27).
const OWN_HEADER_BYTES: [std::ops::Range<usize>; 2] = [18..20, 24..28];

fn image(path: &Path) -> Vec<u8> {
    let mut image = fs::read(path).unwrap();
    for own in OWN_HEADER_BYTES {
        image[own].fill(0);
    }
    image
}

#[test]
fn litestream_vfs_reads_what_is_restored() {
    let lab = Lab::find();
    for version in ["0.5.15", "0.5.17"] {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let url = format!("file://{}", at("replica").display());
        let database = Connection::open(at("app.db")).unwrap();
        database.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)").unwrap();
        for step in 0..4 {
            let fill = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i < 800) \
                        INSERT INTO t SELECT randomblob(200) FROM n";
            database.execute_batch(fill).unwrap();
            if step == 2 {
                database.execute_batch("DELETE FROM t WHERE rowid % 2").unwrap();
            }
            let mut replicate = lab.litestream(version);
            replicate.args(["replicate", "-once"]).arg(at("app.db")).arg(&url);
            printed(replicate.output().unwrap()).unwrap();
        }
        let mut restore = command(env!("CARGO_BIN_EXE_streamgauge"));
        printed(restore.args(["restore", &url, "-o"]).arg(at("restored.db")).output().unwrap()).unwrap();
        let mut read = lab.program("py/bin/python");
        read.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab/vfs_image.py")).arg(&url).arg(at("vfs.db"));
        printed(read.output().unwrap()).unwrap();
        assert!(image(&at("restored.db")) == image(&at("vfs.db")), "{version}: the two differ");
    }
}
