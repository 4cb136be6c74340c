//! Commits counted from outside, against the writer's own count.

use std::path::Path;

use super::lab::agent::Agent;
use super::lab::{Lab, wait_for};
use super::site::Seen;

pub fn commits(lab: &Lab, home: &Path) {
    let database = home.join("count.db");
    let mut writer = lab.writer(&database);
    writer.create_table();
    let toml = format!("[litestream]\nconfig = []\n\n[[database]]\npath = \"{}\"\n", database.display());
    let agent = Agent::start(home, &toml, &[]);
    agent.wait_until_ready();
    let start = counted(&agent);

    // At full speed, with every kind of checkpoint, and with the automatic ones.
    let mut total = 0;
    for mode in ["PASSIVE", "FULL", "RESTART", "TRUNCATE"].repeat(5) {
        total = writer.commit(700);
        writer.sql(&format!("PRAGMA wal_checkpoint({mode})"));
    }
    assert_eq!(total, 14_000);
    expect(&agent, start, total, "checkpoints and WAL resets");

    writer.close();
    let mut writer = lab.writer(&database);
    total += writer.commit(3000);
    expect(&agent, start, total, "a database that was closed and opened again");

    // No look between the last commit and the end of the wal-index that counted it.
    total += 777;
    writer.commit(777);
    writer.close();
    let mut writer = lab.writer(&database);
    total += writer.commit(555);
    expect(&agent, start, total, "a database that was closed at once");
}

fn counted(agent: &Agent) -> f64 {
    Seen::of(agent, "count").get("database_commits_total").unwrap()
}

fn expect(agent: &Agent, start: f64, total: u64, story: &str) {
    let expected = start + total as f64;
    let mut last = 0.0;
    wait_for(&format!("{total} commits after {story}"), || {
        last = counted(agent);
        assert!(last <= expected, "{story}: {last} counted, {expected} made");
        last == expected
    });
    assert_eq!(Seen::of(agent, "count").get("database_commits_lower_bound"), Some(0.0), "{story}");
}
