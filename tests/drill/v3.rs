//! A replica of v0.3.

use std::fs;

use crate::lab::Lab;
use crate::lab::litestream::quick_yaml;
use crate::site::{Site, run};

#[test]
fn a_replica_of_v0_3_is_drilled_and_compared_while_nothing_is_written() {
    let lab = Lab::find();
    let mut site = Site::new(&lab);
    let replica = site.home.path().join("old");
    let yaml = quick_yaml("0.3.13", &site.database, &format!("type: file, path: {}", replica.display()));
    let mut daemon = lab.replicate("0.3.13", site.home.path(), &yaml);
    let generations = replica.join("generations");
    let segments = || {
        let Ok(found) = fs::read_dir(&generations) else { return 0 };
        found.flatten().filter_map(|entry| fs::read_dir(entry.path().join("wal")).ok()).flatten().count()
    };
    crate::lab::wait_for("a first segment", || segments() > 0);
    let before = segments();
    site.writer.commit(10);
    crate::lab::wait_for("the commits to be replicated", || segments() > before);
    let drilled = run(&mut site.command());
    daemon.process.stop();
    assert_eq!(drilled.result(), "passed", "{}", drilled.record());
    assert_ne!(drilled.check("compare").0, "failed", "{}", drilled.record());
    assert_eq!(drilled.record()["restored"]["layout"], "v0.3");
}
